"""The guides are run: every Python block, every block of ``clientsession`` commands, page by page and in order, in a temporary
folder; what a page shows as output is compared with what came. Its links lead somewhere, and the names it gives exist.

A block that stands for another one, as the sentence before it says by ``instead:``, has a folder and an environment of its own.
Nothing is waited for. Where a page lets time pass, which it says by a comment such as ``# 121 days later``, the dates in its key
file are moved back by as much instead.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import clientsession
from clientsession import Codec, Jar, Key, Keyring, Session, Sessions
from clientsession.__main__ import _parser
from clientsession._keyfile import MAX_FILE_BYTES, MAX_KEYS, KeyFile, KeyLine, Role, parse_date
from clientsession.wsgi import SessionMiddleware

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted([*(DOCS / "guide").glob("*.md"), *(DOCS / "coming-from").glob("*.md")])
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LISTS = {"docs/guide/watching.md"}  # what a second text block in a row lists is held by tests/test_events.py
SITE = "/etc/shop"  # the folder of the pages, for which the temporary one stands
KEY_FILE = "keys.txt"
RUNNING_SITES = {"docs/guide/incident.md"}  # pages for a site that has its key file since long ago
VARIABLES = ("CLIENTSESSION_KEY", "CLIENTSESSION_ACCEPTED_KEYS", "CLIENTSESSION_RETIRING_KEYS")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int
    prose: str  # what stands between it and the block before


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    end = 0
    for match in BLOCK.finditer(text):
        yield Block(match[1], match[2], text.count("\n", 0, match.start()) + 1, text[end : match.start()])
        end = match.end()


def prose_of(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------------------------------------------------------
# Running a page
# ---------------------------------------------------------------------------------------------------------------------

PASSING = re.compile(r"# (?P<count>\d+) (?P<unit>minute|hour|day)s? later")
STAYS_THE_SAME = (  # of what is printed, all but what is another at each run
    (re.compile(r"\d{4}-\d\d-\d\d[T\s]\d\d:\d\d:\d\d(?:Z|\s+UTC)?"), "DATE"),
    (re.compile(r"csk1_[\w-]{20,}|csk1_…"), "KEY"),
    (re.compile(r"a moment ago|\b\d+ seconds? ago"), "JUST-NOW"),
    (re.compile(r"\bin \d+ (?:day|hour|minute|second)s?(?:\s+\d+ (?:hour|minute|second)s?)?"), "SOON"),
)
KEY_ID = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{8}\b")  # letters and digits: 20270321 is a day


class Story:
    """One page, run from its head to its foot in one folder, one environment and one namespace."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.names: dict[str, Any] = {}
        self.ids: dict[str, str] = {}
        """What the page calls a key, and what it is called in this run."""
        self.out = io.StringIO()  # one for the page: a handler of its logging writes there from its first block to its last
        self.printed = ""
        """What the last block printed."""
        command = folder / "bin" / "clientsession"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clientsession "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        os.environ["PATH"] = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        os.environ["PYTHONPATH"] = str(ROOT)

    def run(self) -> None:
        before = ""
        for block in blocks_of(self.page):
            where = f"{name_of(self.page)}:{block.line}"
            if block.language == "python":
                self.run_python(block, where)
            elif block.language == "sh" and re.search(r"\bclientsession |CLIENTSESSION_", block.code):
                if re.search(r"\binstead:\n\n$", block.prose):
                    self.run_elsewhere(block, where)
                else:
                    self.run_shell(block, where)
            elif block.language == "text" and (before != "text" or name_of(self.page) not in LISTS):
                assert before in {"python", "sh"}, f"{where}: nothing was run that could have printed this"
                self.compare(block.code, where)
            before = block.language

    def run_python(self, block: Block, where: str) -> None:
        code = "\n" * block.line + self.translated(block.code)  # so that a traceback has the page's lines
        start = self.out.tell()
        with contextlib.redirect_stdout(self.out):
            exec(compile(code, where, "exec"), self.names)
        self.printed = self.out.getvalue()[start:]

    def run_shell(self, block: Block, where: str) -> None:
        """Run the lines; all ends well, or with the exit code that the sentence before the block says."""
        self.printed = ""
        lines: list[str] = []
        for line in self.translated(block.code).splitlines():
            passing = PASSING.fullmatch(line)
            if passing is None:
                lines.append(line)
                continue
            self.shell(lines, 0, where)
            self.let_pass(passing)
            lines.clear()
        said = re.search(r"exit code (\d)[^\n]*:\n\n$", block.prose)
        self.shell(lines, int(said[1]) if said else 0, where)

    def run_elsewhere(self, block: Block, where: str) -> None:
        """Run a block as if those before it had not been."""
        kept = self.folder, self.printed, dict(os.environ)
        self.folder /= "elsewhere"
        self.folder.mkdir()
        for name in VARIABLES:
            os.environ.pop(name, None)
        self.run_shell(block, where)
        self.folder, self.printed, environment = kept
        os.environ.clear()
        os.environ.update(environment)

    def make_key_file(self) -> None:
        """The key file of a site that runs, in the middle of a rotation."""
        now = datetime.now(UTC).replace(microsecond=0)
        promotion = now - timedelta(days=1)
        sealing = KeyLine(Role.SEALING, Key.generate(), added=promotion, since=promotion)
        dates = {"added": now - timedelta(days=366), "since": promotion, "droppable": now + timedelta(days=120)}
        file = self.folder / KEY_FILE
        file.write_text(KeyFile.of(sealing).adding(KeyLine(Role.RETIRING, Key.generate(), **dates)).text(), encoding="utf-8")
        file.chmod(0o600)

    def shell(self, lines: list[str], wanted: int, where: str) -> None:
        """Run lines in the folder; what they export is there for the next ones."""
        kept = self.folder / "environment"
        script = "\n".join(("set -e", f"trap 'code=$?; env -0 >\"{kept}\"; exit $code' EXIT", *lines))
        ended = subprocess.run(
            ["sh", "-c", script],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        self.printed += ended.stdout
        assert ended.returncode == wanted, f"{where}: exit code {ended.returncode} and not {wanted}:\n{lines}\n{self.printed}"
        exported = dict(entry.split("=", 1) for entry in kept.read_text(encoding="utf-8").split("\0") if "=" in entry)
        for name in (*VARIABLES, "CLIENTSESSION_KEY_FILE"):
            os.environ.pop(name, None)
            if name in exported:
                os.environ[name] = exported[name]

    def let_pass(self, passing: re.Match[str]) -> None:
        """Move the dates of the key file back, in place of waiting."""
        passed = timedelta(**{f"{passing['unit']}s": int(passing["count"])})

        def earlier(date: re.Match[str]) -> str:
            moved = datetime.strptime(date[0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) - passed
            return moved.strftime("%Y-%m-%dT%H:%M:%SZ")

        file = self.folder / KEY_FILE
        file.write_text(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", earlier, file.read_text(encoding="utf-8")), encoding="utf-8")

    def translated(self, code: str) -> str:
        """A block with the folder and the key ids of this run."""
        return KEY_ID.sub(lambda found: self.ids.get(found[0], found[0]), code.replace(SITE, str(self.folder)))

    def compare(self, shown: str, where: str) -> None:
        """Whether these words were printed, one after the other, however the lines were broken.

        The ids that the page shows for the first time are those that were printed in their places.
        """
        words, printed = self.words(shown), self.words(self.printed)
        for start in range(len(printed) - len(words) + 1):
            ids = dict(self.ids)
            if all(self.same(word, came, ids) for word, came in zip(words, printed[start:], strict=False)):
                self.ids = ids
                return
        pytest.fail(f"{where} shows\n{shown}\nand this came:\n{self.printed}")

    def words(self, text: str) -> list[str]:
        text = text.replace(str(self.folder), SITE)
        for pattern, word in STAYS_THE_SAME:
            text = pattern.sub(word, text)
        return text.split()

    @staticmethod
    def same(shown: str, came: str, ids: dict[str, str]) -> bool:
        found = KEY_ID.search(shown)
        if found is None:
            return shown == came
        theirs = re.search(r"[0-9a-f]{8}", came)
        if theirs is None or KEY_ID.sub("ID", shown) != re.sub(r"[0-9a-f]{8}", "ID", came):
            return False
        return ids.setdefault(found[0], theirs[0]) == theirs[0]


@pytest.fixture
def story(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """A page with a folder and a key of its own; the environment and the loggers are put back."""
    kept = dict(os.environ)
    logger = logging.getLogger("clientsession")
    loggers = {each: (each.level, list(each.handlers)) for each in (logger, logging.getLogger())}
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CLIENTSESSION_"):
            del os.environ[name]
    for name in VARIABLES:
        os.environ[name] = Key.generate().export()
    story = Story(request.param, tmp_path)
    if name_of(request.param) in RUNNING_SITES:
        story.make_key_file()
    yield story
    os.environ.clear()
    os.environ.update(kept)
    for each, (level, handlers) in loggers.items():
        each.setLevel(level)
        each.handlers[:] = handlers


@pytest.mark.parametrize("story", GUIDES, ids=name_of, indirect=True)
def test_a_page_does_what_it_says(story: Story) -> None:
    logging.getLogger().handlers[:] = []  # pytest's own: to a page, logging is as it is in a new process
    story.run()


def test_the_key_file_that_is_explained_is_one() -> None:
    page = (DOCS / "guide" / "rotation.md").read_text(encoding="utf-8")
    section = page.partition("\n## The key file\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"^```ini\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    file = KeyFile._parse(re.sub("csk1_…", lambda _: Key.generate().export(), example).encode())
    assert isinstance(file, KeyFile)
    assert [line.role for line in file.keys] == list(Role) == re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert {date for line in file.keys for date in ("added", "since", "droppable") if getattr(line, date)} == set(
        re.findall(r"^\| `(\w+)=` \|", section, re.MULTILINE)
    )
    (forms,) = re.findall(r"^A date is (.*?)\. Each", section, re.MULTILINE)
    assert len(re.findall("`(.*?)`", forms)) == 4
    assert None not in map(parse_date, re.findall("`(.*?)`", forms))
    assert f"at most {MAX_FILE_BYTES // 1024} KiB and {MAX_KEYS} keys" in section


def test_the_blocks_are_of_known_kinds() -> None:
    kinds = {block.language for page in GUIDES for block in blocks_of(page)}
    assert kinds <= {"python", "sh", "text", "nginx", "yaml", "promql", "ini"}


# ---------------------------------------------------------------------------------------------------------------------
# Links
# ---------------------------------------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings; those of the code host and of the site are the same where no word is doubled."""
    headings = re.findall(r"^#+ +(.*?)\s*$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith("https://"):
            continue
        assert ":" not in target, target
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_file(), target
        if DOCS in page.parents:
            assert found.is_relative_to(DOCS), f"{target} is not on the site"
        if anchor:
            assert anchor in anchors_of(found), target
            assert not anchor[0].isdigit(), f"{target} has another name on the site (.ci/mkdocs/hooks.py)"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"(?:- |: )([\w/-]+\.md)$", (ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {page.relative_to(DOCS).as_posix() for page in PAGES}


@pytest.mark.parametrize("page", [*GUIDES, *sorted((DOCS / "reference").glob("*.md"))], ids=name_of)
def test_a_page_says_first_for_whom_it_is(page: Path) -> None:
    title, empty, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ")
    assert not empty
    assert first.startswith(("For you who ", "For you whose ", "For whoever "))


# ---------------------------------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------------------------------

CODE = re.compile(r"`([^`\n]+)`")
CALLABLES = {
    "Jar": Jar,
    "Codec": Codec,
    "SessionMiddleware": SessionMiddleware,
    "Keyring": Keyring,
    "Keyring.from_file": Keyring.from_file,
    "Keyring.from_source": Keyring.from_source,
    "Keyring.from_env": Keyring.from_env,
    "session.set_duration": Session.set_duration,
    "session.reset": Session.reset,
}


def spoken_of() -> list[tuple[str, str]]:
    """The pieces of code in the running text of all pages and of README.md, with where they stand."""
    return [(name_of(page), code) for page in [*PAGES, ROOT / "README.md"] for code in CODE.findall(prose_of(page))]


def test_every_keyword_of_a_call_exists() -> None:
    seen = 0
    for where, code in spoken_of():
        with contextlib.suppress(SyntaxError):  # most of it is no Python
            for call in ast.walk(ast.parse(code.replace("…", "..."))):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in CALLABLES:
                    known = inspect.signature(CALLABLES[ast.unparse(call.func)]).parameters
                    seen += len(call.keywords)
                    assert {keyword.arg for keyword in call.keywords} <= set(known), (where, code)
    assert seen >= 9


def test_every_option_of_a_jar_that_a_table_names_exists() -> None:
    page = (DOCS / "guide" / "lifetimes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)", page, re.MULTILINE)
    assert {"duration", "active_duration", "max_duration", "ephemeral", "max_age"} <= set(rows)
    assert set(rows) <= set(inspect.signature(Jar).parameters)


def test_every_attribute_of_a_session_exists() -> None:
    names = {name for _, code in spoken_of() for name in re.findall(r"\bsession\.([a-z_]+)", code)}
    assert {"size", "size_left", "id", "is_new"} <= names
    assert {name for name in names if not hasattr(Session, name)} == set()
    assert {
        name for _, code in spoken_of() for name in re.findall(r"\bsessions\.([a-z_]+)", code) if not hasattr(Sessions, name)
    } == set()


def options_of(parser: argparse.ArgumentParser) -> tuple[set[str], dict[str, Any]]:
    """All options of a parser and of its subcommands, and the subcommands."""
    options: set[str] = set()
    subcommands: dict[str, Any] = {}
    for action in parser._actions:
        options |= {option for option in action.option_strings if option.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            subcommands |= {name: options_of(sub) for name, sub in action.choices.items()}
    return options.union(*(sub[0] for sub in subcommands.values())) if subcommands else options, subcommands


def test_every_command_and_option_exists() -> None:
    options, commands = options_of(_parser())
    seen = 0
    for page in [*PAGES, ROOT / "README.md"]:
        shell = "\n".join(block.code for block in blocks_of(page) if block.language == "sh")
        for code in [*CODE.findall(prose_of(page)), *shell.splitlines()]:
            call = re.search(r"\bclientsession ([a-z]+)(?: ([a-z]+))?", code)
            if call is not None:
                seen += 1
                assert call[1] in commands, (name_of(page), code)
                if commands[call[1]][1] and call[2]:
                    assert call[2] in commands[call[1]][1], (name_of(page), code)
                wrong = (
                    set(re.findall(r"(?<!\S)--[a-z-]+", code.partition("clientsession ")[2].partition("|")[0]))
                    - commands[call[1]][0]
                )
                assert not wrong, (name_of(page), code)
            elif re.fullmatch(r"--[a-z-]+( \w+)?", code):
                assert code.split()[0] in options, (name_of(page), code)
    assert seen > 10


def test_every_environment_variable_is_read_by_the_package() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(clientsession.__file__).parent.rglob("*.py"))
    for page in [*PAGES, ROOT / "README.md"]:
        for name in re.findall(r"\bCLIENTSESSION_[A-Z_]+\b", page.read_text(encoding="utf-8")):
            assert f'"{name}"' in source, (name_of(page), name)


def test_every_test_that_a_page_tells_to_run_is_there() -> None:
    commands = [code for where, code in spoken_of() if code.startswith("pytest ") and where.startswith("docs/guide/")]
    assert len(commands) >= 10
    for command in commands:
        for path in re.findall(r"tests/\S+", command):
            assert (ROOT / path).is_file(), command
