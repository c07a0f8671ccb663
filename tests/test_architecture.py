"""The shape of the package: imports point one way, the public names are exact, nothing drags a framework in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clientsession
import clientsession.wsgi

PACKAGE = Path(clientsession.__file__).parent

# A module may import those of earlier rows alone.
LAYERS = [
    {"errors", "_immutable"},
    {"_ciphers", "_token", "_json", "_session", "_cookies"},
    {"_keys", "_events"},
    {"_migration"},
    {"_keyfile"},
    {"_keyring"},
    {"_codec"},
    {"_jar"},
    {"_header"},
    {"_sessions"},
    {""},  # the package itself: clientsession/__init__.py
    {"wsgi", "metrics", "migrate", "serializers"},
    {"demo", "commands"},
    {"__main__"},
]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports_of(path: Path) -> set[str]:
    """The absolute names a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(name: str) -> str | None:
    """The module of this package a name is of, or None."""
    parts = name.split(".")
    if parts[0] != "clientsession":
        return None
    return parts[1] if len(parts) > 1 and any(parts[1] in layer for layer in LAYERS) else ""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    module = module_of(path)
    (level,) = [index for index, layer in enumerate(LAYERS) if module in layer]
    allowed = set().union(*LAYERS[:level])
    imported = {name for name in map(own, imports_of(path)) if name is not None and name != module}
    assert imported <= allowed


def test_the_layers_name_every_module() -> None:
    assert {module_of(path) for path in PACKAGE.rglob("*.py")} == set().union(*LAYERS)


@pytest.mark.parametrize(
    ("distribution", "only"),
    [
        ("webob", {"wsgi", "demo"}),
        ("nacl", {"_ciphers", "_keys"}),
        ("cryptography", {"_ciphers", "_keys", "migrate"}),
        ("json", {"_json", "demo", "commands", "migrate"}),
        ("prometheus_client", {"metrics"}),
        ("msgspec", {"serializers"}),
    ],
)
def test_a_dependency_is_imported_where_it_belongs(distribution: str, only: set[str]) -> None:
    users = {
        module_of(path) for path in PACKAGE.rglob("*.py") if any(name.split(".")[0] == distribution for name in imports_of(path))
    }
    assert users <= only
    assert users & only


def run(code: str, *options: str) -> str:
    result = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_codec_and_jar_work_with_no_framework_imported() -> None:
    output = run(
        "import sys\n"
        "from clientsession import Codec, Jar, Key, Keyring, Sessions\n"
        "ring = Keyring(Key.generate())\n"
        "codec = Codec(ring, 'invite')\n"
        "assert codec.decode(codec.encode({'a': 1})) == {'a': 1}\n"
        "jar = Jar('session', ring)\n"
        "sessions = Sessions([jar], None)\n"
        "sessions['session']['user'] = 7\n"
        "cookie = sessions.commit()[0].split(';')[0]\n"
        "assert Sessions([jar], cookie)['session'] == {'user': 7}\n"
        "known = {'webob', 'wsgiref', 'http', 'flask', 'django', 'starlette', 'clientsession.wsgi', 'clientsession.demo'}\n"
        "print(sorted(known & set(sys.modules)))\n"
    )
    assert output.strip() == "[]"


def test_importing_configures_no_logging_and_warns_of_nothing() -> None:
    code = (
        "import logging, clientsession, clientsession.wsgi\n"
        "assert logging.getLogger('clientsession').handlers == []\n"
        "assert logging.getLogger('clientsession').level == 0\n"
        "assert logging.getLogger().handlers == []\n"
    )
    assert run(code, "-W", "error") == ""


def test_the_public_names_are_exact() -> None:
    assert set(clientsession.__all__) == {
        *("Codec", "HeaderJar", "Jar", "Key", "Keyring", "Reason", "Session", "Sessions", "Suite"),
        *("ClientSessionError", "ConfigurationError", "SerializationError", "SessionTooLargeError", "SessionCommittedError"),
        *("TokenError", "MalformedTokenError", "UnknownKeyError", "ForgedTokenError", "ExpiredTokenError", "FutureTokenError"),
    }
    assert len(clientsession.__all__) == len(set(clientsession.__all__))
    for name in clientsession.__all__:
        assert getattr(clientsession, name).__doc__, name
    assert clientsession.wsgi.__all__ == ["SessionMiddleware", "get_sessions"]


# The one place where all errors are caught: what a secret manager's client raises cannot be listed, and must log nobody out.
CATCHES_ALL = {("_keyring.py", "_CallableSource")}


def test_no_security_decision_is_an_assert_and_nothing_is_caught_wholesale() -> None:
    wholesale = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for part in tree.body:
            for node in ast.walk(part):
                assert not isinstance(node, ast.Assert), path
                if isinstance(node, ast.ExceptHandler):
                    assert node.type is not None, path
                    if {"Exception", "BaseException"} & {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}:
                        wholesale.add((path.name, getattr(part, "name", "")))
    assert wholesale == CATCHES_ALL
