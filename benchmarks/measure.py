"""Timing: several functions in turns, so that whatever else the machine does falls on all of them alike.

What is counted is the CPU time of the thread where the system tells it finely enough, as Linux does: time in which other
processes have the processor is then none of ours. What the results say of the machine is pyperf's knowledge. What is ours is
the order: pyperf's own runner measures one function to its end and then the next, and on a machine that others use, two
functions measured minutes apart cannot be compared. ``python -m benchmarks --pyperf FILE`` writes the values for
``pyperf stats`` and ``pyperf compare_to``.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pyperf

MIN_VALUE_SECONDS: Final = 0.01  # of one value: a hundred thousand times what the timer can tell
ROUNDS: Final = 25  # values of each function
_FINE_SECONDS: Final = 1e-6  # a clock that is coarser than this tells nothing of a value: Windows' is 10,000 times as coarse

CLOCK: Final = "thread_time" if time.get_clock_info("thread_time").resolution <= _FINE_SECONDS else "perf_counter"
"""The clock's name, for the results."""

_clock: Final[Callable[[], float]] = time.thread_time if CLOCK == "thread_time" else pyperf.perf_counter


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: values of each function.
        seconds: of one value, at least; the number of loops follows from it. 0: one loop.
    """

    rounds: int = ROUNDS
    seconds: float = MIN_VALUE_SECONDS

    @property
    def is_smoke(self) -> bool:
        """Whether it shows only that everything runs."""
        return not self.seconds


QUICK: Final = Effort(rounds=7, seconds=0.002)
"""Enough to see what is fast and what is slow, in a fraction of the time; not for the README."""

SMOKE: Final = Effort(rounds=1, seconds=0.0)
"""One loop of each: shows that a benchmark runs, and no time."""


def time_in_turns(functions: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, list[float]]:
    """Seconds a call of each function, one value each round; the rounds go through all functions.

    Args:
        functions: by name; each is called without arguments, very often.
        effort: how much.
    """
    loops = {name: _calibrated(function, effort.seconds) for name, function in functions.items()}
    values: dict[str, list[float]] = {name: [] for name in functions}
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # as pyperf and timeit do: whoever's turn it is does not pay for what others left
    try:
        for _ in range(effort.rounds):
            for name, function in functions.items():
                values[name].append(_seconds(function, loops[name]))
                gc.collect(0)
    finally:
        if was_enabled:
            gc.enable()
    return values


def _calibrated(function: Callable[[], object], seconds: float) -> int:
    """How many calls take so long."""
    loops = 1
    while seconds and _seconds(function, loops) * loops < seconds:
        loops *= 2
    return loops


def _seconds(function: Callable[[], object], loops: int) -> float:
    """Seconds a call, of so many calls."""
    turns = range(loops)
    start = _clock()
    for _ in turns:
        function()
    return (_clock() - start) / loops


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def spread(values: list[float]) -> float:
    """The median distance from the median (MAD)."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)


def ratio(values: list[float], base: list[float]) -> tuple[float, float]:
    """The median of the ratios of two functions' values in the same round, and their spread."""
    ratios = [one / other for one, other in zip(values, base, strict=True)]
    return median(ratios), spread(ratios)


def micro(values: list[float]) -> str:
    """Median and spread in microseconds, as tables show them; the spread in percent of the median."""
    middle = median(values)
    return f"{middle * 1e6:.2f} ± {_percent(spread(values) / middle)}"


def times(values: list[float], base: list[float]) -> str:
    """The ratio to another function and its spread, as tables show them."""
    middle, distance = ratio(values, base)
    return f"{middle:.2f} ± {_percent(distance / middle)}"


def _percent(part: float) -> str:
    return f"{part * 100:.1f} %"
