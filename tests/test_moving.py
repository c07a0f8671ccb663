"""A cookie that moves house: another path or domain, and nobody is locked out by the one that stays behind."""

from __future__ import annotations

from typing import Any

import pytest

from clientsession import ConfigurationError, Jar, Key, Keyring, Reason, Sessions
from tests.conftest import cookie_of

RING = Keyring(Key.generate())
OLD = Jar("session", RING, path="/shop")
NEW = Jar("session", RING, former_scopes=[("/shop", None)])
GONE = "session=; Max-Age=0; Path=/shop; Secure; HttpOnly; SameSite=Lax"


class Browser:
    """Keeps a cookie for each path and domain, as RFC 6265bis, 5.7 has it, and sends all of one host."""

    def __init__(self) -> None:
        self.cookies: dict[tuple[str, str, str], str] = {}

    def header(self) -> str | None:
        """Longer paths first (RFC 6265bis, 5.8.3)."""
        ordered = sorted(self.cookies.items(), key=lambda item: -len(item[0][1]))
        return "; ".join(f"{name}={value}" for (name, _, _), value in ordered) or None

    def keep(self, set_cookies: list[str]) -> None:
        for value in set_cookies:
            name, _, token = cookie_of(value).partition("=")
            attributes = dict(part.partition("=")[::2] for part in value.split("; ")[1:])
            place = name, attributes["Path"], attributes.get("Domain", "host only")
            if attributes.get("Max-Age") == "0":
                self.cookies.pop(place, None)
            else:
                self.cookies[place] = token

    def visit(self, jar: Jar, **changes: Any) -> dict[str, Any]:
        """One request that writes these keys; what the handler found."""
        sessions = Sessions([jar], self.header())
        found = dict(sessions["session"])
        sessions["session"] |= changes
        self.keep(sessions.commit())
        return found


def sealed(**content: Any) -> str:
    return f"session={NEW.codec.encode(content)}"


def test_cookies_of_former_scopes_are_deleted_where_several_came() -> None:
    sessions = Sessions([NEW], f"{sealed(user=7)}; {sealed(user=8)}")
    assert sessions["session"].refusal is Reason.AMBIGUOUS
    assert sessions.commit() == [GONE]


def test_where_one_of_several_opens_a_read_changes_nothing_and_a_write_clears_up() -> None:
    header = f"{sealed(user=7)}; session=junk"
    sessions = Sessions([NEW], header)
    assert sessions["session"] == {"user": 7}
    assert sessions.commit() == [], "the one that opened may live in the former place"
    sessions = Sessions([NEW], header)
    sessions["session"]["user"] = 8
    gone, own = sessions.commit()
    assert gone == GONE
    assert Sessions([NEW], cookie_of(own))["session"] == {"user": 8}


def test_where_none_opens_nothing_is_deleted() -> None:
    """Another server may have the key: what is refused is left where it is."""
    sessions = Sessions([NEW], "session=junk; session=more")
    assert sessions["session"].refusal is Reason.MALFORMED
    assert sessions.commit() == []


def test_more_than_may_be_opened_are_cleared() -> None:
    sessions = Sessions([NEW], "; ".join(sealed(user=number) for number in range(5)))
    assert sessions["session"].refusal is Reason.AMBIGUOUS
    assert sessions.commit() == [GONE]


def test_the_same_value_twice_is_one_session() -> None:
    cookie = sealed(user=7)
    sessions = Sessions([NEW], f"{cookie}; {cookie}")
    assert sessions["session"] == {"user": 7}
    assert sessions.commit() == []


def test_one_cookie_that_is_only_read_is_left_alone() -> None:
    sessions = Sessions([NEW], sealed(user=7))
    assert sessions["session"] == {"user": 7}
    assert sessions.commit() == []


def test_a_jar_that_is_not_used_deletes_nothing() -> None:
    assert Sessions([NEW], f"{sealed(user=7)}; {sealed(user=8)}").commit() == []


def test_a_first_visit_deletes_nothing() -> None:
    sessions = Sessions([NEW], None)
    sessions["session"]["user"] = 7
    assert len(sessions.commit()) == 1


def test_a_jar_without_former_scopes_deletes_nothing_but_its_own() -> None:
    sessions = Sessions([Jar("session", RING)], f"{sealed(user=7)}; {sealed(user=8)}")
    assert sessions["session"].is_new
    assert sessions.commit() == []


def test_the_deletions_stand_before_the_cookie_with_the_attributes_of_the_jar() -> None:
    jar = Jar(
        "session",
        RING,
        domain="example.com",
        samesite="None",
        partitioned=True,
        former_scopes=[("/", None), ("/shop", "www.example.com")],
    )
    sessions = Sessions([jar], sealed(user=7))
    sessions["session"]["user"] = 8
    first, second, own = sessions.commit()
    assert first == "session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
    assert second == "session=; Max-Age=0; Path=/shop; Domain=www.example.com; Secure; HttpOnly; SameSite=None; Partitioned"
    assert own.startswith("session=A")
    assert "; Path=/; Domain=example.com; " in own


