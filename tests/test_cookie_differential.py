"""Our reading and writing of cookies beside http.cookies, Werkzeug, tough-cookie and set-cookie-parser.

What they agree on we agree with. Where one differs a test says which rule of RFC 6265bis we follow, by the section of its draft 22;
all of them may have their reasons.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from http.cookies import CookieError, Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from werkzeug.http import parse_cookie
from werkzeug.test import Client
from werkzeug.wrappers import Response

from clientsession import ConfigurationError
from clientsession._cookies import SetCookie, find_cookies, find_values
from tests import interop
from tests.node import Process, started

Pairs = list[tuple[str, str]]
READERS = {"http.cookies", "werkzeug", "tough-cookie", "set-cookie-parser"}
HEADERS = 5_000  # of each kind
TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# 4.1.1's cookie-octets but the percent sign: it is read in two ways, see below.
COOKIE_OCTETS = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '",;\\%')


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    cache = getattr(request.config, "cache", None)
    folder = tmp_path_factory.mktemp("interop") if cache is None else Path(cache.mkdir("interop"))
    with started(interop.cookie_readers(folder)) as process:
        yield Process(process)


# Cookie headers


# A reader that raises finds nothing: there is nothing that it would hand over.


def by_http_cookies(header: str) -> Pairs:
    """A dict: of several of one name the last."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(header)
    except CookieError:
        return []
    return [(name, morsel.value) for name, morsel in cookies.items()]


def by_werkzeug(header: str) -> Pairs:
    try:
        return list(parse_cookie(header).items(multi=True))
    except UnicodeDecodeError:
        return []


def read_by_all(node: Process, headers: list[str]) -> list[dict[str, Pairs]]:
    """For each header what each reader finds, by its name."""
    found = [{"http.cookies": by_http_cookies(header), "werkzeug": by_werkzeug(header)} for header in headers]
    for reader, answers in node.ask("cookie_headers", headers=headers).items():
        for by_reader, pairs in zip(found, answers, strict=True):
            by_reader[reader] = [(name, value) for name, value in pairs]
    return found


def values_of(pairs: Pairs, name: str) -> list[str]:
    return [value for found, value in pairs if found == name]


def as_it_has_them(reader: str, values: list[str]) -> list[str]:
    """What a reader finds that reads as we do; a dict has the last of several."""
    return values[-1:] if reader == "http.cookies" else values


def ours(header: str, name: str) -> list[str]:
    """What both of our scans find."""
    values = find_values(header, name)
    assert values == find_cookies(header, {name, "other"}).get(name, [])
    return values


