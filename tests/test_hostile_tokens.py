"""Whatever may stand where a token should, each at a codec and at a jar, in both suites.

The numbers are those of one list of inputs, so that a line is found again.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import (
    Codec,
    ExpiredTokenError,
    ForgedTokenError,
    FutureTokenError,
    Jar,
    Key,
    Keyring,
    MalformedTokenError,
    Reason,
    Sessions,
    Suite,
    TokenError,
    UnknownKeyError,
    _ciphers,
    _token,
)
from tests import reference
from tests.conftest import Clock, cookie_of

SECRET = bytes(range(7, 39))
OTHER_SECRET = bytes(range(100, 140))
NOW = 1_800_000_000_000  # the clock fixture's, in milliseconds
DAY = 86_400_000
BODY = b'{"user":7,"name":"A. Byron"}'  # 28 bytes: a token of 86 bytes, 115 characters
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ERRORS = {
    Reason.MALFORMED: MalformedTokenError,
    Reason.UNKNOWN_KEY: UnknownKeyError,
    Reason.FORGED: ForgedTokenError,
    Reason.EXPIRED: ExpiredTokenError,
    Reason.FUTURE: FutureTokenError,
}
MALFORMED, UNKNOWN_KEY, FORGED, EXPIRED, FUTURE = ERRORS


class Door:
    """One of the two ways in for a token. ``decryptions`` counts how often a cipher was asked to open one."""

    kind: str

    def __init__(self, ring: Keyring, suite: Suite, clock: Clock, **options: object) -> None:
        self.suite = suite
        self.clock = clock
        self.decryptions = 0
        self.make(ring, clock=clock, **options)

    def make(self, ring: Keyring, **options: object) -> None:
        raise NotImplementedError

    def read(self, text: str) -> tuple[Reason | None, dict[str, object] | None]:
        """Why the text is refused, or what it holds."""
        raise NotImplementedError

    def again(self, ring: Keyring, **options: object) -> Door:
        return type(self)(ring, self.suite, self.clock, **options)

    def seal(
        self, body: bytes = BODY, created: int = NOW, expires: int = NOW + DAY, *, flags: int | None = None, id: bytes | None = None
    ) -> str:
        return self.seal_plaintext(reference.plaintext(created, expires, body, flags=flags, id=id))

    def seal_plaintext(self, plaintext: bytes, *, secret: bytes = SECRET, name: str = "session", audience: str = "") -> str:
        return reference.seal(secret, self.suite, self.kind, name, audience, plaintext)

    def refuses(self, text: str, *reasons: Reason, decryptions: int | None = None) -> None:
        before = self.decryptions
        reason, _ = self.read(text)
        assert reason in reasons
        assert decryptions is None or self.decryptions - before == decryptions

    def opens(self, text: str) -> dict[str, object]:
        reason, content = self.read(text)
        assert reason is None
        assert content is not None
        return content


class CodecDoor(Door):
    kind = "token"
    max_chars = 4096

    def make(self, ring: Keyring, **options: object) -> None:
        self.codec = Codec(ring, "session", **options)

    def read(self, text: str) -> tuple[Reason | None, dict[str, object] | None]:
        try:
            return None, self.codec.decode(text)
        except TokenError as refused:
            error = refused
        assert type(error) is ERRORS[error.reason]
        assert error.args == (type(error).explanation,)
        return error.reason, None


class JarDoor(Door):
    kind = "cookie"
    max_chars = 4096 - len("session")

    def make(self, ring: Keyring, **options: object) -> None:
        self.jar = Jar("session", ring, **options)
        self.codec = self.jar.codec

    def read(self, text: str) -> tuple[Reason | None, dict[str, object] | None]:
        sessions = Sessions([self.jar], f"session={text}")
        session = sessions["session"]
        if session.is_new:
            assert session == {}
            assert session.key_id is None
            assert session.refusal is not None
        is_left_empty = not session.is_new and not session and session._id is None
        assert [cookie_of(answer) for answer in sessions.commit()] == (["session="] if is_left_empty else [])
        return session.refusal, None if session.is_new else session


@pytest.fixture
def key(suite: Suite) -> Key:
    return Key.from_secret(SECRET, suite=suite)


@pytest.fixture(params=[CodecDoor, JarDoor], ids=["codec", "jar"])
def door(request: pytest.FixtureRequest, ring: Keyring, suite: Suite, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Door:
    door = request.param(ring, suite, clock)

    def counted(open_: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
        def count_and_open(*args: bytes) -> bytes | None:
            door.decryptions += 1
            return open_(*args)

        return count_and_open

    for each in Suite:
        cipher = type(_ciphers.new_cipher(each, bytes(32)))
        monkeypatch.setattr(cipher, "open", counted(cipher.open))
    return door


def frame_of(token: str) -> bytearray:
    return bytearray(reference.frame_of(token))


def text_of(frame: bytes) -> str:
    return reference.text(bytes(frame))


def deflated(body: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(body) + stream.flush()


def test_the_sample_opens_by_one_decryption(door: Door) -> None:
    token = door.seal()
    assert (len(token), len(frame_of(token))) == (115, 86)
    assert door.opens(token) == json.loads(BODY)
    assert door.decryptions == 1


# Text


def test_no_text_is_refused(door: Door) -> None:
    """D1"""
    door.refuses("", MALFORMED, decryptions=0)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 38, 39, 40, 58, 59])
def test_text_shorter_than_any_token_is_refused(door: Door, length: int) -> None:
    """D2, D3"""
    door.refuses(door.seal()[:length], MALFORMED, decryptions=0)
    door.refuses("A" * length, MALFORMED, decryptions=0)


@pytest.mark.parametrize("length", range(60, 70))
def test_text_of_a_length_that_base64_never_has_is_malformed(door: Door, length: int) -> None:
    """D2"""
    suite_and_zeros = ("AQ" if door.suite is Suite.XAES_256_GCM else "Ag") + "A" * (length - 2)
    door.refuses(suite_and_zeros, MALFORMED if length % 4 == 1 else UNKNOWN_KEY, decryptions=0)


def test_random_text_of_the_longest_length_is_never_decrypted(door: Door) -> None:
    """D4"""
    dice = random.Random(4)
    seen = set()
    for start in ["", *("".join(dice.choices(ALPHABET, k=2)) for _ in range(300)), "AQ", "Ag"]:
        text = start + "".join(dice.choices(ALPHABET, k=door.max_chars // 4 * 4 - len(start)))
        reason, _ = door.read(text)
        seen.add(reason)
    assert seen == {MALFORMED, UNKNOWN_KEY}
    assert door.decryptions == 0


def test_the_longest_token_opens_and_one_character_more_does_not(door: Door) -> None:
    """D5"""
    for body_bytes in range(2900, 3030):
        token = door.seal(b"{}".ljust(body_bytes))
        if len(token) <= door.max_chars:
            assert door.opens(token) == {}
        else:
            door.refuses(token, MALFORMED, decryptions=0)


def test_length_is_judged_before_anything_is_decoded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """D5, D6"""

    def decode(text: str) -> bytes:
        raise AssertionError(text)

    monkeypatch.setattr(_token, "decode_base64url", decode)
    for length in (0, 59, door.max_chars + 1, 10_000, 10_000_000):
        door.refuses("A" * length, MALFORMED)
    with pytest.raises(AssertionError):
        door.read("A" * door.max_chars)


@pytest.mark.parametrize("body_bytes", range(28, 32))
@pytest.mark.parametrize("padding", ["=", "==", "===", "===="])
def test_padding_is_refused(door: Door, padding: str, body_bytes: int) -> None:
    """D7"""
    door.refuses(door.seal(b"{}".ljust(body_bytes)) + padding, MALFORMED, decryptions=0)


@pytest.mark.parametrize(("mine", "theirs"), [("-", "+"), ("_", "/")])
def test_the_other_base64_alphabet_is_refused(door: Door, mine: str, theirs: str) -> None:
    """D8"""
    token = next(token for token in (door.seal() for _ in range(200)) if mine in token)
    door.refuses(token.replace(mine, theirs), MALFORMED, decryptions=0)
    door.refuses(token.replace(mine, theirs, 1), MALFORMED, decryptions=0)


@pytest.mark.parametrize("char", ["\n", "\r", "\r\n", "\0", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\xa0", "\u2028", "\ufeff"])
@pytest.mark.parametrize("body_bytes", range(28, 32))
def test_a_control_character_before_or_after_is_refused(door: Door, char: str, body_bytes: int) -> None:
    """D9"""
    token = door.seal(b"{}".ljust(body_bytes))
    for text in (token + char, char + token, token[:60] + char + token[60:]):
        door.refuses(text, MALFORMED, decryptions=0)


@pytest.mark.parametrize("char", [" ", "\t", "  "])
def test_a_space_is_no_part_of_a_token(door: Door, char: str) -> None:
    """D9; spaces round a cookie's value are none of it (RFC 6265bis, 5.6)"""
    token = door.seal()
    door.refuses(token[:60] + char + token[60:], MALFORMED, decryptions=0)
    for text in (token + char, char + token):
        if isinstance(door, JarDoor):
            assert door.opens(text)
        else:
            door.refuses(text, MALFORMED, decryptions=0)


