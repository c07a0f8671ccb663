"""Tokens in a text: bare ones, and those of Cookie and Set-Cookie headers as they come out of logs, terminals and browsers.

It knows text and the shape of a token, and nothing of keys or of what is in one.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from clientsession._cookies import MAX_HEADER_CHARS, find_cookies
from clientsession._token import MIN_CHARS
from clientsession.errors import ConfigurationError

_MAX_NAME_CHARS: Final = 256  # as jars have it
_SPACE: Final = " \t\r\n\f\v"
_QUOTES: Final = "'\""
_NAME: Final = re.compile(
    rf"[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{_MAX_NAME_CHARS}}}"
)  # RFC 9110, 5.6.2: what a jar's cookie may be named
_HEADER: Final = re.compile(r"(set-)?cookie[ \t]*:", re.IGNORECASE)
_OTHER_HEADER: Final = re.compile(r":?[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:|HTTP/[0-9]")
_CURL: Final = re.compile(r"[<>] |(?:-H|--header|-b|--cookie)[ =]*(?=[$'\"])")  # `curl -v`, and "copy as cURL"
_QUOTED: Final = re.compile(r"\$?(['\"])(.*)\1", re.DOTALL)
_ATTRIBUTE: Final = re.compile(
    r"[ \t]*(?:(?:expires|max-age|domain|path|samesite|priority)[ \t]*=.*|(?:secure|httponly|partitioned)[ \t]*)",
    re.IGNORECASE | re.DOTALL,
)
# A first byte of 1 or 2 in base64, whatever the spelling: what a quoting proxy, another writer or a bad paste makes of a token.
ALIKE: Final = re.compile(rf"['\"]?A[Q-Za-v][A-Za-z0-9_+/-]{{{MIN_CHARS - 2},}}=*['\"]?")


class Source(enum.StrEnum):
    """Where a token stood."""

    BARE = "token"
    COOKIE = "cookie"
    SET_COOKIE = "set-cookie"


@dataclass(frozen=True, slots=True)
class Found:
    """A token in a text, or what stands in its place.

    Attributes:
        text: the token as it stood.
        source: where it stood.
        name: of the cookie; None for a bare token.
        line: of the text; what a browser sent together has one.
        times: how often it stood there.
        attributes: of a Set-Cookie header, as they stood.
        left_out: what stood around a bare token and is not in ``text``; a codec refuses the token with it.
    """

    text: str
    source: Source
    name: str | None = None
    line: int = 0
    times: int = 1
    attributes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class Harvest:
    """All that was found in a text.

    Attributes:
        tokens: in the order of the text.
        other_cookies: how many cookies are not among them.
        names_alike: of those of them that have the form of a token.
        deletions: how many of them are Set-Cookie headers with no value.
        left_out_lines: how many lines are neither a token nor a header.
    """

    tokens: list[Found]
    other_cookies: int = 0
    names_alike: tuple[str, ...] = ()
    deletions: int = 0
    left_out_lines: int = 0


class _Everything:
    """A container of all names."""

    def __contains__(self, name: object) -> bool:
        return True


def find_tokens(text: str, name: str | None) -> Harvest:
    """The tokens in a text.

    Args:
        text: some lines.
        name: of the one cookie to look at in headers, whatever its value; None: all whose values have the form of a token.

    Raises:
        ConfigurationError: a Cookie header is longer than a jar reads.
    """
    lines = [line for line in re.split(r"[\r\n]", text) if line.strip(_SPACE)]
    harvest = Harvest([])
    for number, line in enumerate(lines):
        words = _unwrapped(line)
        header = _HEADER.match(words)
        if header is not None:
            _take_header(harvest, words[header.end() :], name, number, is_set_cookie=bool(header[1]))
        elif _is_pairs(words):
            _take_pairs(harvest, words, name, number, is_alone=len(lines) == 1)
        elif _OTHER_HEADER.match(words):
            continue
        elif len(lines) == 1 or ALIKE.fullmatch(words):
            bare = words.strip(_QUOTES)
            left_out = []
            if (text if len(lines) == 1 else line) != line.strip(_SPACE):
                left_out.append("white space")
            if bare != line.strip(_SPACE):
                left_out.append("quotes")
            harvest.tokens.append(Found(bare, Source.BARE, line=number, left_out=tuple(left_out)))
        else:
            harvest.left_out_lines += 1
    return harvest


def _unwrapped(line: str) -> str:
    """A line without what a shell or curl put around it."""
    words = line.strip(_SPACE).removesuffix("\\").rstrip(_SPACE)
    mark = _CURL.match(words)
    if mark is not None:
        words = words[mark.end() :].lstrip(_SPACE)
    quoted = _QUOTED.fullmatch(words)
    return words.lstrip(_QUOTES) if quoted is None else quoted[2].strip(_SPACE)


def _is_pairs(words: str) -> bool:
    """Whether this is ``name=value`` and so on, and not a token with padding at its end."""
    name, equals, rest = words.partition("=")
    is_padding = len(name) >= MIN_CHARS and not rest.strip("=")
    return bool(equals) and not is_padding and _NAME.fullmatch(name.strip(" \t")) is not None


def _take_pairs(harvest: Harvest, words: str, name: str | None, line: int, *, is_alone: bool) -> None:
    """Take a header that came without its own name; among other lines only with a token in it, for it may be anything."""
    part = Harvest([])
    is_set_cookie = any(map(_ATTRIBUTE.fullmatch, words.split(";")[1:]))
    _take_header(part, words, name, line, is_set_cookie=is_set_cookie)
    if not is_alone and not part.tokens:
        harvest.left_out_lines += 1
        return
    harvest.tokens += part.tokens
    harvest.other_cookies += part.other_cookies
    harvest.names_alike += part.names_alike
    harvest.deletions += part.deletions


def _take_header(harvest: Harvest, header: str, name: str | None, line: int, *, is_set_cookie: bool) -> None:
    """Take what a header has, a Cookie header split as a jar splits it.

    Raises:
        ConfigurationError: a Cookie header is longer than a jar reads.
    """
    if is_set_cookie:
        pair, *attributes = header.split(";")
        cookie, _, value = (part.strip(" \t") for part in pair.partition("="))
        if not value:
            harvest.deletions += 1
            harvest.other_cookies += 1
            return
        shown = tuple(filter(None, (attribute.strip(" \t") for attribute in attributes)))
        _take(harvest, Found(value, Source.SET_COOKIE, cookie, line, attributes=shown), name)
        return
    if len(header.strip(_SPACE)) > MAX_HEADER_CHARS:
        raise ConfigurationError(
            f"a Cookie header of more than {MAX_HEADER_CHARS:,} characters is not read: a jar answers malformed"
        )
    for cookie, values in find_cookies(header, _Everything()).items():
        for value, times in Counter(values).items():
            _take(harvest, Found(value, Source.COOKIE, cookie, line, times), name)


def _take(harvest: Harvest, found: Found, name: str | None) -> None:
    """Take a cookie, or count it."""
    cookie = found.name or ""
    is_alike = ALIKE.fullmatch(found.text) is not None and _NAME.fullmatch(cookie) is not None
    if cookie == name if name is not None else is_alike:
        harvest.tokens.append(found)
        return
    harvest.other_cookies += found.times
    if is_alike and cookie not in harvest.names_alike:
        harvest.names_alike += (cookie,)


def nothing_found(harvest: Harvest, name: str | None) -> str:
    """Why there is no token, and what to do about it."""
    count = harvest.other_cookies
    if not count:
        return "no token found: give a token, or a Cookie: or Set-Cookie: header, in quotes or on standard input"
    if count == harvest.deletions:
        return "no token found: the header has an empty value, by which a server deletes the cookie"
    if harvest.names_alike:
        names = ", ".join(harvest.names_alike)
        return f"no cookie is named {name}. Of the form of a token: {names}. Leave --name out to see all of these"
    cookies = "1 cookie that is" if count == 1 else f"{count:,} cookies that are"
    wanted = f"named {name}" if name else "of the form of a token; --name NAME shows one of them all the same"
    return f"no token found, but {cookies} not {wanted}"
