"""A listening socket that clients are served on, with a clock for the TLS handshake."""

import asyncio
from typing import cast

from aiohttp import web

# From the connection to the end of the handshake. asyncio's default is 60 s, for which a client that sends nothing
# would hold a connection.
HANDSHAKE_SECONDS = 15.0


class Site(web.SockSite):
    """aiohttp's site for a bound socket. aiohttp's own passes no time-out for handshakes to asyncio."""

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        self._server = await asyncio.get_running_loop().create_server(
            cast("web.Server", self._runner.server),  # a site of a runner without a server cannot be made
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._ssl_context is not None else None,
        )
