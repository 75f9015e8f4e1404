"""One lane to Redis: a pool of connections with time-outs, one retry, and a breaker in front.

DESIGN
A worker has three lanes (`lanes.py`), so that no caller's work delays another's. Each lane bounds its own
connections and its own waiting line.

Own shortage.  A call that finds no free connection in time, or too many callers before it, raises Overloaded. It
               says nothing about Redis and does not touch the breaker.
Outage.        Redis did not answer in time, or the connection broke. The breaker opens, a probe closes it.
Demotion.      The server answers that it is not the one to ask any more. All lanes close their connections, and
               the next call resolves the name again.
Unfit.         Each new connection passes the self-test before it carries a request. One that fails it is closed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError

from service.config.settings import RedisSettings
from service.errors import Overloaded, StoreUnavailable
from service.storage.breaker import OPEN_SECONDS, Breaker
from service.storage.client import Prepare, make_client
from service.storage.lane import SESSIONS, Lane
from service.storage.redis_errors import Kind, kind_of, text_of
from service.storage.script_files import script_text
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Labels, Metrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
Operation = Callable[["Redis"], Awaitable[T]]
Script = Callable[[Sequence[str], Sequence[str | int | bytes]], Awaitable[Any]]

_logger = logging.getLogger(__name__)

_PROBE_MAX_SECONDS = 2.0  # between two probes of a Redis that stays away


class RedisConnection:
    """Runs operations on Redis in one lane.

    The retry may repeat a command that has run, when only its reply was lost. So every operation has to be
    repeatable: run twice, it returns the same and changes the same.

    `prepare` runs on each new connection before its first request. `on_change` is called when the breaker opens or
    closes, `on_recovery` when it closes, and `on_demotion` when the server is not the one to ask any more.
    `log_limit` keeps an outage to one line.
    """

    def __init__(
        self,
        url: str,
        settings: RedisSettings,
        metrics: Metrics | None = None,
        *,
        lane: Lane = SESSIONS,
        prepare: Prepare | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._lane = lane
        self._client = make_client(url, settings.timeout_seconds, lane, prepare)
        self._breaker = Breaker()
        # Waiting, connecting and two replies could add up. No call takes longer than two time-outs.
        self.deadline_seconds = 2 * settings.timeout_seconds
        self._wait_seconds = lane.wait_timeouts * settings.timeout_seconds
        self._free = asyncio.Semaphore(lane.connections)
        self._waiting = 0
        self._is_out = False
        self.log_limit = LogLimit()
        self._probe: asyncio.Task[None] | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_recovery: Callable[[], None] = lambda: None
        self.on_demotion: Callable[[], Awaitable[None]] = self.reconnect

    @property
    def lane(self) -> Lane:
        """The bounds of this lane."""
        return self._lane

    @property
    def is_open(self) -> bool:
        """Whether the breaker holds calls back."""
        return self._breaker.is_open

    def connections(self) -> Mapping[Labels, float]:
        """Return the number of connections by lane and state."""
        idle, used = (count for count, _ in self._client.connection_pool.get_connection_count())
        return {(self._lane.name, "idle"): idle, (self._lane.name, "used"): used}

    async def run(self, name: str, operation: Operation[T]) -> T:
        """Run one repeatable operation on the client. It is measured under its name.

        Raises StoreUnavailable when Redis cannot be asked or cannot serve, and Overloaded when this lane has no free
        connection in time. Once a connection is free, no call takes longer than two time-outs.
        """
        if not self._breaker.admits():
            self._metrics.redis_errors.add(("breaker",))
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            await self._take_place()
        except BaseException:
            self._breaker.abstained()
            raise
        started = time.perf_counter()
        try:
            result = await self._attempt(operation)
        except Exception as error:
            await self._failed(error)
            raise
        except BaseException:
            self._breaker.abstained()  # cancelled: nobody knows what Redis would have answered
            raise
        finally:
            self._free.release()
            self._metrics.redis_calls.observe((self._lane.measured_as or name,), time.perf_counter() - started)
        self._succeeded()
        return result

    def script(self, name: str) -> Script:
        """Return the function that runs `scripts/<name>.lua`, with `shard.lua` in front. It is loaded when needed.

        It takes keys and arguments, and raises as `run` does.
        """
        script = self._client.register_script(script_text(name))
        return lambda keys, arguments: self.run(name, lambda client: script(keys, arguments, client))

    async def reconnect(self) -> None:
        """Close all connections, those in use after their call, so that the name is resolved again."""
        pool = self._client.connection_pool
        await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]  # the library's
        with suppress(OSError, RedisConnectionError):  # it was broken already
            await pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections."""
        if self._probe is not None:
            self._probe.cancel()
            with suppress(asyncio.CancelledError):
                await self._probe
        await self._client.aclose()

    async def _take_place(self) -> None:
        """Wait for a free connection. Raises Overloaded."""
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._lane.waiting:
            raise self._shortage("queue-full", f"{self._lane.waiting} calls wait for a connection already")
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
        """Run the operation within the deadline, once more when it was this process that stood still."""
        loop = asyncio.get_running_loop()
        for is_last in (False, True):
            deadline = loop.time() + self.deadline_seconds
            try:
                async with asyncio.timeout_at(deadline):
                    return await operation(self._client)
            except TimeoutError:
                # A machine that was paused fires the timer late. Redis had no chance to answer in time.
                if is_last or loop.time() - deadline < self.deadline_seconds:
                    raise
        raise AssertionError("the second attempt returns or raises")

    async def _failed(self, error: Exception) -> None:
        """Sort an error: raise the service's own, or return when it is a bug to be seen."""
        kind = kind_of(error)
        problem = type(error).__name__
        if kind in {Kind.SILENT, Kind.UNFIT} or isinstance(error, RedisConnectionError):
            self._is_out = True
            self._breaker.failed()
            self._watch()
        else:  # an answer, and at once: no call has to be held back
            self._breaker.succeeded()
        if kind is Kind.BUG:
            return
        if kind in {Kind.DEMOTED, Kind.DENIED, Kind.UNFIT}:
            await self.on_demotion()
        raise self._unavailable(problem, text_of(error)) from None

    def _succeeded(self) -> None:
        was_open = self._breaker.is_open
        self._breaker.succeeded()
        if self._is_out:
            self._is_out = False
            if self.log_limit.reset():
                _logger.warning("Redis serves again")
        if was_open:
            self.on_change()
            self.on_recovery()

    def hurry(self) -> None:
        """Let the next call try Redis at once, because another lane was served."""
        self._breaker.hurry()

    def _watch(self) -> None:
        """Probe Redis until it answers, also when no request comes."""
        self.on_change()
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._probe_until_closed())

    async def _probe_until_closed(self) -> None:
        pause = OPEN_SECONDS
        while self._breaker.is_open:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PROBE_MAX_SECONDS)
            with suppress(StoreUnavailable, Overloaded):  # logged where it is noticed
                await self.run("probe", lambda client: client.ping())

    def _shortage(self, problem: str, reason: str) -> Overloaded:
        self._metrics.redis_errors.add((problem,))
        if self.log_limit.allows(problem):
            message = "requests of the lane %s are answered 503: %s; Redis is not the cause, add workers"
            _logger.warning(message, self._lane.name, reason)
        return Overloaded(reason)

    def _unavailable(self, problem: str, text: str) -> StoreUnavailable:
        self._metrics.redis_errors.add((problem,))
        if self.log_limit.allows(problem):
            reason = f"{problem}: {text}" if text else problem
            _logger.error("Redis cannot serve (%s); check redis.url; requests are answered 503 until it does", reason)
        return StoreUnavailable(problem)
