"""A load: gunicorn's workers, users who hold each answer against plain dicts, and what goes wrong meanwhile.

Of each user the cookies and the model are kept side by side. An answer counts when it is whole; one that was broken off leaves
both as they were, and the step is done again, so the model always says what the next handler must see.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from clientsession import Event, Jar, Key, Keyring, Suite
from clientsession.wsgi import SessionMiddleware, get_sessions
from tests import reference

ROOT = Path(__file__).parent.parent
APPLICATION = "tests.load:shop_from_env()"
THREADS = 8  # of users
DEADLINE_SECONDS = 60.0  # for a server to start and to end, an answer, a step that was waited for
JUMP_SECONDS = 29.0  # two clocks are never further apart than the 60 s that a session may come from the future
MOST_ITEMS = 5  # in a cart
WORKERS = 2  # of each server
GUNICORN_SETTINGS = f"""
workers = {WORKERS}
worker_class = "gthread"
threads = {THREADS}
timeout = 120
graceful_timeout = 2
control_socket_disable = True
"""  # what a version does not know, it passes by

JARS = ("session", "cart")
STEPS = {"read": 100, "write": 40, "buy": 20, "login": 12, "logout": 8, "empty": 6, "touch": 8}
FAULTS = {"write-without-randomness": 1, "write-with-a-broken-observer": 1}
"""Steps of a user by how often they are. Nothing comes of those that fail: they are answered with 500, or not at all, since servers
take the OSError of a system without randomness for one of the client's connection."""
BROKEN_OFF = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)  # and not refused: a socket listens all the time
TABS = 0.05  # how often a user does two of the other steps at once, in two tabs


# ---------------------------------------------------------------------------------------------------------------------
# The application
# ---------------------------------------------------------------------------------------------------------------------


class Notices(logging.Handler):
    """Counts what this worker said of its keys: that they could not be read, and that they are read again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.getMessage().partition(":")[0]] += 1


class Shop:
    """What a worker runs. Its clock jumps back and forth with each reading, and a step may break a part for its own request."""

    def __init__(self) -> None:
        self.ring = Keyring.from_env()
        self.notices = Notices()
        logging.getLogger("clientsession").addHandler(self.notices)
        self.broken = threading.local()
        self.urandom = os.urandom
        os.urandom = self.randomness  # of this worker, for good
        options: dict[str, Any] = {"secure": False, "clock": self.clock, "observer": self.observer}
        self.jars = [Jar("session", self.ring, **options), Jar("cart", self.ring, duration=timedelta(days=120), **options)]

    def clock(self) -> float:
        return time.time() + random.uniform(-JUMP_SECONDS, JUMP_SECONDS)

    def randomness(self, size: int) -> bytes:
        if getattr(self.broken, "part", "") == "without-randomness":
            raise OSError("no randomness")
        return self.urandom(size)

    def observer(self, event: Event) -> None:
        if getattr(self.broken, "part", "") == "with-a-broken-observer":
            raise RuntimeError("the observer is broken")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        step, _, self.broken.part = environ["PATH_INFO"][1:].partition("-")
        value = environ["QUERY_STRING"]
        sessions = get_sessions(environ)
        session, cart = (sessions[name] for name in JARS)
        answer = {
            "seen": sessions_as_dicts(session=session, cart=cart),
            "state": {"pid": os.getpid(), "keys": roles_of(self.ring), **self.notices.counts},
        }
        body = json.dumps(answer).encode("ascii")  # as it was before the step
        match step:
            case "login":
                session.reset()
                session["user"] = value
            case "logout":
                session.destroy()
            case "write":
                session["page"] = value
            case "touch":
                session.set_duration(timedelta(hours=2))
            case "buy":
                items = cart.setdefault("items", [])
                items.append(value)
                del items[:-MOST_ITEMS]
            case "empty":
                cart.clear()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


def shop_from_env() -> SessionMiddleware:
    """What gunicorn's workers load, each for itself."""
    app = Shop()
    return SessionMiddleware(app, app.jars)


