"""Jars and Sessions: what is sent when, what counts as a change, what happens after the commit, what is told to whom."""

from __future__ import annotations

import base64
import itertools
import json
import logging
from collections import UserDict
from datetime import timedelta
from typing import Any

import pytest

from clientsession import (
    ClientSessionError,
    ConfigurationError,
    HeaderJar,
    Jar,
    Key,
    Keyring,
    Reason,
    SerializationError,
    Session,
    SessionCommittedError,
    Sessions,
    SessionTooLargeError,
    Suite,
)
from clientsession._events import Event
from clientsession._json import StrictJSON
from clientsession.migrate import OldSession, Reader
from tests import reference
from tests.conftest import Client, Clock, cookie_of, forged

HOUR = timedelta(hours=1)
SECRET = bytes(range(100, 132))


@pytest.fixture
def jar(ring: Keyring, clock: Clock) -> Jar:
    return Jar("session", ring, clock=clock)


@pytest.fixture
def client(jar: Jar, ring: Keyring, clock: Clock) -> Client:
    """A client that is signed in, with a cart."""
    client = Client(jar, Jar("cart", ring, duration=timedelta(days=120), clock=clock))
    with client.visit() as sessions:
        sessions["session"] |= {"user": 7, "tags": ["a"], "deep": {"n": {"m": 1}}}
        sessions["cart"]["total"] = 33
    return client


# What comes back


def test_what_was_written_comes_back_in_the_next_request(client: Client) -> None:
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 7, "tags": ["a"], "deep": {"n": {"m": 1}}}
        assert sessions["cart"] == {"total": 33}
        assert not sessions["session"].is_new
        assert sessions["session"].key_id == client.jars[0].keyring.sealing.id
        assert sessions["session"].refusal is None


def test_a_first_visit_has_a_new_session_that_was_not_refused(client: Client) -> None:
    client.cookies.clear()
    with client.visit() as sessions:
        session = sessions["session"]
        assert (session, session.is_new, session.key_id, session.refusal) == ({}, True, None, None)


def test_a_jar_is_found_by_its_name_and_not_by_its_cookies(ring: Keyring) -> None:
    client = Client(Jar("session", ring, cookie_name="__Host-s"))
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
        with pytest.raises(KeyError, match="no jar is named '__Host-s'; there are session"):
            sessions["__Host-s"]
    assert list(client.cookies) == ["__Host-s"]
    with client.visit() as sessions:
        assert sessions["session"] == {"a": 1}


def test_sessions_lists_its_jars_without_using_them(client: Client) -> None:
    sessions = client.request()
    assert (list(sessions), len(sessions), "cart" in sessions, "nobody" in sessions) == (["session", "cart"], 2, True, False)
    assert repr(sessions) == "<Sessions session, cart>"
    assert not sessions.accessed
    assert sessions["cart"]["total"] == 33
    assert sessions.accessed


def test_two_jars_of_one_secret_each_open_their_own_alone(client: Client) -> None:
    client.cookies = {"session": client.cookies["cart"], "cart": client.cookies["session"]}
    with client.visit() as sessions:
        for name in ("session", "cart"):
            assert sessions[name] == {}
            assert sessions[name].refusal is Reason.FORGED
    assert client.set_cookies == []


def test_the_codec_of_a_jar_reads_and_writes_its_cookies(client: Client, jar: Jar) -> None:
    session = jar.codec.decode(client.cookies["session"])
    assert session["user"] == 7
    client.cookies["session"] = jar.codec.encode({"user": 8})
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 8}


# What is sent when


def test_nothing_is_opened_or_sent_for_an_untouched_session(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decrypted")

    monkeypatch.setattr(type(client.jars[0].codec), "_open", refuse)
    with client.visit() as sessions:
        assert "session" in sessions
    assert client.set_cookies == []
    with client.visit() as sessions, pytest.raises(AssertionError, match="decrypted"):
        sessions["session"]


def test_many_writes_send_one_cookie_and_only_for_the_jar_that_changed(client: Client) -> None:
    with client.visit() as sessions:
        for number in range(20):
            sessions["session"]["n"] = number
        assert sessions["cart"]["total"] == 33
    assert [cookie_of(value).partition("=")[0] for value in client.set_cookies] == ["session"]


def unchanged(session: Session) -> None:
    """Ways to use a session that leave it as it was."""
    assert session["user"] == 7
    session["user"] = 7
    session.update(user=7)
    session |= {"tags": ["a"]}
    session["user"] = 8
    session["extra"] = [1]
    session["user"] = 7
    del session["extra"]
    session["deep"]["n"]["m"] = 2
    session["deep"]["n"]["m"] = 1
    assert session.setdefault("user", 9) == 7
    assert session.pop("nothing", None) is None


def test_reads_equal_writes_and_writes_that_are_taken_back_send_nothing(client: Client) -> None:
    with client.visit() as sessions:
        unchanged(sessions["session"])
    assert client.set_cookies == []


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.__setitem__("new", 1),
        lambda s: s.__delitem__("user"),
        lambda s: s.pop("user"),
        lambda s: s.popitem(),
        lambda s: s.setdefault("new", None),
        lambda s: s.update({"new": None}),
        lambda s: s.__ior__({"new": None}),
        lambda s: s["tags"].append("b"),
        lambda s: s["deep"]["n"].update(m=2),
        lambda s: s.__setitem__("user", 7.0),
        lambda s: s.__setitem__("user", s.pop("user")),  # another order of keys
        lambda s: s.reset(keep=tuple(s)),
        lambda s: s.set_duration(HOUR),
        lambda s: s.id,
    ],
)
def test_every_kind_of_change_sends_one_cookie(client: Client, write: Any) -> None:
    with client.visit() as sessions:
        write(sessions["session"])
        expected = dict(sessions["session"])
    assert len(client.set_cookies) == 1
    with client.visit() as sessions:
        assert sessions["session"] == expected
        assert list(sessions["session"]) == list(expected)
    assert client.set_cookies == []


