"""The demo's application: a shop that keeps all it knows of a visitor in two cookies, and a lab to break them in.

WSGI, with WebOb's Request and Response. The server's only state is the key ring, which the lab turns.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from clientsession import Jar, Key, Keyring, Session, Sessions, SessionTooLargeError
from clientsession._cookies import find_values
from clientsession._token import decode_base64url, encode_base64url
from clientsession.demo import pages
from clientsession.demo.pages import Basket, JarView, Visitor
from clientsession.demo.words import LOCALES, PRICES_CENTS, known_locale
from clientsession.wsgi import SessionMiddleware, get_sessions

# After our middleware, which keeps WebOb's import from warning of the standard library's cgi.
from webob import Request, Response  # isort: skip

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

SESSION_DURATION: Final = timedelta(minutes=30)
ACTIVE_DURATION: Final = timedelta(minutes=5)
CART_DURATION: Final = timedelta(days=120)
MAX_RETIRING: Final = 3  # keys the lab keeps: each press of its button makes one
MAX_EACH: Final = 9  # pieces of one article, so that a cart of articles always fits in its cookie
MAX_NAME_CHARS: Final = 40
MAX_NOTE_CHARS: Final = 5000  # more than a cookie holds: the library, not the form, is to say no
MAX_BODY_BYTES: Final = 64 * 1024  # a note of 5,000 characters outside ASCII, percent-encoded
_MAX_DRAIN_BYTES: Final = 1024 * 1024  # of a body that is too large; unread bytes would reset the connection under the answer
_MAX_FIELDS: Final = 16
_FLIPPED_BYTE: Final = -20  # the last of the ciphertext before the tag of 16 bytes, more or less: inside the seal

Fields = Mapping[str, str]
Handler = Callable[[Request, Fields], Response]
Routes = Mapping[str, Mapping[str, Handler]]


def make_app(clock: Callable[[], float] = time.time) -> Shop:
    """The demo as a WSGI application, with a fresh key that only this process knows.

    Args:
        clock: the time in seconds since 1970, for both jars.
    """
    return Shop(clock)


class RefusedError(Exception):
    """A request that is answered with a page of its own: what went wrong, and what to do."""

    def __init__(self, status: int, heading: str, text: str, *, allow: str = "") -> None:
        super().__init__(heading)
        self.allow = allow
        self.status = status
        self.heading = heading
        self.text = text


class Shop:
    """The whole demo: the shop under the present key ring, and the lab beside it, which writes raw cookies and turns the key."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._form_key = secrets.token_bytes(32)
        self._turning = threading.Lock()
        self._site = _Site(Keyring(Key.generate()), self._form_key, clock)
        self._lab: Routes = {
            "/lab/flip": {"POST": self._flip},
            "/lab/swap": {"POST": self._swap},
            "/lab/rotate": {"POST": self._rotate},
        }

    @property
    def ring(self) -> Keyring:
        """The keys of this moment."""
        return self._site.ring

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """Serve one request."""
        if environ.get("PATH_INFO") in self._lab:
            # Outside the middleware: what the lab writes into cookies is no session.
            return _send(_dispatch(self._lab, Request(environ)), environ, start_response)
        return self._site.app(environ, start_response)

    def _check_form(self, request: Request, fields: Fields) -> _Site:
        """Let only our own forms in. The sessions are read and never committed, so no cookie comes of it."""
        site = self._site
        site.check_form(Sessions(site.jars, request.environ.get("HTTP_COOKIE"))["session"], fields)
        return site

    def _flip(self, request: Request, fields: Fields) -> Response:
        """Turn one bit of a cookie over."""
        site = self._check_form(request, fields)
        jar = site.cart_jar if fields.get("jar") == "cart" else site.session_jar
        data = bytearray(decode_base64url(_sent(request, jar.cookie_name)) or b"")
        if len(data) < -_FLIPPED_BYTE:
            return _redirect("/?lab=nothing")
        data[_FLIPPED_BYTE] ^= 1
        response = _redirect(f"/?lab=flip&jar={jar.name}")
        _set_raw(response, jar, encode_base64url(bytes(data)))
        return response

    def _swap(self, request: Request, fields: Fields) -> Response:
        """Give each cookie the other's value."""
        site = self._check_form(request, fields)
        values = [_sent(request, jar.cookie_name) for jar in site.jars]
        if not all(decode_base64url(value) for value in values):  # letters of a token and no others go into a header
            return _redirect("/?lab=nothing")
        response = _redirect("/?lab=swap")
        for jar, value in zip(site.jars, reversed(values), strict=True):
            _set_raw(response, jar, value)
        return response

    def _rotate(self, request: Request, fields: Fields) -> Response:
        """Seal with a new key from now on."""
        self._check_form(request, fields)
        keep = fields.get("old") == "keep"
        with self._turning:
            old = self._site.ring
            retiring = (old.sealing, *old.retiring)[:MAX_RETIRING] if keep else ()
            self._site = _Site(Keyring(Key.generate(), retiring=retiring), self._form_key, self._clock)
        return _redirect("/?lab=rotate-keep" if keep else "/?lab=rotate-drop")


