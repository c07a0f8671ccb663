"""What is written goes out, or an error says that it does not: where requests, jars and middlewares meet in unusual ways."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from webob import Request, Response

from clientsession import (
    ConfigurationError,
    HeaderJar,
    Jar,
    Key,
    Keyring,
    Reason,
    SerializationError,
    SessionCommittedError,
    Sessions,
    SessionTooLargeError,
)
from clientsession.migrate import OldSession, Reader
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import Clock

OLD, NEW = Key.from_secret(bytes(range(32))), Key.from_secret(bytes(range(1, 33)))
OWN, LATER = Keyring(OLD), Keyring(NEW, retiring=[OLD])
DAY = timedelta(days=1)
DEADLINE_SECONDS = 20


def cookies_of(response: Response) -> list[str]:
    return response.headers.getall("Set-Cookie")


def pair(set_cookie: str) -> str:
    return set_cookie.partition(";")[0]


def sealed(jar: Jar, **content: Any) -> str:
    sessions = Sessions([jar], None)
    sessions[jar.name].update(content)
    return pair(sessions.commit()[0])


# Two users of the sessions of one request


def test_a_write_stays_where_another_thread_used_the_jar_first_at_the_same_time() -> None:
    asked, answer, now = threading.Event(), threading.Event(), [0.0]

    def source() -> Keyring:
        if now[0]:  # the second time it takes long
            asked.set()
            assert answer.wait(DEADLINE_SECONDS)
        return OWN

    jar = Jar("session", Keyring.from_source(source, every=timedelta(seconds=1), clock=lambda: now[0]))
    now[0] = 2.0
    sessions = Sessions([jar], None)
    reader = threading.Thread(target=lambda: sessions["session"].get("theme"))
    reader.start()
    assert asked.wait(DEADLINE_SECONDS)
    sessions["session"]["user"] = 7
    answer.set()
    reader.join(DEADLINE_SECONDS)
    assert dict(sessions["session"]) == {"user": 7}
    (cookie,) = sessions.commit()
    assert Sessions([jar], pair(cookie))["session"] == {"user": 7}


def test_what_an_observer_writes_while_a_session_is_opened_stays() -> None:
    told: list[Any] = []

    def observe(event: Any) -> None:
        told.append(event)
        if len(told) == 1:  # what it uses is opened, and told of, once more
            sessions["session"]["seen"] = True

    jar = Jar("session", OWN, observer=observe)
    sessions = Sessions([jar], sealed(Jar("session", OWN), user=7))
    assert sessions["session"] == {"user": 7, "seen": True}
    (cookie,) = sessions.commit()
    assert Sessions([jar], pair(cookie))["session"] == {"user": 7, "seen": True}


# Sub-requests


def around_a_sub_request(jars: list[Any], below: Callable[[Sessions], object], above: Callable[[Sessions], object]) -> Any:
    """An application that uses its sessions, then answers with what a request to itself answers."""

    def app(environ: Any, start_response: Any) -> Any:
        sessions = get_sessions(environ)
        if environ["PATH_INFO"] == "/below":
            below(sessions)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"below"]
        above(sessions)
        return middleware(dict(environ, PATH_INFO="/below"), start_response)

    middleware = SessionMiddleware(app, jars)
    return middleware


def fill_cart(sessions: Sessions) -> None:
    sessions["session"]["cart"] = ["book"]


def look(sessions: Sessions) -> None:
    sessions["session"].get("user")


SETTINGS: dict[str, tuple[Keyring, dict[str, Any]]] = {
    "as ever": (OWN, {}),
    "while its key retires": (LATER, {}),
    "near its end": (OWN, {"active_duration": DAY, "duration": DAY}),
}


def a_visitor(options: dict[str, Any]) -> Request:
    """Whose session was sealed an hour ago."""
    cookie = sealed(Jar("session", OWN, clock=lambda: time.time() - 3600, **options), user=7)
    return Request.blank("/", base_url="https://shop.example", headers={"Cookie": cookie})


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_a_sub_request_writes_goes_out_though_the_request_around_it_read(setting: str) -> None:
    ring, options = SETTINGS[setting]
    jar = Jar("session", ring, **options)
    response = a_visitor(options).get_response(around_a_sub_request([jar], fill_cart, look))
    (cookie,) = cookies_of(response)
    assert Sessions([jar], pair(cookie))["session"] == {"user": 7, "cart": ["book"]}
    assert response.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_sign_out_in_a_sub_request_goes_out_though_the_request_around_it_read(setting: str) -> None:
    ring, options = SETTINGS[setting]
    jar = Jar("session", ring, **options)
    response = a_visitor(options).get_response(around_a_sub_request([jar], lambda sessions: sessions["session"].destroy(), look))
    (cookie,) = cookies_of(response)
    assert cookie.startswith("session=; Max-Age=0")


def test_what_a_sub_request_writes_into_a_header_jar_goes_out_too() -> None:
    token = Sessions([HeaderJar("session", OWN)], None, headers={})
    token["session"]["user"] = 7
    ((name, value),) = token.commit_headers()
    jar = HeaderJar("session", LATER)
    request = Request.blank("/", base_url="https://shop.example", headers={name: value})
    response = request.get_response(around_a_sub_request([jar], fill_cart, look))
    (fresh,) = response.headers.getall(name)
    assert Sessions([jar], None, headers={name: fresh})["session"] == {"user": 7, "cart": ["book"]}


def test_of_two_writes_the_one_of_the_request_itself_goes_out_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    jar = Jar("session", OWN)
    request = Request.blank("/", base_url="https://shop.example", headers={"Cookie": sealed(jar, user=7)})
    above = lambda sessions: sessions["session"].update(user=8)  # noqa: E731
    response = request.get_response(around_a_sub_request([jar], fill_cart, above))
    (cookie,) = cookies_of(response)
    assert Sessions([jar], pair(cookie))["session"] == {"user": 8}
    assert "belongs to a jar" in caplog.text


def test_a_cookie_that_the_application_made_up_does_not_keep_the_session_from_being_sealed_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jar = Jar("session", LATER)

    def app(environ: Any, start_response: Any) -> Any:
        look(get_sessions(environ))
        start_response("200 OK", [("Set-Cookie", "session=mine; Path=/")])
        return []

    request = Request.blank("/", base_url="https://shop.example", headers={"Cookie": sealed(Jar("session", OWN), user=7)})
    (cookie,) = cookies_of(request.get_response(SessionMiddleware(app, [jar])))
    assert Sessions([jar], pair(cookie))["session"] == {"user": 7}
    assert "belongs to a jar" in caplog.text


def test_a_deletion_in_a_former_place_does_not_take_a_fresh_cookie_away() -> None:
    jar = Jar("session", OWN, former_scopes=[("/old", None)])
    two = f"{sealed(jar, user=7)}; {sealed(jar, user=8)}"  # nobody knows which one is the session
    request = Request.blank("/", base_url="https://shop.example", headers={"Cookie": two})
    cookies = cookies_of(request.get_response(around_a_sub_request([jar], fill_cart, look)))
    kept = [cookie for cookie in cookies if "Max-Age=0" not in cookie]
    assert len(kept) == 1
    assert Sessions([jar], pair(kept[0]))["session"] == {"cart": ["book"]}
    assert any("Path=/old" in cookie for cookie in cookies)


# Two jars that fail


def test_of_two_jars_that_fail_the_error_tells_of_both(caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions([Jar("cart", OWN), Jar("session", OWN), Jar("theme", OWN)], None)
    sessions["cart"]["items"] = "x" * 5000
    sessions["session"]["user"] = object()
    sessions["theme"]["dark"] = True
    with pytest.raises(SessionTooLargeError) as caught:
        sessions.commit()
    (note,) = caught.value.__notes__
    assert note.startswith("The session 'session' was given up too: ")
    assert "user" in note
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the session session was given up beside another, by SerializationError"
    ]
    assert [pair(cookie).partition("=")[0] for cookie in sessions.commit()] == ["theme"]


def test_of_one_jar_that_fails_nothing_more_is_said(caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions([Jar("session", OWN)], None)
    sessions["session"]["user"] = object()
    with pytest.raises(SerializationError) as caught:
        sessions.commit()
    assert not hasattr(caught.value, "__notes__")
    assert caplog.text == ""


# What a reader of one's own gives


class FromAStore(Reader):
    """Sessions by their names in a store that stays."""

    store: dict[str, dict[str, Any]]
    over: str | None

    def __init__(self, store: dict[str, dict[str, Any]], over: str | None = None) -> None:
        super().__init__("sid")
        self._freeze(store=store, over=over)

    def read(self, value: str, now: int) -> OldSession | None:
        content = self.store.get(value)
        return None if content is None else OldSession(content, None, now - 1 if value == self.over else None)


def test_what_one_user_writes_into_a_migrated_session_is_in_nobody_else_s(clock: Clock) -> None:
    shared: dict[str, Any] = {"card": None}
    store = {"alice": {"user": "alice", "prefs": shared}, "bob": {"user": "bob", "prefs": shared}}
    jar = Jar("session", OWN, clock=clock, migrate_from=[FromAStore(store)])
    Sessions([jar], "sid=alice")["session"]["prefs"]["card"] = "hers"
    assert Sessions([jar], "sid=bob")["session"] == {"user": "bob", "prefs": {"card": None}}
    assert shared == {"card": None}


# When the application fails


def fails(environ: Any, start_response: Any) -> Any:
    get_sessions(environ)["session"]["flash"] = "nearly done"
    raise ZeroDivisionError


@pytest.fixture
def after_a_failure() -> Sessions:
    environ = Request.blank("/").environ
    with pytest.raises(ZeroDivisionError):
        SessionMiddleware(fails, [Jar("session", OWN), Jar("cart", OWN)])(environ, lambda *given: None)
    return get_sessions(environ)


@pytest.mark.parametrize("name", ["session", "cart"])  # the one that was used, and one that was not
def test_after_the_application_failed_a_write_is_an_error_and_reading_is_none(after_a_failure: Sessions, name: str) -> None:
    assert after_a_failure[name].get("user") is None
    with pytest.raises(SessionCommittedError, match="given up with an error"):
        after_a_failure[name]["flash"] = "sorry"


def test_after_the_application_failed_nothing_is_sent(after_a_failure: Sessions) -> None:
    assert after_a_failure.commit() == []


def test_an_application_that_failed_in_its_body_keeps_what_it_sent() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        get_sessions(environ)["session"]["user"] = 7
        start_response("200 OK", [])
        yield b"x"
        raise ZeroDivisionError

    sent: list[Any] = []
    body = iter(SessionMiddleware(app, [Jar("session", OWN)])(Request.blank("/").environ, lambda *given: sent.append(given)))
    assert next(body) == b"x"
    with pytest.raises(ZeroDivisionError):
        next(body)
    assert [name for name, _ in sent[0][1]].count("Set-Cookie") == 1


# Middlewares one after the other


def test_two_middlewares_of_one_jar_may_be_tried_one_after_the_other() -> None:
    def missing(environ: Any, start_response: Any) -> Any:
        look(get_sessions(environ))
        start_response("404 Not Found", [])
        return []

    def found(environ: Any, start_response: Any) -> Any:
        fill_cart(get_sessions(environ))
        start_response("200 OK", [])
        return []

    jar = Jar("session", OWN)
    apps = [SessionMiddleware(missing, [jar]), SessionMiddleware(found, [jar])]

    def cascade(environ: Any, start_response: Any) -> Any:
        for app in apps:
            answers: list[Any] = []
            body = app(environ, lambda *given: answers.append(given))
            if not answers[0][0].startswith("404"):
                break
        start_response(*answers[0])
        return body

    (cookie,) = cookies_of(Request.blank("/", base_url="https://shop.example").get_response(cascade))
    assert Sessions([jar], pair(cookie))["session"] == {"cart": ["book"]}


def test_sessions_that_no_middleware_made_are_not_taken_for_a_middleware_s() -> None:
    environ = Request.blank("/").environ | {"clientsession.sessions": Sessions([Jar("cart", OWN)], None)}
    with pytest.raises(ConfigurationError, match="which no SessionMiddleware put there"):
        SessionMiddleware(fails, [Jar("session", OWN)])(environ, lambda *given: None)


class WritesAlone:
    """A serializer that does not read what it wrote."""

    def dumps(self, value: dict[str, Any]) -> bytes:
        return b"{}" if not value else b'{"n":1}'

    def loads(self, body: bytes) -> Any:
        raise ValueError


def test_what_the_serializer_cannot_read_back_is_no_session_from_elsewhere(clock: Clock) -> None:
    store = {"alice": {"user": "alice"}, "over": {"user": "bob"}}
    jar = Jar("session", OWN, clock=clock, serializer=WritesAlone(), migrate_from=[FromAStore(store, over="over")])
    session = Sessions([jar], "sid=alice")["session"]
    assert (dict(session), session.refusal) == ({}, Reason.MALFORMED)
    assert Sessions([jar], "sid=over")["session"].refusal is Reason.EXPIRED
    # Of the two, what was not over got further.
    assert Sessions([jar], "sid=over; sid=alice")["session"].refusal is Reason.MALFORMED
