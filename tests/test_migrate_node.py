"""Cookies of Node's client-sessions and of iron-session: with the real packages, then against hostile hands.

With Node there: what the packages seal opens here, what ``encode`` writes opens there, and users move without signing in again.
Without it: the forms a second time, in this file, sharing no code with the readers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import webob
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

import clientsession
from clientsession import (
    ClientSessionError,
    Codec,
    ConfigurationError,
    Jar,
    Key,
    Keyring,
    Reason,
    SerializationError,
    Sessions,
    SessionTooLargeError,
)
from clientsession._events import Event
from clientsession._migration import OldSession, Reader
from clientsession.migrate.iron import IronSession, iron_session
from clientsession.migrate.node import NodeClientSessions, node_client_sessions
from clientsession.wsgi import SessionMiddleware
from tests.conftest import Clock, cookie_of, frames_at_every_depth, max_age_of
from tests.node import Node, NodeError, running
from tests.strict_wsgi import Exchange, make_environ, serve

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
NOW = 1_800_000_000_000
SECRET = "Fahrradkette-8293"
PASSWORD = "Zwiebelkuchen-Fahrradkette-8293-Morgentau"
CONTENT = {
    "user": 7,
    "name": "\u00c5sa \U0001f40d",
    "\u03ba": ["\u65e5\u672c", "\x00\u2028", None, True, -1.5],
    "deep": {"n": {"m": []}},
}
RING = Keyring(Key.generate())
ENCRYPTION = {"aes128": 16, "aes192": 24, "aes256": 32}
SIGNATURES = {
    "sha256": ("sha256", 32),
    "sha256-drop128": ("sha256", 16),
    "sha384": ("sha384", 48),
    "sha384-drop192": ("sha384", 24),
    "sha512": ("sha512", 64),
    "sha512-drop256": ("sha512", 32),
}


# ---------------------------------------------------------------------------------------------------------------------
# The forms, a second time
# ---------------------------------------------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def padded(plaintext: bytes) -> bytes:
    count = 16 - len(plaintext) % 16
    return plaintext + bytes([count]) * count


def cbc(key: bytes, iv: bytes, blocks: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def old_cookie(
    plaintext: bytes,
    created: object = NOW,
    duration: object = 86_400_000,
    *,
    secret: str = SECRET,
    blocks: bytes | None = None,
    signature: str = "sha256",
) -> str:
    """A cookie of client-sessions around any plaintext, or around any blocks in place of its padded one."""
    keys = [hmac.digest(secret.encode(), f"cookiesession-{use}".encode(), "sha256") for use in ("encryption", "signature")]
    iv = os.urandom(16)
    ciphertext = cbc(keys[0], iv, padded(plaintext) if blocks is None else blocks)
    algorithm, kept = SIGNATURES[signature]
    mac = hmac.digest(keys[1], b".".join((iv, ciphertext, str(created).encode(), str(duration).encode())), algorithm)[:kept]
    return f"{b64(iv)}.{b64(ciphertext)}.{created}.{duration}.{b64(mac)}"


def old_seal(
    plaintext: bytes,
    end: object = NOW + 86_400_000,
    *,
    password: str = PASSWORD,
    password_id: str = "1",
    blocks: bytes | None = None,
    version: str = "~2",
    prefix: str = "Fe26.2",
    salt: str | None = None,
    iv_bytes: int = 16,
) -> str:
    """A cookie of iron-session, likewise."""
    salts = [os.urandom(32).hex() if salt is None else salt for _ in range(2)]
    keys = [hashlib.pbkdf2_hmac("sha1", password.encode(), each.encode(), 1, 32) for each in salts]
    iv = os.urandom(16)
    ciphertext = cbc(keys[0], iv, padded(plaintext) if blocks is None else blocks)
    signed = f"{prefix}*{password_id}*{salts[0]}*{b64((iv * 2)[:iv_bytes])}*{b64(ciphertext)}*{end}"
    return f"{signed}*{salts[1]}*{b64(hmac.digest(keys[1], signed.encode(), 'sha256'))}{version}"


def node_reader(**options: Any) -> NodeClientSessions:
    return node_client_sessions(**{"secret": SECRET, "cookie_name": "session"} | options)


def iron_reader(**options: Any) -> IronSession:
    return iron_session(**{"password": PASSWORD, "cookie_name": "session"} | options)


class Form:
    """One of the two forms: its reader, and a cookie around any JSON text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reader: Reader = node_reader() if name == "client-sessions" else iron_reader()

    def cookie(self, text: bytes | str = json.dumps(CONTENT), **options: Any) -> str:
        plaintext = text if isinstance(text, bytes) else text.encode()
        if self.name == "client-sessions":
            return old_cookie(b"session=" + plaintext, **options)
        return old_seal(plaintext, **options)

    def read(self, text: bytes | str, **options: Any) -> Any:
        """The content of a cookie around this text, or None."""
        old = self.reader.read(self.cookie(text, **options), NOW)
        return None if old is None else old.content


@pytest.fixture(params=["client-sessions", "iron-session"])
def form(request: pytest.FixtureRequest) -> Form:
    return Form(request.param)


# ---------------------------------------------------------------------------------------------------------------------
# With the real packages
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    cache = getattr(request.config, "cache", None)
    folder = tmp_path_factory.mktemp("node") if cache is None else Path(cache.mkdir("node"))
    with running(folder) as process:
        yield process


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def hexed(key: bytes) -> str:
    """A Buffer, as the other side is told of it."""
    return f"hex:{key.hex()}"


def value_of(set_cookies: list[str], name: str) -> str:
    """What the one Set-Cookie of a name sets."""
    (value,) = [cookie_of(each).partition("=")[2] for each in set_cookies if each.startswith(f"{name}=")]
    return value


@pytest.mark.parametrize("encryption", ENCRYPTION)
@pytest.mark.parametrize("signature", SIGNATURES)
def test_cookies_go_both_ways_under_every_cipher_and_signature(node: Node, encryption: str, signature: str) -> None:
    keys = os.urandom(ENCRYPTION[encryption]), os.urandom(64)
    for name in ("session", "__Host-session", "a.b_c-d!~"):
        there = {
            "cookieName": name,
            "encryptionKey": hexed(keys[0]),
            "signatureKey": hexed(keys[1]),
            "encryptionAlgorithm": encryption,
            "signatureAlgorithm": signature,
        }
        here = node_client_sessions(
            cookie_name=name,
            encryption_key=keys[0],
            signature_key=keys[1],
            encryption_algorithm=encryption,
            signature_algorithm=signature,
        )
        sealed = node.ask("seal", options=there, content=CONTENT, duration=5000, createdAt=NOW)
        assert here.read(sealed, NOW) == OldSession(CONTENT, NOW, NOW + 5000)
        written = here.encode(CONTENT, created=datetime.fromtimestamp(NOW / 1000, UTC), duration=5 * SECOND)
        assert node.ask("open", options=there, value=written) == {"content": CONTENT, "createdAt": NOW, "duration": 5000}
        assert [len(part) for part in written.split(".")] == [len(part) for part in sealed.split(".")]
        # Through its middleware, by HTTP.
        mounted = node.mount("client-sessions", **there)
        content, set_cookies = mounted(f"{name}={here.encode(CONTENT)}")
        assert (content, set_cookies) == (CONTENT, [])
        _, set_cookies = mounted(write=CONTENT)
        old = here.read(value_of(set_cookies, name), now_ms())
        assert old is not None
        assert old.content == CONTENT
        assert (old.expires or 0) - (old.created or 0) == 86_400_000


