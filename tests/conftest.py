"""What many tests share: a clock that is set by hand, keys of both suites, and a client that keeps cookies."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from clientsession import Key, Keyring, Suite

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
