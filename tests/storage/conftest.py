"""One suite for every store.

The stores are the wheel's Valkey, Debian's Redis 7.0 where it is installed, fakeredis,
and a primary that Sentinel watches and a Cluster, both of the wheel's Valkey.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import randrange
from typing import Any

import pytest
import redis.asyncio

from service.config.settings import RedisSettings
from service.digests import UserDigest
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.coalescer import Coalescer
from service.storage.connection import RedisConnection
from service.storage.count_store import RedisCountStore
from service.storage.embedded_process import find_binary
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.paging import PAGE_SIZES, PageSizes
from service.storage.session_store import RedisSessionStore
from service.storage.user_changes import UserChanges
from service.storage.user_store import RedisUserStore
from tests.support.redis_commands import remove_all_keys
from tests.support.servers import FakeRedisServer, Raw, RedisServer, binaries
from tests.support.topologies import ClusterGroup, SentinelGroup

# The tests that fakeredis 2.41 does not pass, each with the reason. Tests that use
# `own_server` or `binary` need a real server and are skipped anyway.
_PYTHON_ERRORS = "fakeredis passes an error reply to a script as a Python object, so the script cannot read its code"
_MERGES = "PFMERGE of fakeredis replaces the destination instead of merging into it"
FAKEREDIS_CANNOT = {
    "test_an_erasure_removes_all_data_of_a_user_and_nothing_else": _MERGES,
    "test_more_sketches_than_one_command_takes_are_merged": _MERGES,
    "test_small_pages_give_the_counts_of_the_model": _MERGES,
    "test_counts_are_not_cached_when_a_sketch_changed_between_two_calls": _MERGES,
    "test_an_interrupted_query_leaves_only_short_lived_keys": _MERGES,
    "test_a_query_starts_again_when_its_progress_is_gone": _MERGES,
    "test_queries_at_the_same_time_do_not_disturb_each_other": _MERGES,
    "test_foreign_data_among_many_sketches_counts_as_none": _PYTHON_ERRORS,
    "test_foreign_data_under_the_counts_reads_as_zeros": _PYTHON_ERRORS,
    "test_every_key_is_in_the_table_and_expires": "fakeredis keeps a HyperLogLog as a set",
    "test_a_session_that_ends_during_a_count_changes_no_past_hour": _MERGES,
    "test_past_hours_equal_a_recording_of_every_minute": "fakeredis needs minutes for 10,000 scripts",
    "test_true_counts_are_within_the_bounds": "fakeredis needs a minute for thousands of scripts",
}

Store = RedisServer | FakeRedisServer | SentinelGroup | ClusterGroup
Connect = Callable[..., RedisConnection]
MakeStore = Callable[..., Awaitable[RedisSessionStore]]
MakeAnalytics = Callable[..., RedisCountStore]
MakeUsers = Callable[..., RedisUserStore]
Mint = Callable[..., Session]
ChangesOf = Callable[..., UserChanges]
NO_SETTINGS: Mapping[str, Any] = {}

# On a busy machine, a request may wait for its batch for longer than the usual 0.5 s.
PATIENT_COALESCE = partial(Coalescer, max_wait_seconds=30)


@pytest.fixture(scope="session", params=[*binaries(), "fakeredis", "sentinel", "cluster"])
def shared_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Run a server, or a group of them, that all tests of this process share."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    store: Store
    match kind:
        case "fakeredis":
            store = FakeRedisServer()
        case "sentinel":
            store = SentinelGroup(find_binary(), folder, replicas=1)
        case "cluster":
            store = ClusterGroup(find_binary(), folder)
        case _:
            store = RedisServer(binaries()[kind], folder)
    with store as started:
        yield started


@pytest.fixture
def server(shared_server: Store) -> Iterator[Store]:
    """Return the shared server or group, without the keys of other tests."""
    yield shared_server
    match shared_server:
        case SentinelGroup():
            servers: Sequence[RedisServer | FakeRedisServer] = [shared_server.primary]
        case ClusterGroup():
            servers = shared_server.primaries
        case _:
            servers = [shared_server]
    for one in servers:
        remove_all_keys(one)


@pytest.fixture(autouse=True)
def _skip_what_fakeredis_does_not_pass(request: pytest.FixtureRequest) -> None:
    reason = FAKEREDIS_CANNOT.get(request.node.originalname)
    if reason and isinstance(request.getfixturevalue("server"), FakeRedisServer):
        pytest.skip(reason)


@pytest.fixture
def binary(server: Store) -> str:
    """Return the path of the server program, for tests that start one with options."""
    if isinstance(server, FakeRedisServer):
        pytest.skip("fakeredis is a thread of this process: it cannot be killed, frozen or configured")
    if not isinstance(server, RedisServer):
        pytest.skip("the test starts a single server with options: test_topologies.py breaks groups of servers")
    return server.binary


@pytest.fixture
def own_server(binary: str, tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server of the same kind that this test may break."""
    with RedisServer(binary, tmp_path) as started:
        yield started


