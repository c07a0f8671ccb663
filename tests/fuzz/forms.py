"""Our tokens, and the cookies of eleven other systems, in layers that know the keys; and what an authentic cookie of theirs means.

Each form is written here from what it is, and shares no code with its reader.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests import reference
from tests.fuzz.layers import (
    NOW_MS,
    PLAIN,
    Change,
    Either,
    Json,
    Layer,
    OneOf,
    Several,
    Wrapped,
    b64url,
    big_endian,
    decimal,
    deflated,
    inflated,
    un_b64,
    un_b64url,
)
from tests.fuzz.slow import DAY_MS, Ring, Scope, depth_of, is_plain, parsed


def _bytes(label: str, size: int = 32) -> bytes:
    return hashlib.shake_256(label.encode()).digest(size)


# Our own

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tokens.json").read_bytes())
_OF_VECTORS = [un_b64url(text.removeprefix("csk1_").encode()) or b"" for text in VECTORS["keys"]]
SEALING, ACCEPTING = ((data[0], data[1:-4]) for data in _OF_VECTORS)  # so that they open here too
RETIRING = (reference.XAES, _bytes("retiring"))
RING = Ring((SEALING, ACCEPTING, RETIRING), frozenset({2}))
_HEADERS = tuple(bytes([suite]) + reference.key_id(secret, suite) for suite, secret in RING.keys)
_STRANGERS = (b"\x01" + bytes(4), b"\x03" + _HEADERS[0][1:], b"\x02" + _HEADERS[0][1:], bytes(5))

CODEC: Scope = ("token", "fuzz", "")
SESSION: Scope = ("cookie", "session", "")
CART: Scope = ("cookie", "cart", "shop.example")
HEADER: Scope = ("header", "api", "")
BEARER: Scope = ("header", "login", "")
SCOPES = (CODEC, SESSION, CART, HEADER, BEARER, ("token", "fuzz", "other"), ("token", "fuz", "z"))

JSON = Json()


class _Plaintext(Layer):
    """Flags, two times, an id and a body, in bytes that need not fit one another."""

    weights = (2, 2, 2, 1, 6)
    inner = (
        OneOf(*(bytes([flags]) for flags in (0, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0xFF))),
        big_endian(1000, 6),
        big_endian(1000, 6),
        PLAIN,
        Either(Wrapped(lambda data: inflated(data, -15), lambda data: deflated(data, -15), JSON), JSON),
    )

    def open(self, data: bytes) -> list[bytes] | None:
        start = 29 if data[:1] and data[0] & 1 else 13
        return [data[:1], data[1:7], data[7:13], data[13:start], data[start:]] if len(data) >= start else None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)

    def mutated(self, data: bytes, random: Random, change: Change) -> bytes:
        parts = self.open(data)
        if parts is None or random.random() < 0.85:
            return super().mutated(data, random, change)
        flags, created, expires, session_id, body = parts
        kind = random.randrange(3)
        if kind == 0 and not flags[0] & 2:  # the same in another shape
            return self.seal([bytes([flags[0] | 2]), created, expires, session_id, deflated(body, -15)])
        if kind == 1:
            return self.seal([bytes([flags[0] ^ 1]), created, expires, b"" if session_id else b"0123456789abcdef", body])
        return self.seal([flags, created, expires, session_id, body + b" " * random.choice((1, 20, 100))])


class _Token(Layer):
    """A frame: for what it was sealed, suite and key id, nonce and plaintext. Of unknown keys there is no plaintext."""

    is_seal = True
    weights = (1, 1, 1, 12)
    inner = (
        OneOf(*(bytes([index]) for index in range(len(SCOPES)))),
        OneOf(*_HEADERS, *_STRANGERS),
        PLAIN,
        _Plaintext(),
    )

    def open(self, data: bytes) -> list[bytes] | None:
        key = RING.find(data[:5])
        if key is None or len(data) < 45:
            return None
        for index, scope in enumerate(SCOPES):
            plaintext = reference.open(key[1], key[0], *scope, reference.text(data))
            if plaintext is not None:
                return [bytes([index]), data[:5], data[5:29], plaintext]
        return None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        index, header, nonce, plaintext = parts
        suite, secret = RING.find(header) or SEALING
        scope = SCOPES[(index or b"\x00")[0] % len(SCOPES)]
        token = reference.seal(secret, suite, *scope, plaintext, nonce[:24].ljust(24, b"\x00"))
        return (header + bytes(5))[:5] + reference.frame_of(token)[5:]


FRAME = _Token()
TOKEN = Wrapped(un_b64url, b64url, FRAME)


def token(
    scope: Scope,
    body: bytes,
    *,
    created: int = NOW_MS - 60_000,
    expires: int = NOW_MS + DAY_MS,
    key: tuple[int, bytes] = SEALING,
    **more: Any,
) -> bytes:
    """A token of ours as a seed; its nonce is of what it holds, so that it is the same each time."""
    plaintext = reference.plaintext(created, expires, body, **more)
    return reference.seal(key[1], key[0], *scope, plaintext, _bytes(f"{scope}{plaintext!r}", 24)).encode()


class _Pair(Layer):
    """``name=value`` of a cookie."""

    inner = (OneOf(b"session", b" session ", b"cart", b"Session", b"sessio", b"\tcart", b""), TOKEN)

    def open(self, data: bytes) -> list[bytes] | None:
        name, equals, value = data.partition(b"=")
        return [name, value] if equals else None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return b"=".join(parts)


PAIR = _Pair()


class _KeyText(Layer):
    """A key as text: suite and secret, with a checksum that fits."""

    is_seal = True
    inner = (
        OneOf(b"\x01", b"\x02", b"\x00", b"\x03"),
        OneOf(bytes(range(32)), bytes(32), b"csk1_" + bytes(range(40)), _bytes("key", 1024), _bytes("key", 1025)),
    )

    def open(self, data: bytes) -> list[bytes] | None:
        raw = un_b64url(data[5:]) if data.startswith(b"csk1_") else None
        return [raw[:1], raw[1:-4]] if raw is not None and len(raw) > 5 else None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        data = b"".join(parts)
        return b"csk1_" + b64url(data + hashlib.sha256(b"csk1_" + data).digest()[:4])


KEY_TEXT = _KeyText()


# Other systems'

Meaning = tuple[Any, int | None, int | None]
"""Content, and when it began and ends in milliseconds, None where the form does not say."""

SECRET = "Rhabarberkompott-Fernrohr-5527-Ziegelstein-Nachtfalter"
NAME = "session"


def _decoded(data: bytes | None, **options: Any) -> Any:
    """The value of a JSON text in UTF-8, or None."""
    try:
        return None if data is None else parsed(data.decode("utf-8"), **options)
    except ValueError:
        return None


class Form(Layer):
    """A form that is sealed: its layer, and what an authentic value means."""

    is_seal = True
    seeds: ClassVar[tuple[bytes, ...]] = (b'{"user":7}', b"{}", '{"a":[1,2.5,null,true,"é\\n"],"b":{"c":{}}}'.encode())
    begin = NOW_MS - 60_000
    end = NOW_MS + DAY_MS

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        """What the parts of an authentic value mean; None where the old system would not have written them."""
        raise NotImplementedError

    def made(self, body: bytes) -> bytes:
        """A value around a JSON text, as a seed."""
        raise NotImplementedError

    def read(self, value: bytes) -> Meaning | None:
        """What a reader must say of a value."""
        parts = self.open(value)
        if parts is None or self.seal(parts) != value:  # there is one spelling
            return None
        meaning = self.means(parts)
        if meaning is None:
            return None
        content, created, expires = meaning
        if (created is not None and created > NOW_MS + 60_000) or (expires is not None and expires <= NOW_MS):
            return None
        return meaning if is_plain(content) else None


_PAYLOAD = Either(
    Wrapped(
        lambda data: inflated(un_b64url(data[1:]) or b"", 15) if data.startswith(b".") else None,
        lambda data: b"." + b64url(deflated(data, 15)),
        JSON,
    ),
    Wrapped(un_b64url, b64url, JSON),
    PLAIN,
)


def _payload(text: bytes) -> bytes | None:
    """What itsdangerous and Django sign: base64url; behind a dot, deflated before that."""
    if not text.startswith(b"."):
        return un_b64url(text)
    data = un_b64url(text[1:])
    return None if data is None else inflated(data, 15)


class Signed(Form):
    """Payload, time and signature, with a character between them."""

    separator = b"."
    digest = "sha1"
    seconds = 0  # for how long

    def __init__(self, key: bytes) -> None:
        self.key = key

    def open(self, data: bytes) -> list[bytes] | None:
        signed, separator, signature = data.rpartition(self.separator)
        payload, also, stamp = signed.rpartition(self.separator)
        return [payload, stamp] if separator and also and signature == self._signature(signed) else None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        signed = self.separator.join(parts)
        return signed + self.separator + self._signature(signed)

    def _signature(self, signed: bytes) -> bytes:
        return b64url(hmac.digest(self.key, signed, self.digest))

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        created = self.time(parts[1])
        if created is None:
            return None
        return self.content(parts[0]), created * 1000, (created + self.seconds) * 1000

    def time(self, stamp: bytes) -> int | None:
        """The seconds of a stamp."""
        data = un_b64url(stamp)
        return int.from_bytes(data, "big") if data and data[0] else None

    def content(self, payload: bytes) -> Any:
        """What a payload holds."""
        return _decoded(_payload(payload))

    def made(self, body: bytes) -> bytes:
        return self.seal([b64url(body), b64url((self.begin // 1000).to_bytes(4, "big"))])


_STAMP = Wrapped(un_b64url, b64url, big_endian(1))


class Itsdangerous(Signed):
    """Of its URLSafeTimedSerializer."""

    inner = (_PAYLOAD, _STAMP)
    seconds = 3600

    def __init__(self) -> None:
        super().__init__(hashlib.sha1(b"visits" + b"signer" + SECRET.encode()).digest())


class Flask(Signed):
    """Of Flask, with its tags."""

    inner = (_PAYLOAD, _STAMP)
    seconds = 31 * 86_400
    seeds = (
        *Form.seeds,
        b'{"_permanent":true,"a":{" t":[1,{" b":"AA=="}]},"u":{" u":"0123456789abcdef0123456789abcdef"}}',
        b'{"d":{" d":"Fri, 15 Jan 2027 08:00:00 GMT"},"m":{" m":"<b>"},"t":{" di":{" t__":1}}}',
    )

    def __init__(self) -> None:
        super().__init__(hmac.digest(SECRET.encode(), b"cookie-session", "sha1"))

    def content(self, payload: bytes) -> Any:
        return _decoded(_payload(payload), object_hook=_untagged)


def _untagged(value: dict[str, Any]) -> Any:
    """What an object of Flask's tagged JSON stands for; a ValueError where Flask would not have written it."""
    if len(value) != 1:
        return value
    ((key, item),) = value.items()
    wanted = {" t": list, " b": str, " m": str, " u": str, " d": str, " di": dict}.get(key)
    if wanted is None:
        return value
    if type(item) is not wanted:
        raise ValueError(key)
    if key == " b" and un_b64(item.encode("ascii")) is None:
        raise ValueError(key)
    if key == " u":
        if not re.fullmatch("[0-9a-f]{32}", item):
            raise ValueError(key)
        return "-".join((item[:8], item[8:12], item[12:16], item[16:20], item[20:]))
    if key == " d":
        date = datetime.strptime(item, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        if date.strftime("%a, %d %b ") + f"{date.year:04}" + date.strftime(" %H:%M:%S GMT") != item:
            raise ValueError(key)
        return date.isoformat()
    if key == " di":
        if len(item) != 1 or not next(iter(item)).endswith("__"):
            raise ValueError(key)
        return {name[:-2]: below for name, below in item.items()}
    return item


class Starlette(Signed):
    """Of Starlette, with padded base64 and nothing deflated."""

    inner = (Wrapped(un_b64, base64.b64encode, JSON), _STAMP)
    seconds = 14 * 86_400

    def __init__(self) -> None:
        super().__init__(hashlib.sha1(b"itsdangerous.Signer" + b"signer" + SECRET.encode()).digest())

    def content(self, payload: bytes) -> Any:
        return _decoded(un_b64(payload))

    def made(self, body: bytes) -> bytes:
        return self.seal([base64.b64encode(body), b64url((self.begin // 1000).to_bytes(4, "big"))])


_BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _base62(number: int) -> bytes:
    digits = b""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit : digit + 1] + digits
    return digits or b"0"


def _un_base62(text: bytes) -> bytes | None:
    """A number of base 62 in ASCII digits; None where it is none, or not in its one spelling."""
    if not re.fullmatch(rb"[1-9A-Za-z][0-9A-Za-z]{0,7}", text):
        return None
    number = 0
    for char in text:
        number = number * 62 + _BASE62.index(char)
    return b"%d" % number


class Django(Signed):
    """Of Django's signed cookies."""

    separator = b":"
    digest = "sha256"
    seconds = 14 * 86_400
    inner = (_PAYLOAD, Wrapped(_un_base62, lambda text: _base62(int(text)) if text.isdigit() else text, decimal(1)))
    seeds = (*Form.seeds, b'{"a":1,"_session_expiry":300}', b'{"_session_expiry":"2027-01-16T00:00:00+02:00"}')

    def __init__(self) -> None:
        super().__init__(hashlib.sha256(b"django.contrib.sessions.backends.signed_cookiessigner" + SECRET.encode()).digest())

    def time(self, stamp: bytes) -> int | None:
        number = _un_base62(stamp)
        return None if number is None else int(number)

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        meaning = super().means(parts)
        if meaning is None or type(meaning[0]) is not dict or not meaning[0].get("_session_expiry"):
            return meaning
        content, created, expires = meaning
        asked = content["_session_expiry"]
        if isinstance(asked, (int, float)):
            ends = created + int(min(max(asked, 0), 36_600 * 86_400) * 1000)
        elif isinstance(asked, str):
            try:
                date = datetime.fromisoformat(asked)
                ends = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000)
            except (ValueError, OverflowError):
                return None
        else:
            return None
        return content, created, min(expires, ends)

    def made(self, body: bytes) -> bytes:
        return self.seal([b64url(body), _base62(self.begin // 1000)])


class _State(Layer):
    """Pyramid's list of two times and a session."""

    inner = (JSON, JSON, JSON)
    weights = (1, 1, 4)

    def open(self, data: bytes) -> list[bytes] | None:
        state = _decoded(data)
        if type(state) is not list or len(state) != 3 or depth_of(state) > 100:
            return None
        return [json.dumps(part).encode() for part in state]

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(parts) + b"]"


class Pyramid(Form):
    """Of Pyramid's signed cookies: a signature before ``[issued, created, content]``."""

    inner = (Either(_State(), JSON),)
    key = b"pyramid.session." + SECRET.encode()

    def open(self, data: bytes) -> list[bytes] | None:
        raw = un_b64url(data) or b""
        return [raw[64:]] if raw[:64] == hmac.digest(self.key, raw[64:], "sha512") else None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return b64url(hmac.digest(self.key, parts[0], "sha512") + parts[0])

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        state = _decoded(parts[0])
        if type(state) is not list or len(state) != 3:
            return None
        if not all(type(time) in (int, float) and 0 <= time <= (2**48 - 1) // 1000 for time in state[:2]):
            return None
        issued, created = (int(time * 1000) for time in state[:2])
        return state[2], created, issued + 1_200_000

    def made(self, body: bytes) -> bytes:
        return self.seal([b"[%d,%d.25,%b]" % (self.begin // 1000, self.begin // 1000 - 90, body)])


# Blocks in CBC mode, behind a MAC


def _cbc(key: bytes, iv: bytes, blocks: bytes, *, back: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    worker = cipher.decryptor() if back else cipher.encryptor()
    return worker.update(blocks) + worker.finalize()


def _padding(size: int) -> bytes:
    count = 16 - size % 16
    return bytes([count]) * count


def _blocks(plaintext: bytes, padding: bytes) -> bytes:
    """The blocks of a plaintext with the right padding; with no padding, filled with spaces, which are none."""
    if padding:
        return plaintext + _padding(len(plaintext))
    return plaintext.ljust(max(1, -(-len(plaintext) // 16)) * 16)


def _unpadded(blocks: bytes) -> list[bytes]:
    """Plaintext and padding; where that is wrong, all blocks and none."""
    count = blocks[-1] if blocks else 0
    if 1 <= count <= 16 and blocks[-count:] == bytes([count]) * count:
        return [blocks[:-count], blocks[-count:]]
    return [blocks, b""]


class _Bound(Layer):
    """JSON behind the cookie's name."""

    inner = (OneOf(b"session=", b"cart=", b"session", b""), JSON)

    def open(self, data: bytes) -> list[bytes] | None:
        return [data[:8], data[8:]] if len(data) > 8 else None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)


def _whole(text: str) -> int | float:
    number = int(text)
    return number if -(2**63) <= number < 2**63 else float(text)


def _stringified(data: bytes) -> Any:
    """What JSON.stringify wrote: numbers of JavaScript, and half of a surrogate pair, an escape in small letters, as U+FFFD."""
    value = _decoded(data, parse_int=_whole)
    return _mended(value) if b"\\ud" in data and depth_of(value) <= 100 else value


def _mended(value: Any) -> Any:
    if type(value) is str:
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if type(value) is list:
        return [_mended(item) for item in value]
    if type(value) is dict:
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


class NodeClientSessions(Form):
    """Of Node's client-sessions: iv, ciphertext, two times and a MAC."""

    inner = (PLAIN, _Bound(), OneOf(b"", b"\x01"), decimal(1000), decimal(1000))
    keys = tuple(hmac.digest(SECRET.encode(), f"cookiesession-{use}".encode(), "sha256") for use in ("encryption", "signature"))

    def open(self, data: bytes) -> list[bytes] | None:
        pieces = data.split(b".")
        if len(pieces) != 5:
            return None
        iv, ciphertext, mac = (un_b64url(piece) for piece in (pieces[0], pieces[1], pieces[4]))
        if iv is None or len(iv) != 16 or not ciphertext or len(ciphertext) % 16 or mac is None:
            return None
        if mac != self._mac(iv, ciphertext, *pieces[2:4]):
            return None
        return [iv, *_unpadded(_cbc(self.keys[0], iv, ciphertext, back=True)), *pieces[2:4]]

    def seal(self, parts: Sequence[bytes]) -> bytes:
        iv, plaintext, padding, created, duration = parts
        iv = iv[:16].ljust(16, b"\x00")
        ciphertext = _cbc(self.keys[0], iv, _blocks(plaintext, padding))
        mac = self._mac(iv, ciphertext, created, duration)
        return b".".join((b64url(iv), b64url(ciphertext), created, duration, b64url(mac)))

    def _mac(self, *parts: bytes) -> bytes:
        return hmac.digest(self.keys[1], b".".join(parts), "sha256")

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        _, plaintext, padding, *times = parts
        if (
            not padding
            or not plaintext.startswith(b"session=")
            or not all(re.fullmatch(rb"0|[1-9][0-9]{0,15}", time) for time in times)
        ):
            return None
        created, duration = map(int, times)
        if created > NOW_MS + 60_000 + max(0, 600_000 - duration):  # activity of five minutes moves it on
            return None
        return _stringified(plaintext[8:]), min(created, NOW_MS), min(created + duration, NOW_MS + 400 * DAY_MS)

    def made(self, body: bytes) -> bytes:
        return self.seal([_bytes("iv", 16), b"session=" + body, b"\x01", b"%d" % self.begin, b"%d" % DAY_MS])


class Iron(Form):
    """Of iron-session: Fe26.2, the password's number, salt, iv, ciphertext, end, another salt and a MAC."""

    inner = (
        OneOf(b"Fe26.2", b"Fe26.1"),
        OneOf(b"1", b"2", b"3", b"01"),
        PLAIN,
        PLAIN,
        JSON,
        OneOf(b"", b"\x01"),
        decimal(1000),
        PLAIN,
        OneOf(b"~2", b"", b"~1"),
    )
    passwords: ClassVar = {b"1": SECRET.encode(), b"2": b"Zwiebelkuchen-Fahrradkette-8293-Morgentau"}

    def open(self, data: bytes) -> list[bytes] | None:
        pieces = data.split(b"*")
        if len(pieces) != 8 or pieces[1] not in self.passwords:
            return None
        prefix, number, salt, iv_text, ciphertext_text, end, mac_salt, tail = pieces
        mac_text, tilde, version = tail.partition(b"~")
        iv, ciphertext, mac = un_b64url(iv_text), un_b64url(ciphertext_text), un_b64url(mac_text)
        if iv is None or len(iv) != 16 or not ciphertext or len(ciphertext) % 16 or mac is None:
            return None
        if mac != self._mac(b"*".join(pieces[:6]), number, mac_salt):
            return None
        return [
            prefix,
            number,
            salt,
            iv,
            *_unpadded(_cbc(self._key(number, salt), iv, ciphertext, back=True)),
            end,
            mac_salt,
            tilde + version,
        ]

    def seal(self, parts: Sequence[bytes]) -> bytes:
        prefix, number, salt, iv, plaintext, padding, end, mac_salt, version = parts
        iv = iv[:16].ljust(16, b"\x00")
        ciphertext = _cbc(self._key(number, salt), iv, _blocks(plaintext, padding))
        signed = b"*".join((prefix, number, salt, b64url(iv), b64url(ciphertext), end))
        return b"*".join((signed, mac_salt, b64url(self._mac(signed, number, mac_salt)) + version))

    def _key(self, number: bytes, salt: bytes) -> bytes:
        return hashlib.pbkdf2_hmac("sha1", self.passwords.get(number, b""), salt, 1, 32)

    def _mac(self, signed: bytes, number: bytes, salt: bytes) -> bytes:
        return hmac.digest(self._key(number, salt), signed, "sha256")

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        prefix, _, salt, _, plaintext, padding, end, mac_salt, version = parts
        salts_fit = all(re.fullmatch(rb"[0-9a-f]{64}", each) for each in (salt, mac_salt))
        if prefix != b"Fe26.2" or version != b"~2" or not salts_fit or not padding or not re.fullmatch(rb"[1-9][0-9]{0,15}", end):
            return None
        return _stringified(plaintext), None, min(int(end), NOW_MS + 400 * DAY_MS)

    def made(self, body: bytes) -> bytes:
        salts = [_bytes(salt).hex().encode() for salt in ("salt", "mac salt")]
        return self.seal([b"Fe26.2", b"1", salts[0], _bytes("iv", 16), body, b"\x01", b"%d" % self.end, salts[1], b"~2"])


class Fernet(Form):
    """A Fernet token around JSON, in quotes or not."""

    inner = (OneOf(b"", b'"'), OneOf(b"\x80", b"\x81"), big_endian(1, 8), PLAIN, JSON, OneOf(b"", b"\x01"))
    key = _bytes("fernet")

    def open(self, data: bytes) -> list[bytes] | None:
        quote = b'"' if len(data) > 1 and data[:1] == data[-1:] == b'"' else b""
        text = data[1:-1] if quote else data
        try:
            raw = base64.urlsafe_b64decode(text)
        except ValueError:
            return None
        if base64.urlsafe_b64encode(raw) != text or len(raw) < 1 + 8 + 16 + 16 + 32 or (len(raw) - 57) % 16:
            return None
        signed, mac = raw[:-32], raw[-32:]
        if mac != hmac.digest(self.key[:16], signed, "sha256"):
            return None
        iv = signed[9:25]
        return [quote, signed[:1], signed[1:9], iv, *_unpadded(_cbc(self.key[16:], iv, signed[25:], back=True))]

    def seal(self, parts: Sequence[bytes]) -> bytes:
        quote, version, stamp, iv, plaintext, padding = parts
        iv = iv[:16].ljust(16, b"\x00")
        signed = version[:1] + stamp[:8].rjust(8, b"\x00") + iv + _cbc(self.key[16:], iv, _blocks(plaintext, padding))
        quote = quote and b'"'
        return quote + base64.urlsafe_b64encode(signed + hmac.digest(self.key[:16], signed, "sha256")) + quote

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        _, version, stamp, _, plaintext, padding = parts
        if version != b"\x80" or not padding:
            return None
        content, created = self.content(_decoded(plaintext), int.from_bytes(stamp, "big"))
        return content, created * 1000, (created + 3601) * 1000  # until the last of whole seconds is over

    def content(self, body: Any, stamped: int) -> tuple[Any, int]:
        """The content in what was sealed, and since when it counts."""
        return body, stamped

    def made(self, body: bytes) -> bytes:
        return self.seal([b"", b"\x80", (self.begin // 1000).to_bytes(8, "big"), _bytes("iv", 16), body, b"\x01"])


class Aiohttp(Fernet):
    """A Fernet token around the envelope of aiohttp_session."""

    def content(self, body: Any, stamped: int) -> tuple[Any, int]:
        if type(body) is not dict or sorted(body) != ["created", "session"] or type(body["created"]) is not int:
            return None, stamped
        return body["session"], min(body["created"], stamped)

    def made(self, body: bytes) -> bytes:
        return super().made(b'{"created":%d,"session":%b}' % (self.begin // 1000, body))


class Litestar(Form):
    """AES-GCM, with the end beside it."""

    inner = (
        PLAIN,
        JSON,
        Either(
            Wrapped(
                lambda data: data[14:-1] if data.startswith(b'{"expires_at":') else None,
                lambda data: b'{"expires_at":%b}' % data,
                decimal(1),
            ),
            PLAIN,
        ),
        OneOf(b"", b'"'),
    )
    cipher = AESGCM(_bytes("litestar"))
    mark = b"additional_authenticated_data="

    def open(self, data: bytes) -> list[bytes] | None:
        quote = b'"' if len(data) > 1 and data[:1] == data[-1:] == b'"' else b""
        raw = un_b64(data[1:-1] if quote else data) or b""
        sealed, mark, stamp = raw.rpartition(self.mark)
        if not mark or len(sealed) < 28:
            return None
        try:
            return [sealed[:12], self.cipher.decrypt(sealed[:12], sealed[12:], stamp), stamp, quote]
        except InvalidTag:
            return None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        nonce, body, stamp, quote = parts
        nonce = nonce[:12].ljust(12, b"\x00")
        quote = quote and b'"'
        return quote + base64.b64encode(nonce + self.cipher.encrypt(nonce, body, stamp) + self.mark + stamp) + quote

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        stamp = re.fullmatch(rb'\{"expires_at":([1-9][0-9]{0,11})\}', parts[2])
        return None if stamp is None else (_decoded(parts[1]), None, int(stamp[1]) * 1000)

    def made(self, body: bytes) -> bytes:
        return self.seal([_bytes("nonce", 12), body, b'{"expires_at":%d}' % (self.end // 1000), b""])


class _Envelope(Layer):
    """Rails' envelope: message, end and purpose."""

    inner = (Wrapped(un_b64, base64.b64encode, JSON), PLAIN, OneOf(b"cookie.session", b"cookie.other", b""))

    def open(self, data: bytes) -> list[bytes] | None:
        fields = _decoded(data)
        try:
            parts = [fields["_rails"][name] or "" for name in ("message", "exp", "pur")]
            return [part.encode() for part in parts]
        except (TypeError, KeyError, AttributeError, ValueError):
            return None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        message, exp, pur = (part.decode("latin-1") for part in parts)
        return json.dumps({"_rails": {"message": message, "exp": exp or None, "pur": pur}}).encode()


class Rails(Form):
    """AES-GCM around an envelope around JSON; ciphertext, IV and tag in base64."""

    inner = (PLAIN, Either(_Envelope(), JSON))
    cipher = AESGCM(hashlib.pbkdf2_hmac("sha256", SECRET.encode(), b"authenticated encrypted cookie", 1000, 32))

    def open(self, data: bytes) -> list[bytes] | None:
        if re.search(rb"[+/=]", data):
            return None
        text = data.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
        parts = [un_b64(piece) for piece in text.split(b"--")]
        if None in parts or [len(part or b"") for part in parts[1:]] != [12, 16]:
            return None
        ciphertext, iv, tag = (part or b"" for part in parts)
        try:
            return [iv, self.cipher.decrypt(iv, ciphertext + tag, None)]
        except InvalidTag:
            return None

    def seal(self, parts: Sequence[bytes]) -> bytes:
        iv = parts[0][:12].ljust(12, b"\x00")
        sealed = self.cipher.encrypt(iv, parts[1], None)
        text = b"--".join(base64.b64encode(part) for part in (sealed[:-16], iv, sealed[-16:]))
        return text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")

    def means(self, parts: Sequence[bytes]) -> Meaning | None:
        envelope = _decoded(parts[1])
        if type(envelope) is not dict or list(envelope) != ["_rails"] or type(envelope["_rails"]) is not dict:
            return None
        fields = envelope["_rails"]
        if sorted(fields) != ["exp", "message", "pur"] or fields["pur"] != "cookie.session" or type(fields["message"]) is not str:
            return None
        try:
            message = un_b64(fields["message"].encode("ascii"))
            ends = None if fields["exp"] is None else _iso_ms(fields["exp"])
        except (ValueError, TypeError):
            return None
        return _decoded(message), None, ends

    def made(self, body: bytes) -> bytes:
        envelope = {
            "message": base64.b64encode(body).decode(),
            "exp": None if len(body) == 2 else "2027-01-16T08:00:00.500Z",
            "pur": "cookie.session",
        }
        return self.seal([_bytes("iv", 12), json.dumps({"_rails": envelope}).encode()])


def _iso_ms(text: str) -> int:
    """The milliseconds of a time as Rails writes it; a ValueError for another one."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", text):
        raise ValueError("no time")
    date = datetime.strptime(text[:-5], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return round(date.timestamp()) * 1000 + int(text[-4:-1])


@cache
def forms() -> dict[str, Form]:
    """The forms by the names of their targets."""
    made: dict[str, Callable[[], Form]] = {
        "node": NodeClientSessions,
        "iron": Iron,
        "flask": Flask,
        "itsdangerous": Itsdangerous,
        "starlette": Starlette,
        "django": Django,
        "pyramid": Pyramid,
        "fernet": Fernet,
        "aiohttp": Aiohttp,
        "litestar": Litestar,
        "rails": Rails,
    }
    return {name: make() for name, make in made.items()}


_TOSSED = tuple(b" session=" + token(SESSION, b'{"n":%d}' % n, expires=NOW_MS + (n % 2)) for n in range(5))
COOKIES = Several(b";", PAIR, (*_TOSSED, b"session=", b" cart=1", b"session", b"=session", b' session="x"', b" a=b"))
