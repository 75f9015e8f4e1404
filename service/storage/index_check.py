"""Checks for `jay-tracking doctor` that an erasure finds every session of a user.

It also counts the expired entries of indexes, and repairs indexes where that is
possible.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from service.digests import UserDigest
from service.sessions import Session, shard_of
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.live_counts import Read
from service.storage.paging import pages
from service.storage.seen_keys import SeenKeys
from service.storage.sharding import grouped

_SCAN_COUNT = 1000
# Each index returns up to 1,000 entries.
_INDEXES_AT_ONCE = 50


@dataclass
class IndexReport:
    """The figures of a check of indexes.

    Three count sessions of users that an erasure would not find: `not_indexed` are
    missing from the user's index, `misplaced` are not in the shard of this index, and
    the digests of `unknown_secret` belong to no secret in the settings. `repaired`
    counts those of `not_indexed` that were added to their index. `expired_in_indexes`
    counts entries of expired sessions, and `foreign` counts keys with values of other
    programs.
    """

    not_indexed: int = 0
    repaired: int = 0
    misplaced: int = 0
    unknown_secret: int = 0
    expired_in_indexes: int = 0
    foreign: int = 0


class IndexCheck:
    """Looks up each session in the index of its stored digest."""

    def __init__(
        self, read: Read, connection: RedisConnection, keyspace: Keyspace, user_digests: Sequence[UserDigest]
    ) -> None:
        self._read = read
        self._keyspace = keyspace
        self._user_digests = user_digests
        self._connection = connection

    async def check(self, sessions: Sequence[tuple[Session, str]], report: IndexReport, *, repair: bool) -> None:
        """Check sessions of users, each with the user digest in its value."""
        reachable = [(session, digest) for session, digest in sessions if self._is_reachable(session, digest, report)]
        missing = await self._missing(reachable)
        # A session may have ended between the two reads, so these are read again.
        missing = await self._missing(missing)
        report.not_indexed += len(missing)
        if missing and repair:
            await self._repair([session.id for session, _ in missing])
            report.repaired += len(missing) - len(await self._missing(missing))

    async def _repair(self, session_ids: Sequence[str]) -> None:
        parts = grouped(range(len(session_ids)), lambda position: shard_of(session_ids[position]))
        keys = [[self._keyspace.session(session_ids[position]) for position in part] for part in parts]
        commands = [self._connection.script_command("repair", one, ()) for one in keys]
        await self._connection.call_all("repair", commands, is_write=True)

    def _is_reachable(self, session: Session, digest: str, report: IndexReport) -> bool:
        assert session.user_id is not None  # noqa: S101 - the caller passes sessions of users
        if all(user_digest(session.user_id) != digest for user_digest in self._user_digests):
            report.unknown_secret += 1
        elif shard_of(digest) != shard_of(session.id):
            report.misplaced += 1
        else:
            return True
        return False

    async def _missing(self, sessions: Sequence[tuple[Session, str]]) -> list[tuple[Session, str]]:
        """Return the live sessions that are in no index."""
        bases = [self._keyspace.base(shard_of(session.id)) for session, _ in sessions]
        replies = await self._read(
            *(
                command
                for base, (session, digest) in zip(bases, sessions, strict=True)
                for command in (
                    *(("HEXISTS", base + index, session.id) for index in self._keyspace.user_indexes(digest)),
                    ("TTL", base + session.id),
                )
            )
        )
        states = zip(replies[::3], replies[1::3], replies[2::3], strict=True)
        return [
            entry
            for entry, (indexed, erasing, lifetime) in zip(sessions, states, strict=True)
            if indexed != 1 and erasing != 1 and lifetime > 0
        ]

    async def count_expired(
        self, indexes: Sequence[str], report: IndexReport, seen: SeenKeys, *, repair: bool
    ) -> None:
        """Count expired entries. They use memory until the user creates a session.

        `seen` has the entries that were counted before. With `repair`, they are
        removed.
        """
        for page in pages(indexes, _INDEXES_AT_ONCE):
            async for entries in self._entries(page, report):
                await self._count_expired(entries, report, seen, repair=repair)

    async def _entries(self, indexes: Sequence[str], report: IndexReport) -> AsyncIterator[list[tuple[str, str]]]:
        """Yield the entries of indexes in pages, each with its index."""
        cursors = dict.fromkeys(indexes, 0)
        while cursors:
            replies = await self._read(
                *(("HSCAN", index, cursor, "COUNT", _SCAN_COUNT) for index, cursor in cursors.items())
            )
            entries = []
            for index, reply in zip(list(cursors), replies, strict=True):
                if isinstance(reply, Exception):
                    report.foreign += 1
                    del cursors[index]
                    continue
                cursors[index], pairs = int(reply[0]), reply[1]
                entries += [(index, session_id.decode(errors="replace")) for session_id in pairs[::2]]
                if not cursors[index]:
                    del cursors[index]
            for page in pages(entries, _SCAN_COUNT):
                yield page

    async def _count_expired(
        self, entries: Sequence[tuple[str, str]], report: IndexReport, seen: SeenKeys, *, repair: bool
    ) -> None:
        exists = await self._read(*(("EXISTS", index.rpartition("user:")[0] + one) for index, one in entries))
        expired = [entry for entry, flag in zip(entries, exists, strict=True) if flag == 0]
        report.expired_in_indexes += len(seen.add(f"{index} {one}".encode() for index, one in expired))
        if repair:
            await self._read(*(("HDEL", index, session_id) for index, session_id in expired))
