"""The ledger of `jay-tracking torture`, its pace, and broken promises."""

import asyncio
import time

import pytest

from service.commands.torture_http import Pace, Reply, TortureHttp, _reply
from service.commands.torture_ledger import Counted, Entry, Findings, Ledger, Outcomes, Pool, problems
from service.commands.torture_load import Load

SOME = Entry("00000000-0000-4000-8000-000000000000", 1.0)


def ledger(created: Outcomes | None = None, ends: Outcomes | None = None) -> Ledger:
    one = Ledger()
    one.created, one.ends = created or Outcomes(), ends or Outcomes()
    return one


@pytest.mark.parametrize("created", [8, 9, 10])
def test_a_count_within_the_bounds_is_right(created: int) -> None:
    """Each creation whose outcome is unknown may be counted or not."""
    one = ledger(Outcomes(acknowledged=8, unknown=2, refused=5), Outcomes(acknowledged=3))
    assert problems(one, Findings(), Counted(created, 3)) == []


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        (Counted(7, 3), "The service counted 7 sessions as created, but the right number is 8 to 10."),
        (Counted(11, 3), "The service counted 11 sessions as created, but the right number is 8 to 10."),
        (Counted(8, 2), "The service counted 2 sessions as ended, but the right number is 3."),
        (Counted(8, 4), "The service counted 4 sessions as ended, but the right number is 3."),
    ],
)
def test_a_count_outside_the_bounds_is_wrong(counted: Counted, sentence: str) -> None:
    """A count below the acknowledged changes or above all possible ones is wrong."""
    one = ledger(Outcomes(acknowledged=8, unknown=2), Outcomes(acknowledged=3))
    assert problems(one, Findings(), counted) == [sentence]


@pytest.mark.parametrize(
    ("given", "withdrawn", "sentences"),
    [
        (4, 2, []),
        (3, 2, ["The service counted 3 sessions as given a user id, but the right number is 4."]),
        (4, 3, ["The service counted 3 sessions as without their user id, but the right number is 2."]),
    ],
)
def test_changes_of_consent_are_counted_exactly(given: int, withdrawn: int, sentences: list[str]) -> None:
    """Every change is settled before the counts are read, so they have no bounds."""
    one = ledger(Outcomes(acknowledged=8))
    one.given, one.withdrawn = 4, 2
    assert problems(one, Findings(), Counted(8, 0, given, withdrawn)) == sentences


def test_each_broken_promise_has_a_sentence() -> None:
    """Lost and revived sessions and wrong answers during the load are reported."""
    one = ledger(Outcomes(acknowledged=7))
    one.missed, one.late_reads = 1, 2
    findings = Findings(lost=[SOME] * 3, revived=[SOME] * 4, returned=[SOME] * 5, other_user=[SOME] * 6)
    found = problems(one, findings, None)
    assert [sentence.partition(" ")[0] for sentence in found] == ["3", "4", "5", "6", "1", "2"]
    assert not [sentence for sentence in found if SOME.session_id in sentence]


def test_a_run_without_a_session_shows_nothing() -> None:
    """A run fails if no session was acknowledged, so that nothing could be lost."""
    (sentence,) = problems(ledger(Outcomes(unknown=36)), Findings(), Counted(0, 0))
    assert "shows nothing" in sentence


def test_no_text_of_an_entry_has_its_id() -> None:
    """A traceback that shows an entry or a reply does not show the session id."""
    entry = Entry(SOME.session_id, 1.0, user_id="user-1", wanted_user_id="user-2")
    text = repr(entry) + repr(Reply(201, "201", session_id=SOME.session_id, user_id="user-1"))
    assert SOME.session_id not in text
    assert "user-" not in text


def test_the_outage_is_the_longest_time_without_a_served_request() -> None:
    """Failures between two served requests do not end an outage."""
    one = ledger()
    start = one._started_at
    one.served_at.extend([start + 1, start + 2, start + 5, start + 5.5])
    one.failed_at.extend([start + 3, start + 4])
    one._closed_at = start + 6
    assert one.longest_gap_seconds == pytest.approx(3)
    assert one.failing_until(start + 3.5) == pytest.approx(0.5)
    assert one.failing_until(start + 4.5) == 0


@pytest.mark.parametrize(("served", "seconds"), [([], 9), ([5], 5), ([2], 7), ([4, 8], 4)])
def test_an_outage_can_begin_before_or_end_after_the_load(served: list[float], seconds: float) -> None:
    """The time to the first served request counts, and the time after the last one."""
    one = ledger()
    one.served_at.extend([one._started_at + moment for moment in served])
    one._closed_at = one._started_at + 9
    assert one.longest_gap_seconds == pytest.approx(seconds)


def test_the_age_of_a_ledger_ends_with_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check and report add nothing to the outage."""
    one = ledger()
    for seconds, expected in ((3, 3), (8, 3)):
        monkeypatch.setattr(time, "monotonic", lambda moment=one._started_at + seconds: moment)
        if seconds == expected:
            one.close()
        assert one.seconds == one.longest_gap_seconds == pytest.approx(expected)


def test_an_entry_that_is_taken_is_in_no_pool() -> None:
    """Two visitors never use one session at the same time."""
    pool = Pool()
    assert pool.take() is None
    entries = [Entry(str(number), 0.0) for number in range(5)]
    for entry in entries:
        pool.add(entry)
    taken = [pool.take() for _ in entries]
    assert sorted(entry.session_id for entry in taken if entry) == ["0", "1", "2", "3", "4"]
    assert pool.take() is None


@pytest.mark.parametrize(
    ("reply", "is_refusal", "is_served"),
    [
        (Reply(201, "201"), False, True),
        (Reply(429, "429"), True, True),
        (Reply(503, "503"), False, False),
        (Reply(0, "no answer in time"), False, False),
        (Reply(0, "no connection", is_sent=False), True, False),
    ],
    ids=lambda value: value.reason if isinstance(value, Reply) else None,
)
def test_only_certain_refusals_are_refusals(reply: Reply, *, is_refusal: bool, is_served: bool) -> None:
    """After a 503 and a lost answer, the outcome is unknown."""
    assert (reply.is_refusal, reply.is_served) == (is_refusal, is_served)


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>"])
def test_a_success_of_another_server_acknowledges_nothing(status: int, body: bytes) -> None:
    """A success without a session id is an unknown outcome."""
    reply = _reply(status, body)
    assert (reply.status, reply.session_id, reply.is_refusal) == (0, "", False)


async def test_the_pace_bounds_the_rate() -> None:
    """Concurrent requests together do not exceed the rate."""
    pace, started = Pace(rate=200), time.monotonic()
    await asyncio.gather(*(pace.wait() for _ in range(21)))
    assert time.monotonic() - started >= 0.1


class SlowHttp(TortureHttp):
    """A service that is slower than the rate, so that every request is due at once."""

    def __init__(self) -> None:
        self.connections, self.pace = 4, Pace(rate=1e9)
        self.sent = 0

    async def send(self, *_: str | None) -> Reply:
        self.sent += 1
        await asyncio.sleep(0.001)
        return Reply(503, "503")


async def test_a_load_that_is_behind_its_rate_can_be_stopped() -> None:
    """After `stop`, the load ends with the requests in progress."""
    http = SlowHttp()
    load = Load(http)
    running = asyncio.create_task(load.run(seconds=60))
    while http.sent < 20:
        await asyncio.sleep(0)
    load.stop()
    async with asyncio.timeout(10):
        await running