@pytest.mark.parametrize("signature", ["sha256", "sha256-drop128"])
@pytest.mark.parametrize("secret", ["yo", SECRET, "\u00c5sa \U0001f40d", b"\x00\xff" * 50, "x" * 4096], ids=ascii)
def test_cookies_go_both_ways_with_keys_made_from_a_secret(node: Node, secret: str | bytes, signature: str) -> None:
    there = {
        "cookieName": "session_state",
        "secret": hexed(secret) if isinstance(secret, bytes) else secret,
        "signatureAlgorithm": signature,
    }
    here = node_client_sessions(secret, signature_algorithm=signature)
    sealed = node.ask("seal", options=there, content=CONTENT)
    old = here.read(sealed, now_ms())
    assert old is not None
    assert old.content == CONTENT
    assert node.ask("open", options=there, value=here.encode(CONTENT))["content"] == CONTENT
    assert node_client_sessions("another", signature_algorithm=signature).read(sealed, now_ms()) is None
    written = node_client_sessions("another", signature_algorithm=signature).encode(CONTENT)
    assert node.ask("open", options=there, value=written) is None


def test_the_defaults_are_those_of_the_package(node: Node) -> None:
    mounted = node.mount("client-sessions", secret=SECRET)
    _, set_cookies = mounted(write=CONTENT)
    here = node_client_sessions(SECRET)
    old = here.read(value_of(set_cookies, "session_state"), now_ms())
    assert old is not None
    assert old.content == CONTENT
    assert mounted(f"session_state={here.encode(CONTENT)}") == (CONTENT, [])


def test_a_key_beside_a_secret_stands_in_for_the_one_made_from_it(node: Node) -> None:
    key = os.urandom(64)
    for theirs, ours in (
        (
            {"encryptionKey": hexed(key[:16]), "encryptionAlgorithm": "aes128"},
            {"encryption_key": key[:16], "encryption_algorithm": "aes128"},
        ),
        ({"signatureKey": hexed(key), "signatureAlgorithm": "sha512"}, {"signature_key": key, "signature_algorithm": "sha512"}),
    ):
        mounted = node.mount("client-sessions", cookieName="session", secret=SECRET, **theirs)
        here = node_reader(**ours)
        assert mounted(f"session={here.encode(CONTENT)}") == (CONTENT, [])
        assert here.read(value_of(mounted(write=CONTENT)[1], "session"), now_ms()) is not None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"secret": SECRET, "encryption_algorithm": "aes128"},
        {"secret": SECRET, "encryption_algorithm": "aes192"},
        {"secret": SECRET, "signature_algorithm": "sha384"},
        {"secret": SECRET, "signature_algorithm": "sha512-drop256"},
        {"secret": SECRET, "encryption_algorithm": "aes512"},
        {"secret": SECRET, "signature_algorithm": "md5"},
        {"encryption_key": bytes(32)},
        {"encryption_key": bytes(32), "signature_key": bytes(32)},
        {"encryption_key": bytes(31), "signature_key": bytes(32)},
        {"encryption_key": bytes(32), "signature_key": b"x" * 31},
        {"secret": ""},
    ],
    ids=str,
)
def test_what_the_package_refuses_to_be_set_up_with_is_refused_here_too(node: Node, options: dict[str, Any]) -> None:
    names = {
        "secret": "secret",
        "encryption_key": "encryptionKey",
        "signature_key": "signatureKey",
        "encryption_algorithm": "encryptionAlgorithm",
        "signature_algorithm": "signatureAlgorithm",
    }
    there = {names[name]: hexed(value) if isinstance(value, bytes) else value for name, value in options.items()}
    with pytest.raises(NodeError):
        node.mount("client-sessions", cookieName="session", **there)
    with pytest.raises(ConfigurationError):
        node_client_sessions(cookie_name="session", **options)


def test_the_published_vector_opens_there_and_in_its_canonical_spelling_here(node: Node) -> None:
    published = (
        "LVB3G2lnPF75RzsT9mz7jQ.RT1Lcq0dOJ_DMRHyWJ4NZPjBXr2WzkFcUC4NO78gbCQ.1371704898483.5000."
        "ILEusgnajT1sqCWLuzaUt-HFn2KPjYNd38DhI7aRCb"
    )
    there = {"cookieName": "session", "secret": "yo"}
    here = node_client_sessions("yo", cookie_name="session")
    for last in "89":
        assert node.ask("open", options=there, value=published + last)["content"] == {"foo": "bar"}
    assert here.read(published + "8", 1371704898483) == OldSession({"foo": "bar"}, 1371704898483, 1371704903483)
    assert here.read(published + "9", 1371704898483) is None


def test_what_was_tampered_with_opens_on_neither_side(node: Node) -> None:
    there = {"cookieName": "session", "secret": SECRET}
    here = node_reader()
    written = here.encode(CONTENT)
    pieces = written.split(".")
    pieces[2] = str(int(pieces[2]) + 1)
    later = ".".join(pieces)
    for value in (flipped(written, 3), flipped(written, 40), later, flipped(written, len(written) - 5), written[:-1], written[:80]):
        assert node.ask("open", options=there, value=value) is None
        assert here.read(value, now_ms()) is None
    assert node.ask("open", options={"cookieName": "cart", "secret": SECRET}, value=written) is None
    assert node_reader(cookie_name="cart").read(written, now_ms()) is None


def test_a_cookie_of_the_package_ends_here_when_it_ends_there(node: Node) -> None:
    there = {"cookieName": "session", "secret": SECRET}
    here = node_reader()
    sealed = node.ask("seal", options=there, content=CONTENT, duration=5000, createdAt=NOW)
    assert here.read(sealed, NOW + 4999) == OldSession(CONTENT, NOW, NOW + 5000)
    assert here.read(sealed, NOW + 5000) is None
    mounted = node.mount("client-sessions", **there)
    assert mounted(f"session={here.encode(CONTENT, duration=5 * SECOND)}")[0] == CONTENT
    past = datetime.now(UTC) - MINUTE
    assert mounted(f"session={here.encode(CONTENT, created=past, duration=59 * SECOND)}")[0] == {}


