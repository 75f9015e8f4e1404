"""One lane to one Redis server: connections with timeouts, one retry and a breaker.

DESIGN
A worker has three lanes (`lanes.py`), so that one kind of call does not delay another.
Each lane has bounds for its connections and for its queue (`lane.py`). With Redis
Cluster, each primary has lanes of its own.

Shortage.  No connection is free in time, or the queue is full. The call raises
           Overloaded. Redis is not the cause, so the breaker does not count it.
Outage.    Redis does not answer in time, or the connection breaks. The breaker opens,
           and a probe closes it when Redis answers again.
Demotion.  The server answers that it is not the primary any more. All lanes close their
           connections, and the next call resolves the server's name again.
Unfit.     A new connection has to pass the self-test before it carries a request. A
           connection that fails is closed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.config.settings import RedisSettings
from service.errors import Overloaded, StoreUnavailable
from service.storage.breaker import OPEN_SECONDS, Breaker
from service.storage.call_slots import CallSlots
from service.storage.client import Client, Command, Prepare
from service.storage.connection_events import ConnectionEvents
from service.storage.deadlines import Deadlines
from service.storage.durability import Durability
from service.storage.lane import Lane
from service.storage.redis_errors import ErrorKind, kind_of, message_of
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
Operation = Callable[["Redis"], Awaitable[T]]
# Returns a value in place of an error reply, or raises the error.
Accept = Callable[[ResponseError], Any]

_logger = logging.getLogger(__name__)

_MAX_PROBE_PAUSE_SECONDS = 2.0  # during a long outage


class ServerLane:
    """Runs operations on one server in one lane.

    When a reply is lost, the retry repeats a command that has run. So every operation
    has to be idempotent: run twice, it returns the same and changes the same.
    """

    def __init__(
        self,
        url: str,
        settings: RedisSettings,
        lane: Lane,
        *,
        metrics: Metrics,
        prepare: Prepare | None,
        events: ConnectionEvents,
        log_limit: LogLimit,
        name: str = "Redis",
    ) -> None:
        """`prepare` runs on each new connection before its first request.

        Lanes that share a `log_limit` log an outage once. `name` is that of the server
        in the log.
        """
        self.url = url
        self._name = name
        self.lane = lane
        self._durability = Durability.of(settings)
        timeout = settings.timeout_seconds * (1 if lane.repeats_timeouts else 2)
        self._deadlines = Deadlines(timeout)
        self._write_deadlines = Deadlines(timeout + self._durability.wait_seconds)
        self._metrics = metrics
        self._events = events
        self._log_limit = log_limit
        self._client = Client(url, settings.timeout_seconds, lane.connections, prepare)
        self._breaker = Breaker()
        self._slots = CallSlots(lane, settings.timeout_seconds, metrics, log_limit)
        self._had_outage = False
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open."""
        return self._breaker.is_open

    def connections(self) -> tuple[int, int]:
        """Return the numbers of idle and of used connections."""
        return self._client.connections()

    async def run(self, name: str, operation: Operation[T]) -> T:
        """Run one idempotent operation on the client. `name` is its label in metrics.

        Raises StoreUnavailable when Redis does not answer or cannot serve, and
        Overloaded when this lane has no free connection in time. With a connection, the
        operation takes two timeouts at most, except as `deadlines.py` describes.
        """
        return await self._run(name, lambda: operation(self._client.redis), self._deadlines)

    async def call_all(
        self, name: str, commands: Sequence[Command], accept: Accept, *, is_write: bool = False
    ) -> list[Any]:
        """Return the replies to idempotent commands that are sent together.

        `accept` decides about each error reply. `is_write`: the replies are returned
        only after the writes are as durable as `redis.durability` demands. Raises as
        `run` does.
        """
        waits = is_write and self._durability.is_waiting

        async def send() -> list[Any]:
            call = self._durability.write(self._client, commands) if waits else self._client.call_all(commands)
            return [accept(reply) if isinstance(reply, ResponseError) else reply for reply in await call]

        return await self._run(name, send, self._write_deadlines if waits else self._deadlines)

    async def _run(self, name: str, operation: Callable[[], Awaitable[T]], deadlines: Deadlines) -> T:
        await self._admit()
        started = time.perf_counter()
        try:
            result = await self._attempt(operation, deadlines)
        except Exception as error:
            await self._failed(error)
            raise
        except BaseException:
            self._breaker.cancelled()
            raise
        finally:
            self._slots.release()
            self._metrics.redis_calls.observe((self.lane.measured_as or name,), time.perf_counter() - started)
        self._succeeded()
        return result

    async def _admit(self) -> None:
        """Wait for a connection. Raises StoreUnavailable while the breaker is open."""
        if not self._breaker.admits():
            raise self._held_back()
        is_probe = self._breaker.is_open
        try:
            await self._slots.acquire()
        except BaseException:
            self._breaker.cancelled()
            raise
        if self._breaker.is_open and not is_probe:  # opened while the call waited
            self._slots.release()
            raise self._held_back()

    def _held_back(self) -> StoreUnavailable:
        self._metrics.redis_errors.add(("breaker",))
        return StoreUnavailable("Redis did not answer a moment ago")

    async def reconnect(self) -> None:
        """Close all connections, so that the server's name is resolved again."""
        await self._client.reconnect()

    def retry_now(self) -> None:
        """Let the next call try Redis at once, because Redis answered another lane."""
        self._breaker.retry_now()

    async def retire(self) -> None:
        """Close all connections after the calls in progress, because none follows."""
        await self._slots.drain()
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._stop_probe()
        await self._client.close()

    async def _stop_probe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            with suppress(asyncio.CancelledError):
                await self._probe

    async def _attempt(self, operation: Callable[[], Awaitable[T]], deadlines: Deadlines) -> T:
        """Run the operation, and once more after a lost reply."""
        try:
            return await deadlines.limit(operation())
        except RedisConnectionError:
            pass
        except (TimeoutError, RedisTimeoutError):
            if not self.lane.repeats_timeouts:
                raise
        return await deadlines.limit(operation())

    async def _failed(self, error: Exception) -> None:
        """Raise StoreUnavailable for an error of Redis.

        Return if the error is a bug of the service.
        """
        kind = kind_of(error)
        if kind in {ErrorKind.SILENT, ErrorKind.UNFIT} or isinstance(error, RedisConnectionError):
            self._had_outage = True
            self._breaker.failed()
            self._start_probe()
        else:  # Redis answered at once, so the next calls need not be held back
            self._breaker.succeeded()
        if kind is ErrorKind.BUG:
            return
        if kind in {ErrorKind.DEMOTED, ErrorKind.DENIED, ErrorKind.UNFIT}:
            await self._events.demoted(self.url, self.reconnect)
        raise self._unavailable(type(error).__name__, message_of(error)) from None

    def _succeeded(self) -> None:
        was_open = self._breaker.is_open
        self._breaker.succeeded()
        if self._had_outage:
            self._had_outage = False
            if self._log_limit.reset():
                _logger.warning("%s serves again", self._name)
        if was_open:
            self._events.breaker_changed()
            self._events.recovered(self.url)

    def _start_probe(self) -> None:
        """Send PING until Redis answers, so that the breaker closes by itself."""
        self._events.breaker_changed()
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._probe_until_closed())

    async def _probe_until_closed(self) -> None:
        pause = OPEN_SECONDS
        while self._breaker.is_open:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PROBE_PAUSE_SECONDS)
            with suppress(StoreUnavailable, Overloaded):  # `run` logs and counts them
                await self.run("probe", lambda client: client.ping())

    def _unavailable(self, problem: str, message: str) -> StoreUnavailable:
        self._metrics.redis_errors.add((problem,))
        reason = f"{problem}: {message}" if message else problem
        if self._log_limit.allows(f"{problem} {self._name}"):
            line = "%s cannot serve (%s). Check redis.url. Requests are answered 503 until it can"
            _logger.error(line, self._name, reason)
        return StoreUnavailable(reason)
