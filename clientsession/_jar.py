"""Jar: one named cookie with its keys, its lifetime and its attributes; and what all kinds of jars have in common.

It knows no request: values come in as text, and what goes out is a response header.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from types import EllipsisType
from typing import Final, NamedTuple

from clientsession._codec import NOT_A_KEYRING, Codec, check_label, not_found
from clientsession._cookies import HOST_PREFIX, SetCookie
from clientsession._events import LOGGED, Event, EventKind, Throttle, log_event
from clientsession._immutable import Immutable
from clientsession._json import Serializer
from clientsession._keyring import BoundRing, Keyring
from clientsession._keys import KEY_AS_NAME, BoundKey, holds_key
from clientsession._migration import Reader
from clientsession._session import DEFAULT_DURATION, Lifetime, Rules, Session, check_duration
from clientsession._token import MIN_CHARS, Frame
from clientsession.errors import (
    ConfigurationError,
    Reason,
    TokenError,
    UnknownKeyError,
)

MAX_CANDIDATES: Final = 4  # cookies of one name that are decrypted; a browser sends one for each path and domain it has
MAX_FORMER_SCOPES: Final = 8  # each is a Set-Cookie header of its own
SET_COOKIE: Final = "Set-Cookie"


class Refusal(NamedTuple):
    """Why a cookie did not open, and at which question of docs/SPEC.md, section 6."""

    reason: Reason
    key_id: str | None
    question: int


def _not_found(question: int) -> Refusal:
    """Of a text that names no key of the ring, where it ended."""
    return Refusal(not_found(question).reason, None, question)


class AnyJar(Immutable):
    """What a jar is whatever carries its tokens: keys, lifetimes, and how one of several tokens is opened."""

    name: str
    keyring: Keyring
    duration: timedelta
    active_duration: timedelta | None
    max_duration: timedelta | None
    audience: str
    ephemeral: bool
    serializer: Serializer
    clock: Callable[[], float]
    observer: Callable[[Event], object] | None
    compress: bool
    pad_to: int | None
    codec: Codec
    """Seals and opens this jar's tokens directly."""
    _rules: Rules
    _throttle: Throttle
    _readers: tuple[Reader, ...]
    _is_host_only: bool
    """Whether browsers take the cookie from its own host alone, by its prefix: nobody can have put another in its place."""
    _name_bytes: int
    """What a token takes beside itself, in events and in the warning of size: the name of a cookie."""

    def _prepare(
        self,
        codec_kind: type[Codec],
        wire_name: str,
        *,
        name: str,
        keyring: Keyring,
        lifetime: Lifetime,
        duration: timedelta,
        active_duration: timedelta | None,
        audience: str,
        serializer: Serializer | None,
        clock: Callable[[], float],
        observer: Callable[[Event], object] | None,
        compress: bool,
        pad_to: int | None,
        readers: tuple[Reader, ...] = (),
    ) -> None:
        """Check and set what all jars have."""
        if observer is not None and not callable(observer):
            raise ConfigurationError("observer must be a function that takes an event")
        codec = codec_kind(
            keyring,
            wire_name,
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
            audience=audience,
            ephemeral=lifetime.ephemeral,
            serializer=codec.serializer,
            clock=clock,
            observer=observer,
            compress=compress,
            pad_to=pad_to,
            codec=codec,
            _rules=Rules(lifetime, codec.max_size),
            _throttle=Throttle(),
            _readers=readers,
            _is_host_only=wire_name.startswith(HOST_PREFIX),
            _name_bytes=codec._name_size,
        )

    # For Sessions

    def _new(self, clock: Callable[[], int], refusal: Reason | None) -> Session:
        return Session.new(self._rules, self.codec._measure, clock, refusal)

    def _open(self, values: list[str], old: dict[str, list[str]], clock: Callable[[], int], bound: BoundRing) -> Session | Refusal:
        """The session of the tokens that came, or of what other systems left, or why there is none.

        Args:
            values: under this jar's own name.
            old: under the names of other systems' cookies, of which this jar's may be one.
            clock: of this request.
            bound: the keys of this request.
        """
        codec = self.codec
        if len(values) == 1 and not self._readers:  # as mostly; what follows comes to the same
            found = codec._find(values[0], bound)
            if isinstance(found, int):
                return _not_found(found)
            session = codec._open(*found, self._rules, clock)
            return session if isinstance(session, Session) else Refusal(session.reason, found[1].key_id, session.question)
        candidates: list[tuple[Frame, BoundKey]] = []
        refusals: list[Refusal] = []
        furthest = 0  # question of those that name no key of the ring
        for value in dict.fromkeys(values):  # the same value twice is one
            found = codec._find(value, bound) if MIN_CHARS <= len(value) <= codec._max_chars else 1
            if isinstance(found, int):
                furthest = max(furthest, found)
            else:
                candidates.append(found)
                if len(candidates) > MAX_CANDIDATES:
                    return Refusal(Reason.AMBIGUOUS, None, 0)
        opened: list[Session] = []
        for frame, key in candidates:
            session = codec._open(frame, key, self._rules, clock)
            if isinstance(session, Session):
                opened.append(session)
            else:
                refusals.append(Refusal(session.reason, key.key_id, session.question))
        # Of a cookie that is the host's own, whatever somebody put beside it under an old name takes nothing away.
        if self._readers and not (opened and self._is_host_only):
            foreign = self._old_candidates(old, bound)
            if len(candidates) + len(foreign) > MAX_CANDIDATES:
                return Refusal(Reason.AMBIGUOUS, None, 0)
            migrated, over = self._migrated(foreign, clock)
            opened += migrated
            refusals += over
        if len(opened) == 1:
            return opened[0]
        if opened:
            return Refusal(Reason.AMBIGUOUS, None, 0)
        if not refusals:  # or only what other systems left came, and no reader took it
            return _not_found(max(furthest, 1))
        return max(refusals, key=lambda refusal: refusal.question)

    def _old_candidates(self, old: dict[str, list[str]], bound: BoundRing) -> dict[tuple[str, str], list[Reader]]:
        """The readers for each different value under a name of another system; of the values, one more than may be at most."""
        found: dict[tuple[str, str], list[Reader]] = {}
        for name, values in old.items():
            for value in dict.fromkeys(values):
                if len(found) > MAX_CANDIDATES:
                    return found
                ours = self.codec._find(value, bound)
                if isinstance(ours, tuple):
                    continue
                looks_like_ours = not_found(ours) is UnknownKeyError
                readers = [reader for reader in self._readers if reader.cookie_name == name]
                readers = [reader for reader in readers if reader.may_look_like_ours or not looks_like_ours]
                if readers:
                    found[name, value] = readers
        return found

    def _migrated(
        self, foreign: dict[tuple[str, str], list[Reader]], clock: Callable[[], int]
    ) -> tuple[list[Session], list[Refusal]]:
        """The sessions of other systems, of each cookie that of the first reader that knows it; and why those over do not open."""
        found: list[Session] = []
        refusals: list[Refusal] = []
        for (_, value), readers in foreign.items():
            adopted: Session | TokenError | None = None
            for reader in readers:
                old = reader._read(value, clock())
                adopted = None if old is None else self.codec._adopted(old, self._rules, clock)
                if isinstance(adopted, Session):
                    found.append(adopted)
                    break
                if adopted is not None:
                    refusals.append(Refusal(adopted.reason, None, adopted.question))
        return found, refusals

    def _header_of(self, session: Session, token: str, now: int) -> tuple[str, str]:
        """The response header that hands a sealed session over."""
        raise NotImplementedError

    def _deletion(self) -> tuple[str, str]:
        """The response header that makes a client drop what it has."""
        raise NotImplementedError

    def _token_in(self, value: str) -> str | None:
        """The token in the value of a response header, if that is one of this jar's."""
        raise NotImplementedError

    def _wrote(self, value: str, bound: BoundRing, now: int) -> bool:
        """Whether the value of a response header is one of this jar's own: its deletion, or a token that opens."""
        if value == self._deletion()[1]:
            return True
        token = self._token_in(value)
        return token is not None and isinstance(self._open([token], {}, lambda: now, bound), Session)

    def _is_told(self, kind: EventKind) -> bool:
        """Whether anybody hears of such an event."""
        return self.observer is not None or kind in LOGGED

    def _tell(self, event: Event, now: int) -> None:
        """Pass an event to the log and to the observer."""
        log_event(event, self._throttle, now)
        if self.observer is not None:
            self.observer(event)


