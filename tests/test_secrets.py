"""No secret shows: not in what an object says of itself, nor in messages, logs, events, or our frames of a traceback.

What is in a session shows in no log, event or refusal either.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import json
import logging
import os
import pickle
import pprint
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import clientsession
from clientsession import (
    ClientSessionError,
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
)
from clientsession._events import Event
from clientsession._keyfile import KeyFile
from clientsession.migrate import Reader
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests import reference
from tests.conftest import Clock, cookie_of

PACKAGE = Path(clientsession.__file__).parent
SECRET = bytes.fromhex("9d6c1f0ae7b84253d1908f3e5ab7c4e82d71f6930b5ec8a4417de29f60b83c15")
WORDS = "Zwiebelkuchen-Fahrradkette-8293-Morgentau"  # a secret of text, and a passphrase
CONTENT = "Kontostand-4711-Euro"
NOW = 1_800_000_000_000  # the clock fixture's, in milliseconds
WINDOW = 9  # so many characters of a secret in a row are a leak; of a repr, in which a byte takes up to four, more


def spellings(secret: bytes | str) -> Iterator[tuple[str, int]]:
    """A secret as it may stand in a text: as it is, by repr, in hex, base64 and base64url; and how much of that is a leak."""
    raw = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")
    yield raw.decode("latin-1"), WINDOW
    yield repr(raw)[2:-1], 3 * WINDOW
    yield raw.hex(), 2 * WINDOW
    yield raw.hex().upper(), 2 * WINDOW
    for skipped in range(3):  # where it begins within a group of three bytes
        yield base64.b64encode(raw[skipped:]).decode()[:-4], WINDOW
        yield base64.urlsafe_b64encode(raw[skipped:]).decode()[:-4], WINDOW
    if isinstance(secret, str):
        yield secret.removeprefix("csk1_"), WINDOW  # the tag of a key's text says nothing by itself


def windows(secret: bytes | str) -> set[str]:
    """Every run of some characters of every spelling."""
    return {text[start : start + size] for text, size in spellings(secret) for start in range(len(text) - size + 1)}


class Needles:
    """What must not be found: secrets, and all that is derived from them."""

    def __init__(self, *given: bytes | str) -> None:
        self.windows: set[str] = set()
        for secret in given:
            self.windows |= windows(secret)

    @classmethod
    def of_secret(cls, secret: bytes, *given: bytes | str) -> Needles:
        """A secret, its text in both suites, and its derived keys."""
        derived = [reference.prk_of(secret)]
        for suite in Suite:
            derived += (
                reference.seal_key(secret, suite, kind, name, "") for kind in ("cookie", "token") for name in ("session", "x")
            )
        return cls(secret, *(reference.export(secret, suite) for suite in Suite), *derived, *given)

    def found_in(self, text: str) -> list[str]:
        return sorted(window for window in self.windows if window in text)


NEEDLES = Needles.of_secret(SECRET)


def test_the_search_finds_a_secret_in_each_spelling() -> None:
    for secret in (SECRET, reference.prk_of(SECRET), *(reference.seal_key(SECRET, suite, "token", "x", "") for suite in Suite)):
        for text in (
            secret.decode("latin-1"),
            f"{secret}",
            secret.hex(),
            secret.hex().upper(),
            base64.b64encode(b"a" + secret).decode(),
            base64.urlsafe_b64encode(b"ab" + secret).decode(),
            json.dumps({"k": secret[10:24].hex()}),
            f"{secret[4:20]}",
        ):
            assert NEEDLES.found_in(f"<Key {text}>")
    for suite in Suite:
        text = Key.from_secret(SECRET, suite=suite).export()
        assert NEEDLES.found_in(text)
        assert NEEDLES.found_in(text[20:32])
    assert Needles(WORDS).found_in(f"bad passphrase {WORDS!r}")
    assert not NEEDLES.found_in(f"csk1_… {Key.from_secret(SECRET)!r} {PACKAGE}")


# What objects say of themselves


@pytest.fixture
def key(suite: Suite) -> Key:
    return Key.from_secret(SECRET, suite=suite)


def objects(ring: Keyring, clock: Clock) -> dict[str, Any]:
    """Everything public that holds a key, directly or not."""
    codec, jar = Codec(ring, "x", clock=clock), Jar("session", ring, clock=clock)
    sessions = Sessions([jar], None)
    sessions["session"]["a"] = 1
    middleware = SessionMiddleware(lambda *_: [], [jar])
    environ: dict[str, Any] = {}
    middleware(environ, lambda *_: None)
    return {
        "key": ring.sealing,
        "ring": ring,
        "rotated-ring": Keyring(Key.generate(), accepting=[ring.sealing]),
        "ring-of-a-source": Keyring.from_source(lambda: ring),
        "ring-of-a-text": Keyring.from_source(lambda: file_of(ring.sealing)),
        "key-file": KeyFile._parse(file_of(ring.sealing).encode()),
        "bound-ring": codec._bound,
        "codec": codec,
        "jar": jar,
        "codec-of-a-jar": jar.codec,
        "sessions": sessions,
        "session": sessions["session"],
        "decoded": codec.decode(codec.encode({"a": 1})),
        "middleware": middleware,
        "environ": environ,
        "bound-key": codec._bound.sealing,
        "cipher": codec._bound.sealing.cipher,
    }


def file_of(key: Key) -> str:
    """The text of a key file, in which a comment holds the key as well."""
    return f"# {key.export()}\nsealing {key.export()} # {key.export()}\nend\n"


KINDS = list(objects(Keyring(Key.from_secret(SECRET)), Clock()))


def attempt(call: Callable[[], object]) -> object:
    """What a call gives, or the error it gives instead."""
    try:
        return call()
    except (TypeError, AttributeError, ValueError) as error:
        return f"{error!r} {error.args}"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_an_object_says_of_itself_shows_a_secret(ring: Keyring, clock: Clock, kind: str) -> None:
    thing = objects(ring, clock)[kind]
    said = [
        repr(thing),
        str(thing),
        ascii(thing),
        format(thing),
        f"{thing!s:<40}",
        "{} {!r}".format(*[thing] * 2),
        pprint.pformat(thing),
        repr([thing, {"k": thing}]),
        attempt(lambda: vars(thing)),
        attempt(lambda: dict(thing)),
        attempt(lambda: list(thing)),
        attempt(lambda: bytes(thing)),
        attempt(lambda: format(thing, "s")),
        attempt(lambda: dataclasses.asdict(thing)),
        attempt(lambda: dataclasses.fields(thing)),
        attempt(lambda: json.dumps(thing)),
        attempt(lambda: json.dumps(thing, default=vars)),
        attempt(lambda: json.dumps(thing, default=repr)),
        attempt(lambda: sorted(thing)),
        attempt(lambda: thing == SECRET),
        attempt(lambda: copy.copy(thing)),
        dir(thing),
        type(thing).__doc__,
    ]
    shown = "\n".join(str(each) for each in said)
    assert type(thing).__name__ in shown
    assert NEEDLES.found_in(shown) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_pickle_and_no_copy_carries_a_secret(ring: Keyring, clock: Clock, kind: str) -> None:
    thing = objects(ring, clock)[kind]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for what in (thing, [thing], attempt(lambda: vars(thing))):
            try:
                shown = pickle.dumps(what, protocol).decode("latin-1")
            except (TypeError, AttributeError, pickle.PicklingError) as error:
                shown = str(error)
            assert NEEDLES.found_in(shown) == []
    if not isinstance(thing, dict):
        assert NEEDLES.found_in(repr(attempt(lambda: copy.deepcopy(thing)))) == []


def test_export_alone_shows_a_key(key: Key, suite: Suite) -> None:
    assert key.export() == reference.export(SECRET, suite)
    public = {name: getattr(key, name) for name in dir(key) if not name.startswith("_")}
    assert set(public) == {"export", "from_passphrase", "from_secret", "generate", "id", "parse", "suite"}
    assert NEEDLES.found_in(repr(public)) == []
    assert key.id == reference.key_id(SECRET, suite).hex()


def test_a_key_s_id_is_no_part_of_it(suite: Suite) -> None:
    for number in range(50):  # always the same: of 50 random ones, one id in a million is there by chance
        secret = hashlib.sha256(b"%d" % number).digest()
        key = Key.from_secret(secret, suite=suite)
        assert bytes.fromhex(key.id) not in secret
        assert not any(key.id in window for window in Needles.of_secret(secret).windows)


# Failures


@dataclasses.dataclass
class Given:
    """What a failure path may use; whatever it hands over that is secret, it adds to the needles."""

    monkeypatch: pytest.MonkeyPatch
    clock: Clock
    folder: Path
    handed: list[bytes | str] = dataclasses.field(default_factory=list)

    def secret(self, value: Any) -> Any:
        self.handed.append(bytes(value) if isinstance(value, (bytearray, memoryview)) else value)
        return value

    @property
    def key(self) -> Key:
        return Key.from_secret(SECRET)

    @property
    def text(self) -> str:
        return self.key.export()

    @property
    def ring(self) -> Keyring:
        return Keyring(self.key)

    def codec(self, **options: Any) -> Codec:
        return Codec(self.ring, "x", clock=self.clock, **options)

    def jar(self, **options: Any) -> Jar:
        return Jar("session", self.ring, clock=self.clock, **options)

    def environment(self, **variables: str) -> Keyring:
        for variable in (
            "CLIENTSESSION_KEY",
            "CLIENTSESSION_ACCEPTED_KEYS",
            "CLIENTSESSION_RETIRING_KEYS",
            "CLIENTSESSION_KEY_FILE",
        ):
            self.monkeypatch.delenv(variable, raising=False)
        for variable, value in variables.items():
            self.monkeypatch.setenv(variable, value)
        return Keyring.from_env()

    def commit(self, content: Any, **options: Any) -> object:
        sessions = Sessions([self.jar(**options)], None)
        sessions["session"] = content
        return sessions.commit()

    def without_randomness(self) -> None:
        def fail(size: int) -> bytes:
            raise OSError("no randomness")

        self.monkeypatch.setattr(os, "urandom", fail)

    def file(self, text: str) -> Path:
        path = Path(self.folder) / "keys"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return path

    def of_source(self, first: object, *later: object) -> object:
        """A ring of a source that answers with one thing after the other; an error is raised."""
        answers = iter((first, *later))

        def source() -> Any:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        ring = Keyring.from_source(source, every=timedelta(seconds=1), clock=self.clock)
        for _ in later:
            self.clock.pass_(1)
            assert ring.sealing
        return Codec(ring, "x", clock=self.clock).decode("junk")


def typo(text: str) -> str:
    return text[:20] + ("B" if text[20] != "B" else "C") + text[21:]


FAILURES: dict[str, Callable[[Given], object]] = {
    "parse-typo": lambda given: Key.parse(given.secret(typo(given.text))),
    "parse-cut": lambda given: Key.parse(given.text[:-3]),
    "parse-cut-in-half": lambda given: Key.parse(given.text[:30]),
    "parse-untagged": lambda given: Key.parse(given.text[5:]),
    "parse-space-before": lambda given: Key.parse(" " + given.text),
    "parse-line-feed-after": lambda given: Key.parse(given.text + "\n"),
    "parse-wrong-character": lambda given: Key.parse(given.text + "\u20ac"),
    "parse-surrogate": lambda given: Key.parse(given.text + "\ud800"),
    "parse-bytes": lambda given: Key.parse(given.text.encode()),
    "parse-unknown-suite": lambda given: Key.parse(given.secret(reference.export(SECRET, 9))),
    "parse-short": lambda given: Key.parse(given.secret(reference.export(SECRET[:31], 1))),
    "parse-long": lambda given: Key.parse(given.text * 60),
    "parse-secret": lambda given: Key.parse(given.secret(WORDS)),
    "from-secret-short": lambda given: Key.from_secret(SECRET[:31]),
    "from-secret-short-text": lambda given: Key.from_secret(given.secret(WORDS[:31])),
    "from-secret-long": lambda given: Key.from_secret(SECRET * 33),
    "from-secret-repeated": lambda given: Key.from_secret(given.secret("abcdefghi" * 5)),
    "from-secret-exported": lambda given: Key.from_secret(given.text),
    "from-secret-exported-bytes": lambda given: Key.from_secret(given.text.encode()),
    "from-secret-surrogate": lambda given: Key.from_secret(given.secret(WORDS) + "\ud800"),
    "from-secret-bytearray": lambda given: Key.from_secret(bytearray(SECRET)),
    "from-secret-memoryview": lambda given: Key.from_secret(memoryview(SECRET)),
    "from-secret-list": lambda given: Key.from_secret([SECRET]),
    "from-secret-wrong-suite": lambda given: Key.from_secret(SECRET, suite="XAES_256_GCM"),
    "from-secret-text-wrong-suite": lambda given: Key.from_secret(given.secret(WORDS), suite=1),
    "from-passphrase-bad-salt": lambda given: Key.from_passphrase(given.secret(WORDS), salt=b"short"),
    "from-passphrase-text-salt": lambda given: Key.from_passphrase(given.secret(WORDS), salt="x" * 16),
    "from-passphrase-long": lambda given: Key.from_passphrase(given.secret(WORDS * 30), salt=bytes(16)),
    "from-passphrase-bytes": lambda given: Key.from_passphrase(given.secret(WORDS.encode()), salt=bytes(16)),
    "from-passphrase-surrogate": lambda given: Key.from_passphrase(given.secret(WORDS) + "\ud800", salt=bytes(16)),
    "from-passphrase-wrong-suite": lambda given: Key.from_passphrase(given.secret(WORDS), salt=bytes(16), suite=2),
    "ring-text": lambda given: Keyring(given.text),
    "ring-secret": lambda given: Keyring(SECRET),
    "ring-list-of-text": lambda given: Keyring([given.text]),
    "ring-accepting-list-of-text": lambda given: Keyring(given.key, accepting=[given.text]),
    "ring-retiring-list-of-text": lambda given: Keyring(given.key, retiring=(given.text, given.key)),
    "ring-accepting-text": lambda given: Keyring(given.key, accepting=given.text),
    "ring-retiring-text": lambda given: Keyring(given.key, retiring=given.text),
    "ring-accepting-secret": lambda given: Keyring(given.key, accepting=SECRET),
    "ring-accepting-bytearray": lambda given: Keyring(given.key, accepting=bytearray(SECRET)),
    "ring-accepting-dict": lambda given: Keyring(given.key, accepting={given.text: 1}),
    "ring-all-texts": lambda given: Keyring(given.text, accepting=[given.text], retiring=given.text),
    "ring-text-and-none": lambda given: Keyring(given.text, accepting=None),
    "ring-text-and-number": lambda given: Keyring(given.text, retiring=7),
    "ring-texts-and-none": lambda given: Keyring(given.key, accepting=[given.text], retiring=None),
    "ring-twice": lambda given: Keyring(given.key, accepting=[given.key]),
    "file-text": lambda given: Keyring.from_file(given.text),
    "file-secret": lambda given: Keyring.from_file(SECRET),
    "file-text-of-a-file": lambda given: Keyring.from_file(file_of(given.key)),
    "file-cut": lambda given: Keyring.from_file(given.file(file_of(given.key).removesuffix("end\n"))),
    "file-cut-in-a-key": lambda given: Keyring.from_file(given.file(f"sealing {given.text[:-8]}\nend\n")),
    "file-typo": lambda given: Keyring.from_file(given.file(f"sealing {given.secret(typo(given.text))}\nend\n")),
    "file-no-role": lambda given: Keyring.from_file(given.file(f"{given.text}\nend\n")),
    "file-no-end": lambda given: Keyring.from_file(given.file(f"sealing {given.text}\n")),
    "file-twice": lambda given: Keyring.from_file(given.file(f"sealing {given.text}\naccepting {given.text}\nend\n")),
    "file-secret-for-a-key": lambda given: Keyring.from_file(given.file(f"sealing {given.secret(WORDS)}\nend\n")),
    "file-secret-for-a-date": lambda given: Keyring.from_file(given.file(f"sealing {given.text} since={given.text}\nend\n")),
    "file-secret-for-a-word": lambda given: Keyring.from_file(given.file(f"sealing {given.text} {given.text}\nend\n")),
    "file-secret-after-the-end": lambda given: Keyring.from_file(given.file(f"sealing {given.text}\nend\nsealing {given.text}\n")),
    "file-no-unicode": lambda given: Keyring.from_file(given.file(f"# \udcff\nsealing {given.text}\nend\n")),
    "file-only-accepting": lambda given: Keyring.from_file(given.file(f"accepting {given.text}\nend\n")),
    "source-text": lambda given: Keyring.from_source(file_of(given.key)),
    "source-of-a-key": lambda given: Keyring.from_source(lambda: given.key),
    "source-of-a-key-s-text": lambda given: Keyring.from_source(lambda: given.text),
    "source-of-a-secret": lambda given: Keyring.from_source(lambda: SECRET),
    "source-of-a-cut-text": lambda given: Keyring.from_source(lambda: file_of(given.key)[:-4]),
    "source-raises-later": lambda given: given.of_source(given.ring, OSError(given.text)),
    "source-is-cut-later": lambda given: given.of_source(file_of(given.key), file_of(given.key)[:-4]),
    "environment-file-text": lambda given: given.environment(CLIENTSESSION_KEY_FILE=given.text),
    "environment-file-and-key": lambda given: given.environment(CLIENTSESSION_KEY_FILE="/keys", CLIENTSESSION_KEY=given.text),
    "codec-text": lambda given: Codec(given.text, "x"),
    "codec-secret": lambda given: Codec(SECRET, "x"),
    "codec-key": lambda given: Codec(given.key, "x"),
    "codec-text-and-bad-duration": lambda given: Codec(given.text, "x", duration=7),
    "codec-bad-name": lambda given: Codec(given.ring, ""),
    "codec-text-for-a-name": lambda given: Codec(given.ring, given.text),
    "codec-text-for-an-audience": lambda given: Codec(given.ring, "x", audience=given.text),
    "codec-text-and-name-change-places": lambda given: Codec("x", given.text),
    "codec-texts-all-over": lambda given: Codec(given.text, given.text, audience=given.text),
    "codec-bad-clock": lambda given: Codec(given.ring, "x", clock=7),
    "jar-text": lambda given: Jar("s", given.text),
    "jar-secret": lambda given: Jar("s", SECRET),
    "jar-list-of-text": lambda given: Jar("s", [given.text]),
    "jar-text-and-bad-name": lambda given: Jar("", given.text),
    "jar-text-for-a-name": lambda given: Jar(given.text, given.ring),
    "jar-bytes-for-a-name": lambda given: Jar(given.text.encode(), given.ring),
    "codec-bytes-for-an-audience": lambda given: Codec(given.ring, "x", audience=given.text.encode()),
    "jar-text-for-readers": lambda given: given.jar(migrate_from=given.text),
    "jar-list-of-text-for-readers": lambda given: given.jar(migrate_from=[given.secret(WORDS)]),
    "reader-text-for-a-cookie-name": lambda given: Reader(given.text),
    "reader-text-for-a-path": lambda given: Reader("old", path=f"/{given.text}"),
    "jar-text-and-name-change-places": lambda given: Jar(given.text, "s"),
    "jar-text-for-a-cookie-name": lambda given: given.jar(cookie_name=given.text),
    "jar-text-for-an-audience": lambda given: given.jar(audience=f"shop {given.text}"),
    "jar-text-for-a-path": lambda given: given.jar(path=f"/{given.text}"),
    "jar-text-for-a-domain": lambda given: given.jar(domain=given.text),
    "header-jar-text-for-a-name": lambda given: HeaderJar(given.text, given.ring),
    "header-jar-text-for-a-header": lambda given: HeaderJar("x", given.ring, header=given.text),
    "header-jar-text-for-another-header": lambda given: HeaderJar("x", given.ring, answer_header=given.text),
    "header-jar-text-for-an-audience": lambda given: HeaderJar("x", given.ring, audience=given.text),
    "jar-bad-domain": lambda given: given.jar(domain=".example"),
    "jar-bad-duration": lambda given: given.jar(duration=7),
    "jars-of-one-name": lambda given: Sessions([given.jar(), given.jar()], None),
    "env-missing": lambda given: given.environment(CLIENTSESSION_ACCEPTED_KEYS=given.text),
    "env-typo": lambda given: given.environment(CLIENTSESSION_KEY=given.secret(typo(given.text))),
    "env-space": lambda given: given.environment(CLIENTSESSION_KEY=f"{given.text} "),
    "env-quoted": lambda given: given.environment(CLIENTSESSION_KEY=f"'{given.text}'"),
    "env-secret": lambda given: given.environment(CLIENTSESSION_KEY=given.secret(WORDS)),
    "env-accepted-typo": lambda given: given.environment(
        CLIENTSESSION_KEY=Key.generate().export(), CLIENTSESSION_ACCEPTED_KEYS=f"{Key.generate().export()} {given.text[:-1]}"
    ),
    "env-accepted-commas": lambda given: given.environment(
        CLIENTSESSION_KEY=Key.generate().export(), CLIENTSESSION_ACCEPTED_KEYS=f"{given.text},{given.text}"
    ),
    "env-retiring-typo": lambda given: given.environment(
        CLIENTSESSION_KEY=given.text, CLIENTSESSION_RETIRING_KEYS=given.secret(typo(given.text))
    ),
    "env-twice": lambda given: given.environment(CLIENTSESSION_KEY=given.text, CLIENTSESSION_RETIRING_KEYS=given.text),
    "decode-malformed": lambda given: given.codec().decode("junk"),
    "decode-bytes": lambda given: given.codec().decode(b"x" * 80),
    "decode-unknown-key": lambda given: given.codec().decode(Codec(Keyring(Key.generate()), "x").encode({})),
    "decode-forged": lambda given: given.codec().decode(Codec(given.ring, "y", clock=given.clock).encode({})),
    "decode-expired": lambda given: given.codec().decode(sealed(b"", NOW - 1)),
    "decode-broken-body": lambda given: given.codec().decode(sealed(b"\xff")),
    "decode-bad-clock": lambda given: Codec(given.ring, "x", clock=lambda: -1.0).decode(given.codec().encode({})),
    "encode-object": lambda given: given.codec().encode({"a": object()}),
    "encode-surrogate": lambda given: given.codec().encode({"a": "\ud800"}),
    "encode-too-large": lambda given: given.codec().encode({"a": "x" * 5000}),
    "encode-no-mapping": lambda given: given.codec().encode([1]),
    "encode-bad-duration": lambda given: given.codec().encode({}, duration=timedelta(0)),
    "encode-bad-clock": lambda given: Codec(given.ring, "x", clock=lambda: -1.0).encode({}),
    "encode-without-randomness": lambda given: (given.without_randomness(), given.codec().encode({"a": 1})),
    "encode-by-another-serializer": lambda given: given.codec(serializer=json).encode({"a": object()}),
    "commit-object": lambda given: given.commit({"a": object()}),
    "commit-too-large": lambda given: given.commit({"a": "x" * 5000}),
    "commit-without-randomness": lambda given: (given.without_randomness(), given.commit({"a": 1})),
    "commit-observer": lambda given: given.commit({"a": 1}, observer=lambda event: [][event.size]),
    "unknown-jar": lambda given: Sessions([given.jar()], None)["cart"],
    "pickle-key": lambda given: pickle.dumps(given.key),
    "pickle-codec": lambda given: pickle.dumps(given.codec()),
    "set-attribute-of-a-key": lambda given: setattr(given.key, "_secret", SECRET),
    "generate-without-randomness": lambda given: (given.without_randomness(), Key.generate()),
}


def sealed(body: bytes, expires: int = NOW + 60_000) -> str:
    return reference.seal(SECRET, 1, "token", "x", "", reference.plaintext(NOW - 60_000, expires, body))


def shown_by(error: BaseException) -> tuple[str, int]:
    """What a report of an error shows with local variables captured, of the frames of our own files; and how many those are."""
    shown: list[str] = []
    ours = 0
    pending: list[BaseException] = [error]
    while pending:
        each = pending.pop()
        shown += [str(each), repr(each), repr(each.args), repr(vars(each)), *traceback.format_exception_only(each)]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
                ours += 1
                shown += [f"{name} = {attempt(lambda value=value: repr(value))}" for name, value in frame.f_locals.items()]
        pending += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
    return "\n".join(shown), ours


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_shows_a_secret(
    name: str, monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = Given(monkeypatch, clock, tmp_path)
    with pytest.raises((ClientSessionError, TypeError, ValueError, KeyError, IndexError, OSError, AttributeError)) as caught:
        FAILURES[name](given)
    shown, ours = shown_by(caught.value)
    assert ours >= 1
    assert Needles.of_secret(SECRET, *given.handed).found_in(f"{shown}\n{caplog.text}") == []


def test_the_search_of_frames_finds_a_local_variable_of_ours() -> None:
    class Serializer:
        def dumps(self, value: dict[str, Any]) -> bytes:
            raise OSError

        def loads(self, body: bytes) -> dict[str, Any]:
            raise OSError

    with pytest.raises(OSError) as caught:
        Codec(Keyring(Key.from_secret(SECRET)), "x", serializer=Serializer()).encode({"a": WORDS})
    shown, ours = shown_by(caught.value)
    assert ours >= 2
    assert Needles(WORDS).found_in(shown)  # what is sealed is the application's own, and is at hand there
    assert NEEDLES.found_in(shown) == []


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_can_be_reported_with_its_local_variables(
    name: str, monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path
) -> None:
    """An object that was not made to its end is one of them, and its repr must not raise in the reporter."""
    with pytest.raises(Exception) as caught:
        FAILURES[name](Given(monkeypatch, clock, tmp_path))
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in report.stack if Path(frame.filename).is_relative_to(PACKAGE)]
    assert ours
    assert not [frame.name for frame in ours if "repr() failed" in str(frame.locals)]


def test_whoever_logs_an_error_with_its_traceback_logs_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    text = Key.from_secret(SECRET).export()
    environment = {"key": typo(text)}
    try:
        Key.parse(environment["key"])
    except ConfigurationError:
        logging.getLogger("app").exception("cannot start with %r", Keyring(Key.from_secret(SECRET)))
    assert "Traceback" in caplog.text
    assert Needles.of_secret(SECRET, typo(text)).found_in(caplog.text) == []


# Content


MARKED = {"secret": CONTENT, "list": [CONTENT, {"deep": CONTENT}]}


class Watched:
    """A shop of two jars whose log and events are kept, and the tokens that came and went."""

    def __init__(self, ring: Keyring, clock: Clock) -> None:
        self.ring = ring
        self.clock = clock
        self.events: list[Event] = []
        self.tokens: list[str] = []

    def jar(self, name: str = "session", ring: Keyring | None = None, **options: Any) -> Jar:
        return Jar(name, ring or self.ring, clock=self.clock, observer=self.events.append, **options)

    def visit(self, jar: Jar, header: str | None, handle: Callable[[Session], object]) -> str | None:
        sessions = Sessions([jar], header)
        handle(sessions[jar.name])
        answers = sessions.commit()
        self.tokens += (cookie_of(answer).partition("=")[2] for answer in answers)
        return cookie_of(answers[0]) if answers else None

    def shown(self, caplog: pytest.LogCaptureFixture) -> str:
        records = [f"{record.getMessage()} {record.args!r} {vars(record)!r}" for record in caplog.records]
        return "\n".join([caplog.text, *records, *(f"{event!r} {event}" for event in self.events)])


def test_no_log_record_and_no_event_shows_content_or_a_token(
    ring: Keyring, suite: Suite, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    watched = Watched(ring, clock)
    minute = timedelta(minutes=1)
    jar = watched.jar(duration=10 * minute, active_duration=5 * minute)
    cookie = watched.visit(jar, None, lambda session: session.update(MARKED))
    assert cookie is not None
    token = cookie.partition("=")[2]
    watched.tokens += ("x" * 80, token[:-1], token[:-8] + "AAAAAAAA")
    for header in (
        cookie,
        f"session={'x' * 80}",
        cookie[:-1],
        cookie[:-8] + "AAAAAAAA",
        f'session="{token}"',
        f"{cookie}{CONTENT}",
    ):
        watched.visit(jar, header, lambda session: session.get("secret"))
    clock.pass_(400)
    assert watched.visit(jar, cookie, lambda session: session.get("secret"))  # extended
    rotated = watched.jar(ring=Keyring(Key.generate(suite), retiring=[ring.sealing]), duration=10 * minute)
    assert watched.visit(rotated, cookie, lambda session: session.get("secret"))  # sealed again
    other = watched.jar(ring=Keyring(Key.generate(suite)))
    watched.visit(other, cookie, lambda session: session.get("secret"))  # an unknown key
    assert watched.visit(jar, cookie, lambda session: session.destroy()) == "session="
    with pytest.raises(SessionTooLargeError):
        watched.visit(jar, cookie, lambda session: session.update(more=CONTENT * 400))
    with pytest.raises(SerializationError):
        watched.visit(jar, cookie, lambda session: session.update(more={CONTENT}))
    clock.pass_(4000)
    watched.visit(jar, cookie, lambda session: session.get("secret"))  # expired
    clock.pass_(-8000)
    watched.visit(jar, cookie, lambda session: session.get("secret"))  # future

    assert {str(event.kind) for event in watched.events} == {
        *("opened", "refused", "sealed", "extended", "resealed", "deleted", "too_large")
    }
    assert {str(event.reason) for event in watched.events} == {"None", "malformed", "unknown_key", "forged", "expired", "future"}
    assert len(caplog.records) >= 7
    needles = Needles.of_secret(SECRET, CONTENT, *(token for token in watched.tokens if len(token) > WINDOW))
    assert needles.found_in(watched.shown(caplog)) == []


def test_the_warning_of_large_cookies_shows_names_and_bytes_alone(
    ring: Keyring, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    jars = [Jar(name, ring, clock=clock) for name in ("session", "cart")]
    sessions = Sessions(jars, None)
    for jar in jars:
        sessions[jar.name]["secret"] = CONTENT * 140
    sessions.commit()
    (record,) = caplog.records
    assert "session, cart" in record.getMessage()
    assert Needles.of_secret(SECRET, CONTENT).found_in(f"{vars(record)!r}") == []


def test_no_refusal_shows_what_the_token_holds(ring: Keyring, suite: Suite, clock: Clock) -> None:
    codec = Codec(ring, "x", clock=clock, max_duration=timedelta(days=1))

    def seal(body: bytes, created: int = NOW, expires: int = NOW + 60_000, name: str = "x") -> str:
        return reference.seal(SECRET, suite, "token", name, "", reference.plaintext(created, expires, body))

    mark = CONTENT.encode()
    for token in (
        seal(b'{"a":"%s"' % mark),
        seal(b'["%s"]' % mark),
        seal(b'{"a":"%s\xff"}' % mark),
        seal(b'{"a":"%s"}%s' % (mark, mark)),
        seal(b'{"a":NaN,"b":"%s"}' % mark),
        seal(b'{"%s":' % mark),
        seal(mark),
        seal(b'{"a":"%s"}' % mark, NOW + 120_000, NOW + 180_000),
        seal(b'{"a":"%s"}' % mark, NOW - 120_000, NOW - 60_000),
        seal(b'{"a":"%s"}' % mark, NOW - 100_000_000),
        seal(b'{"a":"%s"}' % mark, NOW, NOW - 1),
        seal(b'{"a":"%s"}' % mark, name="y"),
        f"{CONTENT}-{CONTENT}-{CONTENT}-{CONTENT}",
    ):
        with pytest.raises(TokenError) as caught:
            codec.decode(token)
        error = caught.value
        told = "".join(traceback.format_exception(error, chain=True))
        assert CONTENT not in f"{error} {error!r} {error.args} {vars(error)} {error.__cause__} {told}"
        assert error.args == (type(error).explanation,)


def test_an_application_s_error_page_shows_no_secret(ring: Keyring, clock: Clock) -> None:
    """A debugger's page prints the environ, and whatever hangs on it."""
    jar = Jar("session", ring, clock=clock)
    pages = []

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        get_sessions(environ)["session"]["a"] = 1
        pages.append(
            pprint.pformat(environ) + pprint.pformat({key: attempt(lambda key=key: vars(environ[key])) for key in environ})
        )
        start_response("500 Internal Server Error", [])
        return []

    SessionMiddleware(app, [jar])({"wsgi.url_scheme": "https"}, lambda *_: None)
    assert "<Sessions session>" in pages[0]
    assert NEEDLES.found_in(pages[0]) == []
