"""Node and its packages: installed once for each lock file into pytest's cache, and asked by lines of JSON."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest

HERE = Path(__file__).parent
PEER = "peer.mjs"
INSTALL_SECONDS = 180
ANSWER_SECONDS = 30.0


class NodeError(Exception):
    """What the other side threw."""


class Refused(Exception):
    """The other side refused a token, and this is why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def give_up(reason: str) -> NoReturn:
    """Skip; but fail in CI, which must not pass for want of Node."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def installed(cache: Path, here: Path, script: str) -> Path:
    """The script in a folder with the packages of the lock file that lies beside it; made where it is not there yet."""
    files = ("package.json", "package-lock.json", script)
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in files)).hexdigest()[:16]
    folder = cache / f"{here.name}-{digest}"
    if folder.exists():
        return folder / script
    npm = shutil.which("npm")
    if npm is None:
        give_up("npm is not installed")
    # Made beside it and moved when it is whole: another run may do the same at this moment.
    with tempfile.TemporaryDirectory(dir=cache) as made:
        whole = Path(made) / "whole"
        whole.mkdir()
        for name in files:
            shutil.copy(here / name, whole)
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
    return folder / script


class Process:
    """A process that answers each line with one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: str, **given: Any) -> Any:
        """One answer.

        Raises:
            NodeError: it threw.
            Refused: it refused a token.
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
        if "threw" in said:
            raise NodeError(said["threw"])
        if "refused" in said:
            raise Refused(said["refused"])
        return said.get("answer")


@contextmanager
def started(script: Path) -> Iterator[subprocess.Popen[str]]:
    """The process of a script, ended in the end."""
    program = shutil.which("node")
    if program is None:
        give_up("Node is not installed")
    command = [program, "--no-deprecation", script.name]
    with subprocess.Popen(
        command, cwd=script.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Node(Process):
    """Other people's sessions: questions go in, answers come out, and its server is asked as a browser asks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(process)
        about = self.ask("about")
        self.version: str = about["node"]
        self._port: int = about["port"]

    def mount(self, kind: str, **options: Any) -> Mounted:
        """One of the packages as a middleware of the server."""
        return Mounted(self._port, self.ask("mount", kind=kind, options=options))


class Mounted:
    """A middleware of Node's server; each call is a real HTTP request."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._number = number

    def __call__(self, cookie: str | None = None, **asked: Any) -> tuple[dict[str, Any], list[str]]:
        """The session as the handler saw it, and the Set-Cookie headers of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        try:
            target = quote(json.dumps({"mount": self._number} | asked), safe="")
            connection.request("GET", f"/{target}", headers={} if cookie is None else {"Cookie": cookie})
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise NodeError(body)
        return json.loads(body), response.headers.get_all("Set-Cookie") or []


@contextmanager
def running(cache: Path) -> Iterator[Node]:
    """Node with the packages, ended in the end."""
    with started(installed(cache, HERE, PEER)) as process:
        yield Node(process)
