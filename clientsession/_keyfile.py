"""The key file: a site's keys as text, one a line, with their roles and dates.

    # comments are allowed
    sealing   csk1_…  added=2026-11-20T10:00:00Z since=2026-11-21T13:00:00Z
    retiring  csk1_…  since=2026-11-21T13:00:00Z droppable=2027-03-21T14:00:00Z   # and here too
    end

It knows the text, the keys in it and how it is read and written, and nothing of rings, sessions, the command line or when a file
is read again. Nothing here raises while a local variable of its frame holds the text: what is wrong with it is told by a sentence
that quotes none of it.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from clientsession._immutable import Immutable
from clientsession._keys import Key, holds_key
from clientsession.errors import ConfigurationError

MAX_FILE_BYTES: Final = 256 * 1024  # a hundred of the longest keys, twice over
MAX_KEYS: Final = 100  # a rotation every week with cookies of 400 days makes 58
_READ_ATTEMPTS: Final = 3  # where it is written to while it is read
_TOO_LARGE: Final = f"is larger than {MAX_FILE_BYTES:,} bytes"
_ACL: Final = "system.posix_acl_access"  # where Linux keeps a file's access control list
_END: Final = "end"
_DATES: Final = ("added", "since", "droppable")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d))?", re.ASCII)
_BINARY: Final = getattr(os, "O_BINARY", 0)  # where an open file may be one of text, line ends would be changed
_HEADER: Final = (
    "# The keys of this site's sessions. Whoever can read this file can read and make sessions: keep it at mode 0600.",
    "# `clientsession keys add`, `promote` and `drop` change it; `clientsession keys check` says what to do next, and when.",
    "# The last line says that the file is whole.",
)


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
        source: the line as it was read, with the secret, where it is as it was read; never shown.
    """

    role: Role
    key: Key
    added: datetime | None = None
    since: datetime | None = None
    droppable: datetime | None = None
    comment: str = field(default="", repr=False)
    source: str = field(default="", repr=False, compare=False)

    def in_role(self, role: Role, *, since: datetime, droppable: datetime | None = None) -> KeyLine:
        """The same key in another role."""
        return KeyLine(role, self.key, added=self.added, since=since, droppable=droppable, comment=self.comment)

    def text(self) -> str:
        """The line, with the secret; as it was read, where it was."""
        if self.source:
            return self.source
        dates = [f"{name}={format_date(date)}" for name in _DATES if (date := getattr(self, name)) is not None]
        return " ".join(filter(None, (f"{self.role:<9}", self.key.export(), *dates, self.comment)))


