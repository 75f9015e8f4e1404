"""The processes: how they start, and what each worker runs. `supervisor.py` has the parent process.

aiohttp's worker runs the loop. The classes here add draining in two steps, keys and certificate reloaded on SIGHUP,
and the embedded Valkey.
"""

import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from prometheus_client.multiprocess import mark_process_dead

from service import stop_signals
from service.api.aiohttp_internals.gunicorn_worker import GunicornWorker
from service.api.aiohttp_internals.server import BACKLOG, Runner
from service.api_keys import Keyring
from service.app import build
from service.config.certificate import ServerTls
from service.config.cross_field import warnings
from service.config.redacted_view import changed_settings, effective_settings
from service.config.settings import Settings
from service.errors import ConfigError
from service.server.event_loop import Loop
from service.server.gunicorn_logger import SupervisorLogger
from service.server.listener import bind
from service.server.supervisor import Supervisor
from service.storage.embedded import EmbeddedServer
from service.storage.risk_log import RiskLog
from service.telemetry import logs
from service.telemetry.error_text import describe
from service.telemetry.prometheus import dropped_lines_of_supervisor
from service.telemetry.scratch_folders import scratch_folders

_logger = logging.getLogger(__name__)

_HUNG_SECONDS = 30  # a worker whose event loop stands still for so long is replaced
# For glibc's resolver, of which libuv runs two look-ups at a time: by default a silent name server holds each for
# 10 s, and Redis back under its name would be found that much later.
_RESOLVER_OPTIONS = "timeout:1 attempts:2"
_EXIT_SECONDS = 1.5  # what the workers' own clean-up may take on top of draining and requests in flight
_CANNOT_START = 1  # exit status of a worker; not gunicorn's 3 and 4, with which it would stop all workers

Load = Callable[[], Settings]


