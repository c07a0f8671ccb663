"""Readers for sessions that other Python systems encrypt: Fernet, aiohttp_session and Litestar.

It knows their forms alone; what opens a cookie is the library cryptography, as there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clientsession._migration import OldSession, Reader
from clientsession.errors import ConfigurationError
from clientsession.migrate._forms import Secrets, as_ascii, decode_base64, milliseconds_of, old_session, parse_json

_MAX_FERNET_KEYS: Final = 17  # each is tried, so that this bounds the work for a forged cookie
_AIOHTTP_KEY_BYTES: Final = 32
_LITESTAR_KEY_BYTES: Final = frozenset({16, 24, 32})
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LITESTAR_MARK: Final = b"additional_authenticated_data="
_LITESTAR_STAMP: Final = re.compile(rb'\{"expires_at":([1-9][0-9]{0,11})\}')


class _FernetReader(Reader):
    """Reads Fernet tokens around a JSON object."""

    _fernets: tuple[Fernet, ...]
    _max_age_ms: int | None

    def read(self, value: str, now: int) -> OldSession | None:
        text = as_ascii(_unquoted(value))
        data = None if text is None else _decode_padded_base64url(text)
        if text is None or data is None:
            return None
        for fernet in self._fernets:
            try:
                body = fernet.decrypt(text)
            except InvalidToken:
                continue
            content, created = self._unpacked(parse_json(body), int.from_bytes(data[1:9], "big"))
            # Fernet compares whole seconds, and takes a token until the last of them is over.
            expires = None if self._max_age_ms is None else created * 1000 + self._max_age_ms + 1000
            return old_session(content, created=created * 1000, expires=expires, now=now)
        return None

    def _unpacked(self, body: Any, stamped: int) -> tuple[Any, int]:
        """The content in what was sealed, and since when it counts, in seconds."""
        return body, stamped


class _AiohttpReader(_FernetReader):
    """Reads those of aiohttp_session, which have a time of their own inside: of the last change at the top level."""

    def _unpacked(self, body: Any, stamped: int) -> tuple[Any, int]:
        if type(body) is not dict or set(body) != {"created", "session"} or type(body["created"]) is not int:
            return None, stamped
        return body["session"], min(body["created"], stamped)  # both are held against max_age there


class _LitestarReader(Reader):
    """Reads AES-GCM around a JSON object, with the time it ends beside it, which is authenticated too."""

    may_look_like_ours = True  # of the shortest sessions one in thousands has no "+", "/" or "=", and random bytes stand first
    _cipher: AESGCM

    def read(self, value: str, now: int) -> OldSession | None:
        text = as_ascii(_unquoted(value))
        data = None if text is None else decode_base64(text)
        if data is None:
            return None
        sealed, mark, stamp = data.rpartition(_LITESTAR_MARK)
        if not mark or len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            return None
        try:
            body = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], stamp)
        except InvalidTag:
            return None
        expires = _LITESTAR_STAMP.fullmatch(stamp)
        if expires is None:
            return None
        return old_session(parse_json(body), created=None, expires=int(expires[1]) * 1000, now=now)


def fernet(
    key: str | bytes | Sequence[str | bytes],
    *,
    cookie_name: str,
    max_age: timedelta | None,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """Cookies that are Fernet tokens around a JSON object, as applications of all kinds make them.

    A session began when its token was made. aiohttp_session's cookies are such tokens too: for those take that reader, and where
    both stand in one list, put it first.

    Args:
        key: as for ``cryptography.fernet.Fernet``: 32 bytes in base64url; or a list of them, as for ``MultiFernet``, 17 at most.
        cookie_name: what the cookie is called.
        max_age: the ``ttl`` it was decrypted with; None where there was none.
        path: where the cookie lives, for its deletion.
        domain: likewise; None, the host alone.
        until: from then on none is read; an aware ``datetime``. It is needed where ``max_age`` is None.

    Raises:
        ConfigurationError: an argument out of range, or neither ``max_age`` nor ``until``. The message shows no key.
        TypeError: ``max_age`` is no ``timedelta``.
    """
    fernets = _fernets(key)
    del key
    if fernets is None:
        raise ConfigurationError(
            "key must be a Fernet key, 32 bytes in base64url (44 characters), or a list of 1 to 17 of them: give what Fernet was "
            "given"
        )
    max_age_ms = milliseconds_of("max_age", max_age, until)
    reader = _FernetReader(cookie_name, path=path, domain=domain, until=until)
    reader._freeze(_fernets=fernets, _max_age_ms=max_age_ms)
    return reader


def aiohttp_session(
    key: str | bytes,
    *,
    cookie_name: str = "AIOHTTP_SESSION",
    max_age: timedelta | None,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """Sessions of aiohttp_session's ``EncryptedCookieStorage``, with its own JSON encoder.

    A session began at ``session.created``, which moves on with each change there.

    Args:
        key: its ``secret_key``: 32 bytes, or the same in base64url as text.
        cookie_name: its ``cookie_name``.
        max_age: its ``max_age``; None where it has none.
        path: where the cookie lives, for its deletion.
        domain: likewise; None, the host alone.
        until: from then on none is read; an aware ``datetime``. It is needed where ``max_age`` is None.

    Raises:
        ConfigurationError: an argument out of range, or neither ``max_age`` nor ``until``. The message shows no key.
        TypeError: ``max_age`` is no ``timedelta``.
    """
    if isinstance(key, (bytes, bytearray)):
        key = base64.urlsafe_b64encode(key) if len(key) == _AIOHTTP_KEY_BYTES else b""
    fernets = _fernets((key,))
    del key
    if fernets is None:
        raise ConfigurationError(
            "key must be 32 bytes, or the same in base64url as text (44 characters): give EncryptedCookieStorage's secret_key"
        )
    max_age_ms = milliseconds_of("max_age", max_age, until)
    reader = _AiohttpReader(cookie_name, path=path, domain=domain, until=until)
    reader._freeze(_fernets=fernets, _max_age_ms=max_age_ms)
    return reader


def litestar(
    secret: bytes | str,
    *,
    cookie_name: str = "session",
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """Sessions of Litestar's ``CookieBackendConfig``, of its own serializer: what it wrote as JSON is what is read.

    A session ends when its cookie says. One over 4,032 characters is split over several cookies there (``session-0``,
    ``session-1`` …), and is not read: most of those would not fit one cookie here either.

    Args:
        secret: its ``secret``: 16, 24 or 32 bytes; text stands for its UTF-8.
        cookie_name: its ``key``.
        path: where the cookie lives, for its deletion.
        domain: likewise; None, the host alone.
        until: from then on none is read; an aware ``datetime``. None: no end.

    Raises:
        ConfigurationError: an argument out of range. The message shows no secret.
    """
    secrets = Secrets(secret, name="secret")
    del secret
    secrets.check()
    if len(secrets.values[0]) not in _LITESTAR_KEY_BYTES:
        raise ConfigurationError("secret must have 16, 24 or 32 bytes: give CookieBackendConfig's secret")
    reader = _LitestarReader(cookie_name, path=path, domain=domain, until=until)
    reader._freeze(_cipher=AESGCM(secrets.values[0]))
    return reader


def _fernets(keys: object) -> tuple[Fernet, ...] | None:
    """One for each key, or None where something is no key; it raises nothing, and so shows none."""
    keys = (keys,) if isinstance(keys, (str, bytes)) else keys
    if not isinstance(keys, (list, tuple)) or not 1 <= len(keys) <= _MAX_FERNET_KEYS:
        return None
    fernets = []
    for key in keys:
        if not isinstance(key, (str, bytes)):
            return None
        try:
            fernets.append(Fernet(key))
        except ValueError:
            return None
    return tuple(fernets)


def _unquoted(value: str) -> str:
    """A value without the quotes that ``http.cookies`` puts around one with ``=`` or ``/``, and browsers keep."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _decode_padded_base64url(text: bytes) -> bytes | None:
    """The bytes of a canonical base64url text with its padding (RFC 4648, 5), or None."""
    try:
        data = base64.urlsafe_b64decode(text)
    except binascii.Error:
        return None
    return data if base64.urlsafe_b64encode(data) == text else None  # the decoder skips what is not of the alphabet
