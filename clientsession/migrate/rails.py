"""Reader for sessions of Rails 7: encrypted cookies of its ``:json`` serializer.

It knows the form of ``ActiveSupport::MessageEncryptor`` and of the envelope around a cookie. What Ruby's Marshal wrote is refused:
loading it runs code.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clientsession._migration import OldSession, Reader
from clientsession.errors import ConfigurationError
from clientsession.migrate._forms import Secrets, as_ascii, decode_base64, old_session, parse_json

DEFAULT_SALT: Final = "authenticated encrypted cookie"  # config.action_dispatch.authenticated_encrypted_cookie_salt
_ITERATIONS: Final = 1000  # of PBKDF2, fixed in Rails.application.key_generator; a secret_key_base is random, no password
_KEY_BYTES: Final = 32
_IV_BYTES: Final = 12
_TAG_BYTES: Final = 16
_DIGESTS: Final = ("sha256", "sha1")
_MARSHAL: Final = b"\x04\x08"  # the version of Ruby's Marshal, its first two bytes
_EXPIRY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _RailsReader(Reader):
    """Reads AES-256-GCM around an envelope around a JSON object."""

    _cipher: AESGCM

    def read(self, value: str, now: int) -> OldSession | None:
        parts = _parts(value)
        if parts is None:
            return None
        ciphertext, iv, tag = parts
        try:
            envelope = parse_json(self._cipher.decrypt(iv, ciphertext + tag, None))
        except InvalidTag:
            return None
        return self._session(envelope, now)

    def _session(self, envelope: Any, now: int) -> OldSession | None:
        if type(envelope) is not dict or set(envelope) != {"_rails"} or type(envelope["_rails"]) is not dict:
            return None
        fields = envelope["_rails"]
        # A cookie of another name, whose content may be of the user's choice, is sealed with the same key.
        if set(fields) != {"message", "exp", "pur"} or fields["pur"] != f"cookie.{self.cookie_name}":
            return None
        text = as_ascii(fields["message"]) if isinstance(fields["message"], str) else None
        message = None if text is None else decode_base64(text)
        if message is None or message.startswith(_MARSHAL):
            return None
        expires = None
        if fields["exp"] is not None:
            expires = _milliseconds(fields["exp"])
            if expires is None:
                return None
        return old_session(parse_json(message), created=None, expires=expires, now=now)


def rails(
    secret_key_base: str | bytes,
    *,
    cookie_name: str,
    digest: str = "sha256",
    salt: str = DEFAULT_SALT,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """Sessions of Rails 7's cookie store: AES-256-GCM, ``config.action_dispatch.cookies_serializer = :json``.

    They must carry their purpose, as they do by default since Rails 6.0 (``use_cookies_with_metadata``). A session ends when its
    cookie says, where ``expire_after`` is set; else it says nothing, so that a date is needed. ``session_id``, ``_csrf_token``
    and all else in it stay as they are.

    Args:
        secret_key_base: of the application. For one that was rotated out, give the jar another reader.
        cookie_name: the ``key`` of the session store, such as ``"_shop_session"``; it is bound into the seal.
        digest: ``"sha256"`` with ``load_defaults 7.0`` or later; ``"sha1"`` with those of before
            (``config.active_support.key_generator_hash_digest_class``).
        salt: ``config.action_dispatch.authenticated_encrypted_cookie_salt``.
        path: where the cookie lives, for its deletion.
        domain: likewise; None, the host alone.
        until: from then on none is read; an aware ``datetime``. It is needed.

    Raises:
        ConfigurationError: an argument out of range, or no ``until``. The message shows no secret.
    """
    secrets = Secrets(secret_key_base, name="secret_key_base")
    del secret_key_base
    secrets.check()
    if digest not in _DIGESTS:
        raise ConfigurationError('digest must be "sha256", or "sha1" for an application with the defaults of Rails 6 or earlier')
    if not isinstance(salt, str) or not salt.isascii() or not salt:
        raise ConfigurationError("salt must be ASCII text: give config.action_dispatch.authenticated_encrypted_cookie_salt")
    if until is None:
        raise ConfigurationError(
            "Rails seals no end into a session unless expire_after is set, and whoever kept a cookie could use it for ever: give "
            "until= a date, after which none is read"
        )
    reader = _RailsReader(cookie_name, path=path, domain=domain, until=until)
    reader._freeze(_cipher=_cipher(secrets, digest, salt))
    return reader


def _cipher(secrets: Secrets, digest: str, salt: str) -> AESGCM:
    """AES-256-GCM with the key that ``ActiveSupport::KeyGenerator`` makes: PBKDF2 with HMAC (RFC 8018, 5.2)."""
    return AESGCM(hashlib.pbkdf2_hmac(digest, secrets.values[0], salt.encode(), _ITERATIONS, _KEY_BYTES))


def _parts(value: str) -> tuple[bytes, bytes, bytes] | None:
    """Ciphertext, IV and tag of a cookie's value, in its one spelling; else None."""
    text = as_ascii(value)
    if text is None or any(char in text for char in b"+/="):  # Rack escapes these
        return None
    text = text.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
    parts = [decode_base64(part) for part in text.split(b"--", 3)]
    match parts:
        case [bytes() as ciphertext, bytes() as iv, bytes() as tag] if len(iv) == _IV_BYTES and len(tag) == _TAG_BYTES:
            return ciphertext, iv, tag
    return None


def _milliseconds(text: object) -> int | None:
    """The milliseconds since 1970 of a time as Rails writes it (ISO 8601, UTC, to the millisecond), or None."""
    if not isinstance(text, str) or not _EXPIRY.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
    except ValueError:  # a thirteenth month
        return None
