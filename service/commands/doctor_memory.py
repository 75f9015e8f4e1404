"""The doctor's forecast of memory.

It comes from the running service, which watches its Redis.
"""

from collections.abc import Iterator
from http import HTTPStatus

from service.api import wire
from service.commands.api_client import ApiClient
from service.commands.doctor_results import CheckResult, good, unknown, warning
from service.counts import DAY, HOUR, MINUTE
from service.quantities import quantity

_SOON_SECONDS = DAY
_IN_MINUTES_BELOW, _IN_HOURS_BELOW = 2 * HOUR, 2 * DAY


def check(client: ApiClient) -> Iterator[CheckResult]:
    """Yield the forecast of the worker that answers.

    Yields nothing without a memory limit.
    """
    answer = client.send("GET", wire.STORE_STATUS_PATH)
    status = answer.document()
    if answer.status != HTTPStatus.OK or not status.get("memory_limit_bytes"):
        return  # other checks report a missing limit
    seconds = status.get("memory_full_seconds")
    if not isinstance(seconds, int | float):
        yield unknown(
            "no forecast: the memory in use is not growing, or the service has just started",
            "run the doctor again after the service has run for a few minutes under its usual load",
        )
    elif seconds < _SOON_SECONDS:
        advice = (
            "give Redis more memory, or limit creation. The forecast is linear. Under a steady load, growth ends "
            "when the first sessions expire"
        )
        when = f"in {duration(seconds)} at this rate" if seconds else "now"
        yield warning(f"memory is full {when}", advice)
    else:
        yield good(f"memory is full in {duration(seconds)} at this rate, by a linear forecast")


def duration(seconds: float) -> str:
    """Return a string such as `90 minutes`, `5 hours` or `3 days`, rounded down."""
    if seconds < _IN_MINUTES_BELOW:
        return quantity(int(seconds // MINUTE), "minute")
    if seconds < _IN_HOURS_BELOW:
        return quantity(int(seconds // HOUR), "hour")
    return quantity(int(seconds // DAY), "day")
