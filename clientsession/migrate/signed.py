"""Cookies that itsdangerous signs with their time: those of Flask, of Starlette, and of its ``URLSafeTimedSerializer``.

The form, ``payload.time.signature``, is read from the source of itsdangerous 1.1 to 2.2: the time is that of the signature, in
whole seconds since 1970 (before 1.1 it was counted from 2011: such a cookie is one of 1985 or so here, and over).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, TypeVar

from clientsession._migration import OldSession, Reader
from clientsession._token import decode_base64url, encode_base64url
from clientsession.errors import ConfigurationError
from clientsession.migrate._forms import (
    Macs,
    Secrets,
    as_ascii,
    bytes_of,
    check_digest,
    decode_base64,
    decode_payload,
    milliseconds_of,
    old_session,
    parse_json,
)

_FLASK_MAX_AGE: Final = timedelta(days=31)  # PERMANENT_SESSION_LIFETIME's default
_HTTP_DATE: Final = re.compile(r"[A-Za-z]{3}, ([0-9]{2}) ([A-Za-z]{3}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STARLETTE_MAX_AGE: Final = timedelta(days=14)  # SessionMiddleware's default
_STARLETTE_SALT: Final = b"itsdangerous.Signer"  # that of a signer which was given none

# itsdangerous' key_derivation: from a digest's name, the salt and the secret to the key of the HMAC.
_DERIVATIONS: Final[dict[str, Callable[[str, bytes, bytes], bytes]]] = {
    "hmac": lambda digest, salt, secret: hmac.digest(secret, salt, digest),
    "django-concat": lambda digest, salt, secret: hashlib.new(digest, salt + b"signer" + secret).digest(),
    "concat": lambda digest, salt, secret: hashlib.new(digest, salt + secret).digest(),
    "none": lambda digest, salt, secret: secret,
}


def flask(
    secret_key: str | bytes,
    *,
    fallbacks: Sequence[str | bytes] = (),
    cookie_name: str = "session",
    max_age: timedelta | None = _FLASK_MAX_AGE,
    salt: str | bytes = "cookie-session",
    key_derivation: str = "hmac",
    digest_method: str = "sha1",
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """A reader of the sessions of Flask's ``SecureCookieSessionInterface``.

    A session began when its cookie was last written, and ends ``max_age`` later, permanent or not, as in Flask. The content is
    what ``flask.session`` held, ``_permanent`` included; of what Flask's tagged JSON knows beside JSON, a tuple is a list here,
    bytes are base64 text, Markup is text, a UUID is text with hyphens, and a datetime is ISO 8601 text in UTC. Whether the browser
    keeps the new cookie when it closes is for the jar to say (``ephemeral``), whatever ``session.permanent`` was.

    Args:
        secret_key: ``SECRET_KEY``.
        fallbacks: ``SECRET_KEY_FALLBACKS``, at most 16.
        cookie_name: ``SESSION_COOKIE_NAME``.
        max_age: ``PERMANENT_SESSION_LIFETIME``, 1 second to 100 years. None: no end, but then ``until`` is needed.
        salt: the session interface's, where you changed it; and likewise
        key_derivation: ``"hmac"``, ``"django-concat"``, ``"concat"`` or ``"none"``;
        digest_method: the name of the hash function: ``"sha256"`` for ``hashlib.sha256``.
        path: ``SESSION_COOKIE_PATH``, or else ``APPLICATION_ROOT``.
        domain: ``SESSION_COOKIE_DOMAIN``.
        until: from then on nothing is read.

    Raises:
        ConfigurationError: an argument out of range; no message shows a secret.
        TypeError: ``max_age`` is no ``timedelta``.
    """
    secrets = Secrets(secret_key, fallbacks)
    del secret_key, fallbacks  # so that no frame of a traceback shows them
    return _FlaskReader(
        secrets,
        cookie_name=cookie_name,
        max_age=max_age,
        salt=salt,
        key_derivation=key_derivation,
        digest_method=digest_method,
        path=path,
        domain=domain,
        until=until,
    )


def itsdangerous_timed(
    secret_key: str | bytes,
    *,
    salt: str | bytes,
    cookie_name: str,
    max_age: timedelta | None,
    fallbacks: Sequence[str | bytes] = (),
    key_derivation: str = "django-concat",
    digest_method: str = "sha1",
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """A reader of cookies that an application wrote itself by itsdangerous' ``URLSafeTimedSerializer``, JSON inside.

    A session began when its cookie was written, and ends ``max_age`` later.

    Args:
        secret_key: the serializer's; of a list, the last.
        salt: the serializer's; ``"itsdangerous"`` where it was given none.
        cookie_name: of the old cookie.
        max_age: what ``loads`` was given, 1 second to 100 years. None: no end, but then ``until`` is needed.
        fallbacks: the others of a list of secret keys, at most 16.
        key_derivation: ``"django-concat"``, ``"hmac"``, ``"concat"`` or ``"none"``, as in ``signer_kwargs``.
        digest_method: the name of the hash function, likewise: ``"sha256"`` for ``hashlib.sha256``.
        path: of the old cookie.
        domain: of the old cookie.
        until: from then on nothing is read.

    Raises:
        ConfigurationError: an argument out of range; no message shows a secret.
        TypeError: ``max_age`` is no ``timedelta``.
    """
    secrets = Secrets(secret_key, fallbacks)
    del secret_key, fallbacks  # so that no frame of a traceback shows them
    return _ItsdangerousReader(
        secrets,
        cookie_name=cookie_name,
        max_age=max_age,
        salt=salt,
        key_derivation=key_derivation,
        digest_method=digest_method,
        path=path,
        domain=domain,
        until=until,
    )


def starlette(
    secret_key: str,
    *,
    cookie_name: str = "session",
    max_age: timedelta | None = _STARLETTE_MAX_AGE,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """A reader of the sessions of Starlette's ``SessionMiddleware``, which is FastAPI's too.

    A session began when its cookie was last written, and ends ``max_age`` later.

    Args:
        secret_key: the middleware's; ``str(…)`` of a ``Secret``.
        cookie_name: its ``session_cookie``.
        max_age: likewise, 1 second to 100 years. None: no end, but then ``until`` is needed.
        path: likewise.
        domain: likewise.
        until: from then on nothing is read.

    Raises:
        ConfigurationError: an argument out of range; no message shows a secret.
        TypeError: ``max_age`` is no ``timedelta``.
    """
    secrets = Secrets(secret_key)
    is_bytes = isinstance(secret_key, bytes)
    del secret_key  # so that no frame of a traceback shows it
    if is_bytes:
        raise ConfigurationError("secret_key must be a str, as Starlette's is: give str(…) of what SessionMiddleware was given")
    return _StarletteReader(
        secrets,
        cookie_name=cookie_name,
        max_age=max_age,
        salt=_STARLETTE_SALT,
        key_derivation="django-concat",
        digest_method="sha1",
        path=path,
        domain=domain,
        until=until,
    )


class _TimedReader(Reader):
    """Verifies ``payload.time.signature``; what the payload is, its subclasses know."""

    _macs: Macs
    _max_age: int | None
    _content: Callable[[bytes], Any]
    """What an authentic payload holds, or None."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        cookie_name: str,
        max_age: timedelta | None,
        salt: str | bytes,
        key_derivation: str,
        digest_method: str,
        path: str,
        domain: str | None,
        until: datetime | None,
    ) -> None:
        super().__init__(cookie_name, path=path, domain=domain, until=until)
        secrets.check()
        derive = _DERIVATIONS.get(key_derivation) if isinstance(key_derivation, str) else None
        if derive is None:
            raise ConfigurationError(f"key_derivation must be one of {', '.join(map(repr, _DERIVATIONS))}, as in the old system")
        check_digest("digest_method", digest_method)
        salt_bytes = bytes_of("salt", salt)
        age = milliseconds_of("max_age", max_age, until)
        keys = (derive(digest_method, salt_bytes, secret) for secret in secrets.values)
        self._freeze(_macs=Macs(keys, digest_method), _max_age=age)

    def read(self, value: str, now: int) -> OldSession | None:
        raw = as_ascii(value)
        if raw is None:
            return None
        signed, _, signature = raw.rpartition(b".")
        # Compared as text, which has one spelling only, not by what it decodes to.
        if not any(hmac.compare_digest(encode_base64url(mac).encode(), signature) for mac in self._macs.of(signed)):
            return None
        payload, _, stamp = signed.rpartition(b".")
        created = _time_of(stamp)
        if created is None:
            return None
        expires = None if self._max_age is None else created + self._max_age
        return old_session(self._content(payload), created=created, expires=expires, now=now)


