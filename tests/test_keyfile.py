"""The key file: what it may hold, what is refused and how that is told, and how it is written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import stat
import struct
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clientsession import ConfigurationError, Key, Suite
from clientsession import _keyfile as keyfile
from clientsession._keyfile import (
    MAX_FILE_BYTES,
    MAX_KEYS,
    BusyError,
    KeyFile,
    KeyLine,
    Role,
    format_date,
    mode_after,
    parse_date,
    read_file,
    rewrite,
    whole_second,
)
from clientsession._keys import holds_key
from tests.test_secrets import Needles, shown_by

SECRETS = [bytes((start + step * 37) % 256 for step in range(32)) for start in range(4)]
KEYS = [Key.from_secret(secret, suite=suite) for secret, suite in zip(SECRETS, [*Suite] * 2, strict=True)]
TEXTS = [key.export() for key in KEYS]
IDS = [key.id for key in KEYS]
OLD_KEY = Key.from_secret(bytes(range(100, 132)))  # one of before, in a comment
NEEDLES = Needles(*SECRETS, *TEXTS, OLD_KEY.export(), bytes(range(100, 132)))
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

WHOLE = f"""\
# the keys of the shop
\t
sealing   {TEXTS[0]} added=2026-11-20T10:00:00Z since=2026-11-21T13:00:00Z

\taccepting {TEXTS[1]}\tadded=2026-11-22  # until the {OLD_KEY.export()} is gone
  # {OLD_KEY.export()} was here before
