"""Rings that follow a key file or a source: what they follow, how often they look, and what they do when it breaks.

Time is a clock that is set by hand, but for the times of files, which are the system's. Many threads, forked processes and a
writer that is not atomic are real.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import itertools
import logging
import mmap
import os
import pickle
import queue
import re
import signal
import socket
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from clientsession import Codec, ConfigurationError, Jar, Key, Keyring, Reason, Sessions, Suite, UnknownKeyError
from clientsession._events import Event, EventKind
from tests import reference
from tests.conftest import Client, Clock, cookie_of
from tests.test_concurrency import eager_switching, in_threads, run_script  # noqa: F401 - the first is a fixture
from tests.test_secrets import Needles, shown_by

SECRETS = [hashlib.sha256(b"%d" % number).digest() for number in range(4)]
NEEDLES = Needles(*SECRETS)
NEEDLES.windows = NEEDLES.windows.union(*(Needles.of_secret(secret).windows for secret in SECRETS))
ONE, TWO, THREE, FOUR = (Key.from_secret(secret, suite=suite) for secret, suite in zip(SECRETS, list(Suite) * 2, strict=True))
SETTLED_SECONDS = 2.0  # a file younger than that may change and keep its times
RETRY_SECONDS = 10.0  # a source that failed is asked again as soon, whatever its ``every``
DEADLINE_SECONDS = 30.0  # for what takes two or three
THREADS = 8


def text_of(sealing: Key, *, accepting: tuple[Key, ...] = (), retiring: tuple[Key, ...] = ()) -> str:
    roles = (("sealing", (sealing,)), ("accepting", accepting), ("retiring", retiring))
    return "".join(f"{role} {key.export()}\n" for role, keys in roles for key in keys) + "end\n"


def replace(path: Path, text: str | bytes) -> None:
    """Write as the commands do: a new file takes the place of the old one."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(text.encode() if isinstance(text, str) else text)
    new.replace(path)


def ids_of(ring: Keyring) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return ring.sealing.id, tuple(key.id for key in ring.accepting), tuple(key.id for key in ring.retiring)


def sealed_by(token: str) -> str:
    """The id of the key that a token, or a Set-Cookie value, names."""
    return reference.frame_of(cookie_of(token).rpartition("=")[2])[1:5].hex()


@dataclass
class Log:
    """The lines on the logger ``clientsession`` that are about keys, since they were last taken."""

    caplog: pytest.LogCaptureFixture
    seen: int = 0

    def take(self) -> list[tuple[str, str]]:
        new, self.seen = self.caplog.records[self.seen :], len(self.caplog.records)
        return [(record.levelname, record.getMessage()) for record in new if record.getMessage().startswith("keys ")]

    def take_levels(self) -> list[str]:
        return [level for level, _ in self.take()]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    """Whatever a test does, no line of the log shows a secret."""
    caplog.set_level(logging.DEBUG, "clientsession")
    yield Log(caplog)
    records = caplog.get_records("call")
    shown = {f"{record.getMessage()} {record.args!r} {record.exc_info} {record.stack_info}" for record in records}
    assert NEEDLES.found_in("\n".join(shown)) == []


@dataclass
class Place:
    """A key file, the ring that follows it, and the clock of that ring."""

    path: Path
    clock: Clock
    text: str
    ring: Keyring = field(init=False)

    def __post_init__(self) -> None:
        replace(self.path, self.text)
        self.ring = Keyring.from_file(self.path, clock=self.clock)

    def put(self, text: str | bytes) -> None:
        replace(self.path, text)

    def use(self, times: int = 1) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The keys of the ring after so many uses, each a second after the one before."""
        for _ in range(times):
            self.clock.pass_(1)
            ids = ids_of(self.ring)
        return ids


@pytest.fixture
def place(tmp_path: Path, log: Log) -> Place:
    folder = tmp_path / "keys"
    folder.mkdir()
    return Place(folder / "site.keys", Clock(1000.0), text_of(ONE, accepting=(TWO,), retiring=(THREE,)))


WHOLE = (ONE.id, (TWO.id,), (THREE.id,))  # the ring of a place before anything happens to it


# ---------------------------------------------------------------------------------------------------------------------
# Following a file
# ---------------------------------------------------------------------------------------------------------------------


def test_a_ring_has_the_roles_of_the_file(place: Place) -> None:
    assert ids_of(place.ring) == WHOLE
    assert isinstance(place.ring, Keyring)
    assert isinstance(place.ring.sealing, Key)


def test_a_ring_follows_its_file_and_tells_each_change_in_a_line(place: Place, log: Log) -> None:
    for text, ids in (
        (text_of(ONE), (ONE.id, (), ())),
        (text_of(ONE, accepting=(FOUR,)), (ONE.id, (FOUR.id,), ())),
        (text_of(FOUR, retiring=(ONE,)), (FOUR.id, (), (ONE.id,))),
        (text_of(FOUR), (FOUR.id, (), ())),
    ):
        place.put(text)
        assert place.use() == ids
        shown = [f"[{', '.join(each)}]" for each in ids[1:]]
        assert log.take() == [
            ("INFO", f"keys changed: the key file {place.path}: sealing {ids[0]}, accepting {shown[0]}, retiring {shown[1]}")
        ]
        place.use(20)
        assert log.take() == []


def test_a_change_of_comments_and_dates_is_no_change_of_the_ring(place: Place, log: Log) -> None:
    place.put("# moved to the new data centre\n" + place.text.replace("\n", " added=2026-11-20 # by ada\n", 1))
    assert place.use(3) == WHOLE
    assert log.take() == []


def test_a_codec_and_a_jar_follow_their_ring(place: Place, clock: Clock) -> None:
    codec, jar = Codec(place.ring, "x", clock=clock), Jar("session", place.ring, clock=clock)
    assert sealed_by(codec.encode({})) == sealed_by(jar.codec.encode({})) == ONE.id
    client = Client(jar)
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    assert sealed_by(client.set_cookies[0]) == ONE.id
    place.put(text_of(TWO, retiring=(ONE,)))
    place.clock.pass_(1)
    assert sealed_by(codec.encode({})) == TWO.id
    with client.visit() as sessions:
        sessions["session"]["a"] = 2
    assert sealed_by(client.set_cookies[0]) == TWO.id


def test_a_whole_rotation_loses_nobody_and_ends_with_the_old_key_unknown(place: Place, clock: Clock, log: Log) -> None:
    events: list[Event] = []
    jar = Jar("session", place.ring, clock=clock, observer=events.append)
    active, idle = Client(jar), Client(jar)
    place.put(text_of(ONE))
    place.use()
    for client in (active, idle):
        with client.visit() as sessions:
            sessions["session"]["user"] = "ada"
    for text, kind, key in (
        (text_of(ONE, accepting=(TWO,)), None, ONE),  # added
        (text_of(TWO, retiring=(ONE,)), EventKind.RESEALED, TWO),  # promoted: the first read gets a new seal
        (text_of(TWO, retiring=(ONE,)), None, TWO),
        (text_of(TWO), None, TWO),  # dropped
    ):
        place.put(text)
        place.clock.pass_(1)
        events.clear()
        with active.visit() as sessions:
            assert sessions["session"] == {"user": "ada"}
            assert sessions["session"].refusal is None
        assert [event.kind for event in events] == [EventKind.OPENED, *filter(None, [kind])]
        assert [event.key_id for event in events[1:]] == [TWO.id for _ in filter(None, [kind])]
        assert sealed_by(active.cookies["session"]) == key.id
    with idle.visit() as sessions:  # was away from before the promotion until after the drop
        assert sessions["session"].refusal is Reason.UNKNOWN_KEY
    codec = Codec(Keyring(ONE), "x")
    with pytest.raises(UnknownKeyError):
        Codec(place.ring, "x").decode(codec.encode({}))


def test_a_relative_path_is_taken_from_the_folder_of_when_the_ring_was_made(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.path.parent)
    ring = Keyring.from_file("site.keys", clock=place.clock)
    other = tmp_path / "other"
    other.mkdir()
    replace(other / "site.keys", text_of(FOUR))
    monkeypatch.chdir(other)
    place.put(text_of(TWO))
    place.clock.pass_(1)
    assert ids_of(ring) == (TWO.id, (), ())
    assert str(place.path) in repr(ring)


@pytest.mark.parametrize("kind", [str, Path, os.fspath], ids=["str", "Path", "fspath"])
def test_a_path_is_a_str_or_a_path_object(place: Place, kind: Callable[[Path], Any]) -> None:
    assert ids_of(Keyring.from_file(kind(place.path))) == WHOLE


def test_a_file_that_is_deleted_and_made_again_is_followed(place: Place, log: Log) -> None:
    for sealing in (TWO, FOUR, ONE):
        before = ids_of(place.ring)
        place.path.unlink()
        assert place.use(5) == before
        place.path.write_text(text_of(sealing))
        assert place.use(5) == (sealing.id, (), ())
        assert log.take_levels() == ["ERROR", "WARNING"]


def test_a_mounted_secret_whose_folder_is_swapped_is_followed(tmp_path: Path, log: Log) -> None:
    """As Kubernetes mounts secrets: keys -> ..data/keys, ..data -> ..2026_1, and ..data is replaced."""

    def publish(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    publish("..2026_1", text_of(ONE))
    (tmp_path / "keys").symlink_to("..data/keys")
    clock = Clock(0.0)
    ring = Keyring.from_file(tmp_path / "keys", clock=clock)
    for name, text, ids in (
        ("..2026_2", text_of(ONE, accepting=(TWO,)), (ONE.id, (TWO.id,), ())),
        ("..2026_3", text_of(TWO, retiring=(ONE,)), (TWO.id, (), (ONE.id,))),
        ("..2026_4", text_of(TWO), (TWO.id, (), ())),
    ):
        publish(name, text)
        clock.pass_(1)
        assert ids_of(ring) == ids
        assert log.take_levels() == ["INFO"]


# How often it looks, and how often it reads


@dataclass
class Count:
    looks: int = 0
    reads: int = 0

    def take(self) -> tuple[int, int]:
        taken = self.looks, self.reads
        self.looks = self.reads = 0
        return taken


@pytest.fixture
def counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often the key file is looked at and opened."""
    count = Count()
    real_stat, real_open = os.stat, os.open

    def counting_stat(path: Any, *args: Any, **options: Any) -> Any:
        count.looks += path == str(place.path)
        return real_stat(path, *args, **options)

    def counting_open(path: Any, *args: Any, **options: Any) -> Any:
        count.reads += path == str(place.path)
        return real_open(path, *args, **options)

    monkeypatch.setattr(os, "stat", counting_stat)
    monkeypatch.setattr(os, "open", counting_open)
    return count


