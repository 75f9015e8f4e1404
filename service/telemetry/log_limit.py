"""Limits log lines about a problem that every request has."""

import time
from collections.abc import Callable, Hashable

QUIET_SECONDS = 60.0


class LogLimit:
    """Allows one line per problem and minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until: dict[Hashable, float] = {}

    def allows(self, problem: Hashable) -> bool:
        """Return whether a line about the problem may be written now."""
        now = self._clock()
        if now < self._quiet_until.get(problem, now):
            return False
        self._quiet_until[problem] = now + QUIET_SECONDS
        return True

    def reset(self) -> bool:
        """Allow a line about every problem again.

        Returns whether there was a problem since the last reset.
        """
        had_problems = bool(self._quiet_until)
        self._quiet_until.clear()
        return had_problems
