"""Keys and rings: made, exported, parsed, and what their ids say. What is refused stands in test_configuration.py."""

from __future__ import annotations

import re
import traceback

import pytest

from clientsession import Codec, ConfigurationError, Key, Keyring, Suite, UnknownKeyError
from tests import reference

SECRET = bytes(range(32))


def test_a_key_comes_back_from_its_text(suite: Suite) -> None:
    key = Key.generate(suite)
    text = key.export()
    assert re.fullmatch(r"csk1_[A-Za-z0-9_-]{50}", text)
    again = Key.parse(text)
    assert (again.id, again.suite, again.export()) == (key.id, suite, text)
    assert Codec(Keyring(again), "x").decode(Codec(Keyring(key), "x").encode({"a": 1})) == {"a": 1}


def test_the_suite_is_xaes_256_gcm_unless_told_otherwise() -> None:
    assert Key.generate().suite is Key.from_secret(SECRET).suite is Suite.XAES_256_GCM


def test_no_two_generated_keys_are_alike() -> None:
    assert len({Key.generate().export() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("length", [32, 33, 64, 1024])
def test_a_secret_of_any_length_is_used_as_it_is(suite: Suite, length: int) -> None:
    secret = (SECRET * 32)[:length]
    key = Key.from_secret(secret, suite=suite)
    assert key.id == reference.key_id(secret, suite).hex()
    assert key.export() == reference.export(secret, suite)
    assert Key.parse(key.export()).id == key.id


def test_text_as_a_secret_is_its_utf_8() -> None:
    text = "ein langes Geheimnis für ÄÖÜ, 0123456789"
    assert Key.from_secret(text).export() == Key.from_secret(text.encode()).export()


def test_one_secret_in_two_suites_is_two_keys() -> None:
    one, two = (Key.from_secret(SECRET, suite=suite) for suite in Suite)
    assert one.id != two.id
    ring = Keyring(one, accepting=[two])
    token = Codec(Keyring(two), "x").encode({})
    assert Codec(ring, "x").decode(token).key_id == two.id


def test_a_passphrase_gives_one_key_for_one_salt() -> None:
    phrase = "correct horse battery staple"
    key = Key.from_passphrase(phrase, salt=bytes(16))
    assert key.export() == Key.from_passphrase(phrase, salt=bytes(16)).export()
    assert key.id != Key.from_passphrase(phrase, salt=bytes(15) + b"\1").id


def test_a_ring_opens_with_all_its_keys_and_seals_with_the_named_one(suite: Suite) -> None:
    sealing, accepting, retiring, stranger = (Key.generate(suite) for _ in range(4))
    codec = Codec(Keyring(sealing, accepting=[accepting], retiring=[retiring]), "x")
    for key in (sealing, accepting, retiring):
        assert codec.decode(Codec(Keyring(key), "x").encode({})).key_id == key.id
    assert codec.decode(codec.encode({})).key_id == sealing.id
    with pytest.raises(UnknownKeyError):
        codec.decode(Codec(Keyring(stranger), "x").encode({}))


def test_a_key_shows_its_id_and_nothing_else(key: Key) -> None:
    assert repr(key) == str(key) == f"{key}" == f"<Key {key.id}>"


def test_a_ring_shows_its_keys_by_role() -> None:
    one, two, three = (Key.generate() for _ in range(3))
    ring = Keyring(one, accepting=[two], retiring=[three])
    assert (ring.sealing, ring.accepting, ring.retiring) == (one, (two,), (three,))
    assert repr(ring) == f"<Keyring sealing {one.id}, accepting [{two.id}], retiring [{three.id}]>"


def test_a_ring_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Key.generate() for _ in range(4)]
    monkeypatch.setenv("CLIENTSESSION_KEY", keys[0].export() + "\n")
    monkeypatch.setenv("CLIENTSESSION_ACCEPTED_KEYS", f"{keys[1].export()}  {keys[2].export()}\n")
    monkeypatch.delenv("CLIENTSESSION_RETIRING_KEYS", raising=False)
    ring = Keyring.from_env()
    assert [key.id for key in (ring.sealing, *ring.accepting)] == [key.id for key in keys[:3]]
    assert ring.retiring == ()
    monkeypatch.setenv("CLIENTSESSION_RETIRING_KEYS", keys[3].export())
    assert Keyring.from_env().retiring[0].id == keys[3].id


def test_a_key_does_not_hand_out_its_state(key: Key, ring: Keyring) -> None:
    for thing in (key, ring, Codec(ring, "x")):
        with pytest.raises(TypeError, match="state"):
            thing.__getstate__()


def test_a_secret_has_ten_different_bytes() -> None:
    with pytest.raises(ConfigurationError, match="repeats a few bytes"):
        Key.from_secret(bytes(range(9)) * 4)
    assert Key.from_secret(bytes(range(10)) * 4).id


def test_an_exported_key_is_seen_where_up_to_eleven_bytes_stand_before_it() -> None:
    rest = "0123456789abcdefghijklmnopqrstuvwxyz"
    for before in range(12):
        with pytest.raises(ConfigurationError, match="an exported key"):
            Key.from_secret("-" * before + "csk1_" + rest)
    assert Key.from_secret("-" * 12 + "csk1_" + rest).id


def test_a_passphrase_has_8_to_1024_characters() -> None:
    for length in (7, 1025):
        with pytest.raises(ConfigurationError, match="8 to 1,024 characters"):
            Key.from_passphrase("x" * length, salt=bytes(16))
    assert Key.from_passphrase("x" * 8, salt=bytes(16)).id != Key.from_passphrase("x" * 1024, salt=bytes(16)).id


def test_a_text_of_more_than_2048_characters_is_not_decoded() -> None:
    with pytest.raises(ConfigurationError, match="far too long"):
        Key.parse("csk1_" + "A" * 2044)
    with pytest.raises(ConfigurationError, match="checksum"):
        Key.parse("csk1_" + "A" * 2043)


def test_an_exported_key_is_no_passphrase_where_up_to_eleven_characters_stand_before_it() -> None:
    for before in (0, 11):
        with pytest.raises(ConfigurationError, match="an exported key"):
            Key.from_passphrase("-" * before + "csk1_xyz", salt=bytes(16))
    assert Key.from_passphrase("-" * 12 + "csk1_xyz", salt=bytes(16)).id


def test_a_text_without_room_for_a_suite_beside_the_checksum_was_cut() -> None:
    with pytest.raises(ConfigurationError, match="has a wrong character or was cut"):
        Key.parse("csk1_AAAAAA")
    with pytest.raises(ConfigurationError, match="the checksum of the key does not fit"):
        Key.parse("csk1_AAAAAAA")


def test_a_ring_shows_its_ids_by_role() -> None:
    keys = [Key.generate() for _ in range(5)]
    one, two, three, four, five = (key.id for key in keys)
    ring = Keyring(keys[0], accepting=keys[1:3], retiring=keys[3:])
    assert repr(ring) == f"<Keyring sealing {one}, accepting [{two}, {three}], retiring [{four}, {five}]>"


def test_a_key_file_beside_keys_in_the_environment_is_refused_with_all_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY_FILE", "KEY", "RETIRING_KEYS"):
        monkeypatch.setenv(f"CLIENTSESSION_{name}", "x")
    monkeypatch.delenv("CLIENTSESSION_ACCEPTED_KEYS", raising=False)
    words = "CLIENTSESSION_KEY_FILE and CLIENTSESSION_KEY, CLIENTSESSION_RETIRING_KEYS are both set: unset one of them"
    with pytest.raises(ConfigurationError, match=words):
        Keyring.from_env()


def test_a_source_that_answers_with_no_keys_at_first_is_told_so_and_no_more() -> None:
    def vault() -> int:
        return 7

    with pytest.raises(ConfigurationError) as caught:
        Keyring.from_source(vault)  # type: ignore[arg-type]
    assert str(caught.value).endswith("it answered with int, and not with a Keyring or the text of a key file")


def test_what_is_given_where_a_key_is_made_by_hand_stands_in_no_frame_of_ours() -> None:
    with pytest.raises(TypeError, match="make a key with") as caught:
        Key("MARKER")
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in shown.stack if "clientsession" in frame.filename and "tests" not in frame.filename]
    assert len(ours) == 1
    assert "MARKER" not in str(ours[0].locals)
