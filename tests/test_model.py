"""Several users, two hosts, three paths and an attacker on a sibling host: what each handler saw is what a plain model says.

A machine of Hypothesis plays steps, each a tuple of plain data, on a :class:`World`: two jars behind the WSGI middleware, a model
browser for each user (``tests/browser_model.py``), a clock, a ring of keys that is rotated, and a configuration that changes. The
world knows beforehand what a handler is to see and what the response is to set. It looks into no token: of each that was set it
remembers, in a dict, what a session of that time holds and when it ends. And for cookies that nobody can toss it knows the same
from a dict by user alone, without any token.

``MODEL_RUNS`` is how many runs of 50 steps the slow test makes, 2,000 unless it says otherwise. ``tests/test_model_browser.py``
plays the same steps in Chromium.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from clientsession import Jar, Key, Keyring, Reason, Session, SessionCommittedError, SessionTooLargeError, Suite
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.browser_model import Browser, Request
from tests.conftest import Clock, forged
from tests.strict_wsgi import make_environ, serve

SHOP = "shop.example"
SIBLING = "user-pages.shop.example"
OTHER_SITE = "news.test"
HOSTS = (SHOP, SIBLING)
PATHS = ("/", "/shop", "/shop/cart")
USERS = ("ada", "ben", "mallory")
JARS = ("session", "cart")
NAMES = {"session": ("session", "sid", "__Host-session"), "cart": ("cart", "__Secure-cart", "__Host-cart")}
SCOPES: tuple[tuple[str, str | None], ...] = (("/", None), ("/shop", None), ("/", SHOP), ("/shop", SHOP))
# How a request comes about: an address typed, and from a page of another site a link, a form and a picture.
HOWS = ("typed", "link", "form", "picture")
DURATIONS = (30, 3600, 86_400, 30 * 86_400)  # seconds
ACTIVE = (None, 20, 1800)
JUMPS_MS = (999, 5_000, 5_000, 12_000, 29_500, 30_000, 1_200_000, 1_800_000, 80_000_000, 20 * 86_400_000, -5_000, -60_000, -61_000)
LONGEST_JUMP_MS = 400 * 86_400_000
FUTURE_MS = 60_000  # docs/SPEC.md, section 6, question 7
DEFAULT_MAXIMUM_MS = 30 * 86_400_000
TOO_LONG = "x" * 5000
FLOOD = 60
EXTRA_SECONDS = 3600
WHOLE = "run of 50 steps"
NEW_ID = "one that nobody knows yet"
# Making a key takes longer than a step; which one is which, no world can tell. Both suites are among them.
KEYS = [Key.from_secret(hashlib.sha256(b"%d" % number).digest(), suite=suite) for number in range(30) for suite in Suite]
STEPS = 50
RUNS = int(os.environ.get("MODEL_RUNS", "2000"))
QUICK_RUNS = 100
ENOUGH_RUNS = 2000  # for all that may happen to happen


# What a session is


@dataclass
class Plain:
    """A session as somebody without any cryptography would write it down; times in milliseconds."""

    content: dict[str, Any]
    created: int
    expires: int
    ephemeral: bool = False
    id: str | None = None
    key: str | None = None
    cookie_name: str = ""
    is_forged: bool = False
    is_tossed: bool = False


@dataclass
class Visited:
    """One session of one request, from its opening to its answer."""

    session: Plain
    origin: Plain | None
    refusal: str | None
    has_sent: bool
    is_extended: bool
    is_tossed: bool = False
    is_retimed: bool = False
    is_destroyed: bool = False


@dataclass(frozen=True)
class Policy:
    """What a jar is made of."""

    cookie_name: str
    scope: tuple[str, str | None] = ("/", None)
    former: tuple[tuple[str, str | None], ...] = ()
    duration: int = 86_400
    active: int | None = None
    is_tight: bool = False
    secure: bool = True
    samesite: str = "Lax"

    @property
    def is_host(self) -> bool:
        """Whether nobody but the host itself can set such a cookie."""
        return self.cookie_name.startswith("__Host-")

    @property
    def maximum(self) -> int | None:
        """Milliseconds."""
        if self.is_tight:
            return self.duration * 1000
        return None if self.active is None else max(DEFAULT_MAXIMUM_MS, self.duration * 1000)

    def capped(self, created: int, expires: int) -> int:
        return max(created, expires if self.maximum is None else min(expires, created + self.maximum))

    def jar(self, name: str, ring: Keyring, clock: Clock) -> Jar:
        return Jar(
            name,
            ring,
            cookie_name=self.cookie_name,
            path=self.scope[0],
            domain=self.scope[1],
            former_scopes=self.former,
            duration=timedelta(seconds=self.duration),
            active_duration=None if self.active is None else timedelta(seconds=self.active),
            max_duration=timedelta(seconds=self.duration) if self.is_tight else ...,
            secure=self.secure,
            samesite=self.samesite,
            clock=clock,
        )

    def line(self, value: str, max_age: int | None, scope: tuple[str, str | None] | None = None) -> str:
        """A Set-Cookie value."""
        path, domain = scope or self.scope
        return "; ".join(
            part
            for part in (
                f"{self.cookie_name}={value}",
                "" if max_age is None else f"Max-Age={max_age}",
                f"Path={path}",
                f"Domain={domain}" if domain else "",
                "Secure" if self.secure else "",
                "HttpOnly",
                f"SameSite={self.samesite}",
            )
            if part
        )


def act(session: Any, action: tuple[Any, ...]) -> None:
    """What a handler does to a session."""
    match action:
        case ("put", key, value):
            session[key] = value
        case ("put back", key):
            session[key] = 0
            del session[key]
        case ("append", value):
            session.setdefault("list", []).append(value)
        case ("drop", key):
            session.pop(key, None)
        case ("clear",):
            session.clear()
        case ("reset",):
            session.reset(keep=("locale",))
        case ("destroy",):
            session.destroy()
        case ("last", seconds, ephemeral):
            session.set_duration(timedelta(seconds=seconds), ephemeral=ephemeral)
        case ("name",):
            assert len(session.id) == 32
        case ("fill",):
            session["big"] = TOO_LONG
        case _:
            raise AssertionError(action)


def act_plainly(visited: Visited, policy: Policy, now: int, action: tuple[Any, ...]) -> None:
    """The same, as the model has it."""
    session = visited.session
    content = session.content
    match action:
        case ("put", key, value):
            content[key] = value
        case ("put back", key):
            content.pop(key, None)
        case ("append", value):
            content.setdefault("list", []).append(value)
        case ("drop", key):
            content.pop(key, None)
        case ("clear",):
            content.clear()
        case ("reset",) | ("destroy",):
            kept = {"locale": content["locale"]} if action == ("reset",) and "locale" in content else {}
            visited.session = Plain(kept, now, now + policy.duration * 1000)
            visited.is_retimed = True
            visited.is_destroyed |= action == ("destroy",)
        case ("last", seconds, ephemeral):
            session.expires = policy.capped(session.created, now + seconds * 1000)
            session.ephemeral = session.ephemeral if ephemeral is None else ephemeral
            visited.is_retimed = True
        case ("name",):
            session.id = session.id or NEW_ID
        case ("fill",):
            content["big"] = TOO_LONG


# The world


@dataclass
class Kept:
    """Of a user's own ``__Host-`` cookie: what it stands for, and until when a browser keeps it."""

    session: Plain
    samesite: str
    until: int | None


