"""Counts of sessions and users, their ranges of time, and the contract of their store.

All times are in seconds since the epoch, UTC. Counts are kept by hour. Unique users and
the most active users are kept by day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

MINUTE = 60
HOUR = 3600
DAY = 86400

# The greatest `analytics.retention_days`.
MAX_RETENTION_DAYS = 400


class Interval(StrEnum):
    """The step of a series."""

    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Return the length of the interval."""
        return HOUR if self is Interval.HOUR else DAY


@dataclass(frozen=True, slots=True)
class CountRange:
    """A range of whole intervals from `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int
    interval: Interval

    @classmethod
    def around(cls, start: float, end: float, interval: Interval) -> "CountRange":
        """Return the smallest range of whole intervals around `start` and `end`."""
        step = interval.seconds
        return cls(int(start // step) * step, -int(-end // step) * step, interval)

    @property
    def starts(self) -> range:
        """Return the start of each interval."""
        return range(self.start, self.end, self.interval.seconds)

    @property
    def first_day(self) -> int:
        """Return the first day of the range, in days since the epoch."""
        return self.start // DAY

    @property
    def last_day(self) -> int:
        """Return the last day of the range, in days since the epoch."""
        return (self.end - 1) // DAY


@dataclass
class SourceCounts:
    """The figures of one source, or of all.

    `created` and `ended` have one number per interval.
    """

    created: list[int]
    ended: list[int]
    active: int = 0
    unique_users: int = 0


@dataclass
class SessionCounts:
    """The figures of a range. `unique_users` is per day, empty for a series by hour."""

    total: SourceCounts
    by_source: dict[str, SourceCounts] = field(default_factory=dict)
    unique_users: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The lower and the upper bound of a number."""

    at_least: int
    at_most: int


@dataclass(frozen=True)
class TopUsers:
    """The users who created the most sessions, in descending order of the lower bound.

    Every other user has created at most `others_at_most` sessions.
    """

    users: Sequence[tuple[str, Bounds]]
    others_at_most: int


@dataclass(frozen=True)
class UserCounts:
    """One user's live sessions by source, and the sessions created in the range."""

    active_by_source: Mapping[str, int]
    created: Bounds


class CountStore(Protocol):
    """The counts of sessions. All methods raise StoreUnavailable and Overloaded."""

    async def count_sessions(self, requested: CountRange, now: float, source: str | None = None) -> SessionCounts:
        """Return the counts of all sources, or of one.

        `active` counts the sessions that were created after `now` minus the lifetime of
        a session and have not ended, to the minute.
        """

    async def top_users(self, requested: CountRange, limit: int) -> TopUsers:
        """Return at most `limit` users who created the most sessions."""
