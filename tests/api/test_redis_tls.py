"""The service with TLS to Redis: the examples of the documents, and a failure."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.config.loading import load
from service.config.settings import RedisSettings
from tests.api.conftest import TOKEN, Service, Start
from tests.api.topologies import is_ready, operator_statuses, read_all, session_in_each_shard, until
from tests.documents.blocks import blocks_in
from tests.support.certificates import Authority
from tests.support.redis_commands import ask
from tests.support.servers import RedisServer
from tests.support.topologies import FAILOVER_SECONDS, ClusterGroup, SentinelGroup

PAGE = "docs/operations.md"
NAME = "localhost"
# A host name may stand for the address of IPv6, too.
BOTH_LOOPBACKS = "127.0.0.1 -::1"


def redis_url(scheme: str, ports: Sequence[int], authority: Authority, folder: Path) -> str:
    """Return `redis.url` of the example with a scheme, for servers of a test."""
    [block] = [one for one in blocks_in("yaml", PAGE) if f"{scheme}://" in one.text]
    hosts = ",".join(f"{NAME}:{port}" for port in ports)
    text = re.sub(r"@[^/?\\]*", f"@{hosts}", block.text, count=1)
    for written, path in zip(("ca", "jay", "jay-key"), authority.client_parameters.values(), strict=True):
        text = text.replace(f"/etc/redis-tls/{written}.pem", path)
    file = folder / "config.yaml"
    file.write_text(text)
    return load({}, file).settings.redis.url


def lines_of(example: str) -> list[str]:
    """Return the lines of a server's example that a test does not set itself.

    `example` is a line that only this example has.
    """
    [block] = [one for one in blocks_in("", PAGE) if example in one.text.splitlines()]
    own = ("port", "tls-port", "tls-ca-cert-file", "tls-cert-file", "tls-key-file", "sentinel monitor")
    lines = [line for line in block.text.splitlines() if not line.startswith(tuple(f"{name} " for name in own))]
    return [re.sub(r"\S+\.example", NAME, line) for line in lines]


def options_of(lines: Sequence[str]) -> list[str]:
    """Return lines of redis.conf as options of the command line."""
    return [word for line in lines for word in (f"--{line.split()[0]}", *line.split()[1:])]


async def all_routes_work(service: Service) -> dict[int, str]:
    """Use every route, and return the id of a session in each shard."""
    sessions = await session_in_each_shard(service)
    assert set((await read_all(service, sessions)).values()) == {200}
    mine = await service.create(json={"user_id": "u"})
    assert set((await operator_statuses(service, [mine])).values()) == {200}
    assert (await service.request("GET", headers={TOKEN: mine})).status == 404  # erased
    return sessions


async def test_the_example_of_a_cluster(tls_binary: str, authority: Authority, start: Start, tmp_path: Path) -> None:
    """The example of a Cluster works with a certificate that has names only."""
    authority.issue(NAME)
    options = options_of(lines_of("cluster-preferred-endpoint-type hostname"))
    with ClusterGroup(tls_binary, tmp_path / "group", *options, replicas_per_primary=0, tls=authority) as cluster:
        for node in cluster.nodes:
            ask(node, "ACL", "SETUSER", "jay", "on", ">password", "+@all", "~*")
        ports = [node.port for node in cluster.nodes]
        service = await start(url=redis_url("rediss+cluster", ports, authority, tmp_path))
        await all_routes_work(service)


async def test_the_example_of_sentinel(tls_binary: str, authority: Authority, start: Start, tmp_path: Path) -> None:
    """The example of Sentinel works with a certificate that has names only.

    A failover is followed.
    """
    authority.issue(NAME)
    servers = [*options_of(lines_of("replica-announce-ip redis1.example")), "--bind", *BOTH_LOOPBACKS.split()]
    sentinels = [*lines_of("sentinel announce-hostnames yes"), f"bind {BOTH_LOOPBACKS}"]
    with SentinelGroup(
        tls_binary,
        tmp_path / "group",
        *servers,
        replicas=1,
        down_after_seconds=FAILOVER_SECONDS,
        tls=authority,
        host=NAME,
        sentinel_lines=sentinels,
    ) as group:
        for server in group.servers:
            ask(server, "ACL", "SETUSER", "jay", "on", ">password", "+@all", "~*")
        for sentinel in group.sentinels:
            ask(sentinel, "ACL", "SETUSER", "watcher", "on", ">another-password", "+@all")
        ports = [sentinel.port for sentinel in group.sentinels]
        service = await start(url=redis_url("rediss+sentinel", ports, authority, tmp_path))
        sessions = await all_routes_work(service)
        group.wait_until_replicated()
        await asyncio.to_thread(group.wait_for_failover, group.kill_primary())
        await until(lambda: is_ready(service))
        assert set((await read_all(service, sessions)).values()) == {200}


async def test_one_endpoint_in_cluster_mode(
    tls_binary: str, authority: Authority, start: Start, tmp_path: Path
) -> None:
    """The service finds out over TLS that a single endpoint is in cluster mode."""
    with ClusterGroup(tls_binary, tmp_path / "one", primaries=1, replicas_per_primary=0, tls=authority) as group:
        await all_routes_work(await start(url=group.nodes[0].url))


async def test_a_failure_is_a_503_and_one_line(
    tls_binary: str,
    authority: Authority,
    start: Start,
    prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wrong name in the certificate gives 503, until the server has another one."""
    authority.issue("redis.example")
    with RedisServer(tls_binary, tmp_path, tls=authority) as server:
        service = await start(url=server.url, redis=RedisSettings(key_prefix=prefix, timeout_seconds=1))
        for _ in range(3):
            assert (await service.request("POST")).status == 503
        assert not await is_ready(service)
        [line] = [record.getMessage() for record in caplog.records if "cannot serve" in record.getMessage()]
        assert "the certificate of the server is not valid for '127.0.0.1'" in line
        authority.issue()
        for name, path in (("tls-cert-file", authority.certificate), ("tls-key-file", authority.key)):
            ask(server, "CONFIG", "SET", name, str(path))
        await until(lambda: is_ready(service))
        assert (await service.request("POST")).status == 201
