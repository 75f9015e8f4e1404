"""Every metric of a worker with its name, help and labels.

The numbers are plain Python numbers, so that counting costs a request next to nothing.
`prometheus.py` sums the workers and writes Prometheus's format. No label has an id:
sources, routes and kinds of errors are small sets.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

Labels: TypeAlias = tuple[str, ...]
MultiprocessMode: TypeAlias = Literal["livesum", "livemax", "livemin"]


class Counter:
    """A number for each combination of label values. It only grows."""

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self._pending: defaultdict[Labels, int] = defaultdict(int)

    def add(self, labels: Labels, number: int = 1) -> None:
        """Add to the number of these label values."""
        self._pending[labels] += number

    def drain(self) -> Mapping[Labels, int]:
        """Return the counts since the last call."""
        drained, self._pending = self._pending, defaultdict(int)
        return drained


class Histogram:
    """Counts of values per bucket, by label values."""

    def __init__(self, name: str, help_text: str, labels: Labels, buckets: Sequence[float]) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.buckets = buckets
        self._pending: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value."""
        numbers = self._numbers(labels)
        numbers[bisect_left(self.buckets, value)] += 1
        numbers[-1] += value

    def observe_all(self, labels: Labels, values: list[float]) -> None:
        """Count many values and sort them in place.

        With thousands of values, each costs a fifth of a call of `observe`.
        """
        numbers = self._numbers(labels)
        values.sort()
        counted = 0
        for bucket, bound in enumerate(self.buckets):
            up_to_bound = bisect_right(values, bound)
            numbers[bucket] += up_to_bound - counted
            counted = up_to_bound
        numbers[-2] += len(values) - counted
        numbers[-1] += sum(values)

    def drain(self) -> Mapping[Labels, Sequence[float]]:
        """Return the counts since the last call.

        They have one number per bucket (not cumulative), the number above all buckets,
        and the sum of the values.
        """
        drained, self._pending = self._pending, {}
        return drained

    def _numbers(self, labels: Labels) -> list[float]:
        numbers = self._pending.get(labels)
        if numbers is None:
            numbers = self._pending[labels] = [0.0] * (len(self.buckets) + 2)
        return numbers


class Gauge:
    """A number for each combination of label values. It goes up and down.

    `multiprocess_mode` is how the numbers of all workers become one. Infinity means
    that there is no number now, and no sample is written for it.
    """

    def __init__(
        self, name: str, help_text: str, labels: Labels, multiprocess_mode: MultiprocessMode = "livesum"
    ) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.multiprocess_mode = multiprocess_mode
        self._function: Callable[[], Mapping[Labels, float]] = dict

    def set_function(self, function: Callable[[], Mapping[Labels, float]]) -> None:
        """Set the function that returns the current numbers by label values."""
        self._function = function

    def drain(self) -> Mapping[Labels, float]:
        """Return the current numbers."""
        return self._function()


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SHORT_SECONDS = (0.0001, 0.00025, *_SECONDS[:10])
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_SOURCE, _OPERATION = ("source",), ("operation",)


# Name and help. The supervisor counts its dropped lines as well, and has no other
# metric.
LOG_LINES_DROPPED = "jay_log_lines_dropped", "Log lines dropped because they could not be written in time"


class Metrics:
    """All metrics of a worker. Prometheus adds `_total` to the names of counters."""

    def __init__(self) -> None:
        self.requests = Histogram(
            "jay_http_request_duration_seconds",
            "Duration of requests, from the head of the request to the response",
            ("method", "route", "status"),
            _SECONDS,
        )
        self.created = Counter("jay_sessions_created", "Sessions created", _SOURCE)
        self.found = Counter("jay_sessions_found", "Live sessions found by GET or lookup", _SOURCE)
        self.forwarded = Counter("jay_forward_auth", "Answers of forward-auth: live, none or unknown", ("session",))
        self.missed = Counter(
            "jay_sessions_missed", "Sessions not found by GET or lookup, by the source of the API key", _SOURCE
        )
        self.ended = Counter("jay_sessions_ended", "Sessions ended by DELETE", _SOURCE)
        self.erased = Counter("jay_sessions_erased", "Sessions ended by an erasure of their user", ())
        self.batch_sizes = Histogram("jay_batch_size", "Requests that share one call to Redis", _OPERATION, _SIZES)
        self.batch_waits = Histogram(
            "jay_batch_wait_seconds", "How long the first request of a batch waited", _OPERATION, _SHORT_SECONDS
        )
        self.waiting = Gauge("jay_batch_waiting", "Requests waiting for the next batch", _OPERATION)
        self.redis_calls = Histogram(
            "jay_redis_call_duration_seconds", "Calls to Redis, including failed ones", _OPERATION, _SHORT_SECONDS
        )
        self.redis_errors = Counter("jay_redis_errors", "Errors of Redis and its connections, by kind", ("kind",))
        self.breaker_open = Gauge(
            "jay_redis_breaker_open",
            "1 while calls fail at once because Redis does not answer",
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
