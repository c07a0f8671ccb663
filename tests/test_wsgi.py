"""The WSGI middleware under a strict server: PEP 3333 line by line (P1 to P45), what applications do (A1 to A20), and the
headers a cache or a browser sees.

The first part shows that the strict server catches what it is there to catch.
"""

from __future__ import annotations

import gc
import io
import logging
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NoReturn
from wsgiref.validate import validator

import pytest
import webob

from clientsession import (
    ConfigurationError,
    HeaderJar,
    Jar,
    Key,
    Keyring,
    SerializationError,
    Session,
    SessionCommittedError,
    Sessions,
    SessionTooLargeError,
    _ciphers,
)
from clientsession.migrate import OldSession, Reader
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import Clock, cookie_of
from tests.strict_wsgi import Body, Exchange, FileWrapper, Violation, make_environ, serve

App = Callable[..., Any]

TEXT = ("Content-Type", "text/plain")
RING = Keyring(Key.generate())  # the edge knows no ciphers: one suite will do here
SESSION = Jar("session", RING)
CART = Jar("cart", RING)


class Boom(Exception):
    """What an application raises."""


class Text(str):
    """A str subclass."""


# ---------------------------------------------------------------------------------------------------------------------
# The strict server itself
# ---------------------------------------------------------------------------------------------------------------------


def starts(status: Any = "200 OK", headers: Any = None, body: Any = (b"x",)) -> App:
    """An application that answers so."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [TEXT] if headers is None else headers)
        return body

    return app


def starts_by_keyword(environ: Any, start_response: Any) -> Any:
    start_response(status="200 OK", response_headers=[])
    return [b"x"]


def starts_with_one_argument(environ: Any, start_response: Any) -> Any:
    start_response("200 OK")
    return [b"x"]


def starts_twice(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"x"]


def starts_with_a_made_up_exc_info(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [], (None, None, None))
    return [b"x"]


def starts_too_late(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield b"x"
    start_response("200 OK", [])


def never_starts(environ: Any, start_response: Any) -> Any:
    return []


def writes_text(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])("x")
    return []


def writes_while_it_is_read(environ: Any, start_response: Any) -> Iterator[bytes]:
    write = start_response("200 OK", [])
    write(b"x")
    yield b"y"


def closes_the_input(environ: Any, start_response: Any) -> Any:
    environ["wsgi.input"].close()
    return starts()(environ, start_response)


def puts_a_number_into_the_environ(environ: Any, start_response: Any) -> Any:
    environ["REMOTE_USER"] = 7
    return starts()(environ, start_response)


class FalseLength(list[bytes]):
    def __len__(self) -> int:
        return 7


VIOLATIONS: dict[str, App] = {
    "keywords": starts_by_keyword,
    "one argument": starts_with_one_argument,
    "started twice": starts_twice,
    "exc_info made up": starts_with_a_made_up_exc_info,
    "started after a chunk": starts_too_late,
    "never started": never_starts,
    "status without a reason": starts("200"),
    "status of two digits": starts("20 OK"),
    "status 600": starts("600 Odd"),
    "status 100": starts("100 Continue"),
    "status with a newline": starts("200 OK\n"),
    "status with DEL": starts("200 O\x7fK"),
    "status beyond Latin-1": starts("200 \u20ac"),
    "status of bytes": starts(b"200 OK"),
    "status of a str subclass": starts(Text("200 OK")),
    "headers in a tuple": starts(headers=(TEXT,)),
    "headers in a list subclass": starts(headers=type("Headers", (list,), {})([TEXT])),
    "a header in a list": starts(headers=[["Content-Type", "text/plain"]]),
    "a header of three": starts(headers=[("Content-Type", "text/plain", "x")]),
    "a header in a tuple subclass": starts(headers=[type("Pair", (tuple,), {})(TEXT)]),
    "a name of bytes": starts(headers=[(b"X-A", "1")]),
    "a name of a str subclass": starts(headers=[(Text("X-A"), "1")]),
    "a name with a colon": starts(headers=[("X-A:", "1")]),
    "a name with a space": starts(headers=[("X A", "1")]),
    "a name with an umlaut": starts(headers=[("X-\xc4", "1")]),
    "an empty name": starts(headers=[("", "1")]),
    "Status as a header": starts(headers=[("status", "200")]),
    "a value of bytes": starts(headers=[("X-A", b"1")]),
    "a value of a str subclass": starts(headers=[("X-A", Text("1"))]),
    "a value with CR LF": starts(headers=[("X-A", "1\r\nX-B: 2")]),
    "a value with NUL": starts(headers=[("X-A", "1\x00")]),
    "a value with a tab": starts(headers=[("X-A", "1\t2")]),
    "a value with DEL": starts(headers=[("X-A", "1\x7f")]),
    "a value beyond Latin-1": starts(headers=[("X-A", "\u20ac")]),
    "hop-by-hop": starts(headers=[("Connection", "close")]),
    "transfer-encoding": starts(headers=[("Transfer-Encoding", "chunked")]),
    "two lengths": starts(headers=[("Content-Length", "1"), ("content-length", "1")]),
    "a length that is no number": starts(headers=[("Content-Length", "one")]),
    "a length too large": starts(headers=[("Content-Length", "2")]),
    "a length too small": starts(headers=[("Content-Length", "0")]),
    "a length on 204": starts("204 No Content", [("Content-Length", "0")], []),
    "a body on 204": starts("204 No Content", []),
    "a body on 304": starts("304 Not Modified", []),
    "None for a body": starts(body=None),
    "a number for a body": starts(body=7),
    "str for a body": starts(body="x"),
    "bytes for a body": starts(body=b"x"),
    "a chunk of str": starts(body=["x"]),
    "a chunk of bytearray": starts(body=[bytearray(b"x")]),
    "a false len()": starts(body=FalseLength([b"x"])),
    "write() of str": writes_text,
    "write() from within the iterable": writes_while_it_is_read,
    "wsgi.input closed": closes_the_input,
    "a number in the environ": puts_a_number_into_the_environ,
}


@pytest.mark.parametrize("app", VIOLATIONS.values(), ids=VIOLATIONS)
def test_the_strict_server_raises_on(app: App) -> None:
    with pytest.raises(Violation):
        serve(app)


def test_the_strict_server_raises_on_a_body_on_head() -> None:
    with pytest.raises(Violation, match="no body"):
        serve(starts(), make_environ("HEAD"))
    assert serve(starts(body=[b""]), make_environ("HEAD")).body == b""
    assert serve(starts(), make_environ("HEAD"), drop_head_body=True).body == b""


@pytest.mark.parametrize("status", ["200 OK", "299 ", "404 Nope", "500 Gr\xfc\xdfe"])
def test_the_strict_server_takes_what_is_right(status: str) -> None:
    headers = [("Content-Length", "2"), ("X-A", "caf\xe9"), ("X-A", ""), ("Set-Cookie", "a=b")]
    exchange = serve(starts(status, headers, [b"", b"x", b"", b"y"]))
    assert (exchange.status, exchange.headers, exchange.body) == (status, headers, b"xy")
    assert exchange.events == (
        ["start_response", "next", "chunk b''", "next", "headers", "chunk b'x'", "next", "chunk b''", "next", "chunk b'y'", "next"]
    )


def test_the_strict_server_sends_what_is_written_at_once_and_closes_once() -> None:
    def app(environ: Any, start_response: Any) -> Body:
        write = start_response("200 OK", [])
        write(b"a")
        environ["strict.events"].append("written")
        return Body([b"b"], environ["strict.events"])

    assert serve(app).events == (
        ["start_response", "headers", "write b'a'", "written", "next", "app b'b'", "chunk b'b'", "next", "close", "app close"]
    )


def test_the_strict_server_raises_the_applications_exception_once_headers_are_sent() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield first
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", [], sys.exc_info())
        yield b"oops"

    first = b""
    assert (serve(app).status, serve(app).body) == ("500 Oops", b"oops")
    first = b"x"
    with pytest.raises(Boom):
        serve(app)


def test_a_body_bears_neither_a_second_close_nor_a_read_after_it() -> None:
    body = Body([b"x"], [])
    body.close()
    with pytest.raises(Violation):
        next(body)
    with pytest.raises(Violation):
        body.close()


# ---------------------------------------------------------------------------------------------------------------------
# Helpers
# ---------------------------------------------------------------------------------------------------------------------


def bare(app: App) -> App:
    """No middleware at all."""
    return app


def adapter(app: App, *jars: Jar) -> App:
    """The application in a SessionMiddleware."""
    return SessionMiddleware(app, jars or (SESSION, CART))


def validated(app: App) -> App:
    """The middleware between two validators of the standard library."""
    return validator(adapter(validator(app)))


three_ways = pytest.mark.parametrize("wrap", [bare, adapter, validated])
both_ways = pytest.mark.parametrize("wrap", [adapter, validated])


def write(environ: dict[str, Any]) -> None:
    """Change the session, where there is one."""
    sessions = environ.get("clientsession.sessions")
    if sessions is not None:
        sessions["session"]["user"] = 7


def answering(*body: bytes, status: str = "200 OK", headers: Any = (TEXT,), use: Callable[[dict[str, Any]], object] = write) -> App:
    """An application that uses its session and answers so."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        use(environ)
        start_response(status, list(headers))
        return list(body)

    return app


def read(environ: dict[str, Any]) -> None:
    get_sessions(environ)["session"].get("user")


def ignore(environ: dict[str, Any]) -> None:
    pass


def sent_back(exchange: Exchange) -> str:
    """The Cookie header of a browser that got this response and had nothing before."""
    return "; ".join(cookie_of(value) for value in exchange.values("Set-Cookie"))


def cookie(jar: Jar, content: dict[str, Any]) -> str:
    """The Cookie header of a browser that has this session."""
    return f"{jar.cookie_name}={jar.codec.encode(content)}"


def opened(jar: Jar, exchange: Exchange) -> Session:
    """The session in a response's one cookie of a jar."""
    [value] = [value for value in exchange.values("Set-Cookie") if value.startswith(f"{jar.cookie_name}=")]
    return jar.codec.decode(cookie_of(value).partition("=")[2])


def names_set(exchange: Exchange) -> list[str]:
    """The names of the cookies a response sets, in order."""
    return [value.partition("=")[0] for value in exchange.values("Set-Cookie")]


def deletes(set_cookie: str, jar: Jar) -> bool:
    return set_cookie.startswith(f"{jar.cookie_name}=; Max-Age=0; Path=/")


@pytest.fixture
def decryptions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every decryption."""
    counted: list[int] = []
    original = _ciphers._Xaes256Gcm.open

    def counting(self: Any, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
        counted.append(1)
        return original(self, nonce, ciphertext, aad)

    monkeypatch.setattr(_ciphers._Xaes256Gcm, "open", counting)
    return counted


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings this library has logged so far."""
    caplog.set_level(logging.WARNING, "clientsession")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "clientsession"]


