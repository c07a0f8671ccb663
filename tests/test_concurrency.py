"""Threads, forked processes, a broken source of randomness, a stack nearly used up, and the interpreter's switches.

The numbers are those of one list of inputs, so that a line is found again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clientsession import Codec, Jar, Key, Keyring, Sessions, Suite
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests import reference
from tests.conftest import Clock, cookie_of

ROOT = Path(__file__).parent.parent
THREADS = 16
PROCESSES = 8
TOKENS = 2_000  # of each thread and each process


def run_script(script: str, *arguments: str, switches: tuple[str, ...] = (), **environment: str) -> str:
    """What a script prints in an interpreter of its own; a warning in it is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *switches, "-c", script, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of threads that start together; an error of one is an error here."""
    start = threading.Barrier(count)

    def wait_and_work(index: int) -> Any:
        start.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_work, range(count)))


# Nonces


FORK = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from clientsession import Codec, Key, Keyring, Suite
from tests import reference

suite, threads, processes, count = map(int, sys.argv[1:])
codec = Codec(Keyring(Key.generate(Suite(suite))), "x")

def nonces(number):
    return [reference.frame_of(codec.encode({"number": number}))[5:29] for _ in range(number)]

warm_up = nonces(100)  # whatever the parent keeps from here on, its children have too
pipes = []
for _ in range(processes):
    out, into = os.pipe()
    if os.fork() == 0:
        os.close(out)
        with open(into, "wb") as file:
            file.write(b"".join(nonces(count)))
        os._exit(0)
    os.close(into)
    pipes.append(out)
with ThreadPoolExecutor(threads) as pool:
    own = [nonce for each in pool.map(nonces, [count] * threads) for nonce in each]
theirs = []
for out in pipes:
    with open(out, "rb") as file:
        data = file.read()
    theirs += [data[start : start + 24] for start in range(0, len(data), 24)]
statuses = [os.wait()[1] for _ in range(processes)]
everyone = warm_up + own + theirs
print(len(own), len(theirs), len(everyone) - len(set(everyone)), len({nonce[12:] for nonce in everyone}), statuses)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_no_nonce_comes_twice_in_16_threads_and_8_forked_processes(suite: Suite) -> None:
    own, theirs = THREADS * TOKENS, PROCESSES * TOKENS
    printed = run_script(FORK, *map(str, (suite.value, THREADS, PROCESSES, TOKENS)))
    assert printed.split(maxsplit=4)[:4] == [str(own), str(theirs), "0", str(100 + own + theirs)]
    assert json.loads(printed.split(maxsplit=4)[4]) == [0] * PROCESSES


def test_nonces_are_all_the_system_s_random_bytes(ring: Keyring, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bytes are what the system gave; of XAES the last 12 change from token to token, of XChaCha20 all, in every bit."""
    kept = 12 if suite is Suite.XAES_256_GCM else 0
    given: list[bytes] = []
    urandom = os.urandom

    def recorded(size: int) -> bytes:
        given.append(urandom(size))
        return given[-1]

    monkeypatch.setattr(os, "urandom", recorded)
    codec = Codec(ring, "x")
    nonces = [reference.frame_of(codec.encode({"a": 1}))[5:29] for _ in range(200)]
    assert given == [*({nonce[:kept] for nonce in nonces} - {b""}), *(nonce[kept:] for nonce in nonces)]
    full = (1 << 8 * (24 - kept)) - 1
    either, always = 0, full
    for nonce in nonces:
        number = int.from_bytes(nonce[kept:], "big")
        either, always = either | number, always & number
    assert (either, always) == (full, 0)


# Sessions


