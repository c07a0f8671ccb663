"""Encrypted sessions that live in the client's cookie.

The public names. No framework and no adapter is imported here; the WSGI middleware is ``clientsession.wsgi``.
"""

from clientsession._ciphers import Suite
from clientsession._codec import Codec
from clientsession._events import Event as Event  # what an observer takes, for annotations
from clientsession._events import EventKind as EventKind
from clientsession._header import HeaderJar
from clientsession._jar import Jar
from clientsession._json import Serializer as Serializer  # likewise
from clientsession._keyring import Keyring
from clientsession._keys import Key
from clientsession._session import Session
from clientsession._sessions import Sessions
from clientsession.errors import (
    ClientSessionError,
    ConfigurationError,
    ExpiredTokenError,
    ForgedTokenError,
    FutureTokenError,
    MalformedTokenError,
    Reason,
    SerializationError,
    SessionCommittedError,
    SessionTooLargeError,
    TokenError,
    UnknownKeyError,
)

__version__ = "0.1.0"

__all__ = [
    "ClientSessionError",
    "Codec",
    "ConfigurationError",
    "ExpiredTokenError",
    "ForgedTokenError",
    "FutureTokenError",
    "HeaderJar",
    "Jar",
    "Key",
    "Keyring",
    "MalformedTokenError",
    "Reason",
    "SerializationError",
    "Session",
    "SessionCommittedError",
    "SessionTooLargeError",
    "Sessions",
    "Suite",
    "TokenError",
    "UnknownKeyError",
]
