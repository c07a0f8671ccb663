"""What is fuzzed, and what must hold for every input.

A check takes the bytes of an input, and says how far it got; where something does not hold it raises an AssertionError. Any other
exception that comes out of the library is one that should not have.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import logging
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from clientsession import (
    Codec,
    ConfigurationError,
    HeaderJar,
    Jar,
    Key,
    Keyring,
    SerializationError,
    Session,
    Sessions,
    SessionTooLargeError,
    Suite,
    TokenError,
    migrate,
)
from clientsession._cookies import find_cookies, find_values
from clientsession._json import StrictJSON
from clientsession._keyfile import KeyFile, KeyLine, Role
from clientsession.commands import inspect as inspecting
from clientsession.migrate import OldSession, Reader
from clientsession.serializers import Msgspec
from tests import reference
from tests.fuzz import forms, slow
from tests.fuzz.forms import BEARER, CART, CODEC, COOKIES, HEADER, JSON, KEY_TEXT, RING, SECRET, SESSION, TOKEN
from tests.fuzz.layers import NOW, NOW_MS, Either, Layer, OneOf, Several, b64url, deflated
from tests.fuzz.slow import DAY_MS, Opened, Refused

REFUSED, AUTHENTIC, OPENED = "refused", "authentic", "opened"
"""How far an input got: not past the seal, past it, or to the end."""

LARGEST_VECTOR = 300  # characters: each is run through each time
CORPUS = Path(__file__).with_name("corpus")
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_DEPTH_OF_ALL_PARSERS = 300  # beyond it, where a parser's stack ends depends on what called it

logging.getLogger("clientsession").addHandler(logging.NullHandler())  # what is refused is logged, and nobody reads it here


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed."""

    check: Callable[[bytes], str]
    layer: Layer
    seeds: Callable[[], list[bytes]]
    max_bytes: int = 2048

    def kept(self, name: str) -> list[bytes]:
        """The seeds, and what earlier runs found."""
        return self.seeds() + [path.read_bytes() for path in sorted(CORPUS.joinpath(name).glob("*"))]


def clock() -> float:
    return float(NOW)


@cache
def ring() -> Keyring:
    """The library's ring of the keys of ``forms.RING``."""
    keys = [Key.from_secret(secret, suite=Suite(suite)) for suite, secret in RING.keys]
    return Keyring(keys[0], accepting=[keys[1]], retiring=[keys[2]])


def ms(date: datetime) -> int:
    """The milliseconds of a date."""
    return (date - EPOCH) // timedelta(milliseconds=1)


def assert_session(session: Session, wanted: Opened) -> None:
    """A session is what the token holds by the other reading, to the type and the millisecond."""
    assert slow.flat(dict(session)) == slow.flat(wanted.content)
    assert ms(session.created_at) == min(wanted.created, ms(datetime.max.replace(tzinfo=UTC)))
    assert ms(session.expires_at) == min(wanted.expires, ms(datetime.max.replace(tzinfo=UTC)))
    assert session._id == wanted.id
    assert session.ephemeral == wanted.ephemeral
    assert session.key_id == wanted.header[1:].hex()
    assert not session.is_new
    assert session.refusal is None
    assert wanted.created <= NOW_MS + 60_000
    assert wanted.expires > NOW_MS


def is_deep(body: bytes) -> bool:
    """Whether a body may be nested so deeply that parsers differ."""
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH_OF_ALL_PARSERS


def outcome(call: Callable[[], Any], *kinds: type[Exception]) -> Any:
    """What a call gives, or the error of one of these kinds that it raises."""
    try:
        return call()
    except kinds as error:
        return error


# Codec.decode


@cache
def codecs() -> tuple[tuple[Codec, int | None], ...]:
    """Codecs that must agree, each with its longest lifetime."""
    return (
        (Codec(ring(), "fuzz", clock=clock), None),
        (Codec(ring(), "fuzz", clock=clock, max_duration=30 * DAY, compress=True), 30 * DAY_MS),
        (Codec(ring(), "fuzz", clock=clock, pad_to=64), None),
    )


def text_of(data: bytes) -> str:
    """Any text, lone surrogates among it."""
    return data.decode("utf-8", "surrogateescape")


