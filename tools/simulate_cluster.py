"""Computes the tables of docs/scaling.md: how shards spread, and a plan for a load.

    .venv/bin/python -m tools.simulate_cluster --sessions-per-day 1e8 --peak 4

Every measured figure is read from a table of docs/benchmarks.md, so a new measurement
changes the plan. `make reference` writes the tables into docs/scaling.md. The load is
an assumption: give your own with options.
"""

import argparse
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from redis.crc import key_slot

from service.counts import DAY
from service.sessions import SHARD_COUNT
from service.storage.keyspace import SHARD_TAGS

BENCHMARKS = Path(__file__).parent.parent / "docs" / "benchmarks.md"
SLOTS = 16_384
SHARD_SLOTS = tuple(key_slot(tag.encode()) for tag in SHARD_TAGS)

# Targets of the plan. Above them, a short peak or a lost node leads to a queue.
REDIS_BUSY = 0.5  # of the core of a primary, at the peak
WORKER_BUSY = 0.6  # of the core of a worker, at the peak
MEMORY_RESERVE = 1.25  # maxmemory for each byte of data
# Bytes of a machine for each byte of maxmemory, because a rewrite of the append-only
# file can need as much memory again.
MACHINE_MEMORY = 2
LARGEST_MACHINE = 64e9  # bytes of memory. A larger plan takes more primaries instead
PRIMARIES = (1, 2, 4, 8, 16)  # these are even
GB = 1e9


@dataclass(frozen=True)
class Load:
    """The load of a plan. Each user has one session a day, which takes most memory."""

    sessions_per_day: float = 1e9
    user_share: float = 0.2
    reads_per_session: float = 10.0
    ended_share: float = 0.1
    peak: float = 3.0


@cache
def cell(table: str, row: str, column: str) -> float:
    """Return the first number in a cell of docs/benchmarks.md.

    A table is known by the first words of its first heading.
    """
    rows = [
        [one.strip() for one in line.strip("|").split("|")] for line in _table(table) if not set(line) <= set("|-: ")
    ]
    heading, *body = rows
    place = heading.index(column)
    found = next(cells[place] for cells in body if cells[0] == row)
    number = re.search(r"\d[\d,]*(?:\.\d+)?", found)
    if number is None:
        raise SystemExit(f"no number in docs/benchmarks.md: {table}, {row}, {column}")
    return float(number[0].replace(",", ""))


def _table(name: str) -> list[str]:
    lines = BENCHMARKS.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {name}"))
    length = next(number for number, line in enumerate([*lines[start:], ""]) if not line.startswith("|"))
    return lines[start : start + length]


def plan_cell(row: str, column: str) -> float:
    """Return a figure of `make bench-plan`."""
    return cell("Request to the Cluster", row, column)


def slot_ranges(primaries: int) -> list[range]:
    """Return the slots of each primary as redis-cli assigns them."""
    each, cursor, first, ranges = SLOTS / primaries, 0.0, 0, []
    for number in range(primaries):
        is_last = number == primaries - 1
        after = SLOTS if is_last else math.floor(cursor + each - 1 + 0.5) + 1  # lround
        ranges.append(range(first, after))
        cursor, first = cursor + each, after
    return ranges


def shards_of(primaries: int) -> list[int]:
    """Return the number of shards of each primary."""
    ranges = slot_ranges(primaries)
    return [sum(slot in slots for slot in SHARD_SLOTS) for slots in ranges]


def evenness(primaries: int) -> float:
    """Return the shards of the busiest primary, divided by the mean."""
    return max(shards_of(primaries)) * primaries / SHARD_COUNT


class Plan:
    """The needs of a load, at its mean and at its peak."""

    def __init__(self, load: Load) -> None:
        users = load.sessions_per_day * load.user_share
        memory = {kind: cell("Server | Guest | User", "Valkey 9.1.2", kind) for kind in ("Guest", MEMORY_OF_USER)}
        self.load = load
        self.created = load.sessions_per_day / DAY
        self.data_bytes = (load.sessions_per_day - users) * memory["Guest"] + users * memory[MEMORY_OF_USER]
        self.requests = {
            "POST guest": self.created * (1 - load.user_share),
            "POST new user": self.created * load.user_share,
            "GET": self.created * load.reads_per_session,
            "DELETE": self.created * load.ended_share,
            "expiry": self.created * (1 - load.ended_share),
        }

    def sum_of(self, column: str) -> float:
        """Return a figure of the Cluster per second, at the mean load."""
        return sum(rate * plan_cell(kind, column) for kind, rate in self.requests.items())

    def redis_cores(self) -> float:
        """Return the cores that the primaries use at the peak."""
        return self.sum_of("CPU of primaries") / 1e6 * self.load.peak

    def worker_cores(self) -> float:
        """Return the cores that the workers use at the peak."""
        cost = {
            kind: cell("CPU µs, service + Redis", "this service", of_one)
            + cell("Worker, more", kind, "with a Cluster")
            for kind, of_one in OF_ONE_SERVER.items()
        }
        return sum(self.requests[kind] * cost[kind] for kind in cost) / 1e6 * self.load.peak

    def http_bits(self, column: str) -> float:
        """Return the bits per second between clients and the service at the peak."""
        return (
            sum(self.requests[kind] * cell("Over HTTP", kind, column) for kind in OF_ONE_SERVER) * 8 * self.load.peak
        )

    def workers(self) -> int:
        """Return the number of workers, each with a core."""
        return math.ceil(self.worker_cores() / WORKER_BUSY)

    def memory_of_node(self, primaries: int) -> float:
        """Return the data in the primary that has the most shards, in bytes."""
        return self.data_bytes / SHARD_COUNT * max(shards_of(primaries))

    def busy(self, primaries: int) -> float:
        """Return how busy the core of that primary is at the peak."""
        return self.redis_cores() / SHARD_COUNT * max(shards_of(primaries))

    def primaries(self) -> int:
        """Return the least number of primaries that can carry the load."""
        memory = MEMORY_RESERVE * MACHINE_MEMORY
        return next(
            number
            for number in PRIMARIES
            if self.busy(number) <= REDIS_BUSY and self.memory_of_node(number) * memory <= LARGEST_MACHINE
        )