@pytest.fixture
async def raw(server: Store) -> AsyncIterator[Raw]:
    """Return a plain client that reads the stored keys and values."""
    client: Raw
    if isinstance(server, ClusterGroup):
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=server.primaries[0].port, decode_responses=True)
    else:
        url = server.primary.url if isinstance(server, SentinelGroup) else server.url
        client = redis.asyncio.Redis.from_url(url, decode_responses=True)
    async with client:
        yield client


@pytest.fixture
def digest() -> UserDigest:
    """Return the digest of user ids in this test."""
    return UserDigest("test-secret")


@pytest.fixture
def factory(digest: UserDigest) -> SessionFactory:
    """Return a factory of new sessions."""
    return SessionFactory(digest)


@pytest.fixture
def mint(factory: SessionFactory) -> Mint:
    """Return a function that makes sessions with any start, in epoch seconds.

    Guests spread over the shards, although they are made at the same time.
    """

    def session(moment: float, source: str = "s", user_id: str | None = None) -> Session:
        new = factory.new(source, user_id)._replace(started_at=round(moment * 1_000_000))
        return new if user_id is not None else new._replace(id=f"{randrange(SHARD_COUNT):x}{new.id[1:]}")

    return session


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Return a function that makes connections to a URL and closes them afterwards."""
    connections: list[RedisConnection] = []
    # 10 s: a machine that stalls, or a script over 90 days in fakeredis, is no outage.
    usual: dict[str, Any] = {"timeout_seconds": 10}

    def make(url: str, **settings: Any) -> RedisConnection:
        connections.append(RedisConnection.alone(url, RedisSettings(**{**usual, **settings})))
        return connections[-1]

    yield make
    for connection in connections:
        await connection.close()


@pytest.fixture
def make_store(connect: Connect, keyspace: Keyspace) -> MakeStore:
    """Return a function that makes a session store for a URL."""

    async def make(
        url: str,
        *,
        ttl_seconds: int = 86400,
        top_users: int = 100,
        redis: Mapping[str, Any] = NO_SETTINGS,
        **more: Any,
    ) -> RedisSessionStore:
        connection, lifetimes = connect(url, **redis), Lifetimes.of(ttl_seconds, 90)
        return RedisSessionStore(connection, keyspace, lifetimes, top_users=top_users, **more)

    return make


@pytest.fixture
def changes_of(keyspace: Keyspace, factory: SessionFactory) -> ChangesOf:
    """Return a function that makes the user changes on the connection of a store."""

    def make(store: RedisSessionStore, ttl_seconds: int = 86400, **more: Any) -> UserChanges:
        return UserChanges(store.connection, keyspace, factory, lifetimes=Lifetimes.of(ttl_seconds, 90), **more)

    return make


@pytest.fixture
def make_analytics(connect: Connect, keyspace: Keyspace) -> MakeAnalytics:
    """Return a function that makes a count store for a URL."""

    def make(
        url: str,
        *,
        ttl_seconds: int = 86400,
        retention_days: int = 90,
        page_sizes: PageSizes = PAGE_SIZES,
        redis: Mapping[str, Any] = NO_SETTINGS,
    ) -> RedisCountStore:
        return RedisCountStore(
            connect(url, **redis),
            keyspace,
            ttl_seconds=ttl_seconds,
            retention_days=retention_days,
            page_sizes=page_sizes,
        )

    return make


@pytest.fixture
def make_users(connect: Connect, keyspace: Keyspace, digest: UserDigest) -> MakeUsers:
    """Return a function that makes a user store for a URL."""

    def make(
        url: str, *, retention_days: int = 90, redis: Mapping[str, Any] = NO_SETTINGS, **more: Any
    ) -> RedisUserStore:
        connection = connect(url, **redis)
        return RedisUserStore(connection, keyspace, digest, retention_days=retention_days, **more)

    return make


@pytest.fixture
async def store(server: RedisServer, make_store: MakeStore) -> RedisSessionStore:
    """Return a session store on the shared server, under this test's key prefix."""
    return await make_store(server.url)


@pytest.fixture
def analytics(server: RedisServer, make_analytics: MakeAnalytics) -> RedisCountStore:
    """Return the count store that reads the counts of `store`."""
    return make_analytics(server.url)


@pytest.fixture
def users(server: RedisServer, make_users: MakeUsers) -> RedisUserStore:
    """Return the user store that finds and erases the users of `store`."""
    return make_users(server.url)
