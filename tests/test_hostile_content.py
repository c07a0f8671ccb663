"""Whatever an application may put into a session, through ``Codec.encode`` and through a jar's ``commit``.

What is read back is what was put in, to the type, or the write fails with its path and without its value. The numbers are those of
one list of inputs, so that a line is found again.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import itertools
import json
import random
import re
import struct
import sys
import threading
import types
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import Codec, Jar, Key, Keyring, SerializationError, Sessions, SessionTooLargeError, Suite
from tests import reference
from tests.conftest import Clock, cookie_of

SECRET = bytes(range(7, 39))
OTHER_SECRET = bytes(range(100, 140))
NOW = 1_800_000_000_000  # the clock fixture's, in milliseconds
DAY = 86_400_000
MARK = "MARK-4711"  # stands in values, and never in a message


class CodecDoor:
    """Content through ``Codec.encode`` and ``Codec.decode``."""

    def __init__(self, ring: Keyring, clock: Clock) -> None:
        self.codec = Codec(ring, "session", clock=clock)

    def seal(self, content: Any) -> str:
        return self.codec.encode(content)

    def read(self, token: str) -> dict[str, Any]:
        return self.codec.decode(token)


class JarDoor:
    """Content through a request that writes it and a request that reads it."""

    def __init__(self, ring: Keyring, clock: Clock) -> None:
        self.jar = Jar("session", ring, clock=clock)

    def seal(self, content: Any) -> str:
        sessions = Sessions([self.jar], None)
        sessions["session"] = content
        return cookie_of(sessions.commit()[0]).partition("=")[2]

    def read(self, token: str) -> dict[str, Any]:
        sessions = Sessions([self.jar], f"session={token}")
        session = sessions["session"]
        assert session.refusal is None
        assert sessions.commit() == []  # a session that was only read is not sent again
        return session


Door = CodecDoor | JarDoor


@pytest.fixture
def key(suite: Suite) -> Key:
    return Key.from_secret(SECRET, suite=suite)


@pytest.fixture(params=[CodecDoor, JarDoor], ids=["codec", "jar"])
def door(request: pytest.FixtureRequest, ring: Keyring, clock: Clock) -> Door:
    return request.param(ring, clock)


def typed(value: Any) -> Any:
    """A value with all its types, so that 1, 1.0 and True, or 0.0 and -0.0, are different; the order of keys counts."""
    if type(value) is dict:
        return ("dict", [(typed(key), typed(item)) for key, item in value.items()])
    if type(value) is list:
        return ("list", [typed(item) for item in value])
    return (type(value).__name__, struct.pack(">d", value) if type(value) is float else value)


def comes_back(door: Door, content: dict[str, Any]) -> None:
    assert typed(dict(door.read(door.seal(content)))) == typed(content)


def message_of(door: Door, content: Any) -> str:
    """The message of the refusal; nothing of its cause comes along."""
    with pytest.raises(SerializationError) as caught:
        door.seal(content)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    message = str(caught.value)
    assert caught.value.args == (message,)
    assert len(message) < 600
    assert MARK not in message
    return message


def expect_path(door: Door, content: Any, path: str, words: str) -> None:
    start = f"the session 'session' cannot be sealed: {path} "
    message = message_of(door, content)
    assert message.startswith(start)
    assert words in message


def nested(levels: int, bottom: Any = None) -> dict[str, Any]:
    """A session of so many levels, of dicts and lists by turns; itself is the first."""
    value: Any = {} if bottom is None else bottom
    for level in range(levels - 1, 0, -1):
        value = {"a": value} if level % 2 else [value]
    return value


# Values


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(value, id=ascii(value)[:40])
        for value in (
            *(None, True, False, 0, 1, -1, 1.0, -1.0, 0.0, [], {}, [[]], [{}], {"a": {}}, "", " "),
            *(2**53 + 1, 2**53 - 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**62),  # J3
            *(-0.0, 1e-400, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, 1e16, 1e22, 123456789.123456789, 1 / 3),  # J4
            *("\x00", "\x1f", "\x7f", "\u2028\u2029", "\U0001f468\u200d\U0001f469", "\U0010ffff", "\uffff", "\ufeff"),  # J12
            *("e\u0301", "\xe9", "\u212b", "\u0130", "\u05d0\u202e", '"\\/\b\f\n\r\t', "</script>", "\\ud800", "\\u0000"),
            *({"e\u0301": 1, "\xe9": 2}, {"\x00": 1}, {"\u2028": "\u2029"}),
            *({"__proto__": 1, "__class__": {"__init__": None}, "": 0, "constructor": []}, {"k" * 1000: "v"}),  # J13
            *({"id": 1, "created_at": 2, "expires_at": 3, "is_new": 4, "flags": 5, "_created": 6},),  # J20
            *([1, 1.0, True, None, "1", [1.0]], [0, 0.0, -0.0, False], [1.5, 2, "x", {"y": [True]}]),
        )
    ],
)
def test_a_value_comes_back_as_it_was(door: Door, value: Any) -> None:
    """J3, J4, J12, J13, J20"""
    comes_back(door, {"value": value})
    comes_back(door, {"deep": [{"value": [value, value]}]})
    if type(value) is dict and value:
        comes_back(door, value)


class Colour(enum.Enum):
    RED = MARK


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    ONE = MARK


class LyingText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "lie"

    def encode(self, *args: str) -> bytes:
        return b"lie"


class LyingDict(dict):
    def items(self) -> Any:
        return [("lie", MARK)]

    def values(self) -> Any:
        return [MARK]


class Int(int):
    pass


class Float(float):
    pass


class List(list):
    pass


@dataclasses.dataclass
class Item:
    name: str = MARK


class Pair(NamedTuple):
    one: object
    two: object


class Convertible:
    """What other libraries' JSON would call."""

    def __json__(self) -> str:
        return MARK

    def __repr__(self) -> str:
        return MARK

    __str__ = __repr__