@pytest.mark.parametrize(("body_bytes", "others"), [(29, 0), (28, 3), (30, 15)])
def test_a_token_has_one_spelling(door: Door, body_bytes: int, others: int) -> None:
    """D10"""
    token = door.seal(b"{}".ljust(body_bytes))
    group = len(token) // 4 * 4
    end = token[group:]
    bits = {0: 0, 3: 2, 2: 4}[len(end)]
    value = ALPHABET.index(token[-1])
    alike = [] if not bits else [ALPHABET[value | spare] for spare in range(1, 1 << bits)]
    assert len(alike) == others
    for last in alike:
        text = token[:-1] + last
        assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == bytes(frame_of(token))
        door.refuses(text, MALFORMED, decryptions=0)


def escaped(token: str) -> str:
    return "".join(f"%{ord(char):02X}" for char in token)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda token: f'"{token}"', id="D11-quoted"),
        pytest.param(lambda token: f"'{token}'", id="D11-single-quoted"),
        pytest.param(escaped, id="D12-percent-encoded"),
        pytest.param(lambda token: escaped(token[:1]) + token[1:], id="D12-first-percent-encoded"),
        pytest.param(lambda token: token + "%3D", id="D12-padding-percent-encoded"),
        pytest.param(lambda token: token.replace("A", "\uff21"), id="D13-full-width-A"),
        pytest.param(lambda token: token.replace("A", "\u0410"), id="D13-cyrillic-A"),
        pytest.param(lambda token: "\u0410" + token[1:], id="D13-cyrillic-first"),
        pytest.param(lambda token: token[:-1] + "\xe9", id="D13-latin-1"),
        pytest.param(lambda token: token + "\u0301", id="D13-combining"),
        pytest.param(lambda token: "\ud800" + token, id="D14-surrogate-first"),
        pytest.param(lambda token: token[:-1] + "\udcff", id="D14-surrogate-last"),
        pytest.param(lambda token: token.encode().decode("utf-16-le", "surrogatepass"), id="D13-utf-16"),
        pytest.param(lambda token: repr(token.encode()), id="bytes-as-text"),
    ],
)
def test_a_token_in_another_writing_is_malformed(door: Door, change: Callable[[str], str]) -> None:
    """D11 to D14"""
    token = door.seal()
    door.refuses(change(token + "A"), MALFORMED, decryptions=0)
    assert door.opens(token)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "token",
    [b"A" * 80, bytearray(80), memoryview(b"A" * 80), 7, None, ["A" * 80], ("A" * 80,), {"A": 1}, True, Text("A" * 80), object],
    ids=lambda token: getattr(token, "__name__", type(token).__name__),
)
def test_anything_but_a_str_is_the_caller_s_error(ring: Keyring, token: object) -> None:
    """D15"""
    with pytest.raises(TypeError, match="a token is a str, not"):
        Codec(ring, "session").decode(token)


