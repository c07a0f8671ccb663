"""The two AEAD ciphers behind ``seal`` and ``open``.

The only importer of the ciphers of ``cryptography`` and ``nacl``. It knows no session, no clock, no key management: a
cipher is made from 32 bytes, and every nonce is given by the caller. Nothing here raises on bad input and no frame here
keeps key material in a local variable, so that a traceback with captured locals shows none.
"""

from __future__ import annotations

import enum
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


class Suite(enum.IntEnum):
    """The cipher of a key; its value is the first byte of every token (docs/SPEC.md)."""

    XAES_256_GCM = 1
    """AES-256-GCM with a 192-bit nonce: C2SP ``XAES-256-GCM``. The default."""
    XCHACHA20_POLY1305 = 2
    """XChaCha20-Poly1305 as libsodium's IETF AEAD has it: draft-irtf-cfrg-xchacha-03."""


class Cipher(Protocol):
    """An AEAD with a 24-byte nonce and a 16-byte tag at the end of the ciphertext."""

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt and authenticate; the nonce must be fresh."""

    def open(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
        """Decrypt, or None where the tag does not fit."""


class _Xaes256Gcm(Immutable):
    """C2SP XAES-256-GCM, composed of AES-CMAC (the SP 800-108 counter KDF) and AES-256-GCM."""

    __slots__ = ("_cmac",)
    _cmac: CMAC

    def __init__(self, key: bytes) -> None:
        self._freeze(_cmac=CMAC(AES(key)))

    def _gcm(self, nonce: bytes) -> AESGCM:
        # The counter KDF's two blocks: counter (2 bytes), the label "X", a zero byte, the first half of the nonce.
        first, second = self._cmac.copy(), self._cmac.copy()
        first.update(b"\x00\x01X\x00" + nonce[:12])
        second.update(b"\x00\x02X\x00" + nonce[:12])
        return AESGCM(first.finalize() + second.finalize())

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        return self._gcm(nonce).encrypt(nonce[12:], plaintext, aad)

    def open(self, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
        try:
            return self._gcm(nonce).decrypt(nonce[12:], ciphertext, aad)
        except InvalidTag:
            return None


class _XChaCha20Poly1305(Immutable):
    """libsodium's ``crypto_aead_xchacha20poly1305_ietf``."""

    __slots__ = ("_key",)
    _key: bytes

    def __init__(self, key: bytes) -> None:
        self._freeze(_key=key)

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