# ---------------------------------------------------------------------------------------------------------------------
# P1 to P15: start_response
# ---------------------------------------------------------------------------------------------------------------------


def test_p01_the_adapter_takes_and_gives_positional_arguments_only() -> None:
    exchange = serve(adapter(answering(b"x")))  # the server refuses keywords
    assert exchange.argument_counts == [2]
    with pytest.raises(TypeError):
        adapter(answering(b"x"))(environ=make_environ(), start_response=lambda *_: None)


def test_p01_start_response_takes_no_keywords_as_pep_3333_says() -> None:
    for app in (starts_by_keyword, starts_with_one_argument):
        with pytest.raises(TypeError):
            serve(adapter(app))


def test_p02_exc_info_is_passed_on_only_when_given() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [], None)
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", [], sys.exc_info())
        return [b"x"]

    assert serve(adapter(app)).argument_counts == [2, 3]


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize(
    ("fault", "raised"),
    [("before the body", None), ("after a chunk", Boom), ("a session too large", SessionTooLargeError)],
)
def test_p02_no_reference_to_the_exception_stays(fault: str, raised: type[Exception] | None) -> None:
    seen: list[weakref.ref[Boom]] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        write(environ)
        if fault == "after a chunk":
            start_response("200 OK", [])
            yield b"x"
        if fault == "a session too large":
            get_sessions(environ)["session"]["x"] = "x" * 5000
        try:
            raise Boom
        except Boom as error:
            seen.append(weakref.ref(error))
            start_response("500 Oops", [], sys.exc_info())
        yield b"oops"

    came = None
    try:
        serve(adapter(app))
    except (Boom, SessionTooLargeError) as error:
        came = type(error)
    assert came is raised
    assert seen[0]() is None


@three_ways
def test_p03_the_second_headers_are_the_final_ones_with_one_cookie_of_each_jar(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write(environ)
        if wrap is not bare:
            get_sessions(environ)["cart"]["total"] = 33
        start_response("200 OK", [TEXT, ("X-Try", "1")])
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", [("Content-Type", "text/html"), ("X-Try", "2")], sys.exc_info())
        return [b"oops"]

    exchange = serve(wrap(app))
    assert exchange.status == "500 Oops"
    assert exchange.headers[:2] == [("Content-Type", "text/html"), ("X-Try", "2")]
    assert exchange.values("X-Try") == ["2"]
    if wrap is bare:
        assert len(exchange.headers) == 2
    else:
        assert names_set(exchange) == ["session", "cart"]
        assert opened(SESSION, exchange) == {"user": 7}
        assert exchange.values("Vary") == ["Cookie"]
        assert exchange.values("Cache-Control") == ["private, no-store"]


def test_p03_both_starts_carry_the_same_cookie() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write(environ)
        start_response("200 OK", [TEXT])
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", [TEXT], sys.exc_info())
        return []

    given: list[Any] = []
    adapter(app)(make_environ(), lambda *args: given.append(args[1]))
    assert len(given) == 2
    assert given[0] == given[1]


@three_ways
def test_p04_after_a_chunk_the_servers_raise_reaches_the_application(wrap: Any) -> None:
    caught = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        write(environ)
        start_response("200 OK", [TEXT])
        yield b"x"
        boom = Boom("in the body")
        try:
            try:
                raise boom
            except Boom:
                start_response("500 Oops", [TEXT], sys.exc_info())
        except Boom as error:
            caught.append(error is boom)
            raise

    exchange = Exchange(wrap(app))
    with pytest.raises(Boom, match="in the body"):
        exchange.run()
    assert caught == [True]
    assert (exchange.status, exchange.body) == ("200 OK", b"x")


@three_ways
def test_p05_a_second_start_without_exc_info_meets_the_servers_error(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write(environ)
        start_response("200 OK", [TEXT])
        start_response("200 OK", [TEXT])
        return [b"x"]

    with pytest.raises(Violation, match="second time"):
        serve(wrap(app))


@pytest.mark.parametrize("headers", [[TEXT], [TEXT, ("Vary", "Accept"), ("Cache-Control", "public"), ("Set-Cookie", "session=x")]])
def test_p06_the_server_gets_a_plain_list_of_plain_tuples_of_plain_str(headers: list[tuple[str, str]]) -> None:
    given: list[Any] = []
    adapter(answering(headers=headers))(make_environ(), lambda *args: given.append(args))
    [(status, result)] = given
    assert type(status) is str
    assert type(result) is list
    for item in result:
        assert (type(item), type(item[0]), type(item[1]), len(item)) == (tuple, str, str, 2)
    assert {name for name, _ in result} == {"Content-Type", "Vary", "Set-Cookie", "Cache-Control"}


def test_p06_webobs_own_header_list_becomes_a_plain_one() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write(environ)
        response = webob.Response("hello", vary="Accept", cache_control="public, max-age=60")
        response.set_cookie("theme", "dark")
        return response(environ, start_response)

    exchange = serve(validated(app))
    assert names_set(exchange) == ["theme", "session"]
    assert exchange.values("Vary") == ["Accept, Cookie"]
    assert exchange.body == b"hello"


def test_p07_a_constant_header_list_stays_as_it_is_through_1000_requests_of_two_users(caplog: pytest.LogCaptureFixture) -> None:
    constant = [TEXT, ("Vary", "Accept"), ("Cache-Control", "public, max-age=5"), ("Set-Cookie", "session=own"), ("X-Last", "1")]
    before = list(constant)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        session = get_sessions(environ)["session"]
        session["user"] = environ["PATH_INFO"]
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", constant)
        return []

    wrapped = adapter(app)
    cookies = {"/ada": "", "/bob": ""}
    caplog.set_level(logging.ERROR, "clientsession")  # the cookie of the application's own is told of each time
    for _ in range(500):
        for path, header in cookies.items():
            exchange = serve(wrapped, make_environ(path=path, cookie=header))
            cookies[path] = sent_back(exchange)
            assert len(exchange.headers) == len(before)
    assert constant == before
    for path, header in cookies.items():
        assert SESSION.codec.decode(header.partition("=")[2]) == {"user": path, "visits": 500}


@three_ways
def test_p08_the_applications_cookies_stay_in_order_and_ours_follow(wrap: Any) -> None:
    own = [("Set-Cookie", "b=2; Path=/"), TEXT, ("set-cookie", "a=1"), ("Set-Cookie", "a=1, c=3"), ("Set-Cookie", "session2=x")]
    exchange = serve(wrap(answering(b"x", headers=own)))
    assert exchange.headers[:5] == own
    assert names_set(exchange) == ["b", "a", "a", "session2"] + ([] if wrap is bare else ["session"])


@pytest.mark.parametrize("own", ["session=own", "session=", " session =own; Path=/", "session", "session\t=x"])
def test_p08_a01_of_two_cookies_of_one_name_the_jars_is_sent_once_with_a_warning(own: str, warned: Any) -> None:
    given: list[Any] = []
    headers = [TEXT, ("SET-Cookie", own), ("Set-Cookie", "other=session=x")]
    adapter(answering(headers=headers))(make_environ(), lambda *args: given.append(args))
    values = [value for name, value in given[0][1] if name.lower() == "set-cookie"]
    assert values[0] == "other=session=x"
    assert SESSION.codec.decode(cookie_of(values[1]).partition("=")[2]) == {"user": 7}
    assert len(values) == 2
    [message] = warned()
    assert "session" in message


@pytest.mark.parametrize("use", [ignore, read])
def test_a01_a_cookie_of_the_applications_own_stays_where_the_jar_sends_none(use: Any, warned: Any) -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, ("Set-Cookie", "session=own")], use=use)))
    assert exchange.values("Set-Cookie") == ["session=own"]
    assert warned() == []


@three_ways
@pytest.mark.parametrize("status", ["299 ", "404 Nope", "200 OK", "500 a  b"])
def test_p09_the_status_is_passed_on_byte_for_byte(status: str, wrap: Any) -> None:
    assert serve(wrap(answering(b"x", status=status))).status == status


@three_ways
@pytest.mark.parametrize("use", [write, ignore])
def test_p10_other_headers_pass_byte_for_byte_in_their_order(use: Any, wrap: Any) -> None:
    own = [
        ("X-Z", "  spaced  "),
        ("content-TYPE", "text/plain"),
        ("Location", "../relative?a=b c"),
        ("X-A", "caf\xe9 \x80"),
        ("Content-Length", "1"),
        ("X-Z", ""),
        ("ETag", '"session"'),
        ("Expires", "0"),
    ]
    exchange = serve(wrap(answering(b"x", headers=own, use=use)))
    assert exchange.headers[: len(own)] == own
    ours = sorted(name for name, _ in exchange.headers[len(own) :])
    assert ours == ([] if wrap is bare or use is ignore else ["Cache-Control", "Set-Cookie", "Vary"])


def test_p11_what_we_add_is_printable_ascii_with_every_attribute() -> None:
    jar = Jar("session", RING, domain="shop.example", path="/a%20b", samesite="none", partitioned=True)
    exchange = serve(adapter(answering(b"x", use=lambda environ: get_sessions(environ)["session"].update(a="\u20ac\r\n\x7f")), jar))
    [value] = exchange.values("Set-Cookie")
    assert re.fullmatch(
        r"session=[A-Za-z0-9_-]+; Max-Age=86400; Path=/a%20b; Domain=shop\.example; Secure; HttpOnly; SameSite=None; Partitioned",
        value,
    )
    assert all(text.isascii() and text.isprintable() for item in exchange.headers for text in item)


