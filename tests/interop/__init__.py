"""Programs for Node that speak lines of JSON: SPEC.md a second time, and other people's readers of cookies."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.node import ANSWER_SECONDS, INSTALL_SECONDS, give_up

HERE = Path(__file__).parent
SPECIFICATION = HERE / "clientsession.mjs"  # Node's own modules alone: runs where it stands
COOKIES = "cookies.mjs"
FILES = ("package.json", "package-lock.json", COOKIES)


class Thrown(Exception):
    """What the other side threw."""


class Refused(Exception):
    """The other side refused a token, and this is why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Peer:
    """A process that answers each line with one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: str, **given: Any) -> Any:
        """One answer.

        Raises:
            Refused: it refused a token.
            Thrown: it threw.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(ANSWER_SECONDS, process.kill)
        watchdog.start()
        try:
            process.stdin.write(json.dumps({"ask": question} | given) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, "the Node process ended: its complaint stands above"
        said = json.loads(line)
        if "refused" in said:
            raise Refused(said["refused"])
        if "threw" in said:
            raise Thrown(said["threw"])
        return said.get("answer")


@contextmanager
def running(script: Path) -> Iterator[Peer]:
    """The process of a script, ended in the end."""
    program = shutil.which("node")
    if program is None:
        give_up("Node is not installed")
    with subprocess.Popen(
        [program, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()


def cookie_readers(cache: Path) -> Path:
    """The script that asks the packages, beside them; installed once for each lock file, as ``tests.node`` does."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    folder = cache / f"interop-{digest}"
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            give_up("npm is not installed")
        # Made beside it and moved when it is whole: another run may do the same at this moment.
        with tempfile.TemporaryDirectory(dir=cache) as made:
            whole = Path(made) / "whole"
            whole.mkdir()
            for name in FILES:
                shutil.copy(HERE / name, whole)
            command = [npm, "ci", "--prefix", str(whole), "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                subprocess.run(command, cwd=whole, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
            except subprocess.CalledProcessError as error:
                give_up(f"npm could not install the packages: {error.stderr[-500:]}")
            except subprocess.TimeoutExpired:
                give_up("npm took too long to install the packages")
            try:
                whole.rename(folder)
            except OSError:  # the other run was first
                if not folder.exists():
                    raise
    return folder / COOKIES
