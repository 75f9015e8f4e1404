"""Creations with an idempotency key: one session for repeated requests."""

import asyncio
import random

import pytest

from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.keyspace import Keyspace
from service.storage.session_store import RedisSessionStore
from tests.storage.conftest import MakeStore, Store
from tests.storage.counts import read_counts
from tests.support.lanes import close_breakers
from tests.support.lossy import LossyStore
from tests.support.redis_commands import ask
from tests.support.servers import Raw, RedisServer

KEY = "00000000-aaaa-4bbb-8ccc-dddddddddddd"


async def create_once(store: RedisSessionStore, session: Session, request: str) -> Session | None:
    """Answer one request."""
    [stored] = await store.create_many_once([(session, request)])
    return stored


async def test_a_repeated_request_gets_the_first_session(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """The same key, caller and user get one session. Another of these gets another."""
    callers = [(user, name, key) for user in (None, "u") for name in ("web", "tv") for key in (KEY, KEY[::-1])]
    first = {}
    for user, name, key in callers:
        session, request = factory.new_once("s", user, name, key)
        first[user, name, key] = session
        assert await create_once(store, session, request) == session
    for user, name, key in callers:
        session, request = factory.new_once("s", user, name, key)
        assert session.id != first[user, name, key].id
        assert await create_once(store, session, request) == first[user, name, key]
    assert len({session.id for session in first.values()}) == 8
    counts = await read_counts(raw, keyspace)
    assert counts.created == counts.live_by_hour == counts.live_by_minute == {"s": 8}


async def test_a_batch_of_requests_is_answered_like_single_ones(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """In a batch, equal requests get one session, and each session is counted once."""
    callers = [
        (source, user, KEY + str(number))
        for number in range(12)
        for source in ("s", "t")
        for user in (None, "u", f"u{number}")
    ]
    known = [factory.new_once(source, user, source, key) for source, user, key in callers[::3]]
    stored = {request: await create_once(store, session, request) for session, request in known}
    batch = [factory.new_once(source, user, source, key) for source, user, key in callers * 2]
    answers = await store.create_many_once(batch)
    for (session, request), answer in zip(batch, answers, strict=True):
        assert answer == stored.setdefault(request, session)
    assert len(stored) == len(callers)
    await store.end_many([[session.id] for session in answers[:5] if session])
    expected = [None if answer in answers[:5] else answer for answer in answers]
    assert await store.create_many_once(batch) == expected
    counts = await read_counts(raw, keyspace)
    assert counts.created == {"s": len(callers) // 2, "t": len(callers) // 2}
    assert counts.live_by_hour.total() == counts.live_by_minute.total() == len(callers) - 5


async def test_a_batch_that_cannot_be_counted_leaves_nothing(
    make_store: MakeStore, own_server: RedisServer, factory: SessionFactory
) -> None:
    """A batch that fails leaves no session and no request, and works when repeated."""
    store = await make_store(own_server.url)
    batch = [factory.new_once("s", user, "web", KEY + str(number)) for number, user in enumerate((None, "u") * 4)]
    ask(own_server, "ACL", "SETUSER", "default", "-bitfield")
    with pytest.raises(StoreUnavailable):
        await store.create_many_once(batch)
    assert [key for key in ask(own_server, "KEYS", "*") if not key.endswith("}mark")] == []
    ask(own_server, "ACL", "SETUSER", "default", "+bitfield")
    close_breakers(store.connection)
    assert await store.create_many_once(batch) == [session for session, _ in batch]


async def test_an_ended_session_is_not_created_again(store: RedisSessionStore, factory: SessionFactory) -> None:
    """The key of a session that has ended gets no session any more."""
    for user in (None, "u"):
        session, request = factory.new_once("s", user, "web", KEY)
        await create_once(store, session, request)
        await store.end_many([[session.id]])
        assert await create_once(store, factory.new_once("s", user, "web", KEY)[0], request) is None
        assert await store.find_many([[session.id]]) == [None]


def test_the_request_chooses_the_shard_of_a_guest(factory: SessionFactory, digest: UserDigest) -> None:
    """All sessions of a request are in one shard, which is the user's for a user."""
    shards = set()
    for number in range(200):
        ids = {factory.new_once("s", None, "web", f"{KEY}{number}")[0].id for _ in range(3)}
        assert len(ids) == 3
        assert len({one[0] for one in ids}) == 1
        shards |= {one[0] for one in ids}
        session, _ = factory.new_once("s", "u", "web", f"{KEY}{number}")
        assert session.id[0] == digest("u")[0]
    assert len(shards) == SHARD_COUNT


async def test_a_thousand_requests_at_once_make_one_session(
    server: Store, make_store: MakeStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """With four workers and lost replies, parallel requests get one session."""
    chance = random.Random(20261127)
    async with LossyStore(server, lambda: chance.random() < 0.1) as lossy:
        stores = [await make_store(lossy.url) for _ in range(4)]
        answered = []

        async def create(number: int) -> None:
            session, request = factory.new_once("s", "u", "web", KEY)
            store = stores[number % 4]
            try:
                answered.append(await create_once(store, session, request))
            except StoreUnavailable:
                close_breakers(store.connection)

        for start in range(0, 1000, 40):
            await asyncio.gather(*(create(number) for number in range(start, start + 40)))
    assert len(answered) > 500
    assert len({session and session.id for session in answered}) == 1
    assert answered[0] is not None
    assert (await read_counts(raw, keyspace)).created == {"s": 1}


async def test_foreign_data_under_the_key_of_a_request(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """Another program's string in place of an id gets no session, and stays."""
    session, request = factory.new_once("s", None, "web", KEY)
    await raw.set(keyspace.request(session.id, request), "foreign", ex=60)
    assert await create_once(store, session, request) is None
    assert await raw.get(keyspace.request(session.id, request)) == "foreign"


async def test_data_of_another_type_under_the_key_of_a_request(
    store: RedisSessionStore, factory: SessionFactory, raw: Raw, keyspace: Keyspace
) -> None:
    """A request that cannot be remembered gets a session, also after a lost reply."""
    session, request = factory.new_once("s", "u", "web", KEY)
    key = keyspace.request(session.id, request)
    await raw.rpush(key, "foreign")
    for _ in range(2):
        assert await create_once(store, session, request) == session
    assert await store.find_many([[session.id]]) == [session]
    assert await raw.lrange(key, 0, -1) == ["foreign"]
    assert (await read_counts(raw, keyspace)).created == {"s": 1}
