"""Readers of what other systems encrypt: Fernet, aiohttp_session, Litestar and Rails.

The cookies are made by those systems through their public interfaces, and come as their Set-Cookie headers give them to a browser.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import string
import subprocess
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from clientsession import ConfigurationError, Jar, Key, Keyring, Reason, Sessions, UnknownKeyError
from clientsession._events import Event, EventKind
from clientsession.migrate import OldSession, Reader
from clientsession.migrate.encrypted import aiohttp_session, fernet, litestar
from clientsession.migrate.rails import rails
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import Clock, cookie_of, max_age_of
from tests.strict_wsgi import make_environ, serve

RING = Keyring(Key.generate())
NOW = 1_800_000_000  # the clock's, in seconds
NOW_MS = NOW * 1000
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
UNTIL = datetime(2100, 1, 1, tzinfo=UTC)
OTHER_UNTIL = datetime(2099, 1, 1, tzinfo=UTC)
CONTENT = {"user": 7, "name": "Zo\xeb \U0001f36a", "tags": ["a", 2.5, None, True], "deep": {"n": {"m": [{}]}}, "big": 2**53}
KEY = Fernet.generate_key()
RAW_KEY = base64.urlsafe_b64decode(KEY)
OLD_KEY = Fernet.generate_key()


def fernet_token(content: Any, *, key: bytes = KEY, made: int = NOW) -> str:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Fernet(key).encrypt_at_time(body, made).decode()


def aiohttp_token(content: Any, *, created: Any = NOW, made: int = NOW, **more: Any) -> str:
    return fernet_token({"created": created, "session": content, **more}, made=made)


def litestar_value(
    content: Any, *, stamp: bytes | None = None, expires: int = NOW + 60, secret: bytes = RAW_KEY, mark: bytes | None = None
) -> str:
    """By the form that Litestar's source gives, for cases that the package does not make."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    stamp = b'{"expires_at":%d}' % expires if stamp is None else stamp
    mark = b"additional_authenticated_data=" if mark is None else mark
    nonce = os.urandom(12)
    return base64.b64encode(nonce + AESGCM(secret).encrypt(nonce, body, stamp) + mark + stamp).decode()


# ---------------------------------------------------------------------------------------------------------------------
# The systems
# ---------------------------------------------------------------------------------------------------------------------


