"""Does the time of a refusal tell where in the tag a byte is wrong?

In the way of dudect (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", 2017): single calls of each class in
random order, the slowest of all cut off, and Welch's t-test between two classes. Where t is beyond 4.5 with many calls, the times
differ; below it, so many calls do not show that they do. A report and no gate: on a machine that others use, t moves.

Between two classes of one kind nothing differs: that is the noise of the run. A key id that the ring has not is told without a
decryption, and stands in every cookie for all to see: there t is large, as it should be, and shows that the test can tell.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.bodies import TYPICAL, body
from benchmarks.measure import Effort
from clientsession import Codec, Key, Keyring, Suite, TokenError
from clientsession._token import HEADER_BYTES, TAG_BYTES, Frame, parse

NAME: Final = "sidechannels"
TOKENS: Final = 64  # different ones in each class: what is measured is no property of one of them
KEPT: Final = 0.9  # of the calls, the fastest; in the rest the system was at work
CALLS_PER_SECOND: Final = 200_000  # of each class: with the usual effort 50,000
MIN_CALLS: Final = 16
TELLING: Final = 4.5  # |t| from which on the classes differ: dudect's threshold, beyond which chance comes once in 100,000

KEY_ID: Final = "unknown key id"
FIRST: Final = "first byte of the tag"
MIDDLE: Final = "middle byte of the tag"
LAST: Final = "last byte of the tag"
AGAIN: Final = "last byte of the tag, again"
PAIRS: Final = ((FIRST, LAST), (FIRST, MIDDLE), (MIDDLE, LAST), (LAST, AGAIN), (KEY_ID, LAST))


def wrong(token: str, at: int, chance: random.Random) -> str:
    """A token of which one byte of the frame is another."""
    header, nonce, ciphertext = parse(token, len(token))
    frame = bytearray(header + nonce + ciphertext)
    frame[at] ^= chance.randrange(1, 256)
    split = HEADER_BYTES + len(nonce)
    return Frame(bytes(frame[:HEADER_BYTES]), bytes(frame[HEADER_BYTES:split]), bytes(frame[split:])).text()


def classes(suite: Suite, chance: random.Random) -> tuple[Callable[[str], object], dict[str, list[str]]]:
    """What refuses a token, and the tokens of each class; all classes are made of the same ones."""
    codec = Codec(Keyring(Key.generate(suite)), "session")
    content = body(TYPICAL)
    good = [codec.encode(content) for _ in range(TOKENS)]
    places = {KEY_ID: 1, FIRST: -TAG_BYTES, MIDDLE: -TAG_BYTES // 2, LAST: -1, AGAIN: -1}
    return codec.decode, {name: [wrong(token, at, chance) for token in good] for name, at in places.items()}


def refuse(decode: Callable[[str], object], token: str) -> int:
    """Nanoseconds until a token is refused."""
    start = time.perf_counter_ns()
    try:
        decode(token)
    except TokenError:
        return time.perf_counter_ns() - start
    raise AssertionError("a token with a wrong byte opened")


def times_of(suite: Suite, calls: int, chance: random.Random) -> dict[str, list[int]]:
    """Nanoseconds of single calls of each class, in random order."""
    decode, tokens = classes(suite, chance)
    order = [name for name in tokens for _ in range(calls)]
    chance.shuffle(order)
    found: dict[str, list[int]] = {name: [] for name in tokens}
    for name in tokens:  # whatever is made at a first call is made
        for token in tokens[name]:
            refuse(decode, token)
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for name in order:
            found[name].append(refuse(decode, tokens[name][chance.randrange(TOKENS)]))
    finally:
        if was_enabled:
            gc.enable()
    return found


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Welch's t of two samples; 0 where neither varies."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(spread) if spread else 0.0


def compared(one: list[int], other: list[int]) -> float:
    """How large t is of two classes, without the slowest calls: one bound for both, or the cut itself would make a difference."""
    bound = sorted((*one, *other))[int((len(one) + len(other)) * KEPT) - 1]
    return abs(welch([each for each in one if each <= bound], [each for each in other if each <= bound]))


def run(effort: Effort) -> dict[str, Any]:
    """Of each suite how large t is of pairs of classes, and the median nanoseconds of each class."""
    calls = max(MIN_CALLS, int(effort.rounds * effort.seconds * CALLS_PER_SECOND))
    chance = random.Random()  # noqa: S311 (an order of calls)
    values: dict[str, dict[str, list[float]]] = {}
    medians: dict[str, dict[str, float]] = {}
    for suite in Suite:
        found = times_of(suite, calls, chance)
        values[suite.name] = {f"{one} – {other}": [compared(found[one], found[other])] for one, other in PAIRS}
        medians[suite.name] = {name: statistics.median(each) for name, each in found.items()}
    return {"unit": "|t|", "calls": calls, "telling": TELLING, "medians": medians, "values": values}


def table(result: dict[str, Any]) -> str:
    """Markdown: of each suite the median microseconds of each class, then how large t is of each pair."""
    suites = list(result["values"])
    head = " | ".join(suites)
    lines = [f"| wrong: µs, the median of {result['calls']:,} calls | {head} |", "|---|" + "--:|" * len(suites)]
    for name in result["medians"][suites[0]]:
        lines.append(f"| {name} | " + " | ".join(f"{result['medians'][suite][name] / 1000:.2f}" for suite in suites) + " |")
    lines += ["", f"| \\|t\\|; over {result['telling']}, the times differ | {head} |", "|---|" + "--:|" * len(suites)]
    for pair in result["values"][suites[0]]:
        lines.append(f"| {pair} | " + " | ".join(f"{result['values'][suite][pair][0]:.2f}" for suite in suites) + " |")
    return "\n".join(lines)
