"""Timers of the worker's event loop, also after a pause of the process."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar

import pytest

from service.server.event_loop import Loop


def run(main: Callable[[Loop], Awaitable[None]]) -> None:
    loop = Loop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


def block(seconds: float) -> None:
    """Block the loop, as a pause of the process does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_data_that_arrived_during_a_pause_is_read_before_timeouts() -> None:
    """After a pause, the loop reads data before it runs expired timeouts."""

    async def main(loop: Loop) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)

            async def read() -> bytes:
                async with asyncio.timeout(0.3):
                    return await loop.sock_recv(ours, 10)

            reading = asyncio.ensure_future(read())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            theirs.send(b"in time")
            block(1.6)
            assert await reading == b"in time"

    run(main)


def test_a_timeout_after_a_pause_still_runs() -> None:
    """A postponed timeout runs half a second later when no data arrived."""

    async def main(_: Loop) -> None:
        async def wait() -> None:
            async with asyncio.timeout(0.2):
                await asyncio.sleep(0)
                block(1.4)
                await asyncio.sleep(60)

        with pytest.raises(TimeoutError):
            await wait()

    run(main)


def test_a_timer_can_be_cancelled_before_and_after_it_was_postponed() -> None:
    """A cancelled timer does not run."""

    async def main(loop: Loop) -> None:
        fired: list[str] = []
        early = loop.call_later(0.01, fired.append, "early")
        early.cancel()
        late = loop.call_later(0.01, fired.append, "late")
        kept = loop.call_later(0.01, fired.append, "kept")
        loop.call_later(0.02, lambda: None)
        block(1.2)
        await asyncio.sleep(0.1)  # the timers are postponed by now
        assert fired == []
        late.cancel()
        await asyncio.sleep(0.8)
        assert fired == ["kept"]
        assert [one.cancelled() for one in (early, late, kept)] == [True, True, False]

    run(main)


@pytest.mark.parametrize("delay", [-1, 0, 1e-16, 0.0001, 0.00049, 0.0005, 0.00051, 0.00099, 0.001, 0.0015])
def test_a_timer_of_any_length_runs(delay: float) -> None:
    """A timer that is shorter than a millisecond runs too."""

    async def main(loop: Loop) -> None:
        fired: list[str] = []
        by_delay, by_time = asyncio.Event(), asyncio.Event()
        loop.call_later(delay, by_delay.set)
        loop.call_at(loop.time() + delay, by_time.set)
        loop.call_later(delay, fired.append, "cancelled").cancel()
        async with asyncio.timeout(10):
            await by_delay.wait()
            await by_time.wait()
            await asyncio.sleep(delay)
        assert not fired

    run(main)


@pytest.mark.parametrize("delay", [0, 0.002])
def test_a_timer_runs_in_a_given_context(delay: float) -> None:
    """Both kinds of timers take the place of asyncio's own."""
    name: ContextVar[str] = ContextVar("name", default="none")

    async def main(loop: Loop) -> None:
        name.set("ours")
        seen: asyncio.Future[str] = loop.create_future()
        loop.call_later(delay, lambda: seen.set_result(name.get()), context=Context())
        assert await seen == "none"

    run(main)


def test_other_timers_are_unchanged() -> None:
    """A timer runs at its time, with its arguments and in its context."""
    name: ContextVar[str] = ContextVar("name", default="none")

    async def main(loop: Loop) -> None:
        seen: list[tuple[str, int]] = []
        name.set("ours")

        def note(number: int) -> None:
            seen.append((name.get(), number))

        started = loop.time()
        handle = loop.call_at(started + 0.05, note, 2)
        assert handle.when() == pytest.approx(started + 0.05, abs=0.01)
        loop.call_later(0, note, 1)
        name.set("changed")
        await asyncio.sleep(0.2)
        assert seen == [("ours", 1), ("ours", 2)]
        gone = weakref.ref(note)
        del note, handle
        gc.disable()
        try:
            await asyncio.sleep(0)
            assert gone() is None
        finally:
            gc.enable()

    run(main)
