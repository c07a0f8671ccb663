"""``clientsession keys``: a rotation from the command line, what it refuses, what it warns of, and that it shows no secret."""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clientsession import Key, Suite
from clientsession.__main__ import main
from clientsession._keyfile import KeyFile, KeyLine, Role, format_date
from clientsession.commands import keys
from clientsession.commands._durations import (
    HOW_TO_WRITE,
    ago,
    format_duration,
    in_words,
    instant,
    later,
    parse_duration,
    until,
    when,
)
from clientsession.commands._parser import Parser
from clientsession.commands._rotation import Mark, RefusedError, dropped, findings, promoted, with_key
from tests.conftest import Clock
from tests.test_secrets import Needles

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
SECRETS = [bytes((start * 5 + step * 37) % 256 for step in range(32)) for start in range(6)]
KEYS = [Key.from_secret(secret) for secret in SECRETS]
A, B, C, D = (key.id for key in KEYS[:4])
COMMENT = f"{KEYS[5].export()} of the year before, {SECRETS[5].hex()}"
NEEDLES = Needles(*SECRETS, *(key.export() for key in KEYS))


def command(*arguments: str, clock: Callable[[], float]) -> int:
    """Run ``clientsession`` with these arguments."""
    parser = Parser(prog="clientsession")
    keys.add_parser(parser.add_subparsers(), clock=clock)
    try:
        options = parser.parse_args(arguments)
        code = options.run(options)
    except SystemExit as exit_:  # as argparse has it
        code = exit_.code
    if not isinstance(code, int):
        raise TypeError
    return code


@dataclass
class Said:
    """What a command answered with and printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """What it printed, without the ends of lines that were made for the eye."""
        return " ".join(f"{self.out}\n{self.err}".split())

    @property
    def marks(self) -> list[str]:
        """The kinds of its findings."""
        return re.findall(r"^(wrong|wait|ready|note):", self.out, re.MULTILINE)


@dataclass
class Operator:
    """Somebody at a terminal. Whatever is printed to them is searched for the secrets of the file and of its comments."""

    path: Path
    clock: Clock
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    secrets: set[str] = field(default_factory=set)

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> Said:
        if stdin is not None:
            self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._remember()
        code = command("keys", *arguments, clock=self.clock)
        out, err = self.capsys.readouterr()
        self._remember()
        assert NEEDLES.found_in(out + err) == []
        assert Needles(*self.secrets).found_in(out + err) == []
        assert "Traceback" not in err
        return Said(code, out, err)

    def _remember(self) -> None:
        if self.path.is_file():
            self.secrets.update(re.findall(r"csk1_[\w-]{40,}", self.path.read_text(errors="replace")))

    def write(self, *lines: KeyLine | str) -> None:
        """A file of these lines."""
        self.path.write_text("".join(f"{line if isinstance(line, str) else line.text()}\n" for line in (*lines, "end")))
        self.path.chmod(0o600)

    @property
    def file(self) -> KeyFile:
        return KeyFile.load(self.path)

    @property
    def roles(self) -> dict[str, str]:
        return {line.key.id: str(line.role) for line in self.file.keys}


@pytest.fixture
def operator(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    clock.now = NOW.timestamp()
    path = tmp_path / "keys"
    monkeypatch.setenv("CLIENTSESSION_KEY_FILE", str(path))
    return Operator(path, clock, capsys, monkeypatch)


def sealing(number: int = 0, **dates: datetime) -> KeyLine:
    return KeyLine(Role.SEALING, KEYS[number], **dates, comment=f"# {COMMENT}")


def accepting(number: int, **dates: datetime) -> KeyLine:
    return KeyLine(Role.ACCEPTING, KEYS[number], **dates, comment=f"# {COMMENT}")


def retiring(number: int, **dates: datetime) -> KeyLine:
    return KeyLine(Role.RETIRING, KEYS[number], **dates, comment=f"# {COMMENT}")


OLD = {"added": NOW - 40 * DAY, "since": NOW - 30 * DAY}


# A rotation


def test_a_whole_rotation_goes_as_the_commands_say(operator: Operator) -> None:
    """Each command that is printed as the next one is taken as it stands, at the instant that is printed with it."""

    def next_command(said: Said) -> list[str]:
        line = next(line for line in said.out.splitlines() if re.match(r" +clientsession keys (promote|drop)", line))
        return line.split()[2:]

    def wait(said: Said, pattern: str) -> None:
        (text,) = re.findall(pattern + r" (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", said.text)
        operator.clock.now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    made = operator("add")
    (first,) = operator.roles
    assert (made.code, made.err, operator.roles[first]) == (0, "", "sealing")
    assert made.text.startswith(f"Made {operator.path} with the key {first} (xaes-256-gcm), which seals.")
    assert f"CLIENTSESSION_KEY_FILE={operator.path}\n" in made.out
    assert "CLIENTSESSION_KEY " not in made.text
    assert operator.path.stat().st_mode & 0o777 == 0o600
    assert operator("check").text == (
        f"{operator.path} at 2026-11-21 12:00:00 UTC: sealing {first}. All is well, and there is nothing to do: sealing {first}."
    )

    operator.clock.pass_(0.4)
    added = operator("add")
    (second,) = set(operator.roles) - {first}
    assert (added.code, added.err, operator.roles) == (0, "", {first: "sealing", second: "accepting"})
    assert "Next: bring this file to every server. When every server has it, and not before 2026-11-21 12:01:01 UTC" in added.text
    assert next_command(added) == ["promote", second, "--file", str(operator.path)]
    assert operator(*next_command(added)).code == 1
    wait(added, "not before")
    assert operator("check").marks == ["ready"]

    promotion = operator(*next_command(added))
    assert (promotion.code, promotion.err, operator.roles) == (0, "", {first: "retiring", second: "sealing"})
    assert f"{second} seals from now on. {first} is retiring" in promotion.text
    assert "bring this file to every server within 1 minute (--rollout)" in promotion.text
    assert next_command(promotion) == ["drop", first, "--file", str(operator.path)]
    assert operator(*next_command(promotion)).code == 1
    wait(promotion, f"Keep {first} until")
    assert datetime.fromtimestamp(operator.clock.now, UTC) == datetime(2026, 11, 21, 12, 2, 1, tzinfo=UTC) + 400 * DAY
    assert operator("check").marks == ["ready", "note"]  # and the new key is old by then

    drop = operator(*next_command(promotion))
    assert (drop.code, drop.err, operator.roles) == (0, "", {second: "sealing"})
    assert f"Dropped {first}, which was retiring. Next: bring this file to every server." in drop.text


def test_the_way_back_is_a_promotion_of_the_retiring_key(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, added=NOW - DAY))
    there = operator("promote", B, "--longest", "10d")
    assert f"clientsession keys promote {A} --longest 10d --file {operator.path}" in there.out
    operator.clock.pass_(5)
    back = operator("promote", A, "--longest", "10d")
    assert back.code == 0
    one, two = operator.file.keys
    assert (one.role, one.added, one.since, one.droppable) == ("sealing", OLD["added"], NOW + timedelta(seconds=5), None)
    assert (two.role, two.added) == ("retiring", NOW - DAY)
    assert two.droppable == NOW + timedelta(seconds=65) + 10 * DAY
    assert operator("check").marks == ["wait", "note"]


def test_dates_are_the_next_whole_second(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, added=NOW - DAY))
    operator.clock.pass_(0.001)
    assert operator("promote", B, "--longest", "1h", "--rollout", "5m").code == 0
    stamp = NOW + timedelta(seconds=1)
    one, two = operator.file.keys
    assert (one.since, one.droppable, two.since, two.added) == (stamp, stamp + timedelta(minutes=65), stamp, NOW - DAY)
    operator("add")
    assert operator.file.keys[2].added == operator.file.keys[2].since == stamp


def test_comments_and_other_lines_stay_as_they_are(operator: Operator) -> None:
    one, two = sealing(0, **OLD), accepting(1, added=NOW - DAY)
    operator.write(f"# {COMMENT}", "", "  # indented", one, f"\t{two.text()}  ", "#")
    before = operator.path.read_text().split("\n")
    operator("add")
    after = operator.path.read_text().split("\n")
    assert after[:6] + after[7:] == before
    operator("drop", operator.file.keys[2].key.id)
    assert operator.path.read_text().split("\n") == before
    operator("promote", B)
    after = operator.path.read_text().split("\n")
    assert after[:3] + after[5:] == before[:3] + before[5:]
    assert all(line.endswith(f"# {COMMENT}") for line in after[3:5])


# add


def test_a_key_of_each_suite_can_be_added(operator: Operator) -> None:
    for name in ("xaes-256-gcm", "xchacha20-poly1305", "xaes-256-gcm"):
        assert f"({name})" in operator("add", "--suite", name).text
    assert [line.key.suite for line in operator.file.keys] == [Suite.XAES_256_GCM, Suite.XCHACHA20_POLY1305, Suite.XAES_256_GCM]


@pytest.mark.parametrize("around", ["{}", "{}\n", "  {}\r\n", "\n\n\t{} \n"])
def test_a_key_comes_by_standard_input(operator: Operator, around: str) -> None:
    made = operator("add", "--stdin", stdin=around.format(KEYS[0].export()).encode())
    assert made.code == 0
    assert f"with the key {A} (xaes-256-gcm), which seals" in made.text
    assert "The keys of CLIENTSESSION_ACCEPTED_KEYS come along by this" in made.text
    assert f"  clientsession keys add --stdin --file {operator.path}\n" in made.out
    assert f"  clientsession keys add --stdin --retiring --file {operator.path}\n" in made.out
    assert "Unset CLIENTSESSION_KEY, CLIENTSESSION_ACCEPTED_KEYS and CLIENTSESSION_RETIRING_KEYS there." in made.text
    added = operator("add", "--stdin", stdin=around.format(KEYS[1].export()).encode())
    assert f"Added {B} (xaes-256-gcm) as accepting" in added.text
    assert [line.key.export() for line in operator.file.keys] == [KEYS[0].export(), KEYS[1].export()]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "standard input: this is not the text of a key"),
        (b"\n", "standard input: this is not the text of a key"),
        (SECRETS[0], "standard input: this is not the text of a key"),
        (SECRETS[0].hex().encode(), "standard input: this is not the text of a key"),
        (b"CLIENTSESSION_KEY=" + KEYS[0].export().encode(), "standard input: this is not the text of a key"),
        (KEYS[0].export().encode()[:-1], "standard input: the text of the key has a wrong character or was cut"),
        (KEYS[0].export().encode() + b"\xff", "standard input: the text of the key has a wrong character"),
        (f"{KEYS[0].export()} {KEYS[1].export()}".encode(), "standard input: the text of the key has a wrong character"),
        (KEYS[0].export().encode() * 100, "standard input holds more than 4,096 bytes, and one key is to be there"),
    ],
)
def test_what_is_no_key_on_standard_input_is_told_and_not_shown(operator: Operator, given: bytes, message: str) -> None:
    said = operator("add", "--stdin", stdin=given)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"clientsession keys: {message}")
    assert said.err.count("\n") == 1
    assert not operator.path.exists()


def test_the_longest_key_fits_standard_input(operator: Operator) -> None:
    key = Key.from_secret(bytes(range(256)) * 4)
    assert operator("add", "--stdin", stdin=key.export().encode()).code == 0
    assert operator.roles == {key.id: "sealing"}


class Terminal(io.BytesIO):
    """Somebody types slowly, or presses Ctrl-C."""

    def __init__(self, clock: Clock, data: bytes | None) -> None:
        super().__init__(data or b"")
        self.clock = clock
        self.stopped = data is None

    def read(self, size: int | None = -1) -> bytes:
        self.clock.pass_(300)
        if self.stopped:
            raise KeyboardInterrupt
        return super().read(size)

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_what_to_type_and_the_date_is_that_of_the_writing(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    operator.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal(operator.clock, KEYS[1].export().encode() + b"\n")))
    said = operator("add", "--stdin")
    assert said.code == 0
    assert said.err.startswith("Paste the text of the key (csk1_...)")
    assert operator.file.keys[1].added == NOW + 5 * MINUTE


def test_ctrl_c_ends_it_without_a_traceback(operator: Operator) -> None:
    operator.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal(operator.clock, None)))
    said = operator("add", "--stdin")
    assert (said.code, said.err.splitlines()[-1]) == (130, "clientsession keys: stopped")
    assert not operator.path.exists()


def test_no_standard_input_is_told(operator: Operator) -> None:
    operator.monkeypatch.setattr(sys, "stdin", None)
    said = operator("add", "--stdin")
    assert (said.code, said.err) == (2, "clientsession keys: there is no standard input to read a key from\n")


class Broken(io.BytesIO):
    """Standard input that cannot be read, as that of a process whose terminal is gone."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(5, "Input/output error")


