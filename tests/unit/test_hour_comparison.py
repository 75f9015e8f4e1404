"""The comparison of counts by hour with the sessions that a scan finds."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from service.counts import HOUR
from service.sessions import SECOND_US, Session
from service.storage.hour_comparison import Difference, HourComparison, certain, confirmed
from service.storage.live_counts import Bucket, LiveCounts

EARLIER = int(time.time()) - 5 * HOUR
BUCKET: Bucket = (0, "s", EARLIER // HOUR)
SESSION = Session("00000000-0000-4000-8000-000000000000", EARLIER * SECOND_US, "s")


class Counts:
    """The counts of one hour at each look."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)

    async def by_hour(self, *_: float) -> Counter[Bucket]:
        return Counter({BUCKET: next(self._numbers)})


async def differences(numbers: Sequence[int], sessions: int) -> Mapping[Bucket, Difference]:
    comparison = HourComparison(cast("LiveCounts", Counts(numbers)), 86400)
    await comparison.begin()
    comparison.add([SESSION] * sessions)
    for _ in numbers[2:]:
        await comparison.observe()
    return await comparison.differences()


@pytest.mark.parametrize(
    ("numbers", "sessions", "difference"),
    [
        ([9, 9], 9, (0, 0)),
        ([9, 9], 7, (-2, -2)),
        ([9, 6], 7, (-2, 1)),  # sessions have ended
        ([6, 9], 7, (-2, 1)),  # sessions have arrived
        ([6, 6], 7, (1, 1)),  # one has arrived and another has left, unseen
        ([6, 7, 6], 7, (0, 2)),  # the same, seen
        ([6, 7, 6], 9, (2, 4)),
    ],
)
async def test_a_difference_is_uncertain_by_the_changes_that_are_seen(
    numbers: Sequence[int], sessions: int, difference: tuple[int, int]
) -> None:
    """Each change of the count between two looks may be of a session that is found."""
    found = await differences(numbers, sessions)
    assert found == {BUCKET: difference}
    is_certain = difference[0] > 0 or difference[1] < 0
    assert certain(found) == (found if is_certain else {})


async def test_hours_without_sessions_are_not_compared() -> None:
    """An hour in which nothing was counted or found is left out."""
    assert await differences([0, 0], 0) == {}


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ((1, 3), (2, 5), (2, 3)),
        ((1, 1), (2, 2), None),
        ((1, 3), (-2, -1), None),
        ((1, 3), (0, 5), None),
        ((1, 3), None, None),
    ],
)
def test_two_comparisons_have_to_agree(
    first: tuple[int, int], second: tuple[int, int] | None, both: tuple[int, int] | None
) -> None:
    """A difference is confirmed when it is certain in both, and can be the same."""
    again = {BUCKET: Difference(*second)} if second else {}
    assert confirmed({BUCKET: Difference(*first)}, again) == ({BUCKET: both} if both else {})