def test_one_is_not_true_and_is_not_one_point_nought(client: Client) -> None:
    for value in (1, True, 1.0, 1):
        with client.visit() as sessions:
            sessions["session"]["value"] = value
        assert len(client.set_cookies) == 1
        with client.visit() as sessions:
            assert repr(sessions["session"]["value"]) == repr(value)


def test_a_session_left_empty_is_deleted_with_the_same_attributes(ring: Keyring) -> None:
    client = Client(Jar("s", ring, path="/app", domain="example.com", samesite="strict", partitioned=True))
    with client.visit() as sessions:
        sessions["s"]["a"] = 1
    attributes = "; Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=Strict; Partitioned"
    assert client.set_cookies == [f"s={client.cookies['s']}; Max-Age=86400{attributes}"]
    with client.visit() as sessions:
        del sessions["s"]["a"]
    assert client.set_cookies == [f"s=; Max-Age=0{attributes}"]


def test_a_new_session_left_empty_sends_nothing(client: Client) -> None:
    client.cookies.clear()
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
        del sessions["session"]["a"]
        sessions["session"].set_duration(HOUR)
        sessions["cart"].reset()
    assert client.set_cookies == []


def test_an_id_alone_is_content(client: Client) -> None:
    client.cookies.clear()
    with client.visit() as sessions:
        session_id = sessions["session"].id
    assert len(client.set_cookies) == 1
    assert len(session_id) == 32
    with client.visit() as sessions:
        assert sessions["session"].id == session_id
        assert sessions["session"] == {}
    assert client.set_cookies == []


def test_reset_forgets_the_id_and_keeps_what_it_is_told(client: Client) -> None:
    with client.visit() as sessions:
        first = sessions["session"].id
    with client.visit() as sessions:
        sessions["session"].reset(keep=("tags", "nothing"))
        second = sessions["session"].id
        assert sessions["session"] == {"tags": ["a"]}
    with client.visit() as sessions:
        assert sessions["session"].id == second != first
        assert sessions["session"] == {"tags": ["a"]}


@pytest.mark.parametrize("keep", ["user", b"user", 7, None])
def test_reset_keeping_no_list_of_keys_is_a_type_error(client: Client, keep: Any) -> None:
    with client.visit() as sessions, pytest.raises(TypeError, match=r'write keep=\("locale",\)'):
        sessions["session"].reset(keep=keep)


def test_destroy_deletes_the_cookie_and_no_other(client: Client) -> None:
    with client.visit() as sessions:
        sessions["session"].destroy()
        assert sessions["session"] == {}
    assert list(client.cookies) == ["cart"]
    assert len(client.set_cookies) == 1


@pytest.mark.parametrize("cookie", ["junk", "", "A" * 70])
def test_destroy_deletes_a_cookie_that_did_not_open_too(client: Client, cookie: str) -> None:
    client.cookies["session"] = cookie
    with client.visit() as sessions:
        sessions["session"].destroy()
    assert "session" not in client.cookies


def test_destroy_without_a_cookie_sends_nothing(client: Client) -> None:
    client.cookies.clear()
    with client.visit() as sessions:
        sessions["session"].destroy()
    assert client.set_cookies == []


def test_what_is_written_after_destroy_is_a_new_session(client: Client, clock: Clock) -> None:
    with client.visit() as sessions:
        first = sessions["session"].id
    clock.pass_(60)
    with client.visit() as sessions:
        sessions["session"].destroy()
        assert (sessions["session"].is_new, sessions["session"].key_id) == (True, None)
        sessions["session"]["user"] = 8
        assert sessions["session"].created_at.timestamp() == clock.now
    assert len(client.set_cookies) == 1
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 8}
        assert sessions["session"].id != first


def test_a_refused_cookie_is_left_alone_by_a_read_and_replaced_by_a_write(client: Client) -> None:
    client.cookies["session"] = forged(client.cookies["session"])
    with client.visit() as sessions:
        assert sessions["session"].refusal is Reason.FORGED
        assert sessions["session"].is_new
    assert client.set_cookies == []
    with client.visit() as sessions:
        sessions["session"]["user"] = 9
        assert sessions["session"].refusal is Reason.FORGED
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 9}


def test_a_cookie_of_a_retiring_key_is_sealed_anew_when_read_and_of_an_accepting_one_is_not(suite: Suite, clock: Clock) -> None:
    old, new = Key.generate(), Key.generate(suite)
    client = Client(Jar("session", Keyring(old), clock=clock))
    with client.visit() as sessions:
        sessions["session"]["user"] = 7
        first_id = sessions["session"].id
    before = dict(client.cookies)
    clock.pass_(60)
    client.jars = (Jar("session", Keyring(new, accepting=[old]), clock=clock),)
    with client.visit() as sessions:
        assert sessions["session"].key_id == old.id
    assert client.cookies == before
    client.jars = (Jar("session", Keyring(new, retiring=[old]), clock=clock),)
    with client.visit() as sessions:
        assert sessions["session"].key_id == old.id
        times = sessions["session"].created_at, sessions["session"].expires_at
    assert client.cookies != before
    client.jars = (Jar("session", Keyring(new), clock=clock),)
    with client.visit() as sessions:
        session = sessions["session"]
        assert (session, session.id, session.key_id) == ({"user": 7}, first_id, new.id)
        assert (session.created_at, session.expires_at) == times
    assert client.set_cookies == []


def test_a_key_that_left_the_ring_is_unknown(client: Client, jar: Jar) -> None:
    client.jars = (Jar("session", Keyring(Key.generate())),)
    with client.visit() as sessions:
        assert sessions["session"].refusal is Reason.UNKNOWN_KEY


# Assigning