@three_ways
@pytest.mark.parametrize("body", [[], [b"x"]])
def test_p12_an_application_that_never_starts_gets_no_response_from_us(body: list[bytes], wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write(environ)
        return body

    exchange = Exchange(wrap(app))
    with pytest.raises(AssertionError, match="start_response"):
        exchange.run()
    assert exchange.argument_counts == []


@three_ways
def test_p13_start_response_may_come_with_the_first_chunk(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        log = environ["strict.events"]
        log.append("app begins")
        write(environ)
        start_response("200 OK", [TEXT])
        yield b"1"
        log.append("app goes on")
        yield b"2"

    exchange = serve(wrap(app))
    assert exchange.events == (
        ["next", "app begins", "start_response", "headers", "chunk b'1'", "next", "app goes on", "chunk b'2'", "next", "close"]
    )
    assert names_set(exchange) == ([] if wrap is bare else ["session"])


@both_ways
def test_p14_one_start_makes_one_response(wrap: Any) -> None:
    exchange = serve(wrap(answering(b"x", b"y")))
    assert exchange.argument_counts == [2]
    assert len(exchange.headers) == len({name for name, _ in exchange.headers})
    assert names_set(exchange) == ["session"]


@both_ways
@pytest.mark.parametrize("with_exc_info", [False, True])
def test_p15_a_session_too_large_raises_at_start_response_and_the_error_page_goes_out(with_exc_info: bool, wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        sessions["session"]["x"] = "x" * 5000
        sessions["cart"]["total"] = 33
        try:
            raise Boom
        except Boom:
            exc_info = (sys.exc_info(),) if with_exc_info else ()
            with pytest.raises(SessionTooLargeError, match="'session'") as caught:
                start_response("500 First", [TEXT], *exc_info)
            assert (caught.value.name, caught.value.limit, caught.value.size > 4096) == ("session", 4096, True)
            start_response("500 Oops", [TEXT], sys.exc_info())
        return [b"oops"]

    exchange = serve(wrap(app), make_environ(cookie=cookie(SESSION, {"old": 1})))
    assert exchange.argument_counts == [3]
    assert (exchange.status, exchange.body) == ("500 Oops", b"oops")
    assert names_set(exchange) == ["cart"]
    assert opened(CART, exchange) == {"total": 33}


# ---------------------------------------------------------------------------------------------------------------------
# P16 to P27: write() and the iterable
# ---------------------------------------------------------------------------------------------------------------------


@three_ways
def test_p16_what_is_written_reaches_the_server_before_write_returns(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        log = environ["strict.events"]
        write(environ)
        write_body = start_response("200 OK", [TEXT])
        write_body(b"x")
        log.append("returned")
        write_body(b"y")
        return [b"z"]

    exchange = serve(wrap(app))
    assert exchange.events[:5] == ["start_response", "headers", "write b'x'", "returned", "write b'y'"]
    assert exchange.body == b"xyz"


def test_p16_the_write_given_to_the_application_is_the_servers() -> None:
    given = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write(environ)
        given.append(start_response("200 OK", [TEXT]))
        return []

    servers_write = object()
    adapter(app)(make_environ(), lambda *_: servers_write)
    assert given == [servers_write]


SHAPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "list": lambda environ: [b"a", b"", b"b"],
    "empty list": lambda environ: [],
    "tuple": lambda environ: (b"a", b"b"),
    "generator": lambda environ: (chunk for chunk in (b"", b"a", b"", b"b", b"")),
    "body with close": lambda environ: Body([b"a", b"", b"b"], environ["strict.events"]),
    "iterator without close": lambda environ: iter([b"a", b"b"]),
    "indexed": lambda environ: Indexed(b"a", b"", b"b"),
    "file wrapper": lambda environ: environ["wsgi.file_wrapper"](io.BytesIO(b"abcdef"), 2),
    "set": lambda environ: {b"a"},
    "dict keys": lambda environ: {b"a": 1, b"b": 2}.keys(),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


class Indexed:
    """An iterable by ``__getitem__`` alone."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def __getitem__(self, index: int) -> bytes:
        return self.chunks[index]


def shaped(shape: Callable[[dict[str, Any]], Any], returned: list[Any] | None = None) -> App:
    def app(environ: Any, start_response: Any) -> Any:
        write(environ)
        start_response("200 OK", [TEXT])
        body = shape(environ)
        if returned is not None:
            returned.append(body)
        return body

    return app


@every_shape
def test_p17_yielded_data_never_goes_through_write(shape: Any) -> None:
    given: list[Any] = []

    def start_response(*args: Any) -> Callable[[bytes], NoReturn]:
        given.append(args)
        return lambda data: pytest.fail(f"write({data!r})")

    body = adapter(shaped(shape))(make_environ(**{"strict.events": []}), start_response)
    assert b"".join(body) == b"".join(shape({"strict.events": [], "wsgi.file_wrapper": FileWrapper}))
    assert len(given) == 1


@every_shape
def test_p18_the_applications_own_iterable_is_returned(shape: Any) -> None:
    returned: list[Any] = []
    exchange = serve(adapter(shaped(shape, returned)))
    assert exchange.iterable is returned[0]
    assert names_set(exchange) == ["session"]


def bodies() -> Iterator[tuple[str, list[Any], dict[str, Any], type[BaseException] | None]]:
    yield "to its end", [b"a", b"b"], {}, None
    yield "stopped early", [b"a", b"b"], {"stop_after": 1}, None
    yield "not read at all", [b"a", b"b"], {"stop_after": 0}, None
    yield "exception in the body", [b"a", Boom("here")], {}, Boom
    yield "generator exit", [b"a", GeneratorExit()], {}, GeneratorExit


@three_ways
@pytest.mark.parametrize(("chunks", "options", "error"), [case[1:] for case in bodies()], ids=[case[0] for case in bodies()])
def test_p19_p24_p45_close_comes_once_and_after_the_body(wrap: Any, chunks: list[Any], options: Any, error: Any) -> None:
    exchange = Exchange(wrap(shaped(lambda environ: Body(chunks, environ["strict.events"]))), **options)
    if error is None:
        exchange.run()
    else:
        with pytest.raises(error):
            exchange.run()
    assert exchange.events.count("app close") == 1
    assert exchange.events[-1] == "app close"
    assert names_set(exchange) == ([] if wrap is bare else ["session"])


@both_ways
def test_p20_an_iterable_needs_no_close(wrap: Any) -> None:
    exchange = serve(wrap(shaped(lambda environ: Indexed(b"x"))))
    assert exchange.body == b"x"
    assert not hasattr(Indexed(), "close")


@three_ways
def test_p21_the_first_chunk_of_an_endless_body_takes_one_next(wrap: Any) -> None:
    def endless(environ: Any) -> Iterator[bytes]:
        for _ in range(1000):  # who reads ahead is to fail, not to hang
            environ["strict.events"].append("made")
            yield b"tick"

    exchange = serve(wrap(shaped(endless)), stop_after=1)
    assert exchange.events.count("made") == 1
    assert exchange.body == b"tick"


@three_ways
@every_shape
def test_p22_p25_every_shape_gives_chunk_for_chunk_what_it_gives_without_us(shape: Any, wrap: Any) -> None:
    plain = serve(shaped(shape))
    exchange = serve(wrap(shaped(shape)))

    def chunks(events: list[str]) -> list[str]:
        return [event for event in events if event.startswith("chunk")]

    assert chunks(exchange.events) == chunks(plain.events)
    assert exchange.body == plain.body
    if wrap is not validated:  # whose iterable always has a close
        assert exchange.events == plain.events
    assert exchange.headers[: len(plain.headers)] == plain.headers
    assert names_set(exchange) == ([] if wrap is bare else ["session"])


@three_ways
@pytest.mark.parametrize("as_generator", [True, False])
def test_p23_a05_an_exception_before_start_response_sends_nothing(as_generator: bool, wrap: Any, monkeypatch: Any) -> None:
    sealed = []
    monkeypatch.setattr(_ciphers._Xaes256Gcm, "seal", lambda *args: sealed.append(args))

    def app(environ: Any, start_response: Any) -> Any:
        write(environ)
        raise Boom

    def generator(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from app(environ, start_response)

    exchange = Exchange(wrap(generator if as_generator else app))
    with pytest.raises(Boom):
        exchange.run()
    assert exchange.argument_counts == []
    assert exchange.headers == []
    assert sealed == []


def test_p26_the_servers_file_wrapper_passes_as_it_is() -> None:
    exchange = serve(adapter(shaped(SHAPES["file wrapper"])))
    assert type(exchange.iterable) is FileWrapper
    assert "file" in exchange.events
    assert exchange.body == b"abcdef"
    assert exchange.iterable.file.closed


@three_ways
def test_p27_an_error_of_close_rises_once(wrap: Any) -> None:
    exchange = Exchange(wrap(shaped(lambda environ: Body([b"x"], environ["strict.events"], close_error=Boom("closing")))))
    with pytest.raises(Boom, match="closing"):
        exchange.run()
    assert exchange.events.count("app close") == 1
    assert exchange.body == b"x"


# ---------------------------------------------------------------------------------------------------------------------
# P28 to P33: when a session is read and saved
# ---------------------------------------------------------------------------------------------------------------------

LATE: dict[str, Callable[[Any], object]] = {
    "item": lambda request: request.session.__setitem__("late", 1),
    "assignment": lambda request: setattr(request, "session", {"late": 1}),
    "update": lambda request: request.session.update(late=1),
    "clear": lambda request: request.session.clear(),
    "del": lambda request: request.session.pop("user"),
    "reset": lambda request: request.session.reset(),
    "destroy": lambda request: request.session.destroy(),
    "set_duration": lambda request: request.session.set_duration(timedelta(hours=1)),
    "first read of another": lambda request: request.cart,
    "first write of another": lambda request: setattr(request, "cart", {"total": 1}),
}


@both_ways
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_p28_a02_what_comes_after_start_response_raises_and_is_not_lost(late: Any, wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write(environ)
        start_response("200 OK", [TEXT])
        with pytest.raises(SessionCommittedError):
            late(webob.Request(environ))
        assert get_sessions(environ)["session"] == {"user": 7}
        return [b"x"]

    exchange = serve(wrap(app))
    assert opened(SESSION, exchange) == {"user": 7}
    assert exchange.body == b"x"


@both_ways
def test_p29_a_generator_saves_what_it_writes_before_its_own_start(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        write(environ)
        start_response("200 OK", [TEXT])
        yield b"x"
        with pytest.raises(SessionCommittedError):
            write(environ)
        yield b"y"

    exchange = serve(wrap(app))
    assert opened(SESSION, exchange) == {"user": 7}
    assert exchange.body == b"xy"


@pytest.mark.parametrize("header", [None, "", "valid", "session=junk"])
@pytest.mark.parametrize("wrap", [adapter, validated])
def test_p30_an_untouched_session_is_never_opened_and_leaves_no_trace(
    header: str | None, wrap: Any, decryptions: list[int]
) -> None:
    own = [TEXT, ("Cache-Control", "public, max-age=600"), ("Vary", "Accept"), ("Set-Cookie", "session=own"), ("X-A", "1")]
    if header == "valid":
        header = f"{cookie(SESSION, {'user': 7})}; {cookie(CART, {'total': 33})}"

    def looks(environ: Any) -> None:
        sessions = environ.get("clientsession.sessions", {"session": 0, "cart": 0})
        assert "session" in sessions
        assert "nope" not in sessions
        assert list(sessions) == ["session", "cart"]
        assert len(sessions) == 2

    plain = serve(answering(b"x", headers=own, use=looks), make_environ(cookie=header))
    exchange = serve(wrap(answering(b"x", headers=own, use=looks)), make_environ(cookie=header))
    assert exchange.headers == plain.headers == own
    assert exchange.status == plain.status
    assert decryptions == []


def test_p30_of_two_jars_only_the_one_in_use_is_opened(decryptions: list[int]) -> None:
    header = f"{cookie(SESSION, {'user': 7})}; {cookie(CART, {'total': 33})}"
    serve(adapter(answering(b"x", use=read)), make_environ(cookie=header))
    assert decryptions == [1]


@both_ways
def test_p31_a_read_adds_vary_and_no_cookie(wrap: Any) -> None:
    exchange = serve(wrap(answering(b"x", use=read)), make_environ(cookie=cookie(SESSION, {"user": 7})))
    assert exchange.headers == [TEXT, ("Vary", "Cookie"), ("Cache-Control", "private")]


@pytest.mark.parametrize(
    ("seconds", "sends"), [(0, False), (3299, False), (3300, False), (3300.001, True), (3599, True), (3600, False)]
)
def test_p31_a_read_sends_the_cookie_again_only_inside_the_refresh_window(seconds: float, sends: bool, clock: Clock) -> None:
    jar = Jar("session", RING, duration=timedelta(hours=1), active_duration=timedelta(minutes=5), clock=clock)
    header = cookie(jar, {"user": 7})
    clock.pass_(seconds)
    exchange = serve(adapter(answering(b"x", use=read), jar), make_environ(cookie=header))
    assert names_set(exchange) == (["session"] if sends else [])
    assert exchange.values("Cache-Control") == (["private, no-store"] if sends else ["private"])
    assert exchange.values("Vary") == ["Cookie"]


def writes_an_equal_value(environ: Any) -> None:
    get_sessions(environ)["session"]["a"] = {"b": 0}


def changes_and_reverts(environ: Any) -> None:
    session = get_sessions(environ)["session"]
    session["a"]["b"] = 1
    session["a"]["b"] = 0


def changes_inside(environ: Any) -> None:
    get_sessions(environ)["session"]["a"]["b"] = 1


@both_ways
@pytest.mark.parametrize(("use", "sends"), [(writes_an_equal_value, False), (changes_and_reverts, False), (changes_inside, True)])
def test_p32_only_what_differs_when_serialized_is_a_change(use: Any, sends: bool, wrap: Any) -> None:
    exchange = serve(wrap(answering(b"x", use=use)), make_environ(cookie=cookie(SESSION, {"a": {"b": 0}})))
    assert names_set(exchange) == (["session"] if sends else [])
    if sends:
        assert opened(SESSION, exchange) == {"a": {"b": 1}}


@both_ways
def test_p33_set_then_delete_sends_nothing_to_a_new_client_and_one_deletion_to_an_old_one(wrap: Any) -> None:
    def use(environ: Any) -> None:
        session = get_sessions(environ)["session"]
        session["user"] = 7
        del session["user"]

    app = wrap(answering(b"x", use=use))
    assert serve(app).values("Set-Cookie") == []
    assert serve(app, make_environ(cookie="session=junk")).values("Set-Cookie") == []
    [value] = serve(app, make_environ(cookie=cookie(SESSION, {"user": 7}))).values("Set-Cookie")
    assert deletes(value, SESSION)


# ---------------------------------------------------------------------------------------------------------------------
# P34 to P38: methods and statuses
# ---------------------------------------------------------------------------------------------------------------------


@both_ways
def test_p34_head_gets_the_headers_of_get_and_the_body_is_left_to_the_server(wrap: Any) -> None:
    app = wrap(answering(b"body", headers=[TEXT, ("Content-Length", "4")]))
    get = serve(app)
    head = serve(app, make_environ("HEAD"), drop_head_body=True)
    assert [name for name, _ in head.headers] == [name for name, _ in get.headers]
    assert opened(SESSION, head) == opened(SESSION, get) == {"user": 7}
    assert head.events == get.events  # chunk b'body' came to the server
    assert head.body == b""


@three_ways
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_p35_a06_a_bodiless_response_sends_changes_and_gets_no_content_headers(status: str, wrap: Any) -> None:
    exchange = serve(wrap(answering(status=status, headers=[("ETag", '"1"')])))
    assert exchange.values("Content-Type") == exchange.values("Content-Length") == []
    assert exchange.headers[0] == ("ETag", '"1"')
    if wrap is not bare:
        assert opened(SESSION, exchange) == {"user": 7}
        assert exchange.values("Cache-Control") == ["private, no-store"]


@both_ways
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_p36_a_redirect_carries_the_cookie(status: str, wrap: Any) -> None:
    exchange = serve(wrap(answering(status=status, headers=[TEXT, ("Location", "/me")])))
    assert exchange.values("Location") == ["/me"]
    assert opened(SESSION, exchange) == {"user": 7}


@both_ways
@pytest.mark.parametrize("status", ["400 Bad", "404 Not Found", "500 Oops", "503 Later"])
def test_p37_an_error_page_of_the_applications_own_saves_like_any_other(status: str, wrap: Any) -> None:
    exchange = serve(wrap(answering(b"oops", status=status)))
    assert opened(SESSION, exchange) == {"user": 7}


@three_ways
def test_p38_a_stream_goes_out_event_by_event(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        write(environ)
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in range(3):
            yield b"data: %d\n\n" % number

    exchange = serve(wrap(app))
    assert [event for event in exchange.events if event.startswith(("next", "chunk"))] == (
        ["next", r"chunk b'data: 0\n\n'", "next", r"chunk b'data: 1\n\n'", "next", r"chunk b'data: 2\n\n'", "next"]
    )
    assert exchange.values("Content-Length") == exchange.values("Transfer-Encoding") == []
    assert names_set(exchange) == ([] if wrap is bare else ["session"])


# ---------------------------------------------------------------------------------------------------------------------
# P39 to P45: the environ, nesting, threads
# ---------------------------------------------------------------------------------------------------------------------


def test_p39_the_environ_gets_our_key_and_webobs_and_nothing_else_changes() -> None:
    header = f"  {cookie(SESSION, {'user': 7})} ;; x=\x7f"
    environ = make_environ(cookie=header)
    before = {**environ, "strict.events": None}
    seen: dict[str, Any] = {}

    def use(environ: dict[str, Any]) -> None:
        write(environ)
        assert type(environ) is dict
        seen.update(environ)

    serve(adapter(answering(b"x", use=use)), environ)
    assert seen.keys() - before.keys() == {"clientsession.sessions", "webob.adhoc_attrs"}
    assert {key: seen[key] for key in before if key != "strict.events"} == {
        key: value for key, value in before.items() if key != "strict.events"
    }
    assert seen["HTTP_COOKIE"] == header
    assert isinstance(seen["clientsession.sessions"], Sessions)


@pytest.mark.parametrize("wrap", [bare, validator])
def test_p40_nested_middlewares_of_different_names_both_work(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        assert set(sessions) == {"session", "cart"}
        assert len(sessions) == 2
        assert "session" in sessions
        assert "nope" not in sessions
        sessions["session"]["user"] = 7
        request = webob.Request(environ)
        request.cart["total"] = request.session["user"] + 26
        request.session |= {"name": "ada"}
        start_response("200 OK", [TEXT])
        return [b"x"]

    exchange = serve(wrap(adapter(wrap(adapter(wrap(app), CART)), SESSION)))
    assert sorted(names_set(exchange)) == ["cart", "session"]
    assert opened(SESSION, exchange) == {"user": 7, "name": "ada"}
    assert opened(CART, exchange) == {"total": 33}
    assert exchange.values("Vary") == ["Cookie"]
    assert exchange.values("Cache-Control") == ["private, no-store"]


def test_p40_the_outer_jar_is_read_through_the_inner_request_and_saved_by_the_outer() -> None:
    app = adapter(adapter(answering(b"x", use=lambda environ: webob.Request(environ).session.update(user=8)), CART), SESSION)
    exchange = serve(app, make_environ(cookie=f"{cookie(SESSION, {'user': 7, 'a': 1})}; {cookie(CART, {'total': 33})}"))
    assert names_set(exchange) == ["session"]
    assert opened(SESSION, exchange) == {"user": 8, "a": 1}


def test_p40_an_unknown_name_is_a_key_error_inside_and_outside() -> None:
    def use(environ: Any) -> None:
        with pytest.raises(KeyError, match="nope"):
            get_sessions(environ)["nope"]
        assert not hasattr(webob.Request(environ), "nope")

    assert serve(adapter(adapter(answering(b"x", use=use), CART), SESSION)).body == b"x"
    assert serve(adapter(answering(b"x", use=use))).body == b"x"


@pytest.mark.parametrize(
    "inner",
    [Jar("session", RING, cookie_name="other"), Jar("other", RING, cookie_name="session")],
    ids=["the same jar name", "the same cookie name"],
)
@pytest.mark.parametrize("depth", [0, 1])
def test_p40_nested_middlewares_of_one_name_raise_at_the_first_request(inner: Jar, depth: int) -> None:
    reached = []
    app = adapter(answering(b"x", use=reached.append), inner)
    if depth:
        app = adapter(app, CART)
    exchange = Exchange(adapter(app, SESSION))
    with pytest.raises(ConfigurationError, match="session"):
        exchange.run()
    assert exchange.headers == reached == []


@both_ways
@pytest.mark.parametrize(
    "header", [None, "", "\u20ac", "session=\u20ac; cart=\ud800", "\x00", "session", "=", ";;;", "session=\xff"]
)
def test_p41_whatever_the_cookie_header_is_there_is_a_working_empty_session(header: str | None, wrap: Any) -> None:
    def use(environ: Any) -> None:
        session = get_sessions(environ)["session"]
        assert session == {}
        assert session.is_new

    app = wrap(answering(b"x", use=use))
    exchange, plain = serve(app, make_environ(cookie=header)), serve(app)
    assert exchange.headers == plain.headers == [TEXT, ("Vary", "Cookie"), ("Cache-Control", "private")]
    assert serve(wrap(answering(b"x")), make_environ(cookie=header)).values("Set-Cookie")


@pytest.mark.parametrize(("joined", "user"), [("{0},{0}", None), ("{0}, {0}", None), ("a=1,{0}", None), ("a=1,b=2; {0}", 7)])
def test_p42_cookie_lines_joined_by_commas_are_invalid_and_no_error(joined: str, user: int | None) -> None:
    seen = []
    app = adapter(answering(b"x", use=lambda environ: seen.append(get_sessions(environ)["session"].get("user"))))
    exchange = serve(app, make_environ(cookie=joined.format(cookie(SESSION, {"user": 7}))))
    assert seen == [user]
    assert exchange.values("Set-Cookie") == []


def test_p43_a_sub_request_with_a_copied_environ_starts_afresh() -> None:
    inner: list[Exchange] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        if environ["PATH_INFO"] == "/sub":
            assert sessions["session"] == {"n": 1}  # as the client sent it, not as the outer request has it
            sessions["session"]["sub"] = True
        else:
            sessions["session"]["n"] = 2
            inner.append(serve(wrapped, {**environ, "PATH_INFO": "/sub"}))
            assert get_sessions(environ) is sessions
            assert sessions["session"] == webob.Request(environ).session == {"n": 2}
            sessions["session"]["after"] = 3  # the sub-request's commit did not close it
        start_response("200 OK", [TEXT])
        return [b"x"]

    wrapped = adapter(app)
    exchange = serve(wrapped, make_environ(cookie=cookie(SESSION, {"n": 1})))
    assert opened(SESSION, inner[0]) == {"n": 1, "sub": True}
    assert opened(SESSION, exchange) == {"n": 2, "after": 3}


def test_p43_a_sub_request_with_the_very_environ_leaves_the_sessions_of_its_request_in_place() -> None:
    """Even where it is never started: what is written afterwards is the outer request's, and is sent."""
    started: list[dict[str, str]] = []

    def app(environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        sessions = get_sessions(environ)
        if path != "/":
            assert sessions["session"] == {}
            sessions["session"]["sub"] = True
            if path == "/lazy":
                return iter(())
        else:
            for environ["PATH_INFO"] in ("/lazy", "/sub"):
                wrapped(environ, lambda _status, headers, _exc_info=None: started.append(dict(headers)))
            environ["PATH_INFO"] = "/"
            assert get_sessions(environ) is sessions
            webob.Request(environ).session["n"] = 2
        start_response("200 OK", [TEXT])
        return [b"x"]

    wrapped = adapter(app)
    exchange = serve(wrapped, make_environ())
    assert opened(SESSION, exchange) == {"n": 2}
    (headers,) = started
    assert SESSION.codec.decode(cookie_of(headers["Set-Cookie"]).partition("=")[2]) == {"sub": True}


def test_p43_a_sub_request_through_nested_middlewares_starts_afresh_in_both() -> None:
    inner: list[Exchange] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        if environ["PATH_INFO"] == "/":
            sessions["session"]["n"] = 2
            sessions["cart"]["n"] = 2
            inner.append(serve(wrapped, {**environ, "PATH_INFO": "/sub"}))
        else:
            assert (sessions["session"], sessions["cart"]) == ({"n": 1}, {"n": 1})
        start_response("200 OK", [TEXT])
        return [b"x"]

    wrapped = adapter(adapter(app, CART), SESSION)
    exchange = serve(wrapped, make_environ(cookie=f"{cookie(SESSION, {'n': 1})}; {cookie(CART, {'n': 1})}"))
    assert inner[0].values("Set-Cookie") == []
    assert (opened(SESSION, exchange), opened(CART, exchange)) == ({"n": 2}, {"n": 2})


def test_p43_webobs_get_response_of_a_copied_request_starts_afresh() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        request = webob.Request(environ)
        if request.path == "/sub":
            request.session["sub"] = True
            return webob.Response("sub")(environ, start_response)
        request.session["n"] = 2
        copy = request.copy_get()
        copy.path_info = "/sub"
        response = copy.get_response(wrapped)
        assert cookie_of(response.headers["Set-Cookie"]).startswith("session=")
        assert request.session == {"n": 2}
        request.session["after"] = 3
        return webob.Response("outer " + response.text)(environ, start_response)

    wrapped = adapter(app)
    exchange = serve(wrapped)
    assert exchange.body == b"outer sub"
    assert opened(SESSION, exchange) == {"n": 2, "after": 3}


def test_p44_sixteen_threads_of_1000_requests_never_see_one_another() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        request = webob.Request(environ)
        user = environ["test.user"]
        if request.session.setdefault("user", user) != user:
            return fail(start_response)
        request.session["visits"] = request.session.get("visits", 0) + 1
        if request.session["visits"] % 3 == 0:
            request.cart["user"] = user
        start_response("200 OK", headers)
        if request.session["user"] != user or get_sessions(environ)["session"]["user"] != user:
            return fail(start_response)
        return [f"{user} {request.session['visits']}".encode()]

    def fail(start_response: Any) -> list[bytes]:
        start_response("500 Mixed", headers, (Boom, Boom("mixed up"), None))
        return [b"mixed up"]

    def client(user: int) -> None:
        cookies: dict[str, str] = {}
        for number in range(1, requests + 1):
            given: list[Any] = []
            environ = make_environ(cookie="; ".join(cookies.values()), **{"test.user": user})
            body = wrapped(environ, lambda *args, given=given: given.append(args))
            for name, value in given[-1][1]:
                if name == "Set-Cookie":
                    cookies[value.partition("=")[0]] = cookie_of(value)
            if b"".join(body) != f"{user} {number}".encode() or len(given) != 1:
                faults.append((user, number, body))
                return
        done[user] = cookies

    threads, requests = 16, 1000
    headers = [TEXT]  # one list for all
    wrapped = adapter(app)
    faults: list[Any] = []
    done: dict[int, dict[str, str]] = {}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        running = [threading.Thread(target=client, args=(user,)) for user in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert faults == []
    assert len(done) == threads
    for user, cookies in done.items():
        assert SESSION.codec.decode(cookies["session"].partition("=")[2]) == {"user": user, "visits": requests}
        assert CART.codec.decode(cookies["cart"].partition("=")[2]) == {"user": user}
    assert headers == [TEXT]


# ---------------------------------------------------------------------------------------------------------------------
# A3 to A20: what applications and servers do
# ---------------------------------------------------------------------------------------------------------------------


def test_a03_a_session_kept_from_an_earlier_request_is_closed() -> None:
    kept: list[Session] = []

    def use(environ: Any) -> None:
        session = get_sessions(environ)["session"]
        session["user"] = 7
        for old in kept:
            with pytest.raises(SessionCommittedError):
                old["user"] = 8
        kept.append(session)

    app = adapter(answering(b"x", use=use))
    for _ in range(3):
        assert opened(SESSION, serve(app)) == {"user": 7}
    assert kept[0] is not kept[1]


def test_a04_ended_and_made_anew_in_one_request_is_one_cookie_with_a_new_id() -> None:
    ids = []

    def use(environ: Any) -> None:
        session = get_sessions(environ)["session"]
        ids.append(session.id)
        session["user"] = session.get("user", 0) + 1
        session.destroy()
        session["user"] = 8
        ids.append(session.id)

    exchange = serve(adapter(answering(b"x", use=use)), make_environ(cookie=cookie(SESSION, {"user": 7})))
    assert names_set(exchange) == ["session"]
    assert opened(SESSION, exchange) == {"user": 8}
    assert opened(SESSION, exchange).id == ids[1] != ids[0]


def test_a07_a_public_response_that_changes_the_session_becomes_private_with_one_warning(warned: Any) -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, ("Cache-Control", "public, max-age=600")])))
    [value] = exchange.values("Cache-Control")
    assert set(value.split(", ")) == {"private", "max-age=600"}
    [message] = warned()
    assert "public" in message


def test_a09_vary_star_stays_alone() -> None:
    assert serve(adapter(answering(b"x", headers=[TEXT, ("Vary", "*")]))).values("Vary") == ["*"]


def test_a10_vary_cookie_in_any_case_is_not_doubled() -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, ("vary", "cookie")])))
    assert [item for item in exchange.headers if item[0].lower() == "vary"] == [("vary", "cookie")]