def _time_of(stamp: bytes) -> int | None:
    """The milliseconds of a time as itsdangerous writes it, or None."""
    data = decode_base64url(stamp.decode("ascii"))
    if not data or data[0] == 0:  # itsdangerous drops leading zeros
        return None
    return int.from_bytes(data, "big") * 1000


# Flask's tagged JSON: an object of one key that is a tag stands for a value of another type. Each function takes what is under its
# tag, and raises a ValueError where Flask would not have written that.


_T = TypeVar("_T")


def _only(kind: type[_T], value: Any) -> _T:
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is wanted under this tag")
    return value


def _list_of_tuple(value: Any) -> list[Any]:
    return _only(list, value)


def _text_of_markup(value: Any) -> str:
    return _only(str, value)


def _text_of_bytes(value: Any) -> str:
    text = _only(str, value)
    if decode_base64(text.encode("ascii")) is None:
        raise ValueError("base64 is wanted under this tag")
    return text


def _text_of_uuid(value: Any) -> str:
    found = uuid.UUID(_only(str, value))
    if found.hex != value:
        raise ValueError("32 hex digits are wanted under this tag")
    return str(found)


def _text_of_datetime(value: Any) -> str:
    """ISO 8601 for a date of HTTP (RFC 9110, 5.6.7)."""
    match = _HTTP_DATE.fullmatch(_only(str, value))
    if match is None:
        raise ValueError("a date of HTTP is wanted under this tag")
    day, month, year, hour, minute, second = match.groups()
    date = int(year), _MONTHS.index(month) + 1, int(day)
    moment = datetime(*date, int(hour), int(minute), int(second), tzinfo=UTC)
    if format_datetime(moment, usegmt=True) != value:  # another day of the week
        raise ValueError("a date of HTTP is wanted under this tag")
    return moment.isoformat()


