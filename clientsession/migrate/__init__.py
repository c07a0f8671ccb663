"""Readers for the cookies of other systems: ``Jar("session", ring, migrate_from=[migrate.flask(secret_key=…)])``.

Each authenticates a cookie before it looks at anything in it, and tells only whether it is of its form and in time.
"""

from clientsession._migration import OldSession, Reader
from clientsession.migrate.django import django_signed_cookies
from clientsession.migrate.encrypted import aiohttp_session, fernet, litestar
from clientsession.migrate.iron import IronSession, iron_session
from clientsession.migrate.node import NodeClientSessions, node_client_sessions
from clientsession.migrate.pyramid import pyramid_signed
from clientsession.migrate.rails import rails
from clientsession.migrate.signed import flask, itsdangerous_timed, starlette

__all__ = [
    "IronSession",
    "NodeClientSessions",
    "OldSession",
    "Reader",
    "aiohttp_session",
    "django_signed_cookies",
    "fernet",
    "flask",
    "iron_session",
    "itsdangerous_timed",
    "litestar",
    "node_client_sessions",
    "pyramid_signed",
    "rails",
    "starlette",
]