@pytest.mark.parametrize(
    "odd",
    [
        ["X-A", "list"],
        (b"X-B", b"bytes"),
        ("X-C", 7),
        ("X-D", "three", "items"),
        ("one",),
        (),
        ("cONTENT-tYPE", "text/plain"),
        ("vary", b"cookie"),
        [b"Set-Cookie", b"session=own"],
    ],
    ids=repr,
)
def test_a11_headers_of_odd_form_are_passed_on_as_they_are_and_ours_are_right(odd: Any) -> None:
    given: list[Any] = []
    adapter(answering(headers=[TEXT, odd]))(make_environ(), lambda *args: given.append(args))
    [(_, headers)] = given
    assert headers[1] is odd
    assert sorted(name for name, _ in headers[2:]) == ["Cache-Control", "Set-Cookie", "Vary"]


@pytest.mark.parametrize("body", [["text"], ["text", b"bytes"]])
def test_a12_yielded_text_is_passed_on_and_the_validator_blames_the_application(body: list[Any]) -> None:
    assert serve(adapter(shaped(lambda environ: [])), make_environ()).body == b""
    returned: list[Any] = []
    with pytest.raises(Violation, match="bytes, not str"):
        serve(adapter(shaped(lambda environ: body, returned)))
    assert returned == [body]
    with pytest.raises(AssertionError, match="non-bytestring") as caught:
        serve(validated(shaped(lambda environ: body)))
    # Both validators are in the traceback: the inner one, around the application, spoke first.
    assert [entry.name for entry in caught.traceback].count("__next__") == 2


