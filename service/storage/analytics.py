"""Counts of a range of time, read from all shards and added up.

Each shard is one call and one moment; between two shards other requests have their turn, so that a long range does
not hold up sessions. A session lives in one shard, and so do all sessions of a user, so that shards simply add.
"""

import logging
import operator
from array import array
from collections.abc import Sequence
from typing import Any

from service.counts import DAY, HOUR, Bounds, CountRange, Interval, SessionCounts, SourceCounts, TopUsers
from service.sessions import SHARD_COUNT
from service.storage.connection import RedisConnection
from service.storage.counters import DAY_BYTES, HOURS_BYTES, numbers
from service.storage.keyspace import Keyspace

_logger = logging.getLogger(__name__)

_HOURS_A_DAY = 24


class Analytics:
    """Reads what the scripts of sessions count."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, *, ttl_seconds: int) -> None:
        self._keyspace = keyspace
        self._ttl_seconds = ttl_seconds
        self._report = connection.script("report")
        self._top = connection.script("top")

    async def count_sessions(self, asked: CountRange, now: float, source: str | None = None) -> SessionCounts:
        """Return the counts of all sources, or of one. Raises StoreUnavailable.

        `active` is what was created after `now` less the lifetime of a session and has not ended, to the minute.
        """
        oldest = int(now) - self._ttl_seconds
        by_day = asked.interval is Interval.DAY
        arguments = (
            asked.first_day,
            asked.last_day,
            *(DAY_BYTES if by_day else HOURS_BYTES),
            oldest // DAY,
            int(now) // DAY + 1,  # a clock ahead of ours may have counted on tomorrow already
            oldest // HOUR,
            int(by_day),
            source or "",
        )
        found: dict[str, SourceCounts] = {}
        unique_users = [0] * (len(asked.starts) if by_day else 0)
        in_all = 0
        for shard in range(SHARD_COUNT):
            merged, by_days, *sources = await self._report([self._keyspace.base(shard)], arguments)
            in_all += _known(merged)
            unique_users = _sums(unique_users, list(map(_known, by_days)))
            for name, *figures in sources:
                counts = found.setdefault(name.decode(), _nothing(asked))
                _count(counts, figures, asked, oldest)
        total = _nothing(asked)
        total.unique_users = in_all
        for counts in found.values():
            total.active += counts.active
            total.created = _sums(total.created, counts.created)
            total.ended = _sums(total.ended, counts.ended)
        return SessionCounts(total, dict(sorted(found.items())), unique_users)

    async def top_users(self, asked: CountRange, limit: int) -> TopUsers:
        """Return the users with the most sessions created. Raises StoreUnavailable."""
        users: list[tuple[str, Bounds]] = []
        others = 0
        for shard in range(SHARD_COUNT):
            arguments = (asked.first_day, asked.last_day, limit)
            *found, rest = await self._top([self._keyspace.base(shard)], arguments)
            users += [
                (user.decode(errors="replace"), Bounds(low, high))
                for user, low, high in zip(found[::3], found[1::3], found[2::3], strict=True)
            ]
            others = max(others, rest)
        users.sort(key=lambda entry: (-entry[1].at_least, -entry[1].at_most, entry[0]))
        others = max([others, *(bounds.at_most for _, bounds in users[limit:])])
        return TopUsers(users[:limit], others)


def _nothing(asked: CountRange) -> SourceCounts:
    return SourceCounts([0] * len(asked.starts), [0] * len(asked.starts))


def _count(counts: SourceCounts, figures: Sequence[Any], asked: CountRange, oldest: int) -> None:
    """Add what one shard has counted of a source, as report.lua returns it."""
    days, live_hours, live_minutes, unique_users = figures
    created, ended = _by_hour(days, asked) if asked.interval is Interval.HOUR else _by_day(days)
    counts.created = _sums(counts.created, created)
    counts.ended = _sums(counts.ended, ended)
    # The hours after the oldest one whole, and of that one the minutes from the oldest on.
    first_whole_hour = oldest // HOUR % _HOURS_A_DAY + 1
    counts.active += sum(numbers(live_hours)[first_whole_hour:]) + sum(numbers(live_minutes)[oldest % HOUR // 60 :])
    counts.unique_users += _known(unique_users)


def _known(unique_users: int) -> int:
    if unique_users < 0:
        _logger.error("foreign data under a sketch of unique users: another program writes with our key prefix")
    return max(unique_users, 0)


def _by_day(days: bytes) -> tuple[Sequence[int], Sequence[int]]:
    counters = numbers(days)
    return counters[::2], counters[1::2]


def _by_hour(days: bytes, asked: CountRange) -> tuple[Sequence[int], Sequence[int]]:
    """Return created and ended of the range's hours, out of those of whole days: 24 created, 24 ended, and so on."""
    counters = numbers(days)
    created, ended = array("I"), array("I")
    for day in range(0, len(counters), 2 * _HOURS_A_DAY):
        created += counters[day : day + _HOURS_A_DAY]
        ended += counters[day + _HOURS_A_DAY : day + 2 * _HOURS_A_DAY]
    first = asked.start % DAY // HOUR
    wanted = slice(first, first + len(asked.starts))
    return created[wanted], ended[wanted]


def _sums(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return list(map(operator.add, one, other))
