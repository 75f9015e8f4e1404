"""One user's sessions: what there is, and erasing it.

All of a user is in one shard, so each is one atomic step; only for tens of thousands of sessions it is several, so
that others who ask Redis meanwhile need not wait too long.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

from redis import exceptions
from redis.asyncio import Redis

from service.counts import Bounds, CountRange, UserCounts
from service.errors import StoreUnavailable
from service.sessions import Session, UserDigest
from service.settings import AnalyticsSettings
from service.storage.connection import RedisConnection
from service.storage.keyspace import RECEIPT_SECONDS, Keyspace, count_lifetime_seconds
from service.storage.session_value import decode

_VISITED_AT_ONCE = 12_000  # sessions; erasing as many takes Redis 0.1 s


class Users:
    """Finds and erases what is kept of a user."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        user_digest: UserDigest,
        *,
        analytics: AnalyticsSettings,
    ) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._user_digest = user_digest
        self._count_lifetime = count_lifetime_seconds(analytics.retention_days)
        self._user = connection.script("user")
        self._erase = connection.script("erase")

    async def find_sessions(self, user_id: str) -> Sequence[Session]:
        """Return the live sessions, oldest first. Raises StoreUnavailable."""
        sessions, _ = await self._look_up(user_id, 1, 0)
        return sessions

    async def count(self, user_id: str, asked: CountRange) -> UserCounts:
        """Return the user's figures. Raises StoreUnavailable.

        Created sessions are known from the top lists, and at least those are certain that are still live.
        """
        sessions, created = await self._look_up(user_id, asked.first_day, asked.last_day)
        known = sum(asked.start <= session.started_at // 1_000_000 < asked.end for session in sessions)
        at_least = max(created.at_least, known)
        by_source = Counter(session.source for session in sessions)
        return UserCounts(dict(sorted(by_source.items())), Bounds(at_least, max(created.at_most, at_least)))

    async def erase(self, user_id: str, now_us: int) -> int:
        """End all sessions of the user and forget the id; return how many they were. Raises StoreUnavailable.

        Whatever runs at the same time, no session that began at `now_us` or before survives.
        """
        digest = self._user_digest(user_id)
        keys, whose = [self._keyspace.user(digest)], (user_id, digest, now_us, self._count_lifetime, RECEIPT_SECONDS)
        cursor: bytes = b"0"
        erased: int = 0
        while True:
            arguments = (*whose, secrets.token_hex(8), cursor, _VISITED_AT_ONCE)
            cursor, number = await self._erase(keys, arguments)
            erased += number
            if cursor == b"0":
                return erased

    async def rewrite_append_only_file(self) -> bool:
        """Have Redis write its append-only file anew, without what was erased; False where it does not do so now."""
        try:
            return await self._connection.run("rewrite", _rewrite)
        except StoreUnavailable:
            return False

    async def _look_up(self, user_id: str, first_day: int, last_day: int) -> tuple[Sequence[Session], Bounds]:
        digest = self._user_digest(user_id)
        keys, cursor, found = [self._keyspace.user(digest)], b"0", {}
        while True:
            arguments = (user_id, digest, first_day, last_day, cursor, _VISITED_AT_ONCE)
            cursor, page, at_least, at_most = await self._user(keys, arguments)
            for session_id, value in zip(page[::2], page[1::2], strict=True):
                session = decode(session_id.decode(), value)
                if session and session.user_id == user_id:
                    found[session.id] = session
            if cursor == b"0":
                break
        return sorted(found.values(), key=attrgetter("started_at", "id")), Bounds(at_least, at_most)


async def _rewrite(client: Redis) -> bool:
    """Ask for a rewrite; refused when one is under way, or when the service's Redis user may not ask.

    Not without need: Redis writes such a file when asked even where it keeps none, and leaves it there.
    """
    try:
        if not (await client.info("persistence")).get("aof_enabled"):
            return False
    except exceptions.NoPermissionError:
        pass
    try:
        await client.bgrewriteaof()
    except exceptions.ResponseError:
        return False
    return True
