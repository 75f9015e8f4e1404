"""What is counted, and over which time: values only.

All times are seconds since the epoch, UTC. Counts are kept by hour, unique users and the most active users by day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

HOUR = 3600
DAY = 86400


class Interval(StrEnum):
    """The step of a series."""

    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Return its length."""
        return HOUR if self is Interval.HOUR else DAY


@dataclass(frozen=True, slots=True)
class CountRange:
    """From `start` to before `end`, whole intervals both."""

    start: int
    end: int
    interval: Interval

    @classmethod
    def around(cls, start: float, end: float, interval: Interval) -> "CountRange":
        """Return the least range of whole intervals that holds all from `start` to before `end`."""
        step = interval.seconds
        return cls(int(start // step) * step, -int(-end // step) * step, interval)

    @property
    def starts(self) -> range:
        """Return where each interval starts."""
        return range(self.start, self.end, self.interval.seconds)

    @property
    def first_day(self) -> int:
        """Return the first day of the range, counted from the epoch."""
        return self.start // DAY

    @property
    def last_day(self) -> int:
        """Return the last day of the range, counted from the epoch."""
        return (self.end - 1) // DAY


@dataclass
class SourceCounts:
    """The figures of one source, or of all; `created` and `ended` have one number for each interval."""

    created: list[int]
    ended: list[int]
    active: int = 0
    unique_users: int = 0


@dataclass
class SessionCounts:
    """The figures of a range. `unique_users` is per day, and empty for a series by hour."""

    total: SourceCounts
    by_source: dict[str, SourceCounts] = field(default_factory=dict)
    unique_users: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number known to lie between two."""

    at_least: int
    at_most: int


@dataclass(frozen=True)
class TopUsers:
    """Users with the most sessions created, those first of which most is certain.

    Whoever is not among them has created at most `others_at_most`.
    """

    users: Sequence[tuple[str, Bounds]]
    others_at_most: int


@dataclass(frozen=True)
class UserCounts:
    """One user's figures: live sessions now by source, and those created in the range."""

    active_by_source: Mapping[str, int]
    created: Bounds


class CountStore(Protocol):
    """Where sessions are counted. All methods raise StoreUnavailable and Overloaded."""

    async def count_sessions(self, requested: CountRange, now: float, source: str | None = None) -> SessionCounts:
        """Return the counts of all sources, or of one.

        `active` counts the sessions that were created after `now` minus the lifetime of a
        session and have not ended, to the minute.
        """

    async def top_users(self, requested: CountRange, limit: int) -> TopUsers:
        """Return the users with the most sessions created."""
