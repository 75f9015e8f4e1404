"""Counts of a range of time, read from all shards and added up.

A shard is read in calls of bounded work (page_sizes.py), one after the other, so that a long range does not hold up
sessions. A session lives in one shard, and so do all sessions of a user, so the numbers of the shards simply add.
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
    """Reads what the scripts of sessions count."""

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
        """Return the counts of all sources, or of one. Raises StoreUnavailable.

        `active` is the sessions created after `now` less the lifetime of a session and not ended, to the minute.
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
        in_all, in_days = 0, [0] * len(days_with_users)
        total = Union(requested.first_day, requested.last_day, source or "")
        for shard, names in enumerate(sources):
            found = {name: by_source.setdefault(name, _nothing(requested)) for name in names}
            await self._counters.add(shard, found, requested, oldest, int(now))
            unique = await self._unique_users.count(shard, total, names, days_with_users)
            if None in unique.values():
                _logger.error(
                    "foreign data under a sketch of unique users: another program writes with our key prefix"
                )
            in_all += unique[total] or 0
            for number, day in enumerate(days_with_users):
                in_days[number] += unique[Union(day, day, total.source)] or 0
            for name, counts in found.items():
                counts.unique_users += unique[total._replace(source=name)] or 0
        return SessionCounts(_sum(by_source.values(), requested, in_all), dict(sorted(by_source.items())), in_days)

    async def top_users(self, requested: CountRange, limit: int) -> TopUsers:
        """Return the users with the most sessions created. Raises StoreUnavailable."""
        return await self._top_lists.rank(range(requested.first_day, requested.last_day + 1), limit)


def _nothing(requested: CountRange) -> SourceCounts:
    return SourceCounts([0] * len(requested.starts), [0] * len(requested.starts))


def _sum(sources: Iterable[SourceCounts], requested: CountRange, unique_users: int) -> SourceCounts:
    """Return the figures of all sources. Their unique users cannot be added."""
    total = _nothing(requested)
    total.unique_users = unique_users
    for counts in sources:
        total.active += counts.active
        total.created = _sums(total.created, counts.created)
        total.ended = _sums(total.ended, counts.ended)
    return total


def _sums(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return list(map(operator.add, one, other))
