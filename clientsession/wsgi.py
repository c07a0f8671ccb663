"""SessionMiddleware: sessions for any WSGI application (PEP 3333), and on any ``webob.Request`` of it.

The edge: it knows WSGI, WebOb and the HTTP caching headers, and leaves cookies, tokens and keys to the jars.
"""

from __future__ import annotations

import ipaddress
import keyword
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from clientsession._events import Throttle
from clientsession._jar import SET_COOKIE, AnyJar, Jar
from clientsession._session import Session
from clientsession._sessions import JarTable, Sessions
from clientsession.errors import ConfigurationError

with warnings.catch_warnings():
    # WebOb 1.8 imports the standard library's cgi, which is deprecated in 3.11 and 3.12; WebOb brings its own from 3.13 on.
    warnings.filterwarnings("ignore", message="'cgi' is deprecated", category=DeprecationWarning)
    import webob

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware", "get_sessions"]

ENVIRON_KEY: Final = "clientsession.sessions"
_DIRECTIVE: Final = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')  # RFC 9111, 5.2: between commas, those in quoted strings aside
_MAX_SHOWN_CHARS: Final = 100  # of a header in a log line
_BY_COOKIE: Final = ("Vary", "Cookie")
_PRIVATE: Final = ("Cache-Control", "private")
_NOT_STORED: Final = ("Cache-Control", "private, no-store")
_ATTRIBUTES_KEY: Final = "webob.adhoc_attrs"  # where WebOb keeps the attributes an application sets on a request

_logger: Final = logging.getLogger("clientsession")


class _HasEnviron(Protocol):
    environ: dict[str, Any]


def get_sessions(environ_or_request: WSGIEnvironment | _HasEnviron) -> Sessions:
    """The sessions of a request.

    Args:
        environ_or_request: a WSGI environ, or anything with one as ``.environ``.

    Raises:
        ConfigurationError: no SessionMiddleware is around the application.
    """
    environ = environ_or_request if isinstance(environ_or_request, dict) else environ_or_request.environ
    sessions = environ.get(ENVIRON_KEY)
    if not isinstance(sessions, Sessions):
        raise ConfigurationError(
            "this request did not pass a SessionMiddleware: wrap the application, SessionMiddleware(app, [jar])"
        )
    return sessions