def test_assigning_replaces_the_content_and_keeps_id_and_times(client: Client, clock: Clock) -> None:
    with client.visit() as sessions:
        first_id, created = sessions["session"].id, sessions["session"].created_at
    clock.pass_(60)
    sessions = client.request()
    sessions["session"] = {"user": 8}  # the first touch
    assert (sessions["session"], sessions["session"].id, sessions["session"].created_at) == ({"user": 8}, first_id, created)
    client.respond(sessions)
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 8}


def test_any_mapping_may_be_assigned_and_is_copied(client: Client) -> None:
    content = UserDict({"user": 9})
    with client.visit() as sessions:
        sessions["session"] = content
        content["user"] = 10
        sessions["cart"] = sessions["session"]
    assert content == {"user": 10}
    with client.visit() as sessions:
        assert sessions["session"] == sessions["cart"] == {"user": 9}
        assert sessions["session"] is not sessions["cart"]


@pytest.mark.parametrize("content", ["blah", [("a", 1)], None, 7])
def test_assigning_something_else_is_a_type_error_and_changes_nothing(client: Client, content: Any) -> None:
    with client.visit() as sessions, pytest.raises(TypeError, match="mapping"):
        sessions["session"] = content
    with client.visit() as sessions:
        assert sessions["session"]["user"] == 7


def test_assigning_a_session_to_itself_changes_nothing(client: Client) -> None:
    with client.visit() as sessions:
        sessions["session"] = sessions["session"]
        assert sessions["session"]["user"] == 7
    assert client.set_cookies == []


# A session is a dict


def test_a_session_is_a_dict(client: Client) -> None:
    with client.visit() as sessions:
        session = sessions["session"]
        assert isinstance(session, dict)
        assert json.loads(json.dumps(session)) == session
        assert {**session} == session
        assert type(session | {"a": 1}) is dict
        assert sorted(session) == ["deep", "tags", "user"]
        assert repr(session) == repr(dict(session))


# After the commit


def test_a_second_commit_answers_the_same(client: Client) -> None:
    sessions = client.request()
    sessions["session"]["a"] = 1
    first = sessions.commit()
    first_copy = list(first)
    first.append("mine")
    assert sessions.commit() == first_copy


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.__setitem__("new", 1),
        lambda s: s.__delitem__("user"),
        lambda s: s.pop("user"),
        lambda s: s.popitem(),
        lambda s: s.clear(),
        lambda s: s.setdefault("new", None),
        lambda s: s.update({"new": None}),
        lambda s: s.__ior__({"new": None}),
        lambda s: s.reset(),
        lambda s: s.destroy(),
        lambda s: s.set_duration(HOUR),
        lambda s: s.id,
    ],
)
def test_a_write_after_the_commit_is_an_error_and_not_lost_in_silence(client: Client, write: Any) -> None:
    sessions = client.request()
    session = sessions["session"]
    before = dict(session)
    sessions.commit()
    with pytest.raises(SessionCommittedError, match="start_response"):
        write(session)
    assert session == before


def test_reads_after_the_commit_go_on(client: Client) -> None:
    sessions = client.request()
    session_id = sessions["session"].id
    sessions.commit()
    assert sessions["session"]["user"] == 7
    assert sessions["session"].id == session_id
    assert sessions["session"].setdefault("user", 8) == 7


def test_a_first_access_after_the_commit_is_an_error(client: Client) -> None:
    sessions = client.request()
    sessions["session"]
    sessions.commit()
    with pytest.raises(SessionCommittedError, match="'cart' is used for the first time"):
        sessions["cart"]
    with pytest.raises(SessionCommittedError):
        sessions["cart"] = {}


# What cannot be sealed


def test_a_session_that_cannot_be_sealed_raises_once_and_the_others_are_answered(client: Client) -> None:
    sessions = client.request()
    sessions["session"]["when"] = object()
    sessions["cart"]["total"] = 34
    with pytest.raises(SerializationError, match="the session 'session' cannot be sealed: when is of type object"):
        sessions.commit()
    assert [cookie_of(value).partition("=")[0] for value in client.respond(sessions)] == ["cart"]
    with client.visit() as sessions:
        assert (sessions["session"]["user"], sessions["cart"]["total"]) == (7, 34)


def test_two_sessions_that_cannot_be_sealed_raise_once(client: Client) -> None:
    sessions = client.request()
    sessions["session"]["when"] = object()
    sessions["cart"]["items"] = ["x" * 5000]
    with pytest.raises(ClientSessionError):
        sessions.commit()
    assert sessions.commit() == []


def test_after_a_failed_commit_the_one_at_fault_is_closed_and_the_others_are_not(client: Client) -> None:
    sessions = client.request()
    sessions["session"]["when"] = object()
    with pytest.raises(SerializationError):
        sessions.commit()
    with pytest.raises(SessionCommittedError):
        sessions["session"].pop("when")
    sessions["cart"]["message"] = "we are sorry"  # an error page may still say so
    assert len(sessions.commit()) == 1


def test_a_session_too_large_says_its_size_and_its_largest_keys(client: Client) -> None:
    sessions = client.request()
    sessions["session"] |= {"small": 1, "large": "x" * 4000, "k" * 60: "y" * 500, "\x1b[31m": 2, "a": 1, "b": 2}
    with pytest.raises(SessionTooLargeError) as caught:
        sessions.commit()
    error = caught.value
    assert error.limit == 4096
    assert error.size > 6000
    assert [size for _, size in error.largest] == sorted((size for _, size in error.largest), reverse=True)
    assert [key for key, _ in error.largest][:2] == ["'large'", f"'{'k' * 40}'…"]
    assert len(error.largest) == 5
    assert str(error).splitlines()[1] == "    4,010 bytes of JSON  'large'"
    assert len(str(error).splitlines()) == 6
    assert f"takes {error.size:,} bytes" in str(error)
    assert "4,096" in str(error)
    assert "\x1b" not in str(error)
    assert "xxxx" not in str(error)