class CookieCodec(Codec):
    """The codec of a jar: its tokens are cookies, and its limit is on name and value together."""

    kind = "cookie"

    @property
    def _name_size(self) -> int:
        return len(self.name)


class Jar(AnyJar):
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
        migrate_from: readers of ``clientsession.migrate`` for cookies that another system left; such a session opens, and is
            sealed by this jar when it is used.

    Raises:
        ConfigurationError: an argument out of range, or attributes that browsers refuse together.
        TypeError: a duration that is no ``timedelta``.
    """

    cookie_name: str
    path: str
    domain: str | None
    secure: bool
    httponly: bool
    samesite: str
    partitioned: bool
    max_age: timedelta | None
    former_scopes: tuple[tuple[str, str | None], ...]
    migrate_from: tuple[Reader, ...]
    _set_cookie: SetCookie
    _has_elsewhere: bool  # whether the session may be in more places than one
    _former_deletions: tuple[str, ...]
    _old_deletions: tuple[tuple[str, str], ...]  # other systems' cookies that are elsewhere: name, and Set-Cookie value
    _max_age_seconds: int | None

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
        migrate_from: Iterable[Reader] = (),
    ) -> None:
        if holds_key(name, cookie_name, audience, path, domain):
            del keyring, name, cookie_name, audience, path, domain  # no frame of this traceback shows a secret
            raise ConfigurationError(KEY_AS_NAME)
        if not isinstance(keyring, Keyring):
            del keyring  # whatever it is may be a secret too
            raise ConfigurationError(NOT_A_KEYRING)
        readers = _readers(migrate_from)
        if readers is None:
            del migrate_from  # whatever it is may be secrets
            raise ConfigurationError("migrate_from must be a list of readers, such as [migrate.flask(secret_key=…)]")
        check_label("name", name)
        if type(ephemeral) is not bool:
            raise ConfigurationError("ephemeral must be True or False")
        if ephemeral and max_age is not None:
            raise ConfigurationError("ephemeral=True means no Max-Age: leave max_age out")
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
        self._prepare(
            CookieCodec,
            set_cookie.name,
            name=name,
            keyring=keyring,
            lifetime=lifetime,
            duration=duration,
            active_duration=active_duration,
            audience=audience,
            serializer=serializer,
            clock=clock,
            observer=observer,
            compress=compress,
            pad_to=pad_to,
            readers=readers,
        )
        self._freeze(
            migrate_from=self._readers,
            cookie_name=set_cookie.name,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
            max_age=max_age,
            former_scopes=former,
            _set_cookie=set_cookie,
            _has_elsewhere=bool(former or self._readers),
            _former_deletions=tuple(_former_deletion(scoped, scope) for scope in former),
            _old_deletions=tuple(_old_deletions(self._readers, set_cookie.name, (path, domain), samesite, partitioned=partitioned)),
            _max_age_seconds=None if max_age is None else -(-check_duration("max_age", max_age) // 1000),
        )

    def _summary(self) -> str:
        return f"{self.name!r} cookie {self.cookie_name!r} {self.keyring!r}"

    def _header_of(self, session: Session, token: str, now: int) -> tuple[str, str]:
        max_age = None
        if not session._ephemeral:
            max_age = -(-(session._expires - now) // 1000)
            if self._max_age_seconds is not None:
                max_age = min(max_age, self._max_age_seconds)
        return SET_COOKIE, self._set_cookie.value(token, max_age)

    def _deletion(self) -> tuple[str, str]:
        return SET_COOKIE, self._set_cookie.deletion()

    def _token_in(self, value: str) -> str | None:
        name, _, rest = value.partition("=")
        return rest.partition(";")[0] if name == self.cookie_name else None


def _readers(readers: Iterable[Reader]) -> tuple[Reader, ...] | None:
    """The readers, or None where they are something else."""
    if isinstance(readers, (str, bytes, Reader)) or not isinstance(readers, Iterable):
        return None
    found = tuple(readers)
    return found if all(isinstance(reader, Reader) for reader in found) else None


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


def _old_deletions(
    readers: Iterable[Reader], name: str, scope: tuple[str, str | None], samesite: str, *, partitioned: bool
) -> Iterator[tuple[str, str]]:
    """How the cookies of other systems are deleted, but for one that the jar's own replaces.

    With the jar's ``SameSite``: in a frame of another site browsers ignore a Set-Cookie without ``SameSite=None``. And the old
    cookie of a partitioned jar may have been partitioned, or not.
    """
    for reader in readers:
        if (reader.cookie_name, *_folded((reader.path, reader.domain))) == (name, *_folded(scope)):
            continue
        for is_partitioned in (False, True) if partitioned else (False,):
            # Secure only where a browser demands it: it would keep a plain http site from deleting the cookie.
            needs_secure = is_partitioned or samesite.lower() == "none" or reader.cookie_name.startswith("__")
            set_cookie = SetCookie(
                reader.cookie_name,
                path=reader.path,
                domain=reader.domain,
                secure=needs_secure,
                httponly=True,
                samesite=samesite,
                partitioned=is_partitioned,
            )
            yield reader.cookie_name, set_cookie.deletion()
