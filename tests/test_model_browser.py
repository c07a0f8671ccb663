"""The model browser, held to a real one: the same requests in Chromium send the same Cookie header, to the letter.

First each of the model's rules, then scripts of the machine of ``tests/test_model.py``: 20 of its runs, played through a real
server for http and one for https, with a certificate made for the purpose. All names lead to this computer.

Chromium's clock cannot be moved: in a script only the server's jumps, and what would run out meanwhile is given another hour.
Limits, late answers and closed browsers are the model's alone.
"""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.browser_model import Browser as ModelBrowser
from tests.browser_model import Request
from tests.chromium import launched
from tests.conftest import Clock
from tests.test_model import BELOW, CASES, HTTPS, IN_CHROMIUM, USERS, World, played, typed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

# http stays http, and hosts that are mapped to this computer are no local network.
AS_IT_IS = "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,LocalNetworkAccessChecks"
SCRIPTS = 20
DRAWN = 200  # runs, of which those are taken to which most cookies came
PAGE = b"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>-</title>"

LINK = "url => { const a = document.createElement('a'); a.href = url; document.body.append(a); a.click(); }"
FORM = """url => {
    const form = document.createElement('form');
    form.method = 'post';
    form.action = url;
    document.body.append(form);
    form.submit();
}"""
PICTURE = """url => new Promise((done) => {
    const image = new Image();
    image.onload = image.onerror = () => done();
    image.src = url;
})"""


class Server(ThreadingMixIn, WSGIServer):
    """A server of one scheme on a free port of this computer."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, scheme: str, application: Callable[..., Any], context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context
        self.scheme = scheme
        self.set_app(application)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """A handshake waits in a thread of its own: browsers open connections that they do not use."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(10)
        try:
            with self.context.wrap_socket(request, server_side=True) as encrypted:
                super().finish_request(encrypted, client_address)
        except OSError:  # it went away; a request that is missing is found missing
            pass

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        environ = super().get_environ()
        cookies = self.headers.get_all("Cookie", [])
        assert len(cookies) <= 1, "[5.8.1]: a browser sends one"
        return environ

    def log_message(self, *args: Any) -> None:
        """Nothing: what went wrong, the tests tell."""


class Site:
    """Both servers. ``application`` answers what is asked for with a number; all else is an empty page."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.application: Callable[..., Any] | None = None
        self.count = itertools.count()
        self.asked: list[str] = []
        self.servers = {
            scheme: Server(scheme, lambda environ, start, scheme=scheme: self._serve(scheme, environ, start), tls)
            for scheme, tls in (("http", None), ("https", context))
        }

    def _serve(self, scheme: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ["wsgi.url_scheme"] = scheme
        if not environ["QUERY_STRING"] or self.application is None:
            start_response("200 OK", [("Content-Type", "text/html")])
            return [PAGE]
        self.asked.append(environ["QUERY_STRING"])
        return self.application(environ, start_response)

    def address(self, request: Request) -> str:
        return f"{request.scheme}://{request.host}:{self.servers[request.scheme].server_port}{request.path}?{next(self.count)}"

    def blank(self, scheme: str, host: str, path: str = "/") -> str:
        return f"{scheme}://{host}:{self.servers[scheme].server_port}{path}"

    def send(self, page: Page, request: Request) -> None:
        """Let a page make a request, in the way it comes about."""
        url = self.address(request)
        before = len(self.asked)
        if request.initiator is None:
            page.goto(url, wait_until="commit")
        else:
            page.goto(self.blank(*request.initiator, "/blank"), wait_until="commit")
            if request.top_level:
                with page.expect_navigation(url=url, wait_until="commit"):
                    page.evaluate(FORM if request.method == "POST" else LINK, url)
            else:
                page.evaluate(PICTURE, url)
        assert self.asked[before:] == [url.partition("?")[2]], "one request, and no more"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(certified(tmp_path_factory.mktemp("tls")))
    yield site
    for server in site.servers.values():
        server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched(AS_IT_IS, "--host-resolver-rules=MAP * 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One page for all rules; each begins without cookies."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Makes a page of a browser of its own."""
    contexts: list[BrowserContext] = []

    def open_() -> Page:
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(20_000)
        contexts.append(context)
        return context.new_page()

    yield open_
    for context in contexts:
        context.close()


