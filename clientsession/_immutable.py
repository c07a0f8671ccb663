"""What keys, rings, codecs and jars have in common: they do not change, are shared by all threads, and are never pickled.

A leaf. Configuration that one request could change would change the next user's session.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self


class Immutable:
    """Attributes are set once, by :meth:`_freeze`; a copy is the object itself; a pickle would write secrets to who knows where."""

    __slots__ = ()

    def _freeze(self, **attributes: object) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _summary(self) -> str:
        """What ``repr`` shows beside the class; never a secret."""
        return "…"

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} {self._summary()}>"
        except AttributeError:  # while it is being made, in a traceback that shows local variables
            return f"<{type(self).__name__} unfinished>"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        del value  # it may be a secret, and no frame of this traceback shows it
        raise AttributeError(f"a {type(self).__name__} does not change: make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} does not change: make another one")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} does not hand out its state, so that no secret is written by accident")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled, so that no secret is written by accident")