class _Site:
    """The shop under one key ring: its jars and pages. It does not change; to turn the key, the lab makes another one."""

    def __init__(self, ring: Keyring, form_key: bytes, clock: Callable[[], float]) -> None:
        self.ring = ring
        self._form_key = form_key
        self._clock = clock
        # secure=False only because the demo is plain http. Leave it out behind TLS, and call the cookie "__Host-session".
        self.session_jar = Jar(
            "session", ring, duration=SESSION_DURATION, active_duration=ACTIVE_DURATION, secure=False, clock=clock
        )
        self.cart_jar = Jar("cart", ring, duration=CART_DURATION, secure=False, clock=clock)
        self.jars = (self.session_jar, self.cart_jar)
        self.app = SessionMiddleware(self._serve, self.jars)
        files = resources.files("clientsession.demo")
        self._style = files.joinpath("style.css").read_bytes()
        self._icon = files.joinpath("icon.svg").read_bytes()
        self._routes: Routes = {
            "/": {"GET": self._shop},
            "/goodbye": {"GET": self._goodbye},
            "/expiring": {"GET": self._expiring},
            "/style.css": {"GET": lambda *_: _static(self._style, "text/css")},
            "/icon.svg": {"GET": lambda *_: _static(self._icon, "image/svg+xml")},
            "/sign-in": {"POST": self._sign_in},
            "/sign-out": {"POST": self._sign_out},
            "/language": {"POST": self._language},
            "/reset": {"POST": self._reset},
            "/cart/add": {"POST": self._add},
            "/cart/remove": {"POST": self._remove},
            "/cart/note": {"POST": self._note},
            "/cart/empty": {"POST": self._empty},
            "/lab/expire": {"POST": self._expire},
            "/lab/overfill": {"POST": self._overfill},
        }

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse, /) -> Iterable[bytes]:
        """The application inside the middleware."""
        request = Request(environ)
        try:
            response = _dispatch(self._routes, request)
            # Once here, where an error can still become a page; the middleware's own call answers the same.
            get_sessions(request).commit()
        except SessionTooLargeError as error:
            response = _html(pages.too_large(str(error)), 422)
        return _send(response, environ, start_response)

    # Forms

    def form_token(self, session: Session) -> str:
        """What our forms carry against forged requests: a keyed hash of the session's id, so that no page shows the id itself."""
        return hmac.digest(self._form_key, session.id.encode(), "sha256").hex()

    def check_form(self, session: Session, fields: Fields) -> None:
        """Refuse a form that this session's page did not make.

        Raises:
            RefusedError: 403.
        """
        # A new session has shown no form yet; asking for its id would set a cookie for whoever sends a forged request.
        given = fields.get("form_token", "").encode()
        if session.is_new or not hmac.compare_digest(self.form_token(session).encode(), given):
            raise RefusedError(
                403,
                "This form is not from your session.",
                "Every form here carries a token made from the session's id, so that no other site can press your buttons. "
                "Yours is missing or of another session. It may have expired, you may have signed in or out in another tab, "
                "or your browser keeps no cookies. Load the shop again and repeat what you did.",
            )

    # Pages

    def _shop(self, request: Request, fields: Fields) -> Response:
        session, cart = request.session, request.cart
        if request.method == "GET":
            session["visits"] = session.get("visits", 0) + 1
        visitor = Visitor(
            locale=known_locale(session.get("locale")),
            name=session.get("user"),
            visits=session.get("visits", 0),
            form_token=self.form_token(session),
            lab=fields.get("lab", ""),
            lab_jar=fields.get("jar", ""),
            notice=fields.get("notice", ""),
        )
        # The page shows what this very response sets, so the sessions are sealed before it is made.
        sealed = dict(value.partition(";")[0].split("=", 1) for value in get_sessions(request).commit())
        views = (
            self._view(self.session_jar, session, request, sealed.get(self.session_jar.cookie_name)),
            self._view(self.cart_jar, cart, request, sealed.get(self.cart_jar.cookie_name)),
        )
        nonce = secrets.token_urlsafe(16)
        return _html(pages.shop(visitor, _basket(cart), views, self.ring, nonce), nonce=nonce)

    def _view(self, jar: Jar, session: Session, request: Request, sealed: str | None) -> JarView:
        return JarView(
            name=jar.name,
            sent=tuple(_all_sent(request, jar.cookie_name)),
            sealed=sealed,
            content=json.dumps(session, indent=2, ensure_ascii=False),
            created_at=session.created_at,
            expires_at=session.expires_at,
            seconds_left=max(0, round(session.expires_at.timestamp() - self._clock())),
            is_empty=not session and sealed is None,
            is_new=session.is_new,
            is_ephemeral=session.ephemeral,
            key_id=session.key_id,
            sealing_id=jar.keyring.sealing.id,
            refusal=session.refusal,
        )

    def _goodbye(self, request: Request, fields: Fields) -> Response:
        # No session is touched here: that would begin a new one, right after the old was ended.
        sent = [(jar.name, len(jar.cookie_name) + len(_sent(request, jar.cookie_name))) for jar in self.jars]
        kept = [(name, size) for name, size in sent if size > len(name)]
        return _html(pages.goodbye(known_locale(fields.get("lang")), kept))

    def _expiring(self, request: Request, fields: Fields) -> Response:
        # Nor here: a use within the last five minutes would extend the session that is to expire.
        return _html(pages.expiring())

    # What a visitor does

    def _sign_in(self, request: Request, fields: Fields) -> Response:
        session = self._own_session(request, fields)
        name = _cleaned(fields.get("name", ""))[:MAX_NAME_CHARS].strip()
        if not name:
            return _redirect("/?notice=no_name")
        # Begin anew: whoever planted a session before the sign-in must not share the one after it (session fixation).
        session.reset(keep=("locale",))
        session["user"] = name
        return _redirect("/")

    def _sign_out(self, request: Request, fields: Fields) -> Response:
        session = self._own_session(request, fields)
        locale = known_locale(session.get("locale"))
        session.destroy()
        return _redirect(f"/goodbye?lang={locale}")

    def _language(self, request: Request, fields: Fields) -> Response:
        session = self._own_session(request, fields)
        if fields.get("locale") in LOCALES:
            session["locale"] = fields["locale"]
        return _redirect("/")

    def _reset(self, request: Request, fields: Fields) -> Response:
        self._own_session(request, fields).reset(keep=("locale",))
        return _redirect("/?lab=reset")

    def _add(self, request: Request, fields: Fields) -> Response:
        self._own_session(request, fields)
        article = fields.get("article", "")
        if article in PRICES_CENTS:
            items = request.cart.setdefault("items", {})
            if items.get(article, 0) >= MAX_EACH:
                return _redirect("/?notice=full")
            items[article] = items.get(article, 0) + 1  # a nested change is seen all the same
        return _redirect("/#cart")

    def _remove(self, request: Request, fields: Fields) -> Response:
        self._own_session(request, fields)
        items = request.cart.get("items", {})
        article = fields.get("article", "")
        if article in items:
            items[article] -= 1
            if not items[article]:
                del items[article]
            if not items:
                del request.cart["items"]
        return _redirect("/#cart")

    def _note(self, request: Request, fields: Fields) -> Response:
        self._own_session(request, fields)
        note = _cleaned(fields.get("note", ""))[:MAX_NOTE_CHARS].strip()
        if note:
            request.cart["note"] = note
        else:
            request.cart.pop("note", None)
        return _redirect("/#cart")

    def _empty(self, request: Request, fields: Fields) -> Response:
        self._own_session(request, fields)
        request.cart.clear()  # an empty session's cookie is deleted
        return _redirect("/#cart")

    def _expire(self, request: Request, fields: Fields) -> Response:
        # Ephemeral: no Max-Age, so the browser keeps the cookie and the server must be the one to refuse it.
        self._own_session(request, fields).set_duration(timedelta(seconds=1), ephemeral=True)
        return _redirect("/expiring")

    def _overfill(self, request: Request, fields: Fields) -> Response:
        self._own_session(request, fields)
        request.cart["note"] = "much too long " * 300
        return _redirect("/#cart")  # not reached: the commit says no

    def _own_session(self, request: Request, fields: Fields) -> Session:
        """The session of a request that one of our forms made."""
        session: Session = request.session
        self.check_form(session, fields)
        return session


