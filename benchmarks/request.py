"""What does a session add to a whole request, when the request leaves it alone, reads it, or changes one key of it?

In one process, without HTTP: an application is called as a server would call it, and its body is read and closed. Each session
system stands above its own bare application, one that answers the same and has no session, and only the difference of the two is
shown: neither the framework nor the loop around it is what is asked for. All are measured in the same turns, so the difference is
taken within each round.

The cookie sent is one that the system itself made around the same session. Each system is configured as its own documentation
says, and checked before anything is timed, and once more after.
"""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

from benchmarks.bodies import TYPICAL, body
from benchmarks.calling import Reply, asgi_call, cookies_of, wsgi_call
from benchmarks.measure import Effort, median, ratio, spread, time_in_turns
from clientsession import Jar, Key, Keyring
from clientsession.wsgi import SessionMiddleware

NAME: Final = "request"
BARE: Final = "bare"
KINDS: Final = ("untouched", "read", "written")
TIMED: Final = (BARE, *KINDS)
HEADER_KINDS: Final = (BARE, "untouched")
OPEN: Final = "open"  # our codec's decode alone: what a read request takes beyond it is the middleware's
MANY: Final = "read, each from another sealer"
SEALERS: Final = 1024  # more than any small cache holds
ENCRYPTED: Final = "encrypted"
SIGNED: Final = "signed only"
OURS: Final = "clientsession"
OURS_FASTER: Final = "clientsession, Msgspec"

SESSION: Final = body(TYPICAL)
CHANGED: Final = SESSION | {"seen": SESSION["seen"] + 1}  # one key, and the same length
OK = b"ok"
NO = b"no"
HEADERS: Final = {"Content-Type": "text/plain", "Content-Length": str(len(OK))}

FOREIGN_BYTES: Final = 8 * 1024  # of other people's cookies: about what proxies and WSGI servers let a header be
HUGE_BYTES: Final = 64 * 1024  # of a header that few servers would pass on
BEAKER_KEY_CHARS: Final = 32
FLASK_KEY_BYTES: Final = 32  # what its documentation's command makes: secrets.token_hex()
PYRAMID_KEY_BYTES: Final = 64  # a block of SHA-512, as its documentation advises
PYRAMID_TIMEOUT_SECONDS: Final = 86_400  # a day, as ours
PYRAMID_REISSUE_SECONDS: Final = 8_640  # a tenth of the timeout, its documentation's rule of thumb
DJANGO_KEY_BYTES: Final = 38  # as many characters as its own command makes, 50
STARLETTE_KEY_BYTES: Final = 32
LITESTAR_KEY_BYTES: Final = 32  # AES-256

Serve = Callable[[str, "str | None"], Callable[[], Reply]]
"""From what the application shall do and a Cookie header to a call that makes one such request."""


# What an application does with its session. All but the bare and the untouched one go by it, and all answer two bytes.


def _fill(session: Any) -> bool:
    session.update(SESSION)
    return True


def _read(session: Any) -> bool:
    return bool(session.get("user") == SESSION["user"])


def _write(session: Any) -> bool:
    session["seen"] = CHANGED["seen"]
    return True


def _holds(content: Mapping[str, Any]) -> Callable[[Any], bool]:
    return lambda session: all(session.get(key) == value for key, value in content.items())


USES: dict[str, Callable[[Any], bool] | None] = {
    BARE: None,  # without any session around the application
    "untouched": None,
    "read": _read,
    "written": _write,
    "fill": _fill,  # these for the checks alone
    "whole": _holds(SESSION),
    "changed": _holds(CHANGED),
}


def answer(kind: str, session: Callable[[], Any]) -> bytes:
    """The body of a response.

    Args:
        kind: one of ``USES``.
        session: gives the request's session; not called where the session is left alone.
    """
    use = USES[kind]
    return OK if use is None or use(session()) else NO


# The applications, and the sessions around them.


class BareWrapper:
    """The least a WSGI middleware can do: call the application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Serve one request."""
        return self._app(environ, start_response)


def _wsgi_app(kind: str, session_of: Callable[[dict[str, Any]], Any]) -> Any:
    """A WSGI application without a framework."""
    headers = list(HEADERS.items())

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        content = answer(kind, lambda: session_of(environ))
        start_response("200 OK", headers.copy())
        return [content]

    return app


def our_jar(serializer: Any = None) -> Jar:
    """The jar as README.md has it, with a key of its own."""
    ring = Keyring(Key.generate())
    return Jar("session", ring) if serializer is None else Jar("session", ring, serializer=serializer)


def our_apps(jar: Jar) -> dict[str, Any]:
    """WSGI applications by what they do, each but the bare one in a SessionMiddleware."""
    apps = {kind: _wsgi_app(kind, lambda environ: environ["clientsession.sessions"]["session"]) for kind in USES}
    return {kind: BareWrapper(app) if kind == BARE else SessionMiddleware(app, [jar]) for kind, app in apps.items()}


