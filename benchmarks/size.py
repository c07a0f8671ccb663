"""How many characters does a session take in the cookie?

The length of each system's token for the same sessions; also those of client-sessions and iron-session where Node and npm are
present. Nothing is timed.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import INSTALL
from benchmarks.bodies import SIZES, body
from benchmarks.codec import notes
from benchmarks.measure import Effort
from benchmarks.rivals import DAY_SECONDS, ENCRYPTED, FLOOR, SECRET, Body, Label, field

NAME: Final = "size"
COOKIE_CHARACTERS: Final = 4096  # name and value that browsers keep together (RFC 6265, 6.1)
NODE_PEERS: Final = {
    "client-sessions (Node)": Label(ENCRYPTED, "JSON.stringify", "two times, checked", "client-sessions"),
    "iron-session (Node)": Label(ENCRYPTED, "JSON.stringify", "its end, checked", "iron-session"),
}


def run(effort: Effort) -> dict[str, Any]:
    """Characters of the token, by system and size."""
    here = field()
    bodies = {size: body(size) for size in SIZES}
    tokens, cannot = here.tokens(bodies)
    values = {name: {str(size): len(token) for size, token in own.items()} for name, own in tokens.items()}
    absent = dict(here.absent)
    labels = here.labels()
    if effort.is_smoke:
        absent |= dict.fromkeys(NODE_PEERS, "not in a smoke run")
    else:
        with tempfile.TemporaryDirectory() as cache:
            found = node_sizes(Path(cache), bodies)
        if isinstance(found, str):
            absent |= dict.fromkeys(NODE_PEERS, f"not here: {found}")
        else:
            values |= found
            labels |= {name: vars(label) for name, label in NODE_PEERS.items()}
    return {
        "node": node_versions() if set(NODE_PEERS) <= values.keys() else {},
        "unit": "characters",
        "base": FLOOR,
        "labels": labels,
        "absent": absent,
        "cannot": cannot,
        "values": values,
    }


def node_sizes(cache: Path, bodies: dict[int, Body]) -> dict[str, dict[str, int]] | str:
    """The same of the packages of Node, or why they are not here.

    Args:
        cache: where npm puts them.
        bodies: by size in bytes.
    """
    # What the tests drive Node with; it gives up as a test does, in ways that are no Exception.
    try:
        import pytest

        from tests.node import running
    except ImportError as error:
        return f"{error.name} ({INSTALL}, in a checkout)"
    values: dict[str, dict[str, int]] = {name: {} for name in NODE_PEERS}
    # An option of theirs is in milliseconds, the other in seconds.
    old_options = {"cookieName": "session", "secret": SECRET, "duration": DAY_SECONDS * 1000}
    iron_options = {"password": SECRET, "ttl": DAY_SECONDS}
    try:
        with running(cache) as node:
            for size, content in bodies.items():
                sealed = node.ask("seal", options=old_options, content=content)
                opened = node.ask("open", options=old_options, value=sealed)
                iron = node.ask("iron-seal", version=9, content=content, options=iron_options)
                if opened["content"] != content:
                    raise AssertionError("client-sessions gives something else back")
                values["client-sessions (Node)"][str(size)] = len(sealed)
                values["iron-session (Node)"][str(size)] = len(iron)
    except (pytest.skip.Exception, pytest.fail.Exception) as reason:
        return str(reason.msg)
    return values


def node_versions() -> dict[str, str]:
    """Of Node and of its packages."""
    package = json.loads((Path(__file__).parent.parent / "tests" / "node" / "package.json").read_text(encoding="utf-8"))
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607 - that of the PATH, as npm's
    return {"Node": node.stdout.strip()} | {name: package["dependencies"][name] for name in ("client-sessions", "iron-session")}


def table(result: dict[str, Any]) -> str:
    """Markdown: characters, and what is more than the floor's; shortest around an empty session first."""
    values, labels, base = result["values"], result["labels"], result["base"]
    lines = [
        "| system | seals | lifetime in the token | " + " | ".join(f"{size:,} B" for size in SIZES) + " |",
        "|---|---|---|" + "--:|" * len(SIZES),
    ]
    shortest = sorted(values, key=lambda name: values[name].get(str(SIZES[0]), values[name][str(SIZES[1])]))
    for name in sorted(shortest, key=lambda name: labels[name]["kind"] != ENCRYPTED):
        label = labels[name]
        cells = [_cell(values[name].get(str(size)), values[base][str(size)]) for size in SIZES]
        shown = f"**{name}**" if name.startswith("clientsession") else name
        lifetime = label["lifetime"] + (" (deflates)" if label["deflates"] else "")
        lines.append(f"| {shown} | {label['kind']} | {lifetime} | " + " | ".join(cells) + " |")
    lines.append(f"\n\\* more than the {COOKIE_CHARACTERS:,} bytes that browsers keep of one cookie.")
    if result["node"]:
        lines.append("\n" + ", ".join(f"{name} {version}" for name, version in result["node"].items()) + ".")
    return "\n".join(lines) + notes(result)


def _cell(characters: int | None, base: int) -> str:
    if characters is None:
        return "–"
    mark = "\\*" if characters > COOKIE_CHARACTERS else ""
    return f"{characters:,}{mark} ({characters - base:+,})"
