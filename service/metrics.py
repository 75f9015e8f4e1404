"""What is counted and measured in a worker: every metric with its name, meaning and labels on one screen.

Plain numbers only, so that counting costs a request next to nothing; `exposition.py` adds up the workers and writes
the text for Prometheus. No label holds an id: sources, routes and kinds of errors are small fixed sets.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

Labels: TypeAlias = tuple[str, ...]
Across: TypeAlias = Literal["livesum", "livemax", "livemin"]


class Counter:
    """Numbers that only grow, by label values."""

    def __init__(self, name: str, meaning: str, labels: Labels) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self._pending: defaultdict[Labels, int] = defaultdict(int)

    def add(self, labels: Labels, number: int = 1) -> None:
        """Count something once, or so many times."""
        self._pending[labels] += number

    def take(self) -> Mapping[Labels, int]:
        """Return what was counted since the last time."""
        taken, self._pending = self._pending, defaultdict(int)
        return taken


class Histogram:
    """How often values fell under each bound, by label values."""

    def __init__(self, name: str, meaning: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self.bounds = bounds
        self._pending: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value."""
        numbers = self._numbers(labels)
        numbers[bisect_left(self.bounds, value)] += 1
        numbers[-1] += value

    def observe_all(self, labels: Labels, values: list[float]) -> None:
        """Count many values, which are sorted for it: of thousands each costs a fifth of what it costs alone."""
        numbers = self._numbers(labels)
        values.sort()
        counted = 0
        for place, bound in enumerate(self.bounds):
            up_to_here = bisect_right(values, bound)
            numbers[place] += up_to_here - counted
            counted = up_to_here
        numbers[-2] += len(values) - counted
        numbers[-1] += sum(values)

    def take(self) -> Mapping[Labels, Sequence[float]]:
        """Return what was counted since the last time.

        For each bound how many values are up to it and above the one before, then those above all, then the sum.
        """
        taken, self._pending = self._pending, {}
        return taken

    def _numbers(self, labels: Labels) -> list[float]:
        numbers = self._pending.get(labels)
        if numbers is None:
            numbers = self._pending[labels] = [0.0] * (len(self.bounds) + 2)
        return numbers


class Gauge:
    """Numbers that go up and down. Who knows them sets `read`; `across` is how the workers' make one.

    Infinity means that there is no number now. No sample is written for it.
    """

    def __init__(self, name: str, meaning: str, labels: Labels, across: Across = "livesum") -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self.across = across
        self.read: Callable[[], Mapping[Labels, float]] = dict

    def take(self) -> Mapping[Labels, float]:
        """Return the numbers as they are now."""
        return self.read()


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SHORT_SECONDS = (0.0001, 0.00025, *_SECONDS[:10])
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_SOURCE, _OPERATION = ("source",), ("operation",)


# Name and meaning: the supervisor, which has no other metric, counts its lines too.
LOG_LINES_DROPPED = "jay_log_lines_dropped", "Log lines that were dropped because nobody read them in time"


class Metrics:
    """All metrics of a worker. Prometheus adds `_total` to the names of counters."""

    def __init__(self) -> None:
        self.requests = Histogram(
            "jay_http_request_duration_seconds",
            "Requests answered, and the time from their head to their answer",
            ("method", "route", "status"),
            _SECONDS,
        )
        self.created = Counter("jay_sessions_created", "Sessions created", _SOURCE)
        self.found = Counter("jay_sessions_found", "Live sessions that were asked for, by GET or lookup", _SOURCE)
        self.missed = Counter(
            "jay_sessions_missed", "Sessions asked for that are not live, by the key's source", _SOURCE
        )
        self.ended = Counter("jay_sessions_ended", "Sessions ended by DELETE", _SOURCE)
        self.erased = Counter("jay_sessions_erased", "Sessions ended by the erasure of their user", ())
        self.batch_sizes = Histogram("jay_batch_size", "Requests that shared a call of Redis", _OPERATION, _SIZES)
        self.batch_waits = Histogram(
            "jay_batch_wait_seconds", "How long the first request of a batch waited", _OPERATION, _SHORT_SECONDS
        )
        self.waiting = Gauge("jay_batch_waiting", "Requests that wait for the next batch", _OPERATION)
        self.redis_calls = Histogram(
            "jay_redis_call_duration_seconds", "Calls of Redis, failed ones too", _OPERATION, _SHORT_SECONDS
        )
        self.redis_errors = Counter("jay_redis_errors", "What kept requests from being served by Redis", ("kind",))
        self.breaker_open = Gauge(
            "jay_redis_breaker_open",
            "1 while a worker holds requests back because Redis did not answer",
            ("lane",),
            "livemax",
        )
        self.connections = Gauge("jay_redis_connections", "Connections to Redis", ("lane", "state"))
        self.memory_full = Gauge(
            "jay_redis_memory_full_seconds",
            "Seconds until Redis's memory is full at the rate of the last 15 minutes. "
            "Absent without a memory limit or growth",
            (),
            "livemin",
        )
        self.log_lines_dropped = Counter(*LOG_LINES_DROPPED, ())

    def all(self) -> Sequence[Counter | Histogram | Gauge]:
        """Return every metric."""
        return list(vars(self).values())
