"""The timers of a client connection: for a stalled head, idleness and stalled reading.

Other deadlines are elsewhere: for a body in `json_body.py`, for the TLS handshake in
`site.py`.

No deadline for a head
----------------------
Without it: aiohttp has one timer, which starts after each response. A client that sends
    a part of a head holds its connection as long as an idle one, 75 s.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_connection_timeouts.py
    test_a_head_that_stalls_ends_the_connection
Can go when: aiohttp has a deadline for heads.

A keep-alive timer that closes busy connections
-----------------------------------------------
Without it: aiohttp closes a connection as idle although a part of a head has arrived, a
    request waits in the kernel's buffer, or a slow client still receives a response. A
    proxy then answers with 502.
Upstream: https://github.com/aio-libs/aiohttp/issues/13283 and 2682 (closed).
Versions: 3.14.
Test: tests/api/test_connection_timeouts.py
    test_a_request_that_waits_while_the_service_is_paused_is_served
    test_a_head_that_begins_just_in_time_is_served
    test_a_response_that_a_slow_client_reads_is_sent_whole
Can go when: aiohttp reads pending bytes before it closes an idle connection.

No deadline for a client that stops reading
-------------------------------------------
Without it: the handler waits without end for a client that reads nothing more. The
    keep-alive timer starts only after the response.
Upstream: none found.
Versions: 3.14.
Test: tests/api/test_connection_timeouts.py
    test_a_client_that_stops_reading_is_closed
Can go when: aiohttp has a deadline for writing.
"""

import asyncio
from typing import Any

from aiohttp.web_protocol import RequestHandler

from service.api import request_limits
from service.api.front_door.sockets import RECHECK_SECONDS, has_unread_bytes, unsent_bytes


class TimedConnection(RequestHandler):
    """A connection that closes if a head stalls for 15 s, or if it is idle.

    It is idle after `keepalive_timeout` seconds without a request. It also closes if
    the client reads nothing of a response in that time.
    """

    __slots__ = ("_head_timer", "_reading_timer", "_unread_bytes", "_unsent_bytes", "has_pending_answer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # This timer runs until the head is complete.
        self._head_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0  # at the last check
        # This timer runs while the client has to read before more can be written.
        self._reading_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0  # at its last check
        # The front door waits for Redis, to answer a request on this connection.
        self.has_pending_answer = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer for the first head."""
        super().connection_made(transport)
        self.start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timers."""
        self.stop_head_timer()
        self._stop_reading_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the timer for a client that stops reading."""
        super().pause_writing()
        self._check_reading()

    def resume_writing(self) -> None:
        """Stop the timer for a client that stops reading."""
        self._stop_reading_timer()
        super().resume_writing()

    def _check_reading(self) -> None:
        """Close the connection if the client has read nothing since the last check."""
        transport, before = self.transport, self._unread_bytes if self._reading_timer else -1
        if transport is None:
            return
        self._unread_bytes = unsent_bytes(transport)
        if self._unread_bytes == before:
            transport.abort()  # `close` would wait for the client
        else:
            self._reading_timer = self._loop.call_later(self._keepalive_timeout, self._check_reading)

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def start_head_timer(self) -> None:
        """Close the connection after HEAD_SECONDS if the head is incomplete then."""
        self.stop_head_timer()
        self._head_timer = self._loop.call_later(request_limits.HEAD_SECONDS, self._close_stalled)

    def stop_head_timer(self) -> None:
        """Stop the timer for heads. The timer for idle connections keeps running."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def finish_requests(self) -> None:
        """Answer the requests that have arrived, then close.

        The subclass implements it.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection when it is idle.

        If the front door has a pending answer, it closes the connection after that.
        """
        if not self.has_pending_answer:
            super().close()

    def _is_idle(self) -> bool:
        if self.has_pending_answer or self._messages:
            return False
        return self._waiter is not None and not self._waiter.done()

    def _close_stalled(self, *, is_last_check: bool = False) -> None:
        self._head_timer = None
        if not self._is_idle():
            self.finish_requests()
        elif has_unread_bytes(self.transport) and not is_last_check:
            # After a pause of the machine the timer fires before the rest of the head
            # is read.
            self._head_timer = self._loop.call_later(RECHECK_SECONDS, lambda: self._close_stalled(is_last_check=True))
        else:
            self.force_close()

    def _process_keepalive(self) -> None:
        """Close an idle connection.

        aiohttp's keep-alive timer, which starts after each response, calls this method.
        """
        if self.has_pending_answer:
            self.postpone_close()
        if self._is_idle() and self._loop.time() >= self._next_keepalive_close_time:
            self._keepalive_handle = None
            if self._head_timer is not None:
                # The timer for heads closes a stalled connection. The next response
                # starts this timer again.
                return
            if has_unread_bytes(self.transport):
                # A request is in the kernel's buffer. Closing now would lose it, and a
                # proxy would answer 502.
                self._keepalive_handle = self._loop.call_later(RECHECK_SECONDS, self._process_keepalive)
                return
            if self._is_sending():
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _is_sending(self) -> bool:
        """Return whether a slow client has received bytes since the last call."""
        before, self._unsent_bytes = self._unsent_bytes, 0
        if self.transport is not None:
            self._unsent_bytes = unsent_bytes(self.transport)
        return self._unsent_bytes != before

    def postpone_close(self) -> None:
        """Restart the timer for idle connections. The front door has answered."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
