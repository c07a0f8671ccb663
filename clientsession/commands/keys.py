"""``clientsession keys``: the key file from the command line, and what to do next in a rotation.

It knows the command line, the file system and words; what the steps are stands in ``_rotation``. Whatever is printed is made of
ids, roles, dates and the path: no key, no comment of the file, and nothing that was typed and not understood.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import stat
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TextIO

from clientsession._keyfile import (
    NOT_A_PATH,
    BusyError,
    KeyFile,
    KeyLine,
    Role,
    format_date,
    mode_after,
    rewrite,
    shown_path,
)
from clientsession._keys import Key, holds_key
from clientsession._session import MAX_DURATION, read_clock
from clientsession.commands._durations import HOW_TO_WRITE, in_words, instant, later, parse_duration, until, when
from clientsession.commands._parser import SUITES, Parser
from clientsession.commands._rotation import (
    DEFAULT_ROLLOUT,
    Finding,
    Mark,
    RefusedError,
    Step,
    dropped,
    findings,
    options_of,
    promoted,
    promotion_of,
    summary,
    with_key,
    with_retiring,
)
from clientsession.errors import ConfigurationError

DONE: Final = 0
REFUSED: Final = 1
UNREADABLE: Final = 2
STOPPED: Final = 130  # as shells say of a command that Ctrl-C ended

_NAME_OF: Final = {suite: name for name, suite in SUITES.items()}
_ID: Final = re.compile(r"[0-9a-fA-F]{8}")
_LONGEST_ID_CHARS: Final = 16  # whatever is longer was never meant to be an id
_MAX_STDIN_BYTES: Final = 4096  # the longest key has 1,374 characters
_WIDTH: Final = 100  # columns
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_ABOUT: Final = """\
A rotation is these steps. After each, bring the file to every server, which reads it within a
second and needs no restart. Each command says what to do next, and when.

  clientsession keys add          a new key, which opens and does not seal yet
  clientsession keys promote ID   it seals from now on; the key that sealed so far is retiring
  clientsession keys drop ID      the retiring key goes when nothing that it sealed is alive
  clientsession keys check        at any time: what is wrong, what must wait, what may be done

exit codes:
  0  done
  1  refused
  2  the command line is wrong, or the file cannot be read or written
"""
_EXIT_LIST: Final = "exit codes: 0 done; 2 the command line is wrong, or the file cannot be read"
_EXIT_STEP: Final = "exit codes: 0 done; 1 refused; 2 the command line is wrong, or the file cannot be read or written"
_LONGEST: Final = "the longest life of a session"
_ABOUT_CHECK: Final = """\
Each finding begins with one of
  wrong:  users are or will be logged out, or others can read the keys; and what to do about it
  wait:   a step that would log users out now, and from when on it is safe
  ready:  a step that may be done now
  note:   good to know

exit codes:
  0  nothing is wrong, and nothing must wait
  1  there is a line with wrong: or wait:
  2  the file cannot be read

