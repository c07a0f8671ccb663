"""Codec: a session into a token and back, with its times, under a ring of keys.

It knows tokens, keys, lifetimes and the serializer, and nothing of cookies or requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from types import EllipsisType
from typing import Any, ClassVar, Final

from clientsession._ciphers import Suite
from clientsession._immutable import Immutable
from clientsession._json import Serializer, StrictJSON, has_room, is_same, shown_key
from clientsession._keyring import BoundRing, Keyring
from clientsession._keys import KEY_AS_NAME, BoundKey, holds_key
from clientsession._migration import OldSession
from clientsession._session import DEFAULT_DURATION, MAX_DURATION, Lifetime, Origin, Rules, Session, check_duration, read_clock
from clientsession._token import (
    ID_BYTES,
    Frame,
    Sealed,
    deflate,
    inflate,
    new_tuple,
    room_for_body,
    take_apart,
    token_chars,
    unpack,
)
from clientsession.errors import (
    ConfigurationError,
    ExpiredTokenError,
    ForgedTokenError,
    FutureTokenError,
    MalformedTokenError,
    SerializationError,
    SessionTooLargeError,
    TokenError,
    UnknownKeyError,
)

MAX_SIZE: Final = 4096  # RFC 6265bis, 5.6: the bytes of name and value a browser keeps; also fits a URL or a header
_LARGEST_MAX_SIZE: Final = 65_536
_MIN_MAX_SIZE: Final = 78  # a token around an empty body
_MAX_LABEL_BYTES: Final = 256
_MAX_SKEW_MS: Final = 60_000  # how far the clocks of two servers may be apart; Fernet allows the same
_LONGEST_MS: Final = MAX_DURATION // timedelta(milliseconds=1)
_LARGEST_KEYS_SHOWN: Final = 5
_MIN_PAD_TO: Final = 2
_MAX_PAD_TO: Final = 1024  # a quarter of a cookie
_SUITES: Final = frozenset(Suite)
_UNKNOWN_KEY_QUESTION: Final = 3  # docs/SPEC.md, section 6


NOT_A_KEYRING: Final = "the keyring must be a Keyring: write Keyring(key)"


def not_found(question: int) -> type[TokenError]:
    """What a text is refused with that names no key of the ring, by the question it ended at."""
    return UnknownKeyError if question == _UNKNOWN_KEY_QUESTION else MalformedTokenError


def check_label(what: str, value: str, *, empty_allowed: bool = False) -> None:
    """Check a text that is bound into the seal.

    Raises:
        ConfigurationError: no str, empty, over 256 bytes of UTF-8, or with a control character or lone surrogate.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} must be a str, not {type(value).__name__}")
    if not value and not empty_allowed:
        raise ConfigurationError(f"{what} must not be empty")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise ConfigurationError(f"{what} has a lone surrogate, which UTF-8 cannot carry") from None
    if size > _MAX_LABEL_BYTES or any(char < " " or char == "\x7f" for char in value):
        raise ConfigurationError(f"{what} must have at most {_MAX_LABEL_BYTES} bytes of UTF-8 and no control characters")


def _check_shape(serializer: Serializer, *, compress: bool, pad_to: int | None) -> None:
    if type(compress) is not bool:
        raise ConfigurationError("compress must be True or False")
    if pad_to is None:
        return
    if type(pad_to) is not int or not _MIN_PAD_TO <= pad_to <= _MAX_PAD_TO:
        raise ConfigurationError(f"pad_to must be an int from {_MIN_PAD_TO} to {_MAX_PAD_TO:,}, or None")
    if compress:
        raise ConfigurationError("compress and pad_to do not go together: what one evens out the other gives away. Choose one")
    for example in ({}, {"a": 1}):
        body = serializer.dumps(dict(example))
        try:
            read = serializer.loads(body + b" ") if type(body) is bytes else None
        except ValueError:
            read = None
        if read != example or body[:1] != b"{" or body[-1:] != b"}":
            raise ConfigurationError("pad_to needs a serializer of JSON objects, whose loads takes spaces after them")


