"""Real servers for the shop, on free ports of this computer: waitress, gunicorn of two kinds, uWSGI, and nginx in front of each.

Their sockets listen before they are started: what connects too early waits in the queue, and nobody waits for a server.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
import waitress
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clientsession import Jar, Key, Keyring
from tests.shop import jars, shop_of

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide" / "behind-a-proxy.md"
DEADLINE_SECONDS = 30.0  # for a server to start, to answer, to end
RING = Keyring(Key.generate())
APPLICATION = "tests.shop:shop_from_env()"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
UWSGI = Path(sys.executable).with_name("uwsgi")  # it has this Python built in, so none that is found elsewhere will do
SERVERS = ("waitress", "gunicorn", "gthread", "uwsgi")
FRONT_ENDS = (*(f"nginx {name}" for name in SERVERS), "nginx uwsgi_pass")


def give_up(reason: str) -> NoReturn:
    """Skip; but fail in CI, which must not pass for want of a server."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


# ---------------------------------------------------------------------------------------------------------------------
# A running server, and who talks to it
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A running server."""

    name: str
    port: int
    certificate: Path | None = None
    """Of a front end, which speaks TLS."""
    log: Path | None = None
    uwsgi_port: int = 0
    """Where uWSGI speaks its own protocol."""

    @property
    def url(self) -> str:
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def jars(self) -> tuple[Jar, Jar]:
        """Those of the shop as it is seen here."""
        return jars(RING, secure=self.certificate is not None)

    def cookie(self, content: dict[str, Any], jar: int = 0) -> str:
        """A cookie with a session in it, as a browser sends it."""
        return f"{self.jars[jar].cookie_name}={self.jars[jar].codec.encode(content)}"

    def tls(self) -> ssl.SSLContext:
        """One for each use, since HTTP clients set their protocols in it."""
        assert self.certificate is not None
        return ssl.create_default_context(cafile=self.certificate)

    def browser(self) -> httpx.Client:
        """A client that keeps cookies; of a front end by HTTP/2."""
        secure = self.certificate is not None
        return httpx.Client(
            base_url=self.url,
            # uWSGI closes a connection without saying so beforehand, and the next request would run into that.
            headers={"Connection": "close"} if self.name == "uwsgi" else {},
            timeout=DEADLINE_SECONDS,
            trust_env=False,
            follow_redirects=True,
            http2=secure,
            verify=self.tls() if secure else False,
        )

    def connect(self) -> socket.socket:
        """A connection for HTTP/1.1."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)
        if self.certificate is None:
            return connection
        return self.tls().wrap_socket(connection, server_hostname="127.0.0.1")

    def send_raw(self, *cookie_lines: bytes, path: bytes = b"/me") -> tuple[int, Any]:
        """A request with Cookie lines as they are, since HTTP clients refuse some; gives the status and the JSON."""
        with self.connect() as connection:
            connection.sendall(raw_request(*cookie_lines, path=path))
            return raw_response(connection)


