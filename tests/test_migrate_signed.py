"""Cookies of Flask, itsdangerous, Starlette, Django and Pyramid, each made by the real package, read by ours."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import itertools
import json
import pickle
import string
import struct
import time
import traceback
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import flask as real_flask
import itsdangerous
import pytest
from django.core import signing
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from starlette.datastructures import Secret
from webob.cookies import SignedSerializer

import clientsession
from clientsession import ConfigurationError, Jar, Key, Keyring, Session
from clientsession._events import Event, EventKind
from clientsession.migrate._forms import MAX_INFLATED_BYTES, parse_json
from clientsession.migrate.django import django_signed_cookies
from clientsession.migrate.pyramid import pyramid_signed
from clientsession.migrate.signed import flask, itsdangerous_timed, starlette
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import frames_at_every_depth, max_age_of
from tests.signed_peers import (
    SALT,
    SECRET,
    DjangoSite,
    FlaskSite,
    ItsdangerousSite,
    PyramidSite,
    StarletteSite,
    Work,
)
from tests.strict_wsgi import make_environ

OTHER = "Zwetschgendatschi-Leuchtturm-1189-Regenrinne-Holzfeuer"
WEEK = timedelta(weeks=1)
DAY_MS = 86_400_000
CONTENT = {"user": 7, "name": "Zoë ☃", "cart": [{"id": "a1", "n": 2.5}, []], "ok": True, "none": None}
DIGESTS = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b"]


def put(content: dict[str, Any]) -> Work:
    """A handler that signs in."""
    return lambda session: session.update(content)


@dataclass(frozen=True)
class System:
    """An old system: its site, our reader of it, and how to sign what its site would not."""

    name: str
    site: Callable[[], Any]
    reader: Callable[..., Any]
    age: timedelta
    """The reader's default."""
    sign: Callable[[bytes, int], str]
    """The cookie of any bytes in place of JSON, signed at a time in seconds."""

    def cookie(self, content: dict[str, Any] = CONTENT) -> str:
        value = self.site().visit(put(content))
        assert value is not None
        return value


class OldSigner(itsdangerous.TimestampSigner):
    """The real signer with another time."""

    when = 0

    def get_timestamp(self) -> int:
        return self.when


def sign_flask(data: bytes, when: int, encode: Callable[[bytes], bytes] = lambda data: b64url(data).encode()) -> str:
    signer = OldSigner(SECRET, salt="cookie-session", key_derivation="hmac", digest_method=hashlib.sha1)
    signer.when = when
    return signer.sign(encode(data)).decode()


def sign_itsdangerous(data: bytes, when: int, encode: Callable[[bytes], bytes] = lambda data: b64url(data).encode()) -> str:
    signer = OldSigner(SECRET, salt=SALT)
    signer.when = when
    return signer.sign(encode(data)).decode()


def sign_starlette(data: bytes, when: int) -> str:
    signer = OldSigner(SECRET)
    signer.when = when
    return signer.sign(base64.b64encode(data)).decode()


