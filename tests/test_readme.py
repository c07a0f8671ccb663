"""Every code block of README.md is run; the two set-up commands are run by .ci/run, which reads them from there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import webob

from clientsession import Key

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
SHELL = [code for language, code in BLOCKS if language == "sh"]


def put_commands(folder: Path) -> None:
    """A ``.venv`` like the reader's, whose commands are those of the Python that runs the tests."""
    commands = folder / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, module in (("clientsession", "clientsession"), ("waitress-serve", "waitress")):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n', encoding="utf-8")
        script.chmod(0o755)


def run_shell(lines: str, folder: Path) -> str:
    """What a block of shell lines prints; each must end well."""
    put_commands(folder)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-e", "-c", lines], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """All Python blocks, run one after the other as a reader would; ``printed`` is what each one printed."""
    monkeypatch.setenv("CLIENTSESSION_KEY", Key.generate().export())
    monkeypatch.chdir(tmp_path)
    run_shell(SHELL[4], tmp_path)  # which makes the key file that a Python block reads
    names: dict[str, Any] = {"printed": [], "apps": []}
    for language, code in BLOCKS:
        if language == "python":
            names.pop("app", None)
            exec(compile(code, "README.md", "exec"), names)
            names["printed"].append(capsys.readouterr().out)
            names["apps"].append(names.get("app"))
    return names


def test_the_blocks_are_of_known_kinds() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "python", "text"}
    assert sum(language == "python" for language, _ in BLOCKS) >= 6


def test_the_first_example_counts_visits_in_15_lines(namespace: dict[str, Any]) -> None:
    first = next(code for language, code in BLOCKS if language == "python")
    assert len(first.splitlines()) <= 15
    app, cookie = namespace["apps"][0], ""
    for number in (1, 2, 3):
        request = webob.Request.blank("/", headers={"Cookie": cookie} if cookie else {})
        response = request.get_response(app)
        assert response.text == f"Visit number {number}"
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert response.headers["Vary"] == "Cookie"


def test_the_example_of_several_cookies_signs_out_and_keeps_the_cart(namespace: dict[str, Any]) -> None:
    app, cookies = namespace["apps"][1], {}
    for path in ("/sign-in", "/add", "/sign-out"):
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        response = webob.Request.blank(path, headers={"Cookie": header}).get_response(app)
        for value in response.headers.getall("Set-Cookie"):
            name, _, token = value.partition(";")[0].partition("=")
            cookies[name] = token
    assert cookies["__Host-session"] == ""
    assert cookies["__Host-cart"]


def test_what_the_blocks_print_is_what_the_readme_shows(namespace: dict[str, Any]) -> None:
    printed = "".join(namespace["printed"])
    for shown in [code for language, code in BLOCKS if language == "text"]:
        assert shown in printed
    assert re.search(r"^(malformed|forged) - ", printed, re.MULTILINE)
    assert "<Keyring sealing " in printed


def test_the_set_up_commands_are_run_by_ci() -> None:
    assert SHELL[0] == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/clientsession demo\n"
    assert SHELL[1] == "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest\n"
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "readme_command 1" in ci
    assert "readme_command 2" in ci


def test_the_shell_lines_make_a_key_and_serve_the_first_example_as_they_stand(tmp_path: Path) -> None:
    """In a folder with a ``.venv`` like the reader's; only the port is another, and pip has nothing to do."""
    install, make_key, serve = SHELL[2].splitlines()
    assert install == ".venv/bin/pip install waitress"
    assert SHELL[3] in make_key + "\n" or SHELL[3].strip() in make_key
    put_commands(tmp_path)
    (tmp_path / "shop.py").write_text(next(code for language, code in BLOCKS if language == "python"), encoding="utf-8")
    assert serve.count(":8080 ") == 1
    lines = f"{make_key}\nexec {serve.replace(':8080', ':0')}"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["sh", "-c", lines], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        try:
            served = re.search(rb"Serving on (http://127\.0\.0\.1:\d+)$", server.stdout.readline().rstrip())
            with urllib.request.urlopen(f"{served[1].decode()}/", timeout=10) as response:
                assert response.read() == b"Visit number 1"
                assert response.headers["Set-Cookie"].startswith("session=")
        finally:
            server.terminate()


def test_the_key_file_is_made_and_a_cookie_looked_into_as_the_readme_says(namespace: dict[str, Any], tmp_path: Path) -> None:
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    assert namespace["ring"].sealing.export() in (tmp_path / "keys").read_text()
    value = namespace["jar"].codec.encode({"user": 7})
    (tmp_path / "cookie.txt").write_text(f"Cookie: session={value}\n", encoding="utf-8")
    shutil.rmtree(tmp_path / ".venv")
    shown = run_shell(SHELL[5], tmp_path)
    assert "Cookie session: opens" in shown
    assert '"user": 7' in shown
