"""What a token is, and with keys what is in it and why it does not open.

It knows tokens, keys and times, and nothing of the command line. Whether a token opens is a codec's to say: it is asked, and
nothing here judges that a second time.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from clientsession._ciphers import Suite
from clientsession._codec import MAX_SIZE, Codec, not_found
from clientsession._jar import MAX_CANDIDATES, CookieCodec
from clientsession._json import StrictJSON
from clientsession._keyfile import Role
from clientsession._keyring import Keyring
from clientsession._keys import Key
from clientsession._session import DEFAULT_DURATION, Session
from clientsession._token import (
    HEADER_BYTES,
    MIN_CHARS,
    NONCE_BYTES,
    PLAINTEXT_OVERHEAD_BYTES,
    TAG_BYTES,
    Sealed,
    decode_base64url,
    inflate,
    unpack,
)
from clientsession.commands._dumping import safe_string
from clientsession.commands._finding import Found, Source
from clientsession.errors import Reason

SUITES: Final = {int(suite): suite.name.lower().replace("_", "-") for suite in Suite}  # as `clientsession keys` names them
_ALL_ANSWERED: Final = 10  # one more than docs/SPEC.md, section 6, has questions
_STRANGER: Final = re.compile(r"[^A-Za-z0-9_-]")
_TO_URL_SAFE: Final = str.maketrans("+/", "-_")


# Spelling


class Fault(enum.StrEnum):
    """What is wrong with the spelling of a token; docs/SPEC.md, section 1."""

    WHITE_SPACE = "white_space"
    QUOTES = "quotes"
    PADDING = "padding"
    ALPHABET = "alphabet"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    LENGTH = "length"
    SPARE_BITS = "spare_bits"


def spelling_faults(text: str, limit: int) -> dict[Fault, str]:
    """What is wrong with the spelling of a token, each with a few words; none exactly where a codec takes it for a token.

    Args:
        text: the token.
        limit: the most characters it may have.
    """
    faults: dict[Fault, str] = {}
    unpadded = text.rstrip("=")
    letters = re.sub(r"[\s'\"]", "", unpadded)
    stranger = _STRANGER.search(letters)
    if re.search(r"\s", text):
        faults[Fault.WHITE_SPACE] = "white space"
    if re.search(r"['\"]", unpadded):
        faults[Fault.QUOTES] = "quotes, which in a cookie are part of the value"
    if unpadded != text:
        faults[Fault.PADDING] = "padding (=) at its end"
    if stranger is not None:
        faults[Fault.ALPHABET] = f"{safe_string(stranger[0])}, which is none of A-Z a-z 0-9 - _"
    if len(text) < MIN_CHARS:
        faults[Fault.TOO_SHORT] = f"{len(text)} characters, where {MIN_CHARS} are the fewest"
    if len(text) > limit:
        faults[Fault.TOO_LONG] = f"{len(text):,} characters, where {limit:,} are the most"
    if len(text) < MIN_CHARS or stranger is not None:
        return faults
    if len(letters) % 4 == 1:
        faults[Fault.LENGTH] = "a number of characters that base64 never has, so that some are missing or too many"
    elif decode_base64url(letters) is None:
        faults[Fault.SPARE_BITS] = "a last character with spare bits, which no writer makes: it was changed or cut"
    return faults


def _loosely(text: str) -> bytes:
    """The bytes of a token of whatever spelling; none where there is no telling."""
    letters = re.sub(r"[\s'\"=]", "", text).translate(_TO_URL_SAFE)
    if _STRANGER.search(letters) or len(letters) % 4 == 1:
        return b""
    data = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    if len(data) < HEADER_BYTES or (data[0] not in SUITES and spelling_faults(text, len(text))):
        return b""
    return data


# Asking a codec


class _HeaderCodec(Codec):
    """For the kind that docs/SPEC.md reserves."""

    kind = "header"


CODECS: Final[dict[str, type[Codec]]] = {"cookie": CookieCodec, "token": Codec, "header": _HeaderCodec}


@dataclass(frozen=True, slots=True)
class Look:
    """How tokens are looked at.

    Attributes:
        now: milliseconds since 1970-01-01T00:00Z.
        ring: the keys, as they are at this moment; None where there are none.
        name: what bare tokens are for.
        audience: likewise.
        kind: likewise; None: of a header cookie, else whichever of all opens.
        max_duration: of the jar or codec.
        max_size: of the codec, in characters; a cookie's is fixed.
    """

    now: int
    ring: Keyring | None = None
    name: str | None = None
    audience: str = ""
    kind: str | None = None
    max_duration: timedelta | None = None
    max_size: int = MAX_SIZE

    def codec(self, kind: str, name: str, ring: Keyring) -> Codec:
        """The codec of a kind and name.

        Raises:
            ConfigurationError: there can be none.
        """
        return CODECS[kind](
            ring,
            name,
            duration=min(DEFAULT_DURATION, self.max_duration or DEFAULT_DURATION),
            max_duration=self.max_duration,
            audience=self.audience,
            max_size=MAX_SIZE if kind == "cookie" else self.max_size,
        )

    def limit(self, kind: str | None, name: str | None) -> int:
        """The most characters a token of a kind and name has; of any kind for None."""
        in_cookie = MAX_SIZE - len(name or "")
        if kind is None:
            return max(in_cookie, self.max_size)
        return in_cookie if kind == "cookie" else self.max_size


@dataclass(frozen=True, slots=True)
class Inside:
    """What is inside a seal that fits.

    Attributes:
        plaintext: all of it.
        sealed: its fields; None where it has not those of a session.
        ends: when the session ends, in milliseconds: at ``expires``, or by ``max_duration``.
        body: inflated, where it was deflated; None where it does not inflate.
        content: the session, or what is wrong with the body.
    """

    plaintext: bytes = field(repr=False)
    sealed: Sealed | None = field(default=None, repr=False)
    ends: int = 0
    body: bytes | None = field(default=None, repr=False)
    content: dict[str, Any] | str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the codec of a kind says: why a token does not open, and at which question of docs/SPEC.md, section 6."""

    kind: str
    reason: Reason | None
    question: int
    inside: Inside | None = None


