import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from service.errors import Overloaded, PartlyUnavailable, StoreUnavailable
from service.storage import coalescer as bounds
from service.storage.coalescer import Coalescer
from service.telemetry.metrics import Metrics


class Batches:
    """Records batches and answers each item with ten times its value.

    It answers once `gate` is set.
    """

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.seen.append(list(items))
        await self.gate.wait()
        if self.error:
            raise self.error
        return [10 * item for item in items]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_turn_of_the_loop_is_one_batch() -> None:
    """Items of one turn form one batch, and each caller gets its own result."""
    run = Batches()
    coalescer = Coalescer(run)
    assert await asyncio.gather(*(coalescer.submit(number) for number in range(50))) == list(range(0, 500, 10))
    assert run.seen == [list(range(50))]
    await coalescer.close()


async def test_items_gather_while_a_batch_is_under_way() -> None:
    """While `max_in_flight` batches run, items wait and leave in order."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run, max_in_flight=1, max_batch=3)
    futures = []
    for number in range(8):
        futures.append(coalescer.submit(number))
        await turns()
    assert run.seen == [[0]]
    run.gate.set()
    assert await asyncio.gather(*futures) == list(range(0, 80, 10))
    assert run.seen == [[0], [1, 2, 3], [4, 5, 6], [7]]
    await coalescer.close()


async def test_a_full_batch_does_not_wait_for_the_one_in_flight() -> None:
    """While a batch is in flight, full batches leave, up to `max_in_flight`."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run, max_in_flight=3, max_batch=2, clock=lambda: 0.0)
    futures = [coalescer.submit(0)]
    await turns()
    for number in range(1, 6):
        futures.append(coalescer.submit(number))
        await turns()
    assert run.seen == [[0], [1, 2], [3, 4]]
    futures.append(coalescer.submit(6))
    await turns()
    assert run.seen == [[0], [1, 2], [3, 4]]
    run.gate.set()
    assert await asyncio.gather(*futures) == list(range(0, 70, 10))
    assert run.seen[3:] == [[5, 6]]
    await coalescer.close()


async def test_items_do_not_wait_for_a_long_flight() -> None:
    """When the last batch left 2 ms ago, the next item and all before it leave."""
    run, now = Batches(), [0.0]
    run.gate.clear()
    coalescer = Coalescer(run, clock=lambda: now[0])
    futures = []
    for number, moment in enumerate((0.0, 0.001, 0.002, 0.0021, 0.003, 0.0042)):
        now[0] = moment
        futures.append(coalescer.submit(number))
        await turns()
    assert run.seen == [[0], [1, 2, 3], [4, 5]]
    run.gate.set()
    assert await asyncio.gather(*futures) == list(range(0, 60, 10))
    await coalescer.close()


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ValueError("a bug"), KeyError("x")])
async def test_a_failed_batch_fails_each_waiter(error: Exception) -> None:
    """A failed batch raises its error in each waiter, and the next batch runs."""
    run = Batches()
    coalescer = Coalescer(run)
    run.error = error
    results = await asyncio.gather(*(coalescer.submit(number) for number in range(3)), return_exceptions=True)
    assert results == [error] * 3
    run.error = None
    assert await coalescer.submit(4) == 40
    await coalescer.close()


async def test_cancelling_the_sender_fails_its_waiters() -> None:
    """When a batch is cancelled, its waiters get an error and no cancellation."""
    run = Batches()
    run.error = asyncio.CancelledError()
    coalescer = Coalescer(run)
    with pytest.raises(StoreUnavailable):
        await coalescer.submit(1)
    await coalescer.close()


async def test_missing_results_are_an_error() -> None:
    """When a result is missing, no caller of the batch gets that of another."""

    async def short(items: Sequence[int]) -> list[int]:
        return [10 * item for item in items[:-1]]

    coalescer = Coalescer(short)
    results = await asyncio.gather(coalescer.submit(1), coalescer.submit(2), return_exceptions=True)
    assert [str(result) for result in results] == ["1 results for 2 items"] * 2
    await coalescer.close()