def test_a_standard_input_that_fails_is_told(operator: Operator) -> None:
    operator.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Broken()))
    said = operator("add", "--stdin")
    assert (said.code, said.err) == (2, "clientsession keys: standard input cannot be read (Input/output error)\n")


def test_a_key_that_is_retiring_today_comes_along_as_retiring(operator: Operator) -> None:
    operator("add", "--stdin", stdin=KEYS[0].export().encode())
    said = operator("add", "--stdin", "--retiring", "--longest", "10d", "--rollout", "1h", stdin=f"{KEYS[1].export()}\n".encode())
    assert (said.code, said.err, operator.roles) == (0, "", {A: "sealing", B: "retiring"})
    line = operator.file.keys[1]
    assert (line.added, line.since, line.droppable) == (NOW, NOW, NOW + 10 * DAY + timedelta(hours=1))
    assert said.text.startswith(f"Added {B} (xaes-256-gcm) as retiring: what it sealed opens, and is sealed anew when it is read.")
    assert f"Keep {B} until 2026-12-01 13:00:00 UTC (in 10 days): dropping it sooner would log users out" in said.text
    assert f"clientsession keys drop {B} --file {operator.path}\n" in said.out
    assert operator("check").marks == ["wait", "note"]  # of the same second, and nothing was promoted too soon
    assert operator("drop", B).code == 1
    assert operator("promote", B).code == 1


def test_a_key_can_retire_only_beside_another_and_only_if_it_has_sealed(operator: Operator) -> None:
    said = operator("add", "--stdin", "--retiring", stdin=KEYS[0].export().encode())
    assert (said.code, said.err) == (1, "refused: the first key of a file seals: add that one first, without --retiring.\n")
    said = operator("add", "--retiring")
    assert (said.code, said.err) == (2, "clientsession keys: --retiring goes with --stdin: a new key has sealed nothing\n")
    assert not operator.path.exists()
    operator.write(sealing(0, **OLD))
    said = operator("add", "--stdin", "--retiring", stdin=KEYS[0].export().encode())
    assert (said.code, said.err) == (1, f"refused: {A} is in the file already, as sealing.\n")


def test_who_has_a_key_in_the_environment_is_told_first_that_this_is_another(operator: Operator) -> None:
    operator.monkeypatch.setenv("CLIENTSESSION_KEY", KEYS[0].export())
    made = operator("add")
    assert made.text.startswith("CLIENTSESSION_KEY is set here, and this file has a new key.")
    assert f"  printenv CLIENTSESSION_KEY | clientsession keys add --stdin --file {operator.path}\n" in made.out
    assert "CLIENTSESSION_KEY " not in operator("add").text  # into a file that is there
    operator.path.unlink()
    assert operator("add", "--stdin", stdin=KEYS[0].export().encode()).text.startswith("Made ")