def check_decode(data: bytes) -> str:
    """Codec.decode opens what docs/SPEC.md opens, and refuses the rest for its reason; what opened can be sealed again."""
    token = text_of(data)
    depth = REFUSED
    for codec, max_ms in codecs():
        wanted = slow.opened(token, CODEC, RING, NOW_MS, max_chars=4096, max_ms=max_ms)
        session = outcome(lambda codec=codec: codec.decode(token), TokenError)
        if isinstance(session, TokenError):
            if isinstance(wanted, Opened) and slow.depth_of(wanted.content) > MAX_DEPTH_OF_ALL_PARSERS:
                return AUTHENTIC
            assert isinstance(wanted, Refused), f"{session!r} for what opens"
            assert (session.reason, session.question) == (wanted.reason, wanted.question)
            assert session.args == (type(session).explanation,)
            assert session.__cause__ is None
            assert session.__context__ is None
            depth = AUTHENTIC if wanted.question > 4 else depth
            continue
        if isinstance(wanted, Refused) and slow.depth_of(dict(session)) > MAX_DEPTH_OF_ALL_PARSERS:
            return AUTHENTIC
        assert isinstance(wanted, Opened), f"{wanted} was opened"
        assert reference.text(reference.frame_of(token)) == token  # no other text is this frame
        assert_session(session, wanted)
        assert_sealed_again(codec, session, wanted, max_ms)
        depth = OPENED
    return depth


def assert_sealed_again(codec: Codec, session: Session, wanted: Opened, max_ms: int | None) -> None:
    """A session that opened is written again as it is, and changed where it can be."""

    def sealed(data: Session) -> Opened:
        again = slow.opened(codec.encode(data), CODEC, RING, NOW_MS, max_chars=4096, max_ms=max_ms)
        assert isinstance(again, Opened)
        assert (again.created, again.expires, again.id, again.ephemeral) == (
            wanted.created,
            wanted.expires,
            wanted.id,
            wanted.ephemeral,
        )
        assert again.header == slow.key_header(*RING.keys[0])
        return again

    if slow.depth_of(wanted.content) > MAX_DEPTH_OF_ALL_PARSERS:
        return
    assert slow.flat(sealed(session).content) == slow.flat(wanted.content)
    session["fuzz"] = [0.5, "\u2028"]
    content = dict(session)
    again = outcome(lambda: sealed(session), SerializationError, SessionTooLargeError)
    if isinstance(again, SessionTooLargeError):
        assert again.size > again.limit == 4096
        assert str(again).replace("\n", "").isprintable()
    elif isinstance(again, SerializationError):
        assert not slow.is_plain(content)
        assert again.__cause__ is None
        assert str(again).isprintable()  # it names keys, escaped
    else:
        assert slow.is_plain(content)
        assert slow.flat(again.content) == slow.flat(content)


def token_seeds(scope: slow.Scope) -> list[bytes]:
    """Tokens of all shapes."""
    text = '{"user":7,"cart":[{"n":1.5,"é":null}],"ok":true}'.encode()
    make = forms.token
    return [
        make(scope, b'{"user":7}'),
        make(scope, b""),
        make(scope, text, key=forms.ACCEPTING, id=bytes(range(16))),
        make(scope, text + b"   ", key=forms.RETIRING),
        make(scope, deflated(text * 1, -15), flags=2),
        make(scope, deflated(b'{"a":"' + b"x" * 900 + b'"}', -15), flags=7, id=bytes(range(16))),
        make(scope, deflated(b'{"a":"' + b"x" * 65_529 + b'"}', -15), flags=2),
        make(scope, b"{}", created=NOW_MS + 60_000, expires=NOW_MS + 60_000),
        make(scope, b"{}", created=NOW_MS - 30 * DAY_MS + 1),
        make(scope, b"{}", created=NOW_MS - 2 * DAY_MS, expires=NOW_MS + 1),
        make(scope, b"{}", created=0, expires=2**48 - 1),
        make(scope, b'{"big":9223372036854775808,"e":1e999}'),
        make(scope, b'{"\\ud800":[[[[]]]],"a":1,"a":2}', flags=4),
        make(scope, b"[1]"),
        make(scope, b"{}", flags=8),
        make(scope, b"{}", expires=NOW_MS),
        make(scope, b"{}", created=NOW_MS + 60_001),
        make(scope, b"{}", created=NOW_MS + 5, expires=NOW_MS + 4),
    ]


def decode_seeds() -> list[bytes]:
    tokens = token_seeds(CODEC)
    stranger = reference.seal(b"a secret of nobody's that is here", 1, *CODEC, bytes(13), bytes(24)).encode()
    bent = [tokens[0] + b"=", tokens[0][:-1], tokens[0] + b"\n", tokens[0].swapcase(), b"A" * 60, b"\xff" * 60, stranger]
    return [*tokens, *bent, forms.token(SESSION, b"{}"), forms.token(("token", "fuzz", "other"), b"{}")]


# Cookies


@cache
def jars() -> tuple[Jar, Jar]:
    """Two jars that share their keys and nothing else."""
    return (
        Jar("session", ring(), clock=clock, active_duration=5 * MINUTE),
        Jar("basket", ring(), cookie_name="cart", audience="shop.example", clock=clock, compress=True, serializer=Msgspec()),
    )


