"""The ACL of docker-compose.yml against every command of the service and its doctor."""

import re
import time
from pathlib import Path

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.counts import CountRange, Interval
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SessionFactory
from service.storage.connection import RedisConnection
from service.storage.consistency_check import ConsistencyCheck
from service.storage.count_store import RedisCountStore
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.readiness import Readiness
from service.storage.session_store import RedisSessionStore
from service.storage.user_store import RedisUserStore
from tests.support.servers import RedisServer

TOP_USERS = 10


async def test_the_redis_user_of_the_compose_file_may_run_every_command(
    own_server: RedisServer, project: Path, factory: SessionFactory, digest: UserDigest
) -> None:
    """The Redis user of docker-compose.yml may run all commands of the service."""
    compose = (project / "docker-compose.yml").read_text("utf-8")
    commands = re.findall(r"^      - (\+[a-z|]+)$", compose, re.MULTILINE)
    assert '- "~${JAY_REDIS__KEY_PREFIX:-jay}*"' in compose
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        rules = ["-@all", *commands]
        await raw.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["jay*"], commands=rules)
    # A batch of 809 sessions takes longer than usual.
    settings = RedisSettings(timeout_seconds=10)
    connection = RedisConnection.alone(own_server.url.replace("redis://", "redis://jay:p@") + "/0", settings)
    keyspace = Keyspace("jay")
    try:
        await Readiness(connection, keyspace).check()
        store = RedisSessionStore(connection, keyspace, Lifetimes.of(86400, 90), top_users=TOP_USERS)
        # More users than a top list holds, and more sessions of one user than a
        # creation checks for expired index entries.
        sessions = [factory.new("s", f"user-{n % 400}") for n in range(800)] + [
            factory.new("s", "u") for _ in range(9)
        ]
        assert all(await store.create_many(sessions))
        assert await store.end_many([[sessions[-1].id]]) == [["s"]]
        assert len(await store.find_each([session.id for session in sessions])) == len(sessions) - 1
        now = time.time()
        counts = RedisCountStore(connection, keyspace, ttl_seconds=86400, retention_days=90)
        for interval in Interval:
            asked = CountRange.around(now - 86400, now, interval)
            assert (await counts.count_sessions(asked, now)).total.active == len(sessions) - 1
        assert (await counts.top_users(asked, 3)).users
        users = RedisUserStore(connection, keyspace, digest, retention_days=90)
        assert (await users.count("u", asked)).active_by_source == {"s": 8}
        assert await users.erase("u", int(now * 1_000_000) + 10_000_000) == 8
        await users.rewrite_append_only_file()
        consistency_check = ConsistencyCheck(connection, keyspace, digest, ttl_seconds=86400)
        assert await consistency_check.servers()
        assert await consistency_check.count_keys()
        report = await consistency_check.run(lambda _: None, repair=True)
        assert report is not None
        assert (report.sessions, report.foreign, report.not_indexed, report.without_lifetime) == (800, 0, 0, 0)
        assert report.wrong_hours == []
    finally:
        await connection.close()


async def test_a_permission_that_is_lost_deletes_no_key_with_a_lifetime(
    own_server: RedisServer, keyspace: Keyspace, factory: SessionFactory, digest: UserDigest
) -> None:
    """When EXPIRE is denied on an open connection, sessions keep their index."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.acl_setuser("jay", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all"])
        url = own_server.url.replace("redis://", "redis://jay:p@") + "/0"
        connection = RedisConnection.alone(url, RedisSettings(timeout_seconds=10))
        store = RedisSessionStore(connection, keyspace, Lifetimes.of(86400, 90), top_users=TOP_USERS)
        try:
            first, second = factory.new("s", "u"), factory.new("s", "u")
            assert await store.create_many([first]) == [True]
            await raw.acl_setuser("jay", enabled=True, keys=["*"], commands=["+@all", "-expire"])
            with pytest.raises(StoreUnavailable):
                await store.create_many([second._replace(id=first.id[:8] + second.id[8:])])
            assert first.id.encode() in await raw.hkeys(keyspace.user(digest("u")))
            assert all([await raw.ttl(key) > 0 async for key in raw.scan_iter()])
        finally:
            await connection.close()
