"""The command: ``python -m tests.mutation [module …]``; ``--help`` says the rest.

A mutant is a module with one small change. It is killed where a test fails, and what survives is a gap in the tests, or no other
program: those stand in equivalent.txt, with reasons. Nothing is written to the checkout: each mutant is imported in place of its
module, in a process that is forked from this one, where the tests' libraries are imported already, and nothing of the package.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import coverage
import pytest

from tests.mutation.mutants import Change, Module, Mutant

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clientsession"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
GOAL_PERCENT = 95
# A mutant is shown to a few tests that killed others near it, then to some of the quickest, then to the rest: most need no more
# than the first, and each round has to collect its tests anew.
TESTS_FIRST = 8
TESTS_NEXT = 60
QUICK_SECONDS = 0.25  # what --quick calls quick
MEMORY_BYTES = 4 << 30  # of one mutant, so that none takes the machine's

# Which test files are asked about a module. A mutant that these let live is a survivor, whatever others might see.
TESTS = {
    "_token": "token vectors codec size hostile_tokens",
    "_codec": "codec lost_writes token vectors jar session size configuration migration serializers secrets hostile_tokens",
    "_cookies": "cookies jar configuration hostile_headers",
    "_jar": "jar lost_writes session configuration moving migration client_sessions header secrets wsgi",
    "_sessions": "jar lost_writes client_sessions moving migration size header configuration wsgi",
    "_session": "session jar codec size client_sessions advisories configuration",
    "_keys": "keys vectors configuration secrets ciphers",
    "_keyring": "configuration keys secrets keyring_live",
    "wsgi": "wsgi lost_writes configuration header client_sessions architecture hostile_headers",
    "_ciphers": "ciphers vectors codec secrets concurrency",
    "_json": "json codec serializers session secrets hostile_content",
    "_header": "header configuration wsgi",
    "_migration": "migration configuration secrets",
}


class Outcome(NamedTuple):
    """What became of a mutant: ``killed``, ``timed out``, ``survived``, or ``none`` where the change makes no other program."""

    verdict: str
    mutant: Mutant | None
    by: str = ""
    """The test that failed."""


def files_of(module: str) -> list[str]:
    """The test files of a module, each once."""
    return [f"tests/test_{name}.py" for name in dict.fromkeys(TESTS[module].split())]


class _Mutated(importlib.abc.MetaPathFinder):
    """Gives a module another source; it is read by no debugger and written nowhere."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        spec.loader = _Loader(fullname, spec.origin or "", self.source)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, mutated: str) -> None:
        super().__init__(fullname, path)
        self.mutated = mutated

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutated, self.path, "exec", dont_inherit=True)


class _Watch:
    """A plugin of pytest: which test failed; and no shrinking of examples, since that one fails is all there is to know."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        settings.register_profile("mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), database=None)
        settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid or "the import of the tests"


class _Survey(_Watch):
    """Which test runs which lines of the package, and how long each takes; the cases of a parametrized one together."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=[str(PACKAGE / "*")])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(_function_of(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)
        name = _function_of(report.nodeid)
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration

    def tests_by_line(self, module: str) -> dict[int, list[str]]:
        return self.coverage.get_data().contexts_by_lineno(str(PACKAGE / f"{module}.py"))