def raw_request(*cookie_lines: bytes, path: bytes = b"/me") -> bytes:
    lines = [b"GET %s HTTP/1.1" % path, b"Host: 127.0.0.1", b"Connection: close", *(b"Cookie: " + line for line in cookie_lines)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def raw_response(connection: socket.socket) -> tuple[int, Any]:
    """The status and the body; 0 where the server closed the connection without a word."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:  # it had not read all of the request
        pass
    if not received:
        return 0, b""
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body) if b"application/json" in head else body


# ---------------------------------------------------------------------------------------------------------------------
# The servers
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def run_waitress(application: Callable[..., Any] | None = None) -> Iterator[Site]:
    """waitress with the shop, or with another application, in a thread of this process."""
    sockets: dict[int, Any] = {}
    server = waitress.create_server(
        shop_of(RING) if application is None else application,
        sockets,
        host="127.0.0.1",
        port=0,
        threads=8,
        trusted_proxy="127.0.0.1",
        trusted_proxy_headers={"x-forwarded-proto"},
        clear_untrusted_proxy_headers=True,
    )
    loop = threading.Thread(target=server.run)
    loop.start()
    try:
        yield Site("waitress", int(server.effective_port))
    finally:
        # First the threads that work, then the loop: from within, since it selects on what is to be closed.
        server.task_dispatcher.shutdown()
        server.trigger.pull_trigger(lambda: server.asyncore.close_all(sockets))
        loop.join(DEADLINE_SECONDS)
    assert not loop.is_alive()


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener


@contextmanager
def process(command: Sequence[str | Path], log: Path, *listeners: socket.socket, **environment: str) -> Iterator[None]:
    """A server of its own; it has the listening sockets, and we have them no more: where it could not start, connecting fails."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            pass_fds=[listener.fileno() for listener in listeners],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            for listener in listeners:
                listener.close()
            yield
        finally:
            os.kill(server.pid, signal.SIGTERM)
            try:
                code = server.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                os.kill(server.pid, signal.SIGKILL)
                code = server.wait(DEADLINE_SECONDS)
    assert code == 0, log.read_text(encoding="utf-8", errors="replace")


def python_environment(folder: Path) -> dict[str, str]:
    return {"CLIENTSESSION_KEY": RING.sealing.export(), "HOME": str(folder), "PYTHONWARNINGS": "ignore"}


def check_log(log: Path, *, started: str) -> None:
    """The log of a server with two workers: none had to be started anew, and nothing was raised that the shop was not asked for."""
    text = log.read_text(encoding="utf-8", errors="replace")
    assert len(re.findall(started, text)) <= 2, text
    asked_for = re.findall(r"^(?:tests\.shop\.Mishap|clientsession\.errors\.SessionTooLargeError): ", text, re.MULTILINE)
    assert text.count("Traceback") == len(asked_for), text


@contextmanager
def run_gunicorn(folder: Path, worker: str) -> Iterator[Site]:
    if not hasattr(os, "fork"):
        pytest.skip("gunicorn needs fork")
    config, log = folder / "gunicorn.conf.py", folder / "gunicorn.log"
    settings = f"workers = 2; worker_class = {worker!r}; threads = {4 if worker == 'gthread' else 1}; graceful_timeout = 2"
    config.write_text(f"{settings}; control_socket_disable = True", encoding="ascii")  # what a version does not know, it passes by
    with listening() as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--config", config, "--bind", f"fd://{listener.fileno()}", "--chdir", ROOT]
        with process([*command, APPLICATION], log, listener, **python_environment(folder)):
            yield Site("gunicorn" if worker == "sync" else worker, port, log=log)
    check_log(log, started="Booting worker with pid")


def check_uwsgi() -> None:
    if not UWSGI.exists():
        pytest.skip("the extra 'servers' is not installed")
    built_in = subprocess.run([UWSGI, "--python-version"], capture_output=True, text=True, check=True, timeout=DEADLINE_SECONDS)
    if built_in.stdout.strip() != platform.python_version():  # pip keeps what it built, for any Python of that minor version
        give_up("uWSGI was built for another Python: pip install --force-reinstall pyuwsgi")


@contextmanager
def run_uwsgi(folder: Path, settings: Sequence[str] | None = None) -> Iterator[Site]:
    """uWSGI, with HTTP on one port and its own protocol on another; with the guide's setting, or others."""
    check_uwsgi()
    log = folder / "uwsgi.log"
    settings = guide_settings("buffer-size") if settings is None else settings
    with listening() as http, listening() as uwsgi:
        site = Site("uwsgi", http.getsockname()[1], log=log, uwsgi_port=uwsgi.getsockname()[1])
        command: list[str | Path] = [UWSGI, "--master", "--processes", "2", "--need-app", "--die-on-term", "--disable-logging"]
        command += ["--virtualenv", sys.prefix] if sys.prefix != sys.base_prefix else []
        command += ["--pythonpath", ROOT, "--module", APPLICATION, *(f"--{setting}" for setting in settings)]
        command += ["--http-socket", f"fd://{http.fileno()}", "--socket", f"fd://{uwsgi.fileno()}"]
        with process(command, log, http, uwsgi, **python_environment(folder)):
            yield site
    check_log(log, started="spawned uWSGI worker")


def guide_settings(first: str) -> list[str]:
    """The settings that the guide tells: those of nginx from the block that begins with ``first``, or the one of uWSGI."""
    text = GUIDE.read_text(encoding="utf-8")
    if first == "buffer-size":
        return re.findall(r"`(buffer-size = \d+)`", text)[0].replace(" ", "").split()
    [block] = re.findall(rf"^```nginx\n({first}.*?)^```", text, re.MULTILINE | re.DOTALL)
    return block.splitlines()


# ---------------------------------------------------------------------------------------------------------------------
# The front end
# ---------------------------------------------------------------------------------------------------------------------

NGINX_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log {log} info;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; uwsgi_temp_path uwsgi; fastcgi_temp_path fastcgi; scgi_temp_path scgi;
    server {{
        {listen}
        {settings}
        location / {{
            {behind}
        }}
    }}
}}
"""
PROXY_PASS = """
            proxy_pass http://127.0.0.1:{port};
            proxy_set_header Host $http_host;
"""
UWSGI_PASS = """
            uwsgi_pass 127.0.0.1:{port};
            uwsgi_param REQUEST_METHOD $request_method;
            uwsgi_param REQUEST_URI $request_uri;
            uwsgi_param PATH_INFO $document_uri;
            uwsgi_param QUERY_STRING $query_string;
            uwsgi_param CONTENT_TYPE $content_type;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_param SERVER_PROTOCOL $server_protocol;
            uwsgi_param REMOTE_ADDR $remote_addr;
            uwsgi_param SERVER_NAME $server_name;
            uwsgi_param SERVER_PORT $server_port;
