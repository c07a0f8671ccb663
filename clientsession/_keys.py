"""Key: a secret, its suite and its id.

It knows how everything is derived from a secret (docs/SPEC.md) and nothing of rings, sessions, times, cookies or files. No function
here raises while a local variable of its frame holds a secret, so that a traceback with captured locals shows none.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from nacl import pwhash
from nacl.exceptions import RuntimeError as NaClRuntimeError

from clientsession._ciphers import KEY_BYTES, Cipher, Suite, new_cipher
from clientsession._immutable import Immutable
from clientsession._token import KEY_ID_BYTES, decode_base64url, encode_base64url
from clientsession.errors import ConfigurationError

KEY_PREFIX: Final = "csk1_"
_KEY_BODY: Final = re.compile(r"[A-Za-z0-9_-]+")  # what stands between the slashes and dots of a path
KEY_AS_NAME: Final = f"the text of a key ({KEY_PREFIX}…) stands where a name belongs, and names are shown: it goes into Key.parse"
_CHECKSUM_BYTES: Final = 4
_EXTRACT_SALT: Final = b"clientsession/v1"
_MIN_SECRET_BYTES: Final = 32
_MAX_SECRET_BYTES: Final = 1024
_MIN_DISTINCT_BYTES: Final = 10  # 32 random bytes have fewer once in 10^23; "changeme" repeated has 7
_MIN_PASSPHRASE_CHARS: Final = 8  # NIST SP 800-63B, 5.1.1.1: the least for a secret a person remembers
_MAX_PASSPHRASE_CHARS: Final = 1024
_SALT_BYTES: Final = 16
_ARGON2_PASSES: Final = 3  # RFC 9106, 4: the second recommended option, for 64 MiB
_ARGON2_MEMORY_BYTES: Final = 64 * 1024 * 1024

HOW_TO_MAKE: Final = "Make a key with `clientsession keygen`"


def pae(*pieces: bytes) -> bytes:
    """PASETO's pre-authentication encoding: the pieces with their number and lengths, so that no two lists look alike."""
    out = [len(pieces).to_bytes(8, "little")]
    for piece in pieces:
        out += (len(piece).to_bytes(8, "little"), piece)
    return b"".join(out)


def extract(salt: bytes, secret: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869, 2.2), which is one HMAC."""
    return hmac.digest(salt, secret, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869, 2.3)."""
    return HKDFExpand(SHA256(), length, info).derive(prk)


def _checksum(suite: int, secret: bytes) -> bytes:
    return hashlib.sha256(KEY_PREFIX.encode() + bytes((suite,)) + secret).digest()[:_CHECKSUM_BYTES]


def _secret_problem(secret: bytes) -> str | None:
    """What is wrong with a secret, without any of it."""
    if len(secret) < _MIN_SECRET_BYTES:
        return f"the secret has {len(secret)} bytes and must have {_MIN_SECRET_BYTES} or more. {HOW_TO_MAKE}"
    if len(secret) > _MAX_SECRET_BYTES:
        return f"the secret has {len(secret):,} bytes and must have at most {_MAX_SECRET_BYTES:,}"
    if len(set(secret)) < _MIN_DISTINCT_BYTES:
        return f"the secret repeats a few bytes over and over and can be guessed. {HOW_TO_MAKE}"
    if KEY_PREFIX.encode() in secret[:16]:  # quotes or white space may have come along
        return f"this is an exported key ({KEY_PREFIX}…), not a secret: give it to Key.parse"
    return None


def holds_key(*texts: object) -> bool:
    """Whether the text of a key stands in one of some texts, also one that lost its prefix: its checksum tells it from a name."""
    decoded = [text.decode("latin-1") if isinstance(text, bytes) else text for text in texts]
    return any(KEY_PREFIX in text or any(map(_is_key_body, _KEY_BODY.findall(text))) for text in decoded if isinstance(text, str))