@dataclass
class Task:
    """What the server is to do at the next request, and what came of it."""

    plan: tuple[tuple[str, tuple[tuple[Any, ...], ...]], ...] = ()
    tossed: tuple[str, ...] | None = None
    header: str | None = None
    saw: list[Any] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    status: str = ""
    is_done: bool = False


class World:
    """Users, hosts, keys and time; :meth:`step` plays one step and checks it.

    Args:
        send: makes a request as a user and lets ``application`` answer it; by default it is called at once with what the model
            browser sends.
    """

    def __init__(self, send: Callable[[World, str, Request, str | None], None] | None = None, *, browsers_feel_time: bool) -> None:
        self.send = send or World._send_at_once
        self.is_real = send is not None
        self.clock = Clock()
        self.start = self.clock.now
        self.browsers_feel_time = browsers_feel_time and not self.is_real
        self.browsers = {user: Browser(self._browser_time, is_chromium=not self.browsers_feel_time) for user in USERS}
        self.count = 0
        self.happened: Counter[str] = Counter()
        self.pool = iter(KEYS)
        self.ring = {"sealing": [next(self.pool)], "accepting": [], "retiring": []}
        self.ticks = Clock(0)
        self.live = Keyring.from_source(self._keyring, every=timedelta(seconds=1), clock=self.ticks)
        self.policies = {jar: Policy(NAMES[jar][0]) for jar in JARS}
        self.scopes: dict[str, set[tuple[str, str | None]]] = {}
        self.ledger: dict[str, Plain] = {}
        self.own: dict[tuple[str, str, str], Kept] = {}
        self.loot: list[str] = []
        self.tossed: dict[str, set[str]] = {user: set() for user in USERS}
        self.late: list[tuple[str, Request, list[str], list[Callable[[], None]]]] = []
        self.task = Task()
        self._configure()

    @property
    def now(self) -> int:
        return round(self.clock.now * 1000)

    def _browser_time(self) -> float:
        return self.clock.now if self.browsers_feel_time else self.start

    def _keyring(self) -> Keyring:
        return Keyring(*self.ring["sealing"], accepting=self.ring["accepting"], retiring=self.ring["retiring"])

    def _configure(self) -> None:
        for policy in self.policies.values():
            self.scopes.setdefault(policy.cookie_name, set()).add(policy.scope)
        jars = [policy.jar(name, self.live, self.clock) for name, policy in self.policies.items()]
        self.middleware = SessionMiddleware(self._handler, jars)

    # The server

    def application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """The shop, and on the sibling's ``/toss`` the attacker's page."""
        task = self.task
        task.header = environ.get("HTTP_COOKIE")

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            task.status = status
            task.set_cookies = [value for name, value in headers if name == "Set-Cookie"]
            task.vary = [value for name, value in headers if name == "Vary"]
            task.is_done = True
            return start_response(status, [(name, self._longer(value)) for name, value in headers], *rest)

        if task.tossed is None:
            return self.middleware(environ, start)
        start("200 OK", [("Content-Type", "text/plain"), *(("Set-Cookie", value) for value in task.tossed)])
        return [b"tossed"]

    def _longer(self, value: str) -> str:
        """In a real browser, whose clock we cannot move, nothing is to run out while a script is played."""
        if self.is_real and "; Max-Age=" in value and "; Max-Age=0;" not in value:
            before, _, rest = value.partition("; Max-Age=")
            seconds, semicolon, rest = rest.partition(";")
            value = f"{before}; Max-Age={int(seconds) + EXTRA_SECONDS}{semicolon}{rest}"
        return value

    def _handler(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        sessions = get_sessions(environ)
        for jar, actions in self.task.plan:
            session = sessions[jar]
            self.task.saw.append(seen(session))
            for action in actions:
                act(session, action)
            self.task.saw.append(dict(copy.deepcopy(session)))
        headers = [("Content-Type", "text/plain")]
        try:
            start_response("200 OK", headers)
        except SessionTooLargeError:
            start_response("500 Too Large", headers)
        for jar in dict(self.task.plan):
            with suppress(SessionCommittedError):  # it has none
                self.task.ids[jar] = sessions[jar].id
        return [b"seen"]

    @staticmethod
    def _send_at_once(world: World, user: str, request: Request, header: str | None) -> None:
        serve(
            world.application, make_environ(request.method, request.path, cookie=header, scheme=request.scheme, host=request.host)
        )

    # The steps

    def step(self, *step: Any) -> None:
        """One step: its name, and its values."""
        getattr(self, f"_{step[0]}")(*step[1:])

    def _visit(self, user: str, scheme: str, host: str, path: str, how: str, is_late: bool, plan: tuple[Any, ...]) -> None:
        """A user's request, on which a handler uses sessions by a plan."""
        self.count += 1
        plan = tuple((jar, tuple(self._owned(user, action) for action in actions)) for jar, actions in plan)
        request = Request(
            scheme,
            host,
            path,
            "POST" if how == "form" else "GET",
            None if how == "typed" else (scheme, OTHER_SITE),
            top_level=how != "picture",
        )
        self._grow_old(user)
        header = self.browsers[user].send(request)
        visits, saw = self._expected(user, header, plan)
        self._check_own(user, request, visits)
        self._check_owner(user, visits)
        self.task = Task(plan)
        self.send(self, user, request, header)
        task = self.task
        assert task.is_done, "the server was asked"
        assert task.header == header, "the browser sent what the model sends"
        assert task.saw == saw
        assert task.vary == (["Cookie"] if plan else [])
        changes = self._check_answers(user, request, visits)
        if is_late and not self.is_real:
            self.happened["answer is late"] += 1
            self.late.append((user, request, task.set_cookies, changes))
        else:
            self._deliver_to(user, request, task.set_cookies, changes)

    def _owned(self, user: str, action: tuple[Any, ...]) -> tuple[Any, ...]:
        """An action whose value nobody else has written."""
        return (*action, f"{user} {self.count}") if action[0] in ("put", "append") and action[-1] != "same" else action

    def _expected(self, user: str, header: str | None, plan: tuple[Any, ...]) -> tuple[dict[str, Visited], list[Any]]:
        """What a handler is to see, and how its sessions are to be in the end."""
        visits: dict[str, Visited] = {}
        saw: list[Any] = []
        for jar, actions in plan:
            policy = self.policies[jar]
            if jar not in visits:
                visits[jar] = self._opened(user, header, policy)
            visited = visits[jar]
            session = visited.session
            is_new = visited.origin is None or visited.is_destroyed
            saw.append(
                (copy.deepcopy(session.content), is_new, visited.refusal, session.created, session.expires, session.ephemeral)
            )
            for action in actions:
                act_plainly(visited, policy, self.now, action)
            saw.append(copy.deepcopy(visited.session.content))
        return visits, saw

    def _opened(self, user: str, header: str | None, policy: Policy) -> Visited:
        """Which of the cookies that came is the session (docs/SPEC.md, section 6)."""
        pairs = [pair.partition("=") for pair in header.split("; ")] if header else []
        values = {value: None for name, _, value in pairs if name == policy.cookie_name}
        judged = {value: self._judged(value, policy) for value in values}
        found = {value: plain for value, (question, _, plain) in judged.items() if question > 3}
        opened = {value: plain for value, plain in found.items() if plain is not None}
        refusal: str | None = None
        if len(found) > 4 or len(opened) > 1:
            self.happened["more than four"] += len(found) > 4
            refusal, opened = "ambiguous", {}
        elif judged and not opened:
            refusal = max(judged.values(), key=lambda entry: entry[0])[1]
        if refusal:
            self.happened[f"refused, {refusal}"] += 1
        if not opened:
            new = Plain({}, self.now, self.now + policy.duration * 1000)
            return Visited(new, None, refusal, bool(values), is_extended=False)
        self.happened["opened"] += 1
        if len(values) > 1:
            self.happened["opened, one of several"] += 1
        if len(pairs) > len({value for _, _, value in pairs}):
            self.happened["opened, where one came twice"] += 1
        ((value, origin),) = opened.items()
        session = copy.deepcopy(origin)
        session.expires = policy.capped(session.created, session.expires)
        self.happened["ends sooner by another policy"] += session.expires != origin.expires
        is_extended = False
        if policy.active is not None and session.expires - self.now < policy.active * 1000:
            later = policy.capped(session.created, session.expires + policy.active * 1000)
            self.happened["moved on less than it might"] += session.expires < later < session.expires + policy.active * 1000
            is_extended, session.expires = later != session.expires, later
        return Visited(session, origin, None, True, is_extended, is_tossed=origin.is_tossed or value in self.tossed[user])

    def _judged(self, value: str, policy: Policy) -> tuple[int, str | None, Plain | None]:
        """Of one value, at which question it fails, and why."""
        plain = self.ledger.get(value)
        if plain is None:
            return 1, "malformed", None
        if plain.key not in self._key_ids(*self.ring):
            return 3, "unknown_key", None
        if plain.is_forged or plain.cookie_name != policy.cookie_name:
            return 4, "forged", None
        if plain.created > self.now + FUTURE_MS:
            return 7, "future", None
        if policy.capped(plain.created, plain.expires) <= self.now:
            return 8, "expired", None
        return 10, None, plain

    def _key_ids(self, *roles: str) -> set[str]:
        return {key.id for role in roles for key in self.ring[role]}

    def _check_answers(self, user: str, request: Request, visits: dict[str, Visited]) -> list[Callable[[], None]]:
        """Whether the response sets what the table in the documentation says; gives what it changes in a browser that takes it."""
        left = list(self.task.set_cookies)
        changes: list[Callable[[], None]] = []
        is_too_large = False
        for jar, visited in visits.items():
            policy, session = self.policies[jar], visited.session
            if session.content.get("big"):
                is_too_large = True
                continue
            kind = self._answer(visited)
            if visited.has_sent and (kind or visited.refusal == "ambiguous"):
                for scope in policy.former:
                    assert left.pop(0) == policy.line("", 0, scope)
                    self.happened["former place cleared" if kind else "former place cleared of several"] += 1
            if kind is None:
                continue
            self.happened[kind] += 1
            line = left.pop(0)
            place = user, request.host, policy.cookie_name
            if kind == "deleted":
                assert line == policy.line("", 0)
                changes.append(lambda place=place: self.own.pop(place, None) and None)
                continue
            token = line.partition("=")[2].partition(";")[0]
            seconds = -(-(session.expires - self.now) // 1000)
            assert line == policy.line(token, None if session.ephemeral else seconds)
            assert token not in self.ledger, "no token comes twice"
            if session.id is not None:
                assert session.id in (NEW_ID, self.task.ids[jar])
                session.id = self.task.ids[jar]
            sealed = replace(
                copy.deepcopy(session),
                key=self.ring["sealing"][0].id,
                cookie_name=policy.cookie_name,
                is_tossed=visited.is_tossed,
            )
            self.ledger[token] = sealed
            if user == "mallory":
                self.loot.append(token)
            until = None if session.ephemeral else self.now + seconds * 1000
            kept = Kept(sealed, policy.samesite, until)
            changes.append(lambda place=place, kept=kept: self.own.__setitem__(place, kept))
        assert left == []
        assert self.task.status == ("500 Too Large" if is_too_large else "200 OK")
        self.happened["too large"] += is_too_large
        return changes if request.scheme == "https" and (request.top_level or request.is_same_site) else []

    def _answer(self, visited: Visited) -> str | None:
        """The row of the table of answers."""
        session, origin = visited.session, visited.origin
        if not session.content and session.id is None:
            is_deleted = origin is not None or (visited.is_destroyed and visited.has_sent)
            return "deleted" if is_deleted else None
        if origin is None or visited.is_retimed or (session.content, session.id) != (origin.content, origin.id):
            return "sealed"
        if visited.is_extended:
            return "extended"
        return "sealed again for a retiring key" if origin.key in self._key_ids("retiring") else None

    def _deliver_to(self, user: str, request: Request, set_cookies: list[str], changes: list[Callable[[], None]]) -> None:
        self.browsers[user].receive(request, [self._longer(value) for value in set_cookies])
        for change in changes:
            change()
        self._grow_old(user)

    def _deliver(self, index: int) -> None:
        """An answer that was late arrives, maybe after those of later requests."""
        if self.late:
            self._deliver_to(*self.late.pop(index % len(self.late)))

    # What a dict by user says of cookies that nobody can toss

    def _grow_old(self, user: str) -> None:
        """A browser that is used drops what is over."""
        for place, kept in list(self.own.items()):
            if self.browsers_feel_time and place[0] == user and kept.until is not None and kept.until <= self.now:
                del self.own[place]

    def _check_own(self, user: str, request: Request, visits: dict[str, Visited]) -> None:
        """The content of a ``__Host-`` cookie is what its user last stored there, and is gone when its time or its key is."""
        for jar, visited in visits.items():
            policy = self.policies[jar]
            if not policy.is_host:
                continue
            kept = self.own.get((user, request.host, policy.cookie_name))
            content: dict[str, Any] | None = None
            if (
                kept is not None
                and request.scheme == "https"
                and (request.is_same_site or (kept.samesite == "Lax" and request.top_level and request.method == "GET"))
                and kept.session.key in self._key_ids(*self.ring)
                and kept.session.created <= self.now + FUTURE_MS
                and policy.capped(kept.session.created, kept.session.expires) > self.now
            ):
                content = kept.session.content
                self.happened["known by its user alone"] += 1
            assert content == (None if visited.origin is None else visited.origin.content)

    def _check_owner(self, user: str, visits: dict[str, Visited]) -> None:
        """Nobody gets a session that is not their own, but for one that was tossed to them."""
        for visited in visits.values():
            if visited.origin is not None:
                owners = {text.partition(" ")[0] for text in _texts(visited.origin.content)}
                assert owners <= {user, "same"} or visited.is_tossed
                self.happened["tossed session taken"] += not owners <= {user, "same"}

    # What else happens

    def _toss(self, user: str, scheme: str, tosses: tuple[tuple[str, str, int, str, str], ...]) -> None:
        """A user comes by the sibling host, which sets cookies for the whole domain, and reads those it is sent."""
        names = [self.policies[name].cookie_name if name in self.policies else name for name, *_ in tosses]
        lines = tuple(self._thrown(user, name, *rest) for name, (_, *rest) in zip(names, tosses, strict=True))
        request = Request(scheme, SIBLING, "/toss")
        self._grow_old(user)
        header = self.browsers[user].send(request)
        self.task = Task(tossed=lines)
        self.send(self, user, request, header)
        assert self.task.is_done
        assert self.task.header == header, "the browser sent what the model sends"
        taken = self.browsers[user].receive(request, [self._longer(value) for value in self.task.set_cookies])
        for name, is_taken in zip(names, taken, strict=True):
            assert not (is_taken and name.lower().startswith("__host-"))
            self.happened["tossed" if is_taken else "tossed in vain"] += 1
        for pair in header.split("; ") if header else ():
            token = pair.partition("=")[2]
            if token in self.ledger and not self.ledger[token].is_forged:
                self.loot.append(token)  # a cookie for the whole domain is the sibling's to read

    def _thrown(self, user: str, cookie_name: str, source: str, index: int, path: str, rest: str) -> str:
        """The Set-Cookie value with which the sibling tosses a cookie."""
        value, max_age = "junk", "; Max-Age=3000"
        if source == "gone":
            value, max_age = "", "; Max-Age=0"
        elif source != "junk" and self.loot:
            fitting = [token for token in self.loot if self.ledger[token].cookie_name == cookie_name]
            choice = fitting if fitting and source != "pasted" else self.loot
            value = choice[-1 - index % len(choice)]
            if source == "flipped":
                plain = replace(self.ledger[value], is_forged=True)
                value = forged(value)
                self.ledger.setdefault(value, plain)
        self.tossed[user].add(value)
        return f"{cookie_name}={value}{max_age}; Path={path}; Domain={SHOP}{rest}"

    def _flood(self, user: str) -> None:
        """The sibling fills the domain's place in a browser, which drops what was there."""
        if self.is_real:  # whose limits are its own
            return
        self._grow_old(user)
        request = Request("https", SIBLING, "/toss")
        held = set(self.browsers[user].cookies)
        self.browsers[user].receive(request, [f"f{number}=1; Domain={SHOP}; Path=/; Secure" for number in range(FLOOD)])
        self._forget(user, held - set(self.browsers[user].cookies))
        self.browsers[user].receive(request, [f"f{number}=; Max-Age=0; Domain={SHOP}; Path=/" for number in range(FLOOD)])
        self.happened["cookies pushed out"] += bool(held - set(self.browsers[user].cookies))

    def _close(self, user: str) -> None:
        """A browser is closed and opened again."""
        if self.is_real:
            return
        held = set(self.browsers[user].cookies)
        self.browsers[user].close()
        self._forget(user, held - set(self.browsers[user].cookies))
        self.happened["browser closed"] += 1

    def _forget(self, user: str, places: set[tuple[str, str, bool, str]]) -> None:
        for name, domain, _, _ in places:
            if name.startswith("__Host-"):
                self.own.pop((user, domain, name), None)

    def _jump(self, milliseconds: int) -> None:
        """The server's clock moves; those of the browsers with it, or not at all."""
        self.clock.pass_(milliseconds / 1000)

    def _near(self, index: int, what: str, milliseconds: int) -> None:
        """The clock goes on to where one of the last sessions ends, or is about to be moved on."""
        if index < len(self.ledger):
            plain = list(self.ledger.values())[-1 - index]
            policy = next((policy for policy in self.policies.values() if policy.cookie_name == plain.cookie_name), None)
            if policy is not None:
                end = policy.capped(plain.created, plain.expires)
                end -= (policy.active or 0) * 1000 if what == "active" else 0
                if self.now < end + milliseconds < self.now + LONGEST_JUMP_MS:
                    self.clock.now = (end + milliseconds) / 1000
                    self.happened["clock at an end"] += 1

    def _rotate(self, move: str) -> None:
        """The ring goes one step on; ``forget`` is an incident, in which the key that seals is dropped at once."""
        ring = self.ring
        if move == "accept" and len(ring["accepting"]) < 2:
            ring["accepting"].append(next(self.pool))
        elif move == "seal" and ring["accepting"]:
            ring["retiring"] += ring["sealing"]
            ring["sealing"] = [ring["accepting"].pop(0)]
        elif move == "back" and ring["retiring"]:  # the one before is trusted again
            ring["accepting"] += ring["sealing"]
            ring["sealing"] = [ring["retiring"].pop()]
        elif move == "drop" and ring["retiring"]:
            ring["retiring"].pop(0)
        elif move == "forget":
            ring["sealing"] = [next(self.pool)]
        else:
            return
        self.ticks.pass_(2)
        self.happened[f"ring: {move}"] += 1

    def _change(self, jar: str, has_former: bool, changes: dict[str, Any]) -> None:
        """A deployment with another configuration of one jar."""
        policy = replace(self.policies[jar], **changes)
        if policy.active is not None and policy.active > policy.duration:
            policy = replace(policy, active=None)
        if policy.cookie_name.startswith("__"):
            policy = replace(policy, secure=True)
        if policy.is_host:
            policy = replace(policy, scope=("/", None))
        former = sorted(self.scopes.get(policy.cookie_name, set()) - {policy.scope}, key=str) if has_former else ()
        self.policies[jar] = replace(policy, former=tuple(former))
        self._configure()
        self.happened["configuration changed"] += 1


def seen(session: Session) -> tuple[Any, ...]:
    """What a handler sees of a session when it comes to it."""
    refusal = None if session.refusal is None else session.refusal.value
    return copy.deepcopy(dict(session)), session.is_new, refusal, *_times(session), session.ephemeral


def _texts(content: dict[str, Any]) -> Iterator[str]:
    for value in content.values():
        yield from (value,) if isinstance(value, str) else value


def _times(session: Session) -> Iterator[int]:
    for moment in (session.created_at, session.expires_at):
        yield round(moment.timestamp() * 1000)


# The machine

ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(("a", "b", "locale"))),
    st.tuples(st.just("append")),
    st.sampled_from(
        (
            ("put", "a", "same"),
            ("put back", "passing"),
            ("drop", "a"),
            ("clear",),
            ("reset",),
            ("destroy",),
            ("name",),
            ("name",),
            ("fill",),
            ("last", 10, None),
            ("last", 7200, True),
            ("last", 7200, False),
            ("last", 90 * 86_400, None),
        )
    ),
)
WRITES = st.sampled_from((("put", "a"), ("put", "b"), ("put", "locale"), ("append",)))
PLANS = st.lists(st.tuples(st.sampled_from(JARS), st.lists(ACTIONS, max_size=3).map(tuple)), max_size=3).map(tuple)
USES = st.lists(st.tuples(st.sampled_from(JARS), st.lists(WRITES, max_size=1).map(tuple)), min_size=1, max_size=2).map(tuple)
users = st.sampled_from(USERS)
schemes = st.sampled_from(("https", "https", "https", "http"))
paths = st.sampled_from(PATHS)
TOSSES = st.tuples(
    st.sampled_from((*JARS, *JARS, *JARS, *NAMES["session"], *NAMES["cart"], "__HOST-session")),  # of a jar: its name of now
    st.sampled_from(("loot", "loot", "flipped", "flipped", "pasted", "junk", "gone")),
    st.sampled_from((0, 0, 0, 1, 2, 3, 7, 12)),
    st.sampled_from((*PATHS, "/shop/")),
    st.sampled_from(("", "; Secure", "; Secure; HttpOnly; SameSite=Lax")),
)