def certified(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


class Echo:
    """Sets what it is told to, and remembers what it was sent."""

    def __init__(self) -> None:
        self.set_cookies: list[str] = []
        self.header: str | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.header = environ.get("HTTP_COOKIE")
        headers = [("Content-Type", "text/html"), ("Cache-Control", "no-store")]
        start_response("200 OK", [*headers, *(("Set-Cookie", value) for value in self.set_cookies)])
        return [PAGE]


# Domains of dots, beside the cases of the model's own tests.
DOTS: dict[str, tuple[list[tuple[Request, list[str]]], Request, str | None]] = {
    "a Domain of a dot is none": ([(typed(HTTPS), ["a=1; Domain=."])], typed(HTTPS), "a=1"),
    "a Domain of a dot is none, to hosts below": ([(typed(HTTPS), ["a=1; Domain=."])], typed(BELOW), None),
    "__Host- bears a Domain of a dot": ([(typed(HTTPS), ["__Host-a=1; Secure; Path=/; Domain=."])], typed(HTTPS), "__Host-a=1"),
    "the last of two Domains counts, also a dot": (
        [(typed(HTTPS), ["a=1; Domain=shop.example; Domain=."])],
        typed(BELOW),
        None,
    ),
    "a Domain of two dots is another host's": ([(typed(HTTPS), ["a=1; Domain=.."])], typed(HTTPS), None),
}
# Where Chromium goes its own way: it drops a cookie whose Domain is a dot.
DOTS_IN_CHROMIUM: dict[str, str | None] = {"a Domain of a dot is none": None, "__Host- bears a Domain of a dot": None}


@pytest.mark.parametrize("case", CASES | DOTS)
def test_chromium_keeps_each_rule_as_the_model_does(case: str, site: Site, page: Page) -> None:
    given, asked, expected = (CASES | DOTS)[case]
    in_chromium = (IN_CHROMIUM | DOTS_IN_CHROMIUM).get(case, expected)
    for is_chromium in (False, True):
        model = ModelBrowser(Clock(), is_chromium=is_chromium)
        for request, set_cookies in given:
            model.receive(request, set_cookies)
        assert model.send(asked) == (in_chromium if is_chromium else expected)
    page.context.clear_cookies()
    site.application = echo = Echo()
    for request, set_cookies in given:
        if request.script:
            page.goto(site.blank(request.scheme, request.host, request.path))
            for value in set_cookies:
                page.evaluate("value => { document.cookie = value; }", value)
            continue
        echo.set_cookies = set_cookies
        site.send(page, request)
    echo.set_cookies = []
    if asked.script:
        page.goto(site.blank(asked.scheme, asked.host, asked.path))
        assert page.evaluate("document.cookie") == (expected or "")
    else:
        site.send(page, asked)
        assert echo.header == in_chromium


def worth(world: World) -> int:
    """How much of a run is about cookies that came."""
    return sum(count for kind, count in world.happened.items() if kind.startswith(("opened", "refused", "tossed", "former")))


@pytest.mark.slow
def test_scripts_of_the_machine_go_in_chromium_as_in_the_model(
    site: Site, open_page: Callable[[], Page], capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = sorted(zip(*played(DRAWN, derandomize=True), strict=True), key=lambda run: -worth(run[0]))
    chosen = [script for _, script in drawn[:SCRIPTS]]
    assert len(chosen) == SCRIPTS
    requests = with_cookies = 0

    def send(world: World, user: str, request: Request, header: str | None) -> None:
        nonlocal requests, with_cookies
        requests += 1
        with_cookies += header is not None
        site.application = world.application
        site.send(pages[user], request)

    for script in chosen:
        pages = {user: open_page() for user in USERS}
        world = World(send, browsers_feel_time=False)
        for step in script:
            world.step(*step)
        for page in pages.values():
            page.context.close()
    assert with_cookies > SCRIPTS
    with capsys.disabled():
        print(f"\n{SCRIPTS} scripts, {requests} requests of Chromium, {with_cookies} of them with cookies, all as the model said")
