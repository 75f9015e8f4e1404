"""A client connection: aiohttp's protocol, with repairs of how it reads requests.

aiohttp answers a request that it cannot parse with bytes of that request, and logs them with
a traceback. They may be a key or an id, so a fixed problem document and one line are written
here instead. `docs/decisions.md` says what else is repaired, and why.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from aiohttp import StreamReader, web
from aiohttp.web_protocol import _ErrInfo

from service.api.aiohttp_errors import translate
from service.api.aiohttp_internals.clocks import TimedConnection
from service.api.aiohttp_internals.framing import Framing
from service.api.cors import origin_in
from service.api.dispatcher import Dispatcher

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage


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

    def is_at_rest(self) -> bool:
        """Return whether the next bytes begin a request, and no answer is under way."""
        return self._is_idle() and self._framing.is_at_rest and not (self._close or self._force_close)

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
        return self._dispatcher.reject(translate(exc), origin_in(self._rejected))
