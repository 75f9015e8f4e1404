"""aiohttp's server and runner, with this service's limits, connections and dispatcher.

An absolute-form target with an invalid host
--------------------------------------------
Without it: aiohttp decodes the host of `GET http://host/path` outside any error
    handling. The client gets no answer if the host is invalid.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_transport.py
    test_an_absolute_target_with_any_host_is_answered
Can go when: aiohttp answers such a request.

Ambiguous framing and other versions
------------------------------------
Without it: aiohttp accepts transfer codings before `chunked`, `Transfer-Encoding` in
    HTTP/1.0, and versions other than HTTP/1. The end of such a request is ambiguous,
    which allows request smuggling behind a proxy.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_transport.py
    test_only_plain_chunked_is_read
    test_chunks_in_http_1_0_are_rejected
    test_unsupported_http_versions_are_rejected
Can go when: aiohttp's parser rejects them.

A dispatcher around the application
-----------------------------------
Without it: a middleware does not see parser errors and a failed `Expect`. `Runner`
    replaces the server that aiohttp makes.
Upstream: https://github.com/aio-libs/aiohttp/issues/3287 (open).
Versions: 3.14.
Test: tests/api/test_every_response.py
    test_fixed_headers_are_on_every_response
Can go when: aiohttp lets an application wrap its request handler and its connections.

A listen queue of 128 connections
---------------------------------
Without it: gunicorn's worker leaves aiohttp's backlog of 128, and clients wait 1 s in a
    burst.
Upstream: https://github.com/aio-libs/aiohttp/issues/5283 (open).
Versions: 3.14.
Test: tests/api/test_transport.py
    test_many_connections_fit_the_listen_queue
Can go when: `GunicornWebWorker` passes gunicorn's `backlog` on.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage

from service.api.aiohttp_internals.connection import Connection
from service.api.aiohttp_internals.expectation import take_expectation
from service.api.aiohttp_internals.site import Site
from service.api.auth import Authorizer, Handler
from service.api.dispatcher import Dispatcher, MisframedRequest
from service.api.front_door.door import FrontDoor
from service.api.front_door.fast_path import FastPath
from service.api.handlers.health import Health
from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from service.api_keys import Keyring
from service.config.settings import ServerSettings

BACKLOG = 2048
# aiohttp reads the rest of a rejected body for up to 2 s. Otherwise the client would
# not receive the answer.
_LINGER_SECONDS = 2.0
# How long connections stay open after the service has stopped listening. A proxy sends
# its request as soon as a connection is open, and does not repeat a POST when the
# connection is reset.
_ARRIVAL_SECONDS = 0.25

# aiohttp's log lines contain bytes of requests.
_silent = logging.getLogger("service.aiohttp")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Server(web.Server):
    """Creates the connections of clients, and requests with checked framing."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        handler: Handler,
        fast_path: FastPath | None,
        make_request: Callable[..., web.BaseRequest],
        **kwargs: Any,
    ) -> None:
        super().__init__(handler, request_factory=self._request_of, **kwargs)  # type: ignore[arg-type]  # web.Request
        self._dispatcher = dispatcher
        self._new_request = make_request
        self._fast_path = fast_path
        self._doors: set[FrontDoor] = set()
        self._has_no_door = asyncio.Event()
        self._has_no_door.set()
        self.keepalive_seconds: float = kwargs["keepalive_timeout"]

    def _request_of(
        self, message: RawRequestMessage, payload: StreamReader, connection: Connection, *more: Any
    ) -> web.BaseRequest:
        connection.close_if_last_request()
        if message.url.absolute:
            message = message._replace(url=message.url.relative())
        coding = message.headers.get(hdrs.TRANSFER_ENCODING)
        if message.version == HttpVersion11:
            is_unambiguous = coding is None or coding.lower() == "chunked"
        else:
            is_unambiguous = message.version == HttpVersion10 and coding is None
        if is_unambiguous:
            if hdrs.EXPECT in message.headers:
                message, kind = take_expectation(message)
                return self._new_request(message, payload, connection, *more, _cls=kind)
            return self._new_request(message, payload, connection, *more)
        if message.version not in {HttpVersion10, HttpVersion11}:
            # The status line of the answer repeats the version.
            message = message._replace(version=HttpVersion11)
        return self._new_request(message, payload, connection, *more, _cls=MisframedRequest)

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # aiohttp's own, without a front door
        """Return the protocol for a new connection."""
        return self.make_connection() if self._fast_path is None else FrontDoor(self, self._fast_path)

    def make_connection(self) -> Connection:
        """Return aiohttp's protocol for a connection."""
        return Connection(self._dispatcher, self, loop=self._loop, **self._kwargs)

    def opened(self, door: FrontDoor) -> None:
        """Note a new connection."""
        self._doors.add(door)
        self._has_no_door.clear()

    def closed(self, door: FrontDoor) -> None:
        """Forget a connection that was lost."""
        self._doors.discard(door)
        if not self._doors:
            self._has_no_door.set()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Serve requests on their way, close idle connections, and wait for answers."""
        for door in list(self._doors):
            door.end_rest()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_no_door.wait(), _ARRIVAL_SECONDS)
        for door in list(self._doors):
            door.close()
        await asyncio.sleep(0)  # doors with bytes in the kernel read them
        pending = [door.pending for door in self._doors if door.pending is not None]
        with suppress(TimeoutError):
            # The doors answer errors. Here, an error is only the end of waiting.
            await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), timeout)
        await super().shutdown(timeout)
        for door in list(self._doors):
            door.abort()


class Runner(web.AppRunner):
    """Runs the application behind the dispatcher."""

    def __init__(
        self,
        app: web.Application,
        make_dispatcher: Callable[[Handler], Dispatcher],
        *,
        authorizer: Authorizer,
        health: Health,
        server: ServerSettings,
        wrap: Callable[[Handler], Handler],
        fast_path: FastPath | None = None,
    ) -> None:
        """`make_dispatcher` gets the handler of `app`.

        `wrap` adds tracing to the dispatcher, or returns it unchanged. `fast_path`
        answers frequent requests. Without it, aiohttp answers all.
        """
        super().__init__(
            app,
            access_log=None,
            logger=_silent,
            keepalive_timeout=server.keepalive_seconds,
            lingering_time=_LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            shutdown_timeout=server.shutdown_seconds / 2,  # aiohttp may wait twice
        )
        self._make_dispatcher = make_dispatcher
        self._authorizer = authorizer
        self._wrap = wrap
        self._fast_path = fast_path
        self._listeners: Sequence[socket.socket] = ()
        self._is_shared = False
        self._tls: ssl.SSLContext | None = None
        self.health = health

    def listen_on(self, listeners: Sequence[socket.socket], tls: ssl.SSLContext | None, *, is_shared: bool) -> None:
        """Set the bound sockets that `setup` listens on.

        `is_shared`: other workers listen on them too.
        """
        self._listeners, self._tls, self._is_shared = listeners, tls, is_shared

    def use_keys(self, keyring: Keyring) -> None:
        """Replace the API keys."""
        self._authorizer.replace_keys(keyring)

    async def setup(self) -> None:
        """Start the application, then listen."""
        await super().setup()
        for listener in self._listeners:
            await Site(self, listener, tls=self._tls, is_shared=self._is_shared).start()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        dispatcher = self._make_dispatcher(cast("Handler", server.request_handler))
        handler, options = self._wrap(dispatcher.handle), server._kwargs  # noqa: SLF001
        return Server(dispatcher, handler, self._fast_path, server.request_factory, loop=server._loop, **options)  # noqa: SLF001

    def _reg_site(self, site: web.BaseSite) -> None:
        site._backlog = BACKLOG  # noqa: SLF001 - see the module's docstring
        super()._reg_site(site)
