"""Checks whether Redis can do now what the service needs, for /readyz."""

import math
import time
from collections.abc import Callable

from service.config.settings import AnalyticsSettings
from service.errors import StoreUnavailable
from service.sessions import SessionFactory, UserDigest
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.self_test import TTL_SECONDS
from service.storage.session_store import RedisSessionStore

# A new connection runs the self-test, which takes Redis 1 ms.
RETEST_SECONDS = 0.2
READY = "ready"  # names the throw-away keys, which a check uses again within their lifetime


class Readiness:
    """Creates, reads and ends sessions on throw-away keys, one of a guest and one of a user.

    It uses a new connection, so that the self-test notices a command that Redis no longer allows
    and that these sessions do not need.
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
            keyspace.throw_away(READY),
            ttl_seconds=TTL_SECONDS,
            analytics=AnalyticsSettings(),
            lifetimes=Lifetimes(TTL_SECONDS, TTL_SECONDS, TTL_SECONDS),
        )

    async def check(self) -> None:
        """Raise StoreUnavailable or Overloaded unless sessions can be created, read and ended."""
        if self._clock() - self._tested_at >= RETEST_SECONDS:
            self._tested_at = self._clock()
            await self._connection.reconnect()
        sessions = [self._factory.new("readiness"), self._factory.new("readiness", "readiness")]
        ids = [session.id for session in sessions]
        created = await self._store.create_many(sessions)
        found = await self._store.find_each(ids)
        ended = await self._store.end_many([ids])
        if not all(created) or list(found.values()) != sessions or len(ended[0]) != len(sessions):
            raise StoreUnavailable("a session that was just created is not there")
