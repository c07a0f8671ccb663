"""How bytes come apart and are put together again, and how they are changed in between.

A layer opens bytes into parts, each of which may be a layer again: base64url around a frame around a plaintext around JSON. A
mutation opens some of them, changes one part and puts all together, so that what it gives is authentic: a seal is a layer too.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Change = Callable[[bytes], bytes]
"""Changes bytes of which nothing is known."""

NOW = 1_800_000_000  # seconds since 1970: what every clock says here
NOW_MS = NOW * 1000
STAYS_OUTSIDE = 0.12  # how often a layer is changed as the bytes it is, and not opened

# What stands at the limits of the rules, in seconds from now.
MOMENTS = (
    0,
    1,
    -1,
    59,
    60,
    61,
    300,
    1199,
    1200,
    1201,
    -1199,
    -1200,
    -1201,
    86_400,
    -86_400,
    -14 * 86_400,
    -31 * 86_400,
    34_560_000,
)
WORDS = (
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"{}", b"[]", b'""', b" ", b"  ", b"\t", b"\n", b"\r", b"\x00", b"\x7f", b"\xff"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"-0.0", b"1e-7", b"01", b"0x1", b"1.", b"\\u0000"),
    *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 40),
    *(
        b"\\ud800",
        b"\\udfff",
        b"\\ud83d\\ude00",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xc3\xa9",
        b"\xc0\x80",
        b"\xf0\x9f\x8d\xaa",
        b'{"a":',
    ),
    *(
        b";",
        b"=",
        b"; ",
        b";;",
        b"==",
        b".",
        b"..",
        b"*",
        b":",
        b"--",
        b"-",
        b"_",
        b"+",
        b"/",
        b"%3D",
        b"%2B",
        b"%2F",
        b"%",
        b"\\",
        b"'",
    ),
    *(
        b"session=",
        b"cart=",
        b"old=",
        b"Bearer ",
        b"bearer\t",
        b"Basic x",
        b"csk1_",
        b"end\n",
        b"#",
        b"sealing ",
        b"retiring ",
        b"accepting ",
    ),
    *(b"added=", b"since=", b"droppable=", b"2026-11-21", b"2026-11-21T13:00:00Z", b"Fe26.2", b"~2", b"_session_expiry", b"_rails"),
    *(b"Cookie: ", b"Set-Cookie: ", b"Max-Age=", b"$'", b"Path=/", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xae", b"\x1b[31m"),
)
VALUES: tuple[Any, ...] = (
    *(
        0,
        -0.0,
        1,
        1.0,
        -1,
        True,
        None,
        "",
        "a",
        [],
        {},
        2**53,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        10**400,
        5e-324,
        1e308,
    ),
    *(
        1e16,
        float("inf"),
        float("nan"),
        "\ud800",
        "\udfff\ud83d",
        "\U0001f36a",
        "\x00\x7f\u2028",
        "\x1b[31m\u202e",
        "é",
        "__",
        NOW,
        NOW + 0.5,
        str(NOW),
    ),
    *(
        dict.fromkeys(("\ud800", "\udfff"), 1),
        {"a": {"a": 1}},
        {" t": [1, 2]},
        {" b": "AA=="},
        {" m": "<b>"},
        {" u": "0123456789abcdef" * 2},
    ),
    *({" d": "Fri, 15 Jan 2027 08:00:00 GMT"}, {" di": {" t__": [1]}}, {" di": {"a__": 1}}, {" t": {" t": []}}, {" d": "Fri"}),
    *("2027-01-16T00:00:00", "2027-01-16T00:00:00+02:00", "9999-12-31T23:59:59.999999", "0001-01-01", "2027-01-15T08:00:00.001Z"),
)
_DEEP = (2, 60, 61, 62, 63, 64, 65, 66, 200, 2000)
_LONG = (1, 15, 16, 17, 100, 1000, 3000)


def changed(data: bytes, random: Random) -> bytes:
    """Bytes with a bit flipped, a piece cut out, doubled or put in, as libFuzzer does it too."""
    begin = random.randrange(len(data) + 1)
    end = min(len(data), begin + random.choice((0, 1, 1, 2, 4, 16, 64)))
    kind = random.randrange(6)
    if kind == 0 and data:
        at = begin % len(data)
        return data[:at] + bytes((data[at] ^ (1 << random.randrange(8)),)) + data[at + 1 :]
    if kind == 1:
        return data[:begin] + data[end:]
    if kind == 2:
        return data[:end] + data[begin:]
    if kind == 3:
        return data[:begin] + bytes((random.randrange(256),)) + data[end:]
    return data[:begin] + random.choice(WORDS) + data[begin if kind == 4 else end :]


class Layer:
    """Bytes that have no parts; and what all layers have in common."""

    inner: tuple[Layer, ...] = ()
    """Of each part, what it is; parts beyond them are as the last."""
    weights: Sequence[int] | None = None
    """How often each is changed; by default all alike."""

    def open(self, data: bytes) -> list[bytes] | None:
        """The parts, or None where there are none."""
        return None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        """The bytes of some parts, whatever they are; the same for the same parts."""
        raise NotImplementedError

    is_seal = False
    """Whether what is inside is authentic."""

    def is_whole(self, data: bytes) -> bool:
        """Whether a seal among its layers fits, or it opens where there is none."""
        parts = self.open(data) or []
        if self.is_seal or not self.inner:
            return bool(parts)
        return any(self.inner[min(index, len(self.inner) - 1)].is_whole(part) for index, part in enumerate(parts))

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        """The bytes with a change somewhere in them."""
        parts = None if random.random() < STAYS_OUTSIDE else self.open(data)
        if not parts:
            return change(data)
        index = random.choices(range(len(parts)), self.weights)[0]
        parts[index] = self.inner[min(index, len(self.inner) - 1)].mutated(parts[index], random, change)
        return self.seal(parts)


PLAIN = Layer()


class OneOf(Layer):
    """One of some values that mean something."""

    def __init__(self, *values: bytes) -> None:
        self.values = values

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        return change(data) if random.random() < 0.4 else random.choice(self.values)


class Number(Layer):
    """A whole number, and a time mostly; ``unit`` is what a second has of it."""

    def __init__(self, unit: int, read: Callable[[bytes], int | None], write: Callable[[int], bytes]) -> None:
        self.unit = unit
        self.read = read
        self.write = write

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        number = self.read(data)
        kind = random.randrange(5)
        if kind == 0 or number is None:
            return change(data)
        if kind == 4:  # the same in another spelling, or none
            return random.choice((b"", b"0" + data, b"\x00" + data, b"+" + data, b" " + data, data + b".0"))
        if kind == 1:
            return self.write(max(0, number + random.choice((-1, 1, 1000, -1000, 60_000, -60_000))))
        if kind == 2:
            return self.write(random.choice((0, 1, 2**31, 2**32, 2**48 - 1, 2**53, 2**53 + 1, 10**15, 10**16)))
        return self.write((NOW + random.choice(MOMENTS)) * self.unit + random.choice((0, 0, 1, -1)))


def _decimal(data: bytes) -> int | None:
    return int(data) if data.isdigit() and len(data) < 30 else None


def decimal(unit: int) -> Number:
    """A number in ASCII."""
    return Number(unit, _decimal, lambda number: b"%d" % number)


def big_endian(unit: int, size: int | None = None) -> Number:
    """A number in bytes, of a fixed number of them or as few as it takes."""

    def write(number: int) -> bytes:
        wanted = (number.bit_length() + 7) // 8 if size is None else size
        return (number % (1 << 8 * wanted)).to_bytes(wanted, "big")

    return Number(unit, lambda data: int.from_bytes(data, "big") if len(data) < 20 else None, write)


class Wrapped(Layer):
    """A layer of one part, by two functions; the first gives None, or raises a ValueError, for what is not of its form."""

    def __init__(self, unwrap: Callable[[bytes], bytes | None], wrap: Callable[[bytes], bytes], inner: Layer = PLAIN) -> None:
        self.unwrap = unwrap
        self.wrap = wrap
        self.inner = (inner,)

    def open(self, data: bytes) -> list[bytes] | None:
        try:
            part = self.unwrap(data)
        except ValueError:
            return None
        return None if part is None else [part]

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return self.wrap(parts[0])

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        return respelt(data, random) if random.random() < 0.05 else super().mutated(data, random, change)


_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def respelt(text: bytes, random: Random) -> bytes:
    """base64 in a spelling that a lenient reader takes for the same: other bits at its end, padding, a line end, other letters."""
    bare = text.rstrip(b"=")
    kind = random.randrange(4)
    if kind == 0 and bare:
        following = _LETTERS[(_LETTERS.find(bare[-1:]) + 1) % 64]
        return bare[:-1] + bytes([following]) + text[len(bare) :]
    if kind == 1:
        return bare + b"=" * random.randrange(4)
    if kind == 2:
        return text.translate(bytes.maketrans(b"-_+/", b"+/-_"))
    return text + random.choice((b"\n", b" ", b"\r\n"))


def b64url(data: bytes) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def un_b64url(text: bytes) -> bytes | None:
    """The bytes of base64url in its one spelling, or None."""
    try:
        data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return data if b64url(data) == text else None


def un_b64(text: bytes) -> bytes | None:
    """The bytes of padded base64 in its one spelling, or None."""
    try:
        data = base64.b64decode(text)
    except binascii.Error:
        return None
    return data if base64.b64encode(data) == text else None


def inflated(data: bytes, window: int) -> bytes | None:
    """The bytes of one whole stream, at most 65,536 of them and nothing after it; window as for zlib."""
    stream = zlib.decompressobj(window)
    try:
        out = stream.decompress(data) + stream.flush()
    except zlib.error:
        return None
    return out if stream.eof and not stream.unused_data and len(out) <= 65_536 else None


def deflated(data: bytes, window: int) -> bytes:
    """A stream around the bytes."""
    stream = zlib.compressobj(9, zlib.DEFLATED, window)
    return stream.compress(data) + stream.flush()


class Either(Layer):
    """What may be of several forms: mostly the first that opens it changes it, else the last."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def open(self, data: bytes) -> list[bytes] | None:
        return next((parts for layer in self.layers if (parts := layer.open(data))), None)

    def is_whole(self, data: bytes) -> bool:
        return any(layer.is_whole(data) for layer in self.layers)

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        for layer in self.layers:
            if layer.open(data) and random.random() < 0.85:
                return layer.mutated(data, random, change)
        return self.layers[-1].mutated(data, random, change)


