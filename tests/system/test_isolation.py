"""An operator's heaviest requests do not delay visitors or readiness.

One of 16 shards is filled to the documented maxima: 400 days, 60 sources and full top
lists. Shards are read one after the other, so the longest call to Redis does not depend
on their number.

The test checks the statuses, and that no call takes as long as the default timeout by
the clock of Redis, without the time that Redis waits for a CPU. `make bench-isolation`
measures the limit of 20 ms, because times on a shared machine are too noisy for a test.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from aiohttp import ClientResponse, ClientSession, DummyCookieJar

from service.config.settings import DEVELOPMENT_USER_SECRET, AnalyticsSettings, RedisSettings
from service.counts import DAY
from service.digests import UserDigest
from service.sessions import SessionFactory
from service.storage.connection import RedisConnection
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from tests.support.processes import KEY, PATH, Launch
from tests.support.servers import Raw, RedisServer, binaries
from tests.support.visitors import Request, visitors

BASE = "/v1/playouts/tracking"
OPERATOR = {"X-API-Key": "demo-operator-key"}
SETTINGS = AnalyticsSettings(retention_days=400, top_users=1000)
DAYS = 400
SOURCES = [f"jay.api.playout.1.0.{number}" for number in range(60)]
VISITORS = 32
LOOKED_UP = 1000
LOOKUPS = 64
SESSIONS_OF_USER = 10_000
LONG_CALL_US = 250_000  # the default timeout: a visitor who waits longer gets 503
PREFIX = "full"
SHARD = 7
KEYSPACE = Keyspace(PREFIX)


@dataclass(frozen=True)
class Full:
    """A Redis that is filled to the documented maxima."""

    url: str
    pid: int
    session_ids: list[str]

    def waited_us(self) -> float:
        """Return how long Redis has waited for a CPU that other processes use."""
        _, waited_ns, _ = Path(f"/proc/{self.pid}/schedstat").read_text().split()
        return int(waited_ns) / 1000


@pytest.fixture(scope="module", params=binaries())
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    """Fill a server once for all tests."""
    options = ("--slowlog-log-slower-than", str(LONG_CALL_US))
    with RedisServer(binaries()[request.param], tmp_path_factory.mktemp("full"), *options) as server:
        yield Full(server.url, server.pid, asyncio.run(fill(server.url)))


async def fill(url: str) -> list[str]:
    """Write counts, top lists and live sessions. Return ids for lookups."""
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as raw:
        for day in range(int(time.time()) // DAY - DAYS + 1, int(time.time()) // DAY + 1):
            await fill_day(raw, day)
    for user in ("exported", "erased"):
        await create(url, SESSIONS_OF_USER, user)
    return await create(url, LOOKED_UP, None)


async def fill_day(raw: Raw, day: int) -> None:
    pipeline = raw.pipeline(transaction=False)
    pipeline.sadd(KEYSPACE.sources(SHARD, day), *SOURCES)
    for source in SOURCES:
        pipeline.set(KEYSPACE.day(SHARD, day, source), b"\0\0\0\1" * 74)
        pipeline.pfadd(f"{KEYSPACE.base(SHARD)}unique:{day}:{source}", *(f"{source} {user}" for user in range(9)))
    users = {f"user-{day}-{number:025}": (1 + number) * TOP_SCORE_UNIT for number in range(SETTINGS.top_users)}
    pipeline.zadd(KEYSPACE.top(SHARD, day), users)
    await pipeline.execute()


async def create(url: str, number: int, user: str | None) -> list[str]:
    """Create sessions of one user or of guests. Return their ids."""
    digest = UserDigest(DEVELOPMENT_USER_SECRET)
    connection = RedisConnection.alone(url, RedisSettings(timeout_seconds=10))
    store = RedisSessionStore(
        connection, KEYSPACE, Lifetimes.of(DAY, SETTINGS.retention_days), top_users=SETTINGS.top_users
    )
    sessions = [SessionFactory(digest).new(SOURCES[0], user) for _ in range(number)]
    for begin in range(0, number, 100):
        assert all(await store.create_many(sessions[begin : begin + 100]))
    await connection.close()
    return [session.id for session in sessions]


def span(days: int) -> str:
    today = datetime.now(UTC).date()
    return f"from={today - timedelta(days=days - 1)}&to={today}"


async def look_up(request: Request, full: Full) -> list[ClientResponse]:
    asked = {"session_ids": full.session_ids}
    answers = [request("POST", f"{BASE}/sessions/lookup", headers=OPERATOR, json=asked) for _ in range(LOOKUPS)]
    return list(await asyncio.gather(*answers))


def get(path: str) -> Callable[[Request, Full], Awaitable[list[ClientResponse]]]:
    async def ask(request: Request, _: Full) -> list[ClientResponse]:
        return [await request("GET", f"{BASE}/{path}", headers=OPERATOR)]

    return ask


async def erase(request: Request, _: Full) -> list[ClientResponse]:
    answer = await request("DELETE", f"{BASE}/users/erased", headers=OPERATOR)
    assert (await answer.json())["erased_sessions"] == SESSIONS_OF_USER
    return [answer]


OPERATIONS = {
    "lookups": look_up,
    "days": get(f"analytics/sessions?interval=day&{span(DAYS)}"),
    "hours": get(f"analytics/sessions?interval=hour&{span(31)}"),
    "top users": get(f"analytics/users?limit=100&{span(DAYS)}"),
    "one user": get(f"analytics/users/exported?{span(DAYS)}"),
    "export": get("users/exported/sessions"),
    "erasure": erase,
}


@pytest.fixture
async def request_service(launch: Launch, full: Full) -> AsyncIterator[Request]:
    """Run a service with the largest settings. Return a function for requests."""
    process = launch(
        JAY_REDIS__URL=full.url,
        JAY_REDIS__KEY_PREFIX=PREFIX,
        JAY_ANALYTICS__RETENTION_DAYS=str(SETTINGS.retention_days),
        JAY_ANALYTICS__TOP_USERS=str(SETTINGS.top_users),
    )
    async with ClientSession(cookie_jar=DummyCookieJar()) as client:

        async def send(method: str, path: str = PATH, *, headers: Mapping[str, str], **more: Any) -> ClientResponse:
            given = {"X-API-Key": KEY, **headers}
            async with client.request(method, process.url + path, headers=given, **more) as response:
                await response.read()
                return response

        yield send


@pytest.fixture
async def readiness(request_service: Request) -> AsyncIterator[list[int]]:
    """Request readiness every 50 ms. Return the list of statuses."""
    found: list[int] = []

    async def ask() -> None:
        while True:
            found.append((await request_service("GET", "/readyz", headers={})).status)
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    yield found
    asking.cancel()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_heavy_requests_do_not_delay_visitors(
    request_service: Request, full: Full, readiness: list[int], operation: str
) -> None:
    """During a heavy request every visitor is served and readiness stays 200."""
    async with redis.asyncio.Redis.from_url(full.url) as raw, visitors(request_service, VISITORS) as crowd:
        await crowd.served(1, since=0.0)
        await raw.slowlog_reset()
        began_at, waited_us = time.monotonic(), full.waited_us()
        heavy = await OPERATIONS[operation](request_service, full)
        await crowd.served(1, since=began_at)
        waited_us = full.waited_us() - waited_us
        assert [call for call in await raw.slowlog_get() if call["duration"] > LONG_CALL_US + waited_us] == []
    assert {answer.status for answer in heavy} == {200}
    assert {answer.status for answer in crowd.answers} == {200, 201}
    assert set(readiness) == {200}
