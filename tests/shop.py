"""A shop for real servers: it signs in and out, fills carts, streams, fails as it is asked to, and tells what it saw."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Self

import webob

from clientsession import Jar, Keyring, SessionCommittedError, SessionTooLargeError
from clientsession.wsgi import SessionMiddleware

WAIT_SECONDS = 30.0
PROMISED = 1000  # bytes of a body of which fewer come
CHUNK = b"x" * 65536
CHUNKS = 1024  # 64 MiB, more than is kept anywhere between here and a client that does not read


class Mishap(Exception):
    """What the shop raises when it is asked to; any other traceback in a server's log is one too many."""


class Reporter:
    """Where the shop tells a test how far it is, and waits until it may go on; with port 0, nobody is there."""

    def __init__(self, port: int) -> None:
        self._socket: socket.socket | None = None
        if port:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.settimeout(WAIT_SECONDS)
            self._socket.connect(("127.0.0.1", port))

    def tell(self, text: str) -> None:
        if self._socket is not None:
            self._socket.send(text.encode("ascii"))

    def wait(self) -> None:
        if self._socket is not None:
            self._socket.recv(16)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class Body:
    """An iterable as an application returns it; that it is closed is told."""

    def __init__(self, chunks: Iterable[bytes], reporter: Reporter) -> None:
        self._chunks = iter(chunks)
        self._reporter = reporter

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        self._reporter.tell("closed")
        self._reporter.close()


def jars(ring: Keyring, *, secure: bool = False) -> tuple[Jar, Jar]:
    """A session and a cart; over plain http neither Secure nor with the names that browsers take from https alone."""
    prefix = "__Host-" if secure else ""
    return (
        Jar("session", ring, cookie_name=f"{prefix}session", secure=secure),
        Jar("cart", ring, cookie_name=f"{prefix}cart", secure=secure, duration=timedelta(days=120)),
    )


def shop(environ: dict[str, Any], start_response: Any) -> Any:
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
        case "/both":
            request.session["user"] = request.params["user"]
            request.cart["items"] = [request.params["item"]]
            response.json = "both"
        case "/fill":
            for name in request.params["jars"].split(","):
                getattr(request, name)["text"] = "x" * int(request.params["letters"])
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
        case "/write":
            request.session["user"] = "written"
            write = start_response("200 OK", [("Content-Type", "text/plain")])
            write(b"one ")
            write(b"two ")
            return [b"three"]
        case "/late":
            return late(request, start_response)
        case "/raise":
            request.session["user"] = request.cart["items"] = "lost"
            raise Mishap("before the response began")
        case "/too-large":
            request.cart["items"] = "lost"
            request.session["text"] = "x" * 4096
        case "/die":
            return die(request, start_response)
        case "/wait":
            return wait(request, response, environ, start_response)
        case "/flood":
            return flood(request, start_response)
        case "/plain":
            response = webob.Response("untouched")
        case "/page":
            response = webob.Response("<!doctype html><link rel=icon href=data:,><title>shop</title>")
        case "/header":
            response.json = {"cookie": environ.get("HTTP_COOKIE"), "scheme": environ["wsgi.url_scheme"]}
        case _:
            session = request.session
            response.json = {
                "user": session.get("user"),
                "items": request.cart.get("items", []),
                "texts": {name: getattr(request, name)["text"] for name in ("session", "cart") if "text" in getattr(request, name)},
                "visits": session.get("visits", 0),
                "is_new": session.is_new,
                "refusal": session.refusal,
                "pid": os.getpid(),
            }
    return response(environ, start_response)


def reporter_of(request: webob.Request) -> Reporter:
    return Reporter(int(request.params.get("witness", "0")))


def stream(request: webob.Request, start_response: Any) -> Iterator[bytes]:
    """Writes its session with the first chunk, as generators do, and sends the others when the test has seen that one."""
    reporter = reporter_of(request)
    request.session["user"] = "streamed"
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no")])
    yield b"data: 0\n\n"
    reporter.tell("begun")
    reporter.wait()
    for number in (1, 2):
        yield b"data: %d\n\n" % number
    reporter.tell("ended")
    reporter.close()


def late(request: webob.Request, start_response: Any) -> Iterator[bytes]:
    """Writes one session with the first chunk, and then once more, and another that it did not use before."""
    request.session["user"] = "in time"
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")])
    yield b"first"
    try:
        request.session["user"] = "late"
    except SessionCommittedError:
        yield b", refused"
    try:
        request.cart["items"] = ["late"]
    except SessionCommittedError:
        yield b", refused"


def die(request: webob.Request, start_response: Any) -> Iterable[bytes]:
    """Writes both sessions, sends a part of its body and raises."""

    def chunks() -> Iterator[bytes]:
        yield b"x" * (PROMISED // 2)
        raise Mishap("in the middle of the body")

    request.session["user"] = request.params["user"]
    request.cart["items"] = [request.params["user"]]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(PROMISED)), ("X-Accel-Buffering", "no")])
    return Body(chunks(), reporter_of(request))


def wait(request: webob.Request, response: webob.Response, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Writes its session when the test says so."""
    reporter = reporter_of(request)
    reporter.tell("waiting")
    reporter.wait()
    request.session["user"] = request.params["user"]
    return Body(response(environ, start_response), reporter)


def flood(request: webob.Request, start_response: Any) -> Iterable[bytes]:
    """Writes its session and sends a first chunk; when the test says so, more than is kept anywhere for a client that is gone."""
    reporter = reporter_of(request)

    def chunks() -> Iterator[bytes]:
        yield b"first"
        reporter.tell("begun")
        reporter.wait()
        for _ in range(CHUNKS):
            yield CHUNK

    request.session["user"] = request.params["user"]
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")])
    return Body(chunks(), reporter)


def shop_of(ring: Keyring) -> Callable[..., Any]:
    """The shop with the jars of the scheme that the server says the visitor came by."""
    shops = {scheme: SessionMiddleware(shop, jars(ring, secure=scheme == "https")) for scheme in ("http", "https")}

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return shops[environ["wsgi.url_scheme"]](environ, start_response)

    return application


def shop_from_env() -> Callable[..., Any]:
    """What the workers of a server load."""
    return shop_of(Keyring.from_env())
