"""Looking at Redis from outside, for `jay-tracking doctor`: whether counts and indexes agree with the sessions.

Sessions come and go meanwhile. The live counts of an hour are therefore read before and after all keys were visited:
of hours in which no session begins any more, the sessions found must lie between the two.

Keys are visited page by page, and so are the entries of an index, so that memory does not grow with the number of
sessions. It grows with that of counts by hour, source and shard. `SeenKeys` keeps figures exact although SCAN and
HSCAN may return a key or an entry twice.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from service.counts import DAY, HOUR
from service.sessions import SHARD_COUNT, UserDigest, is_source, shard_of
from service.storage.connection import RedisConnection
from service.storage.counters import LIVE_BYTES, numbers
from service.storage.index_check import IndexCheck, IndexFindings
from service.storage.keyspace import Keyspace
from service.storage.redis_errors import is_denied
from service.storage.seen_keys import SeenKeys
from service.storage.session_value import ERASED, decode, stored_digest

T = TypeVar("T")

_SCANNED_AT_ONCE = 1000
_INDEXES_AT_ONCE = 50  # of up to 1,000 entries each
_SETTLED_SECONDS = 60  # after the end of an hour, no session of that hour is on its way any more

# A shard, a source, and an hour since the epoch.
Bucket = tuple[int, str, int]


@dataclass
class Audit(IndexFindings):
    """What was found. `wrong_hours` are the buckets whose count is not the number of their sessions."""

    keys: int = 0
    sessions: int = 0
    users: int = 0
    without_lifetime: int = 0
    foreign: int = 0
    expired_in_indexes: int = 0
    wrong_hours: list[Bucket] = field(default_factory=list)
    compared_hours: int = 0


class _Refused(Exception):
    """The service's Redis user may not use a command of the audit."""


class _Walk:
    """One walk through all keys: those it has seen, what it found, and the live sessions by bucket."""

    def __init__(self, seen: SeenKeys, progress: Callable[[int], None], *, repair: bool) -> None:
        self.seen = seen
        self.progress = progress
        self.repair = repair
        self.found = Audit()
        self.live: Counter[Bucket] = Counter()


