"""Keys, rings, codecs, jars and middlewares that are set up wrongly: each is refused when it is made, and told what to change.

The numbers are those of one list of inputs, so that a line is found again.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import nacl.exceptions
import pytest

from clientsession import (
    ClientSessionError,
    Codec,
    ConfigurationError,
    ExpiredTokenError,
    Jar,
    Key,
    Keyring,
    MalformedTokenError,
    Reason,
    SerializationError,
    Session,
    Sessions,
    SessionTooLargeError,
    Suite,
)
from clientsession._events import Event
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests import reference
from tests.conftest import Clock, cookie_of

SECRET = bytes(range(7, 39))
OTHER_SECRET = bytes(range(100, 140))
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)  # the clock fixture's


@pytest.fixture
def key() -> Key:
    return Key.from_secret(SECRET)


def refused(make: Callable[[], object], words: str) -> str:
    """That something is refused with a message of these words, which starts a sentence and stands alone."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ClientSessionError)
    assert caught.value.__cause__ is None
    message = str(caught.value)
    assert words in message
    assert len(message) < 400
    return message


# Names


BAD_COOKIE_NAMES = [
    *(
        "",
        " ",
        "a b",
        " a",
        "a ",
        "a=b",
        "a;b",
        "a,b",
        'a"b',
        "a\\b",
        "a(b",
        "a)b",
        "a<b",
        "a>b",
        "a@b",
        "a[b]",
        "a{b}",
        "a?b",
        "a/b",
        "a:b",
    ),
    *("a\r", "a\n", "a\r\nSet-Cookie: b", "a\tb", "a\0", "\x7f", "caf\xe9", "\uff41", "\u0130", "a\ud800", "a" * 257),
]


@pytest.mark.parametrize("name", BAD_COOKIE_NAMES, ids=ascii)
def test_a_cookie_name_is_a_token(ring: Keyring, name: str) -> None:
    """C1"""
    with pytest.raises(ConfigurationError, match=r"^(a cookie )?name "):
        Jar(name, ring)
    refused(
        lambda: Jar("session", ring, cookie_name=name), "a cookie name must have 1 to 256 ASCII letters, digits or characters of"
    )


@pytest.mark.parametrize("name", ["a", "a" * 256, "session", "A-b_c.d~e", "!#$%&'*+-.^_`|~", "0", "__Host", "x__Host-y"])
def test_other_names_are_taken(ring: Keyring, clock: Clock, name: str) -> None:
    jar = Jar(name, ring, clock=clock)
    sessions = Sessions([jar], None)
    sessions[name]["a"] = 1
    (answer,) = sessions.commit()
    assert Sessions([jar], cookie_of(answer))[name] == {"a": 1}


def test_the_longest_name_leaves_room_for_a_session(ring: Keyring, clock: Clock) -> None:
    jar = Jar("n" * 256, ring, clock=clock)
    sessions = Sessions([jar], None)
    sessions["n" * 256]["a"] = "x" * (3840 * 3 // 4 - 58 - len('{"a":""}'))
    assert len(cookie_of(sessions.commit()[0])) == 4096 + len("=")


@pytest.mark.parametrize("name", [None, 7, b"session", ["session"], Jar])
def test_a_name_is_a_str(ring: Keyring, name: Any) -> None:
    refused(lambda: Jar(name, ring), "name must be a str, not ")
    refused(lambda: Codec(ring, name), "name must be a str, not ")
    if name is not None:
        refused(lambda: Jar("session", ring, cookie_name=name), "a cookie name must")


@pytest.mark.parametrize("label", ["a\n", "\0", "a\x7f", "\x1f", "x" * 257, "\u20ac" * 86])
def test_a_label_has_no_control_characters_and_at_most_256_bytes(ring: Keyring, label: str) -> None:
    words = "must have at most 256 bytes of UTF-8 and no control characters"
    refused(lambda: Codec(ring, label), f"name {words}")
    refused(lambda: Codec(ring, "x", audience=label), f"audience {words}")
    refused(lambda: Jar(label, ring, cookie_name="x"), f"name {words}")
    refused(lambda: Jar("x", ring, audience=label), f"audience {words}")


@pytest.mark.parametrize("label", ["\ud800", "a\udfff"])
def test_a_label_can_be_written_in_utf_8(ring: Keyring, label: str) -> None:
    refused(lambda: Codec(ring, label), "name has a lone surrogate")
    refused(lambda: Codec(ring, "x", audience=label), "audience has a lone surrogate")


@pytest.mark.parametrize("audience", [None, 7, b"x", ["x"]])
def test_an_audience_is_a_str(ring: Keyring, audience: Any) -> None:
    refused(lambda: Codec(ring, "x", audience=audience), "audience must be a str")
    refused(lambda: Jar("x", ring, audience=audience), "audience must be a str")


def test_a_codec_needs_a_name_and_no_audience(ring: Keyring) -> None:
    refused(lambda: Codec(ring, ""), "name must not be empty")
    codec = Codec(ring, "an invitation \u20ac", audience="\u20ac" * 85)
    assert codec.decode(codec.encode({"a": 1})) == {"a": 1}


# Prefixes and attributes


@pytest.mark.parametrize(
    ("prefix", "options", "words"),
    [
        ("__Host-", {"domain": "example.com"}, 'path="/" and no domain'),
        ("__Host-", {"path": "/shop"}, 'path="/" and no domain'),
        ("__Host-", {"secure": False}, "secure=True"),
        ("__Secure-", {"secure": False}, "secure=True"),
        ("__Http-", {"secure": False}, "secure=True"),
        ("__Http-", {"httponly": False}, "httponly=True"),
        ("__Host-Http-", {"secure": False}, "secure=True"),
        ("__Host-Http-", {"httponly": False}, "httponly=True"),
        ("__Host-Http-", {"path": "/shop"}, 'path="/" and no domain'),
        ("__Host-Http-", {"domain": "example.com"}, 'path="/" and no domain'),
    ],
)
def test_a_prefix_demands_what_browsers_demand_of_it(ring: Keyring, prefix: str, options: dict[str, Any], words: str) -> None:
    """C2, C3"""
    for name in (f"{prefix}x", prefix):
        message = refused(lambda name=name: Jar("x", ring, cookie_name=name, **options), words)
        assert f"a cookie named {prefix}… needs " in message
    assert Jar("x", ring, cookie_name=f"_{prefix}x", **options).cookie_name == f"_{prefix}x"


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("__Host-", {"httponly": False}),
        ("__Secure-", {"domain": "example.com", "path": "/shop", "httponly": False}),
        ("__Http-", {"domain": "example.com", "path": "/shop"}),
        ("__Host-Http-", {"partitioned": True, "samesite": "None"}),
    ],
)
def test_a_prefix_demands_no_more(ring: Keyring, prefix: str, options: dict[str, Any]) -> None:
    assert Jar("x", ring, cookie_name=f"{prefix}x", **options).cookie_name == f"{prefix}x"


