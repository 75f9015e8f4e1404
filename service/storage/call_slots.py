"""Bounds the calls that a lane has in progress, and those that wait."""

import asyncio
import logging

from service.errors import Overloaded
from service.storage.lane import Lane
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics

_logger = logging.getLogger(__name__)


class CallSlots:
    """One slot for each connection of a lane."""

    def __init__(self, lane: Lane, timeout_seconds: float, metrics: Metrics, log_limit: LogLimit) -> None:
        self._lane = lane
        self._wait_seconds = lane.wait_timeouts * timeout_seconds
        self._metrics = metrics
        self._log_limit = log_limit
        self._free = asyncio.Semaphore(lane.connections)
        self._waiting = 0

    async def acquire(self) -> None:
        """Wait for a free slot. Raises Overloaded."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._lane.waiting:
            raise self._shortage("queue-full", f"{self._lane.waiting} calls wait for a connection already")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            reason = f"no connection was free within {self._wait_seconds:g} s"
            raise self._shortage("no-connection", reason) from None
        finally:
            self._waiting -= 1

    async def drain(self) -> None:
        """Wait until no call is in progress. Later calls get no slot."""
        for _ in range(self._lane.connections):
            await self._free.acquire()

    def release(self) -> None:
        """Give the slot to the next call."""
        self._free.release()

    def _shortage(self, problem: str, reason: str) -> Overloaded:
        self._metrics.redis_errors.add((problem,))
        if self._log_limit.allows(problem):
            message = "requests of the lane %s are answered 503: %s. If Redis is healthy, add workers"
            _logger.warning(message, self._lane.name, reason)
        return Overloaded(reason)
