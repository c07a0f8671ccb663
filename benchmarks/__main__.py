"""The command: ``python -m benchmarks [question …]``; ``--help`` says the rest."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks import INSTALL

MODULES: Final = ("codec", "size", "request", "hostile", "ring", "scale", "memory", "imports", "sidechannels")


def main(arguments: list[str] | None = None) -> int:
    """Ask the questions, print their tables, keep their results; the exit status."""
    try:
        from benchmarks import plots, results
        from benchmarks.measure import QUICK, SMOKE, Effort
    except ModuleNotFoundError as error:
        return _complain(f"{error.name} is not installed: {INSTALL}")
    try:
        questions = {module.NAME: module for module in map(_module, _present())}
    except ModuleNotFoundError as error:
        return _complain(f"{error.name} is not installed: {INSTALL}")

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What sessions cost, measured beside everyone else.")
    parser.add_argument("questions", nargs="*", metavar="question", help=f"{', '.join(questions)}; all where none is named")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="fewer and shorter values")
    how.add_argument("--smoke", action="store_true", help="one call of each, only to see that it runs; keeps nothing")
    ours = "python{}.{}".format(*sys.version_info)
    parser.add_argument("--name", help=f"of the file under benchmarks/results; by default {ours}, with --quick: quick")
    parser.add_argument("--plots", action="store_true", help="draw what that file holds; with no question named, ask none")
    parser.add_argument(
        "--report", action="store_true", help="put the tables of the kept results into benchmarks/README.md; likewise"
    )
    parser.add_argument("--pyperf", metavar="FILE", help="write the times of that file for pyperf's commands too; likewise")
    asked = parser.parse_args(arguments)
    for name in asked.questions:
        if name not in questions:
            parser.error(f"there is no question {name!r}; there are {', '.join(questions)}")
    try:
        path = results.path_of(asked.name or ("quick" if asked.quick else ours))
    except ValueError as error:
        parser.error(str(error))

    only_shows = asked.plots or asked.report or asked.pyperf
    names = asked.questions or ([] if only_shows else list(questions))
    effort = SMOKE if asked.smoke else QUICK if asked.quick else Effort()
    for name in names:
        module = questions[name]
        print(f"\n## {name}: {(module.__doc__ or '').partition(chr(10))[0]}\n", flush=True)
        # A process for each: what one question imports and leaves behind weighs on no other.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            record = process.submit(results.answer, module.__name__, effort).result()
        print(f"{results.circumstances(record['about'])}\n\n{module.table(record['result'])}", flush=True)
        if not effort.is_smoke:
            results.write(path, {name: record})
    if names and not effort.is_smoke:
        print(f"\nkept in {path}")

    if only_shows and not results.read(path):
        return _complain(f"there is no {path.name} in {path.parent}: ask a question first, or give --name")
    if asked.plots:
        for drawn in plots.draw(results.read(path), results.FOLDER):
            print(f"drawn {drawn}")
    if asked.pyperf:
        suite = results.pyperf_suite(results.read(path))
        if suite is None:
            return _complain(f"{path.name} holds no times")
        suite.dump(asked.pyperf, replace=True)
    if asked.report:
        _report(questions)
    return 0


def _present() -> list[str]:
    return [name for name in MODULES if Path(__file__).with_name(f"{name}.py").exists()]


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


def _report(questions: dict[str, Any]) -> None:
    """Fill README.md with what the results of the reported Pythons say."""
    from benchmarks import results

    tables: dict[str, str] = {}
    for name, module in questions.items():
        parts = []
        for kept in results.REPORTED:
            record = results.read(results.path_of(kept)).get(name)
            if record is not None:
                parts.append(f"{results.circumstances(record['about'])}:\n\n{module.table(record['result'])}")
        if parts:
            tables[name] = "\n\n".join(parts)
    page = results.README.read_text(encoding="utf-8")
    results.README.write_text(results.report(page, tables), encoding="utf-8")
    print(f"filled {results.README.name}: {', '.join(tables) or 'nothing'}")


def _complain(what: str) -> int:
    print(f"benchmarks: {what}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
