"""The middleware under real servers, and behind nginx with TLS and HTTP/2: what was promised arrives, the rest is a clear error.

All on loopback, with real HTTP clients and with raw sockets. What is nginx' own is in ``tests/test_front_ends.py``.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from clientsession import Jar
from tests.servers import (
    DEADLINE_SECONDS,
    FRONT_ENDS,
    SERVERS,
    Servers,
    Site,
    Witness,
    browser,
    browsers,
    raw_request,
    raw_response,
    servers,
    witness,
)
from tests.shop import PROMISED

__all__ = ["browser", "browsers", "servers", "witness"]  # fixtures

FRAME_BYTES = 58  # of a token around its content
LIMIT = 4096  # bytes of a cookie's name and value
WARNED = 7168  # bytes of all sessions of one client, above which there is a warning
SCANNED = 65536  # bytes of a Cookie header; a larger one is malformed
PASSED = 8000  # bytes of a Cookie header that every server takes, with the guide's settings
SIZES = (1000, 4096, WARNED, PASSED, 8180, 8190, 8192, 8200, 16_000, 16_500, 33_000, SCANNED, SCANNED + 1, 300_000)
CLOSES = {"gunicorn", "uwsgi"}  # after each response
# What a client is told whose header is too large; 0 is nothing, the connection is closed.
ON_LARGE = dict.fromkeys(FRONT_ENDS, 400) | {"waitress": 431, "gunicorn": 431, "gthread": 431, "uwsgi": 0}
# What a client is told where the application raises before its response began; 0 is nothing, the connection is closed.
ON_MISHAP = dict.fromkeys((*SERVERS, *FRONT_ENDS), 500) | {"uwsgi": 0, "nginx uwsgi": 502, "nginx uwsgi_pass": 502}


@pytest.fixture(params=[*SERVERS, *FRONT_ENDS], ids=lambda name: name.replace(" ", "-"))
def site(request: pytest.FixtureRequest, servers: Servers) -> Site:
    return servers[request.param]


def status_of(request: Callable[[], httpx.Response]) -> int:
    """The status of an answer that sets no cookie, or 0 where there is none."""
    try:
        response = request()
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return 0
    assert "set-cookie" not in response.headers
    return response.status_code


def hang_up(connection: socket.socket) -> None:
    """At once, as when a network goes away: what is still sent to it is answered with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# ---------------------------------------------------------------------------------------------------------------------
# A visit
# ---------------------------------------------------------------------------------------------------------------------


def test_a_user_logs_in_shops_and_logs_out(site: Site, browser: httpx.Client) -> None:
    session, cart = (jar.cookie_name for jar in site.jars)
    secure = "Secure; " if session.startswith("__Host-") else ""
    first = browser.get("/me")
    assert first.json()["is_new"]
    assert not browser.cookies
    assert (first.headers["vary"], first.headers["cache-control"]) == ("Cookie", "private")

    browser.get("/unmodified")
    login = browser.post("/login", data={"user": "ada"}, follow_redirects=False)
    assert (login.status_code, login.headers["cache-control"]) == (303, "private, no-store")
    assert re.fullmatch(rf"{session}=[\w-]+; Max-Age=86400; Path=/; {secure}HttpOnly; SameSite=Lax", login.headers["set-cookie"])
    me = browser.get("/me")
    assert (me.json()["user"], me.json()["visits"], me.json()["is_new"]) == ("ada", 0, False)
    assert "set-cookie" not in me.headers

    browser.post("/add", data={"item": "tea"})
    browser.post("/add", data={"item": "p\xe2te \u20ac"})
    assert browser.get("/me").json()["items"] == ["tea", "p\xe2te \u20ac"]
    assert set(browser.cookies) == {session, cart}

    logout = browser.post("/logout", follow_redirects=False)
    assert logout.headers.get_list("set-cookie") == [f"{session}=; Max-Age=0; Path=/; {secure}HttpOnly; SameSite=Lax"]
    assert set(browser.cookies) == {cart}
    me = browser.get("/me").json()
    assert (me["user"], me["items"]) == (None, ["tea", "p\xe2te \u20ac"])


def test_two_cookies_of_one_response_come_in_two_lines(site: Site, browser: httpx.Client) -> None:
    response = browser.post("/both", data={"user": "ada", "item": "tea"})
    lines = response.headers.get_list("set-cookie")
    assert [line.partition("=")[0] for line in lines] == [jar.cookie_name for jar in site.jars]
    assert all("," not in line for line in lines)
    me = browser.get("/me").json()
    assert (me["user"], me["items"]) == ("ada", ["tea"])


