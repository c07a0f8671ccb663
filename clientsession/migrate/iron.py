"""Cookies of iron-session: seals of the form Fe26.2.

It knows that form and nothing of jars or of our own tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import algorithms

from clientsession._immutable import Immutable
from clientsession._keys import KEY_PREFIX
from clientsession._migration import OldSession, Reader
from clientsession._token import decode_base64url
from clientsession.errors import ConfigurationError
from clientsession.migrate._forms import milliseconds_of, old_session
from clientsession.migrate.node import BLOCK_BYTES, LONGEST_MS, decrypt_cbc, parse_stringified

DEFAULT_TTL: Final = timedelta(days=14)  # iron-session's
_PREFIX: Final = "Fe26.2"
_VERSION: Final = "~2"  # after the seal: the content is the session itself
_PIECES: Final = 8  # of a seal: prefix, password id, salt, iv, ciphertext, end, salt of the mac, mac
_SALT: Final = re.compile(r"[0-9a-f]{64}")  # 256 bits, whose text is what salts
_END: Final = re.compile(r"[1-9][0-9]{0,15}")  # milliseconds since 1970, as JavaScript writes a whole number
_MAX_PASSWORD_ID: Final = 10**16 - 1
_PASSWORD_ID: Final = re.compile(r"0|[1-9][0-9]{0,15}")  # iron-session takes numbers alone
_KEY_BYTES: Final = 32  # of AES-256 and of the HMAC
_ITERATIONS: Final = 1  # PBKDF2 with SHA-1 (RFC 8018): the form's own; a password is to be random
_MIN_PASSWORD_CHARS: Final = 32  # iron-session's, and counted as it counts: in units of UTF-16
_MAX_PASSWORD_CHARS: Final = 4096  # far more than any site has
_MAX_PASSWORDS: Final = 100


def iron_session(
    password: str | Mapping[int, str] | Mapping[str, str],
    *,
    cookie_name: str,
    ttl: timedelta | None = DEFAULT_TTL,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> IronSession:
    """Read the cookies of iron-session.

    Args:
        password: the old site's ``password``: text, or several by their numbers, as ``{1: …, 2: …}``.
        cookie_name: its ``cookieName``. A session that it spread over several cookies is not read.
        ttl: its ``ttl``, by default 14 days; None where it is 0, or ``cookieOptions.maxAge`` is ``undefined``: its seals then
            carry no time, and ``until`` is needed. What counts is the time in each seal.
        path: its ``cookieOptions.path``, so that the old cookie is deleted where it is.
        domain: its ``cookieOptions.domain``, likewise.
        until: from then on nothing is read.

    Returns:
        The reader.

    Raises:
        ConfigurationError: a password or number that iron-session would refuse too; a cookie name that no browser keeps; a
            ``ttl`` out of range, or None without ``until``.
        TypeError: ``ttl`` is no ``timedelta``.
    """
    passwords = _Passwords(password)
    del password  # from here on there are errors, whose tracebacks show this frame
    passwords.check()
    timed = milliseconds_of("ttl", ttl, until) is not None
    return IronSession(passwords, timed, cookie_name=cookie_name, path=path, domain=domain, until=until)


class IronSession(Reader):
    """The cookies of iron-session; made by :func:`iron_session`.

    A cookie is ``Fe26.2*id*salt*iv*ciphertext*end*salt*mac~2``: AES-256-CBC and HMAC-SHA256 with keys from the password. It ends
    when the seal says; when the session began it does not tell. Content is JSON's own types, with numbers and broken text as
    :class:`NodeClientSessions` has them.
    """

    _passwords: _Passwords
    _timed: bool

    def __init__(
        self, passwords: _Passwords, timed: bool, *, cookie_name: str, path: str, domain: str | None, until: datetime | None
    ) -> None:
        super().__init__(cookie_name, path=path, domain=domain, until=until)
        self._freeze(_passwords=passwords, _timed=timed)

    def read(self, value: str, now: int) -> OldSession | None:
        """The session of a cookie, with the end it was sealed with; see :meth:`Reader.read`.

        An end of more than 400 days from now is moved there: no browser keeps a cookie longer. iron-session bears with a seal for a
        minute past its end, of which browsers make no use: they drop its cookie a minute before.
        """
        if not value.endswith(_VERSION):
            return None
        signed, _, digest = value[: -len(_VERSION)].rpartition("*")
        pieces = signed.split("*", _PIECES)
        if len(pieces) != _PIECES - 1:
            return None
        prefix, password_id, salt, iv_text, ciphertext_text, end, mac_salt = pieces
        iv, ciphertext, mac = (decode_base64url(piece) for piece in (iv_text, ciphertext_text, digest))
        if (
            prefix != _PREFIX
            or password_id not in self._passwords.by_id
            or not _SALT.fullmatch(salt)
            or not _SALT.fullmatch(mac_salt)
        ):
            return None
        if iv is None or ciphertext is None or mac is None or len(iv) != BLOCK_BYTES:
            return None
        if not (_END.fullmatch(end) or (end == "" and not self._timed)):
            return None
        # The mac is over all before its own salt.
        message = signed.rpartition("*")[0].encode("ascii")
        if not hmac.compare_digest(mac, self._passwords.mac(password_id, mac_salt, message)):
            return None
        expires = min(int(end), now + LONGEST_MS) if end else None
        plaintext = decrypt_cbc(self._passwords.aes(password_id, salt), iv, ciphertext)
        content: Any = None if plaintext is None else parse_stringified(plaintext)
        return old_session(content, created=None, expires=expires, now=now)


class _Passwords(Immutable):
    """Passwords by number. Making them raises nothing, so that the caller can drop its own name for them first.

    Nor has a frame that works with one it, or a key made from it, in a local variable.
    """

    __slots__ = ("_problem", "by_id")
    _problem: str | None
    by_id: dict[str, bytes]

    def __init__(self, password: object) -> None:
        by_id: dict[str, bytes] = {}
        problem = None
        given = password if isinstance(password, Mapping) else {1: password}
        if not 1 <= len(given) <= _MAX_PASSWORDS:
            problem = f"password must have 1 to {_MAX_PASSWORDS} entries, as {{1: …, 2: …}}"
        for number, text in given.items():
            if problem is not None:
                break
            is_number = type(number) is int and 0 <= number <= _MAX_PASSWORD_ID
            password_id = str(number) if is_number else number
            if not isinstance(password_id, str) or not _PASSWORD_ID.fullmatch(password_id) or password_id in by_id:
                problem = "password must have whole numbers for keys, each once, as {1: …, 2: …}"
                break
            problem = _problem(text)
            by_id[password_id] = b"" if problem else str(text).encode()
        self._freeze(by_id=by_id, _problem=problem)

    def mac(self, password_id: str, salt: str, message: bytes) -> bytes:
        """The HMAC of a message with the key that a password and a salt make."""
        return hmac.digest(self._key(password_id, salt), message, "sha256")

    def aes(self, password_id: str, salt: str) -> algorithms.AES:
        """AES with the key that a password and a salt make."""
        return algorithms.AES(self._key(password_id, salt))

    def _key(self, password_id: str, salt: str) -> bytes:
        return hashlib.pbkdf2_hmac("sha1", self.by_id[password_id], salt.encode("ascii"), _ITERATIONS, _KEY_BYTES)

    def check(self) -> None:
        """Tell what is wrong.

        Raises:
            ConfigurationError: see :func:`iron_session`.
        """
        if self._problem is not None:
            raise ConfigurationError(self._problem)


def _problem(password: object) -> str | None:
    """What is wrong with a password, without any of it."""
    if not isinstance(password, str):
        return f"a password must be a str, not {type(password).__name__}: give the old site's own, or several as {{1: …, 2: …}}"
    try:
        units = len(password.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return "a password must be text that UTF-8 can carry: write it anew"
    if password.startswith(KEY_PREFIX):
        return f"a password is a key of this library ({KEY_PREFIX}…): give the old site's own"
    if not _MIN_PASSWORD_CHARS <= units <= _MAX_PASSWORD_CHARS:
        return f"a password must have {_MIN_PASSWORD_CHARS} to {_MAX_PASSWORD_CHARS:,} characters: give the old site's own"
    return None
