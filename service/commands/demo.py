"""`jay-tracking demo`: fills a development service with a plausible week of sessions.

The service's own store creates and ends the sessions, with start times in the past. So
the counts are real counts. Sessions that would have expired by now get a lifetime of
one minute.
"""

import asyncio
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from service.commands import demo_target
from service.commands.api_client import ApiClient
from service.commands.patient_connection import patient_connection
from service.config.settings import Settings
from service.counts import DAY, HOUR
from service.digests import UserDigest
from service.errors import CommandError, StoreUnavailable
from service.sessions import Session, SessionFactory
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.paging import pages
from service.storage.session_store import RedisSessionStore

DAYS = 7
_BATCH = 250
_MIN_TTL_SECONDS = 60
_USERS_PER_SESSION = 0.08
_MINUTES_TO_END = 25.0  # on average, for sessions that are ended


@dataclass(frozen=True)
class _Source:
    """A kind of client. `peak_hour` is in UTC, and the other numbers are shares."""

    name: str
    share: float
    peak_hour: float
    with_user: float
    ended: float
    since_day: int = 0


_SOURCES = (
    _Source("jay.web.player.4.2", 0.42, 19.0, with_user=0.35, ended=0.55),
    _Source("jay.tv.living-room.2.0", 0.24, 20.5, with_user=0.60, ended=0.25),
    _Source("jay.app.android.9.1", 0.16, 17.0, with_user=0.50, ended=0.40),
    _Source("jay.app.ios.9.1", 0.12, 17.5, with_user=0.55, ended=0.45),
    _Source("jay.radio.kitchen.1.0", 0.06, 6.5, with_user=0.15, ended=0.10, since_day=3),
)
_MATCH_DAY, _MATCH_HOUR, _MATCH_FACTOR = 4, 19, 2.6  # an evening with many viewers


def fill(settings: Settings, client: ApiClient, sessions: int) -> None:
    """Create about `sessions` sessions over the last week and print a summary.

    Raises CommandError before the first write if the service or its Redis is not for a
    demo. See `demo_target.py`.
    """
    redis_url = demo_target.check_environments(settings, client)
    try:
        created, ended = asyncio.run(_fill(settings, client, redis_url, sessions))
    except StoreUnavailable as error:
        raise CommandError(f"Redis cannot be used ({error}). Check redis.url") from None
    print(f"Created {created:,} sessions of {len(_SOURCES)} sources over {DAYS} days, and ended {ended:,} of them.")
    print(f"See {client.url}/dashboard, or `jay-tracking counts --from 7d`.")


async def _fill(settings: Settings, client: ApiClient, redis_url: str, sessions: int) -> tuple[int, int]:
    async with patient_connection(redis_url, settings.redis) as connection:
        await demo_target.check_redis(connection, settings.redis, client)
        return await _Week(settings, connection, time.time()).write(sessions)


class _Week:
    """The week before `now`, hour by hour."""

    def __init__(self, settings: Settings, connection: RedisConnection, now: float) -> None:
        self._settings = settings
        self._connection = connection
        self._now = now
        self._new = SessionFactory(UserDigest(settings.session.user_secret), settings.session.ttl_seconds).new
        self._chance = random.Random(2023)  # noqa: S311 - the same week each time

    async def write(self, sessions: int) -> tuple[int, int]:
        """Write about `sessions` sessions. Returns how many were created and ended."""
        ends: defaultdict[int, list[str]] = defaultdict(list)
        created = ended = 0
        console, plan = Console(), self._plan(sessions)
        is_hidden = not console.is_terminal
        for hour, per_source in track(plan, "Writing", console=console, transient=True, disable=is_hidden):
            starting = self._sessions_of(hour, per_source, max(10, int(sessions * _USERS_PER_SESSION)), ends)
            store = self._store(hour)
            for batch in pages(starting, _BATCH):
                created += sum(await store.create_many(batch))
            for ids in pages(ends.pop(hour, []), _BATCH):
                ended += sum(map(len, await store.end_many([[session_id] for session_id in ids])))
        return created, ended

    def _plan(self, sessions: int) -> list[tuple[int, list[float]]]:
        """Return hours since the epoch with the expected sessions per source."""
        first = int(self._now - DAYS * DAY) // HOUR + 1
        hours = range(first, int(self._now) // HOUR + 1)
        weights = [[self._weight(source, hour, (hour - first) // 24) for source in _SOURCES] for hour in hours]
        whole = sum(map(sum, weights))
        return [
            (hour, [sessions * weight / whole for weight in row]) for hour, row in zip(hours, weights, strict=True)
        ]

    def _weight(self, source: _Source, hour: int, day: int) -> float:
        if day < source.since_day:
            return 0.0
        of_day = 0.15 + math.exp(2.0 * (math.cos((hour % 24 - source.peak_hour) * math.tau / 24) - 1))
        is_match = day == _MATCH_DAY and abs(hour % 24 - _MATCH_HOUR) <= 1
        return source.share * of_day * (_MATCH_FACTOR if is_match else 1) * self._chance.uniform(0.9, 1.1)

    def _sessions_of(
        self, hour: int, per_source: Sequence[float], users: int, ends: defaultdict[int, list[str]]
    ) -> list[Session]:
        """Return the new sessions of an hour.

        Adds the ids of the sessions that will be ended to `ends`, by hour.
        """
        found = []
        for source, expected in zip(_SOURCES, per_source, strict=True):
            for _ in range(round(expected + self._chance.uniform(-0.5, 0.5))):
                at = (hour + self._chance.random()) * HOUR
                if at >= self._now:
                    continue
                user = f"user-{self._popular(users):05}" if self._chance.random() < source.with_user else None
                session = self._new(source.name, user)._replace(started_at=int(at * 1e6))
                found.append(session)
                end = at + self._chance.expovariate(1 / (60 * _MINUTES_TO_END))
                if self._chance.random() < source.ended and end < self._now:
                    ends[int(end) // HOUR].append(session.id)
        return found

    def _popular(self, users: int) -> int:
        """Return the number of a user. A few users come often, most come rarely."""
        return 1 + int(users * self._chance.random() ** 1.6)

    def _store(self, hour: int) -> RedisSessionStore:
        """Return a store with the clock of an hour and the lifetime that is left."""
        ttl_seconds, analytics = self._settings.session.ttl_seconds, self._settings.analytics
        left = int((hour + 1) * HOUR + ttl_seconds - self._now)
        return RedisSessionStore(
            self._connection,
            Keyspace(self._settings.redis.key_prefix),
            Lifetimes.of(min(max(left, _MIN_TTL_SECONDS), ttl_seconds), analytics.retention_days),
            top_users=analytics.top_users,
            clock=lambda: min((hour + 0.5) * HOUR, self._now),
        )