# The frame


def test_of_256_first_bytes_only_the_suite_s_own_opens(door: Door) -> None:
    """D16"""
    frame = frame_of(door.seal())
    for first in set(range(256)) - {door.suite}:
        frame[0] = first
        door.refuses(text_of(frame), UNKNOWN_KEY if first in set(Suite) else MALFORMED, decryptions=0)
    frame[0] = door.suite
    assert door.opens(text_of(frame))


def test_an_unknown_key_id_is_not_tried(door: Door) -> None:
    """D17"""
    door.refuses(door.seal_plaintext(reference.plaintext(NOW, NOW + DAY, BODY), secret=OTHER_SECRET), UNKNOWN_KEY, decryptions=0)
    frame = frame_of(door.seal())
    for key_id in (bytes(4), b"\xff" * 4, frame[4:0:-1]):
        frame[1:5] = key_id
        door.refuses(text_of(frame), UNKNOWN_KEY, decryptions=0)


@pytest.mark.parametrize("length", range(45))
def test_a_frame_without_a_whole_tag_is_malformed(door: Door, length: int) -> None:
    """D18, D19"""
    door.refuses(text_of(frame_of(door.seal())[:length]), MALFORMED, decryptions=0)


def test_every_flipped_bit_is_seen(door: Door) -> None:
    """D20"""
    token = door.seal()
    frame = frame_of(token)
    flips = 0
    for index, bit in itertools.product(range(len(frame)), range(8)):
        frame[index] ^= 1 << bit
        door.refuses(text_of(frame), MALFORMED if index == 0 else UNKNOWN_KEY if index < 5 else FORGED)
        frame[index] ^= 1 << bit
        flips += 1
    assert (flips, text_of(frame)) == (688, token)


def one_character_changes(token: str, chars: str) -> Iterator[str]:
    for index in range(len(token)):
        yield token[:index]
        yield token[index + 1 :]
        yield token[:index] + token[index + 1 :]
        for char in chars:
            yield token[:index] + char + token[index:]
            if char != token[index]:
                yield token[:index] + char + token[index + 1 :]
    for char in chars:
        yield token + char