def base62(number: int) -> str:
    """As Django writes a time."""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return (base62(number // 62) if number >= 62 else "") + digits[number % 62]


def sign_django(data: bytes, when: int, encode: Callable[[bytes], bytes] = lambda data: b64url(data).encode()) -> str:
    signed = f"{encode(data).decode()}:{base62(when)}"
    return signing.Signer(key=SECRET, salt="django.contrib.sessions.backends.signed_cookies").sign(signed)


def sign_pyramid(data: bytes, when: int) -> str:
    class Raw:
        """WebOb's serializer signs what this one gives."""

        dumps = staticmethod(lambda value: b"[%d, %d.5, " % (when, when) + value + b"]")

    return SignedSerializer(SECRET, "pyramid.session.", "sha512", serializer=Raw()).dumps(data).decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_itsdangerous(secret_key: Any = SECRET, **options: Any) -> Any:
    return itsdangerous_timed(secret_key, **{"salt": SALT, "cookie_name": "session", "max_age": WEEK, **options})


FLASK = System("flask", FlaskSite, lambda secret=SECRET, **options: flask(secret, **options), timedelta(days=31), sign_flask)
ITSDANGEROUS = System("itsdangerous", ItsdangerousSite, read_itsdangerous, WEEK, sign_itsdangerous)
STARLETTE = System(
    "starlette", StarletteSite, lambda secret=SECRET, **options: starlette(secret, **options), timedelta(days=14), sign_starlette
)
DJANGO = System(
    "django",
    DjangoSite,
    lambda secret=SECRET, **options: django_signed_cookies(secret, **options),
    timedelta(weeks=2),
    sign_django,
)
PYRAMID = System(
    "pyramid",
    PyramidSite,
    lambda secret=SECRET, **options: pyramid_signed(secret, **options),
    timedelta(seconds=1200),
    sign_pyramid,
)
SYSTEMS = [FLASK, ITSDANGEROUS, STARLETTE, DJANGO, PYRAMID]
DEFLATING = [FLASK, ITSDANGEROUS, DJANGO]


@pytest.fixture(params=SYSTEMS, ids=lambda system: system.name)
def system(request: pytest.FixtureRequest) -> System:
    return request.param


@pytest.fixture(params=DEFLATING, ids=lambda system: system.name)
def deflating(request: pytest.FixtureRequest) -> System:
    return request.param


@pytest.fixture
def ring() -> Keyring:
    return Keyring(Key.generate())


def age_option(system: System) -> str:
    return "timeout" if system is PYRAMID else "max_age"


def now_ms() -> int:
    return int(time.time() * 1000)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def serve(jar: Jar, cookies: dict[str, str], work: Work) -> list[str]:
    """One request to an application behind our middleware; the Set-Cookie values of its answer."""
    headers: list[tuple[str, str]] = []

    def application(environ: Any, start_response: Any) -> Any:
        work(get_sessions(environ)["session"])
        start_response("200 OK", [])
        return [b""]

    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    environ = make_environ(cookie=cookie)
    SessionMiddleware(application, [jar])(environ, lambda status, given, exc_info=None: headers.extend(given))
    return [value for name, value in headers if name == "Set-Cookie"]


def keep(cookies: dict[str, str], set_cookies: list[str]) -> None:
    """What a browser does with an answer."""
    for line in set_cookies:
        name, _, value = line.partition(";")[0].partition("=")
        if max_age_of(line) == 0:
            cookies.pop(name, None)
        else:
            cookies[name] = value


# What the real package wrote opens, and leaves in our form


def test_a_session_keeps_its_content_and_its_times_and_leaves_in_the_new_form(system: System, ring: Keyring) -> None:
    before = int(time.time()) * 1000
    cookie = system.cookie()
    after = now_ms()
    reader = system.reader()
    events: list[Event] = []
    jar = Jar("session", ring, migrate_from=[reader], observer=events.append)
    seen: list[Session] = []
    cookies = {reader.cookie_name: cookie}
    answers = serve(jar, cookies, seen.append)
    assert seen[0] == CONTENT
    assert not seen[0].is_new
    assert seen[0].key_id is None
    assert seen[0].refusal is None
    assert before <= ms(seen[0].created_at) <= after
    assert (
        before + system.age // timedelta(milliseconds=1)
        <= ms(seen[0].expires_at)
        <= after + system.age // timedelta(milliseconds=1)
    )
    assert [event.kind for event in events] == [EventKind.OPENED, EventKind.MIGRATED]
    keep(cookies, answers)
    assert list(cookies) == ["session"]
    # The reader is gone, and the session is still there.
    serve(Jar("session", ring), cookies, seen.append)
    assert seen[1] == CONTENT
    assert seen[1].key_id == ring.sealing.id
    assert (seen[1].created_at, seen[1].expires_at) == (seen[0].created_at, seen[0].expires_at)


def test_the_old_cookie_is_deleted_where_its_name_or_its_place_differs(system: System, ring: Keyring) -> None:
    cookie = system.cookie()
    for options, deletion in (
        ({"cookie_name": "old"}, "old=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"),
        ({"cookie_name": "old", "path": "/shop"}, "old=; Max-Age=0; Path=/shop; HttpOnly; SameSite=Lax"),
        ({"cookie_name": "old", "domain": "shop.example"}, "old=; Max-Age=0; Path=/; Domain=shop.example; HttpOnly; SameSite=Lax"),
        ({"cookie_name": "session", "path": "/shop"}, "session=; Max-Age=0; Path=/shop; HttpOnly; SameSite=Lax"),
    ):
        reader = system.reader(**options)
        answers = serve(Jar("session", ring, migrate_from=[reader]), {reader.cookie_name: cookie}, lambda session: session["user"])
        assert answers[0] == deletion
        assert answers[1].startswith("session=")
        assert len(answers) == 2
    same = system.reader(cookie_name="session")
    answers = serve(Jar("session", ring, migrate_from=[same]), {"session": cookie}, lambda session: session["user"])
    assert [line.partition("=")[0] for line in answers] == ["session"]
    assert max_age_of(answers[0])


def test_a_change_in_the_request_that_migrates_is_kept(system: System, ring: Keyring) -> None:
    reader = system.reader()
    cookies = {reader.cookie_name: system.cookie()}
    jar = Jar("session", ring, migrate_from=[reader])
    keep(cookies, serve(jar, cookies, put({"user": 8, "new": [1]})))
    seen: list[Session] = []
    assert serve(jar, cookies, seen.append) == []
    assert seen[0] == {**CONTENT, "user": 8, "new": [1]}


def test_the_lifetime_that_the_old_system_enforced_is_enforced_to_the_second(system: System) -> None:
    when = 1_700_000_000
    value = system.sign(b'{"user": 7}', when)
    for age in (timedelta(seconds=1), timedelta(hours=3), timedelta(days=3650)):
        reader = system.reader(**{age_option(system): age})
        end = when * 1000 + age // timedelta(milliseconds=1)
        old = reader.read(value, end - 1)
        assert old is not None
        assert old.content == {"user": 7}
        assert old.created == when * 1000 + (500 if system is PYRAMID else 0)
        assert old.expires == end
        assert reader.read(value, end) is None
        assert reader.read(value, end + 365 * DAY_MS) is None


def test_an_age_is_in_whole_seconds_as_in_the_old_systems(system: System) -> None:
    old = system.reader(**{age_option(system): timedelta(seconds=90, milliseconds=999)}).read(system.sign(b"{}", 1000), 1_001_000)
    assert old is not None
    assert old.expires == 1_090_000


def test_without_an_age_a_session_has_no_end_until_the_reader_has(system: System, ring: Keyring) -> None:
    value = system.sign(b'{"user": 7}', 1_000_000_000)  # 2001
    until = datetime(2030, 1, 1, tzinfo=UTC)
    reader = system.reader(**{age_option(system): None}, until=until)
    old = reader.read(value, now_ms())
    assert old is not None
    assert old.expires is None
    seen: list[Session] = []
    for moment in (until - timedelta(seconds=1), until):
        jar = Jar("session", ring, migrate_from=[reader], clock=moment.timestamp)
        serve(jar, {reader.cookie_name: value}, seen.append)
    assert seen[0] == {"user": 7}
    assert seen[0].expires_at == until - timedelta(seconds=1) + jar.duration
    assert seen[1] == {}
    with pytest.raises(ConfigurationError, match="=None lets an old cookie live for ever"):
        system.reader(**{age_option(system): None})


def test_a_cookie_of_the_future_is_refused_beyond_a_minute(system: System) -> None:
    reader = system.reader()
    value = system.sign(b'{"user": 7}', 1_700_000_000)
    ahead = 500 if system is PYRAMID else 0  # Pyramid seals when the session began with its fraction
    assert reader.read(value, 1_700_000_000_000 - 60_000 + ahead) is not None
    assert reader.read(value, 1_700_000_000_000 - 60_001 + ahead) is None
    assert reader.read(value, 0) is None


def test_an_empty_session_opens_and_goes(system: System, ring: Keyring) -> None:
    reader = system.reader()
    jar = Jar("session", ring, migrate_from=[reader])
    seen: list[Session] = []
    answers = serve(jar, {reader.cookie_name: system.sign(b"{}", int(time.time()))}, seen.append)
    assert seen[0] == {}
    assert not seen[0].is_new
    assert all(max_age_of(line) == 0 for line in answers)


def test_content_that_is_deflated_opens(deflating: System) -> None:
    content = {"text": "all work and no play " * 200}
    cookie = deflating.cookie(content)
    assert cookie.startswith(".")
    old = deflating.reader().read(cookie, now_ms())
    assert old is not None
    assert old.content == content


def test_a_deflated_session_that_is_too_large_for_us_is_read_and_stays(deflating: System, ring: Keyring) -> None:
    content = {"text": "all work and no play " * 500}
    reader = deflating.reader()
    cookies = {reader.cookie_name: deflating.cookie(content)}
    seen: list[Session] = []
    assert serve(Jar("session", ring, migrate_from=[reader]), cookies, seen.append) == []
    assert seen[0] == content
    keep(cookies, serve(Jar("session", ring, migrate_from=[reader], compress=True), cookies, seen.append))
    assert list(cookies) == ["session"]
    serve(Jar("session", ring), cookies, seen.append)
    assert seen[2] == content


# Flask


def as_read(value: Any) -> Any:
    """What comes out here of what Flask gives back."""
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_read(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Markup) else value


TAGS = [" di", " t", " b", " m", " u", " d"]
ID = uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, ("a", [(), None])), [1, ["a", [[], None]]]),
        (b"\x00\xffbytes", "AP9ieXRlcw=="),
        (b"", ""),
        (Markup("<b>hi</b> ☃"), "<b>hi</b> ☃"),
        (ID, "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
        (datetime(2027, 3, 4, 5, 6, 7, 999_999, tzinfo=UTC), "2027-03-04T05:06:07+00:00"),
        (datetime(2027, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=2))), "2027-03-04T03:06:07+00:00"),
        (datetime(2027, 3, 4, 5, 6, 7), "2027-03-04T05:06:07+00:00"),  # noqa: DTZ001  # Flask takes it for UTC
        *(({tag: "x"}, {tag: "x"}) for tag in TAGS),
        *(({tag: {tag: (1,)}}, {tag: {tag: [1]}}) for tag in TAGS),
        ({" t__": [1]}, {" t__": [1]}),
        ({" t": 1, " b": 2}, {" t": 1, " b": 2}),
        ({" od": [["a", 1]]}, {" od": [["a", 1]]}),
        ([{" d": (ID, b"x")}], [{" d": ["6f9619ff-8b86-d011-b42d-00c04fc964ff", "eA=="]}]),
    ],
    ids=str,
)
def test_what_flask_tags_comes_out_as_json(value: Any, expected: Any) -> None:
    site = FlaskSite()
    cookie = site.visit(put({"value": value}))
    assert cookie is not None
    old = flask(SECRET).read(cookie, now_ms())
    assert old is not None
    assert old.content == {"value": expected}
    back: list[Any] = []
    site.visit(lambda session: back.append(dict(session)), cookie)
    assert as_read(back[0]) == old.content


