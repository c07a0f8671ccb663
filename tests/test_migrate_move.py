"""A move under load: 500 users are signed in to an application on another system, it is put on ours, and nobody is logged out.

``pytest -s tests/test_migrate_move.py`` prints the numbers.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from clientsession import Jar, Key, Keyring
from clientsession._events import Event, EventKind
from clientsession._migration import Reader
from clientsession.migrate.django import django_signed_cookies
from clientsession.migrate.pyramid import pyramid_signed
from clientsession.migrate.signed import flask, itsdangerous_timed, starlette
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import max_age_of
from tests.signed_peers import (
    SALT,
    SECRET,
    DjangoSite,
    FlaskSite,
    ItsdangerousSite,
    PyramidSite,
    StarletteSite,
)
from tests.strict_wsgi import make_environ

USERS = 500
THREADS = 8
WORKERS = 3
TABS = 2  # requests of one user at the same time

MOVES: dict[str, tuple[Callable[[], Any], Callable[[], Reader]]] = {
    "flask": (FlaskSite, lambda: flask(SECRET)),
    "django": (DjangoSite, lambda: django_signed_cookies(SECRET)),
    "starlette": (StarletteSite, lambda: starlette(SECRET)),
    "pyramid": (PyramidSite, lambda: pyramid_signed(SECRET)),
    "itsdangerous": (
        ItsdangerousSite,
        lambda: itsdangerous_timed(SECRET, salt=SALT, cookie_name="visits", max_age=timedelta(days=1)),
    ),
}


@dataclass
class Browser:
    """One user's; its tabs share the cookies."""

    user: int
    cookies: dict[str, str]
    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: list[Any] = field(default_factory=list)
    """Who the application took each request to be from."""

    def request(self, application: Callable[..., Any]) -> None:
        with self.lock:
            header = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers: list[tuple[str, str]] = []
        body = application(make_environ(cookie=header, path=f"/{self.user}"), lambda _, given, exc_info=None: headers.extend(given))
        with self.lock:
            self.seen.append(b"".join(body).decode())
            for name, line in headers:
                if name == "Set-Cookie":
                    cookie, _, value = line.partition(";")[0].partition("=")
                    if max_age_of(line) == 0:
                        self.cookies.pop(cookie, None)
                    else:
                        self.cookies[cookie] = value

    def lost(self) -> int:
        """How many requests were of somebody else than this user; forgets them."""
        seen, self.seen = self.seen, []
        assert seen
        return sum(who != f"user {self.user}, 3 in the cart" for who in seen)


def shop(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The application: every third user's visits are counted, the others' sessions are only read."""
    session = get_sessions(environ)["session"]
    if "user" in session and session["user"] % 3 == 0:
        session["visits"] = session.get("visits", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"user {session.get('user')}, {len(session.get('cart', ()))} in the cart".encode()]


def deploy(key: str, events: list[Event], readers: Callable[[], Sequence[Reader]]) -> list[Callable[..., Any]]:
    """The workers of one release: each has its own objects, made from the same configuration."""
    workers = []
    for _ in range(WORKERS):
        jar = Jar("session", Keyring(Key.parse(key)), migrate_from=readers(), observer=events.append)
        workers.append(SessionMiddleware(shop, [jar]))
    return workers


def load(browsers: list[Browser], workers: list[Callable[..., Any]], tabs: int = TABS) -> int:
    """Every user sends some requests, in a random order, to whichever worker; how many of them lost their session."""
    requests = [browser for browser in browsers for _ in range(tabs)]
    random.Random(4).shuffle(requests)
    turns = itertools.cycle(workers)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda pair: pair[0].request(pair[1]), [(browser, next(turns)) for browser in requests]))
    return sum(browser.lost() for browser in browsers)


@pytest.mark.parametrize("system", MOVES)
def test_a_move_under_load_logs_nobody_out(system: str) -> None:
    make_site, make_reader = MOVES[system]
    site, reader = make_site(), make_reader()
    key = Key.generate().export()
    browsers = []
    for user in range(USERS):
        value = site.visit(lambda session, user=user: session.update({"user": user, "cart": ["a", {"b": 2}, None]}))
        browsers.append(Browser(user, {reader.cookie_name: value}))
        known: list[Any] = []
        site.visit(lambda session, known=known: known.append(session["user"]), value)
        assert known == [user]
    before = [dict(browser.cookies) for browser in browsers]

    events: list[Event] = []
    start = time.perf_counter()
    first = load(browsers, deploy(key, events, lambda: [make_reader()]))
    took = time.perf_counter() - start
    assert first == 0
    # Every user left in the new form, and the old cookie is gone.
    assert all(list(browser.cookies) == ["session"] for browser in browsers)
    assert all(browser.cookies != old for browser, old in zip(browsers, before, strict=True))
    kinds = [event.kind for event in events]
    assert kinds.count(EventKind.REFUSED) == 0
    assert kinds.count(EventKind.MIGRATED) >= 2 * USERS // 3 - 1  # those who only read
    assert kinds.count(EventKind.MIGRATED) + kinds.count(EventKind.SEALED) >= USERS

    # The next release has no reader.
    events.clear()
    second = load(browsers, deploy(key, events, list), tabs=1)
    assert second == 0
    kinds = [event.kind for event in events]
    assert kinds.count(EventKind.OPENED) == USERS
    assert EventKind.MIGRATED not in kinds
    assert EventKind.REFUSED not in kinds
    third = load(browsers, deploy(key, events, list))
    assert third == 0
    print(f"\n{system}: {USERS} users, {TABS * USERS} requests on {WORKERS} workers with the reader, {first} lost, {took:.2f} s;")
    print(f"{' ' * len(system)}  the reader removed, {(1 + TABS) * USERS} requests, {second + third} lost")

    # Those who did not come in between are who the reader was for: a cookie in the old form is a stranger's now.
    late = [Browser(browser.user, old) for browser, old in zip(browsers, before, strict=True)]
    assert load(late, deploy(key, events, list), tabs=1) == USERS


def test_what_was_written_during_the_move_is_kept() -> None:
    key = Key.generate().export()
    value = FlaskSite().visit(lambda session: session.update({"user": 3, "cart": [1, 2, 3]}))
    assert value is not None
    browser = Browser(3, {"session": value})
    for readers in ([flask(SECRET)], [flask(SECRET)], [], []):
        for worker in deploy(key, [], lambda readers=readers: readers):
            browser.request(worker)
    assert browser.lost() == 0
    visits: list[int] = []
    jar = Jar("session", Keyring(Key.parse(key)))

    def look(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        visits.append(get_sessions(environ)["session"]["visits"])
        start_response("200 OK", [])
        return []

    browser.request(SessionMiddleware(look, [jar]))
    assert visits == [4 * WORKERS]