def sessions_as_dicts(**sessions: Any) -> dict[str, Any]:
    """What a handler sees, of which a model knows all: whether a session is new, and was refused, too."""
    return {name: [dict(session), session.is_new, session.refusal] for name, session in sessions.items()}


def roles_of(ring: Keyring) -> str:
    """The ids of a ring's keys by role."""
    accepting, retiring = ([key.id for key in keys] for keys in (ring.accepting, ring.retiring))
    return f"sealing {ring.sealing.id} accepting {accepting} retiring {retiring}"


# ---------------------------------------------------------------------------------------------------------------------
# The users
# ---------------------------------------------------------------------------------------------------------------------

Model = dict[str, dict[str, Any]]
"""The content of each jar of a user."""


def after(step: str, before: Model, value: str) -> Model:
    """What a handler leaves; a new model."""
    session, items = before["session"], before["cart"].get("items", [])
    match step:
        case "login":
            session = {"user": value}
        case "logout":
            session = {}
        case "write":
            session = session | {"page": value}
        case "buy":
            items = [*items, value][-MOST_ITEMS:]
        case "empty":
            items = []
    return {"session": session, "cart": {"items": items} if items else {}}


@dataclass
class User:
    """Somebody with a browser, and what must be in its sessions."""

    number: int
    model: Model = field(default_factory=lambda: {name: {} for name in JARS})
    cookies: dict[str, str] = field(default_factory=dict)
    steps: int = 0

    @property
    def only_looks(self) -> bool:
        """Whether this one, once a session and a cart are there, writes no more: some live through all that happens."""
        return self.number % 10 == 0

    @property
    def key_ids(self) -> set[str]:
        """The ids of the keys that sealed the cookies held."""
        return {reference.frame_of(token[:8])[1:5].hex() for token in list(self.cookies.values())}