@pytest.mark.parametrize("tag", TAGS)
def test_a_session_whose_one_key_is_a_tag_comes_out_whole(tag: str) -> None:
    cookie = FlaskSite().visit(put({tag: (1, 2)}))
    assert cookie is not None
    old = flask(SECRET).read(cookie, now_ms())
    assert old is not None
    assert old.content == {tag: [1, 2]}


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20)
    | st.uuids()
    | st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
    | st.text(string.ascii_letters, max_size=9).map(Markup)
)
KEYS = st.sampled_from([*TAGS, *(f"{tag}__" for tag in TAGS)]) | st.text(string.ascii_letters, max_size=4)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=20,
)


@given(content=st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
@settings(max_examples=200)
def test_whatever_flask_writes_comes_out_as_what_flask_reads(content: dict[str, Any]) -> None:
    app = FlaskSite().app
    serializer = app.session_interface.get_signing_serializer(app)
    value = serializer.dumps(content)
    old = flask(SECRET).read(value, now_ms())
    assert old is not None
    assert old.content == as_read(serializer.loads(value))


@pytest.mark.parametrize(
    "tagged",
    [
        '{" t": {}}',
        '{" t": "abc"}',
        '{" t": null}',
        '{" b": 5}',
        '{" b": "a"}',
        '{" b": "YQ"}',
        '{" b": "YR=="}',
        '{" b": "☃☃☃☃"}',
        '{" m": 5}',
        '{" m": {" m": [1]}}',
        '{" u": 5}',
        '{" u": "xyz"}',
        '{" u": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}',
        '{" u": "6F9619FF8B86D011B42D00C04FC964FF"}',
        '{" d": 5}',
        '{" d": null}',
        '{" d": "2027-03-04"}',
        '{" d": "Thu, 04 Xyz 2027 05:06:07 GMT"}',
        '{" d": "Thu, 31 Feb 2027 05:06:07 GMT"}',
        '{" d": "Thu, 04 Mar 0000 05:06:07 GMT"}',
        '{" d": "Thu, 04 Mar 2027 25:06:07 GMT"}',
        '{" d": "Fri, 04 Mar 2027 05:06:07 GMT"}',
        '{" d": "Thu, 04 Mar 2027 05:06:07 +0000"}',
        r'{" d": "Thu, 04 Mar \uff12\uff10\uff12\uff17 05:06:07 GMT"}',  # digits, of another script
        '{" di": 5}',
        '{" di": {}}',
        '{" di": {"a__": 1, "b__": 2}}',
        '{" di": {"a": 1}}',
        '{" di": {" t": [1]}}',
    ],
)
def test_what_flask_would_not_have_tagged_so_is_refused(tagged: str) -> None:
    when = int(time.time())
    assert flask(SECRET).read(sign_flask(f'{{"value": {tagged}}}'.encode(), when), now_ms()) is None
    assert flask(SECRET).read(sign_flask(f'{{"value": [1, {{"deep": {tagged}}}]}}'.encode(), when), now_ms()) is None


def test_flash_messages_and_other_keys_of_flask_come_along() -> None:
    def work(session: Any) -> None:
        session["user"] = 7
        real_flask.flash("Saved", "info")

    cookie = FlaskSite().visit(work)
    assert cookie is not None
    old = flask(SECRET).read(cookie, now_ms())
    assert old is not None
    assert old.content == {"user": 7, "_flashes": [["info", "Saved"]]}


@pytest.mark.parametrize("permanent", [True, False])
def test_flask_ends_permanent_sessions_and_others_alike(permanent: bool) -> None:
    def work(session: Any) -> None:
        session["user"] = 7
        session.permanent = permanent

    site = FlaskSite(PERMANENT_SESSION_LIFETIME=timedelta(hours=2))
    cookie = site.visit(work)
    assert cookie is not None
    reader = flask(SECRET, max_age=timedelta(hours=2))
    old = reader.read(cookie, now_ms())
    assert old is not None
    assert old.content == {"user": 7, "_permanent": permanent}
    assert old.created is not None
    assert old.expires == old.created + 2 * 3_600_000
    assert reader.read(cookie, old.expires) is None
    # Flask itself, at the same age: the real signer with another clock.
    app = site.app
    signer = OldSigner(SECRET, salt="cookie-session", key_derivation="hmac")
    back: list[Any] = []
    for seconds, expected in ((3600, {"user": 7}), (7260, {})):
        signer.when = int(time.time()) - seconds
        late = signer.sign(app.session_interface.get_signing_serializer(app).dump_payload({"user": 7})).decode()
        site.visit(lambda session: back.append(dict(session)), late)
        assert back.pop() == expected
        theirs = reader.read(late, now_ms())
        assert (None if theirs is None else theirs.content) == (expected or None)


def test_flask_fallbacks_open_and_other_secrets_do_not() -> None:
    site = FlaskSite()
    site.app.secret_key = OTHER  # before the secret was changed
    cookie = site.visit(put({"user": 7}))
    assert cookie is not None
    rotated = FlaskSite(SECRET_KEY_FALLBACKS=["a", OTHER])
    back: list[Any] = []
    rotated.visit(lambda session: back.append(dict(session)), cookie)
    assert back == [{"user": 7}]
    for fallbacks in (["a", OTHER], ("a", OTHER.encode()), [OTHER]):
        old = flask(SECRET, fallbacks=fallbacks).read(cookie, now_ms())
        assert old is not None
        assert old.content == {"user": 7}
    assert flask(SECRET, fallbacks=["a"]).read(cookie, now_ms()) is None
    assert flask(SECRET).read(cookie, now_ms()) is None
    # And what the rotated site writes, with whichever of them, opens.
    cookie = rotated.visit(put({"user": 8}))
    assert cookie is not None
    old = flask(SECRET, fallbacks=["a", OTHER]).read(cookie, now_ms())
    assert old is not None
    assert old.content == {"user": 8}


@pytest.mark.parametrize("key_derivation", ["hmac", "django-concat", "concat", "none"])
@pytest.mark.parametrize("digest", DIGESTS)
def test_flask_and_itsdangerous_with_every_digest_and_derivation(digest: str, key_derivation: str) -> None:
    method = getattr(hashlib, digest)
    site = FlaskSite(interface={"salt": "pepper", "key_derivation": key_derivation, "digest_method": staticmethod(method)})
    cookie = site.visit(put(CONTENT))
    assert cookie is not None
    options: dict[str, Any] = {"salt": "pepper", "key_derivation": key_derivation, "digest_method": digest}
    old = flask(SECRET, **options).read(cookie, now_ms())
    assert old is not None
    assert old.content == CONTENT
    others: list[dict[str, Any]] = [
        {"digest_method": "sha512" if digest == "sha256" else "sha256"},
        {"key_derivation": "concat" if key_derivation == "hmac" else "hmac"},
    ]
    if key_derivation != "none":  # which knows no salt
        others.append({"salt": "salt"})
    for other in others:
        assert flask(SECRET, **{**options, **other}).read(cookie, now_ms()) is None
    for salt in ("pepper", b"pepp\xff\x00"):
        serializer = ItsdangerousSite(salt=salt, signer_kwargs={"key_derivation": key_derivation, "digest_method": method})
        cookie = serializer.visit(put(CONTENT))
        assert cookie is not None
        old = read_itsdangerous(**{**options, "salt": salt}).read(cookie, now_ms())
        assert old is not None
        assert old.content == CONTENT


# itsdangerous, Starlette


def test_a_list_of_keys_of_itsdangerous_is_a_secret_and_its_fallbacks() -> None:
    cookies = [ItsdangerousSite(keys).visit(put(CONTENT)) for keys in ("a", [OTHER, "a", SECRET], b"\x00\xff")]
    reader = read_itsdangerous(SECRET, fallbacks=["a", b"\x00\xff"])
    for cookie in cookies:
        old = reader.read(cookie, now_ms())
        assert old is not None
        assert old.content == CONTENT
    assert [read_itsdangerous("a").read(cookie, now_ms()) is None for cookie in cookies] == [False, True, True]


def test_a_secret_of_starlette_is_read_as_the_text_it_hides() -> None:
    cookie = StarletteSite(Secret(SECRET), max_age=None, session_cookie="s").visit(put(CONTENT))
    assert cookie is not None
    old = starlette(str(Secret(SECRET)), cookie_name="s").read(cookie, now_ms())
    assert old is not None
    assert old.content == CONTENT


# Django


@override_settings(SECRET_KEY=OTHER, SECRET_KEY_FALLBACKS=[])
def test_django_fallbacks_open_and_other_secrets_do_not() -> None:
    cookie = DJANGO.cookie()
    for fallbacks in (["a", OTHER], (OTHER.encode(),)):
        old = django_signed_cookies(SECRET, fallbacks=fallbacks).read(cookie, now_ms())
        assert old is not None
        assert old.content == CONTENT
    assert django_signed_cookies(SECRET, fallbacks=["a"]).read(cookie, now_ms()) is None
    back: list[Any] = []
    with override_settings(SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=["a", OTHER]):
        DjangoSite().visit(lambda session: back.append(dict(session.items())), cookie)
    assert back == [CONTENT]


def test_django_age_is_the_setting_of_that_name() -> None:
    for seconds in (60, 86_400 * 365):
        with override_settings(SESSION_COOKIE_AGE=seconds):
            back: list[Any] = []
            for age in (seconds - 30, seconds + 30):
                value = sign_django(b'{"user":7}', int(time.time()) - age)
                DjangoSite().visit(lambda session: back.append(dict(session.items())), value)
                old = django_signed_cookies(SECRET, max_age=timedelta(seconds=seconds)).read(value, now_ms())
                assert (None if old is None else old.content) == (back[-1] or None)
            assert back == [{"user": 7}, {}]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("expiry", "seconds"),
    [
        (None, 14 * 86_400),
        (0, 14 * 86_400),  # until the browser closes: the server's age holds
        (3600, 3600),
        (2.5, 2.5),
        (86_400 * 30, 14 * 86_400),  # the server's age is the sooner
        (HOUR, 3600),
        (20 * 24 * HOUR, 14 * 86_400),
    ],
    ids=str,
)
def test_django_set_expiry_ends_a_session_sooner_and_never_later(expiry: Any, seconds: float) -> None:
    def work(session: Any) -> None:
        session["user"] = 7
        session.set_expiry(expiry)

    cookie = DjangoSite().visit(work)
    assert cookie is not None
    reader = django_signed_cookies(SECRET)
    old = reader.read(cookie, now_ms())
    assert old is not None
    assert old.content["user"] == 7
    assert ("_session_expiry" in old.content) == (expiry is not None)
    assert old.created is not None
    assert old.expires is not None
    # A date is set a moment before the cookie is signed, and the signature knows seconds alone.
    assert 0 <= old.expires - old.created - seconds * 1000 < (1000 if isinstance(expiry, timedelta) and seconds == 3600 else 1)
    assert reader.read(cookie, old.expires) is None


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2023-11-15T00:00:00+00:00", UTC, "2023-11-15T00:00:00+00:00"),
        ("2023-11-15T00:00:00.250000-05:00", UTC, "2023-11-15T05:00:00.250000+00:00"),
        ("2023-11-15T00:00:00", UTC, "2023-11-15T00:00:00+00:00"),
        ("2023-11-15T12:00:00", timezone(timedelta(hours=9)), "2023-11-15T03:00:00+00:00"),
        ("9999-12-31T23:59:59", ZoneInfo("America/Los_Angeles"), "2023-11-28T22:13:20+00:00"),
        ("9999-12-31T23:59:59-23:59", UTC, "2023-11-28T22:13:20+00:00"),  # the server's age
    ],
)
def test_django_dates_are_those_of_their_zone(text: str, zone: tzinfo, expected: str) -> None:
    value = sign_django(json.dumps({"user": 7, "_session_expiry": text}).encode(), 1_700_000_000)  # 2023-11-14T22:13:20Z
    old = django_signed_cookies(SECRET, time_zone=zone).read(value, 1_699_999_990_000)
    assert old is not None
    assert old.expires == ms(datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    "expiry",
    [
        "-1",
        "-1e999",
        "1e999",
        '"2001-01-01T00:00:00+00:00"',
        '"0001-01-01T00:00:00+23:59"',
        '"soon"',
        '"☃"',
        "[1]",
        '{"a": 1}',
        "NaN",
    ],
)
def test_django_sessions_that_are_over_or_that_no_set_expiry_wrote_are_refused(expiry: str) -> None:
    value = sign_django(f'{{"_session_expiry": {expiry}}}'.encode(), 1_700_000_000)
    assert django_signed_cookies(SECRET).read(value, 1_700_000_000_000) is None


