"""deploy/cluster/: six nodes, two instances of the service and nginx, as processes.

Containers are not started. Options, variables and scripts are those of the compose
file, and nodes, service and nginx are real.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from redis.crc import key_slot

from service.sessions import SHARD_COUNT, shard_of
from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS
from tests.support.cluster_deployment import (
    FOLDER,
    REDIS_CLI,
    Deployment,
    commands_of,
    containers,
    deployment,
    options_of,
)
from tests.support.nginx import NGINX, start_site
from tests.support.processes import TOKEN, Launch, Process, eventually
from tests.support.servers import free_port

OUTAGE_SECONDS = 15.0  # docs/reliability.md, a primary of a Cluster is killed
needs_redis_cli = pytest.mark.skipif(REDIS_CLI is None, reason="neither valkey-cli nor redis-cli is installed")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployment]:
    """Run the nodes of the compose file, and make the Cluster with its script."""
    with deployment(find_binary(), tmp_path / "deployed") as found:
        found.create()
        yield found


@pytest.fixture
def front(deployed: Deployment, launch: Launch, tmp_path: Path) -> Iterator[Process]:
    """Run two instances of the service behind nginx."""
    instances = [deployed.start_service(name, launch) for name in ("api-1", "api-2")]
    listen = f"127.0.0.1:{free_port()}"
    nginx = start_site(tmp_path / "nginx", deployed.site(instances, listen), listen)
    yield nginx
    nginx.stop()


def session_in_each_shard(front: Process) -> dict[int, str]:
    """Create sessions until each shard has one. Returns the id by shard."""
    found: dict[int, str] = {}

    def complete() -> bool:
        session_id = front.create()
        found[shard_of(session_id)] = session_id
        return len(found) == SHARD_COUNT

    eventually(complete, "a session in each shard", pause_seconds=0.003)
    return found


@needs_redis_cli
@needs_nginx
def test_the_deployment_survives_the_loss_of_a_primary(deployed: Deployment, front: Process) -> None:
    """Without a primary, other shards serve at once, and its own after a failover."""
    sessions = session_in_each_shard(front)
    slots = [key_slot(tag.encode()) for tag in SHARD_TAGS]
    victim = deployed.primary_of(slots[0])
    lost = {shard for shard, slot in enumerate(slots) if deployed.primary_of(slot) is victim}
    assert len(lost) in {5, 6}
    eventually(lambda: deployed.is_replicated(victim), "the replica has the sessions")
    killed_at = time.monotonic()
    victim.kill()
    statuses = {shard: front.status_of(session_id) for shard, session_id in sessions.items()}
    assert {shard for shard, status in statuses.items() if status != 200} <= lost
    eventually(lambda: all(front.status_of(one) == 200 for one in sessions.values()), "all sessions are back")
    assert time.monotonic() - killed_at < OUTAGE_SECONDS
    assert deployed.primary_of(slots[0]) is not victim
    assert set(session_in_each_shard(front)) == set(range(SHARD_COUNT))
    victim.start()
    deployed.create()  # a second run changes nothing, and waits until all nodes serve
    assert front.request("DELETE", token=sessions[min(lost)]).status == 204


@needs_redis_cli
@needs_nginx
def test_both_instances_serve(deployed: Deployment, launch: Launch, tmp_path: Path) -> None:
    """nginx uses both instances, and one alone when the other is gone."""
    instances = [deployed.start_service(name, launch) for name in ("api-1", "api-2")]
    listen = f"127.0.0.1:{free_port()}"
    nginx = start_site(tmp_path / "nginx", deployed.site(instances, listen), listen)
    try:
        created = [nginx.create() for _ in range(20)]

        def served() -> list[int]:  # the log is written 0.1 s later
            return [sum('"POST"' in line for line in one.log) for one in instances]

        eventually(lambda: sum(served()) == len(created), "all requests are in the logs")
        assert min(served()) > 0
        assert instances[0].stop() == 0
        assert {nginx.status_of(one) for one in created} == {200}
        assert nginx.request("POST").headers[TOKEN]
    finally:
        nginx.stop()


def test_the_redis_user_has_the_commands_of_the_compose_file_and_two_more(project: Path, tmp_path: Path) -> None:
    """`jay` may run the commands of docker-compose.yml, CLUSTER SLOTS and ASKING."""
    main = re.findall(r"^      - \+([a-z|]+)$", (project / "docker-compose.yml").read_text("utf-8"), re.MULTILINE)
    for name, node in containers(tmp_path / "deployed").items():
        if name.startswith("node-"):
            assert commands_of("jay", options_of(node)) == [*main, "asking", "cluster|slots"]


def test_the_variables_of_the_compose_file_are_documented() -> None:
    """The README lists the variables of the compose file."""
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text("utf-8")))


def test_the_nodes_have_the_addresses_that_the_others_use() -> None:
    """The nodes have the addresses in `create` and in the URL of the service."""
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"]
    nodes = [f"{one['networks']['jay']['ipv4_address']}:6379" for name, one in services.items() if "node-" in name]
    assert services["create"]["environment"]["NODES"].split() == nodes
    url: str = services["api-1"]["environment"]["JAY_REDIS__URL"]
    assert set(url.rpartition("@")[2].split(",")) <= set(nodes)