@both_ways
def test_a13_a_client_that_goes_away_closes_the_iterable(wrap: Any) -> None:
    finished = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            write(environ)
            start_response("200 OK", [TEXT])
            for _ in range(1000):
                yield b"tick"
            finished.append(2)
        finally:
            finished.append(1)

    exchange = serve(wrap(app), stop_after=2)
    assert finished == [1]
    assert exchange.body == b"ticktick"


def test_a14_what_the_servers_start_response_raises_reaches_the_application() -> None:
    caught = []

    def start_response(*args: Any) -> NoReturn:
        raise Boom("of the server")

    def app(environ: Any, start: Any) -> list[bytes]:
        write(environ)
        try:
            start("200 OK", [TEXT])
        except Boom as error:
            caught.append(str(error))
            raise
        return []

    with pytest.raises(Boom, match="of the server"):
        adapter(app)(make_environ(), start_response)
    assert caught == ["of the server"]


@both_ways
@pytest.mark.parametrize("changed", ["session", "cart"])
def test_a20_of_two_jars_only_the_changed_one_is_sent(changed: str, wrap: Any) -> None:
    def use(environ: Any) -> None:
        sessions = get_sessions(environ)
        assert sessions["session"]["a"] == sessions["cart"]["a"] == 1
        sessions[changed]["a"] = 2

    header = f"{cookie(SESSION, {'a': 1})}; {cookie(CART, {'a': 1})}"
    assert names_set(serve(wrap(answering(b"x", use=use)), make_environ(cookie=header))) == [changed]


@both_ways
def test_a20_two_middlewares_of_two_names_with_one_changed_send_one_cookie(wrap: Any) -> None:
    app = answering(b"x", use=lambda environ: get_sessions(environ)["outer"].update(a=1))
    exchange = serve(adapter(wrap(app), Jar("outer", RING)))
    assert names_set(exchange) == ["outer"]


