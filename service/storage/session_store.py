"""Sessions in Redis: many at a time, and coalesced one by one.

Every method is one round trip and one atomic step, and repeatable: called again after a lost reply it answers
the same and counts once.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain

import orjson

from service.sessions import Session, UserDigest
from service.settings import AnalyticsSettings
from service.storage.coalescer import Coalescer
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace

_logger = logging.getLogger(__name__)

Candidates = Sequence[str]

_MAX_MICROSECONDS = 2**53  # what Lua's numbers hold, in the year 2255


class SessionStore:
    """Creates, finds and ends sessions in batches."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        user_digest: UserDigest,
        *,
        ttl_seconds: int,
        analytics: AnalyticsSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._user_digest = user_digest
        self._count_ttl_seconds = (analytics.retention_days + 1) * 86400
        self._create_arguments = (ttl_seconds, self._count_ttl_seconds, analytics.top_users)
        self._clock = clock
        self._create = connection.script("create")
        self._end = connection.script("end")

    async def create_many(self, sessions: Sequence[Session]) -> Sequence[bool]:
        """Store new sessions and count them; False where something else holds the key."""
        keys = [self._keyspace.session(session.id) for session in sessions]
        values = [self._encode(session) for session in sessions]
        stored = await self._connection.run(
            lambda client: self._create(keys, [*self._create_arguments, *values], client)
        )
        return [flag == 1 for flag in stored]

    async def find_many(self, requests: Sequence[Candidates]) -> Sequence[Session | None]:
        """Return for each request the first of its candidates that is live, or None."""
        ids = list(dict.fromkeys(chain.from_iterable(requests)))
        keys = [self._keyspace.session(session_id) for session_id in ids]
        values = await self._connection.run(lambda client: client.mget(keys))
        found = {
            session_id: session
            for session_id, value in zip(ids, values, strict=True)
            if value is not None and (session := _decode(session_id, value))
        }
        return [_first(found, candidates) for candidates in requests]

    async def end_many(self, requests: Sequence[Candidates]) -> Sequence[Sequence[str]]:
        """End every live candidate; return for each request the sources of the sessions that it ended."""
        keys = [self._keyspace.session(session_id) for session_id in chain.from_iterable(requests)]
        arguments = (int(self._clock()), self._count_ttl_seconds)
        replies = iter(await self._connection.run(lambda client: self._end(keys, arguments, client)))
        return [[source for _ in candidates if (source := next(replies).decode())] for candidates in requests]

    def _encode(self, session: Session) -> bytes:
        """Return the stored value: see keyspace.py. 42 bytes for a guest, which Redis keeps in one allocation."""
        if session.user_id is None:
            return orjson.dumps([session.started_at, session.source])
        return orjson.dumps([session.started_at, session.source, session.user_id, self._user_digest(session.user_id)])


class CoalescedSessionStore:
    """The same, one request at a time: requests of one turn of the event loop share a round trip."""

    def __init__(self, store: SessionStore) -> None:
        self._creations = Coalescer(store.create_many)
        self._searches = Coalescer(store.find_many)
        self._endings = Coalescer(store.end_many)

    async def create(self, session: Session) -> None:
        """Store a new session. Raises StoreUnavailable."""
        if not await self._creations.submit(session):
            raise RuntimeError("a freshly minted session id is taken: the random source is broken")

    def find(self, candidates: Candidates) -> Awaitable[Session | None]:
        """Return the first of at least one candidate that is live, or None. Raises StoreUnavailable."""
        return self._searches.submit(candidates)

    def end(self, candidates: Candidates) -> Awaitable[Sequence[str]]:
        """End all of at least one candidate; return the sources of those that were live. Raises StoreUnavailable."""
        return self._endings.submit(candidates)

    async def close(self) -> None:
        """Wait for what is under way."""
        for coalescer in (self._creations, self._searches, self._endings):
            await coalescer.close()


def _first(found: Mapping[str, Session], candidates: Candidates) -> Session | None:
    for session_id in candidates:
        if session := found.get(session_id):
            return session
    return None


def _decode(session_id: str, value: bytes | str) -> Session | None:
    """Return the session, or None when the value is not one of ours: it is left alone and counts as absent."""
    try:
        started_at, source, *user = orjson.loads(value)
        if type(started_at) is int and 0 <= started_at < _MAX_MICROSECONDS and type(source) is str:
            if not user:
                return Session(session_id, started_at, source)
            user_id, digest = user
            if type(user_id) is type(digest) is str:
                return Session(session_id, started_at, source, user_id)
    except (ValueError, TypeError):  # not JSON, or not a list of two or four
        pass
    _logger.error("foreign data under a session key: another program writes to this Redis with our key prefix")
    return None
