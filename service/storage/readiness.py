"""Does Redis do now what a creation of a session needs: the check behind /readyz."""

from service.config.settings import AnalyticsSettings
from service.errors import StoreUnavailable
from service.sessions import SessionFactory, UserDigest
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.self_test import TTL_SECONDS
from service.storage.session_store import SessionStore

READY = "ready"  # names the throw-away keys, which a check uses again within their lifetime


class Readiness:
    """Creates, reads and ends sessions on throw-away keys, one of a guest and one of a user."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace) -> None:
        digest = UserDigest("readiness")
        self._factory = SessionFactory(digest)
        self._store = SessionStore(
            connection,
            keyspace.throw_away(READY),
            digest,
            ttl_seconds=TTL_SECONDS,
            analytics=AnalyticsSettings(),
            lifetimes=Lifetimes(TTL_SECONDS, TTL_SECONDS, TTL_SECONDS),
        )

    async def check(self) -> None:
        """Raise StoreUnavailable or Overloaded unless sessions can be created, read and ended."""
        sessions = [self._factory.new("readiness"), self._factory.new("readiness", "readiness")]
        ids = [session.id for session in sessions]
        created = await self._store.create_many(sessions)
        found = await self._store.find_each(ids)
        ended = await self._store.end_many([ids])
        if not all(created) or list(found.values()) != sessions or len(ended[0]) != len(sessions):
            raise StoreUnavailable("a session that was just created is not there")