REFUSED_VALUES = {
    "J1-nan": (float("nan"), "is a float that is not finite"),
    "J1-inf": (float("inf"), "is a float that is not finite"),
    "J1-minus-inf": (float("-inf"), "is a float that is not finite"),
    "J2-5000-digits": (10**5000, "is an int beyond 64 bits"),
    "J2-minus-5000-digits": (-(10**5000), "is an int beyond 64 bits"),
    "J3-2-to-63": (2**63, "is an int beyond 64 bits"),
    "J3-minus-2-to-63": (-(2**63) - 1, "is an int beyond 64 bits"),
    "J7": ({1: MARK, "1": MARK}, "has a key of type int"),
    "J8-int": ({1: MARK}, "has a key of type int"),
    "J8-bool": ({True: MARK}, "has a key of type bool"),
    "J8-none": ({None: MARK}, "has a key of type NoneType"),
    "J8-float": ({1.5: MARK}, "has a key of type float"),
    "J8-tuple": ({(MARK, 1): MARK}, "has a key of type tuple"),
    "J8-bytes": ({MARK.encode(): MARK}, "has a key of type bytes"),
    "J8-str-subclass": ({LyingText(MARK): MARK}, f"has a key of type {__name__}.LyingText"),
    "J8-str-enum": ({Word.ONE: MARK}, f"has a key of type {__name__}.Word"),
    "J8-second": ({"a": 1, 2: MARK}, "has a key of type int"),
    "J9-tuple": ((MARK, 1), "is of type tuple"),
    "J9-empty-tuple": ((), "is of type tuple"),
    "J9-namedtuple": (Pair(MARK, 1), f"is of type {__name__}.Pair"),
    "J10-bytes": (MARK.encode(), "is of type bytes"),
    "J10-bytearray": (bytearray(MARK.encode()), "is of type bytearray"),
    "J10-memoryview": (memoryview(MARK.encode()), "is of type memoryview"),
    "J10-set": ({MARK}, "is of type set"),
    "J10-frozenset": (frozenset({MARK}), "is of type frozenset"),
    "J10-datetime": (datetime.datetime(2027, 1, 15, tzinfo=datetime.UTC), "is of type datetime.datetime"),
    "J10-date": (datetime.date(2027, 1, 15), "is of type datetime.date"),
    "J10-timedelta": (datetime.timedelta(4711), "is of type datetime.timedelta"),
    "J10-decimal": (decimal.Decimal("4711.33"), "is of type decimal.Decimal"),
    "J10-fraction": (fractions.Fraction(4711, 33), "is of type fractions.Fraction"),
    "J10-uuid": (uuid.UUID(int=4711), "is of type uuid.UUID"),
    "J10-enum": (Colour.RED, f"is of type {__name__}.Colour"),
    "J10-dataclass": (Item(), f"is of type {__name__}.Item"),
    "J10-object": (Convertible(), f"is of type {__name__}.Convertible"),
    "J10-class": (Convertible, "is of type type"),
    "J10-function": (len, "is of type builtin_function_or_method"),
    "J10-generator": ((MARK for _ in ()), "is of type generator"),
    "J10-complex": (4711j, "is of type complex"),
    "J10-range": (range(4711), "is of type range"),
    "J10-ellipsis": (..., "is of type ellipsis"),
    "J10-exception": (ValueError(MARK), "is of type ValueError"),
    "J11-high": (MARK + "\ud800", "is text with a lone surrogate"),
    "J11-low": ("\udfff" + MARK, "is text with a lone surrogate"),
    "J11-pair-in-two-halves": (MARK + "\ud83d\ude00", "is text with a lone surrogate"),
    "J11-key": ({MARK + "\ud800": 1}, "has a key with a lone surrogate"),
    "J14-str": (LyingText(MARK), f"is of type {__name__}.LyingText"),
    "J14-str-enum": (Word.ONE, f"is of type {__name__}.Word"),
    "J14-int": (Int(4711), f"is of type {__name__}.Int"),
    "J14-int-enum": (Number.ONE, f"is of type {__name__}.Number"),
    "J14-float": (Float(4711.33), f"is of type {__name__}.Float"),
    "J14-list": (List([MARK]), f"is of type {__name__}.List"),
    "J14-ordered-dict": (collections.OrderedDict(a=MARK), "is of type collections.OrderedDict"),
    "J14-defaultdict": (collections.defaultdict(list, a=MARK), "is of type collections.defaultdict"),
    "J14-counter": (collections.Counter(MARK), "is of type collections.Counter"),
    "J14-mapping-proxy": (types.MappingProxyType({"a": MARK}), "is of type mappingproxy"),
    "J14-deque": (collections.deque([MARK]), "is of type collections.deque"),
    "J14-namespace": (types.SimpleNamespace(a=MARK), "is of type types.SimpleNamespace"),
    "J15-dict": (LyingDict(a=MARK), f"is of type {__name__}.LyingDict"),
}