@pytest.mark.parametrize("prefix", ["__Host-", "__Secure-", "__Http-", "__Host-Http-"])
@pytest.mark.parametrize("change", [str.upper, str.lower, str.swapcase, lambda text: text.replace("H", "h").replace("S", "s")])
def test_a_prefix_is_written_in_its_own_case(ring: Keyring, prefix: str, change: Callable[[str], str]) -> None:
    """C4"""
    name = f"{change(prefix)}x"
    message = refused(
        lambda: Jar("x", ring, cookie_name=name), "write the prefix of the cookie name as __H" if "H" in prefix else "as __Secure-"
    )
    assert prefix.removesuffix("Http-") in message or prefix in message


@pytest.mark.parametrize(
    "samesite", ["foo", "", "lax ", " Lax", "Lax; Secure", "Lax\r\n", "no_restriction", None, True, 7, b"Lax", ["Lax"]]
)
def test_samesite_is_one_of_three(ring: Keyring, samesite: Any) -> None:
    """C5"""
    refused(lambda: Jar("x", ring, samesite=samesite), 'samesite must be "Lax", "Strict" or "None"')


@pytest.mark.parametrize("samesite", ["None", "none", "NONE"])
def test_samesite_none_needs_secure(ring: Keyring, samesite: str) -> None:
    """C5"""
    refused(lambda: Jar("x", ring, samesite=samesite, secure=False), 'samesite="None" needs secure=True')
    assert "; SameSite=None" in sent_by(Jar("x", ring, samesite=samesite))


def test_partitioned_needs_secure(ring: Keyring) -> None:
    """C6"""
    refused(lambda: Jar("x", ring, partitioned=True, secure=False), "partitioned=True needs secure=True")
    assert sent_by(Jar("x", ring, partitioned=True)).endswith("; Partitioned")


@pytest.mark.parametrize(
    "domain",
    [
        *("", ".example.com", "example.com.", "example..com", "-example.com", "example-.com", "ex_ample.com", "exam ple.com"),
        *("example.com\r\n", "example.com\n", "\nexample.com", "ex;ample.com", "example.com; Secure", "example.com:80", "a,b"),
        *("http://example.com", "example.com/", "*.example.com", "b\xfccher.example", "\uff45xample.com", "a\0b", "user@host"),
        *("x" * 64 + ".com", ".".join(["abc"] * 64), "x" * 1025, "[::1]", "::1", "2001:db8::1"),
        *(7, b"example.com", True, ["example.com"]),
    ],
    ids=lambda domain: ascii(domain)[:40],
)
def test_a_domain_is_a_host_name(ring: Keyring, domain: Any) -> None:
    """C7"""
    refused(lambda: Jar("x", ring, domain=domain), "domain must be a host name such as example.com: no leading dot")


@pytest.mark.parametrize("domain", ["127.0.0.1", "192.168.0.10", "1.2.3", "16843009", "example.0", "example.0x1F", "0x"])
def test_a_domain_is_no_ip_address(ring: Keyring, domain: str) -> None:
    """C7"""
    refused(lambda: Jar("x", ring, domain=domain), "domain must not be an IP address: leave it out")


@pytest.mark.parametrize(
    "domain", ["example.com", "a.b.c.example", "localhost", "xn--bcher-kva.example", "EXAMPLE.com", "7even.example", "a" * 63]
)
def test_a_host_name_is_taken_as_it_is(ring: Keyring, domain: str) -> None:
    assert f"; Domain={domain}; " in sent_by(Jar("x", ring, domain=domain))


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "x",
            "shop/",
            " /",
            "/ ",
            "/a b",
            "/\r\n",
            "/\n",
            "/;",
            "/a; Domain=evil",
            "/\t",
            "/\0",
            "/\x7f",
            "/caf\xe9",
            "/\u20ac",
        ),
        *("/" + "x" * 1024, "\\", "http://example.com/", "/\ud800", None, 7, b"/", ["/"]),
    ],
    ids=lambda path: ascii(path)[:40],
)
def test_a_path_starts_with_a_slash_and_is_visible_ascii(ring: Keyring, path: Any) -> None:
    """C8"""
    refused(lambda: Jar("x", ring, path=path), "path must start with / and have at most 1,024 visible ASCII characters")


@pytest.mark.parametrize("path", ["/", "/shop", "/shop/", "/caf%C3%A9", "/a,b=c&d~e", "//", "/" + "x" * 1023])
def test_a_path_is_taken_as_it_is(ring: Keyring, path: str) -> None:
    assert f"; Path={path}; " in sent_by(Jar("x", ring, path=path))


@pytest.mark.parametrize("option", ["secure", "httponly", "partitioned", "ephemeral"])
@pytest.mark.parametrize("value", [None, 0, 1, "", "True", "off", [], b"1"], ids=repr)
def test_a_switch_is_true_or_false(ring: Keyring, option: str, value: Any) -> None:
    refused(lambda: Jar("x", ring, **{option: value}), f"{option} must be True or False")


def sent_by(jar: Jar) -> str:
    sessions = Sessions([jar], None)
    sessions[jar.name]["a"] = 1
    (answer,) = sessions.commit()
    return answer


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"secure": False}, "; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax"),
        ({"httponly": False}, "; Max-Age=86400; Path=/; Secure; SameSite=Lax"),
        ({"ephemeral": True}, "; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"max_age": timedelta(hours=1)}, "; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"max_age": timedelta(days=400)}, "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"max_age": timedelta(seconds=1.5)}, "; Max-Age=2; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"duration": timedelta(seconds=90.25)}, "; Max-Age=91; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (
            {"samesite": "strict", "domain": "a.example"},
            "; Max-Age=86400; Path=/; Domain=a.example; Secure; HttpOnly; SameSite=Strict",
        ),
        (
            {"samesite": "NONE", "partitioned": True, "path": "/p", "domain": "a.example", "httponly": False},
            "; Max-Age=86400; Path=/p; Domain=a.example; Secure; SameSite=None; Partitioned",
        ),
    ],
)
def test_a_cookie_has_the_attributes_of_its_jar_and_so_has_its_deletion(
    ring: Keyring, clock: Clock, options: dict[str, Any], attributes: str
) -> None:
    jar = Jar("x", ring, clock=clock, **options)
    answer = sent_by(jar)
    assert answer.partition(";")[1] + answer.partition(";")[2] == attributes
    sessions = Sessions([jar], cookie_of(answer))
    sessions["x"].destroy()
    assert sessions.commit() == ["x=; Max-Age=0" + re.sub("; Max-Age=[0-9]+", "", attributes)]


