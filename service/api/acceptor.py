"""Accepts connections one at a time, so that several workers share them.

uvloop accepts all waiting connections at once. When a proxy opens 64 connections to two
workers, one of them gets nearly all. An `Acceptor` takes one connection per turn of its
event loop and leaves the others to the workers that are free. It costs more for each
connection, so a service with one worker has none.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from service.telemetry.log_limit import LogLimit

_logger = logging.getLogger(__name__)

# asyncio pauses for the same time when the process has too many open files.
_PAUSE_SECONDS = 1.0
_ADVICE = {
    errno.EMFILE: "Raise the limit of open files of the service (ulimit -n, LimitNOFILE of systemd)",
    errno.ENFILE: "Raise the limit of open files of the machine (fs.file-max)",
}
_OTHER_ADVICE = "Check the memory of the machine"


async def serve_connection(
    connection: socket.socket,
    make_protocol: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
    handshake_seconds: float | None,
) -> None:
    """Give an accepted connection its protocol, after the handshake if there is TLS.

    A client that fails the handshake is disconnected.
    """
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().connect_accepted_socket(
            make_protocol, connection, ssl=tls, ssl_handshake_timeout=handshake_seconds
        )
    except (OSError, asyncio.CancelledError):
        with suppress(OSError):
            connection.close()


class Acceptor:
    """Listens on a socket that other processes listen on too.

    It has the methods of `asyncio.Server` that aiohttp calls.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
    ) -> None:
        self.sockets = (listener,)
        self._listener = listener
        self._make_protocol = make_protocol
        self._tls = tls
        self._handshake_seconds = handshake_seconds if tls is not None else None
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._log_limit = LogLimit()

    def start(self, backlog: int) -> None:
        """Listen. `backlog` is the number of connections that may wait."""
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stop accepting connections. Other processes still accept them.

        TLS handshakes in progress are cancelled.
        """
        if self._is_open():
            self._loop.remove_reader(self._listener)
            self._listener.close()
            if self._tls is not None:
                for task in self._opening:
                    task.cancel()

    def _is_open(self) -> bool:
        return self._listener.fileno() >= 0

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker has taken it, or the client has closed it
        except OSError as error:
            if self._log_limit.allows(error.errno):
                line = "cannot accept connections (%s), trying again every %g s. %s"
                _logger.warning(line, error.strerror, _PAUSE_SECONDS, _ADVICE.get(error.errno or 0, _OTHER_ADVICE))
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE_SECONDS, self._resume)
            return
        task = self._loop.create_task(
            serve_connection(connection, self._make_protocol, self._tls, self._handshake_seconds)
        )
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _resume(self) -> None:
        if self._is_open():
            self._loop.add_reader(self._listener, self._accept)