def test_no_user_sees_another_s_session_in_16_threads_under_one_jar(ring: Keyring, clock: Clock, eager_switching: None) -> None:
    jars = [Jar("session", ring, clock=clock), Jar("cart", ring, clock=clock)]

    def shop(user: int) -> list[tuple[int, int]]:
        cookies: dict[str, str] = {}
        wrong = []
        ids = set()
        for visit in range(300):
            sessions = Sessions(jars, "; ".join(cookies.values()))
            session, cart = sessions["session"], sessions["cart"]
            if visit and (session["user"], cart["of"], cart["items"]) != (user, user, visit):
                wrong.append((user, visit))
            session["user"] = cart["of"] = user
            cart["items"] = visit + 1
            ids.add(session.id)
            for answer in sessions.commit():
                cookie = cookie_of(answer)
                cookies[cookie.partition("=")[0]] = cookie
        assert len(ids) == 1
        return wrong

    assert in_threads(THREADS, shop) == [[]] * THREADS


VISITS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from clientsession import Jar, Key, Keyring, Sessions, Suite

suite, threads, processes, count = map(int, sys.argv[1:])
jar = Jar("session", Keyring(Key.generate(Suite(suite))))

def visits(user):
    cookie, wrong = "", 0
    for visit in range(count):
        sessions = Sessions([jar], cookie)
        session = sessions["session"]
        wrong += dict(session) != ({"user": user, "visits": visit} if visit else {})
        session |= {"user": user, "visits": visit + 1}
        session_id = session.id
        cookie = sessions.commit()[0].partition(";")[0]
    return f"{wrong} {session_id}"

def in_threads(first):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(visits, range(first, first + threads)))

visits(-1)  # a warm-up: whatever the parent keeps from here on, its children have too
pipes = []
for number in range(processes):
    out, into = os.pipe()
    if os.fork() == 0:
        os.close(out)
        with open(into, "w") as file:
            file.write("\\n".join(in_threads(threads * (number + 1))))
        os._exit(0)
    os.close(into)
    pipes.append(out)
found = in_threads(0)
for out in pipes:
    with open(out) as file:
        found += file.read().splitlines()
statuses = {os.wait()[1] for _ in range(processes)}
print(len(found), sum(int(line.split()[0]) for line in found), len({line.split()[1] for line in found}), *statuses)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_no_user_sees_another_s_session_in_8_forked_processes_of_16_threads(suite: Suite) -> None:
    users = THREADS * (PROCESSES + 1)
    printed = run_script(VISITS, *map(str, (suite.value, THREADS, PROCESSES, 40)))
    assert printed.split() == [str(users), "0", str(users), "0"]