@pytest.mark.parametrize("body_bytes", [28, 29, 30])
def test_no_cut_deleted_inserted_or_exchanged_character_opens(door: Door, body_bytes: int) -> None:
    """D21: every position, every letter of the alphabet and some that are of none"""
    token = door.seal(b"{}".ljust(body_bytes))
    chars = ALPHABET + '=+/.,%"\n\0\x7f\xe9\u20ac\ud800'
    seen = {door.read(text)[0] for text in one_character_changes(token, chars)}
    assert seen == {MALFORMED, UNKNOWN_KEY, FORGED}
    assert door.opens(token) == {}


def test_neither_do_separators_of_headers(ring: Keyring, suite: Suite, clock: Clock) -> None:
    """D21: at a codec, for which they have no meaning"""
    door = CodecDoor(ring, suite, clock)
    assert None not in {door.read(text)[0] for text in one_character_changes(door.seal(), "; \t,&")}


@pytest.mark.parametrize("body_bytes", [28, 29, 30])
def test_tokens_one_after_another_do_not_open(door: Door, body_bytes: int) -> None:
    """D22"""
    one, other = door.seal(b"{}".ljust(body_bytes)), door.seal(BODY)
    is_aligned = len(one) % 4 == 0
    for text in (one * 2, one + other, one * 3, one * 4):
        door.refuses(text, *((FORGED,) if is_aligned else (MALFORMED, FORGED)))
    door.refuses(f"{one}.{other}", MALFORMED)


def test_half_of_one_token_and_half_of_another_do_not_open(door: Door) -> None:
    """D23"""
    mine = door.seal()
    # One whose nonce begins with another byte, or the two cut behind it would be the same as before.
    while frame_of(theirs := door.seal_plaintext(reference.plaintext(NOW, NOW + DAY, BODY), name="cart"))[5] == frame_of(mine)[5]:
        pass
    assert frame_of(mine)[:5] == frame_of(theirs)[:5]
    for cut in (5, 6, 29, 40, 70):
        door.refuses(text_of(frame_of(mine)[:cut] + frame_of(theirs)[cut:]), FORGED, decryptions=1)
    for cut in (6, 29, 40, 70):
        door.refuses(text_of(frame_of(theirs)[:cut] + frame_of(mine)[cut:]), FORGED, decryptions=1)


def test_a_token_s_halves_belong_together_under_one_name_too(door: Door) -> None:
    """D23"""
    one, two = door.seal(), door.seal(BODY.replace(b"7", b"8"))
    for cut in (5 + 24, 5 + 24 + 13, 86 - 16):
        door.refuses(text_of(frame_of(one)[:cut] + frame_of(two)[cut:]), FORGED)


@pytest.mark.parametrize(
    ("kind", "name", "audience"),
    [
        ("token", "session", ""),
        ("cookie", "session", ""),
        ("header", "session", ""),
        ("", "session", ""),
        (None, "cart", ""),
        (None, "Session", ""),
        (None, "sessio", ""),
        (None, "session", "shop"),
        (None, "session", "session"),
        (None, "", "session"),
    ],
)
def test_kind_name_and_audience_are_bound(door: Door, kind: str | None, name: str, audience: str) -> None:
    """D24, D25"""
    kind = kind or door.kind
    token = reference.seal(SECRET, door.suite, kind, name, audience, reference.plaintext(NOW, NOW + DAY, BODY))
    if (kind, name, audience) == (door.kind, "session", ""):
        assert door.opens(token)
    else:
        door.refuses(token, FORGED, decryptions=1)


def test_a_codec_s_token_is_no_cookie_and_a_cookie_no_token(ring: Keyring, clock: Clock) -> None:
    codec, jar = Codec(ring, "session", clock=clock), Jar("session", ring, clock=clock)
    token = codec.encode({"user": 7})
    session = Sessions([jar], f"session={token}")["session"]
    assert (dict(session), session.refusal) == ({}, FORGED)
    sessions = Sessions([jar], None)
    sessions["session"] = {"user": 7}
    cookie = cookie_of(sessions.commit()[0]).partition("=")[2]
    with pytest.raises(ForgedTokenError):
        codec.decode(cookie)
    assert codec.decode(token) == jar.codec.decode(cookie) == {"user": 7}


@pytest.mark.parametrize("kind", [Codec, lambda *args, **options: Jar(*reversed(args), **options).codec], ids=["codec", "jar"])
def test_of_25_names_and_audiences_each_opens_its_own_alone(kind: Callable[..., Codec], ring: Keyring, clock: Clock) -> None:
    pairs = list(itertools.product(["a", "ab", "abc", "b", "bc"], ["", "a", "b", "bc", "c"]))
    codecs = [kind(ring, name, audience=audience, clock=clock) for name, audience in pairs]
    tokens = [codec.encode({"of": index}) for index, codec in enumerate(codecs)]
    opened = []
    for (reader, codec), (writer, token) in itertools.product(enumerate(codecs), enumerate(tokens)):
        try:
            opened.append((reader, writer, codec.decode(token)["of"]))
        except ForgedTokenError:
            continue
    assert opened == [(index, index, index) for index in range(25)]


