"""The CPU time of Redis Cluster beside that of single servers: `make bench-cluster`.

It takes 5 minutes. Visitors read, create and end sessions through the service's own
queues, without HTTP. The systems take turns in each round:

one             one server.
cluster of 1    one primary with all slots. It gets one shard per read.
same load       three primaries that share the visitors of the one server.
3 servers       three servers without Cluster, each with as many visitors as the one
                server. The shard of a session says which of them has it.
cluster of 3    three primaries, each with as many visitors as the one server.

Three servers share the cores and their only client, so their batches are smaller than
those of one server. The last two systems differ by Cluster alone.

No server has replicas or an append-only file. Figures are medians over the rounds. A
ratio is taken within a round, because the speed of a machine changes. CPU time of Redis
is that of the scheduler, summed over the servers. It includes the kernel's work for the
sockets. `mix` has the shares of `bench-peers`: 80 % GET, 15 % POST (two thirds of them
for guests) and 5 % DELETE. The target for a Cluster is 0.9 of the requests of as many
servers for the same CPU time, which is a ratio of 1.11.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import redis.asyncio
import uvloop

from bench.peers.measure import cpu_seconds
from bench.separate_servers import SeparateServers
from service.config.settings import AnalyticsSettings, RedisSettings
from service.counts import DAY
from service.digests import UserDigest
from service.sessions import SessionFactory, SessionStore
from service.storage.coalescer import BatchQueueFactory, Coalescer
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.lanes import Lanes
from service.storage.session_queues import make_queues
from service.storage.session_store import RedisSessionStore
from service.storage.user_changes import UserChanges
from service.telemetry.metrics import Metrics
from tests.support.servers import RedisServer, binaries
from tests.support.topologies import ClusterGroup

PRIMARIES = 3
VISITORS = 64, 512
REQUESTS = 6000
ROUNDS = 15
KNOWN_USERS = 5000
SOURCE = "jay.api.playout.1.0.0"
SHARES = {"GET": 0.8, "POST guest": 0.1, "POST user": 0.05, "DELETE": 0.05}
SEPARATE, CLUSTER = f"{PRIMARIES} servers", f"cluster of {PRIMARIES}"
KEYSPACE = Keyspace("jay")

_new = SessionFactory(UserDigest("bench-secret")).new
Request = Callable[[], Awaitable[object]]
Durability = Literal["fast", "synced", "replicated"]


@dataclass(frozen=True)
class System:
    """Servers that are measured together.

    With several URLs, each is a store of its own. `factor`: visitors for each of a
    column.
    """

    name: str
    urls: Sequence[str]
    servers: Sequence[RedisServer]
    factor: int = 1

    def cpu_seconds(self) -> float:
        """Return the CPU time of all servers."""
        return sum(cpu_seconds(server.pid) for server in self.servers)

    async def flush(self) -> None:
        """Delete everything."""
        for server in self.servers:
            async with redis.asyncio.Redis.from_url(server.url) as raw:
                await raw.flushall()


@dataclass(frozen=True)
class Cost:
    """CPU time per request, in µs, and the requests in one command."""

    redis: float
    process: float
    per_command: float


Round = dict[str, Cost]  # by kind of request


@contextmanager
def systems(binary: str, folder: Path) -> Iterator[Sequence[System]]:
    """Run the servers."""
    with ExitStack() as stack:

        def server(name: str) -> RedisServer:
            (folder / name).mkdir()
            return stack.enter_context(RedisServer(binary, folder / name))

        one, *separate = (server(f"server-{number}") for number in range(1 + PRIMARIES))
        small, large = (
            stack.enter_context(
                ClusterGroup(
                    binary,
                    folder / f"cluster-{primaries}",
                    primaries=primaries,
                    replicas_per_primary=0,
                    node_timeout_seconds=15,
                )
            )
            for primaries in (1, PRIMARIES)
        )
        yield (
            System("one", [one.url], [one]),
            System("cluster of 1", [small.url], small.nodes),
            System("same load", [large.url], large.nodes),
            System(SEPARATE, [one.url for one in separate], separate, factor=PRIMARIES),
            System(CLUSTER, [large.url], large.nodes, factor=PRIMARIES),
        )


@asynccontextmanager
async def store_on(
    system: System, ttl_seconds: int = DAY, durability: Durability = "fast"
) -> AsyncIterator[SessionStore]:
    """Yield the queues of a worker on a system."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(_queues(url, ttl_seconds, durability)) for url in system.urls]
        yield stores[0] if len(stores) == 1 else SeparateServers(stores)


@asynccontextmanager
async def _queues(url: str, ttl_seconds: int, durability: Durability) -> AsyncIterator[SessionStore]:
    settings = RedisSettings(timeout_seconds=10, durability=durability)
    lanes = Lanes(url, settings, KEYSPACE, Metrics())
    analytics = AnalyticsSettings()
    lifetimes = Lifetimes.of(ttl_seconds, analytics.retention_days)
    store = RedisSessionStore(lanes.sessions, KEYSPACE, lifetimes, top_users=analytics.top_users)
    changes = UserChanges(lanes.consent, KEYSPACE, SessionFactory(UserDigest("bench")), lifetimes=lifetimes)
    coalesce: BatchQueueFactory = partial(Coalescer, max_waiting=10_000, max_wait_seconds=60)
    await lanes.servers.load()
    sessions = make_queues(store, coalesce, changes)
    try:
        yield sessions
    finally:
        await sessions.close()
        await lanes.close()


