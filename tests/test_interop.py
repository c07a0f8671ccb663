"""The library beside a second implementation of docs/SPEC.md, in another language and written from that page alone.

It is tests/interop/clientsession.mjs. What one seals the other opens, what one refuses the other refuses, and for the same reason.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clientsession import Codec, ConfigurationError, Jar, Key, Keyring, Reason, Sessions, SessionTooLargeError, Suite, TokenError
from clientsession._header import HeaderJar
from clientsession._session import Session
from tests import interop
from tests.conftest import Clock, forged
from tests.node import NodeError, Process, Refused, started

ROOT = Path(__file__).parent.parent
CORPUS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "tokens.json").read_text(encoding="utf-8"))
SPECIFICATION = (ROOT / "docs" / "SPEC.md").read_text(encoding="utf-8")
TOKENS = 2_000  # each way, of each suite
NOW = 1_800_000_000_000
MINUTE, DAY = 60_000, 86_400_000
LAST_MS = 2**48 - 1
CLOCKS_END_MS = 8_000_000_000_000  # of a later clock a float no longer has every microsecond


@pytest.fixture(scope="module")
def peer() -> Iterator[Process]:
    with started(interop.SPECIFICATION) as process:
        yield Process(process)


def test_the_other_implementation_has_nothing_but_what_node_has() -> None:
    program = interop.SPECIFICATION.read_text(encoding="utf-8")
    assert re.findall(r'^import \w+ from "(.+)";$', program, re.MULTILINE) == ["node:crypto", "node:readline", "node:zlib"]
    assert len(re.findall(r"\bimport\b|\brequire\b", program)) == 3


# The page and its corpus


def ask_to_open(peer: Process, case: dict[str, Any]) -> Any:
    values = {"keys": CORPUS["keys"]} | CORPUS["defaults"] | case
    asked = ("keys", "kind", "name", "audience", "token", "now_ms", "max_chars", "max_duration_ms")
    return peer.ask("open", **{name: values[name] for name in asked})


def _id(case: dict[str, Any]) -> str:
    return f"{case['suite']}: {case['what']}"


def alike(content: Any, text: str) -> bool:
    """Whether JSON text holds exactly this: 1 is not 1.0, 0.0 not -0.0, and keys stand in the same order."""
    return json.dumps(content) == json.dumps(json.loads(text))


@pytest.mark.parametrize("case", CORPUS["opens"], ids=_id)
def test_a_token_of_the_corpus_opens_in_the_other_language(peer: Process, case: dict[str, Any]) -> None:
    opened = ask_to_open(peer, case)
    assert alike(case["content"], opened["content"])
    assert {name: opened[name] for name in ("created_ms", "expires_ms", "id", "ephemeral")} == {
        name: case[name] for name in ("created_ms", "expires_ms", "id", "ephemeral")
    }
    assert Key.parse(CORPUS["keys"][case["suite"] - 1]).id == opened["key_id"]


@pytest.mark.parametrize("case", CORPUS["refused"], ids=_id)
def test_a_token_of_the_corpus_is_refused_in_the_other_language_for_its_reason(peer: Process, case: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        ask_to_open(peer, case)
    assert caught.value.reason == case["reason"]


def steps_of_the_page() -> list[dict[str, str]]:
    """The block of section 8 as it is printed: a name and a value a line, a line further in goes on with the value."""
    block = SPECIFICATION.partition("## 8. Vectors")[2].partition("```\n")[2].partition("```")[0]
    joined = re.sub(r"\n +", "", block)
    return [dict(line.split(maxsplit=1) for line in steps.splitlines()) for steps in joined.strip().split("\n\n")]


@pytest.mark.parametrize("steps", steps_of_the_page(), ids=lambda steps: steps["name"])
def test_every_step_that_the_page_prints_is_what_the_other_language_makes(peer: Process, steps: dict[str, str]) -> None:
    made = peer.ask(
        "derive", key=steps["key_text"], kind="cookie", name="session", nonce=steps["nonce"], plaintext=steps["plaintext"]
    )
    assert made | {"suite": str(made["suite"])} == {name: steps[name] for name in made}
    assert set(steps) - set(made) == {"name", "secret", "nonce", "plaintext"}
    assert peer.ask("key", suite=int(steps["suite"]), secret=steps["secret"])["text"] == steps["key_text"]


# Keys


def test_a_key_is_written_and_named_alike_in_both_languages(peer: Process, suite: Suite) -> None:
    rng = random.Random(2)
    for size in [32, 33, 34, 64, 1023, 1024, *(rng.randint(32, 1024) for _ in range(50))]:
        secret = rng.randbytes(size)
        ours = Key.from_secret(secret, suite=suite)
        theirs = peer.ask("key", suite=suite.value, secret=secret.hex())
        assert theirs == {"suite": suite.value, "id": ours.id, "text": ours.export()}
        assert peer.ask("parse", key=ours.export()) == theirs
        assert Key.parse(theirs["text"]).id == ours.id


def key_text(suite: int, secret: bytes) -> str:
    checked = bytes((suite,)) + secret
    return "csk1_" + urlsafe(checked + hashlib.sha256(b"csk1_" + checked).digest()[:4])


def urlsafe(frame: bytes) -> str:
    return base64.urlsafe_b64encode(frame).decode().rstrip("=")


SECRET = bytes(range(40, 72))
GOOD_KEY = key_text(1, SECRET)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("csk1_", id="nothing after the prefix"),
        pytest.param("csk1_AQ", id="no checksum"),
        pytest.param(GOOD_KEY[5:], id="no prefix"),
        pytest.param("CSK1_" + GOOD_KEY[5:], id="the prefix in capitals"),
        pytest.param("csk2_" + GOOD_KEY[5:], id="another prefix"),
        pytest.param(" " + GOOD_KEY, id="a space before it"),
        pytest.param(GOOD_KEY + "\n", id="a line feed after it"),
        pytest.param(GOOD_KEY + "=", id="padding"),
        pytest.param(GOOD_KEY + "A", id="a character more"),
        pytest.param(GOOD_KEY[:-1], id="a character less"),
        pytest.param(GOOD_KEY[:-1] + chr(ord(GOOD_KEY[-1]) ^ 1), id="another checksum, or spare bits"),
        pytest.param(GOOD_KEY[:20] + ("A" if GOOD_KEY[20] != "A" else "B") + GOOD_KEY[21:], id="another character"),
        pytest.param(key_text(0, SECRET), id="suite 0"),
        pytest.param(key_text(3, SECRET), id="suite 3"),
        pytest.param(key_text(255, SECRET), id="suite 255"),
        pytest.param(key_text(1, SECRET[:31]), id="31 bytes"),
        pytest.param(key_text(1, SECRET * 33), id="1,056 bytes"),
        pytest.param(key_text(2, SECRET[:9] * 4), id="nine different bytes"),
        pytest.param(key_text(2, b"csk1_" + SECRET), id="a key as text for a secret"),
        pytest.param(key_text(2, SECRET[:11] + b"csk1_" + SECRET), id="one that starts at the 12th byte"),
    ],
)
def test_a_text_that_is_no_key_is_refused_in_both_languages(peer: Process, text: str) -> None:
    assert peer.ask("parse", key=GOOD_KEY)["id"] == Key.parse(GOOD_KEY).id
    with pytest.raises(ConfigurationError):
        Key.parse(text)
    with pytest.raises(NodeError):
        peer.ask("parse", key=text)


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(SECRET[:10] * 4, id="ten different bytes"),
        pytest.param(SECRET[:12] + b"csk1_" + SECRET, id="the prefix of a key at the 13th byte"),
    ],
)
def test_a_secret_that_is_just_good_enough_is_one_in_both_languages(peer: Process, suite: Suite, secret: bytes) -> None:
    assert peer.ask("key", suite=suite.value, secret=secret.hex())["id"] == Key.from_secret(secret, suite=suite).id


def test_a_ring_with_one_key_twice_is_refused_in_both_languages(peer: Process, key: Key) -> None:
    with pytest.raises(ConfigurationError):
        Keyring(key, accepting=[Key.parse(key.export())])
    with pytest.raises(NodeError, match="two keys of one id"):
        peer.ask("ring", keys=[key.export(), key.export()])


# Random sessions


SPECIAL_TEXTS = (
    "",
    "__proto__",
    "constructor",
    "\x00",
    '"\\/\b\f\n\r\t',
    "\u007f\u0080\u2028\ufeff\uffff",
    "é",
    "e\u0301",
    "\U0010ffff",
    "🛒",
)
SPECIAL_NUMBERS = (
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.0,
    1e16,
    1e21,
    1e22,
    1e-7,
    5e-324,
    1.7976931348623157e308,
    0.1,
)


def some_text(rng: random.Random, most: int = 12) -> str:
    if rng.random() < 0.2:
        return rng.choice(SPECIAL_TEXTS)
    planes = ((0x20, 0x7E), (0x20, 0x7E), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF), (0, 0x1F))
    return "".join(chr(rng.randint(*rng.choice(planes))) for _ in range(rng.randint(0, most)))


def some_value(rng: random.Random, depth: int) -> Any:
    shape = rng.randrange(8 if depth else 6)
    if shape == 0:
        return rng.choice((None, True, False))
    if shape == 1:
        return rng.choice((rng.randint(-100, 100), rng.randint(-(2**63), 2**63 - 1)))
    if shape == 2:
        return rng.choice(SPECIAL_NUMBERS)
    if shape == 3:
        number = struct.unpack(">d", rng.randbytes(8))[0]
        return number if abs(number) < float("inf") else rng.random()
    if shape <= 5:
        return some_text(rng)
    if shape == 6:
        return [some_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return some_content(rng, depth - 1)


def some_content(rng: random.Random, depth: int = 4) -> dict[str, Any]:
    return {some_text(rng): some_value(rng, depth) for _ in range(rng.randrange(5))}


def small_content(rng: random.Random) -> dict[str, Any]:
    while True:
        content = some_content(rng)
        if len(json.dumps(content)) < 2000:
            return content


class Purpose:
    """What a token is for, and who it is in each of the two languages."""

    def __init__(self, rng: random.Random, ring: Keyring, clock: Clock, max_duration_ms: int | None = None) -> None:
        self.kind = rng.choice(("cookie", "token", "header"))
        printable = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        if self.kind == "cookie":
            self.name = "x" + "".join(rng.choices(printable, k=rng.choice((0, 7, 255))))
        else:
            self.name = "".join(c for c in some_text(rng) if c >= " " and c != "\x7f") or "name"
        self.audience = "".join(c for c in some_text(rng, 60) if c >= " " and c != "\x7f") if rng.random() < 0.5 else ""
        self.shape: dict[str, Any] = rng.choice(({}, {}, {"compress": True}, {"pad_to": rng.randint(2, 300)}))
        self.max_duration_ms = max_duration_ms
        day = timedelta(days=1)
        options: dict[str, Any] = {"audience": self.audience, "duration": day, "clock": clock} | self.shape
        options["max_duration"] = None if max_duration_ms is None else timedelta(milliseconds=max_duration_ms)
        if self.kind == "cookie":
            self.codec: Codec = Jar("jar", ring, cookie_name=self.name, **options).codec
        elif self.kind == "token":
            self.codec = Codec(ring, self.name, **options)
        else:
            self.codec = HeaderJar(self.name, ring, **options).codec

    @property
    def asked(self) -> dict[str, Any]:
        scope = {"kind": self.kind, "name": self.name, "audience": self.audience}
        return scope | {"max_duration_ms": self.max_duration_ms}

    @property
    def written(self) -> dict[str, Any]:
        """The same shape, in the other language's words."""
        return {"deflate": self.shape.get("compress", False), "fill": self.shape.get("pad_to", 1)}


