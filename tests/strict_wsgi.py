"""A strict PEP 3333 server for tests: no sockets, one request at a time, and a Violation for whatever must not be.

It transmits nothing. What happened, and in which order, stands in ``Exchange.events``; an application may add lines of its own
through ``environ["strict.events"]``.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self

_STATUS = re.compile(r"[2-5][0-9]{2} [^\x00-\x1f\x7f]*")  # the reason may be empty, the space before it not (RFC 9112, 4)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
_BODILESS = ("204", "304")  # RFC 9110, 6.4.1


class Violation(AssertionError):
    """The application did what PEP 3333 or HTTP forbids."""


def make_environ(
    method: str = "GET",
    path: str = "/",
    *,
    cookie: str | None = None,
    scheme: str = "https",
    host: str = "shop.example",
    **extra: Any,
) -> dict[str, Any]:
    """An environ with all that PEP 3333 asks for, and no body."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "server.example",
        "SERVER_PORT": "443" if scheme == "https" else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    if cookie is not None:
        environ["HTTP_COOKIE"] = cookie
    return environ | extra


class FileWrapper:
    """The server's ``wsgi.file_wrapper``; it knows its own by their type."""

    def __init__(self, file: BinaryIO, block_size: int = 8192) -> None:
        self.file = file
        self.block_size = block_size
        self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(self.block_size), b"")


class Body:
    """An application's iterable that writes down what is done to it, and bears neither a second close nor a read after it.

    A chunk that is an exception is raised in its place.
    """

    def __init__(self, chunks: Iterable[Any], events: list[str], *, close_error: BaseException | None = None) -> None:
        self.chunks = iter(chunks)
        self.events = events
        self.close_error = close_error
        self.closed = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self.closed:
            raise Violation("the iterable was read after it was closed")
        chunk = next(self.chunks)
        self.events.append(f"app {chunk!r}")
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closed += 1
        self.events.append("app close")
        if self.closed > 1:
            raise Violation("the iterable was closed twice")
        if self.close_error is not None:
            raise self.close_error


