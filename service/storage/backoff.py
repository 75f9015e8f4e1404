"""Growing pauses between attempts at an operation that keeps failing."""

import time
from collections.abc import Callable

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 8.0  # short enough that a repaired file or freed memory is noticed soon


class Backoff:
    """The first retry comes at once, the next ones after 0.5, 1, 2, 4 and then always 8 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the next attempt may run now."""
        return self._clock() >= self._retry_at

    def failed(self) -> float:
        """Note a failed attempt and return the seconds until the next one."""
        self._failures += 1
        pause = 0.0
        if self._failures > 1:
            # The exponent is bounded too: a float overflows after a thousand failures.
            pause = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self._failures - 2, 10))
        self._retry_at = self._clock() + pause
        return pause

    def reset(self) -> None:
        """Forget earlier failures: the last attempt lasted, or an operator has changed something."""
        self._failures = 0
        self._retry_at = 0.0
