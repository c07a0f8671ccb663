"""Msgspec writes and reads the default serializer's JSON, and refuses what it refuses."""

from __future__ import annotations

import enum
import importlib
import json.encoder
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given

from clientsession import Codec, Jar, Keyring, MalformedTokenError, SerializationError, Sessions
from clientsession._json import MAX_VALUES, StrictJSON, _is_plain_by_copies, is_same
from clientsession.serializers import Msgspec
from tests.conftest import cookie_of
from tests.test_json import SESSIONS

STRICT, FAST = StrictJSON(), Msgspec()


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


class Point(msgspec.Struct):
    x: int


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


def around_itself() -> dict[str, Any]:
    session: dict[str, Any] = {"a": []}
    session["a"].append(session)
    return session


def doubled(times: int) -> dict[str, Any]:
    value: list[Any] = []
    for _ in range(times):
        value = [value, value]
    return {"a": value}


@given(SESSIONS)
def test_what_one_writes_both_read_alike_to_the_type(session: dict[str, Any]) -> None:
    for writer in (STRICT, FAST):
        for reader in (STRICT, FAST):
            assert is_same(reader.loads(writer.dumps(session)), session)


@pytest.mark.parametrize(
    "number", [0.0, -0.0, 5e-324, 1e16, 1e-7, 123456789012345.67, 1.7976931348623157e308, 2**63 - 1, -(2**63), 0.1 + 0.2]
)
def test_numbers_come_back_to_the_last_bit(number: float) -> None:
    for writer in (STRICT, FAST):
        for reader in (STRICT, FAST):
            assert repr(reader.loads(writer.dumps({"a": number}))["a"]) == repr(number)


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": (1, 2)},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": {"b": -float("inf")}},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {"a": Colour.RED},
        {"a": Text("text")},
        {"a": OrderedDict(b=1)},
        {"a": datetime(2026, 1, 1, tzinfo=UTC)},
        {"a": Point(1)},
        {"a": msgspec.Raw(b"1")},
        {"a": object()},
        {1: "a"},
        {"a": {None: 1}},
        {Text("a"): 1},
        {"a": "\ud800"},
        {"\udfff": 1},
        nested(65),
        around_itself(),
        doubled(30),
        {"a": [0] * (MAX_VALUES + 1)},
    ],
    ids=[str(number) for number in range(24)],  # a session that holds itself many times over has no short name
)
def test_what_the_default_refuses_is_refused_in_the_same_words(wrong: dict[Any, Any]) -> None:
    with pytest.raises(SerializationError) as by_default:
        STRICT.dumps(wrong)
    with pytest.raises(SerializationError) as caught:
        FAST.dumps(wrong)
    assert str(caught.value) == str(by_default.value)
    assert not FAST.takes(wrong)
    is_text_alone = "surrogate" in str(caught.value)  # which is seen when it is encoded
    assert _is_plain_by_copies(wrong) == is_text_alone


@given(SESSIONS)
def test_the_slow_look_takes_what_the_quick_one_takes(session: dict[str, Any]) -> None:
    assert _is_plain_by_copies(session)


@pytest.mark.parametrize("value", [OrderedDict(a=1), Text("text"), "x", (1,), [1], 5, None])
def test_what_is_no_dict_is_no_session(value: Any) -> None:
    for serializer in (STRICT, FAST):
        assert not serializer.takes(value)
        with pytest.raises(SerializationError, match="a session is a dict, of exactly that type, and not of type "):
            serializer.dumps(value)


def test_without_the_module_in_c_the_bytes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    session = {"a": [1, 2.5, None, True, "é😀\0"], "b": {"c": -0.0}}
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert StrictJSON().dumps(session) == STRICT.dumps(session)
    assert not StrictJSON().takes({"a": "\ud800"})


def test_what_the_default_takes_is_taken() -> None:
    for session in ({}, nested(64), {"a": [0] * (MAX_VALUES - 1)}, {"é\x00\x7f\u2028": "😀"}):
        assert FAST.takes(session)
        assert is_same(STRICT.loads(FAST.dumps(session)), session)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[1]",
        b"1",
        b"null",
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a":1} \n ',
        b'{"a":1}}',
        b'{"a":1}{',
        b'{"a":1} {"b":2}',
        b'{"a":1',
        b'{"a":}',
        b"{",
        b"{}}",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":"\xff"}',
        b'{"a":"\t"}',
        b'{"a":"\\x"}',
    ],
)
def test_bytes_that_are_no_object_are_a_value_error_for_both(body: bytes) -> None:
    for reader in (STRICT, FAST):
        with pytest.raises(ValueError, match=r"."):
            reader.loads(body)


def test_spaces_may_follow_an_object() -> None:
    for reader in (STRICT, FAST):
        assert reader.loads(b'{ "a" : [ 1 ] }   ') == {"a": [1]}


@pytest.mark.parametrize("body", [b'{"a":1e999}', b'{"a":"\\ud800"}'])
def test_what_neither_writes_is_no_session_here(body: bytes, ring: Keyring) -> None:
    class Raw(StrictJSON):
        def dumps(self, value: dict[str, Any], /) -> bytes:
            return body

    token = Codec(ring, "x", serializer=Raw()).encode({"a": 1})
    with pytest.raises(MalformedTokenError):
        Codec(ring, "x", serializer=FAST).decode(token)


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"pad_to": 64}])
def test_tokens_of_the_one_open_under_the_other_and_are_not_sealed_anew(options: dict[str, Any], ring: Keyring) -> None:
    content = {"price": 1e16, "text": "é" * 200, "items": [{"n": 0.1}, []]}
    jars = [Jar("session", ring, serializer=serializer, **options) for serializer in (None, Msgspec())]
    for writer, reader in (jars, jars[::-1]):
        sessions = Sessions([writer], None)
        sessions["session"] = content
        cookie = cookie_of(sessions.commit()[0])
        sessions = Sessions([reader], cookie)
        assert is_same(dict(sessions["session"]), content)
        assert sessions.commit() == []
        sessions = Sessions([reader], cookie)
        sessions["session"]["items"].append(1)
        assert len(sessions.commit()) == 1


def test_a_body_deeper_than_the_stack_is_malformed(ring: Keyring) -> None:
    class Deep(StrictJSON):
        def dumps(self, value: dict[str, Any], /) -> bytes:
            return b'{"a":' + b"[" * 1_200 + b"]" * 1_200 + b"}"

    token = Codec(ring, "x", serializer=Deep()).encode({"a": 1})
    codec = Codec(ring, "x", serializer=FAST)
    try:
        session = codec.decode(token)  # a Python whose stack is deeper
    except MalformedTokenError:
        return
    with pytest.raises(SerializationError, match="deeper than 64 levels"):
        FAST.dumps(dict(session))


def test_without_msgspec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    monkeypatch.delitem(sys.modules, "clientsession.serializers")
    with pytest.raises(ImportError, match=r"^clientsession.serializers needs msgspec: pip install 'clientsession\[speed\]'$"):
        importlib.import_module("clientsession.serializers")


def test_it_shows_what_it_is() -> None:
    assert repr(FAST) == "Msgspec()"
