"""The bounds of a lane's calls."""

import pytest

from service.errors import Overloaded
from service.storage.call_slots import CallSlots
from service.storage.lane import Lane
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics


async def test_a_shortage_is_logged_for_each_lane(caplog: pytest.LogCaptureFixture) -> None:
    """A shortage of one lane does not silence that of another.

    A Redis that hangs is a cause too, so the advice has a condition.
    """
    log_limit = LogLimit()
    for name in ("operators", "sessions"):
        lane = Lane(name, connections=1, waiting=0, wait_timeouts=1, repeats_timeouts=True)
        slots = CallSlots(lane, 1.0, Metrics(), log_limit)
        await slots.acquire()
        for _ in range(2):
            with pytest.raises(Overloaded):
                await slots.acquire()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[4] for line in lines] == ["operators", "sessions"]
    assert all(line.endswith("If Redis is healthy, add workers") for line in lines)
