"""What was published of other systems of this kind and could have been ours, one test or a few for each.

A number in a docstring names the class of incident, and the sentence after it that class. What is tested is this library alone.
"""

from __future__ import annotations

import base64
import gc
import hmac
import itertools
import json
import logging
import marshal
import os
import pickle
import re
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import (
    Codec,
    ConfigurationError,
    ExpiredTokenError,
    ForgedTokenError,
    HeaderJar,
    Jar,
    Key,
    Keyring,
    MalformedTokenError,
    Reason,
    Sessions,
    Suite,
    TokenError,
    _ciphers,
)
from clientsession._keys import pae
from clientsession.migrate import OldSession, Reader, aiohttp_session, litestar
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests import reference, test_migrate_encrypted, test_migrate_node, test_migrate_signed
from tests.conftest import Client, Clock, cookie_of, max_age_of
from tests.strict_wsgi import Exchange, make_environ, serve

ROOT = Path(__file__).parent.parent
SECRET = bytes(range(7, 39))
NOW = 1_800_000_000_000  # the clock fixture's, in milliseconds
DAY_MS = 86_400_000
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Use = Callable[[dict[str, Any]], object]


@pytest.fixture
def key(suite: Suite) -> Key:
    return Key.from_secret(SECRET, suite=suite)


@pytest.fixture
def jar(ring: Keyring, clock: Clock) -> Jar:
    return Jar("session", ring, clock=clock)


def token_of(answers: list[str]) -> str:
    """The token of the one cookie a response sets."""
    [answer] = answers
    return cookie_of(answer).partition("=")[2]


def sent_by(jar: Jar, content: dict[str, Any]) -> str:
    """The Cookie header of a browser that has this session."""
    return f"{jar.cookie_name}={jar.codec.encode(content)}"


def app_of(jars: list[Any], use: Use, headers: list[tuple[str, str]] | None = None) -> SessionMiddleware:
    """An application that uses its sessions so, and whose headers, where given, are one list for all requests."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        use(environ)
        start_response("200 OK", [("Content-Type", "text/plain")] if headers is None else headers)
        return [b"page"]

    return SessionMiddleware(app, jars)


def read(environ: dict[str, Any]) -> None:
    get_sessions(environ)["session"].get("user")


def write(environ: dict[str, Any]) -> None:
    get_sessions(environ)["session"]["user"] = 7


# Randomness and nonces


FORK = """
import json, os, sys
from clientsession import Codec, Key, Keyring, Suite
codec = Codec(Keyring(Key.generate(Suite(int(sys.argv[1])))), "x")

def sealed():
    out = []
    for _ in range(64):
        session = codec.decode(codec.encode({}))
        session.id
        out.append([codec.encode(session), session.id, Key.generate().export()])
    return out

everyone = sealed()  # whatever the parent holds from here on, its children begin with
for _ in range(3):
    out, into = os.pipe()
    if os.fork() == 0:
        os.close(out)
        with open(into, "w") as file:
            json.dump(sealed(), file)
        os._exit(0)
    os.close(into)
    with open(out) as file:
        everyone += json.load(file)
    assert os.wait()[1] == 0
json.dump(everyone + sealed(), sys.stdout)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_worker_repeats_no_nonce_no_id_and_no_key(suite: Suite) -> None:
    """CVE-2013-1445, CVE-2019-1549, CVE-2026-11625: random numbers that come again in a child process.

    What a sealer keeps across a fork is half a nonce; the other half, an id and a key are the system's random bytes each time.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, str(suite.value)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    tokens, ids, keys = zip(*json.loads(done.stdout), strict=True)
    assert len(tokens) == 5 * 64
    assert len({reference.frame_of(token)[17:29] for token in tokens}) == len(tokens)
    assert len(set(ids)) == len(ids)
    assert len(set(keys)) == len(keys)


def test_no_nonce_is_kept_for_a_whole_session(jar: Jar, clock: Clock) -> None:
    """CVE-2024-23688, CVE-2026-59099: one nonce for all messages of a session, or of a server. Here each seal has a fresh one."""
    client = Client(jar)
    nonces = set()
    for number in range(200):
        with client.visit() as sessions:
            sessions["session"]["n"] = number
        nonces.add(reference.frame_of(client.cookies["session"])[17:29])
    assert len(nonces) == 200


# Keys


def test_a_ring_seals_with_the_named_key_in_every_order_of_the_others(suite: Suite, clock: Clock) -> None:
    """CVE-2025-47278: a ring that seals with the last key of a list. Here the sealing key has a role, and order says nothing."""
    keys = [Key.generate(suite) for _ in range(4)]
    for sealing, *others in itertools.permutations(keys):
        for cut in range(4):
            ring = Keyring(sealing, accepting=others[:cut], retiring=others[cut:])
            token = Codec(ring, "x", clock=clock).encode({"a": 1})
            assert reference.frame_of(token)[1:5].hex() == sealing.id
            assert Codec(Keyring(sealing), "x", clock=clock).decode(token) == {"a": 1}


def test_a_list_is_no_sealing_key(suite: Suite) -> None:
    """CVE-2025-47278"""
    keys: Any = [Key.generate(suite) for _ in range(2)]
    for arguments in ((keys,), tuple(keys)):
        with pytest.raises((ConfigurationError, TypeError)):
            Keyring(*arguments)


def test_the_environment_names_the_sealing_key_too(suite: Suite, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-47278"""
    sealing, accepted, retiring = (Key.generate(suite) for _ in range(3))
    monkeypatch.delenv("CLIENTSESSION_KEY_FILE", raising=False)
    for before, after in ((accepted, retiring), (retiring, accepted)):
        monkeypatch.setenv("CLIENTSESSION_KEY", sealing.export())
        monkeypatch.setenv("CLIENTSESSION_ACCEPTED_KEYS", before.export())
        monkeypatch.setenv("CLIENTSESSION_RETIRING_KEYS", after.export())
        assert Keyring.from_env().sealing.id == sealing.id


