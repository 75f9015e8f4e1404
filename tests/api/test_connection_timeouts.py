"""The timeouts of connections: for a stalled head, when idle, for a TLS handshake."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trustme
from aiohttp import web

from service.api import json_body, request_limits
from service.api.aiohttp_internals import site
from service.api.aiohttp_internals.site import Site
from service.config.settings import ServerSettings, Settings
from tests.api.conftest import KEY, PATH, Service, Start

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
# This body is read and rejected without Redis, which a loaded machine may delay.
BODY = b'{"user_id": 123}'
POST = (
    f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY
PART = b"GET /livez HTTP/1.1\r\nHo"
REST = GET.removeprefix(PART)
LONG = 60.0  # a timeout that must not end within a test
SHORT = 0.3
SOON = 10.0  # long enough for a loaded machine, and shorter than LONG


@dataclass
class Client:
    """A connection to the service."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, *packets: bytes, answers: int = 1) -> None:
        """Send packets, each after the service has read the one before.

        Then wait for the responses.
        """
        for number, packet in enumerate(packets):
            if number:
                await asyncio.sleep(0.02)
            self.writer.write(packet)
        for _ in range(answers):
            async with asyncio.timeout(SOON):
                head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
                assert head.startswith((b"http/1.1 200 ", b"http/1.1 422 ")), head
                await self.reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    async def seconds_until_closed(self) -> float:
        """Return the seconds until the service closes the connection.

        Fails when the service sends anything.
        """
        started = time.monotonic()
        async with asyncio.timeout(SOON):
            assert await self.reader.read() == b""
        return time.monotonic() - started


