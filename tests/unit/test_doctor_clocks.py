"""The doctor's check of clocks: their offsets, and how answers give them."""

import http.client
import json
from datetime import UTC, datetime, timedelta

import pytest

from service.commands import doctor_clocks
from service.commands.api_client import Answer
from service.commands.doctor_clocks import Offset, compare, offset_of
from service.commands.doctor_results import CheckResult, Status
from service.config.settings import Settings

SENT, RECEIVED = 1_000_000.0, 1_000_000.2


def found(service: Offset | None, redis: Offset | None) -> dict[Status, list[CheckResult]]:
    results = list(compare(service, redis))
    return {status: [one for one in results if one.status is status] for status in Status}


def about(seconds: float, width: float = 0.02) -> Offset:
    return Offset(seconds - width / 2, seconds + width / 2)


@pytest.mark.parametrize(
    ("service", "redis", "words"),
    [
        (about(3), about(0), "3.0 s ahead of Redis's"),
        (about(0), about(2.5), "2.5 s behind Redis's"),
        (about(-7200), about(0), "7,200.0 s behind Redis's"),
    ],
)
def test_clocks_that_differ_are_a_problem(service: Offset, redis: Offset, words: str) -> None:
    """The result says how much the clocks differ, which is ahead, and the effect."""
    (problem,) = found(service, redis)[Status.PROBLEM]
    assert words in problem.finding
    assert "wrong expiry" in problem.advice
    assert "wrong hour" in problem.advice


@pytest.mark.parametrize(
    ("service", "redis"),
    [
        (about(0), about(0)),
        (about(0.9), about(0)),
        (about(3), about(3)),
        (about(2, 5), about(0)),
        (about(0), about(2, 5)),
    ],
)
def test_clocks_that_may_agree_are_ok(service: Offset, redis: Offset) -> None:
    """Offsets within a second or within the measurement's uncertainty are fine."""
    assert found(service, redis)[Status.PROBLEM] == []
    assert found(service, redis)[Status.GOOD]


def test_a_wrong_clock_of_this_machine_is_only_a_note() -> None:
    """The result says that this machine's clock is wrong and what it affects."""
    results = found(about(30), about(30))
    assert results[Status.PROBLEM] == []
    (own,) = results[Status.UNKNOWN]
    assert "this machine's clock is 30.0 s behind" in own.finding
    assert "--from" in own.advice


def test_unreadable_clocks_are_skipped() -> None:
    """The result says what is needed to read the clocks."""
    shown = [(one.finding, one.advice) for one in found(None, None)[Status.UNKNOWN]]
    assert "+time" in shown[0][1]
    assert "`analytics`" in shown[1][1]


async def test_the_reading_that_took_the_least_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow reading of Redis's clock does not hide a difference."""
    readings = iter([about(-3, 9), None, about(-3, 0.2)])

    async def read(_: object) -> Offset | None:
        return next(readings)

    monkeypatch.setattr(doctor_clocks, "_read", read)
    results = await doctor_clocks.check(about(0), Settings(), "redis://127.0.0.1:1")
    assert any("2.9 s ahead of Redis's" in one.finding for one in results)


def answer(**document: str) -> Answer:
    return Answer(200, http.client.HTTPMessage(), json.dumps(document).encode(), SENT, RECEIVED)


def test_an_answer_has_the_time_of_the_service() -> None:
    """The time is a session's start or `as_of`, and other answers have none."""
    moment = datetime.fromtimestamp(SENT, UTC) + timedelta(seconds=5.1)
    offset = offset_of(answer(start_time=moment.strftime("%Y-%m-%dT%H:%M:%S.%f")))
    assert offset is not None
    assert (offset.low, offset.high) == pytest.approx((4.9, 5.1))
    offset = offset_of(answer(as_of=moment.strftime("%Y-%m-%dT%H:%M:%SZ")))
    assert offset is not None
    assert (offset.low, offset.high) == pytest.approx((4.8, 6.0))
    assert offset_of(answer(as_of="now")) is None
    assert offset_of(answer(detail="no")) is None