def settle(path: Path) -> None:
    """Wait until a file is old, and a ring that is there has seen it for as long, by its own clock, which began a moment later.

    Its times cannot be set by hand: that itself is a change, which the system dates.
    """
    found, start = path.stat(), time.monotonic()
    while min(time.time() - max(found.st_mtime, found.st_ctime), time.monotonic() - start) <= SETTLED_SECONDS:
        time.sleep(0.05)


def test_the_file_is_looked_at_when_the_ring_is_used_and_at_most_once_a_second(place: Place, counted: Count) -> None:
    for _ in range(1000):
        assert place.ring.sealing.id == ONE.id
        place.clock.pass_(0.0009)
    assert counted.take() == (0, 0)
    place.clock.pass_(0.1)
    for _ in range(1000):
        assert place.ring.sealing.id == ONE.id
    assert counted.take() == (1, 1)  # it is young: one that looks as it did may still be another
    place.clock.pass_(3600)  # unused, nobody looks
    assert counted.take() == (0, 0)
    assert ids_of(place.ring) == WHOLE
    assert counted.take() == (1, 1)


def test_a_broken_file_is_looked_at_no_more_often(place: Place, counted: Count) -> None:
    place.put("end\n")
    place.use(10)
    assert counted.take() == (10, 10)
    for _ in range(1000):
        assert place.ring.sealing.id == ONE.id
    assert counted.take() == (0, 0)


def test_a_file_that_settled_is_not_read_again_until_it_changes(place: Place, counted: Count, log: Log) -> None:
    settle(place.path)
    counted.take()
    place.use()
    assert counted.take() == (1, 1)
    assert place.use(100) == WHOLE
    assert counted.take() == (100, 0)
    os.utime(place.path)  # touched: it is read, and found to be the same
    place.use()
    assert counted.take() == (1, 1)
    place.put(text_of(TWO))
    assert place.use() == (TWO.id, (), ())
    assert log.take_levels() == ["INFO"]


def test_a_file_that_settled_and_was_broken_for_a_while_is_read_again(place: Place, log: Log) -> None:
    """What it looks like is what it looked like before: it was away, and is back."""
    settle(place.path)
    place.use(2)
    away = place.path.with_name("away")
    place.path.rename(away)
    place.use(2)
    away.rename(place.path)
    assert place.use(2) == WHOLE
    assert log.take_levels() == ["ERROR", "WARNING"]


def test_a_broken_file_that_settled_is_still_a_broken_one(place: Place, log: Log) -> None:
    place.put(text_of(ONE).removesuffix("end\n"))
    settle(place.path)
    assert place.use(10) == WHOLE
    assert log.take_levels() == ["ERROR"]


def test_a_file_rewritten_with_the_old_size_and_time_is_noticed(place: Place) -> None:
    one, two = text_of(ONE), text_of(THREE)  # of one length: the same suite
    assert len(one) == len(two)
    place.put(one)
    old = place.path.stat()
    place.use()
    place.path.write_text(two)
    os.utime(place.path, ns=(old.st_atime_ns, old.st_mtime_ns))
    new = place.path.stat()
    assert (new.st_ino, new.st_size, new.st_mtime_ns) == (old.st_ino, old.st_size, old.st_mtime_ns)
    assert place.use() == (THREE.id, (), ())


