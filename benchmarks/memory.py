"""Does a worker grow? Its size after ten thousand requests and after a million.

A fresh process serves a hundred users through the SessionMiddleware, without HTTP: new sessions, read ones, written ones, and
cookies that are refused as junk, unknown, forged, expired or too many. All that this module itself keeps is made before the first
request and of one size, so what grows is the session library's, or Python's own. The collector runs before each look, so that what
is seen is held.

The size is what the kernel says is resident (proc(5), smaps_rollup; elsewhere the largest size so far, getrusage(2)).
"""

from __future__ import annotations

import gc
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bodies import TYPICAL, body
from benchmarks.calling import ENVIRON, cookies_of
from clientsession import Jar, Key, Keyring
from clientsession.wsgi import SessionMiddleware

if TYPE_CHECKING:  # at run time within functions: a worker has no need of it, and all that it imports is part of its size
    from benchmarks.measure import Effort

NAME: Final = "memory"
# Requests after which the size is read.
FULL_REQUESTS: Final = (10_000, 1_000_000)
QUICK_REQUESTS: Final = (1_000, 100_000)
SMOKE_REQUESTS: Final = (100, 1_000)
FULL_WORKERS: Final = 3  # processes, side by side: a size does not depend on who else is at work

USERS: Final = 100
SEED: Final = 5  # of the order of requests, which is the same in every run
BAD_OF_EACH: Final = 64  # cookies made in advance that are unknown or expired
NOISE_CHARS: Final = 65_536  # of which each junk cookie is another piece
MIN_JUNK_CHARS: Final = 10
MAX_JUNK_CHARS: Final = 8_190  # what servers let a header line be
HEAD_CHARS: Final = 48  # of "session=" and a token's suite, key id and nonce: a change after them makes it a forged one
DUPLICATES: Final = 200
MIX: Final = {
    "read": 50,
    "written": 20,
    "untouched": 10,
    "new": 5,
    "junk": 5,
    "unknown": 2,
    "forged": 3,
    "expired": 3,
    "duplicates": 2,
}
"""Percent of the requests."""
KINDS: Final = list(MIX)
WEIGHTS: Final = list(MIX.values())
REFUSED: Final = frozenset({"junk", "unknown", "forged", "expired", "duplicates"})
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
CONTENT: Final = body(TYPICAL)
ROOT: Final = Path(__file__).parent.parent