@pytest.mark.parametrize(("value", "words"), REFUSED_VALUES.values(), ids=REFUSED_VALUES)
def test_a_value_that_would_not_come_back_is_refused_with_its_path(door: Door, value: Any, words: str) -> None:
    """J1 to J3, J7 to J11, J14, J15"""
    expect_path(door, {"value": value}, "value", words)
    expect_path(door, {"cart": {"items": [0, 1, MARK, {"name": MARK, "when": value}]}}, "cart.items[3].when", words)
    expect_path(door, {"a": [[[], [value]]], "b": MARK}, "a[0][1][0]", words)
    expect_path(door, {"ok": {"ok": [MARK] * 50}, "last": value}, "last", words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({1: MARK}, "has a key of type int"),
        ({"a": MARK, None: 1}, "has a key of type NoneType"),
        ({"1": 1, 1: MARK}, "has a key of type int"),
        ({LyingText("a"): MARK}, "has a key of type"),
        ({"\ud800" + MARK: 1}, "has a key with a lone surrogate"),
    ],
)
def test_a_key_at_the_top_is_refused_as_the_session_s(door: Door, content: Any, words: str) -> None:
    """J7, J8, J11"""
    expect_path(door, content, "the session", words)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("two words", "a['two words'][0]"),
        ("", "a[''][0]"),
        ("7", "a['7'][0]"),
        ("x.y", "a['x.y'][0]"),
        ("it's", 'a["it\'s"][0]'),
        ("caf\xe9", "a['caf\\xe9'][0]"),
        ("\U0001f600\n\x1b[31m", "a['\\U0001f600\\n\\x1b[31m'][0]"),
        ("\u202e", "a['\\u202e'][0]"),
        ("k" * 40, "a." + "k" * 40 + "[0]"),
        ("k" * 41, "a['" + "k" * 40 + "'…][0]"),
        ("k" * 100_000, "a['" + "k" * 40 + "'…][0]"),
        ("__class__", "a.__class__[0]"),
    ],
)
def test_keys_in_a_path_are_escaped_and_cut(door: Door, name: str, path: str) -> None:
    expect_path(door, {"a": {name: [object()]}}, path, "is of type object")


def test_a_long_path_is_cut(door: Door) -> None:
    message = message_of(door, nested(60, {MARK.lower() * 4: {"k" * 40: {"l" * 40: {"m" * 40: object()}}}}))
    assert re.search(r"cannot be sealed: (a\[0\]\.?)+[^ ]*… is of type object;", message)


@pytest.mark.parametrize("content", [None, 7, "text", ["a"], [("a", 1)], {"a"}, b"{}", object(), 1.5])
def test_only_a_mapping_is_a_session(door: Door, content: Any) -> None:
    with pytest.raises(TypeError, match=r"dict|mapping"):
        door.seal(content)


@pytest.mark.parametrize(
    "mapping", [collections.OrderedDict, types.MappingProxyType, collections.ChainMap, collections.Counter, LyingDict]
)
def test_a_mapping_of_any_kind_may_be_the_whole_session(door: Door, mapping: Callable[[dict[str, int]], Any]) -> None:
    """J15: what counts is what a dict takes from it"""
    content = mapping({"a": 1, "b": 2})
    assert door.read(door.seal(content)) == dict(content)


# Depth and size