def test_exactly_4096_bytes_of_name_and_value_fit_and_no_byte_more(ring: Keyring) -> None:
    for name_length in (1, 4, 8, 200):
        jar = Jar("n" * name_length, ring)
        room = 3 * (4096 - name_length) // 4 - 58 - len(b'{"a":""}')
        client = Client(jar)
        with client.visit() as sessions:
            sessions[jar.name]["a"] = "x" * room
        (cookie,) = client.set_cookies
        assert 4093 <= len(cookie_of(cookie)) - len("=") <= 4096
        sessions = client.request()
        assert sessions[jar.name] == {"a": "x" * room}
        sessions[jar.name]["a"] += "x"
        with pytest.raises(SessionTooLargeError):
            sessions.commit()


def test_one_line_is_logged_when_all_cookies_together_are_large(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(Jar("one", ring), Jar("two", ring), Jar("three", ring))
    with client.visit() as sessions:
        sessions["one"]["a"] = "x" * 2900
    with client.visit() as sessions:
        sessions["two"]["a"] = "x" * 2300
    assert not caplog.records
    with client.visit() as sessions:  # 'two' is not touched, and counts as it came
        sessions["one"]["a"] = "y" * 2900
        sessions["three"]["a"] = "z" * 50
    (record,) = caplog.records
    assert record.name == "clientsession"
    assert record.levelno == logging.WARNING
    total = sum(len(name) + len(value) for name, value in client.cookies.items())
    assert f" {total} bytes" in record.getMessage()
    with client.visit() as sessions:  # a read as well
        assert sessions["one"]["a"] == "y" * 2900
    assert len(caplog.records) == 2
    client.cookies["one"] = client.cookies["two"]
    for touched in ([], ["one"]):  # without a session that opens, no client fills the log
        with client.visit() as sessions:
            for name in touched:
                assert sessions[name].is_new
    assert len(caplog.records) == 2


# What another writer sealed


def foreign_cookie(body: bytes, clock: Clock, *, flags: int = 0) -> str:
    created = int(clock.now * 1000)
    plaintext = reference.plaintext(created, created + 86_400_000, body, flags=flags)
    return reference.seal(SECRET, 1, "cookie", "session", "", plaintext)


@pytest.mark.parametrize(
    "body",
    [b'{ "b" : 1 ,\t"a":[ ] }', b'{"b":1}   ', rb'{"\u0062":1}', b'{"b":1,"b":2}', b"{ }", b'{"b":1e2}', b'{"b":1.50}'],
)
def test_another_writers_spelling_is_no_change(clock: Clock, body: bytes) -> None:
    client = Client(Jar("session", Keyring(Key.from_secret(SECRET)), clock=clock))
    client.cookies["session"] = foreign_cookie(body, clock)
    with client.visit() as sessions:
        assert sessions["session"].refusal is None
    if json.loads(body):
        assert client.set_cookies == []
        with client.visit() as sessions:
            sessions["session"]["c"] = 1
        assert len(client.set_cookies) == 1
    else:  # an empty session is not kept
        assert client.cookies == {}


@pytest.mark.parametrize("body", [rb'{"a":"\ud800"}', b'{"a":' + b"9" * 30 + b"}", b'{"a":' + b"[" * 70 + b"]" * 70 + b"}"])
def test_what_this_library_would_not_write_is_kept_as_it_came(clock: Clock, body: bytes) -> None:
    old, new = Key.from_secret(SECRET), Key.generate()
    client = Client(Jar("session", Keyring(old), clock=clock))
    client.cookies["session"] = foreign_cookie(body, clock)
    with client.visit() as sessions:
        assert sessions["session"]["a"]
    assert client.set_cookies == []
    client.jars = (Jar("session", Keyring(new, retiring=[old]), clock=clock),)
    with client.visit() as sessions:  # sealed anew, byte for byte
        assert sessions["session"]["a"]
    opened = reference.open(new._secret, 1, "cookie", "session", "", client.cookies["session"])
    assert opened is not None
    assert opened[13:] == body
    sessions = client.request()
    sessions["session"]["b"] = 1  # changed: now it is ours to write
    with pytest.raises(SerializationError):
        sessions.commit()
    with client.visit() as sessions:
        sessions["session"]["a"] = "mended"
    with client.visit() as sessions:
        assert sessions["session"] == {"a": "mended"}


def test_a_deflated_session_stays_so_while_it_is_unchanged(clock: Clock) -> None:
    import zlib

    old, new = Key.from_secret(SECRET), Key.generate()
    text = json.dumps({"a": "x" * 20_000}).encode()
    stream = zlib.compressobj(wbits=-15)
    deflated = stream.compress(text) + stream.flush()
    client = Client(Jar("session", Keyring(new, retiring=[old]), clock=clock))
    client.cookies["session"] = foreign_cookie(deflated, clock, flags=0x02)
    with client.visit() as sessions:
        assert len(sessions["session"]["a"]) == 20_000
    opened = reference.open(new._secret, 1, "cookie", "session", "", client.cookies["session"])
    assert opened is not None
    assert (opened[0], opened[13:]) == (0x02, deflated)


# Duplicates


def test_of_several_cookies_the_one_that_opens_is_the_session(client: Client) -> None:
    good = f"session={client.cookies['session']}"
    other = f"session={client.cookies['cart']}"
    for header in (f"{other}; {good}", f"{good}; {other}", f"session=; {good}; session=junk", f"{good}; {good}"):
        sessions = Sessions(client.jars, header)
        assert sessions["session"]["user"] == 7, header
        assert sessions.commit() == []


def test_two_that_open_are_none(client: Client) -> None:
    other = client.jars[0].codec.encode({"user": 8})
    sessions = Sessions(client.jars, f"session={client.cookies['session']}; session={other}")
    assert sessions["session"] == {}
    assert sessions["session"].refusal is Reason.AMBIGUOUS


def test_of_several_refusals_the_one_that_got_furthest_is_told(client: Client, clock: Clock) -> None:
    codec = client.jars[0].codec
    expired = client.cookies["session"]
    clock.pass_(90_000)
    broken = forged(codec.encode({}))
    unknown = Jar("session", Keyring(Key.generate())).codec.encode({})
    known = [("junk", Reason.MALFORMED), (unknown, Reason.UNKNOWN_KEY), (broken, Reason.FORGED), (expired, Reason.EXPIRED)]
    for last in range(len(known)):
        values = [value for value, _ in known[: last + 1]]
        for ordered in (values, values[::-1]):
            sessions = Sessions(client.jars, "; ".join(f"session={value}" for value in ordered))
            assert sessions["session"].refusal is known[last][1]


def test_the_furthest_refusal_past_the_seal_does_not_depend_on_order(clock: Clock) -> None:
    client = Client(Jar("session", Keyring(Key.from_secret(SECRET)), clock=clock))
    now = int(clock.now * 1000)
    known = [
        ("flags", reference.plaintext(now, now + 9, b"{}", flags=0x80), Reason.MALFORMED),
        ("order of times", reference.plaintext(now, now - 1, b"{}"), Reason.MALFORMED),
        ("future", reference.plaintext(now + 61_000, now + 62_000, b"{}"), Reason.FUTURE),
        ("expired", reference.plaintext(now - 2, now - 1, b"{}"), Reason.EXPIRED),
        ("body", reference.plaintext(now, now + 9, b"[]"), Reason.MALFORMED),
    ]
    cookies = {name: "session=" + reference.seal(SECRET, 1, "cookie", "session", "", plaintext) for name, plaintext, _ in known}
    for earlier, later in itertools.combinations(range(len(known)), 2):
        for pair in ((earlier, later), (later, earlier)):
            sessions = Sessions(client.jars, "; ".join(cookies[known[index][0]] for index in pair))
            assert sessions["session"].refusal is known[later][2], [known[index][0] for index in pair]


def test_more_than_four_candidates_are_not_opened(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = client.jars[0].codec
    others = [codec.encode({"n": number}) for number in range(4)]
    header = "; ".join(f"session={value}" for value in [client.cookies["session"], *others])
    monkeypatch.setattr(type(codec), "_open", lambda *_: pytest.fail("decrypted"))
    sessions = Sessions(client.jars, header)
    assert sessions["session"].refusal is Reason.AMBIGUOUS


def test_a_header_over_64_kib_is_not_looked_at(client: Client) -> None:
    header = f"session={client.cookies['session']}; pad="
    whole = header + "x" * (65_536 - len(header))
    assert Sessions(client.jars, whole)["session"]["user"] == 7
    sessions = Sessions(client.jars, whole + "x")
    assert sessions["session"] == {}
    assert sessions["session"].refusal is Reason.MALFORMED
    assert sessions.commit() == []
    sessions = Sessions(client.jars, whole + "x")
    sessions["session"].destroy()  # whatever it sent, the user is signed out
    assert len(sessions.commit()) == 1


# Telling


def test_an_observer_is_told_of_everything_and_nothing_else(suite: Suite, clock: Clock) -> None:
    old, new = Key.generate(), Key.generate(suite)
    told: list[Event] = []

    def jar_of(ring: Keyring) -> Jar:
        return Jar("session", ring, clock=clock, duration=HOUR, active_duration=timedelta(minutes=5), observer=told.append)

    def events() -> list[tuple[str, str | None, str | None]]:
        seen = [(event.kind.value, event.reason, event.key_id) for event in told]
        assert all(event.jar == "session" for event in told)
        told.clear()
        return seen

    client = Client(jar_of(Keyring(old)))
    with client.visit() as sessions:
        sessions["session"]["secret-marker"] = "secret-marker"
    for attribute in ("reason", "new"):
        with pytest.raises(AttributeError):
            setattr(told[0], attribute, "x")
    assert told[0].size == len("session") + len(client.cookies["session"])
    assert "marker" not in repr(told)
    assert events() == [("sealed", None, old.id)]
    with client.visit() as sessions:
        sessions["session"]
    assert events() == [("opened", None, old.id)]
    clock.pass_(3500)
    with client.visit() as sessions:
        sessions["session"]
    assert events() == [("opened", None, old.id), ("extended", None, old.id)]
    client.jars = (jar_of(Keyring(new, retiring=[old])),)
    with client.visit() as sessions:
        sessions["session"]
    assert events() == [("opened", None, old.id), ("resealed", None, new.id)]
    sessions = client.request()
    sessions["session"]["x"] = "x" * 5000
    with pytest.raises(SessionTooLargeError):
        sessions.commit()
    assert events() == [("opened", None, new.id), ("too_large", None, new.id)]
    with client.visit() as sessions:
        sessions["session"].destroy()
    assert events() == [("opened", None, new.id), ("deleted", None, None)]
    with client.visit() as sessions:
        sessions["session"]
    assert events() == []
    for cookie, expected in (
        ("junk", ("refused", "malformed", None)),
        (forged(client.jars[0].codec.encode({})), ("refused", "forged", new.id)),
    ):
        client.cookies["session"] = cookie
        with client.visit() as sessions:
            sessions["session"]
        assert events() == [expected]


def test_an_observer_that_raises_does_not_keep_the_cookies_back_for_good(ring: Keyring) -> None:
    def observe(event: Event) -> None:
        raise OSError("the disk is full")

    sessions = Sessions([Jar("session", ring, observer=observe)], None)
    sessions["session"]["a"] = 1
    with pytest.raises(OSError, match="disk"):
        sessions.commit()
    assert len(sessions.commit()) == 1


def test_a_refusal_is_logged_with_its_reason_and_without_the_token(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="clientsession")
    client.cookies["session"] = forged(client.cookies["session"])
    with client.visit() as sessions:
        sessions["session"]
    (record,) = caplog.records
    key_id = client.jars[0].keyring.sealing.id
    size = len("session") + len(client.cookies["session"])
    assert record.getMessage() == f"session cookie refused: jar=session reason=forged key={key_id} bytes={size}"


def test_the_header_is_text_or_none(jar: Jar) -> None:
    with pytest.raises(TypeError, match="decode bytes as Latin-1"):
        Sessions([jar], b"session=x")  # type: ignore[arg-type]


def test_sessions_without_a_jar_or_with_something_else_are_refused(jar: Jar) -> None:
    with pytest.raises(ConfigurationError, match="at least one Jar"):
        Sessions([], None)
    with pytest.raises(ConfigurationError, match=r"write \[jar\]"):
        Sessions(jar, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="Jar objects, not of str"):
        Sessions(["session"], None)  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="two jars are named 'session'"):
        Sessions([jar, jar], None)


class Uncomparable:
    """As an array of numpy is, or a column of a table."""

    def __eq__(self, other: object) -> Any:
        return self

    def __ne__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_what_cannot_be_compared_is_told_by_its_path(client: Client) -> None:
    with client.visit() as sessions:
        sessions["session"]["rows"] = [1, 2]
    sessions = client.request()
    sessions["session"]["rows"] = Uncomparable()
    with pytest.raises(SerializationError, match=r"rows is of type .*Uncomparable"):
        sessions.commit()


def test_a_session_that_was_given_up_is_not_counted_as_large(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(Jar("one", ring), Jar("two", ring))
    with client.visit() as sessions:
        sessions["one"]["a"] = "x" * 2900
    with client.visit() as sessions:
        sessions["two"]["a"] = "x" * 2300
    client.cookies["other"] = "y" * 1000
    sessions = client.request()
    sessions["one"]["bad"] = object()
    with pytest.raises(SerializationError):
        sessions.commit()
    assert sessions.commit() == []
    assert not caplog.records


class Signed(Reader):
    """Reads ``yes`` and a number, as the cookie of another system; the content of ``no`` is nothing we can seal."""

    def read(self, value: str, now: int) -> OldSession | None:
        if value.startswith("no"):
            return OldSession({"odd": object()})
        if value == "ancient":
            return OldSession({}, created=-1)
        if value in ("over", "future"):
            return OldSession({}, created=now + 90_000, expires=now + 99_000) if value == "future" else OldSession({}, expires=now)
        return OldSession({"n": value.removeprefix("yes")}) if value.startswith("yes") else None


@pytest.mark.parametrize(("ours", "foreign"), [(0, 4), (1, 3), (2, 2), (3, 1)])
def test_four_candidates_are_asked_whichever_system_they_are_of_and_of_five_none(
    ring: Keyring, clock: Clock, ours: int, foreign: int
) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("old")])
    sent = [f"session={forged(jar.codec.encode({'n': n}))}" for n in range(ours)] + [f"old=junk{n}" for n in range(foreign - 1)]
    four = Sessions([jar], "; ".join([*sent, "old=yes7"]))
    assert four["session"] == {"n": "7"}
    five = Sessions([jar], "; ".join([*sent, "old=junk", "old=yes7"]))
    assert (five["session"], five["session"].refusal) == ({}, Reason.AMBIGUOUS)


