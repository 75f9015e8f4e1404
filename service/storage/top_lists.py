"""Ranks the users with the most sessions, from the top lists of the days.

All sessions of a user are in one shard. So each shard is ranked alone, and only its
best users are kept. The bounds of a user are sums over the days:

    at least    count - error bound, on each day on which the user is in the list
    at most     count on such a day, and the floor of the list on every other day

The floor is the score of the empty member. A user who is not in the list has no more
sessions than that on the day. Each call reads a bounded number of entries.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

from service.counts import Bounds, TopUsers
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.keyspace import MAX_EXACT_INTEGER, TOP_SCORE_UNIT, Keyspace
from service.storage.paging import PageSizes, pages
from service.storage.pipelines import read

# The greatest `analytics.top_users`, and the floor.
_MAX_ENTRIES = 1001
_FLOOR = b""
# Both bounds of a user are in one int, which halves the memory:
# at_least * 2^40 + above_floors. The upper bound is above_floors plus the floors of all
# days.
_SHIFT = 40
_ABOVE_FLOORS = (1 << _SHIFT) - 1
# 1 ms of Python. Then other requests run.
_USERS_AT_ONCE = 2000

# The lower bound, the upper bound minus the floors, and the user.
_Entry = tuple[int, int, bytes]


class TopLists:
    """Ranks users for one caller at a time, which bounds the memory."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._lock = asyncio.Lock()

    async def rank(self, days: Sequence[int], limit: int) -> TopUsers:
        """Return at most `limit` users, in descending order of their lower bounds.

        Raises StoreUnavailable and Overloaded.
        """
        users: list[tuple[bytes, Bounds]] = []
        others = 0
        async with self._lock:
            for shard in range(SHARD_COUNT):
                found, rest = await self._rank_shard(shard, days, limit)
                users += found
                others = max(others, rest)
        users.sort(key=lambda entry: (-entry[1].at_least, -entry[1].at_most, entry[0]))
        others = max([others, *(bounds.at_most for _, bounds in users[limit:])])
        return TopUsers([(user.decode(errors="replace"), bounds) for user, bounds in users[:limit]], others)

    async def _rank_shard(
        self, shard: int, days: Sequence[int], limit: int
    ) -> tuple[Sequence[tuple[bytes, Bounds]], int]:
        """Return the best users of a shard, and an upper bound for its other users."""
        ranking = Ranking(self._sizes.users)
        for page in await self._pages(shard, days):
            commands = [("ZRANGE", self._keyspace.top(shard, day), 0, _MAX_ENTRIES - 1, "WITHSCORES") for day in page]
            for entries in await read(self._connection, "top", commands):
                ranking.add(entries or ())
                await asyncio.sleep(0)
            await ranking.shrink()
        return await ranking.best(limit)

    async def _pages(self, shard: int, days: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return the days with a list, in pages with a bounded number of entries."""
        found: list[list[int]] = []
        entries = self._sizes.entries
        for page in pages(days, self._sizes.commands):
            sizes = await read(self._connection, "top", [("ZCARD", self._keyspace.top(shard, day)) for day in page])
            for day, size in zip(page, sizes, strict=True):
                if not size:
                    continue
                entries += min(size, _MAX_ENTRIES)
                if entries > self._sizes.entries:
                    found.append([])
                    entries = min(size, _MAX_ENTRIES)
                found[-1].append(day)
        return found


class Ranking:
    """The users of one shard with the sums of their bounds.

    At most `max_users` are kept. When there are more, the half with the smallest lower
    bounds is dropped. The greatest upper bound of a dropped user stays. It is added to
    users who appear later, because they may have been dropped before.
    """

    def __init__(self, max_users: int) -> None:
        self._max_users = max_users
        self._users: dict[bytes, int] = {}
        self._floors = 0
        self._dropped = 0

    def add(self, entries: Sequence[bytes]) -> None:
        """Add the list of a day, in which members and scores alternate."""
        scores = {user: float(score) for user, score in zip(entries[::2], entries[1::2], strict=True)}
        floor = int(scores.pop(_FLOOR, 0)) // TOP_SCORE_UNIT
        self._floors += floor
        users, before = self._users, self._dropped
        for user, score in scores.items():
            if 0 <= score < MAX_EXACT_INTEGER:  # otherwise another program's
                count, error = divmod(int(score), TOP_SCORE_UNIT)
                users[user] = users.get(user, before) + (max(0, count - error) << _SHIFT) + max(0, count - floor)

    async def shrink(self) -> None:
        """Drop users when there are too many."""
        if len(self._users) <= self._max_users:
            return
        least = await self._least_kept()
        dropped: list[bytes] = []
        for items in pages(self._users.items(), _USERS_AT_ONCE):
            dropped += [user for user, packed in items if packed >> _SHIFT < least]
            await asyncio.sleep(0)
        for users in pages(dropped, _USERS_AT_ONCE):
            self._dropped = max(self._dropped, *(self._users.pop(user) & _ABOVE_FLOORS for user in users))
            await asyncio.sleep(0)

    async def _least_kept(self) -> int:
        """Return the least lower bound of the better half of the users."""
        users_by_bound: Counter[int] = Counter()
        for values in pages(self._users.values(), _USERS_AT_ONCE):
            users_by_bound.update(packed >> _SHIFT for packed in values)
            await asyncio.sleep(0)
        kept, least = 0, 0
        for at_least in sorted(users_by_bound, reverse=True):
            kept, least = kept + users_by_bound[at_least], at_least + 1
            if kept > self._max_users // 2:
                break
            least = at_least
        return least

    async def best(self, limit: int) -> tuple[Sequence[tuple[bytes, Bounds]], int]:
        """Return the best users with their bounds, and an upper bound for the others.

        The ranking is empty afterwards.
        """
        best: list[_Entry] = []
        rest = self._dropped
        while self._users:  # freeing 50,000 at once takes 10 ms
            for _ in range(min(_USERS_AT_ONCE, len(self._users))):
                user, packed = self._users.popitem()
                best.append((packed >> _SHIFT, packed & _ABOVE_FLOORS, user))
            best.sort(key=lambda entry: (-entry[0], -entry[1], entry[2]))
            rest = max([rest, *(above for _, above, _ in best[limit:])])
            del best[limit:]
            await asyncio.sleep(0)
        floors = self._floors
        return [(user, Bounds(certain, above + floors)) for certain, above, user in best], rest + floors
