"""A client that sends ready requests over a few kept-alive connections."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.peers.requests import Session
from bench.processes import TOKEN

HOST = "127.0.0.1"
CONNECTIONS = 32
LIMIT_SECONDS = 300.0
OVERLOADED = 503
OVERLOADED_SECONDS = 1.0
# Garbage collectors and closed sockets need a moment.
SETTLE_SECONDS = 1.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """A response. The names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def session(self) -> Session:
        """Return the session that a creation answers with."""
        cookie = self.headers.get("set-cookie", "").partition(";")[0]
        return Session(cookie, self.headers.get(TOKEN.lower(), ""))


async def exchange(stream: Stream, request: bytes) -> Answer:
    """Send a request and read its response, which must have no chunked body."""
    reader, writer = stream
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    parts = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in parts}
    assert "transfer-encoding" not in headers, head
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(first.split()[1]), headers, body)


def ask(port: int, request: bytes) -> Answer:
    """Send one request over a new connection."""

    async def once() -> Answer:
        stream = await asyncio.open_connection(HOST, port)
        try:
            return await asyncio.wait_for(exchange(stream, request), 10)
        finally:
            stream[1].close()

    return asyncio.run(once())


def send_all(port: int, requests: Iterable[bytes], status: int) -> list[Session]:
    """Send requests over 32 connections. Each response must have the status.

    After a 503, the request is sent again. Return the sessions of the responses, in any
    order.
    """
    source = iter(requests)
    sessions = []

    async def send_some() -> None:
        stream = await asyncio.open_connection(HOST, port)
        try:
            for request in source:
                # A busy server rejects a request that would wait too long.
                while (answer := await exchange(stream, request)).status == OVERLOADED:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(OVERLOADED_SECONDS)
                assert answer.status == status, answer
                sessions.append(answer.session)
        finally:
            stream[1].close()

    async def everything() -> None:
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(send_some())

    asyncio.run(everything())
    return sessions


def growth_by_idle_connections(port: int, request: bytes, count: int, memory_kib: Callable[[], int]) -> float:
    """Return the bytes by which a server's memory grows per idle connection.

    Each connection sends one request and stays open.
    """

    async def opened() -> Stream:
        stream = await asyncio.open_connection(HOST, port)
        await exchange(stream, request)
        return stream

    async def measured() -> float:
        streams: list[Stream] = []
        async with asyncio.timeout(LIMIT_SECONDS):
            before = memory_kib()
            try:
                for start in range(0, count, CONNECTIONS):
                    batch = min(CONNECTIONS, count - start)
                    streams += await asyncio.gather(*(opened() for _ in range(batch)))
                await asyncio.sleep(SETTLE_SECONDS)
                assert not any(reader.at_eof() for reader, _ in streams), "the server closed idle connections"
                return (memory_kib() - before) * 1024 / count
            finally:
                for _, writer in streams:
                    writer.close()

    return asyncio.run(measured())