def test_a_session_that_activity_moved_ahead_of_the_clock_opens(node: Node) -> None:
    """There createdAt moves on by activeDuration, and can stand in the future."""
    mounted = node.mount("client-sessions", cookieName="session", secret=SECRET, duration=60_000, activeDuration=3_600_000)
    _, set_cookies = mounted(write=CONTENT)
    _, set_cookies = mounted(f"session={value_of(set_cookies, 'session')}")
    moved, now = value_of(set_cookies, "session"), now_ms()
    created = int(moved.split(".")[2])
    assert created > now + 3_500_000
    old = node_reader(active_duration=timedelta(hours=1)).read(moved, now)
    assert old == OldSession(CONTENT, now, created + 60_000)
    assert node_reader().read(moved, now) is None, "the old site's activeDuration is five minutes where nothing else is said"


NUMBERS = "({max: 2**53, big: 2**63, huge: 1e20, larger: 1e21, most: Number.MAX_VALUE, least: 5e-324, minus: -0, half: 0.5})"
READ_NUMBERS = {
    "max": 2**53,
    "big": 2.0**63,
    "huge": 1e20,
    "larger": 1e21,
    "most": 1.7976931348623157e308,
    "least": 5e-324,
    "minus": 0,
    "half": 0.5,
}
TEXTS = (
    "({half: 'Ada \\ud83d', '\\udc00': '\\udc00\\ud800', whole: '\\ud83d\\udc0d', said: '\\\\ud800', nul: '\\u0000\\u007f\\u2028'})"
)
READ_TEXTS = {
    "half": "Ada \ufffd",
    "\ufffd": "\ufffd\ufffd",
    "whole": "\U0001f40d",
    "said": "\\ud800",
    "nul": "\x00\x7f\u2028",
}
OTHERS = "({date: new Date(0), nothing: undefined, nan: NaN, map: new Map(), list: [undefined, () => 1], own: {toJSON: () => 7}})"
READ_OTHERS = {"date": "1970-01-01T00:00:00.000Z", "nan": None, "map": {}, "list": [None, None], "own": 7}


@pytest.mark.parametrize(
    ("code", "content"), [(NUMBERS, READ_NUMBERS), (TEXTS, READ_TEXTS), (OTHERS, READ_OTHERS)], ids=["numbers", "texts", "others"]
)
def test_what_javascript_can_put_into_a_session_comes_out_as_json(node: Node, code: str, content: dict[str, Any]) -> None:
    sealed = node.ask("seal", options={"cookieName": "session", "secret": SECRET}, content=code)
    clock = Clock(time.time())
    session = Sessions([Jar("session", RING, clock=clock, migrate_from=[node_reader()])], f"session={sealed}")["session"]
    assert repr(dict(session)) == repr(content), "to the type and the order of keys"


@pytest.fixture(params=[8, 9], ids=["version-8", "version-9"])
def version(request: pytest.FixtureRequest) -> int:
    return request.param


def test_seals_of_iron_session_open_with_their_end(node: Node, version: int) -> None:
    before = now_ms()
    for ttl in (60, 1_209_600, 0):
        options = {"password": PASSWORD} | ({} if ttl == 1_209_600 else {"ttl": ttl})
        seal = node.ask("iron-seal", version=version, content=CONTENT, options=options)
        old = iron_reader(ttl=None, until=datetime(2100, 1, 1, tzinfo=UTC)).read(seal, now_ms())
        assert old is not None
        assert (old.content, old.created) == (CONTENT, None)
        if ttl:
            assert before + ttl * 1000 <= (old.expires or 0) <= now_ms() + ttl * 1000
            assert iron_reader().read(seal, (old.expires or 0) - 1) == old
            assert iron_reader().read(seal, old.expires or 0) is None
        else:
            assert old.expires is None
            assert iron_reader().read(seal, now_ms()) is None, "without a time only where the site is said to seal none"


def test_seals_of_iron_session_open_under_the_password_they_name(node: Node, version: int) -> None:
    passwords = {str(number): f"{PASSWORD}-{number}" for number in (1, 2, 10)}
    rotated = node.ask("iron-seal", version=version, content=CONTENT, options={"password": passwords})
    assert rotated.startswith("Fe26.2*10*")
    single = node.ask("iron-seal", version=version, content=CONTENT, options={"password": passwords["1"]})
    both = iron_reader(password={int(number): text for number, text in passwords.items()})
    for seal in (rotated, single):
        old = both.read(seal, now_ms())
        assert old is not None
        assert old.content == CONTENT
    assert iron_reader(password=passwords["10"]).read(rotated, now_ms()) is None, "known by number 1 there"
    assert iron_reader(password={"10": passwords["10"]}).read(single, now_ms()) is None
    assert iron_reader(password={1: passwords["2"]}).read(single, now_ms()) is None


def test_cookies_that_iron_session_sets_by_http_open(node: Node, version: int) -> None:
    password = "\u00c5sa \U0001f40d " * 6
    mounted = node.mount("iron-session", version=version, cookieName="__Host-s", password=password)
    _, set_cookies = mounted(write=CONTENT)
    value = value_of(set_cookies, "__Host-s")
    old = iron_session(password, cookie_name="__Host-s").read(value, now_ms())
    assert old is not None
    assert old.content == CONTENT
    # What this file writes of the form opens there: so it is the form that the hostile tests below are about.
    content, _ = mounted(f"__Host-s={old_seal(json.dumps(CONTENT).encode(), now_ms() + 60_000, password=password)}")
    assert content == CONTENT
    assert mounted(f"__Host-s={flipped(value, 90)}")[0] == {}


def test_the_form_as_this_file_writes_it_opens_in_the_package(node: Node) -> None:
    for signature in ("sha256", "sha256-drop128"):
        value = old_cookie(b"session=" + json.dumps(CONTENT).encode(), signature=signature)
        there = {"cookieName": "session", "secret": SECRET, "signatureAlgorithm": signature}
        assert node.ask("open", options=there, value=value)["content"] == CONTENT


@pytest.mark.parametrize(("code", "content"), [(NUMBERS, READ_NUMBERS), (TEXTS, READ_TEXTS)], ids=["numbers", "texts"])
def test_javascript_s_numbers_and_texts_come_out_of_a_seal_too(
    node: Node, version: int, code: str, content: dict[str, Any]
) -> None:
    seal = node.ask("iron-seal", version=version, content=code, options={"password": PASSWORD})
    old = iron_reader().read(seal, now_ms())
    assert old is not None
    assert repr(old.content) == repr(content)