MEMORY_OF_USER = "User, one session each"
# The row of the front door's comparison that has the worker's time of a request. A
# DELETE is as cheap as a creation for a guest: one script, no body to read.
OF_ONE_SERVER = {
    "GET": "GET by cookie",
    "POST guest": "POST, guest",
    "POST new user": "POST, user",
    "DELETE": "POST, guest",
}


def spread_table() -> Iterator[str]:
    """Yield the table of slots and shards for 1 to 16 primaries."""
    yield "| Primaries | Slots of each | Shards of a primary | Busiest : mean |"
    yield "|---|---|---|---|"
    for primaries in range(1, SHARD_COUNT + 1):
        sizes = sorted({len(slots) for slots in slot_ranges(primaries)})
        numbers = Counter(shards_of(primaries))
        shards = ", ".join(f"{numbers[one]} with {one}" for one in sorted(numbers, reverse=True))
        yield f"| {primaries} | {' or '.join(f'{one:,}' for one in sizes)} | {shards} | {evenness(primaries):.2f} |"


def load_table(plan: Plan) -> Iterator[str]:
    """Yield the table of what all sessions need together."""
    load, created = plan.load, plan.created
    yield "| Needed | At the mean | At the peak |"
    yield "|---|---|---|"
    yield f"| sessions created per second | {created:,.0f} | {created * load.peak:,.0f} |"
    requests = sum(rate for kind, rate in plan.requests.items() if kind != "expiry")
    yield f"| requests per second | {requests:,.0f} | {requests * load.peak:,.0f} |"
    yield f"| live sessions | {load.sessions_per_day:,.0f} | the same |"
    yield f"| data in Redis, without replicas | {amount(plan.data_bytes, 'B')} | the same |"
    for name, cores in (("primaries", plan.redis_cores()), ("workers", plan.worker_cores())):
        yield f"| cores that {name} use | {cores / load.peak:.2g} | {cores:.2g} |"
    yield f"| workers, each {WORKER_BUSY:.0%} busy at the peak | | {plan.workers()} |"
    for name, column in (("clients to the service", "to the service"), ("the service to clients", "back")):
        bits = plan.http_bits(column)
        yield f"| network, {name} | {amount(bits / load.peak, 'bit/s')} | {amount(bits, 'bit/s')} |"
    replicated = plan.sum_of("replicated") * 8
    mean, peak = amount(replicated, "bit/s"), amount(replicated * load.peak, "bit/s")
    yield f"| network, all primaries to their replicas | {mean} | {peak} |"
    yield f"| append-only files of all primaries, per day | {amount(plan.sum_of('appended') * DAY, 'B')} | |"


def node_table(plan: Plan, numbers: Sequence[int] = (3, 4, 6, 8, 16)) -> Iterator[str]:
    """Yield the table of nodes. The figures are those of the busiest primary."""
    yield "| Primaries | With replicas | Data | `maxmemory` | Memory of a machine | Core busy at the peak |"
    yield "|---|---|---|---|---|---|"
    for primaries in numbers:
        data, busy = plan.memory_of_node(primaries), plan.busy(primaries)
        limit = data * MEMORY_RESERVE
        memory = " | ".join(amount(size, "B") for size in (data, limit, limit * MACHINE_MEMORY))
        note = "" if busy <= REDIS_BUSY else f", above {REDIS_BUSY:.0%}"
        yield f"| {primaries} | {2 * primaries} | {memory} | {busy:.0%}{note} |"


def size_table() -> Iterator[str]:
    """Yield the table of docs/sizing.md: loads of the same mix, and what they need."""
    yield "| Sessions a day | Requests per second, peak | Data in Redis | `maxmemory` | Workers | Redis |"
    yield "|---|---|---|---|---|---|"
    for exponent in range(5, 10):
        plan = Plan(Load(sessions_per_day=10.0**exponent))
        primaries = plan.primaries()
        servers = "one server" if primaries == 1 else f"{primaries} primaries"
        requests = sum(rate for kind, rate in plan.requests.items() if kind != "expiry") * plan.load.peak
        memory = " | ".join(amount(size, "B") for size in (plan.data_bytes, plan.data_bytes * MEMORY_RESERVE))
        yield f"| {10**exponent:,} | {requests:,.0f} | {memory} | {plan.workers()} | {servers} |"


def amount(number: float, unit: str) -> str:
    """Return a number with a prefix and at least two digits, such as `2.4 GB`."""
    prefix, size = next(((prefix, size) for prefix, size in (("G", 1e9), ("M", 1e6)) if number >= size), ("k", 1e3))
    scaled = number / size
    return f"{scaled:.1f} {prefix}{unit}" if scaled < 10 else f"{scaled:,.0f} {prefix}{unit}"  # noqa: PLR2004 - digits


def main() -> None:
    """Print the tables for the load in the options."""
    parser = argparse.ArgumentParser(description="Plan a Redis Cluster for a load.")
    for field in fields(Load):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    plan = Plan(Load(**vars(parser.parse_args())))
    for table in (load_table(plan), node_table(plan, PRIMARIES)):
        print("\n".join(table), end="\n\n")


if __name__ == "__main__":
    main()
