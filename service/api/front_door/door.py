"""The protocol of a client connection, which hands rare requests to aiohttp.

DESIGN
A connection is in one of four states. `data_received` checks them in this order.

Pending. A frequent request waits for Redis. Bytes that arrive are kept until it is
         answered, so answers go out in the order of the requests.
Slow.    aiohttp's protocol object reads a request or answers one, and gets all bytes.
         The first request that needs the object makes it, and the connection keeps it.
Full.    The client is slow to read its answers, or the door takes no request for
         REST_SECONDS after 503 `overloaded`. Bytes that arrive are kept.
Idle.    The bytes begin with a new request. The door answers it, if the fast path can.
         Otherwise, the connection is slow until aiohttp has answered.

So frequent requests skip aiohttp although they share a connection with others, as they
do behind a proxy. The door and aiohttp write to one transport, each only in its turn.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from service.api import request_limits
from service.api.front_door.exchange import Exchange
from service.api.front_door.fast_path import FastPath
from service.api.front_door.host import Host
from service.api.front_door.inbox import Inbox
from service.api.front_door.repeats import Repeats
from service.api.front_door.sockets import RECHECK_SECONDS, has_unread_bytes, is_tls, peer_of, unsent_bytes
from service.errors import Overloaded

if TYPE_CHECKING:
    from service.api.aiohttp_internals.connection import Connection
    from service.deferred import Deferred

# Half of Retry-After. Clients that ignore it would take the CPU time of the others.
REST_SECONDS = 0.5


class FrontDoor(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        *("_exchange", "_has_ended", "_has_served", "_host", "_inbox", "_is_full"),
        *("_fast_path", "_repeats", "_slow", "_timer", "_transport", "_unsent_bytes", "_used_at", "is_closing"),
    )

    def __init__(self, host: Host, fast_path: FastPath) -> None:
        self._host = host
        self._fast_path = fast_path
        self._transport: asyncio.Transport | None = None
        self._slow: Connection | None = None
        self._exchange: Exchange | None = None  # the pending one
        self._inbox: Inbox  # bytes behind the pending request
        self._repeats = Repeats()
        self._timer: asyncio.TimerHandle | None = None
        self._used_at = 0.0  # on the monotonic clock
        self._has_served = False
        self._is_full = False  # see the state `Full` above
        self._unsent_bytes = 0  # at the last check
        self._has_ended = False  # the client has closed its side
        self.is_closing = False  # after the pending answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client time for its first byte."""
        self._transport = cast("asyncio.Transport", transport)
        self._inbox = Inbox(self._transport)
        self._used_at = time.monotonic()
        self._start_timer(request_limits.HEAD_SECONDS)
        self._host.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if self._exchange is not None:
            self._inbox.add(data)
        elif self._slow is not None and not self._slow.is_at_rest():
            self._slow.data_received(data)
        elif self._is_full:
            self._inbox.add(data)
        else:
            self._take(data)

    @property
    def pending(self) -> "Deferred[Any] | None":
        """The result of Redis for which a frequent request waits."""
        return None if self._exchange is None else self._exchange.deferred

    def end_rest(self) -> None:
        """Take requests again, but not before all answers are in the kernel."""
        if self._transport is not None and self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(REST_SECONDS, self.end_rest)
        elif self._is_full and self._exchange is None:
            self._is_full = False
            self._release()

    def close(self) -> None:
        """Close the connection when nothing is pending. aiohttp closes its own."""
        self.is_closing = True
        if (transport := self._transport) and not (self._exchange or self._slow or has_unread_bytes(transport)):
            transport.close()

    def abort(self) -> None:
        """Close the connection at once, unless it closes after its last answers."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Stay open for the answers that remain when the client closes its side."""
        if (self._exchange is not None or self._inbox) and not is_tls(self._transport):
            self._has_ended = True
            return True
        return self._slow.eof_received() if self._slow is not None else None

    def pause_writing(self) -> None:
        """Answer no further request until the client has read what was written."""
        self._is_full = True
        if self._slow is not None:
            self._slow.pause_writing()

    def resume_writing(self) -> None:
        """Continue with the requests that were kept."""
        self._is_full = False
        if self._slow is not None:
            self._slow.resume_writing()
        if self._exchange is None:
            self._release()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer. The answer to a pending request is recorded, but not sent."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._inbox.close()
        self._host.closed(self)
        if self._slow is not None:
            self._slow.connection_lost(exc)

    def _take(self, data: bytes) -> None:
        """Answer the requests in `data` until one is pending or is for aiohttp."""
        while data and self._transport is not None:
            if self._is_full:
                self._inbox.add(data)
                return
            # Most connections have one request, so the first head is not kept.
            exchange = self._repeats.begin(self._fast_path, data, self._peer, keeps=self._has_served)
            if exchange is None:
                self._hand_over(data)
                return
            data = data[exchange.size :]
            if exchange.deferred is None:
                self._finish(exchange, exchange.result)
                continue
            self._exchange = exchange
            if data:
                self._inbox.add(data)
            if self._slow is not None:
                self._slow.has_pending_answer = True
            exchange.deferred.add_callback(self._answer)
            return
        if self._has_ended and self._transport is not None:
            self._transport.close()

    def _answer(self, result: object) -> None:
        """Answer the pending request, then continue with the bytes behind it."""
        exchange, self._exchange = self._exchange, None
        assert exchange is not None  # noqa: S101 - `_take` has set it
        if self._slow is not None:
            self._slow.has_pending_answer = False
        self._finish(exchange, result)
        if self._transport is not None and (self._has_ended or self._inbox.is_in_use):
            self._release()

    def _finish(self, exchange: Exchange, result: object) -> None:
        """Write the answer. It is recorded even if the client has gone."""
        answer = self._fast_path.answer(exchange, result)
        transport = self._transport
        if transport is None:
            return
        transport.write(answer)
        self._used_at = time.monotonic()
        self._has_served = True
        if self._slow is not None:
            self._slow.postpone_close()
        if self._fast_path.health.is_draining or self.is_closing:
            self._transport = None
            transport.close()
        elif isinstance(result, Overloaded) and not exchange.plan.route.is_for_proxies:
            self._rest()

    def _rest(self) -> None:
        """After 503 `overloaded`, take no request for REST_SECONDS."""
        if not self._is_full:
            self._is_full = True
            self._inbox.pause()
            asyncio.get_running_loop().call_later(REST_SECONDS, self.end_rest)

    def _release(self) -> None:
        """Take the bytes that were kept."""
        if data := self._inbox.take():
            self.data_received(data)
        elif self._has_ended and self._transport is not None and (self._slow is None or self._slow.is_at_rest()):
            self._transport.close()
        if not self._is_full:
            self._inbox.resume()

    def _hand_over(self, data: bytes) -> None:
        """Let aiohttp read the bytes and answer the request."""
        slow = self._slow
        if slow is None:
            slow = self._slow = self._host.make_connection()
            if self._timer is not None:
                self._timer.cancel()
            assert self._transport is not None  # noqa: S101 - `_take` looked
            slow.connection_made(self._transport)
        self._inbox.resume()  # aiohttp pauses the reading by itself
        slow.data_received(data)
        if self._has_ended and not slow.eof_received() and self._transport is not None:
            self._transport.close()

    def _close_idle(self) -> None:
        """Close a connection that is idle for too long. aiohttp has its own clock."""
        transport = self._transport
        if transport is None or self._slow is not None:
            return
        idle_seconds = self._host.keepalive_seconds if self._has_served else request_limits.HEAD_SECONDS
        left = self._used_at + idle_seconds - time.monotonic()
        left = left if left > 0 else self._reprieve(transport, idle_seconds)
        if left > 0:
            self._start_timer(left)
        elif self._is_full:
            transport.abort()  # the client reads nothing, so `close` would not end
        else:
            transport.close()

    def _reprieve(self, transport: asyncio.Transport, idle_seconds: float) -> float:
        """Return how many more seconds an expired connection stays open."""
        if self._exchange is not None or (not self._is_full and has_unread_bytes(transport)):
            return RECHECK_SECONDS
        before, self._unsent_bytes = self._unsent_bytes, unsent_bytes(transport)
        return idle_seconds if self._unsent_bytes != before else 0  # it reads slowly

    def _start_timer(self, seconds: float) -> None:
        """Check later. No request restarts the timer, which would cost 1 µs each."""
        seconds = min(seconds, self._host.keepalive_seconds)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._close_idle)

    def _peer(self) -> str:
        return peer_of(self._transport)
