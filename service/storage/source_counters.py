"""Reads the counters of sessions of one shard, a bounded number in each call."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from service.counts import DAY, HOUR, CountRange, Interval, SourceCounts
from service.sessions import SHARD_COUNT, is_source
from service.storage.connection import RedisConnection
from service.storage.counters import DAY_BYTES, HOURS_BYTES, LIVE_BYTES, MINUTES_BYTES, numbers
from service.storage.keyspace import Keyspace
from service.storage.page_sizes import PageSizes
from service.storage.pipelines import ask, pages

_HOURS_A_DAY = 24

Add = Callable[[SourceCounts, Sequence[int]], None]


@dataclass(frozen=True)
class _Row:
    """The same bytes of every source's counters of a day or an hour. `add` adds them to a source's figures."""

    keys_start: str  # completed by a source
    first_byte: int
    last_byte: int
    add: Add


class SourceCounters:
    """Reads which sources were counted, and what was counted of them."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._counters = connection.script("counters")

    async def sources(self, days: Sequence[int]) -> Sequence[Sequence[str]]:
        """Return for each shard the sources that were counted on the days. Raises StoreUnavailable."""
        found: list[set[bytes]] = [set() for _ in range(SHARD_COUNT)]
        for page in pages(((shard, day) for shard in range(SHARD_COUNT) for day in days), self._sizes.commands):
            commands = [("SMEMBERS", self._keyspace.sources(shard, day)) for shard, day in page]
            for (shard, _), members in zip(page, await ask(self._connection, "sources", commands), strict=True):
                found[shard].update(members or ())
        return [
            [source for name in sorted(names) if is_source(source := name.decode(errors="replace"))]
            for names in found
        ]

    async def add(
        self, shard: int, found: Mapping[str, SourceCounts], requested: CountRange, oldest: int, now: int
    ) -> None:
        """Add to each source's figures what the shard has counted of it. Raises StoreUnavailable.

        `active` are the sessions that began at `oldest` or later, to the minute, and have not ended. The counters of
        a call are of one moment.
        """
        rows = list(self._rows(shard, requested, oldest, now))
        for sources in pages(found, self._sizes.slices):
            for page in pages(rows, max(1, self._sizes.slices // len(sources))):
                fields = [field for row in page for field in (row.keys_start, row.first_byte, row.last_byte)]
                replies = await self._counters([self._keyspace.base(shard)], (len(sources), *sources, *fields))
                for row, counters in zip(page, replies, strict=True):
                    _add_row(row, counters, [found[source] for source in sources])

    def _rows(self, shard: int, requested: CountRange, oldest: int, now: int) -> Iterator[_Row]:
        days = range(requested.first_day, requested.last_day + 1)
        for number, day in enumerate(days):
            key = self._keyspace.day(shard, day, "")
            if requested.interval is Interval.DAY:
                yield _Row(key, *DAY_BYTES, partial(_add_day, number))
            else:
                yield _Row(key, *HOURS_BYTES, partial(_add_hours, (day * DAY - requested.start) // HOUR))
        # A clock ahead of ours may have counted on tomorrow already.
        for day in range(oldest // DAY, now // DAY + 2):
            first_whole_hour = max(0, oldest // HOUR + 1 - day * _HOURS_A_DAY)
            yield _Row(self._keyspace.day(shard, day, ""), *LIVE_BYTES, partial(_add_live, first_whole_hour))
        minutes = self._keyspace.minutes(shard, oldest // HOUR, "")
        yield _Row(minutes, *MINUTES_BYTES, partial(_add_live, oldest % HOUR // 60))


def _add_row(row: _Row, counters: bytes, figures: Sequence[SourceCounts]) -> None:
    width = row.last_byte - row.first_byte + 1
    for number, counts in enumerate(figures):
        part = counters[number * width : (number + 1) * width]
        if part.count(0) < width:  # most sources have nothing in most hours
            row.add(counts, numbers(part))


def _add_day(number: int, counts: SourceCounts, counters: Sequence[int]) -> None:
    counts.created[number] += counters[0]
    counts.ended[number] += counters[1]


def _add_hours(first: int, counts: SourceCounts, counters: Sequence[int]) -> None:
    """Add 24 hours of created and 24 of ended. `first` is the place of the first, negative before the range."""
    skipped = max(0, -first)
    hours = min(_HOURS_A_DAY, len(counts.created) - first) - skipped
    place = slice(first + skipped, first + skipped + hours)
    for figures, start in ((counts.created, skipped), (counts.ended, _HOURS_A_DAY + skipped)):
        figures[place] = map(operator.add, figures[place], counters[start : start + hours])


def _add_live(first: int, counts: SourceCounts, counters: Sequence[int]) -> None:
    counts.active += sum(counters[first:])
