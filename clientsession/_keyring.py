"""Keyring: the keys of a site by role, given once or read again as they change.

It knows keys and where they come from, and nothing of sessions, tokens' insides or cookies. No function here raises while a
local variable of its frame holds a secret.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final

from clientsession._immutable import Immutable
from clientsession._keyfile import KeyFile, Role, identity_of, read_file, shown_path
from clientsession._keys import HOW_TO_MAKE, BoundKey, Key
from clientsession._session import check_duration
from clientsession.errors import ConfigurationError

_FILE_EVERY: Final = timedelta(seconds=1)  # how often a key file is looked at, at most
_SOURCE_EVERY: Final = timedelta(minutes=1)  # a secret manager is asked over a network, and bills by the call
_RETRY_SECONDS: Final = 10.0  # how soon a source that failed is asked again, whatever its ``every``
_SETTLED_SECONDS: Final = 2.0  # FAT's clock has steps of two seconds: a file as young as that may change and keep its times
_NO_KEY: Any = None  # an empty ring is a ConfigurationError like any other, and not a TypeError

_logger: Final = logging.getLogger("clientsession")


class Keyring(Immutable):
    """The keys of a site by role.

    This one does not change; :meth:`from_file` and :meth:`from_source` give one that follows a file or a secret manager.

    Args:
        sealing: seals, and opens.
        accepting: open too. A new key stands here on every server before it is made the sealing one.
        retiring: open too, and what they sealed is sealed anew when it is read. A former sealing key stands here until its last
            token has expired.

    Raises:
        ConfigurationError: something that is no Key, or two keys of one id.
    """

    __slots__ = ("_accepting", "_retiring", "_sealing")
    _sealing: Key
    _accepting: tuple[Key, ...]
    _retiring: tuple[Key, ...]

    def __init__(self, sealing: Key = _NO_KEY, /, *, accepting: Iterable[Key] = (), retiring: Iterable[Key] = ()) -> None:
        problem = None
        keys: dict[str, Key] = {}
        roles: dict[str, tuple[Key, ...]] = {}
        for role, members in (("sealing", (sealing,)), ("accepting", accepting), ("retiring", retiring)):
            if isinstance(members, (str, bytes, Key)) or not isinstance(members, Iterable):
                problem = f"{role} takes a list of keys: write {role}=[key]"
                break
            roles[role] = tuple(members)
            for key in roles[role]:
                if key is None and role == "sealing":
                    problem = "a ring needs a key that seals: write Keyring(key)"
                elif not isinstance(key, Key):
                    problem = f"{role} takes Key objects, not {type(key).__name__}; make one with Key.parse(text)"
                elif key.id in keys:
                    problem = f"the key {key.id} stands in the ring twice; remove one"
                else:
                    keys[key.id] = key
        if problem is not None:
            # A text given in place of a key may be a secret: no local variable shows it.
            sealing = accepting = retiring = members = key = None  # type: ignore[assignment]
            keys.clear()
            roles.clear()
            raise ConfigurationError(problem)
        self._freeze(_sealing=sealing, _accepting=roles["accepting"], _retiring=roles["retiring"])

    @classmethod
    def from_env(cls) -> Keyring:
        """A ring from ``CLIENTSESSION_KEY``, ``CLIENTSESSION_ACCEPTED_KEYS`` and ``CLIENTSESSION_RETIRING_KEYS``.

        The first holds one key, after which one line feed may stand; the others, which may be absent, hold several, separated
        by white space. Or, in place of all three, ``CLIENTSESSION_KEY_FILE`` holds the path for :meth:`from_file`.

        Raises:
            ConfigurationError: a variable is missing or holds something else. The message names it and shows none of it.
        """
        if os.environ.get("CLIENTSESSION_KEY_FILE"):
            others = [name for name in _KEY_VARIABLES if os.environ.get(name)]
            if others:
                raise ConfigurationError(f"CLIENTSESSION_KEY_FILE and {', '.join(others)} are both set: unset one of them")
            return cls.from_file(os.environ["CLIENTSESSION_KEY_FILE"])
        if not os.environ.get("CLIENTSESSION_KEY"):
            raise ConfigurationError(
                f"CLIENTSESSION_KEY is not set. {HOW_TO_MAKE} and set it in the environment of every worker: "
                "export CLIENTSESSION_KEY=csk1_…"
            )
        return cls(
            _key_from_env("CLIENTSESSION_KEY", 0),
            accepting=_keys_from_env("CLIENTSESSION_ACCEPTED_KEYS"),
            retiring=_keys_from_env("CLIENTSESSION_RETIRING_KEYS"),
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.monotonic) -> Keyring:
        """A ring that follows a key file, such as ``clientsession keys add`` makes.

        The file is looked at when the ring is used, at most once a second, and read again when it changed. Where it cannot be
        read, or is no whole key file, the keys read before stay in use, one line at ``ERROR`` goes to the logger
        ``clientsession``, and the file is tried again each second.

        A line of it is ``role key``, then dates and a ``# comment`` where wanted; the last one is ``end``::

            sealing   csk1_…  added=2026-11-20T10:00:00Z since=2026-11-21T13:00:00Z
            retiring  csk1_…  since=2026-11-21T13:00:00Z droppable=2027-03-21T14:00:00Z
            end

        Args:
            path: of the file; a relative one is taken from the working directory of now.
            clock: seconds that only grow, as ``time.monotonic``.

        Raises:
            ConfigurationError: the file cannot be read for the first time; the message names the line and shows none of it.
        """
        problem = None
        if not isinstance(path, (str, os.PathLike)):
            problem = f"path must be the path of a key file, as a str or a Path, not {type(path).__name__}"
        elif shown_path(path) is None:  # which a message about a file that is not there would show
            problem = "this is the text of a key, and not the path of a key file: give the text to Key.parse"
        if problem is not None:
            del path
            raise ConfigurationError(problem)
        try:
            path = os.path.abspath(path)
        except OSError:
            raise ConfigurationError("the working directory is gone: give the key file with its whole path") from None
        return _LiveKeyring(_FileSource(path), _FILE_EVERY, clock)

    @classmethod
    def from_source(
        cls,
        source: Callable[[], Keyring | str],
        *,
        every: timedelta = _SOURCE_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> Keyring:
        """A ring that is asked for again and again, for secret managers.

        ``source`` is called when the ring is used, at most once every so often, by one thread while the others go on with the
        keys they have: give it a timeout. Where it raises or answers with something else, the keys of before stay in use, one
        line at ``ERROR`` goes to the logger ``clientsession``, and it is asked again.

        Args:
            source: answers with a ``Keyring``, or with the text of a key file.
            every: how long an answer is good, 1 second to 400 days.
            clock: seconds that only grow, as ``time.monotonic``.

        Raises:
            ConfigurationError: the first answer is no ring and no text of a key file. What ``source`` raises the first time goes
                through as it is.
            TypeError: ``every`` is no ``timedelta``.
        """
        if not callable(source):
            del source  # it may be the text of a key file
            raise ConfigurationError("source must be a function that answers with a Keyring or the text of a key file")
        check_duration("every", every)
        return _LiveKeyring(_CallableSource(source), every, clock)

    @property
    def sealing(self) -> Key:
        """The key that seals."""
        return self._snapshot()._sealing

    @property
    def accepting(self) -> tuple[Key, ...]:
        """Keys that open too."""
        return self._snapshot()._accepting

    @property
    def retiring(self) -> tuple[Key, ...]:
        """Keys that open too, and whose tokens are sealed anew when read."""
        return self._snapshot()._retiring

    def _snapshot(self) -> Keyring:
        """The ring as it is at this moment, which will not change."""
        return self

    def _bind(self, kind: str, name: str, audience: str) -> BoundRing:
        """The keys of a snapshot as one codec uses them."""
        keys = [key._bind(kind, name, audience) for key in (self._sealing, *self._accepting, *self._retiring)]
        return BoundRing(self, keys)

    def _summary(self) -> str:
        ring = self._snapshot()
        accepting, retiring = (", ".join(key.id for key in keys) for keys in (ring._accepting, ring._retiring))
        return f"sealing {ring._sealing.id}, accepting [{accepting}], retiring [{retiring}]"


class BoundRing(Immutable):
    """A ring for one kind, name and audience: its keys by the first bytes of their tokens, and which one seals."""

    __slots__ = ("keys", "retiring_ids", "ring", "sealing")
    ring: Keyring
    keys: dict[bytes, BoundKey]
    sealing: BoundKey
    retiring_ids: frozenset[str]

    def __init__(self, ring: Keyring, keys: list[BoundKey]) -> None:
        self._freeze(
            ring=ring,
            keys={key.header: key for key in keys},
            sealing=keys[0],
            retiring_ids=frozenset(key.id for key in ring._retiring),
        )

    def _summary(self) -> str:
        return self.ring._summary()


_KEY_VARIABLES: Final = ("CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS")


def _key_from_env(variable: str, index: int) -> Key:
    """One key of a variable; the texts stay out of every local variable."""
    try:
        if variable == "CLIENTSESSION_KEY":
            return Key.parse(os.environ[variable].removesuffix("\n"))
        return Key.parse(os.environ[variable].split()[index])
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable}: {error}") from None


def _keys_from_env(variable: str) -> list[Key]:
    return [_key_from_env(variable, index) for index in range(len(os.environ.get(variable, "").split()))]


# A ring that follows its source. A source is told which ring is in use, and answers with another, with None where that one is still
# right, or with a sentence that says what is wrong. What it remembers is good only with the ring it made: a refresh that was cut
# short, by a signal or by a fork of the process in the middle of it, is made anew.


class _FileSource:
    """A key file, read where its identity changed."""

    __slots__ = ("_digest", "_identity", "_made", "_path", "_seen", "_seen_at")

    hint: ClassVar[str] = ". Mend it, or make one with `clientsession keys add --file PATH`"

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity: tuple[int, ...] | None = None  # None: read it, whatever it looks like
        self._seen: tuple[int, ...] | None = None
        self._seen_at = 0.0
        self._digest = b""
        self._made: Keyring | None = None

    def __str__(self) -> str:
        return f"the key file {shown_path(self._path)}"

    def __call__(self, used: Keyring | None) -> Keyring | str | None:
        if self._made is not used:
            self._identity, self._digest = None, b""
        try:
            if identity_of(os.stat(self._path)) == self._identity:
                return None
        except OSError as error:
            return f"cannot be opened ({error.strerror})"
        except ValueError:  # a null character, or one the file system has no name for
            return "cannot be opened (no file can have such a path)"
        read = read_file(self._path)
        if isinstance(read, str):
            return read
        data, identity = read
        answer: Keyring | str | None = None
        digest = hashlib.sha256(data).digest()
        if digest != self._digest:
            answer = _ring_of(KeyFile._parse(data))
        if isinstance(answer, Keyring):
            self._digest, self._made = digest, answer
        # What was changed this moment may change again and look the same: it is read until it has looked so for a while, by our
        # own clock and not by the file server's.
        now = time.monotonic()
        if identity != self._seen:
            self._seen, self._seen_at = identity, now
        settled = now - self._seen_at > _SETTLED_SECONDS
        self._identity = identity if settled and not isinstance(answer, str) else None
        return answer


class _CallableSource:
    """A function of the application's, and whatever it talks to."""

    __slots__ = ("_digest", "_made", "_source")

    hint: ClassVar[str] = ""

    def __init__(self, source: Callable[[], Keyring | str]) -> None:
        self._source = source
        self._digest = b""
        self._made: Keyring | None = None  # of the text of this digest

    def __str__(self) -> str:
        return f"the key source {getattr(self._source, '__qualname__', type(self._source).__name__)}"

    def __call__(self, used: Keyring | None) -> Keyring | str | None:
        if used is None:  # at start-up the application is to see what is wrong, as it is
            return self._read(self._source(), used)
        try:
            return self._read(self._source(), used)
        except Exception as error:  # noqa: BLE001 - the client of a secret manager raises what it likes, and no user is to be logged out for it
            return f"it raised {type(error).__name__}"

    def _read(self, answer: object, used: Keyring | None) -> Keyring | str | None:
        if isinstance(answer, Keyring):
            ring = answer._snapshot()
            return None if ring is used else ring
        if not isinstance(answer, str):
            return f"it answered with {type(answer).__name__}, and not with a Keyring or the text of a key file"
        data = answer.encode("utf-8", "replace")
        digest = hashlib.sha256(data).digest()
        if digest == self._digest and self._made is used:
            return None
        ring_or_problem = _ring_of(KeyFile._parse(data))
        if isinstance(ring_or_problem, Keyring):
            self._digest, self._made = digest, ring_or_problem
        return ring_or_problem


