"""A circuit breaker: while Redis does not answer, calls fail without waiting."""

import time
from collections.abc import Callable

OPEN_SECONDS = 0.5


class Breaker:
    """Closed while Redis answers. An outage opens it for half a second.

    After half a second one call is admitted as a probe. Its result closes the breaker
    or opens it again. So at most one call at a time waits for a timeout during an
    outage, and the breaker closes within half a second plus one timeout after Redis is
    back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open_until: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether Redis did not answer, and no call has succeeded since."""
        return self._open_until is not None

    def admits(self) -> bool:
        """Return whether a call may be sent now.

        The caller then reports its result with `succeeded`, `failed` or `cancelled`.
        """
        if self._open_until is None:
            return True
        if self._is_probing or self._clock() < self._open_until:
            return False
        self._is_probing = True
        return True

    def retry_now(self) -> None:
        """Admit the next call as a probe without further delay."""
        if self._open_until is not None:
            self._open_until = self._clock()

    def succeeded(self) -> None:
        """Close the breaker, because Redis answered.

        An error reply is an answer too.
        """
        self._open_until = None
        self._is_probing = False

    def cancelled(self) -> None:
        """Admit another probe, because the admitted call ended without a result."""
        self._is_probing = False

    def failed(self) -> None:
        """Open the breaker, because Redis did not answer."""
        self._open_until = self._clock() + OPEN_SECONDS
        self._is_probing = False