def test_the_options_of_a_step_stand_in_the_command_for_the_next_one(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    said = operator("add", "--rollout", "1h", "--longest", "30d")
    new = operator.file.keys[1].key.id
    assert "not before 2026-11-21 13:00:00 UTC (in 1 hour), run:" in said.text
    assert f"clientsession keys promote {new} --rollout 1h --longest 30d --file {operator.path}\n" in said.out
    assert "With --longest" not in said.text
    said = operator("list", "--rollout", "2h")
    assert f"clientsession keys promote {new} --rollout 2h --file {operator.path}\n" in said.out
    assert "It is safe from 2026-11-21 14:00:00 UTC" in said.text
    said = operator("add", "--rollout", "1h")
    assert f"--rollout 1h --file {operator.path}\n" in said.out
    assert "With --longest, the longest life of a session, the old key may go sooner than in 400 days from then." in said.text
    said = operator("drop", operator.file.keys[2].key.id, "--rollout", "3h", "--longest", "20d")
    assert f"clientsession keys promote {new} --rollout 3h --longest 20d --file {operator.path}\n" in said.out


def test_a_key_is_not_added_twice(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), retiring(1, since=NOW, droppable=NOW + DAY))
    before = operator.path.read_text()
    for key, role in ((KEYS[0], "sealing"), (KEYS[1], "retiring")):
        said = operator("add", "--stdin", stdin=key.export().encode())
        assert (said.code, said.out, said.err) == (1, "", f"refused: {key.id} is in the file already, as {role}.\n")
    assert operator.path.read_text() == before


def test_a_full_file_takes_no_more(operator: Operator) -> None:
    operator.write(
        sealing(0, **OLD),
        *(KeyLine(Role.ACCEPTING, Key.from_secret(hashlib.sha256(b"%d" % number).digest())) for number in range(99)),
    )
    before = operator.path.read_text()
    said = operator("add")
    assert (said.code, said.err) == (1, "refused: the file holds 100 keys, which are the most: drop old ones first.\n")
    assert operator.path.read_text() == before


# promote


def test_a_key_is_not_promoted_before_a_rollout_is_over(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, added=NOW))
    before = operator.path.read_text()
    for seconds, rollout, code in (
        (0, "1m", 1),
        (59, "1m", 1),
        (59.999, "1m", 1),
        (59.999, "59s", 0),
        (60, "1m", 0),
        (60, "61s", 1),
    ):
        operator.path.write_text(before)
        operator.clock.now = NOW.timestamp() + seconds
        said = operator("promote", B, "--rollout", rollout)
        assert said.code == code, seconds
        assert operator.roles[B] == ("accepting" if code else "sealing")
        if code:
            assert said.err.startswith(f"refused: {B} was added ")
            assert "logs those users out. Wait until 2026-11-21 12:0" in said.text
            assert operator.path.read_text() == before


def test_force_promotes_and_says_what_it_overrode(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, added=NOW))
    said = operator("promote", B, "--force")
    assert (said.code, operator.roles) == (0, {A: "retiring", B: "sealing"})
    assert said.err.startswith(f"forced: {B} was added a moment ago, and a rollout takes 1 minute.")
    operator.clock.pass_(120)
    assert operator("promote", A, "--force").err == ""  # where nothing was in the way, nothing is said


def test_an_accepting_key_without_a_date_is_promoted_by_force_alone(operator: Operator) -> None:
    operator.write(sealing(0), accepting(1))
    said = operator("promote", B)
    assert said.code == 1
    assert f"{B} has no added= date, so nobody can tell whether every server has it." in said.text
    assert operator("promote", B, "--force").code == 0
    assert operator.roles == {A: "retiring", B: "sealing"}


def test_since_stands_in_for_a_missing_added(operator: Operator) -> None:
    operator.write(sealing(0), accepting(1, since=NOW - timedelta(seconds=50)))
    assert operator("promote", B).code == 1
    operator.clock.pass_(10)
    assert operator("promote", B).code == 0


def test_a_retiring_key_without_dates_was_everywhere_and_can_seal_again(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), retiring(1))
    assert operator("promote", B).code == 0


def test_the_sealing_key_is_not_promoted(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    for more in ((), ("--force",)):
        said = operator("promote", A, *more)
        assert (said.code, said.err) == (1, f"refused: {A} is the sealing key already.\n")


# drop


def test_a_retiring_key_is_not_dropped_before_its_date(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), retiring(1, since=NOW - DAY, droppable=NOW + DAY))
    before = operator.path.read_text()
    operator.clock.now = (NOW + DAY).timestamp() - 0.001
    said = operator("drop", B)
    assert (said.code, said.out) == (1, "")
    assert f"refused: what {B} sealed may be alive until 2026-11-22 12:00:00 UTC (in 1 second)." in said.text
    assert "To log them out (the key has leaked, say), give --force." in said.text
    assert operator.path.read_text() == before
    operator.clock.pass_(0.001)
    assert operator("drop", B).code == 0
    assert operator.roles == {A: "sealing"}


@pytest.mark.parametrize("droppable", [NOW + 400 * DAY, NOW + MINUTE])
def test_the_longest_life_and_the_rollout_say_anew_when_a_retiring_key_may_go(operator: Operator, droppable: datetime) -> None:
    """Sooner than the date in the file, and later too: who gives both has looked at the jars again."""
    operator.write(sealing(0, **OLD), retiring(1, since=NOW - DAY, droppable=droppable))
    options = ("--longest", "9d", "--rollout", "1h")
    operator.clock.now = (NOW + 8 * DAY).timestamp() + 3599
    said = operator("drop", B, *options)
    assert (said.code, said.out) == (1, "")
    assert f"refused: what {B} sealed may be alive until 2026-11-29 13:00:00 UTC (in 1 second)" in said.text
    assert operator("check", *options).code == 1
    operator.clock.pass_(1)
    assert operator("check", *options).marks == ["ready"]
    assert operator("drop", B, *options).code == 0
    assert operator.roles == {A: "sealing"}


def test_the_longest_life_alone_brings_no_date_forward_since_the_rollout_may_have_been_long(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    operator("add")
    operator.clock.pass_(2 * 86_400)
    (second,) = (line.key.id for line in operator.file.keys if line.role == "accepting")
    assert operator("promote", second, "--longest", "30d", "--rollout", "1d").code == 0
    operator.clock.pass_(30 * 86_400 + 120)
    assert operator("check", "--longest", "30d").marks == ["wait"]
    assert operator("drop", A, "--longest", "30d").code == 1
    assert operator("check", "--longest", "30d", "--rollout", "1d").marks == ["wait"]
    operator.clock.pass_(86_400)
    assert operator("check", "--longest", "30d").marks == ["ready"]
    assert operator("drop", A, "--longest", "30d").code == 0


def test_a_retiring_key_whose_line_a_person_wrote_has_nothing_to_be_counted_from(operator: Operator) -> None:
    """As where roles were swapped in an editor: its since= may be from when it began to seal."""
    operator.write(sealing(0, **OLD), retiring(1, since=NOW - 500 * DAY))
    for options in ([], ["--longest", "1d"], ["--longest", "1d", "--rollout", "1h"]):
        assert operator("check", *options).marks == ["wrong"]
        assert operator("drop", B, *options).code == 1
    assert f"droppable={format_date(NOW + DAY + timedelta(hours=1))}" in operator("check", *options).text


@pytest.mark.parametrize("step", ["promote", "drop"])
def test_with_a_clock_that_is_behind_no_step_is_taken(operator: Operator, step: str) -> None:
    """Every wait would be counted from a wrong time."""
    operator.write(
        sealing(0, added=NOW - 9 * DAY, since=NOW + DAY), accepting(1, **OLD), retiring(2, since=NOW - 9 * DAY, droppable=NOW - DAY)
    )
    said = operator(step, B if step == "promote" else C)
    assert said.code == 1
    assert "which is to come: the clock here (2026-11-21 12:00:00 UTC) is wrong" in said.text
    assert operator(step, B if step == "promote" else C, "--force").code == 0


def test_what_cannot_be_counted_anew_keeps_its_date(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), retiring(1, droppable=NOW + DAY), accepting(2, since=NOW - 9 * DAY, droppable=NOW + DAY))
    for key_id in (B, C):
        said = operator("drop", key_id, "--longest", "1d")
        assert said.code == 1
        assert "may be alive until 2026-11-22 12:00:00 UTC (in 1 day)." in said.text


def test_a_refusal_to_drop_names_the_option_that_may_make_it_sooner(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), retiring(1, since=NOW - DAY, droppable=NOW + 399 * DAY), retiring(2, droppable=NOW + DAY))
    words = "Where no session lives that long, --longest and --rollout, as they are at your site, make it sooner."
    assert words in operator("drop", B).text
    assert words not in operator("drop", B, "--longest", "5d").text
    assert words not in operator("drop", C).text


