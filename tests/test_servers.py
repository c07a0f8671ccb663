"""The middleware under real servers, waitress and gunicorn, with a real HTTP client and with raw sockets; loopback only."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import waitress
import webob

from clientsession import Jar, Key, Keyring, SessionTooLargeError
from clientsession.wsgi import SessionMiddleware

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 10.0  # for a server to start, to answer, to end
RING = Keyring(Key.generate())
APPLICATION = "tests.test_servers:shop_from_env()"
GUNICORN_SETTINGS = "workers = 2; graceful_timeout = 2; control_socket_disable = True"  # what a version does not know, it passes by


# ---------------------------------------------------------------------------------------------------------------------
# The shop: one application for all servers
# ---------------------------------------------------------------------------------------------------------------------


def jars(ring: Keyring) -> tuple[Jar, Jar]:
    """Not Secure, since these servers speak plain http."""
    return Jar("session", ring, secure=False), Jar("cart", ring, duration=timedelta(days=120), secure=False)


def shop(environ: dict[str, Any], start_response: Any) -> Any:
    """A shop with a session and a cart; every answer tells what it saw and in which process."""
    request = webob.Request(environ)
    response = webob.Response(content_type="application/json")
    match request.path_info:
        case "/login":
            request.session.reset()
            request.session["user"] = request.params["user"]
            response = webob.Response(status=303, location="/me")
        case "/logout":
            request.session.destroy()
            response = webob.Response(status=303, location="/me")
        case "/add":
            request.cart.setdefault("items", []).append(request.params["item"])
            response = webob.Response(status=303, location="/me")
        case "/fill":
            request.session["user"] = "x" * int(request.params["letters"])
            response.json = "filled"
            try:
                return response(environ, start_response)
            except SessionTooLargeError as error:
                response = webob.Response(f"{error.size} of {error.limit} bytes", status=500)
        case "/unmodified":
            request.session["visits"] = request.session.get("visits", 0) + 1
            response = webob.Response(status=304, etag="1", content_type=None)
        case "/stream":
            return stream(request, start_response)
        case "/plain":
            response = webob.Response("untouched")
        case _:
            session = request.session
            response.json = {
                "user": session.get("user"),
                "items": request.cart.get("items", []),
                "visits": session.get("visits", 0),
                "is_new": session.is_new,
                "refusal": session.refusal,
                "pid": os.getpid(),
            }
    return response(environ, start_response)


def stream(request: webob.Request, start_response: Any) -> Iterator[bytes]:
    """Writes its session with the first chunk, as generators do."""
    request.session["user"] = "streamed"
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    for number in range(3):
        yield b"data: %d\n\n" % number


def shop_of(ring: Keyring) -> SessionMiddleware:
    return SessionMiddleware(shop, jars(ring))


def shop_from_env() -> SessionMiddleware:
    """What gunicorn's workers load."""
    return shop_of(Keyring.from_env())