COOKIE = re.compile(
    r"(?P<name>session|cart)=(?P<token>[A-Za-z0-9_-]*)(; Max-Age=(?P<age>[0-9]+))?; Path=/; Secure; HttpOnly; SameSite=Lax"
)


def check_cookies(data: bytes) -> str:
    """The Cookie header is read by the rules, and a request with it is answered by the rules, whatever it holds."""
    header = data.decode("latin-1")
    for name in ("session", "cart", "s", "__Host-a"):
        assert find_values(header, name) == slow.cookie_values(header, name)
        assert find_cookies(header, {name}).get(name, []) == slow.cookie_values(header, name)
    depth = REFUSED
    wanted: dict[str, Opened | Refused | None] = {}
    for jar, scope, max_ms, active_ms in zip(jars(), (SESSION, CART), (30 * DAY_MS, None), (300_000, None), strict=True):
        values = slow.cookie_values(header, jar.cookie_name)
        room = 4096 - len(jar.cookie_name)
        answer = slow.of_several(values, scope, RING, NOW_MS, max_chars=room, max_ms=max_ms, active_ms=active_ms)
        plain = slow.of_several(values, scope, RING, NOW_MS, max_chars=room, max_ms=max_ms)
        if isinstance(answer, Opened) and jar.name == "basket" and not is_read_by_msgspec(answer.content):
            return AUTHENTIC  # msgspec refuses a number that no float holds, and half of a surrogate pair
        wanted[jar.name] = answer
        depth = max(depth, depth_of_answer(answer), key=[REFUSED, AUTHENTIC, OPENED].index)
        was_extended = isinstance(answer, Opened) and isinstance(plain, Opened) and answer.expires != plain.expires
        assert_read([jar], header, None, jar.name, answer, was_extended=was_extended)
    untouched = Sessions(jars(), header)
    assert untouched.commit() == []
    assert not untouched.accessed
    for jar in jars():
        assert_written(jar, header, None, wanted[jar.name])
    return depth


def is_read_by_msgspec(content: Any) -> bool:
    """Whether msgspec reads it: no infinite number, no half of a surrogate pair, no depth beyond all parsers'."""
    items = slow.flat(content)
    if slow.depth_of(content) > MAX_DEPTH_OF_ALL_PARSERS:
        return False
    texts = [text for kind, value in items if kind in ("str", "dict") for text in ([value] if kind == "str" else value)]
    return not any(re.search(r"[\ud800-\udfff]|\\ud[89a-f]", str(text)) for text in texts) and ("float", "inf") not in [
        (kind, str(value).lstrip("-")) for kind, value in items
    ]


def depth_of_answer(answer: Opened | Refused | None) -> str:
    """How far a request's input got."""
    if isinstance(answer, Opened):
        return OPENED
    return AUTHENTIC if answer is not None and (answer.question > 4 or answer.reason == "ambiguous") else REFUSED


def assert_read(
    jars: list[Any],
    header: str | None,
    headers: dict[str, str] | None,
    name: str,
    wanted: Opened | Refused | None,
    *,
    was_extended: bool = False,
) -> None:
    """One session of a request is what the rules say, and the answer to a mere read as well."""
    if isinstance(wanted, Opened) and slow.depth_of(wanted.content) > MAX_DEPTH_OF_ALL_PARSERS:
        return
    sessions = Sessions(jars, header, headers=headers)
    session = sessions[name]
    answers = sessions.commit_headers()
    assert sessions.commit_headers() == answers
    if not isinstance(wanted, Opened):
        assert session == {}
        assert session.is_new
        assert session.refusal == (None if wanted is None else wanted.reason)
        assert answers == []
        return
    assert_session(session, wanted)
    if not wanted.content and wanted.id is None:
        assert len(answers) == 1
        assert is_deletion(answers[0])
    elif was_extended or RING.is_retiring(wanted.header):
        again = sent(jars, answers)
        assert slow.flat(again.content) == slow.flat(wanted.content)
        assert (again.created, again.expires, again.id, again.ephemeral) == (
            wanted.created,
            wanted.expires,
            wanted.id,
            wanted.ephemeral,
        )
    else:
        assert answers == []


def is_deletion(answer: tuple[str, str]) -> bool:
    """Whether an answer tells the client to drop what it has."""
    cookie = COOKIE.fullmatch(answer[1])
    return answer[1] == "" if cookie is None else (cookie["token"], cookie["age"]) == ("", "0")


