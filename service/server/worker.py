"""A worker process: one event loop, one runner, four lanes to Redis.

aiohttp's worker for gunicorn runs the loop. `Worker` adds draining in two steps and the
reloading of API keys and certificate. `application.py` decides what a worker runs, and
`supervisor.py` is the parent process.
"""

import gc
import logging
import signal
import socket
import sys
from types import FrameType
from typing import Any

from service import stop_signals
from service.api.aiohttp_internals.gunicorn_worker import GunicornWorker
from service.api.aiohttp_internals.server import Runner
from service.api_keys import Keyring
from service.server.event_loop import Loop
from service.telemetry import logs
from service.telemetry.error_text import describe

_logger = logging.getLogger(__name__)

# The exit status. With gunicorn's 3 and 4 the arbiter would stop all workers.
_CANNOT_START = 1
# Garbage in cycles, such as exceptions with their frames, then takes about 1 MB.
_COLLECT_AFTER_OBJECTS = 10_000


class Worker(GunicornWorker):
    """A worker process, made in the supervisor before the fork.

    `app` is the Application.
    """

    _runner: Runner
    sockets: list[socket.socket]

    def __init__(self, *arguments: Any) -> None:
        """Run in the supervisor, before the fork."""
        super().__init__(*arguments)
        # So the supervisor also replaces a worker that hangs while it starts.
        self.notify()
        self.first_heartbeat = self.tmp.last_update()

    def init_process(self) -> None:
        """Run until the worker ends.

        Errors are logged here. gunicorn would print their messages, which may quote a
        client.
        """
        # Only failures make cycles, so there is little to collect. With 4,096
        # connections, collections every 700 objects took 14 % of the CPU time.
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER_OBJECTS)
        try:
            self.run_on(Loop())
        except Exception as error:
            reason = describe(error)  # in the message as well, where it is read first
            _logger.exception("worker %d %s: %s", self.pid, "failed" if self.booted else "cannot start", reason)
            sys.exit(_CANNOT_START)

    def load_wsgi(self) -> None:
        """Make aiohttp's worker run our runner."""
        self.wsgi = self._build

    async def _build(self) -> Runner:
        self._runner = await self.app.build()
        # Sites made by aiohttp's worker would have asyncio's timeout for TLS
        # handshakes, 60 s.
        tls = self.app.tls.context if self.app.tls else None
        self._runner.listen_on(self.sockets, tls, is_shared=self.cfg.workers > 1)
        self.sockets = []
        stop_signals.release()
        return self._runner

    def init_signals(self) -> None:
        """Handle the signals for reloading as well as those of aiohttp's worker."""
        super().init_signals()
        self.loop.set_exception_handler(logs.log_loop_error)
        self.loop.add_signal_handler(signal.SIGHUP, self._reload_keys)
        self.loop.add_signal_handler(signal.SIGUSR1, self._reload_certificate)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - gunicorn's signature
        """On SIGTERM, drain for `drain_seconds` with 503 on /readyz, then stop."""
        if not self._runner.health.is_draining:
            self._runner.health.is_draining = True
            self.loop.call_later(self.app.settings.server.drain_seconds, self._stop)

    def _stop(self) -> None:
        self.stop()
        self._send_heartbeats()

    def _send_heartbeats(self) -> None:
        """Send heartbeats while requests finish. aiohttp's worker does not."""
        self.notify()
        self.loop.call_later(1, self._send_heartbeats)

    def _reload_keys(self) -> None:
        if self.app.take_keys():
            self._runner.use_keys(Keyring(self.app.settings.api_keys))
            _logger.info("worker %d uses the reloaded API keys", self.pid)

    def _reload_certificate(self) -> None:
        if self.app.tls is not None and self.app.tls.reload():
            _logger.info("worker %d presents the reloaded certificate", self.pid)