class Machine(RuleBasedStateMachine):
    """Draws the steps; :class:`World` plays them and checks."""

    runs: list[World]
    scripts: list[list[tuple[Any, ...]]]

    def __init__(self) -> None:
        super().__init__()
        self.script: list[tuple[Any, ...]] = []
        self.turns = 0
        self.world = World(browsers_feel_time=True)

    @invariant()
    def count(self) -> None:
        self.turns += 1

    def play(self, *step: Any) -> None:
        self.script.append(step)
        self.world.step(*step)

    def teardown(self) -> None:
        self.world.happened[WHOLE] += self.turns >= STEPS
        type(self).runs.append(self.world)
        type(self).scripts.append(self.script)

    @initialize(
        feels=st.booleans(),
        names=st.sampled_from((0, 0, 0, 1, 2)),
        scope=st.sampled_from(SCOPES),
        duration=st.sampled_from(DURATIONS),
        active=st.sampled_from((*ACTIVE, 1800)),
        are_known=st.booleans(),
    )
    def begin(self, feels: bool, names: int, scope: Any, duration: int, active: int | None, are_known: bool) -> None:
        self.world = World(browsers_feel_time=feels)
        self.play("change", "session", False, {"cookie_name": NAMES["session"][names], "duration": duration, "active": active})
        self.play("change", "cart", False, {"cookie_name": NAMES["cart"][names], "scope": scope})
        for user in USERS if are_known else ():
            self.play("visit", user, "https", SHOP, "/shop", "typed", False, tuple((jar, (("put", "a"),)) for jar in JARS))

    @rule(user=users, path=paths, plan=USES)
    def use(self, user: str, path: str, plan: Any) -> None:
        self.play("visit", user, "https", SHOP, path, "typed", False, plan)

    @rule(user=users, path=paths)
    def read(self, user: str, path: str) -> None:
        self.play("visit", user, "https", SHOP, path, "typed", False, tuple((jar, ()) for jar in JARS))

    @rule(user=users, path=paths, plan=PLANS)
    def use_more(self, user: str, path: str, plan: Any) -> None:
        self.play("visit", user, "https", SHOP, path, "typed", False, plan)

    @rule(
        user=users,
        scheme=schemes,
        host=st.sampled_from(HOSTS),
        path=paths,
        how=st.sampled_from(HOWS),
        is_late=st.booleans(),
        plan=PLANS,
    )
    def visit(self, user: str, scheme: str, host: str, path: str, how: str, is_late: bool, plan: Any) -> None:
        self.play("visit", user, scheme, host, path, how, is_late, plan)

    @rule(index=st.integers(0, 3))
    def deliver(self, index: int) -> None:
        self.play("deliver", index)

    @rule(user=users, scheme=schemes, tosses=st.lists(TOSSES, min_size=1, max_size=5).map(tuple), then=st.booleans())
    def toss(self, user: str, scheme: str, tosses: Any, then: bool) -> None:
        self.play("toss", user, scheme, tosses)
        if then:
            self.read(user, "/shop/cart")

    @rule(milliseconds=st.sampled_from(JUMPS_MS))
    def jump(self, milliseconds: int) -> None:
        self.play("jump", milliseconds)

    @rule(
        index=st.integers(0, 2),
        what=st.sampled_from(("end", "active")),
        milliseconds=st.sampled_from((-1, 0, 0, 1, -1500)),
        user=users,
        path=paths,
    )
    def near(self, index: int, what: str, milliseconds: int, user: str, path: str) -> None:
        self.play("near", index, what, milliseconds)
        self.read(user, path)

    @rule(
        user=users,
        jar=st.sampled_from(JARS),
        sources=st.lists(st.sampled_from(("loot", "flipped", "flipped", "flipped", "pasted", "junk")), min_size=4, max_size=4),
    )
    def toss_many(self, user: str, jar: str, sources: list[str]) -> None:
        tosses = zip(sources, (*PATHS, "/shop/"), strict=True)
        self.play("toss", user, "https", tuple((jar, source, index, path, "") for index, (source, path) in enumerate(tosses)))
        self.read(user, "/shop/cart")

    @rule(move=st.sampled_from(("accept", "seal", "drop", "accept", "seal", "back", "accept", "seal", "forget")))
    def rotate(self, move: str) -> None:
        self.play("rotate", move)
        if move in ("seal", "back"):
            self.read("ada", "/shop/cart")

    @rule(
        jar=st.sampled_from(JARS),
        has_former=st.sampled_from((True, True, False)),
        change=st.one_of(
            st.sampled_from((0, 0, 1, 2)).map(lambda index: {"cookie_name": index}),
            st.sampled_from(SCOPES).map(lambda scope: {"scope": scope}),
            st.sampled_from(SCOPES).map(lambda scope: {"scope": scope}),
            st.sampled_from(DURATIONS).map(lambda duration: {"duration": duration}),
            st.sampled_from(ACTIVE).map(lambda active: {"active": active}),
            st.booleans().map(lambda is_tight: {"is_tight": is_tight, "active": 1800}),
            st.sampled_from(((30, 20), (3600, 1800))).map(lambda ends: {"is_tight": True, "duration": ends[0], "active": ends[1]}),
            st.booleans().map(lambda secure: {"secure": secure}),
            st.sampled_from(("Lax", "Strict")).map(lambda samesite: {"samesite": samesite}),
        ),
    )
    def change(self, jar: str, has_former: bool, change: dict[str, Any]) -> None:
        if "cookie_name" in change:
            change = {"cookie_name": NAMES[jar][change["cookie_name"]]}
        self.play("change", jar, has_former, change)

    @rule(user=users, what=st.integers(0, 9))
    def lose(self, user: str, what: int) -> None:
        if what < 2:
            self.play(("close", "flood")[what], user)
        else:
            self.read(user, "/shop")