def milliseconds(clock: Clock) -> int:
    return round(clock.now * 1000)


def test_thousands_of_tokens_that_we_seal_open_in_the_other_language(peer: Process, ring: Keyring, key: Key, clock: Clock) -> None:
    rng = random.Random(f"we seal {key.suite}")
    seen: Counter[str] = Counter()
    for _ in range(TOKENS):
        clock.now = (NOW + rng.randint(-DAY, DAY)) / 1000
        purpose = Purpose(rng, ring, clock)
        content = small_content(rng)
        codec = purpose.codec
        token = codec.encode(content)
        created, expires, session_id, ephemeral = milliseconds(clock), milliseconds(clock) + DAY, None, False
        if rng.random() < 0.6:  # a session that lived: an id, another end, ephemeral, and other content
            clock.pass_(rng.randint(0, 1000) / 1000)
            session = codec.decode(token)
            if rng.random() < 0.6:
                session_id = session.id
            if rng.random() < 0.6:
                length, ephemeral = rng.randint(1000, 400 * DAY), rng.random() < 0.5
                session.set_duration(timedelta(milliseconds=length), ephemeral=ephemeral)
                expires = milliseconds(clock) + length
            if rng.random() < 0.5:
                content = small_content(rng)
                session.clear()
                session.update(content)
            token = codec.encode(session)
        opened = peer.ask("open", keys=[key.export()], token=token, now_ms=milliseconds(clock), **purpose.asked)
        assert alike(content, opened["content"])
        found = {"created_ms": created, "expires_ms": expires, "id": session_id, "ephemeral": ephemeral, "key_id": key.id}
        assert {name: opened[name] for name in found} == found
        seen.update([purpose.kind, *purpose.shape, *(name for name in ("id", "ephemeral", "deflated") if opened[name])])
    assert min(seen[what] for what in ("cookie", "token", "header", "compress", "pad_to", "id", "ephemeral", "deflated")) > 100, (
        seen
    )