@pytest.mark.parametrize("dated_back", [False, True], ids=["young", "dated-back"])
def test_a_rewrite_that_leaves_size_and_times_as_they_were_is_noticed(place: Place, dated_back: bool) -> None:
    """As within one tick of a file system's clock. Stores into a mapped page that is to be written anyway are dated once."""
    texts = [text_of(key).encode() for key in (ONE, THREE)]  # of one length: the same suite
    place.put(texts[0])
    alike = 0
    with place.path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        for number in range(50):
            before = place.path.stat()
            mapped[:] = texts[number % 2]
            after = place.path.stat()
            alike += (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
            if number == 0 and dated_back:  # as copies are that keep the time of the original
                os.utime(place.path, (0, 0))
            assert place.use() == ((ONE, THREE)[number % 2].id, (), ())
    assert alike


def test_a_rewrite_is_noticed_however_soon_after_the_reading_it_comes(place: Place) -> None:
    place.put(text_of(ONE))
    for number in range(300):
        key = (THREE, ONE)[number % 2]
        with place.path.open("r+") as file:
            file.write(text_of(key))
        assert place.use() == (key.id, (), ())


def test_a_file_from_the_future_is_followed(place: Place, counted: Count) -> None:
    """Another machine's clock is ahead: the file is read each second, since it never settles."""
    place.put(text_of(TWO))
    os.utime(place.path, (time.time() + 86_400,) * 2)
    assert place.use() == (TWO.id, (), ())
    counted.take()
    place.use(5)
    assert counted.take() == (5, 5)
    place.put(text_of(FOUR))
    assert place.use() == (FOUR.id, (), ())


# ---------------------------------------------------------------------------------------------------------------------
# A file that is broken
# ---------------------------------------------------------------------------------------------------------------------


def write(text: str | bytes) -> Callable[[Path], None]:
    return lambda path: replace(path, text)


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.unlink()
        make(path)

    return put


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def make_sparse(path: Path) -> None:
    """Eight gigabytes, of which the disk holds nothing."""
    path.write_text(text_of(ONE))
    os.truncate(path, 8 << 30)


def put_a_file_for_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.write_text("")


def loop(path: Path) -> None:
    path.symlink_to(path.with_name("loop"))
    path.with_name("loop").symlink_to(path)


KEYS = [Key.from_secret(hashlib.sha256(b"key %d" % number).digest()) for number in range(101)]  # no two of one id
TYPO = ONE.export()[:20] + ("B" if ONE.export()[20] != "B" else "C") + ONE.export()[21:]

# What happens to the file, and what the line says of it.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (write(""), "has no line that says end"),
    "white space": (write(" \n\n"), "has no line that says end"),
    "comments alone": (write("# keys\n"), "has no line that says end"),
    "an end alone": (write("end\n"), "has no sealing key"),
    "cut before its end": (write(text_of(ONE).removesuffix("end\n")), "has no line that says end"),
    "cut in a key": (write(text_of(ONE)[:30]), "line 1 has no key that can be read"),
    "cut after a role": (write("sealing "), "line 1 has a role and no key"),
    "a key twice": (write(text_of(ONE, retiring=(TWO, ONE))), f"lines 1 and 3 hold the same key, {ONE.id}"),
    "two that seal": (write(f"sealing {TWO.export()}\n{text_of(ONE)}"), "lines 1 and 2 are both sealing"),
    "none that seals": (write(f"accepting {TWO.export()}\nend\n"), "has no sealing key"),
    "a key after the end": (write(f"{text_of(ONE)}accepting {TWO.export()}\n"), "line 3 holds a key after the line that says end"),
    "two ends": (write(f"{text_of(ONE)}end\n"), "line 3 says end once more"),
    "a typo in a key": (write(f"sealing {TYPO}\nend\n"), "the checksum of the key does not fit"),
    "a key without a role": (write(f"{ONE.export()}\nend\n"), "line 1 must begin with sealing"),
    "a bad date": (write(f"sealing {ONE.export()} since=yesterday\nend\n"), "line 1 has a date for since that is not like"),
    "101 keys": (write(text_of(KEYS[0], retiring=tuple(KEYS[1:]))), "holds 101 keys"),
    "zero bytes": (write(bytes(200)), "line 1 must begin with sealing"),
    "another encoding": (write(text_of(ONE).encode("utf-16")), "is not UTF-8 text"),
    "a line too many": (write(f"{text_of(ONE)}{ONE.export()}\n"), "line 3 must begin with sealing"),
    "huge": (write(text_of(ONE) + "#\n" * 200_000), "is larger than 262,144 bytes"),
    "of 8 GiB": (instead(make_sparse), "is larger than 262,144 bytes"),
    "deleted": (Path.unlink, "cannot be opened (No such file or directory)"),
    "a folder": (instead(Path.mkdir), "is not a regular file"),
    "a pipe": (instead(os.mkfifo), "is not a regular file"),
    "a socket": (instead(make_socket), "cannot be opened (No such device or address)"),
    "a device": (instead(lambda path: path.symlink_to("/dev/zero")), "is not a regular file"),
    "a broken link": (instead(lambda path: path.symlink_to("gone")), "cannot be opened (No such file or directory)"),
    "a link to itself": (instead(lambda path: path.symlink_to(path.name)), "cannot be opened (Too many levels of symbolic links)"),
    "a loop of links": (instead(loop), "cannot be opened (Too many levels of symbolic links)"),
    "below a file": (put_a_file_for_the_folder, "cannot be opened (Not a directory)"),
    "without its folder": (
        lambda path: path.parent.rename(path.parent.with_name("moved")),
        "cannot be opened (No such file or directory)",
    ),
}


def mend(path: Path, text: str) -> None:
    folder, moved = path.parent, path.parent.with_name("moved")
    if moved.exists():
        if folder.exists():
            folder.unlink()
        moved.rename(folder)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.with_name("loop").unlink(missing_ok=True)
    replace(path, text)


def still_serves(place: Place, clock: Clock, key: Key) -> bool:
    """Whether sessions of before open, and new ones are sealed and open."""
    codec = Codec(place.ring, "x", clock=clock)
    token = codec.encode({"a": 1})
    return all(codec.decode(each) == {"a": 1} for each in (token, Codec(Keyring(key), "x", clock=clock).encode({"a": 1})))


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Whatever waits for a pipe's other end is ended by an error, and not by whoever wonders what the tests are doing."""

    def end(*_: object) -> None:
        raise AssertionError("something waits")  # a TimeoutError is an OSError, and that would be caught

    former = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("name", FAULTS)
def test_with_a_broken_file_the_ring_stays_with_one_loud_line_and_mended_it_is_followed(
    place: Place, clock: Clock, log: Log, name: str
) -> None:
    cause, says = FAULTS[name]
    cause(place.path)
    for _ in range(50):
        assert place.use() == WHOLE
        assert still_serves(place, clock, ONE)
        assert still_serves(place, clock, THREE)
    ((level, line),) = log.take()
    assert level == "ERROR"
    assert line.startswith(f"keys not read again: the key file {place.path}: ")
    assert says in line
    assert f". The keys of before stay in use: sealing {ONE.id}, accepting [{TWO.id}], retiring [{THREE.id}]. Mend it" in line
    assert "\n" not in line

    mend(place.path, place.text)
    assert place.use(50) == WHOLE
    assert log.take() == [
        (
            "WARNING",
            f"keys are read again: the key file {place.path}: sealing {ONE.id}, accepting [{TWO.id}], retiring [{THREE.id}]",
        )
    ]
    place.put(text_of(FOUR, retiring=(ONE,)))
    assert place.use() == (FOUR.id, (), (ONE.id,))
    assert log.take_levels() == ["INFO"]

    cause(place.path)  # once more: it is a new state, and a new line
    place.use(5)
    mend(place.path, text_of(TWO))
    assert place.use(5) == (TWO.id, (), ())
    (error, warning) = log.take()
    assert (error[0], warning[0]) == ("ERROR", "WARNING")
    assert f"in use: sealing {FOUR.id}" in error[1]
    assert warning[1].endswith(f": sealing {TWO.id}, accepting [], retiring []")  # it tells the keys it found