def test_force_drops_and_says_what_it_overrode(operator: Operator) -> None:
    operator.write(
        sealing(0, **OLD), retiring(1, since=NOW - DAY, droppable=NOW + DAY), retiring(2), accepting(3, droppable=NOW + DAY)
    )
    assert operator("drop", B, "--force").err.startswith(f"forced: what {B} sealed may be alive until 2026-11-22 12:00:00 UTC")
    assert f"{C} is retiring and has no droppable= date" in operator("drop", C).text
    assert operator("drop", C, "--force").err.startswith(f"forced: {C} is retiring and has no droppable= date")
    assert operator("drop", D).code == 1
    assert operator("drop", D, "--force").err.startswith(f"forced: what {D} sealed may be alive")
    assert operator.roles == {A: "sealing"}


def test_the_sealing_key_is_never_dropped(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, **OLD))
    for more in ((), ("--force",)):
        said = operator("drop", A, *more)
        assert said.code == 1
        assert f"{A} is the sealing key, and a ring has one always: promote another key first." in said.text
    assert operator.roles == {A: "sealing", B: "accepting"}


def test_an_accepting_key_is_dropped_with_a_word_of_caution(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, added=NOW), accepting(2, droppable=NOW))
    for key_id in (B, C):
        said = operator("drop", key_id)
        assert (said.code, said.err) == (0, "")
        assert f"Dropped {key_id}, which was accepting. Make sure that no server seals with it" in said.text
    assert said.text.endswith(f"That ends the rotation: sealing {A}.")


@pytest.mark.parametrize("step", ["promote", "drop"])
def test_an_unknown_id_is_told_with_those_there_are(operator: Operator, step: str) -> None:
    operator.write(retiring(1, since=NOW, droppable=NOW + DAY), sealing(0, **OLD))
    said = operator(step, "0000ABCD", "--force")
    assert said.code == 1
    assert said.err == f"refused: there is no key 0000abcd in the file. It holds sealing {A}, retiring {B}.\n"


def test_an_id_may_be_in_capitals(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1, **OLD))
    assert operator("promote", B.upper()).code == 0


# check


@pytest.mark.parametrize(
    ("lines", "options", "code", "marks", "words"),
    [
        ([sealing(0, **OLD)], [], 0, [], ["All is well, and there is nothing to do"]),
        ([sealing(0)], [], 0, [], ["All is well, and there is nothing to do"]),
        (  # right after a file was made
            [sealing(0, added=NOW, since=NOW)],
            [],
            0,
            [],
            ["All is well"],
        ),
        (  # right after an addition
            [sealing(0, **OLD), accepting(1, added=NOW - timedelta(seconds=20))],
            [],
            1,
            ["wait"],
            [
                f"wait: promoting {B} now would log users out: it was added 20 seconds ago",
                "It is safe from 2026-11-21 12:00:40 UTC (in 40 seconds) on, if every server has this file then:",
                f"clientsession keys promote {B} --file",
            ],
        ),
        (
            [sealing(0, **OLD), accepting(1, added=NOW - MINUTE)],
            [],
            0,
            ["ready"],
            [f"ready: {B} may be promoted, if every server has this file: clientsession keys promote {B} --file"],
        ),
        (
            [sealing(0, **OLD), accepting(1, since=NOW - MINUTE)],
            ["--rollout", "90s", "--longest", "30d"],
            1,
            ["wait"],
            [f"clientsession keys promote {B} --rollout 1m30s --longest 30d --file"],
        ),
        (
            [sealing(0, **OLD), accepting(1, since=NOW - MINUTE)],
            ["--longest", "400d"],
            0,
            ["ready"],
            [f"clientsession keys promote {B} --file"],
        ),
        (
            [sealing(0, **OLD), accepting(1)],
            [],
            1,
            ["wrong"],
            [
                f"wrong: {B} is accepting and has no added= date",
                "Write added=2026-11-21T12:00:00Z behind it, and promote it 1 minute from",
            ],
        ),
        (
            [sealing(0, **OLD), accepting(1, added=NOW - DAY, droppable=NOW + DAY)],
            [],
            0,
            ["ready", "note"],
            [f"note: {B} has sealed before: dropping it before 2026-11-22 12:00:00 UTC (in 1 day) would log users out."],
        ),
        (  # right after a promotion
            [sealing(1, added=NOW - DAY, since=NOW), retiring(0, since=NOW, droppable=NOW + 400 * DAY + MINUTE)],
            [],
            1,
            ["wait"],
            [
                f"wait: dropping {A} now would log users out: what it sealed may be alive.",
                "It may go from 2027-12-26 12:01:00 UTC (in 400 days) on:",
                f"clientsession keys drop {A} --file",
            ],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - 10 * DAY, droppable=NOW)],
            [],
            0,
            ["ready", "note"],
            [
                f"ready: {A} may be dropped: nothing it sealed is alive. clientsession keys drop {A} --file",
                f"note: the date of {A} is right where no session lives longer than 9d23h59m;",
            ],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - 10 * DAY, droppable=NOW)],
            ["--longest", "9d"],
            0,
            ["ready"],
            [],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - 10 * DAY, droppable=NOW)],
            ["--longest", "10d", "--rollout", "1h"],
            1,
            ["wrong"],
            [
                f"wrong: dropping {A} at its date, 2026-11-21 12:00:00 UTC, would log users out: what it sealed may be alive until",
                "until 2026-11-21 13:00:00 UTC (in 1 hour), where a session lives up to 10 days and a rollout takes 1 hour.",
                "Write droppable=2026-11-21T13:00:00Z behind it.",
            ],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - DAY, droppable=NOW - DAY + timedelta(seconds=60))],
            [],
            1,
            ["wrong"],
            [f"wrong: dropping {A} at its date", "Write droppable=2027-12-25T12:01:00Z behind it."],
        ),
        (  # its since= may be from when it began to seal
            [sealing(1, **OLD), retiring(0, since=NOW - DAY)],
            ["--longest", "30d"],
            1,
            ["wrong"],
            ["Write droppable=2026-12-21T12:01:00Z behind it, which is right where no session lives longer than 30 days."],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - DAY)],
            [],
            1,
            ["wrong"],
            [
                f"wrong: {A} is retiring and has no droppable= date: dropping it may log users out. Write",
                "Write droppable=2027-12-26T12:01:00Z behind it",
            ],
        ),
        (  # sooner than the file has it
            [sealing(1, **OLD), retiring(0, since=NOW - 2 * DAY, droppable=NOW + 398 * DAY)],
            ["--longest", "3d", "--rollout", "1h"],
            1,
            ["wait"],
            [
                "It may go from 2026-11-22 13:00:00 UTC (in 1 day 1 hour) on:",
                f"clientsession keys drop {A} --longest 3d --rollout 1h --file",
            ],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - 2 * DAY, droppable=NOW + 398 * DAY)],
            ["--longest", "1d", "--rollout", "1m"],
            0,
            ["ready"],
            [f"ready: {A} may be dropped", f"clientsession keys drop {A} --longest 1d --rollout 1m --file"],
        ),
        (
            [sealing(1, **OLD), retiring(0, since=NOW - 2 * DAY, droppable=NOW + 398 * DAY)],
            ["--longest", "1d"],
            1,
            ["wait"],
            ["It may go from 2027-12-24 12:00:00 UTC (in 398 days) on, or sooner where --rollout is given too:"],
        ),
        (
            [sealing(1, **OLD), retiring(0, droppable=NOW - DAY)],
            ["--longest", "1d"],
            1,
            ["wrong"],
            [f"wrong: {A} is retiring and has no since= date, from which --longest could be counted. Write since= behind it"],
        ),
        (  # later than the file has it, and over too
            [sealing(1, **OLD), retiring(0, since=NOW - 9 * DAY, droppable=NOW - 8 * DAY)],
            ["--longest", "8d"],
            0,
            ["ready"],
            [f"ready: {A} may be dropped: nothing it sealed is alive. clientsession keys drop {A} --file"],
        ),
        (
            [sealing(1, **OLD), retiring(0)],
            [],
            1,
            ["wrong"],
            ["Write droppable=2027-12-26T12:01:00Z behind it, which is right where no session lives longer than 400 days."],
        ),
        (  # promoted too soon, and it may still be helped
            [sealing(1, added=NOW - timedelta(seconds=30), since=NOW - timedelta(seconds=20))],
            [],
            1,
            ["wrong"],
            [
                f"wrong: {B} was promoted too soon, 10 seconds after it was added, and a rollout takes 1 minute",
                "Bring this file to every server at once, and not only by 2026-11-21 12:00:40 UTC (in 40 seconds).",
            ],
        ),
        (  # in the very second in which it was added
            [retiring(0, since=NOW, droppable=NOW + DAY), sealing(1, added=NOW, since=NOW)],
            ["--longest", "1h"],
            1,
            ["wrong", "wait"],
            [f"wrong: {B} was promoted too soon, 0 seconds after it was added"],
        ),
        (  # a moment before it is over
            [sealing(1, added=NOW - MINUTE, since=NOW - timedelta(seconds=59))],
            [],
            1,
            ["wrong"],
            ["not only by 2026-11-21 12:00:01 UTC (in 1 second)"],
        ),
        (  # it is over
            [sealing(1, added=NOW - timedelta(seconds=61), since=NOW - MINUTE)],
            [],
            0,
            [],
            [],
        ),
        (  # longer with slower machines
            [sealing(1, added=NOW - timedelta(seconds=61), since=NOW - MINUTE)],
            ["--rollout", "1h"],
            1,
            ["wrong"],
            [],
        ),
        (  # the first key of a site was not promoted, whatever retired before or after
            [
                *(retiring(0, since=NOW - DAY, droppable=NOW + DAY), sealing(1, added=NOW, since=NOW)),
                *(retiring(2, since=NOW - DAY, droppable=NOW), retiring(3, added=NOW, since=NOW, droppable=NOW + DAY)),
            ],
            ["--longest", "1h", "--rollout", "1m"],
            1,
            ["wait", "ready", "ready"],
            [],
        ),
        (
            [sealing(0, added=NOW - 2 * DAY, since=NOW + DAY), accepting(1, added=NOW + DAY)],
            [],
            1,
            ["wrong", "wrong", "wait"],
            [
                f"wrong: {A} has since=2026-11-22T12:00:00Z, which is to come: the clock here (2026-11-21 12:00:00 UTC) is wrong",
                f"wrong: {B} has added=2026-11-22T12:00:00Z, which is to come",
            ],
        ),
        (  # clocks may be a minute apart
            [sealing(0, added=NOW + MINUTE, since=NOW + MINUTE)],
            [],
            0,
            [],
            [],
        ),
        (
            [sealing(0, added=NOW - 500 * DAY, since=NOW - 365 * DAY)],
            [],
            0,
            ["note"],
            [f"note: {A} has sealed for 365 days: it is time for a new key. Begin with: clientsession keys add --file"],
        ),
        (
            [sealing(0, since=NOW - 366 * DAY)],
            ["--rollout", "5m", "--longest", "9d"],
            0,
            ["note"],
            ["Begin with: clientsession keys add --rollout 5m --file"],
        ),
        ([sealing(0, since=NOW - 364 * DAY)], [], 0, [], []),
        ([sealing(0, since=NOW - 366 * DAY), accepting(1, added=NOW)], [], 1, ["wait"], []),
    ],
)
def test_check_says_what_is_wrong_what_must_wait_and_what_may_be_done(
    operator: Operator, lines: list[KeyLine], options: list[str], code: int, marks: list[str], words: list[str]
) -> None:
    operator.write(*lines)
    before = operator.path.read_text()
    said = operator("check", *options)
    assert (said.code, said.marks, said.err) == (code, marks, "")
    for each in words:
        assert each in said.text
    assert ("All is well" in said.text) == (marks == [])
    assert said.text.startswith(f"{operator.path} at 2026-11-21 12:00:00 UTC: sealing ")
    quiet = operator("check", "--quiet", *options)
    assert (quiet.code, quiet.marks) == (1 if "wrong" in marks else 0, [mark for mark in marks if mark == "wrong"])
    assert bool(quiet.out) == ("wrong" in marks)
    assert operator.path.read_text() == before


