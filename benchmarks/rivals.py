"""The systems that are measured, each behind ``seal`` and ``open``, with a label that says what it does.

Each is used through its own public interface, as its documentation sets it up, with a key that is held. Where JSON is the
caller's to write it is compact, as ours, and written by ``json.dumps``, as a caller would.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clientsession import Codec, Key, Keyring, Suite

FLOOR: Final = "floor"
DAY_SECONDS: Final = 86_400  # how long a session lives, wherever that is asked
SECRET: Final = "Rhabarberkompott-Fernrohr-5527-Ziegelstein-Nachtfalter"  # of the systems whose secret is text
NONCE_BYTES: Final = 12  # of AES-GCM (NIST SP 800-38D, 8.2)

Body = dict[str, Any]
ENCRYPTED: Final = "encrypted"
SIGNED: Final = "signed only"
STDLIB: Final = "stdlib"


@dataclass(frozen=True)
class Label:
    """What a system does, so that like is compared with like.

    Attributes:
        kind: ``"encrypted"``, or ``"signed only"`` where the client can read the content.
        json: what writes and reads the JSON.
        lifetime: what the token holds of its lifetime, and whether opening checks it.
        package: the distribution, whose version goes into the results.
        deflates: whether it compresses what gets shorter by it.
    """

    kind: str
    json: str
    lifetime: str
    package: str
    deflates: bool = False


@dataclass(frozen=True)
class Rival:
    """One system.

    Attributes:
        name: as it stands in tables.
        label: what it does.
        seal: a session into text.
        open: that text into the session.
        own_prefix: keys that begin so are the system's own, and stand in what ``open`` gives beside the content.
    """

    name: str
    label: Label
    seal: Callable[[Body], str]
    open: Callable[[str], Mapping[str, Any]]
    own_prefix: str | None = None

    def round_trip(self, body: Body) -> str:
        """The token of a body, once it has been opened and is what it was.

        Raises:
            CannotError: the system makes no token of this body, or gives something else back.
        """
        token = self.seal(dict(body))
        if type(token) is not str or not token:
            raise CannotError("it makes no token of this session")
        opened = dict(self.open(token))
        if self.own_prefix is not None:
            opened = {key: value for key, value in opened.items() if not key.startswith(self.own_prefix)}
        if opened != body:
            raise CannotError("it does not give back what was sealed")
        return token


class CannotError(Exception):
    """A system cannot do what is measured."""


def compact(body: Body) -> bytes:
    """The shortest JSON of the standard library."""
    return json.dumps(body, separators=(",", ":")).encode()


# Ours


def _clientsession(suite: Suite, **options: Any) -> Codec:
    return Codec(Keyring(Key.generate(suite)), "session", duration=timedelta(seconds=DAY_SECONDS), **options)


def _default() -> Rival:
    codec = _clientsession(Suite.XAES_256_GCM)
    return Rival("clientsession", Label(ENCRYPTED, STDLIB, "two times, checked", "clientsession"), codec.encode, codec.decode)


def _xchacha() -> Rival:
    codec = _clientsession(Suite.XCHACHA20_POLY1305)
    label = Label(ENCRYPTED, STDLIB, "two times, checked", "clientsession")
    return Rival("clientsession, XChaCha20", label, codec.encode, codec.decode)


def _speed() -> Rival:
    from clientsession.serializers import Msgspec  # type: ignore[import-not-found,unused-ignore]

    codec = _clientsession(Suite.XAES_256_GCM, serializer=Msgspec())
    label = Label(ENCRYPTED, "msgspec", "two times, checked", "clientsession")
    return Rival("clientsession, Msgspec", label, codec.encode, codec.decode)


# The floor: JSON, a cipher and base64 in the plain way, with no lifetime, no check of what goes in, and no second key


def _floor() -> Rival:
    cipher = AESGCM(AESGCM.generate_key(256))

    def seal(body: Body) -> str:
        nonce = os.urandom(NONCE_BYTES)
        text = json.dumps(body, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(nonce + cipher.encrypt(nonce, text, None)).decode()

    def open_(token: str) -> Body:
        frame = base64.urlsafe_b64decode(token)
        return json.loads(cipher.decrypt(frame[:NONCE_BYTES], frame[NONCE_BYTES:], None))

    return Rival(FLOOR, Label(ENCRYPTED, STDLIB, "none", "cryptography"), seal, open_)


# Encrypted


def _fernet() -> Rival:
    from cryptography.fernet import Fernet

    fernet = Fernet(Fernet.generate_key())

    def seal(body: Body) -> str:
        return fernet.encrypt(compact(body)).decode()

    def open_(token: str) -> Body:
        return json.loads(fernet.decrypt(token, ttl=DAY_SECONDS))

    return Rival("Fernet + json", Label(ENCRYPTED, STDLIB, "when made, checked", "cryptography"), seal, open_)


def _litestar() -> Rival:
    from litestar.middleware.session.client_side import ClientSideSessionBackend, CookieBackendConfig

    backend = ClientSideSessionBackend(CookieBackendConfig(secret=os.urandom(32), max_age=DAY_SECONDS))

    def seal(body: Body) -> str:
        return b"".join(backend.dump_data(body)).decode()

    def open_(token: str) -> Body:
        return backend.load_data([token.encode()])

    return Rival("Litestar CookieBackend", Label(ENCRYPTED, "msgspec", "its end, checked", "litestar"), seal, open_)


def _pyramid_nacl() -> Rival:
    from pyramid.session import JSONSerializer
    from pyramid_nacl_session import EncryptedSerializer

    serializer = EncryptedSerializer(os.urandom(32), serializer=JSONSerializer())

    # What Pyramid's session hands the serializer is a triple: when it was used, when it was made, the content.
    def seal(body: Body) -> str:
        now = time.time()
        return serializer.dumps((now, now, body)).decode()

    def open_(token: str) -> Body:
        used, _, body = serializer.loads(token.encode())
        return body if time.time() - float(used) <= DAY_SECONDS else {}

    label = Label(ENCRYPTED, STDLIB, "two times, checked", "pyramid-nacl-session")
    return Rival("pyramid_nacl_session", label, seal, open_)


def _beaker() -> Rival:
    from beaker.session import CookieSession

    options: dict[str, Any] = {
        "key": "session",
        "encrypt_key": SECRET,
        "validate_key": SECRET[::-1],
        "data_serializer": "json",
        "crypto_type": "cryptography",
        "timeout": DAY_SECONDS,
    }

    def seal(body: Body) -> str:
        request: dict[str, Any] = {}
        session = CookieSession(request, **options)
        session.update(body)
        session.save()
        return request["cookie_out"].partition(";")[0].partition("=")[2]

    def open_(token: str) -> Mapping[str, Any]:
        return CookieSession({"cookie": f"session={token}"}, **options)

    label = Label(ENCRYPTED, STDLIB, "two times, checked", "Beaker", deflates=True)
    return Rival("Beaker", label, seal, open_, own_prefix="_")


class _Visit:
    """What an aiohttp storage asks of a request and of a response: the cookies that came, and a way to set one."""

    def __init__(self, cookies: dict[str, str]) -> None:
        self.cookies = cookies

    def set_cookie(self, name: str, value: str, **_: Any) -> None:
        self.cookies[name] = value

    def del_cookie(self, name: str, **_: Any) -> None:
        self.cookies[name] = ""


def _aiohttp() -> Rival:
    from aiohttp_session import Session
    from aiohttp_session.cookie_storage import EncryptedCookieStorage

    storage: Any = EncryptedCookieStorage(os.urandom(32), cookie_name="session", max_age=DAY_SECONDS)

    def finished(coroutine: Any) -> Any:
        """The result of a coroutine that waits for nothing: no event loop is measured."""
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waits for something")

    def seal(body: Body) -> str:
        response = _Visit({})
        session = Session(None, data={"created": int(time.time()), "session": body}, new=True, max_age=DAY_SECONDS)
        finished(storage.save_session(None, response, session))
        return response.cookies["session"]

    def open_(token: str) -> Mapping[str, Any]:
        return finished(storage.load_session(_Visit({"session": token})))

    label = Label(ENCRYPTED, STDLIB, "when made, checked", "aiohttp-session")
    return Rival("aiohttp_session", label, seal, open_)


def _jwe() -> Rival:
    from joserfc import jwe
    from joserfc.jwk import OctKey

    key = OctKey.generate_key(256)
    header = {"alg": "dir", "enc": "A256GCM"}

    def seal(body: Body) -> str:
        return jwe.encrypt_compact(header, compact(body), key)

    def open_(token: str) -> Body:
        return json.loads(jwe.decrypt_compact(token, key).plaintext or b"")

    return Rival("JWE dir/A256GCM (joserfc)", Label(ENCRYPTED, STDLIB, "none", "joserfc"), seal, open_)


def _paseto() -> Rival:
    import pyseto

    key = pyseto.Key.new(version=4, purpose="local", key=os.urandom(32))

    def seal(body: Body) -> str:
        token = pyseto.encode(key, dict(body), exp=DAY_SECONDS)  # a copy: it puts the claim into what it is given
        return token.decode() if isinstance(token, bytes) else token

    def open_(token: str) -> Body:
        claims: Any = pyseto.decode(key, token, deserializer=json).payload
        del claims["exp"]
        return claims

    return Rival("PASETO v4.local (pyseto)", Label(ENCRYPTED, STDLIB, "its end, checked", "pyseto"), seal, open_)


# Signed only


def _flask() -> Rival:
    import flask
    from flask.sessions import SecureCookieSessionInterface

    app = flask.Flask("benchmark")
    app.secret_key = SECRET
    serializer: Any = SecureCookieSessionInterface().get_signing_serializer(app)

    def open_(token: str) -> Body:
        return serializer.loads(token, max_age=DAY_SECONDS)

    return Rival("Flask", Label(SIGNED, "stdlib, tagged", "when made, checked", "Flask", deflates=True), serializer.dumps, open_)


def _starlette() -> Rival:
    import itsdangerous

    importlib.metadata.version("starlette")
    signer = itsdangerous.TimestampSigner(SECRET)

    # The steps of starlette.middleware.sessions.SessionMiddleware, which has no function for them.
    def seal(body: Body) -> str:
        return signer.sign(base64.b64encode(json.dumps(body).encode())).decode()

    def open_(token: str) -> Body:
        return json.loads(base64.b64decode(signer.unsign(token.encode(), max_age=DAY_SECONDS)))

    return Rival("Starlette", Label(SIGNED, STDLIB, "when made, checked", "starlette"), seal, open_)


def _django() -> Rival:
    from django.conf import settings
    from django.core import signing

    if not settings.configured:
        settings.configure(
            SECRET_KEY=SECRET, SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies", ALLOWED_HOSTS=["*"], USE_TZ=True
        )
    salt = "django.contrib.sessions.backends.signed_cookies"

    # As that backend does, which has no function for it either; it compresses what gets shorter.
    def seal(body: Body) -> str:
        return signing.dumps(body, salt=salt, compress=True)

    def open_(token: str) -> Body:
        return signing.loads(token, salt=salt, max_age=DAY_SECONDS)

    label = Label(SIGNED, STDLIB, "when made, checked", "Django", deflates=True)
    return Rival("Django signed_cookies", label, seal, open_)


def _itsdangerous() -> Rival:
    import itsdangerous

    serializer = itsdangerous.URLSafeTimedSerializer(SECRET)

    def seal(body: Body) -> str:
        token = serializer.dumps(body)
        return token.decode() if isinstance(token, bytes) else token

    def open_(token: str) -> Body:
        return serializer.loads(token, max_age=DAY_SECONDS)

    label = Label(SIGNED, STDLIB, "when made, checked", "itsdangerous", deflates=True)
    return Rival("itsdangerous", label, seal, open_)


MAKERS: Final[Mapping[str, Callable[[], Rival]]] = {
    FLOOR: _floor,
    "clientsession": _default,
    "clientsession, XChaCha20": _xchacha,
    "clientsession, Msgspec": _speed,
    "Fernet + json": _fernet,
    "Litestar CookieBackend": _litestar,
    "pyramid_nacl_session": _pyramid_nacl,
    "Beaker": _beaker,
    "aiohttp_session": _aiohttp,
    "JWE dir/A256GCM (joserfc)": _jwe,
    "PASETO v4.local (pyseto)": _paseto,
    "Flask": _flask,
    "Starlette": _starlette,
    "Django signed_cookies": _django,
    "itsdangerous": _itsdangerous,
}


@dataclass(frozen=True)
class Field:
    """The systems that are here, and why others are not."""

    rivals: dict[str, Rival]
    absent: dict[str, str]

    def labels(self) -> dict[str, dict[str, Any]]:
        """The labels, as plain data."""
        return {name: asdict(rival.label) for name, rival in self.rivals.items()}

    def tokens(self, bodies: Mapping[int, Body]) -> tuple[dict[str, dict[int, str]], dict[str, str]]:
        """A token of each body from each system, checked to open again; and what a system cannot do, by name and size."""
        tokens: dict[str, dict[int, str]] = {}
        cannot: dict[str, str] = {}
        for name, rival in self.rivals.items():
            for size, body in bodies.items():
                try:
                    tokens.setdefault(name, {})[size] = rival.round_trip(body)
                except CannotError as reason:
                    cannot[f"{name}, {size} bytes"] = str(reason)
        return tokens, cannot


def field() -> Field:
    """Every system that is installed."""
    rivals: dict[str, Rival] = {}
    absent: dict[str, str] = {}
    for name, make in MAKERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what these packages say about one another at import
                rivals[name] = make()
        except ImportError as error:  # importlib.metadata's PackageNotFoundError is one
            absent[name] = f"not here: {error.name or error}"
    return Field(rivals, absent)
