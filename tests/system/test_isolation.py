"""An operator's heaviest requests, at the documented maxima, are never felt by visitors or by readiness.

One of 16 shards is filled with 400 days of 60 sources and full top lists. Shards are read one after the other, so
the longest call of Redis does not depend on their number. The test looks at statuses, and that no call takes as long
as the default time-out by the server's own clock. The bar of 20 ms is measured by `make bench-isolation`, because
times on a shared machine are not exact enough for a test.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio
from aiohttp import ClientResponse, ClientSession, DummyCookieJar

from service.counts import DAY
from service.sessions import SessionFactory, UserDigest
from service.settings import DEVELOPMENT_USER_SECRET, AnalyticsSettings, RedisSettings
from service.storage.connection import RedisConnection
from service.storage.keyspace import TOP_SCORE_UNIT, Keyspace
from service.storage.session_store import SessionStore
from tests.processes import KEY, PATH, Launch
from tests.servers import Raw, RedisServer, binaries
from tests.visitors import Request, visitors

BASE = "/v1/playouts/tracking"
OPERATOR = {"X-API-Key": "demo-operator-key"}
SETTINGS = AnalyticsSettings(retention_days=400, top_users=1000)
DAYS = 400
SOURCES = [f"jay.api.playout.1.0.{number}" for number in range(60)]
VISITORS = 32
LOOKED_UP = 1000
LOOKUPS = 64
SESSIONS_OF_USER = 10_000
LONG_CALL_US = 250_000  # the default time-out: a visitor who waits for such a call gets 503
TIMEOUT_SECONDS = 2.0  # a process that a shared machine does not run for 0.25 s is not what this test is about
PREFIX = "full"
SHARD = 7
KEYSPACE = Keyspace(PREFIX)


@dataclass(frozen=True)
class Full:
    """A Redis with everything at its maximum."""

    url: str
    session_ids: list[str]


@pytest.fixture(scope="module", params=binaries())
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    """Fill a server once for all tests of a kind."""
    options = ("--slowlog-log-slower-than", str(LONG_CALL_US))
    with RedisServer(binaries()[request.param], tmp_path_factory.mktemp("full"), *options) as server:
        yield Full(server.url, asyncio.run(fill(server.url)))


async def fill(url: str) -> list[str]:
    """Write counts, top lists and live sessions; return the ids of sessions for look-ups."""
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
    """Create so many sessions of a user or of guests; return their ids."""
    digest = UserDigest(DEVELOPMENT_USER_SECRET)
    connection = RedisConnection(url, RedisSettings(timeout_seconds=10))
    store = SessionStore(connection, KEYSPACE, digest, ttl_seconds=DAY, analytics=SETTINGS)
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
    "look-ups": look_up,
    "days": get(f"analytics/sessions?interval=day&{span(DAYS)}"),
    "hours": get(f"analytics/sessions?interval=hour&{span(31)}"),
    "top users": get(f"analytics/users?limit=100&{span(DAYS)}"),
    "one user": get(f"analytics/users/exported?{span(DAYS)}"),
    "export": get("users/exported/sessions"),
    "erasure": erase,
}


@pytest.fixture
async def request_service(launch: Launch, full: Full) -> AsyncIterator[Request]:
    """Run a service of one worker with the greatest settings; what sends it requests."""
    process = launch(
        JAY_REDIS__URL=full.url,
        JAY_REDIS__KEY_PREFIX=PREFIX,
        JAY_REDIS__TIMEOUT_SECONDS=str(TIMEOUT_SECONDS),
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
    """Ask for readiness all the time; the statuses so far."""
    found: list[int] = []

    async def ask() -> None:
        while True:
            found.append((await request_service("GET", "/readyz", headers={})).status)
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    yield found
    asking.cancel()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_visitors_do_not_feel_heavy_requests(
    request_service: Request, full: Full, readiness: list[int], operation: str
) -> None:
    """Every visitor is served, readiness is 200, each heavy request is 200, and no call of Redis is long."""
    async with visitors(request_service, VISITORS) as crowd:
        await crowd.served(1, since=0.0)
        began_at = time.monotonic()
        heavy = await OPERATIONS[operation](request_service, full)
        await crowd.served(1, since=began_at)
        async with redis.asyncio.Redis.from_url(full.url) as raw:
            assert await raw.slowlog_len() == 0
    assert {answer.status for answer in heavy} == {200}
    assert {answer.status for answer in crowd.answers} == {200, 201}
    assert set(readiness) == {200}
