"""The figures behind the plan in docs/scaling.md: `make bench-plan`, 4 min.

A Cluster of three primaries and three replicas runs with an append-only file, as in
`deploy/cluster/`. The benchmark creates, reads and ends sessions through the service's
own queues, and lets sessions expire. It prints for each request, and for each session
that expires:

- the CPU time of primaries and replicas, with the kernel's work for the sockets
- the bytes that the primaries received and sent, in all and to replicas
- the growth of the append-only files

The CPU time of idle servers is left out. At the end are the bytes of a browser's
requests over HTTP.
"""

import asyncio
import http.client
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import redis.asyncio
import uvloop

from bench.cluster import KNOWN_USERS, Request, System, creations, store_on, visit
from bench.peers.measure import cpu_seconds
from bench.peers.requests import ORIGIN, Session, by_cookie, creation
from bench.processes import KEY, PATH, TOKEN, service
from tests.support.servers import RedisServer, binaries
from tests.support.topologies import ClusterGroup

VISITORS = 192
REQUESTS = 10_000
SHORT_TTL_SECONDS = 10
IDLE_SECONDS = 2
ROUNDS = 3
OPTIONS = ("--appendonly", "yes", "--maxmemory-policy", "noeviction")


class Reading(NamedTuple):
    """Sums over the servers: CPU time in s, and bytes."""

    primaries: float
    replicas: float
    received: int
    sent: int
    replicated: int
    appended: int


async def read(primaries: Sequence[RedisServer], replicas: Sequence[RedisServer]) -> Reading:
    """Return the figures of the servers so far."""
    received = sent = replicated = appended = 0
    for server in primaries:
        async with redis.asyncio.Redis.from_url(server.url) as raw:
            info = await raw.info()
        received += info["total_net_input_bytes"]
        sent += info["total_net_output_bytes"]
        replicated += info["master_repl_offset"]
        appended += info["aof_current_size"]
    of_primaries, of_replicas = (sum(cpu_seconds(one.pid) for one in servers) for servers in (primaries, replicas))
    return Reading(of_primaries, of_replicas, received, sent, replicated, appended)


async def keys_of(cluster: ClusterGroup) -> int:
    """Return the number of keys that have not expired."""
    total = 0
    for server in cluster.primaries:
        async with redis.asyncio.Redis.from_url(server.url) as raw:
            total += await raw.dbsize()
    return total


async def wait_until_expired(cluster: ClusterGroup, keys_before: int) -> None:
    """Return when 99 % of the sessions with a short lifetime are gone."""
    while await keys_of(cluster) > keys_before + REQUESTS / 100:  # noqa: ASYNC110 - Redis sends no notice
        await asyncio.sleep(0.2)


async def measured(cluster: ClusterGroup, step: Callable[[], Awaitable[None]]) -> list[float]:
    """Run a step and return the growth of each figure, divided by `REQUESTS`.

    The growth while the servers are idle is subtracted.
    """
    primaries = cluster.primaries
    replicas = [node for node in cluster.nodes if node not in primaries]
    resting, rested_at = await read(primaries, replicas), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    before, started_at = await read(primaries, replicas), time.monotonic()
    await step()
    after, ended_at = await read(primaries, replicas), time.monotonic()
    share = (ended_at - started_at) / (started_at - rested_at)
    return [
        (late - early - (early - rest) * share) / REQUESTS
        for rest, early, late in zip(resting, before, after, strict=True)
    ]


async def measure(cluster: ClusterGroup) -> None:
    """Measure and print each kind of request."""
    chance = random.Random(1)  # noqa: S311 - a seed, so that runs are equal
    found: dict[str, list[list[float]]] = {}
    system = System("cluster", [cluster.url], cluster.nodes)
    for number in range(ROUNDS):
        made: list[str] = []
        new_users = [f"new-{number}-{one}" for one in range(REQUESTS)]
        users = [f"user-{chance.randrange(KNOWN_USERS)}" for _ in range(REQUESTS)]
        async with store_on(system) as sessions:
            kinds: dict[str, Sequence[Request]] = {
                "POST guest": creations(sessions, [None] * REQUESTS, made),
                "POST new user": creations(sessions, new_users, []),
                "POST user": creations(sessions, users, []),
            }
            for kind, requests in kinds.items():
                found.setdefault(kind, []).append(await measured(cluster, partial(visit, requests, VISITORS)))
            chance.shuffle(made)
            reads = [partial(sessions.find, (one,)) for one in made]
            ends = [partial(sessions.end, (one,)) for one in made]
            found.setdefault("GET", []).append(await measured(cluster, partial(visit, reads, VISITORS)))
            found.setdefault("DELETE", []).append(await measured(cluster, partial(visit, ends, VISITORS)))
        keys_before = await keys_of(cluster)
        async with store_on(system, SHORT_TTL_SECONDS) as sessions:
            await visit(creations(sessions, [None] * REQUESTS, []), VISITORS)
            found.setdefault("expiry", []).append(
                await measured(cluster, partial(wait_until_expired, cluster, keys_before))
            )
    for kind, rounds in found.items():
        figure = Reading(*(statistics.median(values) for values in zip(*rounds, strict=True)))
        print(
            f"  {kind:14} CPU {figure.primaries * 1e6:5.1f} µs, of replicas {figure.replicas * 1e6:5.1f} µs,"
            f" received {figure.received:4.0f} B, sent {figure.sent:4.0f} B,"
            f" replicated {figure.replicated:4.0f} B, appended {figure.appended:4.0f} B",
            flush=True,
        )


def http_bytes() -> None:
    """Print the bytes of a browser's requests and of their responses."""
    with service(JAY_CORS__ORIGINS=json.dumps([ORIGIN])) as running:
        address = urlsplit(running.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        connection.request("POST", PATH, headers={"X-API-Key": KEY})
        response = connection.getresponse()
        response.read()
        made = Session(f"{TOKEN}={response.headers[TOKEN]}", response.headers[TOKEN])
        connection.connect()
        for name, data in (
            ("GET", by_cookie("GET", PATH, made)),
            ("POST guest", creation(PATH)),
            ("POST user", creation(PATH, 1)),
            ("DELETE", by_cookie("DELETE", PATH, made)),
        ):
            connection.sock.sendall(data)
            print(f"  HTTP {name:10} {len(data)} B to the service, {len(connection.sock.recv(65_536))} B back")


def main() -> None:
    """Measure and print, on every installed server."""
    for name, binary in binaries().items():
        with tempfile.TemporaryDirectory() as folder:
            cluster = ClusterGroup(binary, Path(folder), *OPTIONS, node_timeout_seconds=15)
            with cluster:
                print(name)
                uvloop.run(measure(cluster))
    http_bytes()


if __name__ == "__main__":
    main()
