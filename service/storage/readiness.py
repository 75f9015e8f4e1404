"""Checks for /readyz that Redis can do what the service needs."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from service.config.settings import AnalyticsSettings
from service.errors import Overloaded, StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory, UserDigest
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.self_test_steps import TTL_SECONDS
from service.storage.session_store import RedisSessionStore

# Redis needs 1 ms for the self-test of a new connection. With this pause the self-tests
# of a worker take at most 0.5 % of its time.
RETEST_SECONDS = 0.2
# All checks use the same temporary keys, under this name.
READINESS_KEYS = "ready"


class Readiness:
    """Creates, reads and ends the sessions of a guest and of a user, on temporary keys.

    A check uses a new connection, so the self-test runs too. It finds commands that
    Redis no longer allows, including those that these sessions do not need.
    """

    def __init__(
        self, connection: RedisConnection, keyspace: Keyspace, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._tested_at = -math.inf
        self._factory = SessionFactory(UserDigest("readiness"))
        self._store = RedisSessionStore(
            connection,
            keyspace.temporary(READINESS_KEYS),
            ttl_seconds=TTL_SECONDS,
            analytics=AnalyticsSettings(),
            lifetimes=Lifetimes(TTL_SECONDS, TTL_SECONDS, TTL_SECONDS),
        )

    async def check(self) -> Sequence[int]:
        """Return the shards whose sessions cannot be used.

        Raises StoreUnavailable or Overloaded when none can be used. With a single
        server, the list is empty.
        """
        if self._clock() - self._tested_at >= RETEST_SECONDS:
            self._tested_at = self._clock()
            await self._connection.reconnect()
        if not self._connection.servers.follows_redirects:
            # The self-test of this connection finds out about groups by shard.
            await self._connection.run("ping", lambda client: client.ping())
        if not self._connection.groups_by_shard:
            await self._check([self._factory.new("readiness"), self._factory.new("readiness", "readiness")])
            return []
        sessions = [self._factory.new("readiness") for _ in range(SHARD_COUNT)]
        by_shard = [session._replace(id=f"{shard:x}{session.id[1:]}") for shard, session in enumerate(sessions)]
        results = await asyncio.gather(*(self._check([one]) for one in by_shard), return_exceptions=True)
        errors = {shard: result for shard, result in enumerate(results) if isinstance(result, BaseException)}
        for error in errors.values():
            if len(errors) == SHARD_COUNT or not isinstance(error, StoreUnavailable | Overloaded):
                raise error
        return sorted(errors)

    async def _check(self, sessions: Sequence[Session]) -> None:
        ids = [session.id for session in sessions]
        created = await self._store.create_many(sessions)
        found = await self._store.find_each(ids)
        ended = await self._store.end_many([ids])
        if not all(created) or list(found.values()) != sessions or len(ended[0]) != len(sessions):
            raise StoreUnavailable("Redis does not return a session that was just created")