def test_64_levels_come_back_and_65_are_refused(door: Door) -> None:
    """J5"""
    for bottom in ({}, [], {"a": 1}, ["a"]):
        comes_back(door, nested(64, bottom))
        assert "is nested deeper than 64 levels (or contains itself)" in message_of(door, nested(65, bottom))
    comes_back(door, {"a": nested(63)})
    assert "a.a[0].a[0]" in message_of(door, {"a": nested(64)})


@pytest.mark.parametrize("levels", [66, 200, 5_000, 100_000])
def test_any_depth_is_refused_by_the_same_words(door: Door, levels: int) -> None:
    """J5"""
    assert message_of(door, nested(levels)) == message_of(door, nested(65))


def circles() -> list[dict[str, Any]]:
    own: dict[str, Any] = {"mark": MARK}
    own["own"] = own
    loop: list[Any] = [MARK]
    loop.append(loop)
    one: dict[str, Any] = {}
    two = [one]
    one["two"] = two
    return [own, {"a": loop}, {"a": {"b": [loop]}}, {"a": one}, {"a": [one, two]}]


@pytest.mark.parametrize("content", circles(), ids=["dict", "list", "deep-list", "dict-and-list", "list-and-dict"])
def test_what_contains_itself_is_refused(door: Door, content: dict[str, Any]) -> None:
    """J6"""
    assert "is nested deeper than 64 levels (or contains itself)" in message_of(door, content)


def folded(levels: int, make: Callable[[Any], Any], bottom: Any) -> Any:
    for _ in range(levels):
        bottom = make(bottom)
    return bottom


@pytest.mark.parametrize(
    "make", [lambda x: [x, x], lambda x: {"l": x, "r": x}, lambda x: [x, {"r": x}]], ids=["lists", "dicts", "both"]
)
@pytest.mark.parametrize("bottom", [1, MARK, [], object()], ids=["int", "str", "list", "object"])
@pytest.mark.parametrize("levels", [25, 60])
def test_a_value_that_contains_another_again_and_again_ends_in_an_error(
    make: Callable[[Any], Any], bottom: Any, levels: int, clock: Clock
) -> None:
    """J6: two to the 60th values, were they written out"""
    levels = levels // 2 if make({}) == [{}, {"r": {}}] else levels
    with pytest.raises((SerializationError, SessionTooLargeError)) as caught:
        Codec(Keyring(Key.from_secret(SECRET)), "session", clock=clock).encode({"a": folded(levels, make, bottom)})
    assert MARK not in str(caught.value)


def test_the_same_value_in_two_places_is_two_values(door: Door) -> None:
    shared = [1, {"x": "y"}]
    content = {"a": shared, "b": [shared, shared], "c": {"d": shared}}
    comes_back(door, content)
    read = door.read(door.seal(content))
    read["a"][1]["x"] = "z"
    assert read["b"][0][1] == {"x": "y"}


def too_large(door: Door, content: dict[str, Any]) -> SessionTooLargeError:
    with pytest.raises(SessionTooLargeError) as caught:
        door.seal(content)
    assert MARK not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return caught.value


@pytest.mark.parametrize("char", ["x", "\xe9", "\u20ac", "\U0001f600", '"', "\n", "\x01"], ids=ascii)
def test_the_largest_session_fits_and_a_byte_more_does_not(door: Door, char: str) -> None:
    """J17, J18: counted in bytes of UTF-8, with JSON's escapes"""
    taken = 0 if isinstance(door, CodecDoor) else len("session")
    each = len(json.dumps(char, ensure_ascii=False).encode()) - 2
    room = (4096 - taken) * 3 // 4 - 58  # bytes that base64 leaves, without the frame and the times
    length = (room - len('{"a":""}')) // each
    rest = "x" * (room - len('{"a":""}') - length * each)
    largest = char * length + rest
    comes_back(door, {"a": largest})
    assert 4095 <= taken + len(door.seal({"a": largest})) <= 4096
    error = too_large(door, {"a": largest + "x"})
    assert (error.name, error.limit, error.size) == ("session", 4096, 4098 if taken == 0 else 4097)
    assert error.largest == (("'a'", room + 1 - len("{}")),)


def test_an_id_takes_16_bytes_of_the_room(ring: Keyring, clock: Clock) -> None:
    """J17"""
    jar = Jar("session", ring, clock=clock)
    room = 4089 * 3 // 4 - 58
    for length, fits in ((room - 8 - 16, True), (room - 8 - 15, False)):
        sessions = Sessions([jar], None)
        sessions["session"]["a"] = "x" * length
        assert len(sessions["session"].id) == 32
        if fits:
            assert len(cookie_of(sessions.commit()[0])) == 4096
        else:
            with pytest.raises(SessionTooLargeError):
                sessions.commit()


