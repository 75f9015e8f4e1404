"""The longest call to Redis at the documented maxima: `make bench-isolation`.

Some of the 16 shards (`SHARDS`, default 4, 0.4 GB each) are filled with 400 days, 60
sources, dense sketches and top lists of 1,000 users with no user in common. A shard is
read by itself, so the longest call does not depend on the number of shards, and the
duration of a request grows with it. 100,000 sessions of one user are exported, counted
and erased. 64 lookups of 1,000 live sessions are in flight at once. Meanwhile a visitor
creates a session every 5 ms.

Each operation runs twice without cached counts. The second time it runs without
visitors, and the CPU time of Redis's main thread is read before and after each call.
This gives the length of the longest call on an idle machine, also when this machine is
busy. The longest call in elapsed time is from `INFO latencystats`.
"""

import asyncio
import os
import time
from functools import partial
from typing import Any

from bench.scale import KEYSPACE, Bench, Step, bench_on, last_days, new, redis_time, user_id
from service.counts import DAY, CountRange, Interval
from service.storage.keyspace import TOP_SCORE_UNIT
from tests.support.servers import Raw, binaries

SHARDS = int(os.environ.get("SHARDS", "4"))
DAYS = 400
SOURCES = [f"jay.api.playout.1.0.{number}" for number in range(60)]
LISTED_USERS = 1000
USERS_A_SKETCH = 5000  # makes sketches dense on Redis and Valkey
VISIT_SECONDS = 0.005
LOOKED_UP = 1000
LOOKUPS_IN_FLIGHT = 64
USER = "a-user-with-many-sessions"
SESSIONS_OF_USER = 100_000


async def fill(raw: Raw) -> None:
    """Write the counters, sketches and top lists of all days."""
    asked = last_days(DAYS)
    for shard in range(SHARDS):
        base = KEYSPACE.base(shard)
        counters = b"\0\0\0\1" * 74
        for source in SOURCES:
            users = [f"{source} {number}" for number in range(USERS_A_SKETCH)]
            await raw.pfadd(f"{base}bench:{source}", *users)
        for day in range(asked.first_day, asked.last_day + 1):
            pipeline = raw.pipeline(transaction=False)
            pipeline.sadd(KEYSPACE.sources(shard, day), *SOURCES)
            for source in SOURCES:
                pipeline.set(KEYSPACE.day(shard, day, source), counters)
                pipeline.copy(f"{base}bench:{source}", f"{base}unique:{day}:{source}")
            scores = {user_id(day, number): (1 + number) * TOP_SCORE_UNIT for number in range(LISTED_USERS)}
            pipeline.zadd(KEYSPACE.top(shard, day), scores)
            await pipeline.execute()


async def visits(bench: Bench, done: asyncio.Event) -> list[float]:
    """Create sessions until `done` and return the times in ms, sorted.

    Raises the error that a visitor would get as 503.
    """
    waits = []
    while not done.is_set():
        started = time.perf_counter()
        assert await bench.store.create_many([new(SOURCES[0], None)]) == [True]
        waits.append((time.perf_counter() - started) * 1e3)
        await asyncio.sleep(VISIT_SECONDS)
    return sorted(waits)


async def delete_cached_counts(raw: Raw) -> None:
    """Delete the cached counts of users."""
    if keys := [key async for key in raw.scan_iter(match="*}unions:*", count=10_000)]:
        await raw.delete(*keys)


async def longest_call(bench: Bench, operation: Step) -> tuple[float, int]:
    """Return the CPU time in ms of the longest call of an operation, and its calls."""
    run = bench.connection.run
    costs: list[float] = []

    async def cpu_seconds() -> float:
        cpu = await bench.raw.info("cpu")
        return float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"])

    async def sampled(name: str, call: Any) -> Any:
        before = await cpu_seconds()
        result = await run(name, call)
        costs.append((await cpu_seconds()) - before)
        return result

    bench.connection.run = sampled  # type: ignore[method-assign, assignment]  # generic
    await operation()
    bench.connection.run = run  # type: ignore[method-assign]
    return max(costs) * 1e3, len(costs)


