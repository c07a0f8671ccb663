"""Codec: a session into a token and back, with its times, under a ring of keys.

It knows tokens, keys, lifetimes and the serializer, and nothing of cookies or requests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import EllipsisType
from typing import Any, ClassVar, Final

from clientsession._ciphers import Suite
from clientsession._immutable import Immutable
from clientsession._json import Serializer, StrictJSON, has_room, is_same, shown_key
from clientsession._keyring import BoundRing, Keyring
from clientsession._keys import BoundKey
from clientsession._migration import OldSession
from clientsession._session import DEFAULT_DURATION, MAX_DURATION, Lifetime, Origin, Session, check_duration, read_clock
from clientsession._token import (
    ID_BYTES,
    NONCE_BYTES,
    Frame,
    Sealed,
    deflate,
    inflate,
    parse,
    room_for_body,
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


NOT_A_KEYRING: Final = "the keyring must be a Keyring: write Keyring(key)"


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
    _bound: BoundRing

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
        if not isinstance(keyring, Keyring):
            del keyring  # whatever it is may be a secret, and no frame of this traceback shows it
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
            _bound=keyring._snapshot()._bind(self.kind, name, audience),
        )

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
        if not isinstance(data, Mapping):
            raise TypeError(f"a codec seals a dict, not {type(data).__name__}")
        now = read_clock(self.clock)
        if isinstance(data, Session) and data._origin is not None and data._origin.scope == self._scope:
            session = data
        else:
            session = self._new(dict(data), now)
        expires = session._expires
        if duration is not None and expires > now:  # the dead stay dead
            expires = now + check_duration("duration", duration)
        body, deflated, _ = self._write(session)
        return self._seal(session, expires, body, deflated, now, self._bind(self.keyring._snapshot()))

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
        frame, key = self._find(token, self._bind(self.keyring._snapshot()))
        return self._open(frame, key, self._lifetime, lambda: read_clock(self.clock))

    # For jars, in this package: the steps of both

    def _new(self, content: dict[str, Any], now: int) -> Session:
        session = Session.new(self._lifetime, lambda: now, measure=self._measure, limit=self.max_size)
        session.update(content)
        return session

    def _bind(self, ring: Keyring) -> BoundRing:
        """The keys of a snapshot of the ring, as this codec uses them; kept until the ring is another."""
        bound = self._bound
        if bound.ring is not ring:
            bound = ring._bind(*self._scope)
            self._freeze(_bound=bound)
        return bound

    def _find(self, token: str, bound: BoundRing) -> tuple[Frame, BoundKey]:
        """The frame of a token and the key it names; nothing is decrypted.

        Raises:
            MalformedTokenError: not the form of a token, or of a suite this version does not know.
            UnknownKeyError: no key of the ring has this id.
        """
        frame = parse(token, self.max_size - self._name_size)
        key = bound.keys.get(frame.header)
        if key is None:
            raise UnknownKeyError(3) if frame.header[0] in _SUITES else MalformedTokenError(2)
        return frame, key

    def _is_own(self, value: str, bound: BoundRing | None = None) -> bool:
        """Whether a text has the form of a token of this version, whoever sealed it; given keys, one that names one of them."""
        try:
            header = parse(value, self.max_size - self._name_size).header
        except MalformedTokenError:
            return False
        return header[0] in _SUITES if bound is None else header in bound.keys

    def _adopted(self, old: OldSession, lifetime: Lifetime, clock: Callable[[], int]) -> Session | TokenError:
        """The session another system left, with its times; an error where it is over here, of the future, or no plain JSON."""
        now = clock()
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
        return Session(
            old.content,
            lifetime=lifetime,
            clock=clock,
            measure=self._measure,
            limit=self.max_size,
            created=created,
            expires=expires,
            id=None,
            ephemeral=lifetime.ephemeral,
            origin=Origin(self._scope, None, None, body, body, deflated=False),
        )

    def _open(self, frame: Frame, key: BoundKey, lifetime: Lifetime, clock: Callable[[], int]) -> Session:
        """Open a frame with the key it names.

        Raises:
            TokenError: see :meth:`decode`.
        """
        opened = self._opened(frame, key, lifetime, clock)
        if isinstance(opened, Session):
            return opened
        raise opened

    def _opened(self, frame: Frame, key: BoundKey, lifetime: Lifetime, clock: Callable[[], int]) -> Session | TokenError:
        """The session, or the error to raise: the frames in which the content stands are then not part of its traceback."""
        plaintext = key.cipher.open(frame.nonce, frame.ciphertext, key.aad)
        if plaintext is None:
            return ForgedTokenError(4)
        sealed = unpack(plaintext)
        if sealed is None:
            return MalformedTokenError(5)
        if sealed.expires < sealed.created:
            return MalformedTokenError(6)
        now = clock()
        if sealed.created > now + _MAX_SKEW_MS:
            return FutureTokenError(7)
        expires = lifetime.capped(sealed.created, sealed.expires)
        if expires <= now:
            return ExpiredTokenError(8)
        body = inflate(sealed.body) if sealed.deflated else sealed.body
        content = None if body is None else self._read(body)
        if body is None or content is None:
            return MalformedTokenError(9)
        if self.pad_to is not None:
            body = body.rstrip(b" ")  # so that what is compared in the end is the content
        return Session(
            content,
            lifetime=lifetime,
            clock=clock,
            measure=self._measure,
            limit=self.max_size,
            created=sealed.created,
            expires=expires,
            id=sealed.id,
            ephemeral=sealed.ephemeral,
            origin=Origin(self._scope, key.key_id, sealed.id, body, sealed.body, sealed.deflated),
        )

    @property
    def _scope(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.audience

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
            return *self._shaped(self._dump(content), session), True
        try:
            body = self._dump(content)
        except SerializationError:
            # What another writer sealed, and nobody changed, goes out as it came, even where this serializer refuses it.
            if not is_same(content, self._read(origin.body)):
                raise
            return *self._unchanged(origin, session), False
        # Where the bytes differ the content may not: another writer's spacing is no change.
        if body != origin.body and not is_same(content, self._read(origin.body)):
            return *self._shaped(body, session), True
        return *self._unchanged(origin, session), False

    def _shaped(self, body: bytes, session: Session) -> tuple[bytes, bool]:
        """A body as it is sealed, deflated or padded where that is asked for; and whether it is deflated."""
        if self.compress:
            deflated = deflate(body)
            return (body, False) if deflated is None else (deflated, True)
        if self.pad_to is not None:
            with_id = session._id is not None
            beside = ID_BYTES if with_id else 0  # it is part of the class: the length does not tell whether there is one
            filled = body or b"{}"
            room = room_for_body(self.max_size - self._name_size, with_id=with_id)
            if len(filled) <= room:  # filling never makes a session too large: at the limit, the limit is the class
                wanted = -(-(beside + len(filled)) // self.pad_to) * self.pad_to - beside
                return filled.ljust(min(wanted, room)), False
        return body, False

    def _unchanged(self, origin: Origin, session: Session) -> tuple[bytes, bool]:
        """The body of content that was opened and not changed: as it came, but for the padding."""
        if origin.key_id is None:
            return self._shaped(origin.body, session)
        if self.pad_to is None or self._size_of(len(origin.body), session) > self.max_size:
            return origin.raw, origin.deflated
        return self._shaped(origin.body, session)

    def _size_of(self, body_bytes: int, session: Session) -> int:
        return self._name_size + token_chars(body_bytes, with_id=session._id is not None)

    def _measure(self, session: Session) -> int:
        """What ``max_size`` is compared with, if the session were sealed now."""
        return self._size_of(len(self._write(session)[0]), session)

    def _seal(self, session: Session, expires: int, body: bytes, deflated: bool, now: int, bound: BoundRing) -> str:
        """The token of a session.

        Raises:
            ExpiredTokenError: its time is over.
            SessionTooLargeError: it would be too long.
        """
        expires = self._lifetime.capped(session._created, expires)
        if expires <= now:
            raise ExpiredTokenError
        size = self._size_of(len(body), session)
        if size > self.max_size:
            raise SessionTooLargeError(self._title, size, self.max_size, self._largest_keys(session))
        plaintext = Sealed(session._created, expires, session._id, session._ephemeral, deflated, body).pack()
        key = bound.sealing
        nonce = os.urandom(NONCE_BYTES)
        return Frame(key.header, nonce, key.cipher.seal(nonce, plaintext, key.aad)).text()

    def _largest_keys(self, session: Session) -> tuple[tuple[str, int], ...]:
        sizes = []
        for key, value in dict(session).items():
            try:
                sizes.append((shown_key(key), len(self._dump({key: value})) - len(b"{}")))
            except SerializationError:
                continue  # opened from another writer and unchanged; the others are measured
        return tuple(sorted(sizes, key=lambda entry: -entry[1])[:_LARGEST_KEYS_SHOWN])

    @property
    def _name_size(self) -> int:
        """What of ``max_size`` the name takes."""
        return 0
