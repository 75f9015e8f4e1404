"""One address at 100 times its `create_limit`: `make bench-limits`.

The service has one worker and `create_limit: 60/minute`. Visitors, each with an address
of its own, create a session every 10 ms, first alone and then while one address sends
100 creations per second. Rounds alternate, and the medians of the p99 of the rounds are
compared.
"""

import asyncio
import itertools
import json
import statistics
import time

import aiohttp

from bench.processes import KEY, service
from service.api_keys import hash_key

LIMIT = 60  # a minute
ROUNDS = 8
SECONDS = 5.0
VISIT_SECONDS = 0.01
ATTACK_SECONDS = 60 / (100 * LIMIT)

_addresses = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in itertools.count())


async def create_from(client: aiohttp.ClientSession, url: str, address: str) -> tuple[int, float]:
    """Create a session from an address. Return the status and the seconds."""
    started = time.perf_counter()
    async with client.post(url, headers={"X-API-Key": KEY, "X-Forwarded-For": address}) as response:
        await response.read()
        return response.status, time.perf_counter() - started


async def attack(client: aiohttp.ClientSession, url: str, statuses: list[int], until: float) -> None:
    """Create sessions from one address at 100 times the limit."""
    while time.perf_counter() < until:
        status, _ = await create_from(client, url, "198.51.100.7")
        statuses.append(status)
        await asyncio.sleep(ATTACK_SECONDS)


async def p99_ms(client: aiohttp.ClientSession, url: str) -> float:
    """Return the p99 in ms of other visitors' creations. All of them must be 201."""
    until = time.perf_counter() + SECONDS
    seconds = []
    while time.perf_counter() < until:
        status, took = await create_from(client, url, next(_addresses))
        assert status == 201, status  # noqa: PLR2004
        seconds.append(took)
        await asyncio.sleep(VISIT_SECONDS)
    return sorted(seconds)[len(seconds) * 99 // 100] * 1e3


async def measure(url: str) -> None:
    """Measure and print."""
    alone, attacked, statuses = [], [], list[int]()
    started = time.perf_counter()
    async with aiohttp.ClientSession() as client:
        for _ in range(ROUNDS):
            alone.append(await p99_ms(client, url))
            until = time.perf_counter() + SECONDS
            _, p99 = await asyncio.gather(attack(client, url, statuses, until), p99_ms(client, url))
            attacked.append(p99)
    allowed = LIMIT + (time.perf_counter() - started) * LIMIT / 60
    created = statuses.count(201)
    assert created <= allowed, (created, allowed)
    print(
        f"one address: {len(statuses)} creations, {created} accepted (at most {allowed:.0f} allowed), the others 429"
    )
    before, during = statistics.median(alone), statistics.median(attacked)
    print(f"p99 of the others: {before:.2f} ms alone, {during:.2f} ms during the attack, {during / before:.2f} times")


def main() -> None:
    """Run the service and measure."""
    entry = {"name": "web", "sha256": hash_key(KEY), "scopes": ["track"], "create_limit": f"{LIMIT}/minute"}
    with service(JAY_API_KEYS=json.dumps([entry]), JAY_SERVER__TRUSTED_PROXIES='["127.0.0.1"]') as running:
        asyncio.run(measure(running.url))


if __name__ == "__main__":
    main()