def _of_apps(apps: Mapping[str, Any], call: Callable[[Any, str | None], Callable[[], Reply]]) -> Serve:
    return lambda kind, cookie: call(apps[kind], cookie)


def _ours(_: ExitStack) -> Serve:
    return _of_apps(our_apps(our_jar()), wsgi_call)


def _ours_faster(_: ExitStack) -> Serve:
    return _of_apps(our_apps(_faster_jar()), wsgi_call)


def _faster_jar() -> Jar:
    from clientsession.serializers import Msgspec  # type: ignore[import-not-found,unused-ignore]

    return our_jar(Msgspec())


OUR_JARS: dict[str, Callable[[], Jar]] = {OURS: our_jar, OURS_FASTER: _faster_jar}


def _decoding(jar: Jar) -> Callable[[], object]:
    """The codec alone, on one token."""
    token = jar.codec.encode(SESSION)
    return lambda: jar.codec.decode(token)


def _from_many_sealers(jar: Jar, count: int) -> Callable[[], object]:
    """Read requests, each with the cookie of another sealer of the same key, as when other processes sealed it."""
    read = our_apps(jar)["read"]
    text = jar.keyring.sealing.export()
    tokens = [Jar("session", Keyring(Key.parse(text))).codec.encode(SESSION) for _ in range(count)]
    calls = cycle([wsgi_call(read, f"session={token}") for token in tokens])
    if any(call()[2] != OK for call in islice(calls, count)):
        raise RuntimeError(f"{OURS}: the session of another sealer was not read")
    return lambda: next(calls)()  # noqa: PLW0108 - another one at each call


