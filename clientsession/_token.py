"""Token, version 1: text <-> frame <-> the fields that are sealed.

It knows bytes, lengths and the order of fields (docs/SPEC.md), but no key, no clock and no JSON: what it unpacks has not been
checked against a time, and a body is bytes.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from typing import Final, NamedTuple

from clientsession.errors import MalformedTokenError

KEY_ID_BYTES: Final = 4
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
ID_BYTES: Final = 16
TIME_BYTES: Final = 6
MAX_TIME_MS: Final = (1 << 8 * TIME_BYTES) - 1  # the year 10889
HEADER_BYTES: Final = 1 + KEY_ID_BYTES  # suite and key id, the only bytes looked at before authentication
PLAINTEXT_OVERHEAD_BYTES: Final = 1 + 2 * TIME_BYTES
_NONCE_END: Final = HEADER_BYTES + NONCE_BYTES
_OVERHEAD: Final = struct.Struct(">BHIHI")  # flags and the two times, each in two parts
MIN_CHARS: Final = (HEADER_BYTES + NONCE_BYTES + TAG_BYTES) * 4 // 3  # 60: a frame around no plaintext
MAX_BODY_BYTES: Final = 64 * 1024  # what a deflated body may grow to: bounds the memory a token of 4 KB can claim

_ID_PRESENT: Final = 0x01
_DEFLATED: Final = 0x02
_EPHEMERAL: Final = 0x04
_KNOWN_FLAGS: Final = _ID_PRESENT | _DEFLATED | _EPHEMERAL

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# base64url's alphabet to that of binascii; every other byte, '+', '/' and '=' among them, to one that strict mode refuses.
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD: Final = bytes(b"+/"[b"-_".index(c)] if c in b"-_" else c if c in _ALPHABET else 0xFF for c in range(256))
# The last characters whose unused low bits are zero, by the number of characters after the last whole group of four
# (RFC 4648, 3.5): one spelling for each token, so that nobody can make a second text that opens.
_CANONICAL_ENDS: Final = {2: _ALPHABET[::16], 3: _ALPHABET[::4]}
_PADDING: Final = (b"", b"", b"==", b"=")  # likewise


new_tuple: Final = tuple.__new__  # a NamedTuple without its own constructor, which takes twice as long


class Frame(NamedTuple):
    """A token's outer fields. ``header`` is suite and key id; ``ciphertext`` ends with the tag."""

    header: bytes
    nonce: bytes
    ciphertext: bytes

    def text(self) -> str:
        """The token: base64url without padding (RFC 4648, 5)."""
        return encode_base64url(self.header + self.nonce + self.ciphertext)


class Sealed(NamedTuple):
    """What is inside the seal. Times are milliseconds since 1970-01-01T00:00Z; ``body`` is as it stands, deflated or not."""

    created: int
    expires: int
    id: bytes | None
    ephemeral: bool
    deflated: bool
    body: bytes

    def pack(self) -> bytes:
        """The plaintext."""
        flags = (self.id is not None and _ID_PRESENT) | (self.deflated and _DEFLATED) | (self.ephemeral and _EPHEMERAL)
        fields = (flags << 8 * TIME_BYTES | self.created) << 8 * TIME_BYTES | self.expires
        return fields.to_bytes(PLAINTEXT_OVERHEAD_BYTES, "big") + (self.id or b"") + self.body


def encode_base64url(data: bytes) -> str:
    """base64url without padding (RFC 4648, 5)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """The bytes of a canonical, unpadded base64url text, or None."""
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        return None
    rest = len(raw) % 4
    if rest == 1 or (rest and raw[-1] not in _CANONICAL_ENDS[rest]):
        return None
    try:
        return binascii.a2b_base64(raw.translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
    except binascii.Error:
        return None


def parse(text: str, max_chars: int) -> Frame:
    """Take a token apart without any key.

    Args:
        text: what a client sent.
        max_chars: the longest token taken; looked at before anything else.

    Raises:
        MalformedTokenError: wrong length, a character outside base64url, or not the canonical spelling.
    """
    frame = take_apart(text, max_chars)
    if frame is None:
        raise MalformedTokenError(1)
    return frame


def take_apart(text: str, max_chars: int) -> Frame | None:
    """As :func:`parse`, with None for an error: a header may hold a thousand texts that are no tokens."""
    data = decode_base64url(text) if MIN_CHARS <= len(text) <= max_chars else None
    if data is None:
        return None
    return new_tuple(Frame, (data[:HEADER_BYTES], data[HEADER_BYTES:_NONCE_END], data[_NONCE_END:]))


def token_chars(body_bytes: int, *, with_id: bool) -> int:
    """How many characters a token around a body of this many bytes has."""
    plaintext = PLAINTEXT_OVERHEAD_BYTES + (ID_BYTES if with_id else 0) + body_bytes
    return -(-(HEADER_BYTES + NONCE_BYTES + plaintext + TAG_BYTES) * 4 // 3)


def room_for_body(chars: int) -> int:
    """How many bytes the largest body has, an id among them, that a token of this many characters takes; below 0: not even none."""
    return chars * 3 // 4 - HEADER_BYTES - NONCE_BYTES - TAG_BYTES - PLAINTEXT_OVERHEAD_BYTES


# From here on there is content in the local variables: what is wrong is told by None, so that no frame with content is part of the
# traceback of a refusal.


def unpack(plaintext: bytes) -> Sealed | None:
    """Take the authenticated plaintext apart; None where it is cut short, or has a flag this version does not know."""
    if len(plaintext) < PLAINTEXT_OVERHEAD_BYTES:
        return None
    flags, created_high, created_low, expires_high, expires_low = _OVERHEAD.unpack_from(plaintext)
    if flags & ~_KNOWN_FLAGS:
        return None
    end = PLAINTEXT_OVERHEAD_BYTES
    session_id = None
    if flags & _ID_PRESENT:
        session_id = plaintext[end : end + ID_BYTES]
        if len(session_id) < ID_BYTES:
            return None
        end += ID_BYTES
    created, expires = created_high << 32 | created_low, expires_high << 32 | expires_low
    return new_tuple(Sealed, (created, expires, session_id, flags & _EPHEMERAL != 0, flags & _DEFLATED != 0, plaintext[end:]))


def inflate(body: bytes) -> bytes | None:
    """The bytes of one whole raw deflate stream (RFC 1951), at most 64 KiB of them and nothing after it; else None."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return None
    if len(inflated) > MAX_BODY_BYTES or not stream.eof or stream.unused_data:
        return None
    return inflated


def deflate(body: bytes) -> bytes | None:
    """A body as one raw deflate stream, or None where that is no shorter, or a reader would not inflate it."""
    if len(body) > MAX_BODY_BYTES:
        return None
    stream = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = stream.compress(body) + stream.flush()
    return deflated if len(deflated) < len(body) else None
