"""Looking at Redis from outside, for `jay-tracking doctor`: whether counts and indexes agree with the sessions.

Sessions come and go meanwhile. The live counts of an hour are therefore read before and after all keys were visited:
of hours in which no session begins any more, the sessions found must lie between the two.
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
from service.storage.keyspace import Keyspace
from service.storage.session_value import decode

T = TypeVar("T")

_SCANNED_AT_ONCE = 1000
_SETTLED_SECONDS = 60  # after the end of an hour, no session of that hour is on its way any more

# A shard, a source, and an hour since the epoch.
Bucket = tuple[int, str, int]


@dataclass
class Audit:
    """What was found. `wrong_hours` are the buckets whose count is not the number of their sessions."""

    keys: int = 0
    sessions: int = 0
    users: int = 0
    without_lifetime: int = 0
    foreign: int = 0
    not_indexed: int = 0
    expired_in_indexes: int = 0
    wrong_hours: list[Bucket] = field(default_factory=list)
    compared_hours: int = 0


class Inspection:
    """Visits every key of the service once, in small steps."""

    def __init__(
        self, connection: RedisConnection, keyspace: Keyspace, user_digest: UserDigest, *, ttl_seconds: int
    ) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._user_digest = user_digest
        self._ttl_seconds = ttl_seconds

    async def server(self) -> dict[str, Any] | None:
        """Return what INFO tells, None where the service's Redis user may not ask. Raises StoreUnavailable."""
        return await self._if_allowed(lambda client: client.info())

    async def count_keys(self) -> int | None:
        """Return how many keys the database holds, None where the service's Redis user may not ask."""
        return await self._if_allowed(lambda client: client.dbsize())

    async def audit(self, progress: Callable[[int], None], *, repair: bool) -> Audit | None:
        """Compare; with `repair` take expired sessions out of indexes, and put in those that are missing.

        `progress` is told how many keys were visited. None where the service's user may not SCAN.
        """
        began = time.time()
        before = await self._live_by_hour(began)
        found = Audit()
        live: Counter[Bucket] = Counter()
        seen: set[bytes] = set()  # SCAN may tell a key twice
        cursor = 0
        while True:
            step = await self._scan(cursor)
            if step is None:
                return None
            cursor, keys = step
            fresh = [key for key in keys if key not in seen]
            seen.update(fresh)
            await self._visit([key.decode(errors="replace") for key in fresh], found, live, repair=repair)
            progress(len(fresh))
            if not cursor:
                break
        after = await self._live_by_hour(began)
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
        return await self._if_allowed(
            lambda client: client.scan(cursor, match=self._keyspace.pattern, count=_SCANNED_AT_ONCE)
        )

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

    async def _visit(self, keys: Sequence[str], found: Audit, live: Counter[Bucket], *, repair: bool) -> None:
        if not keys:
            return
        found.keys += len(keys)
        found.without_lifetime += (await self._ask(*(("TTL", key) for key in keys))).count(-1)
        ids = {key: session_id for key in keys if (session_id := self._keyspace.id_in(key))}
        values = await self._ask(*(("GET", key) for key in ids))
        users = []
        for (key, session_id), value in zip(ids.items(), values, strict=True):
            session = decode(session_id, value) if isinstance(value, bytes) else None
            if session is None:
                found.foreign += value is not None
                continue
            found.sessions += 1
            live[shard_of(session_id), session.source, session.started_at // 1_000_000 // HOUR] += 1
            if session.user_id is not None:
                users.append((key, session_id, self._keyspace.user(self._user_digest(session.user_id))))
        await self._check_indexed(users, found, repair=repair)
        await self._check_indexes([key for key in keys if self._keyspace.is_user_index(key)], found, repair=repair)

    async def _check_indexed(self, users: Sequence[tuple[str, str, str]], found: Audit, *, repair: bool) -> None:
        """See that each session of a user, as key, id and index, stands in the index, or erasing would miss it."""
        found.users += len(users)
        is_there = await self._ask(*(("HEXISTS", index, session_id) for _, session_id, index in users))
        for (key, session_id, index), flag in zip(users, is_there, strict=True):
            if flag:
                continue
            now_there, lifetime = await self._ask(("HEXISTS", index, session_id), ("TTL", key))
            if now_there == 0 and lifetime > 0:  # else it ended meanwhile
                found.not_indexed += 1
                if repair:
                    put = ("HSET", index, session_id, "")
                    await self._ask(put, ("EXPIRE", index, lifetime, "NX"), ("EXPIRE", index, lifetime, "GT"))

    async def _check_indexes(self, indexes: Sequence[str], found: Audit, *, repair: bool) -> None:
        """Count what has expired, which is no mistake, but takes room until the user comes again."""
        entries = []
        for index, ids in zip(indexes, await self._ask(*(("HKEYS", index) for index in indexes)), strict=True):
            if isinstance(ids, Exception):
                found.foreign += 1
            else:
                entries += [(index, session_id.decode(errors="replace")) for session_id in ids]
        for start in range(0, len(entries), _SCANNED_AT_ONCE):
            part = entries[start : start + _SCANNED_AT_ONCE]
            alive = await self._ask(*(("EXISTS", index.rpartition("user:")[0] + one) for index, one in part))
            expired = [entry for entry, flag in zip(part, alive, strict=True) if flag == 0]
            found.expired_in_indexes += len(expired)
            if repair:
                await self._ask(*(("HDEL", index, session_id) for index, session_id in expired))

    async def _if_allowed(self, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        async def ask(client: Redis) -> T | None:
            try:
                return await operation(client)
            except exceptions.NoPermissionError:
                return None

        return await self._connection.run("inspect", ask)

    async def _ask(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Return the replies to repeatable commands, sent together; an error reply is returned, not raised."""

        async def send(client: Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

        return await self._connection.run("inspect", send) if commands else []
