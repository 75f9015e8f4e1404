import asyncio
from collections.abc import Sequence

import pytest

from service.errors import Overloaded, StoreUnavailable
from service.storage import coalescer as bounds
from service.storage.coalescer import Coalescer


class Batches:
    """Records batches; answers each item with its tenfold, once `gate` is open."""

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
    """Items that arrive together travel together, and each gets its own result in its place."""
    run = Batches()
    coalescer = Coalescer(run)
    assert await asyncio.gather(*(coalescer.submit(number) for number in range(50))) == list(range(0, 500, 10))
    assert run.seen == [list(range(50))]
    await coalescer.close()


async def test_items_gather_while_a_batch_is_under_way() -> None:
    """At most `max_in_flight` batches run; what comes meanwhile goes out together, in order, bounded in size."""
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


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ValueError("a bug"), KeyError("x")])
async def test_a_failed_batch_fails_each_of_its_waiters(error: Exception) -> None:
    """Nobody hangs, and the next batch is a new try."""
    run = Batches()
    coalescer = Coalescer(run)
    run.error = error
    results = await asyncio.gather(*(coalescer.submit(number) for number in range(3)), return_exceptions=True)
    assert results == [error] * 3
    run.error = None
    assert await coalescer.submit(4) == 40
    await coalescer.close()


async def test_cancelling_the_sender_fails_its_waiters() -> None:
    """Even a cancellation of the batch itself leaves no waiter behind, and is no cancellation of the waiter."""
    run = Batches()
    run.error = asyncio.CancelledError()
    coalescer = Coalescer(run)
    with pytest.raises(StoreUnavailable):
        await coalescer.submit(1)
    await coalescer.close()


async def test_too_few_results_are_an_error_for_those_left_out() -> None:
    """A batch operation that answers wrongly cannot leave a request hanging."""

    async def short(items: Sequence[int]) -> list[int]:
        return [10 * item for item in items[:-1]]

    coalescer = Coalescer(short)
    first, last = await asyncio.gather(coalescer.submit(1), coalescer.submit(2), return_exceptions=True)
    assert first == 10
    assert isinstance(last, ValueError)
    await coalescer.close()


async def test_a_cancelled_waiter_harms_nobody() -> None:
    """The others of the batch get their answers; the batch ran with the cancelled item in it."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run)
    futures = [coalescer.submit(number) for number in range(3)]
    await turns()
    futures[1].cancel()
    run.gate.set()
    assert [await futures[0], await futures[2]] == [0, 20]
    assert run.seen == [[0, 1, 2]]
    await coalescer.close()


async def test_the_queue_is_bounded_in_length() -> None:
    """Beyond the bound requests are refused at once; after the jam they are served again."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run, max_in_flight=1, max_waiting=2)
    futures = [coalescer.submit(0)]
    await turns()
    futures += [coalescer.submit(1), coalescer.submit(2)]
    with pytest.raises(Overloaded):
        coalescer.submit(3)
    run.gate.set()
    assert await asyncio.gather(*futures) == [0, 10, 20]
    assert await coalescer.submit(3) == 30
    await coalescer.close()


async def test_the_queue_is_bounded_in_time() -> None:
    """Who has waited too long for a turn is refused rather than sent late."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run, max_in_flight=1, max_wait_seconds=0.01)
    first = coalescer.submit(0)
    await turns()
    late = coalescer.submit(1)
    await asyncio.sleep(0.05)  # the wait itself is what is tested
    run.gate.set()
    assert await first == 0
    with pytest.raises(Overloaded):
        await late
    assert run.seen == [[0]]
    await coalescer.close()


async def test_closing_waits_for_what_is_under_way() -> None:
    """Requests in flight at shutdown get their answers."""
    run = Batches()
    run.gate.clear()
    coalescer = Coalescer(run)
    answer = coalescer.submit(1)
    closing = asyncio.ensure_future(coalescer.close())
    await turns()
    assert not closing.done()
    run.gate.set()
    await closing
    assert answer.result() == 10


def test_the_bounds_keep_an_outage_short() -> None:
    """A request waits for its turn as long as the batch in flight may take, and at most four thousand do."""
    assert (bounds.MAX_WAIT_SECONDS, bounds.MAX_WAITING, bounds.MAX_IN_FLIGHT) == (0.5, 4096, 1)
