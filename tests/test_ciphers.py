"""The ciphers by their published vectors, and the blocks they are built of."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import Counter
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from clientsession import Key, Suite
from clientsession._ciphers import new_cipher
from clientsession._keys import expand, extract, pae
from tests import reference

NONCE = b"ABCDEFGHIJKLMNOPQRSTUVWX"

XAES = [
    pytest.param(
        b"\x01" * 32,
        b"",
        {
            "L": "7298caa565031eadc6ce23d23ea66378",
            "K1": "e531954aca063d5b8d9c47a47d4cc6f0",
            "M1": "000158004142434445464748494a4b4c",
            "M2": "000258004142434445464748494a4b4c",
            "Kx": "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
            "Nx": "4d4e4f505152535455565758",
        },
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        id="MSB(L)=0",
    ),
    pytest.param(
        b"\x03" * 32,
        b"c2sp.org/XAES-256-GCM",
        {
            "L": "91c08762876dccf9ba204a33768fa5fe",
            "K1": "23810ec50edb99f374409466ed1f4b7b",
            "Kx": "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
        },
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        id="MSB(L)=1",
    ),
]


@pytest.mark.parametrize(("key", "aad", "steps", "ciphertext"), XAES)
def test_xaes_256_gcm_of_c2sp(key: bytes, aad: bytes, steps: dict[str, str], ciphertext: str) -> None:
    cipher = new_cipher(Suite.XAES_256_GCM, key)
    assert cipher.seal(NONCE, b"XAES-256-GCM", aad).hex() == ciphertext
    assert cipher.open(NONCE, bytes.fromhex(ciphertext), aad) == b"XAES-256-GCM"
    assert reference.aead_seal(1, key, NONCE, b"XAES-256-GCM", aad).hex() == ciphertext
    taken = {name: value.hex() for name, value in reference.xaes_steps(key, NONCE).items()}
    assert {name: taken[name] for name in steps} == steps


def _accumulate(rounds: int) -> str:
    """C2SP's accumulated test: SHAKE-128 gives the inputs, a second SHAKE-128 takes the ciphertexts."""
    size = 316 * rounds  # the most that so many rounds may take: 32 + 24 + 2 lengths + 2 * 255, less on average
    stream = memoryview(hashlib.shake_128(b"").digest(size))
    outputs = hashlib.shake_128()
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return bytes(stream[at - count : at])

    for _ in range(rounds):
        key, nonce = take(32), take(24)
        plaintext = take(take(1)[0])
        aad = take(take(1)[0])
        cipher = new_cipher(Suite.XAES_256_GCM, key)
        sealed = cipher.seal(nonce, plaintext, aad)
        assert cipher.open(nonce, sealed, aad) == plaintext
        outputs.update(sealed)
    return outputs.digest(32).hex()


def test_xaes_256_gcm_accumulated_over_10_000_rounds() -> None:
    assert hashlib.shake_128(b"").digest(16).hex() == "7f9c2ba4e88f827d616045507605853e"
    assert _accumulate(10_000) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


@pytest.mark.slow
def test_xaes_256_gcm_accumulated_over_1_000_000_rounds() -> None:
    assert _accumulate(1_000_000) == "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15"


def test_xchacha20_poly1305_of_the_draft() -> None:
    key, nonce = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58))
    aad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    )
    sealed = (
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e"
        "1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49"
    )
    cipher = new_cipher(Suite.XCHACHA20_POLY1305, key)
    assert cipher.seal(nonce, plaintext, aad).hex() == sealed
    assert cipher.open(nonce, bytes.fromhex(sealed), aad) == plaintext
    assert reference.aead_seal(2, key, nonce, plaintext, aad).hex() == sealed


# Building blocks


def test_aes_256_gcm_test_case_14() -> None:
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), bytes(16), None)
    assert sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


