"""The service behind a real nginx with the shipped site."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.api.lookup_body import MAX_BYTES as MAX_LOOKUP_BYTES
from service.api.request_limits import HEAD_SECONDS
from service.api_keys import hash_key
from service.config.settings import ServerSettings
from tests.support.nginx import NGINX, SITE, start_nginx
from tests.support.processes import KEY, PATH, TOKEN, Launch, Process, eventually
from tests.support.proxy import SlowLink
from tests.support.servers import RedisServer, binaries

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

Proxy = Callable[..., Process]
LINK_SECONDS = 0.02
LANES = 14


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Proxy]:
    """Return a function that starts nginx in front of a URL."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(upstream: str, *, without: str = "", keepalive_timeout: str = "60s") -> Process:
        folder = tmp_path / f"nginx-{len(servers)}"
        front = start_nginx(folder, upstream, without=without, keepalive_timeout=keepalive_timeout)
        servers.append(front.popen)
        return front

    yield start
    for server in servers:
        server.terminate()
        server.wait()


@pytest.fixture
def proxy(launch: Launch, nginx: Proxy) -> Proxy:
    """Return a function that starts nginx in front of a service.

    `without=` removes a line of the shipped site.
    """
    process = launch()
    return lambda without="": nginx(process.url, without=without)


def test_the_document_shows_the_shipped_site(project: Path) -> None:
    """docs/operations.md contains the shipped site unchanged."""
    assert f"```nginx\n{SITE.read_text('utf-8')}```" in (project / "docs" / "operations.md").read_text("utf-8")


def test_the_shipped_site_passes_everything(proxy: Proxy) -> None:
    """Cookie, header and alias reach the service, and its answers come back."""
    front = proxy()
    created = front.request("POST")
    session_id = created.headers[TOKEN]
    assert created.status == 201
    assert created.headers["Set-Cookie"].startswith(f"{TOKEN}={session_id}; ")
    assert created.headers["Cache-Control"] == "no-store"
    for presented in ({"token": session_id}, {"Cookie": f"{TOKEN}={session_id}"}, {"X-Jay-Tracking": session_id}):
        answer = front.request("GET", **presented)
        assert (answer.status, answer.json["session_id"]) == (200, session_id)
    assert front.request("GET", PATH.removeprefix("/v1"), token=session_id).status == 200
    assert front.request("POST", X_API_Key=f"{KEY}x").json["type"] == "urn:jay:problem:unauthorized"
    assert front.request("DELETE", token=session_id).status == 204


def test_without_the_underscore_line_the_header_is_lost_and_the_alias_is_not(proxy: Proxy) -> None:
    """Without `underscores_in_headers` only the alias and the cookie arrive."""
    front = proxy(without="underscores_in_headers")
    session_id = front.create()
    assert front.status_of(session_id) == 404
    assert front.request("GET", X_Jay_Tracking=session_id).status == 200
    assert front.request("GET", Cookie=f"{TOKEN}={session_id}").status == 200


@pytest.mark.parametrize(("method", "status"), [("GET", 503), ("POST", 429)], ids=["Redis is away", "create_limit"])
def test_refusals_of_the_service_pass_unchanged(
    launch: Launch, nginx: Proxy, tmp_path: Path, method: str, status: int
) -> None:
    """The service's own 503 and 429 pass with problem document and Retry-After."""
    limited = {"name": "demo", "sha256": hash_key(KEY), "scopes": ["track"], "create_limit": "1/hour"}
    with RedisServer(binaries()["valkey"], tmp_path) as redis:
        service = launch(JAY_REDIS__URL=redis.url, JAY_API_KEYS=json.dumps([limited]))
        front = nginx(service.url)
        session_id = front.create()
        if status == 503:
            redis.kill()
        expected, answer = (one.request(method, token=session_id) for one in (service, front))
    assert answer.status == expected.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["type"] == expected.json["type"]
    # nginx's own 429 has a Retry-After of 1 second.
    assert int(answer.headers["Retry-After"]) > 3500 if status == 429 else answer.headers["Retry-After"] == "1"


def test_an_address_may_have_100_requests_in_progress(launch: Launch, nginx: Proxy) -> None:
    """nginx rejects more requests of an address with 429, and serves it again later."""
    service = launch()
    front = nginx(service.url)
    host, _, port = urlsplit(front.url).netloc.partition(":")
    head = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n".encode()
    for pid in service.worker_pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection((host, int(port)), 10)).sendall(head)
            # nginx counts a request a moment after the client has sent it.
            rejected = eventually(
                lambda: (answer := answer_within(front, 0.5)) and b" 429 " in answer and answer, "one is rejected"
            )
    finally:
        for pid in service.worker_pids:
            os.kill(pid, signal.SIGCONT)
    assert b"\r\nRetry-After: 1\r\n" in rejected
    eventually(lambda: front.status_of("x") == 404, "the address is served again")