def test_what_another_system_left_and_cannot_be_sealed_got_further_than_what_is_forged(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("old")])
    sessions = Sessions([jar], f"session={forged(jar.codec.encode({}))}; old=no")
    assert sessions["session"].refusal is Reason.MALFORMED
    assert Sessions([jar], f"session={forged(jar.codec.encode({}))}; old=junk")["session"].refusal is Reason.FORGED


def test_an_error_of_a_session_has_the_name_of_its_jar_and_not_of_its_cookie(ring: Keyring) -> None:
    sessions = Sessions([Jar("basket", ring, cookie_name="__Host-c")], None)
    sessions["basket"]["a"] = object()
    with pytest.raises(SerializationError, match="the session 'basket' cannot be sealed"):
        sessions.commit()
    sessions = Sessions([Jar("basket", ring, cookie_name="__Host-c")], None)
    sessions["basket"]["a"] = "x" * 5000
    with pytest.raises(SessionTooLargeError, match="the session 'basket' takes"):
        sessions.commit()


def test_a_jar_says_what_it_was_made_with(ring: Keyring, clock: Clock) -> None:
    serializer = StrictJSON()
    events: list[Event] = []
    jar = Jar(
        "basket",
        ring,
        duration=HOUR,
        active_duration=timedelta(minutes=5),
        max_duration=2 * HOUR,
        cookie_name="b",
        audience="shop",
        path="/shop",
        domain="example.com",
        secure=False,
        httponly=False,
        samesite="Strict",
        max_age=timedelta(minutes=1),
        serializer=serializer,
        clock=clock,
        observer=events.append,
        former_scopes=[("/", None)],
        pad_to=64,
    )
    assert (jar.name, jar.keyring, jar.cookie_name, jar.audience) == ("basket", ring, "b", "shop")
    assert (jar.duration, jar.active_duration, jar.max_duration) == (HOUR, timedelta(minutes=5), 2 * HOUR)
    assert (jar.path, jar.domain, jar.samesite, jar.max_age) == ("/shop", "example.com", "Strict", timedelta(minutes=1))
    assert (jar.secure, jar.httponly, jar.partitioned, jar.ephemeral, jar.compress) == (False,) * 5
    assert (jar.serializer, jar.clock, jar.observer, jar.pad_to) == (serializer, clock, events.append, 64)
    assert (jar.former_scopes, jar.migrate_from) == ((("/", None),), ())
    other = Jar("session", ring, ephemeral=True, partitioned=True, compress=True)
    assert (other.ephemeral, other.partitioned, other.compress, other.pad_to) == (True, True, True, None)
    assert (other.secure, other.httponly, other.max_age, other.observer) == (True, True, None, None)
    assert (other.samesite, other.path, other.domain, other.cookie_name) == ("Lax", "/", None, "session")
    assert isinstance(other.serializer, StrictJSON)