# ---------------------------------------------------------------------------------------------------------------------
# Vary and Cache-Control
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", [read, write])
@pytest.mark.parametrize(
    ("own", "merged"),
    [
        ([], ["Cookie"]),
        ([""], ["", "Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept", "Origin"], ["Accept", "Origin, Cookie"]),
        (["Accept, Accept-Encoding"], ["Accept, Accept-Encoding, Cookie"]),
        (["Cookie"], ["Cookie"]),
        (["COOKIE , Accept"], ["COOKIE , Accept"]),
        (["Accept,cookie"], ["Accept,cookie"]),
        (["Cookie", "Accept"], ["Cookie", "Accept"]),
        (["*"], ["*"]),
        (["Accept, *"], ["Accept, *"]),
        (["Accept", "*"], ["Accept", "*"]),
        (["Cookie2"], ["Cookie2, Cookie"]),
        (["Set-Cookie"], ["Set-Cookie, Cookie"]),
    ],
)
def test_vary_is_merged(own: list[str], merged: list[str], use: Any) -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, *(("Vary", value) for value in own)], use=use)))
    assert exchange.values("Vary") == merged


@pytest.mark.parametrize(
    "own",
    [["public, max-age=600"], ["s-maxage=60"], ["no-store"], ["private"], ["max-age=0"], ["no-cache", "public"]],
)
def test_cache_control_of_the_application_stays_where_a_session_was_only_read(own: list[str], warned: Any) -> None:
    headers = [TEXT, *(("cache-control", value) for value in own)]
    exchange = serve(adapter(answering(b"x", headers=headers, use=read)), make_environ(cookie=cookie(SESSION, {"user": 7})))
    assert exchange.headers == [*headers, ("Vary", "Cookie")]
    assert warned() == []


TARGETED = ["CDN-Cache-Control", "cdn-cache-control", "Example-CDN-Cache-Control", "Surrogate-Control"]


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize(
    "value",
    [
        "max-age=600",
        "public, max-age=600",
        "must-revalidate",
        "",
        'ext="private"',
        'ext="a, private, b"',
        "no-store, must-understand",
    ],
)
def test_what_is_said_to_a_cdn_alone_does_not_let_it_keep_a_session(name: str, value: str, warned: Any) -> None:
    """RFC 9213, 2.1: a cache that such a header is for heeds no other."""
    exchange = serve(adapter(answering(b"x", headers=[TEXT, (name, value), ("X-A", "1"), (name, value)])))
    assert exchange.values(name) == []
    assert exchange.values("X-A") == ["1"]
    assert exchange.values("Cache-Control") == ["private, no-store"]
    assert len(warned()) == 2
    assert name.lower() in warned()[0]


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize("value", ["no-store", "max-age=60, Private", "NO-STORE"])
def test_what_keeps_a_session_from_a_cdn_stays(name: str, value: str, warned: Any) -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, (name, value)])))
    assert exchange.values(name) == [value]
    assert warned() == []


@pytest.mark.parametrize("name", TARGETED)
def test_what_is_said_to_a_cdn_stays_where_no_cookie_goes_out(name: str, warned: Any) -> None:
    headers = [TEXT, (name, "max-age=600")]
    exchange = serve(adapter(answering(b"x", headers=headers, use=read)), make_environ(cookie=cookie(SESSION, {"user": 7})))
    assert exchange.values(name) == ["max-age=600"]
    assert warned() == []


@pytest.mark.parametrize(
    ("own", "result", "warnings"),
    [
        ([], [{"private", "no-store"}], 0),
        (["public"], [{"private"}], 1),
        (["public, max-age=600"], [{"private", "max-age=600"}], 1),
        (["s-maxage=60, must-revalidate"], [{"private", "must-revalidate"}], 1),
        (['public="x", immutable'], [{"private", "immutable"}], 1),
        (["public, private"], [{"private"}], 1),
        (["no-store, public"], [{"no-store"}], 1),
        (["no-store, s-maxage=1"], [{"no-store"}], 1),
        (["no-store, must-understand"], [{"private", "no-store", "must-understand"}], 0),  # RFC 9111, 5.2.2.3: it may be stored
        (["no-store", "max-age=60, Must-Understand"], [{"private", "no-store", "max-age=60", "must-understand"}], 0),
        (["private, no-store, must-understand"], [{"private", "no-store", "must-understand"}], 0),
        (["max-age=600"], [{"private", "max-age=600"}], 0),
        (["no-cache"], [{"private", "no-cache"}], 0),
        (['private="Set-Cookie"'], [{"private"}], 0),
        (['private="X-A", max-age=600'], [{"private", "max-age=600"}], 0),
        (["public", "max-age=600"], [{"private", "max-age=600"}], 1),
        (["max-age=600", "s-maxage=5", "no-cache"], [{"private", "max-age=600", "no-cache"}], 1),
    ],
)
def test_cache_control_beside_a_cookie_of_ours(own: list[str], result: list[set[str]], warnings: int, warned: Any) -> None:
    headers = [TEXT, *(("Cache-Control", value) for value in own), ("X-A", "1")]
    exchange = serve(adapter(answering(b"x", headers=headers)))
    values = [{directive.strip().lower() for directive in value.split(",")} for value in exchange.values("Cache-Control")]
    qualified = {directive.lower() for value in own for directive in value.split(", ") if directive.startswith("private=")}
    assert [value - qualified for value in values] == result  # private="field" beside private says nothing: kept or not
    assert len(warned()) == warnings
    assert names_set(exchange) == ["session"]
    assert exchange.values("X-A") == ["1"]


@pytest.mark.parametrize(
    "own",
    [["no-store"], ["private"], ["no-store, private"], ["max-age=1", "no-store"], ["private", "no-cache"]],
)
def test_cache_control_that_is_private_or_not_stored_stays_byte_for_byte(own: list[str], warned: Any) -> None:
    headers = [TEXT, *(("cAcHe-Control", value) for value in own)]
    exchange = serve(adapter(answering(b"x", headers=headers)))
    assert exchange.headers[: len(headers)] == headers
    assert len(exchange.values("Cache-Control")) == len(own)
    assert warned() == []


@pytest.mark.parametrize(
    ("own", "result", "warnings"),
    [
        ("Public, Max-Age=600", {"private", "max-age=600"}, 1),
        ("S-MaxAge=5", {"private"}, 1),
        ("PRIVATE", {"private"}, 0),
        ("No-Store", {"no-store"}, 0),
    ],
)
def test_cache_control_directives_are_known_in_any_case(own: str, result: set[str], warnings: int, warned: Any) -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, ("Cache-Control", own)])))
    [value] = exchange.values("Cache-Control")
    assert sorted(directive.strip().lower() for directive in value.split(",")) == sorted(result)
    assert len(warned()) == warnings


@pytest.mark.parametrize(
    "own", ['ext="public, private"', 'ext="no-store, s-maxage=1", no-cache', r'no-cache="a, private", ext="\", private"']
)
def test_cache_control_words_in_quoted_strings_are_no_directives(own: str, warned: Any) -> None:
    exchange = serve(adapter(answering(b"x", headers=[TEXT, ("Cache-Control", own)])))
    [value] = exchange.values("Cache-Control")
    unquoted = re.sub(r'"(\\.|[^"\\])*"', "", value)
    assert "private" in [directive.strip() for directive in unquoted.split(",")]
    assert all(quoted in value for quoted in re.findall(r'"(?:\\.|[^"\\])*"', own))
    assert warned() == []


def test_a_deletion_is_kept_from_caches_like_any_cookie(warned: Any) -> None:
    app = answering(
        b"x", headers=[TEXT, ("Cache-Control", "public")], use=lambda environ: get_sessions(environ)["session"].destroy()
    )
    exchange = serve(adapter(app), make_environ(cookie="session=junk"))
    assert deletes(exchange.values("Set-Cookie")[0], SESSION)
    assert exchange.values("Cache-Control") == ["private"]
    assert len(warned()) == 1


# ---------------------------------------------------------------------------------------------------------------------
# A Secure cookie on plain http
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "shop.example",
        "shop.example:8080",
        "localhost.example",
        "notlocalhost",
        "127.0.0.1.example",
        "10.0.0.1",
        "128.0.0.1",
        "[2001:db8::1]:80",
        "localhost@shop.example",
    ],
)
def test_a_secure_cookie_on_plain_http_is_warned_of_once(host: str, warned: Any) -> None:
    app = adapter(answering(b"x"))
    for _ in range(3):
        assert names_set(serve(app, make_environ(scheme="http", host=host))) == ["session"]
    [message] = warned()
    assert "session" in message
    assert "secure=False" in message
    assert "X-Forwarded-Proto" in message


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LocalHost:1",
        "localhost.",
        "shop.localhost",
        "a.b.localhost:80",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.10",
        "[::1]",
        "[::1]:8000",
    ],
)
def test_a_secure_cookie_on_localhost_is_not_warned_of(host: str, warned: Any) -> None:
    serve(adapter(answering(b"x")), make_environ(scheme="http", host=host))
    assert warned() == []


@pytest.mark.parametrize(
    "host", ["", "[", "[]", "]", "[::1", ":", "::", ":80", "\xff", "1" * 5000, "127.0.0.1:x", "%6c", "[::1%25lo]"]
)
def test_a_host_that_is_none_raises_nothing(host: str) -> None:
    assert names_set(serve(adapter(answering(b"x")), make_environ(scheme="http", host=host))) == ["session"]


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1", "::1"])
def test_a_request_without_a_host_header_is_judged_by_the_name_of_the_server(server: str, warned: Any) -> None:
    environ = make_environ(scheme="http", SERVER_NAME=server)
    del environ["HTTP_HOST"]
    serve(adapter(answering(b"x")), environ)
    assert warned() == []


def test_a_secure_cookie_on_https_or_not_sent_and_an_insecure_one_are_not_warned_of(warned: Any) -> None:
    http = {"scheme": "http", "host": "shop.example"}
    serve(adapter(answering(b"x")), make_environ(scheme="https"))
    serve(adapter(answering(b"x", use=read)), make_environ(**http))
    serve(adapter(answering(b"x"), Jar("session", RING, secure=False)), make_environ(**http))
    insecure_beside_secure = adapter(answering(b"x"), Jar("session", RING, secure=False), Jar("cart", RING))
    serve(insecure_beside_secure, make_environ(**http))
    assert warned() == []


def test_each_jar_is_warned_of_once_on_plain_http(warned: Any) -> None:
    app = adapter(
        answering(b"x", use=lambda environ: [get_sessions(environ)[name].update(a=1) for name in environ["QUERY_STRING"].split()])
    )
    for query in ("cart", "session", "cart session", "session"):
        serve(app, make_environ(scheme="http", QUERY_STRING=query))
    assert len(warned()) == 2
    assert "cart" in warned()[0]
    assert "cookie session " in warned()[1]


# ---------------------------------------------------------------------------------------------------------------------
# Construction
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "path",
        "cookies",
        "headers",
        "GET",
        "body",
        "get_response",
        "environ",
        "_x",
        "__class__",
        "class",
        "None",
        "1x",
        "a-b",
        "a.b",
        "\u20ac",
        "__Host-session",
        "a b",
    ],
)
def test_a_jar_name_that_cannot_be_an_attribute_of_a_request_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        SessionMiddleware(answering(), [Jar(name, RING, cookie_name="x")])