@contextmanager
def no_privileges() -> Iterator[None]:
    """As root reads everything, be somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)


def test_a_file_without_permission_is_a_broken_one(place: Place, log: Log) -> None:
    place.path.chmod(0)
    with no_privileges():
        assert place.use(10) == WHOLE
    ((level, line),) = log.take()
    assert level == "ERROR"
    assert f"the key file {place.path}: cannot be opened (Permission denied). The keys" in line
    place.path.chmod(stat.S_IRUSR)
    assert place.use(10) == WHOLE
    assert log.take_levels() == ["WARNING"]


def test_a_second_fault_is_a_second_line_and_the_same_again_is_none(place: Place, log: Log) -> None:
    for text, levels in (("", ["ERROR"]), ("# cut\n", []), (text_of(ONE)[:30], ["ERROR"]), ("end\n", ["ERROR"])):
        place.put(text)
        assert place.use(5) == WHOLE
        assert log.take_levels() == levels
    place.path.unlink()
    assert place.use(5) == WHOLE
    assert log.take_levels() == ["ERROR"]
    place.put(place.text)
    assert place.use(5) == WHOLE
    assert log.take_levels() == ["WARNING"]


def test_cut_at_any_byte_the_ring_stays_and_whole_it_is_followed(place: Place, clock: Clock, log: Log) -> None:
    whole = (
        "# keys of the shop; euro sign: \u20ac\n\n"
        f"sealing   {FOUR.export()}  added=2026-11-20T10:00:00Z since=2026-11-21T13:00:00Z\n"
        f"retiring  {ONE.export()}  since=2026-11-21T13:00:00Z droppable=2027-03-21T14:00:00Z   # and here\n"
        "end # of the file\n"
    ).encode()
    enough = whole.index(b"end ") + len("end")  # from here on nothing of the ring is missing
    for cut in range(len(whole) + 1):
        place.put(whole[:cut])
        place.use()
        if cut < enough:
            assert place.use() == WHOLE
            assert still_serves(place, clock, ONE)
            assert log.take_levels() == ["ERROR"]
        else:
            assert place.use() == (FOUR.id, (), (ONE.id,))
            assert log.take_levels() == ["INFO"]
        place.put(place.text)
        assert place.use() == WHOLE
        assert log.take_levels() == ["WARNING" if cut < enough else "INFO"]


@pytest.mark.usefixtures("eager_switching")
def test_a_file_that_is_written_in_small_steps_under_many_threads_gives_no_wrong_ring(place: Place, log: Log) -> None:
    """The writer is not atomic, and every use of the ring is a look at the file."""
    versions = [
        text_of(ONE, accepting=(TWO,), retiring=(THREE,)),
        text_of(TWO, retiring=(ONE, THREE)),
        "# a longer one\n" * 20 + text_of(THREE, accepting=(ONE,), retiring=(TWO, FOUR)),
        text_of(FOUR),
    ]
    rings = []
    for text in versions:
        place.put(text)
        rings.append(place.use())
    log.take()
    ring = Keyring.from_file(place.path, clock=itertools.count().__next__)

    def write_all() -> None:
        for number in range(100):
            data = versions[number % len(versions)].encode()
            step = (1, 3, 17, 64)[number // len(versions) % 4]
            with place.path.open("wb", buffering=0) as file:
                for start in range(0, len(data), step):
                    file.write(data[start : start + step])

    def read() -> None:
        assert ids_of(ring._snapshot()) in rings

    uses = while_it_lasts(write_all, read)
    place.path.write_text(versions[1])
    assert ids_of(ring) == rings[1]
    levels = log.take_levels()
    assert {"ERROR", "WARNING"} <= set(levels)  # it was read while it was written, and told
    print(f"100 files written in steps, {sum(uses)} uses, {levels.count('ERROR')} times not whole, no wrong ring")


@pytest.mark.usefixtures("eager_switching")
def test_a_file_that_is_replaced_all_the_time_is_never_called_broken(place: Place, log: Log) -> None:
    """Whoever reads while it is replaced has the old one or the new one, and both are whole."""
    versions = {text_of(ONE): (ONE.id, (), ()), text_of(TWO, retiring=(ONE,)): (TWO.id, (), (ONE.id,))}
    place.put(text_of(ONE))
    ring = Keyring.from_file(place.path, clock=itertools.count().__next__)

    def write_all() -> None:
        for text in [*versions] * 50:
            place.put(text)

    def read() -> None:
        assert ids_of(ring._snapshot()) in versions.values()
        assert ids_of(Keyring.from_file(place.path)) in versions.values()  # at start-up it is no error either

    while_it_lasts(write_all, read, uses=100)
    assert [line for line in log.take() if line[0] != "INFO"] == []


def while_it_lasts(work: Callable[[], object], use: Callable[[], object], *, uses: int = 0) -> list[int]:
    """How often each of several other threads came to use something while one did its work, again until there were so many."""
    is_done = threading.Event()
    used = itertools.count()

    def work_once() -> int:
        try:
            work()
            while next(used) < uses:
                work()
        finally:
            is_done.set()
        return 0

    def use_on() -> int:
        for count in itertools.count():
            if is_done.is_set():
                return count
            use()
            next(used)
        raise AssertionError

    _, *counts = in_threads(THREADS + 1, lambda index: use_on() if index else work_once())
    return counts


# At start-up, when no ring is there to stay


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_is_broken_at_start_up_is_a_configuration_error_that_says_what_to_do(place: Place, log: Log, name: str) -> None:
    cause, says = FAULTS[name]
    cause(place.path)
    with pytest.raises(ConfigurationError) as caught:
        Keyring.from_file(place.path)
    message = str(caught.value)
    assert message.startswith(f"the key file {place.path}: ")
    assert says in message
    assert "`clientsession keys add --file" in message
    shown, ours = shown_by(caught.value)
    assert ours >= 2
    assert NEEDLES.found_in(shown) == []
    assert log.take() == []  # it is raised, and need not be told twice
    mend(place.path, place.text)
    assert ids_of(Keyring.from_file(place.path)) == WHOLE


@pytest.mark.parametrize("path", [None, 7, b"site.keys", ["site.keys"], True], ids=repr)
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="path must be the path of a key file"):
        Keyring.from_file(path)


@pytest.mark.parametrize("path", ["site\0keys", "site\ud800keys"], ids=ascii)
def test_a_path_that_no_file_can_have_is_a_configuration_error(path: str) -> None:
    with pytest.raises(ConfigurationError, match="no file can have such a path") as caught:
        Keyring.from_file(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["key", "key file", "key in a folder", "Path"])
def test_a_key_in_place_of_a_path_is_not_shown(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where CLIENTSESSION_KEY_FILE is set to what CLIENTSESSION_KEY is for."""
    path = {
        "key": ONE.export(),
        "key file": text_of(ONE),
        "key in a folder": f"/run/{ONE.export()}",
        "Path": Path(ONE.export()),
    }[kind]
    with pytest.raises(ConfigurationError) as caught:
        Keyring.from_file(path)
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []
    for variable in ("CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CLIENTSESSION_KEY_FILE", str(path))
    with pytest.raises(ConfigurationError) as caught:
        Keyring.from_env()
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


def test_a_clock_that_is_none_is_refused(place: Place) -> None:
    with pytest.raises(ConfigurationError, match=r"clock must be a function that answers with seconds, as time\.monotonic"):
        Keyring.from_file(place.path, clock=7)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# One request, one ring
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def jars(place: Place, clock: Clock) -> list[Jar]:
    return [Jar("session", place.ring, clock=clock), Jar("cart", place.ring, clock=clock)]


def cookies_of(key: Key, clock: Clock) -> str:
    values = {name: Jar(name, Keyring(key), clock=clock).codec.encode({"of": name}) for name in ("session", "cart")}
    return "; ".join(f"{name}={value}" for name, value in values.items())


def test_a_request_has_the_ring_of_its_first_use_through_to_its_end(place: Place, jars: list[Jar], clock: Clock) -> None:
    sessions = Sessions(jars, cookies_of(ONE, clock))
    assert sessions["session"] == {"of": "session"}
    place.put(text_of(FOUR))
    assert place.use() == (FOUR.id, (), ())  # another request sees the new keys, and this one's is not among them
    sessions["session"]["more"] = 1
    assert sessions["cart"] == {"of": "cart"}  # opened only now
    sessions["cart"]["more"] = 1
    assert [sealed_by(value) for value in sessions.commit()] == [ONE.id, ONE.id]
    assert [sealed_by(value) for value in sessions.commit()] == [ONE.id, ONE.id]

    after = Sessions(jars, cookies_of(ONE, clock))
    assert [after[name].refusal for name in ("session", "cart")] == [Reason.UNKNOWN_KEY] * 2
    after["session"]["a"] = 1
    assert [sealed_by(value) for value in after.commit()] == [FOUR.id]


def test_a_key_that_comes_to_retire_during_a_request_is_resealed_by_the_next(place: Place, jars: list[Jar], clock: Clock) -> None:
    sessions = Sessions(jars, cookies_of(ONE, clock))
    assert sessions["session"] == {"of": "session"}
    place.put(text_of(TWO, retiring=(ONE,)))
    place.use()
    assert sessions["cart"] == {"of": "cart"}
    assert sessions.commit() == []  # by its ring, nothing retires
    sessions = Sessions(jars, cookies_of(ONE, clock))
    assert sessions["session"] == {"of": "session"}
    assert sessions["cart"] == {"of": "cart"}
    assert [sealed_by(value) for value in sessions.commit()] == [TWO.id, TWO.id]


