"""Answers that may be a second old, so that a hundred who ask the same cost Redis as much as one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

MAX_AGE_SECONDS = 1.0
MAX_ANSWERS = 256


class AnswerCache:
    """Keeps answers for a second from when they were asked for; who asks meanwhile waits for the one under way.

    A failure reaches all who wait for it and is not kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, asyncio.Future[bytes]]] = {}

    async def get(self, key: Hashable, answer: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the answer to `key`, asked for by `answer` if there is none of the last second."""
        now = self._clock()
        asked_at, future = self._answers.get(key, (0.0, None))
        if future is None or now - asked_at > MAX_AGE_SECONDS or (future.done() and _has_failed(future)):
            if len(self._answers) >= MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            future = asyncio.ensure_future(answer())
            self._answers[key] = now, future
            # Dropped by itself: what was asked about users may have been erased since.
            asyncio.get_running_loop().call_later(MAX_AGE_SECONDS, self._drop, key, future)
        return await asyncio.shield(future)

    def _drop(self, key: Hashable, future: "asyncio.Future[bytes]") -> None:
        if self._answers.get(key, (0.0, None))[1] is future:
            del self._answers[key]


def _has_failed(future: "asyncio.Future[bytes]") -> bool:
    return future.cancelled() or future.exception() is not None
