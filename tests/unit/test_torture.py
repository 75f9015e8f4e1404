"""The ledger of `jay-tracking torture`, its pace, and broken promises."""

import asyncio
import time

import pytest

from service.commands.torture_check import check
from service.commands.torture_http import PATH, USER_PATH, Pace, Reply, TortureHttp, _reply
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


GONE = Reply(404, "404")


class Sessions(TortureHttp):
    """A service in memory. The first answer to each change of consent is lost."""

    def __init__(self) -> None:
        self.connections, self.pace = 1, Pace(rate=1e9)
        self.users: dict[str, str | None] = {}
        self.successors: dict[tuple[str, str | None], str] = {}
        self.keeps_replaced = self.keeps_users = False

    async def send(
        self, method: str, session_id: str | None = None, user_id: str | None = None, path: str = PATH
    ) -> Reply:
        assert session_id is not None
        assert method == "GET" or path == USER_PATH
        if method == "GET":
            known = session_id in self.users
            return Reply(200, "200", session_id=session_id, user_id=self.users[session_id]) if known else GONE
        if successor := self.successors.get((session_id, user_id)):
            return Reply(200, "200", session_id=successor, user_id=user_id)
        if session_id not in self.users:
            return GONE
        successor = self.successors[session_id, user_id] = f"{session_id}-next"
        before = self.users[session_id] if self.keeps_replaced else self.users.pop(session_id)
        self.users[successor] = before if self.keeps_users else user_id
        return Reply(0, "no answer in time")


async def change_all(http: Sessions, sessions: dict[str, str | None]) -> tuple[Ledger, Findings]:
    """Change the consent of every session once, and check what was found."""
    load = Load(http)
    http.users |= sessions
    for session_id, user in sessions.items():
        load.ledger.live.add(Entry(session_id, 1.0, user_id=user))
    for _ in sessions:
        await load._change_user()
    return load.ledger, await check(http, load.ledger, lambda: None)


async def test_a_change_without_an_answer_is_settled() -> None:
    """The check repeats the change, which has one effect, and finds its session."""
    one, findings = await change_all(Sessions(), {"guest": None, "user": "user-1"})
    assert (one.changes.acknowledged, one.changes.unknown, one.given, one.withdrawn) == (2, 0, 1, 1)
    assert (findings.found, findings.replaced) == (2, 2)
    assert not findings.undone + findings.other_user


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("keeps_replaced", "2 sessions came back under the id from before a change of consent."),
        ("keeps_users", "2 sessions did not keep an acknowledged change of consent."),
    ],
)
async def test_a_change_that_was_not_kept_is_reported(fault: str, sentence: str) -> None:
    """The old id must be dead, and the session must have or lack its user id."""
    http = Sessions()
    setattr(http, fault, True)
    one, findings = await change_all(http, {"guest": None, "user": "user-1"})
    assert sentence in problems(one, findings, None)


async def test_a_session_that_is_lost_before_its_change_is_reported() -> None:
    """A 404 does nothing, and an acknowledged session must not get one."""
    http = Sessions()
    load = Load(http)
    load.ledger.live.add(SOME)
    await load._change_user()
    assert (load.ledger.missed, load.ledger.changes.refused) == (1, 1)
    findings = await check(http, load.ledger, lambda: None)
    assert findings.lost == [SOME]


async def test_a_session_that_is_lost_with_its_change_is_reported() -> None:
    """A change without an answer that finds no session afterwards has lost it."""
    http = Sessions()
    load = Load(http)
    load.ledger.unsettled.add(SOME)
    assert (await check(http, load.ledger, lambda: None)).lost == [SOME]
