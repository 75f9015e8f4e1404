"""The price of `redis.durability`: `make bench-durability`, 1 min.

Visitors create sessions of guests through the service's own queues, without HTTP. The
primary has two replicas and an append-only file. The values take turns in each round.
Figures are medians over the rounds: creations per second, the time of a creation, and
the CPU time of the primary. The file is in the folder for temporary files. On a slower
disk, `fsync` takes longer.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from bench.cluster import Durability, Request, System, creations, store_on, visit
from service.sessions import SessionStore
from tests.support.servers import binaries
from tests.support.topologies import SentinelGroup

VISITORS = 1, 64
REQUESTS = {1: 60, 64: 4000}
ROUNDS = 5
VALUES: dict[str, tuple[Durability, ...]] = {
    "everysec": ("fast", "replicated"),
    "always": ("fast", "synced", "replicated"),
}


@dataclass(frozen=True)
class Cost:
    """A round: creations per second, p50 and p99 in ms, and CPU time of Redis in µs."""

    rate: float
    p50: float
    p99: float
    redis: float


@contextmanager
def primary(fsync: str) -> Iterator[System]:
    """Run a primary with two replicas and an append-only file."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--appendonly", "yes", "--appendfsync", fsync)
        with SentinelGroup(binaries()["valkey"], Path(folder), *options) as group:
            yield System(fsync, [group.servers[0].url], group.servers[:1])


async def measured(system: System, sessions: SessionStore, visitors: int) -> Cost:
    """Create sessions and return their cost."""
    seconds: list[float] = []

    async def timed(create: Request) -> bool:
        started = time.perf_counter()
        stored = await create()
        seconds.append(time.perf_counter() - started)
        return bool(stored)

    number = REQUESTS[visitors]
    cpu, started = system.cpu_seconds(), time.perf_counter()
    await visit([partial(timed, one) for one in creations(sessions, [None] * number, [])], visitors)
    elapsed, cpu = time.perf_counter() - started, system.cpu_seconds() - cpu
    p50, p99 = (sorted(seconds)[len(seconds) * part // 100] * 1e3 for part in (50, 99))
    return Cost(number / elapsed, p50, p99, cpu / number * 1e6)


async def run_round(system: System, durability: Durability, visitors: int) -> Cost:
    """Measure one value."""
    async with store_on(system, durability=durability) as sessions:
        await visit(creations(sessions, [None] * visitors, []), visitors)
        return await measured(system, sessions, visitors)


def main() -> None:
    """Measure and print."""
    for fsync, values in VALUES.items():
        with primary(fsync) as system:
            for visitors in VISITORS:
                rounds: dict[Durability, list[Cost]] = {value: [] for value in values}
                for _ in range(ROUNDS):
                    for value in values:
                        rounds[value].append(uvloop.run(run_round(system, value, visitors)))
                for value, costs in rounds.items():
                    rate, p50, p99, redis = (
                        statistics.median(getattr(one, name) for one in costs)
                        for name in ("rate", "p50", "p99", "redis")
                    )
                    print(
                        f"appendfsync {fsync:8} {visitors:2} visitors {value:10} {rate:8,.0f} creations/s, "
                        f"p50 {p50:7.2f} ms, p99 {p99:7.2f} ms, Redis {redis:5.1f} µs",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
