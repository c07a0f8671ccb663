"""docs/SPEC.md written a second time, for the tests: slow, short, and sharing no line and no cipher call with the library.

XAES-256-GCM is built from the raw AES block here, XChaCha20-Poly1305 from a pure HChaCha20 and RFC 8439's AEAD, HKDF from HMAC.
It seals whatever it is given, so that a test can look behind the seal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

XAES, XCHACHA = 1, 2


def pae(*pieces: bytes) -> bytes:
    return struct.pack("<Q", len(pieces)) + b"".join(struct.pack("<Q", len(piece)) + piece for piece in pieces)


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.new(salt, secret, hashlib.sha256).digest()


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    okm = block = b""
    for counter in range(1, 256):
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        okm += block
        if len(okm) >= length:
            break
    return okm[:length]


def prk_of(secret: bytes) -> bytes:
    return hkdf_extract(b"clientsession/v1", secret)


def key_id(secret: bytes, suite: int) -> bytes:
    return hkdf_expand(prk_of(secret), pae(b"kid", bytes([suite])), 4)


def seal_key(secret: bytes, suite: int, kind: str, name: str, audience: str) -> bytes:
    info = pae(b"seal", bytes([suite]), kind.encode(), name.encode(), audience.encode())
    return hkdf_expand(prk_of(secret), info, 32)


def aad(secret: bytes, suite: int, kind: str, name: str, audience: str) -> bytes:
    return pae(bytes([suite]) + key_id(secret, suite), kind.encode(), name.encode(), audience.encode())


# XAES-256-GCM (C2SP), from the AES block


def _aes_block(key: bytes, block: bytes) -> bytes:
    # ECB of one block is the block cipher itself, which is what the specification is written in.
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def xaes_steps(key: bytes, nonce: bytes) -> dict[str, bytes]:
    """Every value on the way to the subkey, by the names C2SP gives them."""
    big_l = _aes_block(key, bytes(16))
    number = int.from_bytes(big_l, "big") << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ 0x87
    k1 = number.to_bytes(16, "big")
    m1 = b"\x00\x01" + b"X" + b"\x00" + nonce[:12]
    m2 = b"\x00\x02" + b"X" + b"\x00" + nonce[:12]
    subkey = _aes_block(key, _xor(m1, k1)) + _aes_block(key, _xor(m2, k1))
    return {"L": big_l, "K1": k1, "M1": m1, "M2": m2, "Kx": subkey, "Nx": nonce[12:]}


# XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, 2.2 and 2.3)


def _quarter(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[x] = (state[x] + state[y]) & 0xFFFFFFFF
        mixed = state[z] ^ state[x]
        state[z] = ((mixed << turn) | (mixed >> (32 - turn))) & 0xFFFFFFFF


def hchacha20(key: bytes, nonce16: bytes) -> bytes:
    state = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce16)]
    for _ in range(10):
        for column in range(4):
            _quarter(state, column, 4 + column, 8 + column, 12 + column)
        for diagonal in range(4):
            _quarter(state, diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def _aead(suite: int, key: bytes, nonce: bytes) -> tuple[AESGCM | ChaCha20Poly1305, bytes]:
    if suite == XAES:
        steps = xaes_steps(key, nonce)
        return AESGCM(steps["Kx"]), steps["Nx"]
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


def aead_seal(suite: int, key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    cipher, short_nonce = _aead(suite, key, nonce)
    return cipher.encrypt(short_nonce, plaintext, associated)


# Tokens


def text(frame: bytes) -> str:
    return base64.urlsafe_b64encode(frame).decode().rstrip("=")


def frame_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def plaintext(created_ms: int, expires_ms: int, body: bytes, *, flags: int | None = None, id: bytes | None = None) -> bytes:
    """The plaintext of a token; ``flags`` stands as it is given, whatever it says."""
    if flags is None:
        flags = 0x01 if id is not None else 0
    return bytes([flags]) + created_ms.to_bytes(6, "big") + expires_ms.to_bytes(6, "big") + (id or b"") + body


def seal(secret: bytes, suite: int, kind: str, name: str, audience: str, plaintext: bytes, nonce: bytes | None = None) -> str:
    nonce = os.urandom(24) if nonce is None else nonce
    key = seal_key(secret, suite, kind, name, audience)
    sealed = aead_seal(suite, key, nonce, plaintext, aad(secret, suite, kind, name, audience))
    return text(bytes([suite]) + key_id(secret, suite) + nonce + sealed)


def open(secret: bytes, suite: int, kind: str, name: str, audience: str, token: str) -> bytes | None:
    frame = frame_of(token)
    if frame[0] != suite or frame[1:5] != key_id(secret, suite):
        return None
    cipher, short_nonce = _aead(suite, seal_key(secret, suite, kind, name, audience), frame[5:29])
    try:
        return cipher.decrypt(short_nonce, frame[29:], aad(secret, suite, kind, name, audience))
    except InvalidTag:
        return None


def export(secret: bytes, suite: int) -> str:
    """The text of a key."""
    checksum = hashlib.sha256(b"csk1_" + bytes([suite]) + secret).digest()[:4]
    return "csk1_" + text(bytes([suite]) + secret + checksum)
