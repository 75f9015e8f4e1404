"""Collects concurrent `find` calls of one event loop into lookups."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from jay_tracking_client.operations import MAX_IDS
from jay_tracking_client.sessions import Session

Waiters = list[asyncio.Future[Session | None]]
LookUp = Callable[[Sequence[str]], Awaitable[list[Session]]]


class Coalescer:
    """Looks up ids in batches. A batch ends after `seconds`, or with 1,000 ids.

    Callers that ask for the same id share its place. A failed lookup fails all callers
    of its batch, and a caller that is cancelled disturbs no other.
    """

    def __init__(self, look_up: LookUp, seconds: float) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._waiting: dict[str, Waiters] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, session_id: str) -> Session | None:
        """Return the live session of an id in lower case, or None."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Session | None] = loop.create_future()
        self._waiting.setdefault(session_id, []).append(future)
        if len(self._waiting) == MAX_IDS:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._seconds, self._flush)
        return await future

    async def close(self) -> None:
        """Look up the ids that wait, and return when all callers have their result."""
        self._flush()
        if self._tasks:
            # `gather` would pass a cancellation on to the lookups of the callers.
            await asyncio.wait(self._tasks)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A new batch begins before this one is sent.
        waiting, self._waiting = self._waiting, {}
        if waiting:
            task = asyncio.get_running_loop().create_task(self._settle(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, waiting: dict[str, Waiters]) -> None:
        try:
            live = {session.id: session for session in await self._look_up(tuple(waiting))}
        except Exception as error:  # noqa: BLE001 - each caller raises it
            for future in _pending(waiting.values()):
                future.set_exception(error)
            return
        for session_id, futures in waiting.items():
            for future in _pending([futures]):
                future.set_result(live.get(session_id))


def _pending(groups: Iterable[Waiters]) -> Waiters:
    return [future for futures in groups for future in futures if not future.done()]