class Several(Layer):
    """A list of pieces with something between them; some are also doubled, dropped or put elsewhere."""

    def __init__(self, separator: bytes, inner: Layer, pieces: Sequence[bytes] = ()) -> None:
        self.separator = separator
        self.inner = (inner,)
        self.pieces = tuple(pieces)

    def open(self, data: bytes) -> list[bytes] | None:
        return data.split(self.separator)

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return self.separator.join(parts)

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        if random.random() < 0.75:
            return super().mutated(data, random, change)
        parts = data.split(self.separator)
        piece = parts[random.randrange(len(parts))]
        kind = random.randrange(4)
        if kind == 0:
            parts.remove(piece)
        elif kind == 1 and self.pieces:
            parts.insert(random.randrange(len(parts) + 1), random.choice(self.pieces))
        else:
            parts.insert(random.randrange(len(parts) + 1), piece)
        return self.separator.join(parts)


class Json(Layer):
    """A JSON text, changed as the value it stands for, or as text."""

    def open(self, data: bytes) -> list[bytes] | None:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return None
        return [data]

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        if random.random() < 0.3:
            return change(data)
        if random.random() < 0.05:
            return self._deep(random)
        try:
            value = self._changed(json.loads(data), random)
            separators = random.choice(((",", ":"), (", ", ": "), (" ,", " : ")))
            text = json.dumps(value, ensure_ascii=random.random() < 0.4, separators=separators)
        except (ValueError, RecursionError):
            return change(data)
        return text.encode("utf-8", "surrogatepass") + b" " * random.choice((0, 0, 0, 0, 1, 7))

    @staticmethod
    def _deep(random: Random) -> bytes:
        depth = random.choice(_DEEP)
        return b'{"a":' + b"[" * depth + b"]" * depth + b"}"

    def _changed(self, value: Any, random: Random) -> Any:
        """A copy with one thing in it another one."""
        if isinstance(value, dict) and value and random.random() < 0.8:
            items = list(value.items())
            index = random.randrange(len(items))
            key, item = items[index]
            kind = random.randrange(8)
            if kind == 0:
                del items[index]
            elif kind == 1:
                items[index] = (self._key(random), item)
            elif kind == 2:
                items.insert(index, (self._key(random), self._value(random)))
            else:
                items[index] = (key, self._changed(item, random))
            return dict(items)
        if isinstance(value, list) and value and random.random() < 0.8:
            out = list(value)
            index = random.randrange(len(out))
            kind = random.randrange(6)
            if kind == 0:
                del out[index]
            elif kind == 1:
                out.insert(index + random.randrange(2), self._value(random))
            else:
                out[index] = self._changed(out[index], random)
            return out
        if isinstance(value, dict) and random.random() < 0.7:
            return {**value, self._key(random): self._value(random)}
        if type(value) in (int, float) and abs(value) < 2**63 and random.random() < 0.6:
            return random.choice((value + 1, value - 1, value + 60, value - 1200, -value, bool(value), int(value), float(value)))
        return random.choice(([value], {"a": value}, self._value(random), self._value(random)))

    @staticmethod
    def _key(random: Random) -> str:
        keys = (
            "a",
            "b",
            "",
            "\ud800",
            "é",
            "user",
            "created",
            "session",
            "_session_expiry",
            "_permanent",
            " t",
            " di",
            "__proto__",
            "fuzz",
        )
        return random.choice(keys)

    @staticmethod
    def _value(random: Random) -> Any:
        kind = random.randrange(12)
        if kind == 0:
            return "x" * random.choice(_LONG)
        if kind == 1:
            return [0] * random.choice(_LONG)
        if kind == 2:
            return NOW + random.choice(MOMENTS)
        return random.choice(VALUES)


def mutated(
    layer: Layer, data: bytes, max_bytes: int, seed: int, change: Callable[[bytes, Random], bytes], seeds: Sequence[bytes]
) -> bytes:
    """An input made of another one, by one to three changes; the same for the same seed, as far as ``change`` is.

    Args:
        layer: what the input is.
        data: the input.
        max_bytes: the longest there may be.
        seed: of all chances.
        change: how bytes of which nothing is known are changed.
        seeds: of which one is taken in the input's place at times, and more often where its own seal is broken.
    """
    random = Random(seed)
    if random.random() < (0.1 if layer.is_whole(data) else 0.5):
        data = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        after = layer.mutated(data, random, lambda part: change(part, random))
        data = after if len(after) <= max_bytes else data
    return data
