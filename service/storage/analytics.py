"""Counts of a time range, read from all shards and added.

Each call reads a bounded part of a shard (`page_sizes.py`), and the calls run one after
the other, so a long range does not delay sessions. A session is in one shard, and so
are all sessions of a user. So the numbers of the shards add up, unique users
included.
"""

import logging
import operator
from collections.abc import Iterable, Sequence

from service.counts import DAY, CountRange, CountStore, Interval, SessionCounts, SourceCounts, TopUsers
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.page_sizes import PAGE_SIZES, PageSizes
from service.storage.source_counters import SourceCounters
from service.storage.top_lists import TopLists
from service.storage.unique_users import Union, UniqueUsers

_logger = logging.getLogger(__name__)


class RedisCountStore(CountStore):
    """Reads the counts that the scripts of sessions write."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        *,
        ttl_seconds: int,
        page_sizes: PageSizes = PAGE_SIZES,
    ) -> None:
        self._ttl_seconds = ttl_seconds
        self._counters = SourceCounters(connection, keyspace, page_sizes)
        self._unique_users = UniqueUsers(connection, keyspace, page_sizes)
        self._top_lists = TopLists(connection, keyspace, page_sizes)

    async def count_sessions(self, requested: CountRange, now: float, source: str | None = None) -> SessionCounts:
        """Return the counts of all sources, or of one.

        `active` counts the sessions that were created after `now` minus the lifetime of
        a session and have not ended, to the minute. Raises StoreUnavailable and
        Overloaded.
        """
        oldest = int(now) - self._ttl_seconds
        days = range(requested.first_day, requested.last_day + 1)
        live_days = range(oldest // DAY, int(now) // DAY + 2)
        if source is None:
            sources = await self._counters.sources(sorted({*days, *live_days}))
        else:
            sources = [[source]] * SHARD_COUNT
        by_source: dict[str, SourceCounts] = {}
        days_with_users = days if requested.interval is Interval.DAY else range(0)
        unique_users, unique_by_day = 0, [0] * len(days_with_users)
        total = Union(requested.first_day, requested.last_day, source or "")
        for shard, names in enumerate(sources):
            in_shard = {name: by_source.setdefault(name, _zeros(requested)) for name in names}
            await self._counters.add(shard, in_shard, requested, oldest, int(now))
            unique = await self._count_users(shard, total, names, days_with_users)
            unique_users += unique[total]
            in_shard_by_day = [unique[Union(day, day, total.source)] for day in days_with_users]
            unique_by_day = _add_lists(unique_by_day, in_shard_by_day)
            for name, counts in in_shard.items():
                counts.unique_users += unique[total._replace(source=name)]
        figures = _total(by_source.values(), requested, unique_users)
        return SessionCounts(figures, dict(sorted(by_source.items())), unique_by_day)

    async def top_users(self, requested: CountRange, limit: int) -> TopUsers:
        """Return the users with the most sessions created.

        Raises StoreUnavailable and Overloaded.
        """
        return await self._top_lists.rank(range(requested.first_day, requested.last_day + 1), limit)

    async def _count_users(
        self, shard: int, total: Union, sources: Sequence[str], days: Sequence[int]
    ) -> dict[Union, int]:
        """Return what `UniqueUsers.count` returns, with 0 for other programs' data."""
        unique = await self._unique_users.count(shard, total, sources, days)
        if None in unique.values():
            _logger.error("foreign data under a key of unique users: another program writes with our key prefix")
        return {union: number or 0 for union, number in unique.items()}


def _zeros(requested: CountRange) -> SourceCounts:
    return SourceCounts([0] * len(requested.starts), [0] * len(requested.starts))


def _total(sources: Iterable[SourceCounts], requested: CountRange, unique_users: int) -> SourceCounts:
    """Return the figures of all sources.

    `unique_users` is not a sum, because a user may have sessions of several sources.
    """
    total = _zeros(requested)
    total.unique_users = unique_users
    for counts in sources:
        total.active += counts.active
        total.created = _add_lists(total.created, counts.created)
        total.ended = _add_lists(total.ended, counts.ended)
    return total


def _add_lists(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return list(map(operator.add, one, other))
