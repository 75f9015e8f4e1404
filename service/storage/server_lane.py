"""One lane to one Redis server: connections with timeouts, one retry and a breaker.

DESIGN
A worker has four lanes (`lanes.py`), so that one kind of call does not delay another.
Each lane has bounds for its connections and for its queue (`lane.py`). With Redis
Cluster, each primary has lanes of its own.

Shortage.  No connection is free in time, or the queue is full. The call raises
           Overloaded. Redis may be healthy, so the breaker does not count it.
Outage.    Redis does not answer in time, or the connection breaks. The breaker opens,
           and a probe closes it when Redis answers again.
Demotion.  The server answers that it is no longer the primary. All lanes close their
           connections, and the next call resolves the server's name again (`lanes.py`).
Unfit.     A new connection has to pass the self-test before it carries a request. A
           connection that fails is closed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.config.redis_servers import RedisServers
from service.errors import Overloaded, StoreUnavailable
from service.storage.breaker import OPEN_SECONDS, Breaker
from service.storage.call_slots import CallSlots
from service.storage.client import Client, Command
from service.storage.deadlines import Deadlines
from service.storage.lane import Lane
from service.storage.redis_errors import ErrorKind, kind_of, problem_name, reason_of
from service.storage.shared import Shared

T = TypeVar("T")
Operation = Callable[[Redis], Awaitable[T]]
# Returns a value in place of an error reply, or raises the error.
Accept = Callable[[ResponseError], Any]

_MAX_PROBE_PAUSE_SECONDS = 2.0  # during a long outage


class ServerLane:
    """Runs operations on one server in one lane.

    When a reply is lost, the retry repeats a command that has run. So every operation
    has to be idempotent: run twice, it returns the same and changes the same.
    """

    def __init__(self, url: str, lane: Lane, shared: Shared) -> None:
        self.url = url
        self.lane = lane
        self._name = _name_of(url) if shared.servers.follows_redirects else "Redis"
        self._metrics = shared.metrics
        self._events = shared.events
        self._outage_log = shared.outage_log
        self._durability = shared.durability.of_server(url)
        timeout = shared.settings.timeout_seconds
        limit = timeout if lane.repeats_timeouts else 2 * timeout
        self._deadlines = Deadlines(limit)
        self._write_deadlines = Deadlines(limit + self._durability.wait_seconds)
        self._breaker = Breaker()
        self._slots = CallSlots(lane, timeout, shared.metrics, shared.shortage_log_limit)
        prepare = shared.self_test.of_server(shared.servers, url) if shared.self_test else None
        self._client = Client(url, timeout, lane.connections, prepare)
        self._is_retired = False
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
        Overloaded when this lane has no free connection in time. Once it has a
        connection, the operation takes at most two timeouts. `deadlines.py` names the
        exceptions: a late process, and connecting.
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
        admission = await self._admit()
        started = time.perf_counter()
        try:
            result = await self._attempt(operation, deadlines)
        except Exception as error:
            await self._failed(name, error, admission)
            raise
        except BaseException:
            self._breaker.cancelled(admission)
            raise
        finally:
            self._slots.release()
            self._metrics.redis_calls.observe((self.lane.measured_as or name,), time.perf_counter() - started)
        self._answered()
        self._outage_log.served(self.url, self._name, self.lane.name, name)
        return result

    async def _admit(self) -> int:
        """Wait for a connection, and return the breaker's admission.

        Raises StoreUnavailable while the breaker is open.
        """
        admission = self._breaker.admit()
        if admission is None:
            raise self._held_back()
        try:
            await self._slots.acquire()
        except BaseException:
            self._breaker.cancelled(admission)
            raise
        admission = self._breaker.admit(admission)
        if admission is None:  # the breaker opened while the call waited
            self._slots.release()
            raise self._held_back()
        return admission

    def _held_back(self) -> StoreUnavailable:
        self._metrics.redis_errors.add(("breaker",))
        return StoreUnavailable("Redis did not answer a moment ago")

    async def reconnect(self) -> None:
        """Close all connections, so that the server's name is resolved again."""
        await self._client.reconnect()

    def close_breaker(self) -> None:
        """Send calls again, because Redis answered another lane."""
        if self._breaker.succeeded():
            self._events.breaker_changed()

    async def retire(self) -> None:
        """Close all connections after the calls in progress, because none follows."""
        self._is_retired = True  # another server has taken over, so there is no outage
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

    async def _failed(self, name: str, error: Exception, admission: int) -> None:
        """Raise StoreUnavailable for an error of Redis.

        Return if the error is a bug of the service.
        """
        kind = kind_of(error)
        is_whole = kind in {ErrorKind.SILENT, ErrorKind.UNFIT} or isinstance(error, RedisConnectionError)
        if is_whole:
            if self._breaker.failed(admission):
                self._events.breaker_changed()
                self._start_probe()
        elif isinstance(error, RedisError):  # an error reply
            self._answered()
        else:
            self._breaker.cancelled(admission)
        if kind is ErrorKind.BUG:
            return
        self._metrics.redis_errors.add((problem_name(error),))
        # When the breaker is closed, the call was sent before the last answer.
        is_over = self._is_retired or (is_whole and not self._breaker.is_open)
        if not is_over:
            self._outage_log.failed(self.url, self._name, self.lane.name, name, error, is_whole=is_whole)
        if kind in {ErrorKind.DEMOTED, ErrorKind.DENIED, ErrorKind.UNFIT}:
            await self._events.demoted(self.url, self.reconnect)
        raise StoreUnavailable(reason_of(error)) from None

    def _answered(self) -> None:
        """Close the breaker, because Redis answered, perhaps with an error reply."""
        if self._breaker.succeeded():
            self._events.breaker_changed()
            self._events.recovered(self.url)

    def _start_probe(self) -> None:
        """Send PING until Redis answers, so that the breaker closes by itself."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._probe_until_closed())

    async def _probe_until_closed(self) -> None:
        pause = OPEN_SECONDS
        while self._breaker.is_open:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PROBE_PAUSE_SECONDS)
            with suppress(StoreUnavailable, Overloaded):  # `run` logs and counts them
                await self.run("probe", lambda client: client.ping())


def _name_of(url: str) -> str:
    """Return the name of a server in the log, without user and password."""
    host, port = RedisServers.of(url).hosts[0]
    return f"Redis at {host}:{port}"
