"""HeaderJar: a session in a request header of one's own, for clients that keep no cookies.

It knows no request: values come in as text, and what goes out is a response header.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from types import EllipsisType
from typing import Final

from clientsession._codec import NOT_A_KEYRING, Codec, check_label
from clientsession._events import Event
from clientsession._jar import AnyJar
from clientsession._json import Serializer
from clientsession._keyring import Keyring
from clientsession._keys import KEY_AS_NAME, holds_key
from clientsession._session import DEFAULT_DURATION, Lifetime, Session
from clientsession.errors import ConfigurationError

DEFAULT_HEADER: Final = "X-Session-Token"
_AUTHORIZATION: Final = "authorization"
_BEARER: Final = re.compile(r"bearer[ \t]+", re.IGNORECASE)  # RFC 6750, 2.1; the scheme in any case, RFC 9110, 11.1
# Between commas, those in quoted strings aside: other schemes' parameters may have some (RFC 9110, 11.4).
_CREDENTIALS: Final = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")  # of RFC 9110, 5.1, what WSGI tells apart
# Headers that mean something else to clients, servers, proxies or caches.
_TAKEN: Final = frozenset(
    {
        *("accept", "age", "allow", "alt-svc", "authentication-info", "cache-control", "clear-site-data", "connection", "cookie"),
        *("date", "etag", "expect", "expires", "forwarded", "from", "host", "keep-alive", "last-modified", "link", "location"),
        *("max-forwards", "origin", "pragma", "prefer", "priority", "proxy", "range", "referer", "referrer-policy", "refresh"),
        *("retry-after", "server", "server-timing", "set-cookie", "status", "strict-transport-security", "te", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning", "www-authenticate", "x-content-type-options"),
        *("x-frame-options", "x-real-ip", "x-sendfile", "cookie2", "set-cookie2", "http2-settings", "nel", "permissions-policy"),
        *("report-to", "timing-allow-origin", "traceparent", "x-correlation-id", "x-http-method-override", "x-original-url"),
        *("x-request-id", "x-rewrite-url", "x-xss-protection"),
    }
)
_TAKEN_PREFIXES: Final = ("accept-", "access-control-", "content-", "if-", "proxy-", "sec-", "x-accel-", "x-forwarded-")


class HeaderCodec(Codec):
    """The codec of a header jar."""

    kind = "header"


class HeaderJar(AnyJar):
    """A session in a request header, for APIs and apps: no cookie is read or set.

    The client sends the token it was given last. The answer carries a fresh one, in a header too, only when the session changed;
    an empty header tells the client to forget what it has. Where there is a browser, a cookie that is HttpOnly is the better
    place: what a page's scripts can read, a script that somebody smuggled into the page can send away.

    Args:
        name: how the application finds it, and bound into the seal.
        keyring: the keys.
        header: of the request: ``"X-Session-Token"``, or any other name; with ``"Authorization"`` the token stands after
            ``Bearer`` (RFC 6750).
        answer_header: of the response; by default ``header``. A page of another origin reads it only where the application names
            it in ``Access-Control-Expose-Headers``.
        duration, active_duration, max_duration, audience, serializer, clock, observer, compress, pad_to: as of a ``Jar``.

    Raises:
        ConfigurationError: an argument out of range, or a header that is taken.
        TypeError: a duration that is no ``timedelta``.
    """

    header: str
    answer_header: str

    def __init__(
        self,
        name: str,
        keyring: Keyring,
        *,
        header: str = DEFAULT_HEADER,
        answer_header: str | None = None,
        duration: timedelta = DEFAULT_DURATION,
        active_duration: timedelta | None = None,
        max_duration: timedelta | EllipsisType | None = ...,
        audience: str = "",
        serializer: Serializer | None = None,
        clock: Callable[[], float] = time.time,
        observer: Callable[[Event], object] | None = None,
        compress: bool = False,
        pad_to: int | None = None,
    ) -> None:
        if holds_key(name, header, answer_header, audience):
            del keyring, name, header, answer_header, audience  # no frame of this traceback shows a secret
            raise ConfigurationError(KEY_AS_NAME)
        if not isinstance(keyring, Keyring):
            del keyring  # whatever it is may be a secret too
            raise ConfigurationError(NOT_A_KEYRING)
        check_label("name", name)
        _check_header("header", header)
        _check_header("answer_header", header if answer_header is None else answer_header)
        self._prepare(
            HeaderCodec,
            name,
            name=name,
            keyring=keyring,
            lifetime=Lifetime.of(duration, active_duration, max_duration, ephemeral=False),
            duration=duration,
            active_duration=active_duration,
            audience=audience,
            serializer=serializer,
            clock=clock,
            observer=observer,
            compress=compress,
            pad_to=pad_to,
        )
        self._freeze(header=header, answer_header=header if answer_header is None else answer_header)

    def _summary(self) -> str:
        return f"{self.name!r} header {self.header!r} {self.keyring!r}"

    # For Sessions

    def _tokens(self, value: str) -> list[str]:
        """The tokens in the request header; servers join several lines of one name with commas (RFC 9110, 5.3)."""
        is_authorization = self.header.lower() == _AUTHORIZATION
        tokens = []
        for part in _CREDENTIALS.findall(value) if is_authorization else value.split(","):
            token = part.strip(" \t")
            if is_authorization:
                scheme = _BEARER.match(token)
                if scheme is None:  # another scheme, such as Basic, is for somebody else
                    continue
                token = token[scheme.end() :]
            if token:
                tokens.append(token)
        return tokens

    def _header_of(self, session: Session, token: str, now: int) -> tuple[str, str]:
        del session, now
        return self.answer_header, f"Bearer {token}" if self.answer_header.lower() == _AUTHORIZATION else token

    def _deletion(self) -> tuple[str, str]:
        return self.answer_header, ""

    def _token_in(self, value: str) -> str | None:
        return value.removeprefix("Bearer ") if self.answer_header.lower() == _AUTHORIZATION else value


def _check_header(option: str, name: str) -> None:
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
        raise ConfigurationError(f'{option} must be the name of a header, letters, digits and "-", such as "X-Session-Token"')
    if name.lower() in _TAKEN or name.lower().startswith(_TAKEN_PREFIXES):
        raise ConfigurationError(f"{option} must not be {name}, which has a meaning of its own: take X-Session-Token")
