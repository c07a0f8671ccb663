"""Every error this library raises, and the reasons a token is refused for.

A leaf: it knows nothing of keys, tokens, cookies or JSON, and no message here carries a secret or a session's content.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Self

__all__ = [
    "ClientSessionError",
    "ConfigurationError",
    "ExpiredTokenError",
    "ForgedTokenError",
    "FutureTokenError",
    "MalformedTokenError",
    "Reason",
    "SerializationError",
    "SessionCommittedError",
    "SessionTooLargeError",
    "TokenError",
    "UnknownKeyError",
]


class Reason(enum.StrEnum):
    """Why a token was refused; docs/SPEC.md puts each as a question."""

    MALFORMED = "malformed"
    """It is not of the form of a token, or what was sealed is not a session."""
    UNKNOWN_KEY = "unknown_key"
    """The key it names is not in the ring: retired, of another site, or made up."""
    FORGED = "forged"
    """The seal does not fit: changed, or sealed for another name, audience or kind."""
    EXPIRED = "expired"
    """Its time is over, by its own end or by today's ``max_duration``."""
    FUTURE = "future"
    """It was made more than a minute from now: a clock is wrong somewhere."""
    AMBIGUOUS = "ambiguous"
    """The client sent several cookies of this name, and no one of them is the session beyond doubt."""


class ClientSessionError(Exception):
    """The root of every error of this library."""


class ConfigurationError(ClientSessionError, ValueError):
    """A key, jar, codec or middleware was set up wrongly; the message says what to change."""


class SerializationError(ClientSessionError, ValueError):
    """A session holds something that would not be read back as it was put in.

    The message names the path (``cart.items[3].when``) and the type, never the value.
    """


class SessionTooLargeError(ClientSessionError, ValueError):
    """The sealed session is larger than a browser keeps (RFC 6265bis, 5.6: 4,096 bytes of name and value).

    Attributes:
        name: of the jar or codec.
        size: bytes it would take.
        limit: bytes it may take.
        largest: up to five top-level keys, escaped and shortened, with the bytes of JSON each takes, largest first.
    """

    def __init__(self, name: str, size: int, limit: int, largest: tuple[tuple[str, int], ...]) -> None:
        self.name = name
        self.size = size
        self.limit = limit
        self.largest = largest
        super().__init__(name, size, limit, largest)

    def __str__(self) -> str:
        rows = [f"{size:>9,} bytes of JSON  {key}" for key, size in self.largest] or ["none"]
        problem = (
            f"the session {self.name!r} takes {self.size:,} bytes sealed, {self.size - self.limit:,} more than the limit of "
            f"{self.limit:,}; keep less in it (an id in place of a record). Its largest keys:"
        )
        return "\n".join((problem, *rows))


class SessionCommittedError(ClientSessionError, RuntimeError):
    """A session was written, or first used, after its cookies were handed out: the change could not be kept."""


class TokenError(ClientSessionError):
    """A token was refused. Catch this one; :attr:`reason` tells which of its subclasses it is.

    Attributes:
        reason: why, as a :class:`Reason`.
        question: the question of docs/SPEC.md, section 6, that was answered with no: how far the token got. 0 where none was asked.
    """

    reason: ClassVar[Reason]
    explanation: ClassVar[str] = "this token was refused"

    def __init__(self, question: int = 0) -> None:
        super().__init__(self.explanation)
        self.question = question

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.question,)  # so that a pool of processes can hand it over


class MalformedTokenError(TokenError):
    """The text has not the form of a token, or what was sealed is not a session."""

    reason = Reason.MALFORMED
    explanation = "malformed: this is not a whole token of this library"


class UnknownKeyError(TokenError):
    """The token names a key that is not in the ring."""

    reason = Reason.UNKNOWN_KEY
    explanation = "unknown key: the key that sealed this token is not in the ring"


class ForgedTokenError(TokenError):
    """The seal does not fit the token."""

    reason = Reason.FORGED
    explanation = "forged: this token was changed, or was sealed for another name, audience or kind"


class ExpiredTokenError(TokenError):
    """The token's, or the session's, time is over."""

    reason = Reason.EXPIRED
    explanation = "expired: the time of this session is over"


class FutureTokenError(TokenError):
    """The token was made more than 60 seconds from now."""

    reason = Reason.FUTURE
    explanation = "future: this token was made later than now; compare the clocks of the servers that share its key"
