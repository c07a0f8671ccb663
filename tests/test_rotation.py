"""Keys rotated under load: gunicorn's workers follow one key file, 200 users count on in their sessions, and nobody is logged out.

The file goes through the real commands. The steps in the wrong order do log users out, and ``keys check`` says so beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clientsession import Jar, Keyring
from clientsession.wsgi import SessionMiddleware, get_sessions

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 20.0  # for a server to start, to answer, to end; for a command; for a step that was waited for
APPLICATION = "tests.test_rotation:counter_from_env()"
USERS = 200
WORKERS = 4
CONNECTIONS = 24  # at once
LIGHT = 0.1  # seconds that each user rests where the commands are to have a processor to themselves
ROLLOUT_SECONDS = 2  # a worker looks at the file once a second
MORE_SETTINGS = {"sync": "", "gthread": "threads = 4"}
# Each worker begins a quarter of a second after the one before, so that their looks at the file are as far apart as can be.
# What a version of gunicorn does not know, it passes by.
GUNICORN_SETTINGS = """
import time
workers = {workers}
worker_class = "{kind}"
{more}
keepalive = 0
graceful_timeout = 2
control_socket_disable = True

def post_fork(server, worker):
    time.sleep((worker.age - 1) / workers)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")


# ---------------------------------------------------------------------------------------------------------------------
# The application: it counts the requests of each user, in that user's session and nowhere else
# ---------------------------------------------------------------------------------------------------------------------


