"""What a reader of another system's cookies is, for ``Jar(migrate_from=[…])``; the readers are in ``clientsession.migrate``.

It knows values and times, and nothing of tokens, keys, jars or requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from clientsession._cookies import SetCookie
from clientsession._immutable import Immutable
from clientsession._keys import KEY_AS_NAME, holds_key
from clientsession.errors import ConfigurationError

MAX_OLD_CHARS: Final = 16_384  # the longest value a reader is given: four cookies' worth, for systems whose cookies are longer
_LONGEST_UNTIL: Final = datetime(9998, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OldSession:
    """What a reader found.

    Attributes:
        content: the session, of JSON's own types alone.
        created: when it began, in milliseconds since 1970, or None where the old form does not say.
        expires: when it ends, likewise.
    """

    content: dict[str, Any]
    created: int | None = None
    expires: int | None = None


class Reader(Immutable):
    """Reads the cookies of another system, authenticated before anything in them is looked at.

    Subclass it for a system of your own: :meth:`read` is all there is to write.

    Args:
        cookie_name: what the old cookie is called.
        path: where it lives, for its deletion.
        domain: likewise; None, the host alone.
        until: from then on the reader reads nothing; an aware ``datetime``. None: no end.

    Raises:
        ConfigurationError: a name or scope that no cookie has, or a date without a time zone.
    """

    may_look_like_ours: ClassVar[bool] = False
    """Whether values of this form can be base64url from end to end with random bytes first: one in 128 of them then begins like a
    token of ours, and the jar hands over those, too, whose key it does not have."""
    cookie_name: str
    path: str
    domain: str | None
    until: datetime | None
    _until_ms: int | None

    def __init__(self, cookie_name: str, *, path: str = "/", domain: str | None = None, until: datetime | None = None) -> None:
        if holds_key(cookie_name, path, domain):
            del cookie_name, path, domain
            raise ConfigurationError(KEY_AS_NAME)
        if until is not None and (not isinstance(until, datetime) or until.utcoffset() is None or until > _LONGEST_UNTIL):
            raise ConfigurationError("until must be a datetime with a time zone: write datetime(2027, 1, 1, tzinfo=UTC)")
        # As a browser would take its deletion.
        SetCookie(cookie_name, path=path, domain=domain, secure=True, httponly=True, samesite="Lax", partitioned=False)
        self._freeze(
            cookie_name=cookie_name,
            path=path,
            domain=domain,
            until=until,
            _until_ms=None if until is None else int(until.timestamp() * 1000),
        )

    def read(self, value: str, now: int) -> OldSession | None:
        """What a value holds. A jar asks before ``until`` alone; this does not look at it.

        Args:
            value: of the cookie, as it came: from whatever hands, at most 16,384 characters.
            now: milliseconds since 1970.

        Returns:
            The session; or None where the value is not of this form, not authentic, or over. It never raises.
        """
        raise NotImplementedError

    def _summary(self) -> str:
        return f"{self.cookie_name!r}"

    def _read(self, value: str, now: int) -> OldSession | None:
        """As :meth:`read`, within the reader's own limits."""
        if len(value) > MAX_OLD_CHARS or (self._until_ms is not None and now >= self._until_ms):
            return None
        return self.read(value, now)
