"""How large a session is, how large it may be, and the two ways to change that: compression and padding."""

from __future__ import annotations

import json
import zlib
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientsession import Codec, ConfigurationError, Jar, Key, Keyring, SerializationError, Sessions, SessionTooLargeError
from tests import reference
from tests.conftest import Client, Clock, cookie_of

DAY = timedelta(days=1)


def sent(jar: Jar, client: Client) -> int:
    """Bytes of name and value of the cookie a client holds."""
    return len(jar.cookie_name) + len(client.cookies[jar.cookie_name])


def plaintext(jar: Jar, value: str) -> bytes:
    """What is inside the seal of a cookie, by the second implementation."""
    keys = (jar.keyring.sealing, *jar.keyring.retiring)
    opened = [reference.open(key._secret, key.suite, "cookie", jar.cookie_name, "", value) for key in keys]
    return next(inside for inside in opened if inside is not None)


CONTENTS: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"user": 7, "items": [{"sku": "tea", "n": n} for n in range(40)]},
    {"é": "日本語" * 30},
    {"x": "y" * 2700},
]


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"pad_to": 64}], ids=str)
@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: f"{len(json.dumps(content))} bytes")
@pytest.mark.parametrize("with_id", [False, True], ids=["without id", "with id"])
def test_size_is_what_the_cookie_then_takes(ring: Keyring, content: dict[str, Any], options: dict[str, Any], with_id: bool) -> None:
    jar = Jar("session", ring, **options)
    client = Client(jar)
    with client.visit() as sessions:
        session = sessions["session"]
        session |= {**content, "more": 1}
        if with_id:
            assert session.id
        size = session.size
        assert session.size_left == 4096 - size
    assert size == sent(jar, client)
    with client.visit() as sessions:  # and of one that was opened
        assert sessions["session"].size == size
        sessions["session"]["further"] = "x" * 100
        assert sessions["session"].size > size
        size = sessions["session"].size
    assert size == sent(jar, client)


def test_size_of_a_codecs_session_is_the_length_of_its_token(ring: Keyring) -> None:
    codec = Codec(ring, "invite", max_size=500)
    token = codec.encode({"email": "ada@example.org"})
    session = codec.decode(token)
    assert (session.size, session.size_left) == (len(token), 500 - len(token))


def test_size_left_is_below_zero_where_it_is_too_large(ring: Keyring) -> None:
    sessions = Sessions([Jar("session", ring)], None)
    sessions["session"]["x"] = "y" * 4000
    left = sessions["session"].size_left
    assert left < 0
    with pytest.raises(SessionTooLargeError) as caught:
        sessions.commit()
    assert caught.value.size - caught.value.limit == -left


def test_the_size_of_what_cannot_be_sealed_is_an_error_that_names_the_path(ring: Keyring) -> None:
    session = Sessions([Jar("session", ring)], None)["session"]
    session["when"] = {"at": object()}
    with pytest.raises(SerializationError, match=r"when\.at is of type object"):
        session.size
    with pytest.raises(SerializationError, match=r"when\.at is of type object"):
        session.size_left


def test_asking_for_the_size_changes_nothing_and_works_after_the_commit(ring: Keyring) -> None:
    client = Client(Jar("session", ring))
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    with client.visit() as sessions:
        size = sessions["session"].size
    assert client.set_cookies == []
    assert sessions["session"].size == size


# Compression


def test_a_compressed_session_is_smaller_and_opens_without_the_option_too(ring: Keyring) -> None:
    content = {"items": [{"sku": "tea", "price": 340, "count": n} for n in range(60)]}
    plain, deflating = Jar("cart", ring), Jar("cart", ring, compress=True)
    value = deflating.codec.encode(content)
    assert len(value) < len(plain.codec.encode(content)) / 3
    assert plain.codec.decode(value) == deflating.codec.decode(value) == content
    flags, body = plaintext(deflating, value)[0], plaintext(deflating, value)[13:]
    assert flags & 0x02
    assert json.loads(zlib.decompress(body, -15)) == content


def test_a_body_that_deflate_makes_no_shorter_stays_as_it_is(ring: Keyring) -> None:
    jar = Jar("cart", ring, compress=True)
    for content in ({}, {"a": 1}):
        value = jar.codec.encode(content)
        assert not plaintext(jar, value)[0] & 0x02
        assert len(value) == len(Jar("cart", ring).codec.encode(content))


