import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.api import answer_cache
from service.api.answer_cache import MAX_ANSWERS, AnswerCache


class Source:
    """Answers with how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def answer(self) -> bytes:
        self.asked += 1
        if self.error:
            raise self.error
        return b"%d" % self.asked


async def test_those_who_ask_together_share_an_answer() -> None:
    """One of them goes away, and the others still get theirs."""
    source, cache = Source(), AnswerCache(lambda: 0.0)
    tasks = [asyncio.create_task(cache.get("k", source.answer)) for _ in range(100)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {b"1"}
    assert await cache.get("other", source.answer) == b"2"


async def test_an_answer_is_at_most_a_second_old() -> None:
    """Counted from when it was asked for, not from when it came."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)
    assert await cache.get("k", source.answer) == b"1"
    now = 1.0
    assert await cache.get("k", source.answer) == b"1"
    now = 1.01
    assert await cache.get("k", source.answer) == b"2"


async def test_a_failure_is_not_kept() -> None:
    """Whoever waits for it fails; the next one asks anew."""
    source, cache = Source(), AnswerCache(lambda: 0.0)
    source.error = RuntimeError("no")
    with pytest.raises(RuntimeError):
        await cache.get("k", source.answer)
    source.error = None
    assert await cache.get("k", source.answer) == b"2"


async def test_the_age_of_an_answer_counts_from_its_beginning() -> None:
    """A slow answer that is older than a second when it comes is not kept."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)

    async def slow() -> bytes:
        nonlocal now
        now = 1.5
        return b"old"

    assert await cache.get("k", slow) == b"old"
    assert await cache.get("k", source.answer) == b"1"


async def test_memory_is_bounded() -> None:
    """However many different questions come."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)
    for number in range(3 * MAX_ANSWERS):
        now += 0.001
        await cache.get(number, source.answer)
    assert len(cache._answers) <= MAX_ANSWERS
    assert await cache.get(3 * MAX_ANSWERS - 1, source.answer) == b"%d" % (3 * MAX_ANSWERS)


class SlowSource:
    """Answers when it is let, each time with another number."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def answer(self) -> bytes:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        return b"%d" % number


async def test_a_long_answer_is_shared_while_it_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal questions wait for it also after a second. Once it is there, it is too old to be kept."""
    monkeypatch.setattr(answer_cache, "MAX_AGE_SECONDS", 0.01)
    now = 0.0
    source, cache = SlowSource(), AnswerCache(lambda: now)
    first = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0.05)  # the moment to drop it is past
    now = 5.0
    second = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0)
    source.may_answer.set()
    assert (await first, await second) == (b"1", b"1")
    await asyncio.sleep(0)
    assert not cache._answers
    assert await cache.get("k", source.answer) == b"2"


async def test_clearing_forgets_answers_that_are_there() -> None:
    """The next question is asked again, although the answer is fresh."""
    source, cache = Source(), AnswerCache(lambda: 0.0)
    assert await cache.get("k", source.answer) == b"1"
    cache.clear()
    assert await cache.get("k", source.answer) == b"2"


async def test_an_answer_under_way_is_not_kept_after_clearing() -> None:
    """It reaches those who wait for it already. A later question gets an answer that began after the clearing."""
    source, cache = SlowSource(), AnswerCache(lambda: 0.0)
    before = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0)
    cache.clear()
    after = asyncio.create_task(cache.get("k", source.answer))
    await asyncio.sleep(0)
    source.may_answer.set()
    assert (await before, await after) == (b"1", b"2")
    assert await cache.get("k", source.answer) == b"2"


async def test_nobody_joins_an_old_answer_with_user_ids() -> None:
    """A user may have been erased since it was asked for; those who come later share the next one."""
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
