"""One lane to one server: repeated calls, the breaker, its probe and the log."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis

from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.storage.connection import RedisConnection
from service.storage.connection_events import ConnectionEvents
from service.storage.lane import OPERATORS, READINESS, SESSIONS, Lane
from service.storage.redis_errors import Unfit
from service.storage.server_lane import ServerLane
from service.telemetry.metrics import Metrics
from tests.support.lanes import all_lanes

# The operations of these tests connect to nothing.
URL = "redis://127.0.0.1/0"
LOST, LATE = exceptions.ConnectionError("lost"), TimeoutError()


class Events(ConnectionEvents):
    """Counts changes of the breaker."""

    def __init__(self) -> None:
        self.changes = 0

    def breaker_changed(self) -> None:
        self.changes += 1


Make = Callable[..., Awaitable[tuple[RedisConnection, ServerLane]]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Return a function that makes a connection with its only lane."""
    connections: list[RedisConnection] = []

    async def made(lane: Lane = SESSIONS, **more: Any) -> tuple[RedisConnection, ServerLane]:
        connections.append(RedisConnection.alone(URL, RedisSettings(), lane=lane, **more))
        [one] = await all_lanes(connections[-1])
        return connections[-1], one

    yield made
    for connection in connections:
        await connection.close()


async def fail(connection: RedisConnection, error: Exception) -> int:
    """Run an operation that fails. Returns how often it ran."""
    runs = 0

    async def operation(_: Redis) -> None:
        nonlocal runs
        runs += 1
        raise error

    with pytest.raises(StoreUnavailable):
        await connection.run("get", operation)
    return runs


async def succeed(_: Redis) -> int:
    return 1


@pytest.mark.parametrize(
    ("error", "visitors", "operators"),
    [
        (LOST, 2, 2),
        (LATE, 2, 1),
        (exceptions.TimeoutError("connecting"), 2, 1),
        (exceptions.ReadOnlyError("a replica"), 1, 1),
        (exceptions.OutOfMemoryError("full"), 1, 1),
        (Unfit("too old"), 1, 1),
    ],
    ids=str,
)
async def test_a_lost_reply_is_repeated_once(make: Make, error: Exception, visitors: int, operators: int) -> None:
    """A heavy read that timed out is not repeated, because Redis may be busy with it.

    An error reply is not repeated either.
    """
    for lane, runs in ((SESSIONS, visitors), (OPERATORS, operators)):
        connection, _ = await make(lane)
        assert await fail(connection, error) == runs


@pytest.mark.parametrize(
    ("error", "is_open"),
    [
        (LOST, True),
        (LATE, True),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), True),
        (exceptions.AuthenticationError("Authentication required."), True),
        (Unfit("too old"), True),
        (exceptions.ReadOnlyError("a replica"), False),
        (exceptions.OutOfMemoryError("full"), False),
        (exceptions.NoPermissionError("this user has no permissions"), False),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), False),
    ],
    ids=str,
)
async def test_a_server_without_a_usable_connection_opens_the_breaker(
    make: Make, error: Exception, *, is_open: bool
) -> None:
    """The next calls fail at once. After an error reply they are sent."""
    connection, _ = await make()
    await fail(connection, error)
    assert connection.is_open is is_open


async def test_a_bug_of_the_service_does_not_close_the_breaker(make: Make) -> None:
    """It says nothing about Redis, and the next call is a probe."""

    async def broken(_: Redis) -> None:
        raise TypeError

    connection, lane = await make()
    await fail(connection, LOST)
    lane._breaker._open_until = 0  # a probe is due
    with pytest.raises(TypeError):
        await connection.run("get", broken)
    assert connection.is_open
    assert await connection.run("get", succeed) == 1
    assert not connection.is_open


async def test_another_lane_closes_the_breaker_with_an_event(make: Make) -> None:
    """The gauge of each lane is reported when one lane has got an answer."""
    events = Events()
    connection, _ = await make(events=events)
    await fail(connection, LOST)
    assert events.changes == 1
    for _ in range(2):
        connection.close_breaker(URL)
        assert events.changes == 2


async def test_a_failure_after_the_end_of_an_outage_is_not_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that was sent before Redis answered again does not start an outage."""
    may_fail = asyncio.Event()

    async def late(_: Redis) -> None:
        await may_fail.wait()
        raise LOST

    connection, lane = await make()
    early = asyncio.ensure_future(connection.run("get", late))
    await asyncio.sleep(0)
    await fail(connection, LOST)
    lane._breaker._open_until = 0  # a probe is due
    assert await connection.run("get", succeed) == 1
    may_fail.set()
    with pytest.raises(StoreUnavailable):
        await early
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    assert [line.partition(" (")[0] for line in lines] == ["Redis cannot serve", "Redis serves again"]
    assert not connection.is_open


async def test_an_outage_rejects_the_calls_that_wait(make: Make) -> None:
    """A call that gets its connection after the breaker has opened is not sent."""
    metrics, sent = Metrics(), False

    async def send(_: Redis) -> None:
        nonlocal sent
        sent = True

    connection, lane = await make(READINESS, metrics=metrics)
    lane._slots._wait_seconds = 30
    await lane._slots.acquire()
    waiting = asyncio.ensure_future(connection.run("get", send))
    async with asyncio.timeout(30):
        while not lane._slots._waiting:
            await asyncio.sleep(0)
    lane._breaker.failed(lane._breaker.admit() or 0)
    lane._slots.release()
    with pytest.raises(StoreUnavailable):
        await waiting
    assert not sent
    assert metrics.redis_errors.drain() == {("breaker",): 1}


class Outage:
    """A server that answers PING once `is_over`, and a clock for the pauses."""

    def __init__(self, lane: ServerLane, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_over = False
        self.pauses: list[float] = []
        self._lane = lane
        self._now = 0.0
        self._sleep = asyncio.sleep
        monkeypatch.setattr(lane._breaker, "_clock", lambda: self._now)
        monkeypatch.setattr(lane._client.redis, "ping", self._ping)
        monkeypatch.setattr(asyncio, "sleep", self._pause)

    async def _ping(self) -> bool:
        if not self.is_over:
            raise LOST
        return True

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._now += seconds
        await self._sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await self._sleep(0)


def probes() -> int:
    """Return the number of probes that run."""
    return sum("_probe_until_closed" in repr(task) for task in asyncio.all_tasks())


async def test_one_probe_ends_each_outage(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a call, PING is sent after pauses of 0.5 s to 2 s until Redis answers."""
    connection, lane = await make()
    outage = Outage(lane, monkeypatch)
    for _ in range(2):
        outage.is_over = False
        outage.pauses.clear()
        await fail(connection, LOST)
        await outage.until(lambda: len(outage.pauses) == 6)
        assert outage.pauses == [0.5, 1, 2, 2, 2, 2]
        assert probes() == 1
        outage.is_over = True
        await outage.until(lambda: not connection.is_open)
        await outage.until(lambda: probes() == 0)


async def test_a_probe_outlasts_a_shortage_of_connections(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """While calls use all connections and fill the queue, the probe goes on."""
    connection, lane = await make(READINESS)
    outage = Outage(lane, monkeypatch)
    await fail(connection, LOST)
    await lane._slots.acquire()
    monkeypatch.setattr(lane._slots, "_waiting", READINESS.waiting)
    await outage.until(lambda: len(outage.pauses) == 4)
    outage.is_over = True
    lane._slots.release()
    await outage.until(lambda: not connection.is_open)
