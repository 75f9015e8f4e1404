"""The whole service in this process, on a real socket and with a real Valkey."""

import asyncio
import dataclasses
import io
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import pytest
import redis.asyncio
import uvloop
from aiohttp import ClientResponse, DummyCookieJar, web
from aiohttp.test_utils import BaseTestServer, TestClient
from pytest_aiohttp import AiohttpClient

from service.api.aiohttp_internals.server import Runner, Server
from service.api_keys import ApiKey, Gpc, Reveal, Scope, hash_key
from service.app import build
from service.config.settings import CorsSettings, RedisSettings, Settings
from service.rate_limits import RateLimit
from service.telemetry.logs import RequestLog
from service.telemetry.request_recorder import RequestRecorder
from tests.api.doors import Doors
from tests.support.servers import RedisServer

KEY = "your_api_key_here"
ORIGIN = "https://app.example.com"
PATH = "/v1/playouts/tracking/session"
TOKEN = "__Secure-jay_tracking"

KEYS = (
    ApiKey("demo", hash_key(KEY), frozenset({Scope.TRACK})),
    ApiKey("tv", hash_key("tv-key"), frozenset({Scope.TRACK}), source="tv.app.2"),
    ApiKey("bound", hash_key("bound-key"), frozenset({Scope.TRACK}), origins=frozenset({ORIGIN})),
    ApiKey("operator", hash_key("operator-key"), frozenset(Scope) - {Scope.TRACK}),
)

# Two creations a client, and a key for pages of one origin that has its own source.
LIMITED = dataclasses.replace(
    KEYS[0], name="limited", sha256=hash_key("limited-key"), create_limit=RateLimit(2, 3600)
)
# Two keys of proxies. The pages of one origin may use the first.
PROXY = ApiKey("proxy", hash_key("proxy-key"), frozenset({Scope.VALIDATE}), origins=frozenset({ORIGIN}))
REVEALING = ApiKey("revealing", hash_key("revealing-key"), frozenset({Scope.VALIDATE}), reveal=frozenset(Reveal))
GUEST_BY_GPC = dataclasses.replace(KEYS[0], name="gpc", sha256=hash_key("gpc-key"), gpc=Gpc.GUEST)
BOUND_TV = dataclasses.replace(KEYS[2], name="bound-tv", sha256=hash_key("bound-tv-key"), source="tv.app.2")


@dataclass
class Service:
    """A running service and a client for it."""

    runner: Runner
    port: int
    log: io.StringIO
    client: TestClient[web.Request, None]

    async def request(self, method: str, path: str = PATH, **more: Any) -> ClientResponse:
        """Send a request with the demo key.

        `headers=` adds headers, and a value of `None` removes one.
        """
        headers: dict[str, str | None] = {"X-API-Key": KEY, **more.pop("headers", {})}
        given = {name: value for name, value in headers.items() if value is not None}
        response = await self.client.request(method, path, headers=given, **more)
        await response.read()
        return response

    async def create(self, **more: Any) -> str:
        """Create a session and return its id."""
        response = await self.request("POST", **more)
        assert response.status == 201, await response.text()
        return str(response.headers[TOKEN])

    async def raw(self, *packets: bytes, until_closed: bool = False) -> bytes:
        """Send raw bytes, and return the first response or everything until the close.

        A second packet is sent once the service has read the first and waits for more.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(30):
                for number, packet in enumerate(packets):
                    if number:
                        async with self.client.get("/livez"):
                            pass  # the service has answered the packet before
                    writer.write(packet)
                return await reader.read(-1) if until_closed else await _one_answer(reader)
        finally:
            writer.close()

    async def raw_after_continue(self, head: bytes, body: bytes) -> bytes:
        """Send a head with `Expect: 100-continue`, wait for the 100, send the body.

        Returns the final response.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(30):
                writer.write(head)
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(body)
                return await _one_answer(reader)
        finally:
            writer.close()

    def log_lines(self) -> list[dict[str, object]]:
        """Return the request log so far."""
        assert isinstance(self.runner.server, Server)
        record = self.runner.server._dispatcher._record
        assert isinstance(record, MethodType)
        assert isinstance(record.__self__, RequestRecorder)
        record.__self__.flush()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


async def _one_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


class RunnerServer(BaseTestServer):
    """Wraps a `Runner`, with its connections and dispatch, for aiohttp's client."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._own_runner = runner

    async def _make_runner(self, **_: Any) -> Runner:
        return self._own_runner


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of faults on uvloop, as the service runs.

    The loop of asyncio in Python 3.12 and 3.13.0 raises AttributeError or
    AssertionError when a connection breaks while `writelines` waits.
    """
    if item.path.name == "test_fault_matrix.py":
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


Start = Callable[..., Awaitable[Service]]

# The `redis.timeout_seconds` of tests without an outage, for a machine that stalls.
PATIENT_SECONDS = 5.0


@pytest.fixture
async def start(valkey: RedisServer, prefix: str, aiohttp_client: AiohttpClient) -> Start:
    """Start services.

    `url=` names another Redis, and other keywords replace sections of the settings.
    """

    async def start_one(url: str = valkey.url, **sections: Any) -> Service:
        settings = Settings(
            redis=RedisSettings(key_prefix=prefix, timeout_seconds=PATIENT_SECONDS),
            cors=CorsSettings(origins=(ORIGIN,)),
            api_keys=KEYS,
        )
        settings = dataclasses.replace(settings, **sections)
        log = io.StringIO()
        runner = await build(settings, url, RequestLog(log, as_text=False, is_enabled=True))
        server = RunnerServer(runner)
        client: TestClient[web.Request, None] = await aiohttp_client(server, cookie_jar=DummyCookieJar())
        assert server.port is not None
        return Service(runner, server.port, log, client)

    return start_one


@pytest.fixture
async def service(start: Start) -> Service:
    """Return a service with demo, TV and operator keys and one allowed origin."""
    return await start()


OpenDoors = Callable[..., Awaitable[Doors]]


@pytest.fixture
async def open_doors(start: Start, valkey: RedisServer) -> AsyncIterator[OpenDoors]:
    """Start both services.

    Keywords replace settings sections, and `url=` names another Redis.
    """
    clients = []

    async def open_both(url: str = valkey.url, **sections: Any) -> Doors:
        prefixes = f"f{secrets.token_hex(6)}", f"a{secrets.token_hex(6)}"
        sections.setdefault("api_keys", (*KEYS, LIMITED, BOUND_TV, PROXY, REVEALING, GUEST_BY_GPC))
        patient = [RedisSettings(key_prefix=prefix, timeout_seconds=PATIENT_SECONDS) for prefix in prefixes]
        front, aiohttp = [await start(url, redis=redis, **sections) for redis in patient]
        assert aiohttp.runner.server is not None
        aiohttp.runner.server._fast_path = None  # type: ignore[attr-defined]
        store = redis.asyncio.Redis.from_url(url)
        clients.append(store)
        doors = Doors(front, aiohttp, store, prefixes)
        await doors.put_sessions()
        return doors

    yield open_both
    for client in clients:
        await client.aclose()


@pytest.fixture
async def doors(open_doors: OpenDoors) -> Doors:
    """Both services, with the sessions A, B and USER."""
    return await open_doors()


async def problem(response: ClientResponse, status: int, slug: str) -> dict[str, object]:
    """Check that a response is the given problem document, and return it."""
    document: dict[str, object] = json.loads(await response.read())
    assert response.status == status, document
    assert response.content_type == "application/problem+json"
    assert document["type"] == f"urn:jay:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["x-jay-api-version"] == "2025-05-19"
    return document