async def visit(requests: Sequence[Request], visitors: int) -> None:
    """Send requests. Each visitor waits for the answer before the next request."""
    remaining = iter(requests)

    async def one() -> None:
        for request in remaining:
            assert await request()

    await asyncio.gather(*(one() for _ in range(visitors)))


async def calls_of(system: System, command: str) -> int:
    """Return how often the servers have run a command."""
    total = 0
    for server in system.servers:
        async with redis.asyncio.Redis.from_url(server.url) as raw:
            found = (await raw.info("commandstats")).get(f"cmdstat_{command}")
            total += found["calls"] if found else 0
    return total


async def measured(system: System, command: str, requests: Sequence[Request], visitors: int) -> Cost:
    """Send requests and return their cost. `command` is the one that they share."""
    calls, redis_seconds, process_seconds = await calls_of(system, command), system.cpu_seconds(), time.process_time()
    await visit(requests, visitors)
    process_seconds, redis_seconds = time.process_time() - process_seconds, system.cpu_seconds() - redis_seconds
    calls = await calls_of(system, command) - calls
    return Cost(redis_seconds / len(requests) * 1e6, process_seconds / len(requests) * 1e6, len(requests) / calls)


def creations(sessions: SessionStore, users: Sequence[str | None], made: list[str]) -> list[Request]:
    """Return requests that create sessions of users, or of guests for None.

    The ids are added to `made`.
    """

    def create(user: str | None) -> Awaitable[bool]:
        session = _new(SOURCE, user)
        made.append(session.id)
        return sessions.create(session)

    return [partial(create, user) for user in users]


async def run_round(system: System, visitors: int, chance: random.Random) -> Round:
    """Create, read and end sessions on one system. Returns the cost of each kind.

    The system has a session of each known user at the start, and nothing else.
    """
    users = [f"user-{chance.randrange(KNOWN_USERS)}" for _ in range(REQUESTS)]
    visitors *= system.factor
    made: list[str] = []
    await system.flush()
    async with store_on(system) as sessions:
        await visit(creations(sessions, [f"user-{number}" for number in range(KNOWN_USERS)], []), visitors)
        guests = creations(sessions, [None] * REQUESTS, made)
        costs = {
            "POST guest": await measured(system, "evalsha", guests, visitors),
            "POST user": await measured(system, "evalsha", creations(sessions, users, []), visitors),
        }
        # Sessions that were created together are not read together.
        chance.shuffle(made)
        reads = [partial(sessions.find, (one,)) for one in made]
        ends = [partial(sessions.end, (one,)) for one in made]
        costs["GET"] = await measured(system, "mget", reads, visitors)
        costs["DELETE"] = await measured(system, "evalsha", ends, visitors)
    return costs


def ratios_of(costs: Sequence[float], base: Sequence[float]) -> str:
    """Return the median ratio of costs to those of the same rounds, and its range."""
    ratios = [one / other for one, other in zip(costs, base, strict=True)]
    return f"ratio {statistics.median(ratios):4.2f} ({min(ratios):4.2f} to {max(ratios):4.2f})"


def report(name: str, rounds: Sequence[Round], base: Sequence[Round], base_name: str) -> None:
    """Print the medians of a system, and its ratios to the base."""
    print(f"  {name} beside {base_name}")
    for kind in SHARES:
        costs, median = [one[kind] for one in rounds], statistics.median
        ratios = ratios_of([one.redis for one in costs], [one[kind].redis for one in base])
        print(
            f"    {kind:10} Redis {median(one.redis for one in costs):5.2f} µs, {ratios},"
            f" process {median(one.process for one in costs):5.1f} µs,"
            f" {median(one.per_command for one in costs):5.1f} requests per command"
        )
    mixed, mixed_base = (
        [sum(one[kind].redis * share for kind, share in SHARES.items()) for one in many] for many in (rounds, base)
    )
    print(f"    mix        Redis {statistics.median(mixed):5.2f} µs, {ratios_of(mixed, mixed_base)}", flush=True)


def main() -> None:
    """Measure and print, on every installed server."""
    for name, binary in binaries().items():
        with tempfile.TemporaryDirectory() as folder, systems(binary, Path(folder)) as measured_systems:
            for visitors in VISITORS:
                chance = random.Random(1)  # noqa: S311 - a seed, so that runs are equal
                rounds: dict[str, list[Round]] = {system.name: [] for system in measured_systems}
                for number in range(ROUNDS):
                    for system in measured_systems[:: 1 if number % 2 else -1]:
                        rounds[system.name].append(uvloop.run(run_round(system, visitors, chance)))
                print(f"{name}, {visitors} visitors")
                for system_name, costs in rounds.items():
                    report(system_name, costs, rounds["one"], "one")
                report(CLUSTER, rounds[CLUSTER], rounds[SEPARATE], SEPARATE)


if __name__ == "__main__":
    main()