def test_a_request_that_has_not_used_a_session_yet_has_the_ring_of_when_it_does(
    place: Place, jars: list[Jar], clock: Clock
) -> None:
    sessions = Sessions(jars, cookies_of(FOUR, clock))
    place.put(text_of(FOUR))
    place.use()
    assert sessions["session"] == {"of": "session"}


def test_requests_of_two_rings_at_once_do_not_disturb_each_other(place: Place, jars: list[Jar], clock: Clock) -> None:
    old, new = Sessions(jars, None), Sessions(jars, None)
    old["session"]["a"] = 1
    place.put(text_of(TWO, retiring=(ONE,)))
    place.use()
    new["session"]["a"] = 1
    old["cart"]["a"] = 1
    new["cart"]["a"] = 1
    assert [sealed_by(value) for value in new.commit()] == [TWO.id] * 2
    assert [sealed_by(value) for value in old.commit()] == [ONE.id] * 2


@pytest.mark.usefixtures("eager_switching")
def test_users_go_on_while_the_file_goes_round_and_round(place: Place, clock: Clock, log: Log) -> None:
    """Every use of the ring is a look at the file, and each step waits only until all users were served after the one before."""
    steps = [
        step
        for old, new in itertools.pairwise((ONE, TWO, THREE, FOUR, ONE))
        for step in (
            (text_of(old, accepting=(new,)), (old.id, (new.id,), ())),
            (text_of(new, retiring=(old,)), (new.id, (), (old.id,))),
        )
    ]
    place.put(steps[0][0])
    ring = Keyring.from_file(place.path, clock=itertools.count().__next__)
    jar = Jar("session", ring, clock=clock)
    counts = [0] * THREADS
    clients = [Client(jar) for _ in range(THREADS)]
    free = queue.SimpleQueue[int]()
    for user in range(THREADS):
        free.put(user)

    def wait(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.0005)

    def rotate() -> None:
        for text, ids in steps * 5:
            place.put(text)
            wait(lambda ids=ids: ids_of(ring._snapshot()) == ids)
            before = list(counts)
            wait(lambda before=before: min(now - then for now, then in zip(counts, before, strict=True)) >= 2)

    def visit() -> None:
        user = free.get()
        with clients[user].visit() as sessions:
            session = sessions["session"]
            assert (session.get("count", 0), session.refusal) == (counts[user], None)
            session["count"] = counts[user] + 1
        counts[user] += 1
        free.put(user)

    log.caplog.set_level(logging.WARNING, "clientsession")  # not the lines of hundreds of changes
    while_it_lasts(rotate, visit)
    assert min(counts) >= 2 * 5 * len(steps)
    assert log.take() == []
    print(f"{5 * len(steps)} steps of rotation, {sum(counts)} requests, none lost")


# ---------------------------------------------------------------------------------------------------------------------
# What it says of itself
# ---------------------------------------------------------------------------------------------------------------------


def test_a_live_ring_shows_its_path_and_ids_and_nothing_else(place: Place) -> None:
    expected = f"of the key file {place.path}: sealing {ONE.id}, accepting [{TWO.id}], retiring [{THREE.id}]>"
    assert re.fullmatch(rf"<\w*Keyring {re.escape(expected)}", repr(place.ring))
    assert NEEDLES.found_in(f"{place.ring!r} {place.ring} {Codec(place.ring, 'x')!r} {Jar('x', place.ring)!r}") == []
    assert str(place.path) in repr(Jar("x", place.ring))


def test_a_ring_of_a_source_shows_the_name_of_the_source_and_ids(log: Log) -> None:
    class Vault:
        def __call__(self) -> str:
            return text_of(ONE)

        def __repr__(self) -> str:
            return text_of(ONE)

    def fetch() -> str:
        return text_of(ONE)

    for source, name in ((Vault(), "Vault"), (fetch, "fetch"), (Vault().__call__, "__call__")):
        ring = Keyring.from_source(source)
        assert re.search(rf"Keyring of the key source \S*{name}: sealing {ONE.id}, accepting \[\], retiring \[\]>$", repr(ring))
        assert NEEDLES.found_in(repr(ring)) == []


def test_what_a_ring_shows_is_what_it_last_had_and_asks_nobody(served: Served, place: Place, counted: Count) -> None:
    place.put(text_of(FOUR))
    place.clock.pass_(60)
    served.clock.pass_(600)
    shown = repr(place.ring), repr(served.ring)
    assert counted.take() == (0, 0)
    assert served.vault.asked == 1
    assert ONE.id in shown[0]
    assert ids_of(place.ring)[0] == FOUR.id
    assert FOUR.id in repr(place.ring)


def test_a_live_ring_is_not_pickled_and_is_its_own_copy(place: Place) -> None:
    for ring in (place.ring, Keyring.from_source(lambda: place.ring)):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="is not pickled"):
                pickle.dumps(ring, protocol)
        with pytest.raises(TypeError, match="does not hand out its state"):
            ring.__getstate__()
        assert copy.copy(ring) is copy.deepcopy(ring) is ring
        with pytest.raises(AttributeError, match="does not change"):
            ring.sealing = TWO  # type: ignore[misc]


def test_a_bound_ring_shows_ids(place: Place) -> None:
    assert repr(Codec(place.ring, "x")._bound).endswith(f" sealing {ONE.id}, accepting [{TWO.id}], retiring [{THREE.id}]>")


# ---------------------------------------------------------------------------------------------------------------------
# From the environment
# ---------------------------------------------------------------------------------------------------------------------

VARIABLES = ("CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS", "CLIENTSESSION_KEY_FILE")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_to(**variables: str) -> None:
        for variable in VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)

    return set_to


def test_the_environment_names_a_key_file_and_it_is_followed(place: Place, environment: Callable[..., None]) -> None:
    environment(CLIENTSESSION_KEY_FILE=str(place.path))
    ring = Keyring.from_env()
    assert ids_of(ring) == WHOLE
    assert repr(ring) == repr(place.ring)
    environment(CLIENTSESSION_KEY_FILE=str(place.path), CLIENTSESSION_KEY="", CLIENTSESSION_ACCEPTED_KEYS="")  # empty is unset
    assert ids_of(Keyring.from_env()) == WHOLE


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_a_key_file_beside_keys_in_the_environment_is_refused(
    place: Place, environment: Callable[..., None], variable: str
) -> None:
    environment(CLIENTSESSION_KEY_FILE=str(place.path), **{variable: ONE.export()})
    with pytest.raises(ConfigurationError, match=rf"CLIENTSESSION_KEY_FILE and {variable} are both set: unset one") as caught:
        Keyring.from_env()
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


def test_a_broken_key_file_of_the_environment_is_a_configuration_error(place: Place, environment: Callable[..., None]) -> None:
    place.put(text_of(ONE)[:40])
    environment(CLIENTSESSION_KEY_FILE=str(place.path))
    with pytest.raises(ConfigurationError, match="line 1 has no key that can be read") as caught:
        Keyring.from_env()
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


