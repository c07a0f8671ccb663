"""Cookie header in, Set-Cookie out.

It knows the grammar of RFC 6265bis and nothing of sessions, keys or tokens.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from clientsession.errors import ConfigurationError

MAX_HEADER_CHARS: Final = 64 * 1024  # eight times what servers take; bounds the work for one request
MAX_COOKIE_BYTES: Final = 4096  # RFC 6265bis, 5.6: of name and value
_FEW_PAIRS: Final = 8
_MAX_NAME_CHARS: Final = 256
_MAX_ATTRIBUTE_CHARS: Final = 1024  # RFC 6265bis, 5.6: browsers ignore a longer attribute, which would widen its scope
_MAX_DOMAIN_CHARS: Final = 253  # RFC 1035, 2.3.4

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_PATH: Final = re.compile(r"/[!-:<-~]*")  # RFC 6265bis, 4.1.1, without the space that browsers would strip
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # a last label of which makes a host an IPv4 address (WHATWG URL, 3.5)
_SAMESITE: Final = {"lax": "Lax", "strict": "Strict", "none": "None"}

# RFC 6265bis, 4.1.3, and its Http prefixes: what a browser demands of a cookie of such a name.
# For each: needs Secure, needs HttpOnly, needs Path=/ and no Domain.
HOST_PREFIX: Final = "__Host-"
_PREFIXES: Final = {
    "__Host-Http-": (True, True, True),
    HOST_PREFIX: (True, False, True),
    "__Http-": (True, True, False),
    "__Secure-": (True, False, False),
}


def find_cookies(header: str, names: Container[str]) -> dict[str, list[str]]:
    """The values of some cookies in a Cookie header, in order of appearance.

    Linear, and literal: pairs are split at every ``;``, names and values at the first ``=`` and stripped of spaces and tabs alone,
    nothing is unquoted or decoded, and names compare octet by octet. A browser's quotes and escapes have no meaning in
    RFC 6265bis, 5.6 and 5.8.3, and a reader that gives them one can be made to see cookies that are not there.

    Args:
        header: the value of the Cookie header, each character standing for one octet.
        names: the cookie names asked for.
    """
    found: dict[str, list[str]] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        if equals and (name := name.strip(" \t")) in names:
            found.setdefault(name, []).append(value.strip(" \t"))
    return found


def find_values(header: str, name: str) -> list[str]:
    """The values of one cookie in a Cookie header, in order of appearance.

    As :func:`find_cookies` does, but where the name does not stand nothing is looked at.

    Args:
        header: the value of the Cookie header, each character standing for one octet.
        name: of the cookie.
    """
    values: list[str] = []
    begin = looked_at = 0  # where a pair begins; how many were looked at
    start = header.find(name)
    while start >= 0:  # pairs without the name in them, mostly all, are never looked at
        looked_at += 1
        if looked_at > _FEW_PAIRS:  # a browser sends one; where there are hundreds, splitting all is quicker
            return values + find_cookies(header[begin:], {name}).get(name, [])
        begin = max(begin, header.rfind(";", begin, start) + 1)
        end = header.find(";", start)
        if end < 0:
            end = len(header)
        found, equals, value = header[begin:end].partition("=")
        if equals and found.strip(" \t") == name:
            values.append(value.strip(" \t"))
        begin = end + 1
        start = header.find(name, begin)
    return values


class SetCookie:
    """Writes the Set-Cookie values of one cookie; its attributes are checked once and the same for setting and deleting.

    Raises:
        ConfigurationError: an attribute a browser would refuse or, worse, ignore.
    """

    __slots__ = ("_attributes", "name")

    def __init__(
        self,
        name: str,
        *,
        path: str,
        domain: str | None,
        secure: bool,
        httponly: bool,
        samesite: str,
        partitioned: bool,
    ) -> None:
        _check_name(name)
        if not isinstance(path, str) or not _PATH.fullmatch(path) or len(path) > _MAX_ATTRIBUTE_CHARS:
            raise ConfigurationError(
                "path must start with / and have at most 1,024 visible ASCII characters, no ';' or space: percent-encode others"
            )
        if domain is not None:
            _check_domain(domain)
        for option, value in (("secure", secure), ("httponly", httponly), ("partitioned", partitioned)):
            if type(value) is not bool:
                raise ConfigurationError(f"{option} must be True or False")
        canonical = _SAMESITE.get(samesite.lower()) if isinstance(samesite, str) else None
        if canonical is None:
            raise ConfigurationError('samesite must be "Lax", "Strict" or "None"')
        if canonical == "None" and not secure:
            raise ConfigurationError('samesite="None" needs secure=True: browsers drop the cookie otherwise')
        if partitioned and not secure:
            raise ConfigurationError("partitioned=True needs secure=True: browsers drop the cookie otherwise")
        _check_prefix(name, path=path, domain=domain, secure=secure, httponly=httponly)
        self.name = name
        self._attributes = "".join(
            (
                f"; Path={path}",
                f"; Domain={domain}" if domain is not None else "",
                "; Secure" if secure else "",
                "; HttpOnly" if httponly else "",
                f"; SameSite={canonical}",
                "; Partitioned" if partitioned else "",
            )
        )

    def value(self, value: str, max_age: int | None) -> str:
        """One Set-Cookie value.

        Args:
            value: base64url text.
            max_age: seconds the browser keeps it, or None: until it closes.
        """
        age = "" if max_age is None else f"; Max-Age={max_age}"
        return f"{self.name}={value}{age}{self._attributes}"

    def deletion(self) -> str:
        """The Set-Cookie value that makes a browser drop the cookie: the same attributes, or it would not (RFC 6265bis, 5.7)."""
        return self.value("", 0)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name) or len(name) > _MAX_NAME_CHARS:
        raise ConfigurationError(
            "a cookie name must have 1 to 256 ASCII letters, digits or characters of !#$%&'*+-.^_`|~ (no space, '=', ';' or quote)"
        )


def _check_domain(domain: str) -> None:
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain) or len(domain) > _MAX_DOMAIN_CHARS:
        raise ConfigurationError(
            "domain must be a host name such as example.com: no leading dot (it has no meaning), no port, and other letters "
            "as punycode (xn--…)"
        )
    if _NUMBER.fullmatch(domain.rpartition(".")[2]):
        raise ConfigurationError("domain must not be an IP address: leave it out, and the cookie goes back to the host that set it")


def _check_prefix(name: str, *, path: str, domain: str | None, secure: bool, httponly: bool) -> None:
    for prefix, (needs_secure, needs_httponly, needs_host) in _PREFIXES.items():
        if not name.lower().startswith(prefix.lower()):
            continue
        if not name.startswith(prefix):
            raise ConfigurationError(
                f"write the prefix of the cookie name as {prefix}: browsers take it in any case, and then demand more"
            )
        if needs_secure and not secure:
            raise ConfigurationError(f"a cookie named {prefix}… needs secure=True")
        if needs_httponly and not httponly:
            raise ConfigurationError(f"a cookie named {prefix}… needs httponly=True")
        if needs_host and (path != "/" or domain is not None):
            raise ConfigurationError(f'a cookie named {prefix}… needs path="/" and no domain')
        return
