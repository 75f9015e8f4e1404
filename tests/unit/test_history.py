"""Figures of past hours, compared with lists of single sessions."""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from service.counts import DAY, HOUR, MINUTE, CountRange, Interval, Peak, SourceCounts
from service.storage.counters import (
    CONSENT_GIVEN_IN_HOUR,
    CONSENT_WITHDRAWN_IN_HOUR,
    COUNTERS_IN_DAY,
    CREATED_IN_DAY,
    CREATED_IN_HOUR,
    ENDED_IN_DAY,
    ENDED_IN_HOUR,
    ENDED_OF_DAY,
    ENDED_OF_EARLIER_DAYS,
    HOURS_IN_DAY,
    LIVE_BYTES,
    LIVE_IN_HOUR,
    DaySum,
    numbers,
)
from service.storage.history import HourlyCounters, HourlyFigures, Span
from service.time_zones import TimeZone

FIRST_DAY = 20_000
START = FIRST_DAY * DAY


@dataclass(frozen=True)
class Visit:
    """A session: its start, and its end if it was ended."""

    start: int
    end: int | None

    def is_live(self, moment: int, ttl_seconds: int) -> bool:
        """Return whether the session is live just before a moment."""
        return self.start < moment <= min(self.start + ttl_seconds, self.end or moment)

    def expired(self, ttl_seconds: int) -> int | None:
        """Return when the session expires, None when it was ended."""
        return None if self.end else self.start + ttl_seconds


def visits(chance: random.Random, number: int, now: int, ttl_seconds: int) -> list[Visit]:
    """Return sessions of the time before `now`. Half of those that can are ended."""
    made = []
    for _ in range(number):
        start = chance.randrange(START - 2 * DAY, now)
        end = chance.randrange(start + 1, start + ttl_seconds + 1)
        made.append(Visit(start, end if end <= now and chance.random() < 0.5 else None))
    return made


