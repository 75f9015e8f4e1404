"""The bounds of a lane's calls."""

import asyncio

import pytest

from service.errors import Overloaded
from service.storage.call_slots import CallSlots
from service.storage.lane import Lane
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics


async def test_a_shortage_is_logged_once_for_a_lane(caplog: pytest.LogCaptureFixture) -> None:
    """Its servers share the limit. Another lane has its own.

    A Redis that hangs is a cause too, so the advice has a condition.
    """
    for name in ("operators", "sessions"):
        lane, log_limit = Lane(name, connections=1, waiting=0, wait_timeouts=1, repeats_timeouts=True), LogLimit()
        for _ in range(2):  # servers
            slots = CallSlots(lane, 1.0, Metrics(), log_limit)
            await slots.acquire()
            for _ in range(2):
                with pytest.raises(Overloaded):
                    await slots.acquire()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[4] for line in lines] == ["operators", "sessions"]
    assert all(line.endswith("If Redis is healthy, add workers") for line in lines)


async def test_each_kind_of_shortage_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A full queue of a lane does not silence the calls that waited in vain."""
    lane = Lane("sessions", connections=1, waiting=1, wait_timeouts=2, repeats_timeouts=True)
    slots = CallSlots(lane, 0.005, Metrics(), LogLimit())
    await slots.acquire()
    for _ in range(2):
        await asyncio.gather(*(slots.acquire() for _ in range(2)), return_exceptions=True)
    reasons = [record.getMessage().split(": ")[1].partition(".")[0] for record in caplog.records]
    assert reasons == ["1 calls wait for a connection already", "no connection was free within 0"]


async def test_waiting_calls_are_bounded() -> None:
    """Beyond the bound a call is rejected at once. A call with a slot does not wait."""
    metrics = Metrics()
    lane = Lane("sessions", connections=1, waiting=2, wait_timeouts=1, repeats_timeouts=True)
    slots = CallSlots(lane, 30.0, metrics, LogLimit())
    for _ in range(3):
        await slots.acquire()
        waiting = [asyncio.ensure_future(slots.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 calls wait for a connection already"):
            await slots.acquire()
        for one in waiting:
            slots.release()
            await one
        slots.release()
    assert metrics.redis_errors.drain() == {("queue-full",): 3}


async def test_a_call_does_not_wait_for_ever() -> None:
    """A call that finds no free connection in time is rejected, and makes room."""
    metrics = Metrics()
    lane = Lane("sessions", connections=1, waiting=1, wait_timeouts=2, repeats_timeouts=True)
    slots = CallSlots(lane, 0.005, metrics, LogLimit())
    await slots.acquire()
    async with asyncio.timeout(30):
        for _ in range(3):
            with pytest.raises(Overloaded, match=r"no connection was free within 0\.01 s"):
                await slots.acquire()
    assert metrics.redis_errors.drain() == {("no-connection",): 3}
