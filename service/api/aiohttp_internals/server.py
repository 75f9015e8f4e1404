"""aiohttp's server with this service's limits, its own answer to what cannot be parsed, and mends to its connections.

aiohttp answers a request that cannot be parsed with bytes of that request, and logs them with a traceback. They
may be a key or an id, so here they are answered with a fixed problem document and one line. What else is mended,
and why, stands in docs/decisions.md.
"""

import logging
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from service import errors
from service.api import wire
from service.api.aiohttp_internals.clocks import TimedConnection
from service.api.aiohttp_internals.expectation import take_expectation
from service.api.aiohttp_internals.framing import Framing
from service.api.aiohttp_internals.site import Site
from service.api.auth import Handler
from service.api.cors import Cors, origin_in
from service.api.dispatcher import Dispatcher, MisframedRequest
from service.api.handlers.operations import Health
from service.api.known_paths import KnownPaths
from service.config.settings import ServerSettings
from service.telemetry.request_recorder import RequestRecorder

MAX_LINE_BYTES = 4096
MAX_FIELD_BYTES = 8190
MAX_HEADERS = 64
BACKLOG = 2048
LINGER_SECONDS = 2.0  # how long the rest of a refused body is read, so that the client gets to see the answer

# The parser's message ends with the line that it refused, as a bytes literal.
_METHOD_TOKEN = re.compile(r"b'[A-Z-]+ ")

_silent = logging.getLogger("service.aiohttp")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Connection(TimedConnection):
    """One client connection."""

    __slots__ = ("_arriving", "_dispatcher", "_framing", "_has_ended", "_rejected")

    def __init__(self, dispatcher: Dispatcher, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dispatcher = dispatcher
        self._arriving: StreamReader | None = None  # the body of the last request, complete or not
        self._framing = Framing()
        self._rejected = b""  # what could not be parsed
        self._has_ended = False  # the client has closed its side

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket, and see to it that a body on its way is read to its end or broken off."""
        body = self._arriving if self._arriving is not None and not self._arriving.is_eof() else None
        count = self._request_count
        if body is None:
            super().data_received(data)
        else:
            # Once it is to close, aiohttp drops what arrives, so that at shutdown the request would never be whole.
            closing = self._close, self._force_close
            self._close = self._force_close = False
            try:
                super().data_received(data)
            finally:
                self._close, self._force_close = closing
        self._follow(data, self._request_count - count, body)

    def _follow(self, data: bytes, parsed: int, body: StreamReader | None) -> None:
        """Note the state of the last head: not begun, begun, or whole. `parsed` requests were found in `data`."""
        framing = self._framing
        if parsed:
            message, payload = self._messages[-1]
            self.stop_head_clock()
            if isinstance(message, _ErrInfo):
                framing.add(data)
                self._rejected = bytes(framing.open_head)
                # aiohttp queues the error behind the request, which would wait for the rest of its body in vain.
                self._break_off(body)
                return
            self._arriving = payload
            if parsed == 1 and framing.is_whole_request(data, payload):
                return
        elif self._close or self._force_close:
            return  # aiohttp has dropped the bytes
        had_begun = bool(framing.open_head)
        framing.add(data)
        for message, _ in islice(self._messages, len(self._messages) - parsed, None):
            framing.take(cast("RawRequestMessage", message))
        if framing.open_head and (parsed or not had_begun):
            self.start_head_clock()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio.Protocol allows it
        """Stay open for the answers when a client closes its side after its requests; TLS cannot do that."""
        is_waiting = self._waiter is not None and not self._waiter.done()
        is_idle = not self._messages and (is_waiting or self._request_count == 0)
        if is_idle or self.ssl_context is not None:
            return None
        self._break_off(self._arriving)
        self.finish_requests()
        return True

    def finish_requests(self) -> None:
        """Answer the requests that have arrived, then close."""
        self._has_ended = True
        self.begin_request()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wake whoever still reads a body; aiohttp forgets those that only read the rest of a refused one."""
        self._break_off(self._arriving)
        super().connection_lost(exc)

    def begin_request(self) -> None:
        """Note that a request is taken up: the last one of a client that has closed its side ends the connection."""
        if self._has_ended and not self._messages:
            self._close = True

    @staticmethod
    def _break_off(body: StreamReader | None) -> None:
        if body is not None and not body.is_eof():
            body.set_exception(web.RequestPayloadError("the rest of the body will not come"))

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the parser could not make one
        status: int = 500,  # noqa: ARG002
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - bytes of the request
    ) -> web.StreamResponse:
        """Answer what could not be parsed; the dispatcher has caught all that can go wrong after that."""
        return self._dispatcher.reject(_rejection(exc), origin_in(self._rejected))


class Server(web.Server):
    """Makes connections of the kind above, and requests whose target is a path."""

    def __init__(self, dispatcher: Dispatcher, make_request: Callable[..., web.BaseRequest], **kwargs: Any) -> None:
        super().__init__(dispatcher.handle, request_factory=self._request_of, **kwargs)  # type: ignore[arg-type]  # web.Request
        self._dispatcher = dispatcher
        self._make = make_request

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

    def __call__(self) -> RequestHandler:
        """Return the protocol for a new connection."""
        return Connection(self._dispatcher, self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs the application behind the dispatcher."""

    def __init__(
        self,
        app: web.Application,
        direct_routes: Mapping[tuple[str, str], Handler],
        *,
        cors: Cors,
        health: Health,
        recorder: RequestRecorder,
        server: ServerSettings,
        dispatcher: Callable[..., Dispatcher] = Dispatcher,
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
        self._new_dispatcher = dispatcher
        self._listeners: Sequence[socket.socket] = ()
        self._tls: ssl.SSLContext | None = None
        self.health = health

    def listen_on(self, listeners: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Have `setup` listen on these bound sockets."""
        self._listeners, self._tls = listeners, tls

    async def setup(self) -> None:
        """Start the application, then listen."""
        await super().setup()
        for listener in self._listeners:
            await Site(self, listener, ssl_context=self._tls).start()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        dispatcher = self._new_dispatcher(
            cast("Handler", server.request_handler),
            self._direct_routes,
            paths=KnownPaths(resource.canonical for resource in self.app.router.resources()),
            cors=self._cors,
            health=self.health,
            recorder=self._recorder,
        )
        return Server(dispatcher, server.request_factory, loop=server._loop, **server._kwargs)  # noqa: SLF001

    def _reg_site(self, site: web.BaseSite) -> None:
        site._backlog = BACKLOG  # noqa: SLF001 - gunicorn's worker leaves aiohttp's 128, for which clients queue
        super()._reg_site(site)


def _rejection(error: BaseException | None) -> Exception:
    if not isinstance(error, HttpProcessingError):
        return error if isinstance(error, Exception) else RuntimeError("aiohttp gave no reason")
    if isinstance(error, LineTooLong):
        # aiohttp raises one error for both; the limits differ, so that the limit tells which it was.
        if error.args[1] == MAX_LINE_BYTES:
            return errors.UriTooLong(f"Send a request target of at most {MAX_LINE_BYTES} bytes.")
        return errors.HeadersTooLarge(f"Send header fields of at most {MAX_FIELD_BYTES} bytes each.")
    if error.message == "Too many headers received":
        return errors.HeadersTooLarge(f"Send at most {MAX_HEADERS} header fields.")
    if isinstance(error, BadHttpMethod) and _METHOD_TOKEN.search(error.message):
        return errors.MethodNotAllowed("Use one of the methods that Allow lists.", wire.ALLOW)
    return errors.MalformedRequest("The bytes received are not an HTTP/1.1 request; mend the client or the proxy.")
