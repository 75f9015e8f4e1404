"""Reads the status of Redis: on request, once a minute, and after each reconnect.

Each status feeds the forecast of memory and the log of risks.
"""

import asyncio
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress

from service.errors import Overloaded, StoreUnavailable
from service.storage.memory_growth import MemoryGrowth
from service.storage.redis_status import RedisStatusReader
from service.storage.risk_log import RiskLog
from service.store_status import StoreStatus
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Labels

_logger = logging.getLogger(__name__)

POLL_SECONDS = 60.0  # Redis needs less than 0.1 ms for INFO
RETRY_SECONDS = 5.0
# When a server rejects every write, the lanes reconnect four times a second.
MIN_PAUSE_SECONDS = 1.0


class StoreWatch:
    """Reads the status of Redis.

    `on_poll` is called after each read in the background.
    """

    def __init__(self, reader: RedisStatusReader, risk_log: RiskLog, on_poll: Callable[[], None]) -> None:
        self._reader = reader
        self._growth = MemoryGrowth()
        self._risk_log = risk_log
        self._on_poll = on_poll
        self._log_limit = LogLimit()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def read(self) -> StoreStatus:
        """Return the status with the forecast.

        Raises StoreUnavailable and Overloaded.
        """
        status = await self._reader.read()
        self._growth.record(status.memory_used_bytes, status.memory_limit_bytes)
        self._risk_log.record(status)
        return dataclasses.replace(status, memory_full_seconds=self._growth.full_seconds())

    def memory_full(self) -> Mapping[Labels, float]:
        """Return the forecast as a gauge. It is infinite without a forecast."""
        seconds = self._growth.full_seconds()
        return {(): math.inf if seconds is None else seconds}

    def start(self) -> None:
        """Read the status now and from then on in the background."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def poll_soon(self) -> None:
        """Read the status soon, because the connections are new."""
        self._wake.set()

    async def close(self) -> None:
        """Stop the reads in the background."""
        self._is_closing = True  # redis-py may swallow a cancellation while it connects
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = POLL_SECONDS if await self._poll() else RETRY_SECONDS
            if self._is_closing:
                return
            self._on_poll()
            await asyncio.sleep(MIN_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _poll(self) -> bool:
        """Read the status. Returns whether that succeeded."""
        try:
            await self.read()
        except (StoreUnavailable, Overloaded):  # the connection logs them
            return False
        except Exception:  # a bug, which must not stop the forecast and the warnings
            if self._log_limit.allows("poll"):
                _logger.exception("the status of Redis cannot be read. The next attempt is in %g s", RETRY_SECONDS)
            return False
        return True
