"""The doctor's consistency check of Redis.

It is exact although SCAN repeats keys, and its memory is bounded.
"""

import itertools
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from service.digests import UserDigest
from service.sessions import Session, SessionFactory
from service.storage.connection import RedisConnection
from service.storage.consistency_check import ConsistencyCheck, ConsistencyReport
from service.storage.keyspace import Keyspace
from service.storage.seen_keys import SeenKeys
from service.storage.session_store import RedisSessionStore
from tests.storage.conftest import ChangesOf, Connect, MakeStore, Mint, Store
from tests.support.lanes import all_lanes
from tests.support.servers import Raw, RedisServer

RunCheck = Callable[..., Awaitable[ConsistencyReport | None]]


@pytest.fixture
def run_check(connect: Connect, server: RedisServer, keyspace: Keyspace, digest: UserDigest) -> RunCheck:
    """Return a function that runs the check over this test's keys."""

    async def run(
        *,
        repair: bool = False,
        connection: RedisConnection | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ConsistencyReport | None:
        consistency_check = ConsistencyCheck(connection or connect(server.url), keyspace, digest, ttl_seconds=86400)
        return await consistency_check.run(progress or (lambda _: None), repair=repair)

    return run


async def create_all(store: RedisSessionStore, sessions: Sequence[Session]) -> None:
    for start in range(0, len(sessions), 250):
        assert all(await store.create_many(sessions[start : start + 250]))


class RepeatingRedis:
    """A client whose SCAN returns every page twice, as during a resize."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def scan(self, cursor: int, **more: Any) -> tuple[int, list[bytes]]:
        """Repeat the keys of a page in it, and all keys in the last page."""
        following, keys = await self._client.scan(cursor, **more)
        every = [] if following else [key async for key in self._client.scan_iter(match=more["match"])]
        return following, [*keys, *keys, *every]


async def test_keys_that_scan_repeats_are_counted_once(
    run_check: RunCheck,
    connect: Connect,
    server: RedisServer,
    make_store: MakeStore,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """The report and the progress are exact when SCAN returns keys repeatedly."""
    store = await make_store(server.url)
    sessions = [factory.new("s", f"u{n % 7}" if n % 2 else None) for n in range(2500)]
    await create_all(store, sessions)
    await raw.set(f"{keyspace.base(0)}stranger", "x")
    await raw.set(keyspace.session(factory.new("s").id), "foreign", ex=60)
    connection = connect(server.url)
    for lane in await all_lanes(connection):
        lane._client.redis = RepeatingRedis(lane._client.redis)  # type: ignore[assignment]
    visited: list[int] = []
    found = await run_check(connection=connection, progress=visited.append)
    assert found is not None
    assert (found.sessions, found.users, found.wrong_hours) == (2500, 1250, [])
    assert (found.without_lifetime, found.foreign) == (1, 1)
    assert sum(visited) == found.keys
    once = await run_check()
    assert once is not None
    assert once.keys == found.keys


async def test_a_large_index_is_read_in_pages(
    run_check: RunCheck,
    server: RedisServer,
    make_store: MakeStore,
    factory: SessionFactory,
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """Expired entries of a large index are counted exactly and removed by a repair."""
    store = await make_store(server.url)
    sessions = [factory.new("s", "u") for _ in range(3000)]
    await create_all(store, sessions)
    for session in sessions[:1200]:
        await raw.delete(keyspace.session(session.id))
    for repair in (False, True):
        found = await run_check(repair=repair)
        assert found is not None
        assert (found.expired_in_indexes, found.users) == (1200, 1800)
    last = await run_check()
    assert last is not None
    assert last.expired_in_indexes == 0


@pytest.mark.parametrize("command", ["scan", "hscan", "get", "getrange", "hexists", "exists", "smembers", "ttl"])
async def test_a_forbidden_command_gives_no_report(
    own_server: RedisServer,
    connect: Connect,
    make_store: MakeStore,
    factory: SessionFactory,
    keyspace: Keyspace,
    digest: UserDigest,
    command: str,
) -> None:
    """There is no report when Redis forbids a command of the check."""
    store = await make_store(own_server.url)
    assert all(await store.create_many([factory.new("s", f"u{n}") for n in range(5)]))
    admin = connect(own_server.url)
    rules = ["+@all", f"-{command}"]
    await admin.run(
        "acl", lambda client: client.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["*"], commands=rules)
    )
    limited = connect(own_server.url.replace("redis://", "redis://jay:p@"))
    assert (
        await ConsistencyCheck(limited, keyspace, digest, ttl_seconds=86400).run(lambda _: None, repair=False) is None
    )


def test_seen_keys_are_exact_and_small() -> None:
    """100,000 seen keys are each new once and take under 500 kB of Python memory."""
    keys = [f"jay{{u0}}{number:036}".encode() for number in range(100_000)]
    with SeenKeys() as seen:
        tracemalloc.start()
        try:
            for start in range(0, len(keys), 1000):
                page = keys[start : start + 1000]
                assert len(seen.add([*page, *page])) == 1000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert seen.add(keys) == []
    assert peak < 500_000


async def test_sessions_of_different_hours_are_compared(
    run_check: RunCheck,
    server: RedisServer,
    make_store: MakeStore,
    mint: Callable[..., Any],
    raw: Raw,
    keyspace: Keyspace,
) -> None:
    """A session that was deleted by hand is reported for its hour and no other."""
    store = await make_store(server.url)
    now = time.time()
    sessions = [mint(now - hours * 3600, "s") for hours in range(5, 15) for _ in range(3)]
    assert all(await store.create_many(sessions))
    found = await run_check()
    assert found is not None
    assert found.wrong_hours == []
    await raw.delete(keyspace.session(sessions[0].id))
    found = await run_check()
    assert found is not None
    assert len(found.wrong_hours) == 1


class ChangingRedis:
    """A client that runs a function after the first page of a scan."""

    def __init__(self, client: Any, change: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._changes = [change]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def scan(self, cursor: int, **more: Any) -> Any:
        """Return the page as it was before the change."""
        page = await self._client.scan(cursor, **more)
        while self._changes:
            await self._changes.pop()()
        return page


@pytest.mark.parametrize("leaves", [False, True])
async def test_sessions_may_change_during_the_check(
    run_check: RunCheck,
    connect: Connect,
    server: Store,
    make_store: MakeStore,
    changes_of: ChangesOf,
    mint: Mint,
    digest: UserDigest,
    *,
    leaves: bool,
) -> None:
    """A session that moves to another shard makes no count wrong.

    In the second case, another session leaves the hour in which the first one arrives.
    """
    store = await make_store(server.url)
    earlier = time.time() - 7200
    sessions = [one._replace(id=f"{n % 8:x}{one.id[1:]}") for n in range(64) if (one := mint(earlier, "s"))]
    assert all(await store.create_many(sessions))
    changes = changes_of(store)

    async def move(session: Session, shard: int) -> None:
        user_id = next(f"user-{n}" for n in itertools.count() if digest(f"user-{n}")[0] == f"{shard:x}")
        assert await changes.set_user([session.id], user_id)

    async def change() -> None:
        await move(sessions[1], 2)
        if leaves:
            await move(sessions[2], 3)

    connection = connect(server.url)
    await connection.server_urls()
    for lane in await all_lanes(connection):
        lane._client.redis = ChangingRedis(lane._client.redis, change)  # type: ignore[assignment]
        break
    found = await run_check(connection=connection)
    assert found is not None
    assert (found.wrong_hours, found.compared_hours) == ([], 8)
