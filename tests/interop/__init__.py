"""Programs for Node: SPEC.md a second time, and other people's readers of cookies."""

from __future__ import annotations

from pathlib import Path

from tests.node import installed

HERE = Path(__file__).parent
SPECIFICATION = HERE / "clientsession.mjs"  # Node's own modules alone: runs where it stands


def cookie_readers(cache: Path) -> Path:
    """The script that asks the packages, beside them."""
    return installed(cache, HERE, "cookies.mjs")