class SessionMiddleware:
    """Gives a WSGI application its sessions, and sends their cookies when it starts its response.

    In the application: ``environ["clientsession.sessions"]["cart"]``, or ``request.cart`` on a ``webob.Request``.

    Args:
        app: the application.
        jars: its jars. Their names are attributes of WebOb's requests, and must not be one that is there already.

    Raises:
        ConfigurationError: two jars of one name or cookie name; a name that is no identifier, starts with ``_``, or is an
            attribute of ``webob.Request``.
    """

    __slots__ = ("_app", "_jars", "_throttle", "_warned")

    def __init__(self, app: WSGIApplication, jars: Iterable[AnyJar]) -> None:
        if not callable(app):
            raise ConfigurationError(f"app must be a WSGI application, not {type(app).__name__}")
        table = JarTable(jars)
        taken = dir(webob.Request({}))  # of a request and not of the class: ``environ`` is set on each
        for name in table.by_name:
            if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name in taken:
                raise ConfigurationError(
                    f"the jar name {name!r} cannot be an attribute of a request (no identifier, a keyword, or taken by "
                    f'webob.Request): name the jar otherwise, and say cookie_name="{name}" if the cookie is to be called so'
                )
        self._app = app
        self._jars = table
        self._throttle = Throttle()
        self._warned: set[str] = set()  # jars whose Secure cookie was set over plain http, each told of once

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """Serve one request; the application's own iterable is returned as it is."""
        outer = None
        enclosing = environ.get(ENVIRON_KEY)
        if enclosing is not None:
            outer = _outside(self, enclosing)
            if outer is not enclosing:  # a sub-request: it starts afresh, and leaves the sessions of the request around it alone
                environ = dict(environ)
            elif outer is not None and outer._answers is not None:  # tried before this one, and not around it
                outer = None
        sessions = _RequestSessions(self, environ, outer)
        environ[ENVIRON_KEY] = sessions
        environ[_ATTRIBUTES_KEY] = _attributes(sessions, environ.get(_ATTRIBUTES_KEY))

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            if sessions._visits:
                headers = self._with_sessions(headers, sessions, environ)
            else:
                sessions._close()
                headers = list(headers)  # the application's own may be shared by its requests, and a server may add to it
            if outer is not None:
                outer._added = sessions._added
            if exc_info is None:
                return start_response(status, headers)
            try:
                return start_response(status, headers, exc_info)
            finally:
                exc_info = None  # PEP 3333: no reference to the traceback stays

        is_served = False
        try:
            served = self._app(environ, start)
            is_served = True
        finally:
            if not is_served and sessions._answers is None:
                sessions._give_up()
        return served

    def _with_sessions(
        self, headers: list[tuple[str, str]], sessions: _RequestSessions, environ: WSGIEnvironment
    ) -> list[tuple[str, str]]:
        """The headers of a response that used sessions; a new list, since the application's own may be shared by its requests."""
        headers = list(headers)
        names = _names(headers)
        if "set-cookie" in names or self._jars.headers:
            sessions._written_below = _written_below(headers, sessions)
        answers = sessions.commit_headers()
        if "vary" in names:
            _vary_on(headers, sessions.vary)
        else:
            headers.append(("Vary", ", ".join(sessions.vary)) if self._jars.headers else _BY_COOKIE)
        if answers:
            cookies = [value for name, value in answers if name == SET_COOKIE]
            self._check_secure(cookies, environ)
            if "set-cookie" in names:
                former = {deletion for jar in self._jars if isinstance(jar, Jar) for deletion in jar._former_deletions}
                _drop_set_cookies(headers, {cookie.partition("=")[0] for cookie in cookies if cookie not in former}, sessions._warn)
            _drop_targeted(headers, names, sessions._warn)
            for name, _ in answers:
                if name != SET_COOKIE and name.lower() in names:
                    _drop_header(headers, name, sessions._warn)
            headers += answers
            if sessions._added in headers:  # what a middleware inside said of its own accord is not the application's word
                headers.remove(sessions._added)
                names = _names(headers)
        if "cache-control" in names:
            _keep_private(headers, sessions._warn, has_answers=bool(answers))
        else:
            sessions._added = _NOT_STORED if answers else _PRIVATE
            headers.append(sessions._added)
        return headers

    def _check_secure(self, cookies: list[str], environ: WSGIEnvironment) -> None:
        """Warn once of a Secure cookie that a browser will drop, since it came over plain http."""
        if environ.get("wsgi.url_scheme") == "https" or _is_local(environ):
            return
        for jar in self._jars:
            if not isinstance(jar, Jar):
                continue
            is_set = any(cookie.startswith(f"{jar.cookie_name}=") for cookie in cookies)
            if is_set and jar.secure and jar.name not in self._warned:
                self._warned.add(jar.name)
                _logger.warning(
                    "the Secure cookie %s was set on a plain http request, and browsers drop it there. Behind a proxy that ends "
                    "TLS, let the server set wsgi.url_scheme from X-Forwarded-Proto; for development without TLS, say "
                    "Jar(…, secure=False)",
                    jar.cookie_name,
                )


