"""Jars and Sessions: what is sent when, what counts as a change, what happens after the commit, what is told to whom."""

from __future__ import annotations

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
