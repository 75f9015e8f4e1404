"""Answers that equal requests share for one second.

A hundred equal requests cost Redis as much as one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

MAX_AGE_SECONDS = 1.0
MAX_ANSWERS = 256


class AnswerCache:
    """Keeps each answer for one second, counted from the start of its calculation.

    Requests with an equal key wait for an answer that is pending, however long it
    takes. An error reaches all requests that wait for it, and is not kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, asyncio.Future[bytes]]] = {}
        # asyncio holds only weak references to tasks, so pending answers are held here.
        self._pending: set[asyncio.Future[bytes]] = set()

    async def get(
        self, key: Hashable, make_answer: Callable[[], Awaitable[bytes]], *, holds_user_ids: bool = False
    ) -> bytes:
        """Return the answer to `key`. Calls `make_answer` if none is fresh or pending.

        With `holds_user_ids`, an answer that has been pending for over a second may
        hold the id of a user who has since been erased. New requests wait until it is
        complete, and share the next one.
        """
        while holds_user_ids and (old := self._old_answer(key)):
            await asyncio.wait([old])
        now = self._clock()
        started_at, future = self._answers.get(key, (0.0, None))
        if future is None or (future.done() and (now - started_at > MAX_AGE_SECONDS or _has_failed(future))):
            self._answers.pop(key, None)
            if len(self._answers) >= MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]
            future = asyncio.ensure_future(make_answer())
            self._answers[key] = now, future
            self._pending.add(future)
            future.add_done_callback(self._pending.discard)
            # A timer drops the answer, because it may hold ids of users who are erased
            # later.
            asyncio.get_running_loop().call_later(MAX_AGE_SECONDS, self._expire, key, future)
        return await asyncio.shield(future)

    def _old_answer(self, key: Hashable) -> "asyncio.Future[bytes] | None":
        """Return the answer that has been pending for over a second, or None."""
        started_at, future = self._answers.get(key, (0.0, None))
        is_old = future is not None and not future.done() and self._clock() - started_at > MAX_AGE_SECONDS
        return future if is_old else None

    def clear(self) -> None:
        """Drop all answers.

        A pending answer reaches only the callers that wait for it.
        """
        self._answers.clear()

    def _expire(self, key: Hashable, future: "asyncio.Future[bytes]") -> None:
        """Drop an answer that is a second old, or a pending one once it is complete."""
        if future.done():
            self._drop(key, future)
        else:
            future.add_done_callback(lambda done: self._drop(key, done))

    def _drop(self, key: Hashable, future: "asyncio.Future[bytes]") -> None:
        if self._answers.get(key, (0.0, None))[1] is future:
            del self._answers[key]


def _has_failed(future: "asyncio.Future[bytes]") -> bool:
    return future.cancelled() or future.exception() is not None
