"""A site for a bound socket, with a deadline for TLS handshakes.

TLS handshakes without a deadline
---------------------------------
Without it: a client that connects and sends nothing holds a connection for asyncio's
    default of 60 s. `web.SockSite` has no parameter for it.
Upstream: none found. https://github.com/aio-libs/aiohttp/issues/3651 shows the 60 s.
Versions: 3.14.
Test: tests/api/test_connection_timeouts.py
    test_a_stalled_tls_handshake_is_closed
Can go when: `web.SockSite` passes `ssl_handshake_timeout` on.
"""

import asyncio
import socket
import ssl
from typing import cast

from aiohttp import web

from service.api.acceptor import Acceptor, serve_connection
from service.api.closing_listener import accept_waiting, drop_new_connections, stop_dropping

# The time from the connection to the end of the handshake.
HANDSHAKE_SECONDS = 15.0


class Site(web.SockSite):
    """A `web.SockSite` that limits the time of TLS handshakes."""

    def __init__(
        self, runner: web.BaseRunner, sock: socket.socket, *, tls: ssl.SSLContext | None, is_shared: bool = False
    ) -> None:
        """`is_shared`: other workers listen on the socket too."""
        super().__init__(runner, sock, ssl_context=tls)
        self._is_shared = is_shared

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        stop_dropping(self._sock)
        # A site exists only for a runner with a server.
        make_protocol = cast("web.Server", self._runner.server)
        if self._is_shared:
            acceptor = Acceptor(self._sock, make_protocol, tls=self._ssl_context, handshake_seconds=HANDSHAKE_SECONDS)
            acceptor.start(self._backlog)
            self._server = cast("asyncio.Server", acceptor)
            return
        self._server = await asyncio.get_running_loop().create_server(
            make_protocol,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._ssl_context is not None else None,
        )

    async def stop(self) -> None:
        """Take the connections that wait, and stop listening."""
        if not self._is_shared:  # others may go on listening
            drop_new_connections(self._sock)
        waiting = accept_waiting(self._sock) if self._server is not None else []
        await super().stop()
        if self._ssl_context is not None:  # handshakes could take too long
            for connection in waiting:
                connection.close()
            return
        make_protocol = cast("web.Server", self._runner.server)
        await asyncio.gather(*(serve_connection(connection, make_protocol, None, None) for connection in waiting))