def headers_of_the_grammar(rng: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Cookie headers as 4.2.1 has them, and the names in them."""
    reserved = {"expires", "path", "comment", "domain", "max-age", "secure", "httponly", "version", "samesite", "partitioned"}
    for _ in range(HEADERS):
        names: list[str] = []
        wanted = rng.choice((1, 2, 3, 6, 14))
        while len(names) < wanted:
            name = rng.choice(("session", "__Host-cart", "a", "".join(rng.choices(TCHAR, k=rng.randint(1, 12)))))
            if name.lower() not in reserved and not name.startswith("$"):
                names.append(name)
        values = ("".join(rng.choices(rng.choice((BASE64URL, COOKIE_OCTETS)), k=rng.choice((0, 1, 7, 78)))) for _ in names)
        yield "; ".join(f"{name}={value}" for name, value in zip(names, values, strict=True)), names


def test_a_header_of_the_grammar_is_read_by_all_as_we_read_it(node: Process) -> None:
    """RFC 6265bis, 4.2.1: cookie-pair *( ";" SP cookie-pair )"""
    cases = list(headers_of_the_grammar(random.Random(1)))
    for (header, names), answers in zip(cases, read_by_all(node, [header for header, _ in cases]), strict=True):
        assert set(answers) == READERS
        for name in {*names, "absent"}:
            values = ours(header, name)
            assert len(values) == names.count(name)
            for reader, pairs in answers.items():
                assert values_of(pairs, name) == as_it_has_them(reader, values), (reader, header)


PIECES = (
    *("session", "session", "session=", "session=", "session=a", "; session=b", "Session", "sessions", "my-session", "ses"),
    *("=", "=", ";", ";", "; ", " ", "\t", ",", ":", '"', "\\", '\\"', "\\073", "%3B", "%73", "$Version=1", "$", "/", "[", "("),
    *("other=1", "a", "b", "0", "@", "\x0b", "\x01", "\x7f", "Path=/", "expires=Wed, 21 Oct 2026 07:28:00 GMT", "secure"),
)


PAIRS = (
    *("session=a", "session=a", "session=", "session=b-_", "session", "Session=a", "sessions=1", "__Host-session=1"),
    *("other=1", "a=b=c"),
)


def any_header(rng: random.Random) -> str:
    """Pairs of the grammar, and among them others."""
    pairs = (
        rng.choice(PAIRS) if rng.random() < 0.7 else "".join(rng.choices(PIECES, k=rng.randint(1, 4)))
        for _ in range(rng.randint(1, 4))
    )
    return rng.choice(("; ", "; ", ";", " ; ")).join(pairs)


def test_what_all_find_in_any_header_we_find(node: Process) -> None:
    rng = random.Random(2)
    headers = [any_header(rng) for _ in range(2 * HEADERS)]
    found_by_all = found_by_none = differed = 0
    for header, answers in zip(headers, read_by_all(node, headers), strict=True):
        values = ours(header, "session")
        found = {reader: values_of(pairs, "session") for reader, pairs in answers.items()}
        last = {tuple(values[-1:]) for values in found.values()}  # what a dict has of several
        if len(last) == 1:
            assert tuple(values[-1:]) in last, header
            found_by_all += last != {()}
            found_by_none += last == {()}
        else:
            differed += 1
        every = {tuple(values) for reader, values in found.items() if reader != "http.cookies"}
        if len(every) == 1:
            assert tuple(values) in every, header
    # 3,000 each, of 10,000
    assert found_by_all > 2_000
    assert found_by_none > 2_000
    assert differed > 2_000


def those_that_differ(node: Process, header: str, values: list[str]) -> set[str]:
    """The readers that do not read as we do."""
    (answers,) = read_by_all(node, [header])
    assert set(answers) == READERS
    return {reader for reader, pairs in answers.items() if values_of(pairs, "session") != as_it_has_them(reader, values)}


@pytest.mark.parametrize(
    ("header", "values"),
    [
        pytest.param("%73ession=a", [], id="5.6: percent sequences in a name are not decoded"),
        pytest.param("session=a; session=b", ["a", "b"], id="4.2.2: of one name all count, and their order says nothing"),
        pytest.param("session=a; session=a", ["a", "a"], id="4.2.2: alike or not"),
        pytest.param("Session=a; SESSION=b", [], id="5.7: cookies whose names differ in case are different ones"),
        pytest.param("=session=a", [], id="5.6: before the first equals sign stands the name, here none"),
        pytest.param("session==a=b=", ["=a=b="], id="5.6: behind the first equals sign stands the value"),
        pytest.param("session=", [""], id="5.6: a value may be empty"),
        pytest.param(" \tsession\t = \ta\t ", ["a"], id="5.6: spaces and tabs round name and value are none of theirs"),
        pytest.param("a=1;session=b", ["b"], id="5.6: no space is needed behind the semicolon"),
        pytest.param("$Version=1; session=a; $Path=/", ["a"], id="4.2.1: a dollar sign has no meaning"),
        pytest.param("session=a; Path=/; Secure; expires=0", ["a"], id="4.2.2: no attributes come back, and they end nothing"),
    ],
)
def test_where_all_readers_agree_we_read_as_they_do(header: str, values: list[str], node: Process) -> None:
    assert ours(header, "session") == values
    assert those_that_differ(node, header, values) == set()


@pytest.mark.parametrize(
    ("header", "values"),
    [
        pytest.param('session="abc"', ['"abc"'], id="4.1.1: quotes are part of the value"),
        pytest.param('session="a b"', ['"a b"'], id="5.6: with quotes round it, too, a value is what stands there"),
        pytest.param('session="a; b=c"', ['"a'], id="5.6: a pair ends at the first semicolon, in quotes or not"),
        pytest.param('x="; session=a; y="', ["a"], id="5.8.3: behind a semicolon stands the next pair, in quotes or not"),
        pytest.param('session="a', ['"a'], id="5.6: one quote is an octet like any other"),
        pytest.param('session="a\\073b"', ['"a\\073b"'], id="5.6: a backslash with digits stands for itself"),
        pytest.param("session=a%3Bb", ["a%3Bb"], id="5.6: percent sequences in a value are not decoded"),
        pytest.param("session", [], id="5.6: a pair without an equals sign is a value that has no name"),
        pytest.param("a=1; session; b=2", [], id="5.6: a value that has no name may stand among others"),
        pytest.param("a=1, session=b", [], id="5.8.3: pairs are parted by semicolons, not by commas"),
        pytest.param("session=a, b=1", ["a, b=1"], id="5.6: a comma belongs to the value"),
        pytest.param("session=a b", ["a b"], id="5.6: a space within a value belongs to it"),
        pytest.param("\x0bsession=a; session=\x0bb", ["\x0bb"], id="5.6: only spaces and tabs are taken off name and value"),
        pytest.param("\xa0session=a; session=\xa0b\x85", ["\xa0b\x85"], id="5.6: no octets that are white space in some encoding"),
        pytest.param("session=\xff\xe9", ["\xff\xe9"], id="5.8.3: a header is octets, in no encoding"),
        pytest.param("session=a\x01b", ["a\x01b"], id="5.8.3: any octets, the controls among them"),
        pytest.param(";; ;session=a;", ["a"], id="5.7: what has neither name nor value is no cookie"),
        pytest.param("x[1]=1; session=a", ["a"], id="5.6: the name of another cookie may have any octets"),
        pytest.param("a=\\; session=b", ["b"], id="5.6: the value of another cookie may have any octets"),
        pytest.param("path=/; session=a", ["a"], id="4.2.2: no attributes come back: what is called so is a cookie"),
    ],
)
def test_where_a_reader_differs_we_follow_a_rule(header: str, values: list[str], node: Process) -> None:
    assert ours(header, "session") == values
    assert those_that_differ(node, header, values)


@pytest.mark.parametrize(("header", "name"), [("Path=/; a=1", "Path"), ("$Version=1", "$Version"), ("secure=1; a=1", "secure")])
def test_a_cookie_may_be_called_as_an_attribute_is(header: str, name: str) -> None:
    """RFC 6265bis, 4.2.2: the Cookie header has no attributes, so that no name in it is special."""
    assert len(ours(header, name)) == 1


# Set-Cookie values


HOST = "https://shop.example.com"
AGES = (None, 0, 1, 86_400, 34_560_000)
NAMES = ("session", "__Host-session", "__Secure-session", "__Http-session", "__Host-Http-session", "S.e_s-s~i|o`n'!#$&*+^")
PATHS = ("/", "/a", "/a/b/c", "/A%20b")
DOMAINS = (None, "example.com", "Shop.Example.COM")


def everything_a_jar_may_be() -> Iterator[tuple[SetCookie, dict[str, Any]]]:
    """Each writer that can be made, and its attributes as they are meant."""
    flags = (False, True)
    for name, path, domain, samesite in itertools.product(NAMES, PATHS, DOMAINS, ("Lax", "Strict", "None")):
        for secure, httponly, partitioned in itertools.product(flags, flags, flags):
            meant = {"name": name, "path": path, "domain": domain, "samesite": samesite}
            meant |= {"secure": secure, "httponly": httponly, "partitioned": partitioned}
            try:
                writer = SetCookie(**meant)
            except ConfigurationError:
                continue
            yield writer, meant | {"domain": None if domain is None else domain.lower()}


def set_cookies() -> tuple[list[str], list[dict[str, Any]]]:
    headers, meant = [], []
    rng = random.Random(3)
    for writer, attributes in everything_a_jar_may_be():
        value = "".join(rng.choices(BASE64URL, k=rng.choice((1, 78, 300))))
        age = rng.choice(AGES)
        headers += [writer.value(value, age), writer.deletion()]
        meant += [attributes | {"value": value, "max_age": age}, attributes | {"value": "", "max_age": 0}]
    return headers, meant


def set_by_http_cookies(header: str) -> dict[str, Any]:
    ((name, morsel),) = SimpleCookie(header).items()
    found = {
        "name": name,
        "value": morsel.value,
        "max_age": int(morsel["max-age"]) if morsel["max-age"] else None,
        "path": morsel["path"],
        "domain": morsel["domain"] or None,
        "secure": bool(morsel["secure"]),
        "httponly": bool(morsel["httponly"]),
        "samesite": morsel["samesite"],
    }
    return found | ({"partitioned": bool(morsel["partitioned"])} if "partitioned" in morsel else {})


def set_by_werkzeug(header: str, name: str, domain: str, path: str) -> dict[str, Any] | None:
    """As Werkzeug's client for tests has it in its jar; None: it has none."""
    client = Client(Response("", headers=[("Set-Cookie", header)]))
    client.get(PATHS[2], base_url=HOST)
    kept = client.get_cookie(name, domain=domain, path=path)
    if kept is None:
        return None
    return {
        "name": kept.key,
        "value": kept.value,
        "max_age": kept.max_age,
        "path": kept.path,
        "domain": None if kept.origin_only else kept.domain,
        "secure": kept.secure,
        "httponly": kept.http_only,
        "samesite": kept.same_site,
    }


def test_all_read_from_our_set_cookie_what_we_mean(node: Process) -> None:
    headers, meant = set_cookies()
    assert len(headers) > 900
    for reader, answers in node.ask("set_cookies", headers=headers).items():
        for header, expected, found in zip(headers, meant, answers, strict=True):
            assert lowered(found) == expected, (reader, header)
    for header, expected in zip(headers, meant, strict=True):
        # Partitioned is newer than some versions of this one, which are not asked about it.
        if not expected["partitioned"] or "partitioned" in Morsel():
            found = lowered(set_by_http_cookies(header))
            assert found == {name: expected[name] for name in found}, header


def lowered(found: dict[str, Any]) -> dict[str, Any]:
    """RFC 6265bis, 5.6.3: a domain is compared in small letters."""
    return found | {"domain": found["domain"] and found["domain"].lower()}


def test_a_path_may_have_any_octet_of_the_grammar_and_is_sent_as_it_is(node: Process) -> None:
    """RFC 6265bis, 4.1.1: an av-octet is any character but controls and the semicolon. Our writer takes no space either."""
    path = "/" + "".join(chr(octet) for octet in range(0x21, 0x7F) if chr(octet) != ";")
    header = SetCookie("session", path=path, domain=None, secure=True, httponly=True, samesite="Lax", partitioned=False).value(
        "abc", 60
    )
    assert f"; Path={path}; " in header
    for answers in node.ask("set_cookies", headers=[header]).values():
        assert (answers[0]["path"], answers[0]["samesite"], answers[0]["max_age"]) == (path, "Lax", 60)


def test_a_client_for_tests_keeps_from_our_set_cookie_what_we_mean() -> None:
    headers, meant = set_cookies()
    for header, expected in zip(headers[::2] + headers[1::2], meant[::2] + meant[1::2], strict=True):
        written = header.partition("; Domain=")[2].partition(";")[0] or "shop.example.com"
        found = set_by_werkzeug(header, expected["name"], written, expected["path"])
        if expected["max_age"] == 0:
            assert found is None, header
        else:
            assert found is not None, header
            assert lowered(found) == {name: expected[name] for name in found}, header


def test_what_a_jar_of_cookies_keeps_it_sends_back_as_we_read_it_until_we_delete_it(node: Process) -> None:
    """RFC 6265bis, 5.7 and 5.8.3, by tough-cookie's jar with its rules for prefixes"""
    writers = [(writer, meant) for writer, meant in everything_a_jar_may_be() if "%" not in meant["path"]]
    token = "".join(random.Random(4).choices(BASE64URL, k=400))
    ages = [age for age in AGES if age != 0]
    visits = [
        {"url": HOST + PATHS[2], "headers": [writer.value(token, ages[number % len(ages)]), writer.deletion()]}
        for number, (writer, _) in enumerate(writers)
    ]
    assert len(visits) > 300
    for (_, meant), visit, (kept, left) in zip(writers, visits, node.ask("kept", visits=visits), strict=True):
        assert ours(kept, meant["name"]) == [token], visit
        assert left == "", visit


def test_a_set_cookie_has_each_attribute_once_and_nothing_outside_the_grammar() -> None:
    """RFC 6265bis, 4.1.1; but that a deletion has Max-Age=0, which 5.6.2 reads and the grammar for servers leaves out."""
    headers, _ = set_cookies()
    for header in headers:
        assert header.isascii()
        assert header.isprintable()
        pair, *attributes = header.split("; ")
        assert set(pair.partition("=")[0]) <= set(TCHAR)
        names = [attribute.partition("=")[0] for attribute in attributes]
        assert len(set(names)) == len(names)
        assert set(names) <= {"Max-Age", "Path", "Domain", "Secure", "HttpOnly", "SameSite", "Partitioned"}
