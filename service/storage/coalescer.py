"""Combines single operations that arrive together into one call to Redis.

DESIGN
A coalescer turns an operation on many items, such as `find_many(ids)`, into an
awaitable operation on one item. All items of one turn of the event loop are sent as one
batch.

Tick.    The first item schedules a dispatch with `call_soon`. The loop runs it after
         all callbacks that are ready now. So the batch has the request of every socket
         that this turn found readable.
Flight.  Items that arrive while a batch is in flight wait for the next one. Under load
         the batches grow, without a timer: a lone request is sent at once. A further
         batch leaves when it is full, or when an item arrives more than 2 ms after the
         last batch left, as when Redis is far away. At most `max_in_flight` batches are
         in flight.
Order.   Items are sent in the order of their arrival. The results of two batches may
         arrive in either order. A client that needs an order awaits the first result
         before it sends the second request, as HTTP clients do.
Failure. When a batch fails, each of its items raises the same error. An item is
         rejected with Overloaded when the queue is full, or when it has waited for
         longer than `max_wait_seconds`. So the queue sheds load and does not grow
         without a bound.
Cancel.  When a request is cancelled, its item stays in the batch and its result is
         discarded. The batch runs in its own task, so it does not end with a request.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from service.errors import Overloaded, PartlyUnavailable, StoreUnavailable
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics

_logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")

# With 64 connections on one worker, a batch has 32 requests on average. With two in
# flight it has 25, and a GET costs 2 µs more (docs/performance.md). When Redis is on
# the same machine, a batch takes 0.1 to 1.5 ms.
LONG_FLIGHT_SECONDS = 0.002
MAX_IN_FLIGHT = 4
MAX_BATCH = 128
# A worker answers 1,024 requests in 25 to 50 ms. It rejects further ones at once.
MAX_WAITING = 1024
# Two timeouts of Redis, which a batch in flight takes at most. A late process may take
# longer (`deadlines.py`).
MAX_WAIT_SECONDS = 0.5


# Runs an operation on many items. It returns one result for each item, in their order.
BatchRunner: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Coalescing(Protocol[Item_contra, Result]):
    """An operation on one item that sends items in batches."""

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""

    @property
    def is_idle(self) -> bool:
        """Whether no item waits or is in flight."""

    def submit(self, item: Item_contra, /) -> "asyncio.Future[Result]":
        """Return the future result of an item.

        Raises Overloaded when the queue is full.
        """

    async def close(self) -> None:
        """Wait until all items have their results."""


class Coalesce(Protocol):
    """Makes a coalescing operation from a batch operation."""

    def __call__(self, run_batch: BatchRunner[Item, Result], operation: str, /) -> Coalescing[Item, Result]:
        """Return the operation on one item.

        `operation` is its name in metrics and spans.
        """


class Coalescer(Coalescing[Item, Result], Generic[Item, Result]):
    """Sends the items of one turn of the event loop as one batch.

    `operation` is the label of the batches in `metrics`.
    """

    def __init__(
        self,
        run_batch: BatchRunner[Item, Result],
        operation: str = "-",
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        metrics: Metrics | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`clock` returns seconds, by default those of the event loop."""
        self._run_batch = run_batch
        self._max_in_flight = max_in_flight
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds
        self._operation = (operation,)
        self._metrics = metrics or Metrics()
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._sent_at = 0.0
        # The queue: item, its future result, its time of arrival.
        self._waiting: list[tuple[Item, asyncio.Future[Result], float]] = []
        self._is_scheduled = False
        self._in_flight: set[asyncio.Task[None]] = set()
        self._log_limit = LogLimit()

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no item waits or is in flight."""
        return not self._waiting and not self._in_flight

    def submit(self, item: Item, /) -> "asyncio.Future[Result]":
        """Return the future result of `item`.

        Raises Overloaded when the queue is full.
        """
        if len(self._waiting) >= self._max_waiting:
            raise self._overloaded("queue-full", f"{self._max_waiting} requests wait for Redis already")
        future: asyncio.Future[Result] = self._loop.create_future()
        now = self._clock()
        self._waiting.append((item, future, now))
        if not self._is_scheduled and self._may_leave(now):
            self._is_scheduled = True
            self._loop.call_soon(self._dispatch)
        return future

    async def close(self) -> None:
        """Wait until all items have their results."""
        while self._in_flight or self._is_scheduled:
            await asyncio.wait(self._in_flight) if self._in_flight else await asyncio.sleep(0)

    def _may_leave(self, now: float) -> bool:
        """Return whether the waiting items may be sent now."""
        if not self._in_flight:
            return True
        is_full, is_long = len(self._waiting) >= self._max_batch, now - self._sent_at > LONG_FLIGHT_SECONDS
        return len(self._in_flight) < self._max_in_flight and (is_full or is_long)

    def _dispatch(self) -> None:
        """Send the waiting items, as far as batches may leave."""
        self._is_scheduled = False
        now = self._clock()
        oldest = now - self._max_wait_seconds
        while self._waiting and self._may_leave(now):
            # The queue is replaced before anything is sent. Items that arrive from now
            # on are in the next batch.
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            in_time = []
            for item, future, arrived_at in batch:
                if arrived_at >= oldest:
                    in_time.append((item, future))
                elif not future.done():
                    reason = f"a request waited for {self._max_wait_seconds:g} s for its batch"
                    future.set_exception(self._overloaded("waited-too-long", reason))
            if in_time:
                self._metrics.batch_sizes.observe(self._operation, len(in_time))
                self._metrics.batch_waits.observe(self._operation, now - batch[0][2])
                self._sent_at = now
                task = self._loop.create_task(self._send(in_time))
                self._in_flight.add(task)
                task.add_done_callback(self._batch_done)

    async def _send(self, batch: "Sequence[tuple[Item, asyncio.Future[Result]]]") -> None:
        """Run a batch and set the result or the error of each item."""
        try:
            results = await self._run_batch([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except PartlyUnavailable as error:
            for (_, future), result in zip(batch, error.results, strict=True):
                if not future.done():
                    future.set_exception(result) if isinstance(result, Exception) else future.set_result(result)
        except BaseException as error:
            # A CancelledError would look like a cancellation of the request.
            reason = StoreUnavailable("shutting down") if isinstance(error, asyncio.CancelledError) else error
            for _, future in batch:
                if not future.done():
                    future.set_exception(reason)
            if not isinstance(error, Exception):
                raise

    def _batch_done(self, task: "asyncio.Task[None]") -> None:
        """Send the next batch after one has its results."""
        self._in_flight.discard(task)
        if self._waiting and not self._is_scheduled:
            self._dispatch()

    def _overloaded(self, problem: str, reason: str) -> Overloaded:
        self._metrics.redis_errors.add((problem,))
        if self._log_limit.allows(problem):
            message = "requests (%s) are answered 503: %s. If Redis is healthy, add workers"
            _logger.warning(message, self._operation[0], reason)
        return Overloaded(reason)