def _dict_like_a_tag(value: Any) -> dict[str, Any]:
    """A dict whose one key looked like a tag, written with ``__`` behind that key."""
    ((key, item),) = _only(dict, value).items()  # a ValueError where there is another number of them
    if not key.endswith("__"):
        raise ValueError("a key that ends with __ is wanted under this tag")
    return {key.removesuffix("__"): item}


_TAGS: Final[dict[str, Callable[[Any], Any]]] = {
    " t": _list_of_tuple,
    " b": _text_of_bytes,
    " m": _text_of_markup,
    " u": _text_of_uuid,
    " d": _text_of_datetime,
    " di": _dict_like_a_tag,
}


def _untagged(value: dict[str, Any]) -> Any:
    """What an object stands for; its values are untagged already, for a parser ends inner objects first."""
    if len(value) != 1:
        return value
    ((key, tagged),) = value.items()
    read = _TAGS.get(key)
    return value if read is None else read(tagged)


def _plain_content(payload: bytes) -> Any:
    data = decode_payload(payload)
    return None if data is None else parse_json(data)


def _flask_content(payload: bytes) -> Any:
    data = decode_payload(payload)
    return None if data is None else parse_json(data, object_hook=_untagged)


def _starlette_content(payload: bytes) -> Any:
    """The payload is in the other base64, with padding, and never deflated."""
    data = decode_base64(payload)
    return None if data is None else parse_json(data)


class _ItsdangerousReader(_TimedReader):
    _content = staticmethod(_plain_content)


class _FlaskReader(_TimedReader):
    _content = staticmethod(_flask_content)


class _StarletteReader(_TimedReader):
    _content = staticmethod(_starlette_content)