"""


def nginx_version() -> tuple[int, ...]:
    if NGINX is None:
        give_up("nginx is not installed")
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True, timeout=DEADLINE_SECONDS).stderr
    return tuple(map(int, re.findall(r"nginx/(\d+)\.(\d+)\.(\d+)", said)[0]))


@contextmanager
def run_nginx(
    folder: Path,
    site: Site,
    *,
    uwsgi_pass: bool = False,
    tls: bool = True,
    settings: Sequence[str] | None = None,
    tells_scheme: bool = True,
) -> Iterator[Site]:
    """nginx with TLS and HTTP/2 in front of a server; with the guide's settings, or others."""
    version = nginx_version()
    module, port = ("uwsgi", site.uwsgi_port) if uwsgi_pass else ("proxy", site.port)
    behind = [(UWSGI_PASS if uwsgi_pass else PROXY_PASS).format(port=port)]
    if tells_scheme:
        behind.append(guide_line("uwsgi_param " if uwsgi_pass else "proxy_set_header X-Forwarded-Proto"))
    settings = guide_settings("proxy_buffer_size") if settings is None else settings
    config, log, pem = folder / "nginx.conf", folder / "error.log", certificate(folder) if tls else None
    with listening() as listener:
        listen = [f"listen 127.0.0.1:{listener.getsockname()[1]}{' ssl' if tls else ''};"]
        if tls:
            listen += [f"ssl_certificate {pem};", f"ssl_certificate_key {pem};", "http2 on;"]
            if version < (1, 25, 1):
                listen = [listen[0].replace(" ssl", " ssl http2"), *listen[1:-1]]
        config.write_text(
            NGINX_CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",  # else its workers could not read our folders
                log=log,
                listen=" ".join(listen),
                settings=" ".join(settings).replace("proxy_", f"{module}_"),
                behind=" ".join(behind),
            ),
            encoding="ascii",
        )
        assert NGINX is not None
        front = Site(f"nginx {module}_pass" if uwsgi_pass else f"nginx {site.name}", listener.getsockname()[1], pem, log)
        # The way in which it hands its sockets to its successor.
        with process([NGINX, "-p", folder, "-c", config, "-e", log], folder / "output", listener, NGINX=f"{listener.fileno()};"):
            yield front
    text = log.read_text(encoding="utf-8", errors="replace")
    assert not re.search(r"\[(?:alert|emerg|crit)\]", text), text


def guide_line(start: str) -> str:
    """What the guide says in a line of a table, and begins so."""
    return re.findall(rf"`({re.escape(start)}[^`]*;)`", GUIDE.read_text(encoding="utf-8"))[0]


def certificate(folder: Path) -> Path:
    """A certificate for this computer and shop.test, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.test")])
    names = x509.SubjectAlternativeName([x509.DNSName("shop.test"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return pem


# ---------------------------------------------------------------------------------------------------------------------
# All of them
# ---------------------------------------------------------------------------------------------------------------------


class Servers:
    """Each server is started when it is first asked for, and all are ended together."""

    def __init__(self, stack: ExitStack, new_folder: Callable[[str], Path]) -> None:
        self._stack = stack
        self._new_folder = new_folder
        self._sites: dict[str, Site] = {}

    def __getitem__(self, name: str) -> Site:
        if name not in self._sites:
            self._sites[name] = self._stack.enter_context(self._start(name))
        return self._sites[name]

    def _start(self, name: str) -> Any:
        folder = self._new_folder(name.replace(" ", "-"))
        match name.split(" "):
            case ["waitress"]:
                return run_waitress()
            case ["uwsgi"]:
                return run_uwsgi(folder)
            case ["nginx", behind]:
                nginx_version()  # before what is behind it
                uwsgi_pass = behind == "uwsgi_pass"
                return run_nginx(folder, self["uwsgi" if uwsgi_pass else behind], uwsgi_pass=uwsgi_pass)
            case _:
                return run_gunicorn(folder, "gthread" if name == "gthread" else "sync")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, tmp_path_factory.mktemp)


class Witness:
    """Hears from the shop how far it is, and lets it go on."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def hears(self, expected: str) -> None:
        said, self._shop = self._socket.recvfrom(1000)
        assert said.decode("ascii") == expected

    def lets_go_on(self) -> None:
        self._socket.sendto(b"go on", self._shop)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture
def browsers(site: Site) -> Iterator[Callable[[], httpx.Client]]:
    """Makes HTTP clients of the test's ``site``, each with cookies of its own, and closes them."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(site.browser())


@pytest.fixture
def browser(browsers: Callable[[], httpx.Client]) -> httpx.Client:
    return browsers()
