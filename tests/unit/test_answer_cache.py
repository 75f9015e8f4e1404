import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.api import answer_cache
from service.api.answer_cache import MAX_ANSWERS, AnswerCache


class Source:
    """Answers with the number of times that it was called."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def answer(self) -> bytes:
        self.asked += 1
        if self.error:
            raise self.error
        return b"%d" % self.asked


async def test_concurrent_callers_share_an_answer() -> None:
    """Callers of the same question share one answer, also when one is cancelled."""
    source, cache = Source(), AnswerCache(lambda: 0.0)
    tasks = [asyncio.create_task(cache.get("k", source.answer)) for _ in range(100)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {b"1"}
    assert await cache.get("other", source.answer) == b"2"


async def test_an_answer_is_at_most_a_second_old() -> None:
    """An answer's age counts from the call of its source."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)
    assert await cache.get("k", source.answer) == b"1"
    now = 1.0
    assert await cache.get("k", source.answer) == b"1"
    now = 1.01
    assert await cache.get("k", source.answer) == b"2"


async def test_a_failure_is_not_kept() -> None:
    """An error reaches the callers who wait, and the next caller asks again."""
    source, cache = Source(), AnswerCache(lambda: 0.0)
    source.error = RuntimeError("no")
    with pytest.raises(RuntimeError):
        await cache.get("k", source.answer)
    source.error = None
    assert await cache.get("k", source.answer) == b"2"


async def test_the_age_of_an_answer_counts_from_its_beginning() -> None:
    """A slow answer that is older than a second when it arrives is not kept."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)

    async def slow() -> bytes:
        nonlocal now
        now = 1.5
        return b"old"

    assert await cache.get("k", slow) == b"old"
    assert await cache.get("k", source.answer) == b"1"


async def test_the_cache_is_bounded() -> None:
    """The cache stays small however many different questions come."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)
    for number in range(3 * MAX_ANSWERS):
        now += 0.001
        await cache.get(number, source.answer)
    assert len(cache._answers) <= MAX_ANSWERS
    assert await cache.get(3 * MAX_ANSWERS - 1, source.answer) == b"%d" % (3 * MAX_ANSWERS)


class SlowSource:
    """Answers when it is released, each time with another number."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def answer(self) -> bytes:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        return b"%d" % number


async def test_a_long_call_is_shared_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal questions share a call that takes longer than a second.

    Its answer is too old to be kept.
    """
    monkeypatch.setattr(answer_cache, "MAX_AGE_SECONDS", 0.01)
    now = 0.0
    source, cache = SlowSource(), AnswerCache(lambda: now)
    first = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0.05)  # longer than the lifetime of an answer
    now = 5.0
    second = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0)
    source.may_answer.set()
    assert (await first, await second) == (b"1", b"1")
    await asyncio.sleep(0)
    assert not cache._answers
    assert await cache.get("k", source.answer) == b"2"


async def test_clearing_forgets_answers_that_are_there() -> None:
    """After a clear the next caller asks again, although the answer was fresh."""
    source, cache = Source(), AnswerCache(lambda: 0.0)
    assert await cache.get("k", source.answer) == b"1"
    cache.clear()
    assert await cache.get("k", source.answer) == b"2"


async def test_an_answer_in_progress_is_not_kept_after_clearing() -> None:
    """An answer in progress during a clear reaches only its own callers.

    Later callers get an answer whose call began after the clear.
    """
    source, cache = SlowSource(), AnswerCache(lambda: 0.0)
    before = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0)
    cache.clear()
    after = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0)
    source.may_answer.set()
    assert (await before, await after) == (b"1", b"2")
    assert await cache.get("k", source.answer) == b"2"


async def test_an_old_answer_with_user_ids_is_not_joined() -> None:
    """A caller does not join an old call whose answer holds user ids.

    A user may have been erased since the call began.
    """
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)
    go_on = asyncio.Event()

    async def slow() -> bytes:
        await go_on.wait()
        return b"old"

    def ask(answer: Callable[[], Awaitable[bytes]]) -> "asyncio.Task[bytes]":
        return asyncio.create_task(cache.get("k", answer, holds_user_ids=True))

    early = [ask(slow), ask(slow)]
    await asyncio.sleep(0)
    now = 1.5
    late = [ask(source.answer), ask(source.answer)]
    await asyncio.sleep(0)
    assert source.asked == 0
    go_on.set()
    assert await asyncio.gather(*early, *late) == [b"old", b"old", b"1", b"1"]