# Users who move


class Visitor:
    """A browser with cookies by name, at our site: a middleware around one jar."""

    def __init__(self, jar: Jar, cookies: dict[str, str]) -> None:
        self.jar = jar
        self.cookies = cookies
        self.seen: dict[str, Any] = {}

    @property
    def header(self) -> str | None:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items()) or None

    def keep(self, set_cookies: list[str]) -> None:
        for each in set_cookies:
            name, _, value = cookie_of(each).partition("=")
            if max_age_of(each) == 0:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def get(self, **changes: Any) -> Exchange:
        def app(environ: dict[str, Any], start_response: Any) -> Any:
            session = webob.Request(environ).session
            session |= changes
            self.seen = {
                "content": dict(session),
                "times": (session.created_at, session.expires_at),
                "is_new": session.is_new,
                "refusal": session.refusal,
            }
            return webob.Response("ok")(environ, start_response)

        exchange = serve(SessionMiddleware(app, [self.jar]), make_environ(cookie=self.header))
        self.keep(exchange.values("Set-Cookie"))
        return exchange


def at(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize("old_name", ["session", "session_state"])
def test_a_user_of_the_node_site_stays_signed_in_with_the_old_times(node: Node, old_name: str) -> None:
    mounted = node.mount("client-sessions", cookieName=old_name, secret=SECRET, duration=3_600_000)
    _, set_cookies = mounted(write={"user": 7, "cart": ["seal"]})
    cookies = {old_name: value_of(set_cookies, old_name)}
    created = int(cookies[old_name].split(".")[2])
    events: list[Event] = []
    reader = node_reader(cookie_name=old_name)
    visitor = Visitor(Jar("session", RING, migrate_from=[reader], observer=events.append), cookies)
    exchange = visitor.get()
    moved = {
        "content": {"user": 7, "cart": ["seal"]},
        "times": (at(created), at(created + 3_600_000)),
        "is_new": False,
        "refusal": None,
    }
    assert visitor.seen == moved
    assert [event.kind for event in events] == ["opened", "migrated"]
    gone = "session_state=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
    assert [each for each in exchange.values("Set-Cookie") if "Max-Age=0" in each] == ([] if old_name == "session" else [gone])
    assert list(visitor.cookies) == ["session"]
    # The next request is one like all others, and the reader may go.
    assert visitor.get().values("Set-Cookie") == []
    visitor.jar = Jar("session", RING)
    visitor.get()
    assert visitor.seen == moved
    assert mounted(f"{old_name}={visitor.cookies['session']}")[0] == {}


@pytest.mark.parametrize("old_name", ["session", "iron"])
def test_a_user_of_the_iron_session_site_stays_signed_in_to_the_same_end(node: Node, version: int, old_name: str) -> None:
    mounted = node.mount("iron-session", version=version, cookieName=old_name, password=PASSWORD, ttl=3600)
    _, set_cookies = mounted(write={"user": 7})
    cookies = {old_name: value_of(set_cookies, old_name)}
    end = int(cookies[old_name].split("*")[5])
    visitor = Visitor(Jar("session", RING, migrate_from=[iron_reader(cookie_name=old_name)]), cookies)
    visitor.get()
    assert (visitor.seen["content"], visitor.seen["is_new"], visitor.seen["times"][1]) == ({"user": 7}, False, at(end))
    assert list(visitor.cookies) == ["session"]
    visitor.jar = Jar("session", RING)
    visitor.get()
    assert (visitor.seen["content"], visitor.seen["is_new"], visitor.seen["times"][1]) == ({"user": 7}, False, at(end))


def test_none_of_500_users_is_lost_neither_by_the_move_nor_when_the_reader_goes(node: Node) -> None:
    there = {"cookieName": "session_state", "secret": SECRET}
    questions = [{"ask": "seal", "options": there, "content": {"user": number}} for number in range(500)]
    with_reader = Jar("session", RING, migrate_from=[node_client_sessions(SECRET)])
    visitors = [Visitor(with_reader, {"session_state": value}) for value in node.ask("many", questions=questions)]
    for jar in (with_reader, Jar("session", RING)):
        for visitor in visitors:
            visitor.jar = jar
            visitor.get()
        assert [visitor.seen["content"] for visitor in visitors] == [{"user": number} for number in range(500)]
        assert {tuple(visitor.cookies) for visitor in visitors} == {("session",)}


def test_two_halves_of_a_site_share_the_old_cookie_while_it_moves(node: Node) -> None:
    """Node serves one half, and ours reads and writes the old form with the reader itself, without a jar."""
    mounted = node.mount("client-sessions", cookieName="session_state", secret=SECRET, duration=3_600_000)
    here = node_client_sessions(SECRET)
    _, set_cookies = mounted(write={"steps": ["node"]})
    cookie = value_of(set_cookies, "session_state")
    began = int(cookie.split(".")[2])
    for _ in range(3):
        old = here.read(cookie, now_ms())
        assert old is not None
        old.content["steps"].append("ours")
        life = timedelta(milliseconds=(old.expires or 0) - (old.created or 0))
        cookie = here.encode(old.content, created=at(old.created or 0), duration=life)
        steps = mounted(f"session_state={cookie}")[0]["steps"]
        _, set_cookies = mounted(f"session_state={cookie}", write={"steps": [*steps, "node"]})
        cookie = value_of(set_cookies, "session_state")
        assert cookie.split(".")[2:4] == [str(began), "3600000"], "nobody's session lives longer for it"
    old = here.read(cookie, now_ms())
    assert old is not None
    assert old.content == {"steps": ["node", "ours", "node", "ours", "node", "ours", "node"]}


# ---------------------------------------------------------------------------------------------------------------------
# Without Node: what a jar makes of them
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def jar(form: Form, clock: Clock) -> Jar:
    return Jar("session", RING, clock=clock, migrate_from=[form.reader])


def test_an_old_cookie_of_another_path_is_deleted_there(clock: Clock) -> None:
    assert clock.now * 1000 == NOW
    reader = node_reader(path="/api", domain="example.com")
    visitor = Visitor(Jar("session", RING, clock=clock, migrate_from=[reader]), {"session": Form("client-sessions").cookie()})
    deletion, own = visitor.get().values("Set-Cookie")
    assert deletion == "session=; Max-Age=0; Path=/api; Domain=example.com; HttpOnly; SameSite=Lax"
    assert own.startswith("session=A")


def test_an_old_session_that_is_changed_destroyed_or_not_touched(form: Form, jar: Jar) -> None:
    header = f"session={form.cookie()}"
    sessions = Sessions([jar], header)
    sessions["session"]["user"] = 8
    (set_cookie,) = sessions.commit()
    assert Sessions([jar], cookie_of(set_cookie))["session"] == CONTENT | {"user": 8}
    sessions = Sessions([jar], header)
    sessions["session"].destroy()
    assert sessions.commit() == ["session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"]
    assert Sessions([jar], header).commit() == []


def test_an_old_cookie_that_is_over_or_forged_is_a_new_session_and_nothing_is_sent(form: Form, jar: Jar, clock: Clock) -> None:
    good = form.cookie()
    for value, later in ((flipped(good, 30), 0), ("junk", 0), (good, 86_400)):
        clock.pass_(later)
        sessions = Sessions([jar], f"session={value}")
        assert (sessions["session"], sessions["session"].is_new) == ({}, True)
        assert sessions["session"].refusal is Reason.MALFORMED
        assert sessions.commit() == []


def test_until_ends_a_reader(form: Form, clock: Clock) -> None:
    make = node_reader if form.name == "client-sessions" else iron_reader
    value = form.cookie()
    for until, content in ((at(NOW + 1), CONTENT), (at(NOW), {})):
        jar = Jar("session", RING, clock=clock, migrate_from=[make(until=until)])
        assert Sessions([jar], f"session={value}")["session"] == content


def test_a_seal_without_a_time_lives_as_long_as_a_new_session_from_when_it_is_read(clock: Clock) -> None:
    reader = iron_reader(ttl=None, until=at(NOW + 1000))
    jar = Jar("session", RING, clock=clock, duration=timedelta(hours=2), migrate_from=[reader])
    session = Sessions([jar], f"session={old_seal(b'{}', '')}")["session"]
    assert (session.created_at, session.expires_at) == (at(NOW), at(NOW) + timedelta(hours=2))
    timed = Sessions([jar], f"session={old_seal(b'{}', NOW + 5000)}")["session"]
    assert timed.expires_at == at(NOW + 5000)


def test_an_end_beyond_what_browsers_keep_is_moved_to_where_they_would_drop_it(form: Form, clock: Clock) -> None:
    far = form.cookie(duration=9_007_199_254_740_991) if form.name == "client-sessions" else form.cookie(end=9_007_199_254_740_991)
    old = form.reader.read(far, NOW)
    assert old is not None
    assert old.expires == NOW + 400 * 86_400_000
    jar = Jar("session", RING, clock=clock, migrate_from=[form.reader], max_duration=DAY)
    assert Sessions([jar], f"session={far}")["session"].expires_at == at(NOW) + DAY


def test_the_beginning_may_be_ahead_by_what_activity_can_have_moved_it(clock: Clock) -> None:
    def created(ahead: int, duration: int, **options: Any) -> int | None:
        old = node_reader(**options).read(old_cookie(b"session={}", NOW + ahead, duration), NOW)
        return None if old is None else old.created

    assert [created(ahead, 86_400_000) for ahead in (0, 60_000, 60_001)] == [NOW, NOW, None]
    assert [created(ahead, 100_000) for ahead in (560_000, 560_001)] == [NOW, None]
    assert [created(ahead, 100_000, active_duration=timedelta(0)) for ahead in (60_000, 60_001)] == [NOW, None]
    assert [created(ahead, 100_000, active_duration=MINUTE) for ahead in (80_000, 80_001)] == [NOW, None]
    assert created(-99_999, 100_000) == NOW - 99_999
    assert created(-100_000, 100_000) is None


# ---------------------------------------------------------------------------------------------------------------------
# Hostile cookies
# ---------------------------------------------------------------------------------------------------------------------

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
STRANGE = (".", "*", "~", "=", " ", "+", "/", "%", "\x00", "\n", "\x7f", "\x80", "\xff", "\u0660", "\ud800", "\U0001f40d")


def flipped(value: str, index: int) -> str:
    """One character another one."""
    return value[:index] + ("B" if value[index] == "A" else "A") + value[index + 1 :]


def mutants(value: str) -> Iterator[str]:
    """Everything one edit away from a cookie."""
    for index, char in enumerate(value):
        for other in (*ALPHABET, *STRANGE):
            if other != char:
                yield value[:index] + other + value[index + 1 :]
        yield value[:index]
        yield value[index + 1 :]
        yield value[:index] + value[index + 1 :]
        yield value[:index] + char + value[index:]
    for index in range(len(value) + 1):
        for other in ("A", "0", *STRANGE):
            yield value[:index] + other + value[index:]


def test_no_cookie_that_is_one_edit_away_from_a_good_one_opens(form: Form) -> None:
    good = form.cookie('{"a":1}')
    assert form.reader.read(good, NOW) is not None
    tried = set(mutants(good)) - {good}
    assert len(tried) > 90 * len(good)
    assert [value for value in tried if form.reader.read(value, NOW) is not None] == []


def test_no_cookie_put_together_of_the_pieces_of_good_ones_opens(form: Form) -> None:
    separator = "." if form.name == "client-sessions" else "*"
    options = [{"duration": 86_400_000}, {"duration": 5000}] if separator == "." else [{}, {"end": NOW + 5000}]
    pieces = [form.cookie(f'{{"a":{number}}}', **given).split(separator) for number, given in enumerate(options)]
    mixed = {separator.join(chosen) for chosen in itertools.product(*zip(*pieces, strict=True))} - {
        separator.join(each) for each in pieces
    }
    assert len(mixed) >= 2 ** (len(pieces[0]) - 3) - 2, "pieces that are the same in both are one"
    assert [value for value in mixed if form.reader.read(value, NOW) is not None] == []
    first = pieces[0]
    for shuffled in (first[::-1], first[1:] + first[:1], [*first, *first], [*first, ""], ["", *first], first[:-1], []):
        assert form.reader.read(separator.join(shuffled), NOW) is None


def test_a_cookie_of_one_form_is_none_of_the_other_nor_of_ours_nor_of_a_stranger_s(form: Form) -> None:
    codec = Codec(RING, "session")
    others = [
        old_cookie(b"session={}") if form.name == "iron-session" else old_seal(b"{}"),
        codec.encode({"a": 1}),
        "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "gAAAAABh" + "A" * 92 + "==",
        '{"a":1}',
        "s:abc.def",
        "",
        ".",
        "....",
        "*" * 7,
        "Fe26.2*******~2",
        "~2",
    ]
    for value in others:
        assert form.reader.read(value, NOW) is None
    assert isinstance(codec._find(others[1], codec._bound), tuple)
    assert codec._find(form.cookie(), codec._bound) == 1


def test_a_cookie_under_another_secret_name_or_algorithm_does_not_open(form: Form) -> None:
    if form.name == "client-sessions":
        good = form.cookie()
        assert node_reader().read(good, NOW) is not None
        assert node_reader(secret="another").read(good, NOW) is None
        assert node_reader(cookie_name="cart").read(good, NOW) is None
        for name in ("sessio", "sessiom", "session_", "Session"):
            assert node_reader(cookie_name=name).read(good, NOW) is None
        assert node_reader(signature_algorithm="sha256-drop128").read(good, NOW) is None
        assert node_reader().read(form.cookie(signature="sha256-drop128"), NOW) is None
    else:
        assert iron_reader(password="x" * 32).read(form.cookie(), NOW) is None
        assert form.read("{}", password_id="2") is None
        assert form.read("{}", password_id="") is None
        assert form.read("{}", password_id="01") is None


@pytest.mark.parametrize(
    "spelled",
    ["0{}", "+{}", "-{}", " {}", "{} ", "{}.0", "{}.", "{}e0", "{}x", "{}\u0660", "{}\n", "00{}", "0x{}", "1_{}", "9999{}", "NaN"],
)
def test_authentic_times_in_another_spelling_are_refused(spelled: str) -> None:
    time = spelled.format(NOW)
    later = spelled.format(NOW + 5)
    iron = iron_reader(ttl=None, until=at(NOW * 2))
    assert iron.read(old_seal(b"{}", NOW + 5), NOW) is not None
    assert iron.read(old_seal(b"{}", later), NOW) is None
    assert node_reader().read(old_cookie(b"session={}", NOW, NOW), NOW) is not None
    assert node_reader().read(old_cookie(b"session={}", NOW, later), NOW) is None
    assert node_reader().read(old_cookie(b"session={}", time, NOW), NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": ""},
        {"version": "~1"},
        {"version": "~3"},
        {"version": "~2~2"},
        {"version": "~"},
        {"version": "~02"},
        {"prefix": "Fe26.1"},
        {"prefix": "fe26.2"},
        {"prefix": ""},
        {"salt": ""},
        {"salt": "ab" * 31},
        {"salt": "AB" * 32},
        {"salt": "\u0661" * 64},
        {"iv_bytes": 0},
        {"iv_bytes": 15},
        {"iv_bytes": 17},
    ],
    ids=str,
)
def test_an_authentic_seal_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    assert iron_reader().read(old_seal(b"{}"), NOW) is not None
    assert iron_reader().read(old_seal(b"{}", **change), NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b"7",
        b"{",
        b"{}}",
        b"{}\x00",
        b"\x00{}",
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\x00"}',
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":"\\ud800",b' + b"[" * 5000,
    ],
    ids=lambda text: text[:20],
)
def test_authentic_content_that_is_no_plain_json_object_is_refused(form: Form, text: bytes) -> None:
    assert form.read(text) is None