def counter(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    session = get_sessions(environ)["session"]
    session["count"] = session.get("count", 0) + 1
    answer = {
        "count": session["count"],
        "is_new": session.is_new,
        "refusal": session.refusal,
        "opened_by": session.key_id,
        "pid": os.getpid(),
    }
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def counter_from_env() -> SessionMiddleware:
    """What gunicorn's workers load, each for itself; a session lives half as long again whenever half of its time is over."""
    logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(message)s")
    life = timedelta(seconds=int(os.environ["SESSION_SECONDS"]))
    return SessionMiddleware(counter, [Jar("session", Keyring.from_env(), duration=life, active_duration=life / 2, secure=False)])


# ---------------------------------------------------------------------------------------------------------------------
# The key file, by the real commands
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keys:
    """A key file, of a site whose sessions live so many seconds at most."""

    path: Path
    longest: int

    def run(self, *words: str) -> tuple[int, str]:
        """A ``clientsession keys`` command: its exit code, and all that it says, in one line."""
        done = subprocess.run(
            [sys.executable, "-m", "clientsession", "keys", *words, "--file", self.path],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        return done.returncode, " ".join(f"{done.stderr} {done.stdout}".split())

    def done(self, *words: str) -> str:
        code, said = self.run(*words)
        assert code == 0, said
        return said

    def refused(self, *words: str) -> str:
        before = self.path.read_bytes()
        code, said = self.run(*words)
        assert code == 1, said
        assert said.startswith("refused: ")
        assert self.path.read_bytes() == before
        return said

    def of_role(self, role: str) -> list[str]:
        return [key["id"] for key in json.loads(self.done("list", "--json"))["keys"] if key["role"] == role]

    @property
    def sealing(self) -> str:
        (key_id,) = self.of_role("sealing")
        return key_id

    def add(self) -> str:
        """Make the file, or add a key to it; gives the key's id."""
        return re.findall(r"^(?:Made \S+ with the key|Added) ([0-9a-f]{8}) ", self.done("add"))[0]

    @property
    def _times(self) -> tuple[str, ...]:
        return "--rollout", f"{ROLLOUT_SECONDS}s", "--longest", f"{self.longest}s"

    def promote(self, key_id: str) -> None:
        assert f"{key_id} seals from now on" in self.done("promote", key_id, *self._times)

    def check(self) -> tuple[int, str]:
        return self.run("check", *self._times)

    def wait_until_checked(self) -> str:
        """Ask ``keys check`` until it has nothing against the next step, and give what it says."""
        end = time.monotonic() + DEADLINE_SECONDS
        while True:
            code, said = self.check()
            if code == 0:
                return said
            assert code == 1, said
            assert "wrong:" not in said
            assert time.monotonic() < end, said
            time.sleep(0.2)


# ---------------------------------------------------------------------------------------------------------------------
# The server
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """A port, and the logs of the machines that serve it."""

    port: int
    logs: list[Path]

    @property
    def log(self) -> str:
        return "".join(log.read_text(encoding="utf-8", errors="replace") for log in self.logs)

    def changes(self) -> dict[int, list[str]]:
        """The keys that each worker told of, one change after the other."""
        found: dict[int, list[str]] = {}
        for pid, keys in re.findall(r"^(\d+) INFO keys changed: .*?: (sealing .*)$", self.log, re.MULTILINE):
            found.setdefault(int(pid), []).append(keys)
        return found

    def all_have(self, keys: str) -> bool:
        """Whether these are the last keys that each worker told of."""
        return [steps[-1] for steps in self.changes().values()] == [keys] * WORKERS

    def booted(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log)]

    def problems(self) -> list[str]:
        """The lines that are not plain news."""
        return [line for line in self.log.splitlines() if re.search(r"ERROR|CRITICAL|WARNING|Traceback|Error", line)]


@contextlib.contextmanager
def site_of(folder: Path, longest: int, *key_files: Path, kind: str = "sync") -> Iterator[Site]:
    """A port that is served by four workers: of one gunicorn for each key file, as on as many machines."""
    # A socket that listens already: what connects before the workers are up waits in its queue.
    with socket.create_server(("127.0.0.1", 0), backlog=USERS) as listener, contextlib.ExitStack() as servers:
        site = Site(listener.getsockname()[1], [folder / f"gunicorn.{key_file.name}.log" for key_file in key_files])
        for key_file, log in zip(key_files, site.logs, strict=True):
            config = log.with_suffix(".conf.py")
            settings = GUNICORN_SETTINGS.format(workers=WORKERS // len(key_files), kind=kind, more=MORE_SETTINGS[kind])
            config.write_text(settings, encoding="ascii")
            environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIENTSESSION_")}
            environment |= {"CLIENTSESSION_KEY_FILE": str(key_file), "SESSION_SECONDS": str(longest), "PYTHONWARNINGS": "ignore"}
            servers.enter_context(running(["--config", str(config)], listener, environment | {"HOME": str(folder)}, log))
        listener.close()  # only the servers have it now: where none could start, connecting fails at once
        yield site
    assert site.problems() == []


@contextlib.contextmanager
def running(options: list[str], listener: socket.socket, environment: dict[str, str], log: Path) -> Iterator[None]:
    """One gunicorn; it is ended by its own process id."""
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"fd://{listener.fileno()}", "--chdir", str(ROOT), APPLICATION]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGTERM)
            try:
                code = server.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                os.kill(server.pid, signal.SIGKILL)
                code = server.wait(DEADLINE_SECONDS)
    assert code == 0, log.read_text(encoding="utf-8", errors="replace")


