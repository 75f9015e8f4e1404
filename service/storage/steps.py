"""Operations of many short calls: one call that gets no answer does not make all of them fail."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from service.errors import StoreUnavailable
from service.storage.breaker import OPEN_SECONDS

T = TypeVar("T")

# Between two attempts. The breaker is closed again after the first pause when Redis serves.
PAUSES = (1.5 * OPEN_SECONDS, 3 * OPEN_SECONDS)


class Steps:
    """Runs the steps of one operation, each of them repeatable.

    The first step fails at once when Redis is away. A later one is repeated after pauses,
    because the caller would have to begin with the first step.
    """

    def __init__(self, pauses: Sequence[float] = PAUSES) -> None:
        self._pauses = pauses
        self._has_begun = False

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the step. Raises as the step does."""
        for pause in self._pauses if self._has_begun else ():
            try:
                return await step()
            except StoreUnavailable:
                await asyncio.sleep(pause)
        result = await step()
        self._has_begun = True
        return result
