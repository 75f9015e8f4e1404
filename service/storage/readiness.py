"""Checks for /readyz that Redis can do what the service needs."""

import math
import time
from collections.abc import Sequence
from itertools import chain

from service.digests import UserDigest
from service.errors import Overloaded, StoreUnavailable
from service.sessions import SHARD_COUNT, Session, SessionFactory
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.redirects import all_of
from service.storage.self_test_steps import TTL_SECONDS
from service.storage.session_store import RedisSessionStore

# Redis needs 1 ms for the self-test of a new connection. With this pause the self-tests
# of a worker take at most 0.5 % of its time.
RETEST_SECONDS = 0.2
# All checks use the same temporary keys, under this name.
READINESS_KEYS = "ready"
_TOP_USERS = 10  # the minimum of `analytics.top_users`


class Readiness:
    """Creates, reads and ends the sessions of a guest and of a user, on temporary keys.

    A check uses a new connection, so the self-test runs too. It finds commands that
    Redis no longer allows, including those that these sessions do not need.
    """

    def __init__(self, connection: RedisConnection, keyspace: Keyspace) -> None:
        self._connection = connection
        self._tested_at = -math.inf
        self._factory = SessionFactory(UserDigest("readiness"))
        self._store = RedisSessionStore(
            connection,
            keyspace.temporary(READINESS_KEYS),
            Lifetimes(TTL_SECONDS, TTL_SECONDS, TTL_SECONDS),
            top_users=_TOP_USERS,
        )

    async def check(self) -> Sequence[int]:
        """Return the shards whose sessions cannot be used.

        Raises StoreUnavailable or Overloaded when none can be used. With a single
        server, the list is empty.
        """
        now = time.monotonic()
        if now - self._tested_at >= RETEST_SECONDS:
            self._tested_at = now
            await self._connection.reconnect()
        if not self._connection.servers.follows_redirects:
            # The self-test of this connection finds out about groups by shard.
            await self._connection.run("ping", lambda client: client.ping())
        if not self._connection.groups_by_shard:
            await self._check([self._factory.new("readiness"), self._factory.new("readiness", "readiness")])
            return []
        servers = self._connection.servers
        by_server = [servers.shards_of(url) for url in await self._connection.server_urls()]
        outs = await all_of([self._shards_out(shards) for shards in by_server])
        shards_out = sorted(chain.from_iterable(outs))
        if len(shards_out) == SHARD_COUNT:
            raise StoreUnavailable("no shard takes writes")
        return shards_out

    async def _shards_out(self, shards: Sequence[int]) -> list[int]:
        """Return those shards of a server that cannot be used."""
        sessions = [self._factory.new("readiness") for _ in shards]
        in_shards = [one._replace(id=f"{shard:x}{one.id[1:]}") for shard, one in zip(shards, sessions, strict=True)]
        try:
            await self._check(in_shards)
        except (StoreUnavailable, Overloaded):
            if len(shards) == 1:
                return [*shards]
        else:
            return []
        # A breaker is open now if the server does not answer, so this takes no time.
        return [out for shard in shards for out in await self._shards_out([shard])]

    async def _check(self, sessions: Sequence[Session]) -> None:
        ids = [session.id for session in sessions]
        await self._store.create_many(sessions)
        found = await self._store.find_each(ids)
        ended = await self._store.end_many([ids])
        if list(found.values()) != sessions or len(ended[0]) != len(sessions):
            raise StoreUnavailable("Redis does not return a session that was just created")
