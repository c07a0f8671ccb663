"""Sessions of Pyramid's ``SignedCookieSessionFactory``, with its ``JSONSerializer``.

The form, base64url of ``signature || [accessed, created, content]``, is read from the source of Pyramid 1.10 to 2.1, and of WebOb
1.8, which signs for it.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any, Final

from clientsession._migration import OldSession, Reader
from clientsession._token import MAX_TIME_MS, decode_base64url
from clientsession.migrate._forms import Macs, Secrets, as_ascii, bytes_of, check_digest, milliseconds_of, old_session, parse_json

_TIMEOUT: Final = timedelta(seconds=1200)  # Pyramid's default


def pyramid_signed(
    secret: str | bytes,
    *,
    salt: str | bytes = "pyramid.session.",
    hashalg: str = "sha512",
    cookie_name: str = "session",
    timeout: timedelta | None = _TIMEOUT,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """A reader of the sessions of Pyramid's ``SignedCookieSessionFactory`` with a ``JSONSerializer``, as by default in Pyramid 2.

    A session keeps when it was created, and ends ``timeout`` after its cookie was last issued, as in Pyramid. What made Pyramid
    issue it anew (``reissue_time``) is for the jar from here on: an ``active_duration`` of the length of ``timeout`` does that.
    The content is what ``request.session`` held, flash messages and ``_csrft_`` included. A pickled session is refused, and never
    unpickled.

    Args:
        secret: the factory's.
        salt: likewise.
        hashalg: likewise, the name of a hash function.
        cookie_name: likewise.
        timeout: likewise, 1 second to 100 years. None: no end, but then ``until`` is needed.
        path: likewise.
        domain: likewise.
        until: from then on nothing is read.

    Raises:
        ConfigurationError: an argument out of range; no message shows a secret.
        TypeError: ``timeout`` is no ``timedelta``.
    """
    # WebOb encodes salt and secret as Latin-1, unless one of them has other letters.
    is_latin = all(not isinstance(text, str) or max(text, default="") <= "\xff" for text in (secret, salt))
    encoding = "latin-1" if is_latin else "utf-8"
    secrets = Secrets(secret, name="secret", encoding=encoding)
    del secret  # so that no frame of a traceback shows it
    return _PyramidReader(
        secrets,
        salt=bytes_of("salt", salt, encoding=encoding),
        hashalg=hashalg,
        cookie_name=cookie_name,
        timeout=timeout,
        path=path,
        domain=domain,
        until=until,
    )


class _PyramidReader(Reader):
    """Verifies a signature that stands before the JSON it is of."""

    may_look_like_ours = True  # base64url from end to end, and its first byte is one of a signature: any
    _macs: Macs
    _digest_bytes: int
    _timeout: int | None

    def __init__(
        self,
        secrets: Secrets,
        *,
        salt: bytes,
        hashalg: str,
        cookie_name: str,
        timeout: timedelta | None,
        path: str,
        domain: str | None,
        until: datetime | None,
    ) -> None:
        super().__init__(cookie_name, path=path, domain=domain, until=until)
        secrets.check()
        check_digest("hashalg", hashalg)
        limit = milliseconds_of("timeout", timeout, until)
        self._freeze(
            _macs=Macs((salt + secret for secret in secrets.values), hashalg),
            _digest_bytes=hashlib.new(hashalg).digest_size,
            _timeout=limit,
        )

    def read(self, value: str, now: int) -> OldSession | None:
        raw = as_ascii(value)
        data = None if raw is None else decode_base64url(value)
        if data is None:
            return None
        signature, body = data[: self._digest_bytes], data[self._digest_bytes :]
        if not any(hmac.compare_digest(mac, signature) for mac in self._macs.of(body)):
            return None
        state = parse_json(body)
        if not isinstance(state, list) or len(state) != 3:
            return None
        issued, created = _time_of(state[0]), _time_of(state[1])
        if issued is None or created is None:
            return None
        expires = None if self._timeout is None else issued + self._timeout
        return old_session(state[2], created=created, expires=expires, now=now)


def _time_of(seconds: Any) -> int | None:
    """The milliseconds of a time as Pyramid writes it, an int or a float; None for anything else, or beyond any clock."""
    if type(seconds) not in (int, float) or not 0 <= seconds <= MAX_TIME_MS // 1000:
        return None
    return int(seconds * 1000)