def test_a_page_that_uses_no_session_is_left_alone(browser: httpx.Client) -> None:
    browser.post("/login", data={"user": "ada"})
    response = browser.get("/plain")
    assert response.text == "untouched"
    assert not {"vary", "cache-control", "set-cookie"} & set(response.headers)


def test_a_redirect_carries_the_cookie_to_the_page_it_leads_to(browser: httpx.Client) -> None:
    response = browser.post("/login", data={"user": "ada"})
    assert [step.status_code for step in response.history] == [303]
    assert response.json()["user"] == "ada"


def test_head_sets_the_cookie_and_has_no_body(browser: httpx.Client) -> None:
    response = browser.head("/login", params={"user": "ada"}, follow_redirects=False)
    assert (response.status_code, response.content) == (303, b"")
    assert browser.get("/me").json()["user"] == "ada"  # on the same connection: no stray body is in the way
    head, get = browser.head("/me"), browser.get("/me")
    assert head.content == b""
    assert set(head.headers) == set(get.headers)
    assert head.headers["vary"] == "Cookie"


def test_an_answer_304_saves_its_change(browser: httpx.Client) -> None:
    for visits in (1, 2):
        response = browser.get("/unmodified")
        assert (response.status_code, response.content, response.headers["cache-control"]) == (304, b"", "private, no-store")
        assert "content-type" not in response.headers
        assert browser.get("/me").json()["visits"] == visits


BUT_UWSGI = [name for name in (*SERVERS, *FRONT_ENDS) if name != "uwsgi"]  # with nginx in front it does


