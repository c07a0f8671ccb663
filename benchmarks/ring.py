"""What does it cost to open a session when many keys are accepted, and to refuse one that none of them sealed?

The token is sealed by the last key of the ring: the worst place where keys are tried in turn. Beside ours stand those of the other
systems that take several keys, given as many.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from benchmarks.bodies import TYPICAL, body
from benchmarks.codec import OPEN, SEPARATOR, series
from benchmarks.measure import Effort, micro, time_in_turns, times
from benchmarks.rivals import DAY_SECONDS, Body, compact
from clientsession import Codec, Key, Keyring, Suite, TokenError

NAME: Final = "ring"
KEYS: Final = (1, 2, 10, 50)
REFUSE: Final = "refuse"

Pair = tuple[Callable[[], object], Callable[[], object]]
"""Opens a good token, and refuses one of an unknown key."""


def _ours(suite: Suite, count: int, content: Body) -> Pair:
    keys = [Key.generate(suite) for _ in range(count)]
    codec = Codec(Keyring(keys[0], accepting=keys[1:]), "session")
    good = Codec(Keyring(keys[-1]), "session").encode(content)
    unknown = Codec(Keyring(Key.generate(suite)), "session").encode(content)

    def refuse() -> bool:
        try:
            codec.decode(unknown)
        except TokenError:
            return True
        return False

    return _checked(partial(codec.decode, good), refuse, content)


def _fernet(count: int, content: Body) -> Pair:
    keys = [Fernet(Fernet.generate_key()) for _ in range(count)]
    ring = MultiFernet(keys)
    good = keys[-1].encrypt(compact(content))
    unknown = Fernet(Fernet.generate_key()).encrypt(compact(content))

    def refuse() -> bool:
        try:
            ring.decrypt(unknown, ttl=DAY_SECONDS)
        except InvalidToken:
            return True
        return False

    return _checked(lambda: json.loads(ring.decrypt(good, ttl=DAY_SECONDS)), refuse, content)


def _itsdangerous(count: int, content: Body) -> Pair:
    from itsdangerous import BadSignature, URLSafeTimedSerializer

    keys = [os.urandom(32) for _ in range(count)]
    ring = URLSafeTimedSerializer(keys)  # the last one signs, and is tried first
    good = URLSafeTimedSerializer(keys[0]).dumps(content)
    unknown = URLSafeTimedSerializer(os.urandom(32)).dumps(content)

    def refuse() -> bool:
        try:
            ring.loads(unknown, max_age=DAY_SECONDS)
        except BadSignature:
            return True
        return False

    return _checked(lambda: ring.loads(good, max_age=DAY_SECONDS), refuse, content)


def _paseto(count: int, content: Body) -> Pair:
    import pyseto

    def new_key() -> Any:
        return pyseto.Key.new(version=4, purpose="local", key=os.urandom(32))

    keys: list[Any] = [new_key() for _ in range(count)]
    good = pyseto.encode(keys[-1], content)
    unknown = pyseto.encode(new_key(), content)

    def refuse() -> bool:
        try:
            pyseto.decode(keys, unknown, deserializer=json)
        except pyseto.DecryptError:
            return True
        return False

    return _checked(lambda: pyseto.decode(keys, good, deserializer=json).payload, refuse, content)


def _checked(opened: Callable[[], object], refuse: Callable[[], bool], content: Body) -> Pair:
    if opened() != content or not refuse():
        raise AssertionError("a ring does not open what it should, or opens what it should not")
    return opened, refuse


MAKERS: Final[dict[str, Callable[[int, Body], Pair]]] = {
    "clientsession": partial(_ours, Suite.XAES_256_GCM),
    "clientsession, XChaCha20": partial(_ours, Suite.XCHACHA20_POLY1305),
    "MultiFernet + json": _fernet,
    "PASETO v4.local (pyseto)": _paseto,
    "itsdangerous (signed only)": _itsdangerous,
}


def run(effort: Effort) -> dict[str, Any]:
    """Seconds to open, and to refuse, by system and number of keys."""
    content = body(TYPICAL)
    functions: dict[str, Callable[[], object]] = {}
    absent: dict[str, str] = {}
    for name, make in MAKERS.items():
        for count in KEYS:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what these packages say at import
                    pair = make(count, content)
            except ImportError as error:
                absent[name] = f"not here: {error.name}"
                break
            for work, function in zip((OPEN, REFUSE), pair, strict=True):
                functions[f"{series(work, name)}{SEPARATOR}{count}"] = function
    values: dict[str, dict[str, list[float]]] = {}
    for full_name, seconds in time_in_turns(functions, effort).items():  # all at once: the sizes of a ring are compared
        name, _, count_text = full_name.rpartition(SEPARATOR)
        values.setdefault(name, {})[count_text] = seconds
    return {"unit": "s", "base": str(KEYS[0]), "body_bytes": TYPICAL, "absent": absent, "values": values}


def table(result: dict[str, Any]) -> str:
    """Markdown: median microseconds by number of keys, and the ratio of the most to one, with its spread."""
    values, one, most = result["values"], result["base"], str(KEYS[-1])
    lines = [
        "| what | system | "
        + " | ".join(f"{count} {'key' if count == 1 else 'keys'}, µs" for count in KEYS)
        + f" | × {most} to 1 |",
        "|---|---|" + "--:|" * (len(KEYS) + 1),
    ]
    for work in (OPEN, REFUSE):
        for full_name, points in values.items():
            done, _, name = full_name.partition(SEPARATOR)
            if done == work:
                cells = [micro(points[str(count)]) for count in KEYS]
                lines.append(f"| {work} | {name} | " + " | ".join([*cells, times(points[most], points[one])]) + " |")
    absent = "; ".join(f"{name}: {why}" for name, why in result["absent"].items())
    return "\n".join(lines) + (f"\n\n{absent}." if absent else "")
