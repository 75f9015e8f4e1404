"""Figures of past hours, calculated from the counters by hour.

For each hour there are three counters: sessions created in it, sessions ended in it,
and sessions created in it that have not ended. The last ones are called "kept" here. A
kept session expires one lifetime after its creation. With a lifetime of T hours:

    kept since hour h - T  = kept of hour h - T and of all later hours
    expired in hour h      = kept since hour h - T, minus kept since hour h + 1 - T
    active at the start    = kept since hour h - T, minus sessions created in hour h or
    of hour h                later, plus sessions ended in hour h or later

So nothing has to be recorded when an hour begins. When the lifetime is not a whole
number of hours, the kept sessions of one hour expire in two hours. They are divided as
if they had been created evenly over their hour. All hours count as if sessions always
had the lifetime that is in force now.

"All later hours" go on until now. For a range that is long past, the sums stop at the
first midnight after it, so that the days since then are not read. Sessions that were
live at this midnight and ended later are not among those kept, so they are added. With
a lifetime of 24 hours or less, they ended on the day that begins at this midnight, and
a counter of this day has their number. The sums stop only if the counters of each day
and the next show that every ended session has ended on one of the two. They go on until
now if the lifetime is longer, and for days before 2026-11-28, which do not have these
counters.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import attrgetter

from service.counts import DAY, HOUR, CountRange, Peak, SourceCounts
from service.storage.counters import (
    CONSENT_GIVEN_IN_HOUR,
    CONSENT_WITHDRAWN_IN_HOUR,
    CREATED_IN_DAY,
    CREATED_IN_HOUR,
    ENDED_IN_DAY,
    ENDED_IN_HOUR,
    ENDED_OF_DAY,
    ENDED_OF_EARLIER_DAYS,
    HOURS_IN_DAY,
    LIVE_IN_HOUR,
    DaySum,
    numbers,
)

_BY_HOUR = (CREATED_IN_HOUR, ENDED_IN_HOUR, LIVE_IN_HOUR, CONSENT_GIVEN_IN_HOUR, CONSENT_WITHDRAWN_IN_HOUR)


@dataclass(frozen=True)
class Span:
    """The hours that the figures of a range need.

    Positions of hours count from the first of them. `kept_from` is the start of the
    oldest day whose counters are still complete. With `until_now`, the sums of hours
    never stop before now.
    """

    requested: CountRange
    now: int
    ttl_seconds: int
    kept_from: int
    until_now: bool = False

    @property
    def oldest(self) -> int:
        """The moment at which the oldest live session was created."""
        return self.now - self.ttl_seconds

    @cached_property
    def days(self) -> range:
        """The UTC days from the first to the last whose counters are needed.

        They begin one lifetime before the range. They include tomorrow, because another
        machine's clock may be ahead.
        """
        start = self.requested.start
        first = min(max(start - self.ttl_seconds, min(start, self.kept_from)), self.oldest)
        return range(first // DAY, max(self.now // DAY + 1, self.requested.last_day) + 1)

    @cached_property
    def unread_days(self) -> range:
        """The days between the day after the range and the live sessions."""
        if self.until_now or self.ttl_seconds > DAY:
            return range(0)
        day_after = -(-self.requested.end // DAY)
        return range(day_after + 1, self.oldest // DAY)

    @cached_property
    def read_days(self) -> Sequence[int]:
        """The days whose counters are needed."""
        return [day for day in self.days if day not in self.unread_days]

    @cached_property
    def stop_day(self) -> int | None:
        """The position of the day at whose start the sums stop, None if they do not."""
        return self.unread_days.start - 1 - self.days.start if self.unread_days else None

    @cached_property
    def first_kept_day(self) -> int:
        """The position of the oldest day whose counters are complete."""
        return max(0, self.kept_from // DAY - self.days.start)

    def position(self, moment: int) -> int:
        """Return the position of the hour that contains a moment."""
        return moment // HOUR - self.days[0] * HOURS_IN_DAY

    def start_of(self, position: int) -> int:
        """Return the moment at which an hour begins."""
        return (position + self.days[0] * HOURS_IN_DAY) * HOUR

    @cached_property
    def known(self) -> range:
        """The hours with known counts.

        The hours of the range that have begun, and for which the counts of the lifetime
        before them are still kept.
        """
        first_whole = self.position(self.kept_from + self.ttl_seconds + HOUR - 1)
        end = min(self.position(self.now) + 1, self.position(self.requested.end))
        return range(max(self.position(self.requested.start), first_whole), end)

    @cached_property
    def intervals(self) -> Sequence[slice]:
        """The positions of the hours of each interval."""
        edges = map(self.position, (*self.requested.starts, self.requested.end))
        return [slice(first, end) for first, end in pairwise(edges)]


class HourlyCounters:
    """The counters of one source, added over the shards."""

    def __init__(self, span: Span) -> None:
        self._by_day = [DaySum() for _ in span.days]
        # Live sessions of the hour whose sessions expire now.
        self.live_in_oldest_hour = 0

    def add_day(self, number: int, counters: bytes) -> None:
        """Add the counters of one day, given by its position in `Span.days`."""
        self._by_day[number].add(counters)

    def add_minutes(self, first: int, counters: bytes) -> None:
        """Add the live sessions that were created in minute `first` or later."""
        self.live_in_oldest_hour += sum(numbers(counters)[first:])

    def days(self) -> Sequence[Sequence[int]]:
        """Return the counters of each day by position (`counters.py`)."""
        return [day.numbers() for day in self._by_day]


class HourlyFigures:
    """Figures of one source or of several, by position of the hour.

    `active` is at the start of each hour. It and `expired` are 0 outside `Span.known`.
    `is_complete` is false when `active` lacks the sessions that ended after the sums
    stopped, because they were not counted.
    """

    def __init__(self, span: Span, counters: HourlyCounters) -> None:
        self._span = span
        days = counters.days()
        self.created, self.ended, kept, self.consent_given, self.consent_withdrawn = (
            [number for day in days for number in day[first : first + HOURS_IN_DAY]] for first in _BY_HOUR
        )
        self.is_complete, stop, ended_later = True, len(kept), 0
        if span.stop_day is not None:
            stop, ended_later = span.stop_day * HOURS_IN_DAY, days[span.stop_day][ENDED_OF_EARLIER_DAYS]
            self.is_complete = _ended_by_the_next_day(days[span.first_kept_day : span.stop_day + 1])
        self.active, self.expired = [0] * len(kept), [0] * len(kept)
        self.active_now = sum(kept[span.position(span.oldest) + 1 :]) + counters.live_in_oldest_hour
        whole_hours, rest = divmod(span.ttl_seconds, HOUR)
        kept_before = [0, *accumulate(kept)]
        balance = [0, *accumulate(map(operator.sub, self.created, self.ended))]
        kept_since = []
        for hour in (*span.known, span.known.stop) if span.known else ():
            first = hour - whole_hours
            late = round(kept[first - 1] * rest / HOUR) if rest else 0
            kept_since.append(kept_before[stop] - kept_before[first] + late + ended_later)
        if span.position(span.now) in span.known:
            # The hour is in progress. Its `late` is an estimate, which may be too low.
            kept_since[-2:] = max(kept_since[-2], self.active_now), self.active_now
        for hour, (before, after) in zip(span.known, pairwise(kept_since), strict=True):
            self.active[hour] = before - (balance[stop] - balance[hour])
            self.expired[hour] = before - after

    def add(self, other: "HourlyFigures") -> None:
        """Add the figures of another source."""
        self.active_now += other.active_now
        for own, others in (
            (self.created, other.created),
            (self.ended, other.ended),
            (self.active, other.active),
            (self.expired, other.expired),
            (self.consent_given, other.consent_given),
            (self.consent_withdrawn, other.consent_withdrawn),
        ):
            own[:] = map(operator.add, own, others)

    def counts(self) -> SourceCounts:
        """Return the figures by interval, without unique users."""
        hours, known = self._span.intervals, self._span.known
        return SourceCounts(
            created=[sum(self.created[part]) for part in hours],
            ended=[sum(self.ended[part]) for part in hours],
            expired=[None if part.start < known.start else sum(self.expired[part]) for part in hours],
            active_at=[self.active[part.start] if part.start in known else None for part in hours],
            consent_given=[sum(self.consent_given[part]) for part in hours],
            consent_withdrawn=[sum(self.consent_withdrawn[part]) for part in hours],
            active=self.active_now,
        )

    def peak(self) -> Peak | None:
        """Return the greatest number of active sessions, None if none is known."""
        start_of = self._span.start_of
        found = [Peak(self.active[hour], start_of(hour)) for hour in self._span.known]
        if self._span.requested.start <= self._span.now < self._span.requested.end:
            found.append(Peak(self.active_now, self._span.now))
        return max(found, key=attrgetter("active"), default=None)


def _ended_by_the_next_day(days: Sequence[Sequence[int]]) -> bool:
    """Return whether each ended session has ended on its day or the next one.

    Of the last day, only the ends in it are checked, because the next day is not read.
    It is false too when the counters by the day of the creation are incomplete.
    """
    last = days[-1]
    return last[ENDED_OF_DAY] + last[ENDED_OF_EARLIER_DAYS] == last[ENDED_IN_DAY] and all(
        _ended_later(day) == after[ENDED_OF_EARLIER_DAYS] for day, after in pairwise(days)
    )


def _ended_later(day: Sequence[int]) -> int:
    """Return how many sessions of a day have ended after it."""
    return day[CREATED_IN_DAY] - sum(day[LIVE_IN_HOUR : LIVE_IN_HOUR + HOURS_IN_DAY]) - day[ENDED_OF_DAY]
