"""Fuzz all targets, one of them, or run inputs through one.

    python -m tests.fuzz                  all targets, each in a process of its own
    python -m tests.fuzz TARGET           one of them
    python -m tests.fuzz TARGET FILE ...  these inputs once, without atheris: a failure again

FUZZ_SECONDS is how long each target is fuzzed (15), or FUZZ_RUNS with how many inputs; FUZZ_JOBS is how many targets at once (1),
FUZZ_FOUND a folder in which inputs that reached something new are kept, and from which the next run goes on.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS

ROOT = Path(__file__).parents[2]
SLOWEST_SECONDS = 60  # an input that takes longer is a failure
SHOWN_LINES = 60  # of the log of a failure
SHOWN_BYTES = 16 * 1024  # of an input: a longer one is in its file alone
SHOWN_INPUTS = 3
USAGE, FAILED, WELL = 2, 1, 0


def main(argv: list[str]) -> int:
    """Run, and give the exit code."""
    names = argv[:1] or list(TARGETS)
    if not set(names) <= TARGETS.keys():
        print(__doc__, f"Targets: {', '.join(TARGETS)}", sep="\n", file=sys.stderr)
        return USAGE
    if len(argv) > 1:
        for path in argv[1:]:
            print(f"{path}: {TARGETS[names[0]].check(Path(path).read_bytes())}")
        return WELL
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install '.[test,fuzz]' (on Linux, x86-64)", file=sys.stderr)
        return USAGE
    scratch = Path(tempfile.mkdtemp(prefix="clientsession-fuzz-"))
    with ThreadPoolExecutor(int(os.environ.get("FUZZ_JOBS", "1"))) as pool:
        results = list(pool.map(partial(fuzz, scratch=scratch, until=end()), names))
    if not all(results):
        return FAILED
    shutil.rmtree(scratch)
    return WELL


def end() -> str:
    """libFuzzer's option for how long."""
    runs = os.environ.get("FUZZ_RUNS")
    return f"-runs={int(runs)}" if runs else f"-max_total_time={int(os.environ.get('FUZZ_SECONDS', '15'))}"


def again(name: str, path: Path) -> str:
    """How an input is run again, from its file or, where that is gone, from the log alone."""
    by_file = f"again with: python -m tests.fuzz {name} {path}"
    data = path.read_bytes()
    if len(data) > SHOWN_BYTES:
        return f"{by_file}\n({len(data):,} bytes, too many to be shown here)"
    return f"{by_file}\nor with: echo {base64.b64encode(data).decode()} | base64 -d | python -m tests.fuzz {name} /dev/stdin"


def fuzz(name: str, *, scratch: Path, until: str) -> bool:
    """Fuzz one target, say in a line how it went, and whether all was well."""
    found = Path(os.environ.get("FUZZ_FOUND") or scratch / "found").absolute() / name
    seeds, failures = scratch / "seeds" / name, scratch / "failures" / name
    for folder in (found, seeds, failures):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        seeds.joinpath(f"{number:03}").write_bytes(seed)
    folders = [str(folder) for folder in (found, seeds, CORPUS / name) if folder.is_dir()]
    options = [until, f"-timeout={SLOWEST_SECONDS}", f"-artifact_prefix={failures}/", *folders]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worker", name, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    log = done.stdout.decode("utf-8", "replace")
    scratch.joinpath(f"{name}.log").write_text(log)
    steps = re.findall(r"^#(\d+)\s+(?:INITED|DONE)\s+cov: (\d+) ft: (\d+) corp: (\d+)", log, re.MULTILINE)
    if done.returncode == 0 and len(steps) == 2:
        (_, edges, features, _), (runs, more_edges, more_features, inputs) = steps
        reached = f"edges {edges:>4} -> {more_edges:>4}   features {features:>5} -> {more_features:>5}   {inputs:>4} inputs"
        print(f"{name:<12} {int(runs):>9,} runs   {reached}", flush=True)
        return True
    print("\n".join(log.splitlines()[-SHOWN_LINES:]), f"{name}: FAILED, exit code {done.returncode}", sep="\n", flush=True)
    for failure in sorted(failures.iterdir())[:SHOWN_INPUTS]:
        print(again(name, failure), flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
