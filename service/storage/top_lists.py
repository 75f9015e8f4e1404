"""Ranks the users with the most sessions, from the top lists of the days, a bounded number of entries at a time.

A user's sessions are in one shard, so each shard is ranked by itself and only its best are kept. The bounds of a
user add up over the days:

    at least    count - error on each day on which the user is in the list
    at most     count on such a day, and the list's floor on every other day

The floor, under the empty member, is the most that a user who is not in the list can have on that day.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

from service.counts import Bounds, TopUsers
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from service.storage.page_sizes import PageSizes
from service.storage.pipelines import ask, pages

_LONGEST_LIST = 1001  # the greatest `analytics.top_users`, and the floor
_MAX_SCORE = 2**53
_FLOOR = b""
# A user's two numbers share one int, which halves the memory: at_least * 2^40 + above_floor.
_SHIFT = 40
_ABOVE_FLOOR = (1 << _SHIFT) - 1
_USERS_AT_ONCE = 2000  # a millisecond of Python, then other requests have their turn

# Certain count, count above the floors, user.
_Entry = tuple[int, int, bytes]


class TopLists:
    """Reads top lists. It ranks for one caller at a time, which bounds its memory."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._turn = asyncio.Lock()

    async def rank(self, days: Sequence[int], limit: int) -> TopUsers:
        """Return so many users at most, those first of which most is certain. Raises StoreUnavailable."""
        users: list[tuple[bytes, Bounds]] = []
        others = 0
        async with self._turn:
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
        """Return the best users of a shard, and the most that any other of its users can have."""
        ranking = Ranking(self._sizes.users)
        for page in await self._pages(shard, days):
            commands = [
                ("ZRANGE", self._keyspace.top(shard, day), 0, _LONGEST_LIST - 1, "WITHSCORES") for day in page
            ]
            for entries in await ask(self._connection, "top", commands):
                ranking.add(entries or ())
                await asyncio.sleep(0)
            await ranking.shrink()
        return await ranking.best(limit)

    async def _pages(self, shard: int, days: Sequence[int]) -> Sequence[Sequence[int]]:
        """Return the days that have a list, in pages whose lists have a bounded number of entries together."""
        found: list[list[int]] = []
        entries = self._sizes.entries
        for page in pages(days, self._sizes.commands):
            sizes = await ask(self._connection, "top", [("ZCARD", self._keyspace.top(shard, day)) for day in page])
            for day, size in zip(page, sizes, strict=True):
                if not size:
                    continue
                entries += min(size, _LONGEST_LIST)
                if entries > self._sizes.entries:
                    found.append([])
                    entries = min(size, _LONGEST_LIST)
                found[-1].append(day)
        return found


class Ranking:
    """The users of one shard and what their lists say. It holds `users` of them at most between two pages.

    When there are more, the half with the least certain counts is dropped. Their bound stays: a dropped user who
    comes again may have had as many sessions before as any of those who were dropped.
    """

    def __init__(self, users: int) -> None:
        self._size = users
        self._users: dict[bytes, int] = {}
        self._floors = 0
        self._dropped = 0

    def add(self, entries: Sequence[bytes]) -> None:
        """Add a day's list, as members and scores in turn."""
        scores = {user: float(score) for user, score in zip(entries[::2], entries[1::2], strict=True)}
        floor = int(scores.pop(_FLOOR, 0)) // TOP_SCORE_UNIT
        self._floors += floor
        users, unseen = self._users, self._dropped
        for user, score in scores.items():
            if 0 <= score < _MAX_SCORE:  # else foreign
                count, error = divmod(int(score), TOP_SCORE_UNIT)
                users[user] = users.get(user, unseen) + (max(0, count - error) << _SHIFT) + max(0, count - floor)

    async def shrink(self) -> None:
        """Drop users when there are too many."""
        if len(self._users) <= self._size:
            return
        counts: Counter[int] = Counter()
        for values in pages(self._users.values(), _USERS_AT_ONCE):
            counts.update(packed >> _SHIFT for packed in values)
            await asyncio.sleep(0)
        kept, least = 0, 0
        for certain in sorted(counts, reverse=True):
            kept, least = kept + counts[certain], certain + 1
            if kept > self._size // 2:
                break
            least = certain
        doomed: list[bytes] = []
        for items in pages(self._users.items(), _USERS_AT_ONCE):
            doomed += [user for user, packed in items if packed >> _SHIFT < least]
            await asyncio.sleep(0)
        for users in pages(doomed, _USERS_AT_ONCE):
            self._dropped = max(self._dropped, *(self._users.pop(user) & _ABOVE_FLOOR for user in users))
            await asyncio.sleep(0)

    async def best(self, limit: int) -> tuple[Sequence[tuple[bytes, Bounds]], int]:
        """Return the best users with their bounds, and the most that any other user can have.

        It empties the ranking.
        """
        best: list[_Entry] = []
        rest = self._dropped
        while self._users:  # freed step by step, as 50,000 at once take 10 ms
            for _ in range(min(_USERS_AT_ONCE, len(self._users))):
                user, packed = self._users.popitem()
                best.append((packed >> _SHIFT, packed & _ABOVE_FLOOR, user))
            best.sort(key=lambda entry: (-entry[0], -entry[1], entry[2]))
            rest = max([rest, *(above for _, above, _ in best[limit:])])
            del best[limit:]
            await asyncio.sleep(0)
        floors = self._floors
        return [(user, Bounds(certain, above + floors)) for certain, above, user in best], rest + floors