def test_10_000_small_keys_are_too_many_and_each_is_written_twice(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """J21: once for the token, once for the message"""
    from clientsession import _json

    seen = 0
    walk = _json._is_plain

    def counted(value: dict[str, Any]) -> bool:
        nonlocal seen
        seen += len(value)
        return walk(value)

    monkeypatch.setattr(_json, "_is_plain", counted)
    error = too_large(door, {f"k{index}": MARK for index in range(10_000)})
    assert error.size > 150_000
    assert [(key, size) for key, size in error.largest] == [(f"'k{index}'", 10 + len(MARK)) for index in range(1000, 1005)]
    assert seen == 20_000


def test_the_largest_keys_are_told_escaped_and_cut(door: Door) -> None:
    content = {"small": 1, "\x1b[31m": "x" * 500, "k" * 3000: 1, "it's": ["y" * 700], "caf\xe9": "z" * 600, "b": "q" * 100}
    error = too_large(door, content)
    assert [key for key, _ in error.largest] == ["'" + "k" * 40 + "'…", '"it\'s"', "'caf\\xe9'", "'\\x1b[31m'", "'b'"]
    assert all(key in str(error) for key, _ in error.largest)


# Emptiness, sameness, change


def test_an_empty_dict_is_sealed_by_a_codec_and_not_sent_by_a_jar(ring: Keyring, clock: Clock) -> None:
    """J19"""
    codec, jar = Codec(ring, "session", clock=clock), Jar("session", ring, clock=clock)
    assert len(codec.encode({})) == 78
    assert codec.decode(codec.encode({})) == {}
    sessions = Sessions([jar], None)
    sessions["session"] = {}
    assert sessions.commit() == []
    sessions = Sessions([jar], f"session={jar.codec.encode({'a': 1})}")
    sessions["session"] = {}
    (deletion,) = sessions.commit()
    assert deletion.startswith("session=; Max-Age=0; Path=/;")


class Visit:
    """A request of a client that has a session."""

    def __init__(self, jar: Jar, content: dict[str, Any]) -> None:
        self.jar = jar
        self.sessions = Sessions([jar], f"session={jar.codec.encode(content)}")
        self.session = self.sessions["session"]

    def sent(self) -> str | None:
        """The body that was sent, or None."""
        answers = self.sessions.commit()
        if not answers:
            return None
        token = cookie_of(answers[0]).partition("=")[2]
        plaintext = reference.open(SECRET, self.jar.keyring.sealing.suite, "cookie", "session", "", token)
        assert plaintext is not None
        return plaintext[13:].decode()


@pytest.fixture
def visit(ring: Keyring, clock: Clock) -> Callable[[dict[str, Any]], Visit]:
    jar = Jar("session", ring, clock=clock)
    return lambda content: Visit(jar, content)


CONTENT = {"a": {"b": [1, {"c": "d"}], "t": True}, "n": 1, "z": 0.0}


def set_in(*path: Any, value: Any) -> Callable[[Visit], None]:
    def change(visit: Visit) -> None:
        *way, last = path
        target: Any = visit.session
        for step in way:
            target = target[step]
        target[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(set_in("a", "b", 1, "c", value="e"), id="J22-deep"),
        pytest.param(lambda visit: visit.session["a"]["b"].append(None), id="J22-append"),
        pytest.param(lambda visit: visit.session["a"].pop("t"), id="J22-pop"),
        pytest.param(set_in("n", value=1.0), id="J23-1-to-1.0"),
        pytest.param(set_in("n", value=True), id="J23-1-to-True"),
        pytest.param(set_in("a", "t", value=1), id="J23-True-to-1"),
        pytest.param(set_in("z", value=-0.0), id="J23-0.0-to-minus-0.0"),
        pytest.param(set_in("z", value=0), id="J23-0.0-to-0"),
        pytest.param(lambda visit: visit.session.update(a=visit.session.pop("a")), id="J24-order"),
        pytest.param(lambda visit: visit.session["a"].update(b=visit.session["a"].pop("b")), id="J24-deep-order"),
        pytest.param(set_in("new", value=None), id="new-key"),
        pytest.param(lambda visit: visit.session.__delitem__("n"), id="deleted-key"),
    ],
)
def test_a_change_is_sent(visit: Callable[[dict[str, Any]], Visit], change: Callable[[Visit], None]) -> None:
    """J22 to J24"""
    request = visit(CONTENT)
    change(request)
    expected = json.dumps(request.session, separators=(",", ":"))
    assert request.sent() == expected != json.dumps(CONTENT, separators=(",", ":"))


def assign_itself(visit: Visit) -> None:
    visit.sessions["session"] = visit.session


def assign_equal(visit: Visit) -> None:
    visit.sessions["session"] = json.loads(json.dumps(CONTENT))


def or_nothing(visit: Visit) -> None:
    visit.sessions["session"] |= {}


