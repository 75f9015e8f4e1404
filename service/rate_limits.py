"""Rate limits: how often each client may do something, such as 60 times a minute.

The limiter has no lock and no store. It is exact within a process, and each process
counts separately.
"""

import re
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
MAX_COUNT = 1_000_000

# 100,000 entries take about 20 MB. Beyond that the limiter forgets the clients that it
# has not admitted for the longest time.
MAX_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `count` times in `seconds`, all at once or one by one."""

    count: int
    seconds: int


def parse_rate_limit(value: str) -> RateLimit | None:
    """Return the limit of a string such as `60/minute`, or None if it is invalid."""
    found = _RATE.fullmatch(value)
    if found is None or int(found[1]) > MAX_COUNT:
        return None
    return RateLimit(int(found[1]), _UNITS[found[2]])


class RateLimiter:
    """Admits or rejects clients by the generic cell rate algorithm (GCRA).

    A client may use its whole count at once. After that it is admitted again at the
    limit's even pace: after one second, two seconds and so on for 60/minute. The state
    of a client is one number, the time at which it will have its whole count again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        # Dictionaries keep the order of insertion, so the client admitted last is at
        # the end.
        self._full_at: dict[Hashable, float] = {}

    def admit(self, client: Hashable, limit: RateLimit) -> float:
        """Count a request, and return the seconds to wait, 0.0 if it is admitted.

        A rejected request does not count. A client that used up an earlier limit has
        used up this one, and no more. So a new limit takes effect at once, although the
        client may have had to wait for a day.
        """
        now = self._clock()
        used_until = max(self._full_at.get(client, now), now)
        if used_until > now + limit.seconds:  # by an earlier limit
            used_until = self._full_at[client] = now + limit.seconds
        full_at = used_until + limit.seconds / limit.count
        if (wait := round(full_at - now - limit.seconds, _DIGITS)) > 0:
            return wait
        self._full_at.pop(client, None)
        self._full_at[client] = full_at
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the two oldest entries if they have expired or if there are too many."""
        for client in [client for client, _ in zip(self._full_at, range(2), strict=False)]:
            if self._full_at[client] <= now or len(self._full_at) > self._max_entries:
                del self._full_at[client]


# `count` additions of `seconds / count` can exceed `seconds` by a rounding error, and a
# wait of whole seconds can exceed these. So waits are whole microseconds.
_DIGITS = 6
