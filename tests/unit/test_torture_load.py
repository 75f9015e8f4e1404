"""The load of `jay-tracking torture`, its check of sessions, and its counts."""

from types import SimpleNamespace
from typing import Any

import pytest

from service.api.answer_cache import MAX_AGE_SECONDS
from service.commands import torture_check, torture_counts
from service.commands.api_client import ApiClient
from service.commands.torture_http import PATH, USER_PATH, Pace, Reply, TortureHttp
from service.commands.torture_ledger import Counted, Entry, Findings, Ledger, problems
from service.commands.torture_load import Load
from service.errors import CommandError

OK, CREATED, ENDED, MISSING = (Reply(status, str(status)) for status in (200, 201, 204, 404))
LIMITED, FAILED = Reply(429, "429"), Reply(503, "503")
UNSENT, LOST = Reply(0, "no connection", is_sent=False), Reply(0, "no answer in time")


class Http(TortureHttp):
    """A service that gives answers one after the other, and the last one for ever."""

    def __init__(self, *replies: Reply, is_ready: tuple[bool, ...] = (True,)) -> None:
        self.connections, self.pace = 1, Pace(rate=1e9)
        self._replies = list(replies)
        self._is_ready = list(is_ready)
        self.sent: list[tuple[str, str | None]] = []

    async def send(self, method: str, session_id: str | None = None, *_: str | None) -> Reply:
        self.sent.append((method, session_id))
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    async def is_ready(self) -> bool:
        return self._is_ready.pop(0) if len(self._is_ready) > 1 else self._is_ready[0]


def load_with(http: Http, *, live: int = 0, ended: int = 0) -> Load:
    """Return a load whose ledger has sessions."""
    load = Load(http)
    for number in range(live):
        load.ledger.live.add(Entry(f"live-{number}", 0.0))
    for number in range(ended):
        load.ledger.ended.add(Entry(f"ended-{number}", 0.0, 1.0))
    return load


def sizes(ledger: Ledger) -> tuple[int, int, int]:
    """Return the numbers of live, ended and uncertain sessions."""
    return len(ledger.live.entries), len(ledger.ended.entries), len(ledger.uncertain.entries)


@pytest.mark.parametrize(
    ("reply", "after", "outcomes"),
    [
        (ENDED, (0, 1, 0), (1, 0, 0)),
        (LIMITED, (1, 0, 0), (0, 0, 1)),
        (UNSENT, (1, 0, 0), (0, 0, 1)),
        (FAILED, (0, 0, 1), (0, 1, 0)),
        (LOST, (0, 0, 1), (0, 1, 0)),
    ],
    ids=lambda value: value.reason if isinstance(value, Reply) else "",
)
async def test_the_answer_to_an_end_decides(
    reply: Reply, after: tuple[int, int, int], outcomes: tuple[int, int, int]
) -> None:
    """After a refusal the session lives, and without an answer nobody knows."""
    load = load_with(Http(reply), live=1)
    await load._end()
    ends = load.ledger.ends
    assert (sizes(load.ledger), (ends.acknowledged, ends.unknown, ends.refused)) == (after, outcomes)
    assert all(entry.ended_at for entry in load.ledger.ended.entries)


@pytest.mark.parametrize(
    ("reply", "live", "outcomes"),
    [(CREATED, 1, (1, 0, 0)), (LIMITED, 0, (0, 0, 1)), (FAILED, 0, (0, 1, 0)), (OK, 0, (0, 1, 0))],
    ids=lambda value: value.reason if isinstance(value, Reply) else "",
)
async def test_only_a_201_creates_a_session(reply: Reply, live: int, outcomes: tuple[int, int, int]) -> None:
    """Any other answer leaves the ledger without a session."""
    load = load_with(Http(reply))
    await load._create()
    created = load.ledger.created
    assert (sizes(load.ledger), (created.acknowledged, created.unknown, created.refused)) == (
        (live, 0, 0),
        outcomes,
    )


async def test_a_read_that_contradicts_the_ledger_is_a_broken_promise() -> None:
    """A live session with 404 and an ended one with 200 are counted, errors are not."""
    load = load_with(Http(OK, FAILED, MISSING), live=1)
    for missed in (0, 0, 1):
        await load._read_live()
        assert (load.ledger.missed, sizes(load.ledger)) == (missed, (1, 0, 0))
    load = load_with(Http(MISSING, FAILED, OK))
    entry = Entry("dead", 0.0, 1.0)
    pools = load.ledger.ended, load.ledger.replaced
    for pool in pools:
        pool.add(entry)
    for late in (0, 0, 1):
        await load._read_dead()
        assert (load.ledger.late_reads, [pool.entries for pool in pools]) == (late, [[entry]] * 2)
    assert load.ledger.answers == {"404": 1, "503": 1, "200": 1}
    assert (len(load.ledger.served_at), len(load.ledger.failed_at)) == (2, 1)


async def test_without_a_session_a_visitor_creates_one() -> None:
    """Ends, changes and reads need a session, and the first ones create it."""
    for step in ("_end", "_change_user", "_read_live", "_read_dead"):
        http = Http(Reply(201, "201", session_id="new"))
        load = load_with(http)
        await getattr(load, step)()
        assert [method for method, _ in http.sent] == ["POST"]
        assert [entry.session_id for entry in load.ledger.live.entries] == ["new"]