class Codec(Immutable):
    """Seals dicts into tokens and opens them again.

    A token opens only under a codec of the same name, audience and kind: an invitation can never be pasted in as a session.

    Args:
        keyring: the keys.
        name: what the tokens are for, such as ``"invite"``.
        duration: how long a token lives, 1 second to 400 days.
        max_duration: nothing lives longer than this from when it was made, checked when opening as well. By default no limit.
        audience: a further text bound into the seal, such as a host or tenant.
        max_size: the longest token in characters, 78 to 65,536; for opening too.
        serializer: ``dumps(dict) -> bytes`` and ``loads(bytes) -> dict`` in place of the strict JSON; ``loads`` raises a
            ``ValueError`` for bytes it cannot read, such as those an earlier serializer wrote.
        clock: the time in seconds since 1970, as ``time.time``.
        compress: deflate a body where that makes it shorter. The length then tells more of the content: where a secret and
            text of an attacker's choice stand in one session, each try at the secret that fits makes the token shorter (the
            CRIME and BREACH attacks), and the length is seen by whoever sees the traffic. Leave it off unless you know that no
            session holds both.
        pad_to: fill the sealed body with spaces to a multiple of this many bytes, 2 to 1,024, so that a length tells only its
            class. Not together with ``compress``.

    Raises:
        ConfigurationError: an argument out of range; the message says which.
        TypeError: a duration that is no ``timedelta``.
    """

    kind: ClassVar[str] = "token"
    """Bound into the seal: ``"token"`` for a codec of one's own, ``"cookie"`` for that of a jar."""

    keyring: Keyring
    name: str
    duration: timedelta
    max_duration: timedelta | None
    audience: str
    max_size: int
    serializer: Serializer
    clock: Callable[[], float]
    compress: bool
    pad_to: int | None
    _title: str  # what errors call it: a jar's codec has the jar's name
    _lifetime: Lifetime
    _rules: Rules
    _scope: tuple[str, str, str]  # kind, name and audience
    _max_chars: int  # of a token, without the name
    _room: int  # bytes of the largest body, with an id
    _bound: BoundRing
    _now: Callable[[], int]

    def __init__(
        self,
        keyring: Keyring,
        name: str,
        *,
        duration: timedelta = DEFAULT_DURATION,
        max_duration: timedelta | EllipsisType | None = ...,
        audience: str = "",
        max_size: int = MAX_SIZE,
        serializer: Serializer | None = None,
        clock: Callable[[], float] = time.time,
        compress: bool = False,
        pad_to: int | None = None,
    ) -> None:
        if holds_key(name, audience):
            del keyring, name, audience  # no frame of this traceback shows a secret
            raise ConfigurationError(KEY_AS_NAME)
        if not isinstance(keyring, Keyring):
            del keyring  # whatever it is may be a secret too
            raise ConfigurationError(NOT_A_KEYRING)
        if type(max_size) is not int or not _MIN_MAX_SIZE <= max_size <= _LARGEST_MAX_SIZE:
            raise ConfigurationError(f"max_size must be an int from {_MIN_MAX_SIZE} to {_LARGEST_MAX_SIZE:,}")
        check_label("name", name)
        check_label("audience", audience, empty_allowed=True)
        if not callable(clock):
            raise ConfigurationError("clock must be a function that answers with seconds, as time.time")
        if serializer is None:
            serializer = StrictJSON()
        if not callable(getattr(serializer, "dumps", None)) or not callable(getattr(serializer, "loads", None)):
            raise ConfigurationError("serializer must have dumps(dict) -> bytes and loads(bytes) -> dict")
        _check_shape(serializer, compress=compress, pad_to=pad_to)
        lifetime = Lifetime.of(duration, None, max_duration, ephemeral=False)
        self._freeze(
            keyring=keyring,
            name=name,
            duration=duration,
            max_duration=None if lifetime.maximum is None else timedelta(milliseconds=lifetime.maximum),
            audience=audience,
            max_size=max_size,
            serializer=serializer,
            clock=clock,
            compress=compress,
            pad_to=pad_to,
            _title=name,
            _lifetime=lifetime,
            _rules=Rules(lifetime, max_size),
            _scope=(self.kind, name, audience),
            _bound=keyring._snapshot()._bind(self.kind, name, audience),
            _now=partial(read_clock, clock),
        )
        max_chars = max_size - self._name_size
        self._freeze(_max_chars=max_chars, _room=room_for_body(max_chars))

    def _summary(self) -> str:
        return f"{self.name!r} {self.keyring!r}"

    # Direct use

    def encode(self, data: Mapping[str, Any], *, duration: timedelta | None = None) -> str:
        """Seal a dict.

        Args:
            data: what to seal. A ``Session`` that was opened for the same name, audience and kind keeps its times and id; any
                other is content alone.
            duration: let this one token live so long from now, under ``max_duration``.

        Returns:
            The token: ASCII letters, digits, ``-`` and ``_``.

        Raises:
            SerializationError: something in it would not be read back as it is; names the path.
            SessionTooLargeError: the token would be longer than ``max_size``.
            ExpiredTokenError: ``data`` is a session whose time is over.
            TypeError: not a mapping, or a duration that is no ``timedelta``.
            ConfigurationError: a duration under 1 second or over 400 days.
        """
        if type(data) is not dict and not isinstance(data, Mapping):  # the first is the usual, and the second takes long
            raise TypeError(f"a codec seals a dict, not {type(data).__name__}")
        now = self._now()
        session = data if isinstance(data, Session) and data._origin is not None and data._origin.scope == self._scope else None
        if session is None:
            created, expires, session_id, ephemeral = now, now + self._lifetime.duration, None, False
        else:
            created, expires, session_id, ephemeral = session._created, session._expires, session._id, session._ephemeral
        if duration is not None and expires > now:  # the dead stay dead
            expires = now + check_duration("duration", duration)
        content = dict(data)
        if session is None:
            body, deflated = self._shaped(self._dump(content), with_id=False)
        else:
            body, deflated, _ = self._write(session)
        sealed = Sealed(created, expires, session_id, ephemeral, deflated, body)
        return self._seal(sealed, now, self._bind(self.keyring._snapshot()), content)

    def decode(self, token: str) -> Session:
        """Open a token.

        Args:
            token: what :meth:`encode` gave, from whatever hands.

        Returns:
            The content, a dict with ``created_at``, ``expires_at``, ``key_id``, and ``id`` where one was sealed.

        Raises:
            TokenError: it does not open; ``reason`` and the subclass say why.
            TypeError: ``token`` is no ``str``.
        """
        if type(token) is not str:
            hint = "; decode them as ASCII first" if isinstance(token, (bytes, bytearray)) else ""
            raise TypeError(f"a token is a str, not {type(token).__name__}{hint}")
        found = self._find(token, self._bind(self.keyring._snapshot()))
        if not isinstance(found, tuple):
            raise not_found(found)(found)
        opened = self._open(*found, self._rules, self._now)
        if isinstance(opened, Session):
            return opened
        raise opened

    # For jars, in this package: the steps of both

    def _bind(self, ring: Keyring) -> BoundRing:
        """The keys of a snapshot of the ring, as this codec uses them; kept until the ring is another."""
        bound = self._bound
        if bound.ring is not ring:
            bound = ring._bind(*self._scope)
            self._freeze(_bound=bound)
        return bound

    def _find(self, token: str, bound: BoundRing) -> tuple[Frame, BoundKey] | int:
        """The frame of a token and the key it names; nothing is decrypted.

        Or, with no error made for each of a thousand texts in a header, the question of docs/SPEC.md, section 6, at which it ends:
        1 or 2, not the form of a token, or of a suite this version does not know; 3, no key of the ring has its id.
        """
        frame = take_apart(token, self._max_chars)
        if frame is None:
            return 1
        key = bound.keys.get(frame.header)
        if key is None:
            return _UNKNOWN_KEY_QUESTION if frame.header[0] in _SUITES else 2
        return frame, key

    def _adopted(self, old: OldSession, rules: Rules, clock: Callable[[], int]) -> Session | TokenError:
        """The session another system left, with its times; an error where it is over here, of the future, or no plain JSON."""
        now = clock()
        lifetime = rules.lifetime
        created = now if old.created is None else old.created
        ends = now + lifetime.duration if old.expires is None else min(old.expires, now + _LONGEST_MS)
        expires = lifetime.capped(created, ends)
        if created > now + _MAX_SKEW_MS:
            return FutureTokenError(7)
        if expires <= now:
            return ExpiredTokenError(8)
        if created < 0:  # a token has no room for such a time
            return MalformedTokenError(9)
        try:
            body = self._dump(old.content)
        except SerializationError:
            return MalformedTokenError(9)
        content = self._read(body)  # a copy: what the reader gave may be its own to keep, as of a store
        if content is None:
            return MalformedTokenError(9)
        origin = Origin(self._scope, None, None, body, body, deflated=False)
        return Session(content, rules, self._measure, clock, created, expires, None, lifetime.ephemeral, origin)

    def _open(self, frame: Frame, key: BoundKey, rules: Rules, clock: Callable[[], int]) -> Session | TokenError:
        """The session in a frame, or the error to raise: what its content stands in is then not part of a traceback."""
        plaintext = key.cipher.open(frame.nonce, frame.ciphertext, key.aad)
        if plaintext is None:
            return ForgedTokenError(4)
        sealed = unpack(plaintext)
        if sealed is None:
            return MalformedTokenError(5)
        created, expires, session_id, ephemeral, deflated, raw = sealed
        if expires < created:
            return MalformedTokenError(6)
        now = clock()
        if created > now + _MAX_SKEW_MS:
            return FutureTokenError(7)
        expires = rules.lifetime.capped(created, expires)
        if expires <= now:
            return ExpiredTokenError(8)
        body = inflate(raw) if deflated else raw
        content = None if body is None else self._read(body)
        if body is None or content is None:
            return MalformedTokenError(9)
        if self.pad_to is not None:
            body = body.rstrip(b" ")  # so that what is compared in the end is the content
        origin = new_tuple(Origin, (self._scope, key.key_id, session_id, body, raw, deflated))
        return Session(content, rules, self._measure, clock, created, expires, session_id, ephemeral, origin)

    def _read(self, body: bytes) -> dict[str, Any] | None:
        """The dict of a body, or None where it is none; no bytes at all stand for ``{}``."""
        if not body:
            return {}
        try:
            content = self.serializer.loads(body)
        except ValueError:  # what a parser raises on bytes: UnicodeDecodeError, JSONDecodeError and their like
            return None
        except RecursionError:
            if not has_room():
                raise
            return None
        return content if isinstance(content, dict) else None

    def _dump(self, content: dict[str, Any]) -> bytes:
        """The body of a dict."""
        if not content:
            return b""
        problem: str
        try:
            body = self.serializer.dumps(content)
        except SerializationError as error:
            problem = f"the session {self._title!r} cannot be sealed: {error}"
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            if isinstance(error, RecursionError) and not has_room():
                raise
            # A serializer of the application's own: its message and its cause may hold what is in the session.
            problem = (
                f"the session {self._title!r} cannot be sealed: {type(self.serializer).__name__} raised {type(error).__name__}"
            )
        else:
            if type(body) is bytes:
                return body
            problem = f"{type(self.serializer).__name__}.dumps must return bytes, not {type(body).__name__}"
        raise SerializationError(problem)

    def _write(self, session: Session) -> tuple[bytes, bool, bool]:
        """A session's body, whether it is deflated, and whether the content changed since it was opened.

        Raises:
            SerializationError: it changed, and cannot be written.
        """
        origin = session._origin
        content = dict(session)
        if origin is None:
            return *self._shaped(self._dump(content), with_id=session._id is not None), True
        try:
            body = self._dump(content)
        except SerializationError:
            # What another writer sealed, and nobody changed, goes out as it came, even where this serializer refuses it.
            if not is_same(content, self._read(origin.body)):
                raise
            return *self._unchanged(origin, session), False
        # Where the bytes differ the content may not: another writer's spacing is no change.
        if body != origin.body and self._differs(content, origin):
            return *self._shaped(body, with_id=session._id is not None), True
        return *self._unchanged(origin, session), False

    def _differs(self, content: dict[str, Any], origin: Origin) -> bool:
        """Whether content that was written is another one than came."""
        before = self._read(origin.body)
        if isinstance(self.serializer, StrictJSON) and content != before:  # it is plain: nothing of the application's is called
            return True
        return not is_same(content, before)

    def _shaped(self, body: bytes, *, with_id: bool) -> tuple[bytes, bool]:
        """A body as it is sealed, deflated or padded where that is asked for; and whether it is deflated."""
        if self.compress:
            deflated = deflate(body)
            return (body, False) if deflated is None else (deflated, True)
        if self.pad_to is not None:
            beside = ID_BYTES if with_id else 0  # it is part of the class: the length does not tell whether there is one
            filled = body or b"{}"
            room = self._room - beside
            if len(filled) <= room:  # filling never makes a session too large: at the limit, the limit is the class
                wanted = -(-(beside + len(filled)) // self.pad_to) * self.pad_to - beside
                return filled.ljust(min(wanted, room)), False
        return body, False

    def _unchanged(self, origin: Origin, session: Session) -> tuple[bytes, bool]:
        """The body of content that was opened and not changed: as it came, but for the padding."""
        if origin.key_id is None:
            return self._shaped(origin.body, with_id=session._id is not None)
        if self.pad_to is None or self._size_of(len(origin.body), with_id=session._id is not None) > self.max_size:
            return origin.raw, origin.deflated
        return self._shaped(origin.body, with_id=session._id is not None)

    def _size_of(self, body_bytes: int, *, with_id: bool) -> int:
        return self._name_size + token_chars(body_bytes, with_id=with_id)

    def _measure(self, session: Session) -> int:
        """What ``max_size`` is compared with, if the session were sealed now."""
        return self._size_of(len(self._write(session)[0]), with_id=session._id is not None)

    def _seal(self, sealed: Sealed, now: int, bound: BoundRing, content: Mapping[str, Any]) -> str:
        """The token of a session.

        Args:
            sealed: what is inside; it ends no later than the lifetime allows.
            now: milliseconds since 1970.
            bound: the keys.
            content: what the body was made of, for the message of an error.

        Raises:
            ExpiredTokenError: its time is over.
            SessionTooLargeError: it would be too long.
        """
        expires = self._lifetime.capped(sealed.created, sealed.expires)
        if expires <= now:
            raise ExpiredTokenError
        if expires != sealed.expires:
            sealed = sealed._replace(expires=expires)
        with_id = sealed.id is not None
        if len(sealed.body) + with_id * ID_BYTES > self._room:
            size = self._size_of(len(sealed.body), with_id=with_id)
            raise SessionTooLargeError(self._title, size, self.max_size, self._largest_keys(content))
        key = bound.sealing
        nonce = key.cipher.nonce()
        return Frame(key.header, nonce, key.cipher.seal(nonce, sealed.pack(), key.aad)).text()

    def _largest_keys(self, content: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
        sizes = []
        for key, value in dict(content).items():
            try:
                sizes.append((shown_key(key), len(self._dump({key: value})) - len(b"{}")))
            except SerializationError:
                continue  # opened from another writer and unchanged; the others are measured
        return tuple(sorted(sizes, key=lambda entry: -entry[1])[:_LARGEST_KEYS_SHOWN])

    @property
    def _name_size(self) -> int:
        """What of ``max_size`` the name takes."""
        return 0