def test_the_largest_authentic_content_opens(form: Form) -> None:
    deepest = '{"a":' * 64 + "1" + "}" * 64
    assert form.read(deepest) == json.loads(deepest)
    assert form.read(f'{{"a":{2**63 - 1},"b":{-(2**63)}}}') == {"a": 2**63 - 1, "b": -(2**63)}
    assert repr(form.read(f'{{"a":{2**63},"b":{-(2**63) - 1}}}')) == repr({"a": 2.0**63, "b": -(2.0**63)})
    assert form.read('{"a":1,"a":2}') == {"a": 2}, "as JavaScript reads it"


def test_a_nesting_that_the_parser_gives_up_on_is_refused_but_a_full_stack_is_the_application_s(
    form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = form.cookie(b"[" * 400_000)
    assert form.reader.read(deep, NOW) is None
    monkeypatch.setattr("clientsession.migrate.node.has_room", lambda: False)
    with pytest.raises(RecursionError):
        form.reader.read(deep, NOW)


BLOCK = b"session={}".ljust(16)


@pytest.mark.parametrize(
    "blocks",
    [
        b"",
        bytes(16),
        BLOCK,
        BLOCK + bytes([17]) * 16,
        BLOCK[:15] + bytes([17]) * 17,
        BLOCK + b"\x00" * 16,
        BLOCK + b"\xff" * 16,
        BLOCK + b"\x0f" + bytes([16]) * 15,
        BLOCK + bytes([2, 3]) * 8,
        bytes([16]) * 16,
    ],
    ids=repr,
)
def test_authentic_blocks_that_are_padded_wrongly_are_refused(form: Form, blocks: bytes) -> None:
    if form.name == "iron-session":
        blocks = blocks.replace(b"session={}", b"{}" + b" " * 8)
    assert form.reader.read(form.cookie(blocks=blocks), NOW) is None
    assert form.reader.read(form.cookie(blocks=padded(b"session={}" if form.name == "client-sessions" else b"{}")), NOW) is not None


def test_an_authentic_ciphertext_that_is_no_whole_number_of_blocks_is_refused() -> None:
    keys = {"encryption_key": b"e" * 32, "signature_key": b"s" * 32}
    reader = node_client_sessions(cookie_name="session", **keys)
    for iv, ciphertext in ((16, 15), (16, 17), (15, 16), (17, 16), (0, 16)):
        parts = bytes(iv), bytes(ciphertext)
        mac = hmac.digest(keys["signature_key"], b".".join((*parts, str(NOW).encode(), b"5000")), "sha256")
        assert reader.read(f"{b64(parts[0])}.{b64(parts[1])}.{NOW}.5000.{b64(mac)}", NOW) is None


@pytest.mark.parametrize(
    "piece",
    [".", "*", "A", "=", "0", "~2", "\x00", "\ud800", "A.", "Fe26.2*", "Fe26.2*1*", "*1", "....", "\u0661", "1*" + "a" * 64],
)
def test_work_grows_with_the_cookie_and_not_faster(form: Form, piece: str) -> None:
    """At the square of its length, 4 MB would take hours."""
    good = form.cookie()
    separator = "." if form.name == "client-sessions" else "*"
    long = piece * (4_000_000 // len(piece))
    values = [long, good + long, long + good, long + "~2", f"{good[:-2]}{long}~2"]
    pieces = good.split(separator)
    values += [separator.join([*pieces[:place], long, *pieces[place + 1 :]]) for place in range(len(pieces))]
    began = time.process_time()
    for value in values:
        assert form.reader.read(value, NOW) is None
    assert time.process_time() - began < 5


@given(value=st.text(max_size=200) | st.lists(st.text(ALPHABET + ".*~=", max_size=40), max_size=9).map("*".join))
def test_no_text_at_all_opens_or_raises(value: str) -> None:
    for reader in (node_reader(), iron_reader()):
        for text in (value, value.replace("*", "."), f"Fe26.2*1*{value}~2", f"{value}.{NOW}.5000.{value}"):
            assert reader.read(text, NOW) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(content=st.dictionaries(st.text(max_size=20), JSON, max_size=5), signature=st.sampled_from(sorted(SIGNATURES)))
def test_what_encode_writes_read_gives_back(content: dict[str, Any], signature: str) -> None:
    reader = node_reader(encryption_key=b"e" * 32, signature_key=b"s" * 64, signature_algorithm=signature)
    try:
        value = reader.encode(content, created=at(NOW), duration=MINUTE)
    except SessionTooLargeError:
        return
    assert reader.read(value, NOW) == OldSession(content, NOW, NOW + 60_000)


# ---------------------------------------------------------------------------------------------------------------------
# Writing the old form
# ---------------------------------------------------------------------------------------------------------------------


def test_encode_writes_the_times_it_is_given_and_by_default_a_day_from_now() -> None:
    reader = node_reader()
    value = reader.encode({}, created=at(NOW) + timedelta(microseconds=999), duration=timedelta(milliseconds=1500))
    assert value.split(".")[2:4] == [str(NOW), "1500"]
    before = now_ms()
    created, duration = map(int, reader.encode({}).split(".")[2:4])
    assert before <= created <= now_ms()
    assert duration == 86_400_000
    assert reader.encode({}) != reader.encode({}), "each has an iv of its own"
    aware = datetime(2027, 1, 15, 10, 0, tzinfo=UTC)
    assert reader.encode({}, created=aware.astimezone()).split(".")[2] == str(int(aware.timestamp() * 1000))


def test_encode_takes_a_session_with_its_times(clock: Clock) -> None:
    session = Sessions(
        [Jar("session", RING, clock=clock, migrate_from=[node_reader()])], f"session={Form('client-sessions').cookie()}"
    )["session"]
    value = node_reader().encode(session, created=session.created_at, duration=session.expires_at - session.created_at)
    assert node_reader().read(value, NOW) == OldSession(CONTENT, NOW, NOW + 86_400_000)


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        ([], {}, TypeError, "a session's content is a mapping, not list"),
        ("a", {}, TypeError, "a session's content is a mapping, not str"),
        ({"a": 1j}, {}, SerializationError, "a is of type complex"),
        ({"a": {"b c": [1, 2**53]}}, {}, SerializationError, r"^a\['b c'\]\[1\] is an int beyond 53 bits, which JavaScript rounds"),
        ({"a" * 300: -(2**53)}, {}, SerializationError, "^a{199} is an int beyond 53 bits"),
        ({"a": "\ud800"}, {}, SerializationError, "a is text with a lone surrogate"),
        ({}, {"duration": 5}, TypeError, "duration must be a datetime.timedelta"),
        ({}, {"duration": timedelta(0)}, ConfigurationError, "from 1 second to 400 days"),
        ({}, {"duration": 401 * DAY}, ConfigurationError, "from 1 second to 400 days"),
        ({}, {"created": datetime(2027, 1, 1)}, ConfigurationError, "with a time zone"),  # noqa: DTZ001
        ({}, {"created": datetime(1969, 12, 31, tzinfo=UTC)}, ConfigurationError, "since 1970"),
        ({}, {"created": NOW}, ConfigurationError, "must be a datetime"),
    ],
)
def test_encode_refuses_what_would_not_come_back(content: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        node_reader().encode(content, **options)


def test_encode_refuses_what_no_browser_would_keep() -> None:
    reader = node_reader()
    with pytest.raises(SessionTooLargeError) as caught:
        reader.encode({f"k{number}": "x" * number * 100 for number in range(10)})
    assert (caught.value.name, caught.value.limit) == ("session", 4096)
    assert [key for key, _ in caught.value.largest] == ["'k9'", "'k8'", "'k7'", "'k6'", "'k5'"]
    assert caught.value.largest[0][1] == len('"k9":""') + 900
    # Exactly as much as browsers keep, and one more: the plaintext of each has as many blocks, the names differ by a letter.
    values = len(node_reader(cookie_name="n").encode({"a": "x" * 2800}))
    for name_bytes, is_kept in ((4096 - values, True), (4096 - values + 1, False)):
        name = "n" * name_bytes
        assert fits(node_reader(cookie_name=name), "x" * (2801 - name_bytes)) is is_kept


def fits(reader: NodeClientSessions, text: str) -> bool:
    try:
        return bool(reader.encode({"a": text}))
    except SessionTooLargeError:
        return False


# ---------------------------------------------------------------------------------------------------------------------
# Setting them up
# ---------------------------------------------------------------------------------------------------------------------

KEYS = {"encryption_key": b"Fahrradkette-8293-Morgentau-enc!", "signature_key": b"Fahrradkette-8293-Morgentau-sig!" * 2}
WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no-secret": (node_client_sessions, {}, "give the old site's secret, or both"),
    "one-key": (node_client_sessions, {"encryption_key": KEYS["encryption_key"]}, "give the old site's secret, or both"),
    "empty-secret": (node_reader, {"secret": ""}, "secret must not be empty"),
    "number-secret": (node_reader, {"secret": 7}, "secret must be a str or bytes, not int"),
    "surrogate-secret": (node_reader, {"secret": SECRET + "\ud800"}, "secret must be text that UTF-8 can carry"),
    "long-secret": (node_reader, {"secret": SECRET * 300}, "secret must have at most 4,096 bytes"),
    "our-key": (node_reader, {"secret": Key.generate().export()}, "is a key of this library"),
    "cipher": (node_reader, {"encryption_algorithm": "aes-256"}, "encryption_algorithm must be one of aes128, aes192, aes256"),
    "cipher-list": (node_reader, {"encryption_algorithm": ["aes256"]}, "encryption_algorithm must be one of"),
    "signature": (node_reader, {"signature_algorithm": "SHA256"}, "signature_algorithm must be one of sha256, sha256-drop128"),
    "signature-list": (node_reader, {"signature_algorithm": ["sha256"]}, "signature_algorithm must be one of"),
    "text-key": (node_reader, {"encryption_key": KEYS["encryption_key"].hex()}, "must be bytes: decode the old site's text"),
    "text-signature-key": (node_reader, {"signature_key": KEYS["signature_key"].hex()}, "must be bytes: decode the old site's"),
    "bytearray-key": (node_reader, {"encryption_key": bytearray(KEYS["encryption_key"])}, "must be bytes"),
    "short-key": (node_reader, {"encryption_key": KEYS["encryption_key"][:31]}, "must have exactly 32 bytes for aes256"),
    "long-key": (node_reader, {"encryption_key": KEYS["signature_key"]}, "must have exactly 32 bytes for aes256"),
    "derived-for-aes128": (node_reader, {"encryption_algorithm": "aes128"}, "must have exactly 16 bytes for aes128; one made from"),
    "short-signature-key": (node_reader, {"signature_key": KEYS["signature_key"][:31]}, "must have 32 to 4,096 bytes for sha256"),
    "long-signature-key": (node_reader, {"signature_key": KEYS["signature_key"] * 65}, "must have 32 to 4,096 bytes for sha256"),
    "derived-for-sha512": (node_reader, {"signature_algorithm": "sha512"}, "must have 64 to 4,096 bytes for sha512; one made from"),
    "equal-keys": (node_reader, dict.fromkeys(KEYS, KEYS["encryption_key"]), "must differ"),
    "active-number": (node_reader, {"active_duration": 300}, "active_duration must be a datetime.timedelta, not int"),
    "active-negative": (node_reader, {"active_duration": -MINUTE}, "active_duration must be from 0 to 400 days"),
    "active-long": (node_reader, {"active_duration": 401 * DAY}, "active_duration must be from 0 to 400 days"),
    "name": (node_reader, {"cookie_name": "a=b"}, "a cookie name must have"),
    "path": (node_reader, {"path": "api"}, "path must start with /"),
    "domain": (node_reader, {"domain": ".example"}, "domain must be a host name"),
    "until": (node_reader, {"until": datetime(2027, 1, 1)}, "until must be a datetime with a time zone"),  # noqa: DTZ001
    "iron-short": (iron_reader, {"password": PASSWORD[:31]}, "a password must have 32 to 4,096 characters"),
    "iron-long": (iron_reader, {"password": PASSWORD * 101}, "a password must have 32 to 4,096 characters"),
    "iron-bytes": (iron_reader, {"password": PASSWORD.encode()}, "a password must be a str, not bytes"),
    "iron-none": (iron_reader, {"password": None}, "a password must be a str, not NoneType"),
    "iron-surrogate": (iron_reader, {"password": PASSWORD + "\ud800"}, "a password must be text that UTF-8 can carry"),
    "iron-no-entry": (iron_reader, {"password": {}}, "password must have 1 to 100 entries"),
    "iron-many": (iron_reader, {"password": dict.fromkeys(range(101), PASSWORD)}, "password must have 1 to 100 entries"),
    "iron-word": (iron_reader, {"password": {"default": PASSWORD}}, "whole numbers for keys"),
    "iron-zeros": (iron_reader, {"password": {"01": PASSWORD}}, "whole numbers for keys"),
    "iron-negative": (iron_reader, {"password": {-1: PASSWORD}}, "whole numbers for keys"),
    "iron-bool": (iron_reader, {"password": {True: PASSWORD}}, "whole numbers for keys"),
    "iron-twice": (iron_reader, {"password": {1: PASSWORD, "1": PASSWORD}}, "whole numbers for keys, each once"),
    "iron-short-in-map": (iron_reader, {"password": {1: PASSWORD, 2: PASSWORD[:31]}}, "a password must have 32"),
    "iron-bytes-in-map": (iron_reader, {"password": {1: PASSWORD.encode(), 2: PASSWORD}}, "a password must be a str"),
    "iron-ttl-none": (iron_reader, {"ttl": None}, "give until= a date"),
    "iron-ttl-number": (iron_reader, {"ttl": 3600}, "ttl must be a datetime.timedelta or None, not int"),
    "iron-ttl-zero": (iron_reader, {"ttl": timedelta(0)}, "ttl must be from 1 second"),
    "iron-name": (iron_reader, {"cookie_name": ""}, "a cookie name must have"),
    "iron-until": (iron_reader, {"until": 7}, "until must be a datetime"),
}