def test_a_zone_that_cannot_tell_is_no_error() -> None:
    class Narrow(tzinfo):
        """As some are at the ends of the calendar."""

        def utcoffset(self, moment: datetime | None) -> timedelta:
            assert moment is not None
            day_before = moment.replace(tzinfo=None) - timedelta(days=1)
            return timedelta(hours=day_before.month)

    value = sign_django(b'{"_session_expiry": "0001-01-01T00:00:00"}', 1_700_000_000)
    assert django_signed_cookies(SECRET, time_zone=Narrow()).read(value, 1_700_000_000_000) is None


@pytest.mark.parametrize("expiry", ["null", "0", "false", '""', "[]", "1e30"])
def test_django_takes_an_empty_expiry_for_none(expiry: str) -> None:
    value = sign_django(f'{{"_session_expiry": {expiry}}}'.encode(), 1_700_000_000)
    old = django_signed_cookies(SECRET).read(value, 1_700_000_000_000)
    assert old is not None
    assert old.expires == 1_700_000_000_000 + 14 * DAY_MS


def test_a_signed_cookie_of_django_that_is_no_session_is_refused() -> None:
    """What ``signing.dumps`` and ``set_signed_cookie`` write has another salt."""
    for value in (
        signing.dumps({"user": 7}, key=SECRET),
        signing.dumps({"user": 7}, key=SECRET, salt="django.contrib.sessions.SessionStore"),
        signing.TimestampSigner(key=SECRET, salt="sessionid").sign("x"),
    ):
        assert django_signed_cookies(SECRET).read(value, now_ms()) is None


