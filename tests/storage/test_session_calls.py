"""Batches in a Cluster: one script for each server, also while a shard moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from service.config.settings import RedisSettings
from service.errors import PartlyUnavailable, StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory, shard_of
from service.storage import self_test
from service.storage.client import Command
from service.storage.coalescer import Coalescer
from service.storage.connection import RedisConnection
from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS, Keyspace, Lifetimes
from service.storage.self_test import SelfTest
from service.storage.session_store import RedisSessionStore
from tests.storage.counts import read_counts
from tests.support.redis_commands import ask, fields
from tests.support.servers import Raw
from tests.support.topologies import ClusterGroup

SLOTS = [ClusterGroup.slot_of(tag) for tag in SHARD_TAGS]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    """Run a cluster whose shards may be moved."""
    with ClusterGroup(find_binary(), tmp_path_factory.mktemp("cluster"), replicas_per_primary=0) as group:
        yield group


@pytest.fixture
async def cluster_client(cluster: ClusterGroup) -> AsyncIterator[Raw]:
    """Return a plain client of the cluster."""
    async with redis.asyncio.RedisCluster(port=cluster.nodes[0].port, host="127.0.0.1", decode_responses=True) as raw:
        yield raw


@pytest.fixture
async def connection(cluster: ClusterGroup, keyspace: Keyspace) -> AsyncIterator[RedisConnection]:
    """Return a connection whose self-test has run on every server."""
    made = RedisConnection.alone(cluster.url, RedisSettings(timeout_seconds=10), self_test=SelfTest(keyspace))
    await made.run_on_each("prepare", lambda client: client.ping())
    yield made
    await made.close()


@pytest.fixture
def store(connection: RedisConnection, keyspace: Keyspace) -> RedisSessionStore:
    """Return a session store on the connection."""
    return RedisSessionStore(connection, keyspace, Lifetimes.of(86400, 90), top_users=100)


@pytest.fixture
def batch(factory: SessionFactory) -> Sequence[Session]:
    """Return two sessions of a user and one of a guest in each shard, unsorted."""
    users: dict[int, list[Session]] = {}
    for number in count():
        session = factory.new("s", f"user-{number}")
        users.setdefault(shard_of(session.id), [session])
        if len(users) == SHARD_COUNT:
            break
    again = [factory.new("s", session.user_id) for [session] in users.values()]
    guest = factory.new("s")
    guests = [guest._replace(id=f"{shard:x}{guest.id[1:]}") for shard in range(SHARD_COUNT)]
    return [*(session for [session] in users.values()), *guests, *again]


def scripts_run(cluster: ClusterGroup) -> int:
    """Return how many scripts the servers have run."""
    commands = [fields(ask(node, "INFO", "commandstats")).get("cmdstat_evalsha", "calls=0") for node in cluster.nodes]
    return sum(int(one.removeprefix("calls=").partition(",")[0]) for one in commands)


async def test_a_batch_is_one_script_for_each_server(
    cluster: ClusterGroup, store: RedisSessionStore, batch: Sequence[Session], keyspace: Keyspace, cluster_client: Raw
) -> None:
    """Creating and ending sessions of all shards takes one script for each server."""
    before = scripts_run(cluster)
    assert all(await store.create_many(batch))
    assert scripts_run(cluster) - before == len(cluster.nodes)
    assert all(await store.create_many(batch))  # as after a lost reply
    ids = [session.id for session in batch]
    assert await store.find_each(ids) == {session.id: session for session in batch}
    assert await store.end_many([ids[:2], *([one] for one in ids[2:])]) == [["s", "s"], *[["s"]] * (len(ids) - 2)]
    assert scripts_run(cluster) - before == 3 * len(cluster.nodes)
    assert await store.find_each(ids) == {}
    requests = [(session._replace(id=f"{session.id[:-1]}f"), session.id) for session in batch]
    before = scripts_run(cluster)
    assert await store.create_many_once(requests) == [session for session, _ in requests]
    assert scripts_run(cluster) - before == len(cluster.nodes)
    assert await store.create_many_once(requests) == [session for session, _ in requests]
    await store.end_many([[session.id] for session, _ in requests])
    counts = await read_counts(cluster_client, keyspace)
    assert (counts.created["s"], counts.ended["s"], counts.live_by_hour["s"]) == (2 * len(ids), 2 * len(ids), 0)


async def test_scripts_that_may_not_span_shards(
    cluster: ClusterGroup, batch: Sequence[Session], keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that refuses keys of several shards, each shard has its script."""
    replies_of = self_test._replies

    async def refusing(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
        replies = await replies_of(connection, commands)
        return [ResponseError("undeclared key")] if [command[0] for command in commands] == ["EVALSHA"] else replies

    monkeypatch.setattr(self_test, "_replies", refusing)
    made = RedisConnection.alone(cluster.url, RedisSettings(timeout_seconds=10), self_test=SelfTest(keyspace))
    await made.run_on_each("prepare", lambda client: client.ping())
    before = scripts_run(cluster)
    assert all(await RedisSessionStore(made, keyspace, Lifetimes.of(86400, 90), top_users=100).create_many(batch))
    assert scripts_run(cluster) - before == SHARD_COUNT
    await made.close()


async def test_a_moving_shard_fails_alone(
    cluster: ClusterGroup, store: RedisSessionStore, batch: Sequence[Session], keyspace: Keyspace, cluster_client: Raw
) -> None:
    """While a shard moves, sessions of other shards in a batch are stored and ended.

    After the move, the failed part of the batch is repeated, and every session is
    counted once.
    """
    assert all(await store.create_many(batch))
    source, target = cluster.primary_of(SLOTS[0]), cluster.primary_of(SLOTS[15])
    cluster.begin_move(SLOTS[0], target)
    cluster.migrate_keys(SLOTS[0], source, target, 2)
    more = [session._replace(id=f"{session.id[:-1]}{'1' if session.id[-1] == '0' else '0'}") for session in batch]
    assert await outcomes(store.create_many(more)) == [session.id[0] != "0" for session in more]
    ends = [[session.id] for session in batch]
    assert await outcomes(store.end_many(ends)) == [session.id[0] != "0" for session in batch]
    cluster.migrate_keys(SLOTS[0], source, target)
    cluster.finish_move(SLOTS[0], source, target)
    assert all(await store.create_many(more))
    assert [len(one) for one in await store.end_many(ends)] == [int(session.id[0] == "0") for session in batch]
    assert set(await store.find_each([session.id for session in (*batch, *more)])) == {one.id for one in more}
    counts = await read_counts(cluster_client, keyspace)
    assert (counts.created["s"], counts.ended["s"]) == (2 * len(batch), len(batch))
    assert counts.live_by_hour["s"] == counts.live_by_minute["s"] == len(more)


async def outcomes(call: Awaitable[object]) -> Sequence[bool]:
    """Return for each item of a failed batch whether it has a result."""
    with pytest.raises(PartlyUnavailable) as caught:
        await call
    assert all(isinstance(one, StoreUnavailable | bool | list) for one in caught.value.results)
    return [not isinstance(one, StoreUnavailable) for one in caught.value.results]


async def test_a_queue_settles_each_request_of_a_failed_batch() -> None:
    """A request whose part of a batch failed gets the error, and the others results."""
    error = StoreUnavailable("this shard moves")

    async def run(items: Sequence[int]) -> Sequence[int]:
        raise PartlyUnavailable([error if item == 1 else item for item in items])

    queue: Coalescer[int, int] = Coalescer(run)
    assert await asyncio.gather(*map(queue.submit, range(3)), return_exceptions=True) == [0, error, 2]
