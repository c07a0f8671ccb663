"""Set-Cookie as it is written. The Cookie header stands in test_hostile_headers.py, what is refused in test_configuration.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import ConfigurationError, Jar, Keyring
from clientsession._cookies import MAX_COOKIE_BYTES, find_cookies, find_values
from tests.conftest import Client


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"secure": False, "httponly": False}, "; Max-Age=86400; Path=/; SameSite=Lax"),
        ({"samesite": "STRICT", "path": "/a/~b:c"}, "; Max-Age=86400; Path=/a/~b:c; Secure; HttpOnly; SameSite=Strict"),
        ({"samesite": "none", "partitioned": True}, "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"),
        ({"domain": "a-b.example.com"}, "; Max-Age=86400; Path=/; Domain=a-b.example.com; Secure; HttpOnly; SameSite=Lax"),
        ({"ephemeral": True}, "; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"max_age": timedelta(seconds=5)}, "; Max-Age=5; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"cookie_name": "__Host-a"}, "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"cookie_name": "__Host-Http-a"}, "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"),
    ],
)
def test_a_cookie_is_set_and_deleted_with_the_attributes_of_its_jar(
    ring: Keyring, options: dict[str, Any], attributes: str
) -> None:
    jar = Jar("session", ring, **options)
    client = Client(jar)
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    assert client.set_cookies == [f"{jar.cookie_name}={client.cookies[jar.cookie_name]}{attributes}"]
    with client.visit() as sessions:
        sessions["session"].destroy()
    fixed = attributes[attributes.index("; Path") :]
    assert client.set_cookies == [f"{jar.cookie_name}=; Max-Age=0{fixed}"]


def test_cookies_are_found_by_name_in_order() -> None:
    header = "a=1; b=2;a=3 ;\ta\t=\t4; A=5; aa=6; a; =a=7; a="
    assert find_cookies(header, {"a", "b", "c"}) == {"a": ["1", "3", "4", ""], "b": ["2"]}


PIECES = st.sampled_from([";", "=", " ", "\t", "a", "aa", "b", "a=", ";a=", "; a =1", '"', "a;", ",", "\x00", "é"])


@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["a", "aa", "b"]))
def test_one_cookie_is_found_as_all_of_them_are(header: str, name: str) -> None:
    assert find_values(header, name) == find_cookies(header, {name}).get(name, [])


def test_a_domain_of_253_characters_is_the_longest(ring: Keyring) -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(longest) == 253
    assert Jar("session", ring, domain=longest).domain == longest
    with pytest.raises(ConfigurationError, match="domain must be a host name"):
        Jar("session", ring, domain=longest + "d")


def test_a_cookie_has_at_most_4096_bytes_of_name_and_value(ring: Keyring) -> None:
    assert Jar("session", ring).codec.max_size == MAX_COOKIE_BYTES == 4096


def test_a_value_may_have_equals_signs_and_only_spaces_and_tabs_are_stripped() -> None:
    header = "a=1=2; b\x0b=3;b=\xa04\x0b; a \t= \t5=\t "
    for name, values in (("a", ["1=2", "5="]), ("b", ["\xa04\x0b"])):
        assert find_values(header, name) == values
        assert find_cookies(header, {"a", "b"})[name] == values
    assert find_values("XaX=XvX", "XaX") == find_cookies("XaX=XvX", {"XaX"})["XaX"] == ["XvX"]
    assert find_values("XaX=XvX", "a") == find_cookies("XaX=XvX", {"a"}).get("a", []) == []


def test_a_cookie_without_max_age_has_its_value_and_its_attributes_alone(ring: Keyring) -> None:
    set_cookie = Jar("session", ring)._set_cookie
    assert set_cookie.value("token", None) == "session=token; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert set_cookie.value("token", 5) == "session=token; Max-Age=5; Path=/; Secure; HttpOnly; SameSite=Lax"


class Searched(str):
    """A header that counts how often it is searched."""

    searches = 0

    def find(self, *wanted: Any) -> int:
        self.searches += 1
        return super().find(*wanted)


def test_a_header_is_searched_a_few_times_however_often_the_name_stands_in_it() -> None:
    header = Searched("; ".join(f"session={n}" for n in range(1000)))
    assert find_values(header, "session") == [str(n) for n in range(1000)]
    assert 0 < header.searches < 100
