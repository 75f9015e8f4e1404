"""Reads the counters of sessions in one shard, a bounded number in each call."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from service.counts import DAY, HOUR, MINUTE, CountRange, Interval, SourceCounts
from service.sessions import SHARD_COUNT, is_source
from service.storage.connection import RedisConnection
from service.storage.counters import DAY_BYTES, HOURS_BYTES, HOURS_IN_DAY, LIVE_BYTES, MINUTES_BYTES, numbers
from service.storage.keyspace import Keyspace
from service.storage.page_sizes import PageSizes
from service.storage.pipelines import pages, read

Add = Callable[[SourceCounts, Sequence[int]], None]


@dataclass(frozen=True)
class _Row:
    """A part of the counters of one day or hour, read for every source.

    The key of a source is `keys_start` and its name. `add` adds the counters that were
    read to the figures of a source.
    """

    keys_start: str
    first_byte: int
    last_byte: int
    add: Add


class SourceCounters:
    """Reads the sources of each day, and their counters."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._counters = connection.script("counters")

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

    async def add(
        self, shard: int, figures: Mapping[str, SourceCounts], requested: CountRange, oldest: int, now: int
    ) -> None:
        """Add the shard's counts to the figures of each source.

        `active` counts the sessions that were created at `oldest` or later, to the
        minute, and have not ended. The counters of one call are from the same moment.
        Raises StoreUnavailable and Overloaded.
        """
        rows = list(self._rows(shard, requested, oldest, now))
        for sources in pages(figures, self._sizes.slices):
            for page in pages(rows, max(1, self._sizes.slices // len(sources))):
                fields = [field for row in page for field in (row.keys_start, row.first_byte, row.last_byte)]
                declared = (row.keys_start + source for row in page for source in sources)
                arguments = (len(sources), *sources, *fields)
                replies = await self._counters([self._keyspace.base(shard)], arguments, declared)
                for row, counters in zip(page, replies, strict=True):
                    _add_row(row, counters, [figures[source] for source in sources])

    def _rows(self, shard: int, requested: CountRange, oldest: int, now: int) -> Iterator[_Row]:
        for number, day in enumerate(range(requested.first_day, requested.last_day + 1)):
            key = self._keyspace.day(shard, day, "")
            if requested.interval is Interval.DAY:
                yield _Row(key, *DAY_BYTES, partial(_add_day, number))
            else:
                yield _Row(key, *HOURS_BYTES, partial(_add_hours, (day * DAY - requested.start) // HOUR))
        # The range includes tomorrow, because another machine's clock may be ahead.
        for day in range(oldest // DAY, now // DAY + 2):
            first_whole_hour = max(0, oldest // HOUR + 1 - day * HOURS_IN_DAY)
            yield _Row(self._keyspace.day(shard, day, ""), *LIVE_BYTES, partial(_add_live, first_whole_hour))
        minutes = self._keyspace.minutes(shard, oldest // HOUR, "")
        yield _Row(minutes, *MINUTES_BYTES, partial(_add_live, oldest % HOUR // MINUTE))


def _valid_sources(names: set[bytes]) -> Sequence[str]:
    """Return the names in order, without those that another program has written."""
    return [source for name in sorted(names) if is_source(source := name.decode(errors="replace"))]


def _add_row(row: _Row, counters: bytes, figures: Sequence[SourceCounts]) -> None:
    width = row.last_byte - row.first_byte + 1
    for number, counts in enumerate(figures):
        part = counters[number * width : (number + 1) * width]
        if part.count(0) < width:  # most sources have only zeros in most hours
            row.add(counts, numbers(part))


def _add_day(number: int, counts: SourceCounts, counters: Sequence[int]) -> None:
    counts.created[number] += counters[0]
    counts.ended[number] += counters[1]


def _add_hours(first: int, counts: SourceCounts, counters: Sequence[int]) -> None:
    """Add 24 hours of created and 24 hours of ended sessions.

    `first` is the position of the day's first hour in the range. It is negative when
    the range begins later on that day.
    """
    skipped = max(0, -first)
    hours = min(HOURS_IN_DAY, len(counts.created) - first) - skipped
    target = slice(first + skipped, first + skipped + hours)
    for figures, start in ((counts.created, skipped), (counts.ended, HOURS_IN_DAY + skipped)):
        figures[target] = map(operator.add, figures[target], counters[start : start + hours])


def _add_live(first: int, counts: SourceCounts, counters: Sequence[int]) -> None:
    counts.active += sum(counters[first:])