def test_before_each_step_in_the_wrong_order_check_warns_and_the_step_is_refused(operator: Operator) -> None:
    operator("add")
    operator("add")
    first, second = operator.roles
    warning = operator("check")
    assert (warning.code, warning.marks) == (1, ["wait"])
    assert f"promoting {second} now would log users out" in warning.text
    assert operator("promote", second).code == 1
    operator("promote", second, "--force")
    told = operator("check")
    assert (told.code, told.marks) == (1, ["wrong", "wait"])
    assert f"{second} was promoted too soon" in told.text
    assert f"dropping {first} now would log users out" in told.text
    assert operator("drop", first).code == 1


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        (0o600, 0, ""),
        (0o400, 0, ""),
        (0o640, 0, "note: the file's group can read it (mode 0640)"),
        (0o644, 1, "wrong: others than its owner can read or change the file, for its mode is 0644: chmod 0600 it"),
        (0o604, 1, "wrong: others than its owner can read or change"),
        (0o601, 1, "wrong: others than its owner can read or change"),
        (0o620, 1, "wrong: others than its owner can change the file, for its mode is 0620"),
        (0o660, 1, "wrong: others than its owner can change the file"),
    ],
)
def test_check_looks_at_who_can_read_and_write_the_file(operator: Operator, mode: int, code: int, words: str) -> None:
    operator.write(sealing(0, **OLD))
    operator.path.chmod(mode)
    link = operator.path.with_name("link")
    link.symlink_to("keys")
    for path in (operator.path, link):
        said = operator("check", "--file", str(path))
        assert (said.code, bool(said.marks)) == (code, bool(words))
        assert words in said.text


def test_what_check_says_to_write_behind_a_key_can_be_written_there(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), accepting(1), retiring(2), retiring(3, since=NOW - DAY))
    said = operator("check")
    assert said.marks == ["wrong"] * 3
    text = operator.path.read_text()
    for key_id, advice in re.findall(r"wrong: (\w{8}) is.*?((?:added|droppable)=2\S+)", said.text):
        (export,) = (line.key.export() for line in operator.file.keys if line.key.id == key_id)
        text = text.replace(f"{export} ", f"{export} {advice} ")
    operator.path.write_text(text)
    assert operator("check").marks == ["wait"] * 3
    assert operator.file.keys[1].added == NOW
    assert [line.droppable for line in operator.file.keys[2:]] == [NOW + 400 * DAY + MINUTE] * 2


def test_check_tells_of_a_command_that_was_stopped_half_way(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    left = operator.path.with_name("keys.new")
    left.write_text("half")
    said = operator("check")
    assert (said.code, said.marks) == (1, ["wrong"])
    assert f"wrong: {left} exists: another command is at work on the file, or was stopped half-way." in said.text
    refused = operator("add")
    assert refused.code == 1
    assert refused.text.startswith(f"refused: {left} exists: another `clientsession keys` is at work")
    assert left.read_text() == "half"


BROKEN = {
    "empty": ("", "has no line that says end"),
    "cut": (f"sealing {KEYS[0].export()}\n", "has no line that says end"),
    "twice": (
        f"sealing {KEYS[0].export()}\naccepting {KEYS[0].export()}\nend\n",
        f"lines 1 and 2 hold the same key, {A}: remove one",
    ),
    "typo": (f"sealing {KEYS[0].export()[:-2]}xx\nend\n", "line 1 has no key that can be read"),
    "secret": (f"# {COMMENT}\nsealing {SECRETS[0].hex()}\nend\n", "line 2 has no key that can be read"),
    "date": (f"sealing {KEYS[0].export()} since={KEYS[1].export()}\nend\n", "line 1 has a date for since that is not like"),
    "no-role": (f"{KEYS[0].export()}\n", "line 1 must begin with"),
    "binary": (b"\xff" + SECRETS[0], "is not UTF-8 text"),
    "folder": (None, "is not a regular file"),
}
COMMANDS = [["list"], ["list", "--json"], ["add"], ["promote", A], ["drop", A, "--force"], ["promote", A, "--force"]]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_by_every_command_and_changed_by_none(operator: Operator, name: str) -> None:
    content, message = BROKEN[name]
    if content is None:
        operator.path.mkdir()
    else:
        operator.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        operator.path.chmod(0o600)
    for arguments in COMMANDS:
        said = operator(*arguments)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"clientsession keys: the key file {operator.path}: {message}")
        assert said.err.count("\n") == 1
    for arguments in (["check"], ["check", "--quiet"]):
        said = operator(*arguments)
        assert (said.code, said.err, said.marks) == (2, "", ["wrong"])
        assert said.text.startswith(f"wrong: the key file {operator.path}: {message}")
        assert "Servers that run go on with the keys they have" in said.text
    if isinstance(content, str):
        assert operator.path.read_text() == content
    assert os.listdir(operator.path.parent) == ["keys"]