def test_an_empty_environment_says_how_to_make_a_key(environment: Callable[..., None]) -> None:
    for variables in ({}, {"CLIENTSESSION_KEY_FILE": ""}):
        environment(**variables)
        with pytest.raises(ConfigurationError, match=r"CLIENTSESSION_KEY is not set\. Make a key with `clientsession keygen`"):
            Keyring.from_env()


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_a_typo_in_the_environment_names_the_variable(environment: Callable[..., None], variable: str) -> None:
    environment(**{"CLIENTSESSION_KEY": TWO.export(), variable: TYPO})
    with pytest.raises(ConfigurationError, match=f"^{variable}: the checksum of the key does not fit") as caught:
        Keyring.from_env()
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Keyring, "a ring needs a key that seals"),
        (lambda: Keyring(ONE.export()), "sealing takes Key objects, not str"),
        (lambda: Keyring(ONE, accepting=TWO), "accepting takes a list of keys"),
        (lambda: Keyring(ONE, retiring=[TWO, ONE]), f"the key {ONE.id} stands in the ring twice"),
        (lambda: Keyring(ONE, accepting=[TWO.export()]), "accepting takes Key objects, not str"),
    ],
)
def test_a_ring_is_made_of_keys_each_once(make: Callable[[], Keyring], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        make()
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


# ---------------------------------------------------------------------------------------------------------------------
# Following a source
# ---------------------------------------------------------------------------------------------------------------------


class Vault:
    """A secret manager: answers with what it holds, or raises it where that is an exception."""

    def __init__(self, holds: object) -> None:
        self.holds = holds
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        if isinstance(self.holds, BaseException):
            raise self.holds
        return self.holds


@dataclass
class Served:
    """A ring that follows a vault."""

    vault: Vault
    clock: Clock
    every: timedelta = timedelta(minutes=1)
    ring: Keyring = field(init=False)

    def __post_init__(self) -> None:
        self.ring = Keyring.from_source(self.vault, every=self.every, clock=self.clock)

    def use(self, times: int = 1) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        for _ in range(times):
            self.clock.pass_(self.every.total_seconds())
            ids = ids_of(self.ring)
        return ids


@pytest.fixture
def served(log: Log) -> Served:
    return Served(Vault(text_of(ONE, retiring=(TWO,))), Clock(5.0))


ANSWER = (ONE.id, (), (TWO.id,))  # of the vault before anything happens to it


def test_a_source_answers_with_text_or_with_a_ring(served: Served, log: Log, place: Place) -> None:
    assert ids_of(served.ring) == ANSWER
    for answer, ids, levels in (
        (text_of(TWO, retiring=(ONE,)), (TWO.id, (), (ONE.id,)), ["INFO"]),
        (Keyring(THREE, accepting=[ONE]), (THREE.id, (ONE.id,), ()), ["INFO"]),
        (Keyring(THREE, accepting=[ONE]), (THREE.id, (ONE.id,), ()), []),  # another ring of the same keys
        (text_of(THREE, accepting=(ONE,)), (THREE.id, (ONE.id,), ()), []),  # and their text
        (place.ring, WHOLE, ["INFO"]),  # a ring that is live itself
        (text_of(FOUR), (FOUR.id, (), ()), ["INFO"]),
    ):
        served.vault.holds = answer
        assert served.use(3) == ids
        assert log.take_levels() == levels


def test_a_source_that_answers_with_a_live_ring_is_as_live_as_that(served: Served, place: Place) -> None:
    served.vault.holds = place.ring
    assert served.use() == WHOLE
    place.put(text_of(FOUR))
    place.clock.pass_(1)
    assert ids_of(served.ring) == WHOLE
    assert served.use() == (FOUR.id, (), ())


def test_a_source_may_answer_with_its_own_ring(served: Served) -> None:
    served.vault.holds = served.ring
    assert served.use(3) == ANSWER


@pytest.mark.parametrize("every", [timedelta(seconds=1), timedelta(minutes=1), timedelta(days=400)], ids=str)
def test_a_source_is_asked_when_the_ring_is_used_and_at_most_once_every_so_often(log: Log, every: timedelta) -> None:
    served = Served(Vault(text_of(ONE)), Clock(0.0), every)
    seconds = every.total_seconds()
    assert served.vault.asked == 1
    for _ in range(100):
        assert served.ring.sealing.id == ONE.id
    served.clock.pass_(seconds - 0.001)
    assert served.ring.sealing.id == ONE.id
    assert served.vault.asked == 1
    served.clock.pass_(0.001)
    for _ in range(100):
        assert served.ring.sealing.id == ONE.id
    assert served.vault.asked == 2
    served.vault.holds = ConnectionError()
    served.use(10)
    assert served.vault.asked == 12  # one that fails is asked no more often


def test_without_being_told_a_source_is_asked_once_a_minute(log: Log) -> None:
    vault, clock = Vault(text_of(ONE)), Clock(0.0)
    ring = Keyring.from_source(vault, clock=clock)
    clock.pass_(59.999)
    assert ring.sealing.id == ONE.id
    assert vault.asked == 1
    clock.pass_(0.001)
    assert ring.sealing.id == ONE.id
    assert vault.asked == 2


@pytest.mark.parametrize(
    ("every", "retry"),
    [
        (timedelta(seconds=1), 1.0),
        (timedelta(seconds=10), RETRY_SECONDS),
        (timedelta(hours=1), RETRY_SECONDS),
        (timedelta(days=400), RETRY_SECONDS),
    ],
    ids=str,
)
def test_a_source_that_fails_is_asked_again_soon_and_once_mended_as_seldom_as_before(
    log: Log, every: timedelta, retry: float
) -> None:
    vault, clock = Vault(text_of(ONE)), Clock(0.0)
    ring = Keyring.from_source(vault, every=every, clock=clock)

    def asked_after(seconds: float) -> list[int]:
        """How often the source was asked just before so many seconds were over, and when they were."""
        asked = []
        for part in (seconds - 0.001, 0.001):
            clock.pass_(part)
            assert ring.sealing.id in {ONE.id, TWO.id}
            asked.append(vault.asked)
        return asked

    vault.holds = ConnectionError()
    assert asked_after(every.total_seconds()) == [1, 2]
    for count in range(2, 6):
        assert asked_after(retry) == [count, count + 1]
    ((level, line),) = log.take()
    assert level == "ERROR"
    assert line.endswith(f" it is tried again every {retry:g} s")
    vault.holds = text_of(TWO)
    assert asked_after(retry) == [6, 7]
    assert ids_of(ring) == (TWO.id, (), ())
    assert asked_after(every.total_seconds()) == [7, 8]


def test_the_same_answer_leaves_the_keys_as_they_are(served: Served) -> None:
    key = served.ring.sealing
    served.use(3)
    assert served.ring.sealing is key  # nothing was parsed again, and no codec derives its keys again
    ring = served.vault.holds = Keyring(FOUR)
    served.use()
    bound = Codec(served.ring, "x")._bound
    assert bound.ring is ring
    served.use(3)
    assert Codec(served.ring, "x")._bound.ring is ring


class Odd(Exception):
    """One whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError(ONE.export())

    __repr__ = __str__


LATE_FAULTS: dict[str, tuple[object, str]] = {
    **{
        type(error).__name__: (error, f"it raised {type(error).__name__}")
        for error in (
            ConnectionError(f"GET /v1/{ONE.export()}"),
            TimeoutError("10.0.0.1"),
            KeyError(ONE.export()),
            ConfigurationError(ONE.export()),
            RuntimeError(text_of(ONE)),
            StopIteration(ONE.export()),
            AssertionError(SECRETS[0]),
            RecursionError(),
            MemoryError(),
            UnicodeDecodeError("utf-8", text_of(ONE).encode(), 0, 1, text_of(ONE)),
            ExceptionGroup(ONE.export(), [ValueError(ONE.export())]),
            Odd(ONE.export()),
        )
    },
    "None": (None, "it answered with NoneType, and not with a Keyring or the text of a key file"),
    "bytes": (text_of(ONE).encode(), "it answered with bytes, and not"),
    "a key": (ONE, "it answered with Key, and not"),
    "a list": ([ONE.export()], "it answered with list, and not"),
    "a dict": ({"SecretString": ONE.export()}, "it answered with dict, and not"),
    "no text": ("", "has no line that says end"),
    "the text of a key": (ONE.export(), "line 1 must begin with sealing"),
    "a cut text": (text_of(ONE)[:40], "line 1 has no key that can be read"),
    "a key twice": (text_of(ONE, accepting=(ONE,)), "lines 1 and 2 hold the same key"),
    "a lone surrogate": (f"\ud800{text_of(ONE)}", "line 1 must begin with sealing"),
    "a huge text": (text_of(ONE) + "#\n" * 200_000, "is larger than 262,144 bytes"),
}


@pytest.mark.parametrize("name", LATE_FAULTS)
def test_with_a_source_that_fails_the_ring_stays_with_one_loud_line_and_mended_it_is_followed(
    served: Served, log: Log, name: str
) -> None:
    good = served.vault.holds
    served.vault.holds, says = LATE_FAULTS[name]
    codec = Codec(served.ring, "x")
    assert served.use(30) == ANSWER
    assert codec.decode(codec.encode({"a": 1})) == {"a": 1}
    assert served.vault.asked == 31
    ((level, line),) = log.take()
    assert level == "ERROR"
    assert line.startswith("keys not read again: the key source Vault: ")
    assert says in line
    assert f"The keys of before stay in use: sealing {ONE.id}, accepting [], retiring [{TWO.id}]." in line
    assert "it is tried again every 10 s" in line
    served.vault.holds = good
    assert served.use(5) == ANSWER
    ((level, line),) = log.take()
    assert (level, line) == (
        "WARNING",
        f"keys are read again: the key source Vault: sealing {ONE.id}, accepting [], retiring [{TWO.id}]",
    )
    served.vault.holds = Keyring(FOUR)
    assert served.use() == (FOUR.id, (), ())


def test_a_source_that_fails_in_another_way_is_another_line(served: Served, log: Log) -> None:
    for holds, levels in (
        (TimeoutError("a"), ["ERROR"]),
        (TimeoutError("b"), []),
        (ConnectionError(), ["ERROR"]),
        (None, ["ERROR"]),
        (7, ["ERROR"]),
        (text_of(TWO), ["WARNING"]),
    ):
        served.vault.holds = holds
        served.use(4)
        assert log.take_levels() == levels
    assert ids_of(served.ring) == (TWO.id, (), ())


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), KeyError("x"), Odd(), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
def test_what_a_source_raises_at_start_up_goes_through_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        Keyring.from_source(Vault(error))
    assert caught.value is error


def test_what_a_source_raises_at_start_up_passes_no_frame_of_ours_that_holds_a_secret() -> None:
    def fetch() -> str:
        text = text_of(ONE)
        raise ConnectionError(len(text))

    with pytest.raises(ConnectionError) as caught:
        Keyring.from_source(fetch)
    shown, ours = shown_by(caught.value)
    assert ours >= 3
    assert NEEDLES.found_in(shown) == []


@pytest.mark.parametrize("name", [name for name, (holds, _) in LATE_FAULTS.items() if not isinstance(holds, BaseException)])
def test_a_source_that_answers_with_something_else_at_start_up_is_a_configuration_error(log: Log, name: str) -> None:
    holds, says = LATE_FAULTS[name]
    with pytest.raises(ConfigurationError) as caught:
        Keyring.from_source(Vault(holds))
    assert str(caught.value).startswith("the key source Vault: ")
    assert says in str(caught.value)
    shown, ours = shown_by(caught.value)
    assert ours >= 2
    assert NEEDLES.found_in(shown) == []
    assert log.take() == []


@pytest.mark.parametrize(
    "source", [text_of(ONE), text_of(ONE).encode(), Keyring(ONE), None, 7], ids=lambda source: type(source).__name__
)
def test_a_source_that_cannot_be_called_is_refused_and_not_shown(source: Any) -> None:
    with pytest.raises(ConfigurationError, match="source must be a function that answers with a Keyring or the text") as caught:
        Keyring.from_source(source)
    assert NEEDLES.found_in(shown_by(caught.value)[0]) == []


def test_every_is_a_timedelta_of_a_second_or_more() -> None:
    vault = Vault(text_of(ONE))
    for every in (60, 60.0, None, "60"):
        with pytest.raises(TypeError, match=r"every must be a datetime\.timedelta"):
            Keyring.from_source(vault, every=every)  # type: ignore[arg-type]
    for every in (timedelta(0), timedelta(milliseconds=999), timedelta(days=401), timedelta(seconds=-1)):
        with pytest.raises(ConfigurationError, match="every must be from 1 second to 400 days"):
            Keyring.from_source(vault, every=every)
    with pytest.raises(ConfigurationError, match="clock must be a function"):
        Keyring.from_source(vault, clock=None)  # type: ignore[arg-type]
    assert vault.asked == 0


def test_an_interrupt_in_a_source_goes_through_and_the_source_is_asked_again(served: Served) -> None:
    for error in (KeyboardInterrupt(), SystemExit(1)):
        served.vault.holds = error
        served.clock.pass_(60)
        with pytest.raises(type(error)):
            ids_of(served.ring)
        assert ids_of(served.ring) == ANSWER
    served.vault.holds = text_of(TWO)
    assert served.use() == (TWO.id, (), ())


# ---------------------------------------------------------------------------------------------------------------------
# Threads and forks
# ---------------------------------------------------------------------------------------------------------------------


class SlowVault:
    """Answers at once the first time; then waits until it is let go."""

    def __init__(self) -> None:
        self.holds = text_of(ONE)
        self.asked = 0
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def __call__(self) -> str:
        self.asked += 1
        if self.asked > 1:
            self.is_asked.set()
            assert self.may_answer.wait(10)
        return self.holds


def test_while_one_thread_asks_the_others_go_on_with_the_keys_they_have(log: Log) -> None:
    vault, clock = SlowVault(), Clock(0.0)
    ring = Keyring.from_source(vault, clock=clock)
    codec = Codec(ring, "x")
    clock.pass_(60)
    vault.holds = text_of(TWO, retiring=(ONE,))
    asking = threading.Thread(target=lambda: ring.sealing)
    asking.start()
    assert vault.is_asked.wait(10)
    clock.pass_(600)  # it hangs, and the next look would be due
    tokens = [token for each in in_threads(THREADS, lambda _: [codec.encode({"a": 1}) for _ in range(20)]) for token in each]
    assert {sealed_by(token) for token in tokens} == {ONE.id}
    assert vault.asked == 2
    vault.may_answer.set()
    asking.join(10)
    assert not asking.is_alive()
    assert ids_of(ring) == (TWO.id, (), (ONE.id,))
    assert all(codec.decode(token) == {"a": 1} for token in tokens)


@pytest.mark.usefixtures("eager_switching")
def test_many_threads_ask_a_source_once(log: Log) -> None:
    vault, clock = Vault(text_of(ONE)), Clock(0.0)
    ring = Keyring.from_source(vault, clock=clock)
    for round_ in range(50):
        clock.pass_(60)
        in_threads(THREADS, lambda _: [ring.sealing for _ in range(5)])
        assert vault.asked == round_ + 2


def test_a_thread_that_comes_second_does_not_ask_again(log: Log) -> None:
    """Both found the ring too old; one was through before the other began."""
    vault, clock = Vault(text_of(ONE)), Clock(0.0)
    ring = Keyring.from_source(vault, clock=clock)
    clock.pass_(60)

    def overtaken(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_ask":
            sys.setprofile(None)
            in_threads(1, lambda _: ring.sealing)

    sys.setprofile(overtaken)
    try:
        assert ring.sealing.id == ONE.id
    finally:
        sys.setprofile(None)
    assert vault.asked == 2


IN_FORKED = """
import os, sys, threading, time
from clientsession import Key, Keyring

one, two = Key.generate(), Key.generate()
now = [0.0]
parent = os.getpid()
"""

HELD = (
    IN_FORKED
    + """
asked, may_answer = threading.Event(), threading.Event()

def source():
    if now[0] == 0:
        return Keyring(one)
    if os.getpid() == parent and not may_answer.is_set():
        asked.set()
        may_answer.wait(10)
    return Keyring(two, retiring=[one])

ring = Keyring.from_source(source, clock=lambda: now[0])
now[0] = 60.0
thread = threading.Thread(target=lambda: ring.sealing)
thread.start()
asked.wait(10)  # and holds whatever it holds while it asks
out, into = os.pipe()
if os.fork() == 0:
    before = ring.sealing is one
    now[0] = 120.0
    os.write(into, f"child {before} {ring.sealing is two} ".encode())
    os._exit(0)
os.close(into)
print(os.read(out, 100).decode(), os.wait()[1])
now[0] = 180.0
print("parent", ring.sealing is one)
may_answer.set()
thread.join(10)
print("parent", ring.sealing is two)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_while_a_thread_asks_goes_on_asking() -> None:
    """The thread is not there in the child: what it held is held for ever."""
    printed = run_script(HELD, switches=("-W", "ignore::DeprecationWarning"))  # of a fork among threads
    assert printed.split() == ["child", "True", "True", "0", "parent", "True", "parent", "True"]


ANY_STEP = (
    IN_FORKED
    + """
path = sys.argv[1]
kind = sys.argv[2]
text = {key: f"sealing {key.export()}\\nend\\n" for key in (one, two)}
rings = {text[key]: Keyring(key) for key in (one, two)}

def put(key):
    with open(path + ".new", "w") as file:
        file.write(text[key])
    os.replace(path + ".new", path)

def make():
    if kind == "file":
        return Keyring.from_file(path, clock=lambda: now[0])
    if kind == "text":
        return Keyring.from_source(lambda: open(path).read(), clock=lambda: now[0])
    return Keyring.from_source(lambda: rings[open(path).read()], clock=lambda: now[0])

def refresh(ring, step, reached, go_on):
    seen = []

    def profile(frame, event, argument):
        if frame.f_code.co_filename.endswith("_keyring.py"):
            seen.append(f"{event} in {frame.f_code.co_name}:{frame.f_lineno}")
            if len(seen) == step:
                reached.append(seen[-1])
                go_on.wait(10)

    sys.setprofile(profile)
    ring.sealing
    sys.setprofile(None)

stuck, step = [], 0
while True:
    step += 1
    put(one)
    ring, reached, go_on = make(), [], threading.Event()
    put(two)
    now[0] += 100
    thread = threading.Thread(target=refresh, args=(ring, step, reached, go_on))
    thread.start()
    while thread.is_alive() and not reached:
        time.sleep(0.0005)
    if not reached:
        thread.join(10)
        break
    child = os.fork()
    if child == 0:
        now[0] += 100
        ring.sealing
        now[0] += 100
        os._exit(ring.sealing.id != two.id)
    if os.waitpid(child, 0)[1] != 0:
        stuck += reached
    go_on.set()
    thread.join(10)
    now[0] += 100
    if ring.sealing.id != two.id:
        stuck.append("parent: " + reached[0])
print(step - 1)
print("\\n".join(stuck))
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("kind", ["file", "text", "ring"])
def test_a_child_forked_at_any_step_of_a_refresh_follows_what_came(tmp_path: Path, kind: str) -> None:
    """At each call and return in the module a thread stands still, and the process is forked."""
    switches = ("-W", "ignore::DeprecationWarning", "-W", "ignore::ResourceWarning")
    steps, *stuck = run_script(ANY_STEP, str(tmp_path / "keys"), kind, switches=switches).splitlines()
    assert int(steps) > 10
    assert list(filter(None, stuck)) == []


FRESH = (
    IN_FORKED
    + """
ring = Keyring(two)

def source():
    if os.getpid() != parent:
        time.sleep(0.01)
    return ring

live = Keyring.from_source(source, clock=lambda: now[0])
now[0] = 100.0
failed = 0
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        sys.setswitchinterval(1e-6)
        start, errors = threading.Barrier(8), []

        def use():
            start.wait()
            try:
                live.sealing
            except RuntimeError as error:
                errors.append(error)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(len(errors))
    failed += os.waitpid(child, 0)[1] != 0
print(failed)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_first_requests_of_a_forked_worker_with_threads_are_served() -> None:
    """As of a server that loads the application, forks, and then starts threads that all find the ring too old."""
    assert run_script(FRESH, "100").split() == ["0"]


def interrupted_at(step: int, work: Callable[[], object]) -> str | None:
    """Work in which KeyboardInterrupt comes as the n-th of the module's functions returns; says where that was."""
    seen: list[str] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code.co_filename.endswith("_keyring.py"):
            seen.append(f"{frame.f_code.co_qualname} in line {frame.f_lineno}")
            if len(seen) == step:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        work()
    except KeyboardInterrupt:
        return seen[-1]
    finally:
        sys.setprofile(None)
    return None


@pytest.mark.parametrize("kind", ["file", "text", "ring"])
def test_a_refresh_that_is_interrupted_anywhere_is_made_up_for(place: Place, kind: str) -> None:
    """As by a signal handler that ends a request which takes too long, and the process goes on."""
    rings = {text_of(key): Keyring(key) for key in (ONE, TWO)}
    second = timedelta(seconds=1)
    make: dict[str, Callable[[], Keyring]] = {
        "file": lambda: Keyring.from_file(place.path, clock=place.clock),
        "text": lambda: Keyring.from_source(place.path.read_text, every=second, clock=place.clock),
        "ring": lambda: Keyring.from_source(lambda: rings[place.path.read_text()], every=second, clock=place.clock),
    }
    stuck = []
    for step in itertools.count(1):
        place.put(text_of(ONE))
        ring = make[kind]()
        place.put(text_of(TWO))
        place.clock.pass_(1)
        where = interrupted_at(step, lambda ring=ring: ring.sealing)
        if where is None:
            break
        place.clock.pass_(1)
        if ids_of(ring)[0] != TWO.id:
            stuck.append(where)
    assert step > 4
    assert stuck == []


def test_a_source_that_failed_is_asked_again_in_ten_seconds_and_not_only_when_it_is_due() -> None:
    clock, asked, down = Clock(0.0), [], [False]

    def source() -> Keyring:
        asked.append(clock.now)
        if down[0]:
            raise ConnectionError
        return Keyring(ONE)

    ring = Keyring.from_source(source, every=timedelta(days=1), clock=clock)
    down[0] = True
    for seconds in (86_399, 1, 9.9, 0.1, 10, 9):
        clock.pass_(seconds)
        assert ring.sealing is ONE
    down[0] = False
    for seconds in (1, 86_399, 1):
        clock.pass_(seconds)
        assert ring.sealing is ONE
    assert asked == [0, 86_400, 86_410, 86_420, 86_430, 172_830]


@pytest.mark.parametrize("kind", ["file", "text"])
def test_deep_in_the_stack_a_refresh_waits_and_shows_no_key(kind: str, tmp_path: Path) -> None:
    """Where a request still has room for itself and not for reading the keys anew."""
    clock, path = Clock(0.0), tmp_path / "site.keys"
    path.write_text(text_of(ONE), encoding="utf-8")
    ring = (
        Keyring.from_file(path, clock=clock)
        if kind == "file"
        else Keyring.from_source(lambda: path.read_text(encoding="utf-8"), clock=clock)
    )
    needles, shown = Needles(*SECRETS), []
    answers = Counter[str]()

    def at(depth: int) -> object:
        return ring.sealing if depth == 0 else at(depth - 1)

    here = len(inspect.stack(0))
    for keys, room in zip(itertools.cycle([text_of(TWO, retiring=(ONE,)), text_of(ONE)]), range(1, 150), strict=False):
        path.write_text(keys, encoding="utf-8")
        clock.pass_(60)
        try:
            key = at(sys.getrecursionlimit() - here - room)
            answers[key.id] += 1
        except RecursionError as error:
            answers["no room at all"] += 1
            shown.append(shown_by(error)[0])
    assert needles.found_in("\n".join(shown)) == []
    assert answers["no room at all"] < 20
    assert answers[ONE.id] > 20
    assert answers[TWO.id] > 20


def test_a_working_directory_that_is_gone_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigurationError, match="the working directory is gone: give the key file with its whole path"):
        Keyring.from_file("site.keys")
