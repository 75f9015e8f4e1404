"""Reads the counts as the keyspace's table describes them, for tests to compare with what they did."""

from collections import Counter
from dataclasses import dataclass, field

from service.sessions import SHARD_COUNT
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from tests.servers import Raw


@dataclass
class Counts:
    """All counts of a prefix, summed over shards, by source."""

    created: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    live_by_hour: Counter[str] = field(default_factory=Counter)
    live_by_minute: Counter[str] = field(default_factory=Counter)


async def read_counts(raw: Raw, keyspace: Keyspace) -> Counts:
    """Sum up every hash of counts."""
    counts = Counts()
    for shard in range(SHARD_COUNT):
        base = keyspace.base(shard)
        for key in await all_keys(raw, base + "day:"):
            for name, count in (await raw.hgetall(key)).items():
                kind, source = name.lstrip("0123456789")[0], name.lstrip("0123456789")[1:]
                {"c": counts.created, "e": counts.ended, "l": counts.live_by_hour}[kind][source] += int(count)
        for key in await all_keys(raw, base + "minutes:"):
            for name, count in (await raw.hgetall(key)).items():
                counts.live_by_minute[name.split(" ", 1)[1]] += int(count)
    return counts


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
                found[user] = divmod(int(score), TOP_SCORE_UNIT)
    return found