With --quiet, for cron, what must wait does not count, and nothing is printed where nothing is wrong.
"""


# The command line


def add_parser(subparsers: argparse._SubParsersAction[Any], *, clock: Callable[[], float] = time.time) -> None:
    """Add ``keys`` and its sub-commands; each sets ``run``, which takes the options and answers with the exit code.

    Args:
        subparsers: what ``add_subparsers()`` of the parser of ``clientsession`` gave.
        clock: the time in seconds since 1970, as ``time.time``.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    keys: argparse.ArgumentParser = subparsers.add_parser(
        "keys",
        help="rotate the keys of a key file",
        description="List, add, promote, drop and check the keys of a key file.",
        epilog=_ABOUT,
        formatter_class=formatter,
        allow_abbrev=False,
    )
    _add_file(keys, None)
    keys.set_defaults(run=partial(_help, keys))
    steps = keys.add_subparsers(title="commands", metavar="command", parser_class=Parser)

    def step(name: str, act: Callable[[_Job], int], help_: str, about: str, epilog: str | None = None) -> argparse.ArgumentParser:
        parser = steps.add_parser(name, help=help_, description=about, epilog=epilog, formatter_class=formatter, allow_abbrev=False)
        _add_file(parser, argparse.SUPPRESS)
        parser.set_defaults(run=partial(_run, act=act, clock=clock))
        return parser

    list_ = step(
        "list", _list, "show the keys: ids, roles, suites and dates", "Show the keys of the file, and no secret.", _EXIT_LIST
    )
    _add_rollout(list_, None)
    list_.add_argument("--json", action="store_true", help="for machines")

    add = step(
        "add",
        _add,
        "add a new key, which opens and does not seal yet",
        "Add a key as accepting. Where there is no file it is made, and its key seals.",
        _EXIT_STEP,
    )
    source = add.add_mutually_exclusive_group()
    source.add_argument("--suite", choices=list(SUITES), default=next(iter(SUITES)), help="its cipher (default: %(default)s)")
    source.add_argument(
        "--stdin", action="store_true", help="not a new key, but the one whose text (csk1_...) comes on standard input"
    )
    add.add_argument("--retiring", action="store_true", help="with --stdin, for a key that is retiring today: it stays retiring")
    _add_longest(add, MAX_DURATION, f"{_LONGEST}, for the commands to run next and the date of a retiring key (default: 400d)")
    _add_rollout(add)

    promote = step(
        "promote",
        _promote,
        "let a key seal; the one that sealed so far is retiring",
        "Let an accepting key seal, or a retiring one again; the key that sealed so far is retiring.",
        _EXIT_STEP,
    )
    _add_id(promote)
    _add_longest(promote, MAX_DURATION, f"{_LONGEST}, of all jars and codecs (default: 400d, the most)")
    _add_rollout(promote)
    promote.add_argument("--force", action="store_true", help="also where a server may not have the key yet")

    drop = step("drop", _drop, "take out a key when nothing that it sealed is alive", "Take a key out of the file.", _EXIT_STEP)
    _add_id(drop)
    _add_longest(drop, None, f"{_LONGEST}: count the key's date anew by it (default: the date in the file)")
    _add_rollout(drop, None)
    drop.add_argument("--force", action="store_true", help="also where that logs users out")

    check = step(
        "check", _check, "say what is wrong, what must wait and what to do", "Say what to do, and what not to do yet.", _ABOUT_CHECK
    )
    _add_longest(check, None, f"{_LONGEST}: count the dates of retiring keys anew by it (default: trust them)")
    _add_rollout(check, None)
    check.add_argument("-q", "--quiet", action="store_true", help="say and count only what is wrong")


def _add_file(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--file", "--keys", dest="file", metavar="FILE", default=default, help="the key file (default: $CLIENTSESSION_KEY_FILE)"
    )


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=_key_id, help="8 hex digits, as `keys list` shows them")


def _add_longest(parser: argparse.ArgumentParser, default: timedelta | None, help_: str) -> None:
    parser.add_argument("--longest", metavar="DURATION", type=_duration, default=default, help=help_)


def _add_rollout(parser: argparse.ArgumentParser, default: timedelta | None = DEFAULT_ROLLOUT) -> None:
    about = "how long it takes until every server has a new file, at most (default: 1m)"
    if default is None:
        about += "; a retiring key goes before its date only where this is given with --longest"
    parser.add_argument("--rollout", metavar="DURATION", type=_duration, default=default, help=about)


def _key_id(text: str) -> str:
    if _ID.fullmatch(text):
        return text.lower()
    secret = holds_key(text) or len(text) > _LONGEST_ID_CHARS
    del text
    if secret:
        raise argparse.ArgumentTypeError(
            "this is no id. If it is a key, it is a secret and must not stand on a command line, where the shell keeps it and "
            "other users see it: rotate it soon. Give the 8 hex digits that `clientsession keys list` shows"
        )
    raise argparse.ArgumentTypeError("an id has 8 hex digits, as `clientsession keys list` shows them")


def _duration(text: str) -> timedelta:
    duration = parse_duration(text)
    del text
    if duration is None:
        raise argparse.ArgumentTypeError(HOW_TO_WRITE)
    return duration


# Running


@dataclass(slots=True)
class _Job:
    """One run: what was asked for, when, and what is to be printed."""

    options: argparse.Namespace
    clock: Callable[[], float]
    now: datetime = _EPOCH
    path: str = ""
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def read_clock(self) -> None:
        """Set ``now``."""
        self.now = _EPOCH + timedelta(milliseconds=read_clock(self.clock))

    def say(self, text: str) -> None:
        """A sentence for standard output."""
        self.out += _wrapped(text)

    def show(self, words: str) -> None:
        """A command for standard output, whole on one line, to be copied."""
        self.out.append(f"  {self.command(words)}")

    def command(self, words: str) -> str:
        """The command of these words on this file."""
        return f"clientsession keys {words} --file {_quoted(self.path)}"