def _ring_of(file: KeyFile | str) -> Keyring | str:
    """The ring of a key file, or what was wrong with it."""
    if isinstance(file, str):
        return file
    sealing, accepting, retiring = ([line.key for line in file.of_role(role)] for role in Role)
    return Keyring(sealing[0], accepting=accepting, retiring=retiring)


class _LiveKeyring(Keyring):
    """A ring whose keys are those its source had when it was last asked."""

    __slots__ = ("_watch",)
    _watch: _Watch

    def __init__(self, source: _FileSource | _CallableSource, every: timedelta, clock: Callable[[], float]) -> None:
        if not callable(clock):
            raise ConfigurationError("clock must be a function that answers with seconds, as time.monotonic")
        self._freeze(_watch=_Watch(source, every, clock))

    def _snapshot(self) -> Keyring:
        return self._watch.ring()

    def _summary(self) -> str:
        # As it was last asked: a repr in a traceback reads no file and calls no secret manager.
        return f"of {self._watch.source}: {self._watch.last._summary()}"


def _has_room(levels: int = 50) -> bool:
    """Whether the stack has room for reading keys anew: a key file takes fewer frames than that."""
    try:
        return levels == 0 or _has_room(levels - 1)
    except RecursionError:
        return False


class _Watch:
    """Asks a source when it is time to, and keeps the ring of its last good answer."""

    __slots__ = ("_claims", "_clock", "_due", "_every", "_problem", "last", "source")

    def __init__(self, source: _FileSource | _CallableSource, every: timedelta, clock: Callable[[], float]) -> None:
        self.source = source
        self._every = every.total_seconds()
        self._clock = clock
        self._due = clock() + self._every
        self._claims: dict[int, object] = {}  # by process: one may be forked while a thread that it has not is asking
        self._problem = ""
        ring = source(None)
        if not isinstance(ring, Keyring):
            raise ConfigurationError(f"{source}: {ring}{source.hint}")
        self.last = ring

    def ring(self) -> Keyring:
        """The ring of now; asks the source where its last answer is too old."""
        if self._clock() >= self._due:
            self._ask()
        return self.last

    def _ask(self) -> None:
        """Ask the source in this thread, unless another is at it; then the ring of before is good for this request."""
        if not _has_room():  # a refresh that ran out of stack would fail the request, with the keys in its traceback
            return
        pid, claim = os.getpid(), object()
        holder: object = None
        try:
            holder = self._claims.setdefault(pid, claim)
            now = self._clock()
            if holder is not claim or now < self._due:  # another thread is at it, or was, since this one looked
                return
            self._due = now + min(self._every, _RETRY_SECONDS)
            self._take(self.source(self.last))
            if not self._problem:
                self._due = now + self._every
        finally:
            # Whatever a signal's handler raises, and wherever: a claim that stayed would keep this worker on its old keys for good.
            if holder is claim or self._claims.get(pid) is claim:
                del self._claims[pid]

    def _take(self, answer: Keyring | str | None) -> None:
        if isinstance(answer, str):
            if answer != self._problem:  # one line for each thing that is wrong, not one a second
                self._problem = answer
                _logger.error(
                    "keys not read again: %s: %s. The keys of before stay in use: %s. Mend it; it is tried again every %g s",
                    self.source,
                    answer,
                    self.last._summary(),
                    min(self._every, _RETRY_SECONDS),
                )
            return
        before, self.last = self.last, answer or self.last
        if self._problem:
            self._problem = ""
            _logger.warning("keys are read again: %s: %s", self.source, self.last._summary())
        elif before._summary() != self.last._summary():
            _logger.info("keys changed: %s: %s", self.source, self.last._summary())
