"""Replies that are lost after the command ran: counts match the stored sessions."""

import random
from collections import Counter

from service.errors import StoreUnavailable
from service.sessions import Session, SessionFactory
from service.storage.keyspace import Keyspace
from tests.storage.conftest import MakeStore
from tests.storage.counts import read_counts, top_users
from tests.support.lanes import close_breakers
from tests.support.lossy import LossyStore
from tests.support.servers import Raw, RedisServer


async def test_counts_are_exact_when_every_tenth_reply_is_lost(
    make_store: MakeStore,
    server: RedisServer,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """Retries after lost replies count every creation and every end exactly once."""
    chance = random.Random(20261125)
    live: dict[str, Session] = {}
    refused: list[Session] = []
    async with LossyStore(server, lambda: chance.random() < 0.1) as proxy:
        store = await make_store(proxy.url)

        async def create() -> None:
            session = factory.new(f"source-{chance.randrange(3)}", f"user-{chance.randrange(30)}")
            try:
                assert await store.create_many([session]) == [True]
                live[session.id] = session
            except StoreUnavailable:
                refused.append(session)

        async def end() -> None:
            if live:
                session = live.pop(chance.choice(list(live)))
                try:
                    await store.end_many([[session.id]])
                except StoreUnavailable:
                    refused.append(session)

        for _ in range(500):
            # An open breaker would reject the next calls without sending them.
            close_breakers(store.connection)
            await (create() if chance.random() < 0.7 else end())
    assert proxy.lost > 40
    # Only Redis knows whether a refused operation ran.
    direct = await make_store(server.url)
    for session in refused:
        if (await direct.find_many([[session.id]]))[0]:
            live[session.id] = session
    counts = await read_counts(raw, keyspace)
    by_source = Counter(session.source for session in live.values())
    assert +counts.live_by_minute == +counts.live_by_hour == by_source
    assert counts.created == counts.ended + by_source
    # 16 shards of 100 places hold all 30 users, so their counts have no error.
    assert sum(count for count, _ in (await top_users(raw, keyspace)).values()) == counts.created.total()


async def test_a_single_lost_reply_changes_nothing(
    make_store: MakeStore, server: RedisServer, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """The retry after a lost reply gives the same answer and counts nothing twice."""
    async with LossyStore(server) as proxy:
        store = await make_store(proxy.url)
        session, other = factory.new("s", "u"), factory.new("s")
        await store.create_many([other])
        proxy.lose_next()
        assert await store.create_many([session]) == [True]
        proxy.lose_next()
        assert await store.find_many([[session.id]]) == [session]
        proxy.lose_next()
        await store.end_many([[session.id]])
        assert proxy.lost == 3
    assert await raw.exists(keyspace.session(session.id)) == 0
    counts = await read_counts(raw, keyspace)
    assert (counts.created, counts.ended, counts.live_by_minute) == ({"s": 2}, {"s": 1}, {"s": 1})