def frames_of(error: BaseException) -> str:
    """What our own frames of a traceback hold, and the message."""
    package = str(Path(clientsession.__file__).parent)
    shown, trace = [repr(error), repr(error.__cause__), repr(error.__context__)], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(package):
            shown += [f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items()]
        trace = trace.tb_next
    return "\n".join(shown)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_and_no_secret_with_it(case: str) -> None:
    make, options, message = WRONG[case]
    with pytest.raises((ClientSessionError, TypeError), match=message) as caught:
        make(**options)
    shown = frames_of(caught.value)
    assert "=" in shown, "there are frames of ours"
    for part in ("Fahrradkette", "Zwiebelkuchen", KEYS["encryption_key"].hex(), "csk1_A"):
        assert part not in shown


@pytest.mark.parametrize("password", [PASSWORD, "\U0001f40d" * 16, {1: PASSWORD}, {"7": PASSWORD, 0: PASSWORD}], ids=ascii)
def test_passwords_are_text_of_32_characters_as_javascript_counts_them(password: Any) -> None:
    assert repr(iron_reader(password=password)) == "<IronSession 'session'>"


def test_a_reader_shows_no_secret_and_is_not_pickled(form: Form) -> None:
    shown = repr([form.reader, vars(form.reader), *vars(form.reader).values()])
    assert "'session'" in shown
    for part in (SECRET, PASSWORD, "Fahrrad"):
        assert part not in shown
    for key in (hmac.digest(SECRET.encode(), b"cookiesession-encryption", "sha256"), PASSWORD.encode()):
        assert repr(key)[2:12] not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(form.reader)
    with pytest.raises(AttributeError, match="does not change"):
        form.reader.path = "/x"