def test_of_two_cookies_the_shortest_form_and_the_longest_are_looked_at(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session8", ring, clock=clock)
    header = base64.urlsafe_b64decode(jar.codec.encode({}) + "==")[:5]
    shortest = base64.urlsafe_b64encode(header + bytes(40)).decode()
    assert len(shortest) == 60
    assert Sessions([jar], f"session8={shortest}; session8=junk")["session8"].refusal is Reason.FORGED
    content = {"a": "x" * 3000}
    content["a"] += "x" * ((4088 - len(jar.codec.encode(content))) // 4 * 3)
    longest = jar.codec.encode(content)
    assert len("session8") + len(longest) == 4096
    assert Sessions([jar], f"session8={longest}; session8=junk")["session8"] == content


def test_of_two_that_are_refused_an_event_names_the_key_of_the_one_that_got_furthest(ring: Keyring, clock: Clock) -> None:
    events: list[Event] = []
    jar = Jar("session", ring, clock=clock, observer=events.append)
    assert not Sessions([jar], f"session=junk; session={forged(jar.codec.encode({}))}")["session"]
    assert [(event.reason, event.key_id) for event in events] == [(Reason.FORGED, ring.sealing.id)]


def test_an_old_cookie_behind_one_of_ours_under_the_same_name_is_read(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("session")])
    sessions = Sessions([jar], f"session={forged(jar.codec.encode({}))}; session=yes7")
    assert sessions["session"] == {"n": "7"}


def test_what_is_sealed_anew_for_a_retiring_key_is_logged_without_an_observer(
    key: Key, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "clientsession")
    cookie = f"session={Jar('session', Keyring(key), clock=clock).codec.encode({'user': 7})}"
    sessions = Sessions([Jar("session", Keyring(Key.generate(), retiring=[key]), clock=clock)], cookie)
    assert sessions["session"] == {"user": 7}
    assert len(sessions.commit()) == 1
    assert [record.levelname for record in caplog.records if "resealed" in record.getMessage()] == ["INFO"]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("future", "over", Reason.EXPIRED),
        ("over", "future", Reason.EXPIRED),
        ("over", "no", Reason.MALFORMED),
        ("no", "over", Reason.MALFORMED),
        ("future", "no", Reason.MALFORMED),
        ("no", "future", Reason.MALFORMED),
        ("over", "ancient", Reason.MALFORMED),
        ("ancient", "over", Reason.MALFORMED),
    ],
)
def test_of_two_that_another_system_left_the_refusal_is_of_the_one_that_got_furthest(
    ring: Keyring, clock: Clock, first: str, second: str, reason: Reason
) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("old"), Signed("older")])
    assert Sessions([jar], f"old={first}; older={second}")["session"].refusal is reason


