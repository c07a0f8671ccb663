"""Codec: direct encode and decode. Lifetimes stand in test_session.py, hostile tokens in test_hostile_tokens.py."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import pickle
import re
import sys
import traceback
import weakref
import zlib
from collections.abc import Callable
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from clientsession import (
    Codec,
    ConfigurationError,
    ExpiredTokenError,
    Jar,
    Key,
    Keyring,
    MalformedTokenError,
    SerializationError,
    Sessions,
    SessionTooLargeError,
    Suite,
    TokenError,
)
from clientsession._json import StrictJSON
from tests import reference
from tests.conftest import Client, Clock, forged


def test_a_token_gives_back_what_was_sealed(ring: Keyring) -> None:
    codec = Codec(ring, "invite")
    data = {"email": "ada@example.org", "n": [1, 2.5, None, True, {"é": "😀"}]}
    token = codec.encode(data)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    session = codec.decode(token)
    assert session == data
    assert (session.is_new, session.key_id, session.refusal, session.ephemeral) == (False, ring.sealing.id, None, False)


def test_a_token_around_nothing_has_78_characters(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    token = codec.encode({})
    assert len(token) == 78
    assert codec.decode(token) == {}


def test_no_two_tokens_are_alike(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    assert len({codec.encode({"a": 1}) for _ in range(1000)}) == 1000


def test_what_is_given_is_not_changed_and_not_kept(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    data = {"a": [1]}
    token = codec.encode(data)
    data["a"].append(2)
    assert codec.decode(token) == {"a": [1]}
    assert codec.decode(codec.encode(MappingProxyType({"a": 1}))) == {"a": 1}


@pytest.mark.parametrize("data", [None, [], "text", 7, [("a", 1)], b"{}"])
def test_something_else_than_a_mapping_is_a_type_error(ring: Keyring, data: Any) -> None:
    with pytest.raises(TypeError, match="seals a dict"):
        Codec(ring, "x").encode(data)


def test_an_id_is_made_on_first_use_and_sealed(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    session = codec.decode(codec.encode({"a": 1}))
    first = session.id
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    assert codec.decode(codec.encode(session)).id == first
    session.reset()
    assert session.id != first


def test_a_copy_of_a_session_is_a_plain_dict(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    session = codec.decode(codec.encode({"a": [1]}))
    for copied in (copy.copy(session), copy.deepcopy(session), session.copy(), pickle.loads(pickle.dumps(session))):
        assert type(copied) is dict
        assert copied == {"a": [1]}
    assert copy.deepcopy(session)["a"] is not session["a"]


def test_max_size_bounds_writing_and_reading(ring: Keyring) -> None:
    large, small = Codec(ring, "x", max_size=65_536), Codec(ring, "x", max_size=200)
    data = {"a": "x" * 200}
    token = large.encode(data)
    assert large.decode(token) == data
    with pytest.raises(MalformedTokenError):
        small.decode(token)
    with pytest.raises(SessionTooLargeError) as caught:
        small.encode(data)
    assert (caught.value.size, caught.value.limit, caught.value.largest) == (len(token), 200, (("'a'", 206),))


def test_a_session_that_was_opened_for_something_else_is_content_alone(ring: Keyring, clock: Clock) -> None:
    jar = Jar("cart", ring, duration=timedelta(days=120), serializer=Hexed(), clock=clock)
    cart = Sessions([jar], f"cart={jar.codec.encode({'a': 1})}")["cart"]
    invite = Codec(ring, "invite", duration=timedelta(days=7), clock=clock)
    invitation = invite.decode(invite.encode({"a": 1}))
    seen = {cart.id, invitation.id}
    clock.pass_(60)
    codec = Codec(ring, "link", duration=timedelta(minutes=10), clock=clock)
    for session in (cart, invitation, Sessions([jar], None)["cart"]):
        opened = codec.decode(codec.encode(session))
        assert opened == session
        assert opened.created_at.timestamp() == clock.now
        assert opened.expires_at - opened.created_at == timedelta(minutes=10)
        assert opened.id not in seen


def test_a_session_sealed_again_under_another_serializer_is_written_anew(ring: Keyring, clock: Clock) -> None:
    before, after = Codec(ring, "x", serializer=Hexed(), clock=clock), Codec(ring, "x", clock=clock)
    session = before.decode(before.encode({"a": 1}))
    clock.pass_(60)
    again = after.decode(after.encode(session))
    assert again == {"a": 1}
    assert again.expires_at == session.expires_at


def test_an_id_that_was_not_sealed_is_another_one_each_time(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    token = codec.encode({"a": 1})
    assert codec.decode(token).id != codec.decode(token).id


def test_a_token_that_is_to_end_before_a_faster_clock_made_it_ends_then(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "x", clock=clock)
    session = codec.decode(codec.encode({"a": 1}))
    clock.pass_(-50)  # this server is behind
    session.set_duration(timedelta(seconds=30))
    again = codec.decode(codec.encode(session))
    assert again.expires_at == again.created_at == session.created_at
    clock.pass_(50)
    with pytest.raises(ExpiredTokenError):
        codec.encode(session)


def test_an_int_of_many_digits_in_the_place_of_another_is_a_serialization_error(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    session = codec.decode(codec.encode({"x": 1}))
    session["x"] = 10**5000
    with pytest.raises(SerializationError, match="x is an int beyond 64 bits"):
        codec.encode(session)


# Serializers


class Hexed:
    """JSON in hex digits: bytes that the default serializer cannot read."""

    def dumps(self, value: dict[str, Any], /) -> bytes:
        return json.dumps(value).encode().hex().encode()

    def loads(self, body: bytes, /) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(bytes.fromhex(body.decode()))
        return result


def test_a_serializer_of_ones_own(ring: Keyring) -> None:
    codec = Codec(ring, "x", serializer=Hexed())
    assert codec.decode(codec.encode({"a": [1]})) == {"a": [1]}
    with pytest.raises(MalformedTokenError):
        codec.decode(Codec(ring, "x").encode({"a": [1]}))
    with pytest.raises(MalformedTokenError):
        Codec(ring, "x").decode(codec.encode({"a": [1]}))


class Faulty(Hexed):
    def __init__(self, *, dumps: Any = None, loads: Any = None) -> None:
        self._dumps, self._loads = dumps, loads

    def dumps(self, value: dict[str, Any], /) -> bytes:
        return _perform(self._dumps) if self._dumps is not None else super().dumps(value)

    def loads(self, body: bytes, /) -> dict[str, Any]:
        return _perform(self._loads) if self._loads is not None else super().loads(body)


def _perform(action: Any) -> Any:
    if isinstance(action, Exception):
        raise action
    return action


@pytest.mark.parametrize("error", [ValueError("MARKER"), RecursionError("MARKER"), UnicodeDecodeError("x", b"MARKER", 0, 1, "")])
def test_a_serializer_that_cannot_read_a_body_makes_it_malformed(ring: Keyring, error: Exception) -> None:
    token = Codec(ring, "x", serializer=Hexed()).encode({"a": 1})
    with pytest.raises(MalformedTokenError) as caught:
        Codec(ring, "x", serializer=Faulty(loads=error)).decode(token)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "MARKER" not in str(caught.value)


def test_a_serializer_that_reads_no_dict_makes_it_malformed(ring: Keyring) -> None:
    token = Codec(ring, "x", serializer=Hexed()).encode({"a": 1})
    with pytest.raises(MalformedTokenError):
        Codec(ring, "x", serializer=Faulty(loads=[1])).decode(token)


@pytest.mark.parametrize("error", [TypeError("MARKER"), ValueError("MARKER"), OverflowError("MARKER"), RecursionError("MARKER")])
def test_a_serializer_that_cannot_write_is_named_with_its_error_and_without_its_message(ring: Keyring, error: Exception) -> None:
    with pytest.raises(SerializationError, match=f"Faulty raised {type(error).__name__}") as caught:
        Codec(ring, "x", serializer=Faulty(dumps=error)).encode({"a": 1})
    assert "MARKER" not in str(caught.value)
    assert caught.value.__context__ is None


def test_keys_that_are_no_text_are_shown_by_their_type_where_a_serializer_takes_them(ring: Keyring) -> None:
    with pytest.raises(SessionTooLargeError) as caught:
        Codec(ring, "x", serializer=Hexed()).encode({1: "x" * 5000})  # type: ignore[dict-item]
    assert caught.value.largest[0][0] == "<int>"


def test_a_serializer_that_writes_no_bytes_is_told_so(ring: Keyring) -> None:
    with pytest.raises(SerializationError, match="dumps must return bytes, not str"):
        Codec(ring, "x", serializer=Faulty(dumps="text")).encode({"a": 1})


def test_a_bug_in_a_serializer_is_not_taken_for_a_bad_token(ring: Keyring) -> None:
    token = Codec(ring, "x", serializer=Hexed()).encode({"a": 1})
    with pytest.raises(AttributeError, match="a bug"):
        Codec(ring, "x", serializer=Faulty(loads=AttributeError("a bug"))).decode(token)


# What another writer sealed


def test_a_decoded_session_that_is_unchanged_is_sealed_again_as_it_came(clock: Clock) -> None:
    secret = bytes(range(32))
    codec = Codec(Keyring(Key.from_secret(secret)), "x", clock=clock, max_size=8192)
    now = int(clock.now * 1000)
    body = rb'{"a":"\ud800"}'
    token = reference.seal(secret, 1, "token", "x", "", reference.plaintext(now, now + 60_000, body))
    again = codec.encode(codec.decode(token))
    assert reference.open(secret, 1, "token", "x", "", again) == reference.open(secret, 1, "token", "x", "", token)


def test_the_table_of_largest_keys_leaves_out_what_cannot_be_measured(clock: Clock) -> None:
    secret = bytes(range(32))
    now = int(clock.now * 1000)
    body = rb'{"a":"\ud800","b":"xxxxxxxxxx"}'
    token = reference.seal(secret, 1, "token", "x", "", reference.plaintext(now, now + 60_000, body))
    codec = Codec(Keyring(Key.from_secret(secret)), "x", clock=clock, max_size=len(token))
    session = codec.decode(token)
    assert session.id  # sixteen bytes more than came
    with pytest.raises(SessionTooLargeError) as caught:
        codec.encode(session)
    assert caught.value.largest == (("'b'", 16),)


# What a codec shows


def test_a_codec_shows_its_name_and_key_ids(ring: Keyring) -> None:
    assert repr(Codec(ring, "invite")) == f"<Codec 'invite' {ring!r}>"
    assert repr(Jar("session", ring, cookie_name="s")) == f"<Jar 'session' cookie 's' {ring!r}>"
    assert repr(Codec(ring, "x").serializer) == "StrictJSON()"


def test_a_clock_need_not_be_hashable(ring: Keyring) -> None:
    class Unhashable(Clock):
        __hash__ = None  # type: ignore[assignment]

    clock = Unhashable()
    sessions = Sessions([Jar("a", ring, clock=clock), Jar("b", ring, clock=clock)], None)
    sessions["a"]["x"] = sessions["b"]["x"] = 1
    assert len(sessions.commit()) == 2
    assert clock.reads == 1


def test_a_serializer_whose_bytes_differ_each_time_turns_no_read_into_a_write(ring: Keyring) -> None:
    class Salted(Hexed):
        def dumps(self, value: dict[str, Any], /) -> bytes:
            return super().dumps(value) + b"20" * next(salts)

    salts = itertools.count()
    client = Client(Jar("session", ring, serializer=Salted()))
    with client.visit() as sessions:
        sessions["session"]["a"] = [1]
    with client.visit() as sessions:
        assert sessions["session"] == {"a": [1]}
    assert client.set_cookies == []
    with client.visit() as sessions:
        sessions["session"]["a"].append(2)
    assert len(client.set_cookies) == 1


# What a refusal leaves in a traceback


def test_the_frames_of_a_refusal_hold_nothing_of_the_content(clock: Clock) -> None:
    secret = bytes(range(32))
    codec = Codec(Keyring(Key.from_secret(secret)), "x", clock=clock)
    now = int(clock.now * 1000)
    body = b'{"email":"MARKER"}'
    deflate = zlib.compressobj(wbits=-15)
    plaintexts = [
        reference.plaintext(now - 2, now - 1, body),
        reference.plaintext(now + 99_000, now + 99_999, body),
        reference.plaintext(now, now + 9999, body + b"MARKER"),
        reference.plaintext(now, now + 9999, body, flags=0x80),
        reference.plaintext(now + 1, now, body),
        reference.plaintext(now, now + 9999, deflate.compress(b"MARKER") + deflate.flush(), flags=0x02),
        b"MARKER",
    ]
    for plaintext in plaintexts:
        token = reference.seal(secret, 1, "token", "x", "", plaintext)
        with pytest.raises(TokenError) as caught:
            codec.decode(token)
        shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        ours = [frame for frame in shown.split("  File ") if "clientsession" in frame.partition("\n")[0] and "test_" not in frame]
        assert ours
        assert "MARKER" not in "".join(ours)


def test_a_codec_that_nobody_holds_is_gone_at_once(ring: Keyring) -> None:
    """With its keys, also where no collector runs."""
    gc.collect()
    gc.disable()
    try:
        codec = Codec(ring, "x")
        codec.decode(codec.encode({"a": 1}))
        gone = weakref.ref(codec)
        del codec
        assert gone() is None
    finally:
        gc.enable()


def test_a_bad_duration_is_told_before_what_is_wrong_with_the_content(ring: Keyring) -> None:
    with pytest.raises(ConfigurationError, match="duration must be from 1 second"):
        Codec(ring, "x").encode({"a": object()}, duration=timedelta(0))


def test_an_error_says_at_which_question_of_the_specification_a_token_ended(suite: Suite, clock: Clock) -> None:
    secret, now = bytes(range(32)), 1_800_000_000_000
    codec = Codec(Keyring(Key.from_secret(secret, suite=suite)), "x", clock=clock)

    def sealed(created: int, expires: int, body: bytes = b"", flags: int = 0) -> str:
        return reference.seal(secret, suite, "token", "x", "", reference.plaintext(created, expires, body, flags=flags))

    good = codec.encode({})
    assert codec.decode(sealed(now, now + 1)) == {}
    for token, question in (
        ("junk", 1),
        (reference.text(b"\xff" + reference.frame_of(good)[1:]), 2),
        (Codec(Keyring(Key.generate(suite)), "x", clock=clock).encode({}), 3),
        (forged(good), 4),
        (sealed(now, now + 1, flags=0x80), 5),
        (sealed(now + 2, now + 1), 6),
        (sealed(now + 60_001, now + 90_000), 7),
        (sealed(now - 1, now), 8),
        (sealed(now, now + 1, b"[]"), 9),
        (sealed(now, now + 1, b"not deflated", 0x02), 9),
    ):
        with pytest.raises(TokenError) as caught:
            codec.decode(token)
        assert caught.value.question == question


def test_a_codec_seals_and_opens_with_the_keys_its_ring_has_by_now(clock: Clock) -> None:
    one, two = Key.generate(), Key.generate()
    rings = [Keyring(one), Keyring(two, accepting=[one])]
    codec = Codec(Keyring.from_source(lambda: rings[0], clock=clock), "x", clock=clock)
    before = [codec.encode({"n": n}) for n in range(2)]
    rings.pop(0)
    clock.pass_(3600)
    after = [codec.encode({"n": n}) for n in range(2)]
    assert [codec.decode(token).key_id for token in before + after] == [one.id, one.id, two.id, two.id]
    assert [codec.decode(token) for token in before + after] == [{"n": 0}, {"n": 1}] * 2


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (b"AAAA", "a token is a str, not bytes; decode them as ASCII first"),
        (bytearray(b"AAAA"), "a token is a str, not bytearray; decode them as ASCII first"),
        (7, "a token is a str, not int"),
        (None, "a token is a str, not NoneType"),
    ],
)
def test_what_is_no_token_is_told_its_type(ring: Keyring, token: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        Codec(ring, "x").decode(token)
    assert str(caught.value) == words


def test_what_is_no_dict_is_told_its_type(ring: Keyring) -> None:
    with pytest.raises(TypeError, match=r"^a codec seals a dict, not list$"):
        Codec(ring, "x").encode([1])  # type: ignore[arg-type]


def test_a_codec_says_what_it_was_made_with(ring: Keyring, clock: Clock) -> None:
    serializer = StrictJSON()
    codec = Codec(
        ring,
        "invite",
        duration=timedelta(hours=1),
        max_duration=timedelta(hours=2),
        audience="shop",
        max_size=1000,
        serializer=serializer,
        clock=clock,
        pad_to=64,
    )
    assert (codec.keyring, codec.name, codec.audience, codec.max_size) == (ring, "invite", "shop", 1000)
    assert (codec.duration, codec.max_duration) == (timedelta(hours=1), timedelta(hours=2))
    assert (codec.serializer, codec.clock, codec.compress, codec.pad_to) == (serializer, clock, False, 64)
    assert Codec(ring, "invite", compress=True).compress is True
    assert Codec(ring, "invite").max_duration is None


def test_a_session_of_a_codec_that_begins_anew_is_not_ephemeral(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    session = codec.decode(codec.encode({"a": 1}))
    session.reset()
    assert session.ephemeral is False


@pytest.mark.parametrize("length", range(40))
def test_a_padded_token_is_of_one_length_with_and_without_an_id_changed_and_not(ring: Keyring, length: int) -> None:
    codec = Codec(ring, "x", pad_to=64)
    without = codec.encode({"a": "x" * length})
    session = codec.decode(without)
    session["a"] += "x"
    changed = codec.encode(session)
    assert len(session.id) == 32
    with_id = codec.encode(session)
    again = codec.decode(with_id)
    assert len(codec.encode(again)) == len(with_id)
    overhead = 1 + 4 + 24 + 13 + 16
    for token in (without, changed, with_id):
        assert (len(reference.frame_of(token)) - overhead) % 64 == 0
    again["a"] = again["a"][:-1]
    assert (len(reference.frame_of(codec.encode(again))) - overhead) % 64 == 0


@pytest.mark.parametrize("has_id", [False, True])
def test_a_padded_token_of_the_limit_is_sealed_and_none_is_made_too_large(ring: Keyring, has_id: bool) -> None:
    codec = Codec(ring, "x", pad_to=1000, max_size=1000)
    room = 1000 * 3 // 4 - 58 - 16 * has_id
    session = codec.decode(codec.encode({}))
    assert not has_id or session.id
    for length in (room - 9, room - 8):
        session["a"] = "x" * length
        assert len(codec.encode(session)) == 1000
    session["a"] += "x"
    with pytest.raises(SessionTooLargeError):
        codec.encode(session)


@pytest.mark.parametrize(
    ("size", "has_id", "is_filled"), [(3014, False, True), (3010, True, False), (3010, False, True), (2998, True, True)]
)
def test_what_was_compressed_and_would_not_fit_otherwise_stays_as_it_is_where_it_is_padded_now(
    ring: Keyring, size: int, has_id: bool, is_filled: bool
) -> None:
    before, now = Codec(ring, "x", compress=True), Codec(ring, "x", pad_to=1024)
    session = before.decode(before.encode({"a": "x" * (size - len('{"a":""}'))}))
    assert not has_id or session.id
    token = now.encode(now.decode(before.encode(session)))
    assert (len(token) > 4000) is is_filled
    assert now.decode(token) == session


def test_nothing_is_filled_too_where_there_is_room_for_two_bytes(ring: Keyring) -> None:
    assert len(Codec(ring, "x", pad_to=2, max_size=81).encode({})) == 80


class Lenient:
    """Writes what the session JSON refuses."""

    def dumps(self, content: dict[str, Any]) -> bytes:
        return json.dumps(content).encode()

    def loads(self, body: bytes) -> Any:
        return json.loads(body)


def test_what_another_serializer_wrote_and_nobody_changed_is_padded_and_goes_out(ring: Keyring) -> None:
    content = {"n": 2**70}
    codec = Codec(ring, "x", pad_to=64)
    session = codec.decode(Codec(ring, "x", serializer=Lenient()).encode(content))
    assert session == content
    token = codec.encode(session)
    assert codec.decode(token) == content
    assert (len(reference.frame_of(token)) - 58) % 64 == 0
    session["n"] += 1
    with pytest.raises(SerializationError):
        codec.encode(session)


def test_where_the_stack_is_full_neither_a_token_nor_a_dict_is_blamed(ring: Keyring) -> None:
    codec = Codec(ring, "x")
    content = {"a": [1, {"b": 2}]}
    token = codec.encode(content)

    def deeper(levels: int, call: Callable[[], object]) -> object:
        return deeper(levels - 1, call) if levels else call()

    limit = sys.getrecursionlimit()
    for call in (lambda: codec.decode(token) == content, lambda: bool(codec.encode(content))):
        ends = set()
        for levels in range(limit - 200, limit):
            try:
                assert deeper(levels, call)
                ends.add("done")
            except RecursionError:
                ends.add("full")
        assert ends == {"done", "full"}
