"""Event: what happened to a session in a jar; and the log of it, which no client can fill.

It knows no session, token or key: an event is names and numbers.
"""

from __future__ import annotations

import enum
import logging
import os
import threading
from dataclasses import dataclass
from typing import Final

from clientsession.errors import Reason

LINES_PER_WINDOW: Final = 10  # of one kind and reason: enough to see what it is, and never a full disk
WINDOW_MS: Final = 60_000
_SET_BACK_MS: Final = 3_600_000  # longer than any server lets a request last

_logger: Final = logging.getLogger("clientsession")


class EventKind(enum.StrEnum):
    """What happened to a session in a jar."""

    OPENED = "opened"
    """The client's cookie opened."""
    REFUSED = "refused"
    """The client's cookie did not open; the event's ``reason`` says why."""
    SEALED = "sealed"
    """The session was changed, or is new, and its cookie goes out."""
    EXTENDED = "extended"
    """It was used close to its end, which moved on."""
    RESEALED = "resealed"
    """It was read, and had been sealed by a retiring key."""
    MIGRATED = "migrated"
    """It was read from a cookie of another system, and is sealed by this jar."""
    DELETED = "deleted"
    """The client is told to drop its cookie."""
    TOO_LARGE = "too_large"
    """The session would not fit a cookie: ``commit()`` raised ``SessionTooLargeError``."""


@dataclass(frozen=True)
class Event:
    """What an observer is told; never content, and nothing a client made up.

    Attributes:
        kind: what happened.
        jar: the jar's name.
        reason: why, where a cookie was refused.
        key_id: of the key that sealed or opened, or that a refused token named, where it is one of the ring's.
        size: bytes of name and value of the cookie that goes out; of one that came, all of its name together.
    """

    kind: EventKind
    jar: str
    reason: Reason | None = None
    key_id: str | None = None
    size: int | None = None


class Throttle:
    """Lets ten lines a minute through for each of a few subjects, and counts the others."""

    __slots__ = ("_latest", "_lock", "_pid", "_windows")

    def __init__(self) -> None:
        self._windows: dict[str, tuple[int, int]] = {}  # by subject: when its minute began, in ms, and how often it came since
        self._latest = 0
        self._lock = threading.RLock()  # a signal's handler may use a session while this thread holds it
        self._pid = os.getpid()

    def note(self, subject: str, now: int) -> str | None:
        """What to add to a line about this subject, mostly nothing; None where the line is not to be written.

        Args:
            subject: one of a few; never something a client sent.
            now: milliseconds, as of the request. One that is over late does not turn the time back; a clock that was set back by
                more than an hour does.
        """
        if self._pid != os.getpid():  # forked, perhaps while a thread that is not here held the lock
            self._lock, self._pid = threading.RLock(), os.getpid()
        with self._lock:  # a count read by one thread and written by another would let more lines through, and tell fewer
            if now < self._latest - _SET_BACK_MS:
                self._latest = now
            now = self._latest = max(now, self._latest)
            start, count = self._windows.get(subject, (now, 0))
            held_back = 0
            if not 0 <= now - start < WINDOW_MS:
                start, held_back, count = now, max(count - LINES_PER_WINDOW, 0), 0
            self._windows[subject] = start, count + 1
        if count >= LINES_PER_WINDOW:
            return None
        note = f" held_back={held_back}" if held_back else ""
        return f"{note} more=held_back_for_a_minute" if count == LINES_PER_WINDOW - 1 else note


LOGGED: Final = frozenset({EventKind.REFUSED, EventKind.RESEALED, EventKind.MIGRATED})


def log_event(event: Event, throttle: Throttle, now: int) -> None:
    """One line for a refusal, a re-sealing and a migration, with the event itself as the record's ``clientsession_event``."""
    if event.kind not in LOGGED:
        return
    note = throttle.note(f"{event.kind} {event.reason}", now)
    if note is None:
        return
    reason = "" if event.reason is None else f" reason={event.reason}"
    _logger.info(
        "session cookie %s: jar=%s%s key=%s bytes=%s%s",
        event.kind,
        event.jar,
        reason,
        event.key_id,
        event.size,
        note,
        extra={"clientsession_event": event},
    )
