"""Session: the dict a handler works on, with its times, its id and how it came about.

It knows lifetimes in milliseconds and nothing of tokens, keys, cookies or JSON.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from clientsession.errors import ConfigurationError, Reason, SessionCommittedError

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

MIN_DURATION: Final = timedelta(seconds=1)
MAX_DURATION: Final = timedelta(days=400)  # RFC 6265bis, 5.5: the longest a browser keeps a cookie
DEFAULT_DURATION: Final = timedelta(days=1)
DEFAULT_MAX_DURATION: Final = timedelta(days=30)  # how long activity alone may keep a session alive
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DATETIME_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that datetime has
_LAST_CLOCK_SECONDS: Final = 253_402_300_799 - 401 * 86_400  # so that no lifetime from now leaves the calendar


def check_duration(name: str, value: timedelta) -> int:
    """A duration in milliseconds.

    Raises:
        TypeError: not a ``timedelta``.
        ConfigurationError: under 1 second or over 400 days.
    """
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a datetime.timedelta, not {type(value).__name__}; write timedelta(seconds=…)")
    if not MIN_DURATION <= value <= MAX_DURATION:
        raise ConfigurationError(f"{name} must be from 1 second to 400 days (browsers keep no cookie longer)")
    return value // timedelta(milliseconds=1)


def read_clock(clock: Callable[[], float]) -> int:
    """Milliseconds since 1970 by a clock that answers in seconds, as ``time.time`` does.

    Raises:
        ConfigurationError: the clock gave no finite number of seconds between 1970 and 9998.
    """
    seconds = clock()
    if not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LAST_CLOCK_SECONDS:  # a NaN is not either
        raise ConfigurationError("the clock must answer, as time.time does, with the seconds since 1970-01-01T00:00Z")
    # Down to the millisecond, so that nothing is over before its time; but what a float cannot hold exactly is no less for it.
    return round(seconds * 1_000_000) // 1000


def _as_datetime(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=min(milliseconds, _LAST_DATETIME_MS))


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long sessions live: the policy of a codec or jar, in milliseconds."""

    duration: int
    active: int | None
    maximum: int | None
    ephemeral: bool

    @classmethod
    def of(
        cls,
        duration: timedelta,
        active_duration: timedelta | None,
        max_duration: timedelta | EllipsisType | None,
        ephemeral: bool,
    ) -> Self:
        """Check a policy as a user wrote it; ``...`` is the default for ``max_duration``."""
        base = check_duration("duration", duration)
        active = None if active_duration is None else check_duration("active_duration", active_duration)
        if active is not None and active > base:
            raise ConfigurationError("active_duration must not be longer than duration")
        if isinstance(max_duration, EllipsisType):
            maximum = None if active is None else max(check_duration("max_duration", DEFAULT_MAX_DURATION), base)
        elif max_duration is None:
            maximum = None
        else:
            maximum = check_duration("max_duration", max_duration)
            if maximum < base:
                raise ConfigurationError("max_duration must not be shorter than duration")
        return cls(base, active, maximum, ephemeral)

    def capped(self, created: int, expires: int) -> int:
        """``expires``, or the end that ``max_duration`` sets where that is sooner; never before ``created``.

        A server whose clock is behind may see a session that begins later than now, and is to end soon.
        """
        if self.maximum is not None and expires > created + self.maximum:
            expires = created + self.maximum
        return expires if expires > created else created


class Rules(NamedTuple):
    """What a codec or jar holds its sessions to: how long they live, and how large they may be."""

    lifetime: Lifetime
    limit: int


class Origin(NamedTuple):
    """The token a session was opened from.

    ``body`` is what ``raw`` is once inflated; an unchanged session is sealed again from ``raw``, whatever wrote it. ``scope`` is
    what the token was for: its kind, name and audience. Without a ``key_id`` it was another system's, and ``raw`` is what it would
    be here.
    """

    scope: tuple[str, str, str]
    key_id: str | None
    id: bytes | None
    body: bytes
    raw: bytes
    deflated: bool