def test_two_jars_of_one_secret_open_their_own_alone(ring: Keyring, clock: Clock) -> None:
    """D24"""
    jars = [Jar(name, ring, clock=clock) for name in ("session", "cart")]
    sessions = Sessions(jars, None)
    sessions["session"]["user"] = 7
    sessions["cart"]["total"] = 33
    session, cart = (cookie_of(value).partition("=")[2] for value in sessions.commit())
    same = Sessions(jars, f"session={session}; cart={cart}")
    assert (same["session"], same["cart"]) == ({"user": 7}, {"total": 33})
    swapped = Sessions(jars, f"session={cart}; cart={session}")
    assert [(dict(swapped[name]), swapped[name].refusal) for name in swapped] == [({}, FORGED), ({}, FORGED)]
    assert swapped.commit() == []


def test_a_jar_binds_its_cookie_name(ring: Keyring, clock: Clock) -> None:
    host, plain = (Jar("session", ring, cookie_name=name, clock=clock) for name in ("__Host-session", "session"))
    token = plain.codec.encode({"user": 7})
    session = Sessions([host], f"__Host-session={token}")["session"]
    assert (dict(session), session.refusal) == ({}, FORGED)


# Keys


def test_a_key_taken_out_of_the_ring_opens_nothing(door: Door) -> None:
    """D26"""
    token = door.seal()
    new = Key.from_secret(OTHER_SECRET, suite=door.suite)
    door.again(Keyring(new)).refuses(token, UNKNOWN_KEY, decryptions=0)


@pytest.mark.parametrize("role", ["accepting", "retiring"])
@pytest.mark.parametrize("new_suite", list(Suite), ids=lambda suite: suite.name)
def test_accepting_and_retiring_keys_open_and_only_a_retiring_one_s_are_sealed_again(
    key: Key, suite: Suite, clock: Clock, role: str, new_suite: Suite
) -> None:
    """D27"""
    new = Key.from_secret(OTHER_SECRET, suite=new_suite)
    ring = Keyring(new, **{role: [key]})
    plaintext = reference.plaintext(NOW - 5, NOW + DAY, BODY, id=bytes(range(16)))
    assert Codec(ring, "session", clock=clock).decode(reference.seal(SECRET, suite, "token", "session", "", plaintext))

    jar = Jar("session", ring, clock=clock)
    sessions = Sessions([jar], "session=" + reference.seal(SECRET, suite, "cookie", "session", "", plaintext))
    assert sessions["session"] == json.loads(BODY)
    assert sessions["session"].key_id == key.id
    if role == "accepting":
        assert sessions.commit() == []
    else:
        token = cookie_of(sessions.commit()[0]).partition("=")[2]
        assert reference.open(OTHER_SECRET, new_suite, "cookie", "session", "", token) == plaintext


def test_a_key_id_of_one_key_over_the_seal_of_another_is_forged(door: Door, key: Key) -> None:
    """D28"""
    other = Key.from_secret(OTHER_SECRET, suite=door.suite)
    frame = frame_of(door.seal_plaintext(reference.plaintext(NOW, NOW + DAY, BODY), secret=OTHER_SECRET))
    frame[1:5] = bytes.fromhex(key.id)
    door.refuses(text_of(frame), FORGED, decryptions=1)
    door.again(Keyring(key, accepting=[other])).refuses(text_of(frame), FORGED)


def test_a_secret_used_in_both_suites_has_two_ids_and_two_keys(clock: Clock) -> None:
    gcm, poly = (Key.from_secret(SECRET, suite=suite) for suite in Suite)
    assert gcm.id != poly.id
    codec = Codec(Keyring(gcm, accepting=[poly]), "session", clock=clock)
    token = Codec(Keyring(poly), "session", clock=clock).encode({"user": 7})
    assert codec.decode(token) == {"user": 7}
    frame = frame_of(token)
    frame[:5] = bytes((gcm.suite,)) + bytes.fromhex(gcm.id)
    with pytest.raises(ForgedTokenError):
        codec.decode(text_of(frame))


# What a key holder sealed, and no session is


def test_a_sealed_nothing_is_malformed(door: Door) -> None:
    """D30"""
    token = door.seal_plaintext(b"")
    assert len(token) == 60
    door.refuses(token, MALFORMED, decryptions=1)


@pytest.mark.parametrize("length", range(29))
def test_a_plaintext_cut_within_its_fields_is_malformed(door: Door, length: int) -> None:
    """D31"""
    whole = reference.plaintext(NOW, NOW + DAY, b"", id=bytes(range(16)))
    assert len(whole) == 29
    door.refuses(door.seal_plaintext(whole[:length]), MALFORMED, decryptions=1)
    assert door.opens(door.seal_plaintext(whole)) == {}


