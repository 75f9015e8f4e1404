"""Timeouts of calls that do not blame Redis when this process was late.

DESIGN
The event loop runs late when a request keeps it busy, when the machine has no CPU time
for the process, or when the machine was paused. A timer then fires before the loop has
read a reply that arrived in time. So when the timer fires late, each call that is due
gets one more whole timeout, so that the loop can read its reply first. A call gets this
extension once.

A call that has to connect takes several round trips. Each step of connecting gets the
whole time (`next_step`). Otherwise a call over a slow link, which is in time on an open
connection, could never open one.

One timer serves all calls. It costs 10 µs to start and to cancel one for each call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

# An event loop with time to spare runs a timer within a millisecond.
_LATE_SHARE = 0.1

_restart: ContextVar[Callable[[], None]] = ContextVar("restart", default=lambda: None)


def next_step() -> None:
    """Give the current call the whole time again, because Redis answered one step."""
    _restart.get()()


class Deadlines:
    """Limits the time of calls.

    All have the same limit, so a new call is never due before the timer fires.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Timeout, float] = {}
        self._extended: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def limit(self, call: Awaitable[T]) -> T:
        """Return the result of a call. Raises TimeoutError when it takes too long."""
        async with asyncio.timeout(None) as timeout:
            loop = asyncio.get_running_loop()

            def restart() -> None:
                if timeout in self._due:
                    self._due[timeout] = loop.time() + self._seconds

            restarts = _restart.set(restart)
            self._due[timeout] = loop.time() + self._seconds
            if self._timer is None:
                self._start_timer(loop)
            try:
                return await call
            finally:
                _restart.reset(restarts)
                self._due.pop(timeout, None)
                self._extended.discard(timeout)

    def _start_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the timer for the call that is due first, if there is one."""
        self._timer = None
        if self._due:
            first = min(self._due.values())
            self._timer = loop.call_at(first, self._check, loop, first)

    def _check(self, loop: asyncio.AbstractEventLoop, expected_at: float) -> None:
        now = loop.time()
        is_late = now - expected_at > _LATE_SHARE * self._seconds
        for timeout in [one for one, due in self._due.items() if due <= now]:
            if is_late and timeout not in self._extended:
                self._extended.add(timeout)
                self._due[timeout] = now + self._seconds
            else:
                del self._due[timeout]
                timeout.reschedule(now)
        self._start_timer(loop)