def _beaker(_: ExitStack) -> Serve:
    from beaker.middleware import SessionMiddleware as BeakerMiddleware

    options = {
        "session.type": "cookie",
        "session.data_serializer": "json",
        "session.encrypt_key": secrets.token_hex(BEAKER_KEY_CHARS // 2),
        "session.validate_key": secrets.token_hex(BEAKER_KEY_CHARS // 2),
    }

    def app_of(kind: str) -> Any:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            content = answer(kind, lambda: environ["beaker.session"])
            if kind in {"fill", "written"}:
                environ["beaker.session"].save()
            start_response("200 OK", list(HEADERS.items()))
            return [content]

        return BareWrapper(app) if kind == BARE else BeakerMiddleware(app, options)

    return _of_apps({kind: app_of(kind) for kind in USES}, wsgi_call)


def _flask(_: ExitStack) -> Serve:
    from flask import Flask, Response, session

    key = secrets.token_hex(FLASK_KEY_BYTES)

    def app_of(kind: str) -> Any:
        app = Flask(__name__, static_folder=None)
        if kind != BARE:
            app.secret_key = key

        def view() -> Response:
            return Response(answer(kind, lambda: session), content_type="text/plain")

        app.add_url_rule("/", view_func=view)
        return app

    return _of_apps({kind: app_of(kind) for kind in USES}, wsgi_call)


def _pyramid(_: ExitStack) -> Serve:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pyramid imports pkg_resources, which some versions of setuptools say is deprecated
        from pyramid.config import Configurator
        from pyramid.response import Response
        from pyramid.session import SignedCookieSessionFactory

    factory = SignedCookieSessionFactory(
        secrets.token_hex(PYRAMID_KEY_BYTES // 2), timeout=PYRAMID_TIMEOUT_SECONDS, reissue_time=PYRAMID_REISSUE_SECONDS
    )

    def app_of(kind: str) -> Any:
        def view(request: Any) -> Response:
            return Response(answer(kind, lambda: request.session), content_type="text/plain", charset="utf-8")

        config = Configurator()
        if kind != BARE:
            config.set_session_factory(factory)
        config.add_route("it", "/")
        config.add_view(view, route_name="it")
        return config.make_wsgi_app()

    return _of_apps({kind: app_of(kind) for kind in USES}, wsgi_call)


def _django(stack: ExitStack) -> Serve:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.test import override_settings
    from django.urls import path

    def view(request: HttpRequest, kind: str) -> HttpResponse:
        return HttpResponse(answer(kind, lambda: request.session), content_type="text/plain")

    if not settings.configured:
        settings.configure(SECRET_KEY=secrets.token_urlsafe(DJANGO_KEY_BYTES))  # what is put back at the end
    common = override_settings(
        SECRET_KEY=secrets.token_urlsafe(DJANGO_KEY_BYTES),
        ALLOWED_HOSTS=["shop.example"],
        ROOT_URLCONF=(path("<kind>", view),),
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        LOGGING_CONFIG=None,
    )
    stack.enter_context(common)
    with override_settings(MIDDLEWARE=[]):
        bare = get_wsgi_application()
    with override_settings(MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"]):
        full = get_wsgi_application()
    return lambda kind, cookie: wsgi_call(bare if kind == BARE else full, cookie, f"/{kind}")


def _starlette(_: ExitStack) -> Serve:
    from starlette.middleware.sessions import SessionMiddleware as StarletteMiddleware

    key = secrets.token_hex(STARLETTE_KEY_BYTES)

    def app_of(kind: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            content = answer(kind, lambda: scope["session"])
            headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": content})

        async def bare_wrapper(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return bare_wrapper if kind == BARE else StarletteMiddleware(app, secret_key=key)

    return _of_apps({kind: app_of(kind) for kind in USES}, asgi_call)


def _litestar(_: ExitStack) -> Serve:
    from litestar import Litestar, Request, get
    from litestar.middleware.session.client_side import CookieBackendConfig

    config = CookieBackendConfig(secret=os.urandom(LITESTAR_KEY_BYTES))

    def app_of(kind: str) -> Any:
        async def view(request: Request[Any, Any, Any]) -> bytes:
            return answer(kind, lambda: request.session)

        handler = get("/", media_type="text/plain")(view)
        middleware = [] if kind == BARE else [config.middleware]
        return Litestar([handler], middleware=middleware, openapi_config=None, signature_types=[Request])

    return _of_apps({kind: app_of(kind) for kind in USES}, asgi_call)


@dataclass(frozen=True)
class System:
    """A session system: what it does to the cookie, what it stands above, and how it is made."""

    protection: str
    above: str
    make: Callable[[ExitStack], Serve]


SYSTEMS: Final = {
    OURS: System(ENCRYPTED, "a wrapper (WSGI)", _ours),
    OURS_FASTER: System(ENCRYPTED, "a wrapper (WSGI)", _ours_faster),
    "Beaker": System(ENCRYPTED, "a wrapper (WSGI)", _beaker),
    "Litestar": System(ENCRYPTED, "Litestar (ASGI)", _litestar),
    "Flask": System(SIGNED, "Flask", _flask),
    "Pyramid": System(SIGNED, "Pyramid", _pyramid),
    "Django": System(SIGNED, "Django", _django),
    "Starlette": System(SIGNED, "a wrapper (ASGI)", _starlette),
}


# What is checked before it is timed.


def _expect(what: str, reply: Reply, content: bytes) -> Reply:
    if not reply[0].startswith("200") or reply[2] != content:
        raise RuntimeError(f"{what}: answered {reply[0]} {reply[2][:100]!r}, not {content!r}")
    return reply


def check(name: str, serve: Serve) -> tuple[str, dict[str, bool]]:
    """See that a system keeps what it is given; returns a cookie of it, and whether each kind of request sets one.

    Raises:
        RuntimeError: it does not, or ours sets a cookie where it promises none.
    """
    cookie = cookies_of(_expect(f"{name}, filling", serve("fill", None)(), OK))
    if cookie is None:
        raise RuntimeError(f"{name}: no cookie was set")
    for kind in ("whole", *TIMED):
        _expect(f"{name}, {kind}", serve(kind, cookie)(), OK)
    for kind in ("whole", "read"):
        _expect(f"{name}, {kind} without a cookie", serve(kind, None)(), NO)
    _expect(f"{name}, before the change", serve("changed", cookie)(), NO)
    changed = cookies_of(_expect(f"{name}, written", serve("written", cookie)(), OK))
    _expect(f"{name}, after the change", serve("changed", changed)(), OK)
    sets = _sets(serve, cookie)
    if name in OUR_JARS and sets != {BARE: False, "untouched": False, "read": False, "written": True}:
        raise RuntimeError(f"{name}: sets a cookie where it promises none, or none where it should: {sets}")
    return cookie, sets


def _sets(serve: Serve, cookie: str) -> dict[str, bool]:
    return {kind: cookies_of(serve(kind, cookie)()) is not None for kind in TIMED}


def _foreign(size: int) -> str:
    """A Cookie header of so many characters, with cookies of others only."""
    pairs = "; ".join(f"tracker{number:04d}={number:040x}" for number in range(size // 50))
    return pairs[:size].ljust(size, "0")


def run(effort: Effort) -> dict[str, Any]:
    """Seconds a request, of each system's bare application and of the same with a session.

    Raises:
        RuntimeError: a system does not keep what it is given.
    """
    with ExitStack() as stack:  # what must stay as it is until all has been measured
        return _run(effort, stack)


def _run(effort: Effort, stack: ExitStack) -> dict[str, Any]:
    served: dict[str, Serve] = {}
    absent: dict[str, str] = {}
    for name, system in SYSTEMS.items():
        try:
            served[name] = system.make(stack)
        except ImportError as error:
            absent[name] = f"not here ({error.name} is not installed)"
    checked = {name: check(name, serve) for name, serve in served.items()}
    functions: dict[tuple[str, str], Callable[[], object]] = {}
    for name, serve in served.items():
        for kind in TIMED:
            functions[name, kind] = serve(kind, checked[name][0])
        if name in OUR_JARS:
            functions[name, OPEN] = _decoding(OUR_JARS[name]())
            functions[name, MANY] = _from_many_sealers(OUR_JARS[name](), 1 if effort.is_smoke else SEALERS)
    headers = {
        "no Cookie header": None,
        "a session": checked[OURS][0],
        "8 KiB of others' cookies": _foreign(FOREIGN_BYTES),
        "a header of 64 KiB": _foreign(HUGE_BYTES),
    }
    for point, header in headers.items():
        for kind in HEADER_KINDS:
            functions[kind, point] = served[OURS](kind, header)
    labels = {" ".join(key): key for key in functions}
    seconds = time_in_turns({label: functions[key] for label, key in labels.items()}, effort)
    times = {key: seconds[label] for label, key in labels.items()}
    for name, serve in served.items():
        cookie, sets = checked[name]
        if _sets(serve, cookie) != sets:
            raise RuntimeError(f"{name}: its cookie grew old while it was measured; ask for less at once")
    return {
        "unit": "s",
        "session_bytes": TYPICAL,
        "labels": {name: {"kind": SYSTEMS[name].protection, "above": SYSTEMS[name].above} for name in served},
        "sets_cookie": {name: checked[name][1] for name in served},
        "absent": absent,
        "values": {
            name: {point: times[name, point] for point in (*TIMED, OPEN, MANY) if (name, point) in times} for name in served
        },
        "headers": {kind: {point: times[kind, point] for point in headers} for kind in HEADER_KINDS},
    }


def above(values: dict[str, list[float]], kind: str, base: str = BARE) -> list[float]:
    """Seconds more than the base, in each round.

    Args:
        values: of one series, by point.
        kind: the point.
        base: the point that is taken off.
    """
    return [value - bare for value, bare in zip(values[kind], values[base], strict=True)]


def _micro(seconds: list[float]) -> str:
    """Median and spread in microseconds; a difference may be nothing, of which there are no percent."""
    return f"{median(seconds) * 1e6:.2f} ± {spread(seconds) * 1e6:.2f}"


def _times(seconds: list[float], base: list[float]) -> str:
    middle, distance = ratio(seconds, base)
    return f"{middle:.2f} ± {distance:.2f}"


def table(result: dict[str, Any]) -> str:
    """Markdown: microseconds above the bare application, and the ratio to ours; fastest to read first."""
    values, labels = result["values"], result["labels"]
    ours = values[OURS]
    head = [f"{result['session_bytes']} bytes; µs above its own bare application", "", "above", "the bare request, µs"]
    head += ["untouched", "read", f"× {OURS}", "written", f"× {OURS}"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|--:|--:|--:|--:|--:|--:|"]
    by_speed = sorted(values, key=lambda name: median(above(values[name], "read")))
    for name in sorted(by_speed, key=lambda name: labels[name]["kind"] != ENCRYPTED):
        of_kind = {kind: above(values[name], kind) for kind in KINDS}
        shown = {kind: _micro(of_kind[kind]) + (" \\*" if result["sets_cookie"][name][kind] else "") for kind in KINDS}
        row = [f"**{name}**" if name in OUR_JARS else name, labels[name]["kind"], labels[name]["above"], _micro(values[name][BARE])]
        row.append(shown["untouched"])
        for kind in ("read", "written"):
            row += [shown[kind], _times(of_kind[kind], above(ours, kind))]
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "\\* this response sets a cookie.", "", "| untouched, with | µs above a bare wrapper |", "|---|--:|"]
    bare, untouched = (result["headers"][kind] for kind in HEADER_KINDS)
    for point in bare:
        lines.append(f"| {point} | {_micro(above({BARE: bare[point], point: untouched[point]}, point))} |")
    lines += ["", "| a read request, µs above a bare wrapper | all | opening alone | what is left | each from another sealer |"]
    lines.append("|---|--:|--:|--:|--:|")
    for name in (name for name in OUR_JARS if name in values):
        read = above(values[name], "read")
        rest = above({"read": read, OPEN: values[name][OPEN]}, "read", OPEN)
        many = above(values[name], MANY)
        lines.append(f"| {name} | {_micro(read)} | {_micro(values[name][OPEN])} | {_micro(rest)} | {_micro(many)} |")
    lines += [line for name, why in result["absent"].items() for line in ("", f"{name}: {why}.")]
    return "\n".join(lines)