def test_secure_is_never_inferred_from_the_request(ring: Keyring, clock: Clock) -> None:
    """C20"""
    secure, plain = Jar("secure", ring, clock=clock), Jar("plain", ring, secure=False, clock=clock)
    sent = []

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        for name in ("secure", "plain"):
            get_sessions(environ)[name]["a"] = 1
        start_response("200 OK", [])
        return []

    for scheme in ("http", "https"):
        environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": "localhost:8080"}
        SessionMiddleware(app, [secure, plain])(environ, lambda status, headers: sent.append(headers))
    for headers in sent:
        cookies = [value for name, value in headers if name == "Set-Cookie"]
        assert ["; Secure" in cookie for cookie in cookies] == [True, False]


# Durations


@pytest.mark.parametrize(
    "duration",
    [
        *(timedelta(0), -SECOND, timedelta(days=-1), timedelta(milliseconds=999), timedelta(microseconds=999_999), timedelta.min),
        *(timedelta(days=400, microseconds=1), timedelta(days=401), timedelta.max),
    ],
    ids=str,
)
@pytest.mark.parametrize("option", ["duration", "active_duration", "max_duration", "max_age"])
def test_a_duration_is_from_a_second_to_400_days(ring: Keyring, option: str, duration: timedelta) -> None:
    """C9"""
    words = f"{option} must be from 1 second to 400 days"
    refused(lambda: Jar("x", ring, **{option: duration}), words)
    if option in ("duration", "max_duration"):
        refused(lambda: Codec(ring, "x", **{option: duration}), words)


@pytest.mark.parametrize("value", [0, 1, 60, 3600.0, "60", math.nan, (1,), DAY.total_seconds, NOW, True], ids=repr)
@pytest.mark.parametrize("option", ["duration", "active_duration", "max_duration", "max_age"])
def test_a_duration_is_a_timedelta(ring: Keyring, option: str, value: Any) -> None:
    """C9"""
    with pytest.raises(TypeError, match=rf"^{option} must be a datetime\.timedelta, not \w+; write timedelta\(seconds=…\)"):
        Jar("x", ring, **{option: value})
    if option in ("duration", "max_duration"):
        with pytest.raises(TypeError, match=rf"^{option} must be a datetime\.timedelta"):
            Codec(ring, "x", **{option: value})


@pytest.mark.parametrize("value", [None, 60, "60"])
def test_a_token_s_or_a_session_s_own_duration_is_checked_alike(ring: Keyring, clock: Clock, value: Any) -> None:
    """C9"""
    codec = Codec(ring, "x", clock=clock)
    session = codec.decode(codec.encode({"a": 1}))
    with pytest.raises(TypeError, match=r"^duration must be a datetime\.timedelta"):
        session.set_duration(value)
    if value is not None:
        with pytest.raises(TypeError, match=r"^duration must be a datetime\.timedelta"):
            codec.encode({}, duration=value)
    for wrong in (timedelta(0), timedelta(days=401)):
        refused(lambda wrong=wrong: session.set_duration(wrong), "duration must be from 1 second to 400 days")
        refused(lambda wrong=wrong: codec.encode({}, duration=wrong), "duration must be from 1 second to 400 days")
    assert session.expires_at == NOW + DAY


@pytest.mark.parametrize("duration", [SECOND, timedelta(seconds=1.5), DAY, timedelta(days=400)])
def test_both_ends_of_the_range_are_taken(ring: Keyring, clock: Clock, duration: timedelta) -> None:
    codec = Codec(ring, "x", duration=duration, clock=clock)
    token = codec.encode({"a": 1})
    assert codec.decode(token).expires_at == NOW + duration
    clock.pass_(duration.total_seconds() - 0.001)
    assert codec.decode(token) == {"a": 1}
    clock.pass_(0.001)
    with pytest.raises(ExpiredTokenError):
        codec.decode(token)


def test_durations_fit_one_another(ring: Keyring) -> None:
    """C10"""
    refused(lambda: Jar("x", ring, duration=DAY, active_duration=DAY + SECOND), "active_duration must not be longer than duration")
    for make in (lambda **options: Jar("x", ring, **options), lambda **options: Codec(ring, "x", **options)):
        refused(lambda make=make: make(duration=DAY, max_duration=DAY - SECOND), "max_duration must not be shorter than duration")
        assert make(duration=DAY, max_duration=DAY).max_duration == DAY
    assert Jar("x", ring, duration=DAY, active_duration=DAY).active_duration == DAY
    refused(lambda: Jar("x", ring, ephemeral=True, max_age=DAY), "ephemeral=True means no Max-Age: leave max_age out")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"duration": 100 * DAY}, None),
        ({"active_duration": SECOND}, 30 * DAY),
        ({"active_duration": SECOND, "duration": 100 * DAY}, 100 * DAY),
        ({"active_duration": SECOND, "max_duration": None}, None),
        ({"active_duration": SECOND, "max_duration": 2 * DAY}, 2 * DAY),
    ],
)
def test_max_duration_is_30_days_where_activity_extends_a_session(
    ring: Keyring, options: dict[str, Any], expected: timedelta | None
) -> None:
    assert Jar("x", ring, **options).max_duration == expected


# Keys and rings