def _ask(text: str, kind: str, name: str, ring: Keyring, look: Look) -> _Answer:
    """Ask a codec whether a token opens; then look inside, also where its time is over or not come."""
    codec = look.codec(kind, name, ring)
    found = codec._find(text, codec._bind(ring))
    if isinstance(found, int):
        return _Answer(kind, not_found(found).reason, found)
    frame, key = found
    opened = codec._open(frame, key, codec._rules, lambda: look.now)
    reason, question = (None, _ALL_ANSWERED) if isinstance(opened, Session) else (opened.reason, opened.question)
    plaintext = key.cipher.open(frame.nonce, frame.ciphertext, key.aad)
    if plaintext is None:
        return _Answer(kind, reason, question)
    sealed = unpack(plaintext)
    if sealed is None:
        return _Answer(kind, reason, question, Inside(plaintext))
    body = inflate(sealed.body) if sealed.deflated else sealed.body
    ends = codec._lifetime.capped(sealed.created, sealed.expires)
    return _Answer(kind, reason, question, Inside(plaintext, sealed, ends, body, _content(body)))


def _content(body: bytes | None) -> dict[str, Any] | str:
    """The session of a body, or what is wrong with it."""
    if body is None:
        return "it does not inflate to 65,536 bytes at most, or something stands behind it"
    if not body:
        return {}
    try:
        return StrictJSON().loads(body)
    except RecursionError:
        return "it is nested more deeply than can be read"
    except ValueError as error:
        return str(error)


# Describing


