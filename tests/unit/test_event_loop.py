"""Timers of the workers' event loop, after a pause too."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from service.server.event_loop import Loop


def run(main: Callable[[Loop], Awaitable[None]]) -> None:
    loop = Loop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


def block(seconds: float) -> None:
    """Keep the loop from running, as a pause of the process does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_data_that_arrived_during_a_pause_is_read_before_time_outs_end() -> None:
    """A process that was paused for longer than a time-out still takes what came in time."""

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


def test_a_time_out_after_a_pause_still_ends() -> None:
    """Half a second later, when nothing has arrived."""

    async def main(_: Loop) -> None:
        async def wait() -> None:
            async with asyncio.timeout(0.2):
                await asyncio.sleep(0)
                block(1.4)
                await asyncio.sleep(60)

        with pytest.raises(TimeoutError):
            await wait()

    run(main)


def test_a_timer_can_be_cancelled_before_and_after_it_was_put_off() -> None:
    """Whoever cancels it, it does not run."""

    async def main(loop: Loop) -> None:
        fired: list[str] = []
        early = loop.call_later(0.01, fired.append, "early")
        early.cancel()
        late = loop.call_later(0.01, fired.append, "late")
        kept = loop.call_later(0.01, fired.append, "kept")
        loop.call_later(0.02, lambda: None)
        block(1.2)
        await asyncio.sleep(0.1)  # by now they have been put off
        assert fired == []
        late.cancel()
        await asyncio.sleep(0.8)
        assert fired == ["kept"]
        assert [one.cancelled() for one in (early, late, kept)] == [True, True, False]

    run(main)


def test_a_timer_is_like_any_other() -> None:
    """It runs at its time, with its arguments and in its context, and leaves nothing behind."""
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