def run(effort: Effort) -> dict[str, Any]:
    """Sizes in KiB, by number of requests, one value for each worker.

    Raises:
        RuntimeError: a worker failed.
    """
    from benchmarks.measure import ROUNDS

    is_full = effort.rounds >= ROUNDS and not effort.is_smoke
    few, many = SMOKE_REQUESTS if effort.is_smoke else FULL_REQUESTS if is_full else QUICK_REQUESTS
    code = f"import sys; sys.path.insert(0, sys.argv[1]); from benchmarks.memory import work; work({few}, {many})"
    command = [sys.executable, "-c", code, str(ROOT)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - the code above, and our own path
        for _ in range(FULL_WORKERS if is_full else 1)
    ]
    try:
        told = [worker.communicate()[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if any(worker.returncode for worker in workers):
        raise RuntimeError("a worker failed; what it said stands above")
    answers = [json.loads(text) for text in told]
    sizes = {
        name: {str(count): [answer["sizes"][at][name] for answer in answers] for at, count in enumerate((few, many))}
        for name in answers[0]["sizes"][0]
    }
    return {
        "unit": "KiB",
        "values": sizes,
        "requests": [few, many],
        "mix": answers[0]["mix"],
        "refused": answers[0]["refused"],
        "microseconds_a_request": [answer["microseconds"] for answer in answers],
    }


def table(result: dict[str, Any]) -> str:
    """Markdown: the size at both points, and the ratio."""
    from benchmarks.measure import median, ratio, spread

    few, many = (str(count) for count in result["requests"])
    lines = [f"| KiB after requests | {int(few):,} | {int(many):,} | ratio | bytes a request |", "|---|--:|--:|--:|--:|"]
    for name, values in result["values"].items():
        middle, distance = ratio(values[many], values[few])
        grown = [(after - before) * 1024 / (int(many) - int(few)) for before, after in zip(values[few], values[many], strict=True)]
        lines.append(
            f"| {name} | {median(values[few]):,.0f} | {median(values[many]):,.0f} | {middle:.4f} ± {distance:.4f} "
            f"| {median(grown):.3f} ± {spread(grown):.3f} |"
        )
    mix = ", ".join(f"{count:,} {name}" for name, count in result["mix"].items())
    refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(result["refused"].items()))
    workers = len(result["microseconds_a_request"])
    lines += ["", f"{workers} worker{'s' if workers > 1 else ''}. Of the requests of one: {mix}. Refused in them: {refused}."]
    return "\n".join(lines)


# The worker.


def work(few: int, many: int) -> None:
    """Serve so many requests, and print the size after the few and after all, as JSON."""
    server = _Server()
    counts, refused = server.counts, server.refused
    sizes = []
    start = time.perf_counter()
    for until in (few, many):
        while counts.total() < until:
            server.serve()
        gc.collect()
        sizes.append(size())
    microseconds = (time.perf_counter() - start) / many * 1e6
    if sum(refused.values()) != sum(counts[kind] for kind in REFUSED):
        raise RuntimeError(f"refused were {dict(refused)}, of {dict(counts)}")
    print(json.dumps({"sizes": sizes, "mix": counts, "refused": refused, "microseconds": microseconds}))


def size() -> dict[str, float]:
    """The size of this process in KiB: all that is resident, and of that what it alone has and wrote.

    Not the share of it that is its own by proportion (Pss): that moves with what other processes do.
    """
    path = Path("/proc/self/smaps_rollup")
    if not path.exists():
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB elsewhere
        return {"resident, at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024}
    names = {"Rss:": "resident", "Private_Dirty:": "private, written"}
    fields = (line.split() for line in path.read_text(encoding="ascii").splitlines()[1:])
    return {names[field[0]]: float(field[1]) for field in fields if field[0] in names}


class _BadCookies:
    """Cookies that are refused: a function of no arguments for each of ``REFUSED``, as an attribute.

    Args:
        ring: the ring of the jar that is to refuse them.
        users: the good cookies of the moment.
        dice: what comes next.
    """

    def __init__(self, ring: Keyring, users: list[str], dice: random.Random) -> None:
        stranger = Jar("session", Keyring(Key.generate()))
        late = Jar("session", ring, clock=lambda: time.time() - 2 * 86_400)  # two days ago; a session lives for one
        self._unknown = [f"session={stranger.codec.encode(CONTENT)}" for _ in range(BAD_OF_EACH)]
        self._expired = [f"session={late.codec.encode(CONTENT)}" for _ in range(BAD_OF_EACH)]
        self._noise = "".join(dice.choices(ALPHABET, k=NOISE_CHARS))
        self._users = users
        self._dice = dice

    def junk(self) -> str:
        """Letters of a token, of any length."""
        chars = self._dice.randrange(MIN_JUNK_CHARS, MAX_JUNK_CHARS)
        start = self._dice.randrange(NOISE_CHARS - chars)
        return "session=" + self._noise[start : start + chars]

    def unknown(self) -> str:
        """Another key's."""
        return self._dice.choice(self._unknown)

    def forged(self) -> str:
        """A user's, with one character changed."""
        cookie = self._dice.choice(self._users)
        at = self._dice.randrange(HEAD_CHARS, len(cookie) - 1)  # not the last: it has bits that must be zero
        step = self._dice.randrange(1, len(ALPHABET))
        return cookie[:at] + ALPHABET[(ALPHABET.index(cookie[at]) + step) % len(ALPHABET)] + cookie[at + 1 :]

    def expired(self) -> str:
        """One of two days ago."""
        return self._dice.choice(self._expired)

    def duplicates(self) -> str:
        """Those of many users at once."""
        return "; ".join(self._dice.choice(self._users) for _ in range(DUPLICATES))


class _Server:
    """A worker with its application and its users.

    Attributes:
        counts: requests so far, by kind.
        refused: cookies that were refused so far, by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._written = 0
        self._dice = random.Random(SEED)  # noqa: S311 - no secret: the same order in every run
        ring = Keyring(Key.generate())
        self._middleware = SessionMiddleware(self._app, [Jar("session", ring)])
        self._users: list[str] = []
        self._users += [self._given("new", None) for _ in range(USERS)]
        self._bad = _BadCookies(ring, self._users, self._dice)

    def serve(self) -> None:
        """One request, as the mix has it."""
        (kind,) = self._dice.choices(KINDS, WEIGHTS)
        user = self._dice.randrange(USERS)
        self.counts[kind] += 1
        if kind in {"new", "written"}:
            self._users[user] = self._given(kind, None if kind == "new" else self._users[user])
            return
        cookie = getattr(self._bad, kind)() if kind in REFUSED else self._users[user]
        if self._request(kind, cookie) is not None:
            raise RuntimeError(f"{kind}: a cookie was set")

    def _app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kind = environ["PATH_INFO"]
        if kind != "untouched":
            session = environ["clientsession.sessions"]["session"]
            if session.is_new is (kind in {"read", "written"}):
                raise RuntimeError(f"{kind}: a session is new that should not be, or the other way round")
            if session.refusal is not None:
                self.refused[str(session.refusal.value)] += 1
            if kind == "new":
                session.update(CONTENT)
            elif kind == "written":
                self._written += 1
                session["seen"] = CONTENT["seen"] + self._written
            elif session.get("user") != (CONTENT["user"] if kind == "read" else None):
                raise RuntimeError(f"{kind}: the session holds what it should not")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    def _request(self, kind: str, cookie: str | None) -> str | None:
        """The cookie that a browser would send next, or None where it was given none."""
        environ = ENVIRON | {"PATH_INFO": kind}
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
            started[:] = (status, headers)
            return started.append

        chunks = self._middleware(environ, start_response)
        return cookies_of((started[0], started[1], b"".join(chunks)))

    def _given(self, kind: str, cookie: str | None) -> str:
        given = self._request(kind, cookie)
        if given is None:
            raise RuntimeError(f"{kind}: no cookie was set")
        return given
