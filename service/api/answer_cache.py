"""Answers that are kept for a second, so that a hundred equal questions cost Redis as much as one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

MAX_AGE_SECONDS = 1.0
MAX_ANSWERS = 256


class AnswerCache:
    """Keeps each answer for a second from when it was asked for.

    Equal questions wait for an answer under way and share it, however long it takes. A failure reaches all who wait
    for it and is not kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, asyncio.Future[bytes]]] = {}
        # The event loop alone would not keep an answer under way alive.
        self._under_way: set[asyncio.Future[bytes]] = set()

    async def get(
        self, key: Hashable, answer: Callable[[], Awaitable[bytes]], *, holds_user_ids: bool = False
    ) -> bytes:
        """Return the answer to `key`. Without one that is fresh or under way, `answer` is asked for it.

        An answer that `holds_user_ids` may hold one that was erased since it was asked for. After a second nobody
        joins it any more. Newcomers wait until it is there, and share the next one.
        """
        while holds_user_ids and (old := self._old_answer(key)):
            await asyncio.wait([old])
        now = self._clock()
        asked_at, future = self._answers.get(key, (0.0, None))
        if future is None or (future.done() and (now - asked_at > MAX_AGE_SECONDS or _has_failed(future))):
            self._answers.pop(key, None)
            if len(self._answers) >= MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            future = asyncio.ensure_future(answer())
            self._answers[key] = now, future
            self._under_way.add(future)
            future.add_done_callback(self._under_way.discard)
            # Dropped without a further question: the answer may hold user ids that are erased meanwhile.
            asyncio.get_running_loop().call_later(MAX_AGE_SECONDS, self._expire, key, future)
        return await asyncio.shield(future)

    def _old_answer(self, key: Hashable) -> "asyncio.Future[bytes] | None":
        """Return the answer under way that was asked for more than a second ago."""
        asked_at, future = self._answers.get(key, (0.0, None))
        is_old = future is not None and not future.done() and self._clock() - asked_at > MAX_AGE_SECONDS
        return future if is_old else None

    def clear(self) -> None:
        """Forget all answers. Those under way reach the callers who wait for them already, and nobody else."""
        self._answers.clear()

    def _expire(self, key: Hashable, future: "asyncio.Future[bytes]") -> None:
        """Drop an answer that is a second old, one under way as soon as it is there."""
        if future.done():
            self._drop(key, future)
        else:
            future.add_done_callback(lambda done: self._drop(key, done))

    def _drop(self, key: Hashable, future: "asyncio.Future[bytes]") -> None:
        if self._answers.get(key, (0.0, None))[1] is future:
            del self._answers[key]


def _has_failed(future: "asyncio.Future[bytes]") -> bool:
    return future.cancelled() or future.exception() is not None
