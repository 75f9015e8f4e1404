"""The lanes of a worker together: new connections, breakers and the log of outages."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.sessions import SessionFactory
from service.storage.client import _is_marked
from service.storage.connection import RedisConnection
from service.storage.connection_events import ConnectionEvents
from service.storage.discovery import Discovery
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.lanes import RECONNECT_SECONDS, Lanes
from service.storage.self_test import UNTESTED_SECONDS
from service.storage.session_store import RedisSessionStore
from service.telemetry.metrics import Metrics
from tests.support.lanes import all_lanes, close_breakers, stop_probes
from tests.support.moving_primary import MovingPrimary
from tests.support.proxy import Impostor
from tests.support.servers import Raw, RedisServer

ROUNDS = 300
DEADLINE_SECONDS = 20.0


@pytest.fixture
async def lanes(own_server: RedisServer, keyspace: Keyspace) -> AsyncIterator[Lanes]:
    """Return the lanes of a worker."""
    made = Lanes(own_server.url, RedisSettings(), keyspace, Metrics())
    yield made
    await made.close()


@pytest.fixture
def store(lanes: Lanes, keyspace: Keyspace) -> RedisSessionStore:
    """Return a session store in the lane of visitors."""
    return RedisSessionStore(lanes.sessions, keyspace, Lifetimes.of(86400, 90), top_users=100)


@pytest.fixture
async def admin(own_server: RedisServer) -> AsyncIterator[Raw]:
    """Return a plain client of the server."""
    async with redis.asyncio.Redis.from_url(own_server.url) as client:
        yield client


@pytest.fixture
async def patient(own_server: RedisServer, keyspace: Keyspace) -> AsyncIterator[Lanes]:
    """Return lanes for which a server of a busy machine is never late."""
    made = Lanes(own_server.url, RedisSettings(timeout_seconds=DEADLINE_SECONDS), keyspace, Metrics())
    yield made
    await made.close()


async def connections_received(admin: Raw) -> int:
    return int((await admin.info("stats"))["total_connections_received"])


async def rejected(operation: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(StoreUnavailable):
        await operation()


async def until_served(operation: Callable[[], Awaitable[object]]) -> None:
    """Return when an operation works again."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await operation()
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


def outage_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about outages, without causes."""
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    return [line.partition(" (")[0].replace("still ", "") for line in messages]


async def test_rejected_writes_leave_reads_their_connections(
    store: RedisSessionStore, admin: Raw, factory: SessionFactory
) -> None:
    """While Redis rejects writes for want of replicas, reads need few connections."""
    session = factory.new("s")
    assert await store.create_many([session]) == [True]
    await admin.config_set("min-replicas-to-write", 1)
    before, started = await connections_received(admin), time.monotonic()
    for _ in range(ROUNDS):
        await rejected(lambda: store.create_many([factory.new("s")]))
        assert await store.find_many([[session.id]]) == [session]
    reconnects = 1 + (time.monotonic() - started) / RECONNECT_SECONDS
    assert await connections_received(admin) - before <= 3 * reconnects
    await admin.config_set("min-replicas-to-write", 0)
    assert await store.create_many([factory.new("s")]) == [True]


async def test_another_primary_is_announced(
    patient: Lanes, keyspace: Keyspace, admin: Raw, factory: SessionFactory
) -> None:
    """After a rejected write, the settings of the next server are read again."""
    reconnects: list[None] = []
    patient.notify(lambda: None, lambda: reconnects.append(None))
    store = RedisSessionStore(patient.sessions, keyspace, Lifetimes.of(86400, 90), top_users=100)
    await store.create_many([factory.new("s")])
    assert reconnects == []
    await admin.config_set("min-replicas-to-write", 1)
    await rejected(lambda: store.create_many([factory.new("s")]))
    assert len(reconnects) == 1


async def test_a_demoted_server_costs_no_other_its_connections(patient: Lanes, admin: Raw) -> None:
    """In a cluster, several primaries may be demoted at once, and others go on."""
    await patient.sessions.call("get", "GET", "x")
    before = await connections_received(admin)
    for demoted, more in (("redis://127.0.0.1:1/0", 0), (patient.servers.urls[0], 1)):
        await patient.demoted(demoted, patient.sessions.reconnect)
        await patient.sessions.call("get", "GET", "x")
        assert await connections_received(admin) - before == more


async def test_reads_of_a_redis_that_was_full_from_the_start(
    store: RedisSessionStore, admin: Raw, factory: SessionFactory
) -> None:
    """A connection that cannot be tested serves more than one read.

    It is tested once Redis accepts writes.
    """
    await admin.config_set("maxmemory", "1")
    before, started = await connections_received(admin), time.monotonic()
    for _ in range(ROUNDS):
        assert await store.find_many([[factory.new("s").id]]) == [None]
    renewals = 1 + (time.monotonic() - started) / UNTESTED_SECONDS
    found = await connections_received(admin)
    assert found - before <= 2 * renewals
    await admin.config_set("maxmemory", "0")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await connections_received(admin) == found:
            await store.find_many([[factory.new("s").id]])
            await asyncio.sleep(0.01)
    [lane] = await all_lanes(store.connection)
    assert not any(_is_marked(one) for one in lane._client._kept)


async def test_an_outage_of_all_lanes_has_one_end(
    lanes: Lanes, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of all lanes has one line at its start and one at its end."""
    every = (lanes.sessions, lanes.consent, lanes.operators, lanes.readiness)
    for _ in range(2):
        for one in every:
            await one.call("get", "GET", "x")
        own_server.kill()
        for one in every:
            await rejected(lambda one=one: one.call("get", "GET", "x"))  # type: ignore[misc]
        own_server.start()
        for one in every:
            await until_served(lambda one=one: one.call("get", "GET", "x"))  # type: ignore[misc]
    assert outage_lines(caplog) == ["Redis cannot serve", "Redis serves again"] * 2


