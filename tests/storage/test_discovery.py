"""Finding the servers of a cluster."""

import asyncio
import signal
from pathlib import Path

import pytest

from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.storage.connection import RedisConnection
from service.storage.discovery import endpoint_of
from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS
from tests.support.proxy import Impostor
from tests.support.topologies import ClusterGroup

TIMEOUT_SECONDS = 10


def test_a_node_without_a_name_is_the_one_that_was_asked() -> None:
    """An empty name and `?` stand for the host that was asked."""
    assert [endpoint_of(name, "asked") for name in ("", "?", "named")] == ["asked", "asked", "named"]


@pytest.mark.parametrize("kind", ["unknown-endpoint", "hostname"])
async def test_a_cluster_whose_nodes_name_no_host(tmp_path: Path, kind: str) -> None:
    """Nodes that name no host are found at the host that was asked."""
    options = ("--cluster-preferred-endpoint-type", kind)
    with ClusterGroup(find_binary(), tmp_path, *options, replicas_per_primary=0) as group:
        connection = RedisConnection(group.url, RedisSettings(timeout_seconds=10))
        keys = [f"{{{tag}}}key" for tag in SHARD_TAGS]
        for key in keys:
            await connection.call("set", "SET", key, key, "EX", 60)
        slot = group.slot_of(keys[0])
        source = group.primary_of(slot)
        group.move_slots([slot], next(one for one in group.primaries if one is not source))
        for key in keys:
            assert await connection.call("get", "GET", key) == key.encode()
        await connection.close()


async def test_a_node_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """The shards of the other nodes are found long before the timeout."""
    with ClusterGroup(find_binary(), tmp_path, replicas_per_primary=0) as group:
        keys = [f"{{{tag}}}key" for tag in SHARD_TAGS]
        hung = group.primary_of(group.slot_of(keys[0]))
        served = next(key for key in keys if group.primary_of(group.slot_of(key)) is not hung)
        hung.signal(signal.SIGSTOP)
        connection = RedisConnection(group.url, RedisSettings(timeout_seconds=TIMEOUT_SECONDS))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS - 2):
                await connection.call("set", "SET", served, "value", "EX", 60)
        finally:
            hung.signal(signal.SIGCONT)
            await connection.close()


async def test_a_bug_of_the_discovery_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the service's own is logged as one, not as a wrong `redis.url`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        # The slots of the only node, whose name is a number.
        writer.write(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n:7\r\n:6379\r\n")

    async with Impostor(answer) as impostor:
        connection = RedisConnection(
            impostor.url.replace("redis", "redis+cluster", 1).removesuffix("/0"), RedisSettings()
        )
        with pytest.raises(StoreUnavailable):
            await connection.call("get", "GET", "{u0}")
        await connection.close()
    [record] = [record for record in caplog.records if record.name.startswith("service")]
    assert record.getMessage() == "the servers of Redis cannot be found"
    assert record.exc_info is not None