@pytest.mark.parametrize("name", ["session", "cart", "user", "X1", "a_b", "match", "caf\xe9"])
def test_any_other_identifier_is_a_jar_name_and_an_attribute(name: str) -> None:
    def use(environ: Any) -> None:
        getattr(webob.Request(environ), name)["a"] = 1

    assert names_set(serve(adapter(answering(b"x", use=use), Jar(name, RING, cookie_name="c")))) == ["c"]


def test_the_message_of_a_refused_name_shows_the_way_out() -> None:
    with pytest.raises(ConfigurationError, match='cookie_name="cookies"'):
        SessionMiddleware(answering(), [Jar("cookies", RING)])


@pytest.mark.parametrize(
    "jars",
    [
        [SESSION, Jar("session", RING, cookie_name="other")],
        [SESSION, Jar("other", RING, cookie_name="session")],
        [SESSION, SESSION],
        [],
        ["session"],
        [RING],
    ],
    ids=["one name", "one cookie name", "the same jar", "no jar", "a str", "a ring"],
)
def test_jars_that_do_not_go_together_are_refused_when_the_middleware_is_made(jars: list[Any]) -> None:
    with pytest.raises(ConfigurationError):
        SessionMiddleware(answering(), jars)


def test_an_application_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="app"):
        SessionMiddleware(None, [SESSION])  # type: ignore[arg-type]


def test_cookie_names_that_differ_in_case_alone_are_two_cookies() -> None:
    jars = (Jar("one", RING, cookie_name="Session"), Jar("two", RING, cookie_name="session"))

    def use(environ: Any) -> None:
        get_sessions(environ)["one"]["n"] = 1
        get_sessions(environ)["two"]["n"] = 2

    exchange = serve(adapter(answering(b"x", headers=[TEXT, ("Set-Cookie", "SESSION=own")], use=use), *jars))
    assert names_set(exchange) == ["SESSION", "Session", "session"]
    assert [opened(jar, exchange)["n"] for jar in jars] == [1, 2]


def test_a_host_cookie_has_a_plain_name_in_the_application() -> None:
    jar = Jar("session", RING, cookie_name="__Host-session")
    app = adapter(answering(b"x", use=lambda environ: webob.Request(environ).session.update(user=7)), jar)
    exchange = serve(app)
    assert names_set(exchange) == ["__Host-session"]
    assert serve(app, make_environ(cookie=sent_back(exchange))).values("Set-Cookie") == []


def test_the_jars_may_be_any_iterable_read_once() -> None:
    app = SessionMiddleware(answering(b"x"), (jar for jar in (SESSION, CART)))
    for _ in range(2):
        assert names_set(serve(app)) == ["session"]


# ---------------------------------------------------------------------------------------------------------------------
# get_sessions, request.session
# ---------------------------------------------------------------------------------------------------------------------


def test_get_sessions_finds_the_same_by_environ_and_by_request() -> None:
    def use(environ: Any) -> None:
        sessions = environ["clientsession.sessions"]
        assert get_sessions(environ) is sessions
        assert get_sessions(webob.Request(environ)) is sessions
        assert get_sessions(environ)["session"] is webob.Request(environ).session is webob.Request(environ).session
        environ["strict.events"].append("checked")

    assert "checked" in serve(adapter(answering(b"x", use=use))).events


@pytest.mark.parametrize("junk", [{}, {"clientsession.sessions": {"session": {}}}])
def test_get_sessions_without_a_middleware_says_how_to_wrap_the_application(junk: dict[str, Any]) -> None:
    for request in (make_environ(**junk), webob.Request(make_environ(**junk))):
        with pytest.raises(ConfigurationError, match=r"SessionMiddleware\(app"):
            get_sessions(request)


def test_a_request_without_a_middleware_has_no_session_attribute() -> None:
    assert not hasattr(webob.Request(make_environ()), "session")


def test_a_request_reads_assigns_and_merges_its_sessions() -> None:
    def use(environ: Any) -> None:
        request = webob.Request(environ)
        assert request.session == {"user": 7}
        assert request.cart == {"items": []}
        request.session |= {"name": "ada"}
        assert request.session == {"user": 7, "name": "ada"}
        request.cart = {"total": 33}
        assert request.cart == {"total": 33}
        request.cart["currency"] = "EUR"
        assert hasattr(request, "session")
        assert not hasattr(request, "basket")
        request.basket = ["an attribute of the application's own"]
        assert webob.Request(environ).basket == ["an attribute of the application's own"]
        del request.basket
        assert not hasattr(request, "basket")

    header = f"{cookie(SESSION, {'user': 7})}; {cookie(CART, {'items': []})}"
    exchange = serve(adapter(answering(b"x", use=use)), make_environ(cookie=header))
    assert opened(SESSION, exchange) == {"user": 7, "name": "ada"}
    assert opened(CART, exchange) == {"total": 33, "currency": "EUR"}


@pytest.mark.parametrize("value", [None, 7, "text", [("a", 1)], {1, 2}])
def test_only_a_mapping_can_be_assigned(value: Any) -> None:
    def use(environ: Any) -> None:
        with pytest.raises(TypeError, match="mapping"):
            webob.Request(environ).session = value
        assert webob.Request(environ).session == {"user": 7}

    assert serve(adapter(answering(b"x", use=use)), make_environ(cookie=cookie(SESSION, {"user": 7}))).values("Set-Cookie") == []


def test_a_request_opens_a_session_only_when_it_is_used(decryptions: list[int]) -> None:
    counts = []

    def use(environ: Any) -> None:
        request = webob.Request(environ)
        request.user = "ada"
        assert request.path == "/"
        assert request.cookies["session"]
        assert repr(get_sessions(request)) == "<Sessions session, cart>"
        counts.append(len(decryptions))
        assert request.session["user"] == 7
        counts.append(len(decryptions))
        assert request.session["user"] == 7
        request.session["user"] = 8
        assert webob.Request(environ).session["user"] == 8
        counts.append(len(decryptions))

    serve(adapter(answering(b"x", use=use)), make_environ(cookie=f"{cookie(SESSION, {'user': 7})}; {cookie(CART, {'total': 33})}"))
    assert counts == [0, 1, 1]
    assert len(decryptions) == 1


def test_a_request_attribute_set_outside_stays_and_one_of_a_jars_name_gives_way() -> None:
    def use(environ: Any) -> None:
        request = webob.Request(environ)
        assert request.trace == "abc"
        assert request.session == {}
        request.inner = "seen outside"

    def outside(environ: Any, start_response: Any) -> Any:
        request = webob.Request(environ)
        request.trace = "abc"
        request.session = {"user": "of some other library"}
        response = request.get_response(adapter(answering(b"x", use=use)))
        assert request.inner == "seen outside"
        return response(environ, start_response)

    assert serve(outside).body == b"x"


def test_a_copy_of_the_request_has_the_same_session() -> None:
    def use(environ: Any) -> None:
        request = webob.Request(environ)
        for copy in (request.copy(), request.copy_get()):
            assert copy.environ is not environ
            assert copy.session is request.session
            assert get_sessions(copy) is get_sessions(request)
        request.copy().session["user"] = 7

    assert opened(SESSION, serve(adapter(answering(b"x", use=use)))) == {"user": 7}


def test_webobs_get_response_takes_the_middleware_like_any_application() -> None:
    app = adapter(answering(b"hello"))
    response = webob.Request.blank("https://shop.example/").get_response(app)
    assert (response.status, response.body) == ("200 OK", b"hello")
    header = cookie_of(response.headers["Set-Cookie"])
    again = webob.Request.blank("https://shop.example/", headers={"Cookie": header}).get_response(app)
    assert "Set-Cookie" not in again.headers
    assert again.vary == ("Cookie",)


