"""Starts the service: its socket, the embedded Valkey, the supervisor.

`Application` gives gunicorn its settings and builds the runner of each worker.
`supervisor.py` is the parent process, `worker.py` a child.
"""

import dataclasses
import logging
import math
import os
import socket
from collections.abc import Callable
from typing import TypeAlias

from gunicorn.app.base import BaseApplication
from prometheus_client.multiprocess import mark_process_dead

from service import stop_signals
from service.api.aiohttp_internals.server import BACKLOG, Runner
from service.api_keys import ApiKey
from service.app import build
from service.config.cross_field import warnings
from service.config.redacted_view import changed_settings, effective_settings
from service.config.settings import Settings
from service.errors import ConfigError
from service.server.gunicorn_logger import SupervisorLogger
from service.server.listener import bind
from service.server.shared_keys import SharedKeys
from service.server.supervisor import Supervisor
from service.server.tls import ServerTls
from service.server.worker import Worker
from service.storage.embedded import EmbeddedServer
from service.storage.risk_log import RiskLog
from service.telemetry import logs
from service.telemetry.prometheus import supervisor_drop_counter
from service.telemetry.scratch_folders import scratch_folders

_logger = logging.getLogger(__name__)

# The supervisor replaces a worker whose event loop is blocked for longer.
_HUNG_SECONDS = 30
# Options of glibc's resolver. By default, a look-up waits 10 s for a name server that
# does not answer, and libuv runs only two look-ups at a time. So the service would find
# a Redis that has recovered up to 10 s later.
_RESOLVER_OPTIONS = "timeout:1 attempts:2"
# For the clean-up of a worker, after the drain and the requests in flight.
_EXIT_SECONDS = 1.5

LoadSettings: TypeAlias = Callable[[], Settings]


def serve(settings: Settings, load: LoadSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then exit the process.

    Returns only when the signal arrives before anything has started. Signals are held
    until the supervisor can handle them. `load` reads the settings again on SIGHUP.
    `announce` is called with the URL when the service answers requests. Raises
    ServerError when the service cannot start. The message says what to do.
    """
    stop_signals.hold()  # no effect when the caller holds them already
    if stop_signals.is_stop_pending():
        return
    request_log = logs.configure(settings.log)
    logs.install_error_hooks()
    os.environ.setdefault("RES_OPTIONS", _RESOLVER_OPTIONS)
    # This is first, so that a port in use leaves the store untouched.
    listener = bind(settings.server)
    _log_settings(settings)
    redis = settings.redis
    embedded = None
    if redis.url == "embedded":
        embedded = EmbeddedServer(redis.data_dir, redis.max_memory, syncs_always=redis.durability == "synced")
        embedded.start()
        if stop_signals.is_stop_pending():
            embedded.stop()
            return
    Supervisor(Application(settings, load, listener, embedded, request_log=request_log, announce=announce)).run()


def _log_settings(settings: Settings) -> None:
    """Log warnings, then the settings that differ from the defaults.

    A JSON line has all settings.
    """
    for warning in warnings(settings):
        _logger.warning("%s", warning)
    changed = ", ".join(f"{name}={shown}" for name, shown in changed_settings(settings).items())
    _logger.info("settings: %s", changed or "all defaults", extra={"settings": effective_settings(settings)})


class Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The service as a gunicorn application: its settings and each worker's runner."""

    def __init__(
        self,
        settings: Settings,
        load: LoadSettings,
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
        # Loaded before the fork, so that a worker that starts while the files are being
        # renewed has a valid pair.
        self.tls = ServerTls.of(settings.server.tls)
        self._shared_keys = SharedKeys(settings.api_keys)
        self._listener = listener
        self._request_log = request_log
        self._risk_log = RiskLog()
        is_counted = settings.metrics.enabled
        self.count_dropped = supervisor_drop_counter(request_log.drain_dropped) if is_counted else lambda: None
        super().__init__()

    def load_config(self) -> None:
        """Pass our settings to gunicorn."""
        server = self.settings.server
        options = {
            # Detached, because a second descriptor would keep the port open after
            # gunicorn has closed its own.
            "bind": f"fd://{self._listener.detach()}",
            "workers": server.workers,
            "worker_class": Worker,
            "logger_class": SupervisorLogger,
            "backlog": BACKLOG,
            "timeout": _HUNG_SECONDS,
            "graceful_timeout": math.ceil(server.drain_seconds + server.shutdown_seconds + _EXIT_SECONDS),
            "control_socket_disable": True,
            "on_exit": lambda _: self._clean_up(),
            "child_exit": lambda _, worker: self._forget_worker(worker.pid),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    @property
    def is_store_ready(self) -> bool:
        """Whether the embedded server is ready. Always true with another Redis."""
        return self.embedded is None or self.embedded.is_ready

    def announce_start(self) -> None:
        """Log the address of a service that listens while its store starts."""
        _logger.info("listening on %s. Requests are answered with 503 until the embedded Valkey is ready", self._url)

    def announce(self) -> None:
        """Log and announce that the service answers requests."""
        _logger.info("serving on %s", self._url)
        if not self.settings.api_keys:
            _logger.warning("no API keys: every request is answered with 401. See api_keys in config.yaml")
        self._announce(self._url)

    def choose_heartbeat_folder(self) -> None:
        """Set the folder of the next worker's heartbeat file to one that works now."""
        folder = next(scratch_folders(), None)
        self.cfg.set("worker_tmp_dir", None if folder is None else str(folder))

    def _clean_up(self) -> None:
        stop_signals.hold()  # a signal during the clean-up would end the interpreter
        if self.embedded is not None:
            self.embedded.stop()
        _logger.info("stopped")

    def _forget_worker(self, pid: int) -> None:
        """Remove the gauges of a dead worker, such as its connections.

        Its counters stay.
        """
        if self.settings.metrics.enabled:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library has no types here

    async def build(self) -> Runner:
        """Return the runner of a worker."""
        url = self.embedded.url if self.embedded else self.settings.redis.url
        return await build(self.settings, url, self._request_log, self._risk_log)

    def reload_keys(self) -> bool:
        """Read the API keys again, in the supervisor, and share them with the workers.

        After an error, keep the current keys and return False.
        """
        try:
            keys = self.load_settings().api_keys
            self._shared_keys.put(keys)
        except (ConfigError, OSError) as error:
            _logger.error("the API keys stay as they are: %s", error)  # noqa: TRY400 - the errors, not a traceback
            return False
        self._use_keys(keys)
        return True

    def take_keys(self) -> bool:
        """Use the keys that the supervisor has read, in a worker.

        Returns False while the supervisor replaces them. Its signal follows.
        """
        keys = self._shared_keys.get()
        if keys is not None:
            self._use_keys(keys)
        return keys is not None

    def _use_keys(self, keys: tuple[ApiKey, ...]) -> None:
        self.settings = dataclasses.replace(self.settings, api_keys=keys)