def sent(jars: list[Any], answers: list[tuple[str, str]]) -> Opened:
    """The session that an answer hands over, by the other reading."""
    ((name, value),) = answers
    jar = jars[0]
    codec = jar.codec
    token = value.removeprefix("Bearer ")
    if name == "Set-Cookie":
        cookie = COOKIE.fullmatch(value)
        assert cookie is not None, "a Set-Cookie of another form"
        assert cookie["name"] == jar.cookie_name
        assert len(cookie["name"]) + len(cookie["token"]) <= 4096
        token = cookie["token"]
    max_ms = None if jar.max_duration is None else jar.max_duration // timedelta(milliseconds=1)
    again = slow.opened(token, (codec.kind, codec.name, codec.audience), RING, NOW_MS, max_chars=4096, max_ms=max_ms)
    assert isinstance(again, Opened)
    assert again.header == slow.key_header(*RING.keys[0])
    if name == "Set-Cookie":
        assert cookie["age"] == (None if again.ephemeral else str(math.ceil((again.expires - NOW_MS) / 1000)))
    return again


def assert_written(jar: Any, header: str | None, headers: dict[str, str] | None, wanted: Opened | Refused | None) -> None:
    """A session of a request, whatever came, is written to, sent, and comes back."""
    if isinstance(wanted, Opened) and slow.depth_of(wanted.content) > MAX_DEPTH_OF_ALL_PARSERS:
        return
    sessions = Sessions([jar], header, headers=headers)
    session = sessions[jar.name]
    session["fuzz"] = {"a": [1, 2.0, None]}
    content = dict(session)
    try:
        answers = sessions.commit_headers()
    except SerializationError:
        assert not slow.is_plain(content)
        assert isinstance(wanted, Opened)
        return
    except SessionTooLargeError:
        assert isinstance(wanted, Opened)
        return
    again = sent([jar], answers)
    assert slow.flat(again.content) == slow.flat(content)
    if isinstance(wanted, Opened):
        assert (again.created, again.expires, again.id, again.ephemeral) == (
            wanted.created,
            wanted.expires,
            wanted.id,
            wanted.ephemeral,
        )
    else:
        assert (again.created, again.expires, again.id) == (NOW_MS, NOW_MS + DAY_MS, None)


def cookie_seeds() -> list[bytes]:
    tokens = token_seeds(SESSION)
    cart = token_seeds(CART)
    vectors = [case["token"].encode() for case in (*forms.VECTORS["opens"], *forms.VECTORS["refused"]) if case["token"].isascii()]
    near = forms.token(SESSION, b'{"a":1}', expires=NOW_MS + 299_999)
    five = b"; ".join(b"session=" + token for token in tokens[:5])
    return [
        *(b"session=" + token for token in tokens),
        *(b"session=" + token for token in vectors if len(token) <= LARGEST_VECTOR and TOKEN.is_whole(token)),
        b"session=" + tokens[0] + b"; cart=" + cart[0],
        b"a=b;cart=" + cart[5] + b" ; session = " + tokens[2] + b"\t",
        b"session=" + tokens[0] + b"; session=" + tokens[0],
        b"session=" + tokens[0] + b"; session=" + tokens[15],
        b"session=" + tokens[0] + b"; session=" + tokens[2],
        b"session=" + near,
        five,
        b"; ".join(b"session=" + token for token in (tokens[0], *tokens[-5:-1])),
        b"; ".join(b"session=" + token for token in (tokens[0], *tokens[-3:])),
        b"session=" + cart[0],
        b'session="' + tokens[0] + b'"',
        b"session; =session; sessions=1; xsession=2; session=a=b=; ;;session",
        b"session=1;" * 12,
        b"",
        b"\xe9=\xff; session=\xe9",
    ]


# Header jars


@cache
def header_jars() -> tuple[HeaderJar, HeaderJar]:
    return (
        HeaderJar("api", ring(), clock=clock, pad_to=32),
        HeaderJar("login", ring(), clock=clock, header="Authorization", answer_header="X-Login"),
    )


def check_header(data: bytes) -> str:
    """What came in a header of one's own, or behind Bearer, is read by the rules and answered by them."""
    value = data.decode("latin-1")
    depth = REFUSED
    for jar, scope, tokens in zip(
        header_jars(), (HEADER, BEARER), (slow.header_tokens(value), slow.bearer_tokens(value)), strict=True
    ):
        headers = {jar.header.lower(): value}
        wanted = slow.of_several(tokens, scope, RING, NOW_MS, max_chars=4096, max_ms=None)
        assert jar._tokens(value) == tokens
        assert_read([jar], None, headers, jar.name, wanted)
        assert_written(jar, None, headers, wanted)
        depth = max(depth, depth_of_answer(wanted), key=[REFUSED, AUTHENTIC, OPENED].index)
    return depth


class _Credentials(Layer):
    """``Bearer`` and a token, or a token alone."""

    inner = (OneOf(b"Bearer ", b"", b"bearer\t ", b"Basic ", b'Digest a="b, '), TOKEN)

    def open(self, data: bytes) -> list[bytes] | None:
        scheme, space, token = data.rpartition(b" ")
        return [scheme + space, token]

    def seal(self, parts: Any) -> bytes:
        return b"".join(parts)