def played(runs: int, **options: Any) -> tuple[list[World], list[list[tuple[Any, ...]]]]:
    """The worlds and scripts of at least so many whole runs of the machine, all of them checked; some others end early."""

    class Run(Machine):
        runs = []
        scripts = []

    logger = logging.getLogger("clientsession")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # its warnings have tests of their own
    chosen = settings(
        max_examples=runs * 3 // 2, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck), **options
    )
    try:
        run_state_machine_as_test(Run, settings=chosen)
    finally:
        logger.setLevel(level)
    assert told(Run.runs)[WHOLE] >= runs // 2  # chance has a say in it: a hundred to 141 of 150
    return Run.runs, Run.scripts


def told(worlds: list[World]) -> Counter[str]:
    """What happened in all of them."""
    return sum((world.happened for world in worlds), Counter())


# What many runs come to, a hundred times and more each.
HAPPENS = (
    "opened",
    "opened, one of several",
    "opened, where one came twice",
    "more than four",
    "known by its user alone",
    "tossed session taken",
    "sealed",
    "extended",
    "sealed again for a retiring key",
    "deleted",
    "former place cleared",
    "former place cleared of several",
    "too large",
    "answer is late",
    "tossed",
    "tossed in vain",
    "cookies pushed out",
    "browser closed",
    "ring: accept",
    "ring: seal",
    "ring: back",
    "ring: drop",
    "ring: forget",
    "configuration changed",
    "clock at an end",
    "ends sooner by another policy",
    *(f"refused, {reason.value}" for reason in Reason),
)