def test_a_missing_file_is_told_with_how_to_make_one(operator: Operator) -> None:
    hint = f"there is no key file {operator.path}. Make it with: clientsession keys add --file {operator.path}"
    for arguments in (["list"], ["promote", A], ["drop", A]):
        assert operator(*arguments).err == f"clientsession keys: {hint}\n"
    said = operator("check")
    assert said.code == 2
    assert said.text.startswith(f"wrong: {hint}")
    assert os.listdir(operator.path.parent) == []


# list


def test_list_is_a_table_and_what_to_do(operator: Operator) -> None:
    operator.write(
        sealing(0, **OLD),
        accepting(1, added=NOW - timedelta(seconds=30)),
        retiring(2, since=NOW - 9 * DAY, droppable=NOW + 3 * DAY + timedelta(hours=2)),
        retiring(3, added=NOW - 99 * DAY, since=NOW - 50 * DAY, droppable=NOW),
        KeyLine(Role.RETIRING, KEYS[4]),
    )
    said = operator("list")
    assert (said.code, said.err) == (0, "")
    table, _, rest = said.out.partition("\n\n")
    assert [re.split(r"  +", line) for line in table.split("\n")] == [
        ["ID", "ROLE", "SUITE", "ADDED (UTC)", "SINCE (UTC)", "DROPPABLE"],
        [A, "sealing", "xaes-256-gcm", "2026-10-12 12:00:00", "2026-10-22 12:00:00", "never while it seals"],
        [B, "accepting", "xaes-256-gcm", "2026-11-21 11:59:30", "-", "-"],
        [C, "retiring", "xaes-256-gcm", "-", "2026-11-12 12:00:00", "in 3 days 2 hours"],
        [D, "retiring", "xaes-256-gcm", "2026-08-14 12:00:00", "2026-10-02 12:00:00", "now"],
        [KEYS[4].id, "retiring", "xaes-256-gcm", "-", "-", "no date"],
    ]
    assert Said(0, rest, "").marks == ["wrong", "wait", "wait", "ready", "note", "note"]
    assert max(map(len, table.split("\n"))) <= 110


def test_list_for_machines_is_json(operator: Operator) -> None:
    operator.write(sealing(0, **OLD), KeyLine(Role.ACCEPTING, Key.from_secret(SECRETS[1], suite=Suite.XCHACHA20_POLY1305)))
    said = operator("list", "--json")
    assert said.code == 0
    assert json.loads(said.out) == {
        "file": str(operator.path),
        "keys": [
            {
                "id": A,
                "role": "sealing",
                "suite": "xaes-256-gcm",
                "added": "2026-10-12T12:00:00Z",
                "since": "2026-10-22T12:00:00Z",
                "droppable": None,
            },
            {
                "id": Key.from_secret(SECRETS[1], suite=Suite.XCHACHA20_POLY1305).id,
                "role": "accepting",
                "suite": "xchacha20-poly1305",
                "added": None,
                "since": None,
                "droppable": None,
            },
        ],
    }


def test_no_line_that_is_no_command_is_wider_than_a_hundred_columns(operator: Operator) -> None:
    operator.monkeypatch.chdir(operator.path.parent)
    said = [operator("add"), operator("add"), operator("check"), operator("list")]
    (first, second) = operator.roles
    said += [operator("promote", second), operator("promote", second, "--force"), operator("check"), operator("list")]
    said += [operator("drop", first), operator("drop", first, "--force"), operator("promote", "00000000")]
    for line in "\n".join(each.out + each.err for each in said).split("\n"):
        assert (
            len(line) <= (110 if line.startswith((first, second, "ID ")) else 100)
            or "clientsession keys " in line
            or str(operator.path) in line
        ), line


# Which file


def test_the_file_may_be_named_before_or_after_the_step_and_over_the_environment(operator: Operator, tmp_path: Path) -> None:
    operator.write(sealing(0, **OLD))
    other = tmp_path / "other"
    for option, (before, after) in itertools.product(("--file", "--keys"), ((True, False), (False, True))):
        given = [option, str(other)]
        said = operator(*(given if before else []), "add", *(given if after else []))
        assert said.code == 0
        other.unlink()
    assert operator("--file", "/nowhere", "add", f"--file={other}").code == 0
    assert other.exists()
    assert operator("list").text.startswith("ID ROLE")
    assert operator.roles == {A: "sealing"}


def test_no_file_named_is_told(operator: Operator) -> None:
    for environment in (None, ""):
        if environment is None:
            operator.monkeypatch.delenv("CLIENTSESSION_KEY_FILE")
        else:
            operator.monkeypatch.setenv("CLIENTSESSION_KEY_FILE", environment)
        for arguments in (*COMMANDS, ["check"]):
            said = operator(*arguments)
            assert (said.code, said.out) == (2, "")
            assert said.err == ("clientsession keys: which key file? Give --file FILE, or set CLIENTSESSION_KEY_FILE to its path\n")


def test_a_relative_path_is_told_as_an_absolute_one(operator: Operator) -> None:
    operator.monkeypatch.chdir(operator.path.parent)
    operator.write(sealing(0, **OLD))
    assert f"--file {operator.path}\n" in operator("add", "--file", "keys").out


