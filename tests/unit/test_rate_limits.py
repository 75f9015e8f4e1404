import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rate_limits import RateLimit, RateLimiter, parse_rate_limit
from tests.support.clock import ManualClock


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("60/minute", RateLimit(60, 60)),
        ("1/second", RateLimit(1, 1)),
        ("1000000/day", RateLimit(1_000_000, 86400)),
        ("5/hour", RateLimit(5, 3600)),
    ],
)
def test_a_limit_is_a_count_and_a_unit(value: str, limit: RateLimit) -> None:
    """A limit is a count and one of the units second, minute, hour and day."""
    assert parse_rate_limit(value) == limit


@pytest.mark.parametrize(
    "value",
    [
        "",
        "60",
        "60/min",
        "60 / minute",
        "0/minute",
        "-1/minute",
        "1.5/second",
        "٣/minute",
        "1000001/day",
        "60/minute\n",
        "9" * 5000 + "/day",
    ],
)
def test_other_strings_are_not_limits(value: str) -> None:
    """A string in any other form is rejected."""
    assert parse_rate_limit(value) is None


def test_the_whole_count_is_available_and_returns_evenly() -> None:
    """60/minute admits 60 requests at once, then one more each second."""
    clock = ManualClock()
    limiter, limit = RateLimiter(clock), RateLimit(60, 60)
    assert [limiter.admit("a", limit) for _ in range(60)] == [0.0] * 60
    assert limiter.admit("a", limit) == pytest.approx(1.0)
    clock.now += 0.75
    assert limiter.admit("a", limit) == pytest.approx(0.25)
    clock.now += 0.25
    assert limiter.admit("a", limit) == 0.0
    assert limiter.admit("a", limit) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [3, 7, 10, 49, 1000])
def test_a_rounding_error_rejects_nobody(count: int) -> None:
    """The whole count is available at once, also if no float is the exact pace."""
    limiter, limit = RateLimiter(ManualClock()), RateLimit(count, 1)
    assert [limiter.admit("a", limit) for _ in range(count)] == [0.0] * count
    assert limiter.admit("a", limit) > 0


def test_a_new_limit_takes_effect_at_once() -> None:
    """A client that used up a limit by day waits one second after 60/minute is set."""
    clock = ManualClock()
    limiter, before, after = RateLimiter(clock), RateLimit(2, 86400), RateLimit(60, 60)
    assert [limiter.admit("a", before) for _ in range(2)] == [0.0, 0.0]
    assert limiter.admit("a", after) == pytest.approx(1.0)
    clock.now += 1.0
    assert limiter.admit("a", after) == 0.0
    assert limiter.admit("a", after) == pytest.approx(1.0)


@given(st.floats(0, 1e7), st.integers(1, 50), st.sampled_from([1, 60, 1200, 86400]))
def test_a_rounding_error_adds_no_second_to_a_wait(now: float, pace: int, seconds: int) -> None:
    """A wait of whole seconds is not longer, whatever the clock says."""
    clock = ManualClock()
    clock.now = now
    limiter, limit = RateLimiter(clock), RateLimit(seconds, pace * seconds)
    limiter.admit("a", RateLimit(1, 2 * limit.seconds))  # an earlier limit
    assert math.ceil(limiter.admit("a", limit)) == pace


def test_an_idle_client_saves_nothing() -> None:
    """A client that made no request for a long time has its count and no more."""
    clock = ManualClock()
    limiter, limit = RateLimiter(clock), RateLimit(2, 60)
    for _ in range(2):
        assert [limiter.admit("a", limit) for _ in range(2)] == [0.0, 0.0]
        assert limiter.admit("a", limit) > 0
        clock.now += 3600


def test_clients_have_separate_counts() -> None:
    """A client over its limit does not affect another client."""
    limiter, limit = RateLimiter(ManualClock()), RateLimit(1, 60)
    assert limiter.admit("a", limit) == 0.0
    assert limiter.admit("a", limit) > 0
    assert limiter.admit("b", limit) == 0.0


@given(
    st.integers(1, 50),
    st.sampled_from([1, 60, 3600]),
    st.lists(st.floats(0, 3), max_size=200),
)
def test_a_client_is_never_admitted_more_often_than_the_limit_says(
    count: int, seconds: int, steps: list[float]
) -> None:
    """A client is never admitted more often than its limit allows.

    A client that waits as long as it was asked to is admitted.
    """
    clock = ManualClock()
    limiter, limit = RateLimiter(clock), RateLimit(count, seconds)
    admitted = []
    for step in steps:
        clock.now += step * seconds / count
        wait = limiter.admit("a", limit)
        if not wait:
            admitted.append(clock.now)
            continue
        clock.now += wait
        assert limiter.admit("a", limit) == 0.0
        admitted.append(clock.now)
    for index, start in enumerate(admitted):
        for number, moment in enumerate(admitted[index:], 1):
            assert number <= count + (moment - start) * count / seconds + 0.001


def test_memory_is_bounded() -> None:
    """Full counts are dropped, and beyond the bound the oldest ones are too."""
    clock = ManualClock()
    limiter, limit = RateLimiter(clock, max_entries=100), RateLimit(1, 60)
    for client in range(1000):
        limiter.admit(client, limit)
    assert len(limiter._full_at) == 100
    assert limiter.admit(999, limit) > 0
    clock.now += 61
    for client in range(1000, 1100):
        limiter.admit(client, limit)
    assert len(limiter._full_at) == 100
    assert 999 not in limiter._full_at


def test_the_client_not_admitted_for_the_longest_time_is_forgotten() -> None:
    """A client that comes back keeps its count, and an older one makes room."""
    limiter, limit = RateLimiter(ManualClock(), max_entries=2), RateLimit(2, 60)
    for client in "abac":
        assert limiter.admit(client, limit) == 0.0
    assert list(limiter._full_at) == ["a", "c"]
    assert limiter.admit("a", limit) > 0


def test_each_admission_makes_room_for_more_than_itself() -> None:
    """Each admission drops two expired clients, so memory shrinks after a burst."""
    clock = ManualClock()
    limiter = RateLimiter(clock)
    for client in range(10):
        limiter.admit(client, RateLimit(1, 60))
    clock.now += 61
    for _ in range(5):
        limiter.admit("a", RateLimit(10, 60))
    assert list(limiter._full_at) == ["a"]