# Pyramid


@pytest.mark.parametrize("hashalg", DIGESTS)
@pytest.mark.parametrize("salt", ["pyramid.session.", "pepper", "", b"\xff\x00", "☃"])
@pytest.mark.parametrize("secret", [SECRET, "Zoë", "☃ snow", b"\x00\xff"])
def test_pyramid_with_every_digest_salt_and_secret(hashalg: str, salt: Any, secret: Any) -> None:
    if isinstance(salt, bytes) != isinstance(secret, bytes) and "☃" in (str(salt) + str(secret)):
        salt = "" if isinstance(secret, bytes) else str(salt)  # WebOb takes bytes, or text beyond Latin-1, not one of each
    cookie = PyramidSite(secret, salt=salt, hashalg=hashalg, timeout=None).visit(put(CONTENT))
    assert cookie is not None
    old = pyramid_signed(secret, salt=salt, hashalg=hashalg).read(cookie, now_ms())
    assert old is not None
    assert old.content == CONTENT
    assert pyramid_signed(OTHER, salt=salt, hashalg=hashalg).read(cookie, now_ms()) is None
    assert pyramid_signed(secret, salt="other", hashalg=hashalg).read(cookie, now_ms()) is None
    assert pyramid_signed(secret, salt=salt, hashalg="sha512" if hashalg == "sha256" else "sha256").read(cookie, now_ms()) is None


def test_pyramid_counts_the_timeout_from_when_the_cookie_was_issued_and_keeps_when_it_began() -> None:
    site = PyramidSite(timeout=1200, reissue_time=0)
    began = 1_700_000_000.25
    issued = int(time.time()) - 600
    cookie = SignedSerializer(SECRET, "pyramid.session.", "sha512").dumps([issued, began, {"user": 7}]).decode()
    reader = pyramid_signed(SECRET)
    old = reader.read(cookie, now_ms())
    assert old is not None
    assert (old.created, old.expires) == (1_700_000_000_250, issued * 1000 + 1_200_000)
    # Pyramid issues it anew when it is used: a later end, and the same beginning.
    reissued = site.visit(lambda session: session["user"], cookie)
    assert reissued is not None
    later = reader.read(reissued, now_ms())
    assert later is not None
    assert later.created == old.created
    assert later.expires is not None
    assert 600_000 <= later.expires - issued * 1000 - 1_200_000 <= now_ms() - issued * 1000
    # With a reissue_time it is not issued anew, and Pyramid ends it as we do.
    assert PyramidSite(timeout=1200, reissue_time=900).visit(lambda session: session["user"], cookie) is None


def test_pyramid_ends_a_session_when_the_reader_does() -> None:
    back: list[Any] = []
    for age in (1170, 1230):
        value = sign_pyramid(b'{"user": 7}', int(time.time()) - age)
        PyramidSite().visit(lambda session: back.append(dict(session)), value)
        old = pyramid_signed(SECRET).read(value, now_ms())
        assert (None if old is None else old.content) == (back[-1] or None)
    assert back == [{"user": 7}, {}]


def test_pyramid_flashes_and_csrf_tokens_come_along() -> None:
    def work(session: Any) -> None:
        session.flash("Saved", "info")
        session.get_csrf_token()

    cookie = PyramidSite().visit(work)
    assert cookie is not None
    old = pyramid_signed(SECRET).read(cookie, now_ms())
    assert old is not None
    assert set(old.content) == {"_f_info", "_csrft_"}


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("cookie_name", ["session", "old"])
def test_a_cookie_of_pyramid_that_begins_like_a_token_of_ours_opens(ring: Keyring, suite: int, cookie_name: str) -> None:
    """Its form is that of ours to the last character, and its first byte is anything: one user in 128 has such a cookie."""
    when = int(time.time())
    values = (sign_pyramid(b'{"user": %d, "pad": "%s"}' % (user, b"x" * (user % 3)), when) for user in itertools.count())
    value = next(value for value in values if base64.urlsafe_b64decode(value[:4])[0] == suite and len(value) % 4 == 0)
    jar = Jar("session", ring, migrate_from=[pyramid_signed(SECRET, cookie_name=cookie_name)])
    cookies = {cookie_name: value}
    seen: list[Session] = []
    keep(cookies, serve(jar, cookies, seen.append))
    assert "user" in seen[0]
    assert list(cookies) == ["session"]
    serve(Jar("session", ring), cookies, seen.append)
    assert seen[1] == seen[0]
    # A token of ours, by a key that is not in the ring, is none of Pyramid's; and by one that is, never handed over.
    foreign = Jar("session", Keyring(Key.generate())).codec.encode({"user": 7})
    serve(jar, {cookie_name: foreign}, seen.append)
    assert seen[2].is_new
    assert seen[2].refusal is not None
    serve(jar, {cookie_name: jar.codec.encode({"user": 7})}, seen.append)
    assert seen[3].is_new == (cookie_name == "old")


@pytest.mark.parametrize(
    "state",
    [
        b"{}",
        b"null",
        b"[]",
        b"[1700000000, 1700000000]",
        b"[1700000000, 1700000000, {}, {}]",
        b"[1700000000, 1700000000, []]",
        b"[1700000000, 1700000000, null]",
        b'["1700000000", 1700000000, {}]',
        b'[1700000000, "1700000000", {}]',
        b"[true, 1700000000, {}]",
        b"[1700000000, null, {}]",
        b"[1700000000, true, {}]",
        b"[1700000000, -1, {}]",
        b"[-1, 1700000000, {}]",
        b"[1e999, 1700000000, {}]",
        b"[1700000000, 1e999, {}]",
        b"[NaN, 1700000000, {}]",
        b"[1" + b"0" * 400 + b", 1700000000, {}]",
        b"[1700000000, 1" + b"0" * 400 + b", {}]",
        b"[1" + b"0" * 5000 + b", 1700000000, {}]",
    ],
    ids=lambda state: state[:40].decode(),
)
def test_what_pyramid_would_not_have_sealed_is_refused(state: bytes) -> None:
    value = b64url(hmac.digest(f"pyramid.session.{SECRET}".encode(), state, "sha512") + state)
    assert pyramid_signed(SECRET).read(value, 1_700_000_000_000) is None


# Never run: a pickle


RAN: list[str] = []


def mark(word: str) -> None:
    RAN.append(word)


class Trap:
    """Unpickled, it leaves a mark."""

    def __reduce__(self) -> Any:
        return mark, ("unpickled",)


class PickleSerializer:
    """As Django and Pyramid had it."""

    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(pickle.loads)