def header_seeds() -> list[bytes]:
    api, login = token_seeds(HEADER), token_seeds(BEARER)
    return [
        *api,
        *(b"Bearer " + token for token in login),
        b"bEARER\t " + login[0] + b", Bearer " + login[0],
        b'Digest user="a, Bearer x\\"", Bearer ' + login[2],
        b"Basic QTpi, Bearer " + login[3] + b" ,Bearer " + login[4],
        api[0] + b" , " + api[2] + b",,",
        b"Bearer",
        b"",
    ]


# Keys


def check_key(data: bytes) -> str:
    """Key.parse takes the one text of a key, and tells of another one without any of it."""
    text = text_of(data)
    wanted = slow.key_of(text)
    key = outcome(lambda: Key.parse(text), ConfigurationError)
    if isinstance(key, ConfigurationError):
        assert wanted is None, "a key was refused"
        assert_tells_nothing(str(key), text)
        parts = KEY_TEXT.open(data)
        return AUTHENTIC if parts and KEY_TEXT.seal(parts) == data else REFUSED
    assert wanted is not None, "this is no key"
    suite, secret = wanted
    assert key.export() == text == reference.export(secret, suite)
    assert (key.id, key.suite) == (reference.key_id(secret, suite).hex(), suite)
    assert text[5:] not in f"{key!r}{key}"
    return OPENED


@cache
def words_of_the_library() -> str:
    """What a message may say although an input says it too."""
    folder = Path(migrate.__file__).parent.parent
    return "".join(path.read_text() for path in sorted(folder.glob("_key*.py")))


def assert_tells_nothing(message: str, text: str, length: int = 10) -> None:
    """No piece of a word of an input stands in a message, unless it is of a word of the library's own."""
    assert message.isprintable()
    for word in message.split():
        for start in range(len(word) - length + 1):
            piece = word[start : start + length]
            assert piece not in text or piece in words_of_the_library(), "a message quotes its input"


def key_seeds() -> list[bytes]:
    make = KEY_TEXT.seal
    secrets = (bytes(range(32)), forms.SEALING[1], bytes(range(64)), bytes(32), bytes(range(31)), b"csk1_" + bytes(range(40)))
    texts = [make([suite, secret]) for secret in secrets for suite in (b"\x01", b"\x02")]
    return [
        *texts,
        make([b"\x03", bytes(range(32))]),
        texts[0] + b"\n",
        texts[0][:-1],
        texts[0][5:],
        b"csk1_",
        b"csk1_AAAA",
        texts[0].upper(),
        b'"' + texts[0] + b'"',
    ]


# Key files


def check_keyfile(data: bytes) -> str:
    """A key file is read by the rules, or refused by a sentence that quotes none of it; what is read can be edited and written."""
    wanted = slow.key_file_of(data)
    file = KeyFile._parse(data)
    if isinstance(file, str):
        assert wanted is None, f"a key file was refused: {file}"
        assert_tells_nothing(file, data.decode("utf-8", "replace"))
        return AUTHENTIC if re.search(rb"csk1_[A-Za-z0-9_-]{40}", data) else REFUSED
    assert wanted is not None, "this is no key file"
    read = [(line.role, *slow_key(line.key), tuple(sorted(dates_of(line).items()))) for line in file.keys]
    assert read == [(line.role, line.suite, line.secret, line.dates) for line in wanted]
    text = data.decode()
    assert file.text() == (text if text.endswith("\n") else f"{text}\n")
    assert not any(line.key.export()[5:] in f"{file!r} {file.lines!r}" for line in file.keys)
    assert_edited(file, wanted)
    return OPENED


def slow_key(key: Key) -> tuple[int, bytes]:
    """Suite and secret of a key, by its text."""
    found = slow.key_of(key.export())
    assert found is not None
    return found


def dates_of(line: KeyLine) -> dict[str, datetime]:
    return {name: date for name in ("added", "since", "droppable") if (date := getattr(line, name)) is not None}


def assert_edited(file: KeyFile, wanted: list[slow.Line]) -> None:
    """What the commands do to a file gives a file."""
    now = EPOCH + timedelta(seconds=NOW)
    first = file.of_role(Role.SEALING)[0]
    fresh = Key.from_secret(fresh_secret(file))
    changed = file.replacing(first.in_role(Role.RETIRING, since=now, droppable=now + DAY))
    changed = changed.adding(KeyLine(Role.SEALING, fresh, added=now, since=now))
    read = slow.key_file_of(changed.text().encode())
    if len(wanted) < 100:
        assert read is not None
        assert [line.role for line in read].count("sealing") == 1
        assert len(read) == len(wanted) + 1
        again = KeyFile._parse(changed.text().encode())
        assert isinstance(again, KeyFile)
        assert again.without(fresh.id).replacing(first).text() == file.text()