TEXT = Key.from_secret(SECRET).export()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "", "it must start with csk1_ and nothing may stand before it. Make a key with `clientsession keygen`", id="empty"
        ),
        pytest.param("secret", "it must start with csk1_", id="untagged"),
        pytest.param(TEXT.removeprefix("csk1_"), "it must start with csk1_", id="tag-cut-off"),
        pytest.param(TEXT[1:], "it must start with csk1_", id="first-letter-cut-off"),
        pytest.param(TEXT.upper(), "it must start with csk1_", id="capitals"),
        pytest.param(" " + TEXT, "it must start with csk1_", id="space-before"),
        pytest.param("\ufeff" + TEXT, "it must start with csk1_", id="bom-before"),
        pytest.param(f"'{TEXT}'", "it must start with csk1_", id="quoted"),
        pytest.param("csk2_" + TEXT[5:], "it must start with csk1_", id="another-tag"),
        pytest.param(TEXT + "\n", "white space follows the text of the key: remove it", id="line-feed-after"),
        pytest.param(TEXT + " ", "white space follows", id="space-after"),
        pytest.param(TEXT + "\r\n", "white space follows", id="crlf-after"),
        pytest.param(TEXT + "\xa0", "white space follows", id="nbsp-after"),
        pytest.param(TEXT[:30] + "\n" + TEXT[30:], "has a wrong character or was cut", id="wrapped"),
        pytest.param(TEXT + "=", "has a wrong character or was cut", id="padded"),
        pytest.param(TEXT + "'", "has a wrong character or was cut", id="quote-after"),
        pytest.param(TEXT[:-1] + "\u0410", "has a wrong character or was cut", id="cyrillic"),
        pytest.param("csk1_", "has a wrong character or was cut", id="tag-alone"),
        pytest.param("csk1_AQ", "has a wrong character or was cut", id="suite-alone"),
        pytest.param(TEXT + TEXT, "has a wrong character or was cut", id="twice"),
        pytest.param("csk1_" + "A" * 48, "the checksum of the key does not fit: it has a typo or was cut", id="made-up"),
        pytest.param("csk1_" + "A" * 4000, "far too long", id="long"),
        pytest.param(reference.export(SECRET, 0), "is of suite 0, which this version of clientsession does not know", id="suite-0"),
        pytest.param(reference.export(SECRET, 3), "is of suite 3", id="suite-3"),
        pytest.param(reference.export(SECRET, 255), "is of suite 255", id="suite-255"),
        pytest.param(reference.export(SECRET[:31], 1), "has 31 bytes and must have 32 or more", id="31-bytes"),
        pytest.param(reference.export(b"", 1), "has 0 bytes and must have 32 or more", id="no-bytes"),
        pytest.param(reference.export(bytes(32), 1), "repeats a few bytes over and over", id="zeros"),
        pytest.param(reference.export(SECRET * 33, 1), "has 1,056 bytes and must have at most 1,024", id="1056-bytes"),
        pytest.param(reference.export(TEXT.encode(), 1), "is an exported key (csk1_…), not a secret", id="key-in-a-key"),
        pytest.param(TEXT.encode(), "takes the text of a key (csk1_…), not bytes", id="bytes"),
        pytest.param(None, "not NoneType", id="none"),
        pytest.param(Key.from_secret(SECRET), "not Key", id="key"),
    ],
)
def test_a_text_that_is_no_key_is_refused_with_advice(text: Any, words: str) -> None:
    """C12, C18"""
    refused(lambda: Key.parse(text), words)


def test_every_typo_and_every_cut_of_a_key_is_seen() -> None:
    """C12"""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    wrong = {TEXT[:index] + char + TEXT[index + 1 :] for index in range(len(TEXT)) for char in alphabet} - {TEXT}
    wrong |= {TEXT[:index] for index in range(len(TEXT))}
    wrong |= {TEXT[:index] + TEXT[index + 1 :] for index in range(len(TEXT))}
    wrong |= {TEXT[:index] + TEXT[index + 1] + TEXT[index] + TEXT[index + 2 :] for index in range(len(TEXT) - 1)} - {TEXT}
    assert len(wrong) > 3000
    for text in wrong:
        with pytest.raises(ConfigurationError):
            Key.parse(text)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param(SECRET[:31], "has 31 bytes and must have 32 or more. Make a key with `clientsession keygen`", id="31-bytes"),
        pytest.param(b"", "has 0 bytes", id="no-bytes"),
        pytest.param("secret", "has 6 bytes", id="word"),
        pytest.param("x" * 31, "has 31 bytes", id="31-letters"),
        pytest.param(bytes(32), "repeats a few bytes over and over and can be guessed. Make a key", id="zeros"),
        pytest.param(b"changeme" * 8, "repeats a few bytes", id="changeme"),
        pytest.param("123456789" * 5, "repeats a few bytes", id="9-letters"),
        pytest.param(SECRET * 33, "has 1,056 bytes and must have at most 1,024", id="1056-bytes"),
        pytest.param(TEXT, "this is an exported key (csk1_…), not a secret: give it to Key.parse", id="exported"),
        pytest.param(TEXT.encode(), "this is an exported key (csk1_…), not a secret", id="exported-bytes"),
        pytest.param("\n" + TEXT, "this is an exported key (csk1_…), not a secret", id="exported-after-a-line-feed"),
        pytest.param("x" * 40 + "\ud800", "must be bytes, or text that UTF-8 can carry", id="surrogate"),
        pytest.param(None, "must be bytes, or text", id="none"),
        pytest.param(7, "must be bytes, or text", id="int"),
        pytest.param(bytearray(SECRET), "must be bytes, or text", id="bytearray"),
        pytest.param(memoryview(SECRET), "must be bytes, or text", id="memoryview"),
        pytest.param([SECRET], "must be bytes, or text", id="list"),
    ],
)
def test_a_secret_that_is_none_is_refused_with_advice(secret: Any, words: str) -> None:
    """C12"""
    refused(lambda: Key.from_secret(secret), words)


@pytest.mark.parametrize("secret", [SECRET, SECRET * 32, "\u20ac" * 3 + "0123456789abcdefghijklmn", bytes(range(10)) * 4], ids=repr)
def test_a_secret_is_used_as_it_is(suite: Suite, secret: bytes | str) -> None:
    key = Key.from_secret(secret, suite=suite)
    raw = secret.encode() if isinstance(secret, str) else secret
    assert (key.id, key.suite) == (reference.key_id(raw, suite).hex(), suite)
    assert key.export() == reference.export(raw, suite)
    assert Key.parse(key.export()).id == key.id


