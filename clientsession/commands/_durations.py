"""Durations and instants as the command line reads and says them.

It knows numbers and words, and nothing of keys or files.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from clientsession._session import MAX_DURATION, MIN_DURATION

HOW_TO_WRITE: Final = "write it like 90s, 5m, 24h, 120d, 2w or 1d12h, from 1s to 400d"
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_FINEST_SECONDS: Final = 5  # beside minutes: a date that was rounded up to the next second is still told as it was asked for
_BELOW: Final = {"d": 3600, "h": 60, "m": _FINEST_SECONDS}
_NAMES: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_DURATION: Final = re.compile(r"(?:[0-9]{1,8}[wdhms]){1,5}")  # 400 days are 34,560,000 seconds
_FEW: Final = 10  # of so many days nobody wants to know the hours
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def parse_duration(text: str) -> timedelta | None:
    """A duration such as ``90s`` or ``1d12h``; None where it is none, or not from 1 second to 400 days."""
    if not _DURATION.fullmatch(text):
        return None
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([a-z])", text))
    return timedelta(seconds=seconds) if MIN_DURATION.total_seconds() <= seconds <= MAX_DURATION.total_seconds() else None


def format_duration(duration: timedelta) -> str:
    """A duration of whole seconds as :func:`parse_duration` reads it, without weeks: ``1d12h``."""
    return "".join(f"{count}{unit}" for unit, count in _split(duration))


def in_words(duration: timedelta) -> str:
    """A duration for reading: to the nearest of its largest unit, or of the one below where there are few of it.

    Less than a minute is told in seconds, of which a part counts as one.
    """
    parts = _split(_rounded(duration)) or [("s", 0)]
    return " ".join(f"{count} {_NAMES[unit]}{'' if count == 1 else 's'}" for unit, count in parts)


def _rounded(duration: timedelta) -> timedelta:
    """A duration that has no smaller unit than is to be told of it."""
    (unit, count), *_ = _split(duration) or [("s", 0)]
    if unit == "s":
        return duration
    finest = _SECONDS[unit] if count >= _FEW else _BELOW[unit]
    return timedelta(seconds=(duration // timedelta(seconds=1) + finest // 2) // finest * finest)


def _split(duration: timedelta) -> list[tuple[str, int]]:
    """How many of each unit, the largest first, without those of which there are none."""
    left = -(-duration // timedelta(seconds=1))
    parts = []
    for unit in _NAMES:
        count, left = divmod(left, _SECONDS[unit])
        if count:
            parts.append((unit, count))
    return parts


def later(date: datetime, *durations: timedelta) -> datetime:
    """A date moved on; the last second of the calendar where that is past it."""
    try:
        return date + sum(durations, timedelta())
    except OverflowError:
        return _LAST


def instant(date: datetime) -> str:
    """A date for reading, such as ``2026-11-21 13:00:00 UTC``."""
    return f"{date.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def ago(date: datetime, now: datetime) -> str:
    """How long ago a date was; ``a moment ago`` where it is now, or to come."""
    seconds = (now - date) // timedelta(seconds=1)
    return f"{in_words(timedelta(seconds=seconds))} ago" if seconds > 0 else "a moment ago"


def until(date: datetime, now: datetime) -> str:
    """How long it is until a date: ``in 3 days``, or ``now`` where it has come."""
    return f"in {in_words(date - now)}" if date > now else "now"


def when(date: datetime, now: datetime) -> str:
    """A date to come, with how long that is: ``2026-11-21 13:00:00 UTC (in 3 days)``."""
    return f"{instant(date)} ({until(date, now)})"
