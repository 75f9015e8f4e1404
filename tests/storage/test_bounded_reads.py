"""Reports over long ranges, read in calls of bounded work.

The results do not depend on page sizes, are never stale, and leave no scratch keys.
"""

import asyncio
import random
import re
import signal
import struct
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.counts import DAY, HOUR, CountRange, Interval, SessionCounts
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from service.storage.lane import OPERATORS
from service.storage.paging import PAGE_SIZES, PageSizes
from service.storage.self_test import SelfTest
from service.storage.self_test_steps import TTL_SECONDS
from service.storage.session_store import RedisSessionStore
from tests.storage.conftest import Connect, MakeAnalytics, MakeStore, Mint
from tests.storage.counts import all_keys
from tests.support.servers import Raw, RedisServer

NOW = (int(time.time()) // DAY - 1) * DAY + 13 * HOUR
TODAY = NOW // DAY
TINY = PageSizes(commands=1, slices=1, sketches=1, entries=1, users=1000)
SMALL = PageSizes(commands=3, slices=7, sketches=20, entries=5, users=1000)
FEW_SKETCHES = replace(PAGE_SIZES, sketches=20)


def days(number: int) -> CountRange:
    """Return the range of this many days that ends with NOW's day."""
    return CountRange((TODAY - number + 1) * DAY, (TODAY + 1) * DAY, Interval.DAY)


def after_each(connection: RedisConnection, name: str, hook: Callable[[int], Awaitable[None]]) -> None:
    """Await `hook` with the call number after each call with this name."""
    call_all, number = connection.call_all, 0

    async def hooked(called: str, *arguments: Any, **more: Any) -> Any:
        nonlocal number
        result = await call_all(called, *arguments, **more)
        if called == name:
            number += 1
            await hook(number)
        return result

    connection.call_all = hooked  # type: ignore[method-assign, assignment]


async def scratch_keys(raw: Raw, keyspace: Keyspace) -> list[str]:
    pattern = keyspace.pattern.replace("[", "\\[") + "}scratch:*"
    return [key async for key in raw.scan_iter(match=pattern, count=5000)]


async def cached_counts(raw: Raw, keyspace: Keyspace) -> dict[str, str]:
    """Return all fields of the hashes of cached counts."""
    found: dict[str, str] = {}
    for shard in range(SHARD_COUNT):
        for key in await all_keys(raw, keyspace.base(shard) + "unions:"):
            found |= {f"{key} {field}": value for field, value in (await raw.hgetall(key)).items()}
    return found


async def delete_cached_counts(raw: Raw, keyspace: Keyspace) -> None:
    """Delete all cached counts."""
    for shard in range(SHARD_COUNT):
        for key in await all_keys(raw, keyspace.base(shard) + "unions:"):
            await raw.delete(key)


@pytest.mark.parametrize("page_sizes", [TINY, SMALL], ids=["tiny", "small"])
@pytest.mark.parametrize("interval", list(Interval))
async def test_small_pages_give_the_counts_of_the_model(
    server: RedisServer,
    store: RedisSessionStore,
    make_analytics: MakeAnalytics,
    raw: Raw,
    keyspace: Keyspace,
    mint: Mint,
    page_sizes: PageSizes,
    interval: Interval,
) -> None:
    """Any page size gives the counts of the model, both uncached and cached."""
    chance = random.Random(20261127)
    created: Counter[tuple[str, int]] = Counter()
    by_user: Counter[str] = Counter()
    seen: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    asked, step = replace(days(4), interval=interval), DAY if interval is Interval.DAY else HOUR
    sessions = []
    for _ in range(150):
        at = NOW - chance.randrange(4 * DAY - 11 * HOUR)
        source, user = f"source-{chance.randrange(3)}", f"user-{int(chance.expovariate(0.2))}"
        sessions.append(mint(at, source, user))
        created[source, at // step] += 1
        seen[source, at // DAY].add(user)
        by_user[user] += 1
    assert all(await store.create_many(sessions))
    analytics = make_analytics(server.url, page_sizes=page_sizes, ttl_seconds=DAY)
    for _ in range(2):
        counts = await analytics.count_sessions(asked, NOW)
        assert counts.total.active == sum(session.started_at >= (NOW - DAY) * 1_000_000 for session in sessions)
        assert counts.total.unique_users == len(by_user)
        for name, figures in counts.by_source.items():
            assert figures.created == [created[name, start // step] for start in asked.starts]
            assert figures.unique_users == len(set().union(*(users for key, users in seen.items() if key[0] == name)))
        if interval is Interval.DAY:
            assert counts.unique_users == [
                len(set().union(*(users for key, users in seen.items() if key[1] == start // DAY)))
                for start in asked.starts
            ]
        top = await analytics.top_users(asked, 5)
        assert [(bounds.at_least, bounds.at_most) for _, bounds in top.users] == [
            (count, count) for count in sorted(by_user.values(), reverse=True)[:5]
        ]
        assert all(by_user[user] == bounds.at_least for user, bounds in top.users)
        assert top.others_at_most == sorted(by_user.values(), reverse=True)[5]
    assert not await scratch_keys(raw, keyspace)
    assert not [field for field in await cached_counts(raw, keyspace) if "?" in field]


class History:
    """One user on 40 days in 3 sources, in one shard.

    These are more sketches than one call merges with FEW_SKETCHES.
    """

    days = 40
    sources = ("a", "b", "c")

    def __init__(self, store: RedisSessionStore, mint: Mint, digest: UserDigest) -> None:
        self._store, self._mint = store, mint
        numbers = range(10_000)
        self._others = iter([user for n in numbers if digest(user := f"user-{n}")[0] == digest("u")[0]])

    async def begin(self) -> None:
        sessions = [self._mint(NOW - age * DAY, source, "u") for age in range(self.days) for source in self.sources]
        assert all(await self._store.create_many(sessions))

    async def add_new_user(self, age: int, source: str) -> None:
        """Create a session of a user who was never seen before."""
        assert all(await self._store.create_many([self._mint(NOW - age * DAY, source, next(self._others))]))


@pytest.mark.parametrize("number_of_days", [1, 90])
async def test_a_session_that_ends_during_a_count_changes_no_past_hour(
    server: RedisServer,
    make_store: MakeStore,
    connect: Connect,
    keyspace: Keyspace,
    mint: Mint,
    number_of_days: int,
) -> None:
    """Past hours are the same while sessions end between the calls of a count."""
    store = await make_store(server.url, clock=lambda: NOW)
    sessions = [mint(NOW - age * HOUR, f"source-{age % 30}") for age in range(24) for _ in range(20)]
    assert all(await store.create_many(sessions))
    connection = connect(server.url)
    analytics = RedisCountStore(connection, keyspace, ttl_seconds=DAY, retention_days=90)
    asked = replace(days(number_of_days), interval=Interval.HOUR)
    before = await analytics.count_sessions(asked, NOW)

    async def end_some(_: int) -> None:
        gone = [sessions.pop() for _ in range(3)]
        assert all(await store.end_many([[session.id] for session in gone]))

    after_each(connection, "counters", end_some)
    during = await analytics.count_sessions(asked, NOW)
    assert sum(during.total.ended) > 0
    assert during.total.active_at == before.total.active_at
    for name, figures in during.by_source.items():
        assert figures.active_at == before.by_source[name].active_at


@pytest.fixture
async def history(store: RedisSessionStore, mint: Mint, digest: UserDigest) -> History:
    made = History(store, mint, digest)
    await made.begin()
    return made


@pytest.mark.parametrize("age", [0, 20, 39], ids=["last day", "in between", "first day"])
async def test_counts_are_not_cached_when_a_sketch_changed_between_two_calls(
    server: RedisServer, connect: Connect, keyspace: Keyspace, history: History, age: int
) -> None:
    """The next query counts a new user who arrived between any two calls."""
    connection = connect(server.url)
    analytics = RedisCountStore(connection, keyspace, ttl_seconds=DAY, retention_days=90, page_sizes=FEW_SKETCHES)
    calls, comes_after = 0, 0

    async def hook(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == comes_after:
            await history.add_new_user(age, "b")

    after_each(connection, "union", hook)
    users = 1
    assert (await analytics.count_sessions(days(history.days), NOW)).total.unique_users == users
    first_calls = calls
    assert first_calls > 10
    await history.add_new_user(age, "b")
    users += 1
    for moment in range(1, first_calls + 1, 2):
        calls, comes_after = 0, moment
        during = await analytics.count_sessions(days(history.days), NOW)
        came, comes_after = calls >= moment, 0
        assert users <= during.total.unique_users <= users + came
        users += came
        counts = await analytics.count_sessions(days(history.days), NOW)
        assert counts.total.unique_users == users
        assert {name: figures.unique_users for name, figures in counts.by_source.items()} == {
            "a": 1,
            "b": users,
            "c": 1,
        }
        assert counts.unique_users == [users if day == history.days - 1 - age else 1 for day in range(history.days)]
        await history.add_new_user(age, "b")  # invalidates the cached counts
        users += 1


async def test_an_interrupted_query_leaves_only_short_lived_keys(
    server: RedisServer, connect: Connect, keyspace: Keyspace, raw: Raw, history: History
) -> None:
    """Scratch keys of an interrupted query expire within 60 s and do no harm."""
    connection = connect(server.url)
    analytics = RedisCountStore(connection, keyspace, ttl_seconds=DAY, retention_days=90, page_sizes=FEW_SKETCHES)

    class Crash(Exception):
        pass

    async def hook(number: int) -> None:
        if number == 4:
            raise Crash

    after_each(connection, "union", hook)
    with pytest.raises(Crash):
        await analytics.count_sessions(days(history.days), NOW)
    left = await scratch_keys(raw, keyspace)
    assert left
    for key in left:
        assert 0 < await raw.ttl(key) <= 60
    for shard in range(SHARD_COUNT):
        for key in await all_keys(raw, keyspace.base(shard) + "unions:"):
            assert 0 < await raw.ttl(key) <= 3600
    assert (await analytics.count_sessions(days(history.days), NOW)).total.unique_users == 1


@pytest.mark.parametrize("gone", ["of all sources", "of a source"])
@pytest.mark.parametrize("gone_after", [2, 8])
async def test_a_query_starts_again_when_its_progress_is_gone(
    server: RedisServer,
    connect: Connect,
    keyspace: Keyspace,
    raw: Raw,
    history: History,
    gone_after: int,
    gone: str,
) -> None:
    """Lost progress restarts a query, and repeated loss fails it without a result."""
    connection = connect(server.url)
    analytics = RedisCountStore(connection, keyspace, ttl_seconds=DAY, retention_days=90, page_sizes=FEW_SKETCHES)
    losses = 1

    async def hook(number: int) -> None:
        nonlocal losses
        keys = [key for key in await scratch_keys(raw, keyspace) if key.endswith(":0") == (gone == "of all sources")]
        if number >= gone_after and losses and keys:
            losses -= 1
            await raw.delete(*keys)

    for age in range(history.days):
        await history.add_new_user(age, history.sources[age % 3])
    undisturbed = await analytics.count_sessions(days(history.days), NOW)
    assert undisturbed.total.unique_users == pytest.approx(41, abs=1)
    await delete_cached_counts(raw, keyspace)
    after_each(connection, "union", hook)
    assert await analytics.count_sessions(days(history.days), NOW) == undisturbed
    assert losses == 0
    await delete_cached_counts(raw, keyspace)
    losses = 1_000_000
    with pytest.raises(StoreUnavailable):
        await analytics.count_sessions(days(history.days), NOW)
    losses = 0
    assert await analytics.count_sessions(days(history.days), NOW) == undisturbed


async def test_queries_at_the_same_time_do_not_disturb_each_other(
    server: RedisServer, make_analytics: MakeAnalytics, keyspace: Keyspace, raw: Raw, history: History
) -> None:
    """Concurrent queries of several processes return the same as alone."""
    for age in (0, 13, 30):
        await history.add_new_user(age, "a")
    readers = [make_analytics(server.url, page_sizes=FEW_SKETCHES) for _ in range(3)]
    questions = [(length, source) for length in (40, 39, 14, 1) for source in (None, "a", "c")]
    alone = [await readers[0].count_sessions(days(length), NOW, source) for length, source in questions]
    await delete_cached_counts(raw, keyspace)

    def asked(reader: RedisCountStore) -> list[Awaitable[SessionCounts]]:
        return [reader.count_sessions(days(length), NOW, source) for length, source in questions]

    together = await asyncio.gather(*(answer for reader in readers for answer in asked(reader)))
    assert together == 3 * alone
    assert alone[0].total.unique_users == 4
    assert not await scratch_keys(raw, keyspace)
    assert not [field for field in await cached_counts(raw, keyspace) if "?" in field]


async def test_counts_can_be_read_when_redis_is_full(
    own_server: RedisServer, make_store: MakeStore, make_analytics: MakeAnalytics, mint: Mint
) -> None:
    """Counts can be read when the memory of Redis is full."""
    store = await make_store(own_server.url)
    await store.create_many([mint(NOW, "s", user) for user in ("u", "v", None)])
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("maxmemory", "1")
    counts = await make_analytics(own_server.url).count_sessions(days(14), NOW)
    assert (sum(counts.total.created), counts.total.unique_users, counts.unique_users[-1]) == (3, 2, 2)


async def test_the_keys_of_a_self_test_expire_within_seconds(
    server: RedisServer, keyspace: Keyspace, raw: Raw
) -> None:
    """All keys that a self-test leaves expire within seconds."""
    connection = RedisConnection.alone(server.url, RedisSettings(timeout_seconds=10), self_test=SelfTest(keyspace))
    try:
        await connection.run("ping", lambda client: client.ping())
    finally:
        await connection.close()
    keys = [key for shard in range(SHARD_COUNT) for key in await all_keys(raw, keyspace.base(shard) + "test:")]
    assert {kind for kind in ("unions", "day", "unique") for key in keys if f":{kind}:" in key} >= {"unions", "day"}
    for key in keys:
        assert await raw.ttl(key) <= TTL_SECONDS, key


@pytest.mark.parametrize("command", ["mget", "smembers", "zcard"])
async def test_a_page_that_timed_out_is_sent_once(own_server: RedisServer, keyspace: Keyspace, command: str) -> None:
    """A call that timed out is not retried, because Redis may still be busy with it."""
    settings = RedisSettings(timeout_seconds=0.3)
    connection = RedisConnection.alone(own_server.url, settings, lane=OPERATORS)
    analytics = RedisCountStore(connection, keyspace, ttl_seconds=DAY, retention_days=90)
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "mget": lambda: analytics.count_sessions(days(3), NOW, "s"),
        "smembers": lambda: analytics.count_sessions(days(3), NOW),
        "zcard": lambda: analytics.top_users(days(3), 10),
    }
    async with redis.asyncio.Redis.from_url(own_server.url, decode_responses=True) as raw:
        try:
            await questions[command]()  # connects and loads the scripts
            await raw.config_resetstat()
            own_server.signal(signal.SIGSTOP)
            try:
                with pytest.raises(StoreUnavailable):
                    await questions[command]()
            finally:
                own_server.signal(signal.SIGCONT)
            async with asyncio.timeout(10):
                while f"cmdstat_{command}" not in (stats := await raw.info("commandstats")):
                    await asyncio.sleep(0.01)
            sent = {"mget": 1, "smembers": PAGE_SIZES.commands, "zcard": 3}[command]
            assert stats[f"cmdstat_{command}"]["calls"] <= sent
        finally:
            await connection.close()


class Call:
    """A command that a client sent, with the counts of the commands in its script."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.reads = 0  # of counters
        self.sketches = 0
        self.commands = 0


@asynccontextmanager
async def monitored(server: RedisServer) -> AsyncIterator[list[Call]]:
    """Collect the calls that reach a server, as MONITOR reports them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"
    calls: list[Call] = []

    async def collect() -> None:
        while (line := await reader.readline()) and b'"ECHO" "end"' not in line:
            words = re.findall(rb'"([^"]*)"', line)
            name = words[0].upper()
            if b" lua] " not in line:
                calls.append(Call(len(words)))
            calls[-1].commands += 1
            calls[-1].reads += (len(words) - 1) * (name == b"MGET")
            calls[-1].sketches += (len(words) - 1) * (name in {b"PFMERGE", b"PFCOUNT"})

    task = asyncio.create_task(collect())
    yield calls
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        await raw.echo("end")
    await task
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("number_of_days", [90, 400])
async def test_each_call_of_the_longest_report_is_bounded(
    own_server: RedisServer, make_analytics: MakeAnalytics, keyspace: Keyspace, number_of_days: int
) -> None:
    """No call of the longest report reads or merges more than one page."""
    asked, shard = days(number_of_days), 5
    sources = [f"s-{number}" for number in range(60)]
    base = keyspace.base(shard)
    # Two sessions created and one ended in the first hour of each day.
    counters = struct.pack(">74I", 2, 1, *(number for first in (2, 1, 1) for number in (first, *[0] * 23)))
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        for day in range(asked.first_day, asked.last_day + 1):
            pipeline = raw.pipeline(transaction=False)
            pipeline.sadd(keyspace.sources(shard, day), *sources)
            for source in sources:
                pipeline.set(keyspace.day(shard, day, source), counters)
                pipeline.pfadd(f"{base}unique:{day}:{source}", "u", source)
            scores = {f"user-{day}-{n}": (n + 1) * TOP_SCORE_UNIT for n in range(100)}
            pipeline.zadd(keyspace.top(shard, day), scores | {"u": 500 * TOP_SCORE_UNIT})
            await pipeline.execute()
    analytics = make_analytics(own_server.url, ttl_seconds=number_of_days * DAY, retention_days=number_of_days)
    async with monitored(own_server) as calls:
        counts = await analytics.count_sessions(asked, NOW)
        top = await analytics.top_users(asked, 3)
    assert counts.total.created == [120] * number_of_days
    assert {figures.unique_users for figures in counts.by_source.values()} == {2}
    assert counts.total.unique_users == pytest.approx(61, abs=1)
    assert counts.unique_users == [pytest.approx(61, abs=1)] * number_of_days
    assert top.users[0][0] == "u"
    assert top.users[0][1].at_least == 500 * number_of_days
    assert len(calls) > 1.5 * number_of_days
    assert max(call.reads for call in calls) <= PAGE_SIZES.slices
    # The 60 are destinations and counts.
    assert 20 < max(call.sketches for call in calls) <= PAGE_SIZES.sketches + 60
    assert max(call.words for call in calls) <= 2000
    assert max(call.commands for call in calls) <= 2 * PAGE_SIZES.slices
