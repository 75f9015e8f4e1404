"""Random operations, lost replies and restarts, compared with a model in plain Python.

The clock of Redis cannot be injected. All times are days in the past, and the test
deletes the key of a session when it should expire. Time advances in whole minutes, so
that `active`, which is exact to the minute, can be compared exactly.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import redis.asyncio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from service.config.settings import RedisSettings
from service.counts import DAY, HOUR, Bounds, CountRange, Interval, SourceCounts, TopUsers, UserCounts
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import Session
from service.storage.connection import RedisConnection
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from service.storage.user_store import RedisUserStore
from tests.support.lanes import close_breakers
from tests.support.lossy import LossyStore
from tests.support.servers import Raw, RedisServer

T = TypeVar("T")

DAYS = 9
TTL_SECONDS = 5 * HOUR
USERS = ("ann", "bob", "cem")
WITHOUT_LIFETIME = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TTL', key) < 0 then found[#found + 1] = key end
end
return found
"""
PATIENT = RedisSettings(timeout_seconds=10)  # a machine that stalls loses no reply

digest = UserDigest("test-secret")
# After one lost reply the retry answers. After two the operation is refused, although
# it ran.
numbers_of_losses = st.sampled_from([0, 0, 1, 2])


class Machine(RuleBasedStateMachine):
    """Runs operations through a proxy that loses replies, and compares direct reads."""

    server: RedisServer
    minted = Bundle("minted")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        # The clock of Redis is past every range.
        self.first_day = int(time.time()) // DAY - DAYS - 1
        self.now = self.first_day * DAY + 20 * HOUR
        self.micros = 0
        self.replies_to_lose = 0
        self.has_restarted = False
        self.known: list[Session] = []
        self.live: dict[str, Session] = {}
        self.erased: set[str] = set()
        self.stored: list[Session] = []
        self.ended_at: dict[str, int] = {}
        # These three are by source and day.
        self.created: Counter[tuple[str, int]] = Counter()
        self.ended: Counter[tuple[str, int]] = Counter()
        self.seen: set[tuple[str, int, str]] = set()
        # By user, the sessions that were created since the last erasure.
        self.certain: Counter[str] = Counter()
        self.run(self.open())

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(operation)

    async def open(self) -> None:
        retry = Retry(ConstantBackoff(0.005), 2000)
        self.raw: Raw = redis.asyncio.Redis.from_url(self.server.url, decode_responses=True, retry=retry)
        await self.raw.flushall()
        self.proxy = await LossyStore(self.server, self.loses_reply).__aenter__()
        self.lossy, self.direct = (
            RedisConnection.alone(self.proxy.url, PATIENT),
            RedisConnection.alone(self.server.url, PATIENT),
        )
        self.keyspace = Keyspace("model")
        self.store, self.users = self.stores(self.lossy)
        self.read_store, self.read_users = self.stores(self.direct)
        self.analytics = RedisCountStore(self.direct, self.keyspace, ttl_seconds=TTL_SECONDS, retention_days=90)

    def stores(self, connection: RedisConnection) -> tuple[RedisSessionStore, RedisUserStore]:
        store = RedisSessionStore(
            connection, self.keyspace, Lifetimes.of(TTL_SECONDS, 90), top_users=100, clock=lambda: self.now
        )
        return store, RedisUserStore(connection, self.keyspace, digest, retention_days=90, pauses=())

    def teardown(self) -> None:
        self.run(self.close())
        self.loop.close()

    async def close(self) -> None:
        await self.lossy.close()
        await self.direct.close()
        await self.proxy.__aexit__(None, None, None)
        await self.raw.aclose()

    def loses_reply(self) -> bool:
        self.replies_to_lose -= 1
        return self.replies_to_lose >= 0

    def attempt(self, operation: Coroutine[Any, Any, T], losses: int = 0) -> T | None:
        """Run an operation whose first replies are lost.

        Returns None when it was refused. It may have run all the same.
        """
        self.replies_to_lose = losses
        # An open breaker would reject the next calls without sending them.
        close_breakers(self.lossy)
        try:
            return self.run(operation)
        except StoreUnavailable:
            return None

    def moment(self) -> int:
        """Return a new unique time in µs in the current minute."""
        self.micros += 1
        return self.now * 1_000_000 + self.micros

    def mint(self, source: str, user: str | None) -> Session:
        number = len(self.known)
        hashed = digest(user) if user else None
        session_id = f"{hashed[0] if hashed else format(number % 16, 'x')}{number:07x}-0000-4000-8000-000000000000"
        self.known.append(Session(session_id, self.moment(), source, user, hashed))
        return self.known[-1]

    @rule(
        target=minted,
        source=st.sampled_from(["a", "b:c"]),
        people=st.lists(st.sampled_from([None, *USERS]), min_size=1, max_size=4),
        losses=numbers_of_losses,
    )
    def create(self, source: str, people: list[str | None], losses: int) -> "MultipleResults[Session]":
        sessions = [self.mint(source, user) for user in people]
        stored = self.attempt(self.store.create_many(sessions), losses)
        if stored is None:  # only Redis knows whether it ran
            found = self.run(self.read_store.find_each([session.id for session in sessions]))
            assert len(found) in {0, len(sessions)}
            stored = [bool(found)] * len(sessions)
        else:
            assert stored == [True] * len(sessions)
        for session in sessions if stored[0] else ():
            day = self.now // DAY
            self.live[session.id] = session
            self.stored.append(session)
            self.created[session.source, day] += 1
            if session.user_id:
                self.seen.add((session.source, day, session.user_id))
                self.certain[session.user_id] += 1
        return multiple(*sessions)

    def count_as_ended(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            del self.live[session.id]
            self.ended_at[session.id] = self.now
            self.ended[session.source, self.now // DAY] += 1

    @precondition(lambda self: bool(self.known))
    @rule(sessions=st.lists(minted, min_size=1, max_size=4), losses=numbers_of_losses)
    def create_again(self, sessions: list[Session], losses: int) -> None:
        """A repeated creation changes nothing, also after an erasure."""
        again = [session for session in sessions if session.id in self.live or session.id in self.erased]
        assert self.attempt(self.store.create_many(again), losses) in ([True] * len(again), None)

    @precondition(lambda self: bool(self.known))
    @rule(sessions=st.lists(minted, min_size=1, max_size=4), losses=numbers_of_losses)
    def find(self, sessions: list[Session], losses: int) -> None:
        found = self.attempt(self.store.find_many([[session.id] for session in sessions]), losses)
        assert found is None or found == [self.live.get(session.id) for session in sessions]

    @precondition(lambda self: bool(self.known))
    @rule(sessions=st.lists(minted, min_size=1, max_size=4, unique=True), losses=numbers_of_losses)
    def end(self, sessions: list[Session], losses: int) -> None:
        gone = [session for session in sessions if session.id in self.live]
        ended = self.attempt(self.store.end_many([[session.id] for session in sessions]), losses)
        if ended is None:  # so it is repeated
            ended = self.attempt(self.store.end_many([[session.id] for session in sessions]))
            assert ended is not None
        if not losses:
            assert ended == [[session.source] if session in gone else [] for session in sessions]
        self.count_as_ended(gone)

    @precondition(lambda self: bool(self.known))
    @rule(user=st.sampled_from(USERS), losses=numbers_of_losses)
    def erase(self, user: str, losses: int) -> None:
        gone = [session for session in self.live.values() if session.user_id == user]
        erased = self.attempt(self.users.erase(user, self.moment()), losses)
        if erased is None:  # the repetition finds what the first one left
            erased = self.attempt(self.users.erase(user, self.moment()))
            assert erased is not None
            assert erased <= len(gone)
        else:
            assert erased == len(gone)
        self.count_as_ended(gone)
        self.erased.update(session.id for session in gone)
        del self.certain[user]

    @precondition(lambda self: bool(self.known) and self.now < (self.first_day + DAYS) * DAY)
    @rule(minutes=st.sampled_from([7 * 60, 60, 1]))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * 60
        oldest = (self.now - TTL_SECONDS) * 1_000_000
        for session in [session for session in self.live.values() if session.started_at < oldest]:
            del self.live[session.id]
            self.run(self.raw.delete(self.keyspace.session(session.id)))

    @precondition(lambda self: bool(self.known))
    @rule(how=st.sampled_from(["forgets", "restarts"]))
    def redis_fails(self, how: str) -> None:
        """Redis forgets scripts and connections, as after a failover.

        Once a run, because it takes long, the server is killed and restarted.
        """
        if how == "forgets" or self.has_restarted:
            self.run(self.raw.script_flush())
            self.run(self.raw.client_kill_filter(_type="normal"))
        else:
            self.has_restarted = True
            self.server.kill()
            self.server.start()
            self.run(self.raw.ping())  # until it has read its file

    @invariant()
    def the_live_sessions_are_found(self) -> None:
        if self.known:
            assert self.run(self.read_store.find_each([session.id for session in self.known])) == self.live

    @invariant()
    def users_have_their_sessions(self) -> None:
        for user in USERS:
            own = [session for session in self.live.values() if session.user_id == user]
            assert self.run(self.read_users.find_sessions(user)) == own
            assert set(self.run(self.raw.hkeys(self.keyspace.user(digest(user))))) == {one.id for one in own}
            by_source = Counter(session.source for session in own)
            bounds = Bounds(self.certain[user], self.certain[user])
            assert self.run(self.read_users.count(user, self.asked())) == UserCounts(by_source, bounds)

    @invariant()
    def counts_are_exact(self) -> None:
        """The counts equal those of the model, which are never negative."""
        asked = self.asked()
        counts = self.run(self.analytics.count_sessions(asked, self.now))
        by_day = range(asked.first_day, asked.last_day + 1)
        assert counts.by_source == {
            name: SourceCounts(
                [self.created[name, day] for day in by_day],
                [self.ended[name, day] for day in by_day],
                [self.expired_on(name, day) for day in by_day],
                [self.active_at(name, day * DAY) for day in by_day],
                [0] * len(by_day),
                [0] * len(by_day),
                sum(session.source == name for session in self.live.values()),
                len({user for source, _, user in self.seen if source == name}),
            )
            for name in sorted({source for source, _ in self.created})
        }
        assert counts.total.active == len(self.live)
        assert counts.total.unique_users == len({user for _, _, user in self.seen})
        assert counts.unique_users == [len({user for _, on, user in self.seen if on == day}) for day in by_day]
        top = [(user, Bounds(count, count)) for user, count in (+self.certain).items()]
        top.sort(key=lambda entry: (-entry[1].at_least, entry[0]))
        assert self.run(self.analytics.top_users(asked, 10)) == TopUsers(top, 0)

    @invariant()
    def every_key_expires(self) -> None:
        assert self.run(self.raw.eval(WITHOUT_LIFETIME, 0)) == []

    def active_at(self, source: str, moment: int) -> int | None:
        """Return the sessions that were live at a moment, None when it has not come."""
        if moment > self.now:
            return None
        return sum(
            session.started_at // 1_000_000 < moment <= session.started_at // 1_000_000 + TTL_SECONDS
            and self.ended_at.get(session.id, moment) >= moment
            for session in self.stored
            if session.source == source
        )

    def expired_on(self, source: str, day: int) -> int:
        """Return the sessions that expired on a day up to now."""
        gone = [one for one in self.stored if one.id not in self.live and one.id not in self.ended_at]
        return sum((one.started_at // 1_000_000 + TTL_SECONDS) // DAY == day for one in gone if one.source == source)

    def asked(self) -> CountRange:
        return CountRange.around(self.first_day * DAY, self.now + 60, Interval.DAY)


def test_the_store_equals_the_model(binary: str, tmp_path: Path) -> None:
    """The store equals the model after every operation, lost reply and restart."""
    # The server writes each change to its file before it answers, so a kill loses
    # nothing.
    with RedisServer(binary, tmp_path, "--appendonly", "yes", "--appendfsync", "no") as persistent:

        class OnThisServer(Machine):
            server = persistent

        run_state_machine_as_test(
            OnThisServer,
            settings=settings(
                max_examples=25,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