def fresh_secret(file: KeyFile) -> bytes:
    """A secret that is not in the file."""
    return next(secret for n in range(200) if not file.find(Key.from_secret(secret := bytes(range(n, n + 40))).id))


def keyfile_seeds() -> list[bytes]:
    keys = [reference.export(bytes(range(n, n + 32)), 1 + n % 2).encode() for n in range(3)]
    dates = b" added=2026-11-20T10:00:00Z since=2026-11-21T13:00:00.5+02:00"
    whole = (
        b"# a comment\nsealing   %b%b\n\nretiring %b since=2026-11-21 droppable=2027-03-21T14:00Z # gone\naccepting\t%b\nend\n"
        % (
            keys[0],
            dates,
            keys[1],
            keys[2],
        )
    )
    least = b"sealing " + keys[0] + b"\nend"
    return [
        whole,
        least,
        whole.replace(b"\n", b"\r\n"),
        whole.replace(b"end", b""),
        whole.replace(keys[2], keys[1]),
        whole.replace(b"accepting", b"sealing"),
        least + b" # whole\n# after\n",
        least + b"\nretiring " + keys[1],
        b"\xef\xbb\xbf" + least,
        least.replace(b"sealing", b"retiring"),
        least.replace(b"\nend", b" added=9999-12-31T23:59:59-23:59\nend"),
        least.replace(b"\nend", b" since=2026-02-30\nend"),
        b"",
        b"end whole\n# after end\n",
        b"end\nend\n",
    ]


class _KeyWord(Either):
    """A word of a line: a key, or something else."""

    def __init__(self) -> None:
        super().__init__(
            KEY_TEXT,
            OneOf(
                b"sealing",
                b"accepting",
                b"retiring",
                b"end",
                b"added=2026-11-20",
                b"since=2026-11-21T13:00:00Z",
                b"droppable=2027-03-21T14:00:00.25+14:00",
                b"#",
            ),
        )


# Other systems' cookies


@cache
def readers() -> dict[str, Reader]:
    """The readers by the names of their targets."""
    secret = SECRET
    end = datetime(2100, 1, 1, tzinfo=UTC)
    hour = timedelta(hours=1)
    return {
        "node": migrate.node_client_sessions(secret, cookie_name="session"),
        "iron": migrate.iron_session(
            {int(number): text.decode() for number, text in forms.Iron.passwords.items()}, cookie_name="old"
        ),
        "flask": migrate.flask(secret, cookie_name="old"),
        "itsdangerous": migrate.itsdangerous_timed(secret, salt="visits", cookie_name="old", max_age=hour),
        "starlette": migrate.starlette(secret, cookie_name="old"),
        "django": migrate.django_signed_cookies(secret, cookie_name="old"),
        "pyramid": migrate.pyramid_signed(secret, cookie_name="old"),
        "fernet": migrate.fernet(base64.urlsafe_b64encode(forms.Fernet.key), cookie_name="old", max_age=hour),
        "aiohttp": migrate.aiohttp_session(forms.Fernet.key, cookie_name="old", max_age=hour),
        "litestar": migrate.litestar(forms._bytes("litestar"), cookie_name="old"),
        "rails": migrate.rails(secret, cookie_name="session", until=end),
    }


@cache
def moving_jar(name: str) -> Jar:
    """A jar that reads the old cookies of one system."""
    return Jar("session", ring(), cookie_name="new", clock=clock, migrate_from=[readers()[name]])


def check_reader(name: str, data: bytes) -> str:
    """A reader takes what its system wrote, with content and times; nothing else; and a jar goes on with it."""
    form, reader = forms.forms()[name], readers()[name]
    value = data.decode("latin-1")
    wanted = form.read(data)
    old = reader.read(value, NOW_MS)
    if old is None:
        assert wanted is None, f"what {name} wrote was refused"
        return AUTHENTIC if form.open(data) else REFUSED
    assert wanted is not None, f"{name} did not write this"
    assert isinstance(old, OldSession)
    assert slow.flat(old.content) == slow.flat(wanted[0])
    assert (old.created, old.expires) == wanted[1:]
    assert_moves(moving_jar(name), reader, value, old)
    if name == "node":
        assert_written_for_node(old)
    return OPENED


def assert_moves(jar: Jar, reader: Reader, value: str, old: OldSession) -> None:
    """A session of another system opens in the jar, goes out as one of ours, and comes back."""
    header = f"{reader.cookie_name}={value}"
    sessions = Sessions([jar], header)
    session = sessions["session"]
    if old.created is not None and old.created < 0:
        assert session == {}
        return
    assert slow.flat(dict(session)) == slow.flat(old.content)
    assert session.refusal is None
    assert (session.is_new, session.key_id) == (False, None)
    assert ms(session.created_at) == (NOW_MS if old.created is None else old.created)
    values = sessions.commit()
    if not values:
        assert jar.codec._size_of(len(StrictJSON().dumps(old.content)), with_id=False) > 4096
        return
    assert values[0].startswith(f"{reader.cookie_name}=; Max-Age=0")
    if not old.content:
        assert values[1:] == ["new=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"]
        return
    token = values[1].partition(";")[0].removeprefix("new=")
    assert slow.flat(dict(Sessions([jar], f"new={token}")["session"])) == slow.flat(old.content)


