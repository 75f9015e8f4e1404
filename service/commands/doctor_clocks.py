"""The clocks of the doctor: do the service's and Redis's agree, and does this machine's agree with them.

Each clock is read between two looks at this machine's clock, so an offset is known as an interval: the time that the
answer took is its width.
"""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import exceptions
from redis.asyncio import Redis

from service.commands.api_client import Answer
from service.commands.findings import Finding, good, problem, unknown
from service.errors import StoreUnavailable
from service.settings import Settings
from service.storage.connection import RedisConnection
from service.storage.redis_errors import is_denied

_TOLERATED_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_READINGS = 3


@dataclass(frozen=True)
class Offset:
    """How far a clock is ahead of this machine's, in seconds: between `low` and `high`."""

    low: float
    high: float

    def __sub__(self, other: "Offset") -> "Offset":
        return Offset(self.low - other.high, self.high - other.low)

    def words(self) -> str | None:
        """Return such as `2.4 s ahead of`; None where the clocks may agree."""
        if self.low > _TOLERATED_SECONDS:
            return f"{self.low:,.1f} s ahead of"
        if self.high < -_TOLERATED_SECONDS:
            return f"{-self.high:,.1f} s behind"
        return None


def offset_of(answer: Answer) -> Offset | None:
    """Return the offset of the service's clock, from a session's `start_time` or an `as_of`; None without either.

    The header `Date` would be the clock of a proxy such as nginx, which sets its own.
    """
    document = answer.document()
    for name, resolution_seconds in (("start_time", 0.0), ("as_of", 1.0)):
        try:
            at = datetime.fromisoformat(document[name]).replace(tzinfo=UTC).timestamp()
        except (KeyError, TypeError, ValueError):
            continue
        return Offset(at - answer.received_at, at + resolution_seconds - answer.sent_at)
    return None


async def look(service: Offset | None, settings: Settings, url: str) -> list[Finding]:
    """Return findings; none where Redis cannot be asked, which is a finding of another part."""
    connection = RedisConnection(url, dataclasses.replace(settings.redis, timeout_seconds=_TIMEOUT_SECONDS))
    try:
        readings = [await _read(connection) for _ in range(_READINGS)]
    except StoreUnavailable:
        return []
    finally:
        await connection.close()
    known = [reading for reading in readings if reading]
    redis = min(known, key=lambda reading: reading.high - reading.low) if known else None
    return list(compare(service, redis))


async def _read(connection: RedisConnection) -> Offset | None:
    """Return the offset of Redis's clock; None where the service's Redis user may not ask."""

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


def compare(service: Offset | None, redis: Offset | None) -> Iterator[Finding]:
    """Return what the offsets mean."""
    if redis is None:
        yield unknown("not allowed to read Redis's clock", "allow the Redis user +time")
    if service is None:
        yield unknown(
            "the service's clock was not read",
            "an answer that has its time needs a key with the scope `track` or `analytics`",
        )
    if service and redis:
        if difference := (service - redis).words():
            advice = (
                "synchronize both machines, for example with chrony: the service's clock dates sessions, so counts "
                "go into the wrong hour, and an erasure can miss sessions that another machine of the service created"
            )
            yield problem(f"the service's clock is {difference} Redis's", advice)
        else:
            yield good("the clocks of service and Redis agree to a second")
    reference, name = (redis, "Redis's") if redis else (service, "the service's")
    if reference and (difference := Offset(-reference.high, -reference.low).words()):
        advice = "times like `--from 24h` are by this machine's clock, and so is the comparison of counts by hour"
        yield unknown(f"this machine's clock is {difference} {name}", advice)