def _function_of(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def run_tests(tests: Sequence[str], watch: _Watch) -> str:
    """Run tests in this order up to the first failure; the test that failed, or an empty text."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", "--assert=plain"]
    status = pytest.main([*options, *tests], plugins=[watch])
    return watch.failed or ("" if status == pytest.ExitCode.OK else f"pytest ended with {status!r}")


class Child:
    """A process that runs something and writes one JSON value to us; its session ends with it."""

    def __init__(self, work: Any, cpu_seconds: int, seconds: float) -> None:
        self.began = time.monotonic()
        self.ends = self.began + seconds
        self._folder = tempfile.mkdtemp(prefix="mutant-")
        # No pipe, which takes no more than 64 KB before it is read.
        self._answer = tempfile.TemporaryFile("w+")  # noqa: SIM115 - result() closes it
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            self._become_quiet(cpu_seconds)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = self._folder  # or each run of pytest tidies up what another one has there
            try:
                result = work()
            except BaseException:  # noqa: BLE001 - it is told, whatever it is, and the process ends here
                result = {"broken": traceback.format_exc()}
            json.dump(result, self._answer)
            self._answer.flush()
            os._exit(0)

    @staticmethod
    def _become_quiet(cpu_seconds: int) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)

    def finished(self) -> bool:
        """Whether it has ended, or has to, by now."""
        if time.monotonic() > self.ends:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def result(self) -> Any:
        """What it wrote; None where its time was over; a str where it ended in another way."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # it and whatever its tests started; harmless where it has ended
        status = os.waitpid(self.pid, 0)[1]
        shutil.rmtree(self._folder, ignore_errors=True)
        with self._answer as file:
            file.seek(0)
            text = file.read()
        if not text:
            is_late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGKILL, signal.SIGXCPU}
            return None if is_late else f"the process ended with status {status}"
        return json.loads(text)


class Survey(NamedTuple):
    """What was seen of the tests without any mutant."""

    seconds: dict[str, float]
    """How long each test function takes."""
    tests_by_line: dict[str, dict[int, list[str]]]
    """By module and line: the test functions that run it; an empty name among them: it runs at import."""


