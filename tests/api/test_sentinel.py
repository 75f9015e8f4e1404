"""Sentinel: the service follows the primary, and leaves a demoted one."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.storage.embedded_process import find_binary
from tests.api.conftest import TOKEN, Start
from tests.api.topologies import is_ready, operator_statuses, until
from tests.support.redis_commands import ask
from tests.support.topologies import FAILOVER_SECONDS, SentinelGroup


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    """Run three servers and three sentinels that the test may break."""
    with SentinelGroup(find_binary(), tmp_path, down_after_seconds=FAILOVER_SECONDS) as started:
        yield started


async def test_a_killed_primary_is_replaced(group: SentinelGroup, start: Start, prefix: str) -> None:
    """After a failover the service writes to the new primary within 2 s.

    With `replicated`, no acknowledged session is lost.
    """
    service = await start(url=group.url, redis=RedisSettings(key_prefix=prefix, durability="replicated"))
    sessions = [await service.create(json={"user_id": "u"}) for _ in range(20)]
    old = group.kill_primary()
    await asyncio.to_thread(group.wait_for_failover, old)

    async def creates() -> bool:
        return (await service.request("POST")).status == 201

    assert await until(creates) < 2 + 2  # the other replica follows the new primary
    for session_id in sessions:
        assert (await service.request("GET", headers={TOKEN: session_id})).status == 200
    await until(lambda: is_ready(service))
    assert set((await operator_statuses(service, sessions)).values()) == {200}


async def test_a_demoted_primary_that_still_runs_is_left(group: SentinelGroup, start: Start) -> None:
    """The service leaves a replaced primary, although it answers."""
    service = await start(url=group.url)
    await service.create()
    old = group.primary
    await asyncio.to_thread(group.fail_over)

    async def left() -> bool:
        async with redis.asyncio.Redis.from_url(old.url) as client:
            try:
                clients = await client.client_list(_type="normal")
            except redis.exceptions.ConnectionError:  # it becomes a replica
                return False
        return all(one["name"].startswith("sentinel-") or one["cmd"] == "client|list" for one in clients)

    assert await until(left) < 5
    session_id = await service.create()
    assert ask(group.primary, "DBSIZE") > 0
    assert (await service.request("GET", headers={TOKEN: session_id})).status == 200


async def test_sentinels_and_redis_have_their_own_passwords(tmp_path: Path, start: Start) -> None:
    """Sentinels and Redis authenticate the service with different passwords."""
    with SentinelGroup(find_binary(), tmp_path, replicas=1) as group:
        for server in group.servers:
            ask(server, "ACL", "SETUSER", "jay", "on", ">redis-pass", "+@all", "~*")
        for sentinel in group.sentinels:
            ask(sentinel, "ACL", "SETUSER", "watcher", "on", ">sentinel-pass", "+@all")
        good = group.url.replace("redis+sentinel://", "redis+sentinel://jay:redis-pass@")
        parameters = "?sentinel_username=watcher&sentinel_password=sentinel-pass"
        service = await start(url=good + parameters)
        assert (await service.request("POST")).status == 201
        wrong = await start(url=good + parameters.replace("sentinel-pass", "wrong"))
        assert (await wrong.request("POST")).status == 503


async def test_a_hung_sentinel_does_not_delay(group: SentinelGroup, start: Start, prefix: str) -> None:
    """When the other sentinels have answered, the service waits for none that hangs."""
    group.sentinels[0].signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(8):
            service = await start(url=group.url, redis=RedisSettings(key_prefix=prefix, timeout_seconds=10))
            assert (await service.request("POST")).status == 201
    finally:
        group.sentinels[0].signal(signal.SIGCONT)


async def test_without_any_sentinel_the_log_says_so(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Without any sentinel every request is a 503, and the log names the primary."""
    service = await start(url="redis+sentinel://127.0.0.1:1/main")
    assert (await service.request("POST")).status == 503
    assert not await is_ready(service)
    assert any("no sentinel names a primary of main" in record.getMessage() for record in caplog.records)
