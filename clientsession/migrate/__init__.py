"""Readers for the cookies of other systems: ``Jar("session", ring, migrate_from=[migrate.flask(secret_key=…)])``.

Each authenticates a cookie before it looks at anything in it, and tells only whether it is of its form and in time.
"""

from clientsession._migration import OldSession as OldSession
from clientsession._migration import Reader as Reader
