"""One suite for every server that this machine has: the wheel's Valkey, and Debian's Redis 7.0 where installed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from service.sessions import SessionFactory, UserDigest
from service.settings import AnalyticsSettings, RedisSettings
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.session_store import SessionStore
from tests.servers import Raw, RedisServer, binaries

MakeStore = Callable[..., Awaitable[SessionStore]]


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
async def make_store(keyspace: Keyspace, digest: UserDigest) -> AsyncIterator[MakeStore]:
    """Makes stores, by URL; closes their connections afterwards."""
    connections: list[RedisConnection] = []

    async def make(url: str, *, ttl_seconds: int = 86400, top_users: int = 100, **more: Any) -> SessionStore:
        connection = RedisConnection(url, RedisSettings())
        connections.append(connection)
        analytics = AnalyticsSettings(top_users=top_users)
        return SessionStore(
            connection,
            keyspace,
            digest,
            ttl_seconds=ttl_seconds,
            analytics=analytics,
            **more,
        )

    yield make
    for connection in connections:
        await connection.close()


@pytest.fixture
async def store(server: RedisServer, make_store: MakeStore) -> SessionStore:
    """A store on the shared server, under this test's prefix."""
    return await make_store(server.url)