def _is_key_body(text: str) -> bool:
    return _text_problem(KEY_PREFIX + text) is None


def _text_problem(text: object) -> str | None:
    """What is wrong with the text of a key, without any of it."""
    if not isinstance(text, str):
        return f"Key.parse takes the text of a key ({KEY_PREFIX}…), not {type(text).__name__}"
    if not text.startswith(KEY_PREFIX):
        return f"this is not the text of a key: it must start with {KEY_PREFIX} and nothing may stand before it. {HOW_TO_MAKE}"
    if text != text.strip():
        return "white space follows the text of the key: remove it"
    if len(text) > 2 * _MAX_SECRET_BYTES:
        return "the text of the key is far too long"
    data = decode_base64url(text[len(KEY_PREFIX) :])
    if data is None or len(data) < 1 + _CHECKSUM_BYTES:
        return "the text of the key has a wrong character or was cut; copy it again, whole"
    if not hmac.compare_digest(_checksum(data[0], data[1:-_CHECKSUM_BYTES]), data[-_CHECKSUM_BYTES:]):
        return "the checksum of the key does not fit: it has a typo or was cut; copy it again, whole"
    if data[0] not in set(Suite):
        return f"the key is of suite {data[0]}, which this version of clientsession does not know; upgrade it"
    return _secret_problem(data[1:-_CHECKSUM_BYTES])