async def measure(
    bench: Bench, title: str, operation: Step, *, prepare: Step | None = None, alone: Step | None = None
) -> None:
    """Print the cost of one operation.

    `prepare` runs before each of the two runs. `alone` replaces the operation in the
    second run when it has several calls in flight at once, which would be measured as
    one.
    """
    await delete_cached_counts(bench.raw)
    if prepare:
        await prepare()
    await bench.raw.config_resetstat()
    done = asyncio.Event()
    visiting = asyncio.create_task(visits(bench, done))
    started = time.perf_counter()
    await operation()
    wall = time.perf_counter() - started
    done.set()
    waits = await visiting
    spent, elapsed = await redis_time(bench.raw)
    await delete_cached_counts(bench.raw)
    if prepare:
        await prepare()
    longest, calls = await longest_call(bench, alone or operation)
    p50, p99, most = waits[len(waits) // 2], waits[len(waits) * 99 // 100], waits[-1]
    print(
        f"  {title:24} {wall:6.2f} s, Redis {spent / 1e6:6.2f} s, {calls:5} calls, longest {longest:5.2f} ms of CPU"
        f" ({elapsed / 1e3:.1f} ms elapsed). Visitors wait {p50:.1f} ms, p99 {p99:.1f} ms, at most {most:.1f} ms",
        flush=True,
    )


async def measure_lookups(bench: Bench) -> None:
    """Measure lookups of live sessions."""
    sessions = [new(SOURCES[0], None) for _ in range(LOOKED_UP)]
    await bench.fill(sessions)
    ids = [session.id for session in sessions]

    async def look_up() -> None:
        assert len(await bench.lookup.find_each(ids)) == LOOKED_UP

    async def look_up_at_once() -> None:
        await asyncio.gather(*(look_up() for _ in range(LOOKUPS_IN_FLIGHT)))

    await measure(bench, "64 lookups of 1,000 ids", look_up_at_once, alone=look_up)


async def measure_one_user(bench: Bench) -> None:
    """Measure the operations on a user with many sessions. The erasure is the last."""
    users, asked = bench.users, last_days(DAYS)

    async def fill_again() -> None:
        present = len(await users.find_sessions(USER))
        await bench.fill(new(SOURCES[0], USER) for _ in range(SESSIONS_OF_USER - present))

    async def erase() -> None:
        assert await users.erase(USER, time.time_ns() // 1000) == SESSIONS_OF_USER

    sessions = f"{SESSIONS_OF_USER:,} sessions"
    await measure(bench, f"export, {sessions}", partial(users.find_sessions, USER), prepare=fill_again)
    await measure(bench, f"a user, {sessions}", partial(users.count, USER, asked))
    await measure(bench, f"erase, {sessions}", erase, prepare=fill_again)


async def main() -> None:
    """Measure and print, on every installed server."""
    for name, binary in binaries().items():
        async with bench_on(binary, ttl_seconds=DAYS * DAY) as bench:
            server = await bench.raw.info("server")
            print(name, server.get("valkey_version") or server["redis_version"], f"{SHARDS} of 16 shards filled")
            await fill(bench.raw)
            now = time.time()
            count, top = bench.analytics.count_sessions, bench.analytics.top_users
            for days in (90, DAYS):
                asked = last_days(days)
                await measure(bench, f"{days} days by day", partial(count, asked, now))
                await measure(bench, f"{days} days, top users", partial(top, asked, 100))
            hours = CountRange.around(now - 31 * DAY, now, Interval.HOUR)
            await measure(bench, "31 days by hour", partial(count, hours, now))
            await measure_lookups(bench)
            await measure_one_user(bench)


if __name__ == "__main__":
    asyncio.run(main())
