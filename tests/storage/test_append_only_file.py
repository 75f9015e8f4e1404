"""The rewrite of the append-only file after an erasure."""

import asyncio

import redis.asyncio

from service.config.settings import RedisSettings
from service.digests import UserDigest
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.lane import Lane
from service.storage.user_store import RedisUserStore
from tests.support.servers import RedisServer


async def rewrites(url: str) -> bool:
    connection = RedisConnection.alone(url, RedisSettings())
    try:
        users = RedisUserStore(connection, Keyspace("jay"), UserDigest("secret"), retention_days=90)
        return await users.rewrite_append_only_file()
    finally:
        await connection.close()


async def test_only_an_existing_append_only_file_is_rewritten(own_server: RedisServer) -> None:
    """An existing append-only file is rewritten, and a missing one is not created."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("appendonly", "yes")
        async with asyncio.timeout(10):
            # Redis writes the first file.
            while (await raw.info("persistence"))["aof_rewrite_in_progress"]:
                await asyncio.sleep(0.01)
        before = await rewrite_calls(raw)
        assert await rewrites(own_server.url) is True
        assert await rewrite_calls(raw) > before
        await raw.config_set("appendonly", "no")
        before = await rewrite_calls(raw)
        assert await rewrites(own_server.url) is False
        assert await rewrite_calls(raw) == before


async def test_an_acl_that_forbids_the_rewrite_is_no_error(own_server: RedisServer) -> None:
    """A forbidden rewrite is no error: the result says that it did not happen."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.acl_setuser(
            "jay", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-info", "-bgrewriteaof"]
        )
    assert await rewrites(own_server.url.replace("redis://", "redis://jay:p@")) is False


async def test_a_rewrite_without_a_free_connection_is_no_error(own_server: RedisServer) -> None:
    """While all connections are in use, the result says that no rewrite has begun."""
    lane = Lane("operators", connections=1, waiting=0, wait_timeouts=1, repeats_timeouts=False)
    connection = RedisConnection.alone(own_server.url, RedisSettings(timeout_seconds=10), lane=lane)
    users = RedisUserStore(connection, Keyspace("jay"), UserDigest("secret"), retention_days=90)
    async with redis.asyncio.Redis.from_url(own_server.url) as raw, asyncio.TaskGroup() as tasks:
        tasks.create_task(connection.run("wait", lambda client: client.blpop(["list"])))
        async with asyncio.timeout(10):
            while not (await raw.info("clients"))["blocked_clients"]:
                await asyncio.sleep(0.01)
        assert await users.rewrite_append_only_file() is False
        await raw.lpush("list", "x")
    await connection.close()


async def rewrite_calls(raw: "redis.asyncio.Redis") -> int:
    """Return how often BGREWRITEAOF ran."""
    calls: int = (await raw.info("commandstats")).get("cmdstat_bgrewriteaof", {"calls": 0})["calls"]
    return calls