def test_a_pickled_session_is_refused_and_never_unpickled() -> None:
    RAN.clear()
    with override_settings(SESSION_SERIALIZER="tests.test_migrate_signed.PickleSerializer"):
        site = DjangoSite()
        pickled = site.visit(put({"user": Trap()}))
        assert pickled is not None
        back: list[Any] = []
        site.visit(lambda session: back.append(session.get("user")), pickled)
    assert RAN == ["unpickled"]  # in Django it runs: this is the real thing
    assert django_signed_cookies(SECRET).read(pickled, now_ms()) is None
    pickled = PyramidSite(serializer=PickleSerializer()).visit(put({"user": Trap()}))
    assert pickled is not None
    assert pyramid_signed(SECRET).read(pickled, now_ms()) is None
    assert RAN == ["unpickled"]


def test_no_reader_imports_anything_that_runs_what_it_reads() -> None:
    folder = Path(clientsession.__file__).parent / "migrate"
    modules = sorted(folder.glob("*.py"))
    assert len(modules) > 4
    for module in modules:
        text = module.read_text(encoding="utf-8")
        for word in ("import pickle", "import marshal", "import shelve", "import yaml", "eval(", "exec("):
            assert word not in text


# Hostile


ALPHABET = string.ascii_letters + string.digits + "-_=+/.:"


def mutants(value: str) -> Iterator[str]:
    """A cookie with every character changed, dropped or doubled, every cut, and something put in at every place."""
    for index, char in enumerate(value):
        for other in {ALPHABET[(ALPHABET.find(char) + step) % len(ALPHABET)] for step in (1, 2, 17, 40)}:
            yield value[:index] + other + value[index + 1 :]
        yield value[:index] + value[index + 1 :]
        yield value[:index]
        yield value[index + 1 :]
        for strange in (*"A=.:~", "\x00", "\n", " ", "ä", "☃", "\ud800", '"', "%2E"):
            yield value[:index] + strange + value[index:]
    for tail in ("=", "==", "A", ".", ":", "\x00", "\n", " ", ";", "\u017f", value):
        yield value + tail
    yield from (
        value.upper(),
        value.lower(),
        value[::-1],
        f'"{value}"',
        value.swapcase(),
        value.replace("-", "+").replace("_", "/"),
    )


def test_no_mutant_opens_and_none_raises(system: System) -> None:
    when = int(time.time())
    reader = system.reader(fallbacks=[OTHER]) if system in (FLASK, ITSDANGEROUS, DJANGO) else system.reader()
    values = {system.cookie(), system.cookie({"user": 7}), system.sign(b'{"user": 7}', when)}
    opened = [mutant for value in values for mutant in mutants(value) if mutant not in values and reader.read(mutant, now_ms())]
    assert opened == []


def opens_there(system: System, value: str) -> bool:
    """Whether the real package takes a signature."""
    if system is PYRAMID:
        try:
            SignedSerializer(SECRET, "pyramid.session.", "sha512").loads(value.encode())
        except ValueError:
            return False
        return True
    if system is DJANGO:
        try:
            signing.TimestampSigner(key=SECRET, salt="django.contrib.sessions.backends.signed_cookies").unsign(value)
        except signing.BadSignature:
            return False
        return True
    options: dict[str, Any] = {"flask": {"salt": "cookie-session", "key_derivation": "hmac"}, "itsdangerous": {"salt": SALT}}
    return itsdangerous.TimestampSigner(SECRET, **options.get(system.name, {})).validate(value)


def test_a_signature_has_one_spelling_though_base64_has_several(system: System) -> None:
    when = int(time.time())
    values = [system.sign(b'{"n": "%s"}' % (b"x" * count), when) for count in range(3)]
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    reader = system.reader()
    taken = 0
    for value in values:
        assert opens_there(system, value)
        assert reader.read(value, now_ms()) is not None
        for char in alphabet.replace(value[-1], ""):
            taken += opens_there(system, value[:-1] + char)
            assert reader.read(value[:-1] + char, now_ms()) is None
    assert (taken > 0) == (system is not DJANGO)  # Django compares the text, as we do


def test_a_payload_in_another_spelling_is_refused_even_where_it_is_signed(deflating: System) -> None:
    when = int(time.time())
    for encode in (
        base64.urlsafe_b64encode,  # its padding
        lambda data: b64url(data).encode()[:-1] + b"R",  # bits to spare
        lambda data: b64url(data).encode()[:4] + b"\n" + b64url(data).encode()[4:],
        lambda data: b"." + b64url(data).encode(),  # not deflated
        lambda data: b"." + b64url(zlib.compress(data)).encode() + b"=",
        lambda data: b".." + b64url(zlib.compress(data)).encode(),
        lambda data: b"." + b64url(zlib.compress(data)[:-1]).encode(),
        lambda data: b"." + b64url(zlib.compress(data) + b"x").encode(),
        lambda data: b"." + b64url(zlib.compress(data)[:-4] + b"\x00\x00\x00\x00").encode(),
        lambda data: b"." + b64url(zlib.compress(zlib.compress(data))).encode(),
        lambda data: b".",
        lambda data: b"",
    ):
        value = deflating.sign(b'{"a":1}', when, encode)
        assert deflating.reader().read(value, now_ms()) is None
    fine = deflating.sign(b'{"a":1}', when, lambda data: b"." + b64url(zlib.compress(data)).encode())
    assert deflating.reader().read(fine, now_ms()) is not None


@pytest.mark.parametrize(
    "payload", [b"eyJhIjoxfQ", b"eyJhIjoxfQ=", b"eyJhIjoxfR==", b"eyJhIjox\nfQ==", b"eyJh IjoxfQ==", b"=", b"*", b""]
)
def test_a_payload_of_starlette_in_another_spelling_is_refused_even_where_it_is_signed(payload: bytes) -> None:
    signer = itsdangerous.TimestampSigner(SECRET)
    assert starlette(SECRET).read(signer.sign(payload).decode(), now_ms()) is None
    assert starlette(SECRET).read(signer.sign(b"eyJhIjoxfQ==").decode(), now_ms()) is not None


@pytest.mark.parametrize(
    "stamp", [b"", b"A", b"AAAA", b"AGVT8QA", b"ZVPxAA=", b"ZVPxAB", b"/+/+", b"-", b"//////////8", b64url(b"\x01" * 9).encode()]
)
def test_a_time_that_itsdangerous_would_not_have_written_is_refused(stamp: bytes) -> None:
    # ZVPxAA is 1_700_000_000
    for reader, signer, payload in (
        (flask(SECRET), itsdangerous.Signer(SECRET, salt="cookie-session", key_derivation="hmac"), b"eyJhIjoxfQ"),
        (starlette(SECRET), itsdangerous.Signer(SECRET), b"eyJhIjoxfQ=="),
    ):
        assert reader.read(signer.sign(payload + b"." + b"ZVPxAA").decode(), 1_700_000_000_000) is not None
        assert reader.read(signer.sign(payload + b"." + stamp).decode(), 1_700_000_000_000) is None
        assert reader.read(signer.sign(payload).decode(), 1_700_000_000_000) is None