def test_a_user_whose_cookie_lived_elsewhere_stays_signed_in_through_reads_and_writes() -> None:
    browser = Browser()
    browser.visit(OLD, user=7, visits=1)
    for number in range(1, 6):
        assert browser.visit(NEW, visits=number + 1) == {"user": 7, "visits": number}
        assert [place[1] for place in browser.cookies] == ["/"], "the write that set the new one cleared the old one away"


def test_a_user_who_signs_out_is_signed_out_of_the_former_scope_too() -> None:
    browser = Browser()
    browser.visit(OLD, user=7)
    sessions = Sessions([NEW], browser.header())
    sessions["session"].destroy()
    browser.keep(sessions.commit())
    assert browser.cookies == {}


def test_a_user_who_had_both_is_back_after_one_request() -> None:
    browser = Browser()
    browser.visit(OLD, user=7)
    moved_without_a_word = Jar("session", RING)
    browser.visit(moved_without_a_word, user=7)
    old, new = (Browser() for _ in range(2))
    old.visit(OLD, user=1)
    new.visit(moved_without_a_word, user=2)
    browser.cookies = old.cookies | new.cookies
    assert browser.visit(moved_without_a_word) == browser.visit(moved_without_a_word) == {}, "locked out, without former_scopes"
    assert browser.visit(NEW) == {}
    assert browser.visit(NEW) == {"user": 2}


@pytest.mark.parametrize("junk", ["junk", "another site's"])
def test_a_user_whose_new_place_holds_junk_keeps_the_session_of_the_former_one(junk: str) -> None:
    browser = Browser()
    browser.visit(OLD, user=7)
    value = junk if junk == "junk" else Jar("session", Keyring(Key.generate())).codec.encode({"user": 8})
    browser.cookies["session", "/", "host only"] = value
    for _ in range(3):
        assert browser.visit(NEW) == {"user": 7}
    assert browser.visit(NEW, seen=1) == {"user": 7}
    assert browser.visit(NEW) == {"user": 7, "seen": 1}
    assert [place[1] for place in browser.cookies] == ["/"]


@pytest.mark.parametrize("place", [("session", "/", "example.com"), ("session", "/", "host only")], ids=str)
def test_junk_that_stays_makes_no_read_a_write_so_that_a_slow_one_undoes_no_sign_out(place: tuple[str, str, str]) -> None:
    browser = Browser()
    browser.visit(OLD, user=7)
    browser.cookies[place] = "junk"
    for _ in range(3):
        sessions = Sessions([NEW], browser.header())
        assert sessions["session"] == {"user": 7}
        assert sessions.commit() == []


def test_former_scopes_of_a_domain_and_of_the_host_alone_are_told_apart() -> None:
    wide = Jar("session", RING, domain="example.com")
    narrow = Jar("session", RING, former_scopes=[("/", "example.com")])
    browser = Browser()
    browser.visit(wide, user=7)
    assert browser.visit(narrow, seen=True) == {"user": 7}
    assert list(browser.cookies) == [("session", "/", "host only")]
    assert browser.visit(narrow) == {"user": 7, "seen": True}


def test_what_could_not_be_sealed_deletes_nothing() -> None:
    sessions = Sessions([NEW], f"{sealed(user=7)}; session=junk")
    sessions["session"]["when"] = object()
    with pytest.raises(ValueError, match="cannot be sealed"):
        sessions.commit()
    assert sessions.commit() == []


@pytest.mark.parametrize(
    ("scopes", "message"),
    [
        ("/shop", "must be a list of"),
        (7, "must be a list of"),
        (["/shop"], "must be a list of"),
        ([("/shop",)], "must be a list of"),
        ([["/shop", None]], "must be a list of"),
        ([("/shop", None, 1)], "must be a list of"),
        ([(None, None)], "must be a list of"),
        ([("/shop", 7)], "must be a list of"),
        ([("/", None)], "remove that pair"),
        ([("/a", None), ("/a", None)], "remove that pair"),
        ([("/a", "Example.com"), ("/a", "example.COM")], "remove that pair"),
        ([("shop", None)], "former_scopes: path must start with /"),
        ([("/", ".example.com")], "former_scopes: domain must be a host name"),
        ([(f"/{n}", None) for n in range(9)], "8 pairs at most"),
    ],
    ids=str,
)
def test_former_scopes_are_pairs_of_path_and_domain(scopes: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Jar("session", RING, former_scopes=scopes)


def test_a_host_only_cookie_name_has_no_former_scopes() -> None:
    with pytest.raises(ConfigurationError, match='former_scopes: a cookie named __Host-… needs path="/" and no domain'):
        Jar("session", RING, cookie_name="__Host-session", former_scopes=[("/shop", None)])


def test_former_scopes_are_kept_as_they_were_given() -> None:
    scopes = [("/shop", None), ("/", "example.com")]
    assert Jar("session", RING, former_scopes=scopes).former_scopes == tuple(scopes)
    assert Jar("session", RING).former_scopes == ()