class AiohttpSite:
    """A real aiohttp application with aiohttp_session, served on loopback."""

    def __init__(self, **options: Any) -> None:
        pytest.importorskip("aiohttp_session", reason="aiohttp-session is not installed")
        self.options = options

    def cookies(self, content: dict[str, Any], *, cookie: str | None = None) -> list[str]:
        """The Set-Cookie values of a visit whose handler stores this."""
        return self._visit(content, cookie)[0]

    def content(self, cookie: str) -> dict[str, Any]:
        """What its own handler finds in the session of a cookie."""
        return self._visit({}, cookie)[1]

    def _visit(self, content: dict[str, Any], cookie: str | None) -> tuple[list[str], dict[str, Any]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of these packages about one another
            return asyncio.run(self._exchange(content, cookie))

    async def _exchange(self, content: dict[str, Any], cookie: str | None) -> tuple[list[str], dict[str, Any]]:
        import aiohttp_session as peer
        from aiohttp import web
        from aiohttp.test_utils import TestClient, TestServer
        from aiohttp_session.cookie_storage import EncryptedCookieStorage

        async def handler(request: web.Request) -> web.Response:
            session = await peer.get_session(request)
            for name, value in content.items():
                session[name] = value
            return web.json_response(dict(session))

        app = web.Application()
        peer.setup(app, EncryptedCookieStorage(**self.options))
        app.router.add_get("/", handler)
        async with TestClient(TestServer(app)) as client:
            response = await client.get("/", headers={} if cookie is None else {"Cookie": cookie})
            return response.headers.getall("Set-Cookie", []), await response.json()


class LitestarSite:
    """A real Litestar application."""

    def __init__(self, **options: Any) -> None:
        pytest.importorskip("litestar", reason="litestar is not installed")
        self.options = options

    def cookies(self, content: Any, *, cookie: str | None = None) -> list[str]:
        from litestar import Litestar, Request, get
        from litestar.middleware.session.client_side import CookieBackendConfig
        from litestar.testing import TestClient

        @get("/", sync_to_thread=False)
        def handler(request: Request[Any, Any, Any]) -> Any:
            self.found = dict(request.session)
            if content is not None:
                request.set_session(content)
            return self.found

        config = CookieBackendConfig(**self.options)
        app = Litestar([handler], middleware=[config.middleware], openapi_config=None, logging_config=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with TestClient(app) as client:
                response = client.get("/", headers={} if cookie is None else {"Cookie": cookie})
        return response.headers.get_list("set-cookie")

    def content(self, cookie: str) -> dict[str, Any]:
        self.cookies(None, cookie=cookie)
        return self.found


# What makes Rails' cookies: ActionDispatch itself. For these cookies Rails 7 differs from the 6.1 of Debian 12 in the digest of its
# key generator alone, which is therefore an object of ours; serializer, purpose and cipher are set as Rails 7 sets them.
RUBY = r"""
require "json"
require "action_dispatch"
require "active_support/messages/rotation_configuration"

class Generator
  def initialize(secret, digest)
    @secret, @digest = secret, digest
  end

  def generate_key(salt, size = 64)
    OpenSSL::PKCS5.pbkdf2_hmac(@secret, salt, 1000, size, OpenSSL::Digest.new(@digest))
  end
end

def environment(options)
  Rack::MockRequest.env_for("https://shop.example/", {
    "action_dispatch.key_generator" => Generator.new(options["secret"], options["digest"]),
    "action_dispatch.secret_key_base" => options["secret"],
    "action_dispatch.authenticated_encrypted_cookie_salt" => options["salt"],
    "action_dispatch.encrypted_cookie_salt" => "encrypted cookie",
    "action_dispatch.encrypted_signed_cookie_salt" => "signed encrypted cookie",
    "action_dispatch.use_authenticated_cookie_encryption" => options["authenticated"],
    "action_dispatch.encrypted_cookie_cipher" => "aes-256-gcm",
    "action_dispatch.cookies_serializer" => options["serializer"].to_sym,
    "action_dispatch.use_cookies_with_metadata" => options["metadata"],
    "action_dispatch.cookies_same_site_protection" => ->(_) { :lax },
    "action_dispatch.cookies_rotations" => ActiveSupport::Messages::RotationConfiguration.new,
  })
end

def set_cookie(options)
  app = lambda do |env|
    request = ActionDispatch::Request.new(env)
    if options["store"]
      options["content"].each { |name, value| request.session[name] = value }
      request.session["when"] = Time.at(1_800_000_000).utc
      request.session["kind"] = :admin
    else
      expires = options["expires"] && Time.at(options["expires"])
      request.cookie_jar.encrypted[options["name"]] = { value: options["content"], expires: expires }
    end
    [200, {}, ["ok"]]
  end
  store = ActionDispatch::Session::CookieStore.new(app, key: options["name"], expire_after: options["expire_after"])
  headers = ActionDispatch::Cookies.new(store).call(environment(options))[1]
  headers["Set-Cookie"] || headers["set-cookie"]
end

cases = JSON.parse($stdin.read)
puts JSON.generate({
  "by" => "Ruby #{RUBY_VERSION}, actionpack #{ActionPack.version}",
  "at" => Time.now.to_i,
  "set_cookies" => cases.transform_values { |options| Array(set_cookie(options)).join("\n") },
})
"""
RAILS_SECRET = "6e8ea9b21db01d5f1c1d9e3b7e70a25bd1ee3cdb6f4ad14df44e10bb1b5a9d0e" * 2
RAILS_CONTENT = {"_csrf_token": "mB8qkQ==", "warden.user.user.key": [[7], "$2a$12$abc"], "html": "<a>&\u2028", **CONTENT}
RAILS_DEFAULTS = {
    "name": "_shop_session",
    "secret": RAILS_SECRET,
    "digest": "SHA256",
    "salt": "authenticated encrypted cookie",
    "serializer": "json",
    "metadata": True,
    "authenticated": True,
    "store": False,
    "content": RAILS_CONTENT,
}
RAILS_CASES = {
    label: RAILS_DEFAULTS | changes
    for label, changes in {
        "session": {"store": True},
        "session that ends": {"store": True, "expire_after": 3600},
        "jar": {},
        "jar that ends": {"expires": NOW + 60},
        "sha1": {"digest": "SHA1"},
        "another salt": {"salt": "salt of ours"},
        "another secret": {"secret": "another " * 16},
        "another name": {"name": "_other"},
        "no purpose": {"metadata": False},
        "no purpose, but an end": {"metadata": False, "expires": NOW + 60},
        "marshal": {"serializer": "marshal"},
        "marshal session": {"serializer": "marshal", "store": True},
        "cbc": {"authenticated": False},
        "a list": {"content": [1, 2]},
        "a number": {"content": 7},
        "text": {"content": "user"},
        "empty": {"content": {}},
        "long int": {"content": {"n": 2**70}},
        "envelope in the envelope": {"content": {"_rails": {"message": "e30=", "exp": None, "pur": "cookie._shop_session"}}},
    }.items()
}
KEPT = Path(__file__).parent / "vectors" / "rails.json"


def made_by_ruby() -> dict[str, Any] | None:
    """The Set-Cookie values of all cases, made now; None where there is no Ruby with ActionDispatch."""
    ruby = shutil.which("ruby")
    if ruby is None:
        return None
    probe = subprocess.run([ruby, "-e", 'require "action_dispatch"'], capture_output=True, check=False, timeout=60)
    if probe.returncode != 0:
        return None
    run = subprocess.run(
        [ruby, "-W0", "-e", RUBY], input=json.dumps(RAILS_CASES), capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(run.stdout)


@pytest.fixture(scope="module", params=["now", "kept"])
def rails_cookies(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Cookies that Rails made: in this run where there is Ruby, and those that are kept."""
    if request.param == "kept":
        return json.loads(KEPT.read_text(encoding="utf-8"))
    made = made_by_ruby()
    if made is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no Ruby with ActionDispatch here: install ruby-actionpack")
    return made


def rails_reader(**options: Any) -> Reader:
    return rails(**{"secret_key_base": RAILS_SECRET, "cookie_name": "_shop_session", "until": UNTIL} | options)


def value_of(set_cookie: str) -> str:
    return cookie_of(set_cookie).partition("=")[2]


# ---------------------------------------------------------------------------------------------------------------------
# A move
# ---------------------------------------------------------------------------------------------------------------------


class Site:
    """An application of ours, and what it was told."""

    def __init__(self, reader: Reader, now: float, **options: Any) -> None:
        self.events: list[Event] = []
        self.clock = Clock(now)
        self.reader = reader
        self.options = options

    def jar(self, *, migrating: bool = True, **more: Any) -> Jar:
        return Jar(
            "session",
            RING,
            clock=self.clock,
            observer=self.events.append,
            migrate_from=[self.reader] if migrating else [],
            **self.options | more,
        )

    def read(self, cookie: str, **options: Any) -> tuple[dict[str, Any], list[str]]:
        sessions = Sessions([self.jar(**options)], cookie)
        session = sessions["session"]
        self.session = session
        return dict(session), sessions.commit()


def assert_moves(reader: Reader, set_cookie: str, content: dict[str, Any], now: float) -> None:
    """A cookie of the other system keeps its session through Jar and SessionMiddleware, leaves in our form, and is deleted."""
    site = Site(reader, now, cookie_name="sid")
    old = cookie_of(set_cookie)
    found, (deletion, ours) = site.read(old)
    assert found == content
    assert (site.session.is_new, site.session.key_id, site.session.refusal) == (False, None, None)
    assert [event.kind for event in site.events] == [EventKind.OPENED, EventKind.MIGRATED]
    assert deletion.startswith(f"{reader.cookie_name}=; Max-Age=0; Path={reader.path};")
    # Without the reader too, from then on, and with nothing more to send.
    assert site.read(cookie_of(ours), migrating=False) == (content, [])

    def app(environ: Any, start_response: Any) -> Any:
        body = json.dumps(get_sessions(environ)["session"]).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    exchange = serve(SessionMiddleware(app, [site.jar()]), make_environ(cookie=old))
    assert json.loads(exchange.body) == content
    first, second = exchange.values("Set-Cookie")
    assert first == deletion
    assert exchange.values("Vary") == ["Cookie"]
    exchange = serve(SessionMiddleware(app, [site.jar(migrating=False)]), make_environ(cookie=cookie_of(second)))
    assert json.loads(exchange.body) == content
    assert exchange.values("Set-Cookie") == []


def assert_moves_in_place(reader: Reader, set_cookie: str, content: dict[str, Any], now: float) -> None:
    """Likewise, where our cookie has the name of the old one and takes its place."""
    site = Site(reader, now, cookie_name=reader.cookie_name)
    found, (ours,) = site.read(cookie_of(set_cookie))
    assert found == content
    assert cookie_of(ours).startswith(f"{reader.cookie_name}=A")
    assert site.read(cookie_of(ours)) == (content, [])


def assert_refused(reader: Reader, value: str, now_ms: int = NOW_MS) -> None:
    assert reader.read(value, now_ms) is None
    sessions = Sessions([Jar("session", RING, clock=Clock(now_ms / 1000), migrate_from=[reader])], f"{reader.cookie_name}={value}")
    assert sessions["session"] == {}
    assert sessions["session"].refusal in {Reason.MALFORMED, Reason.UNKNOWN_KEY}
    assert sessions.commit() == []


# ---------------------------------------------------------------------------------------------------------------------
# Fernet
# ---------------------------------------------------------------------------------------------------------------------


def fernet_reader(key: Any = KEY, **options: Any) -> Reader:
    return fernet(key, **{"cookie_name": "old", "max_age": HOUR} | options)


def test_a_fernet_session_moves() -> None:
    set_cookie = f"old={fernet_token(CONTENT)}; Path=/"
    assert_moves(fernet_reader(), set_cookie, CONTENT, NOW + 10)
    assert_moves_in_place(fernet_reader(), set_cookie, CONTENT, NOW + 10)


def test_a_fernet_session_made_by_fernet_now_moves() -> None:
    token = Fernet(KEY).encrypt(json.dumps(CONTENT).encode()).decode()
    assert_moves(fernet_reader(), f"old={token}", CONTENT, time.time())


def test_a_fernet_session_keeps_its_times() -> None:
    old = fernet_reader().read(fernet_token(CONTENT, made=NOW - 600), NOW_MS)
    assert old == OldSession(CONTENT, (NOW - 600) * 1000, (NOW - 600 + 3600 + 1) * 1000)
    site = Site(fernet_reader(), NOW)
    site.read(f"old={fernet_token(CONTENT, made=NOW - 600)}")
    assert site.session.created_at.timestamp() == NOW - 600
    assert site.session.expires_at.timestamp() == NOW + 3001


def test_any_key_of_a_multifernet_opens() -> None:
    keys = [KEY, OLD_KEY.decode()]
    tokens = [
        MultiFernet([Fernet(KEY), Fernet(OLD_KEY)]).encrypt_at_time(b'{"a":1}', NOW).decode(),
        fernet_token({"a": 1}, key=OLD_KEY),
    ]
    for token in tokens:
        assert fernet_reader(keys).read(token, NOW_MS) is not None
        assert fernet_reader(tuple(keys)).read(token, NOW_MS) is not None
    assert fernet_reader(KEY).read(tokens[1], NOW_MS) is None
    assert fernet_reader(Fernet.generate_key()).read(tokens[0], NOW_MS) is None


@pytest.mark.parametrize("age", [-61, -60, -59, 0, 1, 9, 10, 11, 12])
def test_a_fernet_token_is_taken_as_long_as_fernet_itself_takes_it(age: int) -> None:
    token = fernet_token({"a": 1})
    try:
        taken = Fernet(KEY).decrypt_at_time(token, 10, NOW + age) == b'{"a": 1}'
    except InvalidToken:
        taken = False
    reader = fernet_reader(max_age=timedelta(seconds=10))
    for milliseconds in (0, 999) if age > 0 else (0,):
        assert (reader.read(token, (NOW + age) * 1000 + milliseconds) is not None) == taken


def test_a_max_age_of_less_than_a_second_more_counts_as_whole_seconds_as_a_ttl_does() -> None:
    reader = fernet_reader(max_age=timedelta(seconds=10, milliseconds=900))
    assert reader.read(fernet_token({}), NOW_MS).expires == NOW_MS + 11_000


def test_without_a_max_age_there_is_no_end_but_that_of_the_reader_and_the_jar() -> None:
    reader = fernet_reader(max_age=None, until=UNTIL)
    old = reader.read(fernet_token(CONTENT, made=NOW - 10**8), NOW_MS)
    assert old == OldSession(CONTENT, NOW_MS - 10**11, None)
    site = Site(reader, NOW)
    site.read(f"old={fernet_token(CONTENT, made=NOW - 10**7)}")
    assert site.session.expires_at.timestamp() == NOW + 86_400
    site = Site(reader, UNTIL.timestamp())
    assert site.read(f"old={fernet_token(CONTENT)}") == ({}, [])


def test_a_token_made_by_a_clock_far_ahead_is_refused_without_a_max_age_too() -> None:
    reader = fernet_reader(max_age=None, until=UNTIL)
    assert reader.read(fernet_token({}, made=NOW + 60), NOW_MS) is not None
    assert_refused(reader, fernet_token({}, made=NOW + 61))
    assert_refused(reader, fernet_token({}, made=2**64 - 1))
    assert_refused(reader, fernet_token({}, made=2**56 + NOW))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"\xff",
        b"\x80\x04}q\x00.",
        b'{"a":1}{}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_json_object_in_a_fernet_token_is_refused(body: bytes) -> None:
    assert_refused(fernet_reader(), fernet_token(body))


@pytest.mark.parametrize(
    "text",
    [str(2**63), str(-(2**63) - 1), "9" * 5000, "1e400", r'"\ud800"', r'{"\udfff":1}'],
    ids=["64 bits", "negative", "5,000 digits", "infinite", "surrogate", "surrogate key"],
)
def test_what_our_json_would_not_keep_is_refused(text: str) -> None:
    assert_refused(fernet_reader(), fernet_token(b'{"a":%s}' % text.encode()))


@pytest.mark.parametrize("levels", [65, 1000, 5000])
def test_nesting_too_deep_is_refused(levels: int) -> None:
    assert_refused(fernet_reader(), fernet_token(b'{"a":' * levels + b"1" + b"}" * levels)[:16_384])
    assert_refused(fernet_reader(), fernet_token(b'{"a":' + b"[" * levels + b"]" * levels + b"}"))


def test_nesting_as_deep_as_ours_is_kept() -> None:
    assert fernet_reader().read(fernet_token(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"), NOW_MS) is not None


def test_a_session_that_the_old_system_emptied_is_an_empty_session_and_goes() -> None:
    site = Site(fernet_reader(), NOW)
    found, cookies = site.read(f"old={fernet_token({})}")
    assert found == {}
    assert [cookie_of(value) for value in cookies] == ["old=", "session="]


# ---------------------------------------------------------------------------------------------------------------------
# aiohttp_session
# ---------------------------------------------------------------------------------------------------------------------


def aiohttp_reader(key: Any = RAW_KEY, **options: Any) -> Reader:
    return aiohttp_session(key, **{"max_age": HOUR} | options)


@pytest.mark.parametrize("key", [RAW_KEY, bytearray(RAW_KEY), KEY.decode()], ids=["bytes", "bytearray", "text"])
def test_a_session_of_aiohttp_moves(key: Any) -> None:
    (set_cookie,) = AiohttpSite(secret_key=key, max_age=3600).cookies(CONTENT)
    assert_moves(aiohttp_reader(key), set_cookie, CONTENT, time.time())
    assert_moves_in_place(aiohttp_reader(key), set_cookie, CONTENT, time.time())


def test_a_session_of_aiohttp_without_an_end_moves_until_a_date() -> None:
    before = int(time.time())
    (set_cookie,) = AiohttpSite(secret_key=RAW_KEY).cookies(CONTENT)
    assert max_age_of(set_cookie) is None
    assert_moves(aiohttp_reader(max_age=None, until=UNTIL), set_cookie, CONTENT, time.time())
    old = aiohttp_reader(max_age=None, until=UNTIL).read(value_of(set_cookie), int(time.time() * 1000))
    assert before * 1000 <= old.created <= time.time() * 1000
    assert old.expires is None


def test_a_session_of_aiohttp_under_another_name_and_place_moves() -> None:
    (set_cookie,) = AiohttpSite(secret_key=RAW_KEY, cookie_name="app", path="/app", domain="shop.example", max_age=60).cookies(
        CONTENT
    )
    reader = aiohttp_reader(cookie_name="app", path="/app", domain="shop.example", max_age=timedelta(seconds=60))
    assert_moves(reader, set_cookie, CONTENT, time.time())


def test_aiohttp_s_quoted_value_and_the_plain_one_are_read_alike() -> None:
    tokens = [aiohttp_token(CONTENT | {"pad": "x" * n}) for n in range(0, 48, 16)]
    assert {token.count("=") for token in tokens} == {0, 1, 2}, "of one kind there are no quotes, since it has no padding"
    for token in tokens:
        assert aiohttp_reader().read(token, NOW_MS) == aiohttp_reader().read(f'"{token}"', NOW_MS) is not None
    for spoilt in ('"', '""', f'"{tokens[0]}', f'{tokens[0]}"', f'""{tokens[0]}""', f"'{tokens[0]}'"):
        assert_refused(aiohttp_reader(), spoilt)


def test_what_aiohttp_session_reads_of_a_cookie_is_what_we_read() -> None:
    site = AiohttpSite(secret_key=RAW_KEY, max_age=3600)
    (set_cookie,) = site.cookies(CONTENT)
    assert site.content(cookie_of(set_cookie)) == CONTENT
    assert aiohttp_reader().read(value_of(set_cookie), int(time.time() * 1000)).content == CONTENT


def test_a_session_of_aiohttp_ends_by_both_of_its_times() -> None:
    reader = aiohttp_reader(max_age=timedelta(seconds=100))
    assert reader.read(aiohttp_token({"a": 1}, created=NOW - 50, made=NOW - 20), NOW_MS) == OldSession(
        {"a": 1}, (NOW - 50) * 1000, (NOW + 51) * 1000
    )
    assert reader.read(aiohttp_token({}, created=NOW - 100), NOW_MS + 999) is not None
    assert_refused(reader, aiohttp_token({}, created=NOW - 101))
    assert_refused(reader, aiohttp_token({}, created=NOW, made=NOW - 101))
    assert_refused(reader, aiohttp_token({}, created=0))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"created": NOW},
        {"session": {}},
        {"created": NOW, "session": {}, "more": 1},
        {"created": str(NOW), "session": {}},
        {"created": float(NOW), "session": {}},
        {"created": True, "session": {}},
        {"created": None, "session": {}},
        {"created": NOW, "session": []},
        {"created": NOW, "session": None},
        {"created": NOW, "session": "user"},
        [NOW, {}],
        7,
    ],
    ids=str,
)
def test_what_has_not_the_two_parts_of_aiohttp_s_envelope_is_refused(body: Any) -> None:
    assert_refused(aiohttp_reader(), fernet_token(body))
    assert_refused(aiohttp_reader(max_age=None, until=UNTIL), fernet_token(body))


def test_a_negative_time_of_creation_is_refused() -> None:
    reader = aiohttp_reader(max_age=None, until=UNTIL)
    sessions = Sessions([Jar("s", RING, migrate_from=[reader])], f"AIOHTTP_SESSION={aiohttp_token({'a': 1}, created=-1)}")
    assert sessions["s"].refusal is Reason.MALFORMED


# ---------------------------------------------------------------------------------------------------------------------
# Litestar
# ---------------------------------------------------------------------------------------------------------------------

LITESTAR_CONTENT = CONTENT | {
    "tuple": (1, 2),
    "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "id": UUID("12345678-1234-5678-1234-567812345678"),
    "bytes": b"\x00\xff",
}
LITESTAR_FOUND = CONTENT | {
    "tuple": [1, 2],
    "when": "2026-01-02T03:04:05Z",
    "id": "12345678-1234-5678-1234-567812345678",
    "bytes": "AP8=",
}


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_session_of_litestar_moves(size: int) -> None:
    secret = os.urandom(size)
    (set_cookie,) = LitestarSite(secret=secret).cookies(LITESTAR_CONTENT)
    assert_moves(litestar(secret), set_cookie, LITESTAR_FOUND, time.time())
    assert_moves_in_place(litestar(secret), set_cookie, LITESTAR_FOUND, time.time())


def test_a_session_of_litestar_under_another_name_and_place_moves() -> None:
    secret = "of letters, 32".ljust(32, ".")
    site = LitestarSite(secret=secret.encode(), key="app", path="/app", domain="shop.example", max_age=60)
    (set_cookie,) = site.cookies(CONTENT)
    assert_moves(litestar(secret, cookie_name="app", path="/app", domain="shop.example"), set_cookie, CONTENT, time.time())


def test_a_session_of_litestar_ends_when_its_cookie_says() -> None:
    before = time.time()
    (set_cookie,) = LitestarSite(secret=RAW_KEY, max_age=60).cookies(CONTENT)
    old = litestar(RAW_KEY).read(value_of(set_cookie), int(before * 1000))
    assert old.created is None
    assert round(before) + 60 <= old.expires // 1000 <= round(time.time()) + 60
    assert litestar(RAW_KEY).read(value_of(set_cookie), old.expires - 1) == old
    assert_refused(litestar(RAW_KEY), value_of(set_cookie), old.expires)


def test_what_litestar_reads_of_a_cookie_is_what_we_read() -> None:
    site = LitestarSite(secret=RAW_KEY)
    (set_cookie,) = site.cookies(LITESTAR_CONTENT)
    assert site.content(cookie_of(set_cookie)) == LITESTAR_FOUND
    assert litestar(RAW_KEY).read(value_of(set_cookie), int(time.time() * 1000)).content == LITESTAR_FOUND


def test_the_values_that_the_tests_write_by_hand_are_those_that_litestar_reads() -> None:
    value = litestar_value(CONTENT, expires=int(time.time()) + 60)
    assert LitestarSite(secret=RAW_KEY).content(f'session="{value}"') == CONTENT
    assert litestar(RAW_KEY).read(value, int(time.time() * 1000)).content == CONTENT


def test_a_session_of_litestar_that_looks_like_a_token_of_ours_is_not_lost() -> None:
    while True:  # of those that begin like a token, one in fifty has no character that a token has not
        nonce = b"\x01" + os.urandom(11)
        stamp = b'{"expires_at":%d}' % (NOW + 60)
        sealed = AESGCM(RAW_KEY).encrypt(nonce, b'{"a":1}   ', stamp)
        value = base64.b64encode(nonce + sealed + b"additional_authenticated_data=" + stamp).decode()
        if value.isalnum():
            break
    with pytest.raises(UnknownKeyError):
        Jar("session", RING).codec.decode(value)
    for name in ("session", "old"):
        site = Site(litestar(RAW_KEY, cookie_name=name), NOW)
        assert site.read(f"{name}={value}")[0] == {"a": 1}


def test_a_session_of_litestar_over_several_cookies_is_left_alone() -> None:
    cookies = LitestarSite(secret=RAW_KEY).cookies({"pad": "x" * 5000})
    assert [cookie.partition("=")[0] for cookie in cookies] == ["session-0", "session-1"]
    site = Site(litestar(RAW_KEY), time.time())
    assert site.read("; ".join(map(cookie_of, cookies))) == ({}, [])
    for cookie in cookies:
        assert_refused(litestar(RAW_KEY), value_of(cookie), int(time.time() * 1000))


@pytest.mark.parametrize(
    "stamp",
    [
        b"",
        b"{}",
        b'{"expires_at":null}',
        b'{"expires_at":"%d"}' % (NOW + 60),
        b'{"expires_at":%d.5}' % (NOW + 60),
        b'{"expires_at": %d}' % (NOW + 60),
        b'{"expires_at":0%d}' % (NOW + 60),
        b'{"expires_at":1e99}',
        b'{"expires_at":-1}',
        b'{"expires_at":0}',
        b'{"expires_at":9999999999999}',
        b'{"expires_at":%d}\n' % (NOW + 60),
        b'{"expires_at":%d,"a":1}' % (NOW + 60),
        b'{"expires_at":%d}' % (NOW - 1),
        b'{"expires_at":%d}' % NOW,
        b"\xff",
    ],
)
def test_a_stamp_that_litestar_would_not_write_or_that_is_over_is_refused(stamp: bytes) -> None:
    assert_refused(litestar(RAW_KEY), litestar_value(CONTENT, stamp=stamp))


def test_a_stamp_of_another_cookie_or_none_is_refused() -> None:
    early, late = (base64.b64decode(litestar_value(CONTENT, expires=NOW + n)) for n in (-60, 60))
    stamp_bytes = len(b'{"expires_at":%d}' % NOW)
    swapped = base64.b64encode(early[:-stamp_bytes] + late[-stamp_bytes:]).decode()
    assert_refused(litestar(RAW_KEY), swapped)
    assert_refused(litestar(RAW_KEY), litestar_value(CONTENT, mark=b""))
    assert_refused(litestar(RAW_KEY), litestar_value(CONTENT, mark=b"additional_authenticated_data:"))
    for size in (0, 11, 12, 27):
        assert_refused(litestar(RAW_KEY), base64.b64encode(bytes(size) + late[-stamp_bytes - 30 :]).decode())


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b"{", b'{"a":NaN}', b"\xff", b'{"n":18446744073709551616}'])
def test_what_is_no_json_object_in_a_cookie_of_litestar_is_refused(body: bytes) -> None:
    assert_refused(litestar(RAW_KEY), litestar_value(body))


# ---------------------------------------------------------------------------------------------------------------------
# Rails
# ---------------------------------------------------------------------------------------------------------------------

RAILS_MORE = {"when": "2027-01-15T08:00:00.000Z", "kind": "admin"}


def test_a_session_of_rails_moves(rails_cookies: dict[str, Any]) -> None:
    set_cookie = rails_cookies["set_cookies"]["session"]
    session_id = rails_reader().read(value_of(set_cookie), NOW_MS).content["session_id"]
    assert len(session_id) == 32
    assert set(session_id) <= set(string.hexdigits)
    content = {"session_id": session_id, **RAILS_CONTENT, **RAILS_MORE}
    assert_moves(rails_reader(), set_cookie, content, NOW)
    assert_moves_in_place(rails_reader(), set_cookie, content, NOW)


def test_a_session_of_rails_that_ends_keeps_its_end(rails_cookies: dict[str, Any]) -> None:
    set_cookie = rails_cookies["set_cookies"]["session that ends"]
    old = rails_reader().read(value_of(set_cookie), rails_cookies["at"] * 1000)
    assert old.created is None
    assert -5000 < old.expires - (rails_cookies["at"] + 3600) * 1000 < 5000
    assert_refused(rails_reader(), value_of(set_cookie), old.expires)


def test_an_encrypted_cookie_of_rails_ends_when_it_says_to_the_millisecond(rails_cookies: dict[str, Any]) -> None:
    value = value_of(rails_cookies["set_cookies"]["jar that ends"])
    assert rails_reader().read(value, NOW_MS) == OldSession(RAILS_CONTENT, None, NOW_MS + 60_000)
    assert rails_reader().read(value, NOW_MS + 59_999) is not None
    assert_refused(rails_reader(), value, NOW_MS + 60_000)


def test_a_session_of_rails_without_an_end_gets_the_jar_s(rails_cookies: dict[str, Any]) -> None:
    value = value_of(rails_cookies["set_cookies"]["jar"])
    assert rails_reader().read(value, NOW_MS) == OldSession(RAILS_CONTENT, None, None)
    site = Site(rails_reader(), NOW, duration=HOUR)
    site.read(f"_shop_session={value}")
    assert (site.session.created_at.timestamp(), site.session.expires_at.timestamp()) == (NOW, NOW + 3600)


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("sha1", {"digest": "sha1"}),
        ("another salt", {"salt": "salt of ours"}),
        ("another secret", {"secret_key_base": "another " * 16}),
        ("another secret", {"secret_key_base": b"another " * 16}),
        ("another name", {"cookie_name": "_other"}),
    ],
    ids=str,
)
def test_a_reader_of_rails_opens_what_was_sealed_with_its_options_alone(
    label: str, options: dict[str, Any], rails_cookies: dict[str, Any]
) -> None:
    set_cookies = rails_cookies["set_cookies"]
    assert rails_reader(**options).read(value_of(set_cookies[label]), NOW_MS).content == RAILS_CONTENT
    assert_refused(rails_reader(**options), value_of(set_cookies["jar"]))
    assert_refused(rails_reader(), value_of(set_cookies[label]))


@pytest.mark.parametrize(
    "label",
    ["no purpose", "no purpose, but an end", "marshal", "marshal session", "cbc", "a list", "a number", "text", "long int"],
)
def test_what_a_reader_of_rails_refuses(label: str, rails_cookies: dict[str, Any]) -> None:
    assert_refused(rails_reader(), value_of(rails_cookies["set_cookies"][label]))


def test_an_envelope_that_a_user_stored_is_content(rails_cookies: dict[str, Any]) -> None:
    value = value_of(rails_cookies["set_cookies"]["envelope in the envelope"])
    assert rails_reader().read(value, NOW_MS).content == RAILS_CASES["envelope in the envelope"]["content"]
    assert rails_reader().read(value_of(rails_cookies["set_cookies"]["empty"]), NOW_MS).content == {}


def rails_value(envelope: Any, *, name: str = "_shop_session") -> str:
    """By the form that Rails' source gives, for cases that it does not make."""
    key = hashlib.pbkdf2_hmac("sha256", RAILS_SECRET.encode(), b"authenticated encrypted cookie", 1000, 32)
    iv = os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode(), b"")
    return escaped(sealed[:-16], iv, sealed[-16:])


def escaped(*parts: bytes) -> str:
    text = "--".join(base64.b64encode(part).decode() for part in parts)
    return text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def enveloped(message: Any = b'{"a":1}', **changes: Any) -> dict[str, Any]:
    text = base64.b64encode(message).decode() if isinstance(message, bytes) else message
    return {"_rails": {"message": text, "exp": None, "pur": "cookie._shop_session"} | changes}


def test_the_values_that_the_tests_write_by_hand_open() -> None:
    assert rails_reader().read(rails_value(enveloped()), NOW_MS) == OldSession({"a": 1}, None, None)


@pytest.mark.parametrize(
    "envelope",
    [
        {"a": 1},
        b"",
        b"\x04\x08{\x06",
        b'{"_rails":',
        [],
        {"_rails": []},
        {"_rails": None},
        {"_rails": {"message": "e30=", "pur": "cookie._shop_session"}},
        {"_rails": {"data": {"a": 1}, "exp": None, "pur": "cookie._shop_session"}},
        enveloped() | {"more": 1},
        enveloped(more=1),
        enveloped(pur=None),
        enveloped(pur="cookie._other"),
        enveloped(pur="cookie._shop_sessio"),
        enveloped(pur=["cookie._shop_session"]),
        enveloped(pur="_shop_session"),
        enveloped(None),
        enveloped(7),
        enveloped({"a": 1}),
        enveloped("e30"),
        enveloped("e31="),
        enveloped("e30=\n"),
        enveloped("\ud800"),
        enveloped("\xe9"),
        enveloped(b""),
        enveloped(b"\x04\x08{\x06I"),
        enveloped(b'\x04\x08{"a":1}'),
        enveloped(b"{"),
        enveloped(b"[]"),
        enveloped(b'{"a":NaN}'),
        *(
            enveloped(exp=exp)
            for exp in (
                7,
                1_900_000_000,
                "",
                "2027",
                "2999-13-01T00:00:00.000Z",
                "2999-02-30T00:00:00.000Z",
                "2999-01-01T24:00:00.001Z",
                "2999-01-01T00:00:00Z",
                "2999-01-01T00:00:00.000",
                "2999-01-01T00:00:00.000+00:00",
                "2999-01-01 00:00:00.000Z",
                "2999-01-01T00:00:00.000Z\n",
                "\u0662999-01-01T00:00:00.000Z",
                "0000-01-01T00:00:00.000Z",
                "1969-01-01T00:00:00.000Z",
                True,
                [],
            )
        ),
    ],
    ids=lambda envelope: str(envelope)[:60].encode("ascii", "backslashreplace").decode(),
)
def test_an_envelope_that_rails_would_not_write_for_this_cookie_is_refused(envelope: Any) -> None:
    assert_refused(rails_reader(), rails_value(envelope))


def test_a_cookie_of_rails_is_read_in_the_spelling_that_rails_writes_alone(rails_cookies: dict[str, Any]) -> None:
    values = map(value_of, rails_cookies["set_cookies"].values())
    value = next(value for value in values if {"%2B", "%2F", "%3D"} <= {value[n : n + 3] for n in range(len(value))})
    readers = [rails_reader(), rails_reader(digest="sha1"), rails_reader(salt="salt of ours")]
    assert any(reader.read(value, NOW_MS) for reader in readers)
    for escape, plain in (
        ("%2B", "+"),
        ("%2F", "/"),
        ("%3D", "="),
        ("%2B", "%2b"),
        ("%2F", "%2f"),
        ("%3D", "%3d"),
        ("--", "%2D%2D"),
    ):
        for reader in readers:
            assert_refused(reader, value.replace(escape, plain))
    good = rails_value(enveloped())
    assert rails_reader().read(good, NOW_MS) is not None
    for spoilt in (
        f'"{good}"',
        f"{good}--",
        f"--{good}",
        f"{good}--e30",
        good.rpartition("--")[0],
        good.replace("--", "-"),
        good.replace("--", "---", 1),
        good.replace("--", "----", 1),
        good.removesuffix("%3D%3D"),
        f"{good}\n",
        good + "\xe9",
    ):
        assert_refused(rails_reader(), spoilt)
    assert rails_reader().read(f" {good}", NOW_MS) is None


def test_an_iv_or_tag_of_another_length_is_refused() -> None:
    key = hashlib.pbkdf2_hmac("sha256", RAILS_SECRET.encode(), b"authenticated encrypted cookie", 1000, 32)
    body = json.dumps(enveloped()).encode()
    for size in (8, 11, 13, 16):
        iv = os.urandom(size)
        sealed = AESGCM(key).encrypt(iv, body, None)
        assert_refused(rails_reader(), escaped(sealed[:-16], iv, sealed[-16:]))
    iv = os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, body, None)
    for more in (1, 2, 16):  # the same bytes, cut elsewhere, would be another spelling of one cookie
        assert_refused(rails_reader(), escaped(sealed[: -16 - more], iv, sealed[-16 - more :]))
    for cut in (0, 1, 12, 15):
        assert_refused(rails_reader(), escaped(sealed[:-16], iv, sealed[len(sealed) - 16 : len(sealed) - 16 + cut]))


# ---------------------------------------------------------------------------------------------------------------------
# All of them: hostile values
# ---------------------------------------------------------------------------------------------------------------------

READERS: dict[str, Callable[[], Reader]] = {
    "fernet": lambda: fernet_reader([KEY, OLD_KEY]),
    "aiohttp": aiohttp_reader,
    "litestar": lambda: litestar(RAW_KEY),
    "rails": rails_reader,
}
GOOD: dict[str, Callable[[], str]] = {
    "fernet": lambda: fernet_token({"a": 1}),
    "aiohttp": lambda: aiohttp_token({"a": 1}),
    "litestar": lambda: litestar_value({"a": 1}),
    "rails": lambda: rails_value(enveloped()),
}
both = pytest.mark.parametrize("form", list(READERS))


@both
def test_every_flip_cut_and_insertion_of_a_character_is_refused(form: str) -> None:
    reader, value = READERS[form](), GOOD[form]()
    assert reader.read(value, NOW_MS) is not None
    for at in range(len(value)):
        for char in ("A", "B", "-", "_", "+", "%", "=", "\x00", "\xff", "\u0663", ""):
            if char != value[at]:
                assert reader.read(value[:at] + char + value[at + 1 :], NOW_MS) is None
        assert reader.read(value[:at], NOW_MS) is None
        assert reader.read(value[:at] + "A" + value[at:], NOW_MS) is None
        assert reader.read(value[:at] + "\n" + value[at:], NOW_MS) is None
    assert reader.read(value + value, NOW_MS) is None


@both
def test_every_flip_of_a_bit_is_refused(form: str) -> None:
    reader, value = READERS[form](), GOOD[form]()
    parts = [base64.b64decode(part, altchars=b"-_" if form in ("fernet", "aiohttp") else None) for part in plain(form, value)]
    assert reader.read(joined(form, parts), NOW_MS) is not None
    for number, part in enumerate(parts):
        for bit in range(len(part) * 8):
            flipped = bytearray(part)
            flipped[bit // 8] ^= 1 << bit % 8
            changed = [*parts[:number], bytes(flipped), *parts[number + 1 :]]
            assert reader.read(joined(form, changed), NOW_MS) is None


def plain(form: str, value: str) -> list[str]:
    if form != "rails":
        return [value]
    return value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=").split("--")


def joined(form: str, parts: list[bytes]) -> str:
    if form == "rails":
        return escaped(*parts)
    return base64.b64encode(parts[0], altchars=b"-_" if form in ("fernet", "aiohttp") else None).decode()


@both
def test_the_cookies_of_the_other_forms_and_other_keys_are_refused(form: str) -> None:
    reader = READERS[form]()
    for other, make in GOOD.items():
        if other != form and {form, other} != {"fernet", "aiohttp"}:  # those two are one form, which the name tells apart
            assert_refused(reader, make())
    assert_refused(READERS["aiohttp"](), GOOD["fernet"]())
    assert_refused(reader, fernet_token({"a": 1}, key=Fernet.generate_key()))
    assert_refused(reader, litestar_value({"a": 1}, secret=os.urandom(32)))
    assert_refused(reader, Jar("session", Keyring(Key.generate())).codec.encode({"a": 1}))


@both
def test_a_token_of_ours_is_not_shown_to_a_reader(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = READERS[form]()

    def refuse(*_: object) -> None:
        raise AssertionError("shown")

    monkeypatch.setattr(type(reader), "read", refuse)
    jar = Jar("session", RING, cookie_name=reader.cookie_name, migrate_from=[reader])
    for value in (jar.codec.encode({"a": 1}), Jar("x", RING).codec.encode({"a": 1})):
        sessions = Sessions([jar], f"{reader.cookie_name}={value}")
        assert sessions["session"].refusal in (None, Reason.FORGED)
    with pytest.raises(AssertionError, match="shown"):
        Sessions([jar], f"{reader.cookie_name}={GOOD[form]()}")["session"]


LONG = 16_384


@both
@pytest.mark.parametrize(
    "value",
    [
        "",
        "=",
        '"',
        '""',
        "null",
        "A" * LONG,
        "=" * LONG,
        "-" * LONG,
        "--" * (LONG // 2),
        "%" * LONG,
        "%2B" * (LONG // 3),
        '"' * LONG,
        "gAAAAA" + "A" * (LONG - 6),
        "YWRkaXRpb25hbF9hdXRoZW50aWNhdGVkX2RhdGE9" * (LONG // 40),
        "\u20ac" * LONG,
        "\ud800" * 100,
        "\x00" * 100,
        "A" * 10**6,
    ],
    ids=lambda value: ascii(value[:8]),
)
def test_hostile_values_are_refused_in_no_time(form: str, value: str) -> None:
    reader = READERS[form]()
    start = time.thread_time()  # the processor's: what others are doing is no matter
    assert reader.read(value, NOW_MS) is None
    assert time.thread_time() - start < 0.25
    assert reader._read(value, NOW_MS) is None


@both
@settings(max_examples=300)
@given(
    value=st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()), st.text(alphabet="-=%AB2Fg+/_"))
)
def test_no_text_opens_or_raises(form: str, value: str) -> None:
    assert READERS_MADE[form].read(value, NOW_MS) is None


READERS_MADE = {form: make() for form, make in READERS.items()}


@both
def test_a_value_longer_than_four_cookies_is_not_looked_at(form: str) -> None:
    pad = "x" * 20_000
    value = {
        "fernet": lambda: fernet_token({"a": pad}),
        "aiohttp": lambda: aiohttp_token({"a": pad}),
        "litestar": lambda: litestar_value({"a": pad}),
        "rails": lambda: rails_value(enveloped(json.dumps({"a": pad}).encode())),
    }[form]()
    assert_refused(READERS[form](), value)


@both
def test_a_reader_reads_nothing_from_its_end_on(form: str) -> None:
    end = datetime.fromtimestamp(NOW + 30, UTC)
    reader = {
        "fernet": lambda: fernet_reader(until=end),
        "aiohttp": lambda: aiohttp_reader(until=end),
        "litestar": lambda: litestar(RAW_KEY, until=end),
        "rails": lambda: rails_reader(until=end),
    }[form]()
    cookie = f"{reader.cookie_name}={GOOD[form]()}"
    assert Site(reader, NOW + 29.999).read(cookie)[0] == {"a": 1}
    assert Site(reader, NOW + 30).read(cookie) == ({}, [])


def test_readers_of_rotated_keys_stand_beside_one_another() -> None:
    readers = [litestar(os.urandom(32)), litestar(RAW_KEY)]
    jar = Jar("session", RING, clock=Clock(NOW), migrate_from=readers)
    assert Sessions([jar], f"session={litestar_value({'a': 1})}")["session"] == {"a": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Configuration
# ---------------------------------------------------------------------------------------------------------------------


def test_a_reader_says_its_cookie_and_never_a_key() -> None:
    assert repr(fernet_reader()) == "<_FernetReader 'old'>"
    assert repr(aiohttp_reader()) == "<_AiohttpReader 'AIOHTTP_SESSION'>"
    assert repr(litestar(RAW_KEY)) == "<_LitestarReader 'session'>"
    assert repr(rails_reader(path="/app", domain="shop.example")) == "<_RailsReader '_shop_session'>"


SECRET_TEXT = "Zwiebelkuchen-Fahrradkette-8293-Morgentau"

FAILURES: dict[str, tuple[Callable[[], object], str]] = {
    "fernet, no key": (lambda: fernet_reader(SECRET_TEXT), "key must be a Fernet key"),
    "fernet, bytes": (lambda: fernet_reader(RAW_KEY), "key must be a Fernet key"),
    "fernet, a number": (lambda: fernet_reader(7), "key must be a Fernet key"),
    "fernet, a Fernet": (lambda: fernet_reader(Fernet(KEY)), "key must be a Fernet key"),
    "fernet, a bad second": (lambda: fernet_reader([KEY, SECRET_TEXT]), "key must be a Fernet key"),
    "fernet, a second that is no text": (lambda: fernet_reader([KEY, None]), "key must be a Fernet key"),
    "fernet, no keys": (lambda: fernet_reader([]), "key must be a Fernet key"),
    "fernet, 18 keys": (lambda: fernet_reader([KEY] * 18), "key must be a Fernet key"),
    "fernet, surrogate": (lambda: fernet_reader("\ud800" * 44), "key must be a Fernet key"),
    "fernet, no end": (lambda: fernet_reader(max_age=None), "max_age=None lets an old cookie live for ever"),
    "fernet, no time": (lambda: fernet_reader(max_age=timedelta(0)), "max_age must be from 1 second"),
    "fernet, bad name": (lambda: fernet_reader(cookie_name="a b"), "a cookie name must have"),
    "fernet, bad path": (lambda: fernet_reader(path="app"), "path must start with /"),
    "fernet, bad domain": (lambda: fernet_reader(domain=".example"), "domain must be a host name"),
    "fernet, bad until": (lambda: fernet_reader(until=UNTIL.replace(tzinfo=None)), "until must be a datetime with a time zone"),
    "aiohttp, short": (lambda: aiohttp_reader(RAW_KEY[:31]), "key must be 32 bytes"),
    "aiohttp, base64 as bytes": (lambda: aiohttp_reader(KEY), "key must be 32 bytes"),
    "aiohttp, text": (lambda: aiohttp_reader(SECRET_TEXT), "key must be 32 bytes"),
    "aiohttp, a list": (lambda: aiohttp_reader([RAW_KEY]), "key must be 32 bytes"),
    "aiohttp, no end": (lambda: aiohttp_reader(max_age=None), "give until= a date"),
    "aiohttp, bad name": (lambda: aiohttp_reader(cookie_name=""), "a cookie name must have"),
    "litestar, short": (lambda: litestar(RAW_KEY[:31]), "secret must have 16, 24 or 32 bytes"),
    "litestar, text": (lambda: litestar(SECRET_TEXT), "secret must have 16, 24 or 32 bytes"),
    "litestar, empty": (lambda: litestar(b""), "secret must not be empty"),
    "litestar, a number": (lambda: litestar(7), "secret must be a str or bytes, not int"),
    "litestar, bad name": (lambda: litestar(RAW_KEY, cookie_name="a=b"), "a cookie name must have"),
    "rails, empty": (lambda: rails_reader(secret_key_base=""), "secret_key_base must not be empty"),
    "rails, a number": (lambda: rails_reader(secret_key_base=7), "secret_key_base must be a str or bytes, not int"),
    "rails, our key": (lambda: rails_reader(secret_key_base=Key.generate().export()), "is a key of this library"),
    "rails, no end": (lambda: rails_reader(secret_key_base=SECRET_TEXT, until=None), "give until= a date"),
    "rails, md5": (lambda: rails_reader(secret_key_base=SECRET_TEXT, digest="md5"), 'digest must be "sha256", or "sha1"'),
    "rails, a list": (lambda: rails_reader(secret_key_base=SECRET_TEXT, digest=["sha256"]), 'digest must be "sha256", or "sha1"'),
    "rails, no salt": (lambda: rails_reader(secret_key_base=SECRET_TEXT, salt=""), "salt must be ASCII text"),
    "rails, salt of bytes": (lambda: rails_reader(secret_key_base=SECRET_TEXT, salt=b"salt"), "salt must be ASCII text"),
    "rails, umlaut": (lambda: rails_reader(secret_key_base=SECRET_TEXT, salt="s\xe4lt"), "salt must be ASCII text"),
    "rails, bad name": (lambda: rails_reader(secret_key_base=SECRET_TEXT, cookie_name="a;b"), "a cookie name must have"),
}


def frames_of(error: BaseException) -> Iterator[str]:
    """Our frames of a traceback, with what their variables hold, each to the objects' own attributes."""
    for frame in traceback.walk_tb(error.__traceback__):
        if "clientsession" in frame[0].f_code.co_filename and "tests" not in frame[0].f_code.co_filename:
            yield "\n".join(f"{name} = {value!r}" for name, value in frame[0].f_locals.items())


@pytest.mark.parametrize(("make", "message"), FAILURES.values(), ids=FAILURES)
def test_a_wrong_option_is_told_and_no_secret_with_it(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert message in str(caught.value)
    seen = "\n".join([str(caught.value), *frames_of(caught.value)])
    assert len(seen) > len(str(caught.value)), "there are frames of ours"
    for secret in (SECRET_TEXT, KEY.decode(), repr(RAW_KEY)[2:-1], RAW_KEY.hex(), "csk1_A", RAILS_SECRET):
        assert secret not in seen


@pytest.mark.parametrize("make", [fernet_reader, aiohttp_reader])
def test_a_max_age_that_is_no_timedelta_is_a_type_error(make: Callable[..., Reader]) -> None:
    with pytest.raises(TypeError, match=r"max_age must be a datetime\.timedelta or None, not int"):
        make(max_age=3600)


@pytest.mark.parametrize("make", [lambda: fernet(KEY, cookie_name="a"), lambda: aiohttp_session(RAW_KEY)])
def test_max_age_is_to_be_given(make: Callable[[], Reader]) -> None:
    with pytest.raises(TypeError, match="max_age"):
        make()


def test_a_reader_keeps_the_place_of_its_cookie_for_the_deletion() -> None:
    reader = rails_reader(path="/app", domain="shop.example", until=OTHER_UNTIL)
    assert (reader.cookie_name, reader.path, reader.domain, reader.until) == ("_shop_session", "/app", "shop.example", OTHER_UNTIL)
    site = Site(reader, NOW)
    (deletion, _) = site.read(f"_shop_session={rails_value(enveloped())}")[1]
    assert deletion == "_shop_session=; Max-Age=0; Path=/app; Domain=shop.example; HttpOnly; SameSite=Lax"