def seal_there(peer: Process, rng: random.Random, key: Key, purpose: Purpose, now: int) -> tuple[str, dict[str, Any]]:
    """A random token that the other language sealed, and what is in it."""
    created = rng.choice((0, now, now + rng.randint(0, MINUTE), now - rng.randint(0, 800 * DAY)))
    last = LAST_MS if purpose.max_duration_ms is None else created + purpose.max_duration_ms
    soonest = max(now + 1, created)
    if last < soonest:
        created, last = now, now + (purpose.max_duration_ms or 0)
        soonest = now + 1
    held = {
        "content": small_content(rng),
        "created_ms": created,
        "expires_ms": rng.choice((soonest, last, rng.randint(soonest, last))),
        "id": rng.randbytes(16).hex() if rng.random() < 0.4 else None,
        "ephemeral": rng.random() < 0.4,
    }
    asked = held | purpose.asked | purpose.written | {"content": json.dumps(held["content"], ensure_ascii=rng.random() < 0.5)}
    return peer.ask("seal", key=key.export(), now_ms=now, **asked), held


def held_in(session: Session) -> dict[str, Any]:
    return {
        "content": dict(session),
        "created_ms": session._created,
        "expires_ms": session._expires,
        "id": None if session._id is None else session._id.hex(),
        "ephemeral": session.ephemeral,
    }


