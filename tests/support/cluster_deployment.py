"""The deployment of deploy/cluster/ with real processes in place of its containers.

The real podman-compose reads compose.yaml. Its options, scripts and variables then
start servers, the service and nginx. Only addresses and folders differ.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.support import compose
from tests.support.compose import Container
from tests.support.processes import Launch, Process
from tests.support.servers import RedisServer

FOLDER = Path(__file__).parents[2] / "deploy" / "cluster"
REDIS_CLI = shutil.which("valkey-cli") or shutil.which("redis-cli")
CREATE_SECONDS = 60


def containers(folder: Path) -> dict[str, Container]:
    """Return the containers of the compose file by service."""
    copy = folder / "deploy" / "cluster"
    shutil.copytree(FOLDER, copy)
    return compose.up(copy)


def options_of(node: Container) -> list[str]:
    """Return the options of a node's server."""
    image = next(place for place, one in enumerate(node.arguments) if "/valkey/valkey:" in one)
    return list(node.arguments[image + 1 :])


def commands_of(user: str, options: Sequence[str]) -> list[str]:
    """Return the commands that a user may run."""
    rules = options[options.index(user, options.index("--user")) :]
    end = rules.index("--user") if "--user" in rules else len(rules)
    return [rule[1:] for rule in rules[:end] if rule.startswith("+")]


class Deployment:
    """The nodes of the Cluster, by the addresses in the compose file."""

    def __init__(self, found: dict[str, Container], nodes: dict[str, RedisServer]) -> None:
        self.containers = found
        self.nodes = nodes
        self.password = found["create"].environment["REDISCLI_AUTH"]

    def admin(self, node: RedisServer) -> "redis.Redis":
        """Return a client with all rights. The caller closes it."""
        return redis.Redis(port=node.port, username="admin", password=self.password, decode_responses=True)

    def primary_of(self, slot: int) -> RedisServer:
        """Return the primary of a slot, as one of the running nodes knows it."""
        running = next(node for node in self.nodes.values() if node.is_running)
        with self.admin(running) as client:
            slots = client.execute_command("CLUSTER SLOTS")
        port = next(primary[1] for first, last, primary, *_ in slots if first <= slot <= last)
        return next(node for node in self.nodes.values() if node.port == port)

    def is_replicated(self, primary: RedisServer) -> bool:
        """Return whether the replica of a primary has all of its data."""
        with self.admin(primary) as client:
            info = client.info("replication")
        return bool(info["slave0"]["offset"] == info["master_repl_offset"])

    def local(self, text: str, *, with_bus: bool = False) -> str:
        """Return a variable of the compose file with the addresses of the nodes."""

        def address(found: re.Match[str]) -> str:
            node = self.nodes[found[1]]
            return f"127.0.0.1:{node.port}" + (f"@{node.cluster_port}" if with_bus else "")

        return re.sub(r"(172\.28\.16\.\d+):6379", address, text)

    def create(self) -> None:
        """Run the script that makes the Cluster. Fails when the script does."""
        variables = self.containers["create"].environment
        environment = {**os.environ, **variables, "NODES": self.local(variables["NODES"], with_bus=True)}
        script = FOLDER / "create.sh"
        subprocess.run(["sh", script], env=environment, check=True, capture_output=True, timeout=CREATE_SECONDS)

    def start_service(self, name: str, launch: Launch) -> Process:
        """Run an instance of the service with its container's variables."""
        variables = self.containers[name].environment
        own = {"JAY_SERVER__HOST": "127.0.0.1", "JAY_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]'}
        return launch(**{**variables, "JAY_REDIS__URL": self.local(variables["JAY_REDIS__URL"]), **own})

    def site(self, instances: Sequence[Process], listen: str) -> str:
        """Return nginx's site for instances of the service."""
        addresses = " ".join(one.url.removeprefix("http://") for one in instances)
        variables = {"SAMPLE": str(FOLDER.parent / "nginx" / "jay-tracking.conf"), "LISTEN": listen}
        environment = {**os.environ, **variables, "INSTANCES": addresses}
        done = subprocess.run(["sh", FOLDER / "site.sh"], env=environment, check=True, capture_output=True, text=True)
        return done.stdout


@contextmanager
def deployment(binary: str, folder: Path) -> Iterator[Deployment]:
    """Run the nodes, which do not know each other yet."""
    found = containers(folder)
    with ExitStack() as stack:
        nodes = {}
        for name, container in found.items():
            if name.startswith("node-"):
                (folder / name).mkdir()
                server = RedisServer(binary, folder / name, *options_of(container))
                address = re.search(r"ip=([\d.]+)", " ".join(container.arguments))
                assert address
                nodes[address[1]] = stack.enter_context(server)
        yield Deployment(found, nodes)
