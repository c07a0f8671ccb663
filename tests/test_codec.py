"""Codec: direct encode and decode. Lifetimes stand in test_session.py, hostile tokens in test_hostile_tokens.py."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import pickle
import re
import traceback
import weakref
import zlib
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
    TokenError,
)
from tests import reference
from tests.conftest import Client, Clock


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
