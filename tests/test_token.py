"""Text, frame and sealed fields: lengths, spelling and bounds, without any key. Hostile tokens: test_hostile_tokens.py."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import pytest

from clientsession import MalformedTokenError
from clientsession._token import (
    MAX_TIME_MS,
    Frame,
    Sealed,
    decode_base64url,
    deflate,
    encode_base64url,
    inflate,
    parse,
    token_chars,
    unpack,
)
from tests import reference

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize("length", range(60))
def test_base64url_goes_there_and_back(length: int) -> None:
    data = bytes(range(200, 200 - length, -1))
    text = encode_base64url(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=") == reference.text(data)
    assert decode_base64url(text) == data


def test_of_all_texts_of_two_and_three_characters_only_canonical_ones_decode() -> None:
    two = [text for text in (a + b for a in ALPHABET for b in ALPHABET) if decode_base64url(text) is not None]
    assert len(two) == 256
    assert all(encode_base64url(decode_base64url(text) or b"") == text for text in two)
    three = ["AA" + c for c in ALPHABET if decode_base64url("AA" + c) is not None]
    assert three == [f"AA{c}" for c in ALPHABET[::4]]


@pytest.mark.parametrize("char", [chr(code) for code in range(256) if chr(code) not in ALPHABET] + ["\u0100", "\uff21", "\ud800"])
def test_another_character_is_no_base64url(char: str) -> None:
    for text in (char, "A" + char, char + "AAA", "AAA" + char, "AAAA" + char, "AA" + char + "A"):
        assert decode_base64url(text) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 100, b"x" * 3000])
@pytest.mark.parametrize("session_id", [None, bytes(range(16))])
def test_the_length_of_a_token_is_foretold(body: bytes, session_id: bytes | None) -> None:
    sealed = Sealed(created=1, expires=2, id=session_id, ephemeral=False, deflated=False, body=body)
    frame = Frame(b"\x01abcd", bytes(24), sealed.pack() + bytes(16))
    assert len(frame.text()) == token_chars(len(body), with_id=session_id is not None)
    assert parse(frame.text(), 8192) == frame


@pytest.mark.parametrize("ephemeral", [False, True])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("session_id", [None, bytes(range(16))])
def test_the_sealed_fields_go_there_and_back(ephemeral: bool, deflated: bool, session_id: bytes | None) -> None:
    sealed = Sealed(created=0, expires=2**48 - 1, id=session_id, ephemeral=ephemeral, deflated=deflated, body=b"body")
    packed = sealed.pack()
    assert unpack(packed) == sealed
    flags = (session_id is not None) | deflated << 1 | ephemeral << 2
    assert packed == reference.plaintext(0, 2**48 - 1, b"body", flags=flags, id=session_id)


def test_the_bounds_of_a_tokens_length_are_exact() -> None:
    shortest = encode_base64url(bytes(45))
    assert len(shortest) == 60
    assert parse(shortest, 60).ciphertext == bytes(16)
    for text, limit in ((shortest[:-1], 60), (encode_base64url(bytes(46)), 61), ("", 60)):
        with pytest.raises(MalformedTokenError) as caught:
            parse(text, limit)
        assert caught.value.question == 1


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def test_a_deflated_body_is_one_whole_stream_of_at_most_64_kib() -> None:
    assert inflate(deflated(b"x" * 65_536)) == b"x" * 65_536
    assert inflate(deflated(b"")) == b""
    for body in (deflated(b"x" * 65_537), deflated(b"abc")[:-1], deflated(b"abc") + b"\0", b"", zlib.compress(b"abc"), b"\xff"):
        assert inflate(body) is None


def test_a_bomb_takes_no_memory() -> None:
    bomb = deflated(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert inflate(bomb) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_last_time_is_the_last_that_has_room() -> None:
    last = Sealed(created=MAX_TIME_MS, expires=MAX_TIME_MS, id=None, ephemeral=False, deflated=False, body=b"")
    assert unpack(last.pack()) == last
    assert MAX_TIME_MS == 2**48 - 1


@pytest.mark.parametrize("length", range(30))
def test_a_body_is_deflated_where_that_makes_it_shorter_and_not_where_it_is_as_long(length: int) -> None:
    body = b"a" * length
    assert deflate(body) == (deflated(body) if len(deflated(body)) < length else None)
