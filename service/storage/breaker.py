"""A circuit breaker: once Redis has not answered, requests stop waiting for it one by one."""

import time
from collections.abc import Callable

OPEN_SECONDS = 0.5


class Breaker:
    """Closed while Redis answers. Opened by an outage, it refuses for half a second, then lets one call probe.

    So during an outage at most one batch waits for the time-out at a time, and recovery is noticed within half
    a second plus one time-out of Redis being back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refuse_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether Redis has not answered, and no call has succeeded since."""
        return self._refuse_until is not None

    def admits(self) -> bool:
        """Tell whether a call may go out now. `succeeded`, `failed` or `abstained` must follow."""
        if self._refuse_until is None:
            return True
        if self._probing or self._clock() < self._refuse_until:
            return False
        self._probing = True
        return True

    def hurry(self) -> None:
        """Let the next call probe at once, because Redis was seen to answer."""
        if self._refuse_until is not None:
            self._refuse_until = self._clock()

    def succeeded(self) -> None:
        """Note that Redis answered, be it with an error."""
        self._refuse_until = None
        self._probing = False

    def abstained(self) -> None:
        """Note that the admitted call ended without an answer that counts, so that the next one may probe."""
        self._probing = False

    def failed(self) -> None:
        """Note that Redis did not answer."""
        self._refuse_until = self._clock() + OPEN_SECONDS
        self._probing = False