@dataclass
class Caller:
    """A thread that makes the requests of its users, over connections that all of them share.

    Attributes:
        counts: answers by step, of which those in two tabs count once more; and requests that were broken off.
        lost: what was not as the user's model says: older, gone, or not kept.
        mixed: what was somebody else's.
        states: what each worker said of itself last, by its process id; all callers have one.
    """

    port: int
    users: list[User]
    states: dict[int, dict[str, Any]]
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[Any] = field(default_factory=list)
    mixed: list[Any] = field(default_factory=list)

    def run(self, is_over: threading.Event) -> None:
        """Let one user after the other make a step."""
        dice = random.Random(self.users[0].number)
        tabs = [http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS) for _ in range(2)]
        try:
            while not is_over.is_set():
                for user in dice.sample(self.users, len(self.users)):  # in another order; the list itself is read by others
                    pool, count = (STEPS, 2) if dice.random() < TABS else (STEPS | FAULTS, 1)
                    steps = dice.choices(list(pool), list(pool.values()), k=count)
                    if user.only_looks and all(user.model.values()):
                        steps = ["read"] * count
                    self._steps(user, steps, tabs, dice)
                    user.steps += 1
                    if is_over.is_set():
                        break
        finally:
            for tab in tabs:
                tab.close()

    def _steps(self, user: User, steps: list[str], tabs: list[http.client.HTTPConnection], dice: random.Random) -> None:
        """One step, or two at once, whose answers come in any order; what was broken off is done again by itself."""
        before = user.model
        header = {"Cookie": "; ".join(f"{name}={value}" for name, value in user.cookies.items())} if user.cookies else {}
        sent = []
        again = []
        for number, (step, tab) in enumerate(zip(steps, tabs, strict=False)):
            if dice.random() < TABS:
                tab.close()  # the next connection may be another worker's
            value = f"{user.number}.{user.steps}.{number}"
            try:
                tab.request("GET", f"/{step}?{value}", headers=header)
            except BROKEN_OFF:
                again.append(step)
                tab.close()
            else:
                sent.append((step, value, tab))
        dice.shuffle(sent)
        for step, value, tab in sent:
            try:
                response = tab.getresponse()
                whole = response.length
                body = response.read()
            except (*BROKEN_OFF, http.client.HTTPException):
                whole = None
            if whole is None:  # no length, no answer: it was cut in its headers
                again.append(step)
                tab.close()
                continue
            self.counts[step] += 1
            self.counts["in two tabs"] += len(steps) > 1
            self._take(user, before, step, value, response, body)
        self.counts["broken off"] += sum(step in STEPS for step in again)
        for step in again:
            if step in FAULTS:
                self.counts[step] += 1
                continue
            self._steps(user, [step], tabs, dice)

    def _take(self, user: User, before: Model, step: str, value: str, response: http.client.HTTPResponse, body: bytes) -> None:
        """Hold an answer against the model, and keep its cookies."""
        lines = response.headers.get_all("Set-Cookie") or []
        if step in FAULTS or response.status != 200:
            if (step in FAULTS, response.status, lines) != (True, 500, []):
                self.lost.append((user.number, step, response.status, lines))
            return
        answer = json.loads(body)
        self.states[answer["state"]["pid"]] = answer["state"]
        expected = {name: [before[name], not before[name], None] for name in JARS}
        if answer["seen"] != expected:
            strings = [str(value) for content, *_ in answer["seen"].values() for value in all_strings(content)]
            is_mixed = any(string.partition(".")[0] != str(user.number) for string in strings)
            (self.mixed if is_mixed else self.lost).append((user.number, step, answer["seen"], expected))
        left = after(step, before, value)
        kept = dict(line.partition(";")[0].split("=", 1) for line in lines)
        for name in JARS:
            if name in kept:
                user.model = user.model | {name: left[name]}
                if kept[name]:
                    user.cookies[name] = kept[name]
                else:
                    user.cookies.pop(name, None)
            elif left[name] != before[name]:
                self.lost.append((user.number, step, f"no cookie for {left[name]}"))


def all_strings(content: dict[str, Any]) -> Iterator[str]:
    for value in content.values():
        yield from value if isinstance(value, list) else [value]


# ---------------------------------------------------------------------------------------------------------------------
# The servers
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One gunicorn."""

    pid: int

    @property
    def workers(self) -> set[int]:
        return set(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


@contextlib.contextmanager
def running(listener: socket.socket, key_file: Path, log: Path) -> Iterator[Server]:
    """A gunicorn on a socket that listens already; it is ended by its own process id."""
    config = log.with_suffix(".conf.py")
    config.write_text(GUNICORN_SETTINGS, encoding="ascii")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIENTSESSION_")}
    environment |= {"CLIENTSESSION_KEY_FILE": str(key_file), "PYTHONWARNINGS": "ignore", "HOME": str(log.parent)}
    options = ["--config", str(config), "--bind", f"fd://{listener.fileno()}", "--chdir", str(ROOT)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, APPLICATION],
            env=environment,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield Server(process.pid)
        finally:
            process.terminate()
            try:
                code = process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait(DEADLINE_SECONDS)
    assert code == 0, log.read_text(encoding="utf-8", errors="replace")[-5000:]


# ---------------------------------------------------------------------------------------------------------------------
# The load, and what goes wrong in it
# ---------------------------------------------------------------------------------------------------------------------


def key_file_of(sealing: Key, *, accepting: tuple[Key, ...] = (), retiring: tuple[Key, ...] = ()) -> tuple[str, str]:
    """The text of a key file, and the roles as a worker will tell them."""
    roles = (("sealing", (sealing,)), ("accepting", accepting), ("retiring", retiring))
    text = "".join(f"{role} {key.export()}\n" for role, keys in roles for key in keys) + "end\n"
    return text, roles_of(Keyring(sealing, accepting=accepting, retiring=retiring))


def replace(path: Path, text: str) -> None:
    """Write as the commands do: a new file takes the place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    new.replace(path)


