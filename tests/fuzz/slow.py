"""The rules a second time: docs/SPEC.md for tokens, cookies and keys, and those of headers and key files.

Slow, plain, and sharing no code with the library: what it says is what the library must say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NoReturn

from tests import reference
from tests.fuzz.layers import inflated

Scope = tuple[str, str, str]
"""Kind, name and audience."""

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Opened:
    """What a token holds."""

    content: dict[str, Any]
    created: int
    expires: int
    id: bytes | None
    ephemeral: bool
    header: bytes


@dataclass(frozen=True)
class Refused:
    """Why a token does not open, and the question of section 6 at which it ended."""

    reason: str
    question: int


# Values


def flat(value: Any) -> list[tuple[str, object]]:
    """A value as a list in which ``1``, ``1.0`` and ``True`` differ; for nesting of any depth."""
    out: list[tuple[str, object]] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            out.append(("dict", tuple(item)))
            stack.extend(item.values())
        elif type(item) is list:
            out.append(("list", len(item)))
            stack.extend(item)
        else:
            out.append((type(item).__name__, repr(item)))
    return out


def depth_of(value: Any) -> int:
    """How many levels of dict and list a value has."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if type(item) in (dict, list):
            deepest = max(deepest, depth)
            stack.extend((below, depth + 1) for below in (item.values() if type(item) is dict else item))
    return deepest


def is_plain(value: Any) -> bool:
    """Whether a writer may write it (section 4)."""
    if type(value) is not dict or depth_of(value) > 64:
        return False
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is dict:
            stack += [*item, *item.values()]
            if not all(type(key) is str for key in item):
                return False
        elif kind is list:
            stack += item
        elif kind is str:
            if any("\ud800" <= char <= "\udfff" for char in item):
                return False
        elif kind is int:
            if not -(2**63) <= item < 2**63:
                return False
        elif kind is float:
            if not math.isfinite(item):
                return False
        elif kind is not bool and item is not None:
            return False
    return True


def _refused(word: str) -> NoReturn:
    raise ValueError(word)


def parsed(text: str, **options: Any) -> Any:
    """The value of a JSON text; a ValueError where it is none, or nested deeper than a parser goes."""
    try:
        return json.loads(text, **{"parse_constant": _refused, **options})
    except RecursionError:
        raise ValueError("nested too deeply") from None


def body_of(raw: bytes) -> dict[str, Any] | None:
    """The object of a body (section 4), or None."""
    if not raw:
        return {}
    try:
        text = raw.decode("utf-8").rstrip(" ")
        return parsed(text) if text.startswith("{") and text.endswith("}") else None
    except ValueError:
        return None


# Tokens


@cache
def key_ids(secret: bytes) -> dict[int, bytes]:
    """The key id of a secret for each suite."""
    return {suite: reference.key_id(secret, suite) for suite in (reference.XAES, reference.XCHACHA)}


def key_header(suite: int, secret: bytes) -> bytes:
    """The first five bytes of a frame."""
    return bytes([suite]) + key_ids(secret)[suite]


@dataclass(frozen=True)
class Ring:
    """Keys, as (suite, secret); the first seals. ``retiring`` are places in ``keys``."""

    keys: tuple[tuple[int, bytes], ...]
    retiring: frozenset[int] = frozenset()

    def find(self, header: bytes) -> tuple[int, bytes] | None:
        """The key of a frame's first five bytes."""
        return next((key for key in self.keys if key_header(*key) == header), None)

    def is_retiring(self, header: bytes) -> bool:
        """Whether it is one whose sessions are sealed anew."""
        return any(self.keys[index] == self.find(header) for index in self.retiring)


def frame_of(token: str, max_chars: int) -> bytes | None:
    """Question 1: the frame of a token in its one spelling, or None."""
    if not 60 <= len(token) <= max_chars or not re.fullmatch(r"[A-Za-z0-9_-]+", token):
        return None
    try:
        frame = reference.frame_of(token)
    except binascii.Error:
        return None
    return frame if reference.text(frame) == token else None


def opened(token: str, scope: Scope, ring: Ring, now: int, *, max_chars: int, max_ms: int | None) -> Opened | Refused:
    """A token by section 6, question by question."""
    frame = frame_of(token, max_chars)
    if frame is None:
        return Refused("malformed", 1)
    if frame[0] not in (reference.XAES, reference.XCHACHA):
        return Refused("malformed", 2)
    key = ring.find(frame[:5])
    if key is None:
        return Refused("unknown_key", 3)
    plaintext = reference.open(key[1], key[0], *scope, token)
    if plaintext is None:
        return Refused("forged", 4)
    flags = plaintext[0] if plaintext else 0
    start = 29 if flags & 1 else 13
    if len(plaintext) < start or flags > 7:
        return Refused("malformed", 5)
    created, expires = int.from_bytes(plaintext[1:7], "big"), int.from_bytes(plaintext[7:13], "big")
    if expires < created:
        return Refused("malformed", 6)
    if created - now > 60_000:
        return Refused("future", 7)
    ends = expires if max_ms is None else min(expires, created + max_ms)
    if now >= ends:
        return Refused("expired", 8)
    raw: bytes | None = plaintext[start:]
    content = None
    if flags & 2:
        raw = inflated(plaintext[start:], -15)
    if raw is not None:
        content = body_of(raw)
    if content is None:
        return Refused("malformed", 9)
    return Opened(content, created, ends, plaintext[13:29] if flags & 1 else None, bool(flags & 4), frame[:5])


