"""What the readers share: secrets that show nowhere, strict base64, bounded inflating, JSON, and the limits of time.

It knows no system's cookies. What it decodes is authentic already, or is decoded so as to be authenticated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

from clientsession._immutable import Immutable
from clientsession._json import StrictJSON, has_room
from clientsession._keys import KEY_PREFIX
from clientsession._migration import MAX_OLD_CHARS, OldSession
from clientsession._token import decode_base64url
from clientsession.errors import ConfigurationError

MAX_INFLATED_BYTES: Final = 64 * 1024  # as for our own tokens: bounds the memory a cookie can claim
MAX_SKEW_MS: Final = 60_000  # as for our own tokens: how far the clock of the server that wrote a cookie may be ahead
_MAX_SECRETS: Final = 17  # one and 16 fallbacks: each is tried, so that this bounds the work for a forged cookie
_MAX_SECRET_BYTES: Final = 4096  # far more than any system makes
_MIN_PERIOD: Final = timedelta(seconds=1)
_MAX_PERIOD: Final = timedelta(days=36_525)  # a century: sites that wanted no end wrote such lifetimes
_STRICT: Final = StrictJSON()


class Secrets(Immutable):
    """The secrets a reader was given, as bytes.

    Making it raises nothing, so that the caller can drop its own names for the secrets first, and then :meth:`check`: no frame of
    a traceback shows them.

    Args:
        secret: ``str`` or ``bytes``.
        fallbacks: a list or tuple of the same.
        name: of the option, in messages.
        encoding: of those that are ``str``.
    """

    __slots__ = ("_problem", "values")
    values: tuple[bytes, ...]
    """The secret, then the fallbacks. Empty where something is wrong with one."""
    _problem: str | None

    def __init__(self, secret: object, fallbacks: object = (), *, name: str = "secret_key", encoding: str = "utf-8") -> None:
        values: list[bytes] = []
        problem = None
        if not isinstance(fallbacks, (list, tuple)):
            problem = "fallbacks must be a list of secrets, such as [old_secret]"
        elif len(fallbacks) >= _MAX_SECRETS:
            problem = f"fallbacks takes {_MAX_SECRETS - 1} secrets at most: drop the oldest"
        else:
            for value in (secret, *fallbacks):
                encoded = _encoded(value, encoding)
                if isinstance(encoded, str):
                    problem = f"{name if value is secret else 'each of fallbacks'} {encoded}"
                    break
                values.append(encoded)
        self._freeze(values=() if problem else tuple(values), _problem=problem)

    def check(self) -> None:
        """Tell what is wrong.

        Raises:
            ConfigurationError: a secret is empty, too long, of another type, or a key of this library.
        """
        if self._problem is not None:
            raise ConfigurationError(self._problem)


def _encoded(secret: object, encoding: str) -> bytes | str:
    """A secret as bytes, or what is wrong with it, as the end of a sentence."""
    if isinstance(secret, str):
        try:
            secret = secret.encode(encoding)
        except UnicodeEncodeError:
            return "must be text that UTF-8 can carry: write it anew"
    if not isinstance(secret, bytes):
        return f"must be a str or bytes, not {type(secret).__name__}: give the other system's own secret"
    if not secret:
        return "must not be empty: give the other system's own secret"
    if len(secret) > _MAX_SECRET_BYTES:
        return f"must have at most {_MAX_SECRET_BYTES:,} bytes: give the other system's own secret"
    if secret.startswith(KEY_PREFIX.encode()):
        return f"is a key of this library ({KEY_PREFIX}…): give the other system's own secret"
    return secret


class Macs(Immutable):
    """The keys of an HMAC, ready for use and shown nowhere: no frame that works with them has one in a local variable.

    Args:
        keys: each is tried.
        digest: the name of the hash function.
    """

    __slots__ = ("_macs",)
    _macs: tuple[hmac.HMAC, ...]

    def __init__(self, keys: Iterable[bytes], digest: str) -> None:
        self._freeze(_macs=tuple(hmac.new(key, digestmod=digest) for key in keys))

    def of(self, message: bytes) -> Iterator[bytes]:
        """The HMAC of a message under each key."""
        for keyed in self._macs:
            mac = keyed.copy()
            mac.update(message)
            yield mac.digest()


def milliseconds_of(name: str, period: timedelta | None, until: datetime | None) -> int | None:
    """What the other system limits ages by, down to the second; None where it does not.

    Args:
        name: of the option.
        period: 1 second to 100 years, or None.
        until: of the reader, which is to have an end where its cookies have none.

    Raises:
        TypeError: not a ``timedelta``.
        ConfigurationError: out of range; or neither a period nor an end.
    """
    if period is None:
        if until is None:
            raise ConfigurationError(
                f"{name}=None lets an old cookie live for ever, and whoever kept a copy with it: give until= a date, after which "
                "none is read"
            )
        return None
    if not isinstance(period, timedelta):
        raise TypeError(f"{name} must be a datetime.timedelta or None, not {type(period).__name__}; write timedelta(seconds=…)")
    if not _MIN_PERIOD <= period <= _MAX_PERIOD:
        raise ConfigurationError(f"{name} must be from 1 second to 100 years")
    return period // timedelta(seconds=1) * 1000


def check_digest(name: str, digest: str) -> None:
    """Check the name of a hash function.

    Raises:
        ConfigurationError: not one that every Python has.
    """
    known = isinstance(digest, str) and digest in hashlib.algorithms_guaranteed
    if not known or digest.startswith("shake_"):  # a shake has no length of its own
        raise ConfigurationError(f'{name} must be the name of a hash function of hashlib, such as "sha1" or "sha256"')


def bytes_of(name: str, value: str | bytes, *, encoding: str = "utf-8") -> bytes:
    """An option that is no secret, as bytes.

    Raises:
        ConfigurationError: neither ``str`` nor ``bytes``, or not to be encoded.
    """
    if isinstance(value, str):
        try:
            value = value.encode(encoding)
        except UnicodeEncodeError:
            raise ConfigurationError(f"{name} must be text that UTF-8 can carry: write it anew") from None
    if not isinstance(value, bytes):
        raise ConfigurationError(f"{name} must be a str or bytes, not {type(value).__name__}")
    return value


def as_ascii(value: str) -> bytes | None:
    """The bytes of a cookie's value; None where it is no ASCII, or longer than any reader takes."""
    if len(value) > MAX_OLD_CHARS or not value.isascii():
        return None
    return value.encode("ascii")