@pytest.mark.parametrize("site", BUT_UWSGI, indirect=True)
def test_a_form_in_chunks_signs_in(browser: httpx.Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = browser.post("/login", content=iter([b"us", b"er=", b"ada"]), headers=form)
    assert response.json()["user"] == "ada"


@pytest.mark.parametrize("site", BUT_UWSGI, indirect=True)
def test_an_interim_response_sets_no_cookie_and_the_final_one_does(site: Site) -> None:
    form = b"user=ada"
    head = [b"POST /login HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close", b"Expect: 100-continue"]
    head += [b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % len(form), b"", b""]
    with site.connect() as connection:
        connection.sendall(b"\r\n".join(head))
        interim = b""
        while not interim.endswith(b"\r\n\r\n"):
            data = connection.recv(1)
            assert data
            interim += data
        assert re.match(rb"HTTP/1\.1 100 ", interim)
        assert b"set-cookie" not in interim.lower()
        connection.sendall(form)
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 303 ")
    [cookie] = re.findall(rb"^set-cookie: ([^;]+)", received, re.IGNORECASE | re.MULTILINE)
    assert site.send_raw(cookie)[1]["user"] == "ada"


# ---------------------------------------------------------------------------------------------------------------------
# Streams
# ---------------------------------------------------------------------------------------------------------------------


def test_a_stream_sets_the_cookie_it_wrote_with_its_first_chunk(site: Site, browser: httpx.Client, witness: Witness) -> None:
    with browser.stream("GET", "/stream", params={"witness": witness.port}) as response:
        assert set(browser.cookies) == {site.jars[0].cookie_name}
        chunks = response.iter_raw()
        received = next(chunks)  # the others are not made yet
        witness.hears("begun")
        witness.lets_go_on()
        received += b"".join(chunks)
    assert received == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    witness.hears("ended")
    assert browser.get("/me").json()["user"] == "streamed"


def test_what_is_written_by_write_comes_with_the_cookie(browser: httpx.Client) -> None:
    assert browser.get("/write").text == "one two three"
    assert browser.get("/me").json()["user"] == "written"


def test_what_comes_after_the_first_chunk_is_refused_and_not_lost(browser: httpx.Client) -> None:
    assert browser.get("/late").text == "first, refused, refused"
    me = browser.get("/me").json()
    assert (me["user"], me["items"]) == ("in time", [])


# ---------------------------------------------------------------------------------------------------------------------
# Sizes
# ---------------------------------------------------------------------------------------------------------------------

BEFORE = {"session": {"user": "ada"}, "cart": {"items": ["tea"]}}


def jar_for(site: Site, size: int) -> Jar:
    """One whose name lets a cookie have that many bytes: base64url has no text of 1, 5, 9 … letters."""
    return next(jar for jar in site.jars if (size - len(jar.cookie_name)) % 4 != 1)


def letters_for(jar: Jar, size: int) -> int:
    """How many letters, beside what was there before, make name and value that long, or one shorter where there is no such text."""
    room = (size - len(jar.cookie_name)) * 3 // 4 - FRAME_BYTES
    return room - len(json.dumps(BEFORE[jar.name] | {"text": ""}, separators=(",", ":")))


def fill(browser: httpx.Client, letters: int, *jars: Jar) -> httpx.Response:
    return browser.get("/fill", params={"jars": ",".join(jar.name for jar in jars), "letters": letters})


def size_of(browser: httpx.Client, jar: Jar) -> int:
    return len(jar.cookie_name) + len(browser.cookies[jar.cookie_name])


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_the_largest_session_makes_the_round_trip(size: int, site: Site, browser: httpx.Client) -> None:
    jar = jar_for(site, size)
    letters = letters_for(jar, size)
    browser.post("/both", data={"user": "ada", "item": "tea"})
    assert fill(browser, letters, jar).json() == "filled"
    assert size_of(browser, jar) == size
    me = browser.get("/me").json()
    assert (me["user"], me["items"], me["texts"]) == ("ada", ["tea"], {jar.name: "x" * letters})


def test_one_byte_more_is_one_clear_error_and_the_cookie_before_it_stays(site: Site, browser: httpx.Client) -> None:
    jar = jar_for(site, LIMIT + 1)
    browser.post("/both", data={"user": "ada", "item": "tea"})
    response = fill(browser, letters_for(jar, LIMIT + 1), jar)
    assert (response.status_code, response.text) == (500, "4097 of 4096 bytes")
    assert "set-cookie" not in response.headers
    me = browser.get("/me").json()
    assert (me["user"], me["items"], me["texts"]) == ("ada", ["tea"], {})


def test_two_sessions_that_stay_below_the_warning_make_the_round_trip(site: Site, browser: httpx.Client) -> None:
    letters = min(letters_for(jar, WARNED // 2) for jar in site.jars)
    browser.post("/both", data={"user": "ada", "item": "tea"})
    fill(browser, letters, *site.jars)
    assert WARNED - 64 < sum(size_of(browser, jar) for jar in site.jars) <= WARNED
    me = browser.get("/me").json()
    assert (me["user"], me["items"], me["texts"]) == ("ada", ["tea"], {jar.name: "x" * letters for jar in site.jars})


def test_the_two_largest_sessions_go_out_whole_and_come_back_whole_or_are_refused(site: Site, browser: httpx.Client) -> None:
    letters = min(letters_for(jar, LIMIT) for jar in site.jars)
    browser.post("/both", data={"user": "ada", "item": "tea"})
    assert fill(browser, letters, *site.jars).json() == "filled"
    cookies = [f"{jar.cookie_name}={browser.cookies[jar.cookie_name]}" for jar in site.jars]
    assert all(LIMIT - 24 < len(cookie) - 1 <= LIMIT for cookie in cookies)
    status, me = site.send_raw("; ".join(cookies).encode("ascii"))
    if status != 200:
        assert status == ON_LARGE[site.name]
        me = site.send_raw(cookies[0].encode("ascii"))[1] | {"items": ["tea"]}
        me["texts"] |= {"cart": site.send_raw(cookies[1].encode("ascii"))[1]["texts"]["cart"]}
    assert (me["user"], me["items"], me["texts"]) == ("ada", ["tea"], {jar.name: "x" * letters for jar in site.jars})


def test_a_header_of_many_cookies_passes_whole_or_is_refused_and_the_session_stays(site: Site) -> None:
    ada = site.cookie({"user": "ada"})
    for size in SIZES:
        others = "; ".join(f"other{number}={'x' * 30}" for number in range(size // 32))
        header = f"{others[: size - len(ada) - 2]}; {ada}"
        assert len(header) == size
        status, me = site.send_raw(header.encode("ascii"))
        if status != 200:
            assert (status, size > PASSED) == (ON_LARGE[site.name], True)
        else:
            assert (me["user"], me["refusal"]) == (("ada", None) if size <= SCANNED else (None, "malformed"))
        assert site.send_raw(ada.encode("ascii"))[1]["user"] == "ada"


# ---------------------------------------------------------------------------------------------------------------------
# Several users, several workers
# ---------------------------------------------------------------------------------------------------------------------


def test_8_users_in_parallel_each_see_themselves(browsers: Callable[[], httpx.Client]) -> None:
    def visit(user: str, browser: httpx.Client) -> list[str]:
        browser.post("/login", data={"user": user})
        for number in range(5):
            browser.post("/add", data={"item": f"{user} {number}"})
            assert browser.get("/me").json()["user"] == user
        return browser.get("/me").json()["items"]

    users = {f"user {number}": browsers() for number in range(8)}
    with ThreadPoolExecutor(len(users)) as pool:
        results = pool.map(visit, users, users.values(), timeout=DEADLINE_SECONDS)
        assert list(results) == [[f"{user} {number}" for number in range(5)] for user in users]


def test_users_on_one_connection_each_see_themselves(site: Site, browser: httpx.Client) -> None:
    cookies = {user: [site.cookie({"user": user})] for user in ("ada", "bob", "eve")} | {None: []}
    connections = set()

    def ask(path: str, *cookies: str, **form: str) -> httpx.Response:
        header = {"Cookie": "; ".join(cookies)} if cookies else {}
        response = browser.request("POST" if form else "GET", path, headers=header, data=form, follow_redirects=False)
        if site.name not in CLOSES:
            connections.add(response.extensions["network_stream"].get_extra_info("client_addr"))
        browser.cookies.clear()
        return response

    for number in range(3):
        for user, held in cookies.items():
            set_cookie = ask("/add", *held, item=f"for {user} {number}").headers["set-cookie"]
            cookies[user] = [*held[:1], set_cookie.partition(";")[0]] if user else [set_cookie.partition(";")[0]]
        for user, held in cookies.items():
            me = ask("/me", *held).json()
            assert (me["user"], me["items"]) == (user, [f"for {user} {earlier}" for earlier in range(number + 1)])
        assert ask("/me").json()["is_new"]
    assert len(connections) == (site.name not in CLOSES)


def test_two_workers_with_one_key_from_the_environment_serve_one_user(servers: Servers) -> None:
    site = servers["gunicorn"]
    with site.browser() as browser:
        browser.post("/login", data={"user": "ada"}, headers={"Connection": "close"}, follow_redirects=False)
        cookie = f"session={browser.cookies['session']}".encode("ascii")
        # A worker serves one connection at a time. One takes this half request and waits for the rest: the other answers the next.
        with site.connect() as half:
            request = raw_request(cookie)
            half.sendall(request[:-2])
            one = browser.get("/me", headers={"Connection": "close"}).json()
            half.sendall(request[-2:])
            status, other = raw_response(half)
    assert status == 200
    assert one["pid"] != other["pid"]
    assert one["user"] == other["user"] == "ada"


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong: that the workers live is seen in the servers' logs, when they end
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mishap", ["the application raises", "a session is too large"])
def test_an_application_that_raises_before_its_response_sets_no_cookie_and_loses_none(
    mishap: str, site: Site, browser: httpx.Client
) -> None:
    browser.post("/both", data={"user": "ada", "item": "tea"})
    path = "/raise" if mishap == "the application raises" else "/too-large"
    assert status_of(lambda: browser.get(path)) == ON_MISHAP[site.name]
    me = browser.get("/me").json()
    assert (me["user"], me["items"]) == ("ada", ["tea"])


def test_an_application_that_dies_in_its_body_has_sent_its_cookies_and_the_body_is_seen_to_be_cut(
    browser: httpx.Client, witness: Witness
) -> None:
    received: list[bytes] = []
    with browser.stream("GET", "/die", params={"user": "ada", "witness": witness.port}) as response:
        assert (response.status_code, response.headers["content-length"]) == (200, str(PROMISED))
        assert len(response.headers.get_list("set-cookie")) == 2
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            received.extend(response.iter_raw())
    assert b"".join(received) == b"x" * (PROMISED // 2)
    witness.hears("closed")
    me = browser.get("/me").json()
    assert (me["user"], me["items"]) == ("ada", ["ada"])


def test_who_hangs_up_before_the_response_keeps_the_session_there_was(site: Site, witness: Witness) -> None:
    cookie = site.cookie({"user": "ada"}).encode("ascii")
    connection = site.connect()
    connection.sendall(raw_request(cookie, path=b"/wait?user=eve&witness=%d" % witness.port))
    witness.hears("waiting")
    hang_up(connection)
    witness.lets_go_on()
    witness.hears("closed")
    assert site.send_raw(cookie)[1]["user"] == "ada"


def test_who_hangs_up_in_the_middle_of_a_body_has_the_session_of_its_head(site: Site, witness: Witness) -> None:
    with site.connect() as connection:
        connection.sendall(raw_request(path=b"/flood?user=ada&witness=%d" % witness.port))
        received = b""
        while b"first" not in received:
            data = connection.recv(65536)
            assert data
            received += data
        witness.hears("begun")
        hang_up(connection)
    witness.lets_go_on()
    witness.hears("closed")
    [cookie] = re.findall(rb"set-cookie: ([^;]+)", received, re.IGNORECASE)
    assert site.send_raw(cookie)[1]["user"] == "ada"


# ---------------------------------------------------------------------------------------------------------------------
# Cookie headers no browser sends
# ---------------------------------------------------------------------------------------------------------------------

# What the header is, whose session it gives, and whether a server may refuse it with 400 or 431 before we see it.
HOSTILE: dict[str, tuple[bytes, str | None, bool]] = {
    "empty": (b"", None, False),
    "no value": (b"session=", None, False),
    "no equals sign": (b"session", None, False),
    "semicolons": (b";" * 8000, None, False),
    "nameless": (b"=session={GOOD}", None, False),
    "$Version": (b"$Version=1; session={GOOD}; $Path=/", "ada", False),
    "in quotes": (b'session="{GOOD}"', None, False),
    "quote before": (b'foo="abc; session={GOOD}', "ada", False),
    "smuggled in a quoted value": (b'foo="; session=EVIL"; session={GOOD}', "ada", False),
    "after a comma": (b"foo=a,session={GOOD}", None, False),
    "before a comma": (b"session={GOOD},other=1", None, False),
    "after a tab": (b"foo=a\tsession={GOOD}", None, False),
    "spaced": (b"session = {GOOD} ", "ada", False),
    "without a space": (b"session={GOOD};x=1", "ada", False),
    "another case": (b"Session={GOOD}", None, False),
    "octets": (b"x=\xff\xfe\x80; session={GOOD}", "ada", False),
    "non-breaking space": (b"\xa0session={GOOD}", None, False),
    "UTF-8 space": (b"\xe2\x80\x80session={GOOD}", None, False),
    "UTF-8 value": (b"session=\xe2\x82\xac", None, False),
    "NUL": (b"x=\x00; session={GOOD}", "ada", True),
    "control": (b"x=a\x01; session={GOOD}", "ada", True),
    "DEL": (b"x=a\x7f; session={GOOD}", "ada", True),
    "JSON": (b'{"a":1}=2; session={GOOD}', "ada", False),
    "twice the same": (b"session={GOOD}; session={GOOD}", "ada", False),
    "junk before": (b"session=junk; " * 200 + b"session={GOOD}", "ada", False),
    "another's token": (b"session={CART}", None, False),
    "two valid ones": (b"session={GOOD}; session={OTHER}", None, False),
    "other formats": (b"session=eyJhbGciOiJub25lIn0.e30.; session=gAAAAABkkkkk=; session=%7B%7D", None, False),
    "8,190 letters": (b"a" * 8190, None, True),
    "60,000 letters": (b"session=" + b"a" * 60_000, None, True),
    "over 64 KiB": (b"session={GOOD}; x=" + b"a" * 70_000, None, True),
}


@pytest.mark.parametrize(("line", "user", "may_refuse"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_cookie_header_gives_an_empty_session_or_the_right_one(
    line: bytes, user: str | None, may_refuse: bool, site: Site
) -> None:
    good, cart, other = (site.cookie({"user": user}, jar).partition("=")[2] for user, jar in (("ada", 0), ("eve", 1), ("eve", 0)))
    values = {b"GOOD": good, b"CART": cart, b"OTHER": other}
    line = re.sub(rb"\bsession\b", site.jars[0].cookie_name.encode("ascii"), line)
    status, me = site.send_raw(re.sub(rb"\{(\w+)\}", lambda match: values[match[1]].encode("ascii"), line))
    if status != 200:
        assert may_refuse
        assert status in (400, ON_LARGE[site.name])
        status, me = site.send_raw()
        user = None
    assert status == 200
    assert (me["user"], me["is_new"]) == (user, user is None)


def test_a_hostile_cookie_header_gets_the_answer_of_a_client_without_cookies(site: Site, browser: httpx.Client) -> None:
    junk = "; ".join(f"{jar.cookie_name}=junk" for jar in site.jars)
    plain, hostile = browser.get("/me"), browser.get("/me", headers={"Cookie": f"{junk}; x=%00"})
    changing = {"date", "content-length"}
    assert {k: v for k, v in plain.headers.items() if k not in changing} == {
        k: v for k, v in hostile.headers.items() if k not in changing
    }
    assert (plain.json()["refusal"], hostile.json()["refusal"]) == (None, "malformed")


def test_two_cookie_lines_give_the_session_or_none_however_the_server_joins_them(site: Site) -> None:
    good = site.cookie({"user": "ada"}).encode("ascii")
    status, me = site.send_raw(b"a=1", good)
    assert status == 200
    assert me["user"] in ("ada", None)  # joined by ";", or by "," against RFC 6265, 5.4
    assert site.send_raw(good, b"a=1")[1]["user"] in ("ada", None)
    assert site.send_raw(good)[1]["user"] == "ada"
