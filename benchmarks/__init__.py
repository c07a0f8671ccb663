"""What it costs, measured beside everyone else: ``python -m benchmarks``; README.md beside this file shows what came out."""

from typing import Final

INSTALL: Final = "pip install 'clientsession[bench]'"
"""What brings everything that is measured."""