class Session(dict[str, Any]):
    """The content of a session, and what is known about it. Made by ``Codec.decode`` and by ``Sessions``, not by hand.

    It is a ``dict`` and compares, prints and turns into JSON as one; a copy of it is a plain dict. Nested changes count: what
    is compared in the end is what would be sealed.
    """

    __slots__ = (
        "_clock",
        "_closed",
        "_created",
        "_destroyed",
        "_ephemeral",
        "_expires",
        "_id",
        "_measure",
        "_origin",
        "_refusal",
        "_retimed",
        "_rules",
    )

    def __init__(
        self,
        content: dict[str, Any],
        rules: Rules,
        measure: Callable[[Session], int],
        clock: Callable[[], int],
        created: int,
        expires: int,
        id: bytes | None,
        ephemeral: bool,
        origin: Origin | None = None,
        refusal: Reason | None = None,
    ) -> None:
        dict.__init__(self, content)
        self._rules = rules
        self._measure = measure
        self._clock = clock
        self._created = created
        self._expires = expires
        self._id = id
        self._ephemeral = ephemeral
        self._origin = origin
        self._refusal = refusal
        self._retimed = False
        self._destroyed = False
        self._closed = False

    @classmethod
    def new(cls, rules: Rules, measure: Callable[[Session], int], clock: Callable[[], int], refusal: Reason | None = None) -> Self:
        """An empty session that starts now."""
        now = clock()
        lifetime = rules.lifetime
        return cls({}, rules, measure, clock, now, now + lifetime.duration, None, lifetime.ephemeral, None, refusal)

    # What is known about it

    @property
    def created_at(self) -> datetime:
        """When the session began, or was last ``reset()``; aware, UTC."""
        return _as_datetime(self._created)

    @property
    def expires_at(self) -> datetime:
        """From when on it will not open any more; aware, UTC."""
        return _as_datetime(self._expires)

    @property
    def is_new(self) -> bool:
        """True where nothing the client sent was opened (a first visit, or a refused token), and after ``destroy()``."""
        return self._origin is None or self._destroyed

    @property
    def key_id(self) -> str | None:
        """The id of the key that sealed the token it was opened from, 8 hex digits; None when new or of another system."""
        return None if self._origin is None or self._destroyed else self._origin.key_id

    @property
    def refusal(self) -> Reason | None:
        """Why the client's token was refused, or None where it sent none or it opened."""
        return self._refusal

    @property
    def ephemeral(self) -> bool:
        """True where the browser drops the cookie when it closes; ``set_duration`` changes it."""
        return self._ephemeral

    @property
    def id(self) -> str:
        """128 random bits of its own, as 32 hex digits: made on first use, sealed with the session, forgotten by ``reset()``.

        A token that was sealed before anybody asked has none, and gets another one at each ``decode`` that is asked: it tells
        tokens apart only where it was sealed into them.

        Raises:
            SessionCommittedError: it has none, and is committed already.
        """
        if self._id is None:
            self._check_open()
            self._id = os.urandom(16)
        return self._id.hex()

    @property
    def size(self) -> int:
        """Bytes of the cookie, name and value, if the session were sealed now; of a codec's token, its characters.

        Raises:
            SerializationError: something in it would not be read back as it is; names the path.
        """
        return self._measure(self)

    @property
    def size_left(self) -> int:
        """Bytes left of what a cookie may have (4,096), or a codec's token (its ``max_size``); below 0 where it is too large.

        Raises:
            SerializationError: something in it would not be read back as it is; names the path.
        """
        return self._rules.limit - self._measure(self)

    # What a handler does to its life

    def reset(self, keep: Iterable[str] = ()) -> None:
        """Begin anew: no content, no id, ``created_at`` now. Call it when a user signs in, so that nothing of before stays.

        Args:
            keep: keys whose values stay.

        Raises:
            TypeError: ``keep`` is no list of keys; write ``keep=("locale",)``.
            SessionCommittedError: the session is committed.
        """
        if isinstance(keep, (str, bytes)) or not isinstance(keep, Iterable):
            raise TypeError('keep takes a list of keys: write keep=("locale",)')
        self._check_open()
        kept = {key: self[key] for key in keep if key in self}
        self._restart()
        super().update(kept)

    def destroy(self) -> None:
        """End it: the client is told to drop its cookie. What is written afterwards is a new session.

        Raises:
            SessionCommittedError: the session is committed.
        """
        self._check_open()
        self._restart()
        self._destroyed = True

    def set_duration(self, duration: timedelta, *, ephemeral: bool | None = None) -> None:
        """Let the session end ``duration`` from now, but not after its ``max_duration``.

        Args:
            duration: 1 second to 400 days.
            ephemeral: True, the browser drops the cookie when it closes; False, it keeps it; None, as it was.

        Raises:
            TypeError: not a ``timedelta``.
            ConfigurationError: out of range; or ``ephemeral`` is something else.
            SessionCommittedError: the session is committed.
        """
        milliseconds = check_duration("duration", duration)
        if ephemeral is not None and type(ephemeral) is not bool:
            raise ConfigurationError("ephemeral must be True, False or None")
        self._check_open()
        self._expires = self._rules.lifetime.capped(self._created, self._clock() + milliseconds)
        if ephemeral is not None:
            self._ephemeral = ephemeral
        self._retimed = True

    def _restart(self) -> None:
        super().clear()
        self._created = self._clock()
        self._expires = self._created + self._rules.lifetime.duration
        self._ephemeral = self._rules.lifetime.ephemeral
        self._id = None
        self._retimed = True

    def _extend(self) -> bool:
        """Move the end on where less than ``active_duration`` is left; True where that moved it."""
        active = self._rules.lifetime.active
        if active is None or self._expires - self._clock() >= active:
            return False
        expires = self._rules.lifetime.capped(self._created, self._expires + active)
        if expires == self._expires:
            return False
        self._expires = expires
        return True

    # A dict whose writes end with the commit

    def _check_open(self) -> None:
        if self._closed:
            raise SessionCommittedError(
                "this session's cookie was handed out already (the response has started), or the session was given up with an "
                "error; write sessions before start_response"
            )

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_open()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._check_open()
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # dict's stub has overloads of the same meaning
        self._check_open()
        return super().__ior__(other)

    def clear(self) -> None:
        """Remove the content; id and times stay."""
        self._check_open()
        super().clear()

    def pop(self, key: str, /, *default: Any) -> Any:
        """As ``dict.pop``."""
        self._check_open()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """As ``dict.popitem``."""
        self._check_open()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As ``dict.setdefault``; a key that is there is only read."""
        if key not in self:
            self._check_open()
        return super().setdefault(key, default)

    def update(self, content: SupportsKeysAndGetItem[str, Any] | Iterable[tuple[str, Any]] = (), /, **items: Any) -> None:
        """As ``dict.update``."""
        self._check_open()
        super().update(content, **items)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        # A copy or pickle is the content alone: a second Session would promise to be saved, and is not.
        return dict, (dict(self),)
