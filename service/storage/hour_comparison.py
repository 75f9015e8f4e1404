"""Compares the live counts by hour with the sessions that a scan has found.

Sessions end during the scan, and move to other shards when their users change. A
session that leaves an hour or arrives in it may be found or not. So the number found
may differ from the count by as many sessions as the count has changed between two
reads.

Two reads, before and after the scan, do not show that one session has left and another
has arrived. So an hour that seems wrong is compared in a second scan, with a read after
each page of sessions. A difference that is smaller than the changes is not found.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from service.counts import HOUR
from service.sessions import SECOND_US, Session, shard_of
from service.storage.live_counts import Bucket, LiveCounts

# After this time, no creation of the hour that has ended is still in progress.
_SETTLED_SECONDS = 60


class Difference(NamedTuple):
    """The bounds of the number of sessions found, minus the number counted."""

    least: int
    most: int

    @property
    def is_certain(self) -> bool:
        """Whether the numbers cannot be equal."""
        return self.least > 0 or self.most < 0


class HourComparison:
    """One comparison. A scan between `begin` and `differences` adds the sessions."""

    def __init__(self, counts: LiveCounts, ttl_seconds: int, only: Collection[Bucket] = ()) -> None:
        """`only` are the hours to compare. By default, all are compared."""
        self._counts = counts
        self._ttl_seconds = ttl_seconds
        self._only = only
        self._began = time.time()
        self._count: Counter[Bucket] = Counter()
        self._least: Counter[Bucket] = Counter()
        self._most: Counter[Bucket] = Counter()
        self._found: Counter[Bucket] = Counter()

    async def begin(self) -> None:
        """Read the counts before the scan."""
        self._began = time.time()
        self._count = await self._read()
        self._least, self._most = self._count.copy(), self._count.copy()

    def add(self, sessions: Iterable[Session]) -> None:
        """Add live sessions."""
        self._found.update((shard_of(one.id), one.source, one.started_at // SECOND_US // HOUR) for one in sessions)

    async def observe(self) -> None:
        """Read the counts during the scan."""
        counts = await self._read()
        for bucket in {*counts, *self._count}:
            change = counts[bucket] - self._count[bucket]
            self._least[bucket] += min(change, 0)
            self._most[bucket] += max(change, 0)
        self._count = counts

    async def differences(self) -> Mapping[Bucket, Difference]:
        """Return the differences of the hours with sessions that can be compared."""
        await self.observe()
        return dict(self._compare())

    def _compare(self) -> Iterator[tuple[Bucket, Difference]]:
        # Earlier sessions have expired.
        first_hour = (int(time.time()) - self._ttl_seconds) // HOUR + 1
        moving_hour = int(self._began - _SETTLED_SECONDS) // HOUR
        for bucket in {*self._most, *self._found}:
            found, most = self._found[bucket], self._most[bucket]
            difference = Difference(found - most, found - self._least[bucket])
            is_moving = bucket[2] >= moving_hour and difference.is_certain
            if bucket[2] >= first_hour and not is_moving and (found or most):
                yield bucket, difference

    async def _read(self) -> Counter[Bucket]:
        if self._only:
            return await self._counts.of(self._only)
        return await self._counts.by_hour(self._began - self._ttl_seconds, self._began)


def certain(differences: Mapping[Bucket, Difference]) -> Mapping[Bucket, Difference]:
    """Return the differences that are certain."""
    return {bucket: one for bucket, one in differences.items() if one.is_certain}


def confirmed(
    differences: Mapping[Bucket, Difference], again: Mapping[Bucket, Difference]
) -> Mapping[Bucket, Difference]:
    """Return the certain differences of two comparisons that can be the same."""
    first, second = certain(differences), certain(again)
    both = {
        bucket: Difference(
            max(first[bucket].least, second[bucket].least), min(first[bucket].most, second[bucket].most)
        )
        for bucket in first.keys() & second.keys()
    }
    return {bucket: one for bucket, one in both.items() if one.least <= one.most}
