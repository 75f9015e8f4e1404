"""Looks at the state of Redis: for operators who ask, once a minute, and after each reconnect.

Each look feeds the forecast of memory and the log of risks.
"""

import asyncio
import dataclasses
import logging
import math
from collections.abc import Callable
from contextlib import suppress

from service.errors import Overloaded, StoreUnavailable
from service.log_limit import LogLimit
from service.metrics import Metrics
from service.storage.memory_growth import MemoryGrowth
from service.storage.risk_log import RiskLog
from service.storage.state import StateReader
from service.store_state import StoreState

_logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0  # INFO takes Redis less than 0.1 ms
RETRY_SECONDS = 5.0
LEAST_PAUSE_SECONDS = 1.0  # a server that refuses every call makes the lanes reconnect with every call


class StoreWatch:
    """Reads the state of Redis. `on_look` is called after a look that nobody asked for."""

    def __init__(self, reader: StateReader, risk_log: RiskLog, metrics: Metrics, on_look: Callable[[], None]) -> None:
        self._reader = reader
        self._growth = growth = MemoryGrowth()
        metrics.memory_full.read = lambda: {(): math.inf if (full := growth.full_seconds()) is None else full}
        self._risk_log = risk_log
        self._on_look = on_look
        self._log_limit = LogLimit()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def read(self) -> StoreState:
        """Return the state with the forecast. Raises StoreUnavailable and Overloaded."""
        state = await self._reader.read()
        self._growth.note(state.memory_used_bytes, state.memory_limit_bytes)
        self._risk_log.note(state)
        return dataclasses.replace(state, memory_full_seconds=self._growth.full_seconds())

    def start(self) -> None:
        """Look at once, and from then on in the background."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def hurry(self) -> None:
        """Look soon, because the connections are new."""
        self._wake.set()

    async def close(self) -> None:
        """Stop to look."""
        self._is_closing = True  # redis-py may swallow a cancellation while it connects
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            pause = LOOK_SECONDS if await self._look() else RETRY_SECONDS
            if self._is_closing:
                return
            self._on_look()
            self._wake.clear()
            await asyncio.sleep(LEAST_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _look(self) -> bool:
        """Return whether Redis gave its state."""
        try:
            await self.read()
        except (StoreUnavailable, Overloaded):  # logged where it is noticed
            return False
        except Exception:  # a bug, which must end neither the forecast nor the warnings
            if self._log_limit.allows("look"):
                _logger.exception("the state of Redis cannot be read; trying again in %g s", RETRY_SECONDS)
            return False
        return True
