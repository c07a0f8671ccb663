"""Jar and Sessions: named cookies with their lifetimes, and all of them in one request.

It knows no framework: a Cookie header comes in as text, Set-Cookie values go out as text.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from types import EllipsisType
from typing import Any, Final

from clientsession._codec import NOT_A_KEYRING, Codec, check_label
from clientsession._cookies import MAX_HEADER_CHARS, SetCookie, find_cookies
from clientsession._events import Event, EventKind, Throttle, log_event
from clientsession._immutable import Immutable
from clientsession._json import Serializer
from clientsession._keyring import BoundRing, Keyring
from clientsession._keys import BoundKey
from clientsession._session import DEFAULT_DURATION, Lifetime, Session, check_duration, read_clock
from clientsession._token import Frame
from clientsession.errors import (
    ClientSessionError,
    ConfigurationError,
    Reason,
    SessionCommittedError,
    SessionTooLargeError,
    TokenError,
)

MAX_CANDIDATES: Final = 4  # cookies of one name that are decrypted; a browser sends one for each path and domain it has
MAX_FORMER_SCOPES: Final = 8  # each is a Set-Cookie header of its own
LARGE_REQUEST_BYTES: Final = 7168  # proxies and WSGI servers cap a header at about 8 KB, and others' cookies share it

_logger: Final = logging.getLogger("clientsession")


class CookieCodec(Codec):
    """The codec of a jar: its tokens are cookies, and its limit is on name and value together."""

    kind = "cookie"

    @property
    def _name_size(self) -> int:
        return len(self.name)


class Jar(Immutable):
    """One named cookie: whose keys seal it, how long it lives, and where the browser sends it.

    Args:
        name: how the application finds it: ``request.session`` for ``"session"``.
        keyring: the keys.
        duration: how long a session lives from its first write, 1 second to 400 days.
        active_duration: when a session is used with less than this left, its end moves on by this much. None: it does not.
        max_duration: nothing lives longer than this from when it was made, checked when opening as well. By default 30 days
            (or ``duration``, if longer) where ``active_duration`` is set; None lifts it.
        cookie_name: the name on the wire, bound into the seal; by default ``name``. ``"__Host-session"`` is the safest kind.
        audience: a further text bound into the seal, such as a host or tenant.
        path, domain, secure, httponly, samesite, partitioned: the cookie's attributes (RFC 6265bis, 5.6).
        ephemeral: new sessions have no Max-Age: the browser drops them when it closes.
        max_age: the longest Max-Age sent to browsers, whatever the session's own end.
        serializer: ``dumps(dict) -> bytes`` and ``loads(bytes) -> dict`` in place of the strict JSON; ``loads`` raises a
            ``ValueError`` for bytes it cannot read, such as those an earlier serializer wrote.
        clock: the time in seconds since 1970, as ``time.time``.
        observer: called with an :class:`Event` for everything that happens; it must not raise.
        former_scopes: ``(path, domain)`` of where this cookie used to live, at most 8. A browser keeps those beside the new
            one, and of two that open neither is taken: then, and where the cookie of a client that sent one is set or deleted,
            those of the former scopes are deleted.
        compress: deflate a body where that makes it shorter. The length then tells more of the content: where a secret and
            text of an attacker's choice stand in one session, each try at the secret that fits makes the cookie shorter (the
            CRIME and BREACH attacks), and the length is seen by whoever sees the traffic. Leave it off unless you know that no
            session holds both.
        pad_to: fill the sealed body with spaces to a multiple of this many bytes, 2 to 1,024, so that a length tells only its
            class. Not together with ``compress``.

    Raises:
        ConfigurationError: an argument out of range, or attributes that browsers refuse together.
        TypeError: a duration that is no ``timedelta``.
    """

    name: str
    keyring: Keyring
    duration: timedelta
    active_duration: timedelta | None
    max_duration: timedelta | None
    cookie_name: str
    audience: str
    path: str
    domain: str | None
    secure: bool
    httponly: bool
    samesite: str
    partitioned: bool
    ephemeral: bool
    max_age: timedelta | None
    serializer: Serializer
    clock: Callable[[], float]
    observer: Callable[[Event], object] | None
    former_scopes: tuple[tuple[str, str | None], ...]
    compress: bool
    pad_to: int | None
    codec: Codec
    """Seals and opens this jar's cookie values directly."""
    _lifetime: Lifetime
    _set_cookie: SetCookie
    _former_deletions: tuple[str, ...]
    _max_age_seconds: int | None
    _throttle: Throttle

    def __init__(
        self,
        name: str,
        keyring: Keyring,
        *,
        duration: timedelta = DEFAULT_DURATION,
        active_duration: timedelta | None = None,
        max_duration: timedelta | EllipsisType | None = ...,
        cookie_name: str | None = None,
        audience: str = "",
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        httponly: bool = True,
        samesite: str = "Lax",
        partitioned: bool = False,
        ephemeral: bool = False,
        max_age: timedelta | None = None,
        serializer: Serializer | None = None,
        clock: Callable[[], float] = time.time,
        observer: Callable[[Event], object] | None = None,
        former_scopes: Iterable[tuple[str, str | None]] = (),
        compress: bool = False,
        pad_to: int | None = None,
    ) -> None:
        if not isinstance(keyring, Keyring):
            del keyring  # whatever it is may be a secret, and no frame of this traceback shows it
            raise ConfigurationError(NOT_A_KEYRING)
        check_label("name", name)
        if type(ephemeral) is not bool:
            raise ConfigurationError("ephemeral must be True or False")
        if ephemeral and max_age is not None:
            raise ConfigurationError("ephemeral=True means no Max-Age: leave max_age out")
        if observer is not None and not callable(observer):
            raise ConfigurationError("observer must be a function that takes an event")
        lifetime = Lifetime.of(duration, active_duration, max_duration, ephemeral)
        scoped = partial(
            SetCookie,
            name if cookie_name is None else cookie_name,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )
        set_cookie = scoped(path=path, domain=domain)
        former = _former_scopes(former_scopes, (path, domain))
        codec = CookieCodec(
            keyring,
            set_cookie.name,
            duration=duration,
            max_duration=None if lifetime.maximum is None else timedelta(milliseconds=lifetime.maximum),
            audience=audience,
            serializer=serializer,
            clock=clock,
            compress=compress,
            pad_to=pad_to,
        )
        codec._freeze(_title=name)
        self._freeze(
            name=name,
            keyring=keyring,
            duration=duration,
            active_duration=active_duration,
            max_duration=codec.max_duration,
            cookie_name=set_cookie.name,
            audience=audience,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
            ephemeral=ephemeral,
            max_age=max_age,
            serializer=codec.serializer,
            clock=clock,
            observer=observer,
            former_scopes=former,
            compress=compress,
            pad_to=pad_to,
            codec=codec,
            _lifetime=lifetime,
            _set_cookie=set_cookie,
            _former_deletions=tuple(_former_deletion(scoped, scope) for scope in former),
            _max_age_seconds=None if max_age is None else -(-check_duration("max_age", max_age) // 1000),
            _throttle=Throttle(),
        )

    def _summary(self) -> str:
        return f"{self.name!r} cookie {self.cookie_name!r} {self.keyring!r}"

    # For Sessions, in this module

    def _new(self, clock: Callable[[], int], refusal: Reason | None) -> Session:
        codec = self.codec
        return Session.new(self._lifetime, clock, measure=codec._measure, limit=codec.max_size, refusal=refusal)

    def _open(self, values: list[str], clock: Callable[[], int], bound: BoundRing) -> Session | _Refusal:
        """The session of the values that came under this cookie's name, or why there is none."""
        codec = self.codec
        candidates: list[tuple[Frame, BoundKey]] = []
        refusals: list[_Refusal] = []
        for value in dict.fromkeys(values):  # the same value twice is one
            try:
                candidates.append(codec._find(value, bound))
            except TokenError as error:
                refusals.append(_Refusal(error.reason, None, error.question))
        if len(candidates) > MAX_CANDIDATES:
            return _Refusal(Reason.AMBIGUOUS, None, 0)
        opened: list[Session] = []
        for frame, key in candidates:
            try:
                opened.append(codec._open(frame, key, self._lifetime, clock))
            except TokenError as error:
                refusals.append(_Refusal(error.reason, key.key_id, error.question))
        if len(opened) == 1:
            return opened[0]
        if opened:
            return _Refusal(Reason.AMBIGUOUS, None, 0)
        return max(refusals, key=lambda refusal: refusal.question)

    def _cookie(self, session: Session, body: bytes, deflated: bool, now: int, bound: BoundRing) -> tuple[str, int]:
        """The Set-Cookie value of a session, and the bytes of name and value in it."""
        token = self.codec._seal(session, session._expires, body, deflated, now, bound)
        max_age = None
        if not session._ephemeral:
            max_age = -(-(session._expires - now) // 1000)
            if self._max_age_seconds is not None:
                max_age = min(max_age, self._max_age_seconds)
        return self._set_cookie.value(token, max_age), len(self.cookie_name) + len(token)

    def _tell(self, event: Event, now: int) -> None:
        """Pass an event to the log and to the observer."""
        log_event(event, self._throttle, now)
        if self.observer is not None:
            self.observer(event)


def _former_scopes(scopes: Iterable[tuple[str, str | None]], own: tuple[str, str | None]) -> tuple[tuple[str, str | None], ...]:
    wanted = 'former_scopes must be a list of (path, domain) pairs, such as [("/shop", None)]'
    if isinstance(scopes, (str, bytes)) or not isinstance(scopes, Iterable):
        raise ConfigurationError(wanted)
    former = tuple(scopes)
    known = {_folded(own)}
    for scope in former:
        if not isinstance(scope, tuple) or [type(part) for part in scope] not in ([str, str], [str, type(None)]):
            raise ConfigurationError(wanted)
        if _folded(scope) in known:  # its deletion would be that of the cookie itself
            raise ConfigurationError("former_scopes has a pair twice, or the path and domain the jar has now: remove that pair")
        known.add(_folded(scope))
    if len(former) > MAX_FORMER_SCOPES:
        raise ConfigurationError(f"former_scopes takes {MAX_FORMER_SCOPES} pairs at most: each is a header of its own")
    return former


def _folded(scope: tuple[str, str | None]) -> tuple[str, str | None]:
    """A scope as browsers compare it: hosts in any case, paths to the letter."""
    path, domain = scope
    return path, domain if domain is None else domain.lower()


def _former_deletion(scoped: Callable[..., SetCookie], scope: tuple[str, str | None]) -> str:
    try:
        return scoped(path=scope[0], domain=scope[1]).deletion()
    except ConfigurationError as error:
        raise ConfigurationError(f"former_scopes: {error}") from None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a cookie did not open, and at which question of docs/SPEC.md, section 6."""

    reason: Reason
    key_id: str | None
    question: int


@dataclass(frozen=True, slots=True)
class _Visit:
    """One jar that this request has used: its session, its keys, and how many cookies, of how many bytes, came for it."""

    session: Session
    bound: BoundRing
    sent: int
    sent_bytes: int
    extended: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    """What goes out for one jar; ``cookie_bytes`` is what the client then holds for it that opens."""

    set_cookie: str | None
    event: Event | None
    cookie_bytes: int
    former_deletions: tuple[str, ...] = ()

    @property
    def set_cookies(self) -> tuple[str, ...]:
        return (*self.former_deletions, *((self.set_cookie,) if self.set_cookie is not None else ()))


class JarTable:
    """The jars of an application, checked once; iterating gives the jars.

    Raises:
        ConfigurationError: no jar, something else than a jar, or two of one name or cookie name.
    """

    __slots__ = ("by_name", "cookie_names")

    def __init__(self, jars: Iterable[Jar]) -> None:
        if isinstance(jars, Jar):
            raise ConfigurationError("jars must be a list of Jar objects: write [jar]")
        by_name: dict[str, Jar] = {}
        cookie_names: set[str] = set()
        for jar in jars:
            if not isinstance(jar, Jar):
                raise ConfigurationError(f"jars must be a list of Jar objects, not of {type(jar).__name__}")
            if jar.name in by_name:
                raise ConfigurationError(f"two jars are named {jar.name!r}: rename one")
            if jar.cookie_name in cookie_names:
                raise ConfigurationError(f"two jars have the cookie name {jar.cookie_name!r}: give one another cookie_name")
            by_name[jar.name] = jar
            cookie_names.add(jar.cookie_name)
        if not by_name:
            raise ConfigurationError("at least one Jar is needed")
        self.by_name = by_name
        self.cookie_names = frozenset(cookie_names)

    def __iter__(self) -> Iterator[Jar]:
        return iter(self.by_name.values())


class Sessions:
    """All jars of one request. Nothing is read before it is used; :meth:`commit` says what to send.

    ``sessions["cart"]`` is the jar's :class:`Session`; assigning a mapping replaces its content.

    Args:
        jars: the jars.
        cookie_header: the request's Cookie header, as text (each character one octet), or None.

    Raises:
        ConfigurationError: two jars of one name or cookie name.
        TypeError: the header is neither ``str`` nor None.
    """

    __slots__ = ("_answers", "_cookie_names", "_found", "_given_up", "_header", "_jars", "_now", "_rings", "_visits")

    def __init__(self, jars: Iterable[Jar], cookie_header: str | None) -> None:
        if cookie_header is not None and not isinstance(cookie_header, str):
            raise TypeError(f"cookie_header must be a str or None, not {type(cookie_header).__name__}; decode bytes as Latin-1")
        table = jars if isinstance(jars, JarTable) else JarTable(jars)
        self._jars = table.by_name
        self._cookie_names = table.cookie_names
        self._header = cookie_header or ""
        self._found: dict[str, list[str]] | None = None
        self._visits: dict[str, _Visit] = {}
        self._now: dict[int, int] = {}  # by the identity of the clock, which need not be hashable
        self._rings: dict[int, Keyring] = {}  # likewise
        self._given_up: set[str] = set()
        self._answers: tuple[str, ...] | None = None

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
        """Whether any session was used: the response then varies by cookie."""
        return bool(self._visits)

    def commit(self) -> list[str]:
        """Close the sessions and give the values of the Set-Cookie headers to send, usually none.

        A second call answers the same. Where it raises, the session that is at fault is given up, and the next call answers
        for the others.

        Raises:
            SerializationError: a session holds something that is no JSON.
            SessionTooLargeError: a session takes more than 4,096 bytes with its cookie's name.
        """
        if self._answers is None:
            answers = self._commit()
            self._answers = tuple(value for answer in answers for value in answer.set_cookies)
            self._warn_of_size(sum(answer.cookie_bytes for answer in answers))
            for answer in answers:
                if answer.event is not None:
                    self._tell(self._jars[answer.event.jar], answer.event)
        return list(self._answers)

    def _commit(self) -> list[_Answer]:
        """Seal what is to be sealed, and close the sessions."""
        answers: list[_Answer] = []
        errors: list[ClientSessionError] = []
        for name, visit in self._visits.items():
            if name in self._given_up:
                continue
            jar = self._jars[name]
            self._given_up.add(name)  # until it is answered: whatever is raised, it is raised once
            try:
                answers.append(self._answer(jar, visit))
                self._given_up.remove(name)
            except ClientSessionError as error:
                errors.append(error)
                if isinstance(error, SessionTooLargeError):
                    self._tell(jar, Event(EventKind.TOO_LARGE, name, None, visit.bound.sealing.key_id, error.size))
            finally:
                visit.session._closed = name in self._given_up
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()  # its traceback holds this frame: no cycle stays
        for visit in self._visits.values():
            visit.session._closed = True
        return answers

    def _answer(self, jar: Jar, visit: _Visit) -> _Answer:
        """What ``commit`` answers for one jar, with the deletions for where its cookie used to live.

        They go out where it cannot be told which of several is the session; and beside a cookie that is set or deleted here, which
        alone would leave the one there as the second of two, or a signed-out user signed in. Where just one of several opened, a
        read leaves all as it is: that one may live in a former place, and what is refused may be another server's to open.
        """
        answer = self._own_answer(jar, visit)
        if visit.session._refusal is Reason.AMBIGUOUS or (visit.sent and answer.set_cookie is not None):
            return replace(answer, former_deletions=jar._former_deletions)
        return answer

    def _own_answer(self, jar: Jar, visit: _Visit) -> _Answer:
        """A deletion, a cookie, or, as mostly, nothing.

        Few writes is a safety property: a slow read that sent an old cookie again would undo a logout or another request's cart.
        """
        session = visit.session
        origin = session._origin
        now = self._time(jar)
        if not session and session._id is None:
            if origin is not None or (session._destroyed and visit.sent):
                return _Answer(jar._set_cookie.deletion(), Event(EventKind.DELETED, jar.name), 0)
            return _Answer(None, None, 0)
        body, deflated, changed = jar.codec._write(session)
        if origin is None or changed or session._id != origin.id or session._retimed:
            kind = EventKind.SEALED
        elif visit.extended:
            kind = EventKind.EXTENDED
        elif origin.key_id in visit.bound.retiring_ids:
            kind = EventKind.RESEALED
        else:
            return _Answer(None, None, visit.sent_bytes)
        set_cookie, size = jar._cookie(session, body, deflated, now, visit.bound)
        return _Answer(set_cookie, Event(kind, jar.name, None, visit.bound.sealing.key_id, size), size)

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
        sent_bytes = sum(len(jar.cookie_name) + len(value) for value in values or ())
        if values is None:
            opened: Session | _Refusal | None = _Refusal(Reason.MALFORMED, None, 0)
        else:
            opened = jar._open(values, lambda: now, bound) if values else None
        if isinstance(opened, Session):
            session = opened
            extended = session._extend()
            self._tell(jar, Event(EventKind.OPENED, name, None, session.key_id, sent_bytes))
        else:
            session = jar._new(lambda: now, None if opened is None else opened.reason)
            if opened is not None:
                self._tell(jar, Event(EventKind.REFUSED, name, opened.reason, opened.key_id, sent_bytes))
        sent = 1 if values is None else len(values)
        visit = self._visits[name] = _Visit(session, bound, sent, sent_bytes, extended)
        return visit

    def _values(self, jar: Jar) -> list[str] | None:
        """What came under the jar's cookie name; None where the header is too long to be looked at."""
        if len(self._header) > MAX_HEADER_CHARS:
            return None
        if self._found is None:
            self._found = find_cookies(self._header, self._cookie_names)
        return self._found.get(jar.cookie_name, [])

    def _time(self, jar: Jar) -> int:
        """This request's one reading of the jar's clock, in milliseconds."""
        now = self._now.get(id(jar.clock))
        if now is None:
            now = self._now[id(jar.clock)] = read_clock(jar.clock)
        return now

    def _ring(self, jar: Jar) -> Keyring:
        """This request's one look at the jar's keys."""
        ring = self._rings.get(id(jar.keyring))
        if ring is None:
            ring = self._rings[id(jar.keyring)] = jar.keyring._snapshot()
        return ring

    def _tell(self, jar: Jar, event: Event) -> None:
        jar._tell(event, self._time(jar))

    def _warn_of_size(self, used_bytes: int) -> None:
        if not used_bytes:  # nothing of the client's opened: its junk fills no log
            return
        unused = [jar for name, jar in self._jars.items() if name not in self._visits]
        total = used_bytes + sum(len(jar.cookie_name) + len(value) for jar in unused for value in self._values(jar) or ())
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