Connect = Callable[[Service], Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open connections to a service."""
    writers = []

    async def open_one(service: Service) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writers.append(writer)
        return Client(reader, writer)

    yield open_one
    for writer in writers:
        writer.close()


def with_timeouts(monkeypatch: pytest.MonkeyPatch, *, head: float = LONG, keepalive: float = LONG) -> ServerSettings:
    """Set the timeout for heads, and return settings with the idle timeout."""
    monkeypatch.setattr(request_limits, "HEAD_SECONDS", head)
    return ServerSettings(keepalive_seconds=keepalive)


def test_each_timeout_has_its_own_value() -> None:
    """The timeouts are 75 s idle, 15 s for a head or TLS, and 5 s for a body."""
    assert Settings().server.keepalive_seconds == 75
    assert request_limits.HEAD_SECONDS == 15
    assert site.HANDSHAKE_SECONDS == 15
    assert json_body.DEADLINE_SECONDS == 5


STALLS = {
    "nothing sent": [],
    "first head": [PART],
    "head after a request": [GET, PART],
    "head after a request with a body": [POST, PART],
    "head after a body of its own packet": [POST[: -len(BODY)], BODY, PART],
    "head in the packet of a request": [GET + PART],
    "head in the packet of a request with a body": [POST + PART],
    "head in the packet of a body's end": [POST[:-3], POST[-3:] + PART],
    "head in the packet of the end of a head": [PART, REST + PART],
    "head behind several requests": [GET + POST + GET + PART],
    "head behind more requests than aiohttp queues": [GET * 100 + PART],
    "end of a head": [GET, GET[:-1]],
    "first byte of a head": [GET, b"G"],
    "empty lines before a head": [GET, b"\r\n\r\nG"],
}


@pytest.mark.parametrize("case", STALLS)
async def test_a_head_that_stalls_ends_the_connection(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The head timeout applies to new and to reused connections."""
    service = await start(server=with_timeouts(monkeypatch, head=SHORT))
    client = await connect(service)
    packets = STALLS[case]
    data = b"".join(packets)
    answers = data.count(GET) + data.count(POST)
    await client.ask(*packets, answers=answers)
    assert await client.seconds_until_closed() > (0 if answers else SHORT * 0.8)


@pytest.mark.parametrize("first", [b"", GET, POST, GET * 40])
async def test_a_dripping_head_does_not_get_more_time(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """The head timeout counts from the first byte of the head to its last."""
    service = await start(server=with_timeouts(monkeypatch, head=SHORT))
    client = await connect(service)
    await client.ask(first, answers=first.count(b"HTTP/1.1"))
    started = time.monotonic()
    async with asyncio.timeout(SOON):
        for byte in b"GET /" + b"x" * 1000:
            if client.reader.at_eof() or client.writer.is_closing():
                break
            client.writer.write(bytes([byte]))
            await asyncio.sleep(SHORT / 20)
        else:
            pytest.fail("the connection is open")
    assert time.monotonic() - started > SHORT * 0.8


IDLE = {
    "request": [GET],
    "request with a body": [POST],
    "body in packets": [POST[: -len(BODY)], BODY[:3], BODY[3:]],
    "head in packets": [PART, REST],
    "everything in packets": [POST[:9], POST[9:-9], POST[-9:]],
    "several requests": [GET + POST + GET],
    "requests across packets": [GET + POST[:-3], POST[-3:] + PART, REST],
    "more requests than aiohttp queues": [(GET + POST) * 50],
    "line end after a body": [POST + b"\r\n"],
    "line ends between requests": [b"\r\n" + GET + b"\r\n\r\n", GET],
}


@pytest.mark.parametrize("case", IDLE)
async def test_an_idle_connection_outlives_the_head_timeout(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """An idle connection has no head timeout, whatever the packets before."""
    service = await start(server=with_timeouts(monkeypatch, head=SHORT))
    client = await connect(service)
    data = b"".join(IDLE[case])
    await client.ask(*IDLE[case], answers=data.count(GET) + data.count(POST))
    await asyncio.sleep(SHORT * 2)
    await client.ask(POST)


@pytest.mark.parametrize("case", IDLE)
async def test_an_idle_connection_is_closed_in_time(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """An idle connection closes `server.keepalive_seconds` after a response."""
    service = await start(server=with_timeouts(monkeypatch, keepalive=SHORT))
    client = await connect(service)
    data = b"".join(IDLE[case])
    await client.ask(*IDLE[case], answers=data.count(GET) + data.count(POST))
    assert await client.seconds_until_closed() > SHORT * 0.8


async def test_a_head_that_begins_just_in_time_is_served(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The idle timeout ends at the first byte of a request."""
    service = await start(server=with_timeouts(monkeypatch, keepalive=SHORT))
    client = await connect(service)
    for _ in range(3):
        await client.ask(GET)
        client.writer.write(PART)
        await asyncio.sleep(SHORT * 2)
        await client.ask(REST)
    assert await client.seconds_until_closed() > SHORT * 0.8


@pytest.mark.parametrize("begun", [b"", PART])
async def test_a_request_that_waits_while_the_service_is_paused_is_served(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """After a pause, a request that arrived in time is answered."""
    service = await start(server=with_timeouts(monkeypatch, head=SHORT, keepalive=SHORT))
    client = await connect(service)
    await client.ask(GET)
    client.writer.write(begun)
    await asyncio.sleep(SHORT / 3)
    assert service.runner.server is not None
    (door,) = service.runner.server._doors  # type: ignore[attr-defined]
    transport = door._transport
    assert transport is not None
    transport.pause_reading()
    client.writer.write(GET.removeprefix(begun))
    await asyncio.sleep(0)
    time.sleep(SHORT * 2)  # noqa: ASYNC251 - the pause
    asyncio.get_running_loop().call_soon(transport.resume_reading)
    await client.ask()


async def test_no_timeout_ends_a_request_in_progress(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow request and those behind it are answered before a stalled head ends.

    The time of the head has passed by then, so it gets no further time.
    """
    timeout = 1.5  # five times as long as a busy machine stalls
    service = await start(server=with_timeouts(monkeypatch, head=timeout, keepalive=timeout))
    dispatcher = service.runner.server.request_handler.__self__  # type: ignore[union-attr]
    direct = dispatcher._direct_handlers["GET", "/readyz"]
    get, part = (request.replace(b"/livez", b"/readyz") for request in (GET, PART))

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(timeout * 1.1)
        response: web.StreamResponse = await direct(request)
        return response

    monkeypatch.setitem(dispatcher._direct_handlers, ("GET", "/readyz"), slow)
    client = await connect(service)
    await client.ask(get)
    await client.ask(get * 2 + part, answers=2)
    assert await client.seconds_until_closed() < timeout
    client = await connect(service)
    client.writer.write(get + part)
    await client.ask()
    assert await client.seconds_until_closed() < timeout


async def test_a_response_that_a_slow_client_reads_is_sent_whole(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose client still reads a response is not idle."""
    service = await start(server=with_timeouts(monkeypatch, keepalive=SHORT * 2))
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", service.port))
        await loop.sock_sendall(client, GET.replace(b"/livez", b"/static/vendor/swagger-ui/swagger-ui-bundle.js"))
        received, left = b"", 1
        async with asyncio.timeout(30):
            while left:
                data = await loop.sock_recv(client, min(20_000, left) if received else 2000)
                assert data, "closed"
                received += data
                head, _, body = received.partition(b"\r\n\r\n")
                left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
                await asyncio.sleep(0.01)
            assert len(body) > 1_000_000
            await loop.sock_sendall(client, GET)
            assert (await loop.sock_recv(client, 20_000)).startswith(b"HTTP/1.1 200 ")


@pytest.fixture
async def stalled(start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Service, asyncio.Transport]]:
    """A service, and its side of a connection whose client reads nothing."""
    service = await start(server=with_timeouts(monkeypatch, keepalive=1))
    (test_site,) = service.runner.sites
    listeners: Any = test_site._server
    for listener in listeners.sockets:
        # The connections inherit it.
        listener._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", service.port))
        large = GET.replace(b"/livez", b"/static/vendor/swagger-ui/swagger-ui-bundle.js")
        await asyncio.get_running_loop().sock_sendall(client, large * 40)
        async with asyncio.timeout(SOON):
            while not (transports := _full_transports(service)):
                await asyncio.sleep(0.01)
        yield service, transports[0]


def _full_transports(service: Service) -> list[asyncio.Transport]:
    """Return the transports with bytes that the kernel does not take."""
    doors = list(service.runner.server._doors)  # type: ignore[union-attr]
    return [door._transport for door in doors if door._is_full and door._transport is not None]


async def test_a_large_body_is_sent_in_pieces(stalled: tuple[Service, asyncio.Transport]) -> None:
    """A client that reads slowly makes the service keep at most some pieces."""
    assert 0 < stalled[1].get_write_buffer_size() < 300_000


async def test_a_client_that_stops_reading_is_closed(stalled: tuple[Service, asyncio.Transport]) -> None:
    """A client that reads nothing for `server.keepalive_seconds` is closed."""
    service, transport = stalled
    started = time.monotonic()
    async with asyncio.timeout(SOON):
        while transport in _full_transports(service):
            await asyncio.sleep(0.01)
    assert transport.is_closing()
    assert time.monotonic() - started > 0.5
    assert transport.get_write_buffer_size() == 0


@asynccontextmanager
async def tls_port(service: Service, *, is_shared: bool = False) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """Let a service listen with TLS too, and yield the port and a client's context."""
    authority, serving, trusting = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    listener = socket.create_server(("127.0.0.1", 0))
    tls_site = Site(service.runner, listener, tls=serving, is_shared=is_shared)
    await tls_site.start()
    yield listener.getsockname()[1], trusting
    await tls_site.stop()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_stalled_tls_handshake_is_closed(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    *,
    is_shared: bool,
) -> None:
    """A stalled TLS handshake is closed without an error in the log."""
    monkeypatch.setattr(site, "HANDSHAKE_SECONDS", SHORT)
    async with tls_port(service, is_shared=is_shared) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await Client(reader, writer).seconds_until_closed() > SHORT * 0.8
        writer.close()
    assert not [record for record in caplog.records if not record.name.startswith("service.storage")]


async def test_the_timeouts_apply_to_tls(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle and the head timeout apply to TLS connections."""
    service = await start(server=with_timeouts(monkeypatch, head=SHORT))
    async with tls_port(service) as (port, trusting):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        client = Client(reader, writer)
        await client.ask(GET)
        await asyncio.sleep(SHORT * 2)
        await client.ask(POST + PART)
        assert await client.seconds_until_closed() < SHORT + 1
        writer.close()
