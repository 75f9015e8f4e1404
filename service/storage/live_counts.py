"""The counts of live sessions by hour of their creation, for the consistency check."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from service.counts import DAY
from service.sessions import SHARD_COUNT, is_source
from service.storage.counters import HOURS_IN_DAY, LIVE_BYTES, numbers
from service.storage.keyspace import Keyspace

# Sends commands together. Error replies are returned, not raised.
Read = Callable[..., Awaitable[list[Any]]]

# A shard, a source, and an hour since the epoch.
Bucket = tuple[int, str, int]


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
            keys = [self._keyspace.day(shard, day, source) for day, source in sources]
            values = await self._read(*(("GETRANGE", key, *LIVE_BYTES) for key in keys))
            for (day, source), value in zip(sources, values, strict=True):
                for hour, count in enumerate(numbers(value) if isinstance(value, bytes) else ()):
                    live[shard, source, day * HOURS_IN_DAY + hour] = count
        return live

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
