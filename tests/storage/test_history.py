"""Active sessions of the past, compared with a recording of every minute."""

import random
import time
from collections import Counter, defaultdict
from itertools import pairwise, takewhile

import pytest

from service.counts import DAY, HOUR, MINUTE, CountRange, Interval, Peak, SessionCounts
from service.sessions import SHARD_COUNT, Session
from service.storage.counters import ENDED_OF_DAY, ENDED_OF_EARLIER_DAYS
from service.storage.keyspace import Keyspace
from service.storage.paging import PAGE_SIZES, PageSizes
from service.time_zones import TimeZone
from tests.storage.conftest import MakeAnalytics, MakeStore, MakeUsers, Mint
from tests.storage.counts import all_keys
from tests.support.servers import Raw, RedisServer

OPERATIONS = 100_000
TTL = DAY
SOURCES = ["tv", "web", "radio"]
DAYS = 4
NOW = (int(time.time()) // DAY - 1) * DAY + 13 * HOUR + 25 * MINUTE
FIRST = NOW // DAY * DAY - DAYS * DAY
# The counters of some days after it are not read.
LONG_AGO = CountRange.around(FIRST, FIRST + 20 * HOUR, Interval.HOUR)


class Recording:
    """The live sessions of each minute, and what happened in each hour."""

    def __init__(self) -> None:
        # In the order of their start, to the minute.
        self.live: dict[str, Session] = {}
        self.active: dict[int, Counter[str]] = {}
        self.now: Counter[str] = Counter()
        self.happened: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        self.operations = 0

    def record(self, minute: int) -> None:
        """Remove expired sessions and note how many are live."""
        for session in [*takewhile(lambda one: one.started_at < (minute - TTL) * 1_000_000, self.live.values())]:
            self.remove("expired", session, session.started_at // 1_000_000 + TTL)
        self.active[minute] = self.now.copy()

    def live_at(self, moment: float) -> list[Session]:
        """Return the sessions that do not expire before a moment of this minute."""
        expired = takewhile(lambda one: one.started_at < (moment - TTL) * 1_000_000, self.live.values())
        return [*self.live.values()][sum(1 for _ in expired) :]

    def add(self, session: Session) -> None:
        self.live[session.id] = session
        self.now[session.source] += 1
        self.happened["created", session.started_at // 1_000_000 // HOUR][session.source] += 1
        self.operations += 1

    def remove(self, why: str, session: Session, moment: int) -> None:
        del self.live[session.id]
        self.now[session.source] -= 1
        self.happened[why, moment // HOUR][session.source] += 1
        self.operations += why == "ended"

    def figure(self, what: str, source: str, start: int, end: int) -> int:
        """Return how often something happened to a source in whole hours."""
        return sum(self.happened[what, hour][source] for hour in range(start // HOUR, end // HOUR))

    def check(self, counts: SessionCounts, asked: CountRange) -> None:
        """Compare all figures of the past."""
        edges = [*asked.starts, asked.end]
        for source in SOURCES:
            found = counts.by_source[source]
            for what, figures in (("created", found.created), ("ended", found.ended), ("expired", found.expired)):
                assert figures == [self.figure(what, source, start, end) for start, end in pairwise(edges)], what
            assert found.active_at == [self.active[start][source] if start <= NOW else None for start in edges[:-1]]
            assert found.active == self.active[NOW][source]
        marks = [*range(asked.start, min(asked.end, NOW + 1), HOUR), *([NOW] if asked.end > NOW else [])]
        peak = max((self.active[mark].total(), -mark) for mark in marks)
        assert counts.peak == Peak(peak[0], -peak[1])


async def test_past_hours_equal_a_recording_of_every_minute(
    server: RedisServer, make_store: MakeStore, make_analytics: MakeAnalytics, raw: Raw, mint: Mint, prefix: str
) -> None:
    """After 100,000 random operations, every past hour is as it was recorded."""
    chance = random.Random(20261128)
    now = float(FIRST)
    store = await make_store(server.url, ttl_seconds=TTL, clock=lambda: now)
    recording = Recording()
    minutes = range(FIRST, NOW + 1, MINUTE)
    for minute in minutes:
        recording.record(minute)
        if minute == NOW:
            break
        # Busy evenings and quiet nights.
        number = OPERATIONS / len(minutes) * (0.2 + 1.6 * chance.random()) * (2 if minute % DAY > 16 * HOUR else 0.8)
        now = minute + 59.5
        old = recording.live_at(now)
        ended = chance.sample(old, min(len(old), int(number * 0.42)))
        if ended:
            assert await store.end_many([[session.id] for session in ended]) == [[one.source] for one in ended]
        for session in ended:
            recording.remove("ended", session, int(now))
        new = [mint(minute + chance.random() * 59, chance.choice(SOURCES)) for _ in range(round(number * 0.58))]
        if new:
            assert all(await store.create_many(new))
        for session in new:
            recording.add(session)
    assert recording.operations > OPERATIONS * 0.9
    keys = set(await all_keys(raw, prefix))
    berlin, new_york = TimeZone.find("Europe/Berlin"), TimeZone.find("America/New_York")
    assert berlin
    assert new_york
    sizes = [PAGE_SIZES, PageSizes(commands=3, slices=4, sketches=20, entries=5, users=1000)]
    for analytics in [make_analytics(server.url, ttl_seconds=TTL, page_sizes=size) for size in sizes]:
        for asked in (
            LONG_AGO,
            CountRange.around(FIRST, NOW + 1, Interval.HOUR),
            CountRange.around(FIRST + DAY, NOW - 30 * HOUR, Interval.HOUR),
            CountRange.around(FIRST, NOW + 1, Interval.DAY),
            CountRange.around(FIRST + DAY, NOW + 1, Interval.DAY, berlin),
            CountRange.around(FIRST + DAY, NOW - DAY, Interval.DAY, new_york),
        ):
            recording.check(await analytics.count_sessions(asked, NOW), asked)
    assert set(await all_keys(raw, prefix)) == keys
    await make_old(raw, Keyspace(prefix))
    recording.check(await analytics.count_sessions(LONG_AGO, NOW), LONG_AGO)


async def make_old(raw: Raw, keyspace: Keyspace) -> None:
    """Clear the counters that old data lacks, for one source and some shards."""
    for shard in range(0, SHARD_COUNT, 3):
        key = keyspace.day(shard, LONG_AGO.last_day + 1, SOURCES[0])
        for position in (ENDED_OF_DAY, ENDED_OF_EARLIER_DAYS):
            await raw.execute_command("BITFIELD", key, "SET", "u32", f"#{position}", 0)


@pytest.mark.parametrize("is_erased", [False, True])
async def test_a_clock_that_is_behind_leaves_no_hour_below_zero(
    server: RedisServer, make_store: MakeStore, make_users: MakeUsers, make_analytics: MakeAnalytics, mint: Mint,
    *, is_erased: bool,
) -> None:  # fmt: skip
    """A session that ends before it began, by another clock, was active in no hour."""
    midnight = NOW // DAY * DAY
    store = await make_store(server.url, clock=lambda: midnight - 1)
    session = mint(midnight + 1, user_id="u")
    assert await store.create_many([session])
    if is_erased:
        assert await make_users(server.url).erase("u", (midnight - 1) * 1_000_000) == 1
    else:
        assert await store.end_many([[session.id]]) == [["s"]]
    analytics = make_analytics(server.url, ttl_seconds=TTL)
    for now in (NOW, NOW + 20 * DAY):
        asked = CountRange.around(midnight - DAY, midnight + DAY, Interval.HOUR)
        counts = await analytics.count_sessions(asked, now)
        assert {number for number in counts.total.active_at if number is not None} == {0}
        expired = sum(filter(None, counts.total.expired))
        assert (counts.total.created.count(1), counts.total.ended.count(1), expired) == (1, 1, 0)
