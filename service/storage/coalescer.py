"""Requests that arrive together travel together.

DESIGN
A coalescer turns an operation on many items into an awaitable operation on one, so that requests need not know
of each other and Redis is called once for all that one turn of the event loop brought.

Tick.    The first item schedules a dispatch with `call_soon`: it runs after all callbacks that are ready now,
         so the sockets that this turn found readable all have their requests in the batch.
Flight.  At most `max_in_flight` batches are under way; meanwhile items gather for the next. Under load the
         batches so grow by themselves, with no timer to tune: a lone request never waits for company.
Order.   Items go out in the order of their arrival. Answers of two batches may arrive in either order; whoever
         needs an order awaits the first answer before sending the second request, as HTTP clients do.
Failure. A failed batch fails each of its waiters with the same error. Items that have waited longer than
         `max_wait_seconds` for their turn, or find the queue full, are refused with Overloaded: the queue sheds
         load, it does not grow.
Cancel.  A waiter that went away is skipped when the answer comes; its item was part of the batch all the same.
         The sender is a task of its own, so no request's end can cut off the others' batch.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from service.errors import Overloaded, StoreUnavailable
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics

_logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")

# With 64 connections on one worker, one batch in flight carries 32 requests on average and costs a GET 2 µs less
# than two in flight, which carry 25 (docs/benchmarks.md).
MAX_IN_FLIGHT = 1
MAX_BATCH = 128
MAX_WAITING = 4096
MAX_WAIT_SECONDS = 0.5  # two time-outs, which is what the batch in flight may take


BatchRunner: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class Coalescing(Protocol[Item_contra, Result]):
    """An operation on one item that sends items in batches."""

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""

    def submit(self, item: Item_contra, /) -> "asyncio.Future[Result]":
        """Return the future result of an item. Raises Overloaded when too many wait already."""

    async def close(self) -> None:
        """Wait for the batches in flight and those that they make room for."""


class Coalesce(Protocol):
    """Makes a coalescing operation of one that runs batches. `operation` names it in metrics and spans."""

    def __call__(self, run_batch: BatchRunner[Item, Result], operation: str, /) -> Coalescing[Item, Result]:
        """Return the operation on one item."""


class Coalescer(Coalescing[Item, Result], Generic[Item, Result]):
    """Awaitable single operations over one operation on many: one result per item, in the items' order.

    `operation` is what the batches are called in `metrics`.
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
    ) -> None:
        self._run_batch = run_batch
        self._max_in_flight = max_in_flight
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds
        self._operation = (operation,)
        self._metrics = metrics or Metrics()
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Item, asyncio.Future[Result], float]] = []
        self._is_scheduled = False
        self._senders: set[asyncio.Task[None]] = set()
        self._log_limit = LogLimit()

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""
        return len(self._waiting)

    def submit(self, item: Item, /) -> "asyncio.Future[Result]":
        """Return the future result of `item`. Raises Overloaded when too many wait already."""
        if len(self._waiting) >= self._max_waiting:
            raise self._shortage("queue-full", f"{self._max_waiting} requests wait for Redis already")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((item, future, self._loop.time()))
        if not self._is_scheduled and len(self._senders) < self._max_in_flight:
            self._is_scheduled = True
            self._loop.call_soon(self._dispatch)
        return future

    async def close(self) -> None:
        """Wait for the batches under way and those that they make room for."""
        while self._senders or self._is_scheduled:
            await asyncio.wait(self._senders) if self._senders else await asyncio.sleep(0)

    def _dispatch(self) -> None:
        self._is_scheduled = False
        now = self._loop.time()
        oldest = now - self._max_wait_seconds
        while self._waiting and len(self._senders) < self._max_in_flight:
            # Swapped before anything is sent: what arrives from now on belongs to the next batch.
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            in_time = []
            for item, future, arrived_at in batch:
                if arrived_at >= oldest:
                    in_time.append((item, future))
                elif not future.done():
                    reason = f"a request waited for {self._max_wait_seconds:g} s for its batch"
                    future.set_exception(self._shortage("waited-too-long", reason))
            if in_time:
                self._metrics.batch_sizes.observe(self._operation, len(in_time))
                self._metrics.batch_waits.observe(self._operation, now - batch[0][2])
                sender = self._loop.create_task(self._send(in_time))
                self._senders.add(sender)
                sender.add_done_callback(self._sent)

    async def _send(self, batch: "Sequence[tuple[Item, asyncio.Future[Result]]]") -> None:
        try:
            results = await self._run_batch([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except BaseException as error:
            # A CancelledError set on a future would look like the waiter's own cancellation.
            reason = StoreUnavailable("shutting down") if isinstance(error, asyncio.CancelledError) else error
            for _, future in batch:
                if not future.done():
                    future.set_exception(reason)
            if not isinstance(error, Exception):
                raise

    def _sent(self, sender: "asyncio.Task[None]") -> None:
        self._senders.discard(sender)
        if self._waiting and not self._is_scheduled:
            self._dispatch()

    def _shortage(self, problem: str, reason: str) -> Overloaded:
        self._metrics.redis_errors.add((problem,))
        if self._log_limit.allows(problem):
            message = "requests (%s) are answered 503: %s; if Redis is well, add workers"
            _logger.warning(message, self._operation[0], reason)
        return Overloaded(reason)
