"""The strict session JSON: what goes in is what comes out, or the write fails with the path.

It knows JSON's own types and nothing of sessions, times or tokens.
"""

from __future__ import annotations

import itertools
import json
import json.encoder
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn, Protocol

from clientsession.errors import SerializationError

MAX_DEPTH: Final = 64  # levels of dict and list; the session itself is the first
MAX_INT: Final = (1 << 63) - 1  # what other languages' JSON readers keep in a 64-bit integer
MIN_INT: Final = -(1 << 63)
MAX_VALUES: Final = 100_000  # more than any token holds; ends the walk of a few lists that contain one another many times over
_DEEPEST: Final = "[" * MAX_DEPTH + "]" * MAX_DEPTH
_FRAMES: Final = 16  # of Python's functions, at least: those of reading and writing together are fewer, without the levels
_MAX_PATH_CHARS: Final = 200
_MAX_KEY_CHARS: Final = 40


class Serializer(Protocol):
    """Turns a session into bytes and back.

    Bytes that another serializer wrote, or an earlier version of this one, are refused cookies and no errors only where ``loads``
    raises a ``ValueError`` for them: convert what is none (``zlib.error``, ``KeyError``). Anything else it raises is taken for a
    bug, and raised to the application.
    """

    def dumps(self, value: dict[str, Any], /) -> bytes:
        """The body of a token; the same bytes for the same value."""

    def loads(self, body: bytes, /) -> dict[str, Any]:
        """The dict a body holds, or a ``ValueError``."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class StrictJSON:
    """The default serializer: RFC 8259, UTF-8, compact, and only JSON's own types.

    ``str``, ``int`` within 64 bits, finite ``float``, ``bool``, ``None``, ``list`` and ``dict`` with ``str`` keys, of exactly
    these types, at most 64 levels deep.
    """

    __slots__ = ("_encode", "_scan")

    def __init__(self) -> None:
        self._encode = _encoder()
        self._scan = json.JSONDecoder(parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]  # what raw_decode calls

    def __repr__(self) -> str:
        return "StrictJSON()"

    def dumps(self, value: dict[str, Any], /) -> bytes:
        """Compact UTF-8 JSON.

        Raises:
            SerializationError: naming the path and the type of the first thing that would not be read back as it is.
        """
        body = self._encoded(value)
        if body is None:
            raise SerializationError(_first_fault(value))
        return body

    def takes(self, value: dict[str, Any]) -> bool:
        """Whether :meth:`dumps` would write it; told much sooner than what is wrong with it."""
        return self._encoded(value) is not None

    def _encoded(self, value: dict[str, Any]) -> bytes | None:
        if not _is_plain(value):
            return None
        try:
            return self._written(value)
        except (TypeError, ValueError):  # a lone surrogate; or another thread changed the session since the walk
            return None

    def _written(self, value: dict[str, Any]) -> bytes:
        """A value that is plain, but for its text; a ``ValueError`` where that is no text."""
        return "".join(self._encode(value, 0)).encode("utf-8")

    def loads(self, body: bytes, /) -> dict[str, Any]:
        """Read a JSON object that starts at the first byte; spaces may follow it.

        Raises:
            ValueError: not UTF-8, not JSON, not an object, or something else before or after it.
        """
        text = body.decode("utf-8")
        if text[:1] != "{":
            raise ValueError("the body is not a JSON object")
        try:
            value, end = self._scan(text, 0)
        except StopIteration:  # how the scanner says that a value is missing
            raise ValueError("the body is cut short") from None
        if end != len(text) and text[end:].strip(" "):
            raise ValueError("something follows the JSON object")
        return value  # type: ignore[no-any-return]  # an object, as its first character says


def has_room() -> bool:
    """Whether the stack has room for a session of as many levels as there may be.

    Where it has not, a RecursionError is the application's, and no reason to call a session malformed and log its user out.
    """
    try:
        json.loads(_DEEPEST)
        _call(_FRAMES)
    except RecursionError:
        return False
    return True


def _call(times: int) -> None:
    """Be so many calls deep."""
    if times:
        _call(times - 1)


def _encoder() -> Callable[[Any, int], Iterable[str]]:
    """What ``json.JSONEncoder.encode`` makes anew for each value, made once; the pieces it answers with are to be joined."""
    # The walk has bounded the depth, so that a cycle is found there and need not be looked for again.
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    make = json.encoder.c_make_encoder  # type: ignore[attr-defined]
    if make is None:  # a Python without the module in C
        return lambda value, _: (encoder.encode(value),)
    text = json.encoder.encode_basestring
    return make(None, encoder.default, text, None, ":", ",", False, False, False)  # type: ignore[no-any-return]


def _is_plain(session: dict[str, Any]) -> bool:
    """Whether a session has only JSON's own types, within the limits. Text is checked as it is encoded."""
    if type(session) is not dict:
        return False
    try:
        return _room_after(session, MAX_DEPTH, MAX_VALUES) >= 0
    except RuntimeError:  # another thread changed a dict meanwhile, or the application's own stack is nearly full
        return _is_plain_by_copies(session)


