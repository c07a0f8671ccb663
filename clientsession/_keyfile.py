"""The key file: a site's keys as text, one a line, with their roles and dates.

    # comments are allowed
    sealing   csk1_…  added=2026-11-20T10:00:00Z since=2026-11-21T13:00:00Z
    retiring  csk1_…  since=2026-11-21T13:00:00Z droppable=2027-03-21T14:00:00Z   # and here too
    end

It knows the text and the keys in it, and nothing of rings, sessions or when a file is read again. Nothing here raises while a
local variable of its frame holds the text: what is wrong with it is told by a sentence that quotes none of it.
"""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

from clientsession._immutable import Immutable
from clientsession._keys import Key
from clientsession.errors import ConfigurationError

MAX_FILE_BYTES: Final = 256 * 1024  # a hundred of the longest keys, twice over
MAX_KEYS: Final = 100  # a rotation every week with cookies of 400 days makes 58
_READ_ATTEMPTS: Final = 3  # where it is written to while it is read
_END: Final = "end"
_DATES: Final = ("added", "since", "droppable")


class Role(enum.StrEnum):
    """What a key is there for."""

    SEALING = "sealing"
    """Seals, and opens: one key of a ring."""
    ACCEPTING = "accepting"
    """Opens too: a new key, before it seals."""
    RETIRING = "retiring"
    """Opens too, and what it sealed is sealed anew when it is read: a former sealing key."""


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key of a file.

    Attributes:
        role: what it is there for.
        key: the key.
        added: since when it is in the file.
        since: since when it has its role.
        droppable: from when on nothing that it sealed is alive.
        comment: what followed it, with its ``#``; it may hold anything and is never shown.
    """

    role: Role
    key: Key
    added: datetime | None = None
    since: datetime | None = None
    droppable: datetime | None = None
    comment: str = field(default="", repr=False)

    def text(self) -> str:
        """The line, with the secret."""
        dates = [f"{name}={format_date(date)}" for name in _DATES if (date := getattr(self, name)) is not None]
        return " ".join(filter(None, (f"{self.role:<9}", self.key.export(), *dates, self.comment)))


class KeyFile(Immutable):
    """The lines of a key file: a :class:`KeyLine` for each key, and the text of comments and empty lines between them."""

    __slots__ = ("lines",)
    lines: tuple[KeyLine | str, ...]

    def __init__(self, lines: Iterable[KeyLine | str]) -> None:
        self._freeze(lines=tuple(lines))

    @property
    def keys(self) -> tuple[KeyLine, ...]:
        """The keys, in the order of the file."""
        return tuple(line for line in self.lines if isinstance(line, KeyLine))

    def of_role(self, role: Role) -> tuple[KeyLine, ...]:
        """The keys of one role."""
        return tuple(line for line in self.keys if line.role is role)

    def text(self) -> str:
        """The whole file, with the secrets."""
        return "".join(f"{line.text() if isinstance(line, KeyLine) else line}\n" for line in self.lines)

    def _summary(self) -> str:
        return ", ".join(f"{line.role} {line.key.id}" for line in self.keys)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a key file.

        Raises:
            ConfigurationError: it cannot be read, or is not a whole key file; names the line, shows none of it.
        """
        read = read_file(path)
        loaded = read if isinstance(read, str) else cls._parse(read[0])
        del read
        if isinstance(loaded, str):
            raise ConfigurationError(f"the key file {os.fspath(path)}: {loaded}")
        return loaded

    @classmethod
    def _parse(cls, data: bytes) -> Self | str:
        """The file these bytes are, or what is wrong with them."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return "is not UTF-8 text"
        lines: list[KeyLine | str] = []
        numbers: dict[str, int] = {}  # by key id
        sealing = end = 0
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            entry = _parse_line(line.strip(" \t\r"))
            if isinstance(entry, _Fault):
                return f"line {number} {entry}"
            if entry == _END:
                if end:
                    return f"line {number} says {_END} once more"
                end = number
            if isinstance(entry, KeyLine):
                if end:
                    return f"line {number} holds a key after the line that says {_END}: move that one down"
                if entry.key.id in numbers:
                    return f"lines {numbers[entry.key.id]} and {number} hold the same key, {entry.key.id}: remove one"
                if entry.role is Role.SEALING and sealing:
                    return f"lines {sealing} and {number} are both sealing: one key seals, the others are accepting or retiring"
                sealing = number if entry.role is Role.SEALING else sealing
                numbers[entry.key.id] = number
            lines.append(entry)
        if not end:
            return f"has no line that says {_END} after the last key: it is empty, was cut, or is being written at this moment"
        if len(numbers) > MAX_KEYS:
            return f"holds {len(numbers)} keys, and {MAX_KEYS} are the most: drop old ones with `clientsession keys drop`"
        if not sealing:
            return "has no sealing key: one key must be sealing"
        return cls(lines)


class _Fault(str):
    """What is wrong with a line, beginning with a verb."""

    __slots__ = ()


def _parse_line(line: str) -> KeyLine | str:
    if not line or line.startswith("#"):
        return line
    words, hash_sign, comment = line.partition("#")
    role, *rest = words.split()
    if role == _END and not rest:
        return _END
    if role not in set(Role):
        return _Fault(f"must begin with {', '.join(Role)}, {_END} or #")
    if not rest:
        return _Fault("has a role and no key: it was cut, or the key stands elsewhere")
    try:
        key = Key.parse(rest[0])
    except ConfigurationError as error:
        return _Fault(f"has no key that can be read: {error}")
    dates: dict[str, datetime] = {}
    for word in rest[1:]:
        name, equals, value = word.partition("=")
        date = parse_date(value)
        if not equals or name not in _DATES or name in dates:
            return _Fault(f"has something after the key that is none of {'=…, '.join(_DATES)}=… (each at most once) or a # comment")
        if date is None:
            return _Fault(f"has a date for {name} that is not like 2026-11-21 or 2026-11-21T13:00:00Z")
        dates[name] = date
    return KeyLine(Role(role), key, **dates, comment=hash_sign + comment)


def parse_date(text: str) -> datetime | None:
    """A date as ISO 8601 has it, midnight UTC, or a date and time with its zone; None where it is neither."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        return date.replace(tzinfo=UTC) if len(text) <= len("2026-11-21") else None
    try:
        return date.astimezone(UTC)
    except OverflowError:  # a zone that moves it out of the calendar
        return None


def format_date(date: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_file(path: str | os.PathLike[str]) -> tuple[bytes, tuple[int, ...]] | str:
    """The bytes of a regular file of at most 256 KiB and its identity, or what is in the way."""
    try:
        # Not to be held up by a pipe that has no writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    try:
        for _ in range(_READ_ATTEMPTS):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return "is not a regular file"
            os.lseek(descriptor, 0, os.SEEK_SET)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                return f"is larger than {MAX_FILE_BYTES:,} bytes"
            if identity_of(os.fstat(descriptor)) == identity_of(before):
                return data, identity_of(before)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    finally:
        os.close(descriptor)
    return "is being written at this moment"


def identity_of(found: os.stat_result) -> tuple[int, ...]:
    """What is another where a file is another, or was changed; the last two are when it was, in nanoseconds since 1970."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