def test_no_user_sees_another_s_session_in_16_threads_of_one_application(
    ring: Keyring, clock: Clock, eager_switching: None
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        session = get_sessions(environ)["session"]
        user = session.setdefault("user", environ["USER"])
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", HEADERS)
        return [json.dumps([user, session["visits"]]).encode()]

    middleware = SessionMiddleware(app, [Jar("session", ring, clock=clock)])

    def visit(user: int) -> list[list[int]]:
        seen = []
        cookie = ""
        for _ in range(300):
            started: list[Any] = []
            environ = {"wsgi.url_scheme": "https", "wsgi.multithread": True, "HTTP_COOKIE": cookie, "USER": user}
            body = b"".join(middleware(environ, lambda *args, started=started: started.append(args)))
            ((_, headers),) = started
            (cookie,) = (cookie_of(value) for name, value in headers if name == "Set-Cookie")
            seen.append(json.loads(body))
        return seen

    assert in_threads(THREADS, visit) == [[[user, count + 1] for count in range(300)] for user in range(THREADS)]
    assert HEADERS == [("Content-Type", "application/json")]


HEADERS = [("Content-Type", "application/json")]  # shared by all requests, as applications do


def test_keys_and_codecs_made_in_16_threads_are_alike(suite: Suite, clock: Clock, eager_switching: None) -> None:
    secret = bytes(range(7, 39))
    token = Codec(Keyring(Key.from_secret(secret, suite=suite)), "x", clock=clock).encode({"a": 1})

    def make(_: int) -> tuple[str, str, dict[str, Any]]:
        key = Key.from_secret(secret, suite=suite)
        return key.id, key.export(), Codec(Keyring(key), "x", clock=clock).decode(token)

    assert in_threads(THREADS, lambda index: [make(index) for _ in range(20)]) == [[make(0)] * 20] * THREADS


# A source of randomness that fails


def test_where_the_system_has_no_randomness_nothing_is_made_up(
    ring: Keyring, suite: Suite, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A17"""
    nonce = 12 if suite is Suite.XAES_256_GCM else 24  # what of one is fresh; or the part that is then kept
    asked: list[int] = []

    def fail(size: int) -> bytes:
        asked.append(size)
        raise OSError("no randomness")

    codec, jar = Codec(ring, "x", clock=clock), Jar("session", ring, clock=clock)
    token = codec.encode({"a": 1})
    sessions, with_id = Sessions([jar], None), Sessions([jar], None)
    sessions["session"]["a"] = 1
    with monkeypatch.context() as broken:
        broken.setattr(os, "urandom", fail)
        for use in (
            lambda: codec.encode({"a": 1}),
            sessions.commit,
            lambda: with_id["session"].id,
            Key.generate,
            lambda: Key.generate(Suite.XCHACHA20_POLY1305),
        ):
            with pytest.raises(OSError, match="no randomness"):
                use()
        assert asked == [nonce, nonce, 16, 32, 32]
        assert sessions.commit() == []  # the session that could not be sealed is given up
        assert codec.decode(token) == {"a": 1}  # reading needs none
    assert len(with_id["session"].id) == 32


# A stack that is nearly used up


def deep(frames: int, work: Callable[[], Any]) -> Any:
    return deep(frames - 1, work) if frames else work()


def nested(levels: int, bottom: Any) -> dict[str, Any]:
    for _ in range(levels - 1):
        bottom = [bottom]
    return {"a": bottom}


@pytest.mark.parametrize("frames", [0, 500, 900])
def test_64_levels_are_opened_and_sealed_with_900_frames_on_the_stack(ring: Keyring, clock: Clock, frames: int) -> None:
    """A18; in a thread, whose stack begins empty"""
    jar = Jar("session", ring, clock=clock)
    content = nested(64, "x")
    token = jar.codec.encode(content)

    def handle() -> tuple[bool, str]:
        sessions = Sessions([jar], f"session={token}")
        session = sessions["session"]
        is_opened = not session.is_new
        session["more"] = [1]
        return is_opened, sessions.commit()[0]

    assert sys.getrecursionlimit() == 1000
    ((is_opened, answer),) = in_threads(1, lambda _: deep(frames, handle))
    assert is_opened
    again = Sessions([jar], cookie_of(answer))["session"]
    assert again.pop("more") == [1]
    assert json.dumps(again) == json.dumps(content)


@pytest.mark.parametrize("frames", [*range(890, 990, 3)])
def test_a_session_is_not_refused_for_want_of_stack(ring: Keyring, clock: Clock, frames: int) -> None:
    """A18; where there is no room left the RecursionError is the application's: a refusal would log its user out"""
    jar = Jar("session", ring, clock=clock)
    cookie = f"session={jar.codec.encode(nested(64, 'x'))}"

    def handle() -> str:
        try:
            sessions = Sessions([jar], cookie)
            session = sessions["session"]
            session["more"] = 1
            answers = sessions.commit()
        except RecursionError:
            return "no room"
        return "refused" if session.is_new or len(answers) != 1 else "opened"

    (outcome,) = in_threads(1, lambda _: deep(frames, handle))
    assert outcome in {"opened", "no room"}


@pytest.mark.parametrize("frames", [*range(890, 990, 3)])
def test_a_session_that_can_be_sealed_is_not_called_faulty_for_want_of_stack(ring: Keyring, frames: int) -> None:
    """A18"""
    codec, content = Codec(ring, "x"), nested(64, "x")

    def seal() -> str:
        try:
            return codec.encode(content)
        except RecursionError:
            return ""

    (token,) = in_threads(1, lambda _: deep(frames, seal))
    assert not token or json.dumps(codec.decode(token)) == json.dumps(content)


@pytest.mark.parametrize("frames", [0, 500, 900])
def test_65_levels_are_refused_by_the_same_words_with_900_frames_on_the_stack(ring: Keyring, frames: int) -> None:
    """A18"""
    codec = Codec(ring, "x")

    def refuse() -> str:
        with pytest.raises(ValueError, match="cannot be sealed") as caught:
            codec.encode(nested(65, ["x"]))
        return str(caught.value)

    (message,) = in_threads(1, lambda _: deep(frames, refuse))
    assert "is nested deeper than 64 levels" in message


# The interpreter's switches


FACTS = """
import json, sys
from datetime import timedelta
from clientsession import *
from tests import reference

NOW = 1_800_000_000_000
SECRET = bytes(range(7, 39))
facts = []

def attempt(call):
    try:
        facts.append(repr(call()))
    except Exception as error:
        facts.append(f"{type(error).__name__}: {error}")

for suite in Suite:
    key = Key.from_secret(SECRET, suite=suite)
    old = Key.from_secret(SECRET + b"!", suite=suite)
    attempt(lambda: (key.id, key, Keyring(key, retiring=[old])))
    codec = Codec(Keyring(key, retiring=[old]), "x", clock=lambda: NOW / 1000, max_duration=timedelta(days=2))
    jar = Jar("session", Keyring(key, retiring=[old]), clock=lambda: NOW / 1000, active_duration=timedelta(hours=1))

    def seal(
        body=b'{"b":1,"a":[1.0,true,null]}', created=NOW, expires=NOW + 9_000_000, name="x", kind="token", flags=None, secret=SECRET
    ):
        plaintext = reference.plaintext(created, expires, body, flags=flags)
        return reference.seal(secret, suite, kind, name, "", plaintext, bytes(range(24)))

    good = seal()
    for token in (
        good, good[:-1], good + "A", good + "=", good[:-5] + "AAAAA", "A" * 80, "", "\\ud800" * 80, good.encode(), None, b"", 7,
        seal(created=NOW + 61_000), seal(expires=NOW), seal(expires=NOW - 1, created=NOW), seal(created=0), seal(name="y"),
        seal(kind="cookie"), seal(flags=8), seal(flags=2), seal(flags=1), seal(b"[]"), seal(b"{}x"), seal(b"\\xff"), seal(b"NaN"),
        seal(b""), seal(secret=SECRET + b"!"), seal(secret=SECRET + b"?"), seal(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"),
    ):
        attempt(lambda: codec.decode(token))
    for content in (
        {"a": 1}, {1: 2}, {"a": b"x"}, {"a": (1,)}, {"a": {"b": [object()]}}, {"a": 2**63}, {"a": float("nan")}, {"a": "\\ud800"},
        {"a": "x" * 5000}, [], b"", None, {b"a": 1}, {"a": {1, 2}}, {True: 1}, {"": [[{"x": b""}]]},
    ):
        attempt(lambda: len(codec.encode(content)))
    cookie = seal(name="session", kind="cookie")
    foreign = seal(b'{ "a":"\\\\ud800","b":1e999}', name="session", kind="cookie")
    retired = seal(name="session", kind="cookie", secret=SECRET + b"!")
    late = seal(name="session", kind="cookie", expires=NOW + 60_000)
    for header in (
        None, "", f"session={cookie}", f"session={foreign}", f"session={retired}", f"session={late}", f"session={good}",
        f"session={cookie}; session={late}", f'session="{cookie}"', f"session={cookie}; session=x", "a" * 70_000, b"session=x",
        "session=x",
    ):
        for change in (
            lambda s: None, lambda s: s.update(c=1), lambda s: s.clear(), lambda s: s.destroy(), lambda s: s.reset(("a",))
        ):
            def visit():
                sessions = Sessions([jar], header)
                session = sessions["session"]
                seen = (dict(session), session.is_new, session.refusal, session.key_id, session.created_at, session.expires_at)
                change(session)
                answers = [answer[:8] + answer[answer.find(";"):] + str(answer.find(";")) for answer in sessions.commit()]
                try:
                    session["late"] = 1
                except SessionCommittedError as error:
                    answers.append(str(error))
                return seen, answers
            attempt(visit)

ring = Keyring(key)
for make in (
    lambda: Key.parse("csk1_x"), lambda: Key.parse(b"csk1_x"), lambda: Key.parse(reference.export(SECRET, 1)),
    lambda: Key.from_secret(b"x"), lambda: Key.from_secret("x" * 40), lambda: Key.from_secret(7), lambda: Keyring("x"),
    lambda: Keyring(key, accepting=b"x"), lambda: Keyring(key, accepting=[b"x"]), lambda: Codec(key, "x"),
    lambda: Codec(ring, b"x"), lambda: Jar(b"x", ring), lambda: Jar("x", ring, path=b"/"), lambda: Jar("x", ring, domain=b"x"),
    lambda: Jar("x", ring, samesite=b"Lax"), lambda: Jar("x", ring, secure=b""), lambda: Jar("__host-x", ring),
    lambda: Jar("x", ring, duration=7), lambda: Jar("x", ring, duration=timedelta(0)), lambda: Sessions([jar, jar], None),
    lambda: setattr(key, "id", 1), lambda: Sessions([jar], None)["y"], Keyring.from_env, Key,
):
    attempt(make)
print(json.dumps(facts, ensure_ascii=True))
print(sys.flags.optimize, sys.flags.bytes_warning, sys.flags.dev_mode, sys.flags.hash_randomization)
"""

VARIABLES = {"CLIENTSESSION_KEY": ""}


@pytest.fixture(scope="module")
def facts() -> list[str]:
    """What the script finds without any switch."""
    found = json.loads(run_script(FACTS, PYTHONHASHSEED="1", **VARIABLES).splitlines()[0])
    assert len(found) == 2 * (1 + 29 + 16 + 13 * 5) + 24
    assert len(set(found)) > 60
    return found


@pytest.mark.parametrize(
    ("switches", "seed", "flags"),
    [
        (("-O",), "1", "1 0 False 1"),
        (("-OO",), "1", "2 0 False 1"),
        (("-bb",), "1", "0 2 False 1"),
        (("-X", "dev"), "1", "0 0 True 1"),
        ((), "0", "0 0 False 0"),
        ((), "4294967295", "0 0 False 1"),
        ((), "random", "0 0 False 1"),
        (("-O", "-bb", "-X", "dev"), "random", "1 2 True 1"),
    ],
    ids=["O", "OO", "bb", "dev", "hash-seed-0", "hash-seed-last", "hash-seed-random", "all"],
)
def test_no_switch_of_the_interpreter_changes_an_answer(facts: list[str], switches: tuple[str, ...], seed: str, flags: str) -> None:
    """A19"""
    found, said = run_script(FACTS, switches=switches, PYTHONHASHSEED=seed, **VARIABLES).splitlines()
    assert json.loads(found) == facts
    assert said == flags


# Many at once


def test_a_key_ring_may_be_exchanged_between_requests_while_others_run(suite: Suite, clock: Clock, eager_switching: None) -> None:
    """Each request has the ring its jar was made with; nobody is signed out by a rotation in two steps."""
    old, new = Key.generate(suite), Key.generate(suite)
    steps = [Keyring(old), Keyring(old, accepting=[new]), Keyring(new, retiring=[old])]
    jars = [Jar("session", ring, clock=clock, duration=timedelta(hours=1)) for ring in steps]

    def shop(user: int) -> tuple[str | None, int]:
        cookie, key_id = "", None
        for visit in range(120):
            sessions = Sessions([jars[visit // 40]], cookie)
            session = sessions["session"]
            assert session.get("user", user) == user
            assert session.refusal is None
            if visit == 0:
                session["user"] = user
            answers = sessions.commit()
            assert len(answers) == (visit in (0, 80))
            cookie = cookie_of(answers[0]) if answers else cookie
            key_id = session.key_id
        return key_id, user

    assert in_threads(THREADS, shop) == [(new.id, user) for user in range(THREADS)]