async def test_a_cancelled_waiter_does_not_affect_others() -> None:
    """The other callers of a batch get their results after a cancellation."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run)
    waiters = [asyncio.ensure_future(coalescer.submit(number)) for number in range(3)]
    await turns()
    waiters[1].cancel()
    run.gate.set()
    assert [await waiters[0], await waiters[2]] == [0, 20]
    assert run.seen == [[0, 1, 2]]
    await coalescer.close()


async def test_the_parts_of_a_partly_failed_batch() -> None:
    """Each item of a partly failed batch has its result or its error."""
    error = StoreUnavailable("this shard moves")

    async def run(items: Sequence[int]) -> Sequence[int]:
        raise PartlyUnavailable([error if item == 2 else item for item in items])

    coalescer: Coalescer[int, int] = Coalescer(run)
    results = await asyncio.gather(*(coalescer.submit(number) for number in range(4)), return_exceptions=True)
    assert results == [0, 1, error, 3]
    await coalescer.close()


async def test_a_batch_knows_nothing_of_the_request_that_it_began_with() -> None:
    """Callbacks of other requests run in the context of a batch, which is its own."""
    request, seen = ContextVar("request", default="none"), list[str]()
    request.set("the first")
    coalescer = Coalescer(Batches())
    for number in range(2):
        coalescer.submit(number).add_callback(lambda _: seen.append(request.get()))
    await coalescer.close()
    assert seen == ["none", "none"]


async def test_the_queue_is_bounded_in_length(caplog: pytest.LogCaptureFixture) -> None:
    """A full queue rejects items at once, and accepts them again later.

    Each rejection is counted, and one is logged.
    """
    run, metrics = Batches(), Metrics()
    run.gate.clear()
    coalescer = Coalescer(run, "find", max_in_flight=1, max_waiting=2, metrics=metrics)
    futures = [coalescer.submit(0)]
    await turns()
    futures += [coalescer.submit(1), coalescer.submit(2)]
    for _ in range(3):
        with pytest.raises(Overloaded):
            coalescer.submit(3)
    run.gate.set()
    assert await asyncio.gather(*futures) == [0, 10, 20]
    assert await coalescer.submit(3) == 30
    await coalescer.close()
    assert metrics.redis_errors.drain() == {("queue-full",): 3}
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("requests (find) are answered 503: 2 requests wait for Redis already")


async def test_the_queue_is_bounded_in_time() -> None:
    """An item that waited too long for its turn is rejected and not sent."""
    run, now, metrics = Batches(), [0.0], Metrics()
    run.gate.clear()
    coalescer = Coalescer(run, max_in_flight=1, max_wait_seconds=0.5, metrics=metrics, clock=lambda: now[0])
    first = coalescer.submit(0)
    await turns()
    late = coalescer.submit(1)
    now[0] = 0.25
    in_time = coalescer.submit(2)
    now[0] = 0.75
    run.gate.set()
    assert await first == 0
    with pytest.raises(Overloaded):
        await late
    assert await in_time == 20
    assert run.seen == [[0], [2]]
    assert metrics.redis_errors.drain() == {("waited-too-long",): 1}
    await coalescer.close()


async def test_the_wait_of_a_batch_is_that_of_its_oldest_item() -> None:
    """The time in the metrics is the longest that a request of the batch has waited."""
    run, now, metrics = Batches(), [0.0], Metrics()
    run.gate.clear()
    coalescer = Coalescer(run, max_in_flight=1, metrics=metrics, clock=lambda: now[0])
    futures = [coalescer.submit(0)]
    await turns()
    for moment in (0.125, 0.25):
        now[0] = moment
        futures.append(coalescer.submit(1))
    now[0] = 0.375
    run.gate.set()
    await asyncio.gather(*futures)
    [waits] = metrics.batch_waits.drain().values()
    assert waits[-1] == 0.25
    await coalescer.close()


async def test_closing_waits_for_batches_in_flight() -> None:
    """Closing waits until the batches in flight have answered."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run)
    answer = coalescer.submit(1)
    closing = asyncio.ensure_future(coalescer.close())
    await turns()
    assert not closing.done()
    assert (coalescer.waiting, coalescer.is_idle) == (0, False)
    run.gate.set()
    await closing
    assert answer.is_resolved
    assert await answer == 10
    assert coalescer.is_idle


async def test_closing_waits_for_items_that_were_not_sent_yet() -> None:
    """Closing sends the items of this turn of the loop and waits for their results."""
    coalescer = Coalescer(Batches())
    answer = coalescer.submit(1)
    assert not coalescer.is_idle
    await coalescer.close()
    assert answer.is_resolved
    assert await answer == 10


def test_the_bounds_keep_an_outage_short() -> None:
    """The queue's time and length limits are the documented ones."""
    assert (bounds.MAX_WAIT_SECONDS, bounds.MAX_WAITING, bounds.MAX_IN_FLIGHT) == (0.5, 2048, 4)
