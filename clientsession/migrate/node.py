"""Cookies of Node's client-sessions: read, and written too for a site that moves in stages.

It knows that form and what ``JSON.stringify`` writes, and nothing of jars or of our own tokens.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from clientsession._cookies import MAX_COOKIE_BYTES
from clientsession._immutable import Immutable
from clientsession._json import MAX_INT, MIN_INT, StrictJSON, has_room, shown_key
from clientsession._migration import OldSession, Reader
from clientsession._session import DEFAULT_DURATION, MAX_DURATION, check_duration, read_clock
from clientsession._token import decode_base64url, encode_base64url
from clientsession.errors import ConfigurationError, SerializationError, SessionTooLargeError
from clientsession.migrate._forms import MAX_SKEW_MS, Macs, Secrets, old_session

BLOCK_BYTES: Final = 16  # of AES (FIPS 197)
LONGEST_MS: Final = MAX_DURATION // timedelta(milliseconds=1)
_PIECES: Final = 5  # of a cookie: iv, ciphertext, createdAt, duration, mac
_MAX_KEY_BYTES: Final = 4096  # far more than any hash makes use of
_FROM_SECRET_BYTES: Final = 32  # of each key that is made from the secret
_LARGEST_KEYS_SHOWN: Final = 5
_MAX_PATH_CHARS: Final = 200  # of a path in a message
_MAX_JS_INT: Final = (1 << 53) - 1  # Number.MAX_SAFE_INTEGER: beyond it JavaScript rounds
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# What JavaScript writes for a whole number, up to the last that it holds exactly: one spelling of each, in ASCII.
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")

_KEY_BYTES: Final = {"aes128": 16, "aes192": 24, "aes256": 32}  # all in CBC mode


@dataclass(frozen=True, slots=True)
class _Signature:
    """A signature algorithm: the hash of the HMAC; and in bytes the shortest key, and what is kept of the MAC."""

    hash: str
    shortest_key: int
    kept: int


_SIGNATURES: Final = {
    "sha256": _Signature("sha256", 32, 32),
    "sha256-drop128": _Signature("sha256", 32, 16),
    "sha384": _Signature("sha384", 48, 48),
    "sha384-drop192": _Signature("sha384", 48, 24),
    "sha512": _Signature("sha512", 64, 64),
    "sha512-drop256": _Signature("sha512", 64, 32),
}


def node_client_sessions(
    secret: str | bytes | None = None,
    *,
    cookie_name: str = "session_state",
    encryption_key: bytes | None = None,
    signature_key: bytes | None = None,
    encryption_algorithm: str = "aes256",
    signature_algorithm: str = "sha256",
    active_duration: timedelta = timedelta(minutes=5),
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> NodeClientSessions:
    """Read and write the cookies of Node's client-sessions. The defaults are its own.

    Args:
        secret: the old site's ``secret``.
        cookie_name: its ``cookieName``.
        encryption_key: its ``encryptionKey``; without it, one is made from the secret.
        signature_key: its ``signatureKey``, likewise.
        encryption_algorithm: ``"aes128"``, ``"aes192"`` or ``"aes256"``.
        signature_algorithm: ``"sha256"``, ``"sha256-drop128"``, ``"sha384"``, ``"sha384-drop192"``, ``"sha512"`` or
            ``"sha512-drop256"``.
        active_duration: its ``activeDuration``, 0 to 400 days.
        path: its ``cookie.path``, so that the old cookie is deleted where it is.
        domain: its ``cookie.domain``, likewise.
        until: from then on nothing is read.

    Returns:
        The reader; its ``encode`` writes such cookies.

    Raises:
        ConfigurationError: neither a secret nor both keys; an algorithm, key or cookie name that the old system would refuse too.
        TypeError: ``active_duration`` is no ``timedelta``.
    """
    keys = _Keys(secret, encryption_key, signature_key, encryption_algorithm, signature_algorithm)
    del secret, encryption_key, signature_key  # from here on there are errors, whose tracebacks show this frame
    keys.check()
    if not isinstance(active_duration, timedelta):
        raise TypeError(f"active_duration must be a datetime.timedelta, not {type(active_duration).__name__}; write timedelta(…)")
    if not timedelta(0) <= active_duration <= MAX_DURATION:
        raise ConfigurationError("active_duration must be from 0 to 400 days")
    return NodeClientSessions(
        keys,
        _SIGNATURES[signature_algorithm],
        active_duration // timedelta(milliseconds=1),
        cookie_name=cookie_name,
        path=path,
        domain=domain,
        until=until,
    )


class NodeClientSessions(Reader):
    """The cookies of Node's client-sessions; made by :func:`node_client_sessions`.

    A cookie is ``iv.ciphertext.createdAt.duration.mac``: base64url in its one canonical spelling, times in milliseconds, and the
    HMAC over all before it. The name of the cookie is encrypted before the JSON. Content is JSON's own types; a whole number beyond
    64 bits becomes a float, which it was in JavaScript; half of a surrogate pair becomes U+FFFD, as where JavaScript writes UTF-8.
    """

    _keys: _Keys
    _signature: _Signature
    _active_ms: int

    def __init__(
        self,
        keys: _Keys,
        signature: _Signature,
        active_ms: int,
        *,
        cookie_name: str,
        path: str,
        domain: str | None,
        until: datetime | None,
    ) -> None:
        super().__init__(cookie_name, path=path, domain=domain, until=until)
        self._freeze(_keys=keys, _signature=signature, _active_ms=active_ms)

    def read(self, value: str, now: int) -> OldSession | None:
        """The session of a cookie, with the times it was sealed with; see :meth:`Reader.read`.

        An end of more than 400 days from now is moved there: no browser keeps a cookie longer.
        """
        pieces = value.split(".", _PIECES)
        if len(pieces) != _PIECES:
            return None
        iv, ciphertext, mac = (decode_base64url(piece) for piece in (pieces[0], pieces[1], pieces[4]))
        if iv is None or ciphertext is None or mac is None or len(iv) != BLOCK_BYTES:
            return None
        if not all(_NUMBER.fullmatch(piece) for piece in pieces[2:4]):
            return None
        if not hmac.compare_digest(mac, self._mac(iv, ciphertext, pieces[2], pieces[3])):
            return None
        created, duration = int(pieces[2]), int(pieces[3])
        # An active user's createdAt is moved on by activeDuration whenever less than that is left, and may so be later than now.
        if created > now + MAX_SKEW_MS + max(0, 2 * self._active_ms - duration):
            return None
        plaintext = decrypt_cbc(self._keys.aes, iv, ciphertext)
        prefix = self._prefix
        if plaintext is None or not plaintext.startswith(prefix):
            return None
        expires = min(created + duration, now + LONGEST_MS)
        return old_session(parse_stringified(plaintext[len(prefix) :]), created=min(created, now), expires=expires, now=now)

    def encode(self, content: Mapping[str, Any], *, created: datetime | None = None, duration: timedelta = DEFAULT_DURATION) -> str:
        """Write a cookie in the old form, for a site of which Node still serves a part.

        Args:
            content: a session. JavaScript has one kind of number: what went there as ``1.0`` comes back as ``1``.
            created: when it began, aware; by default now. Of one that was read, its own, so that it does not live longer.
            duration: from then to its end, 1 second to 400 days.

        Returns:
            The value of the cookie.

        Raises:
            SerializationError: something in it would not be read back as it is; names the path.
            SessionTooLargeError: the cookie would have more than 4,096 bytes, name and value.
            ConfigurationError: a duration out of range, or a beginning without a time zone or before 1970.
            TypeError: content that is no mapping, or a duration that is no ``timedelta``.
        """
        if not isinstance(content, Mapping):
            raise TypeError(f"a session's content is a mapping, not {type(content).__name__}")
        duration_ms = check_duration("duration", duration)
        if created is None:
            created_ms = read_clock(time.time)
        elif not isinstance(created, datetime) or created.utcoffset() is None or created < _EPOCH:
            raise ConfigurationError(
                "created must be a datetime since 1970 with a time zone: write datetime(2027, 1, 1, tzinfo=UTC)"
            )
        else:
            created_ms = (created - _EPOCH) // timedelta(milliseconds=1)
        plain = dict(content)
        body = _STRICT.dumps(plain)
        beyond = next(_beyond_javascript(plain, ""), None)
        if beyond is not None:
            raise SerializationError(
                f"{beyond[:_MAX_PATH_CHARS].removeprefix('.')} is an int beyond 53 bits, which JavaScript rounds; store it as text"
            )
        iv = os.urandom(BLOCK_BYTES)
        ciphertext = _encrypt_cbc(self._keys.aes, iv, self._prefix + body)
        times = str(created_ms), str(duration_ms)
        mac = self._mac(iv, ciphertext, *times)
        value = ".".join((encode_base64url(iv), encode_base64url(ciphertext), *times, encode_base64url(mac)))
        size = len(self.cookie_name) + len(value)
        if size > MAX_COOKIE_BYTES:
            sizes = [(shown_key(key), len(_STRICT.dumps({key: item})) - len(b"{}")) for key, item in plain.items()]
            largest = tuple(sorted(sizes, key=lambda entry: -entry[1])[:_LARGEST_KEYS_SHOWN])
            raise SessionTooLargeError(self.cookie_name, size, MAX_COOKIE_BYTES, largest)
        return value

    @property
    def _prefix(self) -> bytes:
        """What stands before the JSON, and so binds a cookie to its name."""
        return f"{self.cookie_name}=".encode()

    def _mac(self, iv: bytes, ciphertext: bytes, created: str, duration: str) -> bytes:
        message = b".".join((iv, ciphertext, created.encode(), duration.encode()))
        return next(self._keys.macs.of(message))[: self._signature.kept]


class _Keys(Immutable):
    """The two keys. Making them raises nothing, so that the caller can drop its own names for what they are made from first."""

    __slots__ = ("_problem", "aes", "macs")
    _problem: str | None
    aes: algorithms.AES
    macs: Macs

    def __init__(
        self, secret: object, encryption_key: object, signature_key: object, encryption: object, signature: object
    ) -> None:
        master, problem = b"", None
        if secret is not None:
            given = Secrets(secret, name="secret")
            try:
                given.check()
                master = given.values[0]
            except ConfigurationError as error:
                problem = str(error)
        elif encryption_key is None or signature_key is None:
            problem = "give the old site's secret, or both its encryption_key= and its signature_key="
        if encryption_key is None:
            encryption_key = hmac.digest(master, b"cookiesession-encryption", "sha256")
        if signature_key is None:
            signature_key = hmac.digest(master, b"cookiesession-signature", "sha256")
        if problem is None:
            problem = _problem(encryption_key, signature_key, encryption, signature)
        self._freeze(_problem=problem)
        if problem is None and isinstance(encryption_key, bytes) and isinstance(signature_key, bytes):
            macs = Macs((signature_key,), _SIGNATURES[str(signature)].hash)
            self._freeze(aes=algorithms.AES(encryption_key), macs=macs)

    def check(self) -> None:
        """Tell what is wrong.

        Raises:
            ConfigurationError: see :func:`node_client_sessions`.
        """
        if self._problem is not None:
            raise ConfigurationError(self._problem)


def _problem(encryption_key: object, signature_key: object, encryption: object, signature: object) -> str | None:
    """What the old system would refuse as well, without any of the keys."""
    if not isinstance(encryption, str) or encryption not in _KEY_BYTES:
        return f"encryption_algorithm must be one of {', '.join(_KEY_BYTES)}"
    if not isinstance(signature, str) or signature not in _SIGNATURES:
        return f"signature_algorithm must be one of {', '.join(_SIGNATURES)}"
    if not isinstance(encryption_key, bytes) or not isinstance(signature_key, bytes):
        return "encryption_key and signature_key must be bytes: decode the old site's text as it does, with bytes.fromhex or so"
    made = f"one made from the secret has {_FROM_SECRET_BYTES}, so that others are to be given"
    wanted = _KEY_BYTES[encryption]
    if len(encryption_key) != wanted:
        return f"encryption_key must have exactly {wanted} bytes for {encryption}; {made}"
    shortest = _SIGNATURES[signature].shortest_key
    if not shortest <= len(signature_key) <= _MAX_KEY_BYTES:
        return f"signature_key must have {shortest} to {_MAX_KEY_BYTES:,} bytes for {signature}; {made}"
    if encryption_key == signature_key:
        return "encryption_key and signature_key must differ: give the old site's own two"
    return None


# What iron-session's cookies have in common with these


def decrypt_cbc(aes: algorithms.AES, iv: bytes, ciphertext: bytes) -> bytes | None:
    """The plaintext of AES-CBC with PKCS #7 padding (RFC 5652, 6.3), or None; for what is authentic, since an answer tells of it.

    Args:
        aes: with its key.
        iv: 16 bytes.
        ciphertext: of any length.
    """
    if not ciphertext or len(ciphertext) % BLOCK_BYTES:
        return None
    decryptor = Cipher(aes, modes.CBC(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= BLOCK_BYTES or not padded.endswith(bytes((count,)) * count):
        return None
    return padded[:-count]


def _encrypt_cbc(aes: algorithms.AES, iv: bytes, plaintext: bytes) -> bytes:
    count = BLOCK_BYTES - len(plaintext) % BLOCK_BYTES
    encryptor = Cipher(aes, modes.CBC(iv)).encryptor()
    return encryptor.update(plaintext + bytes((count,)) * count) + encryptor.finalize()


def parse_stringified(body: bytes) -> Any:
    """What ``JSON.stringify`` wrote, in Python's types; None where it is no JSON. NaN, which that never writes, comes through.

    Args:
        body: the text, in UTF-8.
    """
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
        if "\\ud" in text:  # how half of a surrogate pair is written, and nothing else
            value = _DECODER.decode(_mended(json.dumps(value, ensure_ascii=False)))
    except ValueError:
        return None
    except RecursionError:  # of the text's own depth; or the application's stack is full, which is for it to know
        if not has_room():
            raise
        return None
    return value


def _mended(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole(text: str) -> int | float:
    """A whole number; one beyond 64 bits as the float that it was in JavaScript."""
    number = int(text)
    return number if MIN_INT <= number <= MAX_INT else float(text)


def _beyond_javascript(value: Any, path: str) -> Iterator[str]:
    """The paths of ints that JavaScript would round; of a value that is strict JSON, and so of few levels."""
    if type(value) is int and abs(value) > _MAX_JS_INT:
        yield path
    elif type(value) is dict:
        for key, item in value.items():
            step = f".{key}" if key.isidentifier() else f"[{shown_key(key)}]"
            yield from _beyond_javascript(item, path + step)
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from _beyond_javascript(item, f"{path}[{index}]")


_STRICT: Final = StrictJSON()
_DECODER: Final = json.JSONDecoder(parse_int=_whole)
