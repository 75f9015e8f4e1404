"""The forecast of when the memory of Redis is full, with an injected clock."""

import random
from collections.abc import Callable

import pytest

from service.storage.memory_growth import (
    HORIZON_SECONDS,
    MIN_PAUSE_SECONDS,
    MIN_SPAN_SECONDS,
    STALE_SECONDS,
    WINDOW_SECONDS,
    MemoryGrowth,
)

MB = 1_000_000
LIMIT = 1000 * MB
STEP = 60.0


class Watched:
    """An estimator whose samples are taken at times that the test sets."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.growth = MemoryGrowth(lambda: self.now)

    def sample(self, used: float, limit: int | None = LIMIT, seconds: float = STEP) -> float | None:
        self.now += seconds
        self.growth.record(int(used), limit)
        return self.growth.full_seconds()

    def run(self, used: Callable[[int], float], samples: int = 10) -> float | None:
        return [self.sample(used(number)) for number in range(samples)][-1]


@pytest.fixture
def watched() -> Watched:
    """Return an estimator without samples."""
    return Watched()


def test_steady_growth_is_extrapolated(watched: Watched) -> None:
    """The forecast is the free memory divided by the growth per second."""
    seconds = watched.run(lambda number: (100 + number) * MB)
    assert seconds == pytest.approx((1000 - 109) * STEP)


def test_noise_hardly_changes_the_forecast(watched: Watched) -> None:
    """The forecast uses the line through all samples, not the last two."""
    chance = random.Random(7)
    seconds = watched.run(lambda number: (100 + number + chance.uniform(-0.5, 0.5)) * MB, 16)
    assert seconds == pytest.approx((1000 - 115) * STEP, rel=0.1)


@pytest.mark.parametrize("change", [0.0, -1.0])
def test_memory_that_does_not_grow_is_never_full(watched: Watched, change: float) -> None:
    """Constant or shrinking memory has no forecast."""
    assert watched.run(lambda number: (100 + change * number) * MB) is None


def test_growth_that_ends_ends_the_forecast(watched: Watched) -> None:
    """One window after growth has ended, there is no forecast."""
    assert watched.run(lambda number: (100 + number) * MB) is not None
    assert watched.run(lambda _: 110 * MB, int(WINDOW_SECONDS / STEP) + 2) is None


def test_a_flood_is_visible_within_minutes(watched: Watched) -> None:
    """After an hour without growth, three minutes of growth give a forecast."""
    watched.run(lambda _: 100 * MB, 60)
    early = watched.run(lambda number: (110 + 10 * number) * MB, 3)
    late = watched.run(lambda number: (140 + 10 * number) * MB, 20)
    assert early is not None
    assert late == pytest.approx((1000 - 330) / 10 * STEP)


def test_too_few_samples_give_no_forecast(watched: Watched) -> None:
    """Two samples, or many within a moment, give no forecast."""
    assert watched.sample(100 * MB) is None
    assert watched.sample(110 * MB, seconds=2 * MIN_SPAN_SECONDS) is None
    other = Watched()
    pause = MIN_PAUSE_SECONDS
    within = [other.sample((100 + n) * MB, seconds=pause) for n in range(int(MIN_SPAN_SECONDS / pause))]
    assert within == [None] * len(within)
    assert other.sample(200 * MB, seconds=pause) is not None


def test_an_open_dashboard_does_not_fill_the_window(watched: Watched) -> None:
    """Frequent requests add no samples, and the forecast uses the newest value."""
    for number in range(3000):
        seconds = watched.sample((100 + number / 100) * MB, seconds=1.0)
    assert seconds == pytest.approx((1000 - 129.99) * 100, rel=0.001)
    assert len(watched.growth._samples) <= WINDOW_SECONDS / MIN_PAUSE_SECONDS + 1


@pytest.mark.parametrize("limit", [0, None])
def test_without_a_limit_there_is_no_forecast(watched: Watched, limit: int | None) -> None:
    """Without a memory limit, or with an unknown one, there is no forecast."""
    assert [watched.sample((100 + number) * MB, limit) for number in range(9)] == [None] * 9


def test_a_removed_limit_ends_the_forecast(watched: Watched) -> None:
    """The limit of the newest sample applies."""
    assert watched.run(lambda number: (100 + number) * MB) is not None
    assert watched.sample(110 * MB, 2 * LIMIT) == pytest.approx(1890 * STEP, rel=0.01)
    assert watched.sample(111 * MB, 0) is None


def test_a_redis_that_hides_its_memory_has_no_forecast(watched: Watched) -> None:
    """A Redis that rejects INFO gives no forecast."""
    watched.growth.record(None, None)
    assert watched.growth.full_seconds() is None


def test_full_memory_is_full_without_growth(watched: Watched) -> None:
    """When memory is full, the forecast is 0 although memory no longer grows."""
    assert watched.sample(LIMIT + 1) == 0
    assert watched.run(lambda number: LIMIT - number % 2 * MB) == 0


def test_a_distant_forecast_is_none(watched: Watched) -> None:
    """Growth that would fill memory in years gives no forecast."""
    per_step = LIMIT / HORIZON_SECONDS * STEP
    assert watched.run(lambda number: number * per_step * 0.8) is None
    assert Watched().run(lambda number: number * per_step * 1.2) is not None


def test_another_server_starts_a_new_window(watched: Watched) -> None:
    """After a restart with less data, the old samples are dropped."""
    watched.run(lambda _: 900 * MB, 15)
    assert watched.run(lambda number: (100 + number) * MB, 4) == pytest.approx((1000 - 103) * STEP)


def test_an_old_forecast_is_none(watched: Watched) -> None:
    """A forecast expires minutes after Redis stopped answering."""
    assert watched.run(lambda number: (100 + number) * MB) is not None
    watched.now += STALE_SECONDS - 1
    assert watched.growth.full_seconds() is not None
    watched.now += 2
    assert watched.growth.full_seconds() is None


def test_samples_before_a_pause_do_not_count(watched: Watched) -> None:
    """Samples from before an hour of suspended time are dropped."""
    watched.run(lambda number: (100 + number) * MB)
    assert watched.sample(120 * MB, seconds=3600) is None