async def test_the_check_finds_lost_and_revived_sessions() -> None:
    """Each session is read until an answer is 200 or 404, and compared."""
    steps: list[None] = []
    ledger = load_with(Http(OK), live=2, ended=2).ledger
    ledger.uncertain.add(Entry("uncertain", 0.0))
    http = Http(OK, MISSING, MISSING, OK)
    found = await torture_check.check(http, ledger, lambda: steps.append(None))
    assert (found.found, [entry.session_id for entry in found.lost]) == (1, ["live-1"])
    assert (found.gone, [entry.session_id for entry in found.revived]) == (1, ["ended-1"])
    assert len(steps) == torture_check.sessions_to_check(ledger) == 4
    ledger.created.acknowledged = 4
    assert len(problems(ledger, found, None)) == 2


async def test_every_session_that_may_live_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session whose end is uncertain is ended too, and errors are tried again."""
    monkeypatch.setattr(torture_check, "_RETRY_SECONDS", 0)
    ledger = load_with(Http(OK), live=1, ended=1).ledger
    ledger.uncertain.add(Entry("uncertain", 0.0))
    http = Http(FAILED, LOST, ENDED)
    steps: list[None] = []
    await torture_check.end_all(http, torture_check.sessions_to_end(ledger), lambda: steps.append(None))
    assert http.sent == [("DELETE", "live-0")] * 3 + [("DELETE", "uncertain")]
    assert len(steps) == 2


class Clock:
    """A clock that runs a minute at each look."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 60
        return self.seconds


async def test_a_service_that_does_not_recover_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command waits for readiness and for answers, but not for ever."""
    monkeypatch.setattr(torture_check, "_POLL_SECONDS", 0)
    monkeypatch.setattr(torture_check, "_RETRY_SECONDS", 0)
    assert await torture_check.wait_until_ready(Http(OK, is_ready=(False, False, True))) < torture_check.READY_SECONDS
    monkeypatch.setattr(torture_check, "time", SimpleNamespace(monotonic=Clock()))
    with pytest.raises(CommandError, match="not ready 120 s after the load"):
        await torture_check.wait_until_ready(Http(OK, is_ready=(False,)))
    with pytest.raises(CommandError, match="does not serve requests after the load \\(503\\)"):
        await torture_check.end_all(Http(FAILED), [Entry("live", 0.0)], lambda: None)


async def test_a_request_without_a_connection_is_sent_only_if_it_is_repeated() -> None:
    """A DELETE may be a second attempt, so its outcome is unknown."""
    async with TortureHttp(ApiClient("http://127.0.0.1:1"), connections=1, rate=1e9) as http:
        for method, is_refusal in (("POST", True), ("DELETE", False), ("GET", False)):
            reply = await http.send(method, None if method == "POST" else "x")
            assert (reply.status, reply.reason, reply.is_refusal) == (0, "no connection", is_refusal)


class Operator(ApiClient):
    """Answers with counts that have grown, or with an error."""

    def __init__(self, log: list[str], *answers: int | CommandError) -> None:
        super().__init__("http://127.0.0.1:8080")
        self._log = log
        self._answers = iter(answers)

    def fetch(self, *_: object, **__: object) -> dict[str, Any]:
        self._log.append("read")
        number = next(self._answers)
        if isinstance(number, CommandError):
            raise number
        changes = {"consent_given": number // 5, "consent_withdrawn": number // 10}
        return {"totals": {"created": number, "ended": number // 2, **changes}}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a log of the pauses, with a clock that runs ten seconds at each look."""
    steps: list[str] = []
    moments = iter(range(0, 10_000, 10))
    stub = SimpleNamespace(sleep=lambda seconds: steps.append(f"{seconds} s"), monotonic=lambda: next(moments))
    monkeypatch.setattr(torture_counts, "time", stub)
    return steps


def test_counts_are_read_when_no_cached_answer_is_left(log: list[str]) -> None:
    """The difference is that of fresh answers, also after an error."""
    counting = torture_counts.SourceCount(Operator(log, 10, CommandError("503"), 30, 36), "tv", "2026-11-26")
    assert counting.since_last() == Counted(20, 10, 4, 2)
    assert counting.since_last() == Counted(6, 3, 1, 0)
    fresh = f"{MAX_AGE_SECONDS} s"
    assert log == ["read", fresh, "read", "0.5 s", "read", fresh, "read"]


def test_counts_that_stay_unreadable_are_an_error(log: list[str]) -> None:
    """The error of the last attempt is raised after half a minute."""
    answers = [CommandError(f"attempt {number}") for number in range(20)]
    with pytest.raises(CommandError, match="attempt 3"):
        torture_counts.SourceCount(Operator(log, *answers), "tv", "2026-11-26")


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
            return Reply(200, "200", session_id=session_id, user_id=self.users[session_id]) if known else MISSING
        if successor := self.successors.get((session_id, user_id)):
            return Reply(200, "200", session_id=successor, user_id=user_id)
        if session_id not in self.users:
            return MISSING
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
    return load.ledger, await torture_check.check(http, load.ledger, lambda: None)


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
    load.ledger.live.add(Entry("lost", 1.0))
    await load._change_user()
    assert (load.ledger.missed, load.ledger.changes.refused) == (1, 1)
    findings = await torture_check.check(http, load.ledger, lambda: None)
    assert [entry.session_id for entry in findings.lost] == ["lost"]


async def test_a_session_that_is_lost_with_its_change_is_reported() -> None:
    """A change without an answer that finds no session afterwards has lost it."""
    http = Sessions()
    load = Load(http)
    load.ledger.unsettled.add(Entry("lost", 1.0))
    findings = await torture_check.check(http, load.ledger, lambda: None)
    assert [entry.session_id for entry in findings.lost] == ["lost"]