def test_a_working_directory_that_is_gone_is_told(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    operator.monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = operator("list", "--file", "keys")
    assert (said.code, said.err) == (2, "clientsession keys: No such file or directory\n")


def test_a_folder_that_is_not_there_is_told(operator: Operator) -> None:
    said = operator("add", "--file", "/nowhere/keys")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith(
        "clientsession keys: the key file /nowhere/keys: /nowhere/keys.new cannot be made beside it (No such file"
    )


@pytest.mark.parametrize("name", ["a key file", "o'clock", "two\nlines", "\x1b[2Jgone", "schlüssel", "\udcff", "back\\slash\n"])
def test_a_command_that_is_printed_names_the_very_file(operator: Operator, name: str) -> None:
    path = os.path.join(operator.path.parent, name)
    operator("add", "--file", path)
    printed = operator("add", "--file", path)
    assert printed.code == 0
    assert printed.out.isprintable() or set(filter(lambda char: not char.isprintable(), printed.out)) == {"\n"}
    line = next(line for line in printed.out.split("\n") if "keys promote" in line)
    shell = subprocess.run(
        ["bash", "-c", f'clientsession() {{ printf %s "$5"; }}; {line}'], capture_output=True, check=True, timeout=60
    )
    assert shell.stdout == os.fsencode(path)


def test_a_mode_that_closes_is_told(operator: Operator) -> None:
    for mode, told in ((0o644, True), (0o664, True), (0o640, False), (0o600, False)):
        operator.write(sealing(0, **OLD))
        operator.path.chmod(mode)
        said = operator("add")
        assert ("note: the file's mode was" in said.err) == told
        assert operator.path.stat().st_mode & 0o777 == (0o640 if mode == 0o640 else 0o600)


# Secrets on the command line


SECRET_ARGUMENTS = [KEYS[0].export(), KEYS[0].export()[:20], KEYS[0].export()[5:], SECRETS[0].hex(), SECRETS[0].hex()[:18]]


@pytest.mark.parametrize("secret", SECRET_ARGUMENTS)
def test_a_secret_on_the_command_line_is_not_shown(operator: Operator, secret: str) -> None:
    operator.write(sealing(0, **OLD))
    before = operator.path.read_text()
    for step in ("promote", "drop"):
        said = operator(step, secret)
        assert (said.code, said.out) == (2, "")
        assert "it is a secret and must not stand on a command line" in said.text
    shapes = [
        ["list", secret],
        ["add", secret],
        ["check", secret, secret],
        ["promote", A, secret],
        ["promote", A, f"--{secret}"],
        ["promote", A, f"--force={secret}"],
        ["promote", A, "--longest", secret],
        ["promote", A, f"--rollout={secret}"],
        ["add", "--suite", secret],
        ["add", f"--stdin={secret}"],
        [secret],
        [f"--{secret}"],
        [f"--{secret}", "list"],
    ]
    for arguments in shapes:
        said = operator(*arguments)
        assert said.code == 2, arguments
    assert operator.path.read_text() == before


@pytest.mark.parametrize(
    "arguments", [["{}"], ["--{}"], ["keys", "{}"], ["keys", "list", "{}"], ["keygen", "{}"], ["demo", "--port", "{}"]]
)
def test_the_program_itself_shows_no_secret_it_was_given_by_mistake(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for secret in SECRET_ARGUMENTS:
        with pytest.raises(SystemExit) as exit_:
            main([argument.format(secret) for argument in arguments])
        assert exit_.value.code == 2
        said = "".join(capsys.readouterr())
        assert "clientsession" in said
        assert NEEDLES.found_in(said) == []


def test_a_key_given_as_the_file_is_not_shown(operator: Operator) -> None:
    for arguments in (*COMMANDS, ["check"]):
        said = operator(*arguments, "--file", KEYS[0].export())
        assert (said.code, said.out) == (2, "")
        assert "this is the text of a key, and not the path of a key file" in said.text
    for secret in (KEYS[0].export(), KEYS[0].export()[5:], f"/etc/{KEYS[0].export()[5:]}"):
        operator.monkeypatch.setenv("CLIENTSESSION_KEY_FILE", secret)
        for arguments in (["list"], ["check"], ["add"], ["list", "--file", f"./{secret}"]):
            said = operator(*arguments)
            assert (said.code, said.out) == (2, "")
            assert "this is the text of a key, and not the path of a key file" in said.text


def test_what_is_no_secret_is_named_in_an_error(operator: Operator) -> None:
    for arguments, words in (
        (["list", "--jason"], "unrecognized arguments: --jason"),
        (["lst"], "invalid choice: 'lst'"),
        (["add", "--suite", "rot13"], "argument --suite: invalid choice: 'rot13'"),
        (["promote"], "the following arguments are required: ID"),
        (["promote", "abc"], "argument ID: an id has 8 hex digits, as `clientsession keys list` shows them"),
        (["promote", "xyzxyzxy"], "argument ID: an id has 8 hex digits"),
        (["promote", A, "--longest", "1y"], f"argument --longest: {HOW_TO_WRITE}"),
        (["check", "--rollout", "401d"], f"argument --rollout: {HOW_TO_WRITE}"),
        (["add", "--suite", "xaes-256-gcm", "--stdin"], "argument --stdin: not allowed with argument --suite"),
        (["--fil", "x", "list"], "usage"),  # no abbreviation: --f is the force of one step and the file of all
    ):
        said = operator(*arguments)
        assert (said.code, said.out) == (2, "")
        assert words in said.err


# Help


def test_keys_alone_shows_its_help_and_fails(operator: Operator) -> None:
    said = operator()
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("usage: clientsession keys ")


@pytest.mark.parametrize("arguments", [[], ["list"], ["add"], ["promote"], ["drop"], ["check"]])
def test_help_is_there_for_each(operator: Operator, arguments: list[str]) -> None:
    said = operator(*arguments, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"usage: {' '.join(['clientsession keys', *arguments])}")
    assert said.out.count("exit codes:") == 1


@pytest.mark.parametrize("arguments", [["list"], ["add"], ["promote", A], ["drop", A], ["check"]])
def test_an_option_that_is_none_is_told_with_those_there_are(operator: Operator, arguments: list[str]) -> None:
    said = operator(*arguments, "--colour")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"usage: clientsession keys {arguments[0]} [-h] [--file FILE]")
    assert said.err.endswith(f"clientsession keys {arguments[0]}: error: unrecognized arguments: --colour\n")


# Output that nobody reads


@pytest.mark.parametrize("arguments", [["list"], ["check"], ["add"], ["promote", B], ["drop", C]])
def test_a_reader_who_has_left_sees_no_traceback(operator: Operator, arguments: list[str]) -> None:
    operator.write(sealing(0, **OLD), accepting(1, **OLD), retiring(2, since=NOW - DAY, droppable=NOW))
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        with operator.monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", pipe)
            code = command("keys", *arguments, clock=operator.clock)
    assert code == 0
    assert operator.capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has such a device")
def test_a_full_disk_for_the_output_is_told(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    with open("/dev/full", "w") as full:
        with operator.monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert command("keys", "list", clock=operator.clock) == 2
            assert command("keys", "promote", A, clock=operator.clock) == 1
    assert "clientsession keys: standard output cannot be written (No space left on device)\n" in operator.capsys.readouterr().err


def test_no_standard_output_at_all_is_none(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    with operator.monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert command("keys", "check", clock=operator.clock) == 0


PROGRAM = (
    "import sys\n"
    "from clientsession.commands import keys\n"
    "from clientsession.commands._parser import Parser\n"
    "parser = Parser(prog='clientsession')\n"
    "keys.add_parser(parser.add_subparsers())\n"
    "options = parser.parse_args()\n"
    "sys.exit(options.run(options))\n"
)


def process(operator: Operator, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, "keys", *arguments, "--file", str(operator.path)],
        check=False,
        timeout=60,
        stderr=subprocess.PIPE,
        **options,
    )


def test_as_a_process_it_ends_in_silence_when_its_reader_has_left(operator: Operator) -> None:
    operator.write(sealing(0, **OLD))
    for arguments in (["list"], ["add"], ["check"]):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb") as pipe:
            ended = process(operator, *arguments, stdout=pipe)
        assert ended.stderr == b""
        assert ended.returncode == (1 if arguments == ["check"] else 0)


def test_as_a_process_it_speaks_to_any_terminal(operator: Operator) -> None:
    operator.path = operator.path.with_name("schlüssel")
    operator.write(sealing(0, **OLD), retiring(1))
    said = process(operator, "check", stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (said.returncode, said.stderr) == (1, b"")
    assert b"schl\\xfcssel" in said.stdout


# A clock


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), 1e12])
def test_a_clock_that_is_none_is_told(operator: Operator, seconds: float) -> None:
    operator.write(sealing(0, **OLD))
    operator.clock.now = seconds
    said = operator("list")
    assert said.code == 2
    assert "the clock must answer" in said.err


