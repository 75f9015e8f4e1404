import asyncio

import pytest

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


async def test_memory_is_bounded() -> None:
    """However many different questions come."""
    now = 0.0
    source, cache = Source(), AnswerCache(lambda: now)
    for number in range(3 * MAX_ANSWERS):
        now += 0.001
        await cache.get(number, source.answer)
    assert len(cache._answers) <= MAX_ANSWERS
    assert await cache.get(3 * MAX_ANSWERS - 1, source.answer) == b"%d" % (3 * MAX_ANSWERS)
