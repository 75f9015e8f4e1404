"""A client connection: aiohttp's protocol, with repairs to how it reads requests.

Bytes of the request in answers and logs
----------------------------------------
Without it: aiohttp answers a request that it cannot parse with bytes of the request,
    and logs them with a traceback. The bytes may be a key or an id. `handle_error`
    returns a problem document instead.
Upstream: https://github.com/aio-libs/aiohttp/issues/3287 (open).
Versions: 3.14.
Test: tests/api/test_transport.py
    test_a_malformed_request_is_one_400_without_echo
Can go when: the application can answer parser errors.

A malformed chunk leaves the reader waiting
-------------------------------------------
Without it: aiohttp queues the parser error behind the request, whose handler waits for
    the rest of the body until its deadline.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_transport.py
    test_malformed_chunks_are_one_400
Can go when: aiohttp ends the body with an error if the parser fails in it.

A body in progress is dropped at shutdown
-----------------------------------------
Without it: a connection that will close drops received bytes, so a request whose body
    is incomplete when the shutdown begins never gets the rest.
Upstream: https://github.com/aio-libs/aiohttp/issues/2298 (closed, wontfix) is related.
Versions: 3.14.
Test: tests/system/test_process.py
    test_a_request_in_flight_is_finished
Can go when: aiohttp reads the body of a request in progress until its end.

No answer after a half-close
----------------------------
Without it: a client that closes its side after its requests gets no answers.
Upstream: https://github.com/aio-libs/aiohttp/issues/3659 (open).
Versions: 3.14.
Test: tests/api/test_transport.py
    test_a_half_closed_connection_gets_its_responses
    test_a_client_that_closes_its_side_at_once_is_answered
    test_a_client_that_closes_its_side_in_the_body_is_answered_at_once
Can go when: aiohttp's `eof_received` keeps the connection open for answers.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from aiohttp import StreamReader, web
from aiohttp.web_protocol import _ErrInfo

from service.api.aiohttp_errors import translate
from service.api.aiohttp_internals.framing import Framing
from service.api.aiohttp_internals.timers import TimedConnection
from service.api.cors import origin_in
from service.api.dispatcher import Dispatcher

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage


class Connection(TimedConnection):
    """One client connection."""

    __slots__ = ("_dispatcher", "_framing", "_has_ended", "_last_body", "_rejected")

    def __init__(self, dispatcher: Dispatcher, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dispatcher = dispatcher
        # The body of the last parsed request. It may be incomplete.
        self._last_body: StreamReader | None = None
        self._framing = Framing()
        self._rejected = b""  # the bytes that the parser rejected
        self._has_ended = False  # the client closed its side, or a head stalled

    def data_received(self, data: bytes) -> None:
        """Parse received bytes.

        The body of a request in progress is read to its end.
        """
        body = self._last_body if self._last_body is not None and not self._last_body.is_eof() else None
        count = self._request_count
        if body is None:
            super().data_received(data)
        else:
            # aiohttp drops the bytes if one of these is set, as at shutdown.
            closing = self._close, self._force_close
            self._close = self._force_close = False
            try:
                super().data_received(data)
            finally:
                self._close, self._force_close = closing
        self._track_requests(data, self._request_count - count, body)

    def _track_requests(self, data: bytes, parsed: int, body: StreamReader | None) -> None:
        """Update the last body, the framing and the timer for heads.

        `parsed` is the number of requests in `data`.
        """
        framing = self._framing
        if parsed:
            message, payload = self._messages[-1]
            self.stop_head_timer()
            if isinstance(message, _ErrInfo):
                framing.add(data)
                self._rejected = bytes(framing.open_head)
                # The error is queued behind the request, which still waits for its
                # body.
                self._abort_body(body)
                return
            self._last_body = payload
            if parsed == 1 and framing.is_whole_request(data, payload):
                return
        elif self._close or self._force_close:
            return  # aiohttp has dropped the bytes
        self._update_framing(data, parsed)

    def _update_framing(self, data: bytes, parsed: int) -> None:
        framing = self._framing
        had_begun = bool(framing.open_head)
        framing.add(data)
        for message, _ in islice(self._messages, len(self._messages) - parsed, None):
            framing.take(cast("RawRequestMessage", message))
        if framing.open_head and (parsed or not had_begun):
            self.start_head_timer()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio.Protocol allows it
        """Keep a half-closed connection open for its answers.

        TLS connections always close.
        """
        is_waiting = self._waiter is not None and not self._waiter.done()
        is_idle = not self._messages and (is_waiting or self._request_count == 0)
        if is_idle or self.ssl_context is not None:
            return None
        self._abort_body(self._last_body)
        self.finish_requests()
        return True

    def finish_requests(self) -> None:
        """Answer the requests that have arrived, then close."""
        self._has_ended = True
        self.close_if_last_request()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wake the reader of a body. aiohttp does not wake it for a rejected body."""
        self._abort_body(self._last_body)
        super().connection_lost(exc)

    def close_if_last_request(self) -> None:
        """Close after the current request if no other one has arrived or can arrive."""
        if self._has_ended and not self._messages:
            self._close = True

    def is_at_rest(self) -> bool:
        """Return whether the next bytes begin a request, and no answer is under way."""
        return self._is_idle() and self._framing.is_at_rest and not (self._close or self._force_close)

    @staticmethod
    def _abort_body(body: StreamReader | None) -> None:
        if body is not None and not body.is_eof():
            body.set_exception(web.RequestPayloadError("the rest of the body cannot arrive"))

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp passes a placeholder
        status: int = 500,  # noqa: ARG002
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - bytes of the request
    ) -> web.StreamResponse:
        """Answer a parser error. The dispatcher handles all later errors."""
        return self._dispatcher.reject(translate(exc), origin_in(self._rejected))