class Inspection:
    """Visits every key of the service once, in small steps."""

    def __init__(
        self,
        connection: RedisConnection,
        keyspace: Keyspace,
        user_digest: UserDigest,
        *,
        ttl_seconds: int,
        previous: Sequence[UserDigest] = (),
    ) -> None:
        """`user_digest` belongs to the current secret, `previous` to earlier ones."""
        self._connection = connection
        self._keyspace = keyspace
        self._indexes = IndexCheck(self._ask, connection, keyspace, (user_digest, *previous))
        self._ttl_seconds = ttl_seconds

    async def server(self) -> dict[str, Any] | None:
        """Return what INFO tells, None where the service's Redis user may not ask. Raises StoreUnavailable."""
        return await self._if_allowed(lambda client: client.info())

    async def count_keys(self) -> int | None:
        """Return how many keys the database holds, None where the service's Redis user may not ask."""
        return await self._if_allowed(lambda client: client.dbsize())

    async def audit(self, progress: Callable[[int], None], *, repair: bool) -> Audit | None:
        """Compare; with `repair` take expired sessions out of indexes, and put in those that are missing.

        `progress` is called with the number of keys just visited. None where the service's Redis user may not look.
        Raises StoreUnavailable, and CommandError where there is no room for a temporary file.
        """
        try:
            with SeenKeys() as seen:
                return await self._audit(_Walk(seen, progress, repair=repair))
        except _Refused:
            return None

    async def _audit(self, walk: "_Walk") -> Audit:
        began = time.time()
        before = await self._live_by_hour(began)
        cursor = 0
        while True:
            cursor, keys = await self._scan(cursor)
            fresh = walk.seen.fresh(keys)
            await self._visit([key.decode(errors="replace") for key in fresh], walk)
            walk.progress(len(fresh))
            if not cursor:
                break
        after = await self._live_by_hour(began)
        found, live = walk.found, walk.live
        first_hour = (int(time.time()) - self._ttl_seconds) // HOUR + 1  # before it, sessions have expired
        moving_hour = int(began - _SETTLED_SECONDS) // HOUR
        for bucket in sorted({*before, *after, *live}):
            is_right = before[bucket] >= live[bucket] >= after[bucket]
            if bucket[2] >= first_hour and (is_right or bucket[2] < moving_hour):
                found.compared_hours += before[bucket] > 0
                if not is_right:
                    found.wrong_hours.append(bucket)
        return found

    async def _scan(self, cursor: int) -> Any:
        step = await self._if_allowed(
            lambda client: client.scan(cursor, match=self._keyspace.pattern, count=_SCANNED_AT_ONCE)
        )
        if step is None:
            raise _Refused
        return step

    async def _live_by_hour(self, now: float) -> Counter[Bucket]:
        """Return what the counts say is live, as far back as a session lives."""
        days = range((int(now) - self._ttl_seconds) // DAY, int(now) // DAY + 1)
        live: Counter[Bucket] = Counter()
        for shard in range(SHARD_COUNT):
            known = await self._ask(*(("SMEMBERS", self._keyspace.sources(shard, day)) for day in days))
            names = [
                (day, name)
                for day, sources in zip(days, known, strict=True)
                if not isinstance(sources, Exception)
                for source in sources
                if is_source(name := source.decode(errors="replace"))
            ]
            keys = [self._keyspace.day(shard, day, source) for day, source in names]
            values = await self._ask(*(("GETRANGE", key, *LIVE_BYTES) for key in keys))
            for (day, source), value in zip(names, values, strict=True):
                counters = numbers(value) if isinstance(value, bytes) else []
                for hour, count in enumerate(counters):
                    live[shard, source, day * 24 + hour] = count
        return live

    async def _visit(self, keys: Sequence[str], walk: "_Walk") -> None:
        keys = [key for key in keys if not self._keyspace.is_throw_away(key)]
        if not keys:
            return
        found = walk.found
        found.keys += len(keys)
        found.without_lifetime += (await self._ask(*(("TTL", key) for key in keys))).count(-1)
        ids = {key: session_id for key in keys if (session_id := self._keyspace.id_in(key))}
        values = await self._ask(*(("GET", key) for key in ids))
        users = []
        for session_id, value in zip(ids.values(), values, strict=True):
            session = decode(session_id, value) if isinstance(value, bytes) else None
            if session is None:
                found.foreign += value is not None and value != ERASED
                continue
            found.sessions += 1
            walk.live[shard_of(session_id), session.source, session.started_at // 1_000_000 // HOUR] += 1
            if session.user_id is not None:
                users.append((session, stored_digest(value)))
        found.users += len(users)
        await self._indexes.check(users, found, repair=walk.repair)
        indexes = [key for key in keys if self._keyspace.is_user_index(key)]
        for start in range(0, len(indexes), _INDEXES_AT_ONCE):
            await self._check_indexes(indexes[start : start + _INDEXES_AT_ONCE], walk)

    async def _check_indexes(self, indexes: Sequence[str], walk: "_Walk") -> None:
        """Count expired entries. They are no error, but take room until the user comes again."""
        cursors = dict.fromkeys(indexes, 0)
        while cursors:
            pages = await self._ask(
                *(("HSCAN", index, cursor, "COUNT", _SCANNED_AT_ONCE) for index, cursor in cursors.items())
            )
            entries = []
            for index, page in zip(list(cursors), pages, strict=True):
                if isinstance(page, Exception):
                    walk.found.foreign += 1
                    del cursors[index]
                    continue
                cursors[index], ids = page
                entries += [(index, session_id.decode(errors="replace")) for session_id in ids]
                if not cursors[index]:
                    del cursors[index]
            for start in range(0, len(entries), _SCANNED_AT_ONCE):
                await self._check_entries(entries[start : start + _SCANNED_AT_ONCE], walk)

    async def _check_entries(self, entries: Sequence[tuple[str, str]], walk: "_Walk") -> None:
        alive = await self._ask(*(("EXISTS", index.rpartition("user:")[0] + one) for index, one in entries))
        expired = [entry for entry, flag in zip(entries, alive, strict=True) if flag == 0]
        walk.found.expired_in_indexes += len(walk.seen.fresh(f"{index} {one}".encode() for index, one in expired))
        if walk.repair:
            await self._ask(*(("HDEL", index, session_id) for index, session_id in expired))

    async def _if_allowed(self, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        async def ask(client: Redis) -> T | None:
            try:
                return await operation(client)
            except exceptions.ResponseError as error:
                if is_denied(error):
                    return None
                raise

        return await self._connection.run("inspect", ask)

    async def _ask(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Return the replies to repeatable commands, sent together.

        An error reply, such as that to a command for another type of key, is returned. Raises _Refused where one of
        the commands is not allowed: its reply says nothing about the key.
        """

        async def send(client: Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

        replies = await self._connection.run("inspect", send) if commands else []
        if any(isinstance(reply, exceptions.ResponseError) and is_denied(reply) for reply in replies):
            raise _Refused
        return replies
