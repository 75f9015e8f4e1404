"""Redis moves or closes connections, and visitors are served again within 2 s.

The bound is 2 s on the monotonic clock. On an idle machine recovery takes milliseconds,
so there is room for the noise of a shared one, and no test extends the bound.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import redis.asyncio

from service.storage.keyspace import Keyspace
from tests.api.conftest import Service, Start
from tests.support.proxy import MovingName
from tests.support.servers import Raw, RedisServer, binaries, free_port
from tests.support.visitors import DEADLINE_SECONDS, Answered, visitors

BAR_SECONDS = 2.0
VISITORS = 8
ROUNDS = 20  # consecutive successes that count as recovered
LOOKUP = "/v1/playouts/tracking/sessions/lookup"
OPERATOR = {"X-API-Key": "operator-key"}
OPTIONS = ("--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes")


@pytest.fixture(params=binaries())
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Start two independent servers."""
    folders = [tmp_path / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    binary = binaries()[request.param]
    with RedisServer(binary, folders[0], *OPTIONS) as old, RedisServer(binary, folders[1], *OPTIONS) as new:
        yield old, new


@pytest.fixture
async def raws(pair: tuple[RedisServer, RedisServer]) -> AsyncIterator[Sequence[Raw]]:
    """Return plain clients of the two servers, in their order."""
    async with AsyncExitStack() as clients:
        yield [
            await clients.enter_async_context(redis.asyncio.Redis.from_url(server.url, decode_responses=True))
            for server in pair
        ]


@pytest.fixture
async def name(pair: tuple[RedisServer, RedisServer]) -> AsyncIterator[MovingName]:
    """Return the name that the service uses for Redis.

    It points to the first of the two servers.
    """
    async with MovingName(pair[0].port) as moving:
        yield moving


async def replicate(raw: Raw, source: RedisServer) -> None:
    """Make a server a replica, and return when it has its primary's data."""
    await raw.replicaof("127.0.0.1", source.port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await raw.info("replication"))["master_link_status"] != "up":
            await asyncio.sleep(0.01)


async def lost(answers: Sequence[Answered], raw: Raw, prefix: str) -> list[str]:
    """Return the acknowledged sessions that Redis does not hold."""
    keyspace = Keyspace(prefix)
    return [one.token for one in answers if one.token and not await raw.exists(keyspace.session(one.token))]


async def check_other_lanes(service: Service) -> None:
    """Check that operators and readiness are served too."""
    asked = {"session_ids": ["unknown"]}
    assert (await service.request("POST", LOOKUP, headers=OPERATOR, json=asked)).status == 200
    assert (await service.request("GET", "/readyz")).status == 200


async def test_a_primary_that_moves_behind_its_name(
    start: Start, pair: tuple[RedisServer, RedisServer], raws: Sequence[Raw], name: MovingName, prefix: str
) -> None:
    """After a failover visitors are served within 2 s and lose no session.

    The old primary stays up as a replica of the new one.
    """
    (old, new), (raw_old, raw_new) = pair, raws
    await replicate(raw_new, old)
    service = await start(name.url)
    await check_other_lanes(service)
    async with visitors(service.request, VISITORS) as crowd:
        await crowd.served(ROUNDS, since=0.0)
        await raw_new.replicaof("NO", "ONE")
        name.move(new.port)
        await raw_old.replicaof("127.0.0.1", new.port)
        moved_at = time.monotonic()
        await crowd.served(ROUNDS, since=moved_at)
    assert crowd.recovered_after(moved_at) < BAR_SECONDS
    assert await lost(crowd.since(moved_at), raw_new, prefix) == []
    await check_other_lanes(service)
    assert name.connections_to(old.port) == 0


async def test_closed_connections(
    start: Start, pair: tuple[RedisServer, RedisServer], raws: Sequence[Raw], prefix: str
) -> None:
    """Sessions that were acknowledged while connections were closed are stored.

    Redis closes all connections at once, then one by one.
    """
    raw = raws[0]
    service = await start(pair[0].url)
    async with visitors(service.request, VISITORS) as crowd:
        for kill in (kill_all, kill_each):
            for _ in range(5):
                await crowd.served(2, since=time.monotonic())
                assert await kill(raw) > 0
                killed_at = time.monotonic()
                await crowd.served(ROUNDS, since=killed_at)
                assert crowd.recovered_after(killed_at) < BAR_SECONDS
    assert await lost(crowd.answers, raw, prefix) == []
    await check_other_lanes(service)


async def kill_all(raw: Raw) -> int:
    return int(await raw.client_kill_filter(_type="normal", skipme=True))


async def kill_each(raw: Raw) -> int:
    own = await raw.client_id()
    ids = [client["id"] for client in await raw.client_list(_type="normal") if int(client["id"]) != own]
    return sum([int(await raw.client_kill_filter(_id=client_id)) for client_id in ids])


async def read_only(raw: Raw) -> None:
    await raw.replicaof("127.0.0.1", free_port())


async def too_few_replicas(raw: Raw) -> None:
    await raw.config_set("min-replicas-to-write", 1)


async def without_primary(raw: Raw) -> None:
    await raw.config_set("replica-serve-stale-data", "no")
    await read_only(raw)


async def loading(raw: Raw) -> None:
    """Make a server load its data for longer than the test takes.

    It answers between two keys.
    """
    await raw.config_set("loading-process-events-interval-bytes", 1024)
    await raw.mset({f"filler:{number}": f"{number:2048}" for number in range(5000)})
    await raw.config_set("key-load-delay", 5000)
    reload = asyncio.ensure_future(raw.execute_command("DEBUG", "RELOAD"))
    async with asyncio.timeout(DEADLINE_SECONDS), redis.asyncio.Redis.from_url(url_of(raw)) as other:
        while True:
            with suppress(redis.exceptions.BusyLoadingError):
                await other.get("x")
                await asyncio.sleep(0.001)
                continue
            break
    reload.cancel()


def url_of(raw: Raw) -> str:
    return f"redis://127.0.0.1:{raw.connection_pool.connection_kwargs['port']}/0"


async def scripted(raw: Raw) -> None:
    """Leave the server as it is, because the name answers in its place."""


Spoil = Callable[[Raw], Awaitable[None]]
SPOILS: dict[str, Spoil] = {
    "READONLY": read_only,
    "NOREPLICAS": too_few_replicas,
    "MASTERDOWN": without_primary,
    "LOADING": loading,
    "NOAUTH Authentication required.": scripted,
    "CLUSTERDOWN The cluster is down": scripted,
    "MOVED 3999 127.0.0.1:6381": scripted,
    "ASK 3999 127.0.0.1:6381": scripted,
    "UNBLOCKED force unblock from blocking operation, instance state changed": scripted,
}
# redis-py treats these as broken connections. It closes the connection and sends the
# command again on a new one. So no visitor gets an error, and connections of idle lanes
# stay until their next use.
RETRIED = ("LOADING", "NOAUTH")


@pytest.mark.parametrize("reply", SPOILS, ids=lambda reply: reply.partition(" ")[0])
async def test_a_server_that_rejects_commands(
    start: Start,
    pair: tuple[RedisServer, RedisServer],
    raws: Sequence[Raw],
    name: MovingName,
    prefix: str,
    reply: str,
) -> None:
    """After errors such as READONLY, the new server is used within 2 s.

    The connections to the old server stay open.
    """
    old, new = pair
    is_retried = reply.startswith(RETRIED)
    service = await start(name.url)
    await check_other_lanes(service)
    async with visitors(service.request, VISITORS) as crowd:
        await crowd.served(2, since=0.0)
        assert name.connections_to(old.port) > 0
        name.move(new.port, reply if SPOILS[reply] is scripted else None)
        moved_at = time.monotonic()
        await SPOILS[reply](raws[0])
        await crowd.served(ROUNDS, since=moved_at)
    assert is_retried or any(answer.status == 503 for answer in crowd.answers)
    assert is_retried or name.connections_to(old.port) == 0
    assert crowd.recovered_after(moved_at) < BAR_SECONDS
    assert await lost(crowd.since(moved_at)[-VISITORS:], raws[1], prefix) == []
    await check_other_lanes(service)
