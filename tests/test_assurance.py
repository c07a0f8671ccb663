"""docs/assurance.md: the tests it names are there, and it answers each requirement of the chapters it claims to answer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests import test_advisories

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "assurance.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", PAGE)
# How many requirements each section of OWASP ASVS 5.0.0 has.
SECTIONS = dict(
    [
        *(("3.3", 5), ("7.1", 3), ("7.2", 4), ("7.3", 2), ("7.4", 5), ("7.5", 3), ("7.6", 2)),
        *(("11.1", 4), ("11.2", 5), ("11.3", 5), ("11.4", 4), ("11.5", 2), ("11.6", 2), ("11.7", 2)),
    ]
)


def test_every_test_that_is_named_is_there() -> None:
    assert len(NAMED) > 60
    for path, name in NAMED:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"


def test_every_file_that_a_command_runs_is_there() -> None:
    commands = re.findall(r"`(pytest [^`]+)`", PAGE)
    assert len(commands) >= 5
    for command in commands:
        for path in re.findall(r"tests/\S+", command):
            assert (ROOT / path).is_file(), command


def test_every_requirement_is_answered_once_and_in_order() -> None:
    answered = re.findall(r"^\| (\d+\.\d+\.\d+) \|", PAGE, re.MULTILINE)
    assert answered == [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]


def test_every_answer_says_how_it_is_met() -> None:
    answers = re.findall(r"^\| (\d+\.\d+\.\d+) \|[^|]*\|([^|]*)\|", PAGE, re.MULTILINE)
    assert len(answers) == sum(SECTIONS.values())
    for number, met in answers:
        assert re.search(r"\*\*[Bb]y (?:default|a setting|the application)\*\*|Does not apply", met), number


def test_the_number_of_incidents_is_that_of_the_tests() -> None:
    source = Path(test_advisories.__file__).read_text(encoding="utf-8")
    cves, others = (set(re.findall(form, source)) for form in (r"CVE-\d{4}-\d+", r"GHSA(?:-\w{4}){3}"))
    assert f"class of {len(cves) + len(others)} published incidents" in PAGE
    assert f"({len(cves)} have a CVE number, {len(others)} a GitHub one" in PAGE
