"""Reads the stored counts by the key table in `keyspace.py`.

Tests compare them with the operations that they ran.
"""

import re
import struct
import time
from collections import Counter
from dataclasses import dataclass, field

from service.counts import DAY, CountRange, Interval
from service.sessions import SHARD_COUNT
from service.storage.count_store import RedisCountStore
from service.storage.counters import COUNTERS_IN_DAY
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
    for key, name in await _names(raw, keyspace):
        match name.split(":", 2):
            case ["day", _, source]:
                created, ended, *hours = await counters_of_day(raw, key)
                assert created == sum(hours[:24]), key
                assert ended == sum(hours[24:48]) == sum(hours[120:]), key
                counts.created[source] += created
                counts.ended[source] += ended
                counts.live_by_hour[source] += sum(hours[48:72])
            case ["minutes", _, source]:
                counts.live_by_minute[source] += sum(await counters(raw, key))
    return counts


async def counters(raw: Raw, key: str) -> list[int]:
    """Return the 32-bit counters that a string value holds."""
    value = await raw.execute_command("GET", key, NEVER_DECODE=True)
    return list(struct.unpack(f">{len(value) // 4}I", value))


async def counters_of_day(raw: Raw, key: str) -> list[int]:
    """Return all counters of a day. Those that are missing in the string are zeros."""
    found = await counters(raw, key)
    return found + [0] * (COUNTERS_IN_DAY - len(found))


async def _names(raw: Raw, keyspace: Keyspace) -> list[tuple[str, str]]:
    """Return every key, and its name within its shard. One scan serves all shards."""
    bases = "|".join(re.escape(keyspace.base(shard)) for shard in range(SHARD_COUNT))
    keys = [key async for key in raw.scan_iter(match=keyspace.pattern, count=1000)]
    # SCAN may return a key more than once.
    return [(key, found[1]) for key in dict.fromkeys(keys) if (found := re.fullmatch(f"(?:{bases})(.*)", key))]


async def all_keys(raw: Raw, prefix: str) -> list[str]:
    """Return every key that begins with `prefix`."""
    pattern = prefix.replace("[", "\\[") + "*"
    return [key async for key in raw.scan_iter(match=pattern, count=1000)]


async def top_users(raw: Raw, keyspace: Keyspace) -> dict[str, tuple[int, int]]:
    """Return the count and the error bound of every user in the top lists."""
    found = {}
    for key, name in await _names(raw, keyspace):
        if name.startswith("top:"):
            for user, score in await raw.zrange(key, 0, -1, withscores=True):
                if user:  # the empty id is the floor of the list
                    found[user] = divmod(int(score), TOP_SCORE_UNIT)
    return found


async def read_consents(analytics: RedisCountStore) -> tuple[int, int]:
    """Return the consents given and withdrawn in the last day."""
    now = time.time()
    counts = await analytics.count_sessions(CountRange.around(now - DAY, now, Interval.HOUR), now)
    return sum(counts.total.consent_given), sum(counts.total.consent_withdrawn)
