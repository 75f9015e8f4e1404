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
         discarded. The batch runs in a task and a context of its own, so it does not
         end with a request and does not see the context variables of one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, Protocol, TypeAlias, TypeVar

from service.deferred import Deferred, Outcome
from service.errors import Overloaded, PartlyUnavailable, StoreUnavailable
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics

_logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")

# With 64 connections on one worker, a batch has 61 requests on average. With two in
# flight it has 32, and costs Redis more (docs/performance.md). When Redis is on the
# same machine, a batch takes 0.1 to 1.5 ms.
LONG_FLIGHT_SECONDS = 0.002
MAX_IN_FLIGHT = 4
MAX_BATCH = 128
# With 2,048 connections, p99 is 0.1 to 0.2 s. Further requests are rejected at once.
MAX_WAITING = 2048
# Two timeouts of Redis, which a batch in flight takes at most. A late process may take
# longer (`deadlines.py`).
MAX_WAIT_SECONDS = 0.5

# An item in the queue, its deferred result, and its time of arrival.
_Waiting: TypeAlias = tuple[Item, Deferred[Result], float]
# Runs an operation on many items. It returns one result for each item, in their order.
BatchRunner: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


class BatchQueue(Protocol[Item_contra, Result]):
    """A queue whose items leave in batches, for an operation on many items."""

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""

    @property
    def is_idle(self) -> bool:
        """Whether no item waits or is in flight."""

    def submit(self, item: Item_contra, /) -> Deferred[Result]:
        """Return the deferred result of an item.

        Raises Overloaded when the queue is full.
        """

    async def close(self) -> None:
        """Wait until all items have their results."""


class BatchQueueFactory(Protocol):
    """Makes the queue of a batch operation."""

    def __call__(self, run_batch: BatchRunner[Item, Result], operation: str, /) -> BatchQueue[Item, Result]:
        """Return the queue. `operation` is its name in metrics and spans."""


class Coalescer(BatchQueue[Item, Result], Generic[Item, Result]):
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
        self._waiting: list[_Waiting[Item, Result]] = []
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

    def submit(self, item: Item, /) -> Deferred[Result]:
        """Return the deferred result of `item`.

        Raises Overloaded when the queue is full.
        """
        if len(self._waiting) >= self._max_waiting:
            raise self._overloaded("queue-full", f"{self._max_waiting} requests wait for Redis already")
        result: Deferred[Result] = Deferred()
        now = self._clock()
        self._waiting.append((item, result, now))
        if not self._is_scheduled and self._may_leave(now):
            self._is_scheduled = True
            self._loop.call_soon(self._dispatch)
        return result

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
            arrived_at = batch[0][2]
            if arrived_at < oldest:
                batch = self._in_time(batch, oldest)
            if batch:
                self._metrics.batch_sizes.observe(self._operation, len(batch))
                self._metrics.batch_waits.observe(self._operation, now - arrived_at)
                self._sent_at = now
                task = self._loop.create_task(self._send(batch), context=Context())
                self._in_flight.add(task)
                task.add_done_callback(self._batch_done)

    def _in_time(self, batch: Sequence[_Waiting[Item, Result]], oldest: float) -> list[_Waiting[Item, Result]]:
        """Reject the items that arrived before `oldest`, and return the others."""
        for _, result, arrived_at in batch:
            if arrived_at < oldest:
                reason = f"a request waited for {self._max_wait_seconds:g} s for its batch"
                result.resolve(self._overloaded("waited-too-long", reason))
        return [waiting for waiting in batch if waiting[2] >= oldest]

    async def _send(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        """Run a batch and set the result or the error of each item."""
        outcomes: Sequence[Outcome[Result]]
        try:
            outcomes = await self._run_batch([item for item, _, _ in batch])
            if len(outcomes) != len(batch):
                raise ValueError(f"{len(outcomes)} results for {len(batch)} items")  # noqa: TRY301 - a bug
        except PartlyUnavailable as error:
            outcomes = error.results
        except Exception as error:  # noqa: BLE001 - each item raises it
            outcomes = [error] * len(batch)
        except BaseException:
            # A CancelledError would look like a cancellation of the request.
            _resolve(batch, [StoreUnavailable("shutting down")] * len(batch))
            raise
        _resolve(batch, outcomes)

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


def _resolve(batch: Sequence[_Waiting[Item, Result]], outcomes: Sequence[Outcome[Result]]) -> None:
    for (_, result, _), outcome in zip(batch, outcomes, strict=True):
        result.resolve(outcome)
