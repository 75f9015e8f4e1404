"""Visitors that send requests at fixed times, and measure each answer."""

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

SECONDS = 3.0
_END = b"\r\n\r\n"


class Visitor(asyncio.Protocol):
    """Sends a request at each of its times, one after the other.

    With a `period` of 0, each request is due when the answer before it has arrived.
    """

    def __init__(self, request: bytes, first: float, period: float, until: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.latencies: list[float] = []
        self.ended = self._loop.create_future()
        self._request, self._due, self._period, self._until = request, first, period, until
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first time."""
        self._transport = cast("asyncio.Transport", transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Record a complete answer, then send the next request or wait for its time."""
        self._answer += data
        head, end, body = self._answer.partition(_END)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) if end else 0
        if not end or len(body) < length:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        self._answer = b""
        now = perf_counter()
        self.latencies.append(now - self._started)
        self._due = self._due + self._period if self._period else now
        if self._due >= self._until:
            self._transport.close()
            self.ended.set_result(None)
        elif self._due <= now:
            self._send(self._due)
        else:
            self._wait()

    def _wait(self) -> None:
        self._loop.call_later(self._due - perf_counter(), self._send_in_time)

    def _send_in_time(self) -> None:
        # The timer is up to 1 ms late, which is not the service's fault.
        self._send(perf_counter())

    def _send(self, started: float) -> None:
        self._started = started
        self._transport.write(self._request)


def get(path: str, **headers: str) -> bytes:
    """Return a request. Keywords are headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: jay\r\n{lines}\r\n".encode()


async def visit(url: str, requests: Sequence[bytes], rate: float) -> list[float]:
    """Send each of the requests again and again, over a connection of its own.

    All visitors together send `rate` requests per second, or as many as they can with
    0. Returns the sorted latencies in s.
    """
    loop = asyncio.get_running_loop()
    host, _, port = urlsplit(url).netloc.partition(":")
    period, start = len(requests) / rate if rate else 0.0, perf_counter() + 0.5
    visitors = []
    for number, request in enumerate(requests):
        first = start + period * number / len(requests)
        make = partial(Visitor, request, first, period, start + SECONDS)
        visitors.append((await loop.create_connection(make, host, int(port)))[1])
    await asyncio.gather(*(visitor.ended for visitor in visitors))
    return sorted(one for visitor in visitors for one in visitor.latencies)


def percentile_ms(latencies: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted latencies in ms."""
    return latencies[len(latencies) * percent // 100] * 1e3