@pytest.mark.parametrize(
    ("message", "tag"),
    [("", "028962f61b7bf89efc6b551f4667d983"), ("6bc1bee22e409f96e93d7e117393172a", "28a7023f452e8f82bd4bf28d8c37c35c")],
)
def test_aes_256_cmac_of_sp_800_38b(message: str, tag: str) -> None:
    cmac = CMAC(AES(bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")))
    cmac.update(bytes.fromhex(message))
    assert cmac.finalize().hex() == tag


@pytest.mark.parametrize(
    "module",
    [pytest.param((extract, expand), id="library"), pytest.param((reference.hkdf_extract, reference.hkdf_expand), id="reference")],
)
def test_hkdf_sha256_of_rfc_5869(module: Any) -> None:
    take_prk, take_okm = module
    prk = take_prk(bytes(range(13)), b"\x0b" * 22)
    assert take_okm(prk, bytes(range(0xF0, 0xFA)), 42).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    prk = take_prk(b"", b"\x0b" * 22)
    assert take_okm(prk, b"", 42).hex() == ("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")


@pytest.mark.parametrize("encode", [pae, reference.pae])
@pytest.mark.parametrize(
    ("pieces", "encoded"),
    [
        ((), "00" * 8),
        ((b"",), "01" + "00" * 15),
        ((b"", b""), "02" + "00" * 23),
        ((b"Paragon",), "01" + "00" * 7 + "07" + "00" * 7 + b"Paragon".hex()),
    ],
)
def test_pae_of_paseto(encode: Any, pieces: tuple[bytes, ...], encoded: str) -> None:
    assert encode(*pieces).hex() == encoded


def _argon2id(**options: Any) -> Any:
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        return Argon2id(**options)
    except (ImportError, UnsupportedAlgorithm):  # cryptography before 44, OpenSSL before 3.2
        pytest.skip("the OpenSSL of this cryptography has no Argon2id to compare with")


def test_argon2id_of_rfc_9106_5_3() -> None:
    """The check of the check below: an independent Argon2id gives the published tag."""
    argon2 = _argon2id(salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\x04" * 12, secret=b"\x03" * 8)
    assert argon2.derive(b"\x01" * 32).hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def test_a_passphrase_gives_the_key_that_an_independent_argon2id_gives(suite: Suite) -> None:
    key = Key.from_passphrase("correct horse battery staple", salt=bytes(range(16)), suite=suite)
    argon2 = _argon2id(salt=bytes(range(16)), length=32, iterations=3, lanes=1, memory_cost=64 * 1024)
    secret = argon2.derive(b"correct horse battery staple")
    assert key.export() == Key.from_secret(secret, suite=suite).export() == reference.export(secret, suite)


def test_scrypt_of_rfc_7914() -> None:
    """A building block of keys that come from elsewhere, which a later reader takes over."""
    derived = hashlib.scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=16, dklen=64)
    assert derived.hex() == (
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )


# Both suites alike


def test_what_was_sealed_opens_under_the_same_key_nonce_and_data_alone(suite: Suite) -> None:
    cipher, other = new_cipher(suite, bytes(range(32))), new_cipher(suite, bytes(range(1, 33)))
    for length in (0, 1, 15, 16, 17, 4096):
        plaintext = bytes(length)
        sealed = cipher.seal(NONCE, plaintext, b"data")
        assert len(sealed) == length + 16
        assert cipher.open(NONCE, sealed, b"data") == plaintext
        assert other.open(NONCE, sealed, b"data") is None
        assert cipher.open(NONCE, sealed, b"Data") is None
        assert length == 0 or cipher.open(NONCE, sealed[:-1], b"data") is None  # a frame is never without a tag
        for index in range(24):  # every byte of the nonce counts
            nonce = NONCE[:index] + bytes((NONCE[index] ^ 1,)) + NONCE[index + 1 :]
            assert cipher.open(nonce, sealed, b"data") is None


def test_the_second_implementation_seals_the_same(suite: Suite) -> None:
    key = bytes(range(32))
    for length in (0, 1, 64, 1000):
        sealed = new_cipher(suite, key).seal(NONCE, bytes(length), b"data")
        assert sealed == reference.aead_seal(suite, key, NONCE, bytes(length), b"data")


# The part of a nonce that XAES keeps, and the keys it has at hand


def xaes() -> Any:
    return new_cipher(Suite.XAES_256_GCM, bytes(range(32)))


def test_a_prefix_is_kept_for_65_536_tokens() -> None:
    cipher = xaes()
    prefixes = [cipher.nonce()[:12] for _ in range(3 * 65_536 + 1)]
    runs = [len(list(run)) for _, run in itertools.groupby(prefixes)]
    assert runs == [65_536, 65_536, 65_536, 1]
    assert len(set(prefixes)) == 4


def test_a_prefix_is_kept_for_an_hour() -> None:
    cipher = xaes()
    before = time.time()
    first = cipher.nonce()[:12]
    prefix, gcm, count, since = cipher._subkeys.sealing
    assert before <= since <= time.time()
    for ago, is_kept in ((0, True), (3590, True), (3600, False), (10**9, False), (-60, False)):  # the last: the clock was set back
        cipher._subkeys.sealing = prefix, gcm, count, time.time() - ago
        assert (cipher.nonce()[:12] == first) == is_kept


def test_two_ciphers_of_one_key_have_prefixes_of_their_own() -> None:
    assert xaes().nonce()[:12] != xaes().nonce()[:12]


def test_what_is_at_hand_makes_no_other_bytes() -> None:
    """Sealed under the kept prefix, one kept before, and one never seen, all as by the second implementation."""
    cipher = xaes()
    first = cipher.nonce()
    cipher._subkeys.sealing = None
    kept = cipher.nonce()
    for nonce in (first, kept, NONCE):
        for text in (b"one", b"two"):
            sealed = cipher.seal(nonce, text, b"data")
            assert sealed == reference.aead_seal(1, bytes(range(32)), nonce, text, b"data")
            assert cipher.open(nonce, sealed, b"data") == cipher.open(nonce, sealed, b"data") == text
            assert cipher.open(nonce, sealed, b"Data") is None
            assert xaes().open(nonce, sealed, b"data") == text


def test_keys_of_authentic_tokens_alone_are_kept() -> None:
    cipher = xaes()
    for number in range(1000):
        nonce = number.to_bytes(12, "big") + bytes(12)
        assert cipher.open(nonce, bytes(32), b"") is None
    assert cipher._subkeys.younger == {}


def test_128_keys_at_most_are_kept_and_those_in_use_stay() -> None:
    cipher = xaes()
    tokens = []
    for number in range(500):
        nonce = number.to_bytes(12, "big") + bytes(12)
        tokens.append((nonce, new_cipher(Suite.XAES_256_GCM, bytes(range(32))).seal(nonce, b"text", b"")))
    derived = Counter[bytes]()

    class Counting(type(cipher)):  # type: ignore[misc]
        __slots__ = ()

        def _gcm(self, nonce: bytes) -> AESGCM:
            derived[nonce[:12]] += 1
            return super()._gcm(nonce)  # type: ignore[no-any-return]

    counting = Counting(bytes(range(32)))
    for nonce, sealed in tokens:
        assert counting.open(nonce, sealed, b"") == b"text"
        assert counting.open(*tokens[0], b"") == b"text"
        assert len(counting._subkeys.younger) + len(counting._subkeys._older) <= 128
    assert set(derived.values()) == {1}, "the first is asked for all the time, and made once"
    assert counting.open(*tokens[1], b"") == b"text"
    assert derived[tokens[1][0][:12]] == 2, "the second was not asked for again, and had to go"