def test_what_handlers_see_is_what_a_plain_model_says() -> None:
    worlds, _ = played(QUICK_RUNS)
    assert told(worlds)["opened"] > QUICK_RUNS


@pytest.mark.slow
def test_what_handlers_see_is_what_a_plain_model_says_in_many_runs(capsys: pytest.CaptureFixture[str]) -> None:
    worlds, scripts = played(RUNS)
    happened = told(worlds)
    assert happened[WHOLE] >= RUNS
    if RUNS >= ENOUGH_RUNS:
        assert [kind for kind in HAPPENS if not happened[kind]] == [], "the machine comes to all there is"
    with capsys.disabled():
        requests = sum(world.count for world in worlds)
        print(f"\n{happened[WHOLE]:,} runs of {STEPS} steps and {len(worlds) - happened[WHOLE]:,} shorter ones:")
        print(f"{sum(map(len, scripts)):,} steps, {requests:,} requests to jars")
        for kind, count in happened.most_common():
            print(f"{count:9,} {kind}")


# The browser by itself


def typed(url: str, **values: Any) -> Request:
    """An address typed."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return Request(scheme, host, f"/{path}", **values)


def linked(url: str, **values: Any) -> Request:
    """A request from a page of another site of the same scheme."""
    return typed(url, initiator=(url.partition("://")[0], OTHER_SITE), **values)


HTTPS = f"https://{SHOP}/"
DEEP = f"https://{SHOP}/shop/cart"
HTTP = f"http://{SHOP}/"
BELOW = f"https://{SIBLING}/"
MAX_VALUE = "v" * 4095

# What a browser is given, what it is asked for, and what it sends: also put to Chromium, in tests/test_model_browser.py.
CASES: dict[str, tuple[list[tuple[Request, list[str]]], Request, str | None]] = {
    "without Domain it is the host's own": ([(typed(HTTPS), ["a=1"])], typed(BELOW), None),
    "with Domain hosts below get it": ([(typed(HTTPS), ["a=1; Domain=shop.example"])], typed(BELOW), "a=1"),
    "a dot before the Domain means nothing": ([(typed(HTTPS), ["a=1; Domain=.shop.example"])], typed(BELOW), "a=1"),
    "a Domain is the same in capitals": ([(typed(HTTPS), ["a=1; Domain=SHOP.Example"])], typed(BELOW), "a=1"),
    "an empty Domain is none": ([(typed(HTTPS), ["a=1; Domain="])], typed(HTTPS), "a=1"),
    "an empty Domain is none, to hosts below": ([(typed(HTTPS), ["a=1; Domain="])], typed(BELOW), None),
    "a host below sets one for the host above": ([(typed(BELOW), ["a=1; Domain=shop.example"])], typed(HTTPS), "a=1"),
    "a host above sets none for the host below": ([(typed(HTTPS), ["a=1; Domain=user-pages.shop.example"])], typed(BELOW), None),
    "nobody sets one for a whole suffix": ([(typed(HTTPS), ["a=1; Domain=example"])], typed(HTTPS), None),
    "nobody sets one for another site": ([(typed(HTTPS), ["a=1; Domain=news.test"])], typed("https://news.test/"), None),
    "a name that ends alike is another": ([(typed(HTTPS), ["a=1; Domain=shop.example"])], typed("https://workshop.example/"), None),
    "a Path matches itself": ([(typed(HTTPS), ["a=1; Path=/shop"])], typed(f"{HTTPS}shop"), "a=1"),
    "a Path matches what is below": ([(typed(HTTPS), ["a=1; Path=/shop"])], typed(DEEP), "a=1"),
    "a Path with a slash matches what is below": ([(typed(HTTPS), ["a=1; Path=/shop/"])], typed(DEEP), "a=1"),
    "a Path with a slash does not match without": ([(typed(HTTPS), ["a=1; Path=/shop/"])], typed(f"{HTTPS}shop"), None),
    "a Path matches whole parts": ([(typed(HTTPS), ["a=1; Path=/sho"])], typed(f"{HTTPS}shop"), None),
    "a Path matches to the letter": ([(typed(HTTPS), ["a=1; Path=/Shop"])], typed(f"{HTTPS}shop"), None),
    "without a Path it is the folder's": ([(typed(DEEP), ["a=1"])], typed(f"{HTTPS}shop/other"), "a=1"),
    "without a Path it is not the parent's": ([(typed(DEEP), ["a=1"])], typed(HTTPS), None),
    "a Path that does not begin with a slash is none": ([(typed(DEEP), ["a=1; Path=x"])], typed(HTTPS), None),
    "the last of two Paths counts": ([(typed(HTTPS), ["a=1; Path=/x; Path=/shop"])], typed(DEEP), "a=1"),
    "Secure keeps it from http": ([(typed(HTTPS), ["a=1; Secure"])], typed(HTTP), None),
    "http sets none that is Secure": ([(typed(HTTP), ["a=1; Secure"])], typed(HTTPS), None),
    "http sets one that https gets": ([(typed(HTTP), ["a=1"])], typed(HTTPS), "a=1"),
    "http does not replace a Secure one": ([(typed(HTTPS), ["a=1; Secure"]), (typed(HTTP), ["a=2"])], typed(HTTPS), "a=1"),
    "http does not delete a Secure one": ([(typed(HTTPS), ["a=1; Secure"]), (typed(HTTP), ["a=; Max-Age=0"])], typed(HTTPS), "a=1"),
    "http sets none below a Secure one": (
        [(typed(HTTPS), ["a=1; Secure"]), (typed(HTTP), ["a=2; Path=/shop"])],
        typed(DEEP),
        "a=1",
    ),
    "http sets none for the domain over a Secure one": (
        [(typed(HTTPS), ["a=1; Secure"]), (typed(f"http://{SIBLING}/"), ["a=2; Domain=shop.example"])],
        typed(HTTPS),
        "a=1",
    ),
    "http sets one above a Secure one": (
        [(typed(HTTPS), ["a=1; Secure; Path=/shop"]), (typed(HTTP), ["a=2; Path=/"])],
        typed(DEEP),
        "a=1; a=2",
    ),
    "https replaces a Secure one by one that is not": (
        [(typed(HTTPS), ["a=1; Secure"]), (typed(HTTPS), ["a=2"])],
        typed(HTTP),
        "a=2",
    ),
    "a script does not see HttpOnly": ([(typed(HTTPS), ["a=1; HttpOnly", "b=2"])], typed(HTTPS, script=True), "b=2"),
    "a script sets no HttpOnly": ([(typed(HTTPS, script=True), ["a=1; HttpOnly"])], typed(HTTPS), None),
    "a script does not replace HttpOnly": (
        [(typed(HTTPS), ["a=1; HttpOnly"]), (typed(HTTPS, script=True), ["a=2"])],
        typed(HTTPS),
        "a=1",
    ),
    "__Secure- wants Secure": ([(typed(HTTPS), ["__Secure-a=1"])], typed(HTTPS), None),
    "__Secure- with Secure": ([(typed(HTTPS), ["__Secure-a=1; Secure"])], typed(HTTPS), "__Secure-a=1"),
    "__SECURE- is the same": ([(typed(HTTPS), ["__SECURE-a=1"])], typed(HTTPS), None),
    "__Host- with all it wants": ([(typed(HTTPS), ["__Host-a=1; Secure; Path=/"])], typed(HTTPS), "__Host-a=1"),
    "__Host- wants Secure": ([(typed(HTTPS), ["__Host-a=1; Path=/"])], typed(HTTPS), None),
    "__Host- wants a Path": ([(typed(HTTPS), ["__Host-a=1; Secure"])], typed(HTTPS), None),
    "__Host- wants the Path /": ([(typed(HTTPS), ["__Host-a=1; Secure; Path=/shop"])], typed(DEEP), None),
    "__Host- bears no Domain": ([(typed(HTTPS), ["__Host-a=1; Secure; Path=/; Domain=shop.example"])], typed(HTTPS), None),
    "__host- is the same": ([(typed(HTTPS), ["__host-a=1; Secure; Path=/; Domain=shop.example"])], typed(HTTPS), None),
    "__Host- is not tossed": ([(typed(BELOW), ["__Host-a=1; Secure; Path=/; Domain=shop.example"])], typed(HTTPS), None),
    "__Host- without a name is none": ([(typed(HTTPS), ["=__Host-a=1; Secure; Path=/"])], typed(HTTPS), None),
    "__Http- wants HttpOnly": ([(typed(HTTPS), ["__Http-a=1; Secure"])], typed(HTTPS), None),
    "__Http- with all it wants": ([(typed(HTTPS), ["__Http-a=1; Secure; HttpOnly"])], typed(HTTPS), "__Http-a=1"),
    "__Host-Http- wants HttpOnly": ([(typed(HTTPS), ["__Host-Http-a=1; Secure; Path=/"])], typed(HTTPS), None),
    "__Host-Http- wants no Domain": (
        [(typed(HTTPS), ["__Host-Http-a=1; Secure; HttpOnly; Path=/; Domain=shop.example"])],
        typed(HTTPS),
        None,
    ),
    "__Host-Http- with all it wants": (
        [(typed(HTTPS), ["__Host-Http-a=1; Secure; HttpOnly; Path=/"])],
        typed(HTTPS),
        "__Host-Http-a=1",
    ),
    "Lax goes with a link": ([(typed(HTTPS), ["a=1; SameSite=Lax"])], linked(HTTPS), "a=1"),
    "Lax does not go with a form": ([(typed(HTTPS), ["a=1; SameSite=Lax"])], linked(HTTPS, method="POST"), None),
    "Lax does not go with a picture": ([(typed(HTTPS), ["a=1; SameSite=Lax"])], linked(HTTPS, top_level=False), None),
    "Strict does not go with a link": ([(typed(HTTPS), ["a=1; SameSite=Strict"])], linked(HTTPS), None),
    "Strict goes with an address": ([(typed(HTTPS), ["a=1; SameSite=Strict"])], typed(HTTPS), "a=1"),
    "None goes with a form": ([(typed(HTTPS), ["a=1; SameSite=None; Secure"])], linked(HTTPS, method="POST"), "a=1"),
    "None wants Secure": ([(typed(HTTPS), ["a=1; SameSite=None"])], typed(HTTPS), None),
    "a fresh one without SameSite goes with a form": ([(typed(HTTPS), ["a=1"])], linked(HTTPS, method="POST"), "a=1"),
    "one without SameSite does not go with a picture": ([(typed(HTTPS), ["a=1"])], linked(HTTPS, top_level=False), None),
    "the answer to a form sets Strict": ([(linked(HTTPS, method="POST"), ["a=1; SameSite=Strict"])], typed(HTTPS), "a=1"),
    "the answer to a picture sets no Lax": ([(linked(HTTPS, top_level=False), ["a=1; SameSite=Lax"])], typed(HTTPS), None),
    "the answer to a picture sets none without SameSite": ([(linked(HTTPS, top_level=False), ["a=1"])], typed(HTTPS), None),
    "a picture of the own site is of the site": (
        [(typed(HTTPS), ["a=1; SameSite=Strict"])],
        typed(HTTPS, initiator=("https", SIBLING), top_level=False),
        "a=1",
    ),
    "http is another site than https": (
        [(typed(HTTPS), ["a=1; SameSite=Strict"])],
        typed(HTTPS, initiator=("http", SIBLING), method="POST"),
        None,
    ),
    "Max-Age of 0 deletes": ([(typed(HTTPS), ["a=1"]), (typed(HTTPS), ["a=; Max-Age=0"])], typed(HTTPS), None),
    "Max-Age below 0 deletes": ([(typed(HTTPS), ["a=1"]), (typed(HTTPS), ["a=; Max-Age=-5"])], typed(HTTPS), None),
    "Max-Age that is no number is none": ([(typed(HTTPS), ["a=1; Max-Age=0x"])], typed(HTTPS), "a=1"),
    "another Path is not deleted": (
        [(typed(HTTPS), ["a=1; Path=/shop"]), (typed(HTTPS), ["a=; Max-Age=0; Path=/"])],
        typed(DEEP),
        "a=1",
    ),
    "that of the domain is not deleted by the host's": (
        [(typed(HTTPS), ["a=1; Domain=shop.example"]), (typed(HTTPS), ["a=; Max-Age=0"])],
        typed(HTTPS),
        "a=1",
    ),
    "one replaces that of its place": ([(typed(HTTPS), ["a=1"]), (typed(HTTPS), ["a=2"])], typed(HTTPS), "a=2"),
    "host and domain are two places": ([(typed(HTTPS), ["a=1", "a=2; Domain=shop.example"])], typed(HTTPS), "a=1; a=2"),
    "longer paths come first": ([(typed(HTTPS), ["a=1; Path=/", "b=2; Path=/shop"])], typed(DEEP), "b=2; a=1"),
    "older ones come first": ([(typed(HTTPS), ["b=1"]), (typed(HTTPS), ["a=2"])], typed(HTTPS), "b=1; a=2"),
    "one that is replaced keeps its age": ([(typed(HTTPS), ["a=1", "b=2"]), (typed(HTTPS), ["a=3"])], typed(HTTPS), "a=3; b=2"),
    "one that is set again keeps its age": ([(typed(HTTPS), ["a=1", "b=2"]), (typed(HTTPS), ["a=1"])], typed(HTTPS), "a=1; b=2"),
    "one that was deleted is young again": (
        [(typed(HTTPS), ["a=1", "b=2"]), (typed(HTTPS), ["a=; Max-Age=0", "a=3"])],
        typed(HTTPS),
        "b=2; a=3",
    ),
    "a name is told from another by case": ([(typed(HTTPS), ["a=1", "A=2"])], typed(HTTPS), "a=1; A=2"),
    "a value is kept to the letter": ([(typed(HTTPS), ['a="1, %20=2"'])], typed(HTTPS), 'a="1, %20=2"'),
    "one without a name is sent without": ([(typed(HTTPS), ["a"])], typed(HTTPS), "a"),
    "one of nothing is none": ([(typed(HTTPS), ["=", ";Path=/"])], typed(HTTPS), None),
    "4,096 bytes are kept": ([(typed(HTTPS), [f"a={MAX_VALUE}"])], typed(HTTPS), f"a={MAX_VALUE}"),
    "4,097 bytes are not": ([(typed(HTTPS), [f"ab={MAX_VALUE}"])], typed(HTTPS), None),
    "attributes do not count": (
        [(typed(HTTPS), [f"a={MAX_VALUE}; Path=/; Domain=shop.example; Secure; HttpOnly; SameSite=Lax"])],
        typed(HTTPS),
        f"a={MAX_VALUE}",
    ),
    "a longer one leaves the one there was": ([(typed(HTTPS), ["ab=1", f"ab={MAX_VALUE}"])], typed(HTTPS), "ab=1"),
    "an attribute of 1,025 bytes is none": ([(typed(HTTPS), [f"a=1; Path=/{'p' * 1024}"])], typed(HTTPS), "a=1"),
}

# Where Chromium goes its own way, and the model with it if it is told to.
IN_CHROMIUM = {"one that is replaced keeps its age": "b=2; a=3"}


@pytest.mark.parametrize("is_chromium", [False, True], ids=["by the rules", "as Chromium"])
@pytest.mark.parametrize("case", CASES)
def test_the_model_browser_keeps_the_rules(case: str, is_chromium: bool, clock: Clock) -> None:
    given, asked, expected = CASES[case]
    browser = Browser(clock, is_chromium=is_chromium)
    for request, set_cookies in given:
        browser.receive(request, set_cookies)
    assert browser.send(asked) == (IN_CHROMIUM.get(case, expected) if is_chromium else expected)


def test_the_model_browser_drops_a_cookie_at_its_time_and_after_400_days(clock: Clock) -> None:
    browser = Browser(clock)
    browser.receive(typed(HTTPS), ["a=1; Max-Age=60", f"b=2; Max-Age={500 * 86_400}", "c=3"])
    clock.pass_(59.999)
    assert browser.send(typed(HTTPS)) == "a=1; b=2; c=3"
    clock.pass_(0.001)
    assert browser.send(typed(HTTPS)) == "b=2; c=3"
    clock.pass_(400 * 86_400 - 60)
    assert browser.send(typed(HTTPS)) == "c=3"
    browser.close()
    assert browser.send(typed(HTTPS)) is None


def test_the_model_browser_sends_no_old_cookie_without_same_site_with_a_form(clock: Clock) -> None:
    browser = Browser(clock)
    browser.receive(typed(HTTPS), ["a=1"])
    clock.pass_(121)
    assert browser.send(linked(HTTPS, method="POST")) is None
    assert browser.send(linked(HTTPS)) == "a=1"


def test_a_crowded_model_browser_drops_those_without_secure_first_then_those_used_longest_ago(clock: Clock) -> None:
    browser = Browser(clock, max_per_domain=3, max_in_all=4)
    browser.receive(typed(HTTPS), ["a=1; Secure", "b=2; Secure", "c=3; Path=/shop"])
    assert browser.send(typed(HTTPS)) == "a=1; b=2"
    browser.receive(typed(HTTPS), ["d=4; Secure"])
    assert browser.send(typed(DEEP)) == "a=1; b=2; d=4", "the one without Secure went"
    browser.receive(typed(HTTPS), ["a=5; Secure", "e=6; Secure"])
    assert browser.send(typed(HTTPS)) == "a=5; d=4; e=6", "the one used longest ago went"
    browser.receive(typed(BELOW), ["f=7"])
    browser.receive(typed("https://news.test/"), ["g=8"])
    assert browser.send(typed(HTTPS)) == "d=4; e=6", "of all, likewise"
    assert browser.send(typed(BELOW)) == "f=7"