def test_no_frame_shows_a_key_wherever_a_cookie_is_read(form: Form) -> None:
    value = form.cookie()
    keys = [SECRET.encode(), PASSWORD.encode()]
    keys += [hmac.digest(SECRET.encode(), b"cookiesession-" + use, "sha256") for use in (b"encryption", b"signature")]
    if form.name == "iron-session":
        salts = value.split("*")[2], value.split("*")[6]
        keys += [hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), salt.encode(), 1, 32) for salt in salts]
    assert form.reader.read(value, NOW) is not None
    shown = "\n".join(frames_at_every_depth(lambda: form.reader.read(value, NOW))) + repr(vars(form.reader))
    assert [key for key in keys if repr(key)[2:-1] in shown] == []


def test_a_number_of_a_password_that_no_cookie_can_have_is_refused() -> None:
    for number in (10**16, 10**5000, -1):
        with pytest.raises(ConfigurationError, match="whole numbers for keys") as caught:
            iron_reader(password={number: PASSWORD})
        assert PASSWORD not in frames_of(caught.value)


def test_a_key_of_ours_is_no_password() -> None:
    key = Key.generate().export()
    with pytest.raises(ConfigurationError, match="is a key of this library") as caught:
        iron_reader(password=key)
    assert key not in frames_of(caught.value)
