"""Time and traces: nothing secret is compared in a time that tells of it, one decryption for each candidate, no secret in a frame.

How long the steps take is a report and no test: ``python -m benchmarks sidechannels``.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher

import clientsession
from clientsession import Codec, Jar, Key, Keyring, Reason, Sessions, Suite, TokenError, _ciphers
from tests import reference, test_advisories, test_secrets
from tests.conftest import Clock, forged

PACKAGE = Path(clientsession.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


# Comparison. What must not be compared by ``==``, ``!=``, ``in``, ``startswith`` and their like, which stop at the first byte that
# differs: what is named so,
SECRET_WORDS = {
    *("mac", "macs", "hmac", "tag", "tags", "checksum", "checksums", "signature", "signatures", "digest", "digests", "hash"),
    *("secret", "secrets", "prk", "okm", "subkey", "passphrase", "phrase", "password", "passwords", "plaintext"),
}
# what these functions give,
SECRET_CALLS = frozenset(("digest", "hexdigest", "_checksum", "extract", "expand", "derive", "kdf", "finalize", "decrypt", "open"))
# and whatever is made of either within one function. Of these, no secret byte comes out.
HARMLESS_CALLS = frozenset(("len", "type", "isinstance", "bool", "any", "all", "compare_digest", "id", "set", "callable"))
COMPARING_METHODS = {
    *("startswith", "endswith", "find", "rfind", "index", "rindex", "count", "removeprefix", "removesuffix"),
}

# What the rule finds and may stay, by file and comparison, each with its reason. What goes there must go here, too.
LOCAL = "of a file or a source of the operator's, which no client can time"
START_UP = "of what the operator configures, once, at start-up"
NAME = "the name of an algorithm, or an id, and no bytes made by it"
AUTHENTIC = "of what the seal or the MAC has told authentic; before that, nothing comes here"
ALLOWED = {
    ("_keyfile.py", "identity_of(os.fstat(descriptor)) == identity_of(before)"): LOCAL,
    ("_keyring.py", "digest != self._digest"): LOCAL,
    ("_keyring.py", "digest == self._digest"): LOCAL,
    ("_keys.py", "KEY_PREFIX in phrase[:16]"): START_UP,
    ("_keys.py", "KEY_PREFIX.encode() in secret[:16]"): START_UP,
    ("_token.py", "flags & _DEFLATED != 0"): AUTHENTIC,
    ("_token.py", "flags & _EPHEMERAL != 0"): AUTHENTIC,
    ("migrate/_forms.py", "digest in hashlib.algorithms_guaranteed"): NAME,
    ("migrate/_forms.py", "digest.startswith('shake_')"): NAME,
    ("migrate/_forms.py", "secret.startswith(KEY_PREFIX.encode())"): START_UP,
    ("migrate/iron.py", "password.startswith(KEY_PREFIX)"): START_UP,
    ("migrate/iron.py", "password_id in by_id"): NAME,
    ("migrate/iron.py", "password_id not in self._passwords.by_id"): NAME,
    ("migrate/node.py", "encryption_key == signature_key"): START_UP,
    ("migrate/node.py", "padded.endswith(bytes((count,)) * count)"): AUTHENTIC,
    ("migrate/node.py", "plaintext.startswith(prefix)"): AUTHENTIC,
    ("migrate/node.py", "signature not in _SIGNATURES"): NAME,
    ("migrate/rails.py", "digest not in _DIGESTS"): NAME,
}


def words_of(name: str) -> set[str]:
    return set(name.lower().strip("_").split("_"))


def is_secret(node: ast.AST, tainted: set[str]) -> bool:
    """Whether secret bytes may come out of an expression."""
    match node:
        case ast.Call(func=func):
            called = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
            if called in HARMLESS_CALLS:
                return False
            if called in SECRET_CALLS:
                return True
        case ast.Name(id=name):
            return name in tainted or (bool(words_of(name) & SECRET_WORDS) and not name.isupper())
        case ast.Attribute(attr=name):
            return (bool(words_of(name) & SECRET_WORDS) and not name.isupper()) or is_secret(node.value, tainted)
        case ast.Compare() | ast.Constant() | ast.JoinedStr() | ast.Lambda():
            return False
        case _:
            pass
    return any(is_secret(child, tainted) for child in ast.iter_child_nodes(node))


def names_in(target: ast.AST) -> set[str]:
    """The names that an assignment sets; of ``self.tag``, which is judged by its own name wherever it stands, none."""
    match target:
        case ast.Name(id=name):
            return {name}
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return set().union(*map(names_in, parts))
        case ast.Starred(value=value):
            return names_in(value)
        case _:
            return set()


def tainted_in(function: ast.AST) -> set[str]:
    """The local variables that hold secret bytes, followed from one to the next until no more are found."""
    tainted: set[str] = set()
    while True:
        before = len(tainted)
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=targets, value=value) if is_secret(value, tainted):
                    tainted.update(*map(names_in, targets))
                case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                    tainted |= names_in(target) if is_secret(value, tainted) else set()
                case ast.For(target=target, iter=iterable) | ast.comprehension(target=target, iter=iterable):
                    tainted |= names_in(target) if is_secret(iterable, tainted) else set()
                case _:
                    pass
        if len(tainted) == before:
            return tainted


def is_about_nothing(node: ast.AST) -> bool:
    """None, an empty or a boolean constant: whether there is something at all is no secret."""
    return isinstance(node, ast.Constant) and (node.value in (None, "", b"") or isinstance(node.value, bool))


def comparisons(source: str) -> Iterator[str]:
    """The lines of a source in which secret bytes are compared by something that stops early."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    for function in [tree, *functions]:
        tainted = tainted_in(function) if function is not tree else set()
        for node in ast.walk(function):
            operands: list[ast.AST] = []
            match node:
                case ast.Compare(left=left, ops=ops, comparators=others):
                    if all(isinstance(op, (ast.Eq, ast.NotEq, ast.In, ast.NotIn)) for op in ops):
                        operands = [left, *others]
                case ast.Call(func=ast.Attribute(attr=method, value=value)) if method in COMPARING_METHODS:
                    operands = [value, *node.args]
                case ast.Match(subject=subject):
                    operands = [subject]
                case _:
                    continue
            if any(map(is_secret, operands, [tainted] * len(operands))) and not any(map(is_about_nothing, operands)):
                yield " ".join(ast.unparse(node).splitlines()[0].split())