retiring  {TEXTS[2]} since=2026-11-21T14:00:00+01:00 droppable=2027-03-21T14:00:00Z# é
end
"""


def parsed(text: str) -> KeyFile:
    file = KeyFile._parse(text.encode())
    assert isinstance(file, KeyFile), file
    return file


def content(lines: tuple[KeyLine, ...]) -> list[tuple[object, ...]]:
    """What lines hold, for comparison."""
    return [(each.role, each.key.export(), each.added, each.since, each.droppable, each.comment) for each in lines]


def fault(data: bytes | str) -> str:
    """What is wrong with it, which shows no secret."""
    problem = KeyFile._parse(data.encode() if isinstance(data, str) else data)
    assert isinstance(problem, str)
    assert NEEDLES.found_in(problem) == []
    return problem


# What it holds


def test_a_file_has_its_keys_with_roles_and_dates() -> None:
    file = parsed(WHOLE)
    assert [(line.role, line.key.id, line.key.suite) for line in file.keys] == [
        ("sealing", IDS[0], KEYS[0].suite),
        ("accepting", IDS[1], KEYS[1].suite),
        ("retiring", IDS[2], KEYS[2].suite),
    ]
    assert [line.key.export() for line in file.keys] == TEXTS[:3]
    first, second, third = file.keys
    assert (first.added, first.since) == (datetime(2026, 11, 20, 10, tzinfo=UTC), datetime(2026, 11, 21, 13, tzinfo=UTC))
    assert (second.added, second.since) == (datetime(2026, 11, 22, tzinfo=UTC), None)
    assert (third.since, third.droppable) == (datetime(2026, 11, 21, 13, tzinfo=UTC), datetime(2027, 3, 21, 14, tzinfo=UTC))
    assert file.of_role(Role.RETIRING) == (third,)
    assert file.find(IDS[1]) is second
    assert file.find(IDS[3]) is None


def test_the_smallest_file_is_a_key_and_the_end() -> None:
    assert [line.key.id for line in parsed(f"sealing {TEXTS[0]}\nend").keys] == [IDS[0]]


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        WHOLE.replace("\n", "\r\n"),
        f"sealing {TEXTS[0]}\r\nend\n",
        f"\n\n  sealing\t {TEXTS[0]} \t \n\n end # of the keys\n# and a word more\n\n",
        f"#\nsealing {TEXTS[0]}#\nend#\n",
        f"\x0c\n\u00a0\n\x0b # a form feed, a space that does not break, a tab the other way\nsealing {TEXTS[0]}\nend\n",
        f"# a line \x85 is \u2028 a line\nsealing {TEXTS[0]}\nend\n",
    ],
    ids=["whole", "crlf", "mixed", "spaces", "empty-comments", "odd-space", "odd-line-ends"],
)
def test_what_was_read_is_written_byte_for_byte(text: str) -> None:
    assert parsed(text).text() == text


def test_a_last_line_without_a_line_feed_gets_one() -> None:
    text = WHOLE.removesuffix("\n")
    assert parsed(text).text() == WHOLE


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_ends_of_windows_mean_the_same(ending: str) -> None:
    assert content(parsed(WHOLE.replace("\n", ending)).keys) == content(parsed(WHOLE).keys)


def test_a_line_that_was_made_is_read_as_it_was_made(suite: Suite) -> None:
    key = Key.generate(suite)
    for role in Role:
        for dates in ({}, {"added": NOON}, {"since": NOON, "droppable": NOON + timedelta(days=400)}):
            line = KeyLine(role, key, **dates, comment="# of the shop")
            beside = "" if role is Role.SEALING else f"sealing {TEXTS[0]}\n"
            (again,) = (each for each in parsed(f"{beside}{line.text()}\nend\n").keys if each.key.id == key.id)
            assert (again.role, again.added, again.since, again.droppable) == (role, line.added, line.since, line.droppable)
            assert again.comment == line.comment
            assert again.key.export() == key.export()


# What is refused


FAULTS = {
    "empty": ("", "has no line that says end"),
    "blank": ("\n\n", "has no line that says end"),
    "only-the-end": ("end\n", "has no sealing key"),
    "no-end": (f"sealing {TEXTS[0]}\n", "has no line that says end"),
    "end-in-a-comment": (f"sealing {TEXTS[0]}\n# end\n", "has no line that says end"),
    "no-sealing": (f"accepting {TEXTS[0]}\nretiring {TEXTS[1]}\nend\n", "has no sealing key"),
    "two-sealing": (f"sealing {TEXTS[0]}\n\nsealing {TEXTS[1]}\nend\n", "lines 1 and 3 are both sealing"),
    "twice": (
        f"sealing {TEXTS[0]}\naccepting {TEXTS[1]}\nretiring {TEXTS[1]}\nend\n",
        f"lines 2 and 3 hold the same key, {IDS[1]}",
    ),
    "sealing-and-retiring": (f"sealing {TEXTS[0]}\nretiring {TEXTS[0]}\nend\n", f"lines 1 and 2 hold the same key, {IDS[0]}"),
    "after-the-end": (f"sealing {TEXTS[0]}\nend\naccepting {TEXTS[1]}\n", "line 3 holds a key after the line that says end"),
    "end-twice": (f"sealing {TEXTS[0]}\nend\n\nend\n", "line 4 says end once more"),
    "end-and-more": (f"sealing {TEXTS[0]}\nend {TEXTS[1]}\n", "line 2 has something after end"),
    "no-role": (f"{TEXTS[0]}\nend\n", "line 1 must begin with sealing, accepting, retiring, end or #"),
    "capital-role": (f"Sealing {TEXTS[0]}\nend\n", "line 1 must begin with"),
    "capital-end": (f"sealing {TEXTS[0]}\nEND\n", "line 2 must begin with"),
    "other-role": (f"\n# a\nsaeling {TEXTS[0]}\nend\n", "line 3 must begin with"),
    "colon": (f"sealing: {TEXTS[0]}\nend\n", "line 1 must begin with"),
    "environment": (f"CLIENTSESSION_KEY={TEXTS[0]}\nend\n", "line 1 must begin with"),
    "old-line-ends": (f"sealing {TEXTS[0]}\rend\r", "line 1 has something after the key"),
    "role-alone": ("sealing\nend\n", "line 1 has a role and no key"),
    "role-and-comment": (f"sealing # {TEXTS[0]}\nend\n", "line 1 has a role and no key"),
    "cut-key": (f"sealing {TEXTS[0][:-1]}\nend\n", "line 1 has no key that can be read"),
    "typo": (f"sealing {TEXTS[0][:-1]}{'A' if TEXTS[0][-1] != 'A' else 'B'}\nend\n", "line 1 has no key that can be read"),
    "bare-secret": (f"sealing {SECRETS[0].hex()}\nend\n", "line 1 has no key that can be read"),
    "quoted": (f'sealing "{TEXTS[0]}"\nend\n', "line 1 has no key that can be read"),
    "no-ascii-key": (f"sealing {TEXTS[0][:-1]}é\nend\n", "line 1 has no key that can be read"),
    "second-key": (f"sealing {TEXTS[0]} {TEXTS[1]}\nend\n", "line 1 has something after the key that is none of added=…"),
    "key-as-a-date": (f"sealing {TEXTS[0]} since={TEXTS[1]}\nend\n", "line 1 has a date for since that is not like"),
    "key-as-a-name": (f"sealing {TEXTS[0]} {TEXTS[1]}=2026-11-21\nend\n", "line 1 has something after the key"),
    "unknown-name": (f"sealing {TEXTS[0]} until=2026-11-21\nend\n", "line 1 has something after the key"),
    "name-twice": (f"sealing {TEXTS[0]} since=2026-11-21 since=2026-11-21\nend\n", "line 1 has something after the key"),
    "no-date": (f"sealing {TEXTS[0]} since=\nend\n", "line 1 has a date for since that is not like"),
    "no-equals": (f"sealing {TEXTS[0]} since\nend\n", "line 1 has something after the key"),
    "loose-date": (f"sealing {TEXTS[0]} added=21.11.2026\nend\n", "line 1 has a date for added that is not like"),
    "mark": (f"\ufeffsealing {TEXTS[0]}\nend\n", "begins with a byte order mark: save it as UTF-8 without one"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_its_line(name: str, tmp_path: Path) -> None:
    text, message = FAULTS[name]
    assert fault(text).startswith(message)
    path = tmp_path / "keys"
    path.write_text(text, newline="")
    with pytest.raises(ConfigurationError) as caught:
        KeyFile.load(path)
    assert str(caught.value).startswith(f"the key file {path}: {message}")
    assert "\n" not in str(caught.value)
    shown, ours = shown_by(caught.value)
    assert ours == 1
    assert NEEDLES.found_in(shown) == []


def test_what_is_no_utf_8_is_refused() -> None:
    assert fault(WHOLE.encode().replace(b"\xc3\xa9", b"\xe9")) == "is not UTF-8 text"
    assert fault(WHOLE.encode("utf-16")) == "is not UTF-8 text"


def test_a_file_cut_anywhere_is_refused() -> None:
    data = (WHOLE + f"# {OLD_KEY.export()}\n\n").encode()
    whole_from = data.index(b"\nend\n") + len(b"\nend")  # from there on only a comment is cut
    for length in range(len(data)):
        if length < whole_from:
            fault(data[:length])
        else:
            assert content(parsed(data[:length].decode()).keys) == content(parsed(WHOLE).keys), length


def test_a_file_whose_beginning_is_lost_is_refused_or_has_all_its_keys() -> None:
    data = WHOLE.encode()
    first_key = data.index(b"sealing")
    for start in range(1, len(data)):
        file = KeyFile._parse(data[start:])
        if isinstance(file, KeyFile):
            assert start <= first_key
            assert content(file.keys) == content(parsed(WHOLE).keys)
        else:
            assert NEEDLES.found_in(file) == []


@given(st.data())
def test_no_damage_to_a_file_does_more_than_have_it_refused(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        length = data.draw(st.integers(0, 8))
        damaged[start : start + length] = data.draw(st.binary(max_size=8))
    answer = KeyFile._parse(bytes(damaged))
    if isinstance(answer, str):
        assert NEEDLES.found_in(answer) == []
    else:
        assert {line.key.id for line in answer.keys} <= set(IDS[:3])  # a key is read right, or not at all
        assert answer.text().encode().removesuffix(b"\n") == bytes(damaged).removesuffix(b"\n")


def test_a_file_holds_a_hundred_keys_and_no_more() -> None:
    keys = [Key.from_secret(hashlib.sha256(b"%d" % number).digest()) for number in range(MAX_KEYS)]  # no two of one id
    lines = [f"accepting {key.export()}\n" for key in keys]
    full = f"sealing {TEXTS[0]}\n{''.join(lines[1:])}end\n"
    assert len(parsed(full).keys) == MAX_KEYS
    assert fault(lines[0] + full) == "holds 101 keys, and 100 are the most: drop old ones with `clientsession keys drop`"


def test_a_file_of_256_kib_is_read_and_no_larger_one(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(WHOLE + "#" * (MAX_FILE_BYTES - len(WHOLE.encode())))
    assert path.stat().st_size == MAX_FILE_BYTES
    assert content(KeyFile.load(path).keys) == content(parsed(WHOLE).keys)
    with path.open("a") as file:
        file.write("#")
    with pytest.raises(ConfigurationError, match="is larger than 262,144 bytes"):
        KeyFile.load(path)
    assert fault(path.read_bytes()) == "is larger than 262,144 bytes"


# What cannot be read


def loop(path: Path) -> None:
    path.symlink_to(path)


def pipe_without_a_writer(path: Path) -> None:
    os.mkfifo(path)


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "cannot be opened (No such file or directory)"),
    "directory": (Path.mkdir, "is not a regular file"),
    "pipe": (pipe_without_a_writer, "is not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/null"), "is not a regular file"),
    "loop": (loop, "cannot be opened (Too many levels of symbolic links)"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "cannot be opened (No such file or directory)"),
    "below-a-file": (below_a_file, "cannot be opened (Not a directory)"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_told_and_nobody_waits_for_it(name: str, tmp_path: Path) -> None:
    make, message = UNREADABLE[name]
    path = tmp_path / "folder" / "keys"
    path.parent.mkdir()
    make(path)
    with pytest.raises(ConfigurationError) as caught:
        KeyFile.load(path)
    assert str(caught.value) == f"the key file {path}: {message}"


def test_a_name_no_file_can_have_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be opened \(no file can have such a path\)"):
        KeyFile.load("a\0b")
    with pytest.raises(ConfigurationError, match=r"cannot be opened \(File name too long\)"):
        KeyFile.load("a" * 10_000)


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text(WHOLE)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "lseek", fail)
    assert read_file(path) == "cannot be read (Input/output error)"


def test_a_file_that_is_written_to_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text(WHOLE)
    seek = os.lseek
    looks = []

    def write_meanwhile(*arguments: int) -> int:
        looks.append(path.write_text(WHOLE + "#" * len(looks)))
        return seek(*arguments)

    monkeypatch.setattr(os, "lseek", write_meanwhile)
    assert read_file(path) == "is being written at this moment"
    assert len(looks) == 3


def test_a_key_for_a_path_is_not_shown(tmp_path: Path) -> None:
    for call in (lambda: KeyFile.load(TEXTS[0]), lambda: KeyFile.load(tmp_path / TEXTS[0]), lambda: rewrite(TEXTS[0], change)):
        with pytest.raises(ConfigurationError, match="this is the text of a key, and not the path of a key file") as caught:
            call()
        shown, ours = shown_by(caught.value)
        assert ours >= 1
        assert NEEDLES.found_in(shown) == []


@pytest.mark.parametrize("around", ["{}", "./{}", "/etc/{}/keys", "{}.txt", "/run/secrets/{}/", "KEY={}", " {}\n", r"C:\{}"])
def test_a_key_is_seen_in_a_path_also_without_its_prefix(around: str) -> None:
    for text in TEXTS:
        for key in (text, text.removeprefix("csk1_")):
            assert holds_key(around.format(key))
            with pytest.raises(ConfigurationError, match="this is the text of a key, and not the path of a key file") as caught:
                KeyFile.load(around.format(key))
            assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/etc/shop/keys.txt", "keys", "/srv/" + "a" * 255, "/nix/store/" + "0123456789abcdef" * 4 + "-keys", *IDS),
        TEXTS[0].removeprefix("csk1_")[:-1] + ("A" if TEXTS[0][-1] != "A" else "B"),  # whose checksum does not fit
    ],
)
def test_a_path_that_is_no_key_is_none(path: str) -> None:
    assert not holds_key(path)


def test_a_path_in_a_message_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"the key file '/nowhere\\na\\x1b\[31m\\udcff': cannot be opened"):
        KeyFile.load("/nowhere\na\x1b[31m\udcff")


# What is shown of it


def test_no_repr_shows_a_key_or_a_comment() -> None:
    file = parsed(WHOLE)
    assert repr(file) == f"<KeyFile sealing {IDS[0]}, accepting {IDS[1]}, retiring {IDS[2]}>"
    made = KeyFile.of(KeyLine(Role.SEALING, KEYS[3], comment=f"# {OLD_KEY.export()}"))
    for each in (file, made):
        shown = f"{each!r} {each} {each.keys!r} {each.lines!r} {each.of_role(Role.SEALING)} {each.find(IDS[0])}"
        assert NEEDLES.found_in(shown) == []
    assert NEEDLES.found_in(file.text())  # where it is asked for, it is there


def test_a_traceback_with_local_variables_shows_none_of_a_file() -> None:
    def fail(file: KeyFile, line: KeyLine, lines: tuple[object, ...]) -> None:
        raise OSError

    file = parsed(WHOLE)
    try:
        fail(file, file.keys[1], file.lines)
    except OSError as error:
        report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert IDS[1] in report
    assert NEEDLES.found_in(report) == []


# Dates


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-21T13:05Z", datetime(2026, 11, 21, 13, 5, tzinfo=UTC)),
        ("2026-11-21T13:05:07Z", datetime(2026, 11, 21, 13, 5, 7, tzinfo=UTC)),
        ("2026-11-21T13:05:07+00:00", datetime(2026, 11, 21, 13, 5, 7, tzinfo=UTC)),
        ("2026-11-21T00:05:07+02:30", datetime(2026, 11, 20, 21, 35, 7, tzinfo=UTC)),
        ("2026-11-21T13:05:07.000001Z", datetime(2026, 11, 21, 13, 5, 8, tzinfo=UTC)),
        ("2026-12-31T23:59:59.5Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        *((text, None) for text in ("", "2026", "2026-11", "20261121", "2026-W47-6", "2026-11-21T13", "2026-11-21T13:05:07")),
        *((text, None) for text in ("2026-11-21 13:05Z", "2026-11-31", "2026-11-21T25:00Z", "2026-11-21T13:60Z", "now", "never")),
        *((text, None) for text in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.5Z", "9999-12-31T23:59:59-00:01")),
        *((text, None) for text in ("2026-11-21T13:05:07.1234567Z", "٢٠٢٦-11-21", "2026-11-21Z", " 2026-11-21", "1795262400")),
    ],
)
def test_a_date_is_a_day_or_an_instant_with_its_zone(text: str, date: datetime | None) -> None:
    assert parse_date(text) == date


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-11, minutes=-30))])))
def test_a_date_comes_back_from_its_text_and_is_never_earlier(date: datetime) -> None:
    assume(1 < date.year < 9999)  # at the ends of the calendar a zone leads out of it
    whole = whole_second(date)
    assert timedelta(0) <= whole - date < timedelta(seconds=1)
    assert parse_date(format_date(whole)) == whole


# Editing


def test_a_key_is_added_above_the_end_and_nothing_else_is_touched() -> None:
    for text in (WHOLE, WHOLE.replace("\n", "\r\n"), f"sealing {TEXTS[0]}\n end # of it\n# {OLD_KEY.export()}\n"):
        line = KeyLine(Role.ACCEPTING, KEYS[3], added=NOON)
        after = parsed(text).adding(line).text()
        assert after.replace(f"accepting {TEXTS[3]} added=2026-11-21T12:00:00Z\n", "") == text
        assert content(parsed(after).keys[-1:]) == content((line,))


def test_a_key_is_changed_in_its_place_and_keeps_its_comment() -> None:
    file = parsed(WHOLE)
    line = file.keys[1].in_role(Role.RETIRING, since=NOON, droppable=NOON + timedelta(days=1))
    before, after = (each.text().split("\n") for each in (file, file.replacing(line)))
    assert [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [4]
    assert after[4] == (
        f"retiring  {TEXTS[1]} added=2026-11-22T00:00:00Z since=2026-11-21T12:00:00Z droppable=2026-11-22T12:00:00Z "
        f"# until the {OLD_KEY.export()} is gone"
    )


def test_a_key_is_taken_out_with_its_line_alone() -> None:
    assert parsed(WHOLE).without(IDS[1]).text().split("\n") == [line for line in WHOLE.split("\n") if TEXTS[1] not in line]


def test_a_new_file_says_what_it_is() -> None:
    text = KeyFile.of(KeyLine(Role.SEALING, KEYS[0], added=NOON, since=NOON)).text()
    first, *_, line, last, nothing = text.split("\n")
    assert first.startswith("# The keys of this site's sessions.")
    assert line == f"sealing   {TEXTS[0]} added=2026-11-21T12:00:00Z since=2026-11-21T12:00:00Z"
    assert (last, nothing) == ("end", "")
    assert parsed(text).text() == text


# Writing


def change(file: KeyFile | None) -> KeyFile:
    """Add a key, or make a file."""
    return parsed(WHOLE) if file is None else file.adding(KeyLine(Role.ACCEPTING, KEYS[3]))


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a whole file, at mode 0600."""
    path = tmp_path / "keys"
    path.write_text(WHOLE)
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_a_new_file_is_for_its_owner_alone(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "keys"
    with umask(mask):
        file, former = rewrite(str(path), change)
    assert (path.read_text(), mode(path), former) == (WHOLE, 0o600, None)
    assert content(file.keys) == content(parsed(WHOLE).keys)
    assert os.listdir(tmp_path) == ["keys"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0o600, 0o600),
        (0o640, 0o640),
        (0o644, 0o600),
        (0o666, 0o600),
        (0o660, 0o640),
        (0o440, 0o640),
        (0o400, 0o600),
        (0o604, 0o600),
    ],
)
def test_a_file_is_written_for_its_owner_and_for_its_group_where_that_was_so(path: Path, before: int, after: int) -> None:
    path.chmod(before)
    with umask(0):
        _, former = rewrite(str(path), change)
    assert (mode(path), former, mode_after(before)) == (after, before, after)


