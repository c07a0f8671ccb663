"""The two AEAD ciphers behind ``seal`` and ``open``.

The only importer of the ciphers of ``cryptography`` and ``nacl``. It knows no session, no lifetime, no key management: a
cipher is made from 32 bytes. Nothing here raises on bad input and no frame here keeps key material in a local variable, so that a
traceback with captured locals shows none.
"""

from __future__ import annotations

import enum
import itertools
import os
import time
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from clientsession._immutable import Immutable

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
_PREFIX_BYTES: Final = 12  # of an XAES nonce: what the key of its AES-GCM is made from; the rest is the nonce of that
# How long a sealer stays with one prefix, and so with one AES-GCM key. The other 12 bytes are random for each token: of 2^16, two
# are alike with a probability of 2^-65, where NIST SP 800-38D, 8.3, allows 2^-32 for a key (docs/SPEC.md, section 3).
_TOKENS_PER_PREFIX: Final = 1 << 16
_SECONDS_PER_PREFIX: Final = 3600.0
_SUBKEYS_HELD: Final = 64  # in each of two generations, of a few KB each: what five processes seal in a day


class Suite(enum.IntEnum):
    """The cipher of a key; its value is the first byte of every token (docs/SPEC.md)."""

    XAES_256_GCM = 1
    """AES-256-GCM with a 192-bit nonce: C2SP ``XAES-256-GCM``. The default."""
    XCHACHA20_POLY1305 = 2
    """XChaCha20-Poly1305 as libsodium's IETF AEAD has it: draft-irtf-cfrg-xchacha-03."""


class Cipher(Protocol):
    """An AEAD with a 24-byte nonce and a 16-byte tag at the end of the ciphertext."""

    def nonce(self) -> bytes:
        """A fresh nonce."""

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt and authenticate; the nonce must be fresh."""

    def open(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
        """Decrypt, or None where the tag does not fit."""


class _Subkeys:
    """The AES-GCM keys that an XAES cipher has at hand, by the first 12 bytes of their nonces.

    Those of opened tokens are kept by generations: what is asked for is always in the younger one, which becomes the older one when
    it is full. Threads need no lock: each step reads or replaces one whole, and what gets lost is made again.
    """

    __slots__ = ("_older", "sealing", "younger")

    def __init__(self) -> None:
        self.sealing: tuple[bytes, AESGCM, Callable[[], int], float] | None = None
        self.younger: dict[bytes, AESGCM] = {}
        self._older: dict[bytes, AESGCM] = {}

    def older(self, prefix: bytes) -> AESGCM | None:
        """One that is not in the younger generation, and then is."""
        gcm = self._older.get(prefix)
        if gcm is not None:
            self.keep(prefix, gcm)
        return gcm

    def keep(self, prefix: bytes, gcm: AESGCM) -> None:
        """Keep the key of a token that was authentic: of others a client can make as many as it likes."""
        if len(self.younger) >= _SUBKEYS_HELD:
            self._older, self.younger = self.younger, {}
        self.younger[prefix] = gcm


class _Xaes256Gcm(Immutable):
    """C2SP XAES-256-GCM, composed of AES-CMAC (the SP 800-108 counter KDF) and AES-256-GCM."""

    __slots__ = ("_cmac", "_subkeys")
    _cmac: CMAC
    _subkeys: _Subkeys

    def __init__(self, key: bytes) -> None:
        self._freeze(_cmac=CMAC(AES(key)), _subkeys=_Subkeys())

    def _gcm(self, nonce: bytes) -> AESGCM:
        # The counter KDF's two blocks: counter (2 bytes), the label "X", a zero byte, the first half of the nonce.
        first, second = self._cmac.copy(), self._cmac.copy()
        first.update(b"\x00\x01X\x00" + nonce[:_PREFIX_BYTES])
        second.update(b"\x00\x02X\x00" + nonce[:_PREFIX_BYTES])
        return AESGCM(first.finalize() + second.finalize())

    def nonce(self) -> bytes:
        held = self._subkeys.sealing
        # The time of day: a process that was frozen and is woken up, perhaps many times over, does not go on with its prefix.
        if held is None or held[2]() >= _TOKENS_PER_PREFIX or not 0 <= time.time() - held[3] < _SECONDS_PER_PREFIX:
            prefix = os.urandom(_PREFIX_BYTES)
            held = prefix, self._gcm(prefix), itertools.count(1).__next__, time.time()
            self._subkeys.sealing = held
        return held[0] + os.urandom(NONCE_BYTES - _PREFIX_BYTES)

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        held = self._subkeys.sealing
        if held is not None and nonce.startswith(held[0]):
            return held[1].encrypt(nonce[_PREFIX_BYTES:], plaintext, aad)
        return self._gcm(nonce).encrypt(nonce[_PREFIX_BYTES:], plaintext, aad)

    def open(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
        prefix, rest = nonce[:_PREFIX_BYTES], nonce[_PREFIX_BYTES:]
        try:
            known = self._subkeys.younger.get(prefix) or self._subkeys.older(prefix)
            if known is not None:
                return known.decrypt(rest, ciphertext, aad)
            gcm = self._gcm(nonce)
            plaintext = gcm.decrypt(rest, ciphertext, aad)
        except InvalidTag:
            return None
        self._subkeys.keep(prefix, gcm)
        return plaintext


class _XChaCha20Poly1305(Immutable):
    """libsodium's ``crypto_aead_xchacha20poly1305_ietf``."""

    __slots__ = ("_key",)
    _key: bytes

    def __init__(self, key: bytes) -> None:
        self._freeze(_key=key)

    def nonce(self) -> bytes:
        return os.urandom(NONCE_BYTES)

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        return crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, nonce, self._key)

    def open(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, aad, nonce, self._key)
        except CryptoError:
            return None


_CIPHERS: Final[dict[Suite, Callable[[bytes], Cipher]]] = {
    Suite.XAES_256_GCM: _Xaes256Gcm,
    Suite.XCHACHA20_POLY1305: _XChaCha20Poly1305,
}


def new_cipher(suite: Suite, key: bytes) -> Cipher:
    """The cipher of a suite, holding a key of 32 bytes."""
    return _CIPHERS[suite](key)