def or_the_same(visit: Visit) -> None:
    visit.sessions["session"] |= {"n": 1}


def change_and_revert(visit: Visit) -> None:
    visit.session["a"]["b"].append(2)
    visit.session["x"] = MARK
    visit.session["a"]["b"].pop()
    del visit.session["x"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(assign_itself, id="J25-itself"),
        pytest.param(or_nothing, id="J25-or-nothing"),
        pytest.param(or_the_same, id="J25-or-the-same"),
        pytest.param(assign_equal, id="equal-content"),
        pytest.param(set_in("n", value=1), id="equal-value"),
        pytest.param(set_in("a", "b", value=[1, {"c": "d"}]), id="equal-list"),
        pytest.param(change_and_revert, id="revert"),
        pytest.param(lambda visit: visit.session.setdefault("n", 2), id="setdefault"),
        pytest.param(lambda visit: visit.session.pop("absent", None), id="pop-absent"),
        pytest.param(lambda visit: sorted(visit.session.items(), key=str), id="read"),
    ],
)
def test_what_is_no_change_is_not_sent(visit: Callable[[dict[str, Any]], Visit], change: Callable[[Visit], object]) -> None:
    """J25"""
    request = visit(CONTENT)
    change(request)
    assert request.session == CONTENT
    assert request.sent() is None


def test_one_session_assigned_to_another_is_a_copy(ring: Keyring, clock: Clock) -> None:
    """J25"""
    jars = [Jar(name, ring, clock=clock) for name in ("session", "cart")]
    sessions = Sessions(jars, None)
    sessions["session"]["a"] = 1
    sessions["cart"] = sessions["session"]
    sessions["cart"]["b"] = 2
    assert (sessions["session"], sessions["cart"]) == ({"a": 1}, {"a": 1, "b": 2})


@contextlib.contextmanager
def changing(inner: dict[str, Any], values: list[Any]) -> Iterator[None]:
    """Another thread puts the values into a dict in turn, and takes them out, until the end."""
    is_over = threading.Event()

    def change() -> None:
        for value in itertools.cycle(values):
            if is_over.is_set():
                return
            inner["x"] = value
            inner["y"] = value
            inner.pop("y", None)
            inner["x"] = 1

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(interval)
        inner["x"] = 1


def sealed_or_refused(door: Door, content: dict[str, Any]) -> dict[str, Any] | None:
    try:
        token = door.seal(content)
    except (SerializationError, SessionTooLargeError):
        return None
    return door.read(token)


def test_a_session_changed_by_another_thread_while_it_is_sealed_is_one_state_or_the_other(door: Door) -> None:
    """J16"""
    inner: dict[str, Any] = {"x": 1}
    content = {"a": [inner, inner], "pad": ["p"] * 100, "b": inner}
    written = [1, 2, "text", {"deep": [1, 2, 3]}, 1.5, {"1": 2}, 2**70]
    with changing(inner, [*written, object(), float("nan"), "\ud800", {1: 2}]):
        found = [read for read in (sealed_or_refused(door, content) for _ in range(1_500)) if read is not None]
    assert found
    for read in found:
        assert list(read) == ["a", "pad", "b"]
        for each in (*read["a"], read["b"]):
            assert set(each) <= {"x", "y"}
            assert not [value for value in each.values() if value not in written]
    comes_back(door, content)


def test_a_session_that_another_thread_lets_contain_itself_meanwhile_is_sealed_or_refused(door: Door) -> None:
    """J6, J16: what is sealed is a session, and opens"""
    inner: dict[str, Any] = {"x": 1}
    content = {"a": [inner, inner], "pad": ["p"] * 100, "b": inner}
    with changing(inner, [inner, {"own": inner}, [inner, inner], {"own": [{"own": inner}]}]):
        found = [read for read in (sealed_or_refused(door, content) for _ in range(500)) if read is not None]
    assert found
    assert all(list(read) == ["a", "pad", "b"] for read in found)
    comes_back(door, content)


# Content that another writer sealed


