"""Redis is down, hung, full, read-only or forbids commands.

The service answers in time and recovers by itself.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.sessions import SessionFactory
from service.storage.connection import RedisConnection
from service.storage.lane import OPERATORS, SESSIONS
from service.storage.server_map import ServerMap
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_store import RedisSessionStore
from service.storage.shared import Shared
from tests.storage.conftest import PATIENT_COALESCE, ChangesOf, MakeStore
from tests.support.lanes import all_lanes
from tests.support.moving_primary import MovingPrimary
from tests.support.proxy import Impostor
from tests.support.servers import RedisServer

USUAL = {"timeout_seconds": 0.25}  # the default
# A process that is late gives a call more time (deadlines.py), and a busy machine makes
# every process late. With redis-py's defaults, a call to a hung server takes 59 s.
PATIENT_SECONDS = 30


@pytest.fixture
async def store(own_server: RedisServer, make_store: MakeStore) -> RedisSessionStore:
    return await make_store(own_server.url, redis=USUAL)


@pytest.fixture
async def sessions(store: RedisSessionStore, changes_of: ChangesOf) -> AsyncIterator[BatchingSessionStore]:
    coalesced = BatchingSessionStore(store, PATIENT_COALESCE, changes_of(store))
    yield coalesced
    await coalesced.close()


async def refused_after(operation: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds until an operation was refused as unavailable."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await operation()
    return time.monotonic() - started


async def recovered_after(operation: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds until an operation works again."""
    started = time.monotonic()
    async with asyncio.timeout(PATIENT_SECONDS):
        while True:
            try:
                await operation()
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return time.monotonic() - started


async def test_a_hung_redis(sessions: BatchingSessionStore, factory: SessionFactory, own_server: RedisServer) -> None:
    """Requests to a hung Redis are refused, and Redis recovers by itself."""
    session = factory.new("s")
    await sessions.create(session)
    own_server.signal(signal.SIGSTOP)
    waits = []
    for _ in range(12):
        waits.append(asyncio.ensure_future(refused_after(lambda: sessions.find([session.id]))))
        waits.append(asyncio.ensure_future(refused_after(lambda: sessions.create(factory.new("s")))))
        await asyncio.sleep(0.1)
    assert max(await asyncio.gather(*waits)) < PATIENT_SECONDS
    own_server.signal(signal.SIGCONT)
    assert await recovered_after(lambda: sessions.find([session.id])) < PATIENT_SECONDS
    assert await sessions.find([session.id]) == session


async def test_calls_that_wait_for_a_connection(own_server: RedisServer) -> None:
    """When Redis hangs, calls that wait for a connection are refused with the first."""
    connection = RedisConnection.alone(own_server.url, RedisSettings(), lane=OPERATORS)
    await connection.call("get", "GET", "x")
    own_server.signal(signal.SIGSTOP)
    calls = [refused_after(lambda: connection.call("get", "GET", "x")) for _ in range(10 * OPERATORS.connections)]
    # One after the other, the calls would take ten timeouts of 0.5 s.
    assert max(await asyncio.gather(*calls)) < 5
    own_server.signal(signal.SIGCONT)
    assert await recovered_after(lambda: connection.call("get", "GET", "x")) < PATIENT_SECONDS
    await connection.close()


async def test_a_server_that_was_replaced_is_left(own_server: RedisServer, server: RedisServer) -> None:
    """A call that fails after another server has taken over does not start a probe.

    The connections to the old server are closed, also while it hangs.
    """
    primary = MovingPrimary(own_server.url)
    connection = RedisConnection(Shared(ServerMap(primary, clock=partial(next, count(0, 10))), RedisSettings()))
    await connection.call("get", "GET", "{u0}")
    [old] = await all_lanes(connection)
    own_server.signal(signal.SIGSTOP)
    late = asyncio.ensure_future(refused_after(lambda: connection.call("get", "GET", "{u0}")))
    await asyncio.sleep(0)
    primary.url = server.url
    connection.servers.refresh_soon()
    async with asyncio.timeout(10):
        while connection.servers.urls[0] != server.url:
            await asyncio.sleep(0.01)
    await connection.call("get", "GET", "{u0}")
    await late
    async with asyncio.timeout(10):
        while old._probe is None or not old._probe.done() or any(one.is_connected for one in old._client._kept):
            await asyncio.sleep(0.01)
    await connection.close()
    await connection.servers.close()