@pytest.mark.parametrize(
    ("phrase", "salt", "words"),
    [
        ("correct horse battery", b"", "the salt must be 16 bytes; make one with secrets.token_bytes(16) and keep it"),
        ("correct horse battery", b"x" * 15, "the salt must be 16 bytes"),
        ("correct horse battery", b"x" * 17, "the salt must be 16 bytes"),
        ("correct horse battery", "x" * 16, "the salt must be 16 bytes"),
        ("correct horse battery", None, "the salt must be 16 bytes"),
        ("short", b"x" * 16, "the passphrase must be a str of 8 to 1,024 characters"),
        ("1234567", b"x" * 16, "the passphrase must be a str of 8 to 1,024 characters"),
        ("x" * 1025, b"x" * 16, "the passphrase must be a str of 8 to 1,024 characters"),
        (b"correct horse battery", b"x" * 16, "the passphrase must be a str of 8 to 1,024 characters"),
        (None, b"x" * 16, "the passphrase must be a str of 8 to 1,024 characters"),
        ("correct horse \ud800", b"x" * 16, "the passphrase must be text that UTF-8 can carry"),
        (TEXT, b"x" * 16, "this is an exported key (csk1_…), not a passphrase: give it to Key.parse"),
        (f"'{TEXT}'", b"x" * 16, "this is an exported key (csk1_…), not a passphrase: give it to Key.parse"),
    ],
)
def test_a_passphrase_and_its_salt_are_checked(phrase: Any, salt: Any, words: str) -> None:
    refused(lambda: Key.from_passphrase(phrase, salt=salt), words)


@pytest.mark.parametrize("error", [MemoryError, nacl.exceptions.RuntimeError])
def test_argon2id_without_its_memory_says_so(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("nacl.pwhash.argon2id.kdf", fail)
    refused(lambda: Key.from_passphrase("correct horse battery", salt=bytes(16)), "Argon2id could not have its 64 MiB of memory")


@pytest.mark.parametrize("suite", [1, 2, 0, "XAES_256_GCM", None, Suite])
def test_a_suite_is_a_member_of_suite(suite: Any) -> None:
    for make in (
        lambda: Key.generate(suite),
        lambda: Key.from_secret(SECRET, suite=suite),
        lambda: Key.from_passphrase("correct horse battery", salt=bytes(16), suite=suite),
    ):
        refused(make, "suite must be one of XAES_256_GCM, XCHACHA20_POLY1305 of clientsession.Suite")


def test_a_key_is_made_by_name() -> None:
    with pytest.raises(TypeError, match=r"make a key with Key\.generate\(\), Key\.parse"):
        Key()
    with pytest.raises(TypeError, match=r"make a key with Key\.generate\(\), Key\.parse"):
        Key(TEXT)


@pytest.mark.parametrize(
    "thing", [None, TEXT, SECRET, 7, [], {}, [Key.from_secret(SECRET)], Suite.XAES_256_GCM], ids=lambda x: type(x).__name__
)
def test_a_ring_is_made_of_keys(key: Key, thing: Any) -> None:
    """C11"""
    refused(
        lambda: Keyring(thing),
        "a ring needs a key that seals" if thing is None else f"sealing takes Key objects, not {type(thing).__name__}",
    )
    for role in ("accepting", "retiring"):
        refused(
            lambda role=role: Keyring(key, **{role: [thing]}),
            f"{role} takes Key objects, not {type(thing).__name__}; make one with Key.parse(text)",
        )


@pytest.mark.parametrize("role", ["accepting", "retiring"])
@pytest.mark.parametrize("thing", [TEXT, SECRET, "", Key.from_secret(OTHER_SECRET)], ids=["text", "bytes", "empty", "key"])
def test_other_keys_come_in_a_list(key: Key, role: str, thing: Any) -> None:
    refused(lambda: Keyring(key, **{role: thing}), f"{role} takes a list of keys: write {role}=[key]")


def test_a_ring_needs_a_sealing_key(key: Key) -> None:
    """C11"""
    for make in (Keyring, lambda: Keyring(accepting=[key])):
        refused(make, "a ring needs a key that seals: write Keyring(key)")
    for make in (lambda: Keyring(key, Key.generate()), lambda: Keyring(sealing=key)):
        with pytest.raises(TypeError):
            make()
    refused(lambda: Keyring([]), "sealing takes Key objects, not list")


def test_no_two_keys_of_a_ring_have_one_id(key: Key) -> None:
    """C11"""
    words = f"the key {key.id} stands in the ring twice; remove one"
    same, other = Key.from_secret(SECRET), Key.from_secret(OTHER_SECRET)
    refused(lambda: Keyring(key, accepting=[key]), words)
    refused(lambda: Keyring(key, retiring=[same]), words)
    refused(lambda: Keyring(other, accepting=[key], retiring=[same]), words)
    refused(lambda: Keyring(other, accepting=[key, same]), words)
    assert Keyring(key, accepting=[Key.from_secret(SECRET, suite=Suite.XCHACHA20_POLY1305)]).sealing is key


def test_the_roles_of_a_ring_are_named(key: Key, clock: Clock) -> None:
    next_, old = Key.generate(), Key.generate(Suite.XCHACHA20_POLY1305)
    ring = Keyring(key, accepting=iter([next_]), retiring=(each for each in [old]))
    assert (ring.sealing, ring.accepting, ring.retiring) == (key, (next_,), (old,))
    assert repr(ring) == f"<Keyring sealing {key.id}, accepting [{next_.id}], retiring [{old.id}]>"
    codec = Codec(ring, "x", clock=clock)
    for sealing in (key, next_, old):
        assert codec.decode(Codec(Keyring(sealing), "x", clock=clock).encode({"a": 1})).key_id == sealing.id
    assert codec.decode(codec.encode({})).key_id == key.id


@pytest.mark.parametrize("thing", [None, TEXT, SECRET, [], Key.from_secret(SECRET), {}], ids=lambda thing: type(thing).__name__)
def test_a_codec_and_a_jar_take_a_ring(thing: Any) -> None:
    refused(lambda: Codec(thing, "x"), "the keyring must be a Keyring: write Keyring(key)")
    refused(lambda: Jar("x", thing), "the keyring must be a Keyring: write Keyring(key)")


# The environment


VARIABLES = ("CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS")


@pytest.fixture
def setenv(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)

    def setenv(*values: str | None) -> None:
        for variable, value in zip(VARIABLES, values, strict=False):
            if value is None:
                monkeypatch.delenv(variable, raising=False)
            else:
                monkeypatch.setenv(variable, value)

    return setenv


def test_a_ring_comes_from_the_environment(setenv: Callable[..., None]) -> None:
    keys = [Key.generate(suite) for suite in Suite for _ in range(3)]
    texts = [key.export() for key in keys]
    setenv(texts[0])
    ring = Keyring.from_env()
    assert (ring.sealing.id, ring.accepting, ring.retiring) == (keys[0].id, (), ())
    setenv(texts[0], f" {texts[1]}\n{texts[2]}\t ", "   ".join(texts[3:]))
    ring = Keyring.from_env()
    assert [key.id for key in ring.accepting] == [keys[1].id, keys[2].id]
    assert [key.id for key in ring.retiring] == [key.id for key in keys[3:]]
    setenv(texts[0], "", " \n")
    assert Keyring.from_env().accepting == Keyring.from_env().retiring == ()


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_says_how_to_make_a_key(setenv: Callable[..., None], value: str | None) -> None:
    setenv(value)
    message = refused(Keyring.from_env, "CLIENTSESSION_KEY is not set. Make a key with `clientsession keygen`")
    assert "export CLIENTSESSION_KEY=csk1_…" in message


def test_one_line_feed_after_the_key_is_taken_and_nothing_else(setenv: Callable[..., None], key: Key) -> None:
    """C18"""
    setenv(TEXT + "\n")
    assert Keyring.from_env().sealing.id == key.id
    for value in (
        TEXT + "\n\n",
        TEXT + "\r\n",
        TEXT + " ",
        TEXT + "\n ",
        "\n" + TEXT,
        " " + TEXT,
        "\n",
        f'"{TEXT}"',
        f"{TEXT} {TEXT}",
    ):
        setenv(value)
        refused(Keyring.from_env, "CLIENTSESSION_KEY: ")


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("secret", "it must start with csk1_"),
        (TEXT[:-1], "the text of the key"),
        (TEXT[:-2] + "AA", "the checksum"),
        (reference.export(SECRET, 9), "suite 9"),
        ("csk1_\udcff", "has a wrong character"),
    ],
)
def test_the_variable_at_fault_is_named(setenv: Callable[..., None], index: int, value: str, words: str) -> None:
    values = [Key.generate().export() for _ in VARIABLES]
    values[index] = value
    setenv(*values)
    message = refused(Keyring.from_env, f"{VARIABLES[index]}: ")
    assert words in message or "has a wrong character or was cut" in message or "the checksum" in message
    if index:
        values[index] = f"{Key.generate().export()} {value}"
        setenv(*values)
        refused(Keyring.from_env, f"{VARIABLES[index]}: ")