def test_an_old_session_of_the_future_got_further_than_a_token_that_ends_before_it_begins(suite: Suite, clock: Clock) -> None:
    ring = Keyring(Key.from_secret(SECRET, suite=suite))
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("old")])
    sealed = reference.plaintext(1_800_000_000_000, 1_799_999_999_999, b"")
    token = reference.seal(SECRET, suite, "cookie", "session", "", sealed)
    assert Sessions([jar], f"session={token}")["session"].refusal is Reason.MALFORMED
    assert Sessions([jar], f"session={token}; old=future")["session"].refusal is Reason.FUTURE


def test_all_jars_of_a_request_have_one_reading_of_their_clock(ring: Keyring, clock: Clock) -> None:
    client = Client(Jar("one", ring, clock=clock), Jar("two", ring, clock=clock))
    for _ in range(2):
        before = clock.reads
        with client.visit() as sessions:
            sessions["one"]["n"] = sessions["one"].get("n", 0) + 1
            sessions["two"]["n"] = 1
        assert clock.reads == before + 1


def test_all_jars_of_a_request_have_one_look_at_their_keys(clock: Clock) -> None:
    one, two = Key.generate(), Key.generate()
    rings = [Keyring(one), Keyring(two)]
    ring = Keyring.from_source(lambda: rings[0], clock=clock)
    sessions = Sessions([Jar("a", ring), Jar("b", ring)], None)
    sessions["a"]["n"] = 1
    rings.pop(0)
    clock.pass_(3600)
    sessions["b"]["n"] = 1
    answers = "; ".join(cookie_of(value) for value in sessions.commit())
    again = Sessions([Jar("a", Keyring(one)), Jar("b", Keyring(one))], answers)
    assert (again["a"], again["b"]) == ({"n": 1}, {"n": 1})
    assert ring.sealing.id == two.id


@pytest.mark.parametrize(("total", "warnings"), [(7168, 0), (7169, 1)])
def test_the_bytes_of_all_jars_are_counted_to_the_last(
    ring: Keyring, caplog: pytest.LogCaptureFixture, total: int, warnings: int
) -> None:
    jars = [HeaderJar("header", ring), *(Jar(name, ring) for name in ("one", "two", "junk", "other"))]
    tokens = {jar.name: jar.codec.encode({"a": "x" * 2000}) for jar in jars[1:3]}
    held = sum(len(name) + len(token) for name, token in tokens.items())
    cookies = {**tokens, "junk": "refused", "other": "y" * (total - held - len("other"))}
    sessions = Sessions(jars, "; ".join(f"{name}={value}" for name, value in cookies.items()), headers={})
    assert (len(sessions["one"]), len(sessions["two"]), len(sessions["junk"])) == (1, 1, 0)
    assert sessions.commit() == []
    assert len(caplog.records) == warnings
    if warnings:
        assert f"take {total} bytes together" in caplog.text
        assert "keep less in header, one, two, junk, other" in caplog.text


