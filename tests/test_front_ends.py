"""nginx in front of each server, with TLS and HTTP/2: what it does with cookies, and that docs/guide/behind-a-proxy.md is right.

The settings are those of the guide, taken from its page. What holds on every server is in ``tests/test_servers.py``.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from clientsession import Jar
from clientsession.wsgi import SessionMiddleware
from tests.chromium import launched
from tests.servers import (
    DEADLINE_SECONDS,
    FRONT_ENDS,
    RING,
    Servers,
    Site,
    Witness,
    run_nginx,
    run_uwsgi,
    run_waitress,
    servers,
    witness,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["servers", "witness"]  # fixtures

LIMIT = 4096  # bytes of a cookie's name and value
MANY = (8000, 8170, 8400, 16_000, 17_000, 28_000, 40_000, 70_000)  # bytes of all cookies
# What a client is told whose cookies are too large together for the server behind; beyond 32 KB nginx itself ends the connection.
ON_MANY = {"nginx waitress": None, "nginx gunicorn": 431, "nginx gthread": 431, "nginx uwsgi": 502, "nginx uwsgi_pass": 502}


@pytest.fixture(params=FRONT_ENDS, ids=lambda name: name.replace(" ", "-"))
def site(request: pytest.FixtureRequest, servers: Servers) -> Site:
    return servers[request.param]


class Http2:
    """One connection, on which many requests are under way at once, with header fields to the letter."""

    def __init__(self, site: Site) -> None:
        context = site.tls()
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE_SECONDS)
        self._socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        assert self._socket.selected_alpn_protocol() == "h2"
        self._authority = f"127.0.0.1:{site.port}"
        self._connection = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._connection.initiate_connection()
        self.status: dict[int, int] = {}
        self.set_cookies: dict[int, list[str]] = {}
        self.body: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}
        """How, for each request: "whole", or the name of an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, path: str, *cookies: str) -> int:
        """Send a request with a field for each cookie; gives its number."""
        number = self._connection.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", self._authority), (":path", path)]
        self._connection.send_headers(number, [*pseudo, *(("cookie", cookie) for cookie in cookies)], end_stream=True)
        self.status[number], self.set_cookies[number], self.body[number] = 0, [], b""
        self._send()
        return number

    def reset(self, number: int) -> None:
        """Hang up on one request, and leave the connection open."""
        self._connection.reset_stream(number, ErrorCodes.CANCEL)
        self._send()

    def receive(self, until: Callable[[], object]) -> None:
        while not until():
            data = self._socket.recv(65536)
            assert data, "closed without a word"
            for event in self._connection.receive_data(data):
                match event:
                    case ResponseReceived():
                        self.status[event.stream_id] = int(dict(event.headers)[":status"])
                        self.set_cookies[event.stream_id] = [value for name, value in event.headers if name == "set-cookie"]
                    case DataReceived():
                        self.body[event.stream_id] += event.data
                        self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case StreamEnded():
                        self.ended[event.stream_id] = "whole"
                    case StreamReset():
                        self.ended[event.stream_id] = ErrorCodes(event.error_code).name
                    case ConnectionTerminated():
                        for number in self.status:
                            self.ended.setdefault(number, ErrorCodes(event.error_code or 0).name)
            self._send()

    def answer(self, number: int) -> Any:
        """The JSON of a request's response."""
        self.receive(lambda: number in self.ended)
        assert (self.status[number], self.ended[number]) == (200, "whole")
        return json.loads(self.body[number])

    def _send(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._socket.sendall(data)


@pytest.fixture
def connection(site: Site) -> Iterator[Http2]:
    with Http2(site) as connection:
        yield connection


# ---------------------------------------------------------------------------------------------------------------------
# HTTP/2
# ---------------------------------------------------------------------------------------------------------------------


def test_the_fields_of_a_cookie_header_arrive_as_one_line(site: Site, connection: Http2) -> None:
    crumbs = ["a=1", site.cookie({"user": "ada"}), "b=2", site.cookie({"items": ["tea"]}, jar=1), "c=3"]
    assert connection.answer(connection.ask("/header", *crumbs))["cookie"] == "; ".join(crumbs)  # RFC 9113, 8.2.3
    me = connection.answer(connection.ask("/me", *crumbs))
    assert (me["user"], me["items"]) == ("ada", ["tea"])


def test_two_cookies_of_one_response_come_in_two_fields(site: Site, connection: Http2) -> None:
    number = connection.ask("/both?user=ada&item=tea")
    assert connection.answer(number) == "both"
    cookies = [value.partition(";")[0] for value in connection.set_cookies[number]]
    assert [cookie.partition("=")[0] for cookie in cookies] == [jar.cookie_name for jar in site.jars]
    me = connection.answer(connection.ask("/me", *cookies))
    assert (me["user"], me["items"]) == ("ada", ["tea"])


def test_users_at_once_on_one_connection_each_see_themselves(site: Site, connection: Http2) -> None:
    cookies = {user: [site.cookie({"user": user})] for user in (f"user {number}" for number in range(8))}
    for count in range(3):
        asked = {user: connection.ask(f"/add?item={count}", *held) for user, held in cookies.items()}
        for user, number in asked.items():
            connection.receive(lambda number=number: number in connection.ended)
            assert connection.status[number] == 303
            [set_cookie] = connection.set_cookies[number]
            cookies[user] = [cookies[user][0], set_cookie.partition(";")[0]]
        asked = {user: connection.ask("/me", *held) for user, held in cookies.items()}
        for user, number in asked.items():
            me = connection.answer(number)
            assert (me["user"], me["items"]) == (user, [str(earlier) for earlier in range(count + 1)])


def test_cookies_pass_whole_or_are_refused_however_many_fields_there_are(site: Site) -> None:
    ada = site.cookie({"user": "ada"})
    for total in MANY:
        for length in (100, 3900):
            room, others = total - len(ada) - 2, []
            while room > 2:
                others.append(("x=" + "x" * length)[: min(length, room)])
                room -= length + 2
            with Http2(site) as connection:
                number = connection.ask("/me", *others, ada)
                connection.receive(lambda number=number: number in connection.ended)
                if total > 32_768:
                    assert connection.ended[number] == "ENHANCE_YOUR_CALM"
                elif connection.ended[number] == "ENHANCE_YOUR_CALM":  # each field is counted with some more
                    assert total > 16_384
                elif connection.status[number] != 200:
                    assert (connection.status[number], total > 8180) == (ON_MANY[site.name], True)
                else:
                    assert connection.answer(number)["user"] == "ada"
        with Http2(site) as connection:
            assert connection.answer(connection.ask("/me", ada))["user"] == "ada"


def test_who_cancels_a_request_has_the_session_of_its_head_and_the_connection_goes_on(
    site: Site, connection: Http2, witness: Witness
) -> None:
    number = connection.ask(f"/flood?user=ada&witness={witness.port}")
    connection.receive(lambda: connection.body[number])
    witness.hears("begun")
    connection.reset(number)
    witness.lets_go_on()
    witness.hears("closed")
    [set_cookie] = connection.set_cookies[number]
    assert connection.answer(connection.ask("/me", set_cookie.partition(";")[0]))["user"] == "ada"


def test_a_body_that_was_cut_ends_its_request_with_an_error_and_no_other(site: Site, connection: Http2, witness: Witness) -> None:
    cut = connection.ask(f"/die?user=ada&witness={witness.port}")
    connection.receive(lambda: cut in connection.ended)
    assert (connection.status[cut], connection.ended[cut]) == (200, "INTERNAL_ERROR")
    witness.hears("closed")
    cookies = [value.partition(";")[0] for value in connection.set_cookies[cut]]
    me = connection.answer(connection.ask("/me", *cookies))
    assert (me["user"], me["items"]) == ("ada", ["ada"])


# ---------------------------------------------------------------------------------------------------------------------
# https, and how the application learns of it
# ---------------------------------------------------------------------------------------------------------------------


def test_the_application_knows_that_the_visitor_came_by_https(site: Site) -> None:
    with site.browser() as browser:
        assert browser.get("/header").json()["scheme"] == "https"


# Headers by which a proxy says the scheme: https, and http.
SCHEME_HEADERS = {"X-Forwarded-Proto": ("https", "http"), "X-Forwarded-Protocol": ("ssl", "http"), "X-Forwarded-SSL": ("on", "off")}


@pytest.mark.parametrize("name", SCHEME_HEADERS)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_what_a_visitor_says_of_the_scheme_is_not_believed(
    scheme: str, name: str, site: Site, servers: Servers, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if scheme == "http":
            behind = site.name.removeprefix("nginx ")
            uwsgi_pass = behind == "uwsgi_pass"
            server = servers["uwsgi" if uwsgi_pass else behind]
            site = stack.enter_context(run_nginx(tmp_path, server, uwsgi_pass=uwsgi_pass, tls=False))
        browser = stack.enter_context(site.browser())
        answer = browser.get("/header", headers={name: SCHEME_HEADERS[name][scheme == "https"]})
        assert answer.status_code == 400 or answer.json()["scheme"] == scheme
        assert browser.get("/header").json()["scheme"] == scheme


@pytest.mark.parametrize("tells_scheme", [True, False])
def test_without_the_guides_line_there_is_one_warning_and_the_cookie_works(
    tells_scheme: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session = environ["clientsession.sessions"]["session"]
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % session["visits"]]

    secure = SessionMiddleware(application, [Jar("session", RING, cookie_name="__Host-session")])
    with (
        caplog.at_level(logging.WARNING, "clientsession"),
        run_waitress(secure) as behind,
        run_nginx(tmp_path, behind, tells_scheme=tells_scheme) as site,
        site.browser() as browser,
    ):
        host = {"Host": "shop.test"}  # as for 127.0.0.1 there is no warning: browsers take its cookies from plain http too
        assert [browser.get("/", headers=host).text for _ in range(3)] == ["1", "2", "3"]
    said = [record.getMessage() for record in caplog.records if record.name == "clientsession"]
    assert len(said) == (0 if tells_scheme else 1)
    assert all(text.startswith("the Secure cookie __Host-session was set on a plain http request") for text in said)


# ---------------------------------------------------------------------------------------------------------------------
# Without the guide's settings
# ---------------------------------------------------------------------------------------------------------------------


def filled(site: Site, *jars: Jar) -> str:
    """The path that fills sessions so that their cookies have all but a few of the bytes they may have."""
    letters = min((LIMIT - len(jar.cookie_name)) * 3 // 4 for jar in jars) - 58 - len('{"items":["tea"],"text":""}')
    return f"/fill?jars={','.join(jar.name for jar in jars)}&letters={letters}"


@pytest.mark.parametrize("behind", ["waitress", "uwsgi_pass"])
@pytest.mark.parametrize("count", [1, 2])
def test_nginx_as_it_comes_refuses_the_largest_cookie_and_the_session_before_it_stays(
    count: int, behind: str, servers: Servers, tmp_path: Path
) -> None:
    uwsgi_pass = behind == "uwsgi_pass"
    server = servers["uwsgi" if uwsgi_pass else behind]
    with run_nginx(tmp_path, server, uwsgi_pass=uwsgi_pass, settings=[]) as site, site.browser() as browser:
        browser.get("/both", params={"user": "ada", "item": "tea"})
        refused = browser.get(filled(site, *site.jars[:count]))
        assert (refused.status_code, "set-cookie" in refused.headers) == (502, False)
        me = browser.get("/me").json()
        assert (me["user"], me["items"], me["texts"]) == ("ada", ["tea"], {})
        assert site.log is not None
        assert "upstream sent too big header" in site.log.read_text(encoding="utf-8")


def test_uwsgi_as_it_comes_refuses_headers_over_4096_bytes_and_the_session_stays(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("uwsgi", "proxy", "pass")]
    for folder in folders:
        folder.mkdir()
    with (
        run_uwsgi(folders[0], settings=[]) as direct,
        run_nginx(folders[1], direct) as by_http,
        run_nginx(folders[2], direct, uwsgi_pass=True) as by_uwsgi,
    ):
        for site, answer in ((direct, 0), (by_http, 502), (by_uwsgi, 502)):
            with site.browser() as browser:
                browser.get("/both", params={"user": "ada", "item": "tea"})
                small = {jar.cookie_name: browser.cookies[jar.cookie_name] for jar in site.jars}
                browser.get(filled(site, site.jars[0]))
                large = f"{site.jars[0].cookie_name}={browser.cookies[site.jars[0].cookie_name]}"
            assert site.send_raw(large.encode("ascii"))[0] == answer
            me = site.send_raw("; ".join(f"{name}={value}" for name, value in small.items()).encode("ascii"))[1]
            assert (me["user"], me["items"]) == ("ada", ["tea"])
        assert direct.log is not None
        text = direct.log.read_text(encoding="utf-8", errors="replace")
        assert "invalid HTTP request size" in text
        assert "invalid request block size" in text


# ---------------------------------------------------------------------------------------------------------------------
# Chromium
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched("--host-resolver-rules=MAP *.test 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    """A page of a browser that takes the certificate, at a host that is not this computer by name."""
    context = chromium.new_context(base_url=f"https://shop.test:{site.port}", ignore_https_errors=True)
    context.set_default_timeout(DEADLINE_SECONDS * 1000)
    page = context.new_page()
    page.goto("/page")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    yield page
    context.close()


def got(page: Page, path: str) -> Any:
    response = page.goto(path)
    assert response is not None
    assert response.status == 200
    return response.json()


@pytest.mark.browser
def test_chromium_logs_in_shops_and_logs_out(site: Site, page: Page) -> None:
    assert page.context.cookies() == []
    assert got(page, "/login?user=ada")["user"] == "ada"
    assert got(page, "/add?item=tea")["items"] == ["tea"]
    assert {(cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) for cookie in page.context.cookies()} == {
        ("__Host-session", True, True, "Lax"),
        ("__Host-cart", True, True, "Lax"),
    }
    header = got(page, "/header")["cookie"]
    assert header.split("; ") == [f"{cookie['name']}={cookie['value']}" for cookie in page.context.cookies()]
    me = got(page, "/logout")
    assert (me["user"], me["items"]) == (None, ["tea"])
    assert [cookie["name"] for cookie in page.context.cookies()] == ["__Host-cart"]


@pytest.mark.browser
def test_chromium_keeps_the_largest_cookie_and_one_byte_more_is_an_error_page(site: Site, page: Page) -> None:
    jar = site.jars[0]
    letters = (LIMIT - len(jar.cookie_name)) * 3 // 4 - 58 - len('{"text":""}')
    assert got(page, f"/fill?jars=session&letters={letters}") == "filled"
    [cookie] = page.context.cookies()
    assert len(cookie["name"]) + len(cookie["value"]) == LIMIT
    assert got(page, "/me")["texts"] == {"session": "x" * letters}
    refused = page.goto(f"/fill?jars=session&letters={letters + 1}")
    assert refused is not None
    assert (refused.status, refused.text()) == (500, f"{LIMIT + 1} of {LIMIT} bytes")
    assert page.context.cookies() == [cookie]
    assert got(page, "/me")["texts"] == {"session": "x" * letters}
