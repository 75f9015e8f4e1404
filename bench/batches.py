"""How many batches should be in flight: `make bench-batches`, 30 s.

Visitors read sessions through a coalescer, without HTTP. The link to Redis has no
delay, or a delay of at least 1 ms in each direction. On the slow link, visitors pause
for up to 10 ms after a read, so that requests arrive while a batch is in flight. The
figures for each number of batches in flight and of visitors are the median time of a
read, the CPU time of this process per read, and the reads per second. The number of
batches is an upper limit: `coalescer.py` says when more than one leaves.
"""

import asyncio
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from service.config.settings import RedisSettings
from service.counts import DAY
from service.digests import UserDigest
from service.sessions import SessionFactory
from service.storage.coalescer import Coalescer
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from tests.support.proxy import SlowLink
from tests.support.servers import RedisServer, binaries

VISITORS = 1, 8, 64, 512
IN_FLIGHT = 1, 2, 4
DELAYS_SECONDS = 0.0, 0.001
PAUSE_SECONDS = 0.01
SECONDS = 1.0


async def serve_link(port: int, delay_seconds: float, started: Connection) -> None:
    """Run a slow link to a port, in a process of its own, until it is ended."""
    async with SlowLink(port, delay_seconds) as link:
        started.send(link.port)
        await asyncio.Event().wait()


def run_link(port: int, delay_seconds: float, started: Connection) -> None:
    """Run `serve_link`."""
    asyncio.run(serve_link(port, delay_seconds, started))


@contextmanager
def link_to(port: int, delay_seconds: float) -> Iterator[int]:
    """Yield the port of a link to a port. Without a delay, it is the same port."""
    if not delay_seconds:
        yield port
        return
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=run_link, args=(port, delay_seconds, theirs), daemon=True
    )
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def measure(port: int, pause_seconds: float, in_flight: int, visitors: int) -> str:
    """Read sessions and return the figures as one line."""
    connection = RedisConnection.alone(f"redis://127.0.0.1:{port}/0", RedisSettings(timeout_seconds=5))
    store = RedisSessionStore(connection, Keyspace("jay"), Lifetimes.of(DAY, 90), top_users=100)
    session = SessionFactory(UserDigest("bench")).new("bench")
    await store.create_many([session])
    coalescer = Coalescer(store.find_many, max_in_flight=in_flight)
    seconds: list[float] = []
    until = time.perf_counter() + SECONDS

    async def visit() -> None:
        while (began_at := time.perf_counter()) < until:
            assert await coalescer.submit((session.id,)) == session
            seconds.append(time.perf_counter() - began_at)
            if pause_seconds:
                await asyncio.sleep(random.uniform(0, pause_seconds))  # noqa: S311 - no secret

    cpu = time.process_time()
    await asyncio.gather(*(visit() for _ in range(visitors)))
    cpu = time.process_time() - cpu
    await connection.close()
    median = statistics.median(seconds) * 1e3
    return f"{median:6.2f} ms  {cpu / len(seconds) * 1e6:6.1f} µs  {len(seconds) / SECONDS:8,.0f} reads/s"


def main() -> None:
    """Measure and print, on Redis if it is installed."""
    name, binary = max(binaries().items(), key=lambda item: item[0] == "redis")
    with tempfile.TemporaryDirectory() as folder, RedisServer(binary, Path(folder)) as server:
        for delay in DELAYS_SECONDS:
            with link_to(server.port, delay) as port:
                print(f"{name}, at least {2e3 * delay:g} ms per round trip")
                for visitors in VISITORS:
                    for in_flight in IN_FLIGHT:
                        figures = uvloop.run(measure(port, PAUSE_SECONDS if delay else 0, in_flight, visitors))
                        print(f"  {visitors:4} visitors, {in_flight} in flight  {figures}", flush=True)


if __name__ == "__main__":
    main()
