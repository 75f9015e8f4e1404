"""aiohttp's server with this service's limits, its own answer to what cannot be parsed, and mends to its connections.

aiohttp answers a request that cannot be parsed with bytes of that request, and logs them with a traceback. They
may be a key or an id, so here they are answered with a fixed problem document and one line. What else is mended,
and why, stands in docs/decisions.md.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage

from service.api.aiohttp_internals.connection import Connection
from service.api.aiohttp_internals.expectation import take_expectation
from service.api.aiohttp_internals.site import Site
from service.api.auth import Authorizer, Handler
from service.api.cors import Cors
from service.api.dispatcher import Dispatcher, MisframedRequest
from service.api.front_door.door import FrontDoor
from service.api.front_door.lane import FastLane
from service.api.handlers.operations import Health
from service.api.known_paths import KnownPaths
from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from service.api_keys import Keyring
from service.config.settings import ServerSettings
from service.telemetry.request_recorder import RequestRecorder

BACKLOG = 2048
LINGER_SECONDS = 2.0  # how long the rest of a refused body is read, so that the client gets to see the answer

_silent = logging.getLogger("service.aiohttp")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Server(web.Server):
    """Makes connections of the kind above, and requests whose target is a path."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        handler: Handler,
        lane: FastLane | None,
        make_request: Callable[..., web.BaseRequest],
        **kwargs: Any,
    ) -> None:
        super().__init__(handler, request_factory=self._request_of, **kwargs)  # type: ignore[arg-type]  # web.Request
        self._dispatcher = dispatcher
        self._make = make_request
        self._lane = lane
        self._doors: set[FrontDoor] = set()
        self.keepalive_seconds: float = kwargs["keepalive_timeout"]

    def _request_of(
        self, message: RawRequestMessage, payload: StreamReader, connection: Connection, *more: Any
    ) -> web.BaseRequest:
        connection.begin_request()
        if message.url.absolute:
            # `GET http://host/path`: aiohttp would look at the host, and a bad one would leave the client unanswered.
            message = message._replace(url=message.url.relative())
        coding = message.headers.get(hdrs.TRANSFER_ENCODING)
        if message.version == HttpVersion11:
            is_clear = coding is None or coding.lower() == "chunked"
        else:
            is_clear = message.version == HttpVersion10 and coding is None
        if is_clear:
            if hdrs.EXPECT in message.headers:
                message, kind = take_expectation(message)
                return self._make(message, payload, connection, *more, _cls=kind)
            return self._make(message, payload, connection, *more)
        if message.version not in {HttpVersion10, HttpVersion11}:
            message = message._replace(version=HttpVersion11)  # else the status line would repeat what was sent
        return self._make(message, payload, connection, *more, _cls=MisframedRequest)

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # aiohttp's own, without a front door
        """Return the protocol for a new connection."""
        return self.make_connection() if self._lane is None else FrontDoor(self, self._lane)

    def make_connection(self) -> Connection:
        """Return aiohttp's protocol for a connection."""
        return Connection(self._dispatcher, self, loop=self._loop, **self._kwargs)

    def opened(self, door: FrontDoor) -> None:
        """Note a new connection."""
        self._doors.add(door)

    def closed(self, door: FrontDoor) -> None:
        """Forget a connection that was lost."""
        self._doors.discard(door)

    def pre_shutdown(self) -> None:
        """Close idle connections."""
        super().pre_shutdown()
        for door in list(self._doors):
            door.close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Wait for the answers under way."""
        pending = [door.pending for door in self._doors if door.pending is not None]
        if pending:
            await asyncio.wait(pending, timeout=timeout)
        await super().shutdown(timeout)
        for door in list(self._doors):
            door.abort()


class Runner(web.AppRunner):
    """Runs the application behind the dispatcher."""

    def __init__(
        self,
        app: web.Application,
        direct_routes: Mapping[tuple[str, str], Handler],
        *,
        authorizer: Authorizer,
        cors: Cors,
        health: Health,
        recorder: RequestRecorder,
        server: ServerSettings,
        wrap: Callable[[Handler], Handler],
        lane: FastLane | None = None,
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            logger=_silent,
            keepalive_timeout=server.keepalive_seconds,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            shutdown_timeout=server.shutdown_seconds / 2,  # aiohttp may wait that long twice
        )
        self._direct_routes = direct_routes
        self._cors = cors
        self._recorder = recorder
        self._authorizer = authorizer
        self._wrap = wrap
        self._lane = lane
        self._listeners: Sequence[socket.socket] = ()
        self._tls: ssl.SSLContext | None = None
        self.health = health

    def listen_on(self, listeners: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Have `setup` listen on these bound sockets."""
        self._listeners, self._tls = listeners, tls

    def use_keys(self, keyring: Keyring) -> None:
        """Replace the API keys."""
        self._authorizer.use(keyring)

    async def setup(self) -> None:
        """Start the application, then listen."""
        await super().setup()
        for listener in self._listeners:
            await Site(self, listener, ssl_context=self._tls).start()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        dispatcher = Dispatcher(
            cast("Handler", server.request_handler),
            self._direct_routes,
            paths=KnownPaths(resource.canonical for resource in self.app.router.resources()),
            cors=self._cors,
            health=self.health,
            recorder=self._recorder,
        )
        handler, options = self._wrap(dispatcher.handle), server._kwargs  # noqa: SLF001
        return Server(dispatcher, handler, self._lane, server.request_factory, loop=server._loop, **options)  # noqa: SLF001

    def _reg_site(self, site: web.BaseSite) -> None:
        site._backlog = BACKLOG  # noqa: SLF001 - gunicorn's worker leaves aiohttp's 128, for which clients queue
        super()._reg_site(site)
