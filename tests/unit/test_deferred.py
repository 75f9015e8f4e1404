import asyncio
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from service.deferred import Deferred, Outcome
from service.errors import StoreUnavailable


async def test_callbacks_run_at_once_and_in_order() -> None:
    """The callbacks have run when `resolve` returns, those that are added later too."""
    deferred, seen = Deferred[int](), list[tuple[str, Outcome[int]]]()
    deferred.add_callback(lambda result: seen.append(("first", result)))
    deferred.add_callback(lambda result: seen.append(("second", result)))
    states = [deferred.is_resolved]
    deferred.resolve(7)
    states.append(deferred.is_resolved)
    assert states == [False, True]
    deferred.add_callback(lambda result: seen.append(("late", result)))
    assert seen == [("first", 7), ("second", 7), ("late", 7)]


@pytest.mark.parametrize("is_early", [True, False])
async def test_waiters_get_the_result_or_the_error(*, is_early: bool) -> None:
    """Whether it comes before or after, each waiter gets the result, None too."""
    error = StoreUnavailable("down")
    for outcome in (None, 7, error):
        deferred = Deferred[int | None]()
        if is_early:
            deferred.resolve(outcome)
        waiters = [asyncio.ensure_future(deferred) for _ in range(2)]
        await asyncio.sleep(0)
        if not is_early:
            deferred.resolve(outcome)
        assert await asyncio.gather(*waiters, return_exceptions=True) == [outcome, outcome]


async def test_a_cancelled_waiter_does_not_affect_others() -> None:
    """The operation and the other waiters go on."""
    deferred = Deferred[int]()
    cancelled, other = asyncio.ensure_future(deferred), asyncio.ensure_future(deferred)
    await asyncio.sleep(0)
    cancelled.cancel()
    deferred.resolve(7)
    assert await other == 7
    assert cancelled.cancelled()


async def test_an_error_of_a_callback_is_logged_and_affects_no_other() -> None:
    """The event loop reports the error, and the other callbacks run."""
    reported, seen = list[Mapping[str, Any]](), list[Outcome[int]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    deferred = Deferred[int]()
    deferred.add_callback(lambda _: list[int]().remove(1))
    deferred.add_callback(seen.append)
    deferred.resolve(7)
    assert seen == [7]
    [context] = reported
    assert isinstance(context["exception"], ValueError)


async def test_the_result_of_a_coroutine() -> None:
    """A task runs the coroutine, and waiters get its result or its error."""

    async def run(outcome: int | Exception) -> int:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert await Deferred.of(run(7)) == 7
    with pytest.raises(ValueError, match="a bug"):
        await Deferred.of(run(ValueError("a bug")))


async def test_a_resolved_deferred_forgets_its_callbacks() -> None:
    """An error with a traceback may keep a deferred for a while, but no connection."""

    class Connection:
        def answer(self, _: Outcome[int]) -> None:
            pass

    connection, deferred = Connection(), Deferred[int]()
    deferred.add_callback(connection.answer)
    kept = weakref.ref(connection)
    del connection
    assert kept() is not None
    deferred.resolve(7)
    assert kept() is None
