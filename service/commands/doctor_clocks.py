"""The doctor's checks of the clocks of the service, Redis and this machine.

This machine's clock is read before and after each other clock. So an offset is an
interval, which is as wide as the time that the answer took.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import exceptions
from redis.asyncio import Redis

from service.commands.api_client import Answer
from service.commands.doctor_results import CheckResult, good, problem, unknown
from service.commands.patient_connection import patient_connection
from service.config.settings import Settings
from service.errors import StoreUnavailable
from service.storage.connection import RedisConnection
from service.storage.redis_errors import is_denied

_TOLERATED_SECONDS = 1.0
_READINGS = 3


@dataclass(frozen=True)
class Offset:
    """Seconds by which a clock is ahead of this machine's: from `low` to `high`."""

    low: float
    high: float

    def __sub__(self, other: "Offset") -> "Offset":
        return Offset(self.low - other.high, self.high - other.low)

    def words(self) -> str | None:
        """Return words such as `2.4 s ahead of`, or None when the clocks may agree."""
        if self.low > _TOLERATED_SECONDS:
            return f"{self.low:,.1f} s ahead of"
        if self.high < -_TOLERATED_SECONDS:
            return f"{-self.high:,.1f} s behind"
        return None


def offset_of(answer: Answer) -> Offset | None:
    """Return the offset of the service's clock, None for an answer without a time.

    The header `Date` may come from a proxy: nginx sets its own.
    """
    document = answer.document()
    for name, resolution_seconds in (("start_time", 0.0), ("as_of", 1.0)):
        try:
            at = datetime.fromisoformat(document[name]).replace(tzinfo=UTC).timestamp()
        except (KeyError, TypeError, ValueError):
            continue
        return Offset(at - answer.received_at, at + resolution_seconds - answer.sent_at)
    return None


async def check(service: Offset | None, settings: Settings, url: str) -> list[CheckResult]:
    """Return the results.

    There are no results when Redis does not answer. Other checks report that.
    """
    try:
        async with patient_connection(url, settings.redis) as connection:
            readings = [await _read(connection) for _ in range(_READINGS)]
    except StoreUnavailable:
        return []
    offsets = [offset for offset in readings if offset]
    redis = min(offsets, key=lambda offset: offset.high - offset.low) if offsets else None
    return list(compare(service, redis))


async def _read(connection: RedisConnection) -> Offset | None:
    """Return the offset of Redis's clock, None when the Redis user may not read it."""

    async def ask(client: Redis) -> Offset | None:
        sent = time.time()
        try:
            seconds, microseconds = await client.time()
        except exceptions.ResponseError as error:
            if is_denied(error):
                return None
            raise
        at = seconds + microseconds / 1_000_000
        return Offset(at - time.time(), at - sent)

    return await connection.run("clock", ask)


def compare(service: Offset | None, redis: Offset | None) -> Iterator[CheckResult]:
    """Yield the results for two offsets."""
    if redis is None:
        yield unknown("the Redis user may not read the clock of Redis", "allow the user +time")
    if service is None:
        yield unknown(
            "the service's clock was not read",
            "run the doctor again when there is no error above, with a key that has the scope `track` or `analytics`",
        )
    if service and redis:
        if difference := (service - redis).words():
            advice = (
                "synchronize both machines, for example with chrony. The start of a session is the time of the "
                "service's clock. If it is wrong, sessions count in the wrong hour, and clients get a wrong expiry"
            )
            yield problem(f"the service's clock is {difference} Redis's", advice)
        else:
            yield good("the clocks of the service and Redis agree within a second")
    reference, name = (redis, "Redis's") if redis else (service, "the service's")
    if reference and (difference := Offset(-reference.high, -reference.low).words()):
        advice = "ranges like `--from 24h` and the check of counts by hour use this machine's clock"
        yield unknown(f"this machine's clock is {difference} {name}", advice)