def _basket(cart: Session) -> Basket:
    items = {article: count for article, count in cart.get("items", {}).items() if article in PRICES_CENTS}
    return Basket(items, cart.get("note", ""))


# Requests


def _dispatch(routes: Routes, request: Request) -> Response:
    """The answer of the handler of this path and method, or the page that says why there is none."""
    environ = request.environ
    method = environ["REQUEST_METHOD"]
    try:
        fields = _query(environ) if method in {"GET", "HEAD"} else _form(environ)  # read in any case: see _MAX_DRAIN_BYTES
        return _handler(routes, environ.get("PATH_INFO", ""), method)(request, fields)
    except RefusedError as error:
        response = _html(pages.problem(error.heading, error.text), error.status)
        if error.allow:
            response.headers["Allow"] = error.allow
        return response


def _handler(routes: Routes, path: str, method: str) -> Handler:
    """Who answers.

    Raises:
        RefusedError: 404, or 405 with the methods there are.
    """
    methods = routes.get(path)
    if methods is None:
        raise RefusedError(404, "There is no such page.", "The shop has one page, and everything is on it.")
    handler = methods.get("GET" if method == "HEAD" else method)
    if handler is None:
        allow = "GET, HEAD" if "GET" in methods else "POST"
        raise RefusedError(405, "This does not work that way.", "Use the buttons of the shop.", allow=allow)
    return handler


