"""Retries for operations that consist of many short calls."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from service.errors import Overloaded, StoreUnavailable
from service.storage.breaker import OPEN_SECONDS

T = TypeVar("T")

# Pauses before each retry. They are longer than the breaker stays open, so a retry
# reaches Redis.
RETRY_PAUSES_SECONDS = (1.5 * OPEN_SECONDS, 3 * OPEN_SECONDS)


class Retries:
    """Runs the calls of one operation. Each call has to be idempotent.

    When the first call fails, because Redis does not answer or the lane has no free
    connection, the operation fails at once. A later call is repeated after pauses,
    because otherwise the client would repeat the whole operation.
    """

    def __init__(self, pauses_seconds: Sequence[float]) -> None:
        self._pauses = pauses_seconds
        self._has_begun = False

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the call. Raises the call's own errors."""
        for pause in self._pauses if self._has_begun else ():
            try:
                return await call()
            except (StoreUnavailable, Overloaded):
                await asyncio.sleep(pause)
        result = await call()
        self._has_begun = True
        return result