# ---------------------------------------------------------------------------------------------------------------------
# The servers
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A running server."""

    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)

    def send_raw(self, *cookie_lines: bytes, path: bytes = b"/me") -> tuple[int, Any]:
        """A request with Cookie lines as they are, since HTTP clients refuse some; gives the status and the JSON."""
        with self.connect() as connection:
            connection.sendall(raw_request(*cookie_lines, path=path))
            return raw_response(connection)


def raw_request(*cookie_lines: bytes, path: bytes = b"/me") -> bytes:
    lines = [b"GET %s HTTP/1.1" % path, b"Host: 127.0.0.1", b"Connection: close", *(b"Cookie: " + line for line in cookie_lines)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def raw_response(connection: socket.socket) -> tuple[int, Any]:
    received = b""
    while data := connection.recv(65536):
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body) if b"application/json" in head else body


def run_waitress() -> Iterator[Site]:
    sockets: dict[int, Any] = {}
    server = waitress.create_server(shop_of(RING), sockets, host="127.0.0.1", port=0, threads=4)
    loop = threading.Thread(target=server.run)
    loop.start()
    yield Site("waitress", int(server.effective_port))
    # First the threads that work, then the loop: from within, since it selects on what is to be closed.
    server.task_dispatcher.shutdown()
    server.trigger.pull_trigger(lambda: server.asyncore.close_all(sockets))
    loop.join(DEADLINE_SECONDS)
    assert not loop.is_alive()


def run_gunicorn(folder: Path) -> Iterator[Site]:
    # A socket that listens already: what connects before the workers are up waits in its queue.
    config, log = folder / "gunicorn.conf.py", folder / "gunicorn.log"
    config.write_text(GUNICORN_SETTINGS, encoding="ascii")
    environment = {**os.environ, "CLIENTSESSION_KEY": RING.sealing.export(), "HOME": str(folder), "PYTHONWARNINGS": "ignore"}
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--config",
                config,
                "--bind",
                f"fd://{listener.fileno()}",
                "--chdir",
                ROOT,
                APPLICATION,
            ],
            env=environment,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            port = listener.getsockname()[1]
            listener.close()  # only gunicorn has it now: where it could not start, connecting fails at once
            yield Site("gunicorn", port)
        finally:
            os.kill(server.pid, signal.SIGTERM)
            try:
                code = server.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                os.kill(server.pid, signal.SIGKILL)
                code = server.wait(DEADLINE_SECONDS)
    text = log.read_text(encoding="utf-8", errors="replace")
    assert code == 0, text
    assert "Traceback" not in text, text


@pytest.fixture(scope="module")
def waitress_site() -> Iterator[Site]:
    yield from run_waitress()


@pytest.fixture(scope="module")
def gunicorn_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not hasattr(os, "fork"):
        pytest.skip("gunicorn needs fork")
    yield from run_gunicorn(tmp_path_factory.mktemp("gunicorn"))


@pytest.fixture(params=["waitress", "gunicorn"])
def site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(f"{request.param}_site")


@pytest.fixture
def browsers(site: Site) -> Iterator[Callable[[], httpx.Client]]:
    """Makes HTTP clients, each with cookies of its own, and closes them."""
    made: list[httpx.Client] = []

    def browser() -> httpx.Client:
        made.append(httpx.Client(base_url=site.url, timeout=DEADLINE_SECONDS, trust_env=False, follow_redirects=True))
        return made[-1]

    yield browser
    for client in made:
        client.close()


@pytest.fixture
def browser(browsers: Callable[[], httpx.Client]) -> httpx.Client:
    return browsers()


def token(content: dict[str, Any], jar: int = 0) -> bytes:
    return jars(RING)[jar].codec.encode(content).encode("ascii")


# ---------------------------------------------------------------------------------------------------------------------
# A visit
# ---------------------------------------------------------------------------------------------------------------------


def test_a_user_logs_in_shops_and_logs_out(browser: httpx.Client) -> None:
    first = browser.get("/me")
    assert first.json()["is_new"]
    assert not browser.cookies
    assert (first.headers["vary"], first.headers["cache-control"]) == ("Cookie", "private")

    login = browser.post("/login", data={"user": "ada"}, follow_redirects=False)
    assert (login.status_code, login.headers["cache-control"]) == (303, "private, no-store")
    assert re.fullmatch(r"session=[\w-]+; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax", login.headers["set-cookie"])
    me = browser.get("/me")
    assert (me.json()["user"], me.json()["is_new"]) == ("ada", False)
    assert "set-cookie" not in me.headers

    browser.post("/add", data={"item": "tea"})
    browser.post("/add", data={"item": "p\xe2te \u20ac"})
    assert browser.get("/me").json()["items"] == ["tea", "p\xe2te \u20ac"]
    assert set(browser.cookies) == {"session", "cart"}

    logout = browser.post("/logout", follow_redirects=False)
    assert logout.headers.get_list("set-cookie") == ["session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]
    assert set(browser.cookies) == {"cart"}
    me = browser.get("/me").json()
    assert (me["user"], me["items"]) == (None, ["tea", "p\xe2te \u20ac"])


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


def test_a_stream_sets_the_cookie_it_wrote_with_its_first_chunk(browser: httpx.Client) -> None:
    with browser.stream("GET", "/stream") as response:
        assert set(browser.cookies) == {"session"}
        assert "".join(response.iter_text()) == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert browser.get("/me").json()["user"] == "streamed"


def test_the_largest_session_makes_the_round_trip_and_a_larger_one_is_an_error_page(browser: httpx.Client) -> None:
    # 4,095 bytes: 7 of the name and 4,088 of base64url, for 58 bytes of frame and the JSON around the letters.
    letters = 4088 * 3 // 4 - 58 - len('{"user":""}')
    response = browser.get("/fill", params={"letters": letters})
    assert response.json() == "filled"
    assert len("session") + len(browser.cookies["session"]) == 4095
    me = browser.get("/me")
    assert (me.json()["user"], me.json()["is_new"]) == ("x" * letters, False)
    response = browser.get("/fill", params={"letters": letters + 1})
    assert (response.status_code, response.text) == (500, "4097 of 4096 bytes")
    assert "set-cookie" not in response.headers
    assert browser.get("/me").json()["user"] == "x" * letters


# ---------------------------------------------------------------------------------------------------------------------
# Several users, several workers
# ---------------------------------------------------------------------------------------------------------------------


def test_users_in_parallel_each_see_themselves(browsers: Callable[[], httpx.Client]) -> None:
    def visit(user: str, browser: httpx.Client) -> list[str]:
        browser.post("/login", data={"user": user})
        for number in range(10):
            browser.post("/add", data={"item": f"{user} {number}"})
            assert browser.get("/me").json()["user"] == user
        return browser.get("/me").json()["items"]

    users = {"ada": browsers(), "bob": browsers()}
    with ThreadPoolExecutor(len(users)) as pool:
        results = pool.map(visit, users, users.values(), timeout=DEADLINE_SECONDS)
        assert list(results) == [[f"{user} {number}" for number in range(10)] for user in users]


def test_two_workers_with_one_key_from_the_environment_serve_one_user(gunicorn_site: Site) -> None:
    with httpx.Client(base_url=gunicorn_site.url, timeout=DEADLINE_SECONDS, trust_env=False) as browser:
        browser.post("/login", data={"user": "ada"}, headers={"Connection": "close"})
        cookie = f"session={browser.cookies['session']}".encode("ascii")
        # A worker serves one connection at a time. One takes this half request and waits for the rest: the other answers the next.
        with gunicorn_site.connect() as half:
            request = raw_request(cookie)
            half.sendall(request[:-2])
            one = browser.get("/me", headers={"Connection": "close"}).json()
            half.sendall(request[-2:])
            status, other = raw_response(half)
    assert status == 200
    assert one["pid"] != other["pid"]
    assert one["user"] == other["user"] == "ada"


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
    values = {b"GOOD": token({"user": "ada"}), b"CART": token({"user": "eve"}, jar=1), b"OTHER": token({"user": "eve"})}
    status, answer = site.send_raw(re.sub(rb"\{(\w+)\}", lambda match: values[match[1]], line))
    if status != 200:
        assert may_refuse
        assert status in (400, 431)
        status, answer = site.send_raw()
        user = None
    assert status == 200
    assert (answer["user"], answer["is_new"]) == (user, user is None)


def test_a_hostile_cookie_header_gets_the_answer_of_a_client_without_cookies(site: Site) -> None:
    with httpx.Client(base_url=site.url, timeout=DEADLINE_SECONDS, trust_env=False) as client:
        plain, hostile = client.get("/me"), client.get("/me", headers={"Cookie": "session=junk; cart=junk; session=%00"})
    changing = {"date", "content-length"}
    assert {k: v for k, v in plain.headers.items() if k not in changing} == {
        k: v for k, v in hostile.headers.items() if k not in changing
    }
    assert (plain.json()["refusal"], hostile.json()["refusal"]) == (None, "malformed")


def test_two_cookie_lines_give_the_session_or_none_however_the_server_joins_them(site: Site) -> None:
    good = b"session=" + token({"user": "ada"})
    status, answer = site.send_raw(b"a=1", good)
    assert status == 200
    assert answer["user"] in ("ada", None)  # joined by ";", or by "," against RFC 6265, 5.4
    assert site.send_raw(good, b"a=1")[1]["user"] in ("ada", None)
    assert site.send_raw(good)[1]["user"] == "ada"
