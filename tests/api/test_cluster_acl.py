"""The Redis user of deploy/cluster/: its rules are enough, and none is left over."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS
from tests.api.conftest import TOKEN, Start
from tests.api.topologies import is_ready, operator_statuses, read_all, session_in_each_shard
from tests.support.cluster_deployment import commands_of, containers, options_of
from tests.support.redis_commands import ask
from tests.support.topologies import ClusterGroup

PASSWORD = "p"
SLOT = ClusterGroup.slot_of(SHARD_TAGS[0])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    """Run a cluster that the tests of this module share."""
    with ClusterGroup(find_binary(), tmp_path_factory.mktemp("acl"), replicas_per_primary=0) as group:
        yield group


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the commands of the user `jay` in deploy/cluster/compose.yaml."""
    return commands_of("jay", options_of(containers(tmp_path_factory.mktemp("deployed"))["node-1"]))


def url_of(cluster: ClusterGroup, user: str, commands: Sequence[str], prefix: str) -> str:
    """Make a user on every node and return its URL for the service."""
    rules = [f"+{command}" for command in commands]
    for node in cluster.nodes:
        ask(node, "ACL", "SETUSER", user, "reset", "on", f">{PASSWORD}", f"~{prefix}*", "-@all", *rules)
    return cluster.url.replace("redis+cluster://", f"redis+cluster://{user}:{PASSWORD}@")


async def test_the_redis_user_may_run_every_command(
    cluster: ClusterGroup, commands: list[str], start: Start, prefix: str
) -> None:
    """With the user of deploy/cluster/, every route works on a cluster."""
    service = await start(url=url_of(cluster, "jay", commands, prefix))
    sessions = await session_in_each_shard(service)
    await service.create(json={"user_id": "u"})
    assert set((await read_all(service, sessions)).values()) == {200}
    assert set((await operator_statuses(service, list(sessions.values()))).values()) == {200}
    assert (await service.request("DELETE", headers={TOKEN: sessions[0]})).status == 204


async def test_the_service_asks_for_the_slots(
    cluster: ClusterGroup, commands: list[str], start: Start, prefix: str
) -> None:
    """Without CLUSTER SLOTS, requests are answered 503."""
    url = url_of(cluster, "no-slots", [one for one in commands if one != "cluster|slots"], prefix)
    service = await start(url=url)
    assert not await is_ready(service)
    assert (await service.request("POST")).status == 503


@pytest.mark.parametrize(("without", "status"), [("nothing", 200), ("asking", 503)])
async def test_the_service_follows_a_shard_that_moves(
    cluster: ClusterGroup, commands: list[str], start: Start, prefix: str, without: str, status: int
) -> None:
    """A session that has moved is found with ASKING, and 503 without it."""
    url = url_of(cluster, f"without-{without}", [one for one in commands if one != without], prefix)
    service = await start(url=url)
    session_id = (await session_in_each_shard(service))[0]
    target = next(node for node in cluster.primaries if node is not cluster.primary_of(SLOT))
    source = await asyncio.to_thread(cluster.begin_move, SLOT, target)
    cluster.migrate_keys(SLOT, source, target)
    try:
        assert (await service.request("GET", headers={TOKEN: session_id})).status == status
    finally:
        cluster.finish_move(SLOT, source, target)
