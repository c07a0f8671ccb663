"""The parser of the command line, which shows nothing of what looks like a secret.

``argparse`` quotes what it does not understand, and that may be a key, or a part of one, that was pasted into the wrong place.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from clientsession._ciphers import Suite
from clientsession._keys import KEY_PREFIX

SUITES: Final = {suite.name.lower().replace("_", "-"): suite for suite in Suite}
"""The suites as the command line names them, the default first."""

_WORD: Final = re.compile(rf"{KEY_PREFIX}\S*|[^\s'\"(),\[\]]{{9,}}")  # nine characters of a secret are 54 bits of it
_LONGEST_WORD_CHARS: Final = 23  # our own longest is CLIENTSESSION_KEY_FILE, with a colon


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors leave out keys, and long words that are no plain ones."""

    def parse_known_args(  # type: ignore[override]  # its overloads are about namespaces of other types, which are not used here
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Refuse here what is not known, and not in the main parser, whose usage does not show the options of this one."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with exit code 2."""
        super().error(_WORD.sub(_shown, message))


def _shown(found: re.Match[str]) -> str:
    """A word as it is where it is plain: of one case and without digits, as random text of that length hardly ever is."""
    word = found[0]
    plain = word in SUITES or ((word.islower() or word.isupper()) and not re.search(r"\d", word))
    return word if plain and len(word) <= _LONGEST_WORD_CHARS else "[left out: it may be a secret]"