class _RequestSessions(Sessions):
    """The sessions of one request; those of an outer middleware's jars are found through them too."""

    __slots__ = ("_added", "_middleware", "_outer")

    def __init__(self, middleware: SessionMiddleware, environ: WSGIEnvironment, outer: _RequestSessions | None) -> None:
        table = middleware._jars
        headers: dict[str, str] = {}
        if table.headers:
            headers = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}", "") for name in table.headers}
        self._begin(table, environ.get("HTTP_COOKIE"), headers)
        self._middleware = middleware
        self._outer = outer
        self._added: tuple[str, str] | None = None  # the Cache-Control of our own that the response carries
        if outer is not None:
            self._refuse_shared_names(outer)

    @property
    def _throttle(self) -> Throttle:
        return self._middleware._throttle

    def _refuse_shared_names(self, outer: _RequestSessions) -> None:
        names = [name for name in self._jars if name in outer]
        shared = self._middleware._jars.taken & outer._all_taken()
        if names or shared:
            raise ConfigurationError(
                f"two nested SessionMiddlewares share the jars, cookies or headers {', '.join(sorted({*names, *shared}))}: rename "
                "one, or wrap the application once with all its jars"
            )

    def _all_taken(self) -> frozenset[str]:
        taken = self._middleware._jars.taken
        return taken | self._outer._all_taken() if self._outer is not None else taken

    def __getitem__(self, name: str) -> Session:
        if self._outer is not None and name not in self._jars:
            return self._outer[name]
        visit = self._visits.get(name)
        return self._visit(name).session if visit is None else visit.session

    def __contains__(self, name: object) -> bool:
        return name in self._jars or (self._outer is not None and name in self._outer)

    def __iter__(self) -> Iterator[str]:
        yield from self._jars
        if self._outer is not None:
            yield from self._outer

    def __len__(self) -> int:
        return len(self._jars) + (len(self._outer) if self._outer is not None else 0)


def _outside(middleware: SessionMiddleware, enclosing: object) -> _RequestSessions | None:
    """The sessions of the middlewares around this one: ``enclosing``, or where this one is among them, what is around that."""
    if not isinstance(enclosing, _RequestSessions):
        raise ConfigurationError(
            f"environ[{ENVIRON_KEY!r}] holds {type(enclosing).__name__}, which no SessionMiddleware put there: use another key"
        )
    outer: _RequestSessions | None = enclosing
    while outer is not None:
        if outer._middleware is middleware:
            return outer._outer
        outer = outer._outer
    return enclosing


def _attributes(sessions: Sessions, attributes: dict[str, Any] | None) -> _RequestAttributes:
    """WebOb's store for a request, with what is in it already."""
    store = _RequestAttributes()
    store._sessions = sessions
    if attributes:
        for name, value in attributes.items():
            if name not in sessions:
                store[name] = value
    return store


class _RequestAttributes(dict[str, Any]):
    """WebOb's store of a request's own attributes, in which the names of jars stand for their sessions."""

    __slots__ = ("_sessions",)
    _sessions: Sessions

    def __missing__(self, name: str) -> Session:
        if name in self._sessions:
            return self._sessions[name]
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._sessions:
            self._sessions[name] = value
        else:
            super().__setitem__(name, value)


def _is_local(environ: WSGIEnvironment) -> bool:
    """Whether browsers trust this host without TLS: localhost and loopback addresses (W3C Secure Contexts, 3.1)."""
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME") or ""
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # a name with a port; a server's own name may be an IPv6 address without brackets
        host = host.partition(":")[0]
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# Headers. What an application hands over may be malformed, and is then the server's to refuse: it is passed on as it is.


def _names(headers: list[tuple[str, str]]) -> set[str]:
    """The names of all headers, in lower case."""
    return {item[0].lower() for item in headers if len(item) == 2 and type(item[0]) is str and type(item[1]) is str}


def _positions(headers: list[tuple[str, str]], name: str) -> list[int]:
    """Where a header stands; names in any case, and items that are no (str, str) pass by."""
    return [
        index
        for index, item in enumerate(headers)
        if len(item) == 2 and type(item[0]) is str and type(item[1]) is str and item[0].lower() == name
    ]