@pytest.mark.parametrize("nothing", [b"", "", None, (), 0, b"\0" * 32, " " * 32, bytes(31)])
def test_an_empty_or_missing_secret_is_no_key(nothing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-44351, CVE-2026-45363, CVE-2026-49852: an empty secret, from a look-up in vain, with which anybody signs."""
    for make in (
        Key.from_secret,
        Key.parse,
        lambda secret: Key.from_passphrase(secret[:7] if secret else secret, salt=bytes(16)),
        Keyring,
        lambda text: Keyring(Key.generate(), accepting=[text]),
        lambda text: Keyring(Key.generate(), retiring=[text]),
        lambda text: Keyring.from_source(lambda: text),
    ):
        with pytest.raises(ConfigurationError):
            make(nothing)
    monkeypatch.delenv("CLIENTSESSION_KEY_FILE", raising=False)
    monkeypatch.setenv("CLIENTSESSION_KEY", nothing if isinstance(nothing, str) else "")
    with pytest.raises(ConfigurationError):
        Keyring.from_env()


def test_there_is_no_key_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2021-29480: a key that is made up where none was given, and can be guessed. Here it is an error."""
    for variable in ("KEY", "ACCEPTED_KEYS", "RETIRING_KEYS", "KEY_FILE"):
        monkeypatch.delenv(f"CLIENTSESSION_{variable}", raising=False)
    for make in (Keyring, Keyring.from_env, lambda: Jar("session", None), lambda: Codec(None, "x")):  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            make()
    assert len({Key.generate().export() for _ in range(50)}) == 50


# Caches, and users beside one another


ACCESSES: dict[str, Callable[[dict[str, Any]], object]] = {
    "the session alone": lambda environ: get_sessions(environ)["session"],
    "in": lambda environ: "user" in get_sessions(environ)["session"],
    "in, of a key that is not there": lambda environ: "nobody" in get_sessions(environ)["session"],
    "not": lambda environ: not get_sessions(environ)["session"],
    "len": lambda environ: len(get_sessions(environ)["session"]),
    "iter": lambda environ: list(get_sessions(environ)["session"]),
    "reversed": lambda environ: list(reversed(get_sessions(environ)["session"])),
    "keys": lambda environ: get_sessions(environ)["session"].keys(),
    "values": lambda environ: get_sessions(environ)["session"].values(),
    "items": lambda environ: get_sessions(environ)["session"].items(),
    "get": lambda environ: get_sessions(environ)["session"].get("user"),
    "[]": lambda environ: get_sessions(environ)["session"]["user"],
    "==": lambda environ: get_sessions(environ)["session"] == {},
    "|": lambda environ: get_sessions(environ)["session"] | {},
    "repr": lambda environ: repr(get_sessions(environ)["session"]),
    "copy": lambda environ: get_sessions(environ)["session"].copy(),
    "is_new": lambda environ: get_sessions(environ)["session"].is_new,
    "refusal": lambda environ: get_sessions(environ)["session"].refusal,
    "key_id": lambda environ: get_sessions(environ)["session"].key_id,
    "created_at": lambda environ: get_sessions(environ)["session"].created_at,
    "expires_at": lambda environ: get_sessions(environ)["session"].expires_at,
    "ephemeral": lambda environ: get_sessions(environ)["session"].ephemeral,
    "size": lambda environ: get_sessions(environ)["session"].size,
    "id": lambda environ: get_sessions(environ)["session"].id,
    "setdefault": lambda environ: get_sessions(environ)["session"].setdefault("user", 1),
    "pop": lambda environ: get_sessions(environ)["session"].pop("nobody", None),
    "update": lambda environ: get_sessions(environ)["session"].update(),
    "write": write,
    "replace": lambda environ: get_sessions(environ).__setitem__("session", {"a": 1}),
    "reset": lambda environ: get_sessions(environ)["session"].reset(),
    "destroy": lambda environ: get_sessions(environ)["session"].destroy(),
    "set_duration": lambda environ: get_sessions(environ)["session"].set_duration(HOUR),
}


@pytest.mark.parametrize("access", ACCESSES)
def test_a_response_to_any_use_of_a_session_varies_by_cookie_and_is_private(jar: Jar, access: str) -> None:
    """CVE-2026-27205: some ways to look at a session that leave no Vary. Here all of them do, and private beside it."""
    answered = serve(app_of([jar], ACCESSES[access]), make_environ(cookie=sent_by(jar, {"user": 7})))
    assert answered.values("Vary") == ["Cookie"]
    [cache] = answered.values("Cache-Control")
    assert cache.split(", ")[0] == "private"
    assert ("no-store" in cache) is bool(answered.values("Set-Cookie"))


def test_the_accesses_are_all_that_a_session_has() -> None:
    """CVE-2026-27205: a new way in would need its line above."""
    from clientsession import Session

    public = {name for name in vars(Session) if not name.startswith("_")} - {"new", "size_left", "clear", "popitem"}
    assert public <= set(ACCESSES)


@pytest.mark.parametrize("cookie", [None, "session=junk", "session=" + "A" * 80, "other=1"])
def test_a_response_to_a_client_without_a_session_varies_too(jar: Jar, cookie: str | None) -> None:
    """CVE-2026-27205: what a stranger is shown is not for the users who are signed in."""
    answered = serve(app_of([jar], read), make_environ(cookie=cookie))
    assert (answered.values("Vary"), answered.values("Cache-Control")) == (["Cookie"], ["private"])


def test_a_cookie_that_is_sent_again_for_its_time_or_key_alone_is_kept_from_caches(suite: Suite, key: Key, clock: Clock) -> None:
    """CVE-2023-30861: a cookie sent again on a page that did not change it, without Vary. Here there is none without a use, and
    with it Vary and no-store.
    """
    jar = Jar("session", Keyring(key), clock=clock, duration=HOUR, active_duration=30 * MINUTE)
    cookie = sent_by(jar, {"user": 7})
    rotated = Jar("session", Keyring(Key.generate(suite), retiring=[key]), clock=clock, duration=HOUR)
    clock.pass_(45 * 60)
    for again in (jar, rotated):
        untouched = serve(app_of([again], lambda environ: None), make_environ(cookie=cookie))
        assert [untouched.values(name) for name in ("Set-Cookie", "Vary", "Cache-Control")] == [[], [], []]
        answered = serve(app_of([again], read), make_environ(cookie=cookie))
        assert len(answered.values("Set-Cookie")) == 1
        assert (answered.values("Vary"), answered.values("Cache-Control")) == (["Cookie"], ["private, no-store"])


@pytest.mark.parametrize("said", ["public", "public, max-age=600", "s-maxage=600", "max-age=600", 'private="x-a"', "no-cache"])
def test_no_cookie_of_a_session_goes_out_where_a_shared_cache_may_keep_it(jar: Jar, said: str) -> None:
    """CVE-2025-48947: a session's cookie on a response that a cache may store. Whatever the application says, it is private."""
    app = app_of([jar], write, [("Content-Type", "text/plain"), ("Cache-Control", said)])
    answered = serve(app, make_environ())
    assert len(answered.values("Set-Cookie")) == 1
    directives = {text.strip() for value in answered.values("Cache-Control") for text in value.split(",")}
    assert "private" in directives
    assert not {text for text in directives if text.startswith(("public", "s-maxage"))}


def test_one_list_of_headers_for_all_users_stays_as_it_is(jar: Jar) -> None:
    """GHSA-7vwr-g6pm-9hc8: what one user's response holds comes to another by an object that requests share.

    Here the application's own list is copied, also where no session was used, and the server may add to what it is given: nobody
    gets a cookie, or a header, of the request before.
    """
    shared = [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")]
    before = list(shared)

    def use(environ: dict[str, Any]) -> None:
        if environ["PATH_INFO"] != "/quiet":
            get_sessions(environ)["session"]["user"] = environ["PATH_INFO"]

    app = app_of([jar], use, shared)

    def server(environ: dict[str, Any], start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            headers.append(("Set-Cookie", f"seen={environ['PATH_INFO']}"))
            return start_response(status, headers, *exc_info)

        return app(environ, start)

    def ask(path: str) -> Exchange:
        return serve(server, make_environ(path=path))

    seen = set()
    for user in range(50):
        answered = ask(f"/{user}")
        cookie, added = answered.values("Set-Cookie")
        assert added == f"seen=/{user}"
        assert jar.codec.decode(cookie_of(cookie).partition("=")[2]) == {"user": f"/{user}"}
        seen.add(cookie)
        quiet = ask("/quiet")
        assert [quiet.values(name) for name in ("Set-Cookie", "Vary", "Cache-Control")] == [["seen=/quiet"], [], ["max-age=60"]]
    assert len(seen) == 50
    assert shared == before


def test_what_is_at_hand_of_one_token_opens_no_other(suite: Suite) -> None:
    """CVE-2026-35039: a cache of checked tokens that answers one with the content of another.

    Here no content is cached. What is kept, the key of a nonce's first half, opens each token by its own tag alone.
    """
    codec = Codec(Keyring(Key.from_secret(SECRET, suite=suite)), "x")
    tokens = [codec.encode({"user": number}) for number in range(40)]
    fields = [reference.frame_of(token) for token in tokens]
    if suite is Suite.XAES_256_GCM:
        assert len({frame[5:17] for frame in fields}) == 1  # they share what is kept
    for number, token in enumerate(tokens):
        assert codec.decode(token) == {"user": number}
    for one, other in itertools.pairwise(fields):
        for mixed in (one[:29] + other[29:], one[:-16] + other[-16:], one[:17] + other[17:29] + one[29:]):
            with pytest.raises(ForgedTokenError):
                codec.decode(reference.text(mixed))


# What a token is for


def test_a_value_opens_under_its_own_kind_name_and_audience_alone(ring: Keyring, clock: Clock) -> None:
    """CVE-2023-48309: a token that was issued for one step of a sign-in, pasted in as the session's cookie."""
    doors = {
        f"{make.__name__} {name} {audience}": make(name, ring, audience, clock).codec
        for make in (cookie_jar, header_jar)
        for name in ("session", "state", "pkce")
        for audience in ("", "shop.example")
    }
    doors |= {
        f"codec {name} {audience}": Codec(ring, name, audience=audience, clock=clock)
        for name in ("session", "state", "pkce")
        for audience in ("", "shop.example")
    }
    assert len(doors) == 18
    for sealer, reader in itertools.product(doors, doors):
        token = doors[sealer].encode({"user": 7})
        if sealer == reader:
            assert doors[reader].decode(token) == {"user": 7}
        else:
            with pytest.raises(ForgedTokenError):
                doors[reader].decode(token)


def cookie_jar(name: str, ring: Keyring, audience: str, clock: Clock) -> Jar:
    return Jar(name, ring, audience=audience, clock=clock)


def header_jar(name: str, ring: Keyring, audience: str, clock: Clock) -> HeaderJar:
    return HeaderJar(name, ring, audience=audience, clock=clock)


def test_in_a_request_such_a_value_is_no_session(ring: Keyring, clock: Clock) -> None:
    """CVE-2023-48309"""
    session, state = (Jar(name, ring, clock=clock) for name in ("session", "state"))
    pasted = state.codec.encode({"nonce": "x"})
    sessions = Sessions([session, state], f"session={pasted}")
    assert (dict(sessions["session"]), sessions["session"].is_new, sessions["session"].refusal) == ({}, True, Reason.FORGED)


def test_what_a_user_chose_for_one_cookie_is_not_another_of_the_same_keys(ring: Keyring, clock: Clock) -> None:
    """CVE-2020-15128: an encrypted cookie not tied to its name: what a user typed for one is sent as another."""
    names = ["session", "search", "session2", "Session", "__Host-session"]
    jars = [Jar(f"jar{number}", ring, cookie_name=name, clock=clock) for number, name in enumerate(names)]
    for typed, asked in itertools.product(jars, jars):
        value = typed.codec.encode({"user": "admin"})
        found = Sessions(jars, f"{asked.cookie_name}={value}")[asked.name]
        if typed is asked:
            assert dict(found) == {"user": "admin"}
        else:
            assert (dict(found), found.is_new, found.refusal) == ({}, True, Reason.FORGED)


def test_nor_is_an_old_cookie_that_has_its_name_inside(ring: Keyring, clock: Clock) -> None:
    """CVE-2020-15128: of the old systems, those that seal a cookie's name into it."""
    rails = test_migrate_encrypted.rails_reader(cookie_name="session")
    for reader, make in (
        (test_migrate_node.node_reader(), lambda name: test_migrate_node.old_cookie(name.encode() + b'={"user":"admin"}')),
        (
            rails,
            lambda name: test_migrate_encrypted.rails_value(
                test_migrate_encrypted.enveloped(b'{"user":"admin"}', pur=f"cookie.{name}")
            ),
        ),
    ):
        jar = Jar("session", ring, clock=clock, migrate_from=[reader])
        assert dict(Sessions([jar], f"session={make('session')}")["session"]) == {"user": "admin"}
        for name in ("search", "session2", "sess", "Session", ""):
            assert dict(Sessions([jar], f"session={make(name)}")["session"]) == {}


def test_names_and_audiences_that_run_together_alike_are_told_apart(ring: Keyring, clock: Clock) -> None:
    """CVE-2026-6873: a key made from a name and a salt written one after the other. Here each piece has its length before it."""
    text = "sessionsession"
    codecs = [Codec(ring, text[:cut], audience=text[cut:], clock=clock) for cut in range(1, len(text) + 1)]
    for sealer, reader in itertools.product(codecs, codecs):
        token = sealer.encode({})
        if sealer is reader:
            reader.decode(token)
        else:
            with pytest.raises(ForgedTokenError):
                reader.decode(token)


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_no_two_lists_of_pieces_are_bound_alike(pieces: list[bytes], others: list[bytes]) -> None:
    """CVE-2026-6873"""
    assert (pae(*pieces) == pae(*others)) is (pieces == others)
    joined = b"".join(pieces)
    if len(pieces) != 1:
        assert pae(joined) != pae(*pieces)


def test_content_is_not_to_be_read_in_a_token(ring: Keyring, clock: Clock) -> None:
    """CVE-2021-29481: sessions that are signed and can be read by default. Here there is no way to seal without a cipher."""
    codec = Codec(ring, "session", clock=clock)
    content = {"mail address": "lovelace@example.org", "observations": "Zwiebelkuchen-Fahrradkette"}
    token = codec.encode(content)
    words = (b"mail address", b"lovelace", b"example.org", b"observations", b"Zwiebelkuchen", b"Fahrradkette")
    for shown in (token.encode(), reference.frame_of(token)):
        assert not any(word in shown for word in words)  # long ones: a short word may stand in random letters
    with pytest.raises(TypeError):
        Codec(ring, "session", encrypt=False)  # type: ignore[call-arg]


# Ends


def test_a_copy_that_was_kept_ends_in_its_time_however_it_is_used(ring: Keyring, clock: Clock) -> None:
    """CVE-2018-1000814, CVE-2024-31999: a copy of a cookie that opens for ever, also after its session was deleted.

    Here the end is sealed inside. A copy that was kept through a sign-out can be used until then, by use be carried on as far as
    ``max_duration``, and not one second further.
    """
    jar = Jar("session", ring, clock=clock, duration=HOUR, active_duration=30 * MINUTE, max_duration=5 * HOUR)
    client = Client(jar)
    with client.visit() as sessions:
        sessions["session"]["user"] = 7
    copy, start = dict(client.cookies), clock.now
    with client.visit() as sessions:
        sessions["session"].destroy()
    assert client.cookies == {}
    thief = Client(jar)
    thief.cookies = copy
    used_until = start
    while clock.now - start < 10 * 3600:
        with thief.visit() as sessions:
            if sessions["session"]:
                used_until = clock.now
        clock.pass_(600)
    assert used_until - start < 5 * 3600
    assert used_until - start >= 4 * 3600  # so that it was carried on at all
    late = Sessions([jar], f"session={copy['session']}")
    assert (dict(late["session"]), late["session"].refusal) == ({}, Reason.EXPIRED)


@pytest.mark.parametrize("options", [{}, {"ephemeral": True}, {"max_age": timedelta(days=400)}])
def test_a_session_ends_on_the_server_whatever_the_browser_was_told(ring: Keyring, clock: Clock, options: dict[str, Any]) -> None:
    """CVE-2018-1000814, CVE-2024-35220: an end that only the browser keeps, or that is set anew whenever a session is opened."""
    jar = Jar("session", ring, clock=clock, duration=HOUR, **options)
    sessions = Sessions([jar], None)
    sessions["session"]["user"] = 7
    [answer] = sessions.commit()
    assert (max_age_of(answer) or 0) <= 3600
    header = cookie_of(answer)
    end = datetime.fromtimestamp(clock.now, UTC) + HOUR
    for _ in range(6):  # reading it moves nothing, and sends nothing
        again = Sessions([jar], header)
        assert (again["session"].expires_at, again.commit()) == (end, [])
        clock.pass_(599)
    clock.pass_(6)
    over = Sessions([jar], header)
    assert (dict(over["session"]), over["session"].refusal, over.commit()) == ({}, Reason.EXPIRED, [])


def test_a_dead_token_is_not_brought_back_by_sealing_it_again(ring: Keyring, clock: Clock) -> None:
    """CVE-2024-35220"""
    codec = Codec(ring, "session", clock=clock, duration=HOUR)
    session = codec.decode(codec.encode({"user": 7}))
    clock.pass_(3600)
    for duration in (None, DAY):
        with pytest.raises(ExpiredTokenError):
            codec.encode(session, duration=duration)


def test_a_slow_request_does_not_bring_back_a_session_that_was_ended_meanwhile(jar: Jar, clock: Clock) -> None:
    """CVE-2025-46336: a request that began before the sign-out and wrote the session back after it. Here a read writes nothing.

    A request that does change the session wins, as the later one: without a store nothing can tell (the next test).
    """
    client = Client(jar)
    with client.visit() as sessions:
        sessions["session"]["user"] = 7
    slow = client.request()
    assert slow["session"]["user"] == 7
    with client.visit() as sessions:
        sessions["session"].destroy()
    clock.pass_(30)
    assert client.respond(slow) == []
    assert client.cookies == {}


def test_a_slow_request_that_changes_the_session_brings_it_back_until_its_old_end_and_no_further(jar: Jar, clock: Clock) -> None:
    """CVE-2025-46336: how far it goes. docs/guide/threat-model.md says that of two writers the later one wins."""
    client = Client(jar)
    with client.visit() as sessions:
        sessions["session"]["user"] = 7
        end = sessions["session"].expires_at
    slow = client.request()
    slow["session"]["page"] = 2
    with client.visit() as sessions:
        sessions["session"].destroy()
    clock.pass_(30)
    client.respond(slow)
    with client.visit() as sessions:
        assert sessions["session"] == {"user": 7, "page": 2}
        assert sessions["session"].expires_at == end


def test_a_sign_in_leaves_nothing_of_the_session_before(jar: Jar, clock: Clock) -> None:
    """CVE-2023-29019: an id that stays the same when a user signs in. Here ``reset()`` forgets it, and ``created_at`` is anew."""
    attacker, victim = Client(jar), Client(jar)
    with attacker.visit() as sessions:
        planted = sessions["session"].id
        sessions["session"]["cart"] = "attacker's"
    victim.cookies = dict(attacker.cookies)
    clock.pass_(60)
    with victim.visit() as sessions:
        assert sessions["session"].id == planted
        sessions["session"].reset()
        sessions["session"]["user"] = "victim"
        assert sessions["session"].id != planted
        assert sessions["session"].created_at.timestamp() == clock.now
    with victim.visit() as sessions:
        assert dict(sessions["session"]) == {"user": "victim"}
        assert sessions["session"].id != planted
    with attacker.visit() as sessions:
        assert "user" not in sessions["session"]


# Refusal


def test_a_tag_that_was_cut_never_opens(ring: Keyring, suite: Suite, clock: Clock) -> None:
    """CVE-2025-47275, CVE-2025-54887: a short tag that is compared as far as it goes, and so is soon guessed.

    Here the last 16 bytes are the tag, whatever stands before them: a frame that is cut has another, wrong one.
    """
    codec = Codec(ring, "session", clock=clock)
    for content in ({}, {"user": 7}):
        frame = reference.frame_of(codec.encode(content))
        for left in range(16):
            with pytest.raises(TokenError) as refused:
                codec.decode(reference.text(frame[: len(frame) - 16 + left]))
            assert refused.value.reason in (Reason.FORGED, Reason.MALFORMED)
    body = reference.frame_of(codec.encode({"user": 7}))[:-16]
    for last in range(256):  # a tag of one byte would be found
        with pytest.raises((ForgedTokenError, MalformedTokenError)):
            codec.decode(reference.text(body + bytes([last])))


def answer_to(cookie: str, **options: Any) -> tuple[Any, ...]:
    """All that the application, its user and its operator learn of a cookie, by a jar that knows no other."""
    events: list[Any] = []
    told: list[Any] = []
    records: list[str] = []

    class Records(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    def use(environ: dict[str, Any]) -> None:
        session = get_sessions(environ)["session"]
        told.append((dict(session), session.is_new, session.refusal))

    jar = Jar("session", observer=events.append, **options)
    log, handler = logging.getLogger("clientsession"), Records()
    log.addHandler(handler)
    try:
        answered = serve(app_of([jar], use), make_environ(cookie=f"session={cookie}"))
    finally:
        log.removeHandler(handler)
    return answered.status, answered.headers, answered.body, told, events, records


@pytest.mark.parametrize("pad_to", [None, 64])
def test_a_token_that_is_not_authentic_is_answered_alike_whatever_is_wrong_with_it(
    ring: Keyring, clock: Clock, pad_to: int | None
) -> None:
    """CVE-2010-3332, CVE-2019-12422: an answer that tells bad padding from a bad MAC, and so in the end the content.

    Here it is the same for a change of any byte behind the key's id: nonce, content, filling, tag.
    """
    options: dict[str, Any] = {"keyring": ring, "clock": clock, "pad_to": pad_to}
    frame = reference.frame_of(Jar("session", **options).codec.encode({"user": 7, "note": "x" * 20}))
    answers = []
    for at in range(5, len(frame)):
        for bit in (1, 0x10, 0x80):
            answers.append(answer_to(reference.text(frame[:at] + bytes([frame[at] ^ bit]) + frame[at + 1 :]), **options))
    assert all(answer == answers[0] for answer in answers)
    [told] = answers[0][3]
    assert told == ({}, True, Reason.FORGED)


OLD_BODY = b'{"user":7,"note":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'


def old_fernet(blocks: bytes) -> str:
    """A token of Fernet around any blocks in place of a padded text."""
    key, iv = test_migrate_encrypted.RAW_KEY, bytes(range(16))
    signed = b"\x80" + (NOW // 1000).to_bytes(8, "big") + iv + test_migrate_node.cbc(key[16:], iv, blocks)
    return base64.urlsafe_b64encode(signed + hmac.digest(key[:16], signed, "sha256")).decode()


# The readers of AES-CBC; for each a cookie, and what makes one that is authentic around any blocks.
WITH_CBC: dict[str, tuple[Reader, str, Callable[[bytes], str]]] = {
    "client-sessions": (
        test_migrate_node.node_reader(),
        test_migrate_node.old_cookie(b"session=" + OLD_BODY),
        lambda blocks: test_migrate_node.old_cookie(b"", blocks=blocks),
    ),
    "iron-session": (
        test_migrate_node.iron_reader(),
        test_migrate_node.old_seal(OLD_BODY),
        lambda blocks: test_migrate_node.old_seal(b"", blocks=blocks),
    ),
    "Fernet": (
        test_migrate_encrypted.fernet_reader(cookie_name="session"),
        test_migrate_encrypted.fernet_token(OLD_BODY),
        old_fernet,
    ),
    "aiohttp_session": (
        aiohttp_session(test_migrate_encrypted.KEY.decode(), cookie_name="session", max_age=HOUR),
        test_migrate_encrypted.aiohttp_token(json.loads(OLD_BODY)),
        old_fernet,
    ),
}
BAD_PADDINGS = [bytes(16), bytes(15) + b"\x11", b"\x01" * 15 + b"\x02", b"\x02" * 14 + b"\x01\x03", b"x" * 32]


def changed(value: str) -> Iterator[str]:
    """A value with each of its characters another one in turn."""
    for at, char in enumerate(value):
        other = "1" if char == "2" else "2"
        yield value[:at] + other + value[at + 1 :]


@pytest.mark.parametrize("form", WITH_CBC)
def test_bad_padding_of_an_old_cookie_is_answered_as_a_bad_mac_is(ring: Keyring, clock: Clock, form: str) -> None:
    """CVE-2010-3332, CVE-2019-12422: and by a reader of AES-CBC not even where the MAC is right."""
    reader, good, around = WITH_CBC[form]
    options: dict[str, Any] = {"keyring": ring, "clock": clock, "migrate_from": [reader]}
    assert answer_to(good, **options)[3] == [(json.loads(OLD_BODY), False, None)]
    answers = []
    for value in (*changed(good), *map(around, BAD_PADDINGS)):
        *seen, events, records = answer_to(value, **options)
        answers.append((seen, [replace(event, size=None) for event in events], records))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0][3] == [({}, True, Reason.MALFORMED)]


def test_the_ciphers_take_no_shorter_tag(suite: Suite) -> None:
    """CVE-2025-54887: below every check of lengths, too."""
    cipher = _ciphers.new_cipher(suite, SECRET)
    nonce = cipher.nonce()
    content = bytes(range(16))
    sealed = cipher.seal(nonce, content, b"aad")
    assert cipher.open(nonce, sealed, b"aad") == content
    for cut in range(1, 17):
        assert cipher.open(nonce, sealed[:-cut], b"aad") is None
        assert cipher.open(nonce, sealed[cut:], b"aad") is None


class Trusting(Reader):
    """Reads any JSON in base64url, and counts what it was asked."""

    asked: list[str]

    def __init__(self, cookie_name: str) -> None:
        super().__init__(cookie_name)
        self._freeze(asked=[])

    def read(self, value: str, now: int) -> OldSession | None:
        self.asked.append(value)
        return OldSession({"admin": True}, now, now + DAY_MS)


PLAIN = json.dumps({"admin": True, "note": "n" * 60}).encode()
UNSEALED = {
    "JSON": PLAIN.decode(),
    "base64": base64.b64encode(PLAIN).decode(),
    "base64url": base64.urlsafe_b64encode(PLAIN).decode().rstrip("="),
    "hex": PLAIN.hex(),
    "deflated": base64.urlsafe_b64encode(zlib.compress(PLAIN)).decode().rstrip("="),
    "a pickle": base64.urlsafe_b64encode(b"\x80\x04" + PLAIN).decode().rstrip("="),
    "a JWT without an algorithm": "eyJhbGciOiJub25lIn0." + base64.urlsafe_b64encode(PLAIN).decode().rstrip("=") + ".",
}


@pytest.mark.parametrize("form", UNSEALED)
def test_what_is_not_sealed_opens_in_no_way(jar: Jar, form: str) -> None:
    """CVE-2026-39324: a cookie that does not decrypt, and is then read by a decoder that needs no key."""
    with pytest.raises(TokenError):
        jar.codec.decode(UNSEALED[form])
    sessions = Sessions([jar], f"session={UNSEALED[form]}")
    assert (dict(sessions["session"]), sessions["session"].is_new, sessions.commit()) == ({}, True, [])


def test_content_in_the_frame_of_a_token_without_its_seal_is_refused(jar: Jar, key: Key, suite: Suite) -> None:
    """CVE-2026-39324"""
    header = bytes([suite]) + bytes.fromhex(key.id)
    plaintext = reference.plaintext(NOW, NOW + DAY_MS, b'{"admin":true}')
    for frame in (header + bytes(24) + plaintext + bytes(16), header + plaintext + bytes(40), plaintext + bytes(60)):
        with pytest.raises(TokenError):
            jar.codec.decode(reference.text(frame))


def test_a_token_of_ours_that_does_not_open_is_given_to_no_other_reader(ring: Keyring, clock: Clock, suite: Suite) -> None:
    """CVE-2026-39324: of two decoders the more trusting one never sees what was refused by the other."""
    reader = Trusting("session")
    jar = Jar("session", ring, clock=clock, migrate_from=[reader])
    good = jar.codec.encode({"user": 7})
    frame = reference.frame_of(good)
    other_key = Codec(Keyring(Key.generate(suite)), "session", clock=clock).encode({"user": 7})
    for refused in (
        reference.text(frame[:-1] + bytes([frame[-1] ^ 1])),
        Codec(ring, "session", clock=clock).encode({"user": 7}),  # of another kind
        jar.codec.encode({"user": 7}, duration=timedelta(seconds=1)),
        other_key,
    ):
        clock.pass_(2)
        sessions = Sessions([jar], f"session={refused}")
        assert dict(sessions["session"]) == {}
    assert reader.asked == []
    assert dict(Sessions([jar], "session=old.form")["session"]) == {"admin": True}  # it is asked what is not ours


# Content that runs


RAN: list[str] = []


def mark(word: str = "ran") -> None:
    RAN.append(word)


class Trap:
    """Where a pickle of it is loaded, it leaves a mark."""

    def __reduce__(self) -> Any:
        return mark, ("unpickled",)


TRAP = f"{__name__}.Trap"
MARK = f"{__name__}.mark"
# What decoders of other kinds make objects of, or call.
RUNS: dict[str, bytes] = {f"a pickle of protocol {protocol}": pickle.dumps(Trap(), protocol) for protocol in range(6)}
RUNS |= {
    "a pickle of a dict": pickle.dumps({"user": Trap()}),
    "code": marshal.dumps(compile(f"import {__name__}; {MARK}()", "x", "exec")),
    "YAML": f"!!python/object/apply:{MARK} []\n".encode(),
    "YAML of a dict": f"{{user: !!python/object/apply:{MARK} []}}".encode(),
    "an expression": f"{{'user': __import__('{__name__}', fromlist='x').mark()}}".encode(),
    "Ruby's Marshal": b"\x04\x08o:\x0bObject\x00",
    "PHP's serialize": b'O:8:"stdClass":1:{s:4:"user";i:7;}',
    "Java's": b"\xac\xed\x00\x05sr\x00\x10java.util.HashMap",
}
# And what they do so inside a JSON text.
HOOKS: list[dict[str, Any]] = [
    {"__reduce__": [MARK, []]},
    {"__reduce__": [MARK, ["x"]], "user": 7},
    {"py/object": TRAP},
    {"py/object": TRAP, "py/state": {"a": 1}},
    {"py/reduce": [{"py/function": MARK}, {"py/tuple": []}]},
    {"py/function": MARK},
    {"py/type": TRAP},
    {"py/repr": f"{__name__}/{MARK}()"},
    {"__class__": TRAP},
    {"__type__": TRAP, "__module__": __name__},
    {"__jsonclass__": [TRAP, []]},
    {"__complex__": True, "real": 1, "imag": 2},
    {"()": MARK},
    {"$type": TRAP},
    {"@type": TRAP},
    {"__proto__": {"admin": True}},
    {"constructor": {"prototype": {"admin": True}}},
    {" t": [1, 2]},
    {" u": "0123456789abcdef0123456789abcdef"},
    {" d": "Thu, 01 Jan 2026 00:00:00 GMT"},
    {" b": "AAAA"},
    {" m": "<b>x</b>"},
]


def is_plain(value: object) -> bool:
    """Whether it is of JSON's own types and nothing else, all the way down."""
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


SEALED_BY_OLD: dict[str, tuple[Reader, Callable[[bytes], str]]] = {
    system.name: (system.reader(), lambda body, sign=system.sign: sign(body, NOW // 1000)) for system in test_migrate_signed.SYSTEMS
}
SEALED_BY_OLD |= {
    "client-sessions": (test_migrate_node.node_reader(), lambda body: test_migrate_node.old_cookie(b"session=" + body)),
    "iron-session": (test_migrate_node.iron_reader(), test_migrate_node.old_seal),
    "Fernet": (test_migrate_encrypted.fernet_reader(), test_migrate_encrypted.fernet_token),
    "aiohttp_session": (
        WITH_CBC["aiohttp_session"][0],
        lambda body: test_migrate_encrypted.fernet_token(b'{"created":%d,"session":' % (NOW // 1000) + body + b"}"),
    ),
    "Litestar": (litestar(test_migrate_encrypted.RAW_KEY), test_migrate_encrypted.litestar_value),
    "Rails": (
        test_migrate_encrypted.rails_reader(),
        lambda body: test_migrate_encrypted.rails_value(test_migrate_encrypted.enveloped(body)),
    ),
}


def test_the_traps_run_where_they_are_loaded() -> None:
    for name in RUNS:
        if name.startswith("a pickle"):
            RAN.clear()
            pickle.loads(RUNS[name])
            assert RAN == ["unpickled"]
    for run in (lambda: exec(marshal.loads(RUNS["code"])), lambda: eval(RUNS["an expression"])):
        RAN.clear()
        run()
        assert RAN == ["ran"]


@pytest.mark.parametrize("body", RUNS)
def test_a_body_that_would_run_elsewhere_is_refused_under_the_right_key(suite: Suite, clock: Clock, body: str) -> None:
    """CVE-2018-15133: content that is run as it is decoded, by whoever knows the key. Here it is JSON or nothing."""
    codec = Codec(Keyring(Key.from_secret(SECRET, suite=suite)), "session", clock=clock)
    RAN.clear()
    for flags in (0, 2):
        content = zlib.compress(RUNS[body], wbits=-15) if flags else RUNS[body]
        token = reference.seal(SECRET, suite, "token", "session", "", reference.plaintext(NOW, NOW + DAY_MS, content, flags=flags))
        with pytest.raises(MalformedTokenError):
            codec.decode(token)
    for name, (reader, make) in SEALED_BY_OLD.items():
        assert reader.read(make(b'{"user":7}'), NOW) is not None, name
        assert reader.read(make(RUNS[body]), NOW) is None, name
    assert RAN == []


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: " ".join(hook).strip())
def test_what_names_a_class_or_a_function_is_json_like_any_other(suite: Suite, clock: Clock, hook: dict[str, Any]) -> None:
    """CVE-2018-15133: by the names that other decoders of JSON act on."""
    codec = Codec(Keyring(Key.from_secret(SECRET, suite=suite)), "session", clock=clock)
    RAN.clear()
    for content in (hook, {"user": hook}, {"users": [hook, [hook]]}):
        body = json.dumps(content).encode()
        token = reference.seal(SECRET, suite, "token", "session", "", reference.plaintext(NOW, NOW + DAY_MS, body))
        opened = dict(codec.decode(token))
        assert opened == content
        assert is_plain(opened)
        for name, (reader, make) in SEALED_BY_OLD.items():
            old = reader.read(make(body), NOW)
            if name == "flask" and any(word.startswith(" ") for word in hook):  # its own tags, which its reader makes plain
                assert old is None or is_plain(old.content)
                continue
            assert old is not None, name
            assert old.content == content, name
            assert is_plain(old.content), name
    assert RAN == []


# Bounds


@pytest.mark.parametrize("size", [65_537, 3_000_000])
def test_a_body_that_grows_is_refused_within_a_mebibyte(jar: Jar, suite: Suite, size: int) -> None:
    """CVE-2024-28102, CVE-2024-28176, CVE-2024-28180, CVE-2026-39373: a short token that inflates to all of a machine's memory.

    Not the length that comes in is what counts, which all these bombs keep to, but the one that comes out.
    """
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = stream.compress(b'{"a":"' + b"x" * (size - 8) + b'"}') + stream.flush()
    token = reference.seal(SECRET, suite, "cookie", "session", "", reference.plaintext(NOW, NOW + DAY_MS, body, flags=2))
    assert len(token) < 4096
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedTokenError):
            jar.codec.decode(token)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


def calls_of(work: Callable[[], object]) -> int:
    """How many calls of functions, Python's and built in, something takes."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("piece", ['\\"', "\\134", '"\\', "\\", 'session="\\', 'session="\\";', "\\1"])
def test_quotes_and_backslashes_cost_what_letters_cost(jar: Jar, piece: str) -> None:
    """CVE-2024-7592, CVE-2024-52804: quoted values whose backslashes take a time that grows with the square of their number.

    Here nothing is unquoted. Half the header takes half the calls; and no more than letters, where the name is not among them.
    """

    def cost(text: str) -> int:
        return calls_of(lambda: Sessions([jar], text)["session"])

    cost("")
    none, half, whole = cost(""), cost((piece * 32_768)[:32_768]), cost((piece * 65_536)[:65_536])
    assert whole - none <= 2 * (half - none) + 100
    if "session" not in piece:
        assert whole <= cost("x" * 65_536) + 10
    quoted = jar.codec.encode({"user": 7})
    assert dict(Sessions([jar], f'session="{quoted}"')["session"]) == {}


@pytest.mark.parametrize("times", [1, 5], ids=["one cookie", "many of the name"])
def test_a_value_of_backslashes_takes_no_time_that_grows_with_its_square(jar: Jar, times: int) -> None:
    """CVE-2024-7592, CVE-2024-52804: such a value was unquoted in a number of calls that is linear, each of them over all the rest.

    So that calls tell nothing, and the time of this thread does: the bound is a third of what ten such readings take with that
    fault, and a thousand times what ours take.
    """
    header = "session=x; " * (10 * (times - 1)) + 'session="' + '\\"' * 32_500 + '"'
    assert 65_000 < len(header) <= 65_536
    before = time.thread_time()
    for _ in range(10):
        assert dict(Sessions([jar], header)["session"]) == {}
    assert time.thread_time() - before < 10


# Names of cookies


@pytest.mark.parametrize(
    "name",
    [
        "%5F%5FHost-session",
        "%5f%5fHost%2Dsession",
        "_%5FHost-session",
        "__Host%2Dsession",
        '"__Host-session"',
        "__HOST-session",
        "__host-session",
        "__Host-session%20",
        "__Host-session[]",
        "__Host-session\x0b",
        "\xa0__Host-session",
        "\ufeff__Host-session",
        "__Host-sessio\uff4e",
    ],
)
def test_a_name_that_is_written_otherwise_is_another_name(ring: Keyring, clock: Clock, name: str) -> None:
    """CVE-2020-7070, CVE-2020-8184: names that are decoded, so that a cookie without the rules of a prefix passes for one with."""
    jar = Jar("session", ring, cookie_name="__Host-session", clock=clock)
    good, planted = jar.codec.encode({"user": "own"}), jar.codec.encode({"user": "planted"})
    assert dict(Sessions([jar], f"{name}={planted}")["session"]) == {}
    for header in (f"{name}={planted}; __Host-session={good}", f"__Host-session={good}; {name}={planted}"):
        sessions = Sessions([jar], header)
        assert (dict(sessions["session"]), sessions["session"].refusal) == ({"user": "own"}, None)


@pytest.mark.parametrize("before", ["=", "==", " =", "\t= ", "; ="])
def test_a_cookie_without_a_name_is_nobody_s(ring: Keyring, clock: Clock, before: str) -> None:
    """CVE-2023-23934: a nameless cookie whose value looks like name and value, and is taken for a cookie of that name."""
    jar = Jar("session", ring, cookie_name="__Host-session", clock=clock)
    good, planted = jar.codec.encode({"user": "own"}), jar.codec.encode({"user": "planted"})
    sessions = Sessions([jar], f"{before}__Host-session={planted}")
    assert (dict(sessions["session"]), sessions["session"].refusal) == ({}, None)
    sessions = Sessions([jar], f"{before}__Host-session={planted}; __Host-session={good}")
    assert dict(sessions["session"]) == {"user": "own"}


def test_of_a_cookie_of_the_host_s_and_one_of_a_neighbour_s_none_is_taken(ring: Keyring, clock: Clock) -> None:
    """CVE-2024-28197: a cookie that a neighbour host can set, and so can be chosen by an attacker.

    Which of two came first says nothing: none is the session, and a jar with a ``__Host-`` name cannot be given such a scope.
    """
    jar = Jar("session", ring, clock=clock)
    own, planted = (jar.codec.encode({"user": user}) for user in ("own", "planted"))
    for header in (f"session={own}; session={planted}", f"session={planted}; session={own}"):
        sessions = Sessions([jar], header)
        assert (dict(sessions["session"]), sessions["session"].refusal) == ({}, Reason.AMBIGUOUS)
    for scope in ({"domain": "example.org"}, {"path": "/shop"}, {"secure": False}):
        with pytest.raises(ConfigurationError):
            Jar("session", ring, cookie_name="__Host-session", **scope)  # type: ignore[arg-type]


INJECTED = [
    "; Domain=evil.example",
    ";Secure",
    "\r\nSet-Cookie: a=b",
    "\nx",
    "\0",
    ", a=b",
    " HttpOnly",
    "=x",
    "\x7f",
    "\u2028",
    '"',
]


@pytest.mark.parametrize("injected", INJECTED)
@pytest.mark.parametrize("option", ["cookie_name", "domain", "path", "samesite"])
def test_no_option_of_a_jar_writes_an_attribute_of_another(ring: Keyring, option: str, injected: str) -> None:
    """CVE-2024-47764, CVE-2026-35536, CVE-2026-47675, CVE-2026-88038: a name, path, domain or SameSite that adds attributes."""
    start = {"cookie_name": "session", "domain": "example.org", "path": "/", "samesite": "Lax"}[option]
    if option == "path" and injected in (", a=b", "=x", '"'):
        injected = f";{injected}"  # these have a meaning in a path, and none in Set-Cookie
    with pytest.raises(ConfigurationError):
        Jar("session", ring, **{option: start + injected})


CONTROLS = [*map(chr, range(32)), "\x7f", "\x80", "\x9f"]


@pytest.mark.parametrize(
    "option", ["cookie_name", "domain", "path", "samesite", "former path", "former domain", "old name", "old path"]
)
def test_no_control_character_is_written_by_any_way_in(ring: Keyring, option: str) -> None:
    """CVE-2026-3644: control characters that are refused in one way to set a cookie's parts, and taken in others.

    Here a jar has all of them when it is made, wherever they stand, and does not change after that.
    """
    start = {
        "cookie_name": "session",
        "domain": "example.org",
        "samesite": "Lax",
        "former domain": "example.org",
        "old name": "old",
    }
    text = start.get(option, "/shop")

    def make(text: str) -> Jar:
        if option == "former path":
            return Jar("session", ring, path="/", former_scopes=[(text, None)])
        if option == "former domain":
            return Jar("session", ring, former_scopes=[("/", text)])
        if option == "old name":
            return Jar("session", ring, migrate_from=[Trusting(text)])
        if option == "old path":
            return Jar("session", ring, migrate_from=[Reader("old", path=text)])
        return Jar("session", ring, **{option: text})  # type: ignore[arg-type]

    jar = make(text)
    for control in CONTROLS:
        for at in (0, 3, len(text)):
            with pytest.raises(ConfigurationError):
                make(text[:at] + control + text[at:])
        with pytest.raises(AttributeError):
            setattr(jar, option.replace(" ", "_"), text + control)
    with pytest.raises(TypeError):
        pickle.dumps(jar)


@pytest.mark.parametrize("seconds", [3600, "3600; Domain=evil.example", "3600", 3600.0])
def test_a_lifetime_is_no_text(ring: Keyring, seconds: Any) -> None:
    """The same of a Max-Age that is written as it was given."""
    for option in ("max_age", "duration", "max_duration", "active_duration"):
        with pytest.raises(TypeError):
            Jar("session", ring, **{option: seconds})


def test_content_and_names_of_clients_write_nothing_into_set_cookie(jar: Jar) -> None:
    """CVE-2024-47764: the value is base64url, whatever a session holds."""
    client = Client(jar)
    for text in INJECTED:
        with client.visit() as sessions:
            sessions["session"][text] = text
        [answer] = client.set_cookies
        assert re.fullmatch(r"session=[A-Za-z0-9_-]+; Max-Age=\d+; Path=/; Secure; HttpOnly; SameSite=Lax", answer)


# Look-ups


def test_nothing_is_looked_up_by_what_is_secret(ring: Keyring, suite: Suite, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2019-16782: a session that is found in a store by its secret id, with a search whose time tells how much of it fits.

    Here there is no store. What a client's bytes are looked up by is the suite and the id of a key, which stand in each cookie for
    all to see; and the first half of a nonce, which does as well.
    """
    looked_up: list[Any] = []

    class Recorded(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            looked_up.append(key)
            return super().get(key, default)

    codec = Codec(ring, "session", clock=clock)
    token = codec.encode({"user": 7})
    frame = reference.frame_of(token)
    codec.decode(token)
    codec._bound._freeze(keys=Recorded(codec._bound.keys))
    cipher = codec._bound.sealing.cipher
    if suite is Suite.XAES_256_GCM:
        cipher._subkeys.younger = Recorded(cipher._subkeys.younger)
    codec.decode(token)
    for at in range(5, len(frame), 7):
        with pytest.raises(ForgedTokenError):
            codec.decode(reference.text(frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]))
    assert looked_up
    assert {len(key) for key in looked_up} <= {5, 12}
    assert {key for key in looked_up if len(key) == 5} == {frame[:5]}
