"""Counts of a time range, read from all shards and added.

Each call reads a bounded part of a shard (`paging.py`), and the calls run one after
the other, so a long range does not delay sessions. A session is in one shard, and so
are all sessions of a user. So the numbers of the shards add up, unique users included.
"""

import asyncio
import logging
import operator
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from service.counts import DAY, CountRange, CountStore, Interval, SessionCounts, SourceCounts, TopUsers
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.history import HourlyCounters, HourlyFigures, Span
from service.storage.keyspace import Keyspace
from service.storage.paging import PAGE_SIZES, PageSizes
from service.storage.source_counters import SourceCounters
from service.storage.top_lists import TopLists
from service.storage.union_steps import UserUnion
from service.storage.unique_users import UniqueUsers

_logger = logging.getLogger(__name__)


class RedisCountStore(CountStore):
    """Reads the counts that the scripts of sessions write."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        *,
        ttl_seconds: int,
        retention_days: int,
        page_sizes: PageSizes = PAGE_SIZES,
    ) -> None:
        self._ttl_seconds = ttl_seconds
        self._retention_days = retention_days
        self._counters = SourceCounters(connection, keyspace, page_sizes)
        self._unique_users = UniqueUsers(connection, keyspace, page_sizes)
        self._top_lists = TopLists(connection, keyspace, page_sizes)

    async def count_sessions(self, requested: CountRange, now: float, source: str | None = None) -> SessionCounts:
        """Return the counts of all sources, or of one.

        `active` counts the sessions that were created after `now` minus the lifetime of
        a session and have not ended, to the minute. Raises StoreUnavailable and
        Overloaded.
        """
        kept_from = (int(now) // DAY - self._retention_days) * DAY
        span = Span(requested, int(now), self._ttl_seconds, kept_from)
        if source is None:
            sources = await self._counters.sources(span.read_days)
        else:
            sources = [[source]] * SHARD_COUNT
        total = HourlyFigures(span, HourlyCounters(span))
        by_source: dict[str, SourceCounts] = {}
        for page in self._counters.pages(sorted(set().union(*sources)), span):
            for name, figures in (await self._figures(page, sources, span)).items():
                total.add(figures)
                counts = figures.counts()
                if counts.has_sessions() or source is not None:
                    by_source[name] = counts
        found = SessionCounts(total.counts(), by_source, peak=total.peak())
        counted = [[name for name in names if name in by_source] for names in sources]
        await self._add_unique_users(found, requested, counted, source)
        return found

    async def _figures(
        self, names: Sequence[str], sources: Sequence[Sequence[str]], span: Span
    ) -> dict[str, HourlyFigures]:
        """Return the figures of some sources. `sources` has all sources, by shard."""
        figures = await self._read(names, sources, span)
        incomplete = [name for name, found in figures.items() if not found.is_complete]
        span = replace(span, until_now=True)
        for page in self._counters.pages(incomplete, span):
            figures.update(await self._read(page, [page] * SHARD_COUNT, span))
        return figures

    async def _read(
        self, names: Sequence[str], sources: Sequence[Sequence[str]], span: Span
    ) -> dict[str, HourlyFigures]:
        counters = {name: HourlyCounters(span) for name in names}
        for shard, in_shard in enumerate(sources):
            await self._counters.add(shard, {name: counters[name] for name in in_shard if name in counters}, span)
        figures = {}
        for name, of_source in counters.items():
            figures[name] = HourlyFigures(span, of_source)
            await asyncio.sleep(0)  # 90 days take 2 ms, and visitors wait
        return figures

    async def _add_unique_users(
        self, counts: SessionCounts, requested: CountRange, sources: Sequence[Sequence[str]], source: str | None
    ) -> None:
        total = UserUnion(requested.first_day, requested.last_day, source or "")
        by_interval = []
        if requested.interval is Interval.DAY:
            edges = pairwise((*requested.starts, requested.end))
            by_interval = [UserUnion(start // DAY, (end - 1) // DAY, total.source) for start, end in edges]
        counts.unique_users = [0] * len(by_interval)
        for shard, names in enumerate(sources):
            unique = await self._count_users(shard, total, names, by_interval)
            counts.total.unique_users += unique[total]
            in_shard = [unique[union] for union in by_interval]
            counts.unique_users = list(map(operator.add, counts.unique_users, in_shard))
            for name in names:
                counts.by_source[name].unique_users += unique[total._replace(source=name)]

    async def top_users(self, requested: CountRange, limit: int) -> TopUsers:
        """Return the users with the most sessions created.

        Raises StoreUnavailable and Overloaded.
        """
        return await self._top_lists.rank(range(requested.first_day, requested.last_day + 1), limit)

    async def _count_users(
        self, shard: int, total: UserUnion, sources: Sequence[str], intervals: Sequence[UserUnion]
    ) -> dict[UserUnion, int]:
        """Return what `UniqueUsers.count` returns, with 0 for other programs' data."""
        unique = await self._unique_users.count(shard, total, sources, intervals)
        if None in unique.values():
            _logger.error("foreign data under a key of unique users: another program writes with our key prefix")
        return {union: number or 0 for union, number in unique.items()}
