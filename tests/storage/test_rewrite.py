import redis.asyncio

from service.config.settings import AnalyticsSettings, RedisSettings
from service.sessions import UserDigest
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.users import RedisUserStore
from tests.support.servers import RedisServer


async def rewrites(url: str) -> bool:
    connection = RedisConnection(url, RedisSettings())
    try:
        users = RedisUserStore(connection, Keyspace("jay"), UserDigest("secret"), analytics=AnalyticsSettings())
        return await users.rewrite_append_only_file()
    finally:
        await connection.close()


async def test_an_append_only_file_is_written_anew_where_there_is_one(own_server: RedisServer) -> None:
    """Where Redis keeps none, asking would make one, which nobody would erase from again."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("appendonly", "yes")
        while (await raw.info("persistence"))["aof_rewrite_in_progress"]:
            pass  # it writes the first one
        before = await rewritten(raw)
        assert await rewrites(own_server.url) is True
        assert await rewritten(raw) > before
        await raw.config_set("appendonly", "no")
        before = await rewritten(raw)
        assert await rewrites(own_server.url) is False
        assert await rewritten(raw) == before


async def test_a_redis_user_who_may_not_ask_is_no_failure(own_server: RedisServer) -> None:
    """The receipt says so instead."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.acl_setuser(
            "jay", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-info", "-bgrewriteaof"]
        )
    assert await rewrites(own_server.url.replace("redis://", "redis://jay:p@")) is False


async def rewritten(raw: "redis.asyncio.Redis") -> int:
    """Return how often BGREWRITEAOF was called and done."""
    calls: int = (await raw.info("commandstats")).get("cmdstat_bgrewriteaof", {"calls": 0})["calls"]
    return calls
