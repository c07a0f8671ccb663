"""The steps of a rotation on a key file, what stands in their way, and what is to be done next.

It knows key files and dates, and nothing of the command line, of where a file is kept or of how it is written.

Why the steps are what they are: a server that does not have a key refuses what it sealed, and so logs users out. So a key must be
on every server before it seals, which takes a rollout; and it must stay there for as long as something that it sealed may be alive,
which is a rollout and the longest life of a session after another key was promoted.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from clientsession._keyfile import MAX_KEYS, KeyFile, KeyLine, Role, format_date, whole_second
from clientsession._keys import Key
from clientsession._session import MAX_DURATION, MIN_DURATION
from clientsession.commands._durations import ago, format_duration, in_words, instant, later, when

DEFAULT_ROLLOUT: Final = timedelta(minutes=1)  # one machine, or a shared file: a server looks once a second
_SKEW: Final = timedelta(minutes=1)  # how far two clocks may be apart, as for tokens
_OLD: Final = timedelta(days=365)  # NIST SP 800-57, 5.3.6: the longest for a key that seals


class RefusedError(Exception):
    """The step would log users out, or there is no such step."""


class Mark(enum.StrEnum):
    """What a finding is about."""

    WRONG = "wrong"
    WAIT = "wait"
    READY = "ready"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know of a key file.

    Attributes:
        mark: what it is about.
        text: sentences.
        command: what follows ``clientsession keys`` in the command to run, now or then; empty for none.
    """

    mark: Mark
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a rotation.

    Attributes:
        file: as it is after it.
        line: the key that retires by it, or was dropped.
        overridden: what spoke against it, where that was overridden by force.
    """

    file: KeyFile
    line: KeyLine
    overridden: str | None


def with_key(file: KeyFile | None, key: Key, now: datetime) -> KeyFile:
    """The file with a new key: as accepting, or as sealing where there is no file.

    Raises:
        RefusedError: the key is there already, or the file is full.
    """
    stamp = whole_second(now)
    if file is None:
        return KeyFile.of(KeyLine(Role.SEALING, key, added=stamp, since=stamp))
    return _adding(file, KeyLine(Role.ACCEPTING, key, added=stamp, since=stamp))


def with_retiring(file: KeyFile | None, key: Key, *, now: datetime, longest: timedelta, rollout: timedelta) -> KeyFile:
    """The file with a key that is retiring already, elsewhere: since when is not known, so that it counts from now.

    Raises:
        RefusedError: there is no file, the key is there already, or the file is full.
    """
    if file is None:
        raise RefusedError("the first key of a file seals: add that one first, without --retiring.")
    stamp = whole_second(now)
    return _adding(file, KeyLine(Role.RETIRING, key, added=stamp, since=stamp, droppable=later(stamp, longest, rollout)))


def _adding(file: KeyFile, line: KeyLine) -> KeyFile:
    key = line.key
    there = file.find(key.id)
    if there is not None:
        raise RefusedError(f"{key.id} is in the file already, as {there.role}.")
    if len(file.keys) >= MAX_KEYS:
        raise RefusedError(f"the file holds {MAX_KEYS} keys, which are the most: drop old ones first.")
    return file.adding(line)


def promoted(file: KeyFile, key_id: str, *, now: datetime, longest: timedelta, rollout: timedelta, force: bool) -> Step:
    """Another key seals, and the former one is retiring.

    Raises:
        RefusedError: there is no such key, it is the sealing one, or a server may not have it yet.
    """
    line = _find(file, key_id)
    if line.role is Role.SEALING:
        raise RefusedError(f"{key_id} is the sealing key already.")
    danger = _clock_danger(file, now) or _rollout_danger(line, now, rollout)
    if danger is not None and not force:
        raise RefusedError(f"{danger} If every server has it, --force promotes it all the same.")
    stamp = whole_second(now)
    (former,) = file.of_role(Role.SEALING)
    retiring = former.in_role(Role.RETIRING, since=stamp, droppable=later(stamp, longest, rollout))
    return Step(file.replacing(line.in_role(Role.SEALING, since=stamp), retiring), retiring, danger)


def dropped(
    file: KeyFile,
    key_id: str,
    *,
    now: datetime,
    longest: timedelta | None = None,
    rollout: timedelta | None = None,
    force: bool,
) -> Step:
    """A key is taken out.

    Args:
        file: the file.
        key_id: of the key.
        now: the time.
        longest: the longest life of a session; None where the date in the file is to be trusted.
        rollout: how long it took until every server had the file in which the key retired; None where the date in the file is not
            to be brought forward.
        force: take it out whatever is alive.

    Raises:
        RefusedError: there is no such key, it is the sealing one, or something it sealed may be alive.
    """
    line = _find(file, key_id)
    if line.role is Role.SEALING:
        raise RefusedError(f"{key_id} is the sealing key, and a ring has one always: promote another key first.")
    date = _droppable(line, longest, rollout)
    danger = _clock_danger(file, now) or _life_danger(line, now, date)
    if danger is not None and not force:
        if date is not None and longest is None and line.role is Role.RETIRING and line.since is not None:
            danger += " Where no session lives that long, --longest and --rollout, as they are at your site, make it sooner."
        raise RefusedError(f"{danger} To log them out (the key has leaked, say), give --force.")
    return Step(file.without(key_id), line, danger)


def _rollout_danger(line: KeyLine, now: datetime, rollout: timedelta) -> str | None:
    """That a server may not have a key that is to seal."""
    key_id, added = line.key.id, line.added or line.since
    if added is None and line.role is Role.ACCEPTING:
        return f"{key_id} has no added= date, so nobody can tell whether every server has it."
    if added is not None and now < later(added, rollout):
        return (
            f"{key_id} was added {ago(added, now)}, and a rollout takes {in_words(rollout)}. A server that does not have the key "
            f"yet refuses what it seals, and logs those users out. Wait until {when(later(added, rollout), now)}."
        )
    return None


def _life_danger(line: KeyLine, now: datetime, date: datetime | None) -> str | None:
    """That something a key sealed may be alive; ``date`` is from when on nothing is."""
    key_id = line.key.id
    if date is not None and now < date:
        return f"what {key_id} sealed may be alive until {when(date, now)}. Without it those users are logged out."
    if date is None and line.role is Role.RETIRING:
        return (
            f"{key_id} is retiring and has no droppable= date, so nobody can tell whether something it sealed is alive. "
            "Without it those users are logged out."
        )
    return None


def _clock_danger(file: KeyFile, now: datetime) -> str | None:
    """That the clock cannot be trusted, where the file has dates to come: every wait would be counted from a wrong time."""
    found = [finding for line in file.keys for finding in _dates_to_come(line, now)]
    return found[0].text if found else None


def _droppable(line: KeyLine, longest: timedelta | None, rollout: timedelta | None) -> datetime | None:
    """From when on a key may go: by its date, or by the longest life of a session where that is given and can be counted from.

    A date is brought forward only where the rollout is given as well: that of the promotion may have been a longer one. Where a
    retiring key has no date, a person has edited the file, and ``since`` may be from when the key began to seal.
    """
    if longest is None or line.since is None or line.droppable is None or line.role is not Role.RETIRING:
        return line.droppable
    counted = later(line.since, longest, rollout or DEFAULT_ROLLOUT)
    return max(counted, line.droppable) if rollout is None else counted


def _find(file: KeyFile, key_id: str) -> KeyLine:
    line = file.find(key_id)
    if line is None:
        raise RefusedError(f"there is no key {key_id} in the file. It holds {summary(file)}.")
    return line


def summary(file: KeyFile) -> str:
    """The keys by role."""
    return ", ".join(f"{line.role} {line.key.id}" for role in Role for line in file.of_role(role))


def findings(file: KeyFile, *, now: datetime, longest: timedelta | None = None, rollout: timedelta | None = None) -> list[Finding]:
    """What is wrong with a file, what must wait, and what may be done now, in this order.

    Args:
        file: the file.
        now: the time.
        longest: the longest life of a session; None where the dates in the file are to be trusted.
        rollout: how long it takes until every server has a new file; None for the usual one, and the dates are not brought forward.
    """
    found: list[Finding] = []
    spread = rollout or DEFAULT_ROLLOUT
    for line in file.keys:
        found += _dates_to_come(line, now)
        if line.role is Role.SEALING:
            found += _of_sealing(line, file, now, spread)
        elif line.role is Role.ACCEPTING:
            found += _of_accepting(line, now, longest, spread)
        else:
            found += _of_retiring(line, now, longest, rollout)
    return sorted(found, key=lambda finding: list(Mark).index(finding.mark))


def _dates_to_come(line: KeyLine, now: datetime) -> list[Finding]:
    return [
        Finding(
            Mark.WRONG,
            f"{line.key.id} has {name}={format_date(date)}, which is to come: the clock here ({instant(now)}) is wrong, or was "
            "where that was written. Set the clock, then this date.",
        )
        for name, date in (("added", line.added), ("since", line.since))
        if date is not None and date > later(now, _SKEW)
    ]


def _of_sealing(line: KeyLine, file: KeyFile, now: datetime, rollout: timedelta) -> list[Finding]:
    key_id, added, since = line.key.id, line.added, line.since
    found = []
    if added is not None and since is not None and _too_soon(line, added, since, file, rollout) and now < later(since, rollout):
        found.append(
            Finding(
                Mark.WRONG,
                f"{key_id} was promoted too soon, {in_words(since - added)} after it was added, and a rollout takes "
                f"{in_words(rollout)}: servers that do not have it refuse what it seals, and log users out. "
                f"Bring this file to every server at once, and not only by {when(later(since, rollout), now)}.",
            )
        )
    age = now - (since or now)
    if age >= _OLD and not file.of_role(Role.ACCEPTING):
        text = f"{key_id} has sealed for {in_words(age)}: it is time for a new key. Begin with:"
        found.append(Finding(Mark.NOTE, text, f"add{options_of(MAX_DURATION, rollout)}"))
    return found


def _too_soon(line: KeyLine, added: datetime, since: datetime, file: KeyFile, rollout: timedelta) -> bool:
    """Whether the sealing key was promoted within a rollout of its addition; the first key of a file seals since it was added.

    Where both are of one second, a key above it retired for it; one below it came later, and was retiring elsewhere.
    """
    above = file.keys[: file.keys.index(line)]
    took_over = since > added or any(former.role is Role.RETIRING and former.since == since for former in above)
    return took_over and since < later(added, rollout)


def _of_accepting(line: KeyLine, now: datetime, longest: timedelta | None, rollout: timedelta) -> list[Finding]:
    key_id, added = line.key.id, line.added or line.since
    found = []
    if line.droppable is not None and now < line.droppable:
        found.append(
            Finding(Mark.NOTE, f"{key_id} has sealed before: dropping it before {when(line.droppable, now)} would log users out.")
        )
    if added is None:
        found.append(
            Finding(
                Mark.WRONG,
                f"{key_id} is accepting and has no added= date, so nobody can tell whether every server has it. Write "
                f"added={format_date(whole_second(now))} behind it, and promote it {in_words(rollout)} from now.",
            )
        )
        return found
    command, ready = promotion_of(key_id, longest or MAX_DURATION, rollout), later(added, rollout)
    if now < ready:
        found.append(
            Finding(
                Mark.WAIT,
                f"promoting {key_id} now would log users out: it was added {ago(added, now)}, and a server that does not have it "
                f"yet refuses what it seals. It is safe from {when(ready, now)} on, if every server has this file then:",
                command,
            )
        )
    else:
        found.append(Finding(Mark.READY, f"{key_id} may be promoted, if every server has this file:", command))
    return found


def promotion_of(key_id: str, longest: timedelta, rollout: timedelta) -> str:
    """The words that promote a key."""
    return f"promote {key_id}{options_of(longest, rollout)}"


def options_of(longest: timedelta, rollout: timedelta) -> str:
    """The options of a command that are not as they are by default, each after a space."""
    options = "" if rollout == DEFAULT_ROLLOUT else f" --rollout {format_duration(rollout)}"
    return options if longest == MAX_DURATION else f"{options} --longest {format_duration(longest)}"


def _of_retiring(line: KeyLine, now: datetime, longest: timedelta | None, rollout: timedelta | None) -> list[Finding]:
    key_id, since, date = line.key.id, line.since, line.droppable
    life, command, spread = longest or MAX_DURATION, f"drop {key_id}", rollout or DEFAULT_ROLLOUT
    safe = later(whole_second(now if since is None or date is None else since), life, spread)
    counted = _droppable(line, longest, rollout)
    if counted is None:
        return [
            Finding(
                Mark.WRONG,
                f"{key_id} is retiring and has no droppable= date: dropping it may log users out. Write "
                f"droppable={format_date(safe)} behind it, which is right where no session lives longer than {in_words(life)}.",
            )
        ]
    if longest is not None and since is None:
        return [
            Finding(
                Mark.WRONG,
                f"{key_id} is retiring and has no since= date, from which --longest could be counted. Write since= behind it, the "
                "time at which another key was promoted in its place.",
            )
        ]
    found = []
    if since is not None and date is not None and date < safe and now < safe:
        room = date - since - spread
        if longest is not None or room < MIN_DURATION:
            return [
                Finding(
                    Mark.WRONG,
                    f"dropping {key_id} at its date, {instant(date)}, would log users out: what it sealed may be alive until "
                    f"{when(safe, now)}, where a session lives up to {in_words(life)} and a rollout takes {in_words(spread)}. "
                    f"Write droppable={format_date(safe)} behind it.",
                )
            ]
        found.append(
            Finding(
                Mark.NOTE,
                f"the date of {key_id} is right where no session lives longer than {format_duration(room)}; "
                "`keys check --longest` checks that.",
            )
        )
    if date is not None and counted < date:  # by the file alone it would be refused
        command = f"{command} --longest {format_duration(life)} --rollout {format_duration(spread)}"
    sooner = ", or sooner where --rollout is given too" if rollout is None and safe < counted else ""
    if now < counted:
        found.append(
            Finding(
                Mark.WAIT,
                f"dropping {key_id} now would log users out: what it sealed may be alive. It may go from {when(counted, now)} "
                f"on{sooner}:",
                command,
            )
        )
    else:
        found.append(Finding(Mark.READY, f"{key_id} may be dropped: nothing it sealed is alive.", command))
    return found