def found_in(path: Path) -> set[tuple[str, str]]:
    return {(path.relative_to(PACKAGE).as_posix(), line) for line in comparisons(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_secret_is_compared_by_what_stops_at_the_first_difference(path: Path) -> None:
    assert found_in(path) - set(ALLOWED) == set()


def test_what_the_rule_lets_pass_is_there() -> None:
    assert set(ALLOWED) - set().union(*map(found_in, SOURCES)) == set()


@pytest.mark.parametrize(
    "line",
    [
        "return mac == expected",
        "return expected != self._tag",
        "return tag in known_tags",
        "return hmac.new(key, value, 'sha256').digest() == value",
        "a = hmac.digest(key, value, 'sha1')\n    return a[:8] == value",
        "a = hashlib.sha256(value).hexdigest()\n    b = a\n    return value != b",
        "a, b = cipher.finalize(), 1\n    return value == a",
        "for a in macs.of(value):\n        if a == value: return 1",
        "return any(value == each for each in self.signatures)",
        "return value.startswith(self._secret)",
        "return checksum.removeprefix(value)",
        "if (a := _checksum(1, value)) and value in a: return 1",
        "match mac:\n        case value.x: return 1",
    ],
)
def test_the_rule_finds(line: str) -> None:
    assert list(comparisons(f"def f(self, value, key, macs, expected, known_tags):\n    {line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        "return hmac.compare_digest(mac, value)",
        "return len(tag) == 16",
        "return TAG_BYTES == 16",
        "return secret is None or secret == b''",
        "return not hmac.compare_digest(self._mac(value), mac) == True",
        "return value == 'mac'",
        "return type(secret) == bytes",
    ],
)
def test_the_rule_leaves(line: str) -> None:
    assert not list(comparisons(f"def f(self, value, mac, tag, secret):\n    {line}\n"))


def calls_in(tree: ast.AST, *names: str) -> list[tuple[int, str]]:
    """The lines at which functions of these names are called, in order."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in names:
                found.append((node.lineno, called))
    return sorted(found)


def test_what_comes_from_clients_is_told_authentic_by_these_calls_alone() -> None:
    """Each file that does so, and by which call; a new one is to be looked at, and written down here."""
    told: dict[str, set[str]] = {}
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for _, called in calls_in(tree, "compare_digest", "decrypt", "crypto_aead_xchacha20poly1305_ietf_decrypt"):
            told.setdefault(called, set()).add(path.relative_to(PACKAGE).as_posix())
    assert told == {
        "compare_digest": {
            *("_keys.py", "demo/app.py"),
            *(f"migrate/{name}.py" for name in ("django", "iron", "node", "pyramid", "signed")),
        },
        "decrypt": {"_ciphers.py", "migrate/encrypted.py", "migrate/rails.py"},
        "crypto_aead_xchacha20poly1305_ietf_decrypt": {"_ciphers.py"},
    }


def test_these_files_alone_decrypt_without_a_tag_of_the_cipher_s_own() -> None:
    """And so tell by their padding; a new one goes into WITH_CBC, too. Fernet's is the library's own."""
    told: set[str] = set()
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if calls_in(tree, "decryptor", "decrypt_cbc", "Fernet"):
            told.add(path.relative_to(PACKAGE).as_posix())
    assert told == {"migrate/node.py", "migrate/iron.py", "migrate/encrypted.py"}
    assert set(test_advisories.WITH_CBC) == {"client-sessions", "iron-session", "Fernet", "aiohttp_session"}


@pytest.fixture
def decryptions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The mode of each decryption that is begun with a block cipher, Fernet's among them."""
    made: list[str] = []
    original = Cipher.decryptor

    def decryptor(self: Cipher[Any]) -> Any:
        made.append(type(self.mode).__name__)
        return original(self)

    monkeypatch.setattr(Cipher, "decryptor", decryptor)
    return made


@pytest.mark.parametrize("form", test_advisories.WITH_CBC)
def test_padding_is_looked_at_behind_the_mac_alone(form: str, decryptions: list[str]) -> None:
    """What decrypts without a tag of its own tells by its padding; so nothing is decrypted whose MAC is wrong."""
    reader, good, around = test_advisories.WITH_CBC[form]
    assert reader.read(good, test_advisories.NOW) is not None
    assert decryptions == ["CBC"]
    decryptions.clear()
    for value in test_advisories.changed(good):
        assert reader.read(value, test_advisories.NOW) is None
    assert decryptions == []
    for blocks in test_advisories.BAD_PADDINGS:
        assert reader.read(around(blocks), test_advisories.NOW) is None
        assert decryptions == ["CBC"]
        decryptions.clear()


# One decryption for each candidate


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often our ciphers were asked to open something, and how often those below were; each in either suite."""
    counts = {"ours": 0, "below": 0}
    for suite in Suite:
        cipher = type(_ciphers.new_cipher(suite, bytes(32)))

        def opened(self: Any, *args: bytes, original: Any = cipher.open) -> bytes | None:
            counts["ours"] += 1
            return original(self, *args)

        monkeypatch.setattr(cipher, "open", opened)

    class Gcm:
        def __init__(self, key: bytes) -> None:
            self.gcm = aesgcm(key)
            self.encrypt = self.gcm.encrypt

        def decrypt(self, *args: bytes) -> bytes:
            counts["below"] += 1
            return self.gcm.decrypt(*args)

    def decrypted(*args: bytes) -> bytes:
        counts["below"] += 1
        return xchacha(*args)

    aesgcm, xchacha = _ciphers.AESGCM, _ciphers.crypto_aead_xchacha20poly1305_ietf_decrypt
    monkeypatch.setattr(_ciphers, "AESGCM", Gcm)
    monkeypatch.setattr(_ciphers, "crypto_aead_xchacha20poly1305_ietf_decrypt", decrypted)
    return counts


RINGS = (1, 2, 17, 100)


def keys_of(size: int, *suites: Suite, start: int = 0) -> list[Key]:
    """Always the same keys: of some hundred random ones two have one id in one run of 100,000."""
    numbers = range(start, start + size)
    return [Key.from_secret(hashlib.sha256(b"%d" % number).digest(), suite=suite) for suite in suites for number in numbers]


@pytest.mark.parametrize("size", RINGS)
def test_a_token_takes_one_decryption_however_many_keys_there_are(
    suite: Suite, clock: Clock, counted: dict[str, int], size: int
) -> None:
    keys = keys_of(size, *Suite)
    ring = Keyring(keys[0], accepting=keys[1::2], retiring=keys[2::2])
    codec = Codec(ring, "x", clock=clock)
    for key in (keys[0], keys[size - 1], keys[-1]):
        token = Codec(Keyring(key), "x", clock=clock).encode({"a": 1})
        counted.update(ours=0, below=0)
        assert codec.decode(token) == {"a": 1}
        assert counted == {"ours": 1, "below": 1}
        for refused in (forged(token), Codec(Keyring(key), "y", clock=clock).encode({})):
            counted.update(ours=0, below=0)
            with pytest.raises(TokenError) as error:
                codec.decode(refused)
            assert error.value.reason is Reason.FORGED
            assert counted == {"ours": 1, "below": 1}
    counted.update(ours=0, below=0)
    for unknown in (Codec(Keyring(Key.generate(suite)), "x", clock=clock).encode({}), "A" * 100, "x"):
        with pytest.raises(TokenError):
            codec.decode(unknown)
    assert counted == {"ours": 0, "below": 0}


@pytest.mark.parametrize("size", RINGS)
@pytest.mark.parametrize("candidates", range(6))
def test_a_request_takes_one_decryption_for_each_of_four_candidates_at_most(
    suite: Suite, clock: Clock, counted: dict[str, int], candidates: int, size: int
) -> None:
    """Beside any number of cookies of the name that name no key of the ring, and of the same one again."""
    keys = keys_of(size, suite)
    jar = Jar("session", Keyring(keys[0], accepting=keys[1:]), clock=clock)
    each = [Jar("session", Keyring(key), clock=clock).codec for key in (keys[0], keys[-1])]
    tokens = [forged(each[number % 2].encode({"n": number})) for number in range(candidates)]
    strangers = [Jar("session", Keyring(key), clock=clock).codec.encode({}) for key in keys_of(20, suite, start=1000)]
    counted.update(ours=0, below=0)
    header = "; ".join(f"session={value}" for value in (*strangers, *tokens, *tokens, "junk"))
    refusal = Sessions([jar], header)["session"].refusal
    expected = 0 if candidates > 4 else candidates
    assert counted == {"ours": expected, "below": expected}
    assert refusal is (Reason.UNKNOWN_KEY if not candidates else Reason.AMBIGUOUS if candidates > 4 else Reason.FORGED)


def test_what_a_wrong_byte_costs_is_one_decryption_wherever_it_stands(suite: Suite, clock: Clock, counted: dict[str, int]) -> None:
    codec = Codec(Keyring(Key.generate(suite)), "x", clock=clock)
    frame = reference.frame_of(codec.encode({"a": 1}))
    for at in range(len(frame)):
        counted.update(ours=0, below=0)
        with pytest.raises(TokenError):
            codec.decode(reference.text(frame[:at] + bytes([frame[at] ^ 0x80]) + frame[at + 1 :]))
        expected = 0 if at < 5 else 1
        assert counted == {"ours": expected, "below": expected}


# Frames. The search itself is tests/test_secrets.py: what is told here is that it looks at enough, in enough ways.


def test_more_than_twenty_failures_are_searched_for_secrets_in_our_frames() -> None:
    assert len(test_secrets.FAILURES) >= 100
    beginnings = {name.split("-")[0] for name in test_secrets.FAILURES}
    assert {"parse", "from", "ring", "file", "source", "env", "codec", "jar", "decode", "encode", "commit", "pickle"} <= beginnings


def test_they_are_searched_for_in_five_encodings() -> None:
    secret = secrets.token_bytes(48)
    needles = test_secrets.Needles(secret)
    encodings = {
        "as it is": secret.decode("latin-1"),
        "repr": repr(secret),
        "hex": secret.hex(),
        "base64": base64.b64encode(secret).decode(),
        "base64url": base64.urlsafe_b64encode(secret).decode(),
    }
    for name, text in encodings.items():
        assert needles.found_in(f"local = {text}"), name
        assert not needles.found_in(f"local = {text[:6]}"), name