def _query(environ: WSGIEnvironment) -> Fields:
    return _parsed(environ.get("QUERY_STRING", ""))


def _form(environ: WSGIEnvironment) -> Fields:
    """The fields of a form; of another kind of body, none.

    Raises:
        RefusedError: the body is too large, or did not come.
    """
    length = environ.get("CONTENT_LENGTH") or ""
    size = int(length[:10]) if length.isascii() and length.isdigit() else 0
    try:
        body = environ["wsgi.input"].read(min(size, _MAX_DRAIN_BYTES))
    except OSError:  # it timed out, or the client left
        raise RefusedError(400, "The form did not arrive.", "The connection was lost on the way. Send it again.") from None
    if size > MAX_BODY_BYTES:
        raise RefusedError(413, "That is too much.", f"A form may have {MAX_BODY_BYTES:,} bytes here.")
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    return _parsed(body.decode("latin-1"))


def _parsed(encoded: str) -> Fields:
    try:
        return dict(parse_qsl(encoded, encoding="utf-8", errors="replace", max_num_fields=_MAX_FIELDS))
    except ValueError:  # more fields than any form here has
        return {}


def _cleaned(text: str) -> str:
    """A visitor's text without control characters and the invisible ones that turn the direction of writing; lines stay."""
    return "".join(char for char in text.replace("\r\n", "\n") if char.isprintable() or char == "\n")


def _all_sent(request: Request, cookie_name: str) -> list[str]:
    """The raw values the browser sent under a name."""
    return find_values(request.environ.get("HTTP_COOKIE", ""), cookie_name)


def _sent(request: Request, cookie_name: str) -> str:
    return next(iter(_all_sent(request, cookie_name)), "")


# Responses


def _html(page: str, status: int = 200, *, nonce: str = "") -> Response:
    style = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    response = Response(page, status=status, content_type="text/html", charset="utf-8")
    return _hardened(response, f"style-src {style}; img-src 'self'; form-action 'self'")


def _static(body: bytes, content_type: str) -> Response:
    response = Response(body, content_type=content_type, charset="utf-8")
    response.cache_control = "no-cache"
    return _hardened(response, "")


def _redirect(location: str) -> Response:
    """After every form: the answer is got from there, and a reload does not send the form again (303, RFC 9110, 15.4.4)."""
    response = Response(status=303, content_type="text/plain", charset="utf-8")
    response.headers["Location"] = location
    return _hardened(response, "")


def _hardened(response: Response, policy: str) -> Response:
    """Say what a page may do, which is next to nothing: no script at all."""
    fixed = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
    response.headers["Content-Security-Policy"] = f"{fixed}; {policy}" if policy else fixed
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _set_raw(response: Response, jar: Jar, value: str) -> None:
    """Plant a cookie value as an attacker with the browser in hand would."""
    max_age = jar.duration // timedelta(seconds=1)
    response.headers.add("Set-Cookie", f"{jar.cookie_name}={value}; Max-Age={max_age}; Path={jar.path}; HttpOnly; SameSite=Lax")


def _send(response: Response, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Start and give a response as it is. WebOb's own call would build the Location from the Host header, which may be anything."""
    start_response(response.status, response.headerlist)
    body: Any = response.app_iter
    return [] if environ["REQUEST_METHOD"] == "HEAD" else body
