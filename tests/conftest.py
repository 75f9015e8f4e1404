"""Fixtures of all layers: a real Valkey per test process, a key prefix of its own per test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from hypothesis import settings

from service.storage.keyspace import Keyspace
from tests.support.servers import Raw, RedisServer, binaries

pytest_plugins = ("tests.support.processes",)

# A busy machine is not an error of the code under test.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey that all tests of this process share."""
    with RedisServer(binaries()["valkey"], tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def keyspace(prefix: str) -> Keyspace:
    """The keys under this test's prefix."""
    return Keyspace(prefix)


@pytest.fixture
async def raw(valkey: RedisServer) -> AsyncIterator[Raw]:
    """A plain client, to look at what the service stored."""
    async with redis.asyncio.Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root."""
    return Path(__file__).parent.parent
