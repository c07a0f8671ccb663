"""One target under atheris: ``python -m tests.fuzz.worker TARGET``, and then libFuzzer's own options and folders.

A corpus is made smaller so: ``python -m tests.fuzz.worker TARGET -merge=1 SMALL LARGE``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["clientsession"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.layers import changed, mutated


def main(name: str, options: list[str]) -> None:
    """Fuzz until libFuzzer ends the process."""
    target = TARGETS[name]
    seeds = target.kept(name)

    def change(part: bytes, random: Random) -> bytes:
        return atheris.Mutate(part, len(part) + 64) if random.random() < 0.5 else changed(part, random)

    def mutator(data: bytes, max_bytes: int, seed: int) -> bytes:
        return mutated(target.layer, data, min(max_bytes, target.max_bytes), seed, change, seeds)[:max_bytes]

    def check(data: bytes) -> None:
        target.check(data)

    program = script(name) if any(option.startswith("-merge=") for option in options) else "tests.fuzz.worker"
    atheris.Setup([program, f"-max_len={target.max_bytes}", *options], check, custom_mutator=mutator)
    atheris.Fuzz()


def script(name: str) -> str:
    """A program that is this one: for a merge, libFuzzer starts itself again by its first word."""
    path = Path(tempfile.mkdtemp(prefix="clientsession-fuzz-")) / name
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.fuzz.worker {name} "$@"\n')
    path.chmod(0o700)
    return str(path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
