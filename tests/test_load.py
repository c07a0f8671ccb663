"""Sessions under load, while workers die, keys change and parts of the system fail; and a worker's size after a million requests.

``LOAD_SECONDS`` and ``LOAD_REQUESTS`` are how long the two slow tests go on, 120 and 1,000,000 unless they say otherwise.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clientsession import Event, EventKind, Jar, Key, Keyring, Suite
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests.conftest import Clock, cookie_of
from tests.load import BROKEN, ROOT, THREADS, Load, key_file_of, load_of, replace, roles_of

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked at as Linux shows them")


# ---------------------------------------------------------------------------------------------------------------------
# Under gunicorn
# ---------------------------------------------------------------------------------------------------------------------


def hold(load: Load) -> None:
    """Nobody lost anything, and nobody saw anything of somebody else."""
    print(f"\n{load}")
    assert (load.lost, load.mixed) == ([], [])


@linux
def test_no_session_is_lost_or_mixed_while_workers_die_and_keys_change(tmp_path: Path) -> None:
    with load_of(10, tmp_path) as load:
        with load.on():
            load.rotate()
            load.break_key_file("half written")
        hold(load)


@linux
@pytest.mark.slow
def test_no_session_is_lost_or_mixed_in_two_minutes_of_trouble(tmp_path: Path) -> None:
    """And no worker of the server that is left alone has more open after them than before."""
    with load_of(200, tmp_path) as load:
        with load.on():
            load.until_all_users()
        before = load.descriptors_at_rest()
        end = time.monotonic() + float(os.environ.get("LOAD_SECONDS", "120"))
        with load.on():
            for how in itertools.cycle(BROKEN):
                load.kill()
                load.more_and_less()
                load.rotate()
                load.reload()
                load.break_key_file(how)
                if time.monotonic() > end:
                    break
        hold(load)
        load.until(lambda: all(load.descriptors()[pid] <= count for pid, count in before.items()), "no more is open than before")
        print(f"descriptors: {before}, then {load.descriptors()}; threads: {load.threads()}")
        assert max(load.threads().values()) <= THREADS + 1


# ---------------------------------------------------------------------------------------------------------------------
# A million requests of one worker
# ---------------------------------------------------------------------------------------------------------------------

GROWTH = """
import gc, json, os, sys
from benchmarks.memory import _Server, size

def look():
    gc.collect()
    descriptors, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
    return {**size(), "descriptors": descriptors, "threads": threads}

server = _Server()
looks = []
for until in map(int, sys.argv[1:]):
    while server.counts.total() < until:
        server.serve()
    looks.append(look())
kept = [bytes(1000) for _ in range(5000)]
with open(os.devnull):
    looks.append(look())
print(json.dumps([looks, server.counts, server.refused]))
"""


@linux
@pytest.mark.slow
def test_a_worker_is_no_larger_after_a_million_requests_than_after_10_000() -> None:
    """What is resident, and what of it the worker wrote, grow by 1 % at most; descriptors and threads not at all.

    The requests are those of ``benchmarks/memory.py``, with cookies that are refused in each way: the same in every run, by one
    thread, and the collector runs before each look, so chance has little to say. A last look shows that 5 MB and an open file would
    be seen.
    """
    few, many = 10_000, int(os.environ.get("LOAD_REQUESTS", "1000000"))
    command = [sys.executable, "-W", "error", "-c", GROWTH, str(few), str(many)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    (first, last, leaking), counts, refused = json.loads(done.stdout)
    print(f"\n{first}, then {last}; {counts}; refused: {refused}")
    assert sum(counts.values()) >= many
    for what, before in first.items():
        most = before if what in {"descriptors", "threads"} else 1.01 * before
        assert last[what] <= most, what
        assert leaking[what] > most or what == "threads"


# ---------------------------------------------------------------------------------------------------------------------
# Parts that fail, one at a time
# ---------------------------------------------------------------------------------------------------------------------


class Browser:
    """A user of an application that shows its session and writes it where it is told to."""

    def __init__(self, ring: Keyring, **options: Any) -> None:
        self.jar = Jar("session", ring, **options)
        self.middleware = SessionMiddleware(self._app, [self.jar])
        self.cookie = ""
        self.set_cookies: list[str] = []
        """Those of the last request."""

    def _app(self, environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        session = get_sessions(environ)["session"]
        body = json.dumps([dict(session), session.refusal]).encode("ascii")
        if environ["QUERY_STRING"]:
            session["page"] = environ["QUERY_STRING"]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]

    def visit(self, page: str = "") -> list[Any]:
        """What the handler saw before it wrote: the content, and why a cookie was refused."""
        self.set_cookies = []
        environ = {"wsgi.url_scheme": "https", "HTTP_COOKIE": self.cookie, "QUERY_STRING": page}
        started: list[Any] = []
        chunks = self.middleware(environ, lambda status, headers: started.extend(headers))
        self.set_cookies = [value for name, value in started if name == "Set-Cookie"]
        for value in self.set_cookies:
            self.cookie = cookie_of(value)
        return json.loads(b"".join(chunks))


DAY = 86_400
AT_HOME = [{"page": "one"}, None]


def test_a_clock_that_jumps_takes_a_session_away_and_gives_it_back(ring: Keyring, clock: Clock) -> None:
    """Nothing is sent while it is away, so nothing is lost; it lives for one day, and a minute's difference of clocks is none."""
    browser = Browser(ring, clock=clock)
    browser.visit("one")
    home = clock.now
    for jump, refusal in (
        *((jump, None) for jump in (0, 1, 3600, DAY - 0.001, -1, -60)),
        *((jump, "expired") for jump in (DAY, DAY + 1, 400 * DAY, 3000 * 365 * DAY)),
        *((jump, "future") for jump in (-60.001, -DAY, -50 * 365 * DAY)),
    ):
        clock.now = home + jump
        assert browser.visit() == ([{}, refusal] if refusal else AT_HOME), jump
        assert browser.set_cookies == []
        clock.now = home
        assert browser.visit() == AT_HOME
        assert browser.set_cookies == []