def survey(modules: Sequence[str]) -> Survey:
    """Run the tests as they are, and import what they import: once here, and not for each mutant."""

    def work() -> dict[str, Any]:
        watch = _Survey()
        watch.coverage.start()
        failed = run_tests(sorted({file for module in modules for file in files_of(module)}), watch)
        watch.coverage.stop()
        lines = {module: list(watch.tests_by_line(module).items()) for module in modules}
        imports = [name for name in sys.modules if name.partition(".")[0] not in {"clientsession", "tests", "__main__"}]
        return {"failed": failed, "seconds": watch.seconds, "lines": lines, "imports": imports}

    child = Child(work, 1800, 3600)
    while not child.finished():
        time.sleep(0.05)
    result = child.result()
    if not isinstance(result, dict) or result.get("failed") != "":
        raise SystemExit(f"the tests fail without any mutant: {result}")
    for name in result["imports"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # pytest collects garbage at the end of each run: what is here already is none
    return Survey(result["seconds"], {module: dict(lines) for module, lines in result["lines"].items()})


class Run:
    """The mutants of one module."""

    def __init__(self, name: str, survey: Survey, longest: float) -> None:
        self.name = name
        self.module = Module((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        self._lines = survey.tests_by_line[name]
        files = set(files_of(name))
        seconds = {test: spent for test, spent in survey.seconds.items() if test.partition("::")[0] in files and spent <= longest}
        self._tests = sorted(seconds, key=seconds.__getitem__)
        self._limit = int(20 + 4 * sum(seconds.values()))
        self._killers: dict[str, list[str]] = {}  # by function, the last first: what saw one change may see the next one

    def outcomes(self, jobs: int, sample: int | None, only: set[Known] | None) -> Iterator[tuple[Outcome, float]]:
        """What becomes of each mutant, and after how many seconds; only of some, the same in each run, where a sample is asked for.

        First comes the module as it is: its tests pass, or no verdict would count.
        """
        todo = self.module.changes()
        if sample is not None and sample < len(todo):
            todo = random.Random(0).sample(todo, sample)
        if only is not None:
            mutants = [(change, self.module.changed(change)) for change in todo]
            todo = [change for change, mutant in mutants if mutant and Known(self.name, *mutant[:3]) in only]
        running: list[tuple[Change | None, Child]] = []
        waiting: list[Change | None] = [*reversed(todo), None]
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    change = waiting.pop()
                    running.append((change, Child(partial(self._work, change, self._order(change)), self._limit, self._limit * 4)))
                time.sleep(0.005)
                for change, child in [pair for pair in running if pair[1].finished()]:
                    running.remove((change, child))
                    result = child.result()
                    if change is not None:
                        yield self._outcome(change, result), time.monotonic() - child.began
                    elif not isinstance(result, dict) or result.get("by") != "":
                        raise SystemExit(f"{self.name} as it is does not pass where mutants run: {result}")
        finally:
            for _, child in running:
                child.result()

    def _order(self, change: Change | None) -> list[list[str]]:
        """The tests that run a changed line, or all where it runs at import: what saw changes near it, then the quick ones."""
        if change is None:
            return [self._tests]
        seeing = {test for line in change.lines for test in self._lines.get(line, ())}
        tests = self._tests if "" in seeing else [test for test in self._tests if test in seeing]
        near = self._killers.get(change.where, []) + self._killers.get("", [])
        first = list(dict.fromkeys(test for test in near if "" in seeing or test in seeing))[:TESTS_FIRST]
        others = [test for test in tests if test not in first]
        return [first, others[:TESTS_NEXT], others[TESTS_NEXT:]]

    def _work(self, change: Change | None, order: list[list[str]]) -> dict[str, Any]:
        mutant = Mutant("", (), (), self.module.source) if change is None else self.module.changed(change)
        by = ""
        if mutant is not None:
            sys.meta_path.insert(0, _Mutated(f"clientsession.{self.name}", mutant.source))
            for tests in order:
                by = by or (run_tests(tests, _Watch()) if tests else "")
        return {"mutant": mutant and mutant[:3], "by": by}

    def _outcome(self, change: Change, result: Any) -> Outcome:
        if result is None:
            return Outcome("timed out", self.module.changed(change))
        if isinstance(result, str):
            return Outcome("killed", self.module.changed(change), result)
        if "broken" in result:
            return Outcome("not run", self.module.changed(change), result["broken"])
        if result["mutant"] is None:
            return Outcome("none", None)
        where, removed, added = result["mutant"]
        by = _function_of(result["by"])
        if by in self._tests:
            for place in {where, ""}:
                killers = self._killers.setdefault(place, [])
                if by in killers:
                    killers.remove(by)
                killers.insert(0, by)
        return Outcome("killed" if by else "survived", Mutant(where, tuple(removed), tuple(added), ""), result["by"])


class Known(NamedTuple):
    """A mutant of equivalent.txt, by which it is known again when lines have moved."""

    module: str
    where: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


def known_equivalents() -> dict[Known, str]:
    """The mutants that are known to be no other program, and why; see the head of equivalent.txt for its form."""
    found: dict[Known, str] = {}
    for block in EQUIVALENT.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        module, _, where = lines[0].partition(" ")
        reasons = [line for line in lines[1:] if line[0] not in "-+"]
        if not reasons:
            raise SystemExit(f"{EQUIVALENT.name}: no reason is given for {lines}")
        # Several mutants may have one reason; one that only takes lines away is the last of its block.
        pairs: list[tuple[list[str], list[str]]] = [([], [])]
        for line in lines[1:]:
            if line[0] == "-":
                if pairs[-1][1]:
                    pairs.append(([], []))
                pairs[-1][0].append(line[1:].strip())
            elif line[0] == "+":
                pairs[-1][1].append(line[1:].strip())
        for removed, added in pairs:
            found[Known(module, where, tuple(removed), tuple(added))] = " ".join(reasons)
    return found


def survivors_of(log: Path) -> set[Known]:
    """The mutants that an earlier run did not kill, by its log."""
    found = set()
    for line in log.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        if fields["verdict"] in {"survived", "equivalent", "not run"}:
            found.add(Known(fields["module"], fields["where"], tuple(fields["removed"]), tuple(fields["added"])))
    return found


def shown(module: str, mutant: Mutant) -> str:
    """A mutant in the form of equivalent.txt."""
    return "\n".join(
        (f"{module} {mutant.where}".strip(), *(f"- {line}" for line in mutant.removed), *(f"+ {line}" for line in mutant.added))
    )


def main() -> int:
    """Make the mutants, run the tests on each, and tell which survived; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Do the tests see each small change of a module?")
    parser.add_argument("modules", nargs="*", metavar="module", help=f"{', '.join(TESTS)}; all where none is named")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time; by default one for each core")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants of each module, always the same ones")
    parser.add_argument("--quick", action="store_true", help="ask only the quick tests: more survive")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="write a line of JSON for each mutant, with the test that killed it"
    )
    parser.add_argument("--survivors-of", type=Path, metavar="FILE", help="only those that survived, by the log of an earlier run")
    asked = parser.parse_args()
    names = [name.removesuffix(".py") for name in asked.modules] or list(TESTS)
    for name in names:
        if name not in TESTS:
            parser.error(f"there is no module {name!r}; there are {', '.join(TESTS)}")
    os.chdir(ROOT)
    os.environ["CI"] = "true"  # the same generated examples in every run
    known = known_equivalents()
    only = survivors_of(asked.survivors_of) if asked.survivors_of else None

    began = time.monotonic()
    tests = survey(names)
    print(f"{len(tests.seconds)} tests pass without a mutant, in {time.monotonic() - began:.0f} s", flush=True)

    log = asked.log.open("w", encoding="utf-8") if asked.log else None
    counts: dict[str, Counter[str]] = {}
    seen: set[Known] = set()

    def note(module: str, outcome: Outcome, seconds: float) -> None:
        verdict, mutant = outcome.verdict, outcome.mutant
        if verdict == "not run" and mutant is not None:
            print(f"\nnot run: {shown(module, mutant)}\n{outcome.by}", flush=True)
        if verdict == "survived" and mutant is not None:
            key = Known(module, mutant.where, mutant.removed, mutant.added)
            verdict = "equivalent" if key in known else "survived"
            seen.add(key)
            if verdict == "survived":
                print(f"\nsurvived: {shown(module, mutant)}", flush=True)
        counts.setdefault(module, Counter())[verdict] += 1
        if log is not None:
            fields = {"module": module, "verdict": verdict, "by": outcome.by, "seconds": round(seconds, 2)}
            if mutant is not None:
                fields |= {"where": mutant.where, "removed": mutant.removed, "added": mutant.added}
            log.write(json.dumps(fields) + "\n")
            log.flush()

    for name in names:
        for outcome, spent in Run(name, tests, QUICK_SECONDS if asked.quick else math.inf).outcomes(asked.jobs, asked.sample, only):
            note(name, outcome, spent)
    if log is not None:
        log.close()
    is_whole = asked.sample is None and only is None
    return report(names, counts, [key for key in known if key.module in names and key not in seen and is_whole], asked)


def report(names: list[str], counts: dict[str, Counter[str]], stale: list[Known], asked: argparse.Namespace) -> int:
    """Print the table; the exit status."""
    verdicts = ("killed", "timed out", "equivalent", "survived", "not run")
    print(f"\n{'module':<14}{'mutants':>9}" + "".join(f"{verdict:>12}" for verdict in verdicts) + f"{'killed':>10}")
    total: Counter[str] = Counter()
    is_enough = True
    for name in [*names, "all"]:
        count = total if name == "all" else counts.get(name, Counter())
        total += count if name != "all" else Counter()
        mutants = sum(count[verdict] for verdict in verdicts)
        percent = 100 * (count["killed"] + count["timed out"]) / mutants if mutants else 100.0
        is_enough = is_enough and percent >= GOAL_PERCENT
        print(f"{name:<14}{mutants:>9}" + "".join(f"{count[verdict]:>12}" for verdict in verdicts) + f"{percent:>8.1f} %")
    if asked.sample is not None:
        print(f"a sample of {asked.sample} changes of each module at most, and not the whole")
    for key in stale:
        print(f"\n{EQUIVALENT.name} has what did not survive, or is no mutant any more: {key}")
    print(f"survivors without an explanation: {total['survived']}")
    return 0 if is_enough and not total["survived"] and not total["not run"] and not stale else 1


if __name__ == "__main__":
    sys.exit(main())
