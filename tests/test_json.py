"""The strict JSON by itself. What is refused, with every path: test_hostile_content.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import SerializationError
from clientsession._json import MAX_VALUES, StrictJSON, is_same

STRICT = StrictJSON()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
SESSIONS = st.dictionaries(TEXT, VALUES, max_size=6)


@given(SESSIONS)
def test_what_is_written_is_read_back_alike_to_the_type(session: dict[str, Any]) -> None:
    body = STRICT.dumps(session)
    assert is_same(STRICT.loads(body), session)
    assert json.loads(body) == session  # any other JSON reader agrees


@given(SESSIONS)
def test_the_same_content_gives_the_same_bytes(session: dict[str, Any]) -> None:
    assert STRICT.dumps(session) == STRICT.dumps(STRICT.loads(STRICT.dumps(session)))


def test_it_is_compact_utf_8() -> None:
    assert STRICT.dumps({"a": [1, 2.5, None, True, "é😀\0"], "b": {}}) == '{"a":[1,2.5,null,true,"é😀\\u0000"],"b":{}}'.encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("a", b"a"),
        ([1], (1,)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([1], [1, 1]),
        ([[1]], [[2]]),
        ({"a": {"b": None}}, {"a": {"b": False}}),
    ],
)
def test_what_differs_in_type_sign_order_or_length_is_not_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert not is_same(other, one)
    assert is_same(one, one)


def test_sameness_knows_no_depth_and_calls_a_nan_itself() -> None:
    one: Any = float("nan")
    other: Any = float("nan")
    for _ in range(100_000):
        one, other = [one], [other]
    assert is_same(one, other)
    while one:  # taken apart by hand: a list of this depth is more than the interpreter's own clean-up may like
        one, other = (one[0], other[0]) if isinstance(one, list) else (None, None)


def test_a_session_of_more_values_than_any_token_holds_is_refused_at_once() -> None:
    with pytest.raises(SerializationError, match="more than 100,000 values"):
        STRICT.dumps({"a": [0] * (MAX_VALUES + 1)})
    assert STRICT.dumps({"a": [0] * (MAX_VALUES - 2)})
