"""The latency of reads at a fixed rate: `make bench-latency`, 90 s.

64 visitors read sessions over a connection each, first as fast as they can, which gives
the peak, and then at shares of it. A visitor's requests have fixed times. A request
waits while the one before has no answer, and its latency counts from the time at which
it was due. So a slow answer delays the figures of all
requests behind it, as it delays people.

The visitors share the cores of the machine with the service and with Redis. So the peak
is lower than with `wrk`, and the latencies are upper bounds. Figures are medians of the
rounds.
"""

import asyncio
import statistics
from functools import partial
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench.processes import KEY, PATH, TOKEN, create, service

VISITORS = 64
SECONDS = 3.0
ROUNDS = 5
SHARES = 0.3, 0.5, 0.7, 0.9
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


async def visit(url: str, session_id: str, rate: float) -> tuple[float, list[float]]:
    """Read a session at a rate, or 0 for the peak. Return rate and latencies."""
    loop = asyncio.get_running_loop()
    host, _, port = urlsplit(url).netloc.partition(":")
    request = f"GET {PATH} HTTP/1.1\r\nHost: jay\r\nX-API-Key: {KEY}\r\n{TOKEN}: {session_id}{_END.decode()}".encode()
    period, start = VISITORS / rate if rate else 0.0, perf_counter() + 0.5
    visitors = []
    for number in range(VISITORS):
        first = start + period * number / VISITORS
        make = partial(Visitor, request, first, period, start + SECONDS)
        visitors.append((await loop.create_connection(make, host, int(port)))[1])
    await asyncio.gather(*(visitor.ended for visitor in visitors))
    latencies = sorted(one for visitor in visitors for one in visitor.latencies)
    return len(latencies) / SECONDS, latencies


def main() -> None:
    """Run the service, measure and print."""
    with service() as running:
        session_id = create(running.url)
        peak = statistics.median(uvloop.run(visit(running.url, session_id, 0.0))[0] for _ in range(ROUNDS))
        print(f"peak: {peak:,.0f} reads/s")
        for share in SHARES:
            rounds = [uvloop.run(visit(running.url, session_id, share * peak))[1] for _ in range(ROUNDS)]
            p50, p99 = (statistics.median(one[len(one) * part // 100] * 1e3 for one in rounds) for part in (50, 99))
            print(f"{share:4.0%} of it: p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