def test_an_unknown_flag_is_malformed(door: Door) -> None:
    """D32"""
    bodies = {False: BODY, True: deflated(BODY)}
    for flags in range(256):
        body = bytes(range(16)) * (flags & 1) + bodies[bool(flags & 2)]
        token = door.seal(body, flags=flags)
        if flags < 8:
            assert door.opens(token) == json.loads(BODY)
        else:
            door.refuses(token, MALFORMED, decryptions=1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body, id=f"{line}-{body[:24]!r}")
        for line, bodies in {
            "D33": [b"null", b"1", b'"x"', b"[]", b"true", b"-0.5", b'[{"a":1}]'],
            "no-json": [b" ", b"   ", b"{", b"}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{'a':1}", b"{a:1}", b'{"a":01}', b'{"a":+1}'],
            "no-string": [b'{"a":"\n"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"', b'{"a\x00":1}', b"{1:1}", b"/**/{}"],
            "D34": [b"{}x", b"{}{}", b"{} x", b"{}\n", b"{}\t", b"{}\0", b"{}\r\n", b"{},", b"{}]", b"{}\xc2\xa0", b'{"a":1}//'],
            "before": [b" {}", b"\n{}", b"\0{}", b"x{}"],
            "D35": [
                "{}".encode(encoding)
                for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
            ],
            "D36": [
                b'{"a":"\xff"}',
                b'{"a":"\xc0\xaf"}',
                b'{"a":"\xe0\x80\xaf"}',
                b'{"a":"\xf0\x80\x80\xaf"}',
                b'{"a":"\xed\xa0\x80"}',
                b'{"a":"\xf4\x90\x80\x80"}',
                b'{"a":"\xc3',
                b'{"a":"\xc3"}',
                b"\x80",
                b"{}\xff",
                b"\xc1\xbb\xc1\xbd",
            ],
            "D38": [
                b'{"a":NaN}',
                b'{"a":-Infinity}',
                b'{"a":Infinity}',
                b'{"a":[1,NaN]}',
                b"NaN",
                b'{"a":nan}',
                b'{"a":-NaN}',
                b'{"a":inf}',
            ],
        }.items()
        for body in bodies
    ],
)
def test_a_sealed_body_that_is_no_json_object_is_malformed(door: Door, body: bytes) -> None:
    """D33 to D36, D38"""
    door.refuses(door.seal(body), MALFORMED, decryptions=1)
    door.refuses(door.seal(deflated(body), flags=0x02), MALFORMED, decryptions=1)


def test_spaces_after_the_object_and_within_it_are_taken(door: Door) -> None:
    """D34"""
    assert door.opens(door.seal(b'{"a":1}' + b" " * 500)) == {"a": 1}
    assert door.opens(door.seal(b'{ "a" :\t1\n}')) == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":' + b"[" * 1400 + b"]" * 1400 + b"}", id="deep"),
        pytest.param(b'{"a":' * 450 + b"1" + b"}" * 450, id="deep-objects"),
        pytest.param(b'{"a":' + b"[" * 2800, id="deep-and-open"),
        pytest.param(b'{"a":' + b"9" * 2900 + b"}", id="2900-digits"),
        pytest.param(b'{"a":-' + b"1" * 2900 + b"}", id="minus-2900-digits"),
        pytest.param(b'{"a":0.' + b"1" * 2900 + b"}", id="2900-places"),
        pytest.param(b'{"a":1e999,"b":-1e999}', id="1e999"),
        pytest.param(b'{"a":1e' + b"9" * 2800 + b"}", id="long-exponent"),
        pytest.param(b"{" + b'"a":1,' * 480 + b'"a":2}', id="duplicate-keys"),
        pytest.param(b'{"\\ud800":"\\udfff"}', id="lone-surrogates"),
        pytest.param(b'{"a":[' + b"{}," * 900 + b"{}]}", id="many"),
    ],
)
def test_extreme_json_of_a_key_holder_opens_or_is_malformed_and_is_not_sent_again(door: Door, body: bytes) -> None:
    """D37; the jar's door checks that nothing is sent again"""
    for token in (door.seal(body), door.seal(deflated(body), flags=0x02)):
        reason, content = door.read(token)
        assert reason is MALFORMED or (content is not None and type(dict(content)) is dict)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":' + b"[" * 32_000 + b"]" * 32_000 + b"}", id="deep"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep-objects"),
        pytest.param(b'{"a":' + b"9" * 60_000 + b"}", id="digits"),
    ],
)
def test_deflated_extremes_open_or_are_malformed_and_are_not_sent_again(door: Door, body: bytes) -> None:
    """D37"""
    reason, content = door.read(door.seal(deflated(body), flags=0x02))
    assert reason is MALFORMED or (content is not None and list(content) == ["a"])


