"""The ``clientsession`` command, in this process and as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import clientsession.demo
from clientsession import Key, Suite, __version__
from clientsession.__main__ import main

MODULE = [sys.executable, "-m", "clientsession"]
TIMEOUT = 60  # seconds until a hanging process fails its test


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MODULE, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)


# keygen


def test_keygen_prints_one_key_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    assert Key.parse(out.removesuffix("\n")).suite is Suite.XAES_256_GCM


@pytest.mark.parametrize(
    ("name", "suite"), [("xaes-256-gcm", Suite.XAES_256_GCM), ("xchacha20-poly1305", Suite.XCHACHA20_POLY1305)]
)
def test_keygen_makes_a_key_of_the_suite_that_is_asked_for(name: str, suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "--suite", name]) == 0
    assert Key.parse(capsys.readouterr().out.strip()).suite is suite


def test_keygen_prints_another_key_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen"]) == main(["keygen"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first != second


def test_keygen_does_not_import_webob() -> None:
    program = "import sys; from clientsession.__main__ import main; main(['keygen']); sys.exit('webob' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=TIMEOUT, check=False).returncode == 0


# options


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert not exit_.value.code
    assert capsys.readouterr().out == f"clientsession {__version__}\n"


def test_no_arguments_give_the_help_and_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "keygen" in err
    assert "demo" in err


@pytest.mark.parametrize("arguments", [["--help"], ["keygen", "--help"], ["demo", "--help"]])
def test_help_succeeds_and_names_the_program(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert not exit_.value.code
    assert capsys.readouterr().out.startswith("usage: clientsession")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sell"],
        ["--port", "8000"],
        ["keygen", "--suite", "rot13"],
        ["keygen", "extra"],
        ["demo", "--port", "http"],
        ["demo", "--port", "-1"],
        ["demo", "--port", "65536"],
    ],
)
def test_bad_options_are_named_and_fail(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "clientsession" in err
    assert "error: " in err


def test_python_m_is_the_same_program() -> None:
    version = run("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"clientsession {__version__}\n", "")
    key = run("keygen", "--suite", "xchacha20-poly1305")
    assert (key.returncode, key.stderr) == (0, "")
    assert Key.parse(key.stdout.removesuffix("\n")).suite is Suite.XCHACHA20_POLY1305
    assert run().returncode == 2


def test_the_exit_code_of_main_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["clientsession"])
    monkeypatch.delitem(sys.modules, "clientsession.__main__")
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("clientsession", run_name="__main__")
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: clientsession")


# demo


def test_demo_listens_on_this_computer_alone_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def serve(host: str, port: int) -> int:
        asked.append((host, port))
        return 0

    monkeypatch.setattr(clientsession.demo, "serve", serve)
    assert main(["demo"]) == 0
    assert main(["demo", "--host", "::1", "--port", "0"]) == 0
    assert asked == [("127.0.0.1", 8000), ("::1", 0)]


@contextlib.contextmanager
def shop(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A demo of its own, ended whatever happens."""
    process = subprocess.Popen(
        [*MODULE, "demo", "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def said_at_start(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The port it says, and both lines of the console."""
    assert process.stdout is not None
    said = process.stdout.readline() + process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
    assert found is not None, said
    return int(found[1]), said


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_where_it_says_and_ends_without_a_complaint(end: signal.Signals) -> None:
    if signal.getsignal(end) is signal.SIG_IGN:
        pytest.skip("this process, and so its children, ignores the signal")
    with shop() as process:
        port, said = said_at_start(process)
        assert "in memory" in said
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            response = connection.getresponse()
            page = response.read().decode()
        assert response.status == 200
        assert "What your browser holds" in page
        with socket.create_connection(("127.0.0.1", port)):  # opened ahead and never used, as browsers do
            process.send_signal(end)
            out, err = process.communicate(timeout=20)  # it does not wait for that one
        assert process.returncode == 0
        assert err == ""
        assert not re.search(r"\bcsk1_\w", said + out + page)  # a token may have these letters somewhere


def test_demo_forgives_a_browser_that_hangs_up() -> None:
    with shop() as process:
        port, _ = said_at_start(process)
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
            connection.sendall(b"POST /sign-in HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nname")
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT).close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", "/goodbye")
            assert connection.getresponse().read()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=TIMEOUT)
        assert err == ""


def test_a_port_in_use_is_one_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(port) in err
    assert "in use" in err
    assert "--port 0" in err


def test_a_host_that_is_none_is_one_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--host", "a" * 70 + ".b", "--port", "0"]) == 1  # a label has at most 63 characters
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "cannot listen" in err
