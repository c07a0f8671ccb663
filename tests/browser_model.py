"""A browser, as far as cookies go: what it keeps of a response and sends with a request, by RFC 6265bis.

It is written from draft-ietf-httpbis-rfc6265bis-22 and shares no code with the library; numbers in brackets are its sections.
``__Http-`` and ``__Host-Http-`` are from its successor, draft-ietf-httpbis-layered-cookies. Left out: ``Expires`` and
``Partitioned``, which no test here needs, and the list of public suffixes: every name of one label is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_PAIR_BYTES = 4096  # [5.7], name and value together
MAX_ATTRIBUTE_BYTES = 1024  # [5.6]
MAX_AGE_SECONDS = 400 * 86_400  # [5.5]
MAX_PER_DOMAIN = 50  # [6.1], the least a browser should have
MAX_IN_ALL = 3000  # [6.1]
UNSAFE_SECONDS = 120  # [5.6.7.2], how long a cookie without SameSite goes with a POST from another site
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")  # RFC 9110, 9.2.1


class Request(NamedTuple):
    """One request of a browser.

    ``initiator`` is the (scheme, host) of the page that made it, or None where a person typed the address; ``top_level``, whether
    its answer is the page in the address bar; ``script``, whether it is ``document.cookie`` that asks.
    """

    scheme: str
    host: str
    path: str = "/"
    method: str = "GET"
    initiator: tuple[str, str] | None = None
    top_level: bool = True
    script: bool = False

    @property
    def is_secure(self) -> bool:
        """[5.7] leaves to the browser what a secure protocol is."""
        return self.scheme == "https"

    @property
    def is_same_site(self) -> bool:
        """[5.2]: the scheme and the registrable domain of both are the same."""
        return self.initiator is None or (self.initiator[0], site_of(self.initiator[1])) == (self.scheme, site_of(self.host))


@dataclass(slots=True, eq=False)
class Cookie:
    """[5.7]: what is kept of one. ``created`` and ``accessed`` also count, so that no two are alike."""

    name: str
    value: str
    domain: str = ""
    host_only: bool = True
    path: str = "/"
    expires: float | None = None
    secure: bool = False
    http_only: bool = False
    same_site: str = "Default"
    has_path: bool = False
    created_at: float = 0.0
    created: int = 0
    accessed: int = 0

    @property
    def place(self) -> tuple[str, str, bool, str]:
        """[5.7]: by what one replaces another."""
        return self.name, self.domain, self.host_only, self.path

    @property
    def pair(self) -> str:
        return f"{self.name}={self.value}" if self.name else self.value  # [5.8.3]


@dataclass
class Browser:
    """Keeps cookies by [5.7], and sends them by [5.8].

    ``is_chromium``: a cookie that replaces one of another value is as young as it looks, against [5.7], which changes their order;
    and one whose Domain is a dot is dropped, against [5.6.3] and [5.7], by which it is the host's own.
    """

    clock: Callable[[], float]
    max_per_domain: int = MAX_PER_DOMAIN
    max_in_all: int = MAX_IN_ALL
    is_chromium: bool = False
    cookies: dict[tuple[str, str, bool, str], Cookie] = field(default_factory=dict)
    _count: int = 0

    def send(self, request: Request) -> str | None:
        """The Cookie header of a request [5.8.3], or None."""
        self._drop_expired()
        found = [cookie for cookie in self.cookies.values() if self._goes_with(cookie, request)]
        found.sort(key=lambda cookie: (-len(cookie.path), cookie.created))  # [5.8.3]: longer paths, then older cookies
        for cookie in found:
            cookie.accessed = self._next()
        return "; ".join(cookie.pair for cookie in found) or None

    def receive(self, request: Request, set_cookies: list[str]) -> list[bool]:
        """Take the Set-Cookie values of the answer to a request; for each, whether the cookie was taken."""
        taken = []
        for value in set_cookies:
            taken.append(self._receive(request, value))
            self._drop_expired()
        self._drop_excess()
        return taken

    def close(self) -> None:
        """[5.7]: the session is over, and with it all cookies without a date."""
        self.cookies = {place: cookie for place, cookie in self.cookies.items() if cookie.expires is not None}

    # Retrieval

    def _goes_with(self, cookie: Cookie, request: Request) -> bool:
        if cookie.host_only and request.host != cookie.domain:  # [5.8.3]
            return False
        if not domain_matches(request.host, cookie.domain) or not path_matches(request.path, cookie.path):
            return False
        if (cookie.secure and not request.is_secure) or (cookie.http_only and request.script):
            return False
        if cookie.same_site == "None" or request.is_same_site:
            return True
        if cookie.same_site == "Strict" or not request.top_level:  # [5.6.7.1]
            return False
        is_fresh = cookie.same_site == "Default" and self.clock() - cookie.created_at <= UNSAFE_SECONDS  # [5.6.7.2]
        return request.method in SAFE_METHODS or is_fresh

    # Storage

    def _receive(self, request: Request, text: str) -> bool:
        cookie = self._parse(request, text)
        if cookie is None or not self._may_set(cookie, request):
            return False
        cookie.created_at, cookie.created = self.clock(), self._next()
        cookie.accessed = cookie.created
        old = self.cookies.get(cookie.place)
        if old is not None:  # [5.7]: it takes the other's age
            if request.script and old.http_only:
                return False
            if old.value == cookie.value or not self.is_chromium:
                cookie.created_at, cookie.created = old.created_at, old.created
        self.cookies[cookie.place] = cookie
        return True

    def _parse(self, request: Request, text: str) -> Cookie | None:
        """[5.6], and of [5.7] what fills the fields; None where the cookie is to be ignored."""
        if any((char < " " and char != "\t") or char == "\x7f" for char in text):  # [5.6]
            return None
        pair, *attributes = text.split(";")
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", pair
        cookie = Cookie(name.strip(" \t"), value.strip(" \t"), domain=request.host, path=default_path(request.path))
        if not (cookie.name or cookie.value) or len((cookie.name + cookie.value).encode()) > MAX_PAIR_BYTES:  # [5.7]
            return None
        for attribute in attributes:
            key, _, value = attribute.partition("=")
            key, value = key.strip(" \t").lower(), value.strip(" \t")
            if len(value.encode()) > MAX_ATTRIBUTE_BYTES:  # [5.6]: the attribute goes, and not the cookie
                continue
            if key == "max-age":  # [5.6.2]
                if not value.removeprefix("-").isdecimal() or not value.isascii():
                    continue
                cookie.expires = self.clock() + min(int(value), MAX_AGE_SECONDS) if int(value) > 0 else 0.0
            elif key == "domain":  # [5.6.3]; the last one counts
                if value != "." or not self.is_chromium:
                    value = value.removeprefix(".").lower()
                cookie.domain = value or request.host
                cookie.host_only = not value  # [5.7]: also where a dot was all there was
            elif key == "path":  # [5.6.4]
                cookie.has_path = value.startswith("/")
                cookie.path = value if cookie.has_path else default_path(request.path)
            elif key == "secure":
                cookie.secure = True
            elif key == "httponly":
                cookie.http_only = True
            elif key == "samesite":  # [5.6.7]
                known = {"none": "None", "strict": "Strict", "lax": "Lax"}
                cookie.same_site = known.get(value.lower(), "Default")
        if not cookie.host_only and "." not in cookie.domain:  # [5.7]: a public suffix
            if cookie.domain != request.host:
                return None
            cookie.host_only = True
        return cookie

    def _may_set(self, cookie: Cookie, request: Request) -> bool:
        """The refusals of [5.7]."""
        if not domain_matches(request.host, cookie.domain):
            return False
        if cookie.secure and not request.is_secure:
            return False
        if cookie.http_only and request.script:
            return False
        if not cookie.secure and not request.is_secure and any(self._is_overlaid(other, cookie) for other in self.cookies.values()):
            return False
        if cookie.same_site != "None" and not request.is_same_site and (request.script or not request.top_level):
            return False
        if cookie.same_site == "None" and not cookie.secure:
            return False
        return _prefix_allows(cookie)

    def _is_overlaid(self, other: Cookie, cookie: Cookie) -> bool:
        """[5.7]: whether a cookie set without TLS would stand before or in the place of a Secure one."""
        return (
            other.name == cookie.name
            and other.secure
            and not self._is_expired(other)
            and (domain_matches(other.domain, cookie.domain) or domain_matches(cookie.domain, other.domain))
            and path_matches(cookie.path, other.path)
        )

    # Eviction

    def _is_expired(self, cookie: Cookie) -> bool:
        return cookie.expires is not None and cookie.expires <= self.clock()

    def _drop_expired(self) -> None:
        for place in [place for place, cookie in self.cookies.items() if self._is_expired(cookie)]:
            del self.cookies[place]

    def _drop_excess(self) -> None:
        """[5.7]: those without Secure of a crowded domain, then its others, then any; each time the one used longest ago."""
        for domain in {cookie.domain for cookie in self.cookies.values()}:
            shared = sorted((c for c in self.cookies.values() if c.domain == domain), key=lambda c: (c.secure, c.accessed))
            for cookie in shared[: max(0, len(shared) - self.max_per_domain)]:
                del self.cookies[cookie.place]
        for cookie in sorted(self.cookies.values(), key=lambda c: c.accessed)[: max(0, len(self.cookies) - self.max_in_all)]:
            del self.cookies[cookie.place]

    def _next(self) -> int:
        self._count += 1
        return self._count


def site_of(host: str) -> str:
    """The registrable domain, where every suffix has one label."""
    return ".".join(host.split(".")[-2:])


def domain_matches(host: str, domain: str) -> bool:
    """[5.1.3]; all hosts here are names."""
    return host == domain or host.endswith(f".{domain}")


def path_matches(path: str, cookie_path: str) -> bool:
    """[5.1.4]"""
    return path == cookie_path or (path.startswith(cookie_path) and (cookie_path.endswith("/") or path[len(cookie_path)] == "/"))


def default_path(path: str) -> str:
    """[5.1.4]"""
    return path.rpartition("/")[0] or "/"


def _prefix_allows(cookie: Cookie) -> bool:
    """[5.4] and [5.7]: prefixes are taken in any case, and so are those that a value pretends to have."""
    prefixed = (cookie.name or cookie.value).lower()
    if not cookie.name and prefixed.startswith(("__secure-", "__host-", "__http-", "__host-http-")):
        return False
    if prefixed.startswith("__host-") and not (cookie.host_only and cookie.has_path and cookie.path == "/"):
        return False
    if prefixed.startswith(("__http-", "__host-http-")) and not cookie.http_only:
        return False
    return cookie.secure or not prefixed.startswith(("__secure-", "__host-", "__http-"))