# Cookies and headers


def cookie_values(header: str, name: str) -> list[str]:
    """The values of a name in a Cookie header, one character after the other."""
    values: list[str] = []
    pair: list[str] = []
    for char in [*header, ";"]:
        if char != ";":
            pair.append(char)
            continue
        if "=" in pair:
            at = pair.index("=")
            if _stripped(pair[:at]) == name:
                values.append(_stripped(pair[at + 1 :]))
        pair = []
    return values


def _stripped(chars: list[str]) -> str:
    while chars and chars[0] in " \t":
        chars = chars[1:]
    while chars and chars[-1] in " \t":
        chars = chars[:-1]
    return "".join(chars)


def bearer_tokens(value: str) -> list[str]:
    """The tokens behind ``Bearer`` in an Authorization header; a comma in a quoted string parts nothing (RFC 9110, 11.4)."""
    parts, part = [], ""
    quoted = escaped = False
    for char in value:
        if char == "," and not quoted:
            parts.append(part)
            part = ""
            continue
        part += char
        if quoted and escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
    tokens = []
    for each in [*parts, part]:
        words = each.strip(" \t")
        if words[:6].lower() == "bearer" and words[6:7] in (" ", "\t"):
            tokens.append(words[6:].lstrip(" \t"))
    return [token for token in tokens if token]


def header_tokens(value: str) -> list[str]:
    """The tokens of a header of our own: between commas."""
    return [token for part in value.split(",") if (token := part.strip(" \t"))]


def of_several(
    values: Iterable[str], scope: Scope, ring: Ring, now: int, *, max_chars: int, max_ms: int | None, active_ms: int | None = None
) -> Opened | Refused | None:
    """The session of several values (section 6, Cookies), with its end moved on by activity; None where there are no values."""
    answers = [opened(value, scope, ring, now, max_chars=max_chars, max_ms=max_ms) for value in sorted(set(values))]
    candidates = [answer for answer in answers if isinstance(answer, Opened) or answer.question > 3]
    found = [answer for answer in candidates if isinstance(answer, Opened)]
    if len(candidates) > 4 or len(found) > 1:
        return Refused("ambiguous", 0)
    if not found:
        return max((answer for answer in answers if isinstance(answer, Refused)), key=lambda answer: answer.question, default=None)
    session = found[0]
    if active_ms is None or session.expires - now >= active_ms:
        return session
    ends = session.expires + active_ms
    return replace(session, expires=ends if max_ms is None else min(ends, session.created + max_ms))


# Keys and key files


def key_of(text: str) -> tuple[int, bytes] | None:
    """Suite and secret of a key as text (section 2), or None."""
    if not re.fullmatch(r"csk1_[A-Za-z0-9_-]{6,}", text):
        return None
    try:
        data = base64.urlsafe_b64decode(text[5:] + "=" * (-len(text[5:]) % 4))
    except binascii.Error:
        return None
    if reference.text(data) != text[5:] or len(data) < 5:
        return None
    suite, secret, checksum = data[0], data[1:-4], data[-4:]
    if hashlib.sha256(b"csk1_" + data[:-4]).digest()[:4] != checksum or suite not in (1, 2):
        return None
    if not 32 <= len(secret) <= 1024 or len(set(secret)) < 10 or b"csk1_" in secret[:16]:
        return None
    return suite, secret


@dataclass(frozen=True)
class Line:
    """One key of a key file."""

    role: str
    suite: int
    secret: bytes
    dates: tuple[tuple[str, datetime], ...]


def _date(text: str) -> datetime:
    """A date of a key file; what there is of a second is rounded up."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d))?", text, re.ASCII):
        raise ValueError("no date")
    date = datetime.fromisoformat(text)
    date = date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    return date + timedelta(microseconds=-date.microsecond % 1_000_000)


def _lines(text: str) -> Iterator[Line | None]:
    """The lines that mean something: of a key, or None for the one that says end; a ValueError for one that may not be."""
    for line in text.split("\n"):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words == ["end"]:
            yield None
            continue
        if words[0] not in ("sealing", "accepting", "retiring") or len(words) < 2:
            raise ValueError("no role or no key")
        key = key_of(words[1])
        pairs = [word.split("=", 1) for word in words[2:]]
        if key is None or any(len(pair) != 2 or pair[0] not in ("added", "since", "droppable") for pair in pairs):
            raise ValueError("no key, or something after it")
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError("a date twice")
        yield Line(words[0], *key, tuple(sorted((name, _date(value)) for name, value in pairs)))


def key_file_of(data: bytes) -> list[Line] | None:
    """The keys of a key file, or None where it is none."""
    if len(data) > 262_144:
        return None
    try:
        text = data.decode("utf-8")
        lines = list(_lines(text))
    except (ValueError, OverflowError):
        return None
    keys = [line for line in lines if line is not None]
    ids = {(key_ids(line.secret)[line.suite]) for line in keys}
    is_whole = lines.count(None) == 1 and lines[-1] is None and not text.startswith("\ufeff")
    if not is_whole or len(ids) < len(keys) or len(keys) > 100 or [line.role for line in keys].count("sealing") != 1:
        return None
    return keys
