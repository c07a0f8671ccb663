"""Codec: direct encode and decode. Lifetimes stand in test_lifetimes.py, hostile tokens in test_hostile_tokens.py."""

from __future__ import annotations

import copy
import json
import pickle
import re
from types import MappingProxyType
from typing import Any

import pytest

from clientsession import (
    Codec,
    ConfigurationError,
    Jar,
    Key,
    Keyring,
    MalformedTokenError,
    SerializationError,
    Sessions,
    SessionTooLargeError,
)
from tests import reference
from tests.conftest import Clock


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


def test_a_session_of_a_jar_may_be_sealed_by_a_codec_with_another_serializer(ring: Keyring) -> None:
    jar = Jar("session", ring, serializer=Hexed())
    sessions = Sessions([jar], f"session={jar.codec.encode({'a': 1})}")
    codec = Codec(ring, "link")
    token = codec.encode(sessions["session"])
    assert codec.decode(token) == {"a": 1}
    assert codec.decode(token).expires_at == sessions["session"].expires_at


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
    assert caught.value.__suppress_context__
    assert "MARKER" not in str(caught.value)


def test_a_serializer_that_reads_no_dict_makes_it_malformed(ring: Keyring) -> None:
    token = Codec(ring, "x", serializer=Hexed()).encode({"a": 1})
    with pytest.raises(MalformedTokenError):
        Codec(ring, "x", serializer=Faulty(loads=[1])).decode(token)


@pytest.mark.parametrize("error", [TypeError("MARKER"), ValueError("MARKER"), RecursionError("MARKER")])
def test_a_serializer_that_cannot_write_is_named_with_its_error_and_without_its_message(ring: Keyring, error: Exception) -> None:
    with pytest.raises(SerializationError, match=f"Faulty raised {type(error).__name__}") as caught:
        Codec(ring, "x", serializer=Faulty(dumps=error)).encode({"a": 1})
    assert "MARKER" not in str(caught.value)
    assert caught.value.__context__ is None


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


def test_a_clock_that_cannot_be_a_key_of_a_dict_is_refused(ring: Keyring) -> None:
    class Unhashable(Clock):
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(ConfigurationError, match="clock"):
        Codec(ring, "x", clock=Unhashable())
