"""The clocks of a client connection: one for a head that stalls, one for a connection that is idle.

The others are elsewhere: a body's deadline in `json_body.py`, the TLS handshake's in `site.py`.
"""

import asyncio
from typing import Any

from aiohttp.web_protocol import RequestHandler

from service.api import request_limits
from service.api.front_door.sockets import has_unread_bytes, unacknowledged_bytes

# The next turn of the event loop reads what has arrived. Two turns are far shorter than this.
_RECHECK_SECONDS = 0.05


class TimedConnection(RequestHandler):
    """A connection that closes when a head stalls, or when it is idle for `keepalive_timeout` seconds.

    aiohttp has one clock, which starts after each response. It takes a connection for idle on which a part of a head
    has arrived: a request that comes in two packets around the deadline would be lost, and a stalled head would stay
    as long as an idle connection may. The private names belong to aiohttp 3.14, whose minor version is pinned.
    """

    __slots__ = ("_head_clock", "_unsent_bytes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_clock: asyncio.TimerHandle | None = None  # runs while a head is awaited or has begun
        self._unsent_bytes = 0  # at the last look

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client time for its first byte."""
        super().connection_made(transport)
        self.start_head_clock()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clocks."""
        self.stop_head_clock()
        super().connection_lost(exc)

    def start_head_clock(self) -> None:
        """Close the connection in HEAD_SECONDS unless the head is whole by then."""
        self.stop_head_clock()
        self._head_clock = self._loop.call_later(request_limits.HEAD_SECONDS, self._close_stalled)

    def stop_head_clock(self) -> None:
        """Leave the connection to the clock for idle ones."""
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None

    def finish_requests(self) -> None:
        """Answer the requests that have arrived, then close. The subclass knows them."""
        raise NotImplementedError

    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def _close_stalled(self, *, is_last_look: bool = False) -> None:
        self._head_clock = None
        if not self._is_idle():
            self.finish_requests()
        elif has_unread_bytes(self.transport) and not is_last_look:
            # After a pause of the machine the clock fires before the rest of the head is read.
            self._head_clock = self._loop.call_later(_RECHECK_SECONDS, lambda: self._close_stalled(is_last_look=True))
        else:
            self.force_close()

    def _process_keepalive(self) -> None:
        """Close an idle connection. aiohttp calls this when its clock fires, and starts it after each response."""
        if self._is_idle() and self._loop.time() >= self._next_keepalive_close_time:
            self._keepalive_handle = None
            if self._head_clock is not None:
                return  # that clock decides, or the request that follows starts this one again
            if has_unread_bytes(self.transport):
                # A request is in the kernel's buffer. Closing now would lose it, and a proxy would answer 502.
                self._keepalive_handle = self._loop.call_later(_RECHECK_SECONDS, self._process_keepalive)
                return
            if self._is_sending():
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def _is_sending(self) -> bool:
        """Return whether a slow client has taken a part of its response, maybe the last, since the last look."""
        before, self._unsent_bytes = self._unsent_bytes, 0
        if self.transport is not None:
            self._unsent_bytes = self.transport.get_write_buffer_size() + unacknowledged_bytes(self.transport)
        return self._unsent_bytes != before

    def postpone_close(self) -> None:
        """Note that the front door has used the connection, so that it is not idle."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