async def test_a_server_that_was_replaced_has_no_outage(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that fails after another server has taken over is not logged."""
    asked, may_end = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read(1024)
        asked.set()
        await may_end.wait()

    async with Impostor(answer) as silent:
        primary = MovingPrimary(silent.url)
        servers = ServerMap(primary, clock=partial(next, count(0, 10)))
        connection = RedisConnection(Shared(servers, RedisSettings(timeout_seconds=30)))
        late = asyncio.ensure_future(refused_after(lambda: connection.call("get", "GET", "{u0}")))
        await asked.wait()
        [old] = await all_lanes(connection)
        primary.url = server.url
        servers.refresh_soon()
        async with asyncio.timeout(30):
            while not old._is_retired:
                await asyncio.sleep(0.01)
        may_end.set()
        await late
        await connection.close()
        await servers.close()
    assert not [record for record in caplog.records if record.name.startswith("service")]


async def test_a_killed_redis(
    sessions: BatchingSessionStore, factory: SessionFactory, own_server: RedisServer
) -> None:
    """Requests to a dead Redis are refused, and a new one is used without a restart."""
    await sessions.create(factory.new("s"))
    own_server.kill()
    for _ in range(5):
        assert await refused_after(lambda: sessions.find([factory.new("s").id])) < PATIENT_SECONDS
    own_server.start()
    assert await recovered_after(lambda: sessions.create(factory.new("s"))) < PATIENT_SECONDS


async def test_a_full_redis(sessions: BatchingSessionStore, factory: SessionFactory, own_server: RedisServer) -> None:
    """Without free memory, creations fail, and reading and ending sessions work."""
    session = factory.new("s", "u")
    await sessions.create(session)
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            await sessions.create(factory.new("s", "u"))
        assert await sessions.find([session.id]) == session
        assert await sessions.end([session.id]) == ["s"]
        assert await sessions.find([session.id]) is None
        await raw.config_set("maxmemory", "0")
    await sessions.create(factory.new("s"))


async def test_a_problem_is_logged_once(
    sessions: BatchingSessionStore,
    factory: SessionFactory,
    own_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A problem is logged once while creations fail and reads work."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("maxmemory", "1")
        for _ in range(10):
            await refused_after(lambda: sessions.create(factory.new("s")))
            await sessions.find([factory.new("s").id])
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    assert line.startswith("Redis cannot serve (OutOfMemoryError: ")


async def test_a_read_only_replica(
    sessions: BatchingSessionStore, factory: SessionFactory, own_server: RedisServer
) -> None:
    """A replica refuses writes and answers reads."""
    session = factory.new("s")
    await sessions.create(session)
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("replica-serve-stale-data", "yes")
        await raw.replicaof("127.0.0.1", "1")
        for operation in (lambda: sessions.create(factory.new("s")), lambda: sessions.end([session.id])):
            await refused_after(operation)
        assert await sessions.find([session.id]) == session
        await raw.replicaof("NO", "ONE")
    await sessions.create(factory.new("s"))


async def test_too_few_replicas(
    sessions: BatchingSessionStore, factory: SessionFactory, own_server: RedisServer
) -> None:
    """NOREPLICAS is an outage and no success."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("min-replicas-to-write", "1")
        await refused_after(lambda: sessions.create(factory.new("s")))
        await raw.config_set("min-replicas-to-write", "0")
    await sessions.create(factory.new("s"))


async def test_a_busy_redis(sessions: BatchingSessionStore, factory: SessionFactory, own_server: RedisServer) -> None:
    """BUSY, during the script of another client, is an outage."""
    await sessions.create(factory.new("s"))
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("busy-reply-threshold", "50")
        loop = asyncio.ensure_future(raw.eval("while true do end", 0))
        await asyncio.sleep(0)
        for _ in range(3):
            assert await refused_after(lambda: sessions.find([factory.new("s").id])) < PATIENT_SECONDS
        async with redis.asyncio.Redis.from_url(own_server.url) as other:
            await other.script_kill()
        with pytest.raises(redis.exceptions.ResponseError):
            await loop
    assert await recovered_after(lambda: sessions.create(factory.new("s"))) < PATIENT_SECONDS


async def test_wrong_password_and_forbidden_command(own_server: RedisServer) -> None:
    """A wrong password and a forbidden command are outages and raise no other error."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.acl_setuser("jay", enabled=True, passwords=["+right"], keys=["*"], commands=["+ping"])
    host = own_server.url.removeprefix("redis://")
    for password in ("wrong", "right"):
        connection = RedisConnection.alone(f"redis://jay:{password}@{host}", RedisSettings())
        with pytest.raises(StoreUnavailable):
            await connection.run("get", lambda client: client.get("x"))
        await connection.close()


async def test_readiness_is_a_write(own_server: RedisServer, store: RedisSessionStore) -> None:
    """A Redis that answers PING but refuses writes is not ready."""
    connection = store.connection
    await connection.run("check", lambda client: client.set("ready", "", ex=10))
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        assert 0 < await raw.ttl("ready") <= 10
        await raw.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable):
            await connection.run("check", lambda client: client.set("ready", "", ex=10))


async def test_an_internal_error_is_not_hidden_as_an_outage(store: RedisSessionStore) -> None:
    """An error of the service's own is raised, and the breaker stays closed."""
    with pytest.raises(redis.exceptions.ResponseError):
        await store.connection.run("get", lambda client: client.execute_command("GET"))  # type: ignore[no-untyped-call]

    async def broken(_: object) -> None:
        raise TypeError

    with pytest.raises(TypeError):
        await store.connection.run("get", broken)
    await store.connection.run("get", lambda client: client.get("x"))


async def test_too_many_clients(own_server: RedisServer, make_store: MakeStore, factory: SessionFactory) -> None:
    """A Redis with too many clients is an outage until the others disconnect."""
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.config_set("maxclients", "1")
        store = await make_store(own_server.url, redis=USUAL)
        with pytest.raises(StoreUnavailable):
            await store.create_many([factory.new("s")])
        await raw.config_set("maxclients", "100")
        assert await recovered_after(lambda: store.create_many([factory.new("s")])) < PATIENT_SECONDS


@pytest.mark.parametrize(
    "reply",
    [
        "-MASTERDOWN Link with MASTER is down",
        "-CLUSTERDOWN The cluster is down",
        "-TRYAGAIN Multiple keys request during rehashing",
        "-MOVED 3999 127.0.0.1:6381",
        "-LOADING Redis is loading the dataset in memory",
        "-MISCONF Errors writing to the AOF file: No space left on device",
        "-NOREPLICAS Not enough good replicas to write.",
        "-READONLY You can't write against a read only replica.",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-BUSY Redis is busy running a script.",
        "-NOAUTH Authentication required.",
        "-NOPERM this user has no permissions",
        "-NOSCRIPT No matching script.",
        "-ERR DB index is out of range",
        "-ERR WAIT cannot be used with replica instances. Please also note that writes are lost.",
        "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        "-ERR max number of clients reached",
        "HTTP/1.1 400 Bad Request",
        "",
    ],
)
async def test_every_way_to_refuse_is_an_outage(reply: str) -> None:
    """Every refusal by Redis, or by a server in its place, is an outage."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(f"{reply}\r\n".encode())

    async with Impostor(answer) as impostor:
        connection = RedisConnection.alone(impostor.url, RedisSettings())
        with pytest.raises(StoreUnavailable):
            await connection.run("get", lambda client: client.get("x"))
        await connection.close()


async def test_a_cancelled_probe_does_not_keep_the_breaker_open(
    store: RedisSessionStore, factory: SessionFactory, own_server: RedisServer
) -> None:
    """After a cancelled probe the next call may probe again."""
    own_server.signal(signal.SIGSTOP)
    await refused_after(lambda: store.create_many([factory.new("s")]))
    [lane] = await all_lanes(store.connection)
    lane._breaker._open_until = 0  # a probe is due
    probe = asyncio.ensure_future(store.create_many([factory.new("s")]))
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    own_server.signal(signal.SIGCONT)
    assert await recovered_after(lambda: store.create_many([factory.new("s")])) < PATIENT_SECONDS


async def test_a_probe_that_waits_for_a_connection_may_be_cancelled() -> None:
    """A probe that is cancelled before it has a connection leaves room for another."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read(-1)

    async with Impostor(answer) as silent:
        connection = RedisConnection.alone(silent.url, RedisSettings(timeout_seconds=30), lane=OPERATORS)
        [lane] = await all_lanes(connection)
        calls = [asyncio.ensure_future(connection.call("get", "GET", "x")) for _ in range(OPERATORS.connections)]
        await asyncio.sleep(0)
        assert lane._slots._free.locked()
        lane._breaker.failed(lane._breaker.admit() or 0)
        lane._breaker._open_until = 0  # a probe is due
        probe = asyncio.ensure_future(connection.call("get", "GET", "x"))
        await asyncio.sleep(0)
        assert lane._breaker.admit() is None
        for one in (probe, *calls):
            one.cancel()
        await asyncio.gather(probe, *calls, return_exceptions=True)
        assert lane._breaker.admit() is not None
        await connection.close()


async def test_a_call_that_is_not_repeated_has_the_time_of_two_attempts() -> None:
    """The lane of operators waits for two timeouts, and the one of visitors for one.

    A write has the time of the replicas or of the disk too.
    """
    for durability, wait in (("replicated", 3), ("synced", 2)):
        settings = RedisSettings(timeout_seconds=3, durability=durability)  # type: ignore[arg-type]
        for lane, seconds in ((OPERATORS, 6), (SESSIONS, 3)):
            connection = RedisConnection.alone("redis://127.0.0.1/0", settings, lane=lane)
            [one] = await all_lanes(connection)
            assert (one._deadlines._seconds, one._write_deadlines._seconds) == (seconds, seconds + wait)
            await connection.close()


async def test_each_outage_is_logged(
    store: RedisSessionStore, factory: SessionFactory, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each outage has a log line at its start and one at its end."""
    for _ in range(2):
        own_server.kill()
        await refused_after(lambda: store.create_many([factory.new("s")]))
        own_server.start()
        await recovered_after(lambda: store.create_many([factory.new("s")]))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    assert [line.partition(" (")[0] for line in lines] == ["Redis cannot serve", "Redis serves again"] * 2


async def test_no_call_takes_longer_than_two_timeouts() -> None:
    """A call ends after two timeouts, also when it has to load its script."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"EVALSHA" in await reader.read(4096):
            await asyncio.sleep(0.45)
            writer.write(b"-NOSCRIPT No matching script.\r\n")
        await reader.read(-1)

    async with Impostor(answer) as slow:
        connection = RedisConnection.alone(slow.url, RedisSettings(timeout_seconds=0.5))
        script = connection.script("end")
        waited = await refused_after(lambda: script([], [0, 0]))
        await connection.close()
    assert waited < 1.25  # 1.0 by the deadline, 1.45 without