def assert_written_for_node(old: OldSession) -> None:
    """What is written for the other half of a site is read there as it is."""
    form, reader = forms.forms()["node"], readers()["node"]
    began = EPOCH + timedelta(seconds=NOW)
    value = outcome(lambda: reader.encode(old.content, created=began), SerializationError, SessionTooLargeError)
    if isinstance(value, Exception):
        assert isinstance(value, SessionTooLargeError) or "beyond 53 bits" in str(value)
        return
    meaning = form.read(value.encode())
    assert meaning is not None
    assert slow.flat(meaning[0]) == slow.flat(old.content)


def reader_seeds(name: str) -> list[bytes]:
    form = forms.forms()[name]
    values = [form.made(body) for body in form.seeds]
    bodies = (
        b"[1]",
        b"NaN",
        b'{"a":9223372036854775808}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\uD800"}',
        b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
    )
    values += [form.made(body) for body in bodies]
    if isinstance(form, (forms.Flask, forms.Itsdangerous, forms.Django)):
        payload, stamp = form.open(values[0]) or []
        values += [form.seal([b"." + b64url(deflated(b'{"a":"%b"}' % (b"x" * n), 15)), stamp]) for n in (40, 65_528, 65_529)]
        values += [form.seal([payload, b""]), form.seal([payload + b"=", stamp])]
    return [*values, values[0][:-1], values[0] + b"=", b'"' + values[0] + b'"', b".", b"..", b""]


# Serializers


def check_serializers(data: bytes) -> str:
    """Both serializers read the same bytes to the same value, or both refuse; what one writes, the other reads."""
    strict, fast = StrictJSON(), Msgspec()
    deep = is_deep(data)
    values: list[Any] = []
    for serializer in (strict, fast):
        value = outcome(lambda serializer=serializer: serializer.loads(data), ValueError, RecursionError)
        assert deep or not isinstance(value, RecursionError)
        values.append(None if isinstance(value, Exception) else value)
    if deep:
        return REFUSED
    if values[1] is None:
        assert values[0] is None or not is_read_by_msgspec(values[0])
    else:
        assert values[0] is not None, "msgspec reads what the default refuses"
        assert slow.flat(values[0]) == slow.flat(values[1])
    wanted = slow.body_of(data) if data else None
    assert (wanted is None) == (values[0] is None)
    if values[0] is None:
        return REFUSED
    assert slow.flat(wanted) == slow.flat(values[0])
    written: list[bytes] = []
    for serializer in (strict, fast):
        assert serializer.takes(values[0]) == slow.is_plain(values[0])
        try:
            written.append(serializer.dumps(values[0]))
        except SerializationError:
            assert not slow.is_plain(values[0])
    for body in written:
        assert all(slow.flat(serializer.loads(body)) == slow.flat(values[0]) for serializer in (strict, fast))
    return OPENED if written else AUTHENTIC


def serializer_seeds() -> list[bytes]:
    texts = (
        *(
            '{"a":[1,2.5,-0.0,1e22,true,false,null,"é\\u00e9\\n\\ud83d\\ude00"],"b":{"c":{}}}',
            "{}",
            "{} ",
            '{"a":1}\n',
            ' {"a":1}',
            "[1]",
        ),
        *(
            '{"a":9223372036854775807,"b":-9223372036854775808,"c":9223372036854775808}',
            '{"a":1e999}',
            '{"a":-1e999}',
            '{"a":"\\ud800"}',
        ),
        *(
            '{"a":NaN}',
            '{"a":01}',
            '{"a":1.}',
            '{"a":.5}',
            '{"a":1,}',
            '{"a" : 1 , "a" : 2}',
            '{"a":"\t"}',
            '{"a":"\\x"}',
            '{"a":1}}',
            '{"a":"\x7f\u2028"}',
        ),
        *(
            '{"a":' + "[" * 63 + "]" * 63 + "}",
            '{"a":' + "[" * 64 + "]" * 64 + "}",
            '{"a":0.1234567890123456789}',
            '{"a":5e-324,"b":1e-400}',
        ),
        *(
            '{"a":1.7976931348623159e308}',
            '{"a":18446744073709551616}',
            '{"a":-0}',
            '{"":{"":""}}',
            '{"a":tru}',
            '{"a"}',
            '{"a":1',
            '{"\\u0000":1}',
        ),
    )
    return [*(text.encode() for text in texts), b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}", b""]


