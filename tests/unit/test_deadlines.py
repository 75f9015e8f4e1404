"""Timeouts of calls, also when the event loop is late."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from service.storage.deadlines import Deadlines, next_step

T = TypeVar("T")

LIMIT = 100.0  # in seconds of a loop that jumps
LATE = LIMIT * 1.05 + LIMIT * 0.1  # a timer that fires now is late
ON_TIME = LIMIT * 1.01


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can jump, as after a pause of the process."""

    jumped_seconds = 0.0
    timers = 0

    def call_at(self, *arguments: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]  # any
        """Start a timer, and count it."""
        self.timers += 1
        return super().call_at(*arguments, **more)

    def time(self) -> float:
        """Return the loop's time."""
        return super().time() + self.jumped_seconds

    async def jump(self, seconds: float) -> None:
        """Let tasks begin, then the clock jump, then timers and tasks run."""
        for _ in range(5):
            await asyncio.sleep(0)
        self.jumped_seconds += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    def run(self, test: Coroutine[Any, Any, T]) -> T:
        """Run a test."""
        return self.run_until_complete(asyncio.wait_for(test, None))


@pytest.fixture
def loop() -> Iterator[JumpingLoop]:
    """A loop that a test runs itself."""
    one = JumpingLoop()
    yield one
    one.close()


async def timed_out(call: "asyncio.Future[Any]") -> None:
    """Check that a call has taken too long, without waiting for it."""
    assert call.done()
    with pytest.raises(TimeoutError):
        await call


def test_a_call_gets_its_result(loop: JumpingLoop) -> None:
    """A call that ends in time returns its result, and leaves no timer behind."""

    async def test() -> None:
        deadlines = Deadlines(LIMIT)
        assert await deadlines.limit(asyncio.sleep(0, "result")) == "result"
        await loop.jump(LATE)
        assert deadlines._timer is None

    loop.run(test())


def test_a_call_that_takes_too_long_is_cancelled(loop: JumpingLoop) -> None:
    """A timer that fires on time ends the calls that are due, and no others."""

    async def test() -> None:
        deadlines = Deadlines(LIMIT)
        old = asyncio.ensure_future(deadlines.limit(asyncio.Event().wait()))
        await loop.jump(LIMIT / 2)
        new = asyncio.ensure_future(deadlines.limit(asyncio.Event().wait()))
        await loop.jump(LIMIT / 4)
        newest = asyncio.ensure_future(deadlines.limit(asyncio.Event().wait()))
        await loop.jump(LIMIT / 4 + 1)
        await timed_out(old)
        assert not new.done()
        await loop.jump(LIMIT / 2)
        await timed_out(new)
        assert not newest.done()
        await loop.jump(LIMIT / 4)
        await timed_out(newest)

    loop.run(test())


def test_one_timer_serves_all_calls(loop: JumpingLoop) -> None:
    """Calls that are in progress together start one timer."""

    async def test() -> None:
        deadlines, reply = Deadlines(LIMIT), asyncio.Event()
        before = loop.timers
        calls = [asyncio.ensure_future(deadlines.limit(reply.wait())) for _ in range(10)]
        await loop.jump(LIMIT / 2)
        assert loop.timers == before + 1
        reply.set()
        await asyncio.gather(*calls)

    loop.run(test())


def test_a_late_timer_lets_the_loop_read_first(loop: JumpingLoop) -> None:
    """When the loop was late, a call gets the whole time once more, and only once."""

    async def test() -> None:
        deadlines, reply = Deadlines(LIMIT), asyncio.Event()
        served = asyncio.ensure_future(deadlines.limit(reply.wait()))
        silent = asyncio.ensure_future(deadlines.limit(asyncio.Event().wait()))
        await loop.jump(LATE)
        assert not served.done()
        reply.set()
        assert await served
        await loop.jump(LATE)
        await timed_out(silent)
        assert not deadlines._extended

    loop.run(test())


def test_each_step_of_connecting_gets_the_whole_time(loop: JumpingLoop) -> None:
    """A call that connects gets the whole time for each step. A silent step ends it."""

    async def test() -> None:
        deadlines, answers = Deadlines(LIMIT), [asyncio.Event() for _ in range(4)]

        async def connect() -> None:
            for answer in answers:
                await answer.wait()
                next_step()

        call = asyncio.ensure_future(deadlines.limit(connect()))
        for answer in answers[:-1]:
            await loop.jump(LIMIT * 0.9)
            answer.set()
        await loop.jump(LIMIT * 0.9)
        assert not call.done()
        await loop.jump(ON_TIME - LIMIT * 0.9)
        await timed_out(call)

    loop.run(test())


def test_calls_after_a_stalled_timeout_are_limited_too(loop: JumpingLoop) -> None:
    """A call that needs long to end after its timeout does not stop the timer."""

    async def test() -> None:
        deadlines, may_end = Deadlines(LIMIT), asyncio.Event()

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                next_step()  # a reply that comes too late
                await may_end.wait()

        slow = asyncio.ensure_future(deadlines.limit(slow_to_end()))
        await loop.jump(ON_TIME)
        await loop.jump(LATE)
        await loop.jump(LATE)
        later = asyncio.ensure_future(deadlines.limit(asyncio.Event().wait()))
        await loop.jump(ON_TIME)
        await timed_out(later)
        may_end.set()
        with pytest.raises(TimeoutError):
            await slow

    loop.run(test())