@pytest.mark.parametrize(
    ("created", "expires", "reason"),
    [
        pytest.param(NOW, NOW + DAY, None, id="now"),
        pytest.param(NOW + 60_000, NOW + DAY, None, id="D40-60-s-ahead"),
        pytest.param(NOW + 60_001, NOW + DAY, FUTURE, id="D40-more-than-60-s-ahead"),
        pytest.param(NOW + DAY, NOW + 2 * DAY, FUTURE, id="D40-a-day-ahead"),
        pytest.param((1 << 48) - 1, (1 << 48) - 1, FUTURE, id="D43-created-last"),
        pytest.param(NOW - DAY, NOW + 1, None, id="D41-one-ms-left"),
        pytest.param(NOW - DAY, NOW, EXPIRED, id="D41-just-over"),
        pytest.param(NOW - DAY, NOW - 1, EXPIRED, id="D41-over"),
        pytest.param(NOW, NOW, EXPIRED, id="D41-no-time-at-all"),
        pytest.param(0, 0, EXPIRED, id="D43-zero"),
        pytest.param(NOW, NOW - 1, MALFORMED, id="D42-ends-before-it-begins"),
        pytest.param(NOW + DAY, NOW + DAY - 1, MALFORMED, id="D42-ahead-and-backwards"),
        pytest.param((1 << 48) - 1, 0, MALFORMED, id="D42-last-to-zero"),
        pytest.param(0, (1 << 48) - 1, None, id="D43-all-time"),
        pytest.param(NOW, (1 << 48) - 1, None, id="D43-expires-last"),
    ],
)
def test_times_are_judged(door: Door, created: int, expires: int, reason: Reason | None) -> None:
    """D40 to D43"""
    for body in (BODY, b""):
        token = door.seal(body, created, expires)
        if reason is None:
            session = door.opens(token)
            assert session.created_at.timestamp() == created / 1000
            assert session.expires_at.timestamp() == min(expires, 253_402_300_799_999) / 1000
        else:
            door.refuses(token, reason, decryptions=1)


@pytest.mark.parametrize(
    ("age_days", "days_sealed", "days_left"),
    [(0, 400, 3), (1, 400, 2), (2.999, 400, 0.001), (3, 400, None), (4, 400, None), (1, 2, 1)],
)
def test_a_life_beyond_max_duration_is_cut(
    door: Door, ring: Keyring, clock: Clock, age_days: float, days_sealed: float, days_left: float | None
) -> None:
    """D42"""
    capped = door.again(ring, max_duration=timedelta(days=3))
    created = NOW - round(age_days * DAY)
    token = door.seal(BODY, created, created + round(days_sealed * DAY))
    assert door.opens(token)
    if days_left is None:
        capped.refuses(token, EXPIRED)
    else:
        session = capped.opens(token)
        assert session.expires_at.timestamp() == clock.now + round(days_left * 86_400, 3)


def test_a_life_to_the_end_of_the_format_can_be_written_and_sealed_again(ring: Keyring, suite: Suite, clock: Clock) -> None:
    """D43"""
    jar = Jar("session", ring, clock=clock)
    token = reference.seal(SECRET, suite, "cookie", "session", "", reference.plaintext(0, (1 << 48) - 1, BODY))
    sessions = Sessions([jar], f"session={token}")
    sessions["session"]["more"] = True
    answer = sessions.commit()[0]
    assert f"; Max-Age={-(-((1 << 48) - 1 - NOW) // 1000)};" in answer
    assert jar.codec.decode(cookie_of(answer).partition("=")[2])["more"] is True


# Deflated


