"""One lane to Redis: a pool of connections with timeouts, one retry and a breaker.

DESIGN
A worker has three lanes (`lanes.py`), so that one kind of call does not delay another.
Each lane has bounds for its connections and for its queue (`lane.py`).

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
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.config.settings import RedisSettings
from service.errors import Overloaded, StoreUnavailable
from service.storage.breaker import OPEN_SECONDS, Breaker
from service.storage.client import Client, Prepare, Script, Word
from service.storage.connection_events import ConnectionEvents
from service.storage.deadlines import Deadlines
from service.storage.lane import SESSIONS, Lane
from service.storage.redis_errors import ErrorKind, kind_of, message_of
from service.storage.script_files import script_text
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Labels, Metrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
Operation = Callable[["Redis"], Awaitable[T]]

_logger = logging.getLogger(__name__)

_MAX_PROBE_PAUSE_SECONDS = 2.0  # during a long outage


class RedisConnection:
    """Runs operations on Redis in one lane.

    When a reply is lost, the retry repeats a command that has run. So every operation
    has to be idempotent: run twice, it returns the same and changes the same.

    `prepare` runs on each new connection before its first request. Connections that
    share a `log_limit` log an outage once.
    """

    def __init__(
        self,
        url: str,
        settings: RedisSettings,
        metrics: Metrics | None = None,
        *,
        lane: Lane = SESSIONS,
        prepare: Prepare | None = None,
        events: ConnectionEvents | None = None,
        log_limit: LogLimit | None = None,
    ) -> None:
        self.lane = lane
        # A call takes two timeouts at most: two attempts of one, or one of two. When
        # this process is late, it takes up to four (`deadlines.py`).
        self.deadline_seconds = 2 * settings.timeout_seconds
        self._deadlines = Deadlines(settings.timeout_seconds * (1 if lane.repeats_timeouts else 2))
        self._metrics = metrics or Metrics()
        self._events = events or ConnectionEvents()
        self._log_limit = log_limit or LogLimit()
        self._client = Client(url, settings.timeout_seconds, lane, prepare)
        self._breaker = Breaker()
        self._wait_seconds = lane.wait_timeouts * settings.timeout_seconds
        self._free = asyncio.Semaphore(lane.connections)
        self._waiting = 0
        self._had_outage = False
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open."""
        return self._breaker.is_open

    def connections(self) -> Mapping[Labels, float]:
        """Return the number of connections by lane and state."""
        idle, used = self._client.connections()
        return {(self.lane.name, "idle"): idle, (self.lane.name, "used"): used}

    async def run(self, name: str, operation: Operation[T]) -> T:
        """Run one idempotent operation on the client. `name` is its label in metrics.

        Raises StoreUnavailable when Redis does not answer or cannot serve, and
        Overloaded when this lane has no free connection in time. With a connection, the
        operation takes `deadline_seconds` at most, unless this process is late.
        """
        if not self._breaker.admits():
            self._metrics.redis_errors.add(("breaker",))
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            await self._acquire()
        except BaseException:
            self._breaker.cancelled()
            raise
        started = time.perf_counter()
        try:
            result = await self._attempt(operation)
        except Exception as error:
            await self._failed(error)
            raise
        except BaseException:
            self._breaker.cancelled()
            raise
        finally:
            self._free.release()
            self._metrics.redis_calls.observe((self.lane.measured_as or name,), time.perf_counter() - started)
        self._succeeded()
        return result

    async def call(self, name: str, *words: Word) -> Any:
        """Return the reply to one idempotent command. Raises as `run` does."""
        return await self.run(name, lambda _: self._client.call(*words))

    def script(self, name: str) -> Script:
        """Return a function that runs `scripts/<name>.lua` with keys and arguments.

        It raises as `run` does.
        """
        script = self._client.script(script_text(name))
        return lambda keys, arguments: self.run(name, lambda _: script(keys, arguments))

    async def reconnect(self) -> None:
        """Close all connections, so that the server's name is resolved again."""
        await self._client.reconnect()

    def retry_now(self) -> None:
        """Let the next call try Redis at once, because Redis answered another lane."""
        self._breaker.retry_now()

    async def close(self) -> None:
        """Close all connections."""
        if self._probe is not None:
            self._probe.cancel()
            with suppress(asyncio.CancelledError):
                await self._probe
        await self._client.close()

    async def _acquire(self) -> None:
        """Wait for a free connection. Raises Overloaded."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self.lane.waiting:
            raise self._shortage("queue-full", f"{self.lane.waiting} calls wait for a connection already")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            reason = f"no connection was free within {self._wait_seconds:g} s"
            raise self._shortage("no-connection", reason) from None
        finally:
            self._waiting -= 1

    async def _attempt(self, operation: Operation[T]) -> T:
        """Run the operation, and once more after a lost reply."""
        try:
            return await self._deadlines.limit(operation(self._client.redis))
        except RedisConnectionError:
            pass
        except (TimeoutError, RedisTimeoutError):
            if not self.lane.repeats_timeouts:
                raise
        return await self._deadlines.limit(operation(self._client.redis))

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
            await self._events.demoted(self.reconnect)
        raise self._unavailable(type(error).__name__, message_of(error)) from None

    def _succeeded(self) -> None:
        was_open = self._breaker.is_open
        self._breaker.succeeded()
        if self._had_outage:
            self._had_outage = False
            if self._log_limit.reset():
                _logger.warning("Redis serves again")
        if was_open:
            self._events.breaker_changed()
            self._events.recovered()

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
                await self.call("probe", "PING")

    def _shortage(self, problem: str, reason: str) -> Overloaded:
        self._metrics.redis_errors.add((problem,))
        if self._log_limit.allows(problem):
            message = "requests of the lane %s are answered 503: %s. Redis is not the cause, so add workers"
            _logger.warning(message, self.lane.name, reason)
        return Overloaded(reason)

    def _unavailable(self, problem: str, message: str) -> StoreUnavailable:
        self._metrics.redis_errors.add((problem,))
        if self._log_limit.allows(problem):
            reason = f"{problem}: {message}" if message else problem
            _logger.error("Redis cannot serve (%s). Check redis.url. Requests are answered 503 until it can", reason)
        return StoreUnavailable(problem)
