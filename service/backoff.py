"""Growing pauses between the attempts at an operation that fails."""

import time
from collections.abc import Callable

_FIRST_SECONDS = 0.5
# Short enough that a restored file or freed memory is noticed soon.
_LONGEST_SECONDS = 8.0


class Backoff:
    """Allows the first retry at once, the next ones after 0.5, 1, 2, 4 and then 8 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the next attempt may run now."""
        return self._clock() >= self._retry_at

    def failed(self) -> float:
        """Record a failed attempt. Returns the seconds until the next one."""
        self._failures += 1
        pause = 0.0
        if self._failures > 1:
            # The exponent has a bound too. A float overflows after a thousand failures.
            pause = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self._failures - 2, 10))
        self._retry_at = self._clock() + pause
        return pause

    def reset(self) -> None:
        """Forget earlier failures, after a success or a change by an operator."""
        self._failures = 0
        self._retry_at = 0.0