def test_one_key_in_two_variables_is_refused(setenv: Callable[..., None], key: Key) -> None:
    setenv(TEXT, None, TEXT)
    refused(Keyring.from_env, f"the key {key.id} stands in the ring twice")


# Clocks


@pytest.mark.parametrize("seconds", [1_800_000_000, 1_800_000_000.0, 1_800_000_000.4567, 0, 0.0, 253_000_000_000])
def test_a_clock_answers_with_an_int_or_a_float(ring: Keyring, seconds: float) -> None:
    """A16"""
    codec = Codec(ring, "x", clock=lambda: seconds)
    session = codec.decode(codec.encode({"a": 1}))
    assert session.created_at == datetime.fromtimestamp(math.floor(seconds * 1000) / 1000, UTC)
    assert session.expires_at == session.created_at + DAY


@pytest.mark.parametrize(
    "seconds",
    [
        *(math.nan, math.inf, -math.inf, -1, -0.001, 1e300, 253_402_300_800, 1_800_000_000_000, 10**30, 10**400, -(10**400)),
        *(None, "1800000000", b"1", [], Decimal(1_800_000_000), Fraction(1), 1j, NOW, timedelta(1)),
    ],
    ids=lambda seconds: repr(seconds)[:30],
)
def test_a_clock_that_gives_no_time_is_told_so(ring: Keyring, clock: Clock, seconds: Any) -> None:
    """A16"""
    token = Codec(ring, "x", clock=clock).encode({"a": 1})
    clock.now = seconds
    codec, jar = Codec(ring, "x", clock=clock), Jar("x", ring, clock=clock)
    for use in (
        lambda: codec.encode({}),
        lambda: codec.decode(token),
        lambda: Sessions([jar], None)["x"],
        lambda: Sessions([jar], "x=7")["x"],
    ):
        refused(use, "the clock must answer, as time.time does, with the seconds since 1970-01-01T00:00Z")


@pytest.mark.parametrize("clock", [None, 1_800_000_000, "now", datetime.now(UTC)])
def test_a_clock_is_a_function(ring: Keyring, clock: Any) -> None:
    for make in (lambda: Codec(ring, "x", clock=clock), lambda: Jar("x", ring, clock=clock)):
        refused(make, "clock must be a function that answers with seconds, as time.time")


def test_an_error_of_the_clock_is_the_application_s(ring: Keyring) -> None:
    def clock() -> float:
        raise OSError("no clock")

    jar = Jar("x", ring, clock=clock)
    for use in (lambda: jar.codec.encode({}), lambda: Sessions([jar], None)["x"]):
        with pytest.raises(OSError, match="no clock"):
            use()


# Serializers


class Spelled:
    """Another serializer: JSON with spaces and an indent."""

    def dumps(self, value: dict[str, Any]) -> bytes:
        return json.dumps(value, indent=1).encode()

    def loads(self, body: bytes) -> dict[str, Any]:
        return json.loads(body)


@pytest.mark.parametrize(
    "serializer",
    [7, "json", pickle.dumps, object(), Spelled().dumps, dataclasses.make_dataclass("Half", ["dumps"])(len), {}, []],
    ids=lambda serializer: type(serializer).__name__,
)
def test_a_serializer_has_dumps_and_loads(ring: Keyring, serializer: Any) -> None:
    for make in (lambda: Codec(ring, "x", serializer=serializer), lambda: Jar("x", ring, serializer=serializer)):
        refused(make, "serializer must have dumps(dict) -> bytes and loads(bytes) -> dict")


def test_another_serializer_writes_and_reads_the_body(suite: Suite, clock: Clock) -> None:
    codec = Codec(Keyring(Key.from_secret(SECRET, suite=suite)), "x", serializer=Spelled(), clock=clock)
    token = codec.encode({"a": (1, 2)})
    plaintext = reference.open(SECRET, suite, "token", "x", "", token)
    assert plaintext is not None
    assert plaintext[13:] == json.dumps({"a": [1, 2]}, indent=1).encode()
    assert codec.decode(token) == {"a": [1, 2]}


