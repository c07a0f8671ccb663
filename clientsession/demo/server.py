"""The demo's server: the standard library's, one thread for each request. For one person at one computer, not for a site."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import socketserver
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from clientsession.demo.app import make_app

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_WAIT_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 30.0  # browsers open connections ahead and may never use them


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the console is for the URL."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each connection, all of them ended when the server is closed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connections: set[Any] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # A thread that waits on a connection a browser never used would hold up the end for as long.
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def server_bind(self) -> None:
        # As HTTPServer's, without its look-up of the host's full name, which may wait for a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a browser hang up without a traceback; tell of anything else."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Server6(_Server):
    address_family = socket.AF_INET6


def make_server(app: WSGIApplication, host: str, port: int) -> WSGIServer:
    """A server that listens and does not serve yet: call ``serve_forever()``, then ``server_close()``.

    Args:
        app: the application.
        host: a name or address.
        port: 0 takes a free one; ``server_port`` tells which.

    Raises:
        OSError: the port is taken, or the address is not of this computer.
        UnicodeError: the host is no host name at all.
    """
    server = (_Server6 if ":" in host else _Server)((host, port))
    server.set_app(app)
    return server


def serve(host: str, port: int) -> int:
    """Serve the shop until Ctrl-C (or SIGTERM).

    Args:
        host: a name or address.
        port: 0 takes a free one.

    Returns:
        The exit code: 0, or 1 where the address cannot be listened on.
    """
    app = make_app()
    try:
        server = make_server(app, host, port)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such host"
        hint = " Take another one, or --port 0 for any." if isinstance(error, OSError) and error.errno == errno.EADDRINUSE else ""
        print(f"clientsession: cannot listen on {host} port {port}: {why}.{hint}", file=sys.stderr)
        return 1
    # Served in a thread of its own: the interrupt then finds this one waiting, and cuts no connection's bookkeeping in two.
    serving = threading.Thread(target=server.serve_forever)
    with server:
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            _announce(host, server.server_port, app.ring.sealing.id)
            serving.start()
            while serving.is_alive():
                time.sleep(_WAIT_SECONDS)  # not join(): interrupted, it may take the thread for ended (CPython 3.11, 3.12)
        if serving.is_alive():
            server.shutdown()
            serving.join()
    print("\nThe shop is closed.")
    return 0


def _announce(host: str, port: int, key_id: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"The demo shop is at http://{shown}:{port}/")
    print(f"Its key {key_id} is fresh and in memory only: it is gone when the shop closes (Ctrl-C).")
    if host not in {"127.0.0.1", "::1", "localhost"}:
        print("Others on the network can open it too. It is plain http, and whoever opens it can turn the key.")
    sys.stdout.flush()
