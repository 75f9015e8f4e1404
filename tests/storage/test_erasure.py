"""Erasures are exact and complete, with concurrent writes and skewed clocks."""

import asyncio
import random
import time
from collections import Counter
from operator import attrgetter

import pytest

from service.counts import DAY, Bounds, CountRange, Interval
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.counters import ENDED_OF_DAY, ENDED_OF_EARLIER_DAYS
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from service.storage.session_value import ERASED
from service.storage.user_store import ERASED_AT_ONCE, RedisUserStore
from tests.storage.conftest import Connect, MakeStore, MakeUsers, Mint
from tests.storage.counts import all_keys, counters_of_day, read_counts
from tests.support.lanes import close_breakers
from tests.support.lossy import LossyStore
from tests.support.servers import Raw, RedisServer

NOW = int(time.time())
NOW_US = NOW * 1_000_000
# Two days, because the tests may run over midnight.
TODAY = CountRange(NOW // DAY * DAY, NOW // DAY * DAY + 2 * DAY, Interval.DAY)


@pytest.mark.parametrize("seconds", [-5, 0, 5])
async def test_a_session_created_after_an_erasure_lives(
    store: RedisSessionStore, users: RedisUserStore, mint: Mint, seconds: int
) -> None:
    """A session created after an erasure lives, even when its clock is 5 s off."""
    await store.create_many([mint(NOW, user_id="u")])
    assert await users.erase("u", NOW_US) == 1
    session = mint(NOW + seconds, user_id="u")
    assert await store.create_many([session]) == [True]
    assert await store.find_each([session.id]) == {session.id: session}
    assert await users.find_sessions("u") == [session]


@pytest.mark.parametrize("seconds", [-5, 0, 5])
async def test_a_session_of_a_machine_with_another_clock_is_erased(
    store: RedisSessionStore, users: RedisUserStore, mint: Mint, seconds: int
) -> None:
    """A session created before an erasure is erased, even when its clock is 5 s off."""
    session = mint(NOW + seconds, user_id="u")
    await store.create_many([session])
    assert await users.erase("u", NOW_US) == 1
    assert await store.find_each([session.id]) == {}


async def test_a_creation_repeated_after_an_erasure_stores_nothing(
    store: RedisSessionStore, users: RedisUserStore, raw: Raw, keyspace: Keyspace, mint: Mint
) -> None:
    """A retried creation after the erasure succeeds, but stores and counts nothing."""
    ran = mint(NOW, user_id="u")
    await store.create_many([ran])
    assert await users.erase("u", NOW_US) == 1
    later, other = mint(NOW, user_id="u"), mint(NOW, user_id="v")
    for _ in range(2):
        assert await store.create_many([ran, later, other]) == [True] * 3
        assert await store.find_each([ran.id, later.id, other.id]) == {later.id: later, other.id: other}
        assert await store.end_many([[ran.id]]) == [[]]
    assert await raw.get(keyspace.session(ran.id)) == ERASED.decode()
    assert 50 < await raw.ttl(keyspace.session(ran.id)) <= 60
    assert await users.find_sessions("u") == [later]
    assert (await users.count("u", TODAY)).created == Bounds(1, 1)
    counts = await read_counts(raw, keyspace)
    assert (counts.created, counts.ended, counts.live_by_minute) == ({"s": 3}, {"s": 1}, {"s": 2})


async def test_ends_are_counted_by_the_day_of_the_creation(
    server: RedisServer, make_store: MakeStore, users: RedisUserStore, raw: Raw, keyspace: Keyspace, mint: Mint
) -> None:
    """An erasure and a request count an ended session of an earlier day as such."""
    store = await make_store(server.url, clock=lambda: NOW)
    midnight = NOW // DAY * DAY
    guests = [mint(moment) for moment in (midnight - 1, midnight, NOW)]
    of_user = [mint(moment, user_id="u") for moment in (midnight - DAY, midnight - 1, midnight - 1, NOW)]
    await store.create_many(guests + of_user)
    await store.end_many([[session.id] for session in guests])
    assert await users.erase("u", NOW_US) == 4
    keys = [keyspace.day(shard, NOW // DAY, "s") for shard in range(SHARD_COUNT)]
    found = [await counters_of_day(raw, key) for key in keys if await raw.exists(key)]
    assert [sum(day[position] for day in found) for position in (ENDED_OF_DAY, ENDED_OF_EARLIER_DAYS)] == [3, 4]


class Cut:
    """Loses all replies after a given number."""

    def __init__(self, replies: int) -> None:
        self.left = replies

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("replies", range(2, 12, 3))
async def test_an_erasure_that_was_cut_off_is_completed_by_the_next(
    server: RedisServer,
    make_store: MakeStore,
    make_users: MakeUsers,
    mint: Mint,
    raw: Raw,
    keyspace: Keyspace,
    replies: int,
) -> None:
    """The next erasure completes an interrupted one and includes new sessions."""
    store, users = await make_store(server.url), make_users(server.url)
    sessions = [mint(NOW, user_id="u") for _ in range(8 * ERASED_AT_ONCE)]
    for start in range(0, len(sessions), 200):
        await store.create_many(sessions[start : start + 200])
    async with LossyStore(server, Cut(replies)) as proxy:
        with pytest.raises(StoreUnavailable):
            await make_users(proxy.url, pauses=()).erase("u", NOW_US)
    sessions.append(mint(NOW - 5, user_id="u"))
    await store.create_many(sessions[-1:])
    live = await store.find_each([session.id for session in sessions])
    assert await users.find_sessions("u") == sorted(live.values(), key=attrgetter("started_at", "id"))
    assert (await users.count("u", TODAY)).active_by_source == {"s": len(live)}
    assert await users.erase("u", NOW_US) == len(live)
    assert await store.find_each([session.id for session in sessions]) == {}
    counts = await read_counts(raw, keyspace)
    assert (counts.created, counts.ended) == ({"s": len(sessions)}, {"s": len(sessions)})
    assert +counts.live_by_minute == +counts.live_by_hour == {}


async def test_an_erasure_whose_replies_are_lost_answers_exactly(
    server: RedisServer, make_store: MakeStore, make_users: MakeUsers, mint: Mint
) -> None:
    """An erasure counts each session once although every second reply is lost."""
    store, number = await make_store(server.url), 5 * ERASED_AT_ONCE
    calls = 0

    def loses() -> bool:
        nonlocal calls
        calls += 1
        return calls > 4 and calls % 2 == 0

    async with LossyStore(server, loses) as proxy:
        users = make_users(proxy.url)
        assert await users.erase("nobody", NOW_US) == 0  # loads the scripts
        await store.create_many([mint(NOW, user_id="u") for _ in range(number)])
        assert await users.erase("u", NOW_US) == number
        assert proxy.lost > 10
    assert await make_users(server.url).erase("u", NOW_US) == 0


async def test_long_operations_continue_after_a_short_outage(
    server: RedisServer, make_store: MakeStore, make_users: MakeUsers, mint: Mint
) -> None:
    """An export and an erasure continue after a short outage."""
    store, number = await make_store(server.url), 2000
    for _ in range(number // 200):
        await store.create_many([mint(NOW, user_id="u") for _ in range(200)])
    calls = 0

    def loses() -> bool:
        nonlocal calls
        calls += 1
        return calls in {7, 8, 9, 10}

    async with LossyStore(server, loses) as proxy:
        users = make_users(proxy.url)
        assert len(await users.find_sessions("u")) == number
        calls = 0
        assert await users.erase("u", NOW_US) == number
        assert proxy.lost >= 4


async def test_two_erasures_at_once_share_the_sessions(
    server: RedisServer, make_store: MakeStore, make_users: MakeUsers, mint: Mint
) -> None:
    """Concurrent erasures together report each session exactly once."""
    store = await make_store(server.url)
    sessions = [mint(NOW, user_id="u") for _ in range(10 * ERASED_AT_ONCE)]
    for start in range(0, len(sessions), 200):
        await store.create_many(sessions[start : start + 200])
    services = [make_users(server.url) for _ in range(3)]
    receipts = await asyncio.gather(*(users.erase("u", NOW_US) for users in services))
    assert sum(receipts) == len(sessions)
    assert await store.find_each([session.id for session in sessions]) == {}


async def test_sessions_created_during_an_erasure_stay(
    server: RedisServer,
    make_store: MakeStore,
    make_users: MakeUsers,
    mint: Mint,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
) -> None:
    """A session created after the first step of an erasure lives."""
    store, users = await make_store(server.url), make_users(server.url)
    number = 20 * ERASED_AT_ONCE
    for _ in range(number // 200):
        await store.create_many([mint(NOW, user_id="u") for _ in range(200)])
    shard = int(digest("u")[0], 16)
    erasing = asyncio.create_task(users.erase("u", NOW_US))
    async with asyncio.timeout(30):
        while not await raw.exists(keyspace.base(shard) + keyspace.user_indexes(digest("u"))[1]):
            assert not erasing.done()
    later = [mint(NOW - 5, user_id="u"), mint(NOW + 5, user_id="u")]
    await store.create_many(later)
    assert await erasing == number
    assert await users.find_sessions("u") == later


async def test_an_erasure_fails_when_foreign_data_blocks_its_key(
    store: RedisSessionStore, users: RedisUserStore, raw: Raw, keyspace: Keyspace, digest: UserDigest, mint: Mint
) -> None:
    """An erasure fails without change when another program's data blocks its key."""
    session = mint(NOW, user_id="u")
    await store.create_many([session])
    key = keyspace.base(int(digest("u")[0], 16)) + keyspace.user_indexes(digest("u"))[1]
    await raw.rpush(key, "a list")
    with pytest.raises(StoreUnavailable):
        await users.erase("u", NOW_US)
    assert await store.find_each([session.id])
    assert await raw.delete(key) == 1
    assert await users.erase("u", NOW_US) == 1


async def test_sessions_of_earlier_secrets_are_found_and_erased(
    server: RedisServer,
    store: RedisSessionStore,
    connect: Connect,
    raw: Raw,
    keyspace: Keyspace,
    digest: UserDigest,
) -> None:
    """Sessions under earlier secrets are found, counted and erased too."""
    digests = [digest, UserDigest("earlier-secret"), UserDigest("earliest-secret")]
    connection = connect(server.url)
    created: list[Session] = []
    for each in digests:
        own = RedisSessionStore(connection, keyspace, Lifetimes.of(86400, 90), top_users=100)
        new = [SessionFactory(each).new("s", "u") for _ in range(3)]
        await own.create_many(new)
        created += new
    for shard in range(SHARD_COUNT):  # created with a secret that is not configured
        await raw.zadd(keyspace.base(shard) + f"top:{NOW // DAY - 30}", {"u": 2**26, "v": 2**26})
    users = RedisUserStore(connection, keyspace, digest, retention_days=90, previous=digests[1:])
    assert await users.find_sessions("u") == sorted(created, key=attrgetter("started_at", "id"))
    figures = await users.count("u", TODAY)
    assert (figures.active_by_source, figures.created) == ({"s": 9}, Bounds(9, 9))
    assert await users.erase("u", NOW_US) == 9
    assert await store.find_each([session.id for session in created]) == {}
    for shard in range(SHARD_COUNT):
        for key in await all_keys(raw, keyspace.base(shard) + "top:"):
            assert "u" not in await raw.zrange(key, 0, -1)
            await raw.delete(key)


class Storm:
    """One service of several, with a skewed clock.

    It creates, ends and erases at random.
    """

    def __init__(
        self, seed: int, store: RedisSessionStore, users: RedisUserStore, skew: int, raw: Raw, keyspace: Keyspace
    ) -> None:
        self.chance = random.Random(seed)
        self.store, self.users, self.skew, self.raw, self.keyspace = store, users, skew, raw, keyspace
        self.factory = SessionFactory(UserDigest("test-secret"))
        self.stored: list[Session] = []
        self.answered = Counter[str]()
        self.refused = 0

    async def run(self, operations: int) -> None:
        for _ in range(operations):
            for connection in (self.store.connection, self.users._connection):
                # An open breaker would reject the next calls without sending them.
                close_breakers(connection)
            (operation,) = self.chance.choices([self.create, self.end, self.erase], [50, 35, 15])
            try:
                await operation()
            except StoreUnavailable:
                self.refused += 1

    async def create(self) -> None:
        new = []
        for _ in range(self.chance.randint(1, 40)):
            user = f"user-{self.chance.randrange(12)}" if self.chance.random() < 0.8 else None
            session = self.factory.new(self.chance.choice("ab"), user)
            new.append(session._replace(started_at=session.started_at + self.skew * 1_000_000))
        try:
            assert await self.store.create_many(new) == [True] * len(new)
        except StoreUnavailable:
            # The key exists if the session was stored, also after its erasure.
            values = [await self.raw.get(self.keyspace.session(session.id)) for session in new]
            new = [session for session, value in zip(new, values, strict=True) if value is not None]
            self.refused += 1
        self.stored += new

    async def end(self) -> None:
        gone = self.chance.sample(self.stored, min(20, len(self.stored)))
        if gone:
            self.answered["ended"] += len((await self.store.end_many([[session.id for session in gone]]))[0])

    async def erase(self) -> None:
        user = f"user-{self.chance.randrange(12)}"
        self.answered["erased"] += await self.users.erase(user, time.time_ns() // 1000 + self.skew * 1_000_000)


@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_two_services_at_once_leave_exact_counts(
    server: RedisServer, make_store: MakeStore, make_users: MakeUsers, raw: Raw, keyspace: Keyspace, loss: float
) -> None:
    """Counts match the sessions after concurrent writes with clocks 10 s apart."""
    chance = random.Random(int(loss * 10))
    async with LossyStore(server, lambda: chance.random() < loss) as proxy:
        storms = []
        for seed, skew in enumerate((-5, 5)):
            storms.append(
                Storm(seed, await make_store(proxy.url), make_users(proxy.url, pauses=()), skew, raw, keyspace)
            )
        await asyncio.gather(*(storm.run(120) for storm in storms))
    direct = await make_store(server.url)
    stored = [session for storm in storms for session in storm.stored]
    live: dict[str, Session] = {}
    for start in range(0, len(stored), 1000):
        live |= await direct.find_each([session.id for session in stored[start : start + 1000]])
    gone = [session for session in stored if session.id not in live]
    counts = await read_counts(raw, keyspace)
    by_source = Counter(session.source for session in live.values())
    assert counts.created == Counter(session.source for session in stored)
    assert counts.ended == Counter(session.source for session in gone)
    assert +counts.live_by_hour == +counts.live_by_minute == by_source
    answered = sum((storm.answered for storm in storms), Counter[str]())
    assert answered["erased"] > 100
    if not loss:
        assert answered.total() == len(gone)
    else:
        assert sum(storm.refused for storm in storms)
    users = make_users(server.url)
    for user in {session.user_id for session in stored if session.user_id}:
        own = [session for session in live.values() if session.user_id == user]
        assert await users.find_sessions(user) == sorted(own, key=attrgetter("started_at", "id"))