class Scripted:
    """A serializer that answers as it is told; an exception is raised."""

    def __init__(self, dumps: object = b"{}", loads: object = None) -> None:
        self.answers = {"dumps": dumps, "loads": {} if loads is None else loads}

    def answer(self, name: str) -> Any:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def dumps(self, value: dict[str, Any]) -> Any:
        return self.answer("dumps")

    def loads(self, body: bytes) -> Any:
        return self.answer("loads")


@pytest.mark.parametrize("body", ["{}", bytearray(b"{}"), memoryview(b"{}"), None, 7, {}], ids=lambda body: type(body).__name__)
def test_a_serializer_s_dumps_gives_bytes(ring: Keyring, body: Any) -> None:
    codec = Codec(ring, "x", serializer=Scripted(dumps=body))
    with pytest.raises(SerializationError, match=rf"^Scripted\.dumps must return bytes, not {type(body).__name__}$"):
        codec.encode({"a": 1})


@pytest.mark.parametrize("content", [[], "{}", 7, [("a", 1)], Session], ids=lambda content: type(content).__name__)
def test_a_serializer_s_loads_gives_a_dict_or_the_token_is_malformed(ring: Keyring, clock: Clock, content: Any) -> None:
    codec = Codec(ring, "x", serializer=Scripted(loads=content), clock=clock)
    token = codec.encode({"a": 1})
    with pytest.raises(MalformedTokenError):
        codec.decode(token)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("MARK"),
        json.JSONDecodeError("MARK", "MARK", 0),
        UnicodeDecodeError("utf-8", b"MARK", 0, 1, "MARK"),
        RecursionError("MARK"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_serializer_cannot_read_is_malformed(ring: Keyring, clock: Clock, error: Exception) -> None:
    jar = Jar("x", ring, serializer=Scripted(loads=error), clock=clock)
    token = jar.codec.encode({"a": 1})
    with pytest.raises(MalformedTokenError) as caught:
        jar.codec.decode(token)
    assert "MARK" not in str(caught.value)
    assert caught.value.__context__ is None
    assert Sessions([jar], f"x={token}")["x"].refusal is Reason.MALFORMED


@pytest.mark.parametrize(
    "error",
    [TypeError("MARK"), ValueError("MARK"), RecursionError("MARK"), UnicodeEncodeError("utf-8", "MARK", 0, 1, "MARK")],
    ids=lambda error: type(error).__name__,
)
def test_what_a_serializer_cannot_write_is_named_by_type_alone(ring: Keyring, clock: Clock, error: Exception) -> None:
    codec = Codec(ring, "x", serializer=Scripted(dumps=error), clock=clock)
    with pytest.raises(
        SerializationError, match=rf"^the session 'x' cannot be sealed: Scripted raised {type(error).__name__}$"
    ) as caught:
        codec.encode({"a": "MARK"})
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "error",
    [KeyError("k"), AttributeError("a"), OverflowError("o"), ZeroDivisionError("z"), RuntimeError("r")],
    ids=lambda error: type(error).__name__,
)
def test_after_any_error_of_a_serializer_commit_answers_for_the_other_jars(ring: Keyring, clock: Clock, error: Exception) -> None:
    jars = [Jar("bad", ring, serializer=Scripted(dumps=error), clock=clock), Jar("good", ring, clock=clock)]
    sessions = Sessions(jars, None)
    sessions["bad"]["a"] = 1
    sessions["good"]["a"] = 1
    with pytest.raises((type(error), SerializationError)):
        sessions.commit()
    assert [cookie.partition("=")[0] for cookie in sessions.commit()] == ["good"]


# Codecs, jars and sessions together


@pytest.mark.parametrize("size", [77, 0, -1, 65_537, 10**9, 4096.0, "4096", None, True])
def test_a_codec_s_limit_is_an_int_in_range(ring: Keyring, size: Any) -> None:
    refused(lambda: Codec(ring, "x", max_size=size), "max_size must be an int from 78 to 65,536")


