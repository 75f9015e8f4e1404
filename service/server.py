"""The processes: a supervisor that starts workers, restarts dead ones and drains; the embedded server beside it.

gunicorn's arbiter does the supervising and aiohttp's worker runs the loop; the classes here add what is this
service's own: keys and certificate reloaded on SIGHUP, draining in two steps, the embedded Valkey.
"""

import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from aiohttp.worker import GunicornUVLoopWebWorker
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from prometheus_client.multiprocess import mark_process_dead

from service import logs
from service.api.http_server import BACKLOG, Runner
from service.api_keys import Keyring
from service.app import AUTHORIZER, build
from service.effective_settings import changed_settings, effective_settings
from service.errors import ConfigError
from service.exposition import dropped_lines_of_supervisor
from service.listener import bind
from service.settings import Settings
from service.storage.embedded import EmbeddedServer
from service.supervisor_log import SupervisorLogger
from service.tls import ServerTls

_logger = logging.getLogger(__name__)

_HUNG_SECONDS = 30  # a worker whose event loop stands still for so long is replaced
# For glibc's resolver, of which libuv runs two look-ups at a time: by default a silent name server holds each for
# 10 s, and Redis back under its name would be found that much later.
_RESOLVER_OPTIONS = "timeout:1 attempts:2"
_EXIT_SECONDS = 2.0  # what the workers' own clean-up may take on top of draining and requests in flight
# The supervisor has its workers reload the API keys by SIGHUP and the certificate by SIGUSR1: one may be broken.
_WORKER_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}

Load = Callable[[], Settings]


def serve(settings: Settings, load: Load, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then exit the process.

    `load` reads the settings anew for SIGHUP; `announce` is told the URL once the socket listens. Raises
    ServerError when the service cannot start; the message says what to do.
    """
    request_log = logs.configure(settings.log)
    logs.log_uncaught()
    os.environ.setdefault("RES_OPTIONS", _RESOLVER_OPTIONS)
    listener = bind(settings.server)  # before the store is touched; it listens once the store is there
    redis = settings.redis
    embedded = EmbeddedServer(redis.data_dir, redis.max_memory) if redis.url == "embedded" else None
    if embedded is not None:
        embedded.start()
    url = settings.server.url(listener.getsockname()[1])
    service = Service(settings, load, listener, embedded, request_log)
    _tell_settings(settings)
    _logger.info("serving on %s", url)
    if not settings.api_keys:
        _logger.warning("there are no API keys: every request is answered 401; see api_keys in config.yaml")
    announce(url)
    Supervisor(service).run()


def _tell_settings(settings: Settings) -> None:
    """Log what is in force: to people what they have changed, to machines all of it."""
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
        request_log: logs.RequestLog,
    ) -> None:
        self.settings = settings
        self.load_settings = load
        self.embedded = embedded
        # Loaded before the fork: a worker that starts while the files are being renewed has the last good pair.
        self.tls = ServerTls.of(settings.server.tls)
        self._listener = listener
        self._request_log = request_log
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
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - heartbeats: no disk
            "on_exit": lambda _: self._exit(),
            "child_exit": lambda _, worker: self._forget(worker.pid),
        }
        for name, value in options.items():
            if value is not None:
                self.cfg.set(name, value)

    def _exit(self) -> None:
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
        return await build(self.settings, url, self._request_log)

    def reload_keys(self) -> bool:
        """Read the API keys anew. A configuration with a mistake keeps those in force and returns False."""
        try:
            fresh = self.load_settings()
        except ConfigError as error:
            _logger.error("the API keys stay as they are: %s", error)  # noqa: TRY400 - the mistakes, not a traceback
            return False
        self.settings = dataclasses.replace(self.settings, api_keys=fresh.api_keys)
        return True


class Supervisor(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """The parent process."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]

    def manage_workers(self) -> None:
        """Once a second: replace what died, the embedded server included."""
        if self.app.embedded is not None:
            self.app.embedded.ensure_running()
        self.app.count_dropped()
        super().manage_workers()

    def spawn_worker(self) -> int:
        """Fork with the signals to a worker held back until its loop can handle them.

        The child starts with the supervisor's handlers, which would only queue them in its copy of the queue.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _WORKER_SIGNALS)
        try:
            pid: int = super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORKER_SIGNALS)
        return pid

    def handle_hup(self) -> None:
        """Reload the API keys and the certificate, each by itself, and have the workers do so without a restart.

        When it is the terminal that was closed, which sends the same signal, stop.
        """
        if self._terminals and not os.isatty(self._terminals[0]):
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in self._terminals:  # or the last lines, written there, would make the exit status an error
                os.dup2(nowhere, stream)
            raise StopIteration
        if self.app.reload_keys():
            names = ", ".join(key.name for key in self.app.settings.api_keys) or "none: every request is answered 401"
            _logger.info("API keys reloaded (%s); other settings need a restart", names)
            self.kill_workers(signal.SIGHUP)
        if self.app.tls is not None and self.app.tls.reload():
            self.app.tls.log_validity()
            self.kill_workers(signal.SIGUSR1)

    def handle_int(self) -> None:
        """Stop without waiting for the drain delay. gunicorn would send SIGQUIT, which leaves core dumps."""
        self.kill_workers(signal.SIGINT)
        raise StopIteration


class Worker(GunicornUVLoopWebWorker):
    """A worker process: one event loop, one client of Redis, one application."""

    _runner: Runner
    sockets: list[socket.socket]

    def init_process(self) -> None:
        """Run until the worker ends. An error is logged here: gunicorn would print its text, whatever that holds."""
        try:
            super().init_process()
        except Exception:
            _logger.exception("the worker %s", "failed" if self.booted else "cannot start")
            sys.exit(Arbiter.WORKER_BOOT_ERROR if not self.booted else 1)

    def load_wsgi(self) -> None:
        """Have aiohttp's worker run our runner."""
        self.wsgi = self._build

    async def _build(self) -> Runner:
        self._runner = await self.app.build()
        # aiohttp's worker would make sites that have asyncio's time-out for TLS handshakes: 60 s.
        self._runner.listen_on(self.sockets, self.app.tls.context if self.app.tls else None)
        self.sockets = []
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WORKER_SIGNALS)
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
        self.alive = False
        self._notify_waiter_done()

    def _reload_keys(self) -> None:
        if self.app.reload_keys():
            self._runner.app[AUTHORIZER].keyring = Keyring(self.app.settings.api_keys)
            _logger.info("worker %d uses the reloaded API keys", self.pid)

    def _reload_certificate(self) -> None:
        if self.app.tls is not None and self.app.tls.reload():
            _logger.info("worker %d presents the reloaded certificate", self.pid)
