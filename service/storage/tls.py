"""Connections to Redis with TLS.

redis-py's `SSLConnection` reads the authorities of the system for each connection. That
takes 90 ms, in which the event loop serves nothing (Debian 12, OpenSSL 3.0). It also
opens the socket and does the handshake in one step, so both have to fit in one timeout.
`TlsConnection` changes these two things, and notes where a connection failed.
`tls_causes.py` names the causes.
"""

import asyncio
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio.connection import RedisSSLContext, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from service.storage.deadlines import next_step

# Notes on exceptions, such as timeouts, that say when a connection failed.
HANDSHAKE = "the TLS handshake was not finished"
FIRST_REPLY = "the connection ended after the TLS handshake, before the first reply"


class _Parameters(NamedTuple):
    """The parameters of `redis.url` that a context depends on."""

    cert_reqs: ssl.VerifyMode
    check_hostname: bool
    ca_certs: str | None
    certfile: str | None
    keyfile: str | None


class TlsConnection(SSLConnection):
    """Opens the socket, then does the handshake. Each step has the whole timeout.

    In TLS 1.3 a server checks the certificate of its client after the client has
    finished the handshake. When it rejects the certificate, the alert can be lost.
    """

    _has_replied = False

    def _connection_arguments(self) -> Mapping[str, Any]:
        """Return the arguments for a socket without TLS."""
        return {"host": self.host, "port": self.port}

    async def _connect(self) -> None:
        """Connect. Raises OSError, such as ssl.SSLError, and TimeoutError."""
        self._has_replied = False
        context = _context_of(self.ssl_context)
        await super()._connect()  # type: ignore[no-untyped-call]  # the library's
        next_step()
        try:
            async with asyncio.timeout(self.socket_connect_timeout):
                await self._writer.start_tls(context, server_hostname=self.host)  # type: ignore[union-attr]  # set above
        except BaseException as error:
            await self.disconnect(nowait=True)
            error.add_note(HANDSHAKE)
            raise

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Return the next reply. Raises redis-py's errors."""
        try:
            reply = await super().read_response(*arguments, **options)
        except RedisConnectionError as error:
            # Some error replies, such as that to AUTH, are of a subclass.
            if type(error) is RedisConnectionError and not self._has_replied:
                error.add_note(FIRST_REPLY)
            raise
        self._has_replied = True
        return reply


def _context_of(settings: RedisSSLContext) -> ssl.SSLContext:
    """Return the context of all connections with the same parameters.

    A changed file gives a new context, so a renewed certificate needs no restart.
    """
    parameters = _Parameters(
        settings.cert_reqs, settings.check_hostname, settings.ca_certs, settings.certfile, settings.keyfile
    )
    files = filter(None, (settings.ca_certs, settings.certfile, settings.keyfile))
    return _context(parameters, tuple(Path(file).stat().st_mtime_ns for file in files))


@lru_cache(maxsize=2)
def _context(parameters: _Parameters, _changed_at: tuple[int, ...]) -> ssl.SSLContext:
    return RedisSSLContext(**parameters._asdict()).get()