def _run(options: argparse.Namespace, *, act: Callable[[_Job], int], clock: Callable[[], float]) -> int:
    """Run a sub-command and print what it says; answer with the exit code."""
    job = _Job(options, clock)
    try:
        job.read_clock()
        job.path = _path(options.file)
        code = act(job)
    except (RefusedError, BusyError) as error:
        job.err += _wrapped(f"refused: {error}")
        code = REFUSED
    except ConfigurationError as error:
        job.err.append(f"clientsession keys: {error}")
        code = UNREADABLE
    except OSError as error:
        job.err.append(f"clientsession keys: {error.strerror}")
        code = UNREADABLE
    except KeyboardInterrupt:
        job.err.append("clientsession keys: stopped")
        code = STOPPED
    problem = _print(sys.stdout, job.out)
    if problem is not None:
        job.err.append(f"clientsession keys: standard output cannot be written ({problem})")
        code = code or UNREADABLE
    _print(sys.stderr, job.err)
    return code


def _help(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """What ``clientsession keys`` alone does."""
    del options
    parser.print_help(sys.stderr)
    return UNREADABLE


def _path(given: str | None) -> str:
    """The absolute path of the key file.

    Raises:
        ConfigurationError: none is given, or it is a key.
    """
    path = given or os.environ.get("CLIENTSESSION_KEY_FILE")
    if not path:
        raise ConfigurationError("which key file? Give --file FILE, or set CLIENTSESSION_KEY_FILE to its path")
    if shown_path(path) is None:
        del given, path
        raise ConfigurationError(NOT_A_PATH)
    return os.path.abspath(path)


def _print(stream: TextIO | None, lines: Iterable[str]) -> str | None:
    """Print lines; what is in the way where they cannot be, None also where the reader has left."""
    if stream is None:  # it was closed before we began
        return None
    encoding = stream.encoding or "utf-8"
    try:
        stream.write("".join(f"{line}\n" for line in lines).encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError as error:
        # What is left in its buffer goes nowhere, or the interpreter would complain of it at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return None if isinstance(error, BrokenPipeError) else error.strerror
    return None


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _quoted(path: str) -> str:
    """A path as a shell takes it; what a terminal would take for more than text as bash, ksh and zsh spell it."""
    if path.isprintable():
        return shlex.quote(path)
    spelled = "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(path))
    return f"$'{spelled}'"


# The sub-commands: each takes a job and answers with the exit code.


def _list(job: _Job) -> int:
    file = _load(job)
    if job.options.json:
        keys = [
            {
                "id": line.key.id,
                "role": str(line.role),
                "suite": _NAME_OF[line.key.suite],
                **{
                    name: None if date is None else format_date(date)
                    for name, date in (("added", line.added), ("since", line.since), ("droppable", line.droppable))
                },
            }
            for line in file.keys
        ]
        job.out.append(json.dumps({"file": job.path, "keys": keys}, indent=2))
        return DONE
    row = "{:<8}  {:<9}  {:<18}  {:<19}  {:<19}  {}"
    job.out.append(row.format("ID", "ROLE", "SUITE", "ADDED (UTC)", "SINCE (UTC)", "DROPPABLE").rstrip())
    for line in file.keys:
        dates = ("-" if date is None else instant(date).removesuffix(" UTC") for date in (line.added, line.since))
        job.out.append(row.format(line.key.id, line.role, _NAME_OF[line.key.suite], *dates, _droppable(line, job.now)))
    job.out.append("")
    _tell(job, findings(file, now=job.now, rollout=job.options.rollout), file)
    return DONE


def _droppable(line: KeyLine, now: datetime) -> str:
    if line.role is Role.SEALING:
        return "never while it seals"
    if line.droppable is None:
        return "no date" if line.role is Role.RETIRING else "-"
    return until(line.droppable, now)


def _add(job: _Job) -> int:
    options = job.options
    if options.retiring and not options.stdin:
        raise ConfigurationError("--retiring goes with --stdin: a new key has sealed nothing")
    key = _key_from_stdin() if options.stdin else Key.generate(SUITES[options.suite])
    if isinstance(key, str):
        raise ConfigurationError(key)
    job.read_clock()  # the text of the key may have been waited for, and the date is to be that of the writing

    def edit(file: KeyFile | None) -> KeyFile:
        if options.retiring:
            return with_retiring(file, key, now=job.now, longest=options.longest, rollout=options.rollout)
        return with_key(file, key, job.now)

    file, former = rewrite(job.path, edit)
    _tell_mode(job, former)
    (line,) = (line for line in file.keys if line.key.id == key.id)
    {Role.SEALING: _tell_first, Role.ACCEPTING: _tell_accepting, Role.RETIRING: _tell_retiring}[line.role](job, line)
    return DONE


def _tell_first(job: _Job, line: KeyLine) -> None:
    options = job.options
    if not options.stdin and os.environ.get("CLIENTSESSION_KEY"):
        job.say(
            "CLIENTSESSION_KEY is set here, and this file has a new key. If workers seal with the one of that variable, do not "
            "give them this file, or everybody is logged out. Remove it, and move the key:"
        )
        job.out.append(f"  printenv CLIENTSESSION_KEY | {job.command('add --stdin')}")
    suite = _NAME_OF[line.key.suite]
    job.say(f"Made {_quoted(job.path)} with the key {line.key.id} ({suite}), which seals. Only the file's owner can read it.")
    if options.stdin:
        job.say("The keys of CLIENTSESSION_ACCEPTED_KEYS come along by this, one at a time:")
        job.show("add --stdin")
        job.say("Those of CLIENTSESSION_RETIRING_KEYS by this, one at a time:")
        job.show(f"add --stdin --retiring{options_of(options.longest, options.rollout)}")
    job.say("Next: bring it to every server, for the user that your workers run as, and set for each of them:")
    job.out.append(f"  CLIENTSESSION_KEY_FILE={_quoted(job.path)}")
    if options.stdin:
        job.say("Unset CLIENTSESSION_KEY, CLIENTSESSION_ACCEPTED_KEYS and CLIENTSESSION_RETIRING_KEYS there.")


def _tell_accepting(job: _Job, line: KeyLine) -> None:
    options, key = job.options, line.key
    ready = later(line.added or job.now, options.rollout)
    job.say(f"Added {key.id} ({_NAME_OF[key.suite]}) as accepting: it opens, and does not seal yet.")
    job.say(f"Next: bring this file to every server. When every server has it, and not before {when(ready, job.now)}, run:")
    job.show(promotion_of(key.id, options.longest, options.rollout))
    job.say("Sooner than that it would log users out: a server that does not have the key refuses what it seals.")
    if options.longest == MAX_DURATION:
        job.say(f"With --longest, {_LONGEST}, the old key may go sooner than in {in_words(MAX_DURATION)} from then.")


def _tell_retiring(job: _Job, line: KeyLine) -> None:
    key = line.key
    job.say(
        f"Added {key.id} ({_NAME_OF[key.suite]}) as retiring: what it sealed opens, and is sealed anew when it is read. It must "
        "not seal any more, on any server."
    )
    job.say("Next: bring this file to every server.")
    _tell_date(job, line)


def _tell_date(job: _Job, line: KeyLine) -> None:
    """From when on a retiring key may be dropped."""
    job.say(
        f"Keep {line.key.id} until {when(line.droppable or job.now, job.now)}: dropping it sooner would log users out, where a "
        f"session lives up to {in_words(job.options.longest)} (--longest). From then on run:"
    )
    job.show(f"drop {line.key.id}")


def _key_from_stdin() -> Key | str:
    """The key on standard input, or what is wrong with it: nothing is raised while its text is at hand."""
    if sys.stdin is None:
        return "there is no standard input to read a key from"
    if sys.stdin.isatty():
        _print(sys.stderr, ["Paste the text of the key (csk1_...), then press Enter and Ctrl-D. The terminal shows it."])
    try:
        data = sys.stdin.buffer.read(_MAX_STDIN_BYTES + 1)
    except OSError as error:
        return f"standard input cannot be read ({error.strerror})"
    if len(data) > _MAX_STDIN_BYTES:
        return f"standard input holds more than {_MAX_STDIN_BYTES:,} bytes, and one key is to be there"
    try:
        return Key.parse(data.decode("utf-8", "replace").strip())
    except ConfigurationError as error:
        return f"standard input: {error}"


def _promote(job: _Job) -> int:
    options = job.options
    step = _take(
        job,
        lambda file: promoted(file, options.id, now=job.now, longest=options.longest, rollout=options.rollout, force=options.force),
    )
    retiring = step.line.key.id
    job.say(f"{options.id} seals from now on. {retiring} is retiring: what it sealed opens, and is sealed anew when it is read.")
    job.say(f"Next: bring this file to every server within {in_words(options.rollout)} (--rollout).")
    _tell_date(job, step.line)
    job.say("Until then there is a way back, if you need one:")
    job.show(promotion_of(retiring, options.longest, options.rollout))
    return DONE


def _drop(job: _Job) -> int:
    options = job.options
    step = _take(
        job,
        lambda file: dropped(file, options.id, now=job.now, longest=options.longest, rollout=options.rollout, force=options.force),
    )
    job.say(f"Dropped {options.id}, which was {step.line.role}.")
    if step.line.role is Role.ACCEPTING:
        job.say("Make sure that no server seals with it: an accepting key does not, but a server may have it from elsewhere.")
    job.say("Next: bring this file to every server. Nothing needs the copies and backups with that key any more.")
    found = findings(step.file, now=job.now, longest=options.longest, rollout=options.rollout)
    _tell(job, found, None)
    if not found:
        job.say(f"That ends the rotation: {summary(step.file)}.")
    return DONE


def _take(job: _Job, next_: Callable[[KeyFile], Step]) -> Step:
    """Take a step on the file."""
    steps: list[Step] = []

    def edit(file: KeyFile | None) -> KeyFile:
        if file is None:
            raise _missing(job)
        steps.append(next_(file))
        return steps[0].file

    _, former = rewrite(job.path, edit)
    _tell_mode(job, former)
    if steps[0].overridden is not None:
        job.err += _wrapped(f"forced: {steps[0].overridden}", " " * 8)
    return steps[0]


def _load(job: _Job) -> KeyFile:
    if not os.path.lexists(job.path):
        raise _missing(job)
    return KeyFile.load(job.path)


def _missing(job: _Job) -> ConfigurationError:
    return ConfigurationError(f"there is no key file {_quoted(job.path)}. Make it with: {job.command('add')}")


def _tell_mode(job: _Job, former: int | None) -> None:
    """Say it where the file is less open than it was: a worker of another user does not read it any more."""
    after = mode_after(former)
    if former is not None and former & ~after & (stat.S_IRGRP | stat.S_IROTH):
        job.err += _wrapped(
            f"note: the file's mode was {former:04o}, by which others could read the keys, and is {after:04o} now. A worker that "
            "runs as another user needs the file to be of its group, at mode 0640.",
            " " * 6,
        )


def _tell(job: _Job, found: Iterable[Finding], file: KeyFile | None) -> None:
    """Print findings, or that there is nothing to do."""
    idle = True
    for finding in found:
        idle = idle and finding.mark is Mark.NOTE and not finding.command
        job.out += _wrapped(f"{finding.mark + ':':<7}{finding.text}", " " * 7)
        if finding.command:
            job.out.append(f"{'':<9}{job.command(finding.command)}")
    if idle and file is not None:
        job.say(f"All is well, and there is nothing to do: {summary(file)}.")


def _check(job: _Job) -> int:
    options, quiet = job.options, job.options.quiet
    about_path, file, code = _about_path(job.path), None, DONE
    try:
        file = _load(job)
    except ConfigurationError as error:
        text = f"{error}. Servers that run go on with the keys they have; none that is started now has any."
        found = [Finding(Mark.WRONG, text), *about_path]
        code = UNREADABLE
    else:
        found = [*about_path, *findings(file, now=job.now, longest=options.longest, rollout=options.rollout)]
        found.sort(key=lambda finding: list(Mark).index(finding.mark))
        if not quiet:
            job.say(f"{_quoted(job.path)} at {instant(job.now)}: {summary(file)}.")
    if quiet:
        found = [finding for finding in found if finding.mark is Mark.WRONG]
    _tell(job, found, None if quiet else file)
    return code or (REFUSED if {finding.mark for finding in found} & {Mark.WRONG, Mark.WAIT} else DONE)


def _about_path(path: str) -> list[Finding]:
    """What is to be said of a file without a look into it; nothing where it cannot be found."""
    target = os.path.realpath(path)
    found = []
    if os.path.lexists(f"{target}.new"):
        found.append(
            Finding(
                Mark.WRONG,
                f"{_quoted(target)}.new exists: another command is at work on the file, or was stopped half-way. If none is, "
                "remove it: it may hold keys, and until then the file cannot be changed.",
            )
        )
    try:
        status = os.stat(target)
    except OSError:
        return found
    mode = stat.S_IMODE(status.st_mode)
    if os.name != "posix" or not stat.S_ISREG(status.st_mode):  # what is no file is told of by whoever reads it
        return found
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        who = "read or change" if mode & stat.S_IRWXO else "change"
        mend = "chmod 0600 it, or 0640 with a group of its own; who could read it may have the keys, so think of rotating them"
        found.append(Finding(Mark.WRONG, f"others than its owner can {who} the file, for its mode is {mode:04o}: {mend}."))
    elif mode & stat.S_IRGRP:
        found.append(Finding(Mark.NOTE, f"the file's group can read it (mode {mode:04o}): right if only your workers are in it."))
    return found
