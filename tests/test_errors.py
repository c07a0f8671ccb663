"""The tree of errors, what they carry, and that they travel."""

from __future__ import annotations

import copy
import pickle

import pytest

import clientsession
from clientsession import Codec, Jar, Keyring, Sessions, SessionTooLargeError, TokenError, errors


def test_every_error_is_of_one_tree() -> None:
    for name in errors.__all__:
        value = getattr(errors, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, clientsession.ClientSessionError)
            assert getattr(clientsession, name) is value
    assert issubclass(clientsession.ConfigurationError, ValueError)
    assert issubclass(clientsession.SerializationError, ValueError)
    reasons = {error.reason for error in clientsession.TokenError.__subclasses__()}
    assert reasons == set(clientsession.Reason) - {clientsession.Reason.AMBIGUOUS}


@pytest.mark.parametrize("error", [*TokenError.__subclasses__(), TokenError])
def test_a_token_error_can_be_handed_from_process_to_process(error: type[TokenError]) -> None:
    for again in (pickle.loads(pickle.dumps(error())), copy.copy(error())):
        assert type(again) is error
        assert str(again) == str(error())


def test_a_session_too_large_can_be_handed_from_process_to_process(ring: Keyring) -> None:
    with pytest.raises(SessionTooLargeError) as caught:
        Codec(ring, "x").encode({"a": "x" * 5000})
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.largest == (("'a'", 5006),)


def test_errors_name_the_jar_and_not_its_cookie(ring: Keyring) -> None:
    sessions = Sessions([Jar("cart", ring, cookie_name="__Host-c")], None)
    sessions["cart"]["a"] = "x" * 5000
    with pytest.raises(SessionTooLargeError, match="the session 'cart' takes"):
        sessions.commit()