class Key(Immutable):
    """A secret with its suite. Its id is safe to log; the secret itself is shown by :meth:`export` alone.

    Make one with :meth:`generate`, :meth:`parse`, :meth:`from_secret` or :meth:`from_passphrase`.
    """

    __slots__ = ("_header", "_prk", "_secret", "_suite")
    _header: bytes
    _prk: bytes
    _secret: bytes
    _suite: Suite

    def __init__(self, *_: object) -> None:
        del _  # which may be a secret
        raise TypeError("make a key with Key.generate(), Key.parse(text), Key.from_secret(…) or Key.from_passphrase(…)")

    @classmethod
    def _make(cls, secret: bytes, suite: Suite) -> Self:
        key = object.__new__(cls)
        prk = extract(_EXTRACT_SALT, secret)
        header = bytes((suite,)) + expand(prk, pae(b"kid", bytes((suite,))), KEY_ID_BYTES)
        key._freeze(_secret=secret, _suite=suite, _prk=prk, _header=header)
        return key

    @classmethod
    def generate(cls, suite: Suite = Suite.XAES_256_GCM) -> Self:
        """A new key of 32 bytes from the operating system's random source."""
        problem = _suite_problem(suite)
        if problem is not None:
            raise ConfigurationError(problem)
        return cls._make(os.urandom(KEY_BYTES), suite)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what :meth:`export` wrote.

        Args:
            text: ``csk1_…``, with nothing before or after it.

        Raises:
            ConfigurationError: a typo, a cut paste, another kind of text. The message shows none of it.
        """
        problem = _text_problem(text)
        if problem is not None:
            del text
            raise ConfigurationError(problem)
        data = decode_base64url(text[len(KEY_PREFIX) :]) or b""
        return cls._make(data[1:-_CHECKSUM_BYTES], Suite(data[0]))

    @classmethod
    def from_secret(cls, secret: bytes | str, *, suite: Suite = Suite.XAES_256_GCM) -> Self:
        """A key from a random secret you have already, such as a framework's ``SECRET_KEY``.

        Args:
            secret: 32 to 1,024 bytes with at least 10 different ones, used as it is (a str: its UTF-8). For words a person
                chose, take :meth:`from_passphrase`.
            suite: the cipher.

        Raises:
            ConfigurationError: too short, too long, too monotonous, or an exported key.
        """
        if isinstance(secret, str):
            try:
                secret = secret.encode("utf-8")
            except UnicodeEncodeError:
                secret = ""  # nosec B105
        problem = _suite_problem(suite)
        if not isinstance(secret, bytes):
            problem = "the secret must be bytes, or text that UTF-8 can carry"
        elif problem is None:
            problem = _secret_problem(secret)
        if problem is not None:
            del secret
            raise ConfigurationError(problem)
        return cls._make(secret, suite)  # type: ignore[arg-type]  # bytes: anything else is a problem above

    @classmethod
    def from_passphrase(cls, phrase: str, *, salt: bytes, suite: Suite = Suite.XAES_256_GCM) -> Self:
        """A key from words, by Argon2id (RFC 9106: 3 passes, 64 MiB). Slow on purpose: once, at start-up.

        Args:
            phrase: 8 to 1,024 characters; their UTF-8 is used as it is, with no normalisation.
            salt: 16 bytes, the same on every server; it need not be secret. Make one with ``secrets.token_bytes(16)``.
            suite: the cipher.

        Raises:
            ConfigurationError: too short or long, or a salt of another length.
        """
        problem = _suite_problem(suite)
        if not isinstance(salt, bytes) or len(salt) != _SALT_BYTES:
            problem = f"the salt must be {_SALT_BYTES} bytes; make one with secrets.token_bytes({_SALT_BYTES}) and keep it"
        elif not isinstance(phrase, str) or not _MIN_PASSPHRASE_CHARS <= len(phrase) <= _MAX_PASSPHRASE_CHARS:
            problem = f"the passphrase must be a str of {_MIN_PASSPHRASE_CHARS} to {_MAX_PASSPHRASE_CHARS:,} characters"
        else:
            try:
                phrase.encode("utf-8")
            except UnicodeEncodeError:
                problem = "the passphrase must be text that UTF-8 can carry"
            if KEY_PREFIX in phrase[:16]:
                problem = f"this is an exported key ({KEY_PREFIX}…), not a passphrase: give it to Key.parse"
        if problem is None:
            try:
                secret = pwhash.argon2id.kdf(
                    KEY_BYTES, phrase.encode("utf-8"), salt, opslimit=_ARGON2_PASSES, memlimit=_ARGON2_MEMORY_BYTES
                )
            except (MemoryError, NaClRuntimeError):
                problem = "Argon2id could not have its 64 MiB of memory"
        if problem is not None:
            del phrase, salt
            raise ConfigurationError(problem)
        return cls._make(secret, suite)

    @property
    def id(self) -> str:
        """8 hex digits that name the key: in every token it seals, and safe to log."""
        return self._header[1:].hex()

    @property
    def suite(self) -> Suite:
        """The cipher this key is for."""
        return self._suite

    def export(self) -> str:
        """The key as text, ``csk1_…``: the secret itself. Keep it where passwords are kept."""
        data = bytes((self._suite,)) + self._secret
        return KEY_PREFIX + encode_base64url(data + _checksum(self._suite, self._secret))

    def _bind(self, kind: str, name: str, audience: str) -> BoundKey:
        """The key as one codec uses it."""
        labels = (kind.encode(), name.encode(), audience.encode())
        info = pae(b"seal", self._header[:1], *labels)
        cipher = new_cipher(self._suite, expand(self._prk, info, KEY_BYTES))
        return BoundKey(self.id, self._header, cipher, pae(self._header, *labels))

    def _summary(self) -> str:
        return self.id


class BoundKey(Immutable):
    """A key for one kind, name and audience: what its tokens start with, its cipher and its associated data."""

    __slots__ = ("aad", "cipher", "header", "key_id")
    aad: bytes
    cipher: Cipher
    header: bytes
    key_id: str

    def __init__(self, key_id: str, header: bytes, cipher: Cipher, aad: bytes) -> None:
        self._freeze(key_id=key_id, header=header, cipher=cipher, aad=aad)

    def _summary(self) -> str:
        return self.key_id


def _suite_problem(suite: object) -> str | None:
    if isinstance(suite, Suite):
        return None
    return f"suite must be one of {', '.join(Suite.__members__)} of clientsession.Suite"