# ---------------------------------------------------------------------------------------------------------------------
# The load
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Users whose requests follow one another, each with the cookie of the answer before, each on a connection of its own.

    Most come back at once, some only after a while: these are the ones a rotation that is too fast would lose.

    Attributes:
        requests: how many were answered.
        lost: what was answered where it was not the user's count and one more.
        errors: of connections, and answers that are none of the application's.
        opened_by: how many sessions each key opened.
        pids: how many requests each worker served.
    """

    port: int
    longest: int
    least_rest: float = 0.0
    requests: int = 0
    lost: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    opened_by: Counter[str] = field(default_factory=Counter)
    pids: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    _end: Callable[[], object] = lambda: None

    def end(self) -> None:
        """Let each user's request be answered, and send no other."""
        self._end()

    def run(self, seconds: float) -> None:
        """Send requests until :meth:`end` is called, or so many seconds are over."""
        start = time.monotonic()
        asyncio.run(self._users(seconds))
        self.seconds = time.monotonic() - start

    async def _users(self, seconds: float) -> None:
        is_over, loop = asyncio.Event(), asyncio.get_running_loop()
        self._end = lambda: loop.call_soon_threadsafe(is_over.set)
        loop.call_later(seconds, is_over.set)
        slots = asyncio.Semaphore(CONNECTIONS)
        await asyncio.gather(*(self._user(number, slots, is_over) for number in range(USERS)))

    async def _user(self, number: int, slots: asyncio.Semaphore, is_over: asyncio.Event) -> None:
        # The fourth power: half of the users rest for less than a sixteenth of what the slowest does, who is seen just in time.
        rest = self.least_rest + self.longest / 4 * (number / USERS) ** 4
        cookie, count = "", 0
        while not is_over.is_set():
            async with slots:
                try:
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        answer, cookie = await self._request(cookie)
                except (OSError, ValueError, KeyError) as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                    return
            self._note(answer, count)
            count = answer["count"]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await is_over.wait()

    async def _request(self, cookie: str) -> tuple[dict[str, Any], str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *([f"Cookie: {cookie}"] if cookie else [])]
            writer.write("\r\n".join((*lines, "", "")).encode("ascii"))
            received = await reader.read(-1)
        finally:
            writer.close()
            await writer.wait_closed()
        head, _, body = received.decode("ascii").partition("\r\n\r\n")
        found = re.search(r"\r\nset-cookie: (session=[^;]+);", head, re.IGNORECASE)
        if not head.startswith("HTTP/1.1 200 ") or found is None:
            raise ValueError(head[:200])
        return json.loads(body), found[1]

    def _note(self, answer: dict[str, Any], count: int) -> None:
        self.requests += 1
        self.pids[answer["pid"]] += 1
        if answer["opened_by"] is not None:
            self.opened_by[answer["opened_by"]] += 1
        if (answer["count"], answer["is_new"], answer["refusal"]) != (count + 1, count == 0, None):
            self.lost.append(answer)

    def __str__(self) -> str:
        rate = self.requests / self.seconds
        return (
            f"{self.requests:,} requests of {USERS} users in {self.seconds:.1f} s ({rate:,.0f} a second), {len(self.pids)} workers "
            f"({', '.join(f'{count:,}' for count in self.pids.values())}), {len(self.opened_by)} keys "
            f"({', '.join(f'{key} {count:,}' for key, count in self.opened_by.items())}), {len(self.lost)} sessions lost"
        )


@contextlib.contextmanager
def load_on(site: Site, keys: Keys, *, at_least: int = 0, least_rest: float = 0.0, seconds: float = 120.0) -> Iterator[Load]:
    """A load that has reached every user and worker when it is given, and at its end has come to so many requests."""
    load = Load(site.port, keys.longest, least_rest)
    thread = threading.Thread(target=load.run, args=(seconds,))
    thread.start()
    try:
        wait_until(lambda: len(load.pids) == WORKERS and load.requests >= 3 * USERS, load)
        yield load
        wait_until(lambda: load.requests >= at_least, load, seconds)
    finally:
        load.end()
        thread.join(2 * DEADLINE_SECONDS)
        assert not thread.is_alive()
    assert load.errors == []


