"""Reads the counts as the keyspace's table describes them, for tests to compare with what they did."""

import struct
from collections import Counter
from dataclasses import dataclass, field

from service.sessions import SHARD_COUNT
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from tests.support.servers import Raw


@dataclass
class Counts:
    """All counts of a prefix, summed over shards, by source."""

    created: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    live_by_hour: Counter[str] = field(default_factory=Counter)
    live_by_minute: Counter[str] = field(default_factory=Counter)


async def read_counts(raw: Raw, keyspace: Keyspace) -> Counts:
    """Sum up all counters."""
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
            counts.live_by_hour[source] += sum(hours[48:])
        for key in await all_keys(raw, base + "minutes:"):
            counts.live_by_minute[key.removeprefix(base).split(":", 2)[2]] += sum(await counters(raw, key))
    return counts


async def counters(raw: Raw, key: str) -> list[int]:
    """Return the counters that stand in a string."""
    value = await raw.execute_command("GET", key, NEVER_DECODE=True)
    return list(struct.unpack(f">{len(value) // 4}I", value))


async def all_keys(raw: Raw, prefix: str) -> list[str]:
    """Return every key that begins with `prefix`."""
    pattern = prefix.replace("[", "\\[") + "*"
    return [key async for key in raw.scan_iter(match=pattern, count=1000)]


async def top_users(raw: Raw, keyspace: Keyspace) -> dict[str, tuple[int, int]]:
    """Return count and error bound of every user in the top lists."""
    found = {}
    for shard in range(SHARD_COUNT):
        for key in await all_keys(raw, keyspace.base(shard) + "top:"):
            for user, score in await raw.zrange(key, 0, -1, withscores=True):
                if user:  # else the floor
                    found[user] = divmod(int(score), TOP_SCORE_UNIT)
    return found
