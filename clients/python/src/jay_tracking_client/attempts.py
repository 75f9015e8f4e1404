"""Decides when a request is repeated, for both clients."""

from typing import TypeVar

from jay_tracking_client.errors import ServiceUnavailable, TimedOut, TrackingError, error_of
from jay_tracking_client.messages import Answer, Request
from jay_tracking_client.operations import Operation
from jay_tracking_client.options import Options

T = TypeVar("T")
Outcome = Answer | ServiceUnavailable


class Attempts:
    """The attempts of one call.

    A client sends the request, passes the outcome to `pause_after`, and repeats the
    request after the pause. Without a pause it returns `result_of`.
    """

    def __init__(self, request: Request, options: Options) -> None:
        self._request = request
        self._options = options
        self._deadline = options.clock() + options.total_seconds
        self._made = 0

    def remaining_seconds(self) -> float:
        """Return the time that the call has left. Raises TimedOut when it has none."""
        remaining = self._deadline - self._options.clock()
        if remaining <= 0:
            raise TimedOut(f"no answer in {self._options.total_seconds} s")
        return remaining

    def pause_after(self, outcome: Outcome) -> float | None:
        """Return the pause before the next attempt, or None if there is none.

        The pause is at least `Retry-After`. The random part keeps clients apart that
        failed together. A pause that the time of the call does not allow ends the call,
        so its caller gets the error early.
        """
        self._made += 1
        error = error_of(outcome) if isinstance(outcome, Answer) and not outcome.is_success else outcome
        if not isinstance(error, ServiceUnavailable) or not self._request.is_repeatable:
            return None
        most = min(self._options.max_pause_seconds, self._options.pause_seconds * 2 ** (self._made - 1))
        pause = (error.retry_after_seconds or 0.0) + self._options.chance(0.0, most)
        may_repeat = self._made < self._options.attempts and self._options.clock() + pause < self._deadline
        return pause if may_repeat else None


def result_of(operation: Operation[T], outcome: Outcome) -> T:
    """Return the result of the last attempt, or raise its error."""
    if isinstance(outcome, TrackingError):
        raise outcome
    return operation.result(outcome)