# clientsession inspect


@cache
def _options(*more: str) -> Any:
    parser = argparse.ArgumentParser()
    inspecting.add_parser(parser.add_subparsers())
    return parser.parse_args(["inspect", "--name", "fuzz", *more])


def check_inspect(data: bytes) -> str:
    """The command says of any text what it is, with no character that a terminal acts upon and no key."""
    text = text_of(data)
    texts = [forms.reference.export(secret, suite) for suite, secret in RING.keys]
    environment = dict(zip(("CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS"), texts, strict=True))
    depth = REFUSED
    for more in ((), ("--json",)):
        options = _options(*more)
        options.words = [text]
        with (
            mock.patch.dict(os.environ, environment),
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as errors,
        ):
            code = inspecting.run(options, clock=clock)
        said = out.getvalue() + errors.getvalue()
        assert all(char.isprintable() or char == "\n" for char in said)
        assert not any(each[5:] in said for each in texts)
        assert (code in (0, 1)) == bool(out.getvalue()) or code == 2
        if more != ("--json",) or not out.getvalue():
            continue
        report = json.loads(out.getvalue())
        assert (code == 1) == (bool(report["ambiguous"]) or any(token["opens"] is False for token in report["tokens"]))
        if any(token["created"] for token in report["tokens"]):
            depth = AUTHENTIC
        if re.fullmatch(r"[A-Za-z0-9_-]{60,4096}", text):
            depth = max(depth, assert_inspected(text, report["tokens"]), key=[REFUSED, AUTHENTIC, OPENED].index)
    return depth


def assert_inspected(text: str, tokens: list[dict[str, Any]]) -> str:
    """A bare token is what it is for the kind it was sealed for."""
    (token,) = tokens
    answers = [
        slow.opened(text, (kind, "fuzz", ""), RING, NOW_MS, max_chars=4092 if kind == "cookie" else 4096, max_ms=None)
        for kind in ("cookie", "token", "header")
    ]
    found = next((answer for answer in answers if isinstance(answer, Opened)), None)
    if found is None:
        furthest = max(answer.question for answer in answers if isinstance(answer, Refused))
        assert token["opens"] is False
        assert token["question"] == furthest
        return AUTHENTIC if furthest > 4 else REFUSED
    if slow.depth_of(found.content) > MAX_DEPTH_OF_ALL_PARSERS:
        return AUTHENTIC
    assert token["opens"] is True
    assert token["id"] == (None if found.id is None else found.id.hex())
    assert token["ephemeral"] == found.ephemeral
    assert slow.flat(token["body"]) == slow.flat(found.content)
    return OPENED


def inspect_seeds() -> list[bytes]:
    tokens = token_seeds(CODEC)
    cookie = forms.token(("cookie", "fuzz", ""), b'{"a":"\\u001b[31m\\u202e"}')
    return [
        *tokens[:6],
        *tokens[11:],
        forms.token(CODEC, '{"\u202e":"\u009b\u2066"}'.encode()),
        b"Cookie: fuzz=" + cookie + b"; a=b",
        b"Set-Cookie: fuzz=" + cookie + b"; Max-Age=86400; Path=/; Secure",
        b"fuzz=" + cookie + b"; fuzz=" + cookie,
        b"< set-cookie: fuzz=" + cookie + b"\r\n< date: today\r\n",
        b"curl 'https://a' \\\n -H $'cookie: fuzz=" + cookie + b"' \\\n --compressed",
        b'"' + tokens[0] + b'"',
        tokens[0] + b"=\n",
        b" " + tokens[0][:60] + b"\n" + tokens[0][60:],
        KEY_TEXT.seal([b"\x01", bytes(range(32))]),
        b"\x1b]0;x\x07" + tokens[0],
        b"fuzz=; Max-Age=0",
        b"hello",
    ]


# All of them


def _reader_target(name: str) -> Target:
    return Target(lambda data: check_reader(name, data), forms.forms()[name], lambda: reader_seeds(name))


TARGETS: dict[str, Target] = {
    "decode": Target(check_decode, TOKEN, decode_seeds, 4200),
    "cookies": Target(check_cookies, COOKIES, cookie_seeds, 9000),
    "header": Target(check_header, Several(b",", _Credentials(), (b"Bearer x", b" ", b'Digest a="b')), header_seeds, 4200),
    "key": Target(check_key, KEY_TEXT, key_seeds),
    "keyfile": Target(check_keyfile, Several(b"\n", Several(b" ", _KeyWord()), (b"end", b"# x", b"")), keyfile_seeds),
    **{name: _reader_target(name) for name in forms.forms()},
    "serializers": Target(check_serializers, JSON, serializer_seeds),
    "inspect": Target(check_inspect, Either(TOKEN, Several(b"=", TOKEN)), inspect_seeds),
}