def figures(span: Span, made: Sequence[Visit]) -> HourlyFigures:
    """Count the sessions as the scripts do, and return the figures."""
    counters = HourlyCounters(span)
    by_day = {day: [0] * COUNTERS_IN_DAY for day in span.read_days}
    by_minute = [0] * 60

    def add(moment: int, *positions: int) -> None:
        for position in positions:
            if moment // DAY in by_day:
                by_day[moment // DAY][position] += 1

    for visit in made:
        add(visit.start, CREATED_IN_DAY, CREATED_IN_HOUR + visit.start % DAY // HOUR)
        if visit.end is None:
            add(visit.start, LIVE_IN_HOUR + visit.start % DAY // HOUR)
        else:
            is_of_day = visit.start // DAY == visit.end // DAY
            of_day = ENDED_OF_DAY if is_of_day else ENDED_OF_EARLIER_DAYS
            add(visit.end, ENDED_IN_DAY, ENDED_IN_HOUR + visit.end % DAY // HOUR, of_day)
        if visit.start // HOUR == span.oldest // HOUR and visit.end is None:
            by_minute[visit.start % HOUR // MINUTE] += 1
    for day, positions in by_day.items():
        counters.add_day(day - span.days.start, struct.pack(f">{COUNTERS_IN_DAY}I", *positions))
    counters.add_minutes(span.oldest % HOUR // MINUTE, struct.pack(">60I", *by_minute))
    return HourlyFigures(span, counters)


def between(moments: Sequence[int | None], edges: Sequence[int], end: int) -> list[int]:
    """Return how many moments before `end` each interval has."""
    return [
        sum(moment is not None and first <= moment < min(last, end) for moment in moments)
        for first, last in pairwise(edges)
    ]


def hours(first: int, last: int) -> CountRange:
    """Return a range of hours, given by their distance from START."""
    return CountRange(START + first * HOUR, START + last * HOUR, Interval.HOUR)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    ttl_hours=st.sampled_from([1, 2, 5, 24, 25, 36, 72]),
    first=st.integers(0, 100),
    length=st.integers(1, 60),
    minutes=st.integers(0, 60 * 24 * 6),
    interval=st.sampled_from(Interval),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_every_full_hour_is_exact(
    seed: int, ttl_hours: int, first: int, length: int, minutes: int, interval: Interval, zone: str
) -> None:
    """With a lifetime of whole hours, the figures equal those of the sessions."""
    found_zone = TimeZone.find(zone)
    assert found_zone
    requested = CountRange.around(START + first * HOUR, START + (first + length) * HOUR, interval, found_zone)
    # A minute has only begun, so that `active` now is exact too.
    now = requested.start + minutes * MINUTE
    now -= now % MINUTE
    ttl_seconds = ttl_hours * HOUR
    made = visits(random.Random(seed), 300, now, ttl_seconds)
    edges = [*requested.starts, requested.end]
    assert figures(Span(requested, now, ttl_seconds, kept_from=0), made).counts() == SourceCounts(
        created=between([visit.start for visit in made], edges, now),
        ended=between([visit.end for visit in made], edges, now + 1),
        expired=between([visit.expired(ttl_seconds) for visit in made], edges, now),
        active_at=[
            sum(visit.is_live(start, ttl_seconds) for visit in made) if start <= now else None for start in edges[:-1]
        ],
        consent_given=[0] * (len(edges) - 1),
        consent_withdrawn=[0] * (len(edges) - 1),
        # A session may end exactly now, and is live just before.
        active=sum(visit.end is None and visit.is_live(now, ttl_seconds) for visit in made),
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), ttl_seconds=st.sampled_from([1, 90, 5400, 86_401, 93_600 + 1800]))
def test_a_lifetime_with_a_part_of_an_hour_is_close(seed: int, ttl_seconds: int) -> None:
    """The error is below the sessions of one hour, and no session is lost."""
    chance = random.Random(seed)
    now = START + 10 * HOUR + chance.randrange(HOUR)
    made = visits(chance, 1000, now, ttl_seconds)
    asked = hours(-48, 11)
    found = figures(Span(asked, now, ttl_seconds, kept_from=0), made).counts()
    edges = [*asked.starts, asked.end]
    of_an_hour = max(between([visit.start for visit in made], edges, now))
    for start, active in zip(asked.starts, found.active_at, strict=True):
        assert active is not None
        assert abs(active - sum(visit.is_live(start, ttl_seconds) for visit in made)) <= of_an_hour
    assert min(number for number in found.expired if number is not None) >= 0
    expired = sum(number for number in found.expired if number is not None)
    assert found.active == sum(found.created) - sum(found.ended) - expired


def test_sessions_of_an_hour_are_divided_evenly() -> None:
    """A quarter of an hour more than one hour moves a quarter into the next hour."""
    made = [Visit(START + second, None) for second in range(0, HOUR, 9)]
    found = figures(Span(hours(0, 5), START + 5 * HOUR, HOUR + HOUR // 4, kept_from=0), made).counts()
    assert found.expired == [0, 300, 100, 0, 0]
    assert found.active_at == [0, 400, 100, 0, 0]


def test_all_hours_count_with_the_lifetime_in_force() -> None:
    """After a change of the lifetime, past hours are as if it had always been so."""
    made = [Visit(START, None), Visit(START, START + 3 * HOUR + 1)]
    long, short = (
        figures(Span(hours(0, 8), START + 8 * HOUR, ttl_hours * HOUR, kept_from=0), made).counts()
        for ttl_hours in (5, 1)
    )
    assert long.active_at == [0, 2, 2, 2, 1, 1, 0, 0]
    # The ended session was live until its end, whatever the lifetime is now.
    assert short.active_at == [0, 2, 1, 1, 0, 0, 0, 0]
    assert (long.expired, short.expired) == ([0, 0, 0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), first=st.integers(0, 60), length=st.integers(1, 40))
def test_a_shorter_lifetime_leaves_no_session_out(seed: int, first: int, length: int) -> None:
    """Sessions of an earlier, longer lifetime make the sums of a range go on."""
    now = START + 12 * DAY
    span = Span(hours(first, first + length), now, DAY, kept_from=0)
    assert span.unread_days
    made = visits(random.Random(seed), 40, START + 5 * DAY, 72 * HOUR)
    made = [visit for visit in made if visit.start >= span.days.start * DAY]
    found, until_now = figures(span, made), figures(replace(span, until_now=True), made)
    assert not found.is_complete or found.counts() == until_now.counts()
    assert min(number for number in until_now.counts().active_at if number is not None) >= 0


def test_figures_that_need_older_counts_are_unknown() -> None:
    """Numbers are None until a lifetime after the oldest counts."""
    made = [Visit(START + hour * HOUR, None) for hour in range(30)]
    found = figures(Span(hours(0, 30), START + 30 * HOUR, 4 * HOUR + 1, kept_from=START), made)
    counts = found.counts()
    assert counts.active_at == [*[None] * 5, 4, *[4] * 24]
    assert counts.expired == [*[None] * 5, *[1] * 25]
    assert found.peak() == Peak(4, START + 5 * HOUR)
    nothing = figures(Span(hours(0, 3), START + 30 * HOUR, 4 * HOUR, kept_from=START), made)
    assert (nothing.counts().active_at, nothing.counts().expired, nothing.peak()) == ([None] * 3, [None] * 3, None)


def test_the_peak_is_at_a_full_hour_or_now() -> None:
    """The first of the greatest numbers is the peak, and now counts too."""
    made = [Visit(START + 10, START + 2 * HOUR + 5), Visit(START + 20, START + 3 * HOUR - 1)]
    past = figures(Span(hours(0, 3), START + 9 * HOUR, DAY, kept_from=0), made)
    assert past.peak() == Peak(2, START + HOUR)
    now = START + 4 * HOUR + 30 * MINUTE
    made += [Visit(now - second, None) for second in range(1, 8)]
    assert figures(Span(hours(0, 5), now, DAY, kept_from=0), made).peak() == Peak(7, now)
    assert figures(Span(hours(0, 4), now, DAY, kept_from=0), made).peak() == Peak(2, START + HOUR)
    later = [Visit(now - second, None) for second in range(1, 8)]
    at_its_end = Span(CountRange(START, now, Interval.HOUR), now, DAY, kept_from=0)
    assert figures(at_its_end, later).peak() == Peak(0, START)


def test_a_clock_that_is_ahead_changes_no_past_hour() -> None:
    """Sessions of the next hour and of tomorrow are active now, and not before."""
    now = START + 23 * HOUR + 30 * MINUTE
    made = [Visit(START + DAY + 5, None), Visit(START + 22 * HOUR, START + DAY + 7)]
    counts = figures(Span(hours(20, 24), now, DAY, kept_from=0), made).counts()
    assert counts.active_at == [0, 0, 0, 1]
    assert (counts.active, counts.expired) == (1, [0] * 4)


def test_a_future_hour_has_no_active_sessions() -> None:
    """The hours to come of today are None, and nothing expires in them."""
    counts = figures(Span(hours(0, 4), START + HOUR + 1, HOUR, kept_from=0), [Visit(START + 60, None)]).counts()
    assert counts.active_at == [0, 1, None, None]
    assert counts.expired == [0, 0, 0, 0]


def test_figures_of_sources_add_up() -> None:
    """The figures of all sources are the sums, and their peak is of the sum."""
    span = Span(hours(0, 4), START + 4 * HOUR, HOUR, kept_from=0)
    one, other = [Visit(START + 5, None)], [Visit(START + HOUR + 5, None), Visit(START + 7, None)]
    total = figures(span, one)
    total.add(figures(span, other))
    assert total.counts() == figures(span, [*one, *other]).counts()
    assert total.peak() == Peak(2, START + HOUR)


def test_consents_of_sources_add_up() -> None:
    """Given and withdrawn consents are counted by hour, and the totals are sums."""
    span, found = Span(hours(0, 3), START + 3 * HOUR, HOUR, kept_from=0), []
    for number in (1, 10):
        day = [0] * COUNTERS_IN_DAY
        day[CONSENT_GIVEN_IN_HOUR + 1], day[CONSENT_WITHDRAWN_IN_HOUR + 2] = number, 3 * number
        counters = HourlyCounters(span)
        counters.add_day(FIRST_DAY - span.days.start, struct.pack(f">{COUNTERS_IN_DAY}I", *day))
        found.append(HourlyFigures(span, counters))
    found[0].add(found[1])
    total = found[0].counts()
    assert (total.consent_given, total.consent_withdrawn) == ([0, 11, 0], [0, 0, 33])


def test_a_lifetime_of_two_days_is_summed_until_now() -> None:
    """Sessions that are live for more than one midnight are in each hour of their life.

    One session a day ends after two midnights. The counters by day are the
    same when it ends after one midnight.
    """
    made = [Visit(START + day * DAY, START + (day + 2) * DAY - HOUR) for day in range(10)]
    made = [Visit(visit.start + 12 * HOUR, (visit.end or 0) + 12 * HOUR) for visit in made]
    asked = CountRange(START + 5 * DAY, START + 6 * DAY, Interval.DAY)
    found = figures(Span(asked, START + 20 * DAY, 2 * DAY, kept_from=0), made)
    assert found.is_complete
    assert found.counts().active_at == [2]
    assert (found.counts().created, found.counts().ended) == ([1], [1])


def test_counters_of_a_newer_layout_are_left_out() -> None:
    """Counters after the last known one do not change the others."""
    day = DaySum()
    for _ in range(2):
        day.add(struct.pack(f">{COUNTERS_IN_DAY + 3}I", *range(COUNTERS_IN_DAY + 3)))
    assert day.numbers() == [2 * number for number in range(COUNTERS_IN_DAY)]


def test_a_part_of_a_counter_is_left_out() -> None:
    """A string of another program does not have to end with a whole counter."""
    assert list(numbers(struct.pack(">3I", 1, 2, 3)[:-1])) == [1, 2]
    first, last = LIVE_BYTES
    day = struct.pack(f">{COUNTERS_IN_DAY}I", *range(COUNTERS_IN_DAY))
    assert list(numbers(day[first : last + 1])) == [*range(LIVE_IN_HOUR, LIVE_IN_HOUR + HOURS_IN_DAY)]
