"""A circuit breaker: while Redis does not answer, calls fail without waiting."""

import time
from collections.abc import Callable

OPEN_SECONDS = 0.5


class Breaker:
    """Closed while Redis answers. An outage opens it for half a second.

    After half a second one call is admitted as a probe. Its result closes the breaker
    or opens it again. Calls that were sent before the breaker opened wait for their
    timeouts. While it is open, only the probe waits for Redis. The breaker closes
    within half a second plus one timeout after Redis is back.

    An admission is a number, which stays current until the breaker opens or closes, or
    admits a probe. A call whose admission is not current reports too late: its failure
    says nothing about Redis that the breaker does not know.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open_until: float | None = None
        self._current = 0
        self._probe: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether Redis did not answer, and no call has succeeded since."""
        return self._open_until is not None

    def admit(self, before: int | None = None) -> int | None:
        """Return the admission of a call that may be sent now, or None.

        The caller then reports its result with `succeeded`, `failed` or `cancelled`.
        `before` is its admission from a moment ago, which it keeps if it is current.
        """
        if before == self._current or self._open_until is None:
            return self._current
        if self._probe is not None or self._clock() < self._open_until:
            return None
        self._current += 1
        self._probe = self._current
        return self._probe

    def succeeded(self) -> bool:
        """Close the breaker, because Redis answered. Returns whether it was open.

        An error reply is an answer too, and so are a late one and one to another lane.
        """
        was_open = self.is_open
        if was_open:
            self._current += 1
            self._open_until = None
        return was_open

    def cancelled(self, admission: int) -> None:
        """Admit another probe if the call was one. It has ended without a result."""
        if admission == self._probe:
            self._probe = None

    def failed(self, admission: int) -> bool:
        """Open the breaker for half a second, because Redis did not answer.

        Returns False and changes nothing if the admission is not current.
        """
        if admission != self._current:
            return False
        self._current += 1
        self._open_until = self._clock() + OPEN_SECONDS
        self._probe = None
        return True