def _vary_on(headers: list[tuple[str, str]], names: tuple[str, ...]) -> None:
    """``Vary``, merged: a cache must not give one user's page to another (RFC 9110, 12.5.5)."""
    positions = _positions(headers, "vary")
    fields = {field.strip().lower() for index in positions for field in headers[index][1].split(",")} - {""}
    missing = [name for name in names if name.lower() not in fields]
    if not missing or "*" in fields:
        return
    if not fields:
        headers.append(("Vary", ", ".join(missing)))
        return
    name, value = headers[positions[-1]]
    headers[positions[-1]] = (name, ", ".join((value, *missing)))


def _keep_private(headers: list[tuple[str, str]], warn: Callable[..., None], *, has_answers: bool) -> None:
    """The application's own ``Cache-Control``, made to fit a response that carries a session (RFC 9111, 5.2.2)."""
    if not has_answers:
        return
    positions = _positions(headers, "cache-control")
    directives = [text for index in positions for text in _directives(headers[index][1])]
    shared = [text for text in directives if text.partition("=")[0].strip().lower() in {"public", "s-maxage"}]
    is_private = _is_private(directives)
    if is_private and not shared:
        return
    if shared:
        warn(
            "shared cache",
            "the response carries a session and says Cache-Control: %s, which would let a cache give the session to others; "
            "it was taken out. Set no such header where a session is written%s",
            ", ".join(shared)[:_MAX_SHOWN_CHARS],
        )
    kept = [text for text in directives if text not in shared]
    if not is_private:
        kept.append("private")
    for index in reversed(positions[1:]):
        del headers[index]
    headers[positions[0]] = (headers[positions[0]][0], ", ".join(kept))


def _directives(value: str) -> list[str]:
    """The directives of a ``Cache-Control``, or of a header of its kind."""
    return [text for text in map(str.strip, _DIRECTIVE.findall(value)) if text]


def _is_private(directives: Iterable[str]) -> bool:
    """Whether they keep a response out of shared caches (RFC 9111, 5.2.2)."""
    plain = {text.lower() for text in directives}  # private="a-field" is not enough
    return "private" in plain or ("no-store" in plain and "must-understand" not in plain)


def _drop_targeted(headers: list[tuple[str, str]], names: set[str], warn: Callable[..., None]) -> None:
    """Take out what lets some caches store, which heed it in place of ``Cache-Control`` (RFC 9213)."""
    for name in names:
        if not name.endswith("-cache-control") and name != "surrogate-control":
            continue
        for index in reversed(_positions(headers, name)):
            if not _is_private(_directives(headers[index][1])):
                del headers[index]
                warn(
                    "targeted cache",
                    "the response carries a session, and its header %s would let a cache give the session to others; it was taken "
                    "out. Set no such header where a session is written%s",
                    name,
                )


def _written_below(headers: list[tuple[str, str]], sessions: _RequestSessions) -> set[str]:
    """The jars in use whose own answer a response carries already: a sub-request wrote the session."""
    found = set()
    for name, visit in sessions._visits.items():
        jar = sessions._jars[name]
        positions = _positions(headers, jar._deletion()[0].lower())
        if any(jar._wrote(headers[index][1], visit.bound, sessions._time(jar)) for index in positions):
            found.add(name)
    return found


def _drop_set_cookies(headers: list[tuple[str, str]], names: set[str], warn: Callable[..., None]) -> None:
    """Take out the application's own Set-Cookie of a name that a jar sets: two of one name would be settled by chance."""
    for index in reversed(_positions(headers, "set-cookie")):
        name = headers[index][1].partition(";")[0].partition("=")[0].strip(" \t")
        if name in names:
            del headers[index]
            warn(
                "own cookie",
                "the application set the cookie %s itself, which belongs to a jar; the jar's was sent. Write the session, or "
                "rename one%s",
                name,
            )


def _drop_header(headers: list[tuple[str, str]], name: str, warn: Callable[..., None]) -> None:
    """Take out the application's own header of a name that a jar answers with."""
    for index in reversed(_positions(headers, name.lower())):
        del headers[index]
        warn(
            "own header",
            "the application set the header %s itself, which belongs to a jar; the jar's was sent. Write the session, or "
            "give the jar another header%s",
            name,
        )
