"""What is kept of a run: ``benchmarks/results/NAME.json``, with the machine and the versions beside each question's result.

    {"codec": {"about": {date, machine, python, versions, effort}, "result": {…what the question's run gave…}}, …}

Each record tells its own circumstances, as questions may be asked at different times. No host name and no path is kept.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyperf

from benchmarks.measure import CLOCK, Effort

FOLDER: Final = Path(__file__).parent / "results"
README: Final = Path(__file__).parent / "README.md"
REPORTED: Final = ("python3.11", "python3.13")  # the names whose results README.md shows
DIGITS: Final = 5  # significant ones that are kept of a value: a hundred times finer than its spread

# Of what pyperf collects: what a time depends on. Not the name of the host, and no path.
_MACHINE: Final = ("platform", "cpu_model_name", "cpu_count", "cpu_config", "aslr", "load_avg_1min")
# Whatever is timed, makes what is timed, or times it; also what is not a distribution of bench itself.
DISTRIBUTIONS: Final = (
    *("clientsession", "cryptography", "PyNaCl", "WebOb", "msgspec", "pyperf"),
    *("litestar", "pyramid", "pyramid-nacl-session", "Beaker", "aiohttp", "aiohttp-session", "joserfc", "pyseto", "pycryptodomex"),
    *("Flask", "Werkzeug", "starlette", "Django", "itsdangerous"),
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")  # of a results file, so that it stays in its folder


def answer(module_name: str, effort: Effort) -> dict[str, Any]:
    """The record of a question: what its run gives, and the circumstances.

    Args:
        module_name: of the question, such as ``"benchmarks.codec"``: what is asked may be asked in another process.
        effort: how much is measured.
    """
    return {"about": about(effort), "result": importlib.import_module(module_name).run(effort)}


def about(effort: Effort) -> dict[str, Any]:
    """The circumstances of a run: date, machine, Python, versions, effort."""
    found = pyperf.Run([1.0]).get_metadata()
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {name: found[name] for name in _MACHINE if name in found},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": _openssl(),
        "versions": versions,
        "clock": CLOCK,
        "effort": {"rounds": effort.rounds, "seconds": effort.seconds},
    }


def _openssl() -> str:
    """The OpenSSL that the ciphers run on: cryptography's own, not Python's."""
    from cryptography.hazmat.backends.openssl import backend

    return str(backend.openssl_version_text())


def path_of(name: str) -> Path:
    """The file of a name.

    Raises:
        ValueError: no name of a file.
    """
    if not _NAME.match(name):
        raise ValueError(f"a results file has a name of letters, digits, '.', '_' and '-', not {name!r}")
    return FOLDER / f"{name}.json"


def read(path: Path) -> dict[str, Any]:
    """The records of a file; none where there is no file."""
    if not path.exists():
        return {}
    records: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return records


def write(path: Path, records: dict[str, Any]) -> None:
    """Put records into a file; those of other questions stay."""
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(_rounded(read(path) | records), ensure_ascii=False, indent=1)
    # A list of values stands on one line.
    text = re.sub(r"\[[-+0-9.e,\s]+\]", lambda found: re.sub(r"\s+", "", found[0]), text)
    path.write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def circumstances(record_about: dict[str, Any]) -> str:
    """One line on how a record came to be."""
    machine = record_about["machine"]
    processors = f"{machine.get('cpu_model_name', 'unknown processor')}, {machine.get('cpu_count', '?')} cores"
    return (
        f"{record_about['python']}, {processors}, {record_about['openssl']}, clientsession "
        f"{record_about['versions'].get('clientsession', '?')}, {record_about['date'][:16].replace('T', ' ')} UTC"
    )


def report(text: str, tables: dict[str, str]) -> str:
    """A page whose marked-off places hold today's tables; a place without a table stays as it is.

    Args:
        text: Markdown with ``<!-- results: NAME -->…<!-- end -->``.
        tables: by the name of the question.
    """

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- results: {name} -->\n\n{tables[name]}\n\n<!-- end -->" if name in tables else found[0]

    return re.sub(r"<!-- results: (\S+) -->.*?<!-- end -->", filled, text, flags=re.DOTALL)


def pyperf_suite(records: dict[str, Any]) -> pyperf.BenchmarkSuite | None:
    """The times of all records as pyperf knows them; None where there are none.

    A difference of two times, which may be negative, is no time and left out.
    """
    benchmarks = []
    for question, record in records.items():
        if record["result"].get("unit") != "s":
            continue
        for series, points in record["result"]["values"].items():
            for point, values in points.items():
                if min(values) > 0:
                    metadata = {"name": f"{question}: {series}, {point}", "unit": "second"}
                    run = pyperf.Run([float(value) for value in values], metadata=metadata, collect_metadata=False)
                    benchmarks.append(pyperf.Benchmark([run]))
    return pyperf.BenchmarkSuite(benchmarks) if benchmarks else None