@dataclass(frozen=True, slots=True)
class Description:
    """A token, and all that can be told of it.

    Attributes:
        found: where it stood.
        name: what it is for; None where that is not known.
        kind: likewise.
        data: its bytes; none where it cannot be decoded at all.
        limit: the most characters it may have.
        faults: of its spelling.
        opens: whether it opens now; None where that was not tried.
        reason: why it does not.
        question: the one of docs/SPEC.md, section 6, that was answered with no.
        role: of the key it names in the ring.
        inside: what is inside, where the seal fits.
        fits_kind: another kind than was asked for, for which the seal fits.
    """

    found: Found
    name: str | None
    kind: str | None
    data: bytes = field(repr=False)
    limit: int
    faults: dict[Fault, str]
    opens: bool | None
    reason: Reason | None
    question: int | None
    role: Role | None
    inside: Inside | None = None
    fits_kind: str | None = None

    @property
    def key_id(self) -> str | None:
        """8 hex digits, in a token that can be decoded."""
        return self.data[1:HEADER_BYTES].hex() or None

    @property
    def plaintext_bytes(self) -> int | None:
        """How many bytes are inside the seal, in a token that can be decoded and is long enough."""
        count = len(self.data) - HEADER_BYTES - NONCE_BYTES - TAG_BYTES
        return count if count >= 0 else None

    @property
    def max_body_bytes(self) -> int | None:
        """How many of them the body has at most: there may be an id too."""
        count = self.plaintext_bytes
        return None if count is None else max(count - PLAINTEXT_OVERHEAD_BYTES, 0)

    @property
    def beside(self) -> int:
        """The bytes of a cookie's name, which count against its limit."""
        return len(self.name or "") if self.kind == "cookie" else 0


def describe(found: Found, look: Look) -> Description:
    """All that can be told of a token.

    Raises:
        ConfigurationError: there can be no codec of this name, audience or size.
    """
    data = _loosely(found.text)
    name = look.name if found.name is None else found.name
    kind = look.kind or (None if found.source is Source.BARE else "cookie")
    role, key = next((each for each in members(look.ring) if each[1]._header == data[:HEADER_BYTES]), (None, None))
    if look.ring is None or name is None:
        limit = look.limit(kind, name)
        faults = spelling_faults(found.text, limit)
        reason, question = _outside(data, faults, look.ring is None or role is not None)
        return Description(found, name, kind, data, limit, faults, False if reason else None, reason, question, role)
    ring = Keyring(key or look.ring.sealing)  # of the one key it names: none is derived for what anybody may have sent
    answers = {each: _ask(found.text, each, name, ring, look) for each in CODECS}
    asked = [answers[kind]] if kind else [*answers.values()]
    answer = max(asked, key=lambda each: each.question)
    fits = next((each.kind for each in answers.values() if each.inside is not None), None)
    kind = kind or fits
    limit = look.limit(kind, name)
    return Description(
        found,
        name,
        kind,
        data,
        limit,
        spelling_faults(found.text, limit),
        answer.reason is None,
        answer.reason,
        None if answer.reason is None else answer.question,
        role,
        answer.inside,
        None if fits == kind else fits,
    )


def _outside(data: bytes, faults: dict[Fault, str], has_key: bool) -> tuple[Reason, int] | tuple[None, None]:
    """Why a token does not open, as far as that can be told without opening it."""
    if faults:
        return Reason.MALFORMED, 1
    if data[0] not in SUITES:
        return Reason.MALFORMED, 2
    return (None, None) if has_key else (Reason.UNKNOWN_KEY, 3)


def members(ring: Keyring | None) -> Iterator[tuple[Role, Key]]:
    """The keys of a ring with their roles."""
    if ring is not None:
        yield Role.SEALING, ring.sealing
        yield from ((Role.ACCEPTING, key) for key in ring.accepting)
        yield from ((Role.RETIRING, key) for key in ring.retiring)


def ambiguous_names(tokens: Iterable[Description]) -> list[str]:
    """The names of cookies that came together with several values, so that a jar takes none of them."""
    together: dict[tuple[int, str], list[Description]] = {}
    for token in tokens:
        if token.found.source is Source.COOKIE and token.kind == "cookie" and token.opens is not None:
            together.setdefault((token.found.line, token.name or ""), []).append(token)
    names = {
        name
        for (_, name), cookies in together.items()
        if sum(cookie.opens is True for cookie in cookies) > 1
        or sum((cookie.question or _ALL_ANSWERED) > 3 for cookie in cookies) > MAX_CANDIDATES
    }
    return sorted(names)