def serve(settings: Settings, load: Load, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then exit the process; return when the signal came before anything started.

    Signals are held until the supervisor can handle them. `load` reads the settings again for SIGHUP. `announce`
    gets the URL once requests are served. Raises ServerError when the service cannot start; the message says what
    to do.
    """
    stop_signals.hold()  # no news to a caller that has held them from its first line
    if stop_signals.is_stop_pending():
        return
    request_log = logs.configure(settings.log)
    logs.log_uncaught()
    os.environ.setdefault("RES_OPTIONS", _RESOLVER_OPTIONS)
    listener = bind(settings.server)  # before the store is touched
    _tell_settings(settings)
    redis = settings.redis
    embedded = EmbeddedServer(redis.data_dir, redis.max_memory) if redis.url == "embedded" else None
    if embedded is not None:
        embedded.start()
        if stop_signals.is_stop_pending():
            embedded.stop()
            return
    Supervisor(Service(settings, load, listener, embedded, request_log=request_log, announce=announce)).run()


def _tell_settings(settings: Settings) -> None:
    """Log warnings, and the settings in force: to people the changed ones, to machines all."""
    for warning in warnings(settings):
        _logger.warning("%s", warning)
    changed = ", ".join(f"{name}={shown}" for name, shown in changed_settings(settings).items())
    _logger.info("settings: %s", changed or "all as by default", extra={"settings": effective_settings(settings)})


class Service(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn has to know: its settings, and what each worker runs."""

    def __init__(
        self,
        settings: Settings,
        load: Load,
        listener: socket.socket,
        embedded: EmbeddedServer | None,
        *,
        request_log: logs.RequestLog,
        announce: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self._url = settings.server.url(listener.getsockname()[1])
        self._announce = announce
        self.load_settings = load
        self.embedded = embedded
        # Loaded before the fork: a worker that starts while the files are being renewed has the last good pair.
        self.tls = ServerTls.of(settings.server.tls)
        self._listener = listener
        self._request_log = request_log
        self._risk_log = RiskLog()
        is_counted = settings.metrics.enabled
        self.count_dropped = dropped_lines_of_supervisor(request_log.take_dropped) if is_counted else lambda: None
        super().__init__()

    def load_config(self) -> None:
        """Hand our settings to gunicorn."""
        server = self.settings.server
        options = {
            # Handed over whole: a copy left here would keep the port open when nobody accepts any more.
            "bind": f"fd://{self._listener.detach()}",
            "workers": server.workers,
            "worker_class": Worker,
            "logger_class": SupervisorLogger,
            "backlog": BACKLOG,
            "timeout": _HUNG_SECONDS,
            "graceful_timeout": int(server.drain_seconds + server.shutdown_seconds + _EXIT_SECONDS),
            "control_socket_disable": True,
            "on_exit": lambda _: self._exit(),
            "child_exit": lambda _, worker: self._forget(worker.pid),
        }
        for name, value in options.items():
            if value is not None:
                self.cfg.set(name, value)

    @property
    def is_store_ready(self) -> bool:
        """Whether requests can be served, as far as it is up to the embedded server."""
        return self.embedded is None or self.embedded.is_ready

    def announce_start(self) -> None:
        """Log the address of a service that listens, while its store starts."""
        _logger.info("listening on %s; requests are answered 503 until the embedded Valkey is ready", self._url)

    def announce(self) -> None:
        """Say that requests are served, once they are."""
        _logger.info("serving on %s", self._url)
        if not self.settings.api_keys:
            _logger.warning("there are no API keys: every request is answered 401; see api_keys in config.yaml")
        self._announce(self._url)

    def choose_heartbeat_folder(self) -> None:
        """Have gunicorn make the file of the next worker's heartbeats where that works now."""
        folder = next(scratch_folders(), None)
        self.cfg.set("worker_tmp_dir", None if folder is None else str(folder))

    def _exit(self) -> None:
        stop_signals.hold()  # or one that comes now would end the interpreter as it clears up
        if self.embedded is not None:
            self.embedded.stop()
        _logger.info("stopped")

    def _forget(self, pid: int) -> None:
        """Drop what a dead worker says of itself now, such as its connections; what it has counted stays."""
        if self.settings.metrics.enabled:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library's

    async def build(self) -> Runner:
        """Return a worker's runner."""
        url = self.embedded.url if self.embedded else self.settings.redis.url
        return await build(self.settings, url, self._request_log, self._risk_log)

    def reload_keys(self) -> bool:
        """Read the API keys anew. A configuration with a error keeps those in force and returns False."""
        try:
            fresh = self.load_settings()
        except ConfigError as error:
            _logger.error("the API keys stay as they are: %s", error)  # noqa: TRY400 - the errors, not a traceback
            return False
        self.settings = dataclasses.replace(self.settings, api_keys=fresh.api_keys)
        return True


class Worker(GunicornWorker):
    """A worker process: one event loop, one client of Redis, one application."""

    _runner: Runner
    sockets: list[socket.socket]

    def __init__(self, *arguments: Any) -> None:
        """Run in the supervisor, before the fork."""
        super().__init__(*arguments)
        self.notify()  # the time of a start that hangs counts too
        self.first_beat = self.tmp.last_update()

    def init_process(self) -> None:
        """Run until the worker ends. An error is logged here: gunicorn would print its text, whatever that holds."""
        try:
            self.run_on(Loop())
        except Exception as error:
            reason = describe(error)  # in the message as well, where it is read first
            _logger.exception("worker %d %s: %s", self.pid, "failed" if self.booted else "cannot start", reason)
            sys.exit(_CANNOT_START)

    def load_wsgi(self) -> None:
        """Have aiohttp's worker run our runner."""
        self.wsgi = self._build

    async def _build(self) -> Runner:
        self._runner = await self.app.build()
        # aiohttp's worker would make sites that have asyncio's time-out for TLS handshakes: 60 s.
        self._runner.listen_on(self.sockets, self.app.tls.context if self.app.tls else None)
        self.sockets = []
        stop_signals.release()
        return self._runner

    def init_signals(self) -> None:
        """Add the signals to reload to those that aiohttp's worker handles."""
        super().init_signals()
        self.loop.set_exception_handler(logs.log_loop_error)
        self.loop.add_signal_handler(signal.SIGHUP, self._reload_keys)
        self.loop.add_signal_handler(signal.SIGUSR1, self._reload_certificate)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - gunicorn's signature
        """SIGTERM: say so on /readyz while proxies still send requests, then stop listening and finish."""
        if not self._runner.health.is_draining:
            self._runner.health.is_draining = True
            self.loop.call_later(self.app.settings.server.drain_seconds, self._stop)

    def _stop(self) -> None:
        self.stop()
        self._beat()

    def _beat(self) -> None:
        """Send heartbeats while requests finish, which aiohttp's worker does not."""
        self.notify()
        self.loop.call_later(1, self._beat)

    def _reload_keys(self) -> None:
        if self.app.reload_keys():
            self._runner.use_keys(Keyring(self.app.settings.api_keys))
            _logger.info("worker %d uses the reloaded API keys", self.pid)

    def _reload_certificate(self) -> None:
        if self.app.tls is not None and self.app.tls.reload():
            _logger.info("worker %d presents the reloaded certificate", self.pid)