def deflated(body: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(body) + stream.flush()


FOREIGN = {
    "lone-surrogate": b'{"a":"\\ud800"}',
    "surrogate-key": b'{"\\udfff":1}',
    "escaped-pair": b'{"a":"\\ud83d\\ude00"}',
    "infinite": b'{"a":1e999,"b":[-1e999]}',
    "65-levels": json.dumps(nested(65)).encode(),
    "300-levels": b'{"a":' + b"[" * 299 + b"]" * 299 + b"}",
    "2-to-63": b'{"a":9223372036854775808}',
    "1000-digits": b'{"a":-' + b"7" * 1000 + b"}",
    "duplicate-keys": b'{"a":1,"b":2,"a":3}',
    "spaces": b'{ "a" : [ 1 , 2 ] }',
    "line-feeds": b'{\r\n\t"a": 1\n}',
    "trailing-spaces": b'{"a":1}     ',
    "only-trailing-spaces": b'{"a":{}}' + b" " * 64,
    "escapes": b'{"\\u0061":"\\u00e9\\/"}',
    "number-spellings": b'{"a":1E2,"b":1.50,"c":-0,"d":0.1e1,"e":-0.0,"f":100000000000000000000000.0}',
    "empty-object-in-two-bytes": b"{}",
    "all": b'{ "a":"\\ud800", "b":1e999, "a":123456789012345678901234567890, "c":' + b"[" * 80 + b"]" * 80 + b"}  ",
    "own": b'{"a":1}',
}


def foreign(suite: Suite, body: bytes, flags: int, *, secret: bytes = SECRET, kind: str = "cookie", life: int = DAY) -> str:
    id = bytes(range(16)) if flags & 1 else None
    plaintext = reference.plaintext(NOW - 5, NOW - 5 + life, body, flags=flags, id=id)
    return reference.seal(secret, suite, kind, "session", "", plaintext)


@pytest.fixture(params=[0x01, 0x03, 0x07], ids=["plain", "deflated", "deflated-ephemeral"])
def flags(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN)
def body(request: pytest.FixtureRequest, flags: int) -> bytes:
    return deflated(request.param) if flags & 0x02 else request.param


def sent(sessions: Sessions, suite: Suite, secret: bytes = SECRET) -> bytes:
    (answer,) = sessions.commit()
    plaintext = reference.open(secret, suite, "cookie", "session", "", cookie_of(answer).partition("=")[2])
    assert plaintext is not None
    return plaintext


def read_all(value: Any) -> int:
    """Touch all of it, as a handler might."""
    stack, count = [value], 0
    while stack:
        value = stack.pop()
        count += 1
        stack += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return count


def test_what_another_writer_sealed_is_read_and_not_sent_again(
    ring: Keyring, suite: Suite, clock: Clock, body: bytes, flags: int
) -> None:
    jar = Jar("session", ring, clock=clock)
    sessions = Sessions([jar], f"session={foreign(suite, body, flags)}")
    assert read_all(sessions["session"]) >= 1
    assert not sessions["session"].is_new
    assert sessions.commit() == []


def test_it_is_sealed_again_byte_for_byte_under_a_new_key(key: Key, suite: Suite, clock: Clock, body: bytes, flags: int) -> None:
    jar = Jar("session", Keyring(Key.from_secret(OTHER_SECRET, suite=suite), retiring=[key]), clock=clock)
    sessions = Sessions([jar], f"session={foreign(suite, body, flags)}")
    read_all(sessions["session"])
    assert sent(sessions, suite, OTHER_SECRET) == reference.plaintext(
        NOW - 5, NOW - 5 + DAY, body, flags=flags, id=bytes(range(16))
    )


def test_it_is_sealed_again_byte_for_byte_when_extended_or_re_timed(
    ring: Keyring, suite: Suite, clock: Clock, body: bytes, flags: int
) -> None:
    hour = datetime.timedelta(hours=1)
    jar = Jar("session", ring, clock=clock, active_duration=hour)
    sessions = Sessions([jar], f"session={foreign(suite, body, flags, life=60_000)}")
    read_all(sessions["session"])
    extended = reference.plaintext(NOW - 5, NOW - 5 + 60_000 + 3_600_000, body, flags=flags, id=bytes(range(16)))
    assert sent(sessions, suite) == extended

    sessions = Sessions([jar], f"session={foreign(suite, body, flags)}")
    sessions["session"].set_duration(hour)
    assert sent(sessions, suite) == reference.plaintext(NOW - 5, NOW + 3_600_000, body, flags=flags, id=bytes(range(16)))


def test_a_codec_seals_it_again_byte_for_byte(ring: Keyring, suite: Suite, clock: Clock, body: bytes, flags: int) -> None:
    codec = Codec(ring, "session", clock=clock)
    token = foreign(suite, body, flags, kind="token")
    again = codec.encode(codec.decode(token))
    opened = [reference.open(SECRET, suite, "token", "session", "", each) for each in (token, again)]
    assert opened[0] == opened[1] is not None


def test_a_change_to_it_and_back_is_none(ring: Keyring, suite: Suite, clock: Clock, body: bytes, flags: int) -> None:
    jar = Jar("session", ring, clock=clock)
    sessions = Sessions([jar], f"session={foreign(suite, body, flags)}")
    sessions["session"]["x"] = {"y": [1]}
    del sessions["session"]["x"]
    assert sessions.commit() == []


@pytest.mark.parametrize("name", ["lone-surrogate", "infinite", "65-levels", "2-to-63", "all"])
def test_a_change_to_what_cannot_be_written_is_refused(ring: Keyring, suite: Suite, clock: Clock, name: str) -> None:
    jar = Jar("session", ring, clock=clock)
    sessions = Sessions([jar], f"session={foreign(suite, FOREIGN[name], 0x01)}")
    sessions["session"]["x"] = 1
    with pytest.raises(SerializationError, match=r"cannot be sealed: [ac]"):
        sessions.commit()
    assert sessions.commit() == []


@pytest.mark.parametrize("name", ["duplicate-keys", "spaces", "trailing-spaces", "escapes", "number-spellings"])
def test_a_change_to_what_was_only_spelled_otherwise_is_sent(ring: Keyring, suite: Suite, clock: Clock, name: str) -> None:
    jar = Jar("session", ring, clock=clock)
    sessions = Sessions([jar], f"session={foreign(suite, FOREIGN[name], 0x01)}")
    sessions["session"]["x"] = 1
    expected = json.loads(FOREIGN[name]) | {"x": 1}
    assert sent(sessions, suite)[29:] == json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("body", "one", "other"),
    [
        (b'{"a":1,"s":"\\ud800"}', 1, 1.0),
        (b'{"a":1,"s":"\\ud800"}', 1, True),
        (b'{"a":0.0,"s":"\\ud800"}', 0.0, -0.0),
        (b'{"a":[1,2],"s":"\\ud800"}', [1, 2], [1, 2.0]),
        (b'{"a":{"x":1,"y":1},"s":"\\ud800"}', {"x": 1, "y": 1}, {"y": 1, "x": 1}),
    ],
)
def test_a_change_of_type_alone_is_seen_in_it_too(
    ring: Keyring, suite: Suite, clock: Clock, body: bytes, one: Any, other: Any
) -> None:
    """J23, J24"""
    jar = Jar("session", ring, clock=clock)
    sessions = Sessions([jar], f"session={foreign(suite, body, 0x01)}")
    sessions["session"]["a"] = one
    assert sessions.commit() == []
    sessions = Sessions([jar], f"session={foreign(suite, body, 0x01)}")
    sessions["session"]["a"] = other
    with pytest.raises(SerializationError, match="cannot be sealed: s is text with a lone surrogate"):
        sessions.commit()


