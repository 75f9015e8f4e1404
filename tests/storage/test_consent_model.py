"""Random visits whose consent changes, with lost replies, against a model.

CONSENT_OPERATIONS=100000 is the long run (docs/reliability.md).
"""

import os
import random
import time
from collections.abc import Awaitable, Callable

from service.errors import StoreUnavailable
from service.sessions import Session, SessionFactory
from service.storage.keyspace import Keyspace
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_store import RedisSessionStore
from service.storage.user_changes import UserChanges
from service.storage.user_store import RedisUserStore
from tests.storage.conftest import PATIENT_COALESCE, ChangesOf, MakeAnalytics, MakeStore, MakeUsers, Store
from tests.storage.counts import read_consents, read_counts
from tests.support.lanes import close_breakers
from tests.support.lossy import LossyStore
from tests.support.servers import Raw

OPERATIONS = int(os.environ.get("CONSENT_OPERATIONS", "250"))
USERS = ("ann", "bob")


class Visits:
    """Clients that repeat each request until it is answered, and the expected counts.

    `users` has the user of each live visit, by the id that its client knows. Half of
    the clients do not take over a new id, because they have lost the answer.
    """

    def __init__(self, store: RedisSessionStore, changes: UserChanges, erasing: RedisUserStore, seed: int) -> None:
        self.users: dict[str, str | None] = {}
        self.created = self.given = self.withdrawn = 0
        self._store = store
        self._sessions = BatchingSessionStore(store, PATIENT_COALESCE, changes)
        self._changes = changes
        self._erasing = erasing
        self._chance = random.Random(seed)

    async def do_something(self, factory: SessionFactory) -> None:
        """Create, change, end or erase."""
        what = self._chance.random()
        if not self.users or what < 0.3:
            await self._create(factory.new("s", self._chance.choice([None, *USERS])))
        elif what < 0.85:
            await self._change(self._chance.choice(list(self.users)), self._chance.choice([None, *USERS]))
        elif what < 0.98:
            await self._end(self._chance.choice(list(self.users)))
        else:
            await self._erase(self._chance.choice(USERS))

    async def _create(self, session: Session) -> None:
        await self._until_answered(lambda: self._store.create_many([session]))
        self.users[session.id] = session.user_id
        self.created += 1

    async def _end(self, visit: str) -> None:
        await self._until_answered(lambda: self._sessions.end([visit]))
        del self.users[visit]

    async def _change(self, visit: str, user_id: str | None) -> None:
        changed = await self._until_answered(lambda: self._changes.set_user([visit], user_id))
        assert isinstance(changed, Session)
        had = self.users.pop(visit)
        self.users[self._chance.choice([visit, changed.id])] = user_id
        self.given += user_id not in {None, had}
        self.withdrawn += had not in {None, user_id}

    async def _erase(self, user_id: str) -> None:
        await self._erasing.erase(user_id, time.time_ns() // 1000)
        self.users = {visit: user for visit, user in self.users.items() if user != user_id}

    async def _until_answered(self, request: Callable[[], Awaitable[object]]) -> object:
        while True:
            # An open breaker would reject the next call without sending it.
            close_breakers(self._store.connection)
            try:
                return await request()
            except StoreUnavailable:
                continue


async def test_changes_are_exact_when_every_tenth_reply_is_lost(
    server: Store,
    make_store: MakeStore,
    changes_of: ChangesOf,
    make_analytics: MakeAnalytics,
    make_users: MakeUsers,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """Repeated after lost replies, changes and ends count once and leave no session."""
    users = make_users(server.url)
    chance = random.Random(20261129)
    async with LossyStore(server, lambda: chance.random() < 0.1) as lossy:
        store = await make_store(lossy.url)
        visits = Visits(store, changes_of(store), users, seed=20261130)
        for _ in range(OPERATIONS):
            await visits.do_something(factory)
        assert lossy.lost > OPERATIONS / 25
    counts, live = await read_counts(raw, keyspace), len(visits.users)
    assert live
    assert counts.live_by_hour == counts.live_by_minute == {"s": live}
    assert counts.created == {"s": visits.created}
    assert counts.ended == {"s": visits.created - live}
    assert await read_consents(make_analytics(server.url)) == (visits.given, visits.withdrawn)
    for user_id in USERS:
        assert len(await users.find_sessions(user_id)) == list(visits.users.values()).count(user_id)