BROKEN: dict[str, Callable[[str], str | None]] = {
    "gone": lambda text: None,
    "half written": lambda text: text[: len(text) // 2],
    "of something else": lambda text: "The quick brown fox\nend\n",
    "with a typo": lambda text: text.replace("csk1_", "csk2_"),
}
"""What becomes of a key file."""


@dataclass
class Load:
    """Users at two servers of one port: one is left alone, the other one is not."""

    key_file: Path
    key: Key
    calm: Server
    rough: Server
    callers: list[Caller]
    futures: list[Future[None]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)

    @property
    def users(self) -> list[User]:
        return [user for caller in self.callers for user in caller.users]

    @property
    def counts(self) -> Counter[str]:
        return sum((caller.counts.copy() for caller in self.callers), Counter())

    @property
    def requests(self) -> int:
        return sum(count for step, count in self.counts.items() if step in STEPS or step in FAULTS)

    @property
    def lost(self) -> list[Any]:
        return [what for caller in self.callers for what in caller.lost]

    @property
    def mixed(self) -> list[Any]:
        return [what for caller in self.callers for what in caller.mixed]

    def state_of(self, pid: int) -> dict[str, Any]:
        return self.callers[0].states.get(pid, {})

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait, as long as all goes well."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not is_so():
            assert time.monotonic() < end, f"{what}: {self}"
            for future in self.futures:
                if future.done():
                    future.result()
            time.sleep(0.02)

    def until_all_workers(self, have: Callable[[dict[str, Any]], bool], what: str) -> None:
        """Wait until every worker there is has answered, and says of itself what is asked for."""

        def all_have() -> bool:
            rough = self.rough.workers
            states = [self.state_of(pid) for pid in self.calm.workers | rough]
            return len(rough) >= WORKERS and all(state and have(state) for state in states)

        self.until(all_have, what)

    def until_all_users(self) -> None:
        """Wait until every user has made a step that was begun from now on."""
        before = {user.number: user.steps for user in self.users}
        self.until(lambda: all(user.steps > before[user.number] + 1 for user in self.users), "every user makes a step")

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Users come, and have reached every worker when the block begins; at its end each is answered, and leaves."""
        is_over = threading.Event()
        with ThreadPoolExecutor(THREADS) as pool:
            self.futures = [pool.submit(caller.run, is_over) for caller in self.callers]
            try:
                self.until(lambda: len(self.calm.workers) == WORKERS, "the servers start")
                self.until_all_workers(bool, "every worker answers")
                yield
                self.until(lambda: {"in two tabs", *STEPS, *FAULTS} <= self.counts.keys(), "there is each kind of step")
            finally:
                is_over.set()
        for future in self.futures:
            future.result()
        self.futures = []

    # What goes wrong. Whatever a server is told, it is up again when the next thing happens to it.

    def kill(self) -> None:
        """A worker is gone in the middle of its requests, and another one takes its place."""
        victim = max(pid for pid in self.rough.workers if self.state_of(pid))
        os.kill(victim, signal.SIGKILL)
        self.events["workers killed"] += 1
        self.until(lambda: victim not in self.rough.workers, "a worker is killed")
        self.until_all_workers(bool, "a killed worker is replaced")

    def more_and_less(self) -> None:
        """A worker more, and one less."""
        for number, count in ((signal.SIGTTIN, WORKERS + 1), (signal.SIGTTOU, WORKERS)):
            self.rough.signal(number)
            self.events[f"{number.name}s"] += 1
            self.until(lambda count=count: len(self.rough.workers) == count, f"there are {count} workers")
            self.until_all_workers(bool, "all workers answer")

    def reload(self) -> None:
        """All workers are replaced while they serve."""
        before = self.rough.workers
        self.rough.signal(signal.SIGHUP)
        self.events["reloads"] += 1
        self.until(lambda: not before & self.rough.workers and len(self.rough.workers) == WORKERS, "a reload")
        self.until_all_workers(bool, "all workers answer")

    def break_key_file(self, how: str) -> None:
        """The key file is broken for a while: workers say so, and go on."""
        text = self.key_file.read_text(encoding="ascii")
        broken = BROKEN[how](text)
        before = {pid: self.state_of(pid) for pid in self.calm.workers | self.rough.workers}

        def said(line: str) -> Callable[[dict[str, Any]], bool]:
            return lambda state: state.get(line, 0) > before[state["pid"]].get(line, 0)

        if broken is None:
            self.key_file.unlink()
        else:
            self.key_file.write_text(broken, encoding="ascii")  # in place, as the commands do not
        self.events["broken key files"] += 1
        self.until_all_workers(said("keys not read again"), f"every worker notices: the key file is {how}")
        replace(self.key_file, text)
        self.until_all_workers(said("keys are read again"), "every worker notices: the key file is mended")

    def rotate(self) -> None:
        """A whole rotation, to a key of the other suite: each step as soon as nobody can be logged out by it, and no later."""
        old, new = self.key, Key.generate(next(suite for suite in Suite if suite is not self.key.suite))
        self._change_keys(old, accepting=(new,))
        self._change_keys(new, retiring=(old,))
        self.until_all_users()
        self.until(lambda: all(old.id not in user.key_ids for user in self.users), "all cookies are sealed anew")
        self._change_keys(new)
        self.key = new
        self.events["rotations"] += 1

    def _change_keys(self, sealing: Key, **others: tuple[Key, ...]) -> None:
        """A step of a rotation, in which one worker dies before all have noticed it."""
        text, roles = key_file_of(sealing, **others)
        replace(self.key_file, text)
        self.kill()
        self.until_all_workers(lambda state: state["keys"] == roles, f"every worker has the keys: {roles}")

    def descriptors(self) -> dict[int, int]:
        """How many files, sockets and the like each worker of the server that is left alone has open."""
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in self.calm.workers}

    def descriptors_at_rest(self) -> dict[int, int]:
        """The same, once the connections of those who left are closed: when the count has been one for half a second."""
        looks: list[dict[int, int]] = []

        def is_settled() -> bool:
            looks.append(self.descriptors())
            return len(looks) > 25 and all(look == looks[-1] for look in looks[-25:])

        self.until(is_settled, "connections are closed")
        return looks[-1]

    def threads(self) -> dict[int, int]:
        """How many threads each of them has."""
        return {pid: len(os.listdir(f"/proc/{pid}/task")) for pid in self.calm.workers}

    def __str__(self) -> str:
        happened = ", ".join(f"{count:,} {what}" for what, count in (*self.events.items(), *self.counts.items()))
        return (
            f"{self.requests:,} requests of {len(self.users):,} users, {len(self.callers[0].states)} workers: {happened}; "
            f"sessions lost: {len(self.lost)}, mixed: {len(self.mixed)}"
        )


@contextlib.contextmanager
def load_of(users: int, folder: Path) -> Iterator[Load]:
    """Two servers, and so many users in each thread; they come when :meth:`Load.on` lets them."""
    key, key_file = Key.generate(), folder / "site.keys"
    replace(key_file, key_file_of(key)[0])
    # A socket that listens already: what connects before the workers are up waits in its queue.
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        calm, rough = (stack.enter_context(running(listener, key_file, folder / f"{name}.log")) for name in ("calm", "rough"))
        listener.close()  # only the servers have it now: where none could start, connecting fails at once
        states: dict[int, dict[str, Any]] = {}
        numbers = itertools.count()
        callers = [Caller(port, [User(next(numbers)) for _ in range(users)], states) for _ in range(THREADS)]
        yield Load(key_file, key, calm, rough, callers)
