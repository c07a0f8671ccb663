"""Sessions of Django's ``django.contrib.sessions.backends.signed_cookies``, in JSON.

The form, ``payload:time:signature``, is read from the source of Django 3.2 to 6.1: the time is that of the signature, in whole
seconds since 1970, in base 62.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from clientsession._migration import OldSession, Reader
from clientsession._token import encode_base64url
from clientsession.errors import ConfigurationError
from clientsession.migrate._forms import Macs, Secrets, as_ascii, decode_payload, milliseconds_of, old_session, parse_json

_MAX_AGE: Final = timedelta(weeks=2)  # SESSION_COOKIE_AGE's default
_SALT: Final = b"django.contrib.sessions.backends.signed_cookies"
_BASE62: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAX_TIME_CHARS: Final = 8  # in base 62, until long after the year 9999
_EXPIRY: Final = "_session_expiry"  # the key under which set_expiry leaves its word
_LONGEST_EXPIRY_SECONDS: Final = 100 * 366 * 86_400


def django_signed_cookies(
    secret_key: str | bytes,
    *,
    fallbacks: Sequence[str | bytes] = (),
    cookie_name: str = "sessionid",
    max_age: timedelta | None = _MAX_AGE,
    time_zone: tzinfo = UTC,
    path: str = "/",
    domain: str | None = None,
    until: datetime | None = None,
) -> Reader:
    """A reader of the sessions of Django's signed cookies, with the JSON serializer.

    A session began when its cookie was last written, and ends ``max_age`` later, or when ``set_expiry`` said, where that is
    sooner: the first was enforced by the server, the second by the browser. ``set_expiry(0)`` ends nothing sooner: whether the
    browser keeps the new cookie when it closes is for the jar to say (``ephemeral``). The content is what ``request.session``
    held, ``_session_expiry`` and the keys of ``django.contrib.auth`` included. A pickled session is refused, and never unpickled.

    Args:
        secret_key: ``SECRET_KEY``.
        fallbacks: ``SECRET_KEY_FALLBACKS``, at most 16.
        cookie_name: ``SESSION_COOKIE_NAME``.
        max_age: ``SESSION_COOKIE_AGE``, 1 second to 100 years. None: no end, but then ``until`` is needed.
        time_zone: where ``USE_TZ`` is false, ``ZoneInfo(TIME_ZONE)``: what the dates given to ``set_expiry`` are in.
        path: ``SESSION_COOKIE_PATH``.
        domain: ``SESSION_COOKIE_DOMAIN``.
        until: from then on nothing is read.

    Raises:
        ConfigurationError: an argument out of range; no message shows a secret.
        TypeError: ``max_age`` is no ``timedelta``.
    """
    secrets = Secrets(secret_key, fallbacks)
    del secret_key, fallbacks  # so that no frame of a traceback shows them
    return _DjangoReader(
        secrets, cookie_name=cookie_name, max_age=max_age, time_zone=time_zone, path=path, domain=domain, until=until
    )


class _DjangoReader(Reader):
    """Verifies ``payload:time:signature``; the payload is JSON in base64url, and, behind a dot, deflated before that."""

    _macs: Macs
    _max_age: int | None
    _time_zone: tzinfo

    def __init__(
        self,
        secrets: Secrets,
        *,
        cookie_name: str,
        max_age: timedelta | None,
        time_zone: tzinfo,
        path: str,
        domain: str | None,
        until: datetime | None,
    ) -> None:
        super().__init__(cookie_name, path=path, domain=domain, until=until)
        secrets.check()
        if not isinstance(time_zone, tzinfo):
            raise ConfigurationError('time_zone must be a tzinfo: write ZoneInfo("Europe/Paris"), or leave it out')
        age = milliseconds_of("max_age", max_age, until)
        self._freeze(
            # Django derives the key of its HMAC so: django.utils.crypto.salted_hmac.
            _macs=Macs((hashlib.sha256(_SALT + b"signer" + secret).digest() for secret in secrets.values), "sha256"),
            _max_age=age,
            _time_zone=time_zone,
        )

    def read(self, value: str, now: int) -> OldSession | None:
        raw = as_ascii(value)
        if raw is None:
            return None
        signed, _, signature = raw.rpartition(b":")
        # Compared as text, which has one spelling only, not by what it decodes to.
        if not any(hmac.compare_digest(encode_base64url(mac).encode(), signature) for mac in self._macs.of(signed)):
            return None
        payload, _, stamp = signed.rpartition(b":")
        created = _time_of(stamp)
        data = decode_payload(payload)
        content = None if data is None else parse_json(data)
        if created is None or not isinstance(content, dict):
            return None
        ends = [] if self._max_age is None else [created + self._max_age]
        if content.get(_EXPIRY):
            asked = self._asked_end(content[_EXPIRY], created)
            if asked is None:
                return None
            ends.append(asked)
        return old_session(content, created=created, expires=min(ends, default=None), now=now)

    def _asked_end(self, expiry: Any, created: int) -> int | None:
        """When ``set_expiry`` wanted a session to end, in milliseconds; None where Django would not have written that."""
        if isinstance(expiry, (int, float)):  # seconds from when the cookie was written
            return created + int(max(0, min(expiry, _LONGEST_EXPIRY_SECONDS)) * 1000)
        if not isinstance(expiry, str):
            return None
        try:
            moment = datetime.fromisoformat(expiry)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._time_zone)
            return int(moment.timestamp() * 1000)
        except (ValueError, OverflowError):  # no date; or one at an end of the calendar, beyond which its zone has to look
            return None


def _time_of(stamp: bytes) -> int | None:
    """The milliseconds of a time in base 62, or None; one spelling: no zeros before it."""
    if not 1 <= len(stamp) <= _MAX_TIME_CHARS or stamp.startswith(b"0"):
        return None
    seconds = 0
    for char in stamp:
        digit = _BASE62.find(char)
        if digit < 0:
            return None
        seconds = seconds * len(_BASE62) + digit
    return seconds * 1000
