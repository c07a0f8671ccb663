"""Writes tokens.json, the corpus of docs/SPEC.md, by the second implementation in tests/reference.py.

    python -m tests.vectors.make

Everything is fixed, the nonces too, so that a second run writes the same file. A case says only what differs from ``defaults``.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from tests import reference

NOW = 1_800_000_000_000  # 2027-01-15T08:00:00Z
MINUTE = 60_000
DAY = 86_400_000
NAMES = {1: "XAES-256-GCM", 2: "XChaCha20-Poly1305"}
SECRETS = {suite: hashlib.sha256(b"clientsession test vector, suite %d" % suite).digest() for suite in NAMES}
RETIRED = hashlib.sha256(b"clientsession test vector, a key that is gone").digest()
ID = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
DEFAULTS = {"kind": "cookie", "name": "session", "audience": "", "max_chars": 4089, "max_duration_ms": None, "now_ms": NOW}
BODY = b'{"user":7}'


def deflated(body: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(body) + stream.flush()


class Corpus:
    """The cases of one suite, numbered as they come."""

    def __init__(self, suite: int) -> None:
        self.suite = suite
        self.secret = SECRETS[suite]
        self.opens: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []

    def nonce(self) -> bytes:
        return hashlib.sha256(b"nonce %d %d %d" % (self.suite, len(self.opens), len(self.refused))).digest()[:24]

    def seal(
        self,
        body: bytes = BODY,
        created: int = NOW - MINUTE,
        expires: int = NOW + DAY,
        *,
        flags: int | None = None,
        id: bytes | None = None,
        plaintext: bytes | None = None,
        kind: str = "cookie",
        name: str = "session",
        audience: str = "",
        secret: bytes | None = None,
    ) -> str:
        if plaintext is None:
            plaintext = reference.plaintext(created, expires, body, flags=flags, id=id)
        return reference.seal(secret or self.secret, self.suite, kind, name, audience, plaintext, self.nonce())

    def open(self, what: str, token: str, content: Any, **others: Any) -> None:
        codec = {**DEFAULTS, **others}
        plaintext = reference.open(self.secret, self.suite, codec["kind"], codec["name"], codec["audience"], token)
        assert plaintext is not None, what
        expected = {
            "content": content,
            "created_ms": int.from_bytes(plaintext[1:7], "big"),
            "expires_ms": int.from_bytes(plaintext[7:13], "big"),
            "id": plaintext[13:29].hex() if plaintext[0] & 1 else None,
            "ephemeral": bool(plaintext[0] & 4),
        }
        expected |= others.pop("expected", {})
        self.opens.append({"what": what, "suite": self.suite, "token": token, **others, **expected})

    def refuse(self, what: str, token: str, reason: str, **others: Any) -> None:
        self.refused.append({"what": what, "suite": self.suite, "token": token, "reason": reason, **others})


def fill_opens(c: Corpus) -> None:
    c.open("a small session", c.seal(), {"user": 7})
    c.open("no body stands for {}", c.seal(b""), {})
    c.open("an empty object, written out", c.seal(b"{}"), {})
    c.open("with an id", c.seal(id=ID), {"user": 7})
    c.open("with an id and no body", c.seal(b"", id=ID), {})
    c.open("ephemeral", c.seal(flags=0x04), {"user": 7})
    c.open("ephemeral, with an id", c.seal(flags=0x05, id=ID), {"user": 7})
    c.open("spaces after the object", c.seal(BODY + b" " * 17), {"user": 7})
    c.open("another writer's spacing inside", c.seal(b'{ "user" :\n\t7 }'), {"user": 7})
    c.open("escapes for what could stand as it is", c.seal(rb'{"\u0061":"\u00e9\/\ud83d\ude00"}'), {"a": "é/😀"})
    body = '{"é":"e\u0301","z":"\U0001f6d2","nul":"\\u0000"}'.encode()
    c.open("UTF-8 of one to four bytes, no normalisation", c.seal(body), {"é": "e\u0301", "z": "\U0001f6d2", "nul": "\0"})
    c.open("the ends of 64 bits", c.seal(b'{"a":9223372036854775807,"b":-9223372036854775808}'), {"a": 2**63 - 1, "b": -(2**63)})
    c.open("64 levels", c.seal(b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"), json.loads('{"a":' + "[" * 63 + "]" * 63 + "}"))
    c.open("raw deflate", c.seal(deflated(b'{"text":"' + b"ab" * 200 + b'"}'), flags=0x02), {"text": "ab" * 200})
    c.open("raw deflate of no bytes", c.seal(deflated(b""), flags=0x02), {})
    big = b'{"a":"' + b"x" * (65_536 - 8) + b'"}'
    c.open("raw deflate, 65,536 bytes when inflated", c.seal(deflated(big), flags=0x02), {"a": "x" * (65_536 - 8)})
    c.open("made a minute from now: clocks differ", c.seal(created=NOW + MINUTE), {"user": 7})
    c.open("ends one millisecond from now", c.seal(expires=NOW + 1), {"user": 7})
    c.open("begins at the epoch", c.seal(created=0), {"user": 7})
    c.open("ends when 48 bits end", c.seal(expires=2**48 - 1), {"user": 7})
    limit = {"max_duration_ms": 2 * DAY}
    token = c.seal(created=NOW - DAY, expires=NOW + 30 * DAY)
    c.open("ends sooner by today's max_duration", token, {"user": 7}, **limit, expected={"expires_ms": NOW + DAY})
    token = c.seal(kind="token", name="invite", audience="https://example.org/")
    c.open("a token, for an audience", token, {"user": 7}, kind="token", name="invite", audience="https://example.org/")
    c.open("a name in UTF-8", c.seal(kind="token", name="Einladung für Ä"), {"user": 7}, kind="token", name="Einladung für Ä")
    c.open("the longest token", c.seal(b'{"a":"' + b"x" * 3000 + b'"}'), {"a": "x" * 3000}, max_chars=4089)


def fill_refused(c: Corpus) -> None:
    good = c.seal()
    frame = reference.frame_of(good)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def text(data: bytes) -> str:
        return reference.text(data)

    for what, token in (
        ("nothing", ""),
        ("one character", "A"),
        ("59 characters, shorter than any frame", good[:59]),
        ("45 bytes are the least: 44", text(frame[:44])),
        ("padding", good + "=" * (-len(good) % 4 or 4)),
        ("a line feed at the end", good + "\n"),
        ("a space at the end", good + " "),
        ("a space before it", " " + good),
        ("a NUL at the end", good + "\0"),
        ("double quotes around it", f'"{good}"'),
        ("a length that base64 does not have", text(frame + b"xxx"[: (-len(frame)) % 3]) + "A"),
        ("the standard alphabet's plus", good[:40] + "+" + good[41:]),
        ("the standard alphabet's slash", good[:40] + "/" + good[41:]),
        ("a percent escape", good[:40] + "%2D" + good[41:]),
        ("a dot", good[:40] + "." + good[41:]),
        ("a full-width letter", good[:40] + "\uff21" + good[41:]),
        ("a Cyrillic look-alike", good[:40] + "\u0410" + good[41:]),
        ("a token of 4,090 characters under a limit of 4,089", c.seal(b'{"a":"' + b"x" * 3001 + b'"}')),
        ("suite 0", text(b"\x00" + frame[1:])),
        ("suite 3", text(b"\x03" + frame[1:])),
        ("suite 255", text(b"\xff" + frame[1:])),
        (
            "another library's token",
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX",
        ),
    ):
        c.refuse(what, token, "malformed")

    spare = reference.text(frame + bytes((1 - len(frame)) % 3))  # a length with spare bits in the last character
    last = alphabet.index(spare[-1])
    c.refuse("spare bits that are not zero", spare[:-1] + alphabet[last | 1], "malformed")

    c.refuse("a key that is gone", c.seal(secret=RETIRED), "unknown_key")
    c.refuse("the key id of nobody", text(frame[:1] + b"\0\0\0\0" + frame[5:]), "unknown_key")
    other = 3 - c.suite
    c.refuse("the other suite's byte", text(bytes([other]) + frame[1:]), "unknown_key")
    c.refuse("random characters that name a suite", text(bytes([c.suite]) + hashlib.sha512(b"junk").digest()), "unknown_key")

    for what, position in (("nonce", 5), ("second half of the nonce", 28), ("ciphertext", 29), ("tag", -16), ("last byte", -1)):
        changed = bytearray(frame)
        changed[position] ^= 1
        c.refuse(f"a bit flipped in the {what}", text(bytes(changed)), "forged")
    c.refuse("one byte cut off", text(frame[:-1]), "forged")
    c.refuse("the tag alone is missing", text(frame[:-16]), "forged")
    c.refuse("one byte more", text(frame + b"\0"), "forged")
    c.refuse("two tokens, one after the other", text(frame + frame), "forged")
    c.refuse("no ciphertext at all, a tag of zeros", text(frame[:29] + bytes(16)), "forged")
    c.refuse("sealed for another cookie", c.seal(name="cart"), "forged")
    c.refuse("sealed for a name that differs in case", c.seal(name="Session"), "forged")
    c.refuse("sealed as a token", c.seal(kind="token"), "forged")
    c.refuse("sealed as a header", c.seal(kind="header"), "forged")
    c.refuse("sealed for an audience, opened without", c.seal(audience="a"), "forged")
    c.refuse("sealed without audience, opened for one", c.seal(), "forged", audience="a")
    c.refuse("name and audience run together another way", c.seal(name="sessiona"), "forged", audience="a")
    header = reference.frame_of(c.seal(name="cart"))
    c.refuse("the head of one token on the rest of another's", text(frame[:29] + header[29:]), "forged")
    aad = reference.pae(frame[:5], b"cookie", b"session", b"")
    wrong = reference.seal_key(RETIRED, c.suite, "cookie", "session", "")
    plaintext = reference.plaintext(NOW, NOW + DAY, BODY)
    sealed = reference.aead_seal(c.suite, wrong, frame[5:29], plaintext, aad)
    c.refuse("the key id of one key, sealed by another", text(frame[:29] + sealed), "forged")

    whole = reference.plaintext(NOW - MINUTE, NOW + DAY, b"")
    for what, plaintext in (
        ("a plaintext of no bytes", b""),
        ("a plaintext cut after the flags", whole[:1]),
        ("a plaintext cut in the second time", whole[:12]),
        ("a plaintext cut in the id", b"\x01" + whole[1:] + ID[:15]),
    ):
        c.refuse(what, c.seal(plaintext=plaintext), "malformed")
    for flags in (0x08, 0x10, 0x20, 0x40, 0x80, 0xFF):
        c.refuse(f"unknown flags {flags:#04x}", c.seal(flags=flags), "malformed")
    for what, body in (
        ("null", b"null"),
        ("a number", b"1"),
        ("a string", b'"x"'),
        ("an array", b"[]"),
        ("true", b"true"),
        ("spaces alone", b"   "),
        ("a space before the object", b' {"user":7}'),
        ("a line feed after the object", b'{"user":7}\n'),
        ("a NUL after the object", b'{"user":7}\0'),
        ("two objects", b'{"user":7}{}'),
        ("half an object", b'{"user":'),
        ("a trailing comma", b'{"user":7,}'),
        ("single quotes", b"{'user':7}"),
        ("a byte order mark", b'\xef\xbb\xbf{"user":7}'),
        ("UTF-16", '{"user":7}'.encode("utf-16-le")),
        ("UTF-32", '{"user":7}'.encode("utf-32-be")),
        ("a byte that UTF-8 has not", b'{"user":"\xff"}'),
        ("an overlong form", b'{"user":"\xc0\xaf"}'),
        ("a surrogate in UTF-8", b'{"user":"\xed\xa0\x80"}'),
        ("NaN", b'{"a":NaN}'),
        ("minus Infinity", b'{"a":-Infinity}'),
        ("a control character in a string", b'{"a":"\x01"}'),
    ):
        c.refuse(f"as body {what}", c.seal(body), "malformed")
    for what, body in (
        ("65,537 bytes when inflated", deflated(b'{"a":"' + b"x" * (65_536 - 7) + b'"}')),
        ("a stream cut short", deflated(BODY)[:-1]),
        ("something after the stream", deflated(BODY) + b"x"),
        ("a zlib header", zlib.compress(BODY)),
        ("no stream at all", b""),
        ("an array", deflated(b"[]")),
    ):
        c.refuse(f"deflated: {what}", c.seal(body, flags=0x02), "malformed")

    c.refuse("ends before it begins", c.seal(created=NOW, expires=NOW - 1), "malformed")
    c.refuse("made a minute and a millisecond from now", c.seal(created=NOW + MINUTE + 1), "future")
    c.refuse("made when 48 bits end", c.seal(created=2**48 - 1, expires=2**48 - 1), "future")
    c.refuse("ends now", c.seal(expires=NOW), "expired")
    c.refuse("ended at the epoch", c.seal(created=0, expires=0), "expired")
    c.refuse("over by today's max_duration", c.seal(created=NOW - DAY), "expired", max_duration_ms=DAY)
    c.refuse("over, and its body is no JSON: the times come first", c.seal(b"?", expires=NOW), "expired")


def derivation(suite: int) -> dict[str, Any]:
    """One token with every value on the way to it."""
    secret, name = SECRETS[suite], "session"
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    body = b'{"user":7,"name":"Ada"}'
    plaintext = reference.plaintext(NOW, NOW + DAY, body, id=ID)
    key = reference.seal_key(secret, suite, "cookie", name, "")
    return {
        "suite": suite,
        "name": NAMES[suite],
        "secret": secret.hex(),
        "key_text": reference.export(secret, suite),
        "prk": reference.prk_of(secret).hex(),
        "key_id": reference.key_id(secret, suite).hex(),
        "key": key.hex(),
        "aad": reference.aad(secret, suite, "cookie", name, "").hex(),
        "nonce": nonce.hex(),
        "subkey": (reference.xaes_steps(key, nonce)["Kx"] if suite == 1 else reference.hchacha20(key, nonce[:16])).hex(),
        "plaintext": plaintext.hex(),
        "token": reference.seal(secret, suite, "cookie", name, "", plaintext, nonce),
    }


def corpus() -> dict[str, Any]:
    cases = [Corpus(suite) for suite in NAMES]
    for case in cases:
        fill_opens(case)
        fill_refused(case)
    return {
        "about": "Token version 1; see docs/SPEC.md, Vectors. A case differs from defaults only in what it names.",
        "keys": [reference.export(SECRETS[suite], suite) for suite in NAMES],
        "defaults": DEFAULTS,
        "derivations": [derivation(suite) for suite in NAMES],
        "opens": [entry for case in cases for entry in case.opens],
        "refused": [entry for case in cases for entry in case.refused],
    }


if __name__ == "__main__":
    path = Path(__file__).with_name("tokens.json")
    path.write_text(json.dumps(corpus(), indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