def _room_after(value: dict[str, Any] | list[Any], levels: int, room: int) -> int:
    """How many more values there may be after those in this one; below 0 where it is not plain, or holds too many."""
    room -= len(value)
    if room < 0 or levels == 0:
        return -1
    items: Iterable[Any] = value
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                return -1
        items = value.values()
    for item in items:
        kind = type(item)
        if kind is str:
            continue
        if kind is int:
            if not MIN_INT <= item <= MAX_INT:
                return -1
        elif kind is dict or kind is list:
            room = _room_after(item, levels - 1, room)
            if room < 0:
                return -1
        elif kind is float:
            if item * 0.0 != 0.0:  # not finite, told without a call
                return -1
        elif kind is not bool and item is not None:
            return -1
    return room


def _is_plain_by_copies(session: dict[str, Any]) -> bool:
    """Whether a session is what :func:`_room_after` says it is, slowly.

    A loop, not a recursion: it works however deep the application's own stack is. tuple() takes a copy of a container in one
    step, so that another thread may change it meanwhile.
    """
    count = 0
    stack: list[Iterator[Any]] = [iter((session,))]
    while stack:
        for value in stack[-1]:
            kind = type(value)
            if kind is str or kind is bool or value is None:
                continue
            if kind is int:
                if MIN_INT <= value <= MAX_INT:
                    continue
                return False
            if kind is float:
                if math.isfinite(value):
                    continue
                return False
            if kind is dict:
                items = tuple(value.items())
                if not all(type(key) is str for key, _ in items):
                    return False
                below: Iterable[Any] = [item for _, item in items]
            elif kind is list:
                below = tuple(value)
            else:
                return False
            count += len(value)
            if len(stack) > MAX_DEPTH or count > MAX_VALUES:
                return False
            stack.append(iter(below))
            break
        else:
            stack.pop()
    return True


def _faults(value: Any, path: str, levels: int) -> Iterator[str | None]:
    """Walk a value; for each thing in it None, or what is wrong with it as a sentence that names its path."""
    yield _fault(value, path, levels)
    if levels and type(value) is list:
        for index, item in enumerate(tuple(value)):
            yield from _faults(item, f"{path}[{index}]", levels - 1)
    elif levels and type(value) is dict:
        for key, item in tuple(value.items()):
            yield from _faults(item, _joined(path, key), levels - 1)


def _fault(value: Any, path: str, levels: int) -> str | None:
    """What is wrong with one value, its items aside."""
    kind = type(value)
    where = _shortened(path) or "the session"
    if kind is bool or value is None:
        return None
    if kind is str:
        return None if _is_unicode(value) else f"{where} is text with a lone surrogate, which UTF-8 cannot carry"
    if kind is int:
        return None if MIN_INT <= value <= MAX_INT else f"{where} is an int beyond 64 bits; store it as text"
    if kind is float:
        return None if math.isfinite(value) else f"{where} is a float that is not finite, which JSON has not"
    if kind is not dict and kind is not list:
        return (
            f"{where} is of type {_type_name(value)}; a session holds only dict, list, str, int, float, bool and None, of exactly "
            "these types: convert it before you store it"
        )
    if levels == 0:
        return f"{where} is nested deeper than {MAX_DEPTH} levels (or contains itself)"
    if kind is dict:
        for key in tuple(value):
            if type(key) is not str:
                return f"{where} has a key of type {_type_name(key)}; JSON has only str keys, of exactly that type"
            if not _is_unicode(key):
                return f"{where} has a key with a lone surrogate, which UTF-8 cannot carry"
    return None


def _first_fault(session: dict[str, Any]) -> str:
    if type(session) is not dict:
        return f"a session is a dict, of exactly that type, and not of type {_type_name(session)}"
    # A session of more than MAX_VALUES values need not be walked to its end to be told so.
    seen = itertools.islice(_faults(session, "", MAX_DEPTH), 2 * MAX_VALUES)
    return next(filter(None, seen), f"the session holds more than {MAX_VALUES:,} values, or was changed while it was being sealed")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _joined(path: str, key: str) -> str:
    """A path one key longer: ``cart.items``, or ``cart["two words"]``."""
    if key.isidentifier() and key.isascii() and len(key) <= _MAX_KEY_CHARS:
        return f"{path}.{key}" if path else key
    return f"{path}[{shown_key(key)}]"


def _shortened(path: str) -> str:
    return path if len(path) <= _MAX_PATH_CHARS else f"{path[:_MAX_PATH_CHARS]}…"


def shown_key(key: object) -> str:
    """A key as a message shows it: quoted, escaped to ASCII, cut at 40 characters. Not a str: its type."""
    if not isinstance(key, str):
        return f"<{_type_name(key)}>"
    return ascii(key[:_MAX_KEY_CHARS]) + ("…" if len(key) > _MAX_KEY_CHARS else "")


def is_same(one: Any, other: Any) -> bool:
    """Whether two values read from JSON are alike to the type, the sign and the order of keys; of any depth.

    ``==`` would call ``1``, ``1.0`` and ``True`` alike, and overflows the stack on nesting that a parser accepts.
    """
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if type(left) is dict:
            if list(left) != list(right):
                return False
            pairs.extend(zip(left.values(), right.values(), strict=True))
        elif type(left) is list:
            if len(left) != len(right):
                return False
            pairs.extend(zip(left, right, strict=True))
        elif type(left) is float:
            if repr(left) != repr(right):  # which tells -0.0 from 0.0, and calls a NaN itself
                return False
        elif left != right:
            return False
    return True