def test_the_file_to_come_is_never_open_to_others(path: Path) -> None:
    path.chmod(0o640)
    seen = []

    def look(file: KeyFile | None) -> KeyFile:
        seen.append(mode(path.with_name("keys.new")))
        return change(file)

    with umask(0):
        rewrite(str(path), look)
    assert seen == [0o600]


def test_a_link_stays_one(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to("../keys")
    rewrite(str(link), change)
    assert link.is_symlink()
    assert TEXTS[3] in path.read_text()
    assert os.listdir(link.parent) == ["link"]
    path.unlink()
    monkeypatch.chdir(link.parent)
    rewrite("link", change)  # a link to what is not there yet
    assert link.is_symlink()
    assert path.read_text() == WHOLE


def test_two_at_once_are_one_and_a_refusal(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)

    def meanwhile(file: KeyFile | None) -> KeyFile:
        for other in (path, link):
            with pytest.raises(BusyError, match=r"keys\.new exists: another `clientsession keys` is at work") as caught:
                rewrite(str(other), change)
            assert f"{path}.new" in str(caught.value)
        return change(file)

    rewrite(str(path), meanwhile)
    assert path.read_text().count(TEXTS[3]) == 1
    assert sorted(os.listdir(tmp_path)) == ["keys", "link"]


def test_what_was_left_behind_is_neither_read_nor_removed(path: Path) -> None:
    left = path.with_name("keys.new")
    left.write_text("half of a f")
    with pytest.raises(BusyError, match=r"or was stopped half-way\. If none is, remove it"):
        rewrite(str(path), change)
    assert left.read_text() == "half of a f"
    assert path.read_text() == WHOLE


def test_the_file_is_read_when_no_other_can_change_it_any_more(path: Path) -> None:
    """Of many writers at once none undoes what another did, and a reader never sees anything but a whole file."""
    keys = [Key.generate() for _ in range(24)]
    written: list[str] = []
    over = threading.Event()
    broken: list[str] = []

    def write(mine: list[Key]) -> None:
        for key in mine:
            while True:
                try:
                    rewrite(str(path), lambda file, key=key: file.adding(KeyLine(Role.ACCEPTING, key)))
                except BusyError:
                    continue
                written.append(key.id)
                break

    def read() -> None:
        while not over.is_set():
            try:
                KeyFile.load(path)
            except ConfigurationError as error:
                broken.append(str(error))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(keys[start::4],)) for start in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert broken == []
    assert sorted(written) == sorted(key.id for key in keys)
    assert {line.key.id for line in KeyFile.load(path).keys} == {*IDS[:3], *written}


