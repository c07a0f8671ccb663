"""What can a client make a request cost with its Cookie header, compared with one good session?

Each case is one request that asks for its session: ``Sessions([jar], header)["session"]``. The base is a header with one
good session of 141 bytes of JSON, opened.
"""

from __future__ import annotations

import random
import string
from datetime import timedelta
from functools import partial
from typing import Any, Final

from benchmarks.bodies import TYPICAL, body
from benchmarks.measure import Effort, micro, time_in_turns, times
from clientsession import Jar, Key, Keyring, Reason, Session, Sessions

NAME: Final = "hostile"
GOOD: Final = "one good session"
JUNK_CHARACTERS: Final = (10, 100, 1000, 4096, 8190)
SERVER_LIMIT: Final = 8190  # characters of a header line that common servers let through (Apache's LimitRequestFieldSize)
SCAN_LIMIT: Final = 65_536  # characters of a Cookie header that are looked at (docs/SPEC.md)
ALPHABET: Final = string.ascii_letters + string.digits + "-_"
DUPLICATES: Final = 200
CANDIDATES: Final = 4  # cookies of one name that are decrypted at most


def headers() -> tuple[Jar, dict[str, str], dict[str, Reason | None]]:
    """The jar, the Cookie headers by name, and what each is refused for; None: nothing came that could be."""
    ring = Keyring(Key.generate())
    jar = Jar("session", ring)
    chance = random.Random(5)  # noqa: S311 (junk, the same in every run)

    def junk(length: int) -> str:
        return "".join(chance.choices(ALPHABET, k=length))

    def cookies(*values: str) -> str:
        return "; ".join(f"session={value}" for value in values)

    def forged(token: str) -> str:
        middle = len(token) // 2
        return token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]

    def sealed(size: int) -> str:
        return jar.codec.encode({"note": junk(size - len('{"note":""}'))})

    content = body(TYPICAL)
    good = jar.codec.encode(content)
    unknown = Jar("session", Keyring(Key.generate())).codec.encode(content)
    expired = Jar("session", ring, clock=lambda: 1_000_000_000.0, duration=timedelta(days=1)).codec.encode(content)
    forgeries = [forged(sealed(1440)) for _ in range(CANDIDATES)]
    fill = SERVER_LIMIT // len(f"; session={good}")
    pairs = "; ".join(f"a{number}={junk(4)}" for number in range(SCAN_LIMIT // 8))

    found: dict[str, tuple[str, Reason | None]] = {GOOD: (cookies(good), None)}
    for length in JUNK_CHARACTERS:
        found[f"junk, {length:,} characters"] = (cookies(junk(length - len("session="))), Reason.MALFORMED)
    found |= {
        "sealed by an unknown key": (cookies(unknown), Reason.UNKNOWN_KEY),
        "forged": (cookies(forged(good)), Reason.FORGED),
        "forged, as long as a cookie can be": (cookies(forged(sealed(2990))), Reason.FORGED),
        "expired": (cookies(expired), Reason.EXPIRED),
        f"{CANDIDATES} forged of the same name, {len(cookies(*forgeries)):,} characters": (cookies(*forgeries), Reason.FORGED),
        f"{fill} forged of the same name": (cookies(*(forged(sealed(TYPICAL)) for _ in range(fill))), Reason.AMBIGUOUS),
        f"{DUPLICATES} of the same name, all alike": (cookies(*[junk(30)] * DUPLICATES), Reason.MALFORMED),
        f"{DUPLICATES} of the same name, all different": (cookies(*(junk(30) for _ in range(DUPLICATES))), Reason.MALFORMED),
        f"other names, {SERVER_LIMIT:,} characters": (pairs[:SERVER_LIMIT], None),
        f"semicolons, {SERVER_LIMIT:,} characters": (";" * SERVER_LIMIT, None),
        f"its name without a value, {SERVER_LIMIT:,} characters": (("session;" * SERVER_LIMIT)[:SERVER_LIMIT], None),
        f"its name with one character, {SERVER_LIMIT:,} characters": (
            ";".join(f"session={number}" for number in range(SERVER_LIMIT))[:SERVER_LIMIT],
            Reason.MALFORMED,
        ),
        f"other names, {SCAN_LIMIT:,} characters": (pairs[:SCAN_LIMIT], None),
        f"{SCAN_LIMIT + 1:,} characters": (pairs[: SCAN_LIMIT + 1], Reason.MALFORMED),
    }
    return jar, {name: header for name, (header, _) in found.items()}, {name: reason for name, (_, reason) in found.items()}


def opened(jars: list[Jar], header: str) -> Session:
    """What a request does that asks for its session."""
    return Sessions(jars, header)["session"]


def run(effort: Effort) -> dict[str, Any]:
    """Seconds of a request's first look at its session, by what the client sent."""
    jar, cases, reasons = headers()
    jars = [jar]
    for name, header in cases.items():
        session = opened(jars, header)
        if (session != {}) is not (name == GOOD) or session.refusal is not reasons[name]:
            raise AssertionError(f"{name}: {session.refusal}")
    measured = time_in_turns({name: partial(opened, jars, header) for name, header in cases.items()}, effort)
    return {
        "unit": "s",
        "base": GOOD,
        "characters": {name: len(header) for name, header in cases.items()},
        "refusals": {name: reason.name if reason else None for name, reason in reasons.items()},
        "values": {"first look": measured},
    }


def table(result: dict[str, Any]) -> str:
    """Markdown: median microseconds, and the ratio to one good session, each with its spread."""
    values = result["values"]["first look"]
    base = values[result["base"]]
    lines = ["| the Cookie header | characters | refused as | µs | × one good session |", "|---|--:|---|--:|--:|"]
    for name, seconds in values.items():
        reason = result["refusals"][name] or "–"
        lines.append(f"| {name} | {result['characters'][name]:,} | {reason} | {micro(seconds)} | {times(seconds, base)} |")
    return "\n".join(lines)
