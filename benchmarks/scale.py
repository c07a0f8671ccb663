"""How many read requests a second do one and two processes answer?

Two worker processes are started afresh, each with the application in its SessionMiddleware, and call it in a loop, without HTTP.
They take turns: now one of them alone, now both together, which begin at a common signal. The same is done with the bare
application, which knows no session: what two processes gain there is what the machine has to give. The share of the time in which
a worker had a processor is measured too: where it is below one, others used the cores, and the ratio says little of the sessions.
What is left to say then is how many calls a second of a processor gave, alone and beside the other worker.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

from benchmarks.calling import wsgi_call
from benchmarks.measure import Effort, median, ratio, spread
from benchmarks.request import BARE, OK, SESSION, our_apps, our_jar

NAME: Final = "scale"
KINDS: Final = ("read", BARE)
WORKERS: Final = 2
VALUES_A_TURN: Final = 30  # a turn takes so many times what one value of another question does: processes need time to get going
BATCH_CALLS: Final = 100  # between two looks at the clock
IDLE_SECONDS: Final = 0.5  # of looking at what others leave of the machine
PATIENCE_SECONDS: Final = 60.0  # for a worker's answer, beyond the time it was given: then it is given up

Values = dict[str, dict[str, list[float]]]
"""By kind and number of processes."""


def run(effort: Effort) -> dict[str, Any]:
    """Calls a second, by kind and number of processes.

    Raises:
        RuntimeError: a worker does not answer, or its session is not read.
    """
    seconds = effort.seconds * VALUES_A_TURN
    rates: Values = {kind: {"1": [], "2": []} for kind in KINDS}
    shares: Values = {kind: {"1": [], "2": []} for kind in KINDS}
    paces: Values = {kind: {"1": [], "2": []} for kind in KINDS}
    free = _free_cores(IDLE_SECONDS) if seconds else None
    with _workers() as pipes:
        for turn in range(effort.rounds):
            alone = [pipes[turn % WORKERS]]
            for kind in KINDS:
                for busy in (alone, pipes) if turn % 2 else (pipes, alone):
                    answers = _together(busy, kind, seconds)
                    count = str(len(busy))
                    rates[kind][count].append(sum(calls / elapsed for calls, elapsed, _ in answers))
                    shares[kind][count].append(min(used / elapsed for _, elapsed, used in answers))
                    paces[kind][count].append(sum(calls for calls, _, _ in answers) / sum(used for _, _, used in answers))
    return {
        "unit": "calls/s",
        "values": rates,
        "processor_share": shares,
        "calls_per_processor_second": paces,
        "cores": _cores(),
        "cores_free": free,
        "seconds": seconds,
    }


def _together(pipes: list[Connection], kind: str, seconds: float) -> list[tuple[int, float, float]]:
    """Let these workers work, all at once; calls, seconds and processor seconds of each."""
    for pipe in pipes:
        pipe.send((kind, seconds, len(pipes) == WORKERS))
    return [_received(pipe, seconds) for pipe in pipes]


def _received(pipe: Connection, seconds: float = 0.0) -> Any:
    if not pipe.poll(seconds + PATIENCE_SECONDS):
        raise RuntimeError("a worker does not answer")
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("a worker ended before its time") from None


@contextmanager
def _workers() -> Iterator[list[Connection]]:
    """The pipes of worker processes, which are ended with the block."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS)
    pipes: list[Connection] = []
    processes = []
    try:
        for _ in range(WORKERS):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, barrier), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        for pipe in pipes:
            _received(pipe)
        yield pipes
        for pipe in pipes:
            pipe.send(None)
        for process in processes:
            process.join(PATIENCE_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(pipe: Connection, barrier: Barrier) -> None:
    """What a worker process does: it answers each (kind, seconds, whether all work) with calls, seconds and processor seconds."""
    jar = our_jar()
    apps = our_apps(jar)
    cookie = f"session={jar.codec.encode(SESSION)}"
    calls = {kind: wsgi_call(apps[kind], cookie) for kind in KINDS}
    for kind, call in calls.items():
        if any(call()[2] != OK for _ in range(BATCH_CALLS)):
            raise RuntimeError(f"{kind}: the session was not read")
    pipe.send("ready")
    while (task := pipe.recv()) is not None:
        kind, seconds, all_work = task
        call = calls[kind]
        if all_work:
            barrier.wait(PATIENCE_SECONDS)
        pipe.send(_loop(call, seconds))


def _loop(call: Any, seconds: float) -> tuple[int, float, float]:
    """Calls, seconds and processor seconds."""
    count = 0
    used = time.process_time()
    start = now = time.perf_counter()
    while True:
        for _ in range(BATCH_CALLS):
            call()
        count += BATCH_CALLS
        now = time.perf_counter()
        if now - start >= seconds:
            return count, now - start, time.process_time() - used


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_cores(seconds: float) -> float | None:
    """How many cores' worth of time nobody used while this process slept; None where the system does not tell (Linux does)."""
    before = _processor_ticks()
    time.sleep(seconds)
    after = _processor_ticks()
    if before is None or after is None or not sum(after) > sum(before):
        return None
    idle_ticks = after[3] + after[4] - before[3] - before[4]  # proc(5): idle and iowait
    return _cores() * idle_ticks / (sum(after) - sum(before))


def _processor_ticks() -> list[int] | None:
    """The first line of /proc/stat without guests, whose time is in user and nice as well (proc(5))."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    return [int(field) for field in path.read_text(encoding="ascii").splitlines()[0].split()[1:9]]


def table(result: dict[str, Any]) -> str:
    """Markdown: thousands of calls a second with one and with two processes, and the ratio."""
    free = result["cores_free"]
    head = ["thousand calls a second", "1 process", "2 processes", "ratio", "of a processor each had", "ratio, of processor time"]
    lines = ["| " + " | ".join(head) + " |", "|---|--:|--:|--:|--:|--:|"]
    names = {"read": "a read request, clientsession", BARE: "the bare application"}
    for kind, values in result["values"].items():
        middle, distance = ratio(values["2"], values["1"])
        shares = result["processor_share"][kind]
        row = [names[kind], _thousands(values["1"]), _thousands(values["2"]), f"{middle:.2f} ± {distance:.2f}"]
        row.append(", ".join(f"{median(shares[count]):.0%}" for count in ("1", "2")))
        paces = result["calls_per_processor_second"][kind]
        middle, distance = ratio(paces["2"], paces["1"])
        row.append(f"{middle * WORKERS:.2f} ± {distance * WORKERS:.2f}")
        lines.append("| " + " | ".join(row) + " |")
    said = "unknown" if free is None else f"{free:.1f}"
    lines += ["", f"{result['cores']} cores, of which free before it began: {said}."]
    lines.append("The last column is the ratio as if each worker had a core to itself: from calls in a second of processor time.")
    return "\n".join(lines)


def _thousands(values: list[float]) -> str:
    return f"{median(values) / 1000:.1f} ± {spread(values) / 1000:.1f}"
