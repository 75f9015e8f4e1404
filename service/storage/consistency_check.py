"""Checks for `jay-tracking doctor` whether counts and indexes agree with the sessions.

Sessions begin, end and change during the check. So a count by hour that differs from
its sessions is compared again, in a second scan (`hour_comparison.py`).

Keys and the entries of indexes are visited in pages, so memory does not grow with the
number of sessions. It grows with the number of counts by hour, source and shard.
`SeenKeys` keeps the figures exact although SCAN and HSCAN may return a key or an entry
twice.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from service.digests import UserDigest
from service.sessions import Session, shard_of
from service.storage.client import Command
from service.storage.connection import RedisConnection
from service.storage.hour_comparison import Difference, HourComparison, certain, confirmed
from service.storage.index_check import IndexCheck, IndexReport
from service.storage.keyspace import Keyspace
from service.storage.live_counts import Bucket, LiveCounts
from service.storage.paging import pages
from service.storage.redis_errors import is_denied
from service.storage.seen_keys import SeenKeys
from service.storage.session_value import decode, is_dead

T = TypeVar("T")

_SCAN_COUNT = 1000
# Sessions between two reads of their counts.
_COMPARED_AT_ONCE = 100


@dataclass
class ConsistencyReport(IndexReport):
    """The figures of a check.

    `wrong_hours` are the buckets whose count differs from the number of their sessions.
    """

    keys: int = 0
    sessions: int = 0
    users: int = 0
    without_lifetime: int = 0
    wrong_hours: list[Bucket] = field(default_factory=list)
    compared_hours: int = 0


class _Denied(Exception):
    """The service's Redis user may not run a command of the check."""


class _Scan:
    """The state of one scan of all keys."""

    def __init__(
        self, seen: SeenKeys, hours: HourComparison, progress: Callable[[int], None], *, repair: bool
    ) -> None:
        self.seen = seen
        self.hours = hours
        self.progress = progress
        self.repair = repair
        self.report = ConsistencyReport()


class ConsistencyCheck:
    """Visits every key of the service once, in small pages."""

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
        self._indexes = IndexCheck(self._read, connection, keyspace, (user_digest, *previous))
        self._live_counts = LiveCounts(self._read, keyspace)
        self._ttl_seconds = ttl_seconds

    async def servers(self) -> Sequence[dict[str, Any] | None]:
        """Return the fields of INFO of each server, or None where it is not allowed.

        Raises StoreUnavailable.
        """
        urls = await self._connection.server_urls()
        return [await self._if_allowed(url, lambda client: client.info()) for url in urls]

    async def count_keys(self) -> int | None:
        """Return the number of keys in Redis, or None when DBSIZE is not allowed."""
        urls = await self._connection.server_urls()
        numbers = [await self._if_allowed(url, lambda client: client.dbsize()) for url in urls]
        return None if None in numbers else sum(filter(None, numbers))

    async def run(self, progress: Callable[[int], None], *, repair: bool) -> ConsistencyReport | None:
        """Check all keys, or return None when a command is not allowed.

        With `repair`, expired sessions are removed from indexes and missing ones are
        added. `progress` is called with the number of keys in each page. Raises
        StoreUnavailable, and CommandError when the disk has no room for a temporary
        file.
        """
        try:
            with SeenKeys() as seen:
                hours = HourComparison(self._live_counts, self._ttl_seconds)
                return await self._run(_Scan(seen, hours, progress, repair=repair))
        except _Denied:
            return None

    async def _run(self, scan: _Scan) -> ConsistencyReport:
        await scan.hours.begin()
        async for keys in self._new_keys(scan.seen):
            await self._visit(keys, scan)
            scan.progress(len(keys))
        differences = await scan.hours.differences()
        wrong = certain(differences)
        if wrong:
            wrong = confirmed(wrong, await self._compare_again(wrong))
        scan.report.compared_hours = len(differences)
        scan.report.wrong_hours = sorted(wrong)
        return scan.report

    async def _compare_again(self, buckets: Collection[Bucket]) -> Mapping[Bucket, Difference]:
        """Compare some counts in a scan that follows their changes."""
        shards = {shard for shard, _, _ in buckets}
        hours = HourComparison(self._live_counts, self._ttl_seconds, buckets)
        await hours.begin()
        with SeenKeys() as seen:
            async for keys in self._new_keys(seen):
                ids = ((key, self._keyspace.id_in(key)) for key in keys)
                some = [key for key, session_id in ids if session_id and shard_of(session_id) in shards]
                for page in pages(some, _COMPARED_AT_ONCE):
                    sessions, _ = await self._sessions(page)
                    hours.add(sessions)
                    await hours.observe()
        return await hours.differences()

    async def _new_keys(self, seen: SeenKeys) -> AsyncIterator[list[str]]:
        """Yield the keys of all servers in pages, each key once."""
        for url in await self._connection.server_urls():
            cursor: int | None = None
            while cursor != 0:
                scan = partial(_scan_page, cursor=cursor or 0, pattern=self._keyspace.pattern)
                page = await self._if_allowed(url, scan)
                if page is None:
                    raise _Denied
                cursor, keys = page
                yield [key.decode(errors="replace") for key in seen.add(keys)]

    async def _visit(self, keys: Sequence[str], scan: _Scan) -> None:
        keys = [key for key in keys if not self._keyspace.is_temporary(key)]
        if not keys:
            return
        report = scan.report
        report.keys += len(keys)
        report.without_lifetime += (await self._read(*(("TTL", key) for key in keys))).count(-1)
        sessions, foreign = await self._sessions(keys)
        report.foreign += foreign
        report.sessions += len(sessions)
        scan.hours.add(sessions)
        users = [(session, session.user_digest) for session in sessions if session.user_digest is not None]
        report.users += len(users)
        await self._indexes.check(users, report, repair=scan.repair)
        indexes = [key for key in keys if self._keyspace.is_user_index(key)]
        await self._indexes.count_expired(indexes, report, scan.seen, repair=scan.repair)

    async def _sessions(self, keys: Sequence[str]) -> tuple[list[Session], int]:
        """Return the sessions under the keys, and the number of foreign values."""
        ids = {key: session_id for key in keys if (session_id := self._keyspace.id_in(key))}
        values = await self._read(*(("GET", key) for key in ids))
        sessions, foreign = [], 0
        for session_id, value in zip(ids.values(), values, strict=True):
            session = decode(session_id, value) if isinstance(value, bytes) else None
            if session is not None:
                sessions.append(session)
            else:
                foreign += value is not None and not (isinstance(value, bytes) and is_dead(value))
        return sessions, foreign

    async def _if_allowed(self, url: str, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        async def run(client: Redis) -> T | None:
            try:
                return await operation(client)
            except exceptions.ResponseError as error:
                if is_denied(error):
                    return None
                raise

        return await self._connection.run_on(url, "inspect", run)

    async def _read(self, *commands: Command) -> list[Any]:
        """Return the replies to idempotent commands that are sent together.

        An error reply, such as WRONGTYPE, is returned. Raises _Denied when a command is
        not allowed, because the reply then says nothing about the key.
        """
        if not commands:
            return []
        replies = await self._connection.call_all("inspect", commands, lambda error: error)
        if any(isinstance(reply, exceptions.ResponseError) and is_denied(reply) for reply in replies):
            raise _Denied
        return replies


async def _scan_page(client: Redis, *, cursor: int, pattern: str) -> Any:
    return await client.scan(cursor, match=pattern, count=_SCAN_COUNT)