def decode_base64(text: bytes) -> bytes | None:
    """The bytes of a canonical base64 text with its padding (RFC 4648, 4), or None."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return data if base64.b64encode(data) == text else None  # the decoder takes any bits after the last whole byte


def inflate_zlib(data: bytes) -> bytes | None:
    """The bytes of one whole zlib stream (RFC 1950), at most 64 KiB of them and nothing after it; else None."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, MAX_INFLATED_BYTES + 1)
    except zlib.error:
        return None
    if len(inflated) > MAX_INFLATED_BYTES or not stream.eof or stream.unused_data:
        return None
    return inflated


def decode_payload(payload: bytes) -> bytes | None:
    """What itsdangerous and Django sign: base64url, and, behind a dot, deflated before that; None where it is not that."""
    text = payload.decode("ascii")
    if not text.startswith("."):
        return decode_base64url(text)
    deflated = decode_base64url(text[1:])
    return None if deflated is None else inflate_zlib(deflated)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(data: bytes, *, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """What a JSON text in UTF-8 stands for; None where it is none.

    Args:
        data: the text.
        object_hook: as of ``json.loads``; it raises a ``ValueError`` for what it cannot read.
    """
    try:
        return json.loads(data.decode("utf-8"), object_hook=object_hook, parse_constant=_refuse_constant)
    except ValueError:
        return None
    except RecursionError:  # of the text's own depth; or the application's stack is full, which is for it to know
        if not has_room():
            raise
        return None


def old_session(content: object, *, created: int | None, expires: int | None, now: int) -> OldSession | None:
    """What a reader answers with: None where the content is no plain JSON object, or its time is over or to come.

    Args:
        content: what the cookie held.
        created: when it was made, in milliseconds since 1970, or None.
        expires: when it ends, likewise.
        now: likewise.
    """
    if (created is not None and created > now + MAX_SKEW_MS) or (expires is not None and expires <= now):
        return None
    if type(content) is not dict:
        return None
    return OldSession(content, created, expires) if _STRICT.takes(content) else None
