"""JSON text for a terminal and for machines, of whatever was sealed.

It knows JSON and which characters a terminal acts upon, and nothing of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from clientsession._json import MAX_DEPTH

_INDENT: Final = 2  # spaces for each level; no more beyond the levels that a session may have, or a line would be all spaces
_INFINITE: Final = float("inf")
# What Unicode calls printable, and nobody sees: Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the blank of Braille.
_UNSEEN: Final = frozenset(
    map(
        chr,
        (
            *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)


def safe(text: str) -> str:
    """A text with JSON's escapes for what a terminal acts upon or does not show: control, direction and invisible characters."""
    return "".join(char if char.isprintable() and char not in _UNSEEN else json.dumps(char)[1:-1] for char in text)


def safe_string(text: str) -> str:
    """A text as JSON, as :func:`safe` has it."""
    return safe(json.dumps(text, ensure_ascii=False))


def dumped(value: Any, *, string: Callable[[str], str] = json.dumps, is_compact: bool = False) -> str:
    """JSON text of what a JSON parser gave.

    A loop and no recursion: what was sealed may be nested as deeply as a parser reads, and that is deeper than Python writes.

    Args:
        value: the value.
        string: the JSON text of a string; by default in ASCII.
        is_compact: all on one line, with no spaces.
    """
    out: list[str] = []
    ends: list[str] = []  # of the containers that are open
    stack: list[Iterator[tuple[str, Any]]] = [iter((("", value),))]
    colon = ":" if is_compact else ": "
    comma = ""

    def line() -> str:
        return "" if is_compact or not stack[1:] else "\n" + " " * _INDENT * min(len(ends), MAX_DEPTH)

    while stack:
        item = next(stack[-1], None)
        if item is None:
            if ends:
                end = ends.pop()
                out += (line(), end)
            stack.pop()
            comma = ","
            continue
        label, each = item
        out += (comma, line(), label)
        if isinstance(each, dict) and each:
            out.append("{")
            ends.append("}")
            stack.append((string(key) + colon, below) for key, below in each.items())
        elif isinstance(each, list) and each:
            out.append("[")
            ends.append("]")
            stack.append(("", below) for below in each)
        else:
            out.append(string(each) if isinstance(each, str) else _scalar(each))
            comma = ","
            continue
        comma = ""
    return "".join(out)


def _scalar(value: Any) -> str:
    if value in (_INFINITE, -_INFINITE):  # a parser reads 1e999 as that, and JSON has no other word for it
        return "1e999" if value > 0 else "-1e999"
    return json.dumps(value)


def key_bytes(content: dict[str, Any]) -> dict[str, int]:
    """How many bytes of JSON each key takes with its value, the largest first."""
    sizes = {key: len(_plain({key: value})) - len("{}") for key, value in content.items()}
    return dict(sorted(sizes.items(), key=lambda entry: -entry[1]))


def _plain(value: Any) -> bytes:
    """JSON as a session is sealed, of more than may be sealed."""
    text = dumped(value, string=lambda each: json.dumps(each, ensure_ascii=False), is_compact=True)
    return text.encode("utf-8", "surrogatepass")
