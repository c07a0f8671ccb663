"""The systems whose signed cookies are read, each run as itself: a small site on it, and a visit that gives what it sets.

Nothing here is ours: what these sites write is what the readers must read.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable
from typing import Any

import flask
import itsdangerous
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessions
from django.http import HttpResponse
from django.test import RequestFactory
from flask.sessions import SecureCookieSessionInterface
from starlette.middleware.sessions import SessionMiddleware as StarletteSessions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Pyramid imports is announced to go, with some versions of setuptools
    from pyramid.config import Configurator
    from pyramid.request import Request as PyramidRequest
    from pyramid.response import Response as PyramidResponse
    from pyramid.session import JSONSerializer, SignedCookieSessionFactory

SECRET = "Rhabarberkompott-Fernrohr-5527-Ziegelstein-Nachtfalter"  # one for all, so that only their forms tell the systems apart
SALT = "visits"  # of the serializer of itsdangerous

Work = Callable[[Any], object]
"""What a handler of a site does with its session."""

if not settings.configured:
    settings.configure(
        SECRET_KEY=SECRET,
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
    )


def value_of(set_cookies: list[str]) -> str | None:
    """The value that a response sets, of its one cookie; None where it sets none."""
    if not set_cookies:
        return None
    (line,) = set_cookies
    return line.partition(";")[0].partition("=")[2]


class FlaskSite:
    """An application of Flask. Its options are the configuration, and those of the session interface."""

    def __init__(self, *, interface: dict[str, Any] | None = None, **config: Any) -> None:
        self.app = flask.Flask("old")
        self.app.config.update({"SECRET_KEY": SECRET, **config})
        self.app.session_interface = type("Interface", (SecureCookieSessionInterface,), interface or {})()

        @self.app.route("/")
        def index() -> str:
            flask.request.environ["tests.work"](flask.session)
            return ""

    def visit(self, work: Work, cookie: str | None = None) -> str | None:
        """One request, with the cookie's value of an earlier one."""
        headers = {} if cookie is None else {"Cookie": f"{self.app.config['SESSION_COOKIE_NAME']}={cookie}"}
        client = self.app.test_client(use_cookies=False)
        response = client.get("/", headers=headers, environ_overrides={"tests.work": work})
        assert response.status_code == 200
        return value_of(response.headers.getlist("Set-Cookie"))


class DjangoSite:
    """Django's session middleware, by the settings of the moment."""

    def visit(self, work: Work, cookie: str | None = None) -> str | None:
        """One request, with the cookie's value of an earlier one."""

        def handler(request: Any) -> HttpResponse:
            work(request.session)
            return HttpResponse()

        headers = {} if cookie is None else {"HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={cookie}"}
        response = DjangoSessions(handler)(RequestFactory().get("/", **headers))
        return value_of([morsel.OutputString() for morsel in response.cookies.values()])


class StarletteSite:
    """An application of ASGI behind Starlette's session middleware, whose options it takes."""

    def __init__(self, secret_key: Any = SECRET, **options: Any) -> None:
        self.options = options
        self.app = StarletteSessions(self._handle, secret_key, **options)

    @staticmethod
    async def _handle(scope: Any, _receive: Any, send: Any) -> None:
        scope["tests.work"](scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def visit(self, work: Work, cookie: str | None = None) -> str | None:
        """One request, with the cookie's value of an earlier one."""
        name = self.options.get("session_cookie", "session")
        headers = [] if cookie is None else [(b"cookie", f"{name}={cookie}".encode())]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "tests.work": work}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is received")

        asyncio.run(self.app(scope, receive, send))
        return value_of([value.decode() for key, value in sent[0]["headers"] if key.lower() == b"set-cookie"])


class PyramidSite:
    """An application of Pyramid, with the options of its session factory."""

    def __init__(self, secret: Any = SECRET, **options: Any) -> None:
        self.options = {"serializer": JSONSerializer(), **options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            config = Configurator(session_factory=SignedCookieSessionFactory(secret, **self.options))
            config.add_view(self._handle)
            self.app = config.make_wsgi_app()

    @staticmethod
    def _handle(_context: Any, request: Any) -> Any:
        request.environ["tests.work"](request.session)
        return PyramidResponse()

    def visit(self, work: Work, cookie: str | None = None) -> str | None:
        """One request, with the cookie's value of an earlier one."""
        headers = {} if cookie is None else {"Cookie": f"{self.options.get('cookie_name', 'session')}={cookie}"}
        response = PyramidRequest.blank("/", headers=headers, environ={"tests.work": work}).get_response(self.app)
        return value_of(response.headers.getall("Set-Cookie"))


class ItsdangerousSite:
    """An application that has no sessions but a serializer."""

    def __init__(self, secret_key: Any = SECRET, salt: Any = SALT, **options: Any) -> None:
        self.serializer = itsdangerous.URLSafeTimedSerializer(secret_key, salt, **options)

    def visit(self, work: Work, cookie: str | None = None) -> str | None:
        """One request, with the cookie's value of an earlier one."""
        session = {} if cookie is None else self.serializer.loads(cookie)
        before = json.dumps(session)
        work(session)
        return None if json.dumps(session) == before else self.serializer.dumps(session)
