"""The clients, each with the fake and with a live service, behind one interface."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from jay_tracking_client import aio, sync
from jay_tracking_client.messages import LOOKUP_PATH
from jay_tracking_client.options import Options
from jay_tracking_client.testing.fake_server import serving
from jay_tracking_client.testing.fake_service import FakeTrackingService

from tests.support.processes import PATIENT, Process, environment_in, start_service, until_gone, wait_until_ready

LIVE_KEY = "back-end-key"
GPC_KEY = "key-with-gpc"


def entry(key: str, **more: Any) -> dict[str, Any]:
    """Return the entry of an API key."""
    return {"name": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), **more}


LIVE_KEYS = [
    entry(LIVE_KEY, scopes=["track", "validate", "analytics"]),
    entry(GPC_KEY, scopes=["track"], gpc="guest"),
]
Call = Callable[..., Any]


class Pauses(list[float]):
    """Records the pauses of a client, and does not wait."""

    async def wait(self, seconds: float) -> None:
        self.append(seconds)


class RealPauses(Pauses):
    """Waits as clients do by default."""

    def append(self, seconds: float) -> None:
        time.sleep(seconds)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SyncInThread:
    """The sync client with the methods of the asyncio client."""

    def __init__(self, client: sync.TrackingClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Call:
        method = getattr(self._client, name)

        async def call(*arguments: Any, **keywords: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **keywords)

        return call


@dataclass
class Target:
    """A service that clients call. `lookup_requests` counts its lookups so far."""

    url: str
    api_key: str
    lookup_requests: Callable[[], int]


def lookups_of(process: Process) -> int:
    """Return how many lookups a live service has answered, from its metrics."""
    metrics = process.request("GET", "/metrics", X_API_Key=LIVE_KEY).body.decode()
    count = r"^jay_http_request_duration_seconds_count\{.*sessions/lookup.*\} (\d+)"
    return sum(map(int, re.findall(count, metrics, re.MULTILINE)))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run one service for all tests of the clients, with a key for a back end."""
    folder = tmp_path_factory.mktemp("clients")
    environment = {**environment_in(folder), **PATIENT, "JAY_API_KEYS": json.dumps(LIVE_KEYS)}
    process = start_service(folder / "process", environment)
    wait_until_ready(process)
    yield process
    valkeys = [pid for pid, name in process.children().items() if name.startswith("valkey")]
    process.stop()
    until_gone(valkeys)


@pytest.fixture
def fake() -> Iterator[FakeTrackingService]:
    with serving(FakeTrackingService()) as service:
        yield service


@pytest.fixture(params=["fake", "live"])
def target(request: pytest.FixtureRequest) -> Target:
    """Return the fake, then a live service."""
    if request.param == "fake":
        fake: FakeTrackingService = request.getfixturevalue("fake")
        return Target(fake.url, fake.api_key, lambda: sum(one.path == LOOKUP_PATH for one in fake.requests))
    live: Process = request.getfixturevalue("live")
    return Target(live.url, LIVE_KEY, lambda: lookups_of(live))


Connect = Callable[..., Any]


@pytest.fixture(params=["aio", "sync"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Make clients of one kind. All have the methods of the asyncio client."""
    clients: list[Any] = []

    def connected(url: str, api_key: str, pauses: Pauses | None = None, **options: Any) -> Any:
        recorded = Pauses() if pauses is None else pauses
        if request.param == "aio":
            clients.append(aio.TrackingClient(url, api_key, Options(**options), sleep=recorded.wait))
        else:
            client = sync.TrackingClient(url, api_key, Options(**options), sleep=recorded.append)
            clients.append(SyncInThread(client))
        return clients[-1]

    yield connected
    for client in clients:
        await client.close()