def test_the_end_of_the_calendar_is_no_crash(operator: Operator) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    operator.write(sealing(0, added=last, since=last), accepting(1, added=last), retiring(2, since=last, droppable=last))
    assert operator("list").code == 0
    assert operator("check", "--longest", "400d", "--rollout", "400d").code == 1
    operator.clock.now = datetime(9998, 11, 1, tzinfo=UTC).timestamp()
    operator.write(sealing(0, **OLD), accepting(1, added=NOW))
    assert operator("promote", B, "--rollout", "400d").code == 0
    assert operator.file.keys[0].droppable == last


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("90s", 90), ("5m", 300), ("24h", 86_400), ("120d", 120 * 86_400), ("2w", 14 * 86_400), ("1d12h", 129_600),
        ("400d", 400 * 86_400), ("1w1d1h1m1s", 694_861), ("1h1h", 7200), ("034560000s", None), ("34560000s", 34_560_000),
        *((text, None) for text in ("", "0s", "401d", "34560001s", "5", "m", "5 m", "-5m", "+5m", "1.5h", "5M", "5min")),
        *((text, None) for text in ("\N{ARABIC-INDIC DIGIT FIVE}m", "5m\n", "999999999d", "99999999w99999999w")),
        *((text, None) for text in ("1s1s1s1s1s1s", "1y", "1d 12h")),
    ],
)  # fmt: skip
def test_a_duration_is_numbers_with_units(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.integers(1, 400 * 86_400))
def test_a_duration_comes_back_from_its_text(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(), "0 seconds"),
        (timedelta(microseconds=1), "1 second"),
        (timedelta(seconds=59.5), "1 minute"),
        (timedelta(seconds=59.001), "1 minute"),
        (timedelta(seconds=59), "59 seconds"),
        (timedelta(seconds=61), "1 minute"),
        (timedelta(seconds=62), "1 minute"),
        (timedelta(seconds=63), "1 minute 5 seconds"),
        (timedelta(seconds=90), "1 minute 30 seconds"),
        (timedelta(minutes=1, seconds=58), "2 minutes"),
        (timedelta(minutes=9, seconds=57), "9 minutes 55 seconds"),
        (timedelta(minutes=9, seconds=59), "10 minutes"),
        (timedelta(minutes=10, seconds=29), "10 minutes"),
        (timedelta(minutes=10, seconds=30), "11 minutes"),
        (timedelta(minutes=59, seconds=45), "1 hour"),
        (timedelta(hours=1, seconds=1), "1 hour"),
        (timedelta(hours=2, seconds=-1), "2 hours"),
        (timedelta(hours=23, minutes=59, seconds=59), "1 day"),
        (timedelta(days=10, seconds=-1), "10 days"),
        (timedelta(days=120, seconds=-1), "120 days"),
        (timedelta(days=1, hours=12), "1 day 12 hours"),
        (timedelta(days=1, minutes=12), "1 day"),
        (timedelta(days=400, minutes=1), "400 days"),
    ],
)
def test_a_duration_in_words_is_to_the_nearest_of_one_unit_or_two(duration: timedelta, words: str) -> None:
    assert in_words(duration) == words


def test_instants_are_told_from_now() -> None:
    assert instant(NOW + timedelta(milliseconds=1)) == "2026-11-21 12:00:00 UTC"
    assert when(NOW + MINUTE, NOW) == "2026-11-21 12:01:00 UTC (in 1 minute)"
    assert (until(NOW, NOW), until(NOW + timedelta(milliseconds=1), NOW)) == ("now", "in 1 second")
    assert [ago(NOW - timedelta(seconds=seconds), NOW) for seconds in (-5, 0, 0.9, 1, 59.9)] == [
        *["a moment ago"] * 3,
        "1 second ago",
        "59 seconds ago",
    ]
    assert later(NOW, DAY, MINUTE) == NOW + DAY + MINUTE


def test_the_parser_leaves_out_what_is_long(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="p")
    for message, shown in (
        ("unrecognized arguments: --forse", "unrecognized arguments: --forse"),
        ("a" * 23, "a" * 23),
        (f"x: '{'a' * 24}'", "x: '[left out: it may be a secret]'"),
        ("a=csk1_b c", "a=[left out: it may be a secret] c"),
        ("12345678 123456789", "12345678 [left out: it may be a secret]"),
        ("abcdEFGH abcdEFGHi", "abcdEFGH [left out: it may be a secret]"),
        ("from 'xaes-256-gcm', xchacha20-poly1305)", "from 'xaes-256-gcm', xchacha20-poly1305)"),
        ("xchacha20-poly1306", "[left out: it may be a secret]"),
    ):
        with pytest.raises(SystemExit):
            parser.error(message)
        assert capsys.readouterr().err.endswith(f"p: error: {shown}\n")


def test_the_parser_of_the_package_is_an_argument_parser() -> None:
    assert issubclass(Parser, argparse.ArgumentParser)


# What the steps promise


@dataclass
class Version:
    """A file, and when it was written."""

    at: datetime
    file: KeyFile


class Site(RuleBasedStateMachine):
    """Operators do whatever is not refused, at any time; each server has each file some time within a rollout, as bad as can be."""

    rollout: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=3)

    def __init__(self) -> None:
        super().__init__()
        self.keys = list(KEYS[:5])
        self.now = NOW
        self.versions: list[Version] = []

    @initialize()
    def make(self) -> None:
        self.write(with_key(None, self.keys[0], self.now))

    def write(self, file: KeyFile) -> None:
        again = KeyFile._parse(file.text().encode())
        assert isinstance(again, KeyFile)
        self.versions.append(Version(self.now, again))

    @rule(seconds=st.one_of(st.floats(0.001, 40), st.floats(100, 250)))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(number=st.integers(0, 4))
    def add(self, number: int) -> None:
        try:
            self.write(with_key(self.versions[-1].file, self.keys[number], self.now))
        except RefusedError:
            assert self.versions[-1].file.find(self.keys[number].id)

    @rule(number=st.integers(0, 4), lazily=st.booleans())
    def promote(self, number: int, lazily: bool) -> None:
        """An operator who is lazy leaves the longest life out."""
        file, key_id = self.versions[-1].file, self.keys[number].id
        assume(file.find(key_id))
        longest = 400 * DAY if lazily else self.longest
        try:
            step = promoted(file, key_id, now=self.now, longest=longest, rollout=self.rollout, force=False)
        except RefusedError:
            return
        assert step.overridden is None
        self.write(step.file)

    @rule(number=st.integers(0, 4), lazily=st.booleans())
    def drop(self, number: int, lazily: bool) -> None:
        file, key_id = self.versions[-1].file, self.keys[number].id
        assume(file.find(key_id))
        longest = None if lazily else self.longest
        try:
            self.write(dropped(file, key_id, now=self.now, longest=longest, rollout=self.rollout, force=False).file)
        except RefusedError:
            return

    def spans(self) -> list[tuple[datetime, datetime, KeyFile]]:
        """Of each version: the first and the last instant at which a server may be using it."""
        ends = [version.at + self.rollout for version in self.versions[1:]]
        return [
            (version.at, end, version.file)
            for version, end in zip(self.versions, [*ends, datetime.max.replace(tzinfo=UTC)], strict=True)
        ]

    @invariant()
    def nobody_is_logged_out(self) -> None:
        for start, end, file in self.spans():
            (sealer,) = file.of_role(Role.SEALING)
            dead = later(end, self.longest)
            for other_start, other_end, other in self.spans():
                if other.find(sealer.key.id) is None:
                    # A server without the key, at a time when a token of it may be alive.
                    assert other_end <= start or dead <= other_start, (sealer.key.id, start, other_start)

    @invariant()
    def what_check_calls_ready_is_not_refused_and_what_must_wait_is(self) -> None:
        if not self.versions:
            return
        file = self.versions[-1].file
        found = findings(file, now=self.now, longest=self.longest, rollout=self.rollout)
        assert Mark.WRONG not in {finding.mark for finding in found}
        for finding in found:
            if not finding.command or finding.mark is Mark.NOTE:
                continue
            step, key_id, *options = finding.command.split()
            longest = self.longest if "--longest" in options else None
            try:
                if step == "promote":
                    promoted(file, key_id, now=self.now, longest=self.longest, rollout=self.rollout, force=False)
                else:
                    dropped(file, key_id, now=self.now, longest=longest, rollout=self.rollout, force=False)
            except RefusedError:
                assert finding.mark is Mark.WAIT
            else:
                assert finding.mark is Mark.READY


TestSite = Site.TestCase


def test_the_site_of_the_machine_does_lose_users_by_force() -> None:
    """The search above would find it."""
    for step in ("promote", "drop"):
        site = Site()
        site.make()
        site.add(1)
        if step == "drop":
            site.now += 2 * MINUTE
        file = site.versions[-1].file
        site.write(promoted(file, B, now=site.now, longest=site.longest, rollout=site.rollout, force=True).file)
        if step == "drop":
            site.nobody_is_logged_out()
            site.write(dropped(site.versions[-1].file, A, now=site.now, force=True).file)
        with pytest.raises(AssertionError):
            site.nobody_is_logged_out()