def wait_until(is_so: Callable[[], bool], load: Load, seconds: float = DEADLINE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, load
        assert load.errors == []
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------------------
# The right order
# ---------------------------------------------------------------------------------------------------------------------


def rotate(keys: Keys, *, drop: bool) -> None:
    """One rotation by the runbook: each step as soon as ``keys check`` has nothing against it, and not before."""
    old = keys.sealing
    new = keys.add()
    code, said = keys.run("check")  # by its default, a rollout takes a minute
    assert code == 1
    assert f"wait: promoting {new} now would log users out" in said
    assert "logs those users out" in keys.refused("promote", new)
    assert f"ready: {new} may be promoted" in keys.wait_until_checked()
    keys.promote(new)
    assert keys.sealing == new
    code, said = keys.check()
    assert code == 1
    assert f"wait: dropping {old} now would log users out" in said
    assert "users are logged out" in keys.refused("drop", old)
    if not drop:
        return
    assert f"ready: {old} may be dropped" in keys.wait_until_checked()
    assert f"Dropped {old}" in keys.done("drop", old)
    assert "All is well" in keys.wait_until_checked()


def rotate_under_load(folder: Path, kind: str, requests: int, longest: int, *, is_short: bool) -> None:
    """Two rotations, of which a short one leaves out the last step."""
    keys = Keys(folder / "site.keys", longest)
    used = [keys.add()]
    steps: list[str] = []
    with site_of(folder, longest, keys.path, kind=kind) as site:
        with load_on(site, keys, at_least=requests, least_rest=LIGHT if is_short else 0.0) as load:
            for is_last in (False, True):
                rotate(keys, drop=not (is_short and is_last))
                used.append(keys.sealing)
                old, new = used[-2:]
                steps += (
                    f"sealing {old}, accepting [{new}], retiring []",
                    f"sealing {new}, accepting [], retiring [{old}]",
                    *([] if is_short and is_last else [f"sealing {new}, accepting [], retiring []"]),
                )
                wait_until(lambda: site.all_have(steps[-1]), load)
            seen = load.requests
            wait_until(lambda: load.opened_by[used[-1]] >= USERS and load.requests >= seen + 3 * USERS, load)
        changes, booted, problems = site.changes(), site.booted(), site.problems()
    print(f"\n{kind}: {load}")
    assert load.lost == []
    assert load.requests >= requests
    assert set(load.opened_by) == set(used)
    assert len(set(used)) == 3
    assert min(load.opened_by.values()) >= USERS
    assert len(booted) == WORKERS  # none was started again
    assert set(load.pids) == set(booted)
    assert min(load.pids.values()) >= USERS
    assert changes == dict.fromkeys(booted, steps)  # each worker saw each step: no luck was needed
    assert problems == []


def test_a_rotation_under_load_loses_no_session(tmp_path: Path) -> None:
    rotate_under_load(tmp_path, "gthread", 3_000, 6, is_short=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_two_rotations_under_20_000_requests_lose_no_session(tmp_path: Path, kind: str) -> None:
    rotate_under_load(tmp_path, kind, 20_000, 10, is_short=False)


# ---------------------------------------------------------------------------------------------------------------------
# The wrong order
# ---------------------------------------------------------------------------------------------------------------------


def test_a_key_that_is_promoted_at_once_logs_users_out_and_check_says_so_before(tmp_path: Path) -> None:
    """The file is on its way to a second machine, which does not know the key that the first one seals with."""
    keys, second = Keys(tmp_path / "first.keys", 60), tmp_path / "second.keys"

    def bring() -> None:
        new = second.with_suffix(".new")
        new.write_bytes(keys.path.read_bytes())
        new.replace(second)

    old = keys.add()
    bring()
    with site_of(tmp_path, keys.longest, keys.path, second) as site, load_on(site, keys, least_rest=LIGHT) as load:
        new = keys.add()
        code, said = keys.run("check")
        assert code == 1
        assert f"wait: promoting {new} now would log users out: it was added" in said
        assert load.lost == []
        assert "forced: " in keys.done("promote", new, "--force")
        wait_until(lambda: len(load.lost) > 0, load)
        bring()
        wait_until(lambda: site.all_have(f"sealing {new}, accepting [], retiring [{old}]"), load)
        seen = load.requests
        wait_until(lambda: load.requests >= seen + 3 * USERS, load)
    print(f"\npromoted at once: {load}")
    assert {answer["refusal"] for answer in load.lost} == {"unknown_key"}


def test_a_key_that_is_dropped_at_once_logs_users_out_and_check_says_so_before(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "site.keys", 60)
    old = keys.add()
    with site_of(tmp_path, keys.longest, keys.path) as site, load_on(site, keys, least_rest=LIGHT) as load:
        new = keys.add()
        keys.wait_until_checked()
        keys.promote(new)
        code, said = keys.check()
        assert code == 1
        assert f"wait: dropping {old} now would log users out: what it sealed may be alive" in said
        assert load.lost == []
        assert "forced: " in keys.done("drop", old, "--force")
        wait_until(lambda: len(load.lost) > 0, load)
        wait_until(lambda: site.all_have(f"sealing {new}, accepting [], retiring []"), load)
        seen = load.requests
        wait_until(lambda: load.requests >= seen + 3 * USERS, load)
    print(f"\ndropped at once: {load}")
    assert {answer["refusal"] for answer in load.lost} == {"unknown_key"}
