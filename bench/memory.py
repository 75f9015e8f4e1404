"""The memory of a session in Redis, counts included: `make bench-memory`.

The benchmark creates 100,000 sessions through the real write path and divides the
growth of `used_memory` by their number. It runs on every installed server: the wheel's
Valkey and redis-server.
"""

import asyncio
import tempfile
from itertools import product
from pathlib import Path

import redis.asyncio

from service.config.settings import RedisSettings
from service.digests import UserDigest
from service.sessions import SessionFactory
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from tests.support.servers import RedisServer, binaries

SESSIONS = 100_000
BATCH = 100
SOURCE = "jay.api.playout.1.0.0"


async def bytes_per_session(server: RedisServer, user: str | None, *, once: bool) -> float:
    """Fill the server and return the growth of `used_memory` per session.

    With `once`, each creation has an `Idempotency-Key`.
    """
    connection = RedisConnection.alone(server.url, RedisSettings(timeout_seconds=5))
    store = RedisSessionStore(connection, Keyspace("jay"), Lifetimes.of(86400, 90), top_users=100)
    factory = SessionFactory(UserDigest("bench-secret"))
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        await raw.flushall()
        await store.create_many([factory.new("warm-up")])
        await raw.flushall()
        before = (await raw.info("memory"))["used_memory"]
        for start in range(0, SESSIONS, BATCH):
            users = {number: user and f"{user}-{number}" for number in range(start, start + BATCH)}
            if once:
                requests = [factory.new_once(SOURCE, one, str(number)) for number, one in users.items()]
                await store.create_many_once(requests)
            else:
                await store.create_many([factory.new(SOURCE, one) for one in users.values()])
        after = (await raw.info("memory"))["used_memory"]
        version = (await raw.info("server")).get("valkey_version") or (await raw.info("server"))["redis_version"]
    await connection.close()
    kind = ("user" if user else "guest") + (", with an Idempotency-Key" if once else "")
    print(f"{version:8} {kind:31} {(after - before) / SESSIONS:6.1f} B per session, counts included")
    return float(after - before) / SESSIONS


def main() -> None:
    """Measure and print, on every installed server."""
    for name, binary in binaries().items():
        for user, once in product((None, "user"), (False, True)):
            with tempfile.TemporaryDirectory(prefix=name) as folder, RedisServer(binary, Path(folder)) as server:
                asyncio.run(bytes_per_session(server, user, once=once))


if __name__ == "__main__":
    main()
