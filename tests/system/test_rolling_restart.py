"""Two instances behind nginx are restarted one after the other under steady load."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from rich.console import Console

from service.commands import torture_check
from service.commands.api_client import ApiClient
from service.commands.torture_http import TortureHttp
from service.commands.torture_ledger import problems
from service.commands.torture_load import Load
from tests.support.nginx import NGINX, start_nginx
from tests.support.processes import KEY
from tests.support.servers import RedisServer
from tests.torture.sites import OPERATOR_KEY, Service

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

ROUNDS = int(os.environ.get("RESTART_ROUNDS", "2"))
CONNECTIONS = 16
RATE = 300.0
EXIT_SECONDS = 15.0
LOAD_SECONDS = 300.0  # at most, because the test stops the load
LOOKUP = "/v1/playouts/tracking/sessions/lookup"


class Operator:
    """Looks up sessions without a pause, until it is stopped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.statuses: Counter[int] = Counter()
        self.is_over = False

    async def run(self) -> None:
        """Send requests over one connection that stays open."""
        body = {"session_ids": ["00000000-0000-4000-8000-000000000000"]}
        async with aiohttp.ClientSession(headers={"X-API-Key": OPERATOR_KEY}) as http:
            while not self.is_over:
                async with http.post(self._url + LOOKUP, json=body) as response:
                    await response.read()
                    self.statuses[response.status] += 1
                await asyncio.sleep(0.01)  # a steady load, not a flood


@pytest.fixture
def instances(valkey: RedisServer, prefix: str, tmp_path: Path) -> Iterator[list[Service]]:
    """Start two services that share a Redis, with the default drain."""
    variables = {
        "JAY_REDIS__KEY_PREFIX": prefix,
        "JAY_SERVER__DRAIN_SECONDS": "1",
        "JAY_REDIS__TIMEOUT_SECONDS": "10",  # a loaded machine may delay Redis
    }
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    services = [Service(folder, valkey.url, variables) for folder in folders]
    try:
        yield [service.start() for service in services]
    finally:
        for service in services:
            service.kill()


@pytest.fixture
def front(instances: list[Service], tmp_path: Path) -> Iterator[str]:
    """Return the URL of an nginx in front of both services."""
    nginx = start_nginx(tmp_path / "nginx", *(service.url for service in instances))
    yield nginx.url
    nginx.popen.terminate()
    nginx.popen.wait()


async def test_a_rolling_restart_fails_no_request(front: str, instances: list[Service]) -> None:
    """No request fails while each instance restarts, and each exits within 15 s."""
    seconds = []
    operator = Operator(front)
    async with TortureHttp(ApiClient(front, KEY), connections=CONNECTIONS, rate=RATE) as http:
        load = Load(http)
        running = asyncio.gather(load.run(LOAD_SECONDS), operator.run())
        for _ in range(ROUNDS):
            for service in instances:
                seconds.append(await asyncio.to_thread(service.stop))
                await asyncio.to_thread(service.start)
        load.stop()
        operator.is_over = True
        await running
        findings = await torture_check.check(http, load.ledger, lambda: None)
    requests = load.ledger.requests + operator.statuses.total()
    Console().print(f"{len(seconds)} restarts, {requests:,} requests, exit after at most {max(seconds):.1f} s")
    assert load.ledger.answers.keys() == {"200", "201", "204", "404"}
    assert operator.statuses.keys() == {200}
    assert problems(load.ledger, findings, None) == []
    assert max(seconds) < EXIT_SECONDS