def test_a_session_goes_from_request_to_request(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session", ring, duration=timedelta(hours=1), clock=clock)

    def app(environ: Any, start_response: Any) -> Any:
        request = webob.Request(environ)
        if request.path == "/login":
            request.session["user"] = "ada"
        elif request.path == "/logout":
            request.session.destroy()
        return webob.Response(request.session.get("user", "nobody"))(environ, start_response)

    wrapped = adapter(app, jar)
    assert serve(wrapped).body == b"nobody"
    header = sent_back(serve(wrapped, make_environ(path="/login")))
    clock.pass_(3599.999)
    assert serve(wrapped, make_environ(cookie=header)).body == b"ada"
    out = serve(wrapped, make_environ(path="/logout", cookie=header))
    assert out.body == b"nobody"
    assert deletes(out.values("Set-Cookie")[0], jar)
    clock.pass_(0.001)
    assert serve(wrapped, make_environ(cookie=header)).body == b"nobody"


# ---------------------------------------------------------------------------------------------------------------------
# Where a session cannot be sealed
# ---------------------------------------------------------------------------------------------------------------------


class Overflowing:
    """A serializer that, like many binary ones, has an error of its own for a number too large."""

    def dumps(self, value: dict[str, Any]) -> bytes:
        raise OverflowError

    def loads(self, body: bytes) -> dict[str, Any]:
        return {"body": body}


@pytest.mark.parametrize(
    ("jar", "error"),
    [(SESSION, SerializationError), (Jar("session", RING, serializer=Overflowing()), (SerializationError, OverflowError))],
    ids=["no JSON", "a serializer's own error"],
)
def test_where_a_session_cannot_be_sealed_the_error_page_goes_out_with_the_other_jars(jar: Jar, error: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        sessions["session"]["when"] = {1, 2}
        sessions["cart"]["total"] = 33
        with pytest.raises(error):
            start_response("200 OK", [TEXT])
        start_response("500 Oops", [TEXT])
        return [b"oops"]

    exchange = serve(adapter(app, jar, CART))
    assert (exchange.status, names_set(exchange)) == ("500 Oops", ["cart"])
    assert exchange.values("Cache-Control") == ["private, no-store"]


def test_without_an_error_page_the_failed_commit_is_the_servers_and_nothing_was_sent() -> None:
    exchange = Exchange(adapter(answering(b"x", use=lambda environ: get_sessions(environ)["session"].update(a="x" * 5000))))
    with pytest.raises(SessionTooLargeError, match="'session'"):
        exchange.run()
    assert exchange.argument_counts == []


def test_the_error_page_may_still_write_the_other_jars_and_not_the_failed_one() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        sessions["session"]["x"] = "x" * 5000
        try:
            start_response("200 OK", [TEXT])
        except SessionTooLargeError:
            sessions["cart"]["note"] = "sorry"
            with pytest.raises(SessionCommittedError):
                del sessions["session"]["x"]
            start_response("500 Oops", [TEXT], sys.exc_info())
        return [b"oops"]

    exchange = serve(adapter(app))
    assert names_set(exchange) == ["cart"]
    assert opened(CART, exchange) == {"note": "sorry"}


def test_where_both_jars_fail_one_error_rises_and_the_page_goes_out_without_cookies() -> None:
    raised = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        for name in ("session", "cart"):
            get_sessions(environ)[name]["x"] = "x" * 5000
        try:
            start_response("200 OK", [TEXT])
        except SessionTooLargeError as error:
            raised.append(error.name)
            start_response("500 Oops", [TEXT], sys.exc_info())
        return [b"oops"]

    exchange = serve(adapter(app))
    assert raised == ["session"]
    assert exchange.values("Set-Cookie") == []
    assert exchange.values("Vary") == ["Cookie"]


def test_a_failed_commit_of_an_outer_middleware_leaves_the_inner_cookies() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        sessions["session"]["x"] = "x" * 5000
        sessions["cart"]["total"] = 33
        try:
            start_response("200 OK", [TEXT])
        except SessionTooLargeError:
            start_response("500 Oops", [TEXT], sys.exc_info())
        return [b"oops"]

    exchange = serve(adapter(adapter(app, CART), SESSION))
    assert exchange.status == "500 Oops"
    assert names_set(exchange) == ["cart"]


def test_a_cookie_of_4096_bytes_goes_out_and_one_letter_more_raises() -> None:
    jar = Jar("session", RING, cookie_name="session8")
    app = adapter(answering(b"x", use=lambda environ: get_sessions(environ)["session"].update(x="x" * letters)), jar)
    for letters in range(2900, 3100):
        try:
            largest = serve(app)
        except SessionTooLargeError as error:
            assert error.size > 4096  # noqa: PT017 - the loop ends with it
            break
    assert len(sent_back(largest)) == 4096 + len("=")
    assert opened(jar, largest) == {"x": "x" * (letters - 1)}
    letters -= 1
    assert serve(app, make_environ(cookie=sent_back(largest))).values("Set-Cookie") == []


@pytest.mark.parametrize("written", ["session", "cart"])
@pytest.mark.parametrize("given", [[], [("Cache-Control", "private")], [("Cache-Control", "max-age=5")]])
def test_a_cookie_of_either_of_two_nested_middlewares_is_not_stored(written: str, given: list[tuple[str, str]]) -> None:
    """As with one middleware for both: what the inner one says of its own accord is not taken for the application's word."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        sessions = get_sessions(environ)
        assert (sessions["session"], sessions["cart"]) == ({}, {})
        sessions[written]["a"] = 1
        start_response("200 OK", [TEXT, *given])
        return [b"x"]

    expected = serve(adapter(app, SESSION, CART)).values("Cache-Control")
    assert expected == [
        {"": "private, no-store", "private": "private", "max-age=5": "max-age=5, private"}[given[0][1] if given else ""]
    ]
    for nested in (adapter(adapter(app, CART), SESSION), adapter(adapter(app, SESSION), CART)):
        assert serve(nested).values("Cache-Control") == expected


@pytest.mark.parametrize("kind", ["untouched", "read", "written"])
def test_headers_may_be_handed_over_as_any_iterable_and_are_the_server_s_own_list(ring: Keyring, kind: str) -> None:
    shared = [("Content-Type", "text/plain"), ("Set-Cookie", "own=1"), ("Cache-Control", "public")]

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if kind != "untouched":
            session = environ["clientsession.sessions"]["session"]
            if kind == "written":
                session["a"] = 1
        start_response("200 OK", iter(shared) if environ["QUERY_STRING"] else shared)
        return []

    seen: list[list[tuple[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        seen.append(list(headers))
        headers.append(("X-Server", "added"))

    app = SessionMiddleware(application, [Jar("session", ring)])
    before = list(shared)
    for query in ("", "iterator"):
        app(make_environ() | {"QUERY_STRING": query}, start_response)
    assert shared == before
    names = [[name for name, _ in headers] for headers in seen]
    assert names[0] == names[1]
    assert names[0][:2] == ["Content-Type", "Set-Cookie"]


def test_a_cookie_header_of_bytes_is_a_mistake_that_is_told(ring: Keyring) -> None:
    app = SessionMiddleware(lambda environ, start_response: [], [Jar("session", ring)])
    with pytest.raises(TypeError, match="cookie_header must be a str or None, not bytes"):
        app(make_environ() | {"HTTP_COOKIE": b"a=b"}, lambda *_: None)


# ---------------------------------------------------------------------------------------------------------------------
# To the letter
# ---------------------------------------------------------------------------------------------------------------------


def test_an_empty_vary_is_answered_with_one_that_names_all_there_is() -> None:
    header_jar = HeaderJar("api", RING)

    def use(environ: dict[str, Any]) -> None:
        write(environ)
        get_sessions(environ)["api"].get("user")

    exchange = serve(SessionMiddleware(answering(b"x", headers=[TEXT, ("Vary", "")], use=use), [SESSION, header_jar]))
    assert [item for item in exchange.headers if item[0].lower() == "vary"] == [
        ("Vary", ""),
        ("Vary", f"Cookie, {header_jar.header}"),
    ]


def test_a_cookie_of_the_application_whose_name_only_looks_like_a_jar_s_stays() -> None:
    own = [("Set-Cookie", "session\xa0=1"), ("Set-Cookie", " session\t=2")]
    exchange = serve(adapter(answering(b"x", headers=[TEXT, *own])))
    kept = exchange.values("Set-Cookie")
    assert kept[0] == "session\xa0=1"
    assert len(kept) == 2
    assert kept[1].startswith("session=A")


def test_a_warning_names_the_cookie_the_application_set_itself(caplog: pytest.LogCaptureFixture) -> None:
    serve(adapter(answering(b"x", headers=[TEXT, ("Set-Cookie", "session=own")])))
    assert "the application set the cookie session itself" in caplog.text


def test_of_a_long_header_a_warning_shows_a_hundred_characters(caplog: pytest.LogCaptureFixture) -> None:
    long = "s-maxage=" + "9" * 300
    serve(adapter(answering(b"x", headers=[TEXT, ("Cache-Control", long)])))
    assert f"says Cache-Control: {long[:100]}, which" in caplog.text


@pytest.mark.parametrize("odd", [(7, "x"), ("X-A", 7), (b"Vary", "x"), ("only",), ()])
@pytest.mark.parametrize("own", [[], [("Vary", "Accept")]])
def test_what_is_no_header_is_passed_on_to_the_server_as_it_is(odd: Any, own: list[Any]) -> None:
    given: list[Any] = []
    app = adapter(answering(b"x", headers=[odd, *own]))
    assert app(make_environ(), lambda status, headers, exc_info=None: given.extend(headers)) == [b"x"]
    assert given[0] == odd
    assert [item[0] for item in given[1:] if item != odd] == ["Vary", "Set-Cookie", "Cache-Control"]


@both_ways
def test_what_is_used_for_the_first_time_after_start_response_raises_where_no_session_was_used_before(wrap: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        with pytest.raises(SessionCommittedError):
            write(environ)
        return [b"x"]

    exchange = serve(wrap(app))
    assert exchange.values("Set-Cookie") == []
    assert exchange.body == b"x"


class ReadsNothing(Reader):
    """Of a system that left no session."""

    def read(self, value: str, now: int) -> OldSession | None:
        return None


def test_what_a_sub_request_writes_goes_out_beside_a_reader_of_another_system() -> None:
    jar = Jar("session", RING, migrate_from=[ReadsNothing("old")])

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/below":
            return answering(b"below")(environ, start_response)
        read(environ)
        return middleware(environ | {"PATH_INFO": "/below"}, start_response)

    middleware = SessionMiddleware(app, [jar])
    came = f"session={jar.codec.encode({'user': 1})}; old=junk"
    assert opened(jar, serve(middleware, make_environ(cookie=came))) == {"user": 7}


def test_a_copy_of_the_session_under_another_name_does_not_keep_a_fresh_seal_back() -> None:
    old = Key.generate()
    token = Jar("session", Keyring(old)).codec.encode({"user": 7})
    later = Jar("session", Keyring(Key.generate(), retiring=[old]))
    app = adapter(answering(b"x", headers=[TEXT, ("Set-Cookie", f"copy={token}")], use=read), later)
    exchange = serve(app, make_environ(cookie=f"session={token}"))
    assert names_set(exchange) == ["copy", "session"]
    assert opened(later, exchange) == {"user": 7}


@pytest.mark.parametrize("host", ["[::1]:80]", "[::1"])
def test_an_address_ends_at_its_first_bracket(host: str, warned: Any) -> None:
    serve(adapter(answering(b"x")), make_environ(scheme="http", host=host))
    assert warned() == []


@pytest.mark.parametrize("own", [("Vary", "Accept"), ("Cache-Control", "public"), ("Set-Cookie", "session=own")])
@pytest.mark.parametrize("is_beside_another", [False, True])
def test_a_value_that_is_no_text_is_passed_on_whatever_its_header(own: tuple[str, str], is_beside_another: bool) -> None:
    odd: Any = (own[0], 7)
    given: list[Any] = []
    app = adapter(answering(b"x", headers=[odd, own] if is_beside_another else [odd]))
    assert app(make_environ(), lambda status, headers, exc_info=None: given.extend(headers)) == [b"x"]
    assert given[0] == odd
    assert {item[0] for item in given[1:]} == {"Vary", "Cache-Control", "Set-Cookie"}


def test_nested_middlewares_that_share_two_jars_are_told_both() -> None:
    with pytest.raises(ConfigurationError, match="share the jars, cookies or headers cart, session: rename one"):
        serve(adapter(adapter(answering(b"x"))))


def test_the_key_of_the_environ_that_something_else_uses_is_told_with_what_it_holds() -> None:
    with pytest.raises(ConfigurationError, match=r"environ\['clientsession.sessions'\] holds list, which no SessionMiddleware put"):
        adapter(answering(b"x"))(make_environ() | {"clientsession.sessions": []}, lambda *given: None)


def test_an_attribute_that_no_jar_and_nobody_set_is_missing_by_its_name() -> None:
    def use(environ: dict[str, Any]) -> None:
        with pytest.raises(KeyError, match=r"^'nothing'$"):
            environ["webob.adhoc_attrs"]["nothing"]

    serve(adapter(answering(b"x", use=use)))


@pytest.mark.parametrize("value", ["private,max-age=60", "max-age=60 , Private", "no-store,max-age=60"])
def test_a_header_for_some_caches_that_lets_none_store_stays_however_it_is_spaced(value: str) -> None:
    assert serve(adapter(answering(b"x", headers=[TEXT, ("CDN-Cache-Control", value)]))).values("CDN-Cache-Control") == [value]


def test_a_cookie_of_the_application_with_a_jar_s_name_and_no_value_is_taken_out() -> None:
    own = [("Set-Cookie", "session; Path=/"), ("Set-Cookie", "XsessionX=1; Path=/")]
    assert names_set(serve(adapter(answering(b"x", headers=[TEXT, *own])))) == ["XsessionX", "session"]