def test_a_loss_of_power_leaves_the_file_of_before_or_of_after(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put in the place of the file is on the disk by then, and the change itself before the command ends."""
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(found.st_mode) else f"file of {found.st_size}")
        sync(descriptor)

    def note_replace(old: str, new: str) -> None:
        done.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    rewrite(str(path), change)
    assert done == [f"file of {path.stat().st_size}", "replace", "folder"]


class Mishap(Exception):
    pass


def test_where_an_edit_fails_the_file_is_as_it_was(path: Path, tmp_path: Path) -> None:
    def fail(file: KeyFile | None) -> KeyFile:
        raise Mishap

    with pytest.raises(Mishap):
        rewrite(str(path), fail)
    assert path.read_text() == WHOLE
    assert os.listdir(tmp_path) == ["keys"]


@pytest.mark.parametrize("content", ["", WHOLE[:-5], f"{TEXTS[0]}\n"], ids=["empty", "cut", "other"])
def test_a_broken_file_is_not_written_over(path: Path, tmp_path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"the key file /.*: (line 1 )?(has|must) ") as caught:
        rewrite(str(path), change)
    assert path.read_text() == content
    assert os.listdir(tmp_path) == ["keys"]
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


@pytest.mark.parametrize("make", [Path.mkdir, loop, pipe_without_a_writer])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "keys"
    make(path)
    before = path.lstat()
    with pytest.raises(ConfigurationError, match=r"is not a regular file|cannot be opened \(Too many levels"):
        rewrite(str(path), change)
    assert os.path.samestat(path.lstat(), before)
    assert os.listdir(tmp_path) == ["keys"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"keys\.new cannot be made beside it \(No such file or directory\)"):
        rewrite(str(tmp_path / "nowhere" / "keys"), change)


@pytest.mark.parametrize("size", [MAX_FILE_BYTES, MAX_FILE_BYTES - 1])
def test_nothing_is_written_that_would_not_be_read(path: Path, tmp_path: Path, size: int) -> None:
    text = WHOLE + "#" * (size - len(WHOLE.encode()))
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="it would not be read any more, for it is larger than"):
        rewrite(str(path), change)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["keys"]


def test_a_full_disk_leaves_the_file_as_it_was(path: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # bytes; Python does not let the signal of it through
    try:
        with pytest.raises(ConfigurationError) as caught:
            rewrite(str(path), change)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == f"the key file {path}: cannot be written (File too large). It is as it was"
    assert path.read_text() == WHOLE
    assert os.listdir(tmp_path) == ["keys"]
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


def test_a_new_file_that_is_gone_is_told(path: Path, tmp_path: Path) -> None:
    def remove(file: KeyFile | None) -> KeyFile:
        path.with_name("keys.new").unlink()
        return change(file)

    with pytest.raises(ConfigurationError, match=r"its \.new was removed by somebody else"):
        rewrite(str(path), remove)
    assert path.read_text() == WHOLE
    assert os.listdir(tmp_path) == ["keys"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_new_file_of_another_is_neither_taken_nor_removed(path: Path, fails: bool) -> None:
    """Where somebody removed ours, thinking it was left behind."""
    other = path.with_name("keys.new")

    def take_away(file: KeyFile | None) -> KeyFile:
        other.unlink()
        other.write_text("of another")
        if fails:
            raise Mishap
        return change(file)

    with pytest.raises(Mishap if fails else ConfigurationError):
        rewrite(str(path), take_away)
    assert path.read_text() == WHOLE
    assert other.read_text() == "of another"


def test_what_came_in_the_place_of_the_file_is_not_replaced(path: Path, tmp_path: Path) -> None:
    def make_a_folder(file: KeyFile | None) -> KeyFile:
        path.unlink()
        path.mkdir()
        return change(file)

    with pytest.raises(ConfigurationError, match=r"cannot be replaced \(Is a directory\)"):
        rewrite(str(path), make_a_folder)
    assert path.is_dir()
    assert os.listdir(tmp_path) == ["keys"]


def owned_by_another(monkeypatch: pytest.MonkeyPatch, path: Path) -> os.stat_result:
    """Have the file look as if it were somebody else's."""
    found = path.stat()
    changed = os.stat_result((*found[:4], found.st_uid + 1, found.st_gid + 1, *found[6:]))
    monkeypatch.setattr(keyfile, "_status", lambda *_: changed)
    return changed


def test_the_owner_of_a_file_stays_its_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    owner = owned_by_another(monkeypatch, path)
    monkeypatch.setattr(os, "fchown", lambda descriptor, user, group: given.append((user, group)))
    rewrite(str(path), change)
    assert given == [(owner.st_uid, owner.st_gid)]
    assert TEXTS[3] in path.read_text()


def test_a_file_whose_owner_cannot_be_kept_is_as_it_was(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    owned_by_another(monkeypatch, path)
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(ConfigurationError, match=r"cannot be kept \(Operation not permitted\): run this as its owner"):
        rewrite(str(path), change)
    assert path.read_text() == WHOLE
    assert os.listdir(tmp_path) == ["keys"]


def test_owners_are_kept_for_real() -> None:
    """As root: the file stays another's. As anybody else: it is one's own before and after."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        path.write_text(WHOLE)
        if os.geteuid() == 0:
            os.chown(path, 12_345, 12_346)
        before = path.stat()
        rewrite(str(path), change)
        after = path.stat()
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
        assert after.st_ino != before.st_ino


def test_who_may_not_write_there_is_told_so_and_changes_nothing() -> None:
    """In a process that is not root's, in a folder that is for reading alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        path.write_text(WHOLE)
        path.chmod(0o644)
        Path(folder).chmod(0o555)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:  # no more than this, for the child has the tests' state
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65_534)
                    os.setuid(65_534)
                rewrite(str(path), change)
            except ConfigurationError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with open(reading) as pipe:
            said = pipe.read()
        Path(folder).chmod(0o755)
        assert said == f"the key file {path}: {path}.new cannot be made beside it (Permission denied)"
        assert path.read_text() == WHOLE
        assert os.listdir(folder) == ["keys"]


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="this system has no access control lists that Python knows")
def test_a_list_of_who_may_read_the_file_is_kept(tmp_path: Path) -> None:
    """Or a worker of another user could not read it any more, and the file's group could."""
    path = tmp_path / "keys"
    path.write_text(f"sealing {KEYS[0].export()}\nend\n", encoding="utf-8")
    path.chmod(0o600)
    # Linux, acl(5) in its binary form: version 2; the owner rw, user 65534 r, the group nothing, the mask r, others nothing.
    entries = [(1, 6, -1), (2, 4, 65534), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", access)
    except OSError:
        access = b""  # a file system that knows none: then nothing is made up
    rewrite(str(path), lambda file: file)
    assert KeyFile.load(path).keys[0].key.id == KEYS[0].id
    kept = os.getxattr(path, "system.posix_acl_access") if access else b""
    assert kept == access


def test_the_mode_is_set_on_the_file_and_not_on_what_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the folder may put a link in the place of the new file, and the command may be root's."""
    path, other = tmp_path / "keys", tmp_path / "of somebody else"
    path.write_text(f"sealing {KEYS[0].export()}\nend\n", encoding="utf-8")
    path.chmod(0o640)
    other.write_text("x", encoding="utf-8")
    other.chmod(0o644)
    modes = []
    monkeypatch.setattr(os, "chmod", lambda *arguments, **_: modes.append(arguments))
    rewrite(str(path), lambda file: file)
    assert modes == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def a_file(folder: Path) -> Path:
    path = folder / "keys"
    path.write_text(f"sealing {KEYS[0].export()}\nend\n", encoding="utf-8")
    return path


def test_a_list_that_cannot_be_kept_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    path = a_file(tmp_path)
    before = path.stat()
    monkeypatch.setattr(os, "getxattr", lambda *_: b"a list", raising=False)
    monkeypatch.setattr(os, "setxattr", fail, raising=False)
    with pytest.raises(ConfigurationError, match=r"cannot be protected \(Operation not supported\)\. It is as it was"):
        rewrite(str(path), lambda file: file)
    assert (path.stat().st_ino, sorted(tmp_path.iterdir())) == (before.st_ino, [path])


@pytest.mark.parametrize("names", [["fchmod"], ["getxattr", "setxattr"]], ids=str)
def test_a_system_without_such_modes_or_lists_writes_the_file_as_well(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file(tmp_path)
    for name in names:
        monkeypatch.delattr(os, name, raising=False)
    rewrite(str(path), lambda file: file.adding(KeyLine(Role.ACCEPTING, KEYS[1])))
    assert [line.key.id for line in KeyFile.load(path).keys] == IDS[:2]
