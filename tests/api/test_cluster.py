"""Redis Cluster: three primaries, of which one fails, and shards that move."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import redis.asyncio

from service.api.wire import OPERATOR_PATH as BASE
from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT
from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS
from tests.api.conftest import TOKEN, Service, Start
from tests.api.topologies import OPERATOR, is_ready, operator_statuses, read_all, session_in_each_shard, until
from tests.support.servers import RedisServer
from tests.support.topologies import FAILOVER_SECONDS, ClusterGroup

SLOTS = [ClusterGroup.slot_of(tag) for tag in SHARD_TAGS]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterGroup]:
    """Run a cluster that the test may break."""
    with ClusterGroup(find_binary(), tmp_path, node_timeout_seconds=FAILOVER_SECONDS) as group:
        yield group


def shards_of(cluster: ClusterGroup, node: RedisServer) -> set[int]:
    """Return the shards that a primary serves."""
    return {shard for shard, slot in enumerate(SLOTS) if cluster.primary_of(slot) is node}


async def created(service: Service) -> tuple[int, int, int]:
    """Return the created, ended and active sessions in the counts."""
    response = await service.request("GET", f"{BASE}/analytics/sessions?interval=day", headers=OPERATOR)
    totals = json.loads(await response.read())["totals"]
    return totals["created"], totals["ended"], totals["active"]


async def test_every_route_works(cluster: ClusterGroup, start: Start) -> None:
    """Every route works with three primaries, and a lookup finds all shards."""
    service = await start(url=cluster.url)
    guests = await session_in_each_shard(service)
    assert set((await read_all(service, guests)).values()) == {200}
    ids = [*guests.values(), *[await service.create(json={"user_id": f"u{number}"}) for number in range(20)]]
    response = await service.request("POST", f"{BASE}/sessions/lookup", json={"session_ids": ids}, headers=OPERATOR)
    assert [one["session_id"] for one in json.loads(await response.read())["sessions"]] == ids
    several = {"Cookie": "; ".join(f"{TOKEN}={one}" for one in list(guests.values())[:8])}
    assert (await service.request("DELETE", headers=several)).status == 204
    assert list((await read_all(service, guests)).values()).count(404) == 8
    assert set((await operator_statuses(service, ids)).values()) == {200}


async def test_a_dead_primary_costs_only_its_shards(cluster: ClusterGroup, start: Start) -> None:
    """A dead primary without a replica costs the requests of its shards only.

    `/readyz` names them. They work again once it is back.
    """
    service = await start(url=cluster.url)
    sessions = await session_in_each_shard(service)
    for replica in cluster.nodes[3:]:
        replica.kill()
    victim = cluster.nodes[0]
    dead = shards_of(cluster, victim)
    assert len(dead) in {5, 6}
    victim.kill()
    statuses = await read_all(service, sessions)
    assert statuses == {shard: 503 if shard in dead else 200 for shard in sessions}
    ready = await service.request("GET", "/readyz")
    assert ready.status == 503
    assert json.loads(await ready.read()) == {"status": "store-unavailable", "shards_out": sorted(dead)}
    assert (await service.request("GET", "/readyz?shards=any")).status == 200
    living = [sessions[shard] for shard in range(SHARD_COUNT) if shard not in dead]
    answered = await operator_statuses(service, living)
    assert answered["lookup"] == 200
    assert answered["counts"] == answered["status"] == 503
    headers = {"Cookie": f"{TOKEN}={living[0]}; {TOKEN}={sessions[min(dead)]}"}
    # The first live one wins, and the other does not matter.
    assert (await service.request("GET", headers=headers)).status == 200
    headers = {"Cookie": f"{TOKEN}={sessions[min(dead)]}; {TOKEN}={living[0]}"}
    # The first one may be live.
    assert (await service.request("GET", headers=headers)).status == 503
    assert (await service.request("DELETE", headers=headers)).status == 503
    victim.start()
    assert await until(lambda: is_ready(service)) < 5


async def test_a_failover_is_followed(cluster: ClusterGroup, start: Start) -> None:
    """A replica that was promoted serves its shards, with the sessions it has."""
    service = await start(url=cluster.url)
    sessions = await session_in_each_shard(service)
    cluster.wait_until_ok()
    victim = cluster.kill_primary(SLOTS[0])
    await asyncio.to_thread(cluster.wait_for_failover, SLOTS[0], victim)
    assert await until(lambda: is_ready(service)) < 3
    assert set((await read_all(service, sessions)).values()) == {200}


@pytest.mark.parametrize("durability", ["fast", "replicated"])
async def test_a_shard_moves_without_loss(
    cluster: ClusterGroup, start: Start, prefix: str, durability: Literal["fast", "replicated"]
) -> None:
    """While a shard moves, its sessions can be read and its writes wait or get 503.

    Afterwards no session is lost and the counts are exact.
    """
    settings = RedisSettings(key_prefix=prefix, durability=durability)
    service = await start(url=cluster.url, redis=settings)
    sessions = await session_in_each_shard(service)
    mine = {number: await service.create() for number in range(40)}
    moving = [one for one in (*sessions.values(), *mine.values()) if one[0] == "0"]
    before = await created(service)
    target = cluster.primary_of(SLOTS[15])
    source = cluster.begin_move(SLOTS[0], target)
    cluster.migrate_keys(SLOTS[0], source, target, 3)
    for session_id in moving:
        assert (await service.request("GET", headers={TOKEN: session_id})).status == 200
    both = {"Cookie": "; ".join(f"{TOKEN}={one}" for one in moving[:8])}
    assert (await service.request("GET", headers=both)).status == 200
    assert (await service.request("DELETE", headers={TOKEN: moving[0]})).status == 503
    cluster.migrate_keys(SLOTS[0], source, target)
    assert (await service.request("GET", headers={TOKEN: moving[0]})).status == 200
    cluster.finish_move(SLOTS[0], source, target)
    assert (await service.request("DELETE", headers={TOKEN: moving[0]})).status == 204
    assert set((await read_all(service, {1: sessions[1], **dict(enumerate(moving[1:], 16))})).values()) == {200}

    async def is_counted() -> bool:  # requests share an answer for one second
        return await created(service) == (before[0], before[1] + 1, before[2] - 1)

    await until(is_counted)
    assert await is_ready(service)


async def test_a_single_endpoint_in_cluster_mode(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server in cluster mode behind redis:// gets the keys of one shard at a time."""
    options = ("--cluster-enabled", "yes", "--cluster-config-file", str(tmp_path / "nodes.conf"))
    with RedisServer(find_binary(), tmp_path, *options) as node:
        async with redis.asyncio.Redis.from_url(node.url) as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
            while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO"):  # type: ignore[no-untyped-call]
                await asyncio.sleep(0.02)
        service = await start(url=node.url)
        sessions = await session_in_each_shard(service)
        await service.create(json={"user_id": "u"})
        assert set((await operator_statuses(service, list(sessions.values()))).values()) == {200}
        never = await start(url=node.url, redis=RedisSettings(group_by_shard="never"))
        assert (await never.request("POST")).status == 503
        assert any("redis.group_by_shard" in record.getMessage() for record in caplog.records)


async def test_one_node_of_several_is_rejected(
    cluster: ClusterGroup, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A node of a cluster behind redis:// is rejected with the right URL's form."""
    service = await start(url=cluster.nodes[0].url)
    assert (await service.request("POST")).status == 503
    assert any("write redis+cluster://" in record.getMessage() for record in caplog.records)
