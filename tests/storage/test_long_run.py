"""Long runs and large numbers: counts stay exact, and errors stay in their bounds."""

import functools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import pytest
import redis.asyncio

from service.counts import DAY, Bounds, CountRange, Interval, TopUsers
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.connection import RedisConnection
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from service.storage.user_store import ERASED_AT_ONCE, RedisUserStore
from tests.storage.conftest import Connect, MakeAnalytics, MakeStore, MakeUsers, Mint
from tests.support.lanes import close_breakers
from tests.support.proxy import LossyProxy
from tests.support.servers import RedisServer

T = TypeVar("T")

OPERATIONS = 100_000
USERS = [f"user-{n}" for n in range(300)]
SOURCES = ["tv", "web", "radio"]
SKEWS = [-5, 5]  # of the clocks of two services, in seconds


def _skewed(seconds: int) -> float:
    return time.time() + seconds


class Model:
    """The sessions that two services should have.

    It follows the answers of the services. After a refused operation it reads Redis
    directly, because the operation may have run.
    """

    def __init__(
        self,
        connections: Sequence[RedisConnection],
        direct: RedisSessionStore,
        keyspace: Keyspace,
        digest: UserDigest,
    ) -> None:
        self.chance = random.Random(20261125)
        self.connections = connections
        self.services = []
        for connection, skew in zip(connections, SKEWS, strict=True):
            clock = functools.partial(_skewed, skew)
            store = RedisSessionStore(connection, keyspace, Lifetimes.of(86400, 90), top_users=100, clock=clock)
            self.services.append(
                (store, RedisUserStore(connection, keyspace, digest, retention_days=90, pauses=()), clock)
            )
        self.direct = direct
        self.factory = SessionFactory(digest)
        self.live: dict[str, Session] = {}
        self.created: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def attempt(self, kind: str, operation: Awaitable[T]) -> T | None:
        """Return the answer, or None after a refusal.

        A refused operation may have run, but no longer runs.
        """
        close_breakers(*self.connections)
        try:
            return await operation
        except StoreUnavailable:
            self.refused[kind] += 1
            return None

    async def stored(self, sessions: Sequence[Session]) -> list[Session]:
        found = await self.direct.find_each([session.id for session in sessions])
        assert [found[session.id] for session in sessions if session.id in found] == [*found.values()]
        return [*found.values()]

    def retire(self, gone: Sequence[Session]) -> None:
        for session in gone:
            del self.live[session.id]
        self.ended.update(session.source for session in gone)

    async def create(self) -> None:
        chance = self.chance
        users = [chance.choice(USERS) if chance.random() < 0.6 else None for _ in range(chance.randint(1, 60))]
        store, _, clock = chance.choice(self.services)
        new = [self.factory.new(chance.choice(SOURCES), user) for user in users]
        sessions = [session._replace(started_at=round(clock() * 1_000_000)) for session in new]
        answer = await self.attempt("create", store.create_many(sessions))
        if answer is None:
            sessions = await self.stored(sessions)
        else:
            assert answer == [True] * len(sessions)
        self.live |= {session.id: session for session in sessions}
        self.created.update(session.source for session in sessions)

    async def end(self) -> None:
        gone = self.chance.sample([*self.live.values()], min(self.chance.randint(1, 50), len(self.live)))
        store, _, _ = self.chance.choice(self.services)
        if gone and await self.attempt("end", store.end_many([[session.id] for session in gone])) is None:
            remaining = await self.stored(gone)
            gone = [session for session in gone if session not in remaining]
        self.retire(gone)

    async def erase(self) -> None:
        user = self.chance.choice(USERS)
        gone = [session for session in self.live.values() if session.user_id == user]
        _, users, clock = self.chance.choice(self.services)
        erased = await self.attempt("erase", users.erase(user, round(clock() * 1_000_000)))
        if erased is None:  # some of its steps may have run
            remaining = await self.stored(gone) if gone else []
            gone = [session for session in gone if session not in remaining]
        else:
            assert erased == len(gone)
        self.retire(gone)


async def test_a_hundred_thousand_operations_leave_exact_counts(
    own_server: RedisServer,
    connect: Connect,
    make_store: MakeStore,
    make_analytics: MakeAnalytics,
    keyspace: Keyspace,
    digest: UserDigest,
) -> None:
    """Counts are exact after 100,000 operations with every tenth reply lost."""
    started = time.time()
    losses = random.Random(7)
    async with LossyProxy(own_server.port, lambda: losses.random() < 0.1) as proxy:
        # A machine that stalls loses no reply.
        patient = [connect(proxy.url, timeout_seconds=10) for _ in SKEWS]
        model = Model(patient, await make_store(own_server.url), keyspace, digest)
        while model.created.total() + model.ended.total() < OPERATIONS:
            (operation,) = model.chance.choices([model.create, model.end, model.erase], [50, 35, 15])
            await operation()
    assert proxy.lost > 300
    assert set(model.refused) == {"create", "end", "erase"}
    live = [*model.live.values()]
    for first in range(0, len(live), 1000):
        some = live[first : first + 1000]
        assert await model.stored(some) == some
    asked = CountRange.around(started - 10, time.time() + 10, Interval.DAY)
    counts = await make_analytics(own_server.url).count_sessions(asked, time.time())
    active = Counter(session.source for session in live)
    for source in SOURCES:
        figures = counts.by_source[source]
        assert figures.active == active[source]
        assert sum(figures.created) == model.created[source]
        assert sum(figures.ended) == model.ended[source]
    assert counts.total.active == len(live) == model.created.total() - model.ended.total()


