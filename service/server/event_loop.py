"""uvloop's event loop, with timers that tolerate a pause of the process."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

import uvloop

_Arguments = TypeVarTuple("_Arguments")

# uvloop counts whole milliseconds. The handle of a timer that rounds to 0 has no
# `when`.
_TICK_SECONDS = 0.001
_LATE_SECONDS = 1.0
_GRACE_SECONDS = 0.5

# Faster than super() in a method that runs several times per batch of requests.
_call_later = uvloop.Loop.call_later


class Loop(uvloop.Loop):
    """An event loop that reads its sockets before late timers run.

    A process that continues after SIGSTOP or in a thawed control group runs its timers
    before it reads its sockets. The timeouts of idle connections, bodies and Redis
    would all expire, although the requests and replies have arrived. A timer that is
    over 1 s late runs 0.5 s later, after the sockets.
    """

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run `callback` after `delay` seconds.

        `call_at` and all timeouts use this.
        """
        if delay < _TICK_SECONDS:
            return _call_later(self, delay, callback, *args, context=context)

        def fire() -> None:
            if self.time() - handle.when() > _LATE_SECONDS:
                _call_later(self, _GRACE_SECONDS, lambda: handle.cancelled() or callback(*args))
            else:
                callback(*args)

        handle = _call_later(self, delay, fire, context=context)
        return handle
