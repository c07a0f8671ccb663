"""The core of a move: what a reader is, when it is asked, and what becomes of what it found. The readers: test_migrate_….py."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import (
    ConfigurationError,
    HeaderJar,
    Jar,
    Key,
    Keyring,
    Reason,
    SerializationError,
    Sessions,
    SessionTooLargeError,
)
from clientsession._events import Event, EventKind
from clientsession._migration import MAX_OLD_CHARS
from clientsession._token import MAX_TIME_MS
from clientsession.migrate import OldSession, Reader
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import Client, Clock, cookie_of, forged, max_age_of
from tests.strict_wsgi import make_environ, serve

RING = Keyring(Key.generate())
NOW = 1_800_000_000  # the clock's, in seconds
NOW_MS = NOW * 1000
HOUR = timedelta(hours=1)
DAY_MS = 86_400_000
GONE = "old=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"


class Old(Reader):
    """Reads ``old.`` and JSON in base64url: the cookies of a system that trusts everybody. It keeps what it was asked."""

    asked: list[tuple[str, int]]

    def __init__(self, cookie_name: str = "old", *, prefix: str = "old.", **options: Any) -> None:
        super().__init__(cookie_name, **options)
        self._freeze(asked=[], prefix=prefix)

    def read(self, value: str, now: int) -> OldSession | None:
        self.asked.append((value, now))
        if not value.startswith(self.prefix):
            return None
        try:
            content, created, expires = json.loads(base64.urlsafe_b64decode(value.removeprefix(self.prefix)))
        except ValueError:
            return None
        return OldSession(content, created, expires)


def old(content: Any, created: int | None = None, expires: int | None = None, *, prefix: str = "old.") -> str:
    return prefix + base64.urlsafe_b64encode(json.dumps([content, created, expires]).encode()).decode()


class Site:
    """A jar with readers, and a client of it."""

    def __init__(self, *readers: Reader, ring: Keyring = RING, **options: Any) -> None:
        self.clock = Clock(NOW)
        self.events: list[Event] = []
        self.jar = Jar("session", ring, clock=self.clock, observer=self.events.append, migrate_from=readers, **options)

    def request(self, cookie: str | None) -> Sessions:
        self.events.clear()
        return Sessions([self.jar], cookie)

    def read(self, cookie: str | None) -> tuple[dict[str, Any], list[str]]:
        """What a handler that only reads finds, and what is sent."""
        sessions = self.request(cookie)
        self.session = sessions["session"]
        return dict(self.session), sessions.commit()

    def sealed(self, **content: Any) -> str:
        return self.jar.codec.encode(content)

    @property
    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


def names_of(set_cookies: Iterable[str]) -> list[str]:
    """``name`` of each cookie that is set, ``-name`` of each that is deleted."""
    return [("-" if "; Max-Age=0;" in value else "") + value.partition("=")[0] for value in set_cookies]


# ---------------------------------------------------------------------------------------------------------------------
# A move
# ---------------------------------------------------------------------------------------------------------------------


def test_an_old_session_opens_and_leaves_in_our_form() -> None:
    site = Site(Old())
    found, set_cookies = site.read(f"old={old({'user': 7})}")
    assert found == {"user": 7}
    assert (site.session.is_new, site.session.key_id, site.session.refusal) == (False, None, None)
    assert set_cookies[0] == GONE
    assert names_of(set_cookies) == ["-old", "session"]
    found, more = site.read(cookie_of(set_cookies[1]))
    assert (found, more) == ({"user": 7}, [])
    assert site.session.key_id == RING.sealing.id


def test_an_old_session_that_is_not_touched_is_not_read() -> None:
    reader = Old()
    sessions = Site(reader).request(f"old={old({'user': 7})}")
    assert sessions.commit() == []
    assert reader.asked == []


def test_where_our_cookie_takes_the_place_of_the_old_one_nothing_is_deleted() -> None:
    site = Site(Old("session"))
    found, set_cookies = site.read(f"session={old({'user': 7})}")
    assert found == {"user": 7}
    assert names_of(set_cookies) == ["session"]


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ({"path": "/app"}, "Path=/app; HttpOnly; SameSite=Lax"),
        ({"domain": "example.com"}, "Path=/; Domain=example.com; HttpOnly; SameSite=Lax"),
    ],
    ids=str,
)
def test_an_old_cookie_of_our_name_in_another_place_is_deleted_there(scope: dict[str, str], attributes: str) -> None:
    site = Site(Old("session", **scope))
    found, set_cookies = site.read(f"session={old({'user': 7})}")
    assert found == {"user": 7}
    assert names_of(set_cookies) == ["-session", "session"]
    assert set_cookies[0] == f"session=; Max-Age=0; {attributes}"


def test_an_old_cookie_in_the_place_of_a_jar_that_is_elsewhere_is_deleted() -> None:
    site = Site(Old("session"), path="/app")
    assert site.read(f"session={old({'user': 7})}")[1][0].startswith("session=; Max-Age=0; Path=/; ")
    site = Site(Old("session", path="/app", domain="example.com"), path="/app", domain="example.com")
    assert names_of(site.read(f"session={old({'user': 7})}")[1]) == ["session"]


def test_the_deletion_of_a_prefixed_name_has_what_browsers_ask_for() -> None:
    site = Site(Old("__Host-old"))
    assert site.read(f"__Host-old={old({'user': 7})}")[1][0] == "__Host-old=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_only_the_old_cookies_that_came_are_deleted() -> None:
    site = Site(Old("a"), Old("b", path="/b"), Old("c"))
    assert names_of(site.read(f"b={old({'user': 7})}; a=junk")[1]) == ["-a", "-b", "session"]
    assert names_of(site.read(f"c={old({'user': 7})}")[1]) == ["-c", "session"]


def test_an_old_session_that_is_changed_is_sealed_with_the_change() -> None:
    site = Site(Old())
    sessions = site.request(f"old={old({'user': 7})}")
    sessions["session"]["seen"] = True
    set_cookies = sessions.commit()
    assert names_of(set_cookies) == ["-old", "session"]
    assert site.kinds == [EventKind.OPENED, EventKind.SEALED]
    assert site.read(cookie_of(set_cookies[1]))[0] == {"user": 7, "seen": True}


@pytest.mark.parametrize("leave", [lambda s: s.clear(), lambda s: s.destroy(), lambda s: s.reset()])
def test_an_old_session_left_empty_is_deleted_under_both_names(leave: Callable[[Any], None]) -> None:
    site = Site(Old())
    sessions = site.request(f"old={old({'user': 7})}")
    leave(sessions["session"])
    assert names_of(sessions.commit()) == ["-old", "-session"]
    assert site.kinds == [EventKind.OPENED, EventKind.DELETED]


def test_an_empty_old_session_goes_too() -> None:
    assert names_of(Site(Old()).read(f"old={old({})}")[1]) == ["-old", "-session"]


def test_a_sign_out_deletes_an_old_cookie_that_did_not_open_too() -> None:
    sessions = Site(Old()).request("old=junk")
    sessions["session"].destroy()
    assert names_of(sessions.commit()) == ["-old", "-session"]


def test_an_id_is_made_when_it_is_asked_for() -> None:
    site = Site(Old())
    sessions = site.request(f"old={old({'user': 7})}")
    session_id = sessions["session"].id
    assert site.read(cookie_of(sessions.commit()[1]))[0] == {"user": 7}
    assert site.session.id == session_id


def test_the_move_is_told_with_the_bytes_that_go_out() -> None:
    site = Site(Old("session"))
    (set_cookie,) = site.read(f"session={old({'user': 7})}")[1]
    came = len("session") + len(old({"user": 7}))
    assert site.events == [
        Event(EventKind.OPENED, "session", None, None, came),
        Event(EventKind.MIGRATED, "session", None, RING.sealing.id, len(cookie_of(set_cookie)) - 1),
    ]


def test_every_suite_seals_what_was_old(ring: Keyring) -> None:
    site = Site(Old(), ring=ring)
    cookie = cookie_of(site.read(f"old={old({'user': 7})}")[1][1])
    assert site.read(cookie) == ({"user": 7}, [])


def test_the_reader_may_go_when_the_old_cookies_are_gone() -> None:
    client = Client(Jar("session", RING, migrate_from=[Old()]))
    client.cookies["old"] = old({"user": 7})
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 7}
    assert list(client.cookies) == ["session"]
    client.jars = (Jar("session", RING),)
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 7}
    assert client.set_cookies == []


# Times


def test_an_old_session_keeps_its_times() -> None:
    site = Site(Old())
    set_cookies = site.read(f"old={old({'user': 7}, NOW_MS - 5000, NOW_MS + 90_500)}")[1]
    for _ in range(2):
        assert site.session.created_at.timestamp() == NOW - 5
        assert site.session.expires_at.timestamp() == NOW + 90.5
        site.read(cookie_of(set_cookies[1]))
    assert max_age_of(set_cookies[1]) == 91


def test_an_old_session_without_times_begins_now_and_has_the_jar_s_duration() -> None:
    site = Site(Old(), duration=HOUR)
    site.read(f"old={old({'user': 7})}")
    assert (site.session.created_at.timestamp(), site.session.expires_at.timestamp()) == (NOW, NOW + 3600)
    site.read(f"old={old({'user': 7}, NOW_MS - 10**9)}")
    assert (site.session.created_at.timestamp(), site.session.expires_at.timestamp()) == (NOW - 10**6, NOW + 3600)


def test_an_old_session_is_under_the_jar_s_max_duration() -> None:
    site = Site(Old(), duration=HOUR, max_duration=2 * HOUR)
    site.read(f"old={old({'user': 7}, NOW_MS - 3_600_000, NOW_MS + DAY_MS)}")
    assert site.session.expires_at.timestamp() == NOW + 3600
    assert site.read(f"old={old({'user': 7}, NOW_MS - 7_200_000, NOW_MS + DAY_MS)}") == ({}, [])
    assert site.session.refusal is Reason.EXPIRED


def test_an_old_session_close_to_its_end_moves_on_as_ours_do() -> None:
    site = Site(Old(), duration=HOUR, active_duration=timedelta(minutes=30))
    site.read(f"old={old({'user': 7}, NOW_MS - 1000, NOW_MS + 60_000)}")
    assert site.session.expires_at.timestamp() == NOW + 60 + 1800
    assert site.kinds == [EventKind.OPENED, EventKind.MIGRATED]


@pytest.mark.parametrize(
    ("created", "expires", "refusal"),
    [
        (None, NOW_MS + 1, None),
        (None, NOW_MS, Reason.EXPIRED),
        (None, NOW_MS - 1, Reason.EXPIRED),
        (None, -1, Reason.EXPIRED),
        (NOW_MS + 60_000, None, None),
        (NOW_MS + 60_001, None, Reason.FUTURE),
        (NOW_MS + 60_000, NOW_MS + 1, None),
        (0, None, None),
        (-1, None, Reason.MALFORMED),
        (-(10**30), None, Reason.MALFORMED),
        (10**30, None, Reason.FUTURE),
        (None, MAX_TIME_MS + 1, None),
        (None, 10**30, None),
    ],
)
def test_an_old_session_of_the_past_or_the_future_is_refused(
    created: int | None, expires: int | None, refusal: Reason | None
) -> None:
    site = Site(Old())
    found, set_cookies = site.read(f"old={old({'user': 7}, created, expires)}")
    assert found == ({"user": 7} if refusal is None else {})
    assert site.session.refusal is refusal
    assert names_of(set_cookies) == (["-old", "session"] if refusal is None else [])


def test_a_session_of_a_server_ahead_does_not_end_before_it_begins() -> None:
    site = Site(Old())
    site.read(f"old={old({'user': 7}, NOW_MS + 60_000, NOW_MS + 1)}")
    assert site.session.expires_at == site.session.created_at
    assert site.session.created_at.timestamp() == NOW + 60


# ---------------------------------------------------------------------------------------------------------------------
# What a reader is asked
# ---------------------------------------------------------------------------------------------------------------------


def test_a_reader_is_asked_once_with_the_value_as_it_came_and_the_time_of_the_request() -> None:
    reader = Old()
    site = Site(reader)
    site.read('old=%41 "b" =c\\073 ; session=x; older=y; Old=z')
    assert reader.asked == [('%41 "b" =c\\073', NOW_MS)]


def test_a_token_of_ours_is_never_shown_to_a_reader() -> None:
    readers = Old(), Old("session")
    site = Site(*readers)
    other = Jar("other", RING, clock=site.clock)
    for token in (
        site.sealed(user=8),
        forged(site.sealed(user=8)),
        other.codec.encode({"user": 9}),
        HeaderJar("session", RING, clock=site.clock).codec.encode({"user": 9}),
    ):
        for name in ("session", "old"):
            site.read(f"{name}={token}")
            assert readers[0].asked == readers[1].asked == []


def test_a_token_of_ours_under_the_old_name_does_not_open() -> None:
    site = Site(Old())
    assert site.read(f"old={site.sealed(user=8)}") == ({}, [])
    assert site.session.refusal is Reason.MALFORMED


@pytest.mark.parametrize("name", ["session", "old"])
def test_an_old_value_that_has_the_form_of_a_token_by_chance_is_shown_to_a_reader_that_expects_it(name: str) -> None:
    class Signed(Old):
        may_look_like_ours = True

        def read(self, value: str, now: int) -> OldSession | None:
            super().read(value, now)
            return OldSession({"user": 7}) if value.endswith("__") else None

    reader, other = Signed(name), Old(name)
    site = Site(other, reader)
    for start in ("AQ", "Ag"):  # of what is base64url throughout, one value in 128 begins as a token of ours
        found, set_cookies = site.read(f"{name}={start}{'A' * 96}__")
        assert found == {"user": 7}
        assert names_of(set_cookies)[-1] == "session"
    reader.asked.clear()
    site.read(f"{name}={site.sealed(user=8)}")
    assert reader.asked == other.asked == [], "what one of our keys sealed is not shown"


def test_a_token_of_a_key_that_left_the_ring_is_refused_as_ever_where_no_reader_knows_it() -> None:
    site = Site(Old("session"), Old())
    stranger = Jar("session", Keyring(Key.generate()), clock=site.clock).codec.encode({"user": 8})
    for cookie in (f"session={stranger}", f"session={stranger}; old=junk"):
        assert site.read(cookie)[0] == {}
        assert site.session.refusal is Reason.UNKNOWN_KEY


def test_of_several_readers_of_one_cookie_the_first_that_knows_it_is_taken() -> None:
    readers = Old(prefix="v1."), Old(prefix="v2."), Old(prefix="v2."), Old("other")
    site = Site(*readers)
    assert site.read(f"old={old({'user': 7}, prefix='v2.')}")[0] == {"user": 7}
    assert [len(reader.asked) for reader in readers] == [1, 1, 0, 0]


def test_what_the_first_reader_knows_and_we_refuse_is_shown_to_the_next() -> None:
    site = Site(Old(until=datetime.fromtimestamp(NOW, UTC)), Old())
    assert site.read(f"old={old({'user': 7})}")[0] == {"user": 7}


def test_a_reader_reads_nothing_from_its_end_on() -> None:
    reader = Old(until=datetime.fromtimestamp(NOW + 60, timezone(timedelta(hours=2))))
    site = Site(reader)
    site.clock.pass_(59.999)
    assert site.read(f"old={old({'user': 7})}")[0] == {"user": 7}
    site.clock.pass_(0.001)
    assert site.read(f"old={old({'user': 7})}") == ({}, [])
    assert site.session.refusal is Reason.MALFORMED
    assert len(reader.asked) == 1


def test_a_value_longer_than_four_cookies_is_not_shown_to_a_reader() -> None:
    reader = Old()
    site = Site(reader)
    site.read(f"old={'x' * MAX_OLD_CHARS}")
    assert len(reader.asked) == 1
    site.read(f"old={'x' * (MAX_OLD_CHARS + 1)}")
    assert len(reader.asked) == 1
    assert site.session.refusal is Reason.MALFORMED


def test_a_header_over_64_kib_is_not_looked_at() -> None:
    reader = Old()
    site = Site(reader)
    assert site.read(f"old={old({'user': 7})}; a={'b' * 65_536}") == ({}, [])
    assert site.session.refusal is Reason.MALFORMED
    assert reader.asked == []
    sessions = site.request(f"old={old({'user': 7})}; a={'b' * 65_536}")
    sessions["session"].destroy()
    assert names_of(sessions.commit()) == ["-old", "-session"], "what was not looked at may be there"


def test_a_reader_that_raises_is_a_bug_and_raises() -> None:
    class Broken(Reader):
        def read(self, value: str, now: int) -> OldSession | None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Site(Broken("old")).read("old=x")


# ---------------------------------------------------------------------------------------------------------------------
# What is refused, and what becomes of several
# ---------------------------------------------------------------------------------------------------------------------


def test_what_no_reader_knows_is_one_refusal() -> None:
    site = Site(Old(), Old(prefix="v2."), Old("session"))
    for cookie in ("old=junk", "session=junk", "old=junk; session=junk"):
        assert site.read(cookie)[0] == {}
        assert (site.session.is_new, site.session.refusal) == (True, Reason.MALFORMED)
        assert site.kinds == [EventKind.REFUSED]
        assert site.events[0].reason is Reason.MALFORMED


def test_a_refused_old_cookie_is_left_alone_by_a_read_and_deleted_by_a_write() -> None:
    site = Site(Old())
    assert site.read("old=junk") == ({}, [])
    sessions = site.request("old=junk")
    sessions["session"]["user"] = 8
    assert names_of(sessions.commit()) == ["-old", "session"]


def test_the_refusal_of_a_token_of_ours_tells_more_than_that_of_an_old_cookie() -> None:
    site = Site(Old())
    site.read(f"session={forged(site.sealed(user=8))}; old=junk")
    assert site.session.refusal is Reason.FORGED


@pytest.mark.parametrize(
    "content",
    [{"n": 2**63}, {"f": float("nan")}, {"s": "\ud800"}, {"deep": json.loads("[" * 64 + "]" * 64)}],
    ids=["64 bits", "NaN", "surrogate", "depth"],
)
def test_content_that_our_json_would_not_keep_is_refused(content: dict[str, Any]) -> None:
    site = Site(Old())
    assert site.read(f"old={old(content)}") == ({}, [])
    assert site.session.refusal is Reason.MALFORMED


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, b"x", datetime(2026, 1, 1, tzinfo=UTC), object(), {1}])
def test_content_of_other_types_than_json_s_is_refused(value: Any) -> None:
    class Careless(Reader):
        def read(self, value_: str, now: int) -> OldSession | None:
            return OldSession({"value": value})

    site = Site(Careless("old"))
    assert site.read("old=x") == ({}, [])
    assert site.session.refusal is Reason.MALFORMED


def test_an_old_and_a_new_cookie_that_both_open_are_ambiguous_until_the_user_signs_in() -> None:
    """Whoever tosses a new cookie onto a user with an old one gets neither the old one deleted nor his own taken."""
    site = Site(Old())
    cookie = f"session={site.sealed(user=8)}; old={old({'user': 7})}"
    for _ in range(2):
        assert site.read(cookie) == ({}, [])
        assert site.session.refusal is Reason.AMBIGUOUS
    sessions = site.request(cookie)
    sessions["session"]["user"] = 9
    set_cookies = sessions.commit()
    assert names_of(set_cookies) == ["-old", "session"]
    assert site.read(cookie_of(set_cookies[1]))[0] == {"user": 9}


def test_junk_beside_an_old_cookie_does_not_delete_it() -> None:
    site = Site(Old())
    cookie = f"old={old({'user': 7})}"
    junk = "".join(f"; old=junk{number}" for number in range(4))
    assert site.read(cookie + junk) == ({}, [])
    assert site.session.refusal is Reason.AMBIGUOUS
    assert site.read(cookie)[0] == {"user": 7}


@pytest.mark.parametrize("beside", [old({"user": 7}), "junk", "; old=".join(f"junk{number}" for number in range(9))])
@pytest.mark.parametrize("name", ["__Host-session", "__Host-Http-session"])
def test_nothing_under_an_old_name_takes_a_host_only_cookie_away(name: str, beside: str) -> None:
    """Nobody but the host itself can have set such a cookie; a neighbour may have set the old one."""
    reader = Old()
    site = Site(reader, cookie_name=name)
    cookie = f"{name}={site.sealed(user=8)}; old={beside}"
    assert site.read(cookie) == ({"user": 8}, [])
    assert reader.asked == []
    sessions = site.request(cookie)
    sessions["session"].destroy()
    assert names_of(sessions.commit()) == ["-old", f"-{name}"]


def test_beside_a_host_only_cookie_that_does_not_open_the_old_one_is_asked() -> None:
    site = Site(Old(), cookie_name="__Host-session")
    assert site.read(f"__Host-session=junk; old={old({'user': 7})}")[0] == {"user": 7}


def test_two_host_only_cookies_are_ambiguous_as_ever() -> None:
    site = Site(Old(), cookie_name="__Host-session")
    cookie = f"__Host-session={site.sealed(user=8)}; __Host-session={site.sealed(user=9)}"
    assert site.read(cookie) == ({}, [])
    assert site.session.refusal is Reason.AMBIGUOUS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"samesite": "Lax"}, ["old=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]),
        ({"samesite": "Strict"}, ["old=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"]),
        ({"samesite": "None"}, ["old=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None"]),
        (
            {"samesite": "None", "partitioned": True},
            [
                "old=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None",
                "old=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
            ],
        ),
    ],
)
def test_an_old_cookie_is_deleted_where_the_jar_s_own_is_kept(options: dict[str, Any], expected: list[str]) -> None:
    """A browser ignores a deletion without SameSite=None in a frame of another site."""
    site = Site(Old(), **options)
    assert site.read(f"old={old({'user': 7})}")[1][:-1] == expected


def test_an_old_session_lives_400_days_from_now_at_most() -> None:
    site = Site(Old())
    site.read(f"old={old({'user': 7}, None, 10**15)}")
    assert site.session.expires_at.timestamp() == NOW + 400 * 86_400


def test_no_jar_reads_the_cookie_of_another_as_an_old_one() -> None:
    jars = [Jar("session", RING, migrate_from=[Old("cart")]), Jar("cart", RING)]
    for order in (jars, jars[::-1]):
        with pytest.raises(
            ConfigurationError, match="'session' reads 'cart' as an old cookie, and would delete that of the jar 'cart'"
        ):
            Sessions(order, None)


def test_no_two_jars_read_one_old_cookie() -> None:
    jars = [Jar(name, RING, migrate_from=[Old(), Old(path="/shop")]) for name in ("session", "cart")]
    with pytest.raises(ConfigurationError, match="'session' and 'cart' both read the old cookie 'old'"):
        Sessions(jars, None)
    assert len(Sessions(jars[:1], None)) == 1


@pytest.mark.parametrize(("outer", "inner"), [("cart", Old("cart")), ("old", Old())])
def test_nor_do_those_of_two_nested_middlewares(outer: str, inner: Reader) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [])
        return []

    nested = SessionMiddleware(application, [Jar("session", RING, migrate_from=[inner])])
    app = SessionMiddleware(nested, [Jar("outer", RING, cookie_name=outer)])
    with pytest.raises(ConfigurationError, match=f"share the jars, cookies or headers {outer}"):
        app(make_environ(), lambda *_: None)


def test_an_old_cookie_that_does_not_open_beside_a_new_one_that_does_is_cleared_away_with_the_next_write() -> None:
    site = Site(Old())
    cookie = f"session={site.sealed(user=8)}; old=junk"
    assert site.read(cookie) == ({"user": 8}, [])
    sessions = site.request(cookie)
    sessions["session"]["seen"] = True
    set_cookies = sessions.commit()
    assert set_cookies[0] == GONE
    assert names_of(set_cookies) == ["-old", "session"]


def test_a_junk_cookie_of_our_name_does_not_keep_an_old_session_from_moving() -> None:
    site = Site(Old())
    found, set_cookies = site.read(f"session=junk; old={old({'user': 7})}")
    assert found == {"user": 7}
    assert names_of(set_cookies) == ["-old", "session"]


@pytest.mark.parametrize("names", [("old", "old"), ("old", "older"), ("session", "session"), ("session", "old")])
def test_two_old_cookies_that_open_are_ambiguous(names: tuple[str, str]) -> None:
    site = Site(Old(), Old("older"), Old("session"))
    one, other = names
    site.read(f"{one}={old({'user': 1})}; {other}={old({'user': 2})}")
    assert site.session == {}
    assert site.session.refusal is Reason.AMBIGUOUS


def test_the_same_old_value_twice_is_one() -> None:
    site = Site(Old())
    value = old({"user": 7})
    assert site.read(f"old={value}; old={value}")[0] == {"user": 7}


def test_the_same_value_under_two_old_names_is_two() -> None:
    site = Site(Old(), Old("older"))
    value = old({"user": 7})
    site.read(f"old={value}; older={value}")
    assert site.session.refusal is Reason.AMBIGUOUS


def test_of_more_than_four_candidates_none_is_opened() -> None:
    site = Site(Old())
    junk = "; ".join(f"old=junk{n}" for n in range(3))
    assert site.read(f"{junk}; old={old({'user': 7})}")[0] == {"user": 7}
    reader = Old()
    site = Site(reader, Old(prefix="v2."))
    site.read(f"{junk}; old=junk; old={old({'user': 7})}")
    assert site.session.refusal is Reason.AMBIGUOUS
    assert reader.asked == []


def test_several_readers_of_one_cookie_make_it_no_more_than_one_candidate() -> None:
    site = Site(*(Old(prefix=f"v{n}.") for n in range(9)), Old())
    assert site.read(f"old={old({'user': 7})}")[0] == {"user": 7}


@given(
    cookie=st.lists(
        st.tuples(
            st.sampled_from(["old", "older", "session"]),
            st.one_of(st.text(max_size=8), st.just(old({"user": 7})), st.just(old({"user": 8}, NOW_MS, NOW_MS - 1))),
        ),
        max_size=6,
    )
)
def test_no_cookies_raise_and_one_that_opens_alone_is_the_session(cookie: list[tuple[str, str]]) -> None:
    site = Site(Old(), Old("older"), Old("session"))
    header = "; ".join(f"{name}={value}" for name, value in cookie)
    found, _ = site.read(header)
    assert found in ({}, {"user": 7})
    assert (found == {"user": 7}) == (site.session.refusal is None and not site.session.is_new)


# ---------------------------------------------------------------------------------------------------------------------
# Size
# ---------------------------------------------------------------------------------------------------------------------

LARGE = {"pad": "x" * 4000}


def test_an_old_session_too_large_for_a_cookie_of_ours_stays_where_it_is_as_long_as_it_is_only_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site(Old())
    cookie = f"old={old(LARGE)}"
    for _ in range(12):
        assert site.read(cookie) == (LARGE, [])
        assert site.kinds == [EventKind.OPENED]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 10
    assert re.match(r"a session that another system left takes 5\d{3} bytes in the jar session, of which 4096 fit", warnings[0])


@pytest.mark.parametrize("beside", ["session=junk", "old=junk", "older=junk"])
def test_it_stays_there_whatever_came_beside_it(beside: str) -> None:
    site = Site(Old(), Old("older"), former_scopes=[("/shop", None)])
    assert site.read(f"old={old(LARGE)}; {beside}") == (LARGE, [])


def test_an_old_session_too_large_for_a_cookie_of_ours_is_an_error_when_it_is_written() -> None:
    site = Site(Old())
    sessions = site.request(f"old={old(LARGE)}")
    sessions["session"]["seen"] = True
    with pytest.raises(SessionTooLargeError, match="'pad'"):
        sessions.commit()
    assert sessions.commit() == []


def test_a_write_that_makes_it_small_enough_moves_it() -> None:
    site = Site(Old())
    sessions = site.request(f"old={old(LARGE)}")
    sessions["session"]["pad"] = ""
    assert names_of(sessions.commit()) == ["-old", "session"]


def test_one_that_just_fits_is_moved() -> None:
    site = Site(Old(), cookie_name="basket")
    room = 4096 - len(site.jar.cookie_name) - len(site.jar.codec.encode({"pad": ""}))
    sizes = {}
    for extra in range(-3, 4):
        content = {"pad": "x" * (room * 3 // 4 + extra)}
        found, set_cookies = site.read(f"old={old(content)}")
        assert found == content
        if set_cookies:
            sizes[extra] = len(cookie_of(set_cookies[-1])) - 1
    assert max(sizes.values()) == 4096
    assert sorted(sizes) == list(range(-3, max(sizes) + 1))
    assert max(sizes) < 3


def test_the_cookie_of_an_ephemeral_jar_has_no_max_age_after_a_move() -> None:
    site = Site(Old(), ephemeral=True)
    assert "Max-Age" not in site.read(f"old={old({'user': 7})}")[1][-1]
    assert site.session.ephemeral


def test_of_a_header_too_long_to_be_looked_at_everything_that_may_be_there_is_deleted() -> None:
    site = Site(Old(), former_scopes=[("/shop", None)])
    sessions = site.request("a=" + "b" * 65_536)
    sessions["session"].destroy()
    assert names_of(sessions.commit()) == ["-session", "-old", "-session"]
    sessions = site.request("a=b")
    sessions["session"].destroy()
    assert sessions.commit() == []


def test_a_value_that_comes_often_is_read_once() -> None:
    reader = Old()
    site = Site(reader)
    value = old({"user": 7})
    assert site.read("; ".join([f"old={value}"] * 100))[0] == {"user": 7}
    assert [asked for asked, _ in reader.asked] == [value]


@pytest.mark.parametrize("name", ["__Secure-old", "__Http-old", "__Host-old"])
def test_the_deletion_of_a_name_with_a_prefix_is_secure(name: str) -> None:
    site = Site(Old(name), secure=False)
    assert "; Secure" in site.read(f"{name}={old({'user': 7})}")[1][0]


def test_a_jar_that_compresses_takes_a_larger_one() -> None:
    site = Site(Old(), compress=True)
    found, set_cookies = site.read(f"old={old(LARGE)}")
    assert found == LARGE
    assert names_of(set_cookies) == ["-old", "session"]
    assert site.read(cookie_of(set_cookies[1])) == (LARGE, [])


def test_a_jar_that_pads_pads_what_it_takes_over() -> None:
    sizes = set()
    for user in (7, 10**9):
        site = Site(Old(), pad_to=64)
        set_cookies = site.read(f"old={old({'user': user})}")[1]
        sizes.add(len(cookie_of(set_cookies[1])))
        assert site.read(cookie_of(set_cookies[1])) == ({"user": user}, [])
    assert len(sizes) == 1


def test_the_largest_that_fits_moves() -> None:
    letters = (4096 - len("session")) * 3 // 4 - 58 - len('{"pad":""}')
    site = Site(Old())
    for more, names in ((0, ["-old", "session"]), (1, [])):
        content = {"pad": "x" * (letters + more)}
        found, set_cookies = site.read(f"old={old(content)}")
        assert found == content
        assert names_of(set_cookies) == names


# ---------------------------------------------------------------------------------------------------------------------
# With all the rest
# ---------------------------------------------------------------------------------------------------------------------


def test_a_serializer_of_one_s_own_seals_what_was_old() -> None:
    class Spaced:
        def dumps(self, value: dict[str, Any]) -> bytes:
            return json.dumps(value, indent=1).encode()

        def loads(self, body: bytes) -> dict[str, Any]:
            return json.loads(body)

    site = Site(Old(), serializer=Spaced())
    cookie = cookie_of(site.read(f"old={old({'user': 7})}")[1][1])
    assert site.read(cookie) == ({"user": 7}, [])


def test_what_a_handler_stores_beside_it_is_checked_as_ever() -> None:
    sessions = Site(Old()).request(f"old={old({'user': 7})}")
    sessions["session"]["when"] = object()
    with pytest.raises(SerializationError, match="when is of type object"):
        sessions.commit()
    assert sessions.commit() == []


def test_former_scopes_and_old_cookies_are_both_cleared_away() -> None:
    site = Site(Old(), former_scopes=[("/shop", None)])
    found, set_cookies = site.read(f"session={site.sealed(user=8)}; session={site.sealed(user=9)}; old=junk")
    assert found == {}
    assert [value.partition("; ")[2] for value in set_cookies] == ["Max-Age=0; Path=/shop; Secure; HttpOnly; SameSite=Lax"]
    sessions = site.request(f"session={site.sealed(user=8)}; old=junk")
    sessions["session"].destroy()
    assert names_of(sessions.commit()) == ["-session", "-old", "-session"]


def test_jars_beside_it_are_not_moved() -> None:
    site = Site(Old())
    sessions = Sessions([site.jar, Jar("cart", RING)], f"old={old({'user': 7})}")
    assert sessions["cart"] == {}
    assert sessions.commit() == []
    sessions = Sessions([site.jar, Jar("cart", RING)], f"old={old({'user': 7})}")
    sessions["cart"]["total"] = 1
    assert sessions["session"] == {"user": 7}
    assert names_of(sessions.commit()) == ["cart", "-old", "session"]


def through(jar: Jar, cookie: str | None, headers: Iterable[tuple[str, str]] = (), **changes: Any) -> Any:
    """A request to an application behind the middleware, which answers with its session and then changes it."""

    def app(environ: Any, start_response: Any) -> Any:
        session = get_sessions(environ)["session"]
        body = json.dumps(session).encode()
        session.update(changes)
        start_response("200 OK", [("Content-Type", "application/json"), *headers])
        return [body]

    return serve(SessionMiddleware(app, [jar]), make_environ(cookie=cookie))


def test_a_move_through_the_middleware() -> None:
    site = Site(Old())
    exchange = through(site.jar, f"a=b; old={old({'user': 7})}")
    assert json.loads(exchange.body) == {"user": 7}
    assert names_of(exchange.values("Set-Cookie")) == ["-old", "session"]
    assert (exchange.values("Vary"), exchange.values("Cache-Control")) == (["Cookie"], ["private, no-store"])
    exchange = through(Site().jar, cookie_of(exchange.values("Set-Cookie")[1]), more=1)
    assert json.loads(exchange.body) == {"user": 7}
    exchange = through(Site().jar, cookie_of(exchange.values("Set-Cookie")[0]))
    assert json.loads(exchange.body) == {"user": 7, "more": 1}
    assert exchange.values("Set-Cookie") == []


def test_a_response_with_a_refused_old_cookie_is_that_to_a_client_without_cookies() -> None:
    site = Site(Old(), Old("session"))
    plain = through(site.jar, None)
    for cookie in ("old=junk", "session=junk", "old=", 'old="'):
        exchange = through(site.jar, cookie)
        assert (exchange.status, exchange.headers, exchange.body) == (plain.status, plain.headers, plain.body)


def test_the_old_system_s_own_middleware_inside_loses_to_the_deletion(caplog: pytest.LogCaptureFixture) -> None:
    headers = [("Set-Cookie", "old=still here; Path=/"), ("Set-Cookie", "other=1")]
    exchange = through(Site(Old()).jar, f"old={old({'user': 7})}", headers)
    assert names_of(exchange.values("Set-Cookie")) == ["other", "-old", "session"]
    assert "the application set the cookie old itself" in caplog.text


def test_five_hundred_users_move_and_nobody_is_lost() -> None:
    reader = Old()
    moving, moved = Jar("session", RING, migrate_from=[reader]), Jar("session", RING)
    clients = []
    for user in range(500):
        client = Client(moving)
        client.cookies["old"] = old({"user": user})
        clients.append(client)
    for jar, writes in ((moving, False), (moving, True), (moved, False), (moved, True), (moved, False)):
        for user, client in enumerate(clients):
            client.jars = (jar,)
            with client.visit() as sessions:
                assert sessions["session"]["user"] == user
                if writes:
                    sessions["session"]["n"] = sessions["session"].get("n", 0) + 1
            assert list(client.cookies) == ["session"]
    assert len(reader.asked) == 500


def test_two_requests_at_once_with_the_old_cookie_both_keep_the_session() -> None:
    site = Site(Old())
    first, second = (site.request(f"old={old({'user': 7})}") for _ in range(2))
    assert first["session"] == second["session"] == {"user": 7}
    for sessions in (first, second):
        assert site.read(cookie_of(sessions.commit()[1]))[0] == {"user": 7}


# ---------------------------------------------------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------------------------------------------------


def test_a_jar_says_its_readers() -> None:
    readers = [Old(), Old("older")]
    assert Jar("session", RING, migrate_from=readers).migrate_from == tuple(readers)
    assert Jar("session", RING, migrate_from=iter(readers)).migrate_from == tuple(readers)
    assert Jar("session", RING).migrate_from == ()


@pytest.mark.parametrize("readers", ["flask", b"flask", 7, None, Old(), ["flask"], [None], [Old(), 7], [Old], [[Old()]]], ids=str)
def test_migrate_from_is_a_list_of_readers(readers: Any) -> None:
    with pytest.raises(ConfigurationError, match="migrate_from must be a list of readers, such as"):
        Jar("session", RING, migrate_from=readers)


def test_a_secret_in_place_of_a_reader_shows_nowhere() -> None:
    secret = "Zwiebelkuchen-Fahrradkette-8293-Morgentau"
    for given_ in (secret, [secret], (Old(), secret), {secret: 1}):
        with pytest.raises(ConfigurationError) as caught:
            Jar("session", RING, migrate_from=given_)
        assert secret not in str(caught.value)
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        assert [frame.f_code.co_name for frame in frames[1:]] == ["__init__"]
        assert secret not in repr(frames[-1].f_locals)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cookie_name": "a b"}, "a cookie name must have"),
        ({"cookie_name": ""}, "a cookie name must have"),
        ({"cookie_name": None}, "a cookie name must have"),
        ({"cookie_name": 7}, "a cookie name must have"),
        ({"path": "app"}, "path must start with /"),
        ({"path": None}, "path must start with /"),
        ({"domain": ".example.com"}, "domain must be a host name"),
        ({"domain": "127.0.0.1"}, "domain must not be an IP address"),
        ({"cookie_name": "__Host-old", "path": "/app"}, 'needs path="/" and no domain'),
        ({"cookie_name": "__host-old"}, "write the prefix of the cookie name as __Host-"),
        ({"until": "2027-01-01"}, "until must be a datetime with a time zone"),
        ({"until": 1_900_000_000}, "until must be a datetime with a time zone"),
        ({"until": timedelta(days=1)}, "until must be a datetime with a time zone"),
        ({"until": datetime(2027, 1, 1, tzinfo=UTC).replace(tzinfo=None)}, "until must be a datetime with a time zone"),
        ({"until": datetime(2027, 1, 1, tzinfo=UTC).date()}, "until must be a datetime with a time zone"),
        ({"until": datetime(9999, 1, 1, tzinfo=UTC)}, "until must be a datetime with a time zone"),
    ],
    ids=str,
)
def test_a_reader_s_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Old(**options)


def test_an_end_long_ago_or_far_ahead_is_an_end() -> None:
    assert Old(until=datetime(1, 1, 1, tzinfo=UTC))._read(old({}), NOW_MS) is None
    assert Old(until=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-12))))._read(old({}), NOW_MS) is None
    assert Old(until=datetime(9998, 1, 1, tzinfo=UTC))._read(old({}), NOW_MS) is not None


def test_a_reader_keeps_what_it_was_given() -> None:
    until = datetime(2027, 1, 1, tzinfo=UTC)
    reader = Old("a", path="/b", domain="c.example", until=until)
    assert (reader.cookie_name, reader.path, reader.domain, reader.until) == ("a", "/b", "c.example", until)
    assert (Old("a").path, Old("a").domain, Old("a").until) == ("/", None, None)
    assert repr(reader) == "<Old 'a'>"


def test_a_reader_that_reads_nothing_is_to_be_subclassed() -> None:
    with pytest.raises(NotImplementedError):
        Reader("old").read("x", NOW_MS)


def test_a_reader_does_not_change_and_is_not_pickled() -> None:
    reader = Old()
    with pytest.raises(AttributeError, match="does not change"):
        reader.cookie_name = "new"
    assert copy.deepcopy(reader) is reader
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(reader)


def test_an_old_session_is_content_and_times() -> None:
    assert OldSession({"a": 1}) == OldSession({"a": 1}, None, None)
    with pytest.raises(AttributeError):
        OldSession({}).created = 1  # type: ignore[misc]
