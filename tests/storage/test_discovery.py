"""Finding the servers of a cluster."""

import asyncio
import random
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from service.config.redis_servers import RedisServers
from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.sessions import SHARD_COUNT
from service.storage import discovery
from service.storage.client import Client
from service.storage.connection import RedisConnection
from service.storage.discovery import ClusterDiscovery, Discovery, endpoint_of
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
        connection = RedisConnection.alone(group.url, RedisSettings(timeout_seconds=10))
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
        connection = RedisConnection.alone(group.url, RedisSettings(timeout_seconds=TIMEOUT_SECONDS))
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
        connection = RedisConnection.alone(
            impostor.url.replace("redis", "redis+cluster", 1).removesuffix("/0"), RedisSettings()
        )
        with pytest.raises(StoreUnavailable):
            await connection.call("get", "GET", "{u0}")
        await connection.close()
    [record] = [record for record in caplog.records if record.name.startswith("service")]
    assert record.getMessage() == "the servers of Redis cannot be found"
    assert record.exc_info is not None


class Sentinel:
    """A sentinel that names a port with an epoch, or closes connections."""

    def __init__(self, port: int, epoch: int) -> None:
        self.port, self.epoch, self.is_down = port, epoch, False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each question of a connection."""
        while await reader.read(1024) and not self.is_down:
            words = ["ip", "10.0.0.1", "port", str(self.port), "config-epoch", str(self.epoch)]
            writer.write("".join([f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]).encode())


async def test_one_sentinel_of_three_does_not_move_the_primary() -> None:
    """Of primaries with one epoch, most sentinels name the right one."""
    sentinels = [Sentinel(1, 0), Sentinel(2, 0), Sentinel(2, 0)]
    wrong, *right = sentinels
    async with AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(Impostor(one.answer))).port for one in sentinels]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        discovery = Discovery.of(f"redis+sentinel://{hosts}/jay/0", RedisSettings(timeout_seconds=10))
        stack.push_async_callback(discovery.close)

        async def port() -> int:
            urls = await discovery.find()
            assert urls
            return int(urls[0].rpartition(":")[2].partition("/")[0])

        assert await port() == 2
        for one in right:
            one.is_down = True
        assert await port() == 2
        wrong.epoch = 1
        assert await port() == 1, "a failover has a higher epoch"
        for one in right:
            one.is_down, one.port = False, 3
        assert await port() == 1
        wrong.epoch, wrong.port = 0, 3
        assert await port() == 3, "all sentinels were set up again"


class Nodes(ClusterDiscovery):
    """A cluster whose nodes name primaries by port."""

    def __init__(self, answers: Mapping[int, Sequence[tuple[str, int]]]) -> None:
        super().__init__(RedisServers.of("redis+cluster://a:1,b:2/0"), RedisSettings())
        self.answers = answers

    async def _ask(self, host: str, port: int) -> Sequence[tuple[str, int]]:  # noqa: ARG002
        return self.answers.get(port, ())


async def test_a_node_that_knows_too_few_slots_is_not_followed() -> None:
    """Another node is asked. Without one, the servers are unknown."""
    few, all_slots = [("x", 7)] * (SHARD_COUNT - 1), [("y", 8)] * SHARD_COUNT
    assert await Nodes({1: few, 2: few}).find() is None
    found = Nodes({1: few, 2: all_slots})
    assert await found.find() == [found.server_url("y", 8)] * SHARD_COUNT


async def test_the_nodes_that_are_asked_are_the_primaries_and_those_of_the_url() -> None:
    """The nodes of the URL are never forgotten. Connections to others are closed."""
    discovery = Nodes({1: [("y", 8)] * SHARD_COUNT})
    gone = discovery.server_url("gone", 9)
    discovery._clients[gone] = Client(gone, 1.0, 1)
    await discovery.find()
    assert discovery._known == {("a", 1), ("b", 2), ("y", 8)}
    assert gone not in discovery._clients
    await discovery.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_half_of_the_sentinels_do_not_move_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one epoch, more than half of all sentinels have to name another primary."""
    discovery = Discovery.of("redis+sentinel://a:1,b:2,c:3,d:4/jay/0", RedisSettings())
    ports = dict.fromkeys("abcd", 6001)

    async def call(url: str, *_: object) -> list[bytes]:
        host = url.removeprefix("redis://").partition(":")[0]
        return [b"ip", b"10.0.0.1", b"port", b"%d" % ports[host], b"config-epoch", b"0"]

    monkeypatch.setattr(discovery, "_call", call)
    assert await discovery.find() == (discovery.server_url("10.0.0.1", 6001),) * SHARD_COUNT
    for host, expected in (("a", 6001), ("b", 6001), ("c", 6002)):
        ports[host] = 6002
        assert await discovery.find() == (discovery.server_url("10.0.0.1", expected),) * SHARD_COUNT


async def test_sentinels_that_hang_leave_the_servers_unknown() -> None:
    """Each question has one timeout, and the log names the nodes with their errors."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read(-1)

    async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"-ERR No such master with that name\r\n")

    async with Impostor(hang) as silent, Impostor(reject) as other:
        hosts = f"127.0.0.1:{silent.port},127.0.0.1:{other.port}"
        found = Discovery.of(f"redis+sentinel://{hosts}/jay/0", RedisSettings(timeout_seconds=0.5))
        assert await asyncio.wait_for(found.find(), 30) is None
        assert found.problem == (
            f"no sentinel names a primary of jay. 127.0.0.1:{other.port}: "
            f"ResponseError: No such master with that name. 127.0.0.1:{silent.port}: TimeoutError"
        )
        await found.close()


async def test_more_than_half_of_the_sentinels_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reply may be that of a sentinel that is cut off, and is not enough."""
    found = Discovery.of("redis+sentinel://a:1,b:2,c:3/jay/0", RedisSettings(timeout_seconds=10))

    async def call(url: str, *_: object) -> list[bytes]:
        number = "abc".index(url.removeprefix("redis://")[0])
        for _turn in range(20 * number):
            await asyncio.sleep(0)
        return [b"ip", b"10.0.0.1", b"port", b"%d" % (6001 + number), b"config-epoch", b"%d" % number]

    monkeypatch.setattr(found, "_call", call)
    for late_seconds, port in ((0, 6002), (30, 6003)):
        monkeypatch.setattr(discovery, "_LATE_SECONDS", late_seconds)
        assert await found.find() == (found.server_url("10.0.0.1", port),) * SHARD_COUNT


async def test_all_nodes_of_a_cluster_are_asked_until_one_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are asked in threes. After three that are down, the others are asked."""
    primaries = [("y", 8)] * SHARD_COUNT
    found = Nodes({4: primaries})
    found._known = {("a", 1), ("b", 2), ("c", 3), ("d", 4)}
    monkeypatch.setattr(random, "sample", lambda nodes, _: nodes)
    assert await found.find() == [found.server_url("y", 8)] * SHARD_COUNT


async def test_a_range_includes_its_first_and_its_last_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard whose slot is alone in a range has a server."""
    found = Discovery.of("redis+cluster://a:1/0", RedisSettings())
    slots = [key_slot(tag.encode()) for tag in SHARD_TAGS]

    async def call(*_: object) -> list[Any]:
        return [[slot, slot, [b"y", 7000 + shard, b"id"]] for shard, slot in enumerate(slots)]

    monkeypatch.setattr(found, "_call", call)
    assert await found.find() == [found.server_url("y", 7000 + shard) for shard in range(SHARD_COUNT)]
