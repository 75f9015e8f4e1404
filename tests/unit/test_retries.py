"""Retries of the calls of one operation."""

import asyncio

import pytest

from service.errors import Overloaded, StoreUnavailable
from service.storage.breaker import OPEN_SECONDS
from service.storage.retries import RETRY_PAUSES_SECONDS, Retries


class Calls:
    """A call that returns its number, and fails at some of them."""

    def __init__(self, error: Exception, *failures: int) -> None:
        self.number = 0
        self._error = error
        self._failures = failures

    async def __call__(self) -> int:
        self.number += 1
        if self.number in self._failures:
            raise self._error
        return self.number


@pytest.mark.parametrize("error", [StoreUnavailable(""), Overloaded("")])
async def test_a_call_in_the_middle_is_repeated(error: Exception) -> None:
    """After the first call, a call is repeated once for each pause."""
    call, retries = Calls(error, 2, 3, 5, 6, 7), Retries((0, 0))
    assert await retries.run(call) == 1
    assert await retries.run(call) == 4
    with pytest.raises(type(error)):
        await retries.run(call)
    assert call.number == 7


@pytest.mark.parametrize("error", [StoreUnavailable(""), Overloaded("")])
async def test_the_first_call_is_not_repeated(error: Exception) -> None:
    """When the first call fails, the operation fails at once."""
    call = Calls(error, 1)
    with pytest.raises(type(error)):
        await Retries((0, 0)).run(call)
    assert call.number == 1


async def test_a_retry_comes_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each retry has its own pause, in which an open breaker may admit a call again."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    call, retries = Calls(StoreUnavailable(""), 2, 3, 5), Retries((1, 2))
    assert [await retries.run(call) for _ in range(3)] == [1, 4, 6]
    assert slept == [1, 2, 1]
    assert min(RETRY_PAUSES_SECONDS) > OPEN_SECONDS
