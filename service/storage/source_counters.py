"""Reads the counters of sessions in one shard, a bounded number in each call."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from service.counts import HOUR, MINUTE
from service.sessions import SHARD_COUNT, is_source
from service.storage.connection import RedisConnection
from service.storage.history import HourlyCounters, Span
from service.storage.keyspace import Keyspace
from service.storage.paging import PageSizes, pages
from service.storage.pipelines import read

Add = Callable[[HourlyCounters, bytes], None]


@dataclass(frozen=True)
class _Row:
    """The counters of one day or hour, which are read for every source.

    The key of a source is `keys_start` and its name. `add` adds the value of the key to
    the counters of a source.
    """

    keys_start: str
    add: Add


class SourceCounters:
    """Reads the sources of each day, and their counters."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes

    async def sources(self, days: Sequence[int]) -> Sequence[Sequence[str]]:
        """Return for each shard the sources that were counted on the days.

        Raises StoreUnavailable and Overloaded.
        """
        found: list[set[bytes]] = [set() for _ in range(SHARD_COUNT)]
        for page in pages(product(range(SHARD_COUNT), days), self._sizes.commands):
            commands = [("SMEMBERS", self._keyspace.sources(shard, day)) for shard, day in page]
            for (shard, _), names in zip(page, await read(self._connection, "sources", commands), strict=True):
                found[shard].update(names or ())
        return [_valid_sources(names) for names in found]

    def pages(self, sources: Iterable[str], span: Span) -> Iterator[list[str]]:
        """Yield the sources in lists whose counters of a shard fit one call."""
        return pages(sources, max(1, self._sizes.slices // (len(span.read_days) + 1)))

    async def add(self, shard: int, counters: Mapping[str, HourlyCounters], span: Span) -> None:
        """Add what a shard has counted on the days of a span.

        `counters` has an entry for each source of one of `pages`. All sources of a page
        are read at the same moment. Raises StoreUnavailable and Overloaded.
        """
        for page in pages(product(self._rows(shard, span), counters), self._sizes.slices):
            keys = [row.keys_start + source for row, source in page]
            (replies,) = await read(self._connection, "counters", [("MGET", *keys)])
            for (row, source), reply in zip(page, replies, strict=True):
                if reply is not None:
                    row.add(counters[source], reply)

    def _rows(self, shard: int, span: Span) -> Iterator[_Row]:
        for day in span.read_days:
            yield _Row(self._keyspace.day(shard, day, ""), _add_day(day - span.days.start))
        minutes = self._keyspace.minutes(shard, span.oldest // HOUR, "")
        yield _Row(minutes, _add_minutes(span.oldest % HOUR // MINUTE))


def _add_day(number: int) -> Add:
    return lambda counters, value: counters.add_day(number, value)


def _add_minutes(first: int) -> Add:
    return lambda counters, value: counters.add_minutes(first, value)


def _valid_sources(names: set[bytes]) -> Sequence[str]:
    """Return the names in order, without those that another program has written."""
    return [source for name in sorted(names) if is_source(source := name.decode(errors="replace"))]