def test_what_is_refused_and_what_is_not_looked_at_fill_no_log(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions([Jar("one", ring), Jar("two", ring)], f"one=junk; two={'y' * 8000}")
    assert sessions["one"] == {}
    assert sessions.commit() == []
    assert not caplog.records


def test_sessions_that_are_not_made_yet_can_be_shown() -> None:
    assert repr(Sessions.__new__(Sessions)) == "<Sessions >"


def test_a_session_of_another_system_has_a_size_and_keeps_its_times_in_a_token(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("old")])
    sessions = Sessions([jar], "old=yes7")
    session = sessions["session"]
    session.set_duration(HOUR)
    size = session.size
    clock.pass_(60)
    again = jar.codec.decode(jar.codec.encode(session))
    assert (again.created_at, again.expires_at) == (session.created_at, session.expires_at)
    [_, ours] = sessions.commit()
    assert size == len(cookie_of(ours)) - 1


@pytest.mark.parametrize("has_id", [False, True])
def test_a_session_of_another_system_is_padded_too(ring: Keyring, clock: Clock, has_id: bool) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("old")], pad_to=64)
    sessions = Sessions([jar], "old=yes7")
    assert sessions["session"] == {"n": "7"}
    assert not has_id or sessions["session"].id
    token = cookie_of(sessions.commit()[1]).partition("=")[2]
    assert (len(reference.frame_of(token)) - 58) % 64 == 0


def test_what_goes_out_in_headers_counts_for_nothing_beside_cookies(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    content = {"a": "x" * 2600}
    names = 7169 - 2 * len(Jar("any", ring).codec.encode(content))
    jars = [HeaderJar("header", ring), Jar("a" * (names // 2), ring), Jar("b" * (names - names // 2), ring)]
    sessions = Sessions(jars, None, headers={})
    for jar in jars:
        sessions[jar.name] = content
    answers = sessions.commit_headers()
    assert sum(len(cookie_of(value)) - 1 for name, value in answers if name == "Set-Cookie") == 7169
    assert [record.getMessage()[:49] for record in caplog.records] == ["the session cookies of one client take 7169 bytes"]


def test_content_of_another_type_is_told_its_type(ring: Keyring) -> None:
    with pytest.raises(TypeError, match=r"^a session's content is a mapping, not list$"):
        Sessions([Jar("session", ring)], None)["session"] = [1]


def test_of_two_old_cookies_the_one_that_is_not_replaced_is_deleted(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session", ring, clock=clock, migrate_from=[Signed("session"), Signed("old")])
    sessions = Sessions([jar], "session=yes7; old=junk")
    assert sessions["session"] == {"n": "7"}
    assert [cookie_of(value)[:8] for value in sessions.commit()] == ["old=", "session="]


@pytest.mark.parametrize("scopes", ["", b"", "/shop", None, 7])
def test_former_scopes_are_a_list_of_pairs(ring: Keyring, scopes: Any) -> None:
    with pytest.raises(ConfigurationError, match="former_scopes must be a list"):
        Jar("session", ring, former_scopes=scopes)


def test_eight_former_scopes_are_taken_and_nine_are_not(ring: Keyring) -> None:
    scopes = [(f"/{n}", None) for n in range(9)]
    assert Jar("session", ring, former_scopes=scopes[:8]).former_scopes == tuple(scopes[:8])
    with pytest.raises(ConfigurationError, match="takes 8 pairs at most"):
        Jar("session", ring, former_scopes=scopes)


@pytest.mark.parametrize("readers", ["", b""])
def test_an_empty_text_is_no_list_of_readers(ring: Keyring, readers: Any) -> None:
    with pytest.raises(ConfigurationError, match="migrate_from must be a list of readers"):
        Jar("session", ring, migrate_from=readers)


def test_a_name_that_no_jar_has_is_told_with_those_there_are(ring: Keyring) -> None:
    with pytest.raises(KeyError, match="no jar is named 'cat'; there are cart, session\""):
        Sessions([Jar("cart", ring), Jar("session", ring)], None)["cat"]


def test_a_session_that_is_deleted_is_not_counted_as_large(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    jars = [Jar("session", ring), Jar("junk", ring)]
    sessions = Sessions(jars, f"session={jars[0].codec.encode({'user': 7})}; junk={'y' * 8000}")
    sessions["session"].destroy()
    assert len(sessions.commit()) == 1
    assert not caplog.records


def test_a_session_that_was_given_up_does_not_count_beside_one_that_stays(ring: Keyring, caplog: pytest.LogCaptureFixture) -> None:
    jars = [Jar("one", ring), Jar("two", ring)]
    sessions = Sessions(jars, "; ".join(f"{jar.name}={jar.codec.encode({'a': 'x' * 2900})}" for jar in jars))
    assert sessions["two"] == {"a": "x" * 2900}
    sessions["one"]["bad"] = object()
    with pytest.raises(SerializationError):
        sessions.commit()
    assert sessions.commit() == []
    assert not caplog.records


def test_the_size_of_an_event_is_that_of_the_error_and_nothing_where_nothing_was_looked_at(ring: Keyring) -> None:
    told: list[Event] = []
    jar = Jar("session", ring, observer=told.append)
    sessions = Sessions([jar], None)
    sessions["session"]["x"] = "x" * 5000
    with pytest.raises(SessionTooLargeError) as caught:
        sessions.commit()
    assert Sessions([jar], "session=" + "x" * 65_536)["session"] == {}
    assert [(event.kind, event.size) for event in told] == [("too_large", caught.value.size), ("refused", 0)]


def test_the_lines_of_one_jar_keep_none_of_another_out_of_the_log(
    ring: Keyring, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    jars = [Jar(name, ring, clock=clock, migrate_from=[Signed(f"old-{name}")]) for name in ("cart", "session")]

    def lines_of(name: str) -> int:
        caplog.clear()
        sessions = Sessions(jars, f"old-{name}=yes{'x' * 4000}")  # what another system left, and does not fit
        assert len(sessions[name]) == 1
        assert sessions.commit() == []
        return len([record for record in caplog.records if f"in the jar {name}" in record.getMessage()])

    assert [lines_of("cart") for _ in range(11)] == [1] * 10 + [0]
    assert lines_of("session") == 1