# Any content


class Generator:
    """Sessions of JSON's own types; the same in every run."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.room = 0
        self.chars = [
            *map(chr, range(0x20, 0x7F)),
            *"\0\x1f\x7f\x80\xe9\u0301\u2028\u2029\u05d0\u20ac\ufeff\uffff\U0001f600\U0010ffff",
        ]
        self.makers = [self.text, self.integer, self.real, lambda: None, lambda: True, lambda: False, lambda: 1, lambda: 1.0]
        self.makers += [lambda: -0.0, lambda: 0, lambda: 0.0, lambda: "", self.list, self.dict, self.list, self.dict]

    def text(self) -> str:
        return "".join(self.dice.choices(self.chars, k=self.dice.randrange(16)))

    def key(self) -> str:
        return self.dice.choice(["id", "a", "b", "", "__proto__", "1", "created_at"]) if self.dice.random() < 0.5 else self.text()

    def integer(self) -> int:
        return self.dice.getrandbits(self.dice.randrange(64)) * self.dice.choice((1, -1))

    def real(self) -> float:
        value = struct.unpack(">d", self.dice.randbytes(8))[0]
        return value if abs(value) < float("inf") else 0.5

    def value(self) -> Any:
        self.room -= 1
        return self.dice.choice(self.makers)()

    def list(self) -> list[Any]:
        return [self.value() for _ in range(self.dice.randrange(5)) if self.room > 0]

    def dict(self) -> dict[str, Any]:
        return {self.key(): self.value() for _ in range(self.dice.randrange(5)) if self.room > 0}

    def session(self) -> dict[str, Any]:
        self.room = 24
        return self.dict() or {"a": self.value()}


def test_5_000_sessions_in_each_suite_and_door_come_back_equal_to_the_type(door: Door) -> None:
    generator = Generator(2027)
    seen = set()
    for _ in range(5_000):
        content = generator.session()
        read = door.read(door.seal(content))
        assert typed(dict(read)) == typed(content)
        seen |= {type(value).__name__ for value in content.values()}
    assert seen == {"dict", "list", "str", "int", "float", "bool", "NoneType"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(content=st.dictionaries(st.text(max_size=10), JSON, min_size=1, max_size=5))
def test_any_session_comes_back_equal_to_the_type(content: dict[str, Any]) -> None:
    ring = Keyring(Key.from_secret(SECRET, suite=Suite.XCHACHA20_POLY1305))
    for door in (CodecDoor(ring, Clock()), JarDoor(ring, Clock())):
        comes_back(door, content)
