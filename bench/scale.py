"""The cost of counts and users at scale: `make bench-scale`, six minutes.

A  The last day by hour, with 10,000 and with 1,000,000 live sessions.
B  90 days by day, with 100,000 users per day.
C  The memory of all counts of 90 days.
D  The memory of a user's index.
E  The erasure of a user with 10,000 sessions.
F  The counts of one user and the most active users, over 90 days.

All sessions are created through the real write path. B and C fill some days this way
and copy their counts to earlier days with `COPY`. The time of Redis is from `INFO
commandstats`. The longest call, which delays all others, is from `INFO latencystats`.
Figures are medians. The benchmark runs on every installed server.
"""

import asyncio
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio

from service.config.settings import AnalyticsSettings, RedisSettings
from service.counts import DAY, HOUR, MAX_RETENTION_DAYS, CountRange, Interval
from service.digests import UserDigest
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.connection import RedisConnection
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.lane import OPERATORS
from service.storage.session_store import RedisSessionStore
from service.storage.user_store import RedisUserStore
from tests.support.servers import Raw, RedisServer, binaries

BATCH = 500
ROUNDS = 20
SOURCES = [f"jay.api.playout.1.0.{number}" for number in range(5)]
USERS_A_DAY = 100_000
DAYS = 90
ERASED_SESSIONS = 10_000
LISTED_USERS_A_DAY = 3200  # 200 per shard, twice the length of a top list
MINUTE_KEYS = 27  # hours with counts by minute: TTL + 2 h, and the current hour
OPTIONS = ("--latency-tracking-info-percentiles", "100", "--lazyfree-lazy-user-del", "no")
KINDS = ("minutes", "day", "unique", "sources", "top")
# The commands that the measured operations send. Commands in scripts are part of
# EVALSHA.
SENT = ("evalsha", "hget", "mget", "smembers", "zcard", "zrange")
KEYSPACE = Keyspace("jay")
DIGEST = UserDigest("bench-secret")

new = SessionFactory(DIGEST).new
Step = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Bench:
    """A measured server and the stores that use it, with the connections of a worker.

    `store` uses the connection for sessions. The others use `connection`, the one for
    operators.
    """

    raw: Raw
    connection: RedisConnection
    store: RedisSessionStore
    lookup: RedisSessionStore
    analytics: RedisCountStore
    users: RedisUserStore

    async def fill(self, sessions: Iterable[Session]) -> None:
        """Create sessions in batches."""
        remaining = iter(sessions)
        while batch := list(itertools.islice(remaining, BATCH)):
            assert all(await self.store.create_many(batch))