def test_compression_is_off_by_default(ring: Keyring) -> None:
    jar = Jar("cart", ring)
    assert jar.compress is jar.codec.compress is False
    assert not plaintext(jar, jar.codec.encode({"a": "x" * 500}))[0] & 0x02


def test_a_body_beyond_what_a_reader_inflates_is_not_deflated_but_too_large(ring: Keyring) -> None:
    jar = Jar("cart", ring, compress=True)
    most = {"a": "x" * (65_536 - len('{"a":""}'))}
    assert jar.codec.decode(jar.codec.encode(most)) == most
    with pytest.raises(SessionTooLargeError) as caught:
        jar.codec.encode({"a": most["a"] + "x"})
    assert caught.value.size > 65_536


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)], ids=["switched off", "switched on"])
def test_switching_compression_writes_no_cookie_that_did_not_change(ring: Keyring, before: bool, after: bool) -> None:
    content = {"a": "x" * 500}
    client = Client(Jar("cart", ring, compress=before))
    with client.visit() as sessions:
        sessions["cart"] = content
    client.jars = (Jar("cart", ring, compress=after),)
    with client.visit() as sessions:
        assert sessions["cart"] == content
    assert client.set_cookies == []
    with client.visit() as sessions:
        sessions["cart"]["b"] = 1
    assert bool(plaintext(client.jars[0], client.cookies["cart"])[0] & 0x02) is after


# Padding


@given(data=st.dictionaries(st.text(max_size=8), st.text(max_size=40) | st.integers(-9, 9), max_size=6), with_id=st.booleans())
def test_padded_lengths_fall_in_classes_of_64_bytes(data: dict[str, Any], with_id: bool) -> None:
    jar = Jar("session", RING, pad_to=64)
    client = Client(jar)
    with client.visit() as sessions:
        sessions["session"] |= {**data, "a": 1}
        if with_id:
            assert sessions["session"].id
    inside = plaintext(jar, client.cookies["session"])
    assert (len(inside) - 13) % 64 == 0  # flags and times aside: whether there is an id shows in no length
    assert json.loads(inside[13 + 16 * with_id :]) == {**data, "a": 1}
    assert Sessions([Jar("session", RING)], f"session={client.cookies['session']}")["session"] == {**data, "a": 1}
    with client.visit() as sessions:
        assert sessions["session"] == {**data, "a": 1}
    assert client.set_cookies == []


RING = Keyring(Key.generate())


def test_an_empty_body_is_padded_too(ring: Keyring) -> None:
    codec = Codec(ring, "invite", pad_to=64)
    token = codec.encode({})
    assert len(token) == len(codec.encode({"a": "x" * 40}))
    assert codec.decode(token) == {}
    assert len(Codec(ring, "invite", pad_to=64, max_size=78).encode({})) == 78


def test_padding_never_makes_a_session_too_large(ring: Keyring) -> None:
    plain, padded = Jar("s", ring), Jar("s", ring, pad_to=1024)
    for length in range(2900, 3020):
        content = {"x": "y" * length}
        try:
            expected = len(plain.codec.encode(content))
        except SessionTooLargeError:
            with pytest.raises(SessionTooLargeError):
                padded.codec.encode(content)
            continue
        value = padded.codec.encode(content)
        assert expected <= len(value) <= 4095
        assert len(value) >= 4093, "at the limit, the limit is the class"
        assert padded.codec.decode(value) == content


def test_padding_that_is_switched_on_later_pads_what_is_sealed_next(ring: Keyring, clock: Clock) -> None:
    options: dict[str, Any] = {"duration": DAY, "active_duration": timedelta(hours=1), "clock": clock}
    client = Client(Jar("session", ring, **options))
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    client.jars = (Jar("session", ring, pad_to=64, **options),)
    with client.visit() as sessions:
        assert sessions["session"] == {"a": 1}
    assert client.set_cookies == [], "padding alone is no change"
    clock.pass_(23.5 * 3600)
    with client.visit() as sessions:
        assert sessions["session"] == {"a": 1}
    assert len(plaintext(client.jars[0], client.cookies["session"])) == 13 + 64
    with client.visit() as sessions:
        assert sessions["session"].id
    assert len(plaintext(client.jars[0], client.cookies["session"])) == 13 + 64


