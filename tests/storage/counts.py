"""Reads the stored counts by the key table in `keyspace.py`.

Tests compare them with the operations that they ran.
"""

import struct
import time
from collections import Counter
from dataclasses import dataclass, field

from service.counts import DAY, CountRange, Interval
from service.sessions import SHARD_COUNT
from service.storage.analytics import RedisCountStore
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from tests.support.servers import Raw


@dataclass
class Counts:
    """All counts under a key prefix, summed over the shards, by source."""

    created: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    live_by_hour: Counter[str] = field(default_factory=Counter)
    live_by_minute: Counter[str] = field(default_factory=Counter)


async def read_counts(raw: Raw, keyspace: Keyspace) -> Counts:
    """Return the sums of all counters."""
    counts = Counts()
    for shard in range(SHARD_COUNT):
        base = keyspace.base(shard)
        for key in await all_keys(raw, base + "day:"):
            source = key.removeprefix(base).split(":", 2)[2]
            created, ended, *hours = await counters(raw, key)
            hours += [0] * (72 - len(hours))
            assert created == sum(hours[:24]), key
            assert ended == sum(hours[24:48]), key
            counts.created[source] += created
            counts.ended[source] += ended
            counts.live_by_hour[source] += sum(hours[48:72])
        for key in await all_keys(raw, base + "minutes:"):
            counts.live_by_minute[key.removeprefix(base).split(":", 2)[2]] += sum(await counters(raw, key))
    return counts


async def counters(raw: Raw, key: str) -> list[int]:
    """Return the 32-bit counters that a string value holds."""
    value = await raw.execute_command("GET", key, NEVER_DECODE=True)
    return list(struct.unpack(f">{len(value) // 4}I", value))


async def all_keys(raw: Raw, prefix: str) -> list[str]:
    """Return every key that begins with `prefix`."""
    pattern = prefix.replace("[", "\\[") + "*"
    return [key async for key in raw.scan_iter(match=pattern, count=1000)]


async def top_users(raw: Raw, keyspace: Keyspace) -> dict[str, tuple[int, int]]:
    """Return the count and the error bound of every user in the top lists."""
    found = {}
    for shard in range(SHARD_COUNT):
        for key in await all_keys(raw, keyspace.base(shard) + "top:"):
            for user, score in await raw.zrange(key, 0, -1, withscores=True):
                if user:  # the empty id is the floor of the list
                    found[user] = divmod(int(score), TOP_SCORE_UNIT)
    return found


async def read_consents(analytics: RedisCountStore) -> tuple[int, int]:
    """Return the consents given and withdrawn in the last day."""
    now = time.time()
    counts = await analytics.count_sessions(CountRange.around(now - DAY, now, Interval.HOUR), now)
    return sum(counts.total.consent_given), sum(counts.total.consent_withdrawn)