def test_a_time_of_eight_bytes_is_of_the_future_and_no_trouble() -> None:
    signer = itsdangerous.Signer(SECRET)
    value = signer.sign(b"eyJhIjoxfQ==." + b64url(struct.pack(">Q", 2**64 - 1)).encode()).decode()
    assert starlette(SECRET).read(value, now_ms()) is None
    assert starlette(SECRET, max_age=None, until=datetime(2099, 1, 1, tzinfo=UTC)).read(value, now_ms()) is None


@pytest.mark.parametrize("stamp", ["", "0", "01r2wtE", "-1r2wtE", "1r2wt_", "1r2wt☃", "zzzzzzzzz", "1r2wtE ", "zzzzzzzz"])
def test_a_time_that_django_would_not_have_written_is_refused(stamp: str) -> None:
    signer = signing.Signer(key=SECRET, salt="django.contrib.sessions.backends.signed_cookies")
    fine = base62(1_700_000_000)
    assert django_signed_cookies(SECRET).read(signer.sign(f"eyJhIjoxfQ:{fine}"), 1_700_000_000_000) is not None
    assert django_signed_cookies(SECRET).read(signer.sign(f"eyJhIjoxfQ:{stamp}"), 1_700_000_000_000) is None
    assert django_signed_cookies(SECRET).read(signer.sign("eyJhIjoxfQ"), 1_700_000_000_000) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b'[{"user": 7}]',
        b'{"user": 7',
        b'{"user": 7}}',
        b'{"user": 7} {}',
        b"{'user': 7}",
        b'{"n": NaN}',
        b'{"n": Infinity}',
        b'{"n": 1e999}',
        b'{"n": 9223372036854775808}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"t": "\xff"}',
        b'{"t": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": 1}'.decode().encode("utf-16"),
        b'{"deep": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"deep": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"[" * 5_000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_is_signed_but_is_no_plain_json_object_is_refused(system: System, data: bytes) -> None:
    assert system.reader().read(system.sign(data, int(time.time())), now_ms()) is None


@pytest.mark.parametrize("data", [b"NaN", b"[-Infinity]", b"\xff", b"[1,]", b"", b"[" * 100_000])
def test_what_is_no_json_is_parsed_as_none(data: bytes) -> None:
    assert parse_json(data) is None
    assert parse_json(b" [1] ") == [1]


def test_as_many_levels_as_our_own_sessions_have_are_read(system: System) -> None:
    value = system.sign(b'{"deep": ' + b"[" * 63 + b"]" * 63 + b"}", int(time.time()))
    assert system.reader().read(value, now_ms()) is not None


def test_a_full_stack_of_the_application_logs_nobody_out(system: System) -> None:
    value = system.sign(b'{"deep": ' + b"[" * 60 + b"]" * 60 + b"}", int(time.time()))
    reader = system.reader()

    def at_depth() -> Any:
        try:
            return at_depth()
        except RecursionError:
            return reader.read(value, now_ms())  # it raises until there is room

    old = at_depth()
    assert old is not None
    assert "deep" in old.content


def test_a_bomb_claims_little_memory_and_does_not_open(deflating: System) -> None:
    bomb = zlib.compress(b'{"a": "' + b"a" * 11_000_000 + b'"}', 9)
    value = deflating.sign(bomb, int(time.time()), lambda data: b"." + b64url(data).encode())
    assert 13_000 < len(value) < 16_384
    reader = deflating.reader()
    reader.read("x", 0)
    tracemalloc.start()
    try:
        assert reader.read(value, now_ms()) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_what_inflates_to_64_kib_is_read_and_to_a_byte_more_is_not(deflating: System) -> None:
    for extra, opens in ((0, True), (1, False)):
        data = b'{"a":"%s"}' % (b"a" * (MAX_INFLATED_BYTES - 8 + extra))
        assert len(data) == MAX_INFLATED_BYTES + extra
        value = deflating.sign(data, int(time.time()), lambda data: b"." + b64url(zlib.compress(data)).encode())
        assert (deflating.reader().read(value, now_ms()) is not None) == opens


def test_the_secret_of_another_site_opens_nothing(system: System) -> None:
    cookie = system.cookie()
    for secret in (OTHER, SECRET[:-1], SECRET + "x", SECRET.lower(), "x"):
        assert system.reader(secret).read(cookie, now_ms()) is None
    assert system.reader(SECRET).read(cookie, now_ms()) is not None


@pytest.mark.parametrize("other", SYSTEMS, ids=lambda system: system.name)
def test_a_cookie_of_one_system_is_none_of_another_with_the_same_secret(system: System, other: System) -> None:
    values = [
        system.cookie(),
        system.cookie({"user": 7}),
        system.cookie({"text": "long " * 200}),
        system.sign(b"{}", int(time.time())),
    ]
    reader = other.reader()
    assert [reader.read(value, now_ms()) is not None for value in values] == [system is other] * len(values)


@given(text=st.text(max_size=300) | st.text(ALPHABET + "\x00 ", max_size=300))
def test_no_text_opens_or_raises(text: str) -> None:
    for system in SYSTEMS:
        assert system.reader().read(text, now_ms()) is None


@given(data=st.binary(max_size=200))
@settings(max_examples=50)
def test_no_signed_bytes_raise(data: bytes) -> None:
    when = int(time.time())
    for system in SYSTEMS:
        system.reader().read(system.sign(data, when), now_ms())
    for system in DEFLATING:
        system.reader().read(system.sign(data, when, lambda data: data.hex().encode()), now_ms())


