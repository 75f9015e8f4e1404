"""The embedded Valkey: a private, persistent server that needs no installation.

Only the supervisor starts and stops the server. Workers get its URL. The server never
outlives the supervisor.
"""

import logging
import os
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from service import stop_signals
from service.backoff import Backoff
from service.config.settings import RedisSettings
from service.config.sizes import HALF
from service.errors import EmbeddedServerError
from service.storage.data_dir import DataDir
from service.storage.embedded_process import find_binary, launch
from service.storage.embedded_state import Loading, Ready, read_state, request_shutdown
from service.storage.memory_limit import max_memory_bytes
from service.telemetry.exit_status import exit_in_words
from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

# A server with little data answers after 0.05 s.
_START_SECONDS = 2.0
# A server that does not exit in this time is killed. The service has 15 s to stop.
_STOP_SECONDS = 0.5
_START_POLL_SECONDS = 0.01
_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 5.0
_LAUNCH_ERRORS = (OSError, subprocess.SubprocessError)
_FOLDER_IS_GONE = (
    "the data directory %s was removed or replaced: the sessions are only in memory, and are lost when the service "
    "stops. Find the program that removes it, and restart the service"
)


class EmbeddedServer:
    """A Valkey on a Unix socket of this user, with its data in `data_dir`.

    `syncs_always` writes each change to the disk before its reply (`appendfsync`).
    """

    def __init__(self, data_dir: Path, max_memory: str = HALF, *, syncs_always: bool = False) -> None:
        self._max_memory = max_memory
        self._fsync = "always" if syncs_always else "everysec"
        self._folder = DataDir(data_dir)
        self._binary = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = Backoff()
        self._has_served = False
        self._is_ready = False
        self._is_death_known = False
        self._started_at = self._poll_at = 0.0
        self._reported_at: float | None = None
        self._state: Loading | Ready | None = None
        self._log_limit = LogLimit()

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"unix://{quote(str(self._folder.socket))}"

    @property
    def was_started(self) -> bool:
        """Whether a server was ever started on this directory. It may have stopped."""
        return self._folder.socket.exists()

    @property
    def is_ready(self) -> bool:
        """Whether the running server has answered. It may have hung since."""
        return self._is_ready

    def start(self) -> None:
        """Start the server and wait for two seconds at most until it answers.

        A server that loads much data may answer later: see `watch`. Raises
        EmbeddedServerError when there is no binary for this platform, when another
        process uses the directory, and when the server exits at once.
        """
        self._binary = find_binary()
        self._folder.acquire()
        try:
            self._launch()
            self._wait_until_ready()
        except EmbeddedServerError:
            self.stop()
            raise
        except _LAUNCH_ERRORS as error:
            self.stop()
            raise EmbeddedServerError(f"the embedded Valkey does not start ({_reason(error)})") from None

    def watch(self) -> None:
        """Restart a server that has died, and log the progress of a starting one.

        The supervisor calls it once a second. It does not wait for the server, because
        requests are answered 503 until the server is ready. Raises EmbeddedServerError
        when the server exits before it has ever been ready, because another start would
        fail too.
        """
        if self._process is None:
            return
        if self._process.poll() is not None:
            self._restart(self._process.returncode)
        elif not self._is_ready and time.monotonic() >= self._poll_at:
            self._poll_at = time.monotonic() + _POLL_SECONDS
            self._update_state()
        elif self._is_ready and time.monotonic() - self._started_at > _PROGRESS_SECONDS:
            self._backoff.reset()
        self._check_files()

    def _check_files(self) -> None:
        """Notice files that another program has removed.

        Open connections work without the socket, and new ones fail. The server is
        restarted only if its data is still in the directory.
        """
        if not self._folder.is_present:
            if self._log_limit.allows("folder"):
                _logger.error(_FOLDER_IS_GONE, self._folder.path)
        elif self._is_ready and self._process is not None and not self._folder.socket.exists():
            _logger.error("the socket %s was removed, so the embedded Valkey is restarted", self._folder.socket)
            self._is_ready = False
            self._process.kill()  # it blocks SIGTERM

    def record_exit(self, pid: int, status: int) -> bool:
        """Record the status that the supervisor's waitpid() returned for a process.

        Returns whether the process is the server.
        """
        if self._process is None or self._process.pid != pid:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return True

    def stop(self) -> None:
        """Stop the server.

        Acknowledged writes are in its files, even if it has to be killed.
        """
        if self._process is not None and self._process.poll() is None:
            request_shutdown(self._folder.socket)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self._folder.release()

    def _launch(self) -> None:
        self._folder.prepare_socket()
        assert self._folder.lock_file is not None  # noqa: S101 - start() acquired it
        self._process = launch([self._binary, *self._options()], self._folder.lock_file)
        self._is_ready = self._is_death_known = False
        self._started_at = time.monotonic()
        self._reported_at = None
        self._state = None

    def _wait_until_ready(self) -> None:
        assert self._process is not None  # noqa: S101 - start() launched it
        while time.monotonic() - self._started_at < _START_SECONDS and not stop_signals.is_stop_pending():
            if self._process.poll() is not None:
                raise self._start_error()
            if self._update_state() is not None:
                return
            time.sleep(_START_POLL_SECONDS)

    def _update_state(self) -> Loading | Ready | None:
        # A server that loads data may not reply in time. Its last state is kept then.
        self._state = state = read_state(self._folder.socket) or self._state
        seconds = time.monotonic() - self._started_at
        if isinstance(state, Ready):
            self._is_ready = self._has_served = True
            if self._reported_at is not None:
                _logger.info("the embedded Valkey has loaded its data in %.0f s", seconds)
        elif self._is_report_due(state):
            self._reported_at = time.monotonic()
            doing = f"is loading its data: {state}" if state else "does not answer yet"
            _logger.info("the embedded Valkey %s after %.0f s", doing, seconds)
        return state

    def _is_report_due(self, state: Loading | None) -> bool:
        now = time.monotonic()
        if self._reported_at is not None:
            return now - self._reported_at >= _PROGRESS_SECONDS
        return state is not None or now - self._started_at >= _START_SECONDS

    def _restart(self, status: int) -> None:
        if not self._is_death_known:
            self._is_death_known, self._is_ready = True, False
            if status > 0 and not self._has_served:
                raise self._start_error()
            pause = self._backoff.failed()
            log = self._folder.log_file
            when = f"in {pause:.1f} s" if pause else "now"
            _logger.error("the embedded Valkey %s, see %s. It starts again %s", exit_in_words(status), log, when)
        if self._backoff.is_due:
            try:
                if not self._folder.is_present:
                    self._folder.release()
                    self._folder.acquire()
                self._launch()
            except (*_LAUNCH_ERRORS, EmbeddedServerError) as error:
                pause = self._backoff.failed()
                message = "the embedded Valkey cannot start (%s). The next attempt is in %.1f s"
                _logger.error(message, _reason(error), pause)  # noqa: TRY400 - the message has the reason

    def _start_error(self) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"the embedded Valkey does not start. The end of {self._folder.log_file} gives the reason"
        )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._folder.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.path),
            "logfile": str(self._folder.log_file),
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "save": "",
            # A full server rejects writes, which are answered 503. Without a limit the
            # kernel would kill it.
            "maxmemory": str(max_memory_bytes(self._max_memory)),
            "maxmemory-policy": "noeviction",
            # Entries of these logs would keep user ids, even after an erasure.
            "commandlog-execution-slower-than": "-1",
            "commandlog-request-larger-than": "-1",
            "commandlog-reply-larger-than": "-1",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def find_redis(settings: RedisSettings) -> str | None:
    """Return the URL of Redis, or None if the embedded server was never started."""
    if settings.url != "embedded":
        return settings.url
    server = EmbeddedServer(settings.data_dir)
    return server.url if server.was_started else None
