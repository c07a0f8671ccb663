"""Events and the log of them: what is told, what is kept quiet, and how many lines a client can cause."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import logging
import os
import random
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clientsession
from clientsession import Event, EventKind, HeaderJar, Jar, Key, Keyring, Reason, SerializationError, Sessions, Suite
from clientsession._events import LINES_PER_WINDOW, WINDOW_MS, Throttle, log_event
from clientsession.wsgi import SessionMiddleware
from tests import reference
from tests.conftest import Clock, cookie_of
from tests.test_concurrency import eager_switching, in_threads  # noqa: F401 - the first is a fixture
from tests.test_migration import Old, old
from tests.test_secrets import CONTENT, SECRET, WINDOW, Needles

THREADS = 16
LAST_LINE = " more=held_back_for_a_minute"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# The throttle


def test_ten_lines_go_out_in_a_minute_and_the_eleventh_does_not() -> None:
    throttle = Throttle()
    assert [throttle.note("a", 0) for _ in range(12)] == [*[""] * 9, LAST_LINE, None, None]


@pytest.mark.parametrize(("now", "note"), [(59_999, None), (60_000, " held_back=3")])
def test_a_new_minute_begins_60_seconds_after_the_first_line_to_the_millisecond(now: int, note: str | None) -> None:
    throttle = Throttle()
    assert throttle.note("a", 0) == ""
    assert [throttle.note("a", 59_000) for _ in range(9)][-1] == LAST_LINE
    for _ in range(3):
        assert throttle.note("a", 59_999) is None
    assert throttle.note("a", now) == note


def test_a_new_minute_that_follows_a_quiet_one_says_nothing_of_it() -> None:
    throttle = Throttle()
    for _ in range(LINES_PER_WINDOW):
        throttle.note("a", 0)
    assert throttle.note("a", WINDOW_MS) == ""  # ten came and ten went out
    assert throttle.note("a", 2 * WINDOW_MS) == ""


def test_what_was_held_back_is_told_once_however_long_it_takes() -> None:
    throttle = Throttle()
    for _ in range(500):
        throttle.note("a", 0)
    day = 86_400_000
    assert [throttle.note("a", day) for _ in range(10)] == [" held_back=490", *[""] * 8, LAST_LINE]
    assert throttle.note("a", 2 * day) == ""


def test_a_request_that_is_over_late_begins_no_new_minute() -> None:
    """Or a client that holds its requests back, and ends them last one first, would get a line for each."""
    throttle = Throttle()
    lines = sum(throttle.note("a", 1_000_000 - late) is not None for late in range(0, 300_000, 100))
    assert lines == LINES_PER_WINDOW


def test_a_clock_that_was_set_back_by_more_than_an_hour_begins_a_new_minute() -> None:
    throttle = Throttle()
    for _ in range(12):
        throttle.note("a", 10_000_000)
    assert throttle.note("a", 10_000_000 - 3_600_000) is None
    assert throttle.note("a", 10_000_000 - 3_600_001) == " held_back=3"
    assert throttle.note("a", 10_000_000 - 3_600_001) == ""  # the minute of the clock as it is now


def test_a_handler_of_a_signal_that_uses_a_session_is_not_held_up() -> None:
    throttle = Throttle()
    with throttle._lock:
        assert throttle.note("a", 0) == ""


def test_subjects_are_counted_apart() -> None:
    throttle = Throttle()
    for _ in range(12):
        throttle.note("a", 0)
    assert throttle.note("b", 0) == ""


@given(st.lists(st.tuples(st.integers(-70_000, 70_000), st.integers(1, 40)), min_size=1, max_size=30))
def test_lines_and_what_they_say_was_held_back_add_up_to_what_came(steps: list[tuple[int, int]]) -> None:
    throttle = Throttle()
    now = came = told = 0
    for passed, bursts in steps:
        now += passed
        for _ in range(bursts):
            came += 1
            note = throttle.note("a", now)
            told += note is not None
            told += int(re.search(r"held_back=(\d+)|$", note or "")[1] or 0)  # type: ignore[index]
    note = throttle.note("a", 10**9)
    assert note is not None
    assert told + int(note.removeprefix(" held_back=") or 0) == came


@pytest.mark.usefixtures("eager_switching")
def test_threads_get_no_more_lines_through_and_every_one_is_counted() -> None:
    throttle = Throttle()
    each, minutes = 200, 20

    def work(_: int) -> list[int]:
        return [sum(throttle.note(f"a {minute}", 0) is not None for _ in range(each)) for minute in range(minutes)]

    for minute, lines in enumerate(zip(*in_threads(THREADS, work), strict=True)):
        assert sum(lines) == LINES_PER_WINDOW
        assert throttle.note(f"a {minute}", WINDOW_MS) == f" held_back={THREADS * each - LINES_PER_WINDOW}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_that_was_forked_while_a_thread_counted_goes_on_logging() -> None:
    throttle = Throttle()
    with throttle._lock:
        child = os.fork()
        if not child:
            os._exit(0 if throttle.note("a", 0) == "" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_another_process_counts_with_a_lock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = Throttle()
    before = throttle._lock
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert throttle.note("a", 0) == ""
    assert throttle._lock is not before


# The lines


@pytest.mark.parametrize("kind", EventKind)
def test_a_refusal_a_resealing_and_a_migration_are_one_line_each_and_all_else_is_none(
    kind: EventKind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_event(Event(kind, "session", None, "1a2b3c4d", 182), Throttle(), 0)
    expected = [f"session cookie {kind}: jar=session key=1a2b3c4d bytes=182"]
    assert lines_of(caplog) == (expected if kind in {EventKind.REFUSED, EventKind.RESEALED, EventKind.MIGRATED} else [])


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_says_why(reason: Reason, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_event(Event(EventKind.REFUSED, "cart", reason, None, 7), Throttle(), 0)
    assert lines_of(caplog) == [f"session cookie refused: jar=cart reason={reason.value} key=None bytes=7"]


def test_the_record_holds_the_event_and_is_of_the_level_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    event = Event(EventKind.REFUSED, "session", Reason.FORGED, "1a2b3c4d", 182)
    log_event(event, Throttle(), 0)
    (record,) = caplog.records
    assert record.clientsession_event is event
    assert (record.name, record.levelno) == ("clientsession", logging.INFO)


def test_one_reason_does_not_keep_another_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    throttle = Throttle()
    for reason in Reason:
        for _ in range(30):
            log_event(Event(EventKind.REFUSED, "session", reason, None, 7), throttle, 0)
    assert Counter(record.clientsession_event.reason for record in caplog.records) == dict.fromkeys(Reason, 10)
    assert sum(line.endswith(f"bytes=7{LAST_LINE}") for line in lines_of(caplog)) == len(Reason)


def test_an_event_does_not_change() -> None:
    event = Event(EventKind.OPENED, "session")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.size = 7  # type: ignore[misc]


# An attacker with time


REQUESTS = 60_000  # with two cookies each, of which 11 of 13 are bad
MINUTES = 5
OLD, NEW, NEXT, FOREIGN = (
    Key.from_secret(secret, suite=suite)
    for secret, suite in zip(
        (SECRET, *(hashlib.sha256(b"watching %d" % number).digest() for number in range(3))), list(Suite) * 2, strict=True
    )
)
NAMES = ("session", "cart")
ATTACKER = "Angreifer-Handschrift-5520"


class Site:
    """Two jars in the middle of a rotation, with an attacker who is also a visitor: some sessions of the site are the attacker's.

    What the attacker sends is refused for every reason that can be had without a key, or opened again and again.
    """

    def __init__(self, observer: Callable[[Event], object]) -> None:
        self.clock = Clock()
        self.ring = Keyring(NEW, accepting=[NEXT], retiring=[OLD])
        self.jars = self.jars_of(self.ring, observer)
        self.expired = self.cookies_of(self.ring)
        self.clock.pass_(timedelta(days=100) / timedelta(seconds=1))
        self.own = [self.cookies_of(self.ring) for _ in range(2)]
        self.sealed_by_the_old_key = self.cookies_of(Keyring(OLD))
        self.of_another_site = self.cookies_of(Keyring(FOREIGN))
        self.large = self.cookies_of(self.ring, "x" * 2_800)
        too_many = [reference.text(b"\x01" + bytes.fromhex(NEW.id) + bytes([number]) * 99) for number in range(5)]
        self.too_many = {name: f"; {name}=".join(too_many) for name in NAMES}
        self.too_long = "x" * 65_536
        self.random = random.Random(7)

    def jars_of(self, ring: Keyring, observer: Callable[[Event], object] | None = None) -> list[Jar]:
        return [Jar(name, ring, duration=timedelta(days=90), clock=self.clock, observer=observer) for name in NAMES]

    def cookies_of(self, ring: Keyring, more: str = "") -> dict[str, str]:
        sessions = Sessions(self.jars_of(ring), None)
        for name in NAMES:
            sessions[name] = {"content": CONTENT, "more": more}
        return dict(cookie_of(value).split("=", 1) for value in sessions.commit())

    def header(self, number: int) -> str:
        """The Cookie header of a request; no two are the same, but for those that are sent again."""
        kinds = (
            lambda name: f"{ATTACKER}-{number}",
            lambda name: urllib.parse.quote(f"{ATTACKER} {number} \x00\r\n"),
            lambda name: reference.text(b"\x01" + self.random.randbytes(120)),  # a key id that is made up
            lambda name: reference.text(b"\x01" + bytes.fromhex(NEW.id) + self.random.randbytes(120)),
            lambda name: reference.text(b"\x02" + bytes.fromhex(OLD.id) + self.random.randbytes(120)),
            lambda name: self.own[0][NAMES[name == "session"]],  # the cookie of the other jar
            lambda name: self.of_another_site[name],
            lambda name: self.expired[name],
            lambda name: f"{self.own[0][name]}; {name}={self.own[1][name]}",
            lambda name: self.too_many[name],
            lambda name: f"{number}{self.too_long}",
            lambda name: self.sealed_by_the_old_key[name],
            lambda name: self.large[name],
        )
        kind = kinds[number % len(kinds)]
        return "; ".join(f"{name}={kind(name)}" for name in NAMES)

    def application(self, environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        for name in NAMES:
            environ["clientsession.sessions"][name].get("content")
        start_response("200 OK", [])
        return []

    def besiege(self) -> None:
        """Every other request goes through the middleware, and half of those come over plain http."""
        middleware = SessionMiddleware(self.application, self.jars)
        statuses: Counter[str] = Counter()
        start = self.clock.now
        for number in range(REQUESTS):
            self.clock.now = start + number * (60 * MINUTES / REQUESTS)
            if number % 2:
                scheme = "https" if number % 4 == 1 else "http"
                environ = {"HTTP_COOKIE": self.header(number), "HTTP_HOST": f"{ATTACKER}-{number}", "wsgi.url_scheme": scheme}
                middleware(environ, lambda status, headers: statuses.update([status]))
            else:
                sessions = Sessions(self.jars, self.header(number))
                for name in NAMES:
                    sessions[name].get("content")
                sessions.commit()
        assert statuses == {"200 OK": REQUESTS // 2}


def needles_of(site: Site) -> Needles:
    """The secrets, the content, what the attacker wrote, and every kind of token; percent-encoded too."""
    tokens = [token for number in range(13) for token in re.findall(r"=([\w-]{50,})", site.header(number))]
    needles = Needles.of_secret(SECRET, CONTENT, ATTACKER, *(token[:150] for token in tokens))
    for word in (CONTENT, ATTACKER):
        for spelled in ("".join(f"%{byte:02x}" for byte in word.encode()), "".join(f"%{byte:02X}" for byte in word.encode())):
            needles.windows |= {spelled[at : at + 3 * WINDOW] for at in range(len(spelled) - 3 * WINDOW + 1)}
    return needles


def test_the_search_finds_what_an_attacker_wrote_in_each_spelling() -> None:
    needles = needles_of(Site(lambda event: None))
    for text in (ATTACKER, repr(ATTACKER), ATTACKER.encode().hex(), reference.text(f"a{ATTACKER}".encode())):
        assert needles.found_in(text)
    assert needles.found_in("".join(f"%{byte:02x}" for byte in ATTACKER.encode()))


def test_100_000_bad_cookies_cause_702_lines_in_five_minutes(caplog: pytest.LogCaptureFixture) -> None:
    """Two jars; of each, ten lines a minute for each of five reasons, and ten for re-sealings: no client seals for the future.

    The warning of large cookies comes ten times a minute from the jars and ten times from the middleware; that of a Secure cookie
    over plain http once for each jar.
    """
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    site = Site(events.append)
    caplog.clear()  # of what making the cookies said
    site.besiege()

    came = Counter((event.jar, event.kind, event.reason) for event in events)
    causes = [key for key in came if key[1] in {EventKind.REFUSED, EventKind.RESEALED}]
    assert {reason for _, _, reason in causes} == {None, *Reason} - {Reason.FUTURE}
    assert sum(came[cause] for cause in causes if cause[2]) >= 100_000
    assert min(came[cause] for cause in causes) > 100 * LINES_PER_WINDOW

    lines = Counter(re.sub(r"[0-9]{2,}", "N", line.partition(" key=")[0]) for line in lines_of(caplog))
    warning = next(line for line in lines if line.startswith("the session cookies of one client take N bytes together"))
    assert sum(lines.pop(line) for line in list(lines) if line.startswith(warning)) == 2 * LINES_PER_WINDOW * MINUTES
    assert {lines.pop(line) for line in list(lines) if line.startswith("the Secure cookie ")} == {1}
    assert lines == {
        f"session cookie {kind}: jar={jar}" + (f" reason={reason}" if reason else ""): LINES_PER_WINDOW * MINUTES
        for jar, kind, reason in causes
    }
    assert len(caplog.records) == 702
    assert max(map(len, lines_of(caplog))) < 300

    # What was held back is told, but for the last minute's.
    told = sum(int(number) for line in lines_of(caplog) for number in re.findall(r"reason=\w+ .* held_back=(\d+)", line))
    refused = sum(count for (_, kind, _), count in came.items() if kind is EventKind.REFUSED)
    assert told == pytest.approx(refused * (MINUTES - 1) / MINUTES, rel=0.01)

    assert {event.key_id for event in events} == {None, NEW.id, OLD.id}
    shown = {
        *(f"{vars(record)!r} {record.getMessage()}" for record in caplog.records[::10]),
        *lines_of(caplog),
        *(f"{event!r} {event}" for event in events[:1_000]),
        *(repr(event) for event in {dataclasses.replace(event, size=None) for event in events[::10]}),
    }
    assert needles_of(site).found_in("\n".join(shown)) == []


# What docs/guide/watching.md says of it


GUIDE = (Path(__file__).parent.parent / "docs" / "guide" / "watching.md").read_text(encoding="utf-8")
SHOWN = next(block for block in re.findall(r"^```text\n(.*?)^```$", GUIDE, re.M | re.S) if block.startswith("INFO ")).splitlines()


def visit(jars: list[Jar], cookies: str | None, *answer: tuple[str, str], scheme: str = "https", write: bool = False) -> None:
    """A request through the middleware; the application sets these headers."""

    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        for jar in jars:
            session = environ["clientsession.sessions"][jar.name]
            if write:
                session["user"] = 7
        start_response("200 OK", list(answer))
        return []

    environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": "shop.example"} | ({"HTTP_COOKIE": cookies} if cookies else {})
    SessionMiddleware(application, jars)(environ, lambda *_: None)


def cause_every_line(folder: Path) -> None:
    """What each line is about, one after the other."""
    clock = Clock()
    path = folder / "keys"
    text = f"sealing {NEW.export()}\nretiring {OLD.export()}\nend\n"
    path.write_text(text, encoding="utf-8")
    ring = Keyring.from_file(path, clock=clock)

    def jar(ring: Keyring = ring, name: str = "session") -> Jar:
        return Jar(name, ring, clock=clock)

    def cookie(ring: Keyring, name: str = "session", more: str = "") -> str:
        return f"{name}={jar(ring, name).codec.encode({'user': 7, 'more': more})}"

    watched = jar()
    pasted = cookie(ring, "cart").replace("cart", "session", 1)
    for _ in range(500):
        visit([watched], pasted)
    clock.pass_(60)
    visit([watched], pasted)
    visit([watched], cookie(Keyring(FOREIGN)))
    visit([watched], cookie(Keyring(OLD)))
    moving = Jar("session", ring, clock=clock, migrate_from=[Old()])
    visit([moving], f"old={old({'user': 7, 'more': ''})}")
    visit([watched, jar(name="cart")], "; ".join(cookie(ring, name, "x" * 2_800) for name in NAMES))
    visit([watched], None, scheme="http", write=True)
    visit([watched], None, ("Cache-Control", "public, s-maxage=600"), write=True)
    visit([watched], None, ("CDN-Cache-Control", "max-age=600"), write=True)
    visit([watched], None, ("Set-Cookie", "session=mine"), write=True)
    visit([HeaderJar("session", ring, clock=clock)], None, ("X-Session-Token", "mine"), write=True)
    visit([moving], f"old={old({'text': 'x' * 3_767})}")
    two = Sessions([watched, jar(name="cart")], None)
    for name in NAMES:
        two[name]["object"] = object()
    with pytest.raises(SerializationError):
        two.commit()
    for changed in (text.replace("retiring", "accepting"), text.removesuffix("end\n"), text):
        path.write_text(changed, encoding="utf-8")
        clock.pass_(1)
        assert ring.sealing.id == NEW.id


def test_the_guide_shows_the_lines_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    cause_every_line(tmp_path)
    lines = [f"{record.levelname} {record.getMessage()}".replace(str(tmp_path), "/etc/shop") for record in caplog.records]
    assert lines[1:9] == [lines[0]] * 8
    del lines[1:9]
    assert lines == SHOWN[:-1]
    assert " sessions are not counted in this process " in SHOWN[-1]  # which tests/test_metrics.py causes


def test_the_guide_shows_every_line_there_is() -> None:
    """Each call that logs, wherever in the package, has a line there."""
    formats = []
    for path in sorted(Path(clientsession.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.search(r"(^_logger\.\w+|\b_?warn)$", ast.unparse(node.func)):
                formats += [each.value for each in node.args if isinstance(each, ast.Constant) and "%s" in each.value]
    assert len(formats) == 13
    for text in formats:
        pattern = re.sub(r"%[sdg]", ".*", re.escape(text))
        assert [line for line in SHOWN if re.fullmatch(f"[A-Z]+ {pattern}", line)], text


def test_the_guide_lists_every_event_and_every_reason() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", GUIDE.partition("## The log")[0], re.M)
    assert rows == [*EventKind, *Reason]


@pytest.mark.parametrize("seconds", [60, 600])
def test_the_guide_s_number_of_lines_a_minute_is_the_most_there_can_be(
    seconds: int, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Every reason there is, all the time."""
    caplog.set_level(logging.DEBUG)
    throttle = Throttle()
    for second in range(seconds):
        for reason in Reason:
            for _ in range(20):
                log_event(Event(EventKind.REFUSED, "session", reason), throttle, second * 1_000)
        for _ in range(20):
            log_event(Event(EventKind.RESEALED, "session"), throttle, second * 1_000)
            log_event(Event(EventKind.MIGRATED, "session"), throttle, second * 1_000)
    assert len(caplog.records) == 80 * seconds // 60
    assert "at most 80 lines a minute for a jar" in GUIDE