@pytest.mark.parametrize("filler", ["A", ".", ":", "A.", "A:", "=", "-", ".A", "\x00", "☃"])
def test_the_work_for_a_forged_cookie_grows_with_its_length_alone(system: System, filler: str) -> None:
    """Four times the length takes no more than a few times as long, and beyond 16,384 characters nothing is looked at."""
    reader = system.reader(fallbacks=["x"] * 16) if system in (FLASK, ITSDANGEROUS, DJANGO) else system.reader()

    def best(value: str) -> float:
        times = []
        for _ in range(5):
            start = time.thread_time()  # the processor's: what others are doing is no matter
            assert reader.read(value, now_ms()) is None
            times.append(time.thread_time() - start)
        return min(times)

    small, large = best(filler * (4096 // len(filler))), best(filler * (16_384 // len(filler)))
    assert large < 10 * small + 0.002
    assert best(filler * 2_000_000) < 0.002 + small


def test_a_value_of_more_than_16_384_characters_is_refused_though_it_is_signed(system: System) -> None:
    when = int(time.time())
    overhead = {"flask": 8, "itsdangerous": 8, "starlette": 8, "django": 8, "pyramid": 45}[system.name]
    for length, opens in ((11_000, True), (12_300, False)):
        value = system.sign(b'{"a":"%s"}' % (b"a" * (length - overhead)), when)
        assert (len(value) <= 16_384) == opens
        assert (system.reader().read(value, now_ms()) is not None) == opens


# Configuration, and secrets


@pytest.mark.parametrize(
    "secret", ["", b"", None, 7, ["a"], bytearray(b"secret"), "x" * 4097, "\ud800", Key.generate().export()], ids=repr
)
def test_what_is_no_secret_is_refused_with_words(system: System, secret: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^secret(_key)? (must|is) .*: (give|write) |^secret_key must be a str, as Starlette"
    ) as caught:
        system.reader(secret)
    if isinstance(secret, str) and secret:
        assert secret not in str(caught.value)


def test_bytes_are_no_secret_of_starlette() -> None:
    with pytest.raises(ConfigurationError, match="as Starlette's is"):
        starlette(SECRET.encode())


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        (OTHER, "fallbacks must be a list"),
        (OTHER.encode(), "fallbacks must be a list"),
        (None, "fallbacks must be a list"),
        ({OTHER}, "fallbacks must be a list"),
        ([""], "each of fallbacks must not be empty"),
        ([OTHER, None], "each of fallbacks must be a str or bytes, not NoneType"),
        ([[OTHER]], "each of fallbacks must be a str or bytes, not list"),
        (["x"] * 17, "fallbacks takes 16 secrets at most"),
    ],
)
@pytest.mark.parametrize("of", [FLASK, ITSDANGEROUS, DJANGO], ids=lambda system: system.name)
def test_wrong_fallbacks_are_refused_with_words(of: System, fallbacks: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        of.reader(SECRET, fallbacks=fallbacks)
    assert of.reader(SECRET, fallbacks=["x"] * 16).read(of.cookie(), now_ms()) is not None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"AGE": 3600}, TypeError, "must be a datetime.timedelta or None, not int"),
        ({"AGE": timedelta(milliseconds=999)}, ConfigurationError, "must be from 1 second to 100 years"),
        ({"AGE": timedelta(days=36_526)}, ConfigurationError, "must be from 1 second to 100 years"),
        ({"AGE": None}, ConfigurationError, "give until="),
        ({"cookie_name": "a b"}, ConfigurationError, "a cookie name must have"),
        ({"cookie_name": None}, ConfigurationError, "a cookie name must have"),
        ({"path": "shop"}, ConfigurationError, "path must start with /"),
        ({"domain": ".shop"}, ConfigurationError, "domain must be a host name"),
        ({"until": datetime(2030, 1, 1)}, ConfigurationError, "until must be a datetime with a time zone"),  # noqa: DTZ001
    ],
    ids=str,
)
def test_wrong_options_are_refused_with_words(
    system: System, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        system.reader(**{age_option(system) if name == "AGE" else name: value for name, value in options.items()})
    assert_no_secret_in(caught.value)


@pytest.mark.parametrize("of", [FLASK, ITSDANGEROUS], ids=lambda system: system.name)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_derivation": "pbkdf2"}, "key_derivation must be one of 'hmac', 'django-concat', 'concat', 'none'"),
        ({"key_derivation": None}, "key_derivation must be one of"),
        ({"key_derivation": ["hmac"]}, "key_derivation must be one of"),
        ({"digest_method": "sha0"}, "digest_method must be the name of a hash function"),
        ({"digest_method": "shake_128"}, "digest_method must be the name of a hash function"),
        ({"digest_method": hashlib.sha256}, "digest_method must be the name of a hash function"),
        ({"digest_method": ["sha1"]}, "digest_method must be the name of a hash function"),
        ({"salt": None}, "salt must be a str or bytes, not NoneType"),
        ({"salt": "\ud800"}, "salt must be text that UTF-8 can carry"),
    ],
    ids=str,
)
def test_wrong_options_of_signing_are_refused_with_words(of: System, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        of.reader(**options)
    assert_no_secret_in(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pyramid_signed(SECRET, hashalg="sha0"), "hashalg must be the name of a hash function"),
        (lambda: pyramid_signed(SECRET, hashalg="shake_256"), "hashalg must be the name of a hash function"),
        (lambda: pyramid_signed(SECRET, salt=None), "salt must be a str or bytes"),
        (lambda: pyramid_signed(SECRET, salt="\ud800"), "salt must be text that UTF-8 can carry"),
        (lambda: django_signed_cookies(SECRET, time_zone="Europe/Berlin"), "time_zone must be a tzinfo"),
    ],
)
def test_wrong_options_of_one_system_are_refused_with_words(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        make()
    assert_no_secret_in(caught.value)


def assert_no_secret_in(error: BaseException) -> None:
    """In no message, and in no local variable of a frame of ours."""
    texts = [str(error), repr(error)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "clientsession/" in frame.f_code.co_filename.replace("\\", "/") and "/tests/" not in frame.f_code.co_filename:
            texts += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
    assert len(texts) > 2
    for text in texts:
        assert SECRET not in text
        assert SECRET[10:25] not in text
        assert OTHER not in text


def test_no_frame_shows_a_secret_where_a_secret_is_refused(system: System) -> None:
    with pytest.raises(ConfigurationError) as caught:
        system.reader(SECRET * 100)
    assert_no_secret_in(caught.value)
    if system in (FLASK, ITSDANGEROUS, DJANGO):
        with pytest.raises(ConfigurationError) as caught:
            system.reader(SECRET, fallbacks=[OTHER, 7])
        assert_no_secret_in(caught.value)


def test_a_reader_shows_no_secret_and_does_not_change(system: System) -> None:
    reader = system.reader()
    assert SECRET not in repr(reader) + str(reader)
    assert repr(reader.cookie_name) in repr(reader)
    assert copy.deepcopy(reader) is reader
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(reader)
    with pytest.raises(AttributeError, match="does not change"):
        reader.cookie_name = "x"


@pytest.mark.parametrize("derivation", ["none", "hmac", "concat", "django-concat"])
def test_no_frame_shows_a_key_wherever_itsdangerous_cookies_are_read(derivation: str) -> None:
    keys = {
        "none": SECRET.encode(),
        "hmac": hmac.digest(SECRET.encode(), SALT.encode(), "sha1"),
        "concat": hashlib.sha1(SALT.encode() + SECRET.encode()).digest(),
        "django-concat": hashlib.sha1(SALT.encode() + b"signer" + SECRET.encode()).digest(),
    }
    signer = itsdangerous.URLSafeTimedSerializer(SECRET, SALT, signer_kwargs={"key_derivation": derivation})
    reader = itsdangerous_timed(SECRET, salt=SALT, cookie_name="old", max_age=timedelta(days=1), key_derivation=derivation)
    value, now = signer.dumps(CONTENT), int(time.time() * 1000)
    assert reader.read(value, now) is not None
    assert repr(keys[derivation])[2:-1] not in "\n".join(frames_at_every_depth(lambda: reader.read(value, now)))
    assert repr(keys[derivation])[2:-1] not in repr(vars(reader))


def test_no_frame_shows_a_key_wherever_a_cookie_is_read(system: System) -> None:
    reader, value, now = system.reader(), system.cookie(), int(time.time() * 1000)
    keys = [
        SECRET.encode(),
        hmac.digest(SECRET.encode(), b"cookie-session", "sha1"),
        hashlib.sha1(b"itsdangerous.Signersigner" + SECRET.encode()).digest(),
        hashlib.sha256(b"django.contrib.sessions.backends.signed_cookiessigner" + SECRET.encode()).digest(),
    ]
    assert reader.read(value, now) is not None
    shown = "\n".join(frames_at_every_depth(lambda: reader.read(value, now))) + repr(vars(reader))
    assert [key for key in keys if repr(key)[2:-1] in shown] == []
