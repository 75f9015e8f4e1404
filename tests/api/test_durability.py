"""`redis.durability`: a write is acknowledged when it is on disk or on replicas."""

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.storage.embedded_process import find_binary
from tests.api.conftest import PATIENT_SECONDS, TOKEN, Start
from tests.api.topologies import is_ready, until
from tests.support.redis_commands import ask, is_replica_in_sync, wait_until
from tests.support.servers import RedisServer, binaries

# A write that is not acknowledged takes the whole timeout.
REPLICATED = RedisSettings(durability="replicated", timeout_seconds=1)
SYNCED = RedisSettings(durability="synced", timeout_seconds=PATIENT_SECONDS)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Run a primary with a replica."""
    folders = [tmp_path / "primary", tmp_path / "replica"]
    for folder in folders:
        folder.mkdir()
    options = ("--repl-diskless-sync-delay", "0")
    with (
        RedisServer(find_binary(), folders[0], *options) as primary,
        RedisServer(find_binary(), folders[1], *options) as replica,
    ):
        ask(replica, "REPLICAOF", "127.0.0.1", primary.port)
        wait_until(lambda: is_replica_in_sync(replica, primary), "the replica has the data")
        yield primary, replica


async def test_a_session_is_on_the_replica_when_it_is_acknowledged(
    pair: tuple[RedisServer, RedisServer], start: Start
) -> None:
    """With `replicated`, each acknowledged creation and end is on the replica."""
    primary, replica = pair
    service = await start(url=primary.url, redis=REPLICATED)
    async with redis.asyncio.Redis.from_url(replica.url) as raw:
        for _ in range(50):
            session_id = await service.create()
            assert [key async for key in raw.scan_iter(match=f"*{session_id}", count=1000)]
            assert (await service.request("DELETE", headers={TOKEN: session_id})).status == 204
            assert not [key async for key in raw.scan_iter(match=f"*{session_id}", count=1000)]


async def test_a_full_redis_still_ends_sessions(pair: tuple[RedisServer, RedisServer], start: Start) -> None:
    """With `replicated`, a full Redis takes the end of a session and no creation."""
    primary, replica = pair
    service = await start(url=primary.url, redis=REPLICATED)
    session_id = await service.create()
    ask(primary, "CONFIG", "SET", "maxmemory", "1")
    assert (await service.request("POST")).status == 503
    assert (await service.request("DELETE", headers={TOKEN: session_id})).status == 204
    async with redis.asyncio.Redis.from_url(replica.url) as raw:
        assert not [key async for key in raw.scan_iter(match=f"*{session_id}", count=1000)]


async def test_a_replica_that_hangs_stops_writes_and_not_reads(
    pair: tuple[RedisServer, RedisServer], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an acknowledgment in time, writes get 503, no cookie, and one log line.

    The breaker stays closed, so reads go on.
    """
    caplog.set_level(logging.WARNING)
    primary, replica = pair
    service = await start(url=primary.url, redis=REPLICATED)
    session_id = await service.create()
    replica.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            response = await service.request("POST")
            assert response.status == 503
            assert "Set-Cookie" not in response.headers
            assert (await service.request("GET", headers={TOKEN: session_id})).status == 200
        assert (await service.request("DELETE", headers={TOKEN: session_id})).status == 503
        assert not await is_ready(service)
    finally:
        replica.signal(signal.SIGCONT)
    lines = [record.getMessage() for record in caplog.records if "of 1 replicas" in record.getMessage()]
    assert len(lines) == 1
    await until(lambda: is_ready(service))


async def test_without_a_replica_nothing_is_acknowledged(pair: tuple[RedisServer, RedisServer], start: Start) -> None:
    """With `replicated`, a primary without a replica takes no writes."""
    primary, replica = pair
    service = await start(url=primary.url, redis=REPLICATED)
    assert (await service.request("POST")).status == 201
    replica.kill()
    assert (await service.request("POST")).status == 503
    replica.start()
    ask(replica, "REPLICAOF", "127.0.0.1", primary.port)

    async def creates() -> bool:
        return (await service.request("POST")).status == 201

    await until(creates)


async def test_a_session_is_on_disk_when_it_is_acknowledged(start: Start, tmp_path: Path) -> None:
    """With `synced`, Redis has synchronized its file before a creation is answered."""
    with RedisServer(find_binary(), tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        service = await start(url=server.url, redis=SYNCED)
        session_id = await service.create()
        assert session_id.encode() in _append_only_file(tmp_path)
        assert (await service.request("GET", headers={TOKEN: session_id})).status == 200


async def test_everysec_is_unfit_for_synced(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `appendfsync everysec`, WAITAOF may reply before the write is on disk."""
    with RedisServer(find_binary(), tmp_path, "--appendonly", "yes") as server:
        service = await start(url=server.url, redis=SYNCED)
        assert (await service.request("POST")).status == 503
        ask(server, "CONFIG", "SET", "appendfsync", "always")
        await until(lambda: is_ready(service))
        assert (await service.request("POST")).status == 201
    assert any("it needs `appendfsync always`" in record.getMessage() for record in caplog.records)


def _append_only_file(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*.aof"))


@pytest.mark.parametrize("kind", ["without a file", "redis"])
async def test_a_redis_that_cannot_synchronize_is_unfit(
    start: Start, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis 7.0 has no WAITAOF, and no server has it without an append-only file."""
    binary = binaries().get(kind, find_binary() if kind == "without a file" else None)
    if binary is None:
        pytest.skip("no Redis is installed, and Valkey has WAITAOF")
    with RedisServer(binary, tmp_path) as server:
        service = await start(url=server.url, redis=SYNCED)
        assert (await service.request("POST")).status == 503
        ready = await service.request("GET", "/readyz")
        assert (ready.status, json.loads(await ready.read())) == (503, {"status": "store-unavailable"})
    assert any("redis.durability: synced" in record.getMessage() for record in caplog.records)