def answer_within(front: Process, seconds: float) -> bytes:
    """Return the answer of a request, and nothing when it takes longer."""
    host, _, port = urlsplit(front.url).netloc.partition(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        with suppress(TimeoutError):
            return connection.recv(65536)
    return b""


def test_heads_and_bodies_have_the_limits_of_the_service(proxy: Proxy) -> None:
    """A field of 8,190 bytes and no larger one passes, and a body of 64 KiB at most."""
    front = proxy()
    assert front.request("GET", Cookie="c" * (8190 - len("Cookie: "))).status == 404
    assert front.request("GET", Cookie="c" * 8190).status == 400
    with pytest.raises(urllib.error.HTTPError) as rejected:
        urllib.request.urlopen(f"{front.url}{PATH}", b" " * 65_537, timeout=10)  # noqa: S310 - our own URL
    with rejected.value:
        assert rejected.value.code == 413


def test_the_time_outs_fit_those_of_the_service() -> None:
    """nginx waits for a head as long as the service, and closes idle ones sooner."""
    site = SITE.read_text("utf-8")

    def figures(directive: str) -> list[int]:
        return [int(one) for one in re.findall(rf"^ *{directive} (\d+)[sk];", site, re.MULTILINE)]

    of_the_service, of_clients = figures("keepalive_timeout")
    assert of_the_service < ServerSettings().keepalive_seconds
    assert of_clients <= ServerSettings().keepalive_seconds
    assert figures("client_header_timeout") == [HEAD_SECONDS]
    assert figures("client_max_body_size") == [MAX_LOOKUP_BYTES // 1024]


async def post(url: str) -> int:
    """Create a session on a new connection and return the status."""
    host, _, port = urlsplit(url).netloc.partition(":")
    body = b'{"user_id": "u"}'
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    try:
        async with asyncio.timeout(30):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(answer.split()[1])


async def statuses_after(pauses: list[float], process: Process, nginx: Proxy, keepalive_timeout: str) -> list[int]:
    """Send a POST and another after each pause, through nginx and a slow link.

    The pauses are split over several nginx, each with one connection to the service.
    """
    port = urlsplit(process.url).port
    assert port

    async def lane(link: SlowLink, front: Process, pauses: list[float]) -> list[int]:
        before, statuses = link.connections, [await post(front.url)]
        for pause in pauses:
            await asyncio.sleep(pause)
            statuses.append(await post(front.url))
        assert link.connections > before, "nginx kept a connection longer than keepalive_timeout"
        return statuses

    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(SlowLink(port, LINK_SECONDS)) for _ in range(LANES)]
        fronts = [
            await asyncio.to_thread(nginx, f"http://127.0.0.1:{link.port}", keepalive_timeout=keepalive_timeout)
            for link in links
        ]
        found = await asyncio.gather(
            *(
                lane(link, front, pauses[number::LANES])
                for number, (link, front) in enumerate(zip(links, fronts, strict=True))
            )
        )
    return [status for statuses in found for status in statuses]


def around(seconds: float) -> list[float]:
    """Return pauses in steps of 5 ms, from 100 ms before to 100 ms after."""
    return [seconds + step / 200 for step in range(-20, 21)]


async def test_no_pause_between_requests_is_a_502(launch: Launch, nginx: Proxy) -> None:
    """A POST after any pause around the keep-alive times is answered."""
    process = await asyncio.to_thread(launch, JAY_SERVER__KEEPALIVE_SECONDS="2")
    statuses = await statuses_after(around(1) + around(2), process, nginx, "1s")
    assert statuses == [201] * (82 + LANES)


async def test_a_service_that_closes_first_is_a_502(launch: Launch, nginx: Proxy) -> None:
    """With a longer `keepalive_timeout` than the service's, a POST can get 502.

    This proves that the test above can fail.
    """
    process = await asyncio.to_thread(launch, JAY_SERVER__KEEPALIVE_SECONDS="1")
    for _ in range(5):  # on a loaded machine the pauses may miss the moment
        if 502 in await statuses_after(around(1), process, nginx, "60s"):
            return
    pytest.fail("no 502")
