"""Counts of sessions and users, their ranges of time, and the contract of their store.

All times are in seconds since the epoch, UTC. Counts are kept by hour. Unique users and
the most active users are kept by UTC day. `service/storage/count_store.py` implements
the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from service.time_zones import UTC_ZONE, TimeZone

MINUTE = 60
HOUR = 3600
DAY = 86400

# The greatest `analytics.retention_days`.
MAX_RETENTION_DAYS = 400


class Interval(StrEnum):
    """The step of a series."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class CountRange:
    """A range that includes `start` and excludes `end`.

    Both begin an interval: an hour, or a day of `zone`.
    """

    start: int
    end: int
    interval: Interval
    zone: TimeZone = UTC_ZONE

    @classmethod
    def around(cls, start: float, end: float, interval: Interval, zone: TimeZone = UTC_ZONE) -> "CountRange":
        """Return the smallest range of whole intervals around `start` and `end`."""
        if interval is Interval.HOUR:
            return cls(int(start // HOUR) * HOUR, -int(-end // HOUR) * HOUR, interval, zone)
        starts = zone.starts(start, end)
        return cls(starts[0], starts[-1], interval, zone)

    @property
    def starts(self) -> Sequence[int]:
        """The start of each interval."""
        if self.interval is Interval.HOUR:
            return range(self.start, self.end, HOUR)
        return self.zone.starts(self.start, self.end)[:-1]

    @property
    def first_day(self) -> int:
        """The first UTC day that the range touches, in days since the epoch."""
        return self.start // DAY

    @property
    def last_day(self) -> int:
        """The last UTC day that the range touches, in days since the epoch."""
        return (self.end - 1) // DAY


@dataclass
class SourceCounts:
    """The figures of one source, or of all. The lists have one number per interval.

    `active` is the number of live sessions now, and `active_at` that at the start of
    each interval. `consent_given` and `consent_withdrawn` count the sessions that got a
    user id after their start, or lost it. A number in `active_at` is None when the
    interval starts in the future. A number in `active_at` or `expired` is None when the
    counts that it needs are no longer kept.
    """

    created: Sequence[int]
    ended: Sequence[int]
    expired: Sequence[int | None]
    active_at: Sequence[int | None]
    consent_given: Sequence[int]
    consent_withdrawn: Sequence[int]
    active: int = 0
    unique_users: int = 0

    def has_sessions(self) -> bool:
        """Return whether any number of sessions is not zero."""
        consents = (*self.consent_given, *self.consent_withdrawn)
        return any((self.active, *self.created, *self.ended, *self.expired, *self.active_at, *consents))


@dataclass(frozen=True, slots=True)
class Peak:
    """The greatest number of live sessions at a full hour of a range, or now."""

    active: int
    at: int


@dataclass
class SessionCounts:
    """The figures of a range.

    `unique_users` is per day, and empty for a series by hour. `peak` is None when the
    number of live sessions is not known at any full hour of the range.
    """

    total: SourceCounts
    by_source: dict[str, SourceCounts] = field(default_factory=dict)
    unique_users: list[int] = field(default_factory=list)
    peak: Peak | None = None


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
