"""The counts of live sessions by hour of their creation, for the consistency check."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from service.counts import DAY
from service.sessions import SHARD_COUNT, is_source
from service.storage.client import Command
from service.storage.counters import HOURS_IN_DAY, LIVE_BYTES, numbers
from service.storage.keyspace import Keyspace

# A shard, a source, and an hour since the epoch.
Bucket = tuple[int, str, int]


class Read(Protocol):
    """Sends idempotent commands together."""

    async def __call__(self, *commands: Command) -> list[Any]:
        """Return the replies. An error reply is returned, not raised."""


class LiveCounts:
    """Reads the counts of all shards and sources."""

    def __init__(self, read: Read, keyspace: Keyspace) -> None:
        self._read = read
        self._keyspace = keyspace

    async def by_hour(self, oldest: float, now: float) -> Counter[Bucket]:
        """Return the counts of the days from `oldest` to `now`."""
        days = range(int(oldest) // DAY, int(now) // DAY + 1)
        live: Counter[Bucket] = Counter()
        for shard in range(SHARD_COUNT):
            sources = await self._sources(shard, days)
            live.update(await self._of_days([(shard, source, day) for day, source in sources]))
        return live

    async def of(self, buckets: Iterable[Bucket]) -> Counter[Bucket]:
        """Return the counts of the days of some buckets."""
        days = {(shard, source, hour // HOURS_IN_DAY) for shard, source, hour in buckets}
        return Counter(await self._of_days(sorted(days)))

    async def _of_days(self, days: Sequence[tuple[int, str, int]]) -> dict[Bucket, int]:
        """Return the counts of days, each with its shard and source."""
        keys = [self._keyspace.day(shard, day, source) for shard, source, day in days]
        values = await self._read(*(("GETRANGE", key, *LIVE_BYTES) for key in keys))
        return {
            (shard, source, day * HOURS_IN_DAY + hour): count
            for (shard, source, day), value in zip(days, values, strict=True)
            for hour, count in enumerate(numbers(value) if isinstance(value, bytes) else ())
        }

    async def _sources(self, shard: int, days: Sequence[int]) -> list[tuple[int, str]]:
        """Return each day with each of its sources."""
        replies = await self._read(*(("SMEMBERS", self._keyspace.sources(shard, day)) for day in days))
        return [
            (day, source)
            for day, names in zip(days, replies, strict=True)
            if not isinstance(names, Exception)
            for name in names
            if is_source(source := name.decode(errors="replace"))
        ]
