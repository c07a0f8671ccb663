"""Lifetimes to the millisecond, by a clock that is set by hand: duration, activity, the absolute cap, skew, a changed policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from clientsession import (
    Codec,
    ConfigurationError,
    ExpiredTokenError,
    FutureTokenError,
    Jar,
    Keyring,
    Reason,
)
from tests.conftest import Client, Clock, max_age_of

MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime.fromtimestamp(1_800_000_000, tz=UTC)


# A codec's tokens


def test_a_token_lives_to_the_last_millisecond_of_its_duration(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=timedelta(minutes=10), clock=clock)
    token = codec.encode({"a": 1})
    clock.pass_(599.999)
    session = codec.decode(token)
    assert (session.created_at, session.expires_at) == (START, START + timedelta(minutes=10))
    clock.pass_(0.001)
    with pytest.raises(ExpiredTokenError):
        codec.decode(token)


def test_a_part_of_a_millisecond_is_not_rounded_up(ring: Keyring) -> None:
    now = [1_800_000_000.0]
    codec = Codec(ring, "x", duration=HOUR, clock=lambda: now[0])
    token = codec.encode({})
    now[0] += 3600 - 1e-5  # the last that a float of this size tells apart from the end, more or less
    assert codec.decode(token) == {}
    now[0] = 1_800_003_600.0
    with pytest.raises(ExpiredTokenError):
        codec.decode(token)


@pytest.mark.parametrize("milliseconds", range(0, 1000, 7))
def test_every_millisecond_of_a_clock_is_kept(ring: Keyring, milliseconds: int) -> None:
    codec = Codec(ring, "x", clock=lambda: 1_800_000_000 + milliseconds / 1000)
    assert codec.decode(codec.encode({})).created_at == START + milliseconds * MS


def test_one_token_may_have_its_own_duration(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=MINUTE, clock=clock)
    assert codec.decode(codec.encode({}, duration=timedelta(days=7))).expires_at == START + timedelta(days=7)


def test_its_own_duration_is_capped_too(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=MINUTE, max_duration=HOUR, clock=clock)
    assert codec.decode(codec.encode({}, duration=DAY)).expires_at == START + HOUR


def test_a_decoded_session_keeps_its_times_and_id_when_sealed_again(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=HOUR, clock=clock)
    first = codec.decode(codec.encode({"a": 1}))
    first_id = first.id
    clock.pass_(1800)
    second = codec.decode(codec.encode(first))
    assert (second.created_at, second.expires_at, second.id) == (first.created_at, first.expires_at, first_id)


def test_a_decoded_session_may_be_given_a_new_end_but_not_a_new_beginning(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=HOUR, max_duration=DAY, clock=clock)
    session = codec.decode(codec.encode({"a": 1}))
    clock.pass_(1800)
    longer = codec.decode(codec.encode(session, duration=timedelta(days=300)))
    assert (longer.created_at, longer.expires_at) == (START, START + DAY)


def test_a_dead_session_is_not_sealed_again(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=HOUR, clock=clock)
    session = codec.decode(codec.encode({"a": 1}))
    clock.pass_(3600)
    for duration in (None, DAY):
        with pytest.raises(ExpiredTokenError):
            codec.encode(session, duration=duration)


def test_set_duration_of_a_decoded_session_counts_from_now(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", duration=HOUR, clock=clock)
    session = codec.decode(codec.encode({"a": 1}))
    clock.pass_(60)
    session.set_duration(HOUR)
    assert session.expires_at == START + MINUTE + HOUR


def test_a_clock_that_is_a_minute_behind_still_opens(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", clock=clock)
    token = codec.encode({})
    clock.pass_(-60)
    assert codec.decode(token).created_at == START
    clock.pass_(-0.001)
    with pytest.raises(FutureTokenError):
        codec.decode(token)


def test_a_shortened_policy_applies_to_tokens_already_out(ring: Keyring, clock: Clock) -> None:
    token = Codec(ring, "invite", duration=timedelta(days=30), clock=clock).encode({})
    today = Codec(ring, "invite", duration=HOUR, max_duration=2 * HOUR, clock=clock)
    assert today.decode(token).expires_at == START + 2 * HOUR
    clock.pass_(7200)
    with pytest.raises(ExpiredTokenError):
        today.decode(token)


def test_times_past_the_calendar_are_shown_as_its_end(ring: Keyring, clock: Clock) -> None:
    codec = Codec(ring, "invite", clock=clock)
    session = codec.decode(codec.encode({}))
    session._expires = 2**48 - 1
    assert session.expires_at == datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)


# A jar's sessions


def client_of(ring: Keyring, clock: Clock, **options: object) -> Client:
    return Client(Jar("session", ring, clock=clock, **options))  # type: ignore[arg-type]


def sign_in(client: Client) -> None:
    with client.visit() as sessions:
        sessions["session"]["user"] = 7


def test_a_session_begins_at_its_first_write_and_writing_does_not_extend_it(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR)
    sign_in(client)
    for minute in range(1, 60):
        clock.pass_(60)
        with client.visit() as sessions:
            sessions["session"]["minute"] = minute
            assert (sessions["session"].created_at, sessions["session"].expires_at) == (START, START + HOUR)
        assert max_age_of(client.set_cookies[0]) == 3600 - 60 * minute
    clock.pass_(60)
    with client.visit() as sessions:
        assert sessions["session"] == {}
        assert sessions["session"].refusal is Reason.EXPIRED
    assert client.set_cookies == []


def test_max_age_is_rounded_up(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR)
    sign_in(client)
    clock.pass_(0.001)
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    assert max_age_of(client.set_cookies[0]) == 3600
    clock.pass_(0.999)
    with client.visit() as sessions:
        sessions["session"]["a"] = 2
    assert max_age_of(client.set_cookies[0]) == 3599


def test_max_age_may_be_capped_whatever_the_session_does(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=DAY, max_age=timedelta(seconds=90, milliseconds=1))
    sign_in(client)
    assert max_age_of(client.set_cookies[0]) == 91
    clock.pass_(86_399)
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    assert max_age_of(client.set_cookies[0]) == 1


def test_activity_extends_only_when_less_than_its_duration_is_left(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR, active_duration=timedelta(minutes=5))
    sign_in(client)
    clock.pass_(3300)
    with client.visit() as sessions:  # exactly five minutes left
        assert sessions["session"].expires_at == START + HOUR
    assert client.set_cookies == []
    clock.pass_(0.001)
    with client.visit() as sessions:
        assert sessions["session"].expires_at == START + HOUR + timedelta(minutes=5)
        assert sessions["session"].created_at == START
    assert [max_age_of(value) for value in client.set_cookies] == [600]
    with client.visit() as sessions:  # and not again at once
        assert sessions["session"]["user"] == 7
    assert client.set_cookies == []


def test_the_last_millisecond_can_be_extended_and_the_next_cannot(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR, active_duration=timedelta(minutes=5))
    sign_in(client)
    clock.pass_(3599.999)
    with client.visit() as sessions:
        assert sessions["session"].expires_at == START + timedelta(minutes=65)
    clock.pass_(300.001)
    with client.visit() as sessions:
        assert sessions["session"].refusal is Reason.EXPIRED


def test_an_untouched_session_is_not_extended(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR, active_duration=timedelta(minutes=5))
    sign_in(client)
    clock.pass_(3599)
    with client.visit():
        pass
    assert client.set_cookies == []


def test_an_active_session_ends_at_its_absolute_limit(ring: Keyring, clock: Clock) -> None:
    client = client_of(
        ring, clock, duration=timedelta(minutes=10), active_duration=timedelta(minutes=5), max_duration=timedelta(minutes=32)
    )
    sign_in(client)
    for _ in range(31):
        clock.pass_(60)
        with client.visit() as sessions:
            assert sessions["session"]["user"] == 7
            assert sessions["session"].expires_at <= START + timedelta(minutes=32)
    clock.pass_(59.999)
    with client.visit() as sessions:
        assert sessions["session"]["user"] == 7
    assert client.set_cookies == []  # at its limit there is nothing to extend, and nothing is sent for it
    clock.pass_(0.001)
    with client.visit() as sessions:
        assert sessions["session"].refusal is Reason.EXPIRED


def test_activity_alone_keeps_a_session_for_30_days_by_default(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=DAY, active_duration=DAY)
    sign_in(client)
    for _ in range(60):
        clock.pass_(43_200 - 0.001)
        with client.visit() as sessions:
            assert sessions["session"]["user"] == 7
    clock.pass_(0.060)
    with client.visit() as sessions:
        assert sessions["session"].refusal is Reason.EXPIRED
        assert clock.now == START.timestamp() + 30 * 86_400


@pytest.mark.parametrize(
    ("options", "maximum"),
    [
        ({}, None),
        ({"active_duration": MINUTE}, timedelta(days=30)),
        ({"active_duration": MINUTE, "duration": timedelta(days=60)}, timedelta(days=60)),
        ({"active_duration": MINUTE, "max_duration": None}, None),
        ({"max_duration": timedelta(days=3)}, timedelta(days=3)),
    ],
)
def test_the_default_of_max_duration(ring: Keyring, options: dict[str, timedelta], maximum: timedelta | None) -> None:
    assert Jar("session", ring, **options).max_duration == maximum  # type: ignore[arg-type]


def test_max_duration_none_lets_activity_go_on(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=timedelta(days=300), active_duration=timedelta(days=300), max_duration=None)
    sign_in(client)
    for _ in range(10):
        clock.pass_(200 * 86_400)
        with client.visit() as sessions:
            assert sessions["session"]["user"] == 7


def test_a_shortened_max_duration_clamps_a_jars_cookie_and_sends_nothing_for_it(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=timedelta(days=20))
    sign_in(client)
    client.jars = (Jar("session", ring, duration=HOUR, max_duration=2 * HOUR, clock=clock),)
    with client.visit() as sessions:
        assert sessions["session"].expires_at == START + 2 * HOUR
    assert client.set_cookies == []


def test_reset_begins_anew_and_set_duration_does_not(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR)
    sign_in(client)
    clock.pass_(60)
    with client.visit() as sessions:
        sessions["session"].set_duration(2 * HOUR)
        assert (sessions["session"].created_at, sessions["session"].expires_at) == (START, START + MINUTE + 2 * HOUR)
    assert max_age_of(client.set_cookies[0]) == 7200
    with client.visit() as sessions:
        sessions["session"].reset(keep=("user",))
        assert (sessions["session"].created_at, sessions["session"].expires_at) == (START + MINUTE, START + MINUTE + HOUR)
    assert len(client.set_cookies) == 1


def test_set_duration_is_capped_and_counts_before_and_after_a_first_write(ring: Keyring, clock: Clock) -> None:
    for write_first in (True, False):
        client = client_of(ring, clock, duration=HOUR, max_duration=DAY)
        with client.visit() as sessions:
            if write_first:
                sessions["session"]["a"] = 1
            sessions["session"].set_duration(timedelta(seconds=30))
            sessions["session"]["b"] = 1
        assert max_age_of(client.set_cookies[0]) == 30
        with client.visit() as sessions:
            sessions["session"].set_duration(timedelta(days=300))
        assert max_age_of(client.set_cookies[0]) == 86_400


@pytest.mark.parametrize(
    "duration", [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=999), timedelta(days=400, seconds=1)]
)
def test_set_duration_out_of_range_is_refused(ring: Keyring, clock: Clock, duration: timedelta) -> None:
    with client_of(ring, clock).visit() as sessions, pytest.raises(ConfigurationError, match="1 second to 400 days"):
        sessions["session"].set_duration(duration)


def test_set_duration_in_seconds_is_a_type_error(ring: Keyring, clock: Clock) -> None:
    with client_of(ring, clock).visit() as sessions, pytest.raises(TypeError, match="timedelta"):
        sessions["session"].set_duration(30)  # type: ignore[arg-type]


@pytest.mark.parametrize("ephemeral", ["", [], 1, "no"])
def test_ephemeral_is_true_false_or_none(ring: Keyring, clock: Clock, ephemeral: object) -> None:
    with client_of(ring, clock).visit() as sessions, pytest.raises(ConfigurationError, match="True, False or None"):
        sessions["session"].set_duration(HOUR, ephemeral=ephemeral)  # type: ignore[arg-type]


def test_a_cookie_from_the_future_is_refused_by_a_jar(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock)
    sign_in(client)
    clock.pass_(-60.001)
    with client.visit() as sessions:
        assert sessions["session"].refusal is Reason.FUTURE


# Ephemeral


def test_an_ephemeral_session_has_no_max_age_through_writes_and_extensions(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR, active_duration=timedelta(minutes=5), ephemeral=True)
    sign_in(client)
    assert max_age_of(client.set_cookies[0]) is None
    clock.pass_(3400)
    with client.visit() as sessions:  # extended
        assert sessions["session"].ephemeral
    assert [max_age_of(value) for value in client.set_cookies] == [None]
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
    assert max_age_of(client.set_cookies[0]) is None


def test_set_duration_makes_a_session_ephemeral_and_durable_again(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR)
    sign_in(client)
    with client.visit() as sessions:
        sessions["session"].set_duration(HOUR, ephemeral=True)
    assert max_age_of(client.set_cookies[0]) is None
    with client.visit() as sessions:
        sessions["session"].set_duration(HOUR)  # as it was
    assert max_age_of(client.set_cookies[0]) is None
    with client.visit() as sessions:
        sessions["session"].set_duration(HOUR, ephemeral=False)
    assert max_age_of(client.set_cookies[0]) == 3600


def test_one_users_ephemeral_session_changes_nobody_elses(ring: Keyring, clock: Clock) -> None:
    jar = Jar("session", ring, clock=clock)
    first, second = Client(jar), Client(jar)
    with first.visit() as sessions:
        sessions["session"]["a"] = 1
        sessions["session"].set_duration(HOUR, ephemeral=True)
    sign_in(second)
    assert max_age_of(first.set_cookies[0]) is None
    assert max_age_of(second.set_cookies[0]) == 86_400


# One snapshot for a request


def test_a_request_reads_the_clock_once_for_all_its_jars(ring: Keyring, clock: Clock) -> None:
    client = Client(Jar("session", ring, clock=clock), Jar("cart", ring, clock=clock))
    with client.visit() as sessions:
        sessions["session"]["a"] = 1
        clock.pass_(10)
        sessions["cart"]["b"] = 1
        sessions["cart"].set_duration(HOUR)
    assert clock.reads == 1
    assert [max_age_of(value) for value in client.set_cookies] == [86_400, 3600]


def test_a_request_that_outlives_its_session_still_commits(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock, duration=HOUR)
    sign_in(client)
    clock.pass_(3599)
    sessions = client.request()
    sessions["session"]["a"] = 1
    clock.pass_(10)
    assert len(client.respond(sessions)) == 1


def test_an_untouched_request_does_not_read_the_clock(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock)
    sign_in(client)
    reads = clock.reads
    with client.visit():
        pass
    assert clock.reads == reads


def test_the_cap_is_sealed_and_not_only_held_to_when_a_token_is_opened(ring: Keyring, clock: Clock) -> None:
    token = Codec(ring, "invite", duration=MINUTE, max_duration=HOUR, clock=clock).encode({}, duration=DAY)
    assert Codec(ring, "invite", clock=clock).decode(token).expires_at == START + HOUR


def test_the_last_second_of_a_clock_leaves_401_days_of_the_calendar(ring: Keyring, clock: Clock) -> None:
    clock.now = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() - 401 * 86_400
    codec = Codec(ring, "x", duration=timedelta(days=400), clock=clock)
    assert codec.decode(codec.encode({})).expires_at == datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
    clock.pass_(1)
    with pytest.raises(ConfigurationError, match="seconds since 1970"):
        codec.encode({})


def test_a_duration_of_another_type_is_told_its_type(ring: Keyring) -> None:
    with pytest.raises(TypeError, match=r"duration must be a datetime\.timedelta, not int"):
        Codec(ring, "x", duration=3600)  # type: ignore[arg-type]


def test_what_sessions_are_held_to_does_not_change(ring: Keyring) -> None:
    jar = Jar("session", ring)
    for name in ("duration", "active", "maximum", "ephemeral"):
        with pytest.raises(AttributeError):
            setattr(jar._rules.lifetime, name, 1)


def test_a_default_is_written_where_there_is_no_such_key_and_given_back(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock)
    with client.visit() as sessions:
        assert sessions["session"].setdefault("tags", ["a"]) == ["a"]
        assert sessions["session"].setdefault("tags", ["b"]) == ["a"]
        assert sessions["session"].setdefault("none") is None
    with client.visit() as sessions:
        assert sessions["session"] == {"tags": ["a"], "none": None}


def test_a_new_session_says_its_size_and_what_is_left(ring: Keyring, clock: Clock) -> None:
    client = client_of(ring, clock)
    with client.visit() as sessions:
        session = sessions["session"]
        session["a"] = "x" * 100
        size, left = session.size, session.size_left
    assert size == len("session") + len(client.cookies["session"])
    assert left == 4096 - size