class Exchange:
    """One request to an application, and what came of it.

    Events: ``start_response``, ``next``, ``headers`` (when they would go on the wire), ``chunk …``, ``write …``, ``file`` and
    ``close``.

    Args:
        app: the application.
        environ: of the request; by default ``make_environ()``.
        stop_after: read so many chunks, then close, as a server does whose client went away.
        drop_head_body: drop a body on HEAD, as real servers do, in place of raising.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        environ: dict[str, Any] | None = None,
        *,
        stop_after: int | None = None,
        drop_head_body: bool = False,
    ) -> None:
        self.app = app
        self.environ = make_environ() if environ is None else environ
        self.stop_after = stop_after
        self.drop_head_body = drop_head_body
        self.events: list[str] = []
        self.environ["strict.events"] = self.events
        self.argument_counts: list[int] = []  # of each call of start_response
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.iterable: Any = None
        self._input = self.environ["wsgi.input"]
        self._is_head = self.environ["REQUEST_METHOD"] == "HEAD"
        self._is_sent = False
        self._has_returned = False

    def run(self) -> Self:
        """Call the application, read and close what it returns."""
        result = self.iterable = self.app(self.environ, self._start_response)
        self._has_returned = True
        try:
            self._read(result)
        finally:
            if hasattr(result, "close"):
                self.events.append("close")
                result.close()
        self._check_environ()
        return self

    def values(self, name: str) -> list[str]:
        """The values of a header of the response."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def _start_response(self, *args: Any, **keywords: Any) -> Callable[[bytes], None]:
        exc_info: tuple[type, BaseException, TracebackType] | None = None
        try:
            if keywords:
                raise Violation("start_response has positional arguments only")
            if len(args) not in (2, 3):
                raise Violation(f"start_response takes 2 or 3 arguments, not {len(args)}")
            self.argument_counts.append(len(args))
            status, headers, exc_info = (*args, None)[:3]
            if exc_info is None:
                if self.status:
                    raise Violation("start_response was called a second time without exc_info")
            elif type(exc_info) is not tuple or len(exc_info) != 3 or not isinstance(exc_info[1], BaseException):
                raise Violation("exc_info is not what sys.exc_info() gives in an except block")
            elif self._is_sent:
                raise exc_info[1].with_traceback(exc_info[2])
            _check_status(status)
            _check_headers(headers, status)
            self.status, self.headers = status, list(headers)
            self.events.append("start_response")
            return self._write
        finally:
            args, exc_info = (), None  # PEP 3333: no reference to the traceback stays

    def _write(self, data: bytes, /) -> None:
        if self._has_returned:
            raise Violation("write() was called after the application had returned its iterable")
        self._send("write", data)

    def _read(self, result: Any) -> None:
        if type(result) is FileWrapper:
            self.events.append("file")
        try:
            chunks = iter(result)
        except TypeError:
            raise Violation(f"the application returned {type(result).__name__}, which is no iterable") from None
        count = 0
        while count != self.stop_after:
            self.events.append("next")
            try:
                data = next(chunks)
            except StopIteration:
                break
            count += 1
            self._send("chunk", data)
        else:
            return
        if not self.status:
            raise Violation("start_response was never called")
        self._send_headers()
        if hasattr(result, "__len__") and len(result) != count:
            raise Violation(f"len() of the iterable is {len(result)}, and it gave {count} chunks")
        length = self.values("Content-Length")
        if length and not self._is_head and not self.status.startswith(_BODILESS) and int(length[0]) != len(self.body):
            raise Violation(f"Content-Length is {length[0]}, and the body has {len(self.body)} bytes")

    def _send(self, kind: str, data: bytes) -> None:
        if not self.status:
            raise Violation("a chunk came before start_response was called")
        if type(data) is not bytes:
            raise Violation(f"a chunk is bytes, not {type(data).__name__}")
        if data:
            self._send_headers()
        self.events.append(f"{kind} {data!r}")
        if data and self._is_head and self.drop_head_body:
            return
        if data and (self._is_head or self.status.startswith(_BODILESS)):
            raise Violation("this response has no body")
        self.body += data

    def _send_headers(self) -> None:
        if not self._is_sent:
            self._is_sent = True
            self.events.append("headers")

    def _check_environ(self) -> None:
        for key, value in self.environ.items():
            if type(key) is not str or ("." not in key and type(value) is not str):
                raise Violation(f"the environ was given {key!r} of type {type(value).__name__}")
        if self._input.closed:
            raise Violation("the application closed wsgi.input")


def serve(app: Callable[..., Any], environ: dict[str, Any] | None = None, **options: Any) -> Exchange:
    """One request to an application, run to its end."""
    return Exchange(app, environ, **options).run()


def _check_status(status: Any) -> None:
    if type(status) is not str:
        raise Violation(f"the status is a str, not {type(status).__name__}")
    if not _STATUS.fullmatch(status):
        raise Violation(f"{status!r} is not three digits, a space and a reason")
    _check_latin1(status)


def _check_headers(headers: Any, status: str) -> None:
    if type(headers) is not list:
        raise Violation(f"the headers are a list, not {type(headers).__name__}")
    for item in headers:
        if type(item) is not tuple or len(item) != 2 or type(item[0]) is not str or type(item[1]) is not str:
            raise Violation(f"{item!r} is not a tuple of two str")
        name, value = item
        if not _NAME.fullmatch(name) or name.lower() == "status":
            raise Violation(f"{name!r} is no name of a header")
        if name.lower() in _HOP_BY_HOP:
            raise Violation(f"{name} is hop-by-hop, and the server's")
        if _CONTROL.search(value):
            raise Violation(f"the value of {name} has a control character")
        _check_latin1(value)
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if len(lengths) > 1 or not all(value.isascii() and value.isdecimal() for value in lengths):
        raise Violation("Content-Length is one number")
    if lengths and status.startswith("204"):
        raise Violation("this response has no Content-Length (RFC 9110, 8.6)")


def _check_latin1(text: str) -> None:
    if any(char > "\xff" for char in text):
        raise Violation(f"{text!r} is not ISO-8859-1")