@pytest.mark.parametrize("size", [78, 4096, 65_536])
def test_a_codec_s_limit_holds_for_writing_and_reading(ring: Keyring, clock: Clock, size: int) -> None:
    codec, larger = Codec(ring, "x", max_size=size, clock=clock), Codec(ring, "x", max_size=65_536, clock=clock)
    length = max(0, size * 3 // 4 - 58 - len('{"a":""}'))
    content = {"a": "y" * length} if length else {}
    token = codec.encode(content)
    assert size - 1 <= len(token) <= size
    assert codec.decode(token) == content
    with pytest.raises(SessionTooLargeError, match=f"more than the limit of {size:,}"):
        codec.encode({"a": "y" * (length + 1)})
    if size < 65_536:
        with pytest.raises(MalformedTokenError):
            codec.decode(larger.encode({"a": "y" * (length + 1)}))


def test_jars_have_names_and_cookie_names_of_their_own(ring: Keyring) -> None:
    """C14"""
    for make in (lambda jars: Sessions(jars, None), lambda jars: SessionMiddleware(lambda *_: [], jars)):
        refused(lambda make=make: make([Jar("a", ring), Jar("a", ring, cookie_name="b")]), "two jars are named 'a': rename one")
        refused(lambda make=make: make([Jar("a", ring), Jar("b", ring, cookie_name="a")]), "two jars have the cookie name 'a'")
        refused(lambda make=make: make([]), "at least one Jar is needed")
        refused(lambda make=make: make(["session"]), "jars must be a list of Jar objects, not of str")
        refused(lambda make=make: make([Jar("a", ring), Codec(ring, "b")]), "jars must be a list of Jar objects, not of Codec")
        assert make([Jar("a", ring), Jar("A", ring), Jar("b", ring, cookie_name="B")])


@pytest.mark.parametrize("header", [b"session=x", 7, ["session=x"], ("a", "b"), {}])
def test_a_cookie_header_is_a_str_or_none(ring: Keyring, header: Any) -> None:
    with pytest.raises(TypeError, match="cookie_header must be a str or None, not"):
        Sessions([Jar("x", ring)], header)


@pytest.mark.parametrize(
    "name", ["path", "cookies", "environ", "GET", "session_", "_session", "__class__", "two words", "a-b", "7", "class", "None"]
)
def test_a_jar_s_name_is_a_free_attribute_of_requests(ring: Keyring, name: str) -> None:
    jar = Jar(name, ring, cookie_name="x")
    if name == "session_":
        assert SessionMiddleware(lambda *_: [], [jar])
    else:
        message = refused(
            lambda: SessionMiddleware(lambda *_: [], [jar]), f"the jar name {name!r} cannot be an attribute of a request"
        )
        assert f'cookie_name="{name}"' in message


@pytest.mark.parametrize("app", [None, "app", 7, []])
def test_a_middleware_is_around_an_application(ring: Keyring, app: Any) -> None:
    refused(lambda: SessionMiddleware(app, [Jar("x", ring)]), f"app must be a WSGI application, not {type(app).__name__}")


@pytest.mark.parametrize("observer", [7, "print", []])
def test_an_observer_is_a_function(ring: Keyring, observer: Any) -> None:
    refused(lambda: Jar("x", ring, observer=observer), "observer must be a function that takes an event")


@pytest.mark.parametrize(
    ("make", "typo"),
    [
        (lambda ring, **options: Jar("x", ring, **options), "htttponly"),
        (lambda ring, **options: Jar("x", ring, **options), "sameSite"),
        (lambda ring, **options: Jar("x", ring, **options), "expires"),
        (lambda ring, **options: Jar("x", ring, **options), "max_size"),
        (lambda ring, **options: Codec(ring, "x", **options), "activeDuration"),
        (lambda ring, **options: Codec(ring, "x", **options), "secure"),
        (lambda ring, **options: Codec(ring, "x").encode({}, **options), "ephemeral"),
        (lambda ring, **options: Keyring(ring.sealing, **options), "accept"),
        (lambda ring, **options: Key.from_secret(SECRET, **options), "salt"),
        (lambda ring, **options: Key.from_passphrase("correct horse", salt=bytes(16), **options), "passes"),
        (lambda ring, **options: Key.generate(**options), "bits"),
        (lambda ring, **options: SessionMiddleware(lambda *_: [], [Jar("x", ring)], **options), "secure"),
        (lambda ring, **options: Sessions([Jar("x", ring)], None, **options), "header"),
    ],
)
def test_an_unknown_keyword_is_a_type_error(ring: Keyring, make: Callable[..., object], typo: str) -> None:
    """C13"""
    with pytest.raises(TypeError, match=typo):
        make(ring, **{typo: True})


@pytest.mark.parametrize(
    "make",
    [
        lambda ring: Jar("x", ring, DAY),
        lambda ring: Codec(ring, "x", DAY),
        lambda ring: Key.from_secret(SECRET, Suite.XAES_256_GCM),
        lambda ring: Key.from_passphrase("correct horse", bytes(16)),
        lambda ring: Codec(ring, "x").encode({}, DAY),
    ],
)
def test_options_are_given_by_name(ring: Keyring, make: Callable[[Keyring], object]) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        make(ring)


def attributes_of(thing: object) -> list[str]:
    own = {
        name for kind in type(thing).__mro__ for name in (*getattr(kind, "__slots__", ()), *getattr(kind, "__annotations__", ()))
    }
    return sorted(own | set(getattr(thing, "__dict__", ())) | {"anything_else"})


@pytest.mark.parametrize(
    "make",
    [
        lambda ring: ring.sealing,
        lambda ring: ring,
        lambda ring: Codec(ring, "x"),
        lambda ring: Jar("x", ring),
        lambda ring: Jar("x", ring).codec,
    ],
    ids=["key", "ring", "codec", "jar", "codec-of-a-jar"],
)
def test_configuration_does_not_change(ring: Keyring, make: Callable[[Keyring], Any]) -> None:
    """C17"""
    thing = make(ring)
    before = {name: getattr(thing, name) for name in attributes_of(thing) if hasattr(thing, name)}
    assert len(before) >= 3
    for name in attributes_of(thing):
        with pytest.raises(AttributeError, match=r"a \w+ does not change: make another one"):
            setattr(thing, name, None)
        with pytest.raises(AttributeError, match=r"a \w+ does not change: make another one"):
            delattr(thing, name)
    assert all(getattr(thing, name) is value for name, value in before.items())
    assert copy.copy(thing) is copy.deepcopy(thing) is thing
    with pytest.raises(TypeError, match="is not pickled"):
        pickle.dumps(thing)


def test_the_key_s_id_and_suite_and_the_ring_s_roles_do_not_change(ring: Keyring) -> None:
    """C17"""
    for thing, name in ((ring.sealing, "id"), (ring.sealing, "suite"), (ring, "sealing"), (ring, "accepting"), (ring, "retiring")):
        with pytest.raises(AttributeError):
            setattr(thing, name, None)
    assert type(ring.accepting) is type(ring.retiring) is tuple


def test_an_event_does_not_change(ring: Keyring, clock: Clock) -> None:
    """C17"""
    events: list[Event] = []
    sent_by(Jar("x", ring, clock=clock, observer=events.append))
    (event,) = events
    for name in ("kind", "jar", "reason", "key_id", "size"):
        with pytest.raises(AttributeError):
            setattr(event, name, None)


def test_a_list_that_was_handed_over_may_change_afterwards(key: Key, clock: Clock) -> None:
    """C17"""
    accepting = [Key.generate()]
    ring = Keyring(key, accepting=accepting)
    jars = [Jar("x", ring, clock=clock)]
    sessions, middleware = Sessions(jars, None), SessionMiddleware(lambda environ, start: [*get_sessions(environ)], jars)
    accepting.clear()
    jars.append(Jar("y", ring))
    assert len(ring.accepting) == 1
    assert list(sessions) == ["x"]
    assert middleware({}, lambda *_: None) == ["x"]


def test_a_session_s_times_and_origin_are_read_only(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "x", clock=clock)
    session = codec.decode(codec.encode({"a": 1}))
    for name in ("created_at", "expires_at", "is_new", "key_id", "refusal", "ephemeral", "id", "anything_else"):
        with pytest.raises(AttributeError):
            setattr(session, name, None)


def test_where_a_name_belongs_a_type_and_the_use_of_a_key_are_told(ring: Keyring) -> None:
    refused(lambda: Codec(ring, 7), "must be a str, not int")  # type: ignore[arg-type]
    refused(lambda: Codec(ring, TEXT), "it goes into Key.parse")
    refused(lambda: Jar(TEXT, ring), "it goes into Key.parse")


@pytest.mark.parametrize("pad_to", [2, 3, 1024])
def test_both_ends_of_what_a_body_is_filled_to_are_taken(ring: Keyring, pad_to: int) -> None:
    codec = Codec(ring, "x", pad_to=pad_to)
    assert codec.decode(codec.encode({"a": 1})) == {"a": 1}
