"""One suite for every server that this machine has: the wheel's Valkey, and Debian's Redis 7.0 where installed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from service.sessions import Session, SessionFactory, UserDigest
from service.settings import AnalyticsSettings, RedisSettings
from service.storage.analytics import Analytics
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.session_store import SessionStore
from service.storage.users import Users
from tests.servers import Raw, RedisServer, binaries

Connect = Callable[..., RedisConnection]
MakeStore = Callable[..., Awaitable[SessionStore]]
MakeAnalytics = Callable[..., Analytics]
MakeUsers = Callable[..., Users]
Mint = Callable[..., Session]


@pytest.fixture(scope="session", params=binaries())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests of this process share."""
    with RedisServer(binaries()[request.param], tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def own_server(server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the same kind that this test may break."""
    with RedisServer(server._binary, tmp_path) as started:
        yield started


@pytest.fixture
async def raw(server: RedisServer) -> AsyncIterator[Raw]:
    """A plain client, to look at what the service stored."""
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def digest() -> UserDigest:
    """The digest of users' ids in this test."""
    return UserDigest("test-secret")


@pytest.fixture
def factory(digest: UserDigest) -> SessionFactory:
    """Mints sessions."""
    return SessionFactory(digest)


@pytest.fixture
def mint(factory: SessionFactory) -> Mint:
    """Mints sessions that began at a moment, in seconds since the epoch, as if it were now."""

    def session(moment: float, source: str = "s", user_id: str | None = None) -> Session:
        return replace(factory.new(source, user_id), started_at=round(moment * 1_000_000))

    return session


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes connections, by URL; closes them afterwards."""
    connections: list[RedisConnection] = []

    def make(url: str, **settings: Any) -> RedisConnection:
        connections.append(RedisConnection(url, RedisSettings(**settings)))
        return connections[-1]

    yield make
    for connection in connections:
        await connection.close()


@pytest.fixture
def make_store(connect: Connect, keyspace: Keyspace, digest: UserDigest) -> MakeStore:
    """Makes stores, by URL."""

    async def make(
        url: str, *, ttl_seconds: int = 86400, top_users: int = 100, timeout_seconds: float = 0.25, **more: Any
    ) -> SessionStore:
        analytics = AnalyticsSettings(top_users=top_users)
        connection = connect(url, timeout_seconds=timeout_seconds)
        return SessionStore(connection, keyspace, digest, ttl_seconds=ttl_seconds, analytics=analytics, **more)

    return make


@pytest.fixture
def make_analytics(connect: Connect, keyspace: Keyspace) -> MakeAnalytics:
    """Makes readers of counts, by URL."""

    def make(url: str, *, ttl_seconds: int = 86400) -> Analytics:
        return Analytics(connect(url), keyspace, ttl_seconds=ttl_seconds)

    return make


@pytest.fixture
def make_users(connect: Connect, keyspace: Keyspace, digest: UserDigest) -> MakeUsers:
    """Makes what finds and erases users, by URL."""

    def make(url: str, *, retention_days: int = 90, timeout_seconds: float = 0.25) -> Users:
        analytics = AnalyticsSettings(retention_days=retention_days)
        connection = connect(url, timeout_seconds=timeout_seconds)
        return Users(connection, keyspace, digest, analytics=analytics)

    return make


@pytest.fixture
async def store(server: RedisServer, make_store: MakeStore) -> SessionStore:
    """A store on the shared server, under this test's prefix."""
    return await make_store(server.url)


@pytest.fixture
def analytics(server: RedisServer, make_analytics: MakeAnalytics) -> Analytics:
    """The counts of `store`."""
    return make_analytics(server.url)


@pytest.fixture
def users(server: RedisServer, make_users: MakeUsers) -> Users:
    """The users of `store`."""
    return make_users(server.url)
