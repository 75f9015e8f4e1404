"""The CPU time that creating a session costs Redis: `make bench-creation`, 30 s.

The benchmark sends batches of 32 through the real write path, the size with 64 visitors
at once (docs/benchmarks.md). Sessions are of a guest, of a user who is new on this day,
or of a user with sessions on this day. The time is that of `EVALSHA` in `INFO
commandstats`, per session.

Other work of the machine makes a round longer. Short rounds, their median and their
minimum limit this effect. Limits: 9 µs for a guest and 25 µs for a user.
"""

import asyncio
import itertools
import random
import statistics
from collections.abc import Callable

from bench.scale import SOURCES, Bench, bench_on, new, user_id
from tests.support.servers import binaries

BATCH = 32
BATCHES = 100
ROUNDS = 15
KNOWN_USERS = 1500


async def microseconds(bench: Bench, user: Callable[[], str | None]) -> float:
    """Create sessions and return the time of Redis for each, in µs."""
    await bench.raw.config_resetstat()
    for _ in range(BATCHES):
        assert all(await bench.store.create_many([new(SOURCES[0], user()) for _ in range(BATCH)]))
    spent = (await bench.raw.info("commandstats"))["cmdstat_evalsha"]["usec"]
    return float(spent) / BATCHES / BATCH


async def main() -> None:
    """Measure and print, on every installed server."""
    numbers, chance = itertools.count(KNOWN_USERS), random.Random(1)  # noqa: S311 - a seed, so that runs are equal
    kinds: dict[str, Callable[[], str | None]] = {
        "guest": lambda: None,
        "new user": lambda: user_id(0, next(numbers)),
        "known user": lambda: user_id(0, chance.randrange(KNOWN_USERS)),
    }
    for name, binary in binaries().items():
        async with bench_on(binary) as bench:
            server = await bench.raw.info("server")
            print(name, server.get("valkey_version") or server["redis_version"])
            for kind, user in kinds.items():
                await microseconds(bench, user)
                rounds = [await microseconds(bench, user) for _ in range(ROUNDS)]
                figures = f"median {statistics.median(rounds):5.1f} µs, minimum {min(rounds):5.1f} µs"
                print(f"  {kind:10} {figures} of Redis per session", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
