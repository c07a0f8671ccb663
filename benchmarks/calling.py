"""How the benchmarks call an application: as a server does, in one process, without HTTP; and what came back."""

from __future__ import annotations

import io
from collections.abc import Callable, MutableMapping
from typing import Any

Reply = tuple[str, list[tuple[Any, Any]], bytes]
"""Status, headers as they came (text from WSGI, bytes from ASGI), body."""

ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "shop.example",
    "SERVER_PORT": "443",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.7",
    "HTTP_HOST": "shop.example",
    "HTTP_ACCEPT": "text/html",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "https",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": io.StringIO(),
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "https",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "client": ("192.0.2.7", 50000),
    "server": ("shop.example", 443),
}


def wsgi_call(app: Any, cookie: str | None, path: str = "/") -> Callable[[], Reply]:
    """A function that makes one request of a WSGI application, each time with a fresh environ."""
    template = ENVIRON | {"PATH_INFO": path} | ({} if cookie is None else {"HTTP_COOKIE": cookie})

    def call() -> Reply:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            started[:] = (status, headers)
            return started.append

        chunks = app(template.copy(), start_response)
        content = b"".join(chunks)
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
        return started[0], started[1], content

    return call


def asgi_call(app: Any, cookie: str | None) -> Callable[[], Reply]:
    """A function that makes one request of an ASGI application, which must not wait for anything: no event loop is paid for."""
    sent = [(b"host", b"shop.example"), (b"accept", b"text/html")]
    template = SCOPE | {"headers": sent if cookie is None else [*sent, (b"cookie", cookie.encode("latin-1"))]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    def call() -> Reply:
        messages: list[Any] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        running = app(template.copy(), receive, send)
        try:
            running.send(None)
        except StopIteration:
            return str(messages[0]["status"]), messages[0]["headers"], messages[1]["body"]
        running.close()
        raise RuntimeError("the application waits for an event loop")

    return call


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def cookies_of(reply: Reply) -> str | None:
    """What a browser would send back after this response, or None where it sets no cookie."""
    set_cookies = [_text(value) for name, value in reply[1] if _text(name).lower() == "set-cookie"]
    return "; ".join(value.partition(";")[0].strip() for value in set_cookies) or None