async def test_unique_users_are_right_within_one_percent(
    own_server: RedisServer, make_store: MakeStore, make_analytics: MakeAnalytics, mint: Mint
) -> None:
    """The count of 100,000 unique users on two days is within 1 %."""
    now = time.time()
    store = await make_store(own_server.url)
    for day, first_user in ((now - DAY, 0), (now, 25_000)):
        for first in range(first_user, first_user + 75_000, 500):
            await store.create_many([mint(day, user_id=f"user-{n}") for n in range(first, first + 500)])
    asked = CountRange.around(now - DAY, now + 1, Interval.DAY)
    counts = await make_analytics(own_server.url).count_sessions(asked, now)
    assert counts.total.created == [75_000, 75_000]
    assert counts.total.unique_users == pytest.approx(100_000, rel=0.01)
    assert counts.unique_users == [pytest.approx(75_000, rel=0.01)] * 2


async def test_a_user_of_many_sessions_is_erased_as_a_whole(
    own_server: RedisServer,
    make_store: MakeStore,
    make_users: MakeUsers,
    make_analytics: MakeAnalytics,
    mint: Mint,
) -> None:
    """13,000 sessions of one user are exported and erased in short calls."""
    now, number = int(time.time()), 13_000
    # A long timeout: on a busy machine a repeated call would be counted too.
    store = await make_store(own_server.url, redis={"timeout_seconds": 10})
    users = make_users(own_server.url, redis={"timeout_seconds": 10})
    for _ in range(number // 500):
        await store.create_many([mint(now + skew, user_id="u") for skew in SKEWS * 250])
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        assert len(await users.find_sessions("u")) == number
        await users.erase("nobody", now * 1_000_000)  # loads the script
        await raw.config_resetstat()
        assert await users.erase("u", (now - 5) * 1_000_000) == number
        steps = number // ERASED_AT_ONCE
        commands = await raw.info("commandstats")
        assert steps <= commands["cmdstat_evalsha"]["calls"] <= steps + SHARD_COUNT + 2
    assert await users.find_sessions("u") == []
    asked = CountRange.around(now - 10, now + 10, Interval.DAY)
    counts = await make_analytics(own_server.url).count_sessions(asked, now)
    assert (sum(counts.total.created), sum(counts.total.ended)) == (number, number)
    assert counts.total.active == 0


@pytest.mark.parametrize("seed", range(5))
async def test_true_counts_are_within_the_bounds(
    server: RedisServer,
    make_store: MakeStore,
    analytics: RedisCountStore,
    users: RedisUserStore,
    digest: UserDigest,
    mint: Mint,
    seed: int,
) -> None:
    """Every user's true count lies within the bounds, over any days."""
    chance = random.Random(seed)
    # About 70 users compete for 2 x 10 places.
    people = [user for n in range(600) if digest(user := f"user-{n}")[0] in "01"]
    first_day = int(time.time()) // DAY - 5
    now = first_day * DAY + 43_200.0
    store = await make_store(server.url, top_users=10, clock=lambda: now)
    # The counts are by day, since the last erasure.
    created: defaultdict[int, Counter[str]] = defaultdict(Counter)

    async def check(first: int, last: int, limit: int) -> TopUsers:
        asked = CountRange((first_day + first) * DAY, (first_day + last + 1) * DAY, Interval.DAY)
        true = sum((created[day] for day in range(asked.first_day, asked.last_day + 1)), Counter[str]())
        top = await analytics.top_users(asked, limit)
        listed = dict(top.users)
        certain = [bounds.at_least for _, bounds in top.users]
        assert certain == sorted(certain, reverse=True)
        assert len(listed) == len(certain) <= limit
        found = {user: [listed.get(user, Bounds(0, top.others_at_most))] for user in people}
        for user in chance.sample(people, 20):
            found[user].append((await users.count(user, asked)).created)
        for user, bounds in found.items():
            assert all(one.at_least <= true[user] <= one.at_most for one in bounds), user
        return top

    for _ in range(60):
        sessions = []
        for _ in range(20):
            now += chance.uniform(1, 400)  # three days in all
            user = people[int(len(people) * chance.random() ** 2)]
            sessions.append(mint(now, "s", user))
            created[int(now // DAY)][user] += 1
        await store.create_many(sessions)
        await store.end_many([[session.id] for session in chance.sample(sessions, 5)])
        if chance.random() < 0.4:
            user = chance.choice(people[:20])
            await users.erase(user, round(now * 1_000_000))
            for day in created.values():
                del day[user]
        first, last = sorted(chance.choices(range(4), k=2))
        await check(first, last, chance.choice([1, 5, 20, 100]))
    top = await check(0, 3, 100)
    assert top.others_at_most > 0
    assert any(0 < bounds.at_least < bounds.at_most for _, bounds in top.users)