def test_a_write_while_the_clock_is_behind_or_ahead_moves_no_end(ring: Keyring, clock: Clock) -> None:
    browser = Browser(ring, clock=clock)
    browser.visit("one")
    home = clock.now
    for number, jump in enumerate((-60, DAY - 1, -30, 3600)):
        clock.now = home + jump
        browser.visit(f"page {number}")
        clock.now = home + DAY - 0.001
        assert browser.visit() == [{"page": f"page {number}"}, None]
        clock.now = home + DAY
        assert browser.visit() == [{}, "expired"]


def test_what_was_begun_by_a_clock_far_ahead_is_refused_once_it_is_right_and_a_new_session_is_begun(
    ring: Keyring, clock: Clock
) -> None:
    browser = Browser(ring, clock=clock)
    clock.pass_(DAY)
    browser.visit("of tomorrow")
    clock.pass_(-DAY)
    assert browser.visit("of today") == [{}, "future"]
    assert browser.visit() == [{"page": "of today"}, None]


def test_without_randomness_a_write_fails_and_costs_no_session(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(size: int) -> bytes:
        raise OSError("no randomness")

    browser = Browser(ring)
    for is_held in (False, True):  # with a token that is the first of its process, and with one that is not
        with monkeypatch.context() as broken:
            broken.setattr(os, "urandom", fail)
            for _ in range(3):
                with pytest.raises(OSError, match="no randomness"):
                    browser.visit("two")
                assert browser.set_cookies == []
                assert browser.visit() == (AT_HOME if is_held else [{}, None])  # reading needs none
        browser.visit("one")
        assert browser.visit() == AT_HOME


@pytest.mark.parametrize("page", ["", "two"])
def test_an_observer_that_raises_fails_its_request_and_costs_no_session(ring: Keyring, page: str) -> None:
    """At the opening of a session, before the handler has it, and at its sealing, before anything is sent."""
    failing: list[EventKind] = []

    def observe(event: Event) -> None:
        if event.kind in failing:
            raise RuntimeError("the observer is broken")

    browser = Browser(ring, observer=observe)
    browser.visit("one")
    failing.append(EventKind.SEALED if page else EventKind.OPENED)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="the observer is broken"):
            browser.visit(page)
        assert browser.set_cookies == []
    failing.clear()
    assert browser.visit("two") == AT_HOME
    assert browser.visit() == [{"page": "two"}, None]


class BrokenHandler(logging.Handler):
    """Raises, which no handler of the standard library does."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the handler is broken")


@pytest.fixture
def log_to(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[logging.Handler], None]]:
    """Gives the library's lines of every level to a handler as well."""
    caplog.set_level(logging.INFO, logger="clientsession")
    logger = logging.getLogger("clientsession")
    before = list(logger.handlers)
    yield logger.addHandler
    for handler in logger.handlers[:]:
        if handler not in before:
            logger.removeHandler(handler)
            handler.close()


def test_a_log_that_cannot_be_written_is_no_matter_of_the_request(
    ring: Keyring, log_to: Callable[[logging.Handler], None], capsys: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    log_to(logging.StreamHandler(closed))
    browser = Browser(ring)
    browser.cookie = "session=junk"
    assert browser.visit("one") == [{}, "malformed"]
    assert browser.visit() == AT_HOME
    assert "--- Logging error ---" in capsys.readouterr().err


def test_a_log_handler_that_raises_fails_its_request_and_costs_no_session(
    ring: Keyring, log_to: Callable[[logging.Handler], None]
) -> None:
    """The line is that of a session that is sealed anew; others, which need no line, go on."""
    new = Key.generate()
    old, browser = Browser(ring), Browser(Keyring(new, retiring=[ring.sealing]))
    old.visit("one")
    other = Browser(ring)
    other.visit("one")
    browser.cookie = old.cookie
    handler = BrokenHandler()
    log_to(handler)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="the handler is broken"):
            browser.visit()
        assert browser.set_cookies == []
        assert other.visit() == AT_HOME
    logging.getLogger("clientsession").removeHandler(handler)
    assert browser.visit() == AT_HOME
    assert len(browser.set_cookies) == 1


def test_a_log_handler_that_raises_when_keys_change_or_break_fails_one_request_and_the_keys_are_right(
    suite: Suite, tmp_path: Path, log_to: Callable[[logging.Handler], None]
) -> None:
    ticks = Clock(0.0)
    key_file, old, new = tmp_path / "site.keys", Key.generate(suite), Key.generate(suite)
    replace(key_file, key_file_of(old)[0])
    browser = Browser(Keyring.from_file(key_file, clock=ticks))
    browser.visit("one")
    log_to(BrokenHandler())

    def one_request_fails_and_the_next_is_served() -> None:
        ticks.pass_(1)
        with pytest.raises(RuntimeError, match="the handler is broken"):
            browser.visit()
        for _ in range(3):
            assert browser.visit() == AT_HOME
            ticks.pass_(1)

    replace(key_file, key_file_of(old, accepting=(new,))[0])
    one_request_fails_and_the_next_is_served()
    assert roles_of(browser.jar.keyring) == key_file_of(old, accepting=(new,))[1]
    text = key_file.read_text(encoding="ascii")
    key_file.unlink()
    one_request_fails_and_the_next_is_served()
    assert roles_of(browser.jar.keyring) == key_file_of(old, accepting=(new,))[1]
    replace(key_file, text)
    one_request_fails_and_the_next_is_served()