class _OtherLine(str):
    """A comment, an empty line or the last one. A comment may hold a key of before, so that ``repr`` shows none of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<a line of {len(self)} characters>"


class KeyFile(Immutable):
    """The lines of a key file: a :class:`KeyLine` for each key, and the text of the others."""

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

    def find(self, key_id: str) -> KeyLine | None:
        """The key of an id."""
        return next((line for line in self.keys if line.key.id == key_id), None)

    @classmethod
    def of(cls, sealing: KeyLine) -> Self:
        """A file of one key, with a few words on what it is."""
        return cls((*map(_OtherLine, _HEADER), sealing, _OtherLine(_END)))

    def adding(self, line: KeyLine) -> Self:
        """The file with one more key, above the line that says that it is whole."""
        end = max(index for index, each in enumerate(self.lines) if isinstance(each, str) and _is_end(each))
        return type(self)((*self.lines[:end], line, *self.lines[end:]))

    def replacing(self, *lines: KeyLine) -> Self:
        """The file with other lines for some of its keys."""
        changed = {line.key.id: line for line in lines}
        return type(self)(changed.get(line.key.id, line) if isinstance(line, KeyLine) else line for line in self.lines)

    def without(self, key_id: str) -> Self:
        """The file without one of its keys."""
        return type(self)(line for line in self.lines if isinstance(line, str) or line.key.id != key_id)

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
        shown = shown_path(path)
        if shown is None:
            del path
            raise ConfigurationError(NOT_A_PATH)
        read = read_file(path)
        loaded = read if isinstance(read, str) else cls._parse(read[0])
        del read
        if isinstance(loaded, str):
            raise ConfigurationError(f"the key file {shown}: {loaded}")
        return loaded

    @classmethod
    def _parse(cls, data: bytes) -> Self | str:
        """The file these bytes are, or what is wrong with them."""
        if len(data) > MAX_FILE_BYTES:
            return _TOO_LARGE
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return "is not UTF-8 text"
        if text.startswith("\ufeff"):
            return "begins with a byte order mark: save it as UTF-8 without one"
        lines: list[KeyLine | str] = []
        numbers: dict[str, int] = {}  # by key id
        sealing = end = 0
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            entry = _parse_line(line)
            if isinstance(entry, _Fault):
                return f"line {number} {entry}"
            if isinstance(entry, KeyLine):
                if end:
                    return f"line {number} holds a key after the line that says {_END}: move that one down"
                if entry.key.id in numbers:
                    return f"lines {numbers[entry.key.id]} and {number} hold the same key, {entry.key.id}: remove one"
                if entry.role is Role.SEALING and sealing:
                    return f"lines {sealing} and {number} are both sealing: one key seals, the others are accepting or retiring"
                sealing = number if entry.role is Role.SEALING else sealing
                numbers[entry.key.id] = number
            elif _is_end(entry):
                if end:
                    return f"line {number} says {_END} once more"
                end = number
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


def _is_end(line: str) -> bool:
    return line.partition("#")[0].split() == [_END]


def _parse_line(line: str) -> KeyLine | str:
    """A line with a key, any other one as it is, or what is wrong with it."""
    before, hash_sign, comment = line.partition("#")
    words = before.split()
    if not words or words == [_END]:
        return _OtherLine(line)
    role, *rest = words
    if role == _END:
        return _Fault(f"has something after {_END} that is no # comment")
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
        if not equals or name not in _DATES or name in dates:
            return _Fault(f"has something after the key that is none of {'=…, '.join(_DATES)}=… (each at most once) or a # comment")
        date = parse_date(value)
        if date is None:
            return _Fault(f"has a date for {name} that is not like 2026-11-21 or 2026-11-21T13:00:00Z")
        dates[name] = date
    return KeyLine(Role(role), key, **dates, comment=(hash_sign + comment).strip(), source=line)


def parse_date(text: str) -> datetime | None:
    """A date as RFC 3339 has it, midnight UTC, or a date and time with its zone; None where it is neither.

    Parts of a second are rounded up, so that nothing is earlier than it was meant to be.
    """
    if not _DATE.fullmatch(text):
        return None
    try:
        date = datetime.fromisoformat(text)
        return whole_second(date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # the 31st of June; a zone that moves it out of the calendar
        return None


def format_date(date: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return f"{date.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def whole_second(date: datetime) -> datetime:
    """The next whole second, or the date itself where it is one: a wait from there on is never a part of a second short."""
    return date.replace(microsecond=0) + timedelta(seconds=1) if date.microsecond else date


NOT_A_PATH: Final = (
    "this is the text of a key, and not the path of a key file. It has been shown to whoever sees this command or variable, so "
    "choose another key if that may be others"
)


def shown_path(path: str | os.PathLike[str]) -> str | None:
    """A path for a message, on one line; None where it is the text of a key."""
    text = os.fsdecode(path)
    if holds_key(text):
        return None
    return text if text.isprintable() else ascii(text)


def read_file(path: str | os.PathLike[str]) -> tuple[bytes, tuple[int, ...]] | str:
    """The bytes of a regular file of at most 256 KiB and its identity, or what is in the way."""
    try:
        # Not to be held up by a pipe that has no writer.
        descriptor = os.open(path, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    except ValueError:  # a null character, or one the file system has no name for
        return "cannot be opened (no file can have such a path)"
    try:
        for _ in range(_READ_ATTEMPTS):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return "is not a regular file"
            os.lseek(descriptor, 0, os.SEEK_SET)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                return _TOO_LARGE
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


# Writing. FILE.new is the lock and the file to come in one, as git's index.lock is: it is made before the file is read, so that of
# two who change the file at once the second is refused, and neither writes over what the other did.


class BusyError(ConfigurationError):
    """The file is being changed by somebody else, or its ``.new`` was left behind."""


def rewrite(path: str, edit: Callable[[KeyFile | None], KeyFile]) -> tuple[KeyFile, int | None]:
    """Change a key file: whoever reads it sees it as before or as after, and nothing in between.

    A link stays one, and so does the file's owner. Its mode becomes 0600, or stays 0640.

    Args:
        path: of the file.
        edit: gives what is to be written for what there is; None where there is no file. What it raises goes through, and the
            file is as it was.

    Returns:
        What was written, and the permissions of the file before, None where there was none.

    Raises:
        BusyError: another one is at it.
        ConfigurationError: the file cannot be read or written. It is as it was.
    """
    target = os.path.realpath(path)
    shown, lock = shown_path(target), f"{target}.new"
    if shown is None:
        del path, target, lock
        raise ConfigurationError(NOT_A_PATH)
    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        raise BusyError(
            f"{shown}.new exists: another `clientsession keys` is at work on this file, or was stopped half-way. If none is, "
            "remove it (it may hold keys) and run this again"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"the key file {shown}: {shown}.new cannot be made beside it ({error.strerror})") from None
    written = None
    try:
        former = _status(target, shown)
        file = edit(None if former is None else KeyFile.load(target))
        problem = _write(descriptor, file, former) or _protect(descriptor, target, former)
        if problem is None:
            written = identity_of(os.fstat(descriptor))
    finally:
        if written is None:
            with contextlib.suppress(OSError):
                # Somebody else's is not ours to remove; as long as it is open, no other file has its number.
                if os.path.samestat(os.lstat(lock), os.fstat(descriptor)):
                    os.unlink(lock)
        os.close(descriptor)
    problem = problem or _put_in_place(lock, target, written)
    if problem is not None:
        raise ConfigurationError(f"the key file {shown}: {problem}. It is as it was")
    return file, None if former is None else stat.S_IMODE(former.st_mode)


def mode_after(former: int | None) -> int:
    """The permissions a file gets when it is written: for its owner alone, or as before where also its group may read."""
    if former is not None and former & stat.S_IRGRP and not former & stat.S_IRWXO:
        return stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP
    return stat.S_IRUSR | stat.S_IWUSR


def _status(target: str, shown: str) -> os.stat_result | None:
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"the key file {shown}: cannot be opened ({error.strerror})") from None


def _write(descriptor: int, file: KeyFile, former: os.stat_result | None) -> str | None:
    """Fill the new file, or say what is in the way."""
    data = file.text().encode("utf-8")
    again = KeyFile._parse(data)
    if isinstance(again, str):
        return f"it would not be read any more, for it {again}"
    try:
        ours = os.fstat(descriptor)
        if former is not None and (former.st_uid, former.st_gid) != (ours.st_uid, ours.st_gid):
            os.fchown(descriptor, former.st_uid, former.st_gid)
    except OSError as error:
        return f"it belongs to another user or group, and that cannot be kept ({error.strerror}): run this as its owner"
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return None


def _protect(descriptor: int, target: str, former: os.stat_result | None) -> str | None:
    """Give the new file its mode and the access control list of the former one, or say what is in the way.

    By the open file and not by its name, which whoever owns the folder may have made a link to another file by now.
    """
    if not hasattr(os, "fchmod"):
        return None
    try:
        os.fchmod(descriptor, mode_after(None if former is None else former.st_mode))
        access = None
        if former is not None and hasattr(os, "getxattr"):
            with contextlib.suppress(OSError):  # it has none, or the file system knows none
                access = os.getxattr(target, _ACL)
        if access is not None:
            os.setxattr(descriptor, _ACL, access)
    except OSError as error:
        return f"cannot be protected ({error.strerror})"
    return None


def _put_in_place(lock: str, target: str, written: tuple[int, ...] | None) -> str | None:
    """Make the new file the file, or say what is in the way."""
    try:
        found = identity_of(os.lstat(lock))
    except OSError:
        found = None
    if found != written:
        return "its .new was removed by somebody else while this was at work: run this again"
    try:
        os.replace(lock, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        return f"cannot be replaced ({error.strerror})"
    with contextlib.suppress(OSError):  # some systems do not know how; the file is whole either way
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the change outlives a loss of power
        finally:
            os.close(folder)
    return None