async def test_the_end_of_a_shortage_of_memory_is_logged(
    store: RedisSessionStore, admin: Raw, factory: SessionFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of an outage of creations is logged with the first creation."""
    await store.create_many([factory.new("s")])
    await admin.config_set("maxmemory", "1")
    for _ in range(3):
        await rejected(lambda: store.create_many([factory.new("s")]))
        await store.find_many([[factory.new("s").id]])
    assert outage_lines(caplog) == ["Redis cannot serve"]
    await admin.config_set("maxmemory", "0")
    for _ in range(2):
        await store.create_many([factory.new("s")])
    assert outage_lines(caplog) == ["Redis cannot serve", "Redis serves again"]


async def test_the_end_of_an_outage_after_a_failover(
    own_server: RedisServer,
    server: RedisServer,
    keyspace: Keyspace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failover ends the outage in the log and closes the breaker in the metrics."""
    primary = MovingPrimary(own_server.url, needs_polling=True)
    monkeypatch.setattr(Discovery, "of", lambda *_: primary)
    lanes = Lanes("", RedisSettings(timeout_seconds=1.0), keyspace, Metrics())
    states: list[float] = []
    lanes.notify(lambda: states.append(lanes.open_breakers()["sessions",]), lambda: None)
    lanes.start()
    await lanes.sessions.call("get", "GET", "{u0}")
    own_server.signal(signal.SIGSTOP)
    await rejected(lambda: lanes.sessions.call("get", "GET", "{u0}"))
    primary.url = server.url
    async with asyncio.timeout(DEADLINE_SECONDS):
        while lanes.servers.urls[0] != server.url:
            await asyncio.sleep(0.01)
    assert states[0] == 1.0
    assert states[-1] == 0.0
    for _ in range(3):
        await lanes.sessions.call("get", "GET", "{u0}")
    old, new = (f"Redis at 127.0.0.1:{one.port}" for one in (own_server, server))
    assert outage_lines(caplog) == [f"{old} cannot serve", f"{new} serves again, in place of {old}"]
    own_server.signal(signal.SIGCONT)
    await lanes.close()


async def test_a_primary_that_moves_without_a_failure_is_noticed(
    own_server: RedisServer, server: RedisServer, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former primary may still answer, so no call says that another one serves.

    The lanes look for another one until they are closed.
    """
    primary = MovingPrimary(own_server.url, needs_polling=True)
    monkeypatch.setattr(Discovery, "of", lambda *_: primary)
    lanes = Lanes("", RedisSettings(timeout_seconds=DEADLINE_SECONDS), keyspace, Metrics())
    tasks = asyncio.all_tasks()
    lanes.start()
    await lanes.sessions.call("get", "GET", "{u0}")
    primary.url = server.url
    async with asyncio.timeout(DEADLINE_SECONDS):
        while lanes.servers.urls[0] != server.url:
            await asyncio.sleep(0.01)
    await lanes.close()
    assert asyncio.all_tasks() == tasks


async def test_a_late_failure_opens_no_breaker() -> None:
    """A call that was sent before Redis answered again does not report an outage."""
    attempts: asyncio.Queue[None] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        attempts.put_nowait(None)
        await reader.read(-1)

    async with Impostor(answer) as impostor:
        connection = RedisConnection.alone(impostor.url, RedisSettings(timeout_seconds=0.25))
        early = asyncio.ensure_future(rejected(lambda: connection.call("get", "GET", "x")))
        for _ in range(2):
            await attempts.get()
        late = asyncio.ensure_future(rejected(lambda: connection.call("get", "GET", "x")))
        await early
        assert not late.done()
        close_breakers(connection)
        await late
        assert not connection.is_open
        await connection.close()


async def test_redis_that_answers_one_lane_serves_all(lanes: Lanes, own_server: RedisServer) -> None:
    """Once /readyz answers 200, no request is rejected because of the outage."""
    own_server.signal(signal.SIGSTOP)
    for lane in (lanes.sessions, lanes.readiness):
        await rejected(partial(lane.call, "get", "GET", "x"))
        assert lane.is_open
    await stop_probes(lanes.sessions)
    own_server.signal(signal.SIGCONT)
    await until_served(lambda: lanes.readiness.call("get", "GET", "x"))
    assert await asyncio.gather(*(lanes.sessions.call("get", "GET", "x") for _ in range(4))) == [None] * 4


class Recorded(ConnectionEvents):
    """Records the events of a connection."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def breaker_changed(self) -> None:
        self.names.append("breaker_changed")

    def recovered(self, url: str) -> None:  # noqa: ARG002  # there is only one server
        self.names.append("recovered")


async def test_an_error_reply_ends_an_outage_for_all_lanes() -> None:
    """An error reply after an outage closes the breaker, which is reported."""
    is_busy = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            await is_busy.wait()
            writer.write(b"-BUSY Redis is busy running a script.\r\n")

    async with Impostor(answer) as impostor:
        events = Recorded()
        connection = RedisConnection.alone(impostor.url, RedisSettings(timeout_seconds=0.1), events=events)
        await rejected(lambda: connection.call("get", "GET", "x"))
        assert events.names == ["breaker_changed"]
        is_busy.set()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while connection.is_open:  # until the probe in the background
                await asyncio.sleep(0.01)
        assert events.names == ["breaker_changed", "breaker_changed", "recovered"]
        await connection.close()
