"""The ranking of a shard's users from the lists of many days, in bounded memory."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from service.config.settings import RedisSettings
from service.counts import Bounds, TopUsers
from service.storage.connection import RedisConnection
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from service.storage.paging import PAGE_SIZES
from service.storage.top_lists import Ranking, TopLists


def listed(scores: dict[bytes, tuple[int, int]], floor: int = 0) -> list[bytes]:
    """Return members with count and error bound as Redis does, the floor first."""
    entries = [b"", b"%d" % (floor * TOP_SCORE_UNIT)] if floor else []
    for user, (count, error) in sorted(scores.items(), key=lambda entry: entry[1]):
        entries += [user, b"%d" % (count * TOP_SCORE_UNIT + error)]
    return entries


@pytest.mark.parametrize("size", [5, 20, 60, 10_000])
@pytest.mark.parametrize("seed", range(5))
async def test_the_true_count_is_within_the_bounds_in_any_memory(size: int, seed: int) -> None:
    """The bounds hold for every user, however many users were dropped."""
    chance = random.Random(seed)
    ranking = Ranking(size)
    truth: Counter[bytes] = Counter()
    for _ in range(40):
        created = Counter(b"user-%d" % int(chance.expovariate(0.02)) for _ in range(300))
        truth.update(created)
        kept = dict(created.most_common(30))
        floor = max(count for user, count in created.items() if user not in kept)
        scores = {}
        for user, count in kept.items():
            error = chance.randrange(min(floor, count) + 1)
            scores[user] = (count + error // 2, error)
        ranking.add(listed(scores, floor))
        await ranking.shrink()
        assert len(ranking._users) <= size
    best, others = await ranking.best(10)
    assert len(best) <= 10
    for user, bounds in best:
        assert bounds.at_least <= truth[user] <= bounds.at_most
    found = {user for user, _ in best}
    assert max(count for user, count in truth.items() if user not in found) <= others
    assert best == sorted(best, key=lambda entry: (-entry[1].at_least, -entry[1].at_most, entry[0]))


async def test_no_user_is_dropped_while_there_is_room() -> None:
    """While all users fit, counts are exact over any number of days."""
    ranking = Ranking(100)
    for _ in range(400):
        ranking.add(listed({b"user-%d" % number: (number + 1, 0) for number in range(100)}))
        await ranking.shrink()
    best, others = await ranking.best(3)
    assert [(user, bounds.at_least, bounds.at_most) for user, bounds in best] == [
        (b"user-99", 40_000, 40_000),
        (b"user-98", 39_600, 39_600),
        (b"user-97", 39_200, 39_200),
    ]
    assert others == 38_800


async def test_a_steady_user_stays_among_many_who_come_once() -> None:
    """A user with one session a day is in a ranking of 2,000 among 40,000 others."""
    ranking = Ranking(2000)
    for day in range(100):
        scores = {b"once-%d-%d" % (day, number): (1, 0) for number in range(400)}
        ranking.add(listed(scores | {b"steady": (1, 0)}))
        await ranking.shrink()
    best, others = await ranking.best(1)
    assert best[0][0] == b"steady"
    assert best[0][1].at_least == 100
    assert others < 100


async def test_scores_of_other_programs_are_ignored() -> None:
    """A score that is not a count is ignored."""
    ranking = Ranking(10)
    ranking.add([b"a", b"-1", b"b", b"inf", b"c", b"1e300", b"d", b"nan", b"e", b"67108864"])
    best, others = await ranking.best(5)
    assert [user for user, _ in best] == [b"e"]
    assert others == 0


async def test_bounds_of_impossible_scores_are_not_below_zero() -> None:
    """An error above the count, or a count below the floor, spoils no other bound."""
    ranking = Ranking(10)
    ranking.add(listed({b"a": (1, 5), b"b": (3, 0), b"c": (9, 2)}, floor=5))
    best, _ = await ranking.best(5)
    assert best == [(b"c", Bounds(7, 9)), (b"b", Bounds(3, 5)), (b"a", Bounds(0, 5))]


async def test_the_better_half_is_kept() -> None:
    """All users are kept while they fit, and half of the bound when they do not."""
    ranking = Ranking(4)
    ranking.add(listed({b"a": (5, 0), b"b": (4, 0), b"c": (3, 0), b"d": (2, 0)}))
    await ranking.shrink()
    assert len(ranking._users) == 4
    ranking.add(listed({b"e": (1, 0)}))
    await ranking.shrink()
    assert set(ranking._users) == {b"a", b"b"}
    best, others = await ranking.best(4)
    assert (best, others) == ([(b"a", Bounds(5, 5)), (b"b", Bounds(4, 4))], 3)


class Shards(TopLists):
    """The rankings of the shards, which need no Redis."""

    def __init__(self, *found: tuple[list[tuple[bytes, Bounds]], int]) -> None:
        connection = RedisConnection.alone("redis://127.0.0.1/0", RedisSettings())
        super().__init__(connection, Keyspace("test"), PAGE_SIZES)
        self.found = dict(enumerate(found))
        self.callers = self.most_callers = 0

    async def _rank_shard(self, shard: int, *_: object) -> tuple[Sequence[tuple[bytes, Bounds]], int]:
        self.callers += 1
        self.most_callers = max(self.callers, self.most_callers)
        await asyncio.sleep(0)
        self.callers -= 1
        return self.found.get(shard, ([], 0))


async def test_the_other_users_of_all_shards_are_bounded() -> None:
    """The bound for other users covers each shard, and the users beyond the limit."""
    best = [(b"a", Bounds(9, 9)), (b"b", Bounds(5, 8))]
    assert await Shards((best[:1], 3), (best[1:], 1)).rank([], 2) == TopUsers(
        [("a", Bounds(9, 9)), ("b", Bounds(5, 8))], 3
    )
    assert await Shards((best[:1], 3), (best[1:], 1)).rank([], 1) == TopUsers([("a", Bounds(9, 9))], 8)


async def test_one_caller_ranks_at_a_time() -> None:
    """Callers wait for each other, so that their users are not in memory together."""
    shards = Shards()
    await asyncio.gather(*(shards.rank([], 1) for _ in range(3)))
    assert shards.most_callers == 1
