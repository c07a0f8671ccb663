"""The corpus of docs/SPEC.md through the library, and every step of its derivations. The ciphers' own vectors: test_ciphers.py."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clientsession import Key, Keyring, TokenError
from clientsession._ciphers import new_cipher
from clientsession._codec import Codec
from clientsession._jar import CookieCodec
from clientsession._keys import extract
from tests import reference
from tests.vectors import make

VECTORS = Path(__file__).parent / "vectors" / "tokens.json"
CORPUS: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
ROOT = Path(__file__).parent.parent
# The corpus


def _codec(case: dict[str, Any]) -> Codec:
    """The codec a case is for: its kind is a jar's or a codec's own."""
    values = {**CORPUS["defaults"], **case}
    keys = [Key.parse(text) for text in CORPUS["keys"]]
    ring = Keyring(keys[0], accepting=keys[1:])
    limit = values["max_duration_ms"]
    max_duration = None if limit is None else timedelta(milliseconds=limit)
    clock = lambda: values["now_ms"] / 1000  # noqa: E731
    if values["kind"] == "token":
        return Codec(
            ring, values["name"], audience=values["audience"], max_duration=max_duration, max_size=values["max_chars"], clock=clock
        )
    # Through the codec of a jar, but for what a jar would not have: a case sets any name, and another longest lifetime.
    duration = min(timedelta(days=1), max_duration or timedelta(days=1))
    return CookieCodec(ring, values["name"], audience=values["audience"], duration=duration, max_duration=max_duration, clock=clock)


def _id(case: dict[str, Any]) -> str:
    return f"{case['suite']}: {case['what']}"


def test_the_corpus_is_what_the_second_implementation_makes() -> None:
    assert make.corpus() == CORPUS
    assert len(CORPUS["opens"]) >= 20
    assert len(CORPUS["refused"]) >= 60


@pytest.mark.parametrize("case", CORPUS["opens"], ids=_id)
def test_a_token_of_the_corpus_opens(case: dict[str, Any]) -> None:
    session = _codec(case).decode(case["token"])
    assert session == case["content"]
    assert session._created == case["created_ms"]
    assert session._expires == case["expires_ms"]
    assert session.ephemeral is case["ephemeral"]
    assert (session.id if case["id"] else None) == case["id"]
    assert session.key_id == reference.key_id(make.SECRETS[case["suite"]], case["suite"]).hex()


@pytest.mark.parametrize("case", CORPUS["refused"], ids=_id)
def test_a_token_of_the_corpus_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    with pytest.raises(TokenError) as caught:
        _codec(case).decode(case["token"])
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("steps", CORPUS["derivations"], ids=lambda steps: steps["name"])
def test_every_step_of_a_derivation(steps: dict[str, Any]) -> None:
    key = Key.parse(steps["key_text"])
    assert key.id == steps["key_id"]
    assert key.suite == steps["suite"]
    secret = bytes.fromhex(steps["secret"])
    assert Key.from_secret(secret, suite=key.suite).export() == steps["key_text"]
    assert extract(b"clientsession/v1", secret).hex() == steps["prk"]
    bound = key._bind("cookie", "session", "")
    assert bound.aad.hex() == steps["aad"]
    cipher = new_cipher(key.suite, bytes.fromhex(steps["key"]))
    nonce, plaintext = bytes.fromhex(steps["nonce"]), bytes.fromhex(steps["plaintext"])
    sealed = bound.cipher.seal(nonce, plaintext, bound.aad)
    assert sealed == cipher.seal(nonce, plaintext, bound.aad)
    assert reference.text(bound.header + nonce + sealed) == steps["token"]


def test_the_derivations_stand_in_the_specification() -> None:
    specification = "".join((ROOT / "docs" / "SPEC.md").read_text(encoding="utf-8").split())
    for steps in CORPUS["derivations"]:
        for name, value in steps.items():
            assert "".join(str(value).split()) in specification, name