def test_a_deflated_session_opens_anywhere(door: Door) -> None:
    """D44"""
    assert door.opens(door.seal(deflated(BODY), flags=0x02)) == json.loads(BODY)
    largest = b'{"a":"' + b"x" * (65_536 - 8) + b'"}'
    assert len(largest) == 65_536
    assert door.opens(door.seal(deflated(largest), flags=0x02)) == json.loads(largest)
    door.refuses(door.seal(deflated(largest + b" "), flags=0x02), MALFORMED)
    assert door.opens(door.seal(deflated(b""), flags=0x02)) == door.opens(door.seal(b"")) == {}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(deflated(b'{"a":"' + b"x" * 2_900_000 + b'"}'), id="bomb"),
        pytest.param(deflated(b"\0" * 2_900_000), id="zero-bomb"),
        pytest.param(deflated(b"[" * 2_900_000), id="bracket-bomb"),
        pytest.param(deflated(deflated(b" " * 2_900_000) * 20), id="bomb-in-a-bomb"),
        pytest.param(deflated(BODY)[:-1], id="cut"),
        pytest.param(deflated(BODY)[:1], id="one-byte"),
        pytest.param(b"", id="nothing"),
        pytest.param(deflated(BODY) + b" ", id="space-after"),
        pytest.param(deflated(BODY) * 2, id="twice"),
        pytest.param(BODY, id="not-deflated"),
        pytest.param(zlib.compress(BODY), id="zlib-header"),
        pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + deflated(BODY), id="gzip-header"),
        pytest.param(b"\xff" * 2_900, id="no-block-of-deflate"),
        pytest.param(b"\x00\x00\x00\xff\xff" * 580, id="empty-blocks-without-end"),
    ],
)
def test_a_bomb_and_a_broken_stream_are_refused_within_a_mebibyte(door: Door, body: bytes) -> None:
    """D45"""
    token = door.seal(body, flags=0x02)
    assert len(token) <= door.max_chars
    tracemalloc.start()
    try:
        door.refuses(token, MALFORMED, decryptions=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


# Others' formats


@pytest.mark.parametrize(
    "token",
    [
        "QmFzZTY0SXY.c29tZSBjaXBoZXJ0ZXh0IG9mIHNpeHRlZW4.1357924680000.86400000.aG1hYyBvZiBhbGwgdGhlIHBhcnRzIGJlZm9yZQ",
        "QmFzZTY0SXY=.c29tZSBjaXBoZXI=.1357924680000.86400000.aG1hYw==",
        "eyJ1c2VyIjo3fQ.ZxYwVu.c2lnbmF0dXJlIG9mIHR3ZW50eSBi",
        ".eJyrVipILC4uzy9KUbJSMlSqBQAtYAUc.ZxYwVu.c2lnbmF0dXJlIG9mIHR3ZW50eSBi",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJlIG9mIHRoaXJ0eS10d28gYnl0ZXM",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.",
        "eyJlbmMiOiJBMjU2R0NNIn0..aXYgb2YgMTI.Y2lwaGVydGV4dA.dGFnIG9mIDE2IGJ5dGVz",
        "gAAAAABlZxYwVuTs" + "Zm9vYmFyYmF6" * 7 + "Zm9vYg==",
        "gAAAAABlZxYwVuTs" + "Zm9vYmFyYmF6" * 7,
        "v4.local.bm9uY2Ugb2YgMzIgYnl0ZXMgYW5kIHNvbWUgY2lwaGVydGV4dCBhbmQgYSB0YWc",
        "s%3AZm9vYmFy.c2lnbmF0dXJlIG9mIHRoaXJ0eS10d28gYnl0ZXM",
        "s:Zm9vYmFy.c2lnbmF0dXJlIG9mIHRoaXJ0eS10d28gYnl0ZXM",
        "BAh7B0kiD3Nlc3Npb25faWQGOgZFVEki" * 3 + "--0123456789abcdef0123456789abcdef01234567",
        "0123456789abcdef" * 4,
        "550e8400-e29b-41d4-a716-446655440000",
        "csk1_AfUv__KmQSKKuqc2-TWiyIvgxESYByzxg0sFe5tiwrc8oYhFaw",
        "{}",
        '{"user":7}' * 8,
        "deleted",
        "null",
        "../../../../../../etc/passwd" * 3,
        "' OR 1=1 --",
        "<script>alert(1)</script>",
        "(lp0\nS'x'\np1\na.",
    ],
)
def test_another_format_is_malformed(door: Door, token: str) -> None:
    """D48"""
    door.refuses(token, MALFORMED, decryptions=0)


# Anything sealed, and anything not


@pytest.mark.parametrize("kind", [CodecDoor, JarDoor])
@given(plaintext=st.binary(max_size=200))
def test_any_sealed_bytes_open_or_are_refused(kind: type[Door], plaintext: bytes) -> None:
    for suite in Suite:
        door = kind(Keyring(Key.from_secret(SECRET, suite=suite)), suite, Clock())
        reason, content = door.read(door.seal_plaintext(plaintext))
        assert reason in ERRORS or content is not None


@pytest.mark.parametrize("kind", [CodecDoor, JarDoor])
@given(flags=st.integers(0, 7), body=st.binary(max_size=60) | st.text('{}[]":,0123456789.eE+-\\untrfalse ', max_size=60))
def test_any_sealed_body_opens_or_is_malformed(kind: type[Door], flags: int, body: bytes | str) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    door = kind(Keyring(Key.from_secret(SECRET)), Suite.XAES_256_GCM, Clock())
    reason, content = door.read(door.seal(bytes(16) * (flags & 1) + (deflated(data) if flags & 2 else data), flags=flags))
    assert reason is MALFORMED or content is not None


@given(text=st.text(max_size=300) | st.text(ALPHABET, min_size=60, max_size=300))
def test_no_made_up_text_opens(text: str) -> None:
    door = CodecDoor(Keyring(Key.from_secret(SECRET)), Suite.XAES_256_GCM, Clock())
    door.refuses(text, MALFORMED, UNKNOWN_KEY)
