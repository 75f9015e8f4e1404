"""aiohttp's worker for gunicorn, with a given event loop and a method to stop it.

An event loop of a fixed class
------------------------------
Without it: `GunicornWebWorker.init_process` creates an event loop by asyncio's
    policy. The service's loop waits for the network after a pause of the process
    (`service/server/event_loop.py`).
Upstream: none found.
Versions: 3.14.
Test: tests/unit/test_event_loop.py
    test_data_that_arrived_during_a_pause_is_read_before_timeouts
Can go when: the worker has a method that creates the loop.

A late stop after draining
--------------------------
Without it: a worker that sets `alive = False` stops up to 1 s later, because its loop
    checks `alive` once a second. The service does so after `server.drain_seconds`.
Upstream: none found.
Versions: 3.14.
Test: tests/system/test_process.py
    test_draining
Can go when: the worker has a public method that stops it.
"""

import asyncio

from aiohttp.worker import GunicornWebWorker


class GunicornWorker(GunicornWebWorker):
    """A worker process that runs on a given event loop."""

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the worker on `loop` until it ends. Call it from `init_process`."""
        self.loop = loop
        asyncio.set_event_loop(loop)
        # This call skips the method that creates a loop.
        super(GunicornWebWorker, self).init_process()

    def stop(self) -> None:
        """Stop the worker at the next turn of the event loop."""
        self.alive = False
        self._notify_waiter_done()