def test_a_deflated_session_too_large_to_be_padded_goes_out_as_it_came(key: Key, clock: Clock) -> None:
    content = {"a": "x" * 20_000}
    client = Client(Jar("session", Keyring(key), compress=True, clock=clock))
    with client.visit() as sessions:
        sessions["session"] = content
    ring = Keyring(Key.generate(), retiring=[key])
    client.jars = (Jar("session", ring, pad_to=64, clock=clock),)
    with client.visit() as sessions:
        assert sessions["session"] == content
    assert len(client.set_cookies) == 1, "it is sealed by the new key"
    with client.visit() as sessions:
        assert sessions["session"] == content
        assert sessions["session"].key_id == ring.sealing.id


class Lines:
    """A serializer of one's own whose ``loads`` takes nothing after the body."""

    def dumps(self, value: dict[str, Any], /) -> bytes:
        return b"\n".join(f"{key}={item}".encode() for key, item in value.items())

    def loads(self, body: bytes, /) -> dict[str, Any]:
        if body.endswith(b" "):
            raise ValueError("trailing space")
        return {key: int(item) for key, item in (line.split("=") for line in body.decode().split("\n") if line)}


class Forgetful(Lines):
    """One that reads the padding into the content."""

    def loads(self, body: bytes, /) -> dict[str, Any]:
        return dict(line.split("=") for line in body.decode().split("\n") if line)


class Wrapped:
    """JSON with something before it; spaces after it are taken."""

    def dumps(self, value: dict[str, Any], /) -> bytes:
        return b"1" + json.dumps(value).encode()

    def loads(self, body: bytes, /) -> dict[str, Any]:
        return json.loads(body[1:])


class Spaced:
    """JSON with a space of its own at the end."""

    def dumps(self, value: dict[str, Any], /) -> bytes:
        return json.dumps(value).encode() + b" "

    def loads(self, body: bytes, /) -> dict[str, Any]:
        return json.loads(body)


SERIALIZERS = {
    "refuses spaces": Lines(),
    "keeps spaces": Forgetful(),
    "other bytes": Wrapped(),
    "its own space": Spaced(),
    "text": json,
}


@pytest.mark.parametrize("serializer", SERIALIZERS.values(), ids=SERIALIZERS)
def test_padding_wants_a_serializer_of_json_that_takes_spaces(ring: Keyring, serializer: Any) -> None:
    with pytest.raises(ConfigurationError, match="pad_to needs a serializer of JSON objects, whose loads takes spaces"):
        Jar("session", ring, serializer=serializer, pad_to=64)
    Jar("session", ring, serializer=serializer)


@pytest.mark.parametrize("pad_to", [0, 1, -64, 1025, 64.0, "64", True])
def test_padding_is_a_number_from_2_to_1024(ring: Keyring, pad_to: Any) -> None:
    with pytest.raises(ConfigurationError, match="pad_to must be an int from 2 to 1,024"):
        Jar("session", ring, pad_to=pad_to)
    with pytest.raises(ConfigurationError, match="pad_to must be an int from 2 to 1,024"):
        Codec(ring, "invite", pad_to=pad_to)


def test_compression_and_padding_do_not_go_together(ring: Keyring) -> None:
    with pytest.raises(ConfigurationError, match="compress and pad_to do not go together"):
        Jar("session", ring, compress=True, pad_to=64)
    with pytest.raises(ConfigurationError, match="compress must be True or False"):
        Jar("session", ring, compress=1)  # type: ignore[arg-type]


def test_the_docstrings_of_compress_tell_of_the_leak() -> None:
    for kind in (Codec, Jar):
        assert "CRIME and BREACH" in (kind.__doc__ or "")


def test_the_value_of_the_cookie_is_what_is_measured(ring: Keyring) -> None:
    sessions = Sessions([Jar("session", ring, cookie_name="__Host-session")], None)
    sessions["session"]["a"] = 1
    size = sessions["session"].size
    (cookie,) = sessions.commit()
    assert size == len(cookie_of(cookie)) - len("=")


def test_the_size_that_an_error_tells_counts_the_id() -> None:
    sessions = Sessions([Jar("session", Keyring(Key.generate()))], None)
    session = sessions["session"]
    session["text"] = "x" * 5000
    without = session.size
    assert session.id
    assert session.size > without
    with pytest.raises(SessionTooLargeError) as caught:
        sessions.commit()
    assert caught.value.size == session.size
