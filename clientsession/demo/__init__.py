"""The shop that ``clientsession demo`` serves: what the library does, seen from both sides of the cookie."""

from clientsession.demo.app import Shop, make_app
from clientsession.demo.server import make_server, serve

__all__ = ["Shop", "make_app", "make_server", "serve"]
