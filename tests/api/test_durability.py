"""`redis.durability`: a write is acknowledged when it is on disk or on replicas."""

import contextlib
import json
import logging
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio
from aiohttp import ClientResponse

from service.config.settings import RedisSettings
from service.storage import replicas
from service.storage.embedded_process import find_binary
from tests.api.conftest import PATH, PATIENT_SECONDS, TOKEN, Start
from tests.api.topologies import is_ready, until
from tests.support.redis_commands import ask, is_replica_in_sync, wait_until
from tests.support.servers import RedisServer, binaries

USER_PATH = f"{PATH}/user"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
# A write that is not acknowledged takes the whole timeout.
REPLICATED = RedisSettings(durability="replicated", timeout_seconds=1)
SYNCED = RedisSettings(durability="synced", timeout_seconds=PATIENT_SECONDS)


@contextlib.contextmanager
def run_servers(folder: Path, replicas: int) -> Iterator[list[RedisServer]]:
    """Run a primary with replicas that have its data."""
    with contextlib.ExitStack() as stack:
        servers = []
        for number in range(1 + replicas):
            (folder / str(number)).mkdir()
            server = RedisServer(find_binary(), folder / str(number), "--repl-diskless-sync-delay", "0")
            servers.append(stack.enter_context(server))
        primary = servers[0]
        for replica in servers[1:]:
            ask(replica, "REPLICAOF", "127.0.0.1", primary.port)
            wait_until(partial(is_replica_in_sync, replica, primary), "the replica has the data")
        yield servers


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Run a primary with a replica."""
    with run_servers(tmp_path, replicas=1) as (primary, replica):
        yield primary, replica


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """Run a primary with two replicas."""
    with run_servers(tmp_path, replicas=2) as (primary, replica, other):
        yield primary, replica, other


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


async def test_a_repeated_change_of_consent_waits_for_the_replicas(
    pair: tuple[RedisServer, RedisServer], start: Start
) -> None:
    """A repetition finds its change, and gets 503 until the replica has the change."""
    primary, replica = pair
    service = await start(url=primary.url, redis=REPLICATED)
    session_id = await service.create()

    async def change(user_id: str | None) -> ClientResponse:
        if user_id is None:
            return await service.request("DELETE", USER_PATH, headers={TOKEN: session_id})
        return await service.request("PUT", USER_PATH, headers={TOKEN: session_id}, json={"user_id": user_id})

    async def is_changed(user_id: str | None) -> bool:
        return (await change(user_id)).status == 200

    for user_id in ("user-1", None):
        replica.signal(signal.SIGSTOP)
        try:
            assert [(await change(user_id)).status for _ in range(3)] == [503, 503, 503]
        finally:
            replica.signal(signal.SIGCONT)
        await until(partial(is_changed, user_id))
        new_id = (await change(user_id)).headers[TOKEN]
        async with redis.asyncio.Redis.from_url(replica.url) as raw:
            assert [key async for key in raw.scan_iter(match=f"*{new_id}", count=1000)]


@pytest.mark.parametrize("command", ["role", "wait"])
async def test_a_redis_without_the_commands_of_replicated_is_unfit(
    pair: tuple[RedisServer, RedisServer], start: Start, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With `replicated`, each connection needs ROLE and WAIT. The log names them."""
    primary, _ = pair
    ask(primary, "ACL", "SETUSER", "default", f"-{command}")
    service = await start(url=primary.url, redis=REPLICATED)
    for method in ("GET", "POST"):
        assert (await service.request(method, headers={TOKEN: UNKNOWN})).status == 503
    expected = f"the command {command} (redis.durability: replicated) does not work"
    assert any(expected in record.getMessage() for record in caplog.records)


def listed_replicas(primary: RedisServer) -> int:
    """Return the number of replicas that are connected to a primary."""
    return len(ask(primary, "ROLE")[2])


async def test_a_promoted_replica_stops_the_writes_of_its_former_primary(
    trio: tuple[RedisServer, RedisServer, RedisServer],
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other replica does not suffice, because a write would be lost all the same.

    In a failover that an operator starts, Sentinel informs the former primary last.
    """
    monkeypatch.setattr(replicas, "HOLD_SECONDS", 3600)
    primary, promoted, _ = trio
    service = await start(url=primary.url, redis=REPLICATED)
    session_id = await service.create()
    ask(promoted, "REPLICAOF", "NO", "ONE")
    wait_until(lambda: listed_replicas(primary) == 1, "the replica has left")
    for _ in range(2):
        assert (await service.request("POST")).status == 503
    assert (await service.request("DELETE", headers={TOKEN: session_id})).status == 503
    assert any("a replica has been promoted" in record.getMessage() for record in caplog.records)


async def test_a_lane_that_has_not_written_notices_a_promoted_replica(
    trio: tuple[RedisServer, RedisServer, RedisServer], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A withdrawal of consent is not acknowledged either.

    Changes of consent have connections of their own. Here, the replica is promoted
    before the first change.
    """
    monkeypatch.setattr(replicas, "HOLD_SECONDS", 3600)
    primary, promoted, _ = trio
    service = await start(url=primary.url, redis=REPLICATED)
    headers = {TOKEN: await service.create(json={"user_id": "user-1"})}
    ask(promoted, "REPLICAOF", "NO", "ONE")
    wait_until(lambda: listed_replicas(primary) == 1, "the replica has left")
    for _ in range(2):
        assert (await service.request("DELETE", USER_PATH, headers=headers)).status == 503


async def test_a_replica_that_has_left_for_good_stops_no_writes(
    trio: tuple[RedisServer, RedisServer, RedisServer], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write needs no replica that is down, and later none that is detached."""
    monkeypatch.setattr(replicas, "HOLD_SECONDS", 0)
    primary, detached, down = trio
    service = await start(url=primary.url, redis=REPLICATED)

    async def creates() -> bool:
        return (await service.request("POST")).status == 201

    assert await creates()
    down.kill()
    wait_until(lambda: listed_replicas(primary) == 1, "the replica that is down has left")
    await until(creates)
    down.start()
    ask(down, "REPLICAOF", "127.0.0.1", primary.port)
    wait_until(lambda: is_replica_in_sync(down, primary), "the replica has the data")
    await until(creates)
    ask(detached, "REPLICAOF", "NO", "ONE")
    wait_until(lambda: listed_replicas(primary) == 1, "the detached replica has left")
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


async def test_an_append_only_file_that_is_turned_off_stops_writes(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With `synced`, writes get 503 until the file is back, and the log names it."""
    with RedisServer(find_binary(), tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        service = await start(url=server.url, redis=SYNCED)
        await service.create()
        ask(server, "CONFIG", "SET", "appendonly", "no")
        assert (await service.request("POST")).status == 503
        assert not await is_ready(service)
        ask(server, "CONFIG", "SET", "appendonly", "yes")

        async def creates() -> bool:
            return (await service.request("POST")).status == 201

        await until(creates)
        await until(lambda: is_ready(service))
    assert any("appendonly is disabled" in record.getMessage() for record in caplog.records)


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
    with RedisServer(binary, tmp_path, "--appendfsync", "always") as server:
        service = await start(url=server.url, redis=SYNCED)
        assert (await service.request("POST")).status == 503
        ready = await service.request("GET", "/readyz")
        assert (ready.status, json.loads(await ready.read())) == (503, {"status": "store-unavailable"})
    assert any("redis.durability: synced" in record.getMessage() for record in caplog.records)
