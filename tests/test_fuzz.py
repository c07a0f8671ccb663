"""The fuzz targets without a fuzzer: their seeds, their mutators, and that they see a fault. With atheris, a short run of it."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import clientsession
from clientsession import _codec, _cookies, _header, _jar, _json, _keyfile, _keys, _session, _sessions, _token, serializers
from clientsession.commands import _looking, inspect
from clientsession.migrate import _forms, django, encrypted, iron, node, pyramid, signed
from tests.fuzz.__main__ import ROOT, again
from tests.fuzz.layers import changed, mutated
from tests.fuzz.targets import AUTHENTIC, CORPUS, OPENED, REFUSED, TARGETS

ROUNDS = 200
LARGEST_CORPUS_BYTES = 300_000

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install '.[fuzz]'"
)


def inputs(name: str, rounds: int) -> Iterator[bytes]:
    """Some inputs that the mutator makes of the seeds, the same in each run and whatever the corpus holds."""
    target = TARGETS[name]
    seeds = target.seeds()
    for number in range(rounds):
        yield mutated(target.layer, seeds[number % len(seeds)], target.max_bytes, number, changed, seeds)


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_every_seed(name: str) -> None:
    seeds = TARGETS[name].kept(name)
    reached = {TARGETS[name].check(seed) for seed in seeds}
    assert reached == {REFUSED, AUTHENTIC, OPENED}
    assert max(map(len, seeds)) <= TARGETS[name].max_bytes


@pytest.mark.parametrize("name", TARGETS)
def test_the_mutator_gets_behind_the_seal(name: str) -> None:
    reached = Counter(TARGETS[name].check(data) for data in inputs(name, ROUNDS))
    assert reached[OPENED] >= ROUNDS * 0.05
    assert reached[OPENED] + reached[AUTHENTIC] >= ROUNDS * 0.3
    assert reached[REFUSED]  # and it leaves seals broken, too


@pytest.mark.parametrize("name", TARGETS)
def test_the_mutator_makes_new_inputs_within_the_limit_and_the_same_of_the_same_seed(name: str) -> None:
    made = list(inputs(name, 50))
    assert made == list(inputs(name, 50))
    assert len(set(made)) > 25
    assert max(map(len, made)) <= TARGETS[name].max_bytes


def test_the_corpus_is_small_and_of_the_targets() -> None:
    files = list(CORPUS.glob("*/*"))
    assert {path.parent.name for path in files} == TARGETS.keys()
    assert sum(path.stat().st_size for path in files) < LARGEST_CORPUS_BYTES


rails = sys.modules["clientsession.migrate.rails"]  # in the package, a function has this name


def any_end(text: str) -> bytes | None:
    """base64url with whatever bits at its end."""
    return _decode(text) or (_decode(text[:-1] + "A") if len(text) % 4 > 1 else None)


def loose(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text)
    except ValueError:
        return None


def is_number(time: Any) -> bool:
    return isinstance(time, (int, float)) and abs(time) < 1e12


def first_of(jar: Any, values: list[str], old: Any, clock: Callable[[], int], bound: Any) -> Any:
    answer: Any = _jar._not_found(1)
    for value in values:
        found = jar.codec._find(value, bound)
        answer = _jar._not_found(found) if isinstance(found, int) else jar.codec._open(*found, jar._rules, clock)
        if isinstance(answer, clientsession.Session):
            return answer
    return answer if isinstance(answer, _jar.Refusal) else _jar.Refusal(answer.reason, None, answer.question)


def listed(content: Any, **times: Any) -> Any:
    return _forms.old_session({"a": content} if type(content) is list else content, **times)


def unpurposed(self: Any, envelope: Any, now: int) -> Any:
    fields = envelope["_rails"] if type(envelope) is dict and type(envelope.get("_rails")) is dict else {}
    text = fields.get("message")
    message = _forms.decode_base64(text.encode()) if isinstance(text, str) else None
    content = None if message is None else _forms.parse_json(message)
    return _forms.old_session(content, created=None, expires=rails._milliseconds(fields.get("exp")), now=now)


_decode, problem_of = _token.decode_base64url, _keys._text_problem


FAULTS: dict[str, tuple[str, Any, str, Any]] = {
    "a token has two spellings": ("decode", _token, "decode_base64url", any_end),
    "a flag that is reserved is taken": ("decode", _token, "_KNOWN_FLAGS", 0x0F),
    "a clock may be two minutes ahead": ("decode", _codec, "_MAX_SKEW_MS", 120_000),
    "a body may inflate to more": ("decode", _token, "MAX_BODY_BYTES", 1 << 20),
    "the longest lifetime is not held": (
        "decode",
        _session.Lifetime,
        "capped",
        lambda self, created, expires: max(created, expires),
    ),
    "white space of all kinds may follow": ("decode", _json.StrictJSON, "loads", lambda self, body: json.loads(body)),
    "values are unquoted": ("cookies", _sessions, "find_values", lambda *a: [v.strip('"') for v in _cookies.find_values(*a)]),
    "names are compared without their case": (
        "cookies",
        _sessions,
        "find_values",
        lambda header, name: _cookies.find_values(header.replace("Session", "session"), name),
    ),
    "five cookies are tried": ("cookies", _jar, "MAX_CANDIDATES", 5),
    "the first that opens wins": (
        "cookies",
        _jar.AnyJar,
        "_open",
        first_of,
    ),
    "a session is not extended": ("cookies", _session.Session, "_extend", lambda self: False),
    "Bearer is wanted in its own case": ("header", _header, "_BEARER", re.compile(r"Bearer[ \t]+")),
    "a comma in quotes parts": ("header", _header, "_CREDENTIALS", re.compile("[^,]+")),
    "the checksum of a key is not looked at": ("key", _keys.hmac, "compare_digest", lambda one, other: True),
    "a secret may be of few bytes": ("key", _keys, "_MIN_DISTINCT_BYTES", 1),
    "an error quotes the text of a key": (
        "key",
        _keys,
        "_text_problem",
        lambda text: (what := problem_of(text)) and f"{what}: {text}",
    ),
    "a key file may be cut": ("keyfile", _keyfile, "_is_end", lambda line: line.startswith(("end", "#"))),
    "parts of a second are rounded down": ("keyfile", _keyfile, "whole_second", lambda date: date.replace(microsecond=0)),
    "a mac is not looked at": ("node", node.hmac, "compare_digest", lambda one, other: True),
    "padding is not looked at": ("iron", iron, "decrypt_cbc", lambda aes, iv, text: node.decrypt_cbc(aes, iv, text) or b"{}"),
    "an end may be left out": ("iron", iron, "_END", re.compile("[0-9]*0?")),
    "a tag of Flask's is content": ("flask", signed, "_untagged", lambda value: value),
    "an old clock may be ahead": ("itsdangerous", _forms, "MAX_SKEW_MS", 3_600_000),
    "base64 has two spellings": ("starlette", signed, "decode_base64", loose),
    "set_expiry means nothing": ("django", django._DjangoReader, "_asked_end", lambda self, expiry, created: 1 << 50),
    "a time may be any number": ("pyramid", pyramid, "_time_of", lambda time: int(time * 1000) if is_number(time) else None),
    "a list is a session": ("fernet", encrypted, "old_session", listed),
    "an envelope may hold more": (
        "aiohttp",
        encrypted._AiohttpReader,
        "_unpacked",
        lambda self, body, at: (body.get("session") if type(body) is dict else None, at),
    ),
    "any stamp that is sealed is taken": ("litestar", encrypted, "_LITESTAR_STAMP", re.compile(rb'\{"expires_at":([0-9]+).*')),
    "the purpose is not looked at": (
        "rails",
        rails._RailsReader,
        "_session",
        unpurposed,
    ),
    "anything may follow": (
        "serializers",
        serializers.Msgspec,
        "loads",
        lambda self, body: self._decode(body.split(b"}")[0] + b"}"),
    ),
    "a terminal is sent what is in a token": ("inspect", inspect, "safe_string", lambda text: json.dumps(text, ensure_ascii=False)),
    "an inspected token never opens": ("inspect", _looking, "unpack", lambda plaintext: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, place, attribute, wrong = FAULTS[fault]
    monkeypatch.setattr(place, attribute, wrong)
    for data in (*TARGETS[name].kept(name), *inputs(name, 800)):
        try:
            TARGETS[name].check(data)
        except AssertionError:
            return
    pytest.fail("none of the inputs showed it")


def fuzz(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_input_is_run_again_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(TARGETS["key"].seeds()[0])
    done = fuzz("key", str(path))
    assert (done.returncode, done.stdout) == (0, f"{path}: opened\n")


def test_an_input_that_failed_is_run_again_by_the_line_in_the_log_when_its_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "crash"
    path.write_bytes(TARGETS["key"].seeds()[0])
    _, line = again("key", path).splitlines()
    path.unlink()
    command = line.removeprefix("or with: ").replace("python", shlex.quote(sys.executable))
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "/dev/stdin: opened\n"), done.stderr


def test_the_log_has_every_input_within_a_target_s_limit_and_none_that_is_huge(tmp_path: Path) -> None:
    path = tmp_path / "crash"
    for size in {target.max_bytes for target in TARGETS.values()}:
        path.write_bytes(bytes(size))
        assert base64.b64encode(bytes(size)).decode() in again("key", path)
    path.write_bytes(bytes(1_000_000))
    assert again("key", path) == f"again with: python -m tests.fuzz key {path}\n(1,000,000 bytes, too many to be shown here)"


def test_a_target_that_is_none_is_told_with_those_there_are() -> None:
    done = fuzz("nothing")
    assert done.returncode == 2
    assert "Targets: decode, cookies, " in done.stderr


@needs_atheris
@pytest.mark.parametrize("name", ["decode", "django"])
def test_atheris_runs_a_target_with_as_many_inputs_as_are_asked_for(name: str, tmp_path: Path) -> None:
    done = fuzz(name, FUZZ_RUNS="1000", FUZZ_FOUND=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(rf"{name} +1,000 runs   edges +[0-9]+ -> +[0-9]+   features .*\n", done.stdout)
    assert (tmp_path / name).is_dir()