@asynccontextmanager
async def bench_on(binary: str, ttl_seconds: int = DAY) -> AsyncIterator[Bench]:
    """Run a server and yield the stores that use it."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(binary, Path(folder), *OPTIONS) as server:
        settings, kept = RedisSettings(timeout_seconds=10), AnalyticsSettings()
        sessions = RedisConnection.alone(server.url, settings)
        connection = RedisConnection.alone(server.url, settings, lane=OPERATORS)
        async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as raw:
            store, lookup = (
                RedisSessionStore(
                    one, KEYSPACE, Lifetimes.of(ttl_seconds, kept.retention_days), top_users=kept.top_users
                )
                for one in (sessions, connection)
            )
            analytics = RedisCountStore(
                connection, KEYSPACE, ttl_seconds=ttl_seconds, retention_days=MAX_RETENTION_DAYS
            )
            users = RedisUserStore(connection, KEYSPACE, DIGEST, retention_days=kept.retention_days)
            yield Bench(raw, connection, store, lookup, analytics, users)
        await sessions.close()
        await connection.close()


async def measured(raw: Raw, title: str, operation: Step, prepare: Step | None = None) -> tuple[float, float]:
    """Print and return the medians of an operation: elapsed ms, and ms of Redis.

    `prepare` runs before each round and is not measured.
    """
    costs = []
    for _ in range(ROUNDS):
        if prepare:
            await prepare()
        await raw.config_resetstat()
        started = time.perf_counter()
        await operation()
        wall = time.perf_counter() - started
        spent, longest = await redis_time(raw)
        costs.append((wall * 1e3, spent / 1e3, longest / 1e3))
    wall, spent, longest = map(statistics.median, zip(*costs, strict=True))
    print(f"  {title:44} {wall:6.1f} ms, Redis {spent:6.2f} ms, longest call {longest:6.2f} ms", flush=True)
    return wall, spent


async def redis_time(raw: Raw) -> tuple[float, float]:
    """Return the time of all calls and of the longest since the last reset, in µs."""
    stats, latencies = await raw.info("commandstats"), await raw.info("latencystats")
    spent = sum(stats.get(f"cmdstat_{name}", {"usec": 0})["usec"] for name in SENT)
    longest = max(latencies.get(f"latency_percentiles_usec_{name}", {"p100": 0})["p100"] for name in SENT)
    return spent, longest


def spaced_times(start: float, seconds: float, count: int) -> Iterator[tuple[int, int]]:
    """Return numbers with times in µs, evenly spaced and in order."""
    return ((number, int((start + seconds * number / count) * 1e6)) for number in range(count))


def live_sessions(now: float, count: int, users: int) -> Iterator[Session]:
    """Yield sessions of the last 23 hours, half of them of guests."""
    chance = random.Random(1)  # noqa: S311 - a seed, so that runs are equal
    for number, at in spaced_times(now - 23 * HOUR, 23 * HOUR, count):
        user = user_id(0, chance.randrange(users)) if number % 2 else None
        yield new(chance.choice(SOURCES), user)._replace(started_at=at)


def day_of_users(day: int, users: int, sources_each: int) -> Iterator[Session]:
    """Yield a session for each user and source of a day. Each day has other users."""
    for number, at in spaced_times(day * DAY, DAY, users * sources_each):
        yield new(SOURCES[number % 5], user_id(day, number // sources_each))._replace(started_at=at)


def user_id(day: int, number: int) -> str:
    """Return a user id with the length of a UUID."""
    return f"{day:08}-0000-0000-0000-{number:012}"


def last_days(days: int) -> CountRange:
    """Return the range of the last days, including today."""
    tomorrow = int(time.time()) // DAY + 1
    return CountRange((tomorrow - days) * DAY, tomorrow * DAY, Interval.DAY)


async def measured_in_states(bench: Bench, title: str, asked: CountRange) -> dict[str, tuple[float, float]]:
    """Measure a count in three states.

    `quiet`: nothing changes. `busy`: two new users come before each call. `first`: no
    count is cached.
    """
    days = range(asked.first_day, asked.last_day + 1)
    unions = [f"{KEYSPACE.base(shard)}unions:{day}" for shard in range(SHARD_COUNT) for day in days]

    async def count() -> None:
        await bench.analytics.count_sessions(asked, time.time())

    async def create_two() -> None:
        await bench.fill(new(SOURCES[0], f"new-{time.time_ns()}-{number}") for number in range(2))

    async def delete_cached_counts() -> None:
        await bench.raw.delete(*unions)

    await count()
    states = {"quiet": None, "busy": create_two, "first": delete_cached_counts}
    return {state: await measured(bench.raw, f"{title}, {state}", count, states[state]) for state in states}


async def last_day_by_hour(bench: Bench) -> None:
    """Measure A. Targets: 30 ms, 5 ms of Redis, and 1.3 times as much for 1,000,000."""
    costs = []
    for count, users in ((10_000, 1000), (1_000_000, USERS_A_DAY)):
        await bench.raw.flushall()
        now = time.time()
        await bench.fill(live_sessions(now, count, users))
        asked = CountRange.around(now - DAY, now, Interval.HOUR)
        costs.append(await measured_in_states(bench, f"A {count:,} sessions", asked))
    for state, few in costs[0].items():
        wall, spent = (many / one for many, one in zip(costs[1][state], few, strict=True))
        print(f"  {f'A 1,000,000 : 10,000, {state}':44} {wall:6.2f}, Redis {spent:6.2f}")


async def days(bench: Bench, *, sources_each: int, filled: int) -> None:
    """Measure B and C with users in `sources_each` sources. Targets: 150 ms, 130 MB."""
    await bench.raw.flushall()
    asked = last_days(DAYS)
    first_filled = asked.last_day + 1 - filled
    for day in range(first_filled, asked.last_day + 1):
        await bench.fill(day_of_users(day, USERS_A_DAY, sources_each))
    print(f"  C {filled} days, each user in {sources_each} of 5 sources")
    sizes = await sizes_by_kind(bench.raw)
    print_sizes({kind: statistics.mean(sizes[kind]) for kind in sizes})
    await bench.fill(day_of_users(asked.last_day, USERS_A_DAY, sources_each))
    grown = sum(map(sum, (await sizes_by_kind(bench.raw)).values())) - sum(map(sum, sizes.values()))
    print(f"    a second session for each session of a day: {grown} B more", flush=True)
    for day in range(asked.first_day, first_filled):
        await copy_day(bench.raw, first_filled + day % filled, day)
    await measured_in_states(bench, f"B each user in {sources_each} of 5 sources", asked)
    before = (await bench.raw.info("memory"))["used_memory"]
    await bench.raw.delete(*[key for kind in KINDS for key in await count_keys(bench.raw, kind)])
    freed = before - (await bench.raw.info("memory"))["used_memory"]
    print(f"  C {DAYS} days: all counts take {freed / 1e6:.1f} MB of used_memory")


async def count_keys(raw: Raw, kind: str) -> list[str]:
    """Return the keys of a kind of counts."""
    return [key async for key in raw.scan_iter(match=f"*}}{kind}:*", count=10_000)]


async def copy_day(raw: Raw, filled: int, empty: int) -> None:
    """Copy the counts of a day to another day."""
    by_source = [f"{kind}:{{}}:{source}" for kind in ("day", "unique") for source in SOURCES]
    pipeline = raw.pipeline(transaction=False)
    for base in map(KEYSPACE.base, range(SHARD_COUNT)):
        for name in ("sources:{}", "top:{}", *by_source):
            pipeline.copy(base + name.format(filled), base + name.format(empty))
    assert all(await pipeline.execute())


async def sizes_by_kind(raw: Raw) -> dict[str, list[int]]:
    """Return the `MEMORY USAGE` of each count key, by kind."""
    sizes = {}
    for kind in KINDS:
        pipeline = raw.pipeline(transaction=False)
        for key in await count_keys(raw, kind):
            pipeline.memory_usage(key, samples=0)
        sizes[kind] = await pipeline.execute()
    return sizes


def print_sizes(size: dict[str, float]) -> None:
    """Print the mean size of a key of each kind, and the totals that follow from it."""
    source_day = SHARD_COUNT * (size["day"] + size["unique"])
    day = SHARD_COUNT * (size["sources"] + size["top"])
    source = SHARD_COUNT * MINUTE_KEYS * size["minutes"]
    total = DAYS * (len(SOURCES) * source_day + day) + len(SOURCES) * source
    print("    bytes per key:", ", ".join(f"{kind} {value:,.0f}" for kind, value in size.items()))
    print(f"    per source and day {source_day:,.0f} B, per day {day:,.0f} B, per source {source:,.0f} B")
    print(f"    {DAYS} days: {total / 1e6:.1f} MB")


async def index_of_a_user(bench: Bench) -> None:
    """Measure D. Targets: 350 B, and 120 B for each further session."""
    await bench.raw.flushall()
    first = 0
    for count in (1, 2, 100, 1000, 100_000):
        user = user_id(0, count)
        await bench.fill(new(SOURCES[0], user) for _ in range(count))
        size = await bench.raw.memory_usage(KEYSPACE.user(DIGEST(user)), samples=0)
        first = first or size
        further = (size - first) / max(1, count - 1)
        print(
            f"  D  index of {count:7,} sessions {size:10,} B, {further:5.1f} B for each after the first", flush=True
        )


async def erasure(bench: Bench) -> None:
    """Measure E. Target: 200 ms."""
    await bench.raw.flushall()
    created, erased = itertools.count(), itertools.count()

    async def create() -> None:
        user, moments = user_id(0, next(created)), spaced_times(time.time() - 23 * HOUR, 23 * HOUR, ERASED_SESSIONS)
        await bench.fill(new(SOURCES[number % 5], user)._replace(started_at=at) for number, at in moments)

    async def erase() -> None:
        assert await bench.users.erase(user_id(0, next(erased)), time.time_ns() // 1000) == ERASED_SESSIONS

    await measured(bench.raw, f"E erasure of {ERASED_SESSIONS:,} sessions", erase, create)


async def most_active_users(bench: Bench) -> None:
    """Measure F with full top lists that have no user in common."""
    await bench.raw.flushall()
    asked = last_days(DAYS)
    for day in range(asked.first_day, asked.last_day + 1):
        await bench.fill(day_of_users(day, LISTED_USERS_A_DAY, 1))
    user = user_id(asked.last_day, 0)
    await measured(bench.raw, "F one user", lambda: bench.users.count(user, asked))
    await measured(bench.raw, "F the most active 100", lambda: bench.analytics.top_users(asked, 100))


async def main() -> None:
    """Measure and print, on every installed server."""
    for name, binary in binaries().items():
        async with bench_on(binary) as bench:
            server = await bench.raw.info("server")
            print(name, server.get("valkey_version") or server["redis_version"])
            await last_day_by_hour(bench)
            await days(bench, sources_each=1, filled=7)
            # 7 days would take 3 minutes more.
            await days(bench, sources_each=5, filled=2)
            await index_of_a_user(bench)
            await erasure(bench)
            await most_active_users(bench)


if __name__ == "__main__":
    asyncio.run(main())
