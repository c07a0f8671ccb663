"""A real Chromium, headless, by Playwright; found by name, or by ``CHROMIUM``."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: it is not to be had in containers. The others keep the browser from calling home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launched(*arguments: str) -> Iterator[Browser]:
    """The browser, closed in the end; without one the test is skipped, and fails where ``REQUIRE_BROWSER`` is set, as in CI."""
    give_up = pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip
    try:
        api = importlib.import_module("playwright.sync_api")
    except ImportError:
        give_up("Playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        give_up(f"no Chromium: none of {', '.join(NAMES)} is on the PATH, and CHROMIUM is not set")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments])
        yield browser
        browser.close()
