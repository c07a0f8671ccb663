"""Node and its packages: installed once for each lock file into pytest's cache, and asked through one process."""

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
FILES = ("package.json", "package-lock.json", "peer.mjs")
INSTALL_SECONDS = 180
ANSWER_SECONDS = 30.0


class NodeError(Exception):
    """What the other side threw."""


def give_up(reason: str) -> NoReturn:
    """Skip; but fail in CI, which must not pass for want of Node."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def installed(cache: Path) -> Path:
    """The folder with the packages and the script; made where it is not there yet."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    folder = cache / f"node-{digest}"
    if folder.exists():
        return folder
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
    return folder


class Node:
    """The process: questions go in, answers come out, and its server is asked as a browser asks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        about = self.ask("about")
        self.version: str = about["node"]
        self._port: int = about["port"]

    def ask(self, question: str, **given: Any) -> Any:
        """One answer.

        Raises:
            NodeError: it threw.
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
        return said.get("answer")

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
    program = shutil.which("node")
    if program is None:
        give_up("Node is not installed")
    command = [program, "--no-deprecation", "peer.mjs"]
    with subprocess.Popen(
        command, cwd=installed(cache), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield Node(process)
        finally:
            process.kill()
