"""The connections of the clients: how long they may take, and which are kept."""

import asyncio
import http.client
import traceback
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from jay_tracking_client import aio, sync
from jay_tracking_client.errors import ConnectionFailed, RequestFailed, TrackingError
from jay_tracking_client.options import Options
from jay_tracking_client.testing.fake_service import FakeTrackingService

from tests.clients.conftest import Connect

ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Service:
    """Answers 404 on connections that stay open, and waits for `may_answer` first."""

    def __init__(self) -> None:
        self.url = ""
        self.accepted = self.open = self.waiting = 0
        self.may_answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.accepted += 1
        self.open += 1
        while await reader.read(65_536):
            self.waiting += 1
            await self.may_answer.wait()
            writer.write(ANSWER)
        self.open -= 1
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Run a service on a free port."""
    one = Service()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    yield one
    server.close()


async def get(client: Any) -> None:
    with pytest.raises(RequestFailed):
        await client.get(str(uuid.uuid4()))


async def test_a_connection_serves_later_calls(connect: Connect, service: Service) -> None:
    """Calls one after the other use one connection."""
    service.may_answer.set()
    client = connect(service.url, "key")
    for _ in range(3):
        await get(client)
    assert service.accepted == 1


async def test_idle_connections_are_bounded(service: Service) -> None:
    """Threads may use more connections at a time than the client keeps."""
    client = sync.TrackingClient(service.url, "key", Options(max_connections=1, total_seconds=60.0))
    calls = [asyncio.to_thread(client.get, str(uuid.uuid4())) for _ in range(2)]
    running = asyncio.gather(*calls, return_exceptions=True)
    async with asyncio.timeout(30):
        while service.waiting < 2:
            await asyncio.sleep(0.01)
        service.may_answer.set()
        assert all(isinstance(one, RequestFailed) for one in await running)
        while service.open > 1:
            await asyncio.sleep(0.01)
        client.close()
        while service.open:
            await asyncio.sleep(0.01)


async def test_calls_of_the_asyncio_client_wait_for_a_connection(service: Service) -> None:
    """It has no more connections at a time than `max_connections`."""
    service.may_answer.set()
    async with aio.TrackingClient(service.url, "key", Options(max_connections=1, total_seconds=60.0)) as client:
        await asyncio.gather(*(get(client) for _ in range(3)))
    assert service.accepted == 1


async def test_close_closes_all_idle_connections(service: Service) -> None:
    """No connection stays open after `close`."""
    client = sync.TrackingClient(service.url, "key", Options(total_seconds=60.0))
    running = asyncio.gather(
        *(asyncio.to_thread(client.get, str(uuid.uuid4())) for _ in range(2)), return_exceptions=True
    )
    async with asyncio.timeout(30):
        while service.waiting < 2:
            await asyncio.sleep(0.01)
        service.may_answer.set()
        await running
        assert service.open == 2
        client.close()
        while service.open:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("total", "to_connect"), [(5.0, 1.0), (0.5, 0.5)])
def test_connecting_has_less_time_than_the_answer(
    fake: FakeTrackingService, monkeypatch: pytest.MonkeyPatch, total: float, to_connect: float
) -> None:
    """`connect_seconds` limits the connection, and the time of the call the answer."""
    limits: list[float | None] = []
    send = http.client.HTTPConnection.request

    def request(self: http.client.HTTPConnection, *arguments: Any) -> None:
        limits.extend((self.timeout, self.sock.gettimeout()))
        send(self, *arguments)

    monkeypatch.setattr(http.client.HTTPConnection, "request", request)
    options = Options(total_seconds=total, connect_seconds=1.0, clock=lambda: 0.0)
    with sync.TrackingClient(fake.url, fake.api_key, options) as client:
        client.create()
    assert limits == [to_connect, total]


async def test_an_answer_that_is_not_http_is_not_in_the_error(connect: Connect) -> None:
    """Such an answer may have a session id, and errors are logged."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"a line with a secret\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = connect("http://127.0.0.1:{1}".format(*server.sockets[0].getsockname()), "key", attempts=1)
    with pytest.raises(ConnectionFailed) as failure:
        await client.get(str(uuid.uuid4()))
    server.close()
    assert "secret" not in "".join(traceback.format_exception(failure.value))


async def test_the_asyncio_client_limits_connections_and_calls(
    fake: FakeTrackingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`connect_seconds` limits the connection, and the time of the call everything."""
    limits: list[tuple[float | None, float | None]] = []
    send = aiohttp.ClientSession._request

    async def request(*arguments: Any, **keywords: Any) -> aiohttp.ClientResponse:
        limits.append((keywords["timeout"].sock_connect, keywords["timeout"].total))
        return await send(*arguments, **keywords)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", request)
    options = Options(total_seconds=60.0, connect_seconds=30.0, clock=lambda: 0.0)
    async with aio.TrackingClient(fake.url, fake.api_key, options) as client:
        await client.create()
    assert limits == [(30.0, 60.0)]


async def test_the_prefix_of_a_proxy_is_before_each_path(connect: Connect, fake: FakeTrackingService) -> None:
    """A service that a proxy serves under a path is called there."""
    client = connect(f"{fake.url}/tracking/", fake.api_key)
    with pytest.raises(TrackingError):
        await client.create()
    assert [request.path for request in fake.requests] == ["/tracking/v1/playouts/tracking/session"]
