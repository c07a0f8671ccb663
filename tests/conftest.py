"""What many tests share: a clock that is set by hand, keys of both suites, and a client that keeps cookies."""

from __future__ import annotations

import base64
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

import clientsession
from clientsession import Jar, Key, Keyring, Sessions, Suite

# Generated examples are the same in every run of CI; a developer's run explores.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


class Clock:
    """Seconds since 1970, moved by hand. ``reads`` counts how often it was asked."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass, to the millisecond."""
        self.now = round(self.now + seconds, 3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=list(Suite), ids=lambda suite: suite.name)
def suite(request: pytest.FixtureRequest) -> Suite:
    return request.param


@pytest.fixture
def key(suite: Suite) -> Key:
    return Key.generate(suite)


@pytest.fixture
def ring(key: Key) -> Keyring:
    return Keyring(key)


def cookie_of(set_cookie: str) -> str:
    """The ``name=value`` of a Set-Cookie value, as a browser sends it back."""
    return set_cookie.partition(";")[0]


class Client:
    """A client that keeps cookies by name, as a browser with one origin does; Max-Age=0 removes one."""

    def __init__(self, *jars: Jar) -> None:
        self.jars = jars
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []
        """The Set-Cookie values of the last request."""

    def request(self) -> Sessions:
        """A request with what the client holds; ``respond`` ends it."""
        header = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return Sessions(self.jars, header or None)

    def respond(self, sessions: Sessions) -> list[str]:
        """Commit, and keep what the response sets."""
        self.set_cookies = sessions.commit()
        for value in self.set_cookies:
            name, _, token = cookie_of(value).partition("=")
            if token:
                self.cookies[name] = token
            else:
                assert "; Max-Age=0;" in value
                self.cookies.pop(name, None)
        return self.set_cookies

    @contextmanager
    def visit(self) -> Iterator[Sessions]:
        """One request and its response."""
        sessions = self.request()
        yield sessions
        self.respond(sessions)


def max_age_of(set_cookie: str) -> int | None:
    """The Max-Age of a Set-Cookie value in seconds, or None."""
    ages = [part.removeprefix("Max-Age=") for part in set_cookie.split("; ") if part.startswith("Max-Age=")]
    return int(ages[0]) if ages else None


def forged(token: str) -> str:
    """A token with the last bit of its tag flipped: of the right form, but the seal does not fit."""
    frame = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return base64.urlsafe_b64encode(frame[:-1] + bytes((frame[-1] ^ 1,))).decode().rstrip("=")


def frames_at_every_depth(call: Callable[[], object]) -> Iterator[str]:
    """What the local variables of the package's frames hold, wherever in a call the stack is full."""

    def deeper(levels: int) -> object:
        return deeper(levels - 1) if levels else call()

    package = str(Path(clientsession.__file__).parent)
    raised = 0
    limit = sys.getrecursionlimit()
    for levels in range(limit - 200, limit):
        try:
            deeper(levels)
        except RecursionError as error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if frame.f_code.co_filename.startswith(package):
                    raised += 1
                    yield from (f"{name}={value!r}" for name, value in frame.f_locals.items())
    assert raised, "the stack was full in one of our frames"
