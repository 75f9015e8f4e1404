"""Limits log lines about a problem that every request has."""

import time
from collections.abc import Callable, Hashable

QUIET_SECONDS = 60.0


class LogLimit:
    """Allows one line per problem and minute, or `lines` of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, lines: int = 1) -> None:
        self._clock = clock
        self._lines = lines
        # The end of a minute, and the number of lines in it, by problem.
        self._written: dict[Hashable, tuple[float, int]] = {}

    def allows(self, problem: Hashable) -> bool:
        """Return whether a line about the problem may be written now."""
        now = self._clock()
        quiet_until, number = self._written.get(problem, (now, 0))
        if now >= quiet_until:
            quiet_until, number = now + QUIET_SECONDS, 0
        if number == self._lines:
            return False
        self._written[problem] = quiet_until, number + 1
        return True

    def reset(self) -> bool:
        """Allow a line about every problem again.

        Returns whether there was a problem since the last reset.
        """
        had_problems = bool(self._written)
        self._written.clear()
        return had_problems
