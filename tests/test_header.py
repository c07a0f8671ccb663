"""HeaderJar: a session in a request header, by itself, through the middleware, and under a real server."""

from __future__ import annotations

import http.client
import json
import logging
import sys
import threading
import time
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from wsgiref.validate import validator

import pytest
import waitress
import webob
from hypothesis import given
from hypothesis import strategies as st
from webob.multidict import MultiDict

from clientsession import (
    Codec,
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
from clientsession._events import Event, EventKind
from clientsession._jar import AnyJar
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import Clock, cookie_of, forged
from tests.strict_wsgi import Exchange, make_environ, serve

App = Callable[..., Any]

RING = Keyring(Key.generate())
HOUR = timedelta(hours=1)
TOKEN = "X-Session-Token"
AUTHORIZATION = "Authorization"


class Caller:
    """A client without cookies: it sends the token it was given last, and forgets it when an empty one comes."""

    def __init__(self, jar: HeaderJar) -> None:
        self.jar = jar
        self.token = ""
        self.answers: list[tuple[str, str]] = []
        """The headers of the last response."""

    @property
    def headers(self) -> dict[str, str]:
        if not self.token:
            return {}
        return {self.jar.header: f"Bearer {self.token}" if self.jar.header == AUTHORIZATION else self.token}

    @contextmanager
    def visit(self) -> Iterator[Sessions]:
        sessions = Sessions([self.jar], None, headers=self.headers)
        yield sessions
        self.answers = sessions.commit_headers()
        for name, value in self.answers:
            assert name == self.jar.answer_header
            self.token = value.removeprefix("Bearer ")


@pytest.fixture(params=[TOKEN, AUTHORIZATION])
def header(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def jar(ring: Keyring, header: str, clock: Clock, events: list[Event]) -> HeaderJar:
    return HeaderJar("api", ring, header=header, clock=clock, observer=events.append)


@pytest.fixture
def caller(jar: HeaderJar, events: list[Event]) -> Caller:
    """A client that is signed in."""
    caller = Caller(jar)
    with caller.visit() as sessions:
        sessions["api"] |= {"user": 7, "tags": ["a"]}
    events.clear()
    return caller


def opened(jar: HeaderJar, value: str | None) -> Any:
    return Sessions([jar], None, headers={jar.header: value})["api"]


def as_sent(jar: HeaderJar, token: str) -> str:
    return f"Bearer {token}" if jar.header == AUTHORIZATION else token


# ---------------------------------------------------------------------------------------------------------------------
# The same session, and the same semantics
# ---------------------------------------------------------------------------------------------------------------------


def test_a_token_comes_with_the_first_write_and_opens_in_the_next_request(caller: Caller) -> None:
    assert len(caller.answers) == 1
    with caller.visit() as sessions:
        session = sessions["api"]
        assert session == {"user": 7, "tags": ["a"]}
        assert (session.is_new, session.refusal) == (False, None)
        assert session.key_id == caller.jar.keyring.sealing.id
    assert caller.answers == []


def test_the_answer_s_form_is_that_of_the_request(caller: Caller, header: str) -> None:
    ((name, value),) = caller.answers
    assert name == header
    assert value == as_sent(caller.jar, caller.token)
    assert caller.jar.codec.decode(caller.token) == {"user": 7, "tags": ["a"]}


def test_a_fresh_token_comes_only_when_the_session_changed(caller: Caller) -> None:
    first = caller.token
    with caller.visit() as sessions:
        sessions["api"]["user"] = 7
        sessions["api"]["tags"].append("b")
        sessions["api"]["tags"].pop()
    assert caller.answers == []
    with caller.visit() as sessions:
        sessions["api"]["tags"].append("b")
    assert len(caller.answers) == 1
    assert caller.token != first
    with caller.visit() as sessions:
        assert sessions["api"]["tags"] == ["a", "b"]


def test_an_untouched_session_is_not_opened_and_answers_nothing(caller: Caller) -> None:
    with caller.visit() as sessions:
        assert "api" in sessions
    assert caller.answers == []
    assert not sessions.accessed
    assert sessions.vary == ()


def test_no_session_at_first_is_no_refusal(jar: HeaderJar) -> None:
    for headers in ({}, {jar.header: ""}, {jar.header: " \t"}, {jar.header: None}, {"Accept": "*/*"}):
        sessions = Sessions([jar], None, headers=headers)
        session = sessions["api"]
        assert (session, session.is_new, session.key_id, session.refusal) == ({}, True, None, None)
        assert sessions.commit_headers() == []


@pytest.mark.parametrize("leave", [lambda s: s.clear(), lambda s: s.destroy(), lambda s: s.reset()])
def test_a_session_left_empty_is_deleted_by_an_empty_header(caller: Caller, leave: Callable[[Any], None]) -> None:
    with caller.visit() as sessions:
        leave(sessions["api"])
    assert caller.answers == [(caller.jar.header, "")]
    with caller.visit() as sessions:
        assert sessions["api"].is_new


def test_destroying_what_did_not_come_or_did_not_open(jar: HeaderJar) -> None:
    sessions = Sessions([jar], None, headers={})
    sessions["api"].destroy()
    assert sessions.commit_headers() == []
    for junk in ("junk", "A" * 70_000):
        sessions = Sessions([jar], None, headers={jar.header: as_sent(jar, junk)})
        sessions["api"].destroy()
        assert sessions.commit_headers() == [(jar.header, "")]


def test_an_id_and_a_reset_work_as_in_a_cookie(caller: Caller) -> None:
    with caller.visit() as sessions:
        first = sessions["api"].id
    with caller.visit() as sessions:
        assert sessions["api"].id == first
        sessions["api"].reset(keep=("user",))
        assert sessions["api"].id != first
    with caller.visit() as sessions:
        assert sessions["api"] == {"user": 7}


def test_a_refused_token_is_left_alone_by_a_read_and_replaced_by_a_write(caller: Caller) -> None:
    caller.token = forged(caller.token)
    with caller.visit() as sessions:
        assert sessions["api"].refusal is Reason.FORGED
    assert caller.answers == []
    with caller.visit() as sessions:
        sessions["api"]["user"] = 8
    with caller.visit() as sessions:
        assert sessions["api"] == {"user": 8}


def test_lifetimes_are_those_of_a_jar(ring: Keyring, header: str, clock: Clock) -> None:
    minutes = timedelta(minutes=1)
    jar = HeaderJar("api", ring, header=header, clock=clock, duration=10 * minutes, active_duration=5 * minutes, max_duration=HOUR)
    assert (jar.duration, jar.active_duration, jar.max_duration) == (10 * minutes, 5 * minutes, HOUR)
    caller = Caller(jar)
    with caller.visit() as sessions:
        sessions["api"]["user"] = 7
        start = sessions["api"].created_at
    clock.pass_(4 * 60)
    with caller.visit() as sessions:
        assert sessions["api"].expires_at - start == 10 * minutes
    assert caller.answers == []
    clock.pass_(2 * 60)
    with caller.visit() as sessions:
        assert sessions["api"].expires_at - start == 15 * minutes
    assert len(caller.answers) == 1, "used with less than active_duration left, and so its end moved on"
    clock.pass_(9 * 60)
    with caller.visit() as sessions:
        assert sessions["api"].refusal is Reason.EXPIRED
    assert caller.answers == []
    with caller.visit() as sessions:
        sessions["api"].set_duration(timedelta(hours=2))
        sessions["api"]["user"] = 8
    with caller.visit() as sessions:
        assert sessions["api"].expires_at - sessions["api"].created_at == HOUR


def test_a_token_from_the_future_is_refused(caller: Caller, clock: Clock) -> None:
    clock.pass_(-61)
    with caller.visit() as sessions:
        assert sessions["api"].refusal is Reason.FUTURE


def test_a_token_of_a_retiring_key_is_sealed_anew_when_read(header: str, clock: Clock, events: list[Event]) -> None:
    old, new = Key.generate(), Key.generate()
    caller = Caller(HeaderJar("api", Keyring(old), header=header, clock=clock))
    with caller.visit() as sessions:
        sessions["api"]["user"] = 7
    caller.jar = HeaderJar("api", Keyring(new, retiring=[old]), header=header, clock=clock, observer=events.append)
    with caller.visit() as sessions:
        assert sessions["api"].key_id == old.id
    assert len(caller.answers) == 1
    assert [event.kind for event in events] == [EventKind.OPENED, EventKind.RESEALED]
    caller.jar = HeaderJar("api", Keyring(new), header=header, clock=clock)
    with caller.visit() as sessions:
        assert sessions["api"] == {"user": 7}
    assert caller.answers == []


def test_after_the_commit_the_session_is_closed(caller: Caller) -> None:
    with caller.visit() as sessions:
        session = sessions["api"]
        session["user"] = 8
    assert sessions.commit_headers() == caller.answers
    with pytest.raises(SessionCommittedError):
        session["user"] = 9
    with caller.visit() as sessions:
        pass
    with pytest.raises(SessionCommittedError, match="used for the first time after"):
        sessions["api"]


def test_what_is_no_json_raises_and_answers_nothing(caller: Caller) -> None:
    sessions = Sessions([caller.jar], None, headers=caller.headers)
    sessions["api"]["when"] = object()
    with pytest.raises(SerializationError, match="when is of type object"):
        sessions.commit_headers()
    assert sessions.commit_headers() == []


def test_the_largest_token_has_4096_characters_and_a_larger_session_is_an_error(caller: Caller) -> None:
    letters = 4096 * 3 // 4 - 58 - len('{"user":""}')
    with caller.visit() as sessions:
        sessions["api"].reset()
        sessions["api"]["user"] = "x" * letters
        assert (sessions["api"].size, sessions["api"].size_left) == (4096, 0)
    assert len(caller.token) == 4096
    with caller.visit() as sessions:
        assert sessions["api"]["user"] == "x" * letters
    sessions = Sessions([caller.jar], None, headers=caller.headers)
    sessions["api"]["user"] += "x"
    with pytest.raises(SessionTooLargeError) as caught:
        sessions.commit_headers()
    assert (caught.value.name, caught.value.size, caught.value.limit) == ("api", 4098, 4096)


def test_compress_and_pad_to_work_as_in_a_jar(header: str) -> None:
    for options in ({"compress": True}, {"pad_to": 512}):
        caller = Caller(HeaderJar("api", RING, header=header, **options))
        with caller.visit() as sessions:
            sessions["api"]["text"] = "a" * 400
        assert (len(caller.token) < 200) == ("compress" in options)
        with caller.visit() as sessions:
            assert sessions["api"] == {"text": "a" * 400}
        assert caller.answers == []


def test_a_serializer_of_one_s_own_is_used(header: str) -> None:
    class Loose:
        def dumps(self, value: dict[str, Any]) -> bytes:
            return json.dumps(value, default=str).encode()

        def loads(self, body: bytes) -> dict[str, Any]:
            return json.loads(body)

    caller = Caller(HeaderJar("api", RING, header=header, serializer=Loose()))
    with caller.visit() as sessions:
        sessions["api"]["every"] = timedelta(hours=1)
    with caller.visit() as sessions:
        assert sessions["api"] == {"every": "1:00:00"}


# Events


def test_events_tell_what_happened_with_the_bytes_of_the_token(caller: Caller, events: list[Event]) -> None:
    key_id = caller.jar.keyring.sealing.id
    first = len(caller.token)
    with caller.visit() as sessions:
        sessions["api"]["user"] = 8
    assert events == [
        Event(EventKind.OPENED, "api", None, key_id, first),
        Event(EventKind.SEALED, "api", None, key_id, len(caller.token)),
    ]
    events.clear()
    with caller.visit() as sessions:
        sessions["api"].destroy()
    assert events[1:] == [Event(EventKind.DELETED, "api")]
    events.clear()
    assert opened(caller.jar, as_sent(caller.jar, "junk")).refusal is Reason.MALFORMED
    assert events == [Event(EventKind.REFUSED, "api", Reason.MALFORMED, None, 4)]


def test_a_token_too_large_is_told(caller: Caller, events: list[Event]) -> None:
    with pytest.raises(SessionTooLargeError):
        with caller.visit() as sessions:
            sessions["api"]["text"] = "x" * 5000
    assert events[-1].kind is EventKind.TOO_LARGE


def test_a_refusal_is_logged_without_the_token(jar: HeaderJar, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="clientsession"):
        opened(jar, as_sent(jar, "geheim" * 20))
    assert "jar=api reason=malformed" in caplog.text
    assert "geheim" not in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# What opens where
# ---------------------------------------------------------------------------------------------------------------------


def test_a_cookie_or_a_codec_s_token_never_opens_in_a_header_nor_the_other_way_round(ring: Keyring, header: str) -> None:
    jar = HeaderJar("session", ring, header=header)
    codecs = {"header": jar.codec, "cookie": Jar("session", ring).codec, "token": Codec(ring, "session")}
    assert {kind: codec.kind for kind, codec in codecs.items()} == {kind: kind for kind in codecs}
    for kind, codec in codecs.items():
        token = codec.encode({"user": 7})
        found = Sessions([jar], None, headers={header: as_sent(jar, token)})["session"]
        cookie = Sessions([Jar("session", ring)], f"session={token}")["session"]
        assert (found == {"user": 7}) == (kind == "header")
        assert (cookie == {"user": 7}) == (kind == "cookie")
        assert {found.refusal, cookie.refusal} <= {None, Reason.FORGED}


def test_a_token_of_another_name_or_audience_is_refused(ring: Keyring, header: str) -> None:
    jar = HeaderJar("api", ring, header=header, audience="eu")
    for other in (HeaderJar("app", ring, audience="eu"), HeaderJar("api", ring, audience="us"), HeaderJar("api", ring)):
        assert opened(jar, as_sent(jar, other.codec.encode({"user": 7}))).refusal is Reason.FORGED
    other = HeaderJar("api", ring, header="X-Other", audience="eu")
    assert opened(jar, as_sent(jar, other.codec.encode({"user": 7}))) == {"user": 7}, "the header's name is not bound, the jar's is"


def test_the_kind_of_a_header_s_token_is_header() -> None:
    assert HeaderJar("api", RING).codec.kind == "header"


# ---------------------------------------------------------------------------------------------------------------------
# What comes in a header
# ---------------------------------------------------------------------------------------------------------------------


def test_the_name_of_a_header_is_found_in_any_case(jar: HeaderJar) -> None:
    value = as_sent(jar, jar.codec.encode({"user": 7}))
    for name in (jar.header.lower(), jar.header.upper(), jar.header):
        for headers in ({name: value}, UserDict({name: value})):
            assert Sessions([jar], None, headers=headers)["api"] == {"user": 7}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR  ", "Bearer\t", " Bearer   \t"])
def test_bearer_is_found_in_any_case_and_with_any_space(scheme: str) -> None:
    jar = HeaderJar("api", RING, header=AUTHORIZATION)
    assert opened(jar, f"{scheme}{jar.codec.encode({'user': 7})}  ") == {"user": 7}


@pytest.mark.parametrize(
    "value",
    [
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Basic",
        "Bearer",
        "Bearer ",
        'Digest username="a, b", realm="Bearer x", nonce="\\", Bearer y"',
        'Digest username="a\\\\", uri="/"',
        'Digest opaque="never closed, Bearer x',
        "Negotiate YII=",
        "BearerToken",
        "Token {token}",
        "{token}",
        "DPoP {token}",
        "MAC id=1, mac=2",
        ",,, ,",
        "Bearer,",
        "bearer-{token}",
    ],
)
def test_another_scheme_of_authorization_is_none_of_ours_and_no_refusal(value: str, events: list[Event]) -> None:
    jar = HeaderJar("api", RING, header=AUTHORIZATION, observer=events.append)
    session = opened(jar, value.replace("{token}", jar.codec.encode({"user": 7})))
    assert (session, session.is_new, session.refusal) == ({}, True, None)
    assert events == []


@pytest.mark.parametrize(
    "value",
    [
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Bearer {token}",
        "Bearer {token},Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        'Digest username="a, b", uri="/",Bearer {token}',
    ],
)
def test_a_bearer_beside_another_scheme_is_ours(value: str) -> None:
    jar = HeaderJar("api", RING, header=AUTHORIZATION)
    assert opened(jar, value.replace("{token}", jar.codec.encode({"user": 7}))) == {"user": 7}


@pytest.mark.parametrize(
    "value", ["Bearer {token} x", "Bearer Bearer {token}", 'Bearer "{token}"', "Bearer eyJhbGciOiJub25lIn0.e30."]
)
def test_a_bearer_of_another_form_is_refused(value: str) -> None:
    jar = HeaderJar("api", RING, header=AUTHORIZATION)
    assert opened(jar, value.replace("{token}", jar.codec.encode({"user": 7}))).refusal is Reason.MALFORMED


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\r", "\n", "\u2003"])
def test_no_other_space_is_stripped(space: str, jar: HeaderJar) -> None:
    token = jar.codec.encode({"user": 7})
    for value in (f"{token}{space}", f"{space}{token}"):
        assert opened(jar, as_sent(jar, value)).refusal is Reason.MALFORMED


def test_of_several_tokens_the_one_that_opens_is_taken(jar: HeaderJar) -> None:
    token = jar.codec.encode({"user": 7})
    stranger = HeaderJar("api", Keyring(Key.generate())).codec.encode({"user": 9})
    for values in ([token, "junk"], ["junk", token], [token, token], [stranger, token], [forged(token), "", token]):
        assert opened(jar, ", ".join(as_sent(jar, value) for value in values)) == {"user": 7}
        assert opened(jar, ",".join(as_sent(jar, value) for value in values)) == {"user": 7}


def test_of_several_tokens_that_open_none_is_taken(caller: Caller, events: list[Event]) -> None:
    other = caller.jar.codec.encode({"user": 8})
    value = ", ".join(as_sent(caller.jar, token) for token in (caller.token, other))
    sessions = Sessions([caller.jar], None, headers={caller.jar.header: value})
    assert sessions["api"].refusal is Reason.AMBIGUOUS
    assert sessions.commit_headers() == []
    assert [event.reason for event in events] == [Reason.AMBIGUOUS]


def test_of_more_than_four_tokens_none_is_opened(jar: HeaderJar) -> None:
    token = jar.codec.encode({"user": 7})
    others = [forged(jar.codec.encode({"user": n})) for n in range(4)]
    assert opened(jar, ", ".join(as_sent(jar, value) for value in (token, *others[:3]))) == {"user": 7}
    assert opened(jar, ", ".join(as_sent(jar, value) for value in (token, *others))).refusal is Reason.AMBIGUOUS


LONG = 64 * 1024


@pytest.mark.parametrize(
    "value",
    [
        "junk",
        "A" * 59,
        "A" * 60,
        "A" * 4096,
        "A" * LONG,
        "A" * (LONG + 1),
        "A" * 10**6,
        "," * LONG,
        "a," * (LONG // 2),
        '"' * LONG,
        '"\\' * (LONG // 2),
        "\\" * LONG,
        '"a,' * (LONG // 3),
        "Bearer " * (LONG // 7),
        "Bearer\t" * (LONG // 7) + "A" * 60,
        "Bearer x," * (LONG // 9),
        " " * LONG,
        "\t" * LONG + "x",
        "\x00",
        "\xff" * 200,
        "\u20ac" * 200,
        "\ud800" * 200,
        "\r\nSet-Cookie: a=b",
        "Bearer \x00",
        "Bearer \xa0x",
        "null",
        "AQ" + "_" * 100,
    ],
    ids=lambda value: ascii(value[:12]),
)
def test_hostile_values_give_a_new_session_in_no_time(value: str, jar: HeaderJar) -> None:
    start = time.thread_time()  # the processor's: what others are doing is no matter
    sessions = Sessions([jar], None, headers={jar.header: value})
    session = sessions["api"]
    assert (session, session.is_new) == ({}, True)
    assert session.refusal in (None, Reason.MALFORMED, Reason.UNKNOWN_KEY)
    assert sessions.commit_headers() == []
    assert time.thread_time() - start < 0.5


def test_a_header_over_64_kib_is_not_looked_at(caller: Caller) -> None:
    value = caller.headers[caller.jar.header]
    fits = value + ", " + "x" * (LONG - len(value) - 2)
    assert len(fits) == LONG
    assert opened(caller.jar, fits) == {"user": 7, "tags": ["a"]}
    session = opened(caller.jar, fits + "x")
    assert (session, session.refusal) == ({}, Reason.MALFORMED)


@pytest.mark.parametrize("name", [TOKEN, AUTHORIZATION])
@given(value=st.one_of(st.text(), st.text(alphabet='Bearer ,"\\\t=-_A'), st.text(max_size=40).map(lambda text: f"Bearer {text}")))
def test_no_value_opens_or_raises(name: str, value: str) -> None:
    jar = HeaderJar("api", RING, header=name)
    sessions = Sessions([jar], None, headers={name: value})
    assert sessions["api"] == {}
    assert sessions.commit_headers() == []


# ---------------------------------------------------------------------------------------------------------------------
# Together with cookies
# ---------------------------------------------------------------------------------------------------------------------


def test_cookies_and_headers_of_one_request_do_not_mix() -> None:
    jars = [Jar("session", RING), HeaderJar("api", RING), HeaderJar("app", RING, header=AUTHORIZATION)]
    sessions = Sessions(jars, None, headers={})
    for number, name in enumerate(sessions):
        sessions[name]["n"] = number
    answers = sessions.commit_headers()
    assert [name for name, _ in answers] == ["Set-Cookie", TOKEN, AUTHORIZATION]
    assert sessions.commit() == [value for name, value in answers if name == "Set-Cookie"]
    assert sessions.vary == ("Cookie", TOKEN, AUTHORIZATION)
    headers = dict(answers[1:])
    sessions = Sessions(jars, cookie_of(answers[0][1]), headers=headers)
    assert [sessions[name]["n"] for name in sessions] == [0, 1, 2]
    crossed = Sessions(jars, f"session={headers[TOKEN]}", headers={TOKEN: headers[AUTHORIZATION].removeprefix("Bearer ")})
    assert [crossed[name].refusal for name in crossed] == [Reason.FORGED, Reason.FORGED, None]


def test_vary_names_what_was_used_alone() -> None:
    jars = [Jar("session", RING), HeaderJar("api", RING), HeaderJar("app", RING, header=AUTHORIZATION), Jar("cart", RING)]
    sessions = Sessions(jars, None, headers={})
    assert sessions.vary == ()
    assert sessions["app"].is_new
    assert sessions.vary == (AUTHORIZATION,)
    assert sessions["cart"].is_new
    assert sessions["session"].is_new
    assert sessions.vary == (AUTHORIZATION, "Cookie")


def test_one_that_cannot_be_sealed_leaves_the_others_their_answers() -> None:
    jars = [Jar("session", RING), HeaderJar("api", RING)]
    sessions = Sessions(jars, None, headers={})
    sessions["api"]["when"] = object()
    sessions["session"]["user"] = 7
    with pytest.raises(SerializationError):
        sessions.commit_headers()
    assert [name for name, _ in sessions.commit_headers()] == ["Set-Cookie"]


# ---------------------------------------------------------------------------------------------------------------------
# Through the middleware
# ---------------------------------------------------------------------------------------------------------------------


def writes(*changes: Callable[[Sessions], object], headers: Any = (), status: str = "200 OK", body: Any = (b"ok",)) -> App:
    """An application that does this to its sessions, and answers so."""

    def app(environ: Any, start_response: Any) -> Any:
        for change in changes:
            change(get_sessions(environ))
        start_response(status, [("Content-Type", "text/plain"), *headers])
        return body

    return app


def signs_in(sessions: Sessions) -> None:
    sessions["api"]["user"] = 7


def reads(sessions: Sessions) -> None:
    assert sessions["api"] is not None


def signs_out(sessions: Sessions) -> None:
    sessions["api"].destroy()


def environ_of(jar: HeaderJar, token: str, **extra: Any) -> dict[str, Any]:
    name = "HTTP_" + jar.header.upper().replace("-", "_")
    return make_environ(**{name: as_sent(jar, token)}, **extra)


def signed_in(jar: HeaderJar, **extra: Any) -> dict[str, Any]:
    return environ_of(jar, jar.codec.encode({"user": 7}), **extra)


def ours(exchange: Exchange) -> dict[str, list[str]]:
    """The headers of a response that are not the application's own."""
    names = {name for name, _ in exchange.headers} - {"Content-Type"}
    return {name: exchange.values(name) for name in sorted(names)}


@pytest.fixture(params=[lambda app: app, validator], ids=["bare", "validated"])
def wrap(request: pytest.FixtureRequest) -> Callable[[App], App]:
    return request.param


def test_a_write_answers_with_the_token_vary_and_cache_control_and_no_cookie(jar: HeaderJar, wrap: Callable[[App], App]) -> None:
    middleware = wrap(SessionMiddleware(wrap(writes(signs_in)), [jar]))
    exchange = serve(middleware)
    (value,) = exchange.values(jar.header)
    assert ours(exchange) == {jar.header: [value], "Cache-Control": ["private, no-store"], "Vary": [jar.header]}
    token = value.removeprefix("Bearer ")
    exchange = serve(middleware, environ_of(jar, token))
    assert ours(exchange) == {"Cache-Control": ["private"], "Vary": [jar.header]}


def test_a_read_varies_and_sends_nothing(jar: HeaderJar, wrap: Callable[[App], App]) -> None:
    middleware = wrap(SessionMiddleware(wrap(writes(reads)), [jar]))
    for environ in (make_environ(), signed_in(jar), environ_of(jar, "junk"), environ_of(jar, "A" * 70_000)):
        assert ours(serve(middleware, environ)) == {"Cache-Control": ["private"], "Vary": [jar.header]}


def test_an_untouched_session_leaves_the_response_as_it_was(jar: HeaderJar) -> None:
    headers = [("Vary", "Accept"), ("Cache-Control", "public"), (jar.header, "the application's")]
    exchange = serve(SessionMiddleware(writes(headers=headers), [jar]), signed_in(jar))
    assert exchange.headers == [("Content-Type", "text/plain"), *headers]


def test_a_deletion_is_an_empty_header(jar: HeaderJar, wrap: Callable[[App], App]) -> None:
    middleware = wrap(SessionMiddleware(wrap(writes(signs_out)), [jar]))
    exchange = serve(middleware, signed_in(jar))
    assert ours(exchange) == {jar.header: [""], "Cache-Control": ["private, no-store"], "Vary": [jar.header]}
    assert jar.header not in ours(serve(middleware))


def test_the_session_is_an_attribute_of_a_webob_request(jar: HeaderJar) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        request = webob.Request(environ)
        assert request.api == {"user": 7}
        request.api = {"user": 8}
        request.api |= {"seen": True}
        return webob.Response("ok")(environ, start_response)

    exchange = serve(SessionMiddleware(app, [jar]), signed_in(jar))
    token = exchange.values(jar.header)[0].removeprefix("Bearer ")
    assert jar.codec.decode(token) == {"user": 8, "seen": True}


@pytest.mark.parametrize(
    ("own", "merged"),
    [
        ([], ["{header}"]),
        ([("Vary", "Accept")], ["Accept, {header}"]),
        ([("vary", "accept, {HEADER}")], ["accept, {HEADER}"]),
        ([("Vary", "Accept"), ("Vary", "Origin")], ["Accept", "Origin, {header}"]),
        ([("Vary", "*")], ["*"]),
    ],
)
def test_vary_is_merged_with_the_application_s(own: list[tuple[str, str]], merged: list[str], jar: HeaderJar) -> None:
    def filled(text: str) -> str:
        return text.replace("{header}", jar.header).replace("{HEADER}", jar.header.upper())

    headers = [(name, filled(value)) for name, value in own]
    exchange = serve(SessionMiddleware(writes(reads, headers=headers), [jar]))
    assert exchange.values("Vary") == [filled(value) for value in merged]


def test_a_public_cache_control_is_taken_out_where_a_token_goes_out(jar: HeaderJar, caplog: pytest.LogCaptureFixture) -> None:
    app = writes(signs_in, headers=[("Cache-Control", "public, max-age=60, s-maxage=60")])
    exchange = serve(SessionMiddleware(app, [jar]))
    assert exchange.values("Cache-Control") == ["max-age=60, private"]
    assert "Cache-Control: public, s-maxage=60" in caplog.text
    assert serve(SessionMiddleware(app, [jar]), signed_in(jar)).values("Cache-Control") == ["public, max-age=60, s-maxage=60"]


def test_the_application_s_own_header_of_that_name_is_dropped_with_a_warning(
    jar: HeaderJar, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [(jar.header.lower(), "made up"), ("X-Other", "kept"), (jar.header, "made up too")]
    exchange = serve(SessionMiddleware(writes(signs_in, headers=headers), [jar]))
    (value,) = exchange.values(jar.header)
    assert jar.codec.decode(value.removeprefix("Bearer ")) == {"user": 7}
    assert exchange.values("X-Other") == ["kept"]
    assert f"the application set the header {jar.header} itself, which belongs to a jar" in caplog.text
    assert "made up" not in caplog.text
    caplog.clear()
    exchange = serve(SessionMiddleware(writes(reads, headers=headers), [jar]), signed_in(jar))
    assert exchange.values(jar.header) == ["made up", "made up too"], "where the jar sends none, it is the application's"
    assert caplog.text == ""


def test_the_application_s_header_list_is_not_changed(jar: HeaderJar) -> None:
    headers = [("Content-Type", "text/plain"), (jar.header, "made up")]

    def app(environ: Any, start_response: Any) -> Any:
        signs_in(get_sessions(environ))
        start_response("200 OK", headers)
        return [b"ok"]

    serve(SessionMiddleware(app, [jar]))
    assert headers == [("Content-Type", "text/plain"), (jar.header, "made up")]


def test_the_answer_may_have_another_header_than_the_request(ring: Keyring) -> None:
    jar = HeaderJar("api", ring, header=AUTHORIZATION, answer_header="X-Fresh-Token")
    middleware = SessionMiddleware(writes(signs_in), [jar])
    exchange = serve(middleware)
    (token,) = exchange.values("X-Fresh-Token")
    assert jar.codec.decode(token) == {"user": 7}
    assert ours(exchange).keys() == {"X-Fresh-Token", "Cache-Control", "Vary"}
    assert exchange.values("Vary") == [AUTHORIZATION]
    assert serve(SessionMiddleware(writes(signs_out), [jar]), environ_of(jar, token)).values("X-Fresh-Token") == [""]
    jar = HeaderJar("api", ring, header="X-Token", answer_header="authorization")
    exchange = serve(SessionMiddleware(writes(signs_in), [jar]))
    assert exchange.values("Authorization")[0].startswith("Bearer A")
    assert exchange.values("Vary") == ["X-Token"]


@pytest.mark.parametrize(("status", "method"), [("304 Not Modified", "GET"), ("200 OK", "HEAD"), ("204 No Content", "DELETE")])
def test_answers_without_a_body_carry_the_token_too(status: str, method: str, jar: HeaderJar) -> None:
    middleware = SessionMiddleware(writes(signs_in, status=status, body=()), [jar])
    exchange = serve(middleware, make_environ(method))
    assert len(exchange.values(jar.header)) == 1
    assert exchange.values("Cache-Control") == ["private, no-store"]
    assert exchange.body == b""


def test_an_error_page_after_the_commit_carries_the_token_once(jar: HeaderJar) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        signs_in(get_sessions(environ))
        start_response("200 OK", [])
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"error"]

    exchange = serve(SessionMiddleware(app, [jar]))
    assert exchange.status == "500 Error"
    assert len(exchange.values(jar.header)) == 1


def test_a_secure_connection_is_not_asked_for(jar: HeaderJar, caplog: pytest.LogCaptureFixture) -> None:
    serve(SessionMiddleware(writes(signs_in), [jar]), make_environ(scheme="http"))
    assert caplog.text == ""


def test_a_cookie_that_goes_out_over_plain_http_beside_a_header_is_warned_of(
    jar: HeaderJar, ring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    def signs_in_on_the_web(sessions: Sessions) -> None:
        sessions["session"]["user"] = 7

    exchange = serve(SessionMiddleware(writes(signs_in_on_the_web), [jar, Jar("session", ring)]), make_environ(scheme="http"))
    assert len(exchange.values("Set-Cookie")) == 1
    assert [record.getMessage().partition(" was set")[0] for record in caplog.records] == ["the Secure cookie session"]


def test_cookie_jars_and_header_jars_serve_one_application(jar: HeaderJar, ring: Keyring) -> None:
    def both(sessions: Sessions) -> None:
        sessions["session"]["n"] = sessions["session"].get("n", 0) + 1
        sessions["api"]["n"] = sessions["api"].get("n", 10) + 1

    cookie_jar = Jar("session", ring)
    middleware = SessionMiddleware(writes(both), [cookie_jar, jar])
    exchange = serve(middleware)
    assert exchange.values("Vary") == [f"Cookie, {jar.header}"]
    environ = environ_of(
        jar, exchange.values(jar.header)[0].removeprefix("Bearer "), cookie=cookie_of(exchange.values("Set-Cookie")[0])
    )
    exchange = serve(middleware, environ)
    assert cookie_jar.codec.decode(cookie_of(exchange.values("Set-Cookie")[0]).partition("=")[2]) == {"n": 2}
    assert jar.codec.decode(exchange.values(jar.header)[0].removeprefix("Bearer ")) == {"n": 12}


def test_only_what_was_used_of_both_shows_in_the_response(jar: HeaderJar, ring: Keyring) -> None:
    jars = [Jar("session", ring), jar]
    assert serve(SessionMiddleware(writes(reads), jars)).values("Vary") == [jar.header]
    app = writes(lambda sessions: sessions["session"].update(a=1), headers=[(jar.header, "the application's")])
    exchange = serve(SessionMiddleware(app, jars))
    assert exchange.values("Vary") == ["Cookie"]
    assert exchange.values(jar.header) == ["the application's"]


def test_nested_middlewares_each_with_jars_of_their_own(jar: HeaderJar, ring: Keyring) -> None:
    inner_jar = HeaderJar("inner", ring, header="X-Inner")

    def app(environ: Any, start_response: Any) -> Any:
        sessions = get_sessions(environ)
        sessions["api"]["a"] = 1
        sessions["inner"]["b"] = 2
        start_response("200 OK", [])
        return [b""]

    middleware = SessionMiddleware(SessionMiddleware(app, [inner_jar]), [jar])
    exchange = serve(middleware)
    assert jar.codec.decode(exchange.values(jar.header)[0].removeprefix("Bearer ")) == {"a": 1}
    assert inner_jar.codec.decode(exchange.values("X-Inner")[0]) == {"b": 2}
    assert exchange.values("Vary") == [f"X-Inner, {jar.header}"]
    assert exchange.values("Cache-Control") == ["private, no-store"]


def test_a_sub_request_starts_afresh(jar: HeaderJar) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        session = get_sessions(environ)["api"]
        if environ["PATH_INFO"] == "/":
            session["user"] = 8
            serve(middleware, environ | {"PATH_INFO": "/inner"})
            assert get_sessions(environ)["api"] is session
        else:
            assert session == {"user": 7}
        start_response("200 OK", [])
        return [b""]

    middleware = SessionMiddleware(app, [jar])
    (value,) = serve(middleware, signed_in(jar)).values(jar.header)
    assert jar.codec.decode(value.removeprefix("Bearer ")) == {"user": 8}


def test_a_cookie_header_of_any_size_is_nothing_to_a_header_jar(jar: HeaderJar) -> None:
    for header in ("a=" + "b" * 100_000, "; ".join(f"api={number}" for number in range(5_000))):
        exchange = serve(SessionMiddleware(writes(reads, signs_in), [jar]), signed_in(jar, cookie=header))
        assert ours(exchange) == {"Cache-Control": ["private"], "Vary": [jar.header]}


@pytest.mark.parametrize(
    "headers",
    [
        MultiDict([("X-Session-Token", "{one}"), ("x-session-token", "{other}")]),
        {"X-Session-Token": "{one}", "x-session-token": "{other}"},
        {"X-Session-Token": "{one}, {other}"},
    ],
)
def test_lines_that_a_mapping_gives_one_by_one_are_ambiguous_like_joined_ones(headers: Any, ring: Keyring) -> None:
    jar = HeaderJar("api", ring)
    tokens = {"one": jar.codec.encode({"user": 1}), "other": jar.codec.encode({"user": 2})}
    given = MultiDict([(name, value.format(**tokens)) for name, value in headers.items()])
    sessions = Sessions([jar], None, headers=given)
    assert sessions["api"] == {}
    assert sessions["api"].refusal is Reason.AMBIGUOUS


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([("X-Session-Token", "a")], "headers must be a mapping of names to values, not list"),
        ({b"x-session-token": b"a"}, "a header's name must be a str, not bytes"),
        ({"X-Session-Token": b"a"}, "the header X-Session-Token must be a str or None, not bytes"),
    ],
)
def test_headers_of_another_kind_are_a_mistake_and_no_missing_session(headers: Any, message: str, ring: Keyring) -> None:
    with pytest.raises(TypeError, match=message):
        Sessions([HeaderJar("api", ring)], None, headers=headers)


def test_commit_tells_where_a_header_is_to_be_sent_too(ring: Keyring) -> None:
    jars = [HeaderJar("api", ring), Jar("session", ring)]
    sessions = Sessions(jars, None, headers={})
    sessions["session"]["user"] = 7
    assert len(sessions.commit()) == 1
    sessions = Sessions(jars, None, headers={})
    sessions["api"]["user"] = 7
    with pytest.raises(ConfigurationError, match="call commit_headers"):
        sessions.commit()
    assert [name for name, _ in sessions.commit_headers()] == ["X-Session-Token"]


@pytest.mark.parametrize("answer", ["X-Session-Token", "X-Fresh"])
def test_nested_middlewares_share_no_header(answer: str, ring: Keyring) -> None:
    inner = SessionMiddleware(writes(reads), [HeaderJar("api", ring, header="X-Inner", answer_header=answer)])
    for outer in (HeaderJar("outer", ring, header=answer.upper()), HeaderJar("outer", ring, header="x-inner")):
        with pytest.raises(ConfigurationError, match="share the jars, cookies or headers x-"):
            serve(SessionMiddleware(inner, [outer]))


def test_a_header_and_a_cookie_are_not_added_up(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    """They come in two fields of the request, and each has its own limit."""
    api, web = HeaderJar("api", ring), Jar("session", ring)
    content = {"pad": "x" * 2_800}
    sessions = Sessions([api, web], f"session={web.codec.encode(content)}", headers={api.header: api.codec.encode(content)})
    assert sessions["api"] == sessions["session"] == content
    assert sessions.commit_headers() == []
    assert caplog.text == ""


def test_a_token_that_is_read_counts_for_nothing_beside_cookies(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    api, web = HeaderJar("api", ring), Jar("session", ring)
    content = {"pad": "x" * 2_800}
    cookies = f"session={web.codec.encode(content)}; other={'y' * 4_000}"
    sessions = Sessions([api, web], cookies, headers={api.header: api.codec.encode(content)})
    assert sessions["api"] == sessions["session"] == content
    assert sessions.commit_headers() == []
    assert caplog.text == ""


def test_a_header_is_found_behind_others(ring: Keyring) -> None:
    jar = HeaderJar("api", ring)
    headers = {"Host": "shop.example", TOKEN.lower(): None, "Accept": "*/*", TOKEN: jar.codec.encode({"user": 7})}
    assert Sessions([jar], None, headers=headers)["api"] == {"user": 7}


def test_of_three_jars_the_first_and_the_last_share_no_header(ring: Keyring) -> None:
    jars = [HeaderJar(name, ring, header=header) for name, header in (("a", "X-One"), ("b", "X-Two"), ("c", "X-One"))]
    with pytest.raises(ConfigurationError, match="two jars use the header 'X-One'"):
        Sessions(jars, None, headers={})


# ---------------------------------------------------------------------------------------------------------------------
# Under a real server
# ---------------------------------------------------------------------------------------------------------------------

SERVED = HeaderJar("api", RING, header=AUTHORIZATION)
SERVED_TOKEN = HeaderJar("app", RING)


def service(environ: Any, start_response: Any) -> Any:
    """A small API: sign in, look, sign out."""
    sessions = get_sessions(environ)
    path = environ["PATH_INFO"]
    if path == "/in":
        sessions["api"]["user"] = 7
        sessions["app"]["user"] = 8
    elif path == "/out":
        sessions["api"].destroy()
        sessions["app"].destroy()
    body = b"" if path == "/nothing" else json.dumps([sessions["api"].get("user"), sessions["app"].get("user")]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    sockets: dict[int, Any] = {}
    app = SessionMiddleware(service, [SERVED, SERVED_TOKEN])
    server = waitress.create_server(app, sockets, host="127.0.0.1", port=0, threads=2)
    loop = threading.Thread(target=server.run)
    loop.start()
    yield int(server.effective_port)
    server.task_dispatcher.shutdown()
    server.trigger.pull_trigger(lambda: server.asyncore.close_all(sockets))
    loop.join(10)
    assert not loop.is_alive()


def fetch(port: int, path: str, *headers: tuple[str, str], method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_a_client_signs_in_is_known_and_signs_out_over_real_http(port: int) -> None:
    response, _ = fetch(port, "/in")
    bearer, token = response.getheader(AUTHORIZATION), response.getheader(TOKEN)
    assert bearer.startswith("Bearer A")
    assert SERVED_TOKEN.codec.decode(token) == {"user": 8}
    assert response.getheader("Set-Cookie") is None
    assert (response.getheader("Vary"), response.getheader("Cache-Control")) == (f"{AUTHORIZATION}, {TOKEN}", "private, no-store")
    sent = ((AUTHORIZATION, bearer), (TOKEN, token))
    response, body = fetch(port, "/", *sent)
    assert json.loads(body) == [7, 8]
    assert (response.getheader(AUTHORIZATION), response.getheader(TOKEN)) == (None, None)
    assert response.getheader("Cache-Control") == "private"
    response, body = fetch(port, "/out", *sent)
    assert json.loads(body) == [None, None]
    assert (response.getheader(AUTHORIZATION), response.getheader(TOKEN)) == ("", "")
    response, body = fetch(port, "/nothing", *sent)
    assert (body, response.getheader("Vary")) == (b"", None)
    response, body = fetch(port, "/in", method="HEAD")
    assert (body, response.getheader(TOKEN)[:1]) == (b"", "A")


def test_two_lines_of_one_header_are_two_tokens_over_real_http(port: int) -> None:
    one, other = (SERVED_TOKEN.codec.encode({"user": n}) for n in (1, 2))
    assert json.loads(fetch(port, "/", (TOKEN, one), (TOKEN, "junk"))[1]) == [None, 1]
    assert json.loads(fetch(port, "/", (TOKEN, one), (TOKEN, one))[1]) == [None, 1]
    assert json.loads(fetch(port, "/", (TOKEN, one), (TOKEN, other))[1]) == [None, None]
    bearer = SERVED.codec.encode({"user": 3})
    lines = ((AUTHORIZATION, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), (AUTHORIZATION, f"bearer {bearer}"))
    assert json.loads(fetch(port, "/", *lines)[1]) == [3, None]


@pytest.mark.parametrize("value", ["", "junk", "Basic x", "a," * 4000, "\xff\xfe", "A" * 60_000])
def test_hostile_headers_are_a_new_session_over_real_http(port: int, value: str) -> None:
    response, body = fetch(port, "/", (TOKEN, value), (AUTHORIZATION, f"Bearer {value}"))
    assert (response.status, json.loads(body)) == (200, [None, None])


# ---------------------------------------------------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------------------------------------------------


def test_a_header_jar_says_its_name_header_and_ring() -> None:
    assert repr(HeaderJar("api", RING)) == f"<HeaderJar 'api' header 'X-Session-Token' {RING!r}>"


def test_the_defaults_are_those_of_a_jar() -> None:
    jar, cookie_jar = HeaderJar("api", RING), Jar("api", RING)
    assert (jar.header, jar.answer_header) == (TOKEN, TOKEN)
    for option in (
        "duration",
        "active_duration",
        "max_duration",
        "audience",
        "ephemeral",
        "clock",
        "observer",
        "compress",
        "pad_to",
    ):
        assert getattr(jar, option) == getattr(cookie_jar, option)
    assert HeaderJar("api", RING, header=AUTHORIZATION).answer_header == AUTHORIZATION


NO_NAMES = [
    "",
    " ",
    "X Token",
    "X_Token",
    "X-Token:",
    "X-T\xf6ken",
    "X-Token\n",
    "\nX",
    "1-Token",
    "-X",
    "X" * 65,
    "X\u0661",
    7,
    b"X",
    ["X"],
]


@pytest.mark.parametrize(
    ("option", "name"), [("header", None), *((o, name) for o in ("header", "answer_header") for name in NO_NAMES)]
)
def test_what_is_no_header_s_name_is_refused(option: str, name: Any) -> None:
    with pytest.raises(ConfigurationError, match=f'^{option} must be the name of a header, letters, digits and "-"'):
        HeaderJar("api", RING, **{option: name})


TAKEN = [
    *("Cookie", "Set-Cookie", "Vary", "Cache-Control", "Content-Type", "Content-Length", "Content-Anything", "Host", "Status"),
    *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization", "Proxy-Authenticate"),
    *("Set-Cookie2", "X-Original-URL", "X-Request-ID", "traceparent", "Permissions-Policy", "X-HTTP-Method-Override"),
    *("Proxy", "X-Forwarded-For", "X-Real-IP", "X-Accel-Redirect", "X-Sendfile", "If-None-Match", "Range", "ETag", "Location"),
    *("Accept", "Accept-Language", "Origin", "Referer", "User-Agent", "Sec-Fetch-Site", "Access-Control-Allow-Origin"),
    *("WWW-Authenticate", "Date", "Server", "Forwarded", "Expect", "Pragma", "Refresh", "Link", "cookie", "COOKIE", "vary"),
]


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("option", ["header", "answer_header"])
def test_a_header_that_means_something_else_is_refused(option: str, name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"^{option} must not be {name}, which has a meaning of its own: take X-Session-Token"
    ):
        HeaderJar("api", RING, **{option: name})


@pytest.mark.parametrize("name", ["X-Session-Token", "authorization", "Token", "X-Auth-Token", "X2", "X-" + "a" * 62, "Session"])
def test_any_other_name_is_taken(name: str) -> None:
    assert HeaderJar("api", RING, header=name).header == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": timedelta(0)}, "duration must be from 1 second"),
        ({"active_duration": timedelta(days=2)}, "active_duration must not be longer than duration"),
        ({"max_duration": HOUR}, "max_duration must not be shorter than duration"),
        ({"audience": 7}, "audience must be a str"),
        ({"clock": 7}, "clock must be a function"),
        ({"observer": 7}, "observer must be a function"),
        ({"serializer": 7}, "serializer must have dumps"),
        ({"compress": 1}, "compress must be True or False"),
        ({"pad_to": 1}, "pad_to must be an int"),
    ],
    ids=str,
)
def test_other_options_are_checked_as_those_of_a_jar(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        HeaderJar("api", RING, **options)


def test_a_duration_that_is_no_timedelta_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="duration must be a datetime"):
        HeaderJar("api", RING, duration=3600)


@pytest.mark.parametrize("name", ["", 7, None, "a\n", "x" * 257])
def test_the_name_is_checked(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name must"):
        HeaderJar(name, RING)


def test_a_secret_in_place_of_the_ring_shows_nowhere() -> None:
    text = Key.generate().export()
    with pytest.raises(ConfigurationError, match="the keyring must be a Keyring") as caught:
        HeaderJar("api", text)
    frame = caught.value.__traceback__.tb_next.tb_frame
    assert frame.f_code.co_name == "__init__"
    assert text not in repr(frame.f_locals)


def test_a_header_jar_does_not_change() -> None:
    with pytest.raises(AttributeError, match="a HeaderJar does not change"):
        HeaderJar("api", RING).header = "X-Other"


def test_options_of_cookies_are_none_of_its_own() -> None:
    for option in ("cookie_name", "path", "domain", "secure", "httponly", "samesite", "migrate_from", "ephemeral", "max_age"):
        with pytest.raises(TypeError, match="unexpected keyword"):
            HeaderJar("api", RING, **{option: None})


def test_a_header_jar_without_headers_is_an_error_of_configuration() -> None:
    with pytest.raises(
        ConfigurationError, match=r"there is a HeaderJar: give the request's headers, Sessions\(jars, cookie_header, headers="
    ):
        Sessions([Jar("session", RING), HeaderJar("api", RING)], None)
    assert Sessions([Jar("session", RING)], None, headers={"X-Session-Token": 7})["session"].is_new


@pytest.mark.parametrize("value", [b"token", 7, ["token"]])
def test_a_header_that_is_no_text_is_a_type_error(value: Any) -> None:
    with pytest.raises(
        TypeError, match=f"the header X-Session-Token must be a str or None, not {type(value).__name__}; decode bytes"
    ):
        Sessions([HeaderJar("api", RING)], None, headers={TOKEN: value})


@pytest.mark.parametrize(
    "others",
    [
        {"header": "x-session-token"},
        {"header": AUTHORIZATION, "answer_header": "X-SESSION-Token"},
        {"header": "X-Fresh"},
        {"header": "X-Other", "answer_header": "X-Fresh"},
    ],
    ids=str,
)
def test_two_jars_of_one_header_are_refused(others: dict[str, str]) -> None:
    jars = [HeaderJar("api", RING, answer_header="X-Fresh"), HeaderJar("app", RING, **others)]
    with pytest.raises(ConfigurationError, match="two jars use the header"):
        Sessions(jars, None, headers={})
    with pytest.raises(ConfigurationError, match="two jars use the header"):
        SessionMiddleware(writes(), jars)


def test_a_cookie_jar_and_a_header_jar_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two jars are named 'api'"):
        SessionMiddleware(writes(), [Jar("api", RING), HeaderJar("api", RING)])
    jars = [Jar("session", RING, cookie_name="api"), HeaderJar("api", RING)]
    assert len(Sessions(jars, None, headers={})) == 2, "a cookie and a header have nothing in common"


@pytest.mark.parametrize("name", ["headers", "path", "_api", "my-api", "class"])
def test_a_jar_s_name_that_no_request_can_have_is_refused_by_the_middleware(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be an attribute of a request"):
        SessionMiddleware(writes(), [HeaderJar(name, RING)])


def test_a_jar_of_no_kind_does_not_know_how_its_tokens_go_out(caller: Caller) -> None:
    jar: AnyJar = object.__new__(AnyJar)
    with caller.visit() as sessions:
        with pytest.raises(NotImplementedError):
            jar._header_of(sessions["api"], caller.token, 0)
    with pytest.raises(NotImplementedError):
        jar._deletion()
    with pytest.raises(NotImplementedError):
        jar._token_in(caller.token)
