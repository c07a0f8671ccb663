"""Sessions: all jars of one request, what came for them, and what is to be sent.

It knows no framework: a Cookie header and other request headers come in as text, response headers go out as text.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from clientsession._cookies import MAX_HEADER_CHARS, find_values
from clientsession._events import Event, EventKind, Throttle
from clientsession._header import HeaderJar
from clientsession._jar import SET_COOKIE, AnyJar, Jar, Refusal
from clientsession._keyring import BoundRing, Keyring
from clientsession._session import Session, read_clock
from clientsession._token import Sealed
from clientsession.errors import (
    ClientSessionError,
    ConfigurationError,
    Reason,
    SessionCommittedError,
    SessionTooLargeError,
)

LARGE_REQUEST_BYTES: Final = 7168  # proxies and WSGI servers cap a header at about 8 KB, and others' cookies share it

_logger: Final = logging.getLogger("clientsession")


class _Visit(NamedTuple):
    """One jar that this request has used: its session, its keys, and whether something, of how many bytes, came for it."""

    session: Session
    bound: BoundRing
    has_sent: bool
    sent_bytes: int
    extended: bool


class _Answer(NamedTuple):
    """What goes out for one jar, as response headers; ``held_bytes`` are those of the cookie among them."""

    headers: tuple[tuple[str, str], ...]
    event: Event | None = None
    held_bytes: int = 0


class JarTable:
    """The jars of an application, checked once; iterating gives the jars.

    Raises:
        ConfigurationError: no jar, something else than a jar, or two of one name, cookie name or header.
    """

    __slots__ = ("by_name", "headers", "scanned", "taken", "vary")

    def __init__(self, jars: Iterable[AnyJar]) -> None:
        if isinstance(jars, AnyJar):
            raise ConfigurationError("jars must be a list of Jar objects: write [jar]")
        by_name: dict[str, AnyJar] = {}
        cookie_names: set[str] = set()
        readers: dict[str, str] = {}  # by the name of another system's cookie: which jar reads it
        headers: set[str] = set()
        for jar in jars:
            if not isinstance(jar, AnyJar):
                raise ConfigurationError(f"jars must be a list of Jar objects, not of {type(jar).__name__}")
            if jar.name in by_name:
                raise ConfigurationError(f"two jars are named {jar.name!r}: rename one")
            by_name[jar.name] = jar
            if isinstance(jar, Jar):
                if jar.cookie_name in cookie_names:
                    raise ConfigurationError(f"two jars have the cookie name {jar.cookie_name!r}: give one another cookie_name")
                cookie_names.add(jar.cookie_name)
                for name in {reader.cookie_name for reader in jar.migrate_from}:
                    if readers.setdefault(name, jar.name) != jar.name:
                        raise ConfigurationError(
                            f"the jars {readers[name]!r} and {jar.name!r} both read the old cookie {name!r}, which the first that "
                            "is used deletes: give its reader to one of them"
                        )
            if isinstance(jar, HeaderJar):
                taken = {jar.header.lower(), jar.answer_header.lower()}
                if taken & headers:
                    raise ConfigurationError(f"two jars use the header {jar.header!r}: give one another header")
                headers |= taken
        if not by_name:
            raise ConfigurationError("at least one Jar is needed")
        for jar in by_name.values():
            if isinstance(jar, Jar) and readers.get(jar.cookie_name, jar.name) != jar.name:
                raise ConfigurationError(
                    f"the jar {readers[jar.cookie_name]!r} reads {jar.cookie_name!r} as an old cookie, and would delete that of "
                    f"the jar {jar.name!r}: give that jar another cookie_name"
                )
        self.by_name = by_name
        self.scanned = frozenset(cookie_names | readers.keys())
        self.taken = self.scanned | {f"{name}:" for name in headers}  # no cookie's name has a colon
        self.headers = frozenset(jar.header for jar in by_name.values() if isinstance(jar, HeaderJar))
        self.vary = {name: jar.header if isinstance(jar, HeaderJar) else "Cookie" for name, jar in by_name.items()}

    def __iter__(self) -> Iterator[AnyJar]:
        return iter(self.by_name.values())


class Sessions:
    """All jars of one request. Nothing is read before it is used; :meth:`commit` says what to send.

    ``sessions["cart"]`` is the jar's :class:`Session`; assigning a mapping replaces its content.

    Args:
        jars: the jars.
        cookie_header: the request's Cookie header, as text (each character one octet), or None.
        headers: the request's other headers by name in any case, where there is a ``HeaderJar``.

    Raises:
        ConfigurationError: two jars of one name, cookie name or header; or a ``HeaderJar`` and no headers.
        TypeError: a header is neither ``str`` nor None.
    """

    __slots__ = (
        "_answers",
        "_found",
        "_given_up",
        "_header",
        "_headers",
        "_jars",
        "_once",
        "_table",
        "_visits",
        "_written_below",
    )

    def __init__(self, jars: Iterable[AnyJar], cookie_header: str | None, *, headers: Mapping[str, str] | None = None) -> None:
        table = jars if isinstance(jars, JarTable) else JarTable(jars)
        self._begin(table, cookie_header, _wanted(table.headers, headers))

    def _begin(self, table: JarTable, cookie_header: str | None, headers: Mapping[str, str]) -> None:
        """Set what each request starts with; little, since most requests use no session."""
        if cookie_header is not None and not isinstance(cookie_header, str):
            raise TypeError(f"cookie_header must be a str or None, not {type(cookie_header).__name__}; decode bytes as Latin-1")
        self._table = table
        self._jars = table.by_name
        self._header = cookie_header or ""
        self._headers = headers
        self._found: dict[str, list[str]] = {}
        self._visits: dict[str, _Visit] = {}
        self._once: dict[int, Any] = {}  # what is read once in a request, by the identity of the clock or ring it comes from
        self._given_up: frozenset[str] = frozenset()
        self._written_below: Collection[str] = ()  # jars whose cookie the response has already, of a sub-request that wrote
        self._answers: tuple[tuple[str, str], ...] | None = None

    def __getitem__(self, name: str) -> Session:
        visit = self._visits.get(name)
        return self._visit(name).session if visit is None else visit.session

    def __setitem__(self, name: str, content: Mapping[str, Any]) -> None:
        if not isinstance(content, Mapping):
            raise TypeError(f"a session's content is a mapping, not {type(content).__name__}")
        session = self[name]
        if content is session:  # what ``sessions["cart"] |= {...}`` assigns
            return
        replacement = dict(content)
        session.clear()
        session.update(replacement)

    def __contains__(self, name: object) -> bool:
        return name in self._jars

    def __iter__(self) -> Iterator[str]:
        return iter(self._jars)

    def __len__(self) -> int:
        return len(self._jars)

    def __repr__(self) -> str:
        return f"<Sessions {', '.join(getattr(self, '_jars', ()))}>"  # none while it is being made, in a traceback with locals

    @property
    def accessed(self) -> bool:
        """Whether any session was used: the response then varies by what :attr:`vary` names."""
        return bool(self._visits)

    @property
    def vary(self) -> tuple[str, ...]:
        """The request headers that the response varies by: ``Cookie``, those of header jars, or none (RFC 9110, 12.5.5)."""
        return tuple(dict.fromkeys(map(self._table.vary.__getitem__, self._visits)))

    def commit(self) -> list[str]:
        """Close the sessions and give the values of the Set-Cookie headers to send, usually none.

        A second call answers the same. Where it raises, the session that is at fault is given up, and the next call answers
        for the others.

        Raises:
            SerializationError: a session holds something that is no JSON.
            SessionTooLargeError: a session takes more than 4,096 bytes with its cookie's name.
            ConfigurationError: the session of a header jar is to be sent too.
        """
        is_first = self._answers is None
        answers = self.commit_headers()
        if is_first and not all(name == SET_COOKIE for name, _ in answers):
            raise ConfigurationError("a HeaderJar answers with a header of its own: call commit_headers(), and send all it gives")
        return [value for name, value in answers if name == SET_COOKIE]

    def commit_headers(self) -> list[tuple[str, str]]:
        """As :meth:`commit`, with all response headers to send as pairs: ``Set-Cookie``, and those of header jars.

        Raises:
            SerializationError: a session holds something that is no JSON.
            SessionTooLargeError: a session takes more than 4,096 bytes with its cookie's name.
        """
        if self._answers is None:
            answers = self._commit()
            if not answers and len(self._header) <= LARGE_REQUEST_BYTES:  # as mostly
                self._answers = ()
                return []
            self._answers = tuple([header for answer in answers.values() for header in answer.headers])
            if len(self._header) + sum([answer.held_bytes for answer in answers.values()]) > LARGE_REQUEST_BYTES:
                self._warn_of_size(answers)  # which looks closer: some cookies are replaced, and others are not ours
            for name, answer in answers.items():
                if answer.event is not None:
                    self._tell(self._jars[name], answer.event)
        return list(self._answers)

    def _close(self) -> None:
        """Commit without a look: no session was used."""
        if self._answers is None:
            self._answers = ()

    def _give_up(self) -> None:
        """Send nothing, since no response comes: a write from now on is an error, and does not get lost in silence."""
        self._given_up = frozenset(self._jars)
        for visit in self._visits.values():
            visit.session._closed = True

    def _commit(self) -> dict[str, _Answer]:
        """Seal what is to be sealed, and close the sessions; the answers of those jars that have one."""
        answers: dict[str, _Answer] = {}
        errors: list[ClientSessionError] = []
        for name, visit in self._visits.items():
            if name in self._given_up:
                continue
            jar = self._jars[name]
            is_answered = False
            try:
                answer = self._answer(jar, visit)
                if answer is not None:
                    answers[name] = answer
                is_answered = True
            except ClientSessionError as error:
                if errors:  # the one that is raised tells of the others
                    errors[0].add_note(f"The session {name!r} was given up too: {error}")
                    self._warn("given up", "the session %s was given up beside another, by %s%s", name, type(error).__name__)
                else:
                    errors.append(error)
                if isinstance(error, SessionTooLargeError):
                    self._tell(jar, Event(EventKind.TOO_LARGE, name, None, visit.bound.sealing.key_id, error.size))
            finally:
                if not is_answered:  # whatever is raised, it is raised once
                    self._given_up |= {name}
                    visit.session._closed = True
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()  # its traceback holds this frame: no cycle stays
        for visit in self._visits.values():
            visit.session._closed = True
        return answers

    def _answer(self, jar: AnyJar, visit: _Visit) -> _Answer | None:
        """What ``commit`` answers for one jar, if anything, with the deletions for where its session may be as well.

        They go out beside a cookie that is set or deleted here, which alone would leave the one there as the second of two, or a
        signed-out user signed in; and those of former places also where it cannot be told which of several is the session. Another
        system's cookie stays then: it may be the user's, and what came under the jar's own name somebody else's. Where just one of
        several opened, a read leaves all as it is: that one may live in a former place, and what is refused may be another server's
        to open.
        """
        answer = self._own_answer(jar, visit)
        if isinstance(jar, Jar) and jar._has_elsewhere:
            if answer is not None:
                return answer._replace(headers=(*self._elsewhere(jar, with_old=True), *answer.headers))
            if visit.session._refusal is Reason.AMBIGUOUS:
                return _Answer(tuple(self._elsewhere(jar, with_old=False)))
        return answer

    def _own_answer(self, jar: AnyJar, visit: _Visit) -> _Answer | None:
        """A deletion, a fresh token, or, as mostly, nothing.

        Few writes is a safety property: a slow read that sent an old cookie again would undo a logout or another request's cart.
        """
        session = visit.session
        origin = session._origin
        if not session and session._id is None:
            if origin is not None or (session._destroyed and visit.has_sent):
                return _Answer((jar._deletion(),), Event(EventKind.DELETED, jar.name))
            return None
        body, deflated, changed = jar.codec._write(session)
        if origin is None or changed or session._id != origin.id or session._retimed:
            kind = EventKind.SEALED
        elif jar.name in self._written_below:
            return None
        elif origin.key_id is None:
            kind = EventKind.MIGRATED
            size = jar.codec._size_of(len(body), with_id=session._id is not None)
            if size > jar.codec.max_size:  # the other system's cookies are larger, and a mere read is no error: it stays as it is
                self._warn(
                    f"migrate {jar.name}",
                    "a session that another system left takes %d bytes in the jar %s, of which %d fit: it stays in its old cookie, "
                    "and is lost when the reader goes. Keep less in it%s",
                    size,
                    jar.name,
                    jar.codec.max_size,
                )
                return None
        elif visit.extended:
            kind = EventKind.EXTENDED
        elif origin.key_id in visit.bound.retiring_ids:
            kind = EventKind.RESEALED
        else:
            return None
        now = self._time(jar)
        sealed = Sealed(session._created, session._expires, session._id, session._ephemeral, deflated, body)
        token = jar.codec._seal(sealed, now, visit.bound, session)
        size = jar._name_bytes + len(token)
        event = Event(kind, jar.name, None, visit.bound.sealing.key_id, size) if jar._is_told(kind) else None
        return _Answer((jar._header_of(session, token, now),), event, size if isinstance(jar, Jar) else 0)

    def _visit(self, name: str) -> _Visit:
        """Use a jar for the first time in this request."""
        jar = self._jars.get(name)
        if jar is None:
            raise KeyError(f"no jar is named {name!r}; there are {', '.join(self._jars)}")
        if self._answers is not None:
            raise SessionCommittedError(
                f"the session {name!r} is used for the first time after the response has started; use it before start_response"
            )
        now = self._time(jar)
        bound = jar.codec._bind(self._ring(jar))
        extended = False
        values = self._values(jar)
        old = self._old_values(jar) if jar._readers and values is not None else {}
        sent_bytes = len(values) * jar._name_bytes + sum(map(len, values)) if values else 0
        opened: Session | Refusal | None = None
        if values is None:
            opened = Refusal(Reason.MALFORMED, None, 0)
        elif values or old:
            opened = jar._open(values, old, lambda: now, bound)
        if isinstance(opened, Session):
            session = opened
            extended = session._extend()
            if jar.observer is not None:
                self._tell(jar, Event(EventKind.OPENED, name, None, session.key_id, sent_bytes))
        else:
            session = jar._new(lambda: now, None if opened is None else opened.reason)
            if opened is not None:
                self._tell(jar, Event(EventKind.REFUSED, name, opened.reason, opened.key_id, sent_bytes))
        session._closed = name in self._given_up
        # What came first stays: another thread, or the observer just now, may have used the jar meanwhile, and written.
        return self._visits.setdefault(name, _Visit(session, bound, opened is not None, sent_bytes, extended))

    def _old_values(self, jar: AnyJar) -> dict[str, list[str]]:
        """What came under the names of other systems' cookies that the jar reads."""
        names = dict.fromkeys(reader.cookie_name for reader in jar._readers)
        return {name: self._cookies(name) for name in names if self._cookies(name)}

    def _elsewhere(self, jar: Jar, *, with_old: bool) -> list[tuple[str, str]]:
        """The deletions of where this jar's session may be as well: in former places, and in other systems' cookies that came."""
        values = self._values(jar)  # None: nobody knows what came
        deletions = dict.fromkeys(jar._former_deletions if values is None or values else ())
        if with_old:
            deletions |= dict.fromkeys(deletion for name, deletion in jar._old_deletions if values is None or self._cookies(name))
        return [(SET_COOKIE, deletion) for deletion in deletions]

    def _values(self, jar: AnyJar) -> list[str] | None:
        """What came for a jar; None where the header is too long to be looked at."""
        if isinstance(jar, HeaderJar):
            value = self._headers[jar.header]
            return None if len(value) > MAX_HEADER_CHARS else jar._tokens(value)
        if len(self._header) > MAX_HEADER_CHARS:
            return None
        return self._cookies(jar.codec.name)

    def _cookies(self, name: str) -> list[str]:
        """What came under a name; the header is searched for it once."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = find_values(self._header, name)
        return found

    def _time(self, jar: AnyJar) -> int:
        """This request's one reading of the jar's clock, in milliseconds."""
        now: int | None = self._once.get(id(jar.clock))
        if now is None:
            now = self._once[id(jar.clock)] = read_clock(jar.clock)
        return now

    def _ring(self, jar: AnyJar) -> Keyring:
        """This request's one look at the jar's keys."""
        ring: Keyring | None = self._once.get(id(jar.keyring))
        if ring is None:
            ring = self._once[id(jar.keyring)] = jar.keyring._snapshot()
        return ring

    def _tell(self, jar: AnyJar, event: Event) -> None:
        jar._tell(event, self._time(jar))

    def _warn_of_size(self, answers: dict[str, _Answer]) -> None:
        total = used_bytes = 0
        for name, jar in self._jars.items():
            if not isinstance(jar, Jar) or name in self._given_up:
                continue
            visit = self._visits.get(name)
            if name in answers:
                used_bytes += answers[name].held_bytes
            elif visit is not None:
                used_bytes += visit.sent_bytes if visit.session._origin is not None else 0
            else:
                total += sum(jar._name_bytes + len(value) for value in self._values(jar) or ())
        if not used_bytes:  # nothing of the client's opened: its junk fills no log
            return
        total += used_bytes
        if total > LARGE_REQUEST_BYTES:
            self._warn(
                "large",
                "the session cookies of one client take %d bytes together: servers and proxies refuse headers of about 8,190, "
                "and other cookies share them; keep less in %s%s",
                total,
                ", ".join(self._jars),
            )

    @property
    def _throttle(self) -> Throttle:
        """What counts the warnings of all requests: these sessions are of one."""
        return next(iter(self._jars.values()))._throttle

    def _warn(self, subject: str, message: str, *values: object) -> None:
        """A line for the operator, ten a minute on one subject, so that no client fills a disk.

        Args:
            subject: what is counted together.
            message: with a ``%s`` for each value, and one more at the end for how many lines were held back.
            values: none of them a session's content.
        """
        note = self._throttle.note(subject, self._time(next(iter(self._jars.values()))))
        if note is not None:
            _logger.warning(message, *values, note)


def _wanted(names: frozenset[str], headers: Mapping[str, str] | None) -> dict[str, str]:
    """The values of the headers that jars ask for, empty where the request has none."""
    if not names:
        return {}
    if headers is None:
        raise ConfigurationError("there is a HeaderJar: give the request's headers, Sessions(jars, cookie_header, headers=…)")
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    lines: dict[str, list[str]] = {name.lower(): [] for name in names}
    for name, value in headers.items():  # a framework's mapping gives each line of a name by itself
        if not isinstance(name, str):
            raise TypeError(f"a header's name must be a str, not {type(name).__name__}; decode bytes as Latin-1")
        if name.lower() not in lines or value is None:
            continue
        if not isinstance(value, str):
            raise TypeError(f"the header {name} must be a str or None, not {type(value).__name__}; decode bytes as Latin-1")
        lines[name.lower()].append(value)
    return {name: ", ".join(lines[name.lower()]) for name in names}  # RFC 9110, 5.3