def test_thousands_of_tokens_that_the_other_language_seals_open_here(peer: Process, ring: Keyring, key: Key, clock: Clock) -> None:
    rng = random.Random(f"they seal {key.suite}")
    for number in range(TOKENS):
        now = NOW + rng.randint(-DAY, DAY)
        clock.now = now / 1000
        purpose = Purpose(rng, ring, clock, rng.choice((None, None, DAY, 300 * DAY)))
        token, held = seal_there(peer, rng, key, purpose, now)
        session = purpose.codec.decode(token)
        assert json.dumps(held_in(session)) == json.dumps(held)
        assert session.key_id == key.id
        if number % 10 == 0:  # sealed again here, and opened there
            again = purpose.codec.encode(session)
            opened = peer.ask("open", keys=[key.export()], token=again, now_ms=now, **purpose.asked)
            assert alike(held["content"], opened["content"])
            assert {name: opened[name] for name in held if name != "content"} == {n: held[n] for n in held if n != "content"}


def test_both_languages_have_the_same_longest_token(peer: Process, ring: Keyring, key: Key, clock: Clock) -> None:
    for jar in (Jar("session", ring, clock=clock), HeaderJar("session", ring, clock=clock)):
        codec = jar.codec
        longest = {"a": "x" * (codec.decode(codec.encode({"a": ""})).size_left * 3 // 4)}
        while True:  # the last that is not too large
            try:
                codec.encode(longest)
            except SessionTooLargeError:
                break
            longest = {"a": longest["a"] + "x"}
        now = milliseconds(clock)
        asked = {
            "key": key.export(),
            "kind": codec.kind,
            "name": "session",
            "now_ms": now,
            "created_ms": now,
            "expires_ms": now + 1,
        }
        for fill in (1, 64):
            with pytest.raises(NodeError, match="too large"):
                peer.ask("seal", content=json.dumps(longest, separators=(",", ":")), fill=fill, **asked)
            fits = {"a": longest["a"][1:]}
            assert codec.decode(peer.ask("seal", content=json.dumps(fits), fill=fill, **asked)) == fits


# What neither opens


def reason_here(codec: Codec, token: str) -> str:
    try:
        codec.decode(token)
    except TokenError as error:
        return error.reason.value
    return "opened"


def reason_there(peer: Process, **asked: Any) -> str:
    try:
        peer.ask("open", **asked)
    except Refused as refused:
        return refused.reason
    return "opened"


def changed_token(rng: random.Random, token: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = rng.choice((rng.randrange(len(token)), rng.randrange(8), len(token) - 1))
    other = rng.choice(alphabet)
    return rng.choice(
        (
            token[:at] + other + token[at + 1 :],
            token[:at] + rng.choice("=+/ \n\x00.é\U0001f6d2%") + token[at + 1 :],
            token[:at] + token[at + 1 :],
            token[:at] + other + token[at:],
            token[:at],
            token[at:],
            token + rng.choice(("=", "==", "A", "AA", "AAAA", "\n", " ", token)),
            token.swapcase(),
            token.ljust(rng.choice((4088, 4089, 4090, 4096, 4097, 9000)), "A"),
        )
    )


def test_a_token_that_was_changed_is_refused_in_both_languages_for_one_reason(
    peer: Process, ring: Keyring, key: Key, clock: Clock
) -> None:
    rng = random.Random(f"changed {key.suite}")
    seen: Counter[str] = Counter()
    strangers = Keyring(Key.generate(key.suite))
    for _ in range(600):
        clock.now = NOW / 1000
        purpose = Purpose(rng, ring, clock)
        token, held = seal_there(peer, rng, key, purpose, NOW)
        by, asked = purpose.codec, purpose.asked
        what = rng.randrange(6)
        if what == 0:
            by = Purpose(rng, strangers, clock).codec
            asked = {"kind": by.kind, "name": by.name, "audience": by.audience}
        elif what == 1:
            other = Purpose(rng, ring, clock)
            by, asked = other.codec, other.asked
        elif what == 2:
            instants = [held["expires_ms"], held["created_ms"] - MINUTE - 1, NOW]
            clock.now = rng.choice([instant for instant in instants if 0 <= instant < CLOCKS_END_MS]) / 1000
        else:
            token = changed_token(rng, token)
        keys = [key.export()] if by.keyring is ring else [Key.generate(key.suite).export()]
        ours = reason_here(by, token)
        assert ours == reason_there(peer, keys=keys, token=token, now_ms=milliseconds(clock), **asked)
        seen[ours] += 1
    assert set(seen) >= {reason.value for reason in Reason if reason is not Reason.AMBIGUOUS}, seen


BODIES = [
    *(b"", b"{}", b"{} ", b"  ", b" {}", b"{}\n", b"{}\t", b"{}\x00", b"{}{}", b"{", b"}", b"[]", b"null", b"1"),
    *(b'""', b'{"a":1,}', b"{'a':1}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":nan}'),
    *(b'{"a":01}', b'{"a":+1}', b'{"a":1.}', b'{"a":.5}', b'{"a":-}', b'{"a":1e}', b'{"a":1E+2}', b'{"a":0x1}'),
    *(b'{"a":1_0}', b'{"a":tru}', b'{"a":True}', b'{"a" 1}', b'{a:1}', b'{"a":1 "b":2}', b'{,}', b'{"a":"\\x41"}'),
    *(b'{"a":"\\u004"}', b'{"a":"\\u0041"}', b'{"a":"\\ud83d\\uded2"}', b'{"a":"\n"}', b'{"a":"\x1f"}'),
    *(b'{"a":"\x7f"}', b'{"a":"\\', b'{"a":"', b'\xef\xbb\xbf{}', b'{}\xef\xbb\xbf', b'{"\xff":1}'),
    *(b'{"\xc0\xaf":1}', b'{"\xed\xa0\x80":1}', b'{"\xf4\x90\x80\x80":1}', b'{ "a"\r\n:\t[ 1 , 2 ] }'),
    *(b'{"a":[1,]}', b'{"a":[,1]}', b'{"a":1}\xc2\xa0', b'{"a":/**/1}', b'{"\xe2\x80\xa8":1}', b'{"a":1}   '),
    *(b'{"a":\x0b1}', b'{"a":\xc2\xa01}', b'{"a":1\x0c}', b'{"a":"\\/"}', b'{"a":"\\0"}', b'{"a":-0}'),
    *(b'{"a":-0.0}', "{}".encode("utf-16"), "{}".encode("utf-16-le"), "{}".encode("utf-32-be")),
    *(b'{"a":' + "\u0661".encode() + b"}",),
]  # fmt: skip


def deflated(body: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(body) + squeeze.flush()


def some_plaintext(rng: random.Random) -> bytes:
    """Of a holder of the key who keeps to nothing."""
    flags = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, rng.randrange(256)))
    near = (NOW, NOW - 1, NOW + 1, NOW + MINUTE, NOW + MINUTE + 1, NOW - DAY, NOW + DAY, 0, LAST_MS)
    created, expires = rng.choice((NOW - 5, *near)), rng.choice((NOW + 5, NOW + DAY, *near))
    body = rng.choice(BODIES)
    if flags & 2:
        big = b'{"a":"' + b"x" * (65_536 - 8) + b'"}'
        body = deflated(rng.choice((body, body, body, big, big + b" ")))
        changed = (
            body,
            body,
            body,
            body[:-1],
            body + b"\0",
            body + b"{}",
            b"",
            zlib.compress(b"{}"),
            b"\x01\x02\x00\xfd\xff{}",
            b"\0\0\0\xff\xff",
        )
        body = rng.choice(changed)
    head = bytes((flags,)) + created.to_bytes(6, "big") + expires.to_bytes(6, "big")
    plaintext = head + (rng.randbytes(16) if flags & 1 else b"") + body
    return plaintext[: rng.randrange(30)] if rng.random() < 0.1 else plaintext


def test_both_languages_judge_what_only_a_holder_of_the_key_can_seal_alike(
    peer: Process, ring: Keyring, key: Key, clock: Clock
) -> None:
    rng = random.Random(f"holders {key.suite}")
    clock.now = NOW / 1000
    seen: Counter[str] = Counter()
    for _ in range(1_000):
        longest = rng.choice((None, DAY, 2 * DAY))
        codec = Codec(ring, "n", clock=clock, max_duration=None if longest is None else timedelta(milliseconds=longest))
        plaintext = some_plaintext(rng)
        scope = {"kind": "token", "name": "n"}
        token = peer.ask("derive", key=key.export(), nonce=rng.randbytes(24).hex(), plaintext=plaintext.hex(), **scope)["token"]
        ours = reason_here(codec, token)
        asked = {"keys": [key.export()], "token": token, "now_ms": NOW, "max_duration_ms": longest} | scope
        assert ours == reason_there(peer, **asked), plaintext
        seen[ours] += 1
        if ours == "opened":
            assert alike(dict(codec.decode(token)), peer.ask("open", **asked)["content"])
    assert min(seen[what] for what in ("opened", "malformed", "expired", "future")) > 20, seen


# Cookie headers


def some_header(rng: random.Random, own: list[str], others: list[str]) -> str:
    pairs = []
    for _ in range(rng.randrange(9)):
        value = rng.choice((rng.choice(own), rng.choice(own), rng.choice(others), "", "x", f'"{rng.choice(own)}"', "A" * 60))
        name = rng.choice(
            (
                "session",
                "session",
                "session",
                "session",
                "Session",
                "sessio",
                "my_session",
                "session2",
                '"session"',
                "%73ession",
                "",
            )
        )
        space = ("", "", "", " ", "\t", " \t", "\xa0", "\x0b")
        equals = rng.choice(("=", "=", "=", "=", "=", " = ", "\t=", "==", "", ":"))
        pairs.append(rng.choice(space) + name + equals + value + rng.choice(space))
    return rng.choice(("; ", ";", ";;", "; ;", ", ")).join(pairs)


def test_both_languages_find_the_same_session_in_a_cookie_header(peer: Process, ring: Keyring, key: Key, clock: Clock) -> None:
    rng = random.Random(f"headers {key.suite}")
    clock.now = NOW / 1000
    jar = Jar("session", ring, clock=clock)
    good = [jar.codec.encode({"user": number}) for number in range(3)]
    clock.now -= 2 * 86_400
    over = jar.codec.encode({"user": 9})
    clock.now = NOW / 1000
    stranger = Jar("session", Keyring(Key.generate(key.suite)), clock=clock).codec.encode({"user": 8})
    bad = [over, stranger, *(forged(token) for token in good), "A" * 4090, good[0][:-1]]
    seen: Counter[str] = Counter()
    for _ in range(1_500):
        header = some_header(rng, good[: rng.randint(1, 3)], bad)
        session = Sessions([jar], header)["session"]
        ours = session.refusal.value if session.refusal else "none" if session.is_new else str(session["user"])
        try:
            opened = peer.ask("cookie", keys=[key.export()], kind="cookie", name="session", header=header, now_ms=NOW)
            theirs = "none" if opened is None else str(json.loads(opened["content"])["user"])
        except Refused as refused:
            theirs = refused.reason
        assert ours == theirs, header
        seen[ours] += 1
    assert set(seen) == {"0", "1", "2", "none", *(reason.value for reason in Reason if reason is not Reason.FUTURE)}, seen


def test_a_header_is_too_long_for_both_languages_at_one_length(peer: Process, ring: Keyring, key: Key, clock: Clock) -> None:
    jar = Jar("session", ring, clock=clock)
    pair = f"session={jar.codec.encode({'user': 7})}"
    for length, refusal in ((65_536, None), (65_537, "malformed")):
        header = pair.ljust(length, ";")
        assert Sessions([jar], header)["session"].refusal == refusal
        asked = {"keys": [key.export()], "kind": "cookie", "name": "session", "header": header, "now_ms": milliseconds(clock)}
        if refusal is None:
            assert alike({"user": 7}, peer.ask("cookie", **asked)["content"])
        else:
            with pytest.raises(Refused, match=refusal):
                peer.ask("cookie", **asked)
