"""Clients of visits pass the cases, with a script and with a live service."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from jay_tracking_client.messages import Answer, Request
from jay_tracking_client.testing.fake_server import serving

from tests.clients.conformance import CONTENT, INVALID_URLS, cases_of
from tests.clients.visit_programs import JAVASCRIPT, KOTLIN, Language, Program, running
from tests.clients.visit_replay import Replay, ScriptOfVisit, server_of

CASES = cases_of("visit")
LANGUAGES = [
    pytest.param(JAVASCRIPT, id="javascript"),
    pytest.param(KOTLIN, id="kotlin", marks=pytest.mark.kotlin),
]


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Language:
    """Return a language."""
    selected: Language = request.param
    return selected


@pytest.fixture(scope="module")
def program(language: Language, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run the program of a language for all cases."""
    with running(language.build(tmp_path_factory.mktemp(language.name))) as started:
        yield started


@pytest.mark.parametrize("behind", ["script", "live"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_client_passes_the_case(
    language: Language, program: Program, case: Mapping[str, Any], behind: str, request: pytest.FixtureRequest
) -> None:
    """The client sends the requests of the case, and has its results."""
    if language.name in case.get("skips", {}):
        pytest.skip(case["skips"][language.name])
    url = request.getfixturevalue("live").url if behind == "live" else None
    with server_of(case, url) as server:
        replay = Replay(language, program, server)
        replay.start(case)
        for step in case["steps"]:
            replay.step(step)
        assert server.responses == []


CREATED = CONTENT["responses"]["created-guest"]["body"]
WITH_MORE = json.dumps(CREATED | {"source": 'é😀 "\\/\n', "later": {"a": [1, -2.5e3, True, None, {}], "b": []}})
INVALID = (
    "",
    "null",
    "[]",
    "nul",
    "{",
    "[" * 60_000,
    '"' + "\\u00" + '"',
    json.dumps(CREATED)[:-1],
    json.dumps(CREATED) + "}",
    json.dumps(CREATED | {"session_id": "not-an-id"}),
)


class Fixed(ScriptOfVisit):
    """Answers each request with one status and body."""

    def __init__(self, body: str, status: int = 201, **headers: str) -> None:
        super().__init__()
        self._answer_to_all = Answer(status, {"content-type": "application/json", **headers}, body.encode())

    def answer(self, request: Request) -> Answer | None:
        self.requests.append(request)
        return self._answer_to_all


def test_a_client_reads_any_json(language: Language, program: Program) -> None:
    """Unknown fields are ignored, and escaped characters are read."""
    with serving(Fixed(WITH_MORE)) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({})
        (session,) = program.call("session")["results"]
    assert session["source"] == json.loads(WITH_MORE)["source"]
    assert session["session_id"] == CREATED["session_id"]


@pytest.mark.parametrize(
    ("stored", "method"),
    [("{}", "GET"), ("{}0", "POST"), (" {}", "POST")],
    ids=["an id", "more at the end", "more at the start"],
)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_only_a_whole_id_is_sent(
    language: Language, program: Program, change: Callable[[str], str], stored: str, method: str
) -> None:
    """An id in the storage may be in upper case, and nothing may be around it."""
    with serving(Fixed(json.dumps(CREATED))) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({"stored_id": stored.format(change(CREATED["session_id"]))})
        program.call("session")
    assert [request.method for request in server.requests] == [method]


def test_a_creation_has_the_whole_user_id(language: Language, program: Program) -> None:
    """The client does not cut a user id of two lines. The service rejects it."""
    with serving(Fixed(json.dumps(CREATED))) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({})
        program.call("consent", user_id="user 1\nand\u2028more", agreed=True)
        program.call("session")
    assert [json.loads(request.body or b"") for request in server.requests] == [{"user_id": "user 1\nand\u2028more"}]


@pytest.mark.parametrize("body", INVALID, ids=range(len(INVALID)))
def test_an_invalid_body_is_not_a_session(language: Language, program: Program, body: str) -> None:
    """A body that is not a session's JSON is an unexpected answer."""
    with serving(Fixed(body)) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({})
        reply = program.call("session")
    assert reply["results"] == [None]
    assert [report["kind"] for report in reply["reports"]] == ["unexpected-answer"]


@pytest.mark.parametrize("status", [500, 599])
def test_an_error_of_the_service_is_repeated(language: Language, program: Program, status: int) -> None:
    """Every status of 5xx says that the service cannot serve now.

    The random part of a pause keeps clients apart that failed together, also when the
    service names the pause.
    """
    first_pauses = set()
    with serving(Fixed("{}", status, **{"retry-after": "1"})) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({})
        for _ in range(4):
            server.requests.clear()
            reply = program.call("session")
            assert len(server.requests) == CONTENT["options"]["visit"]["attempts"]
            assert [report["kind"] for report in reply["reports"]] == ["unready"]
            first_pauses.add(reply["pauses"][0])
    assert len(first_pauses) > 1


def test_a_date_makes_no_pause_shorter(language: Language, program: Program) -> None:
    """A date in `Retry-After` that a client cannot compare changes no pause."""
    with serving(Fixed("{}", 503, **{"retry-after": "Sun, 15 Jan 2023 14:30:26 GMT"})) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({})
        pauses = program.call("session")["pauses"]
    assert len(pauses) == CONTENT["options"]["visit"]["attempts"] - 1
    assert all(pause is not None for pause in pauses)


@pytest.mark.parametrize(
    ("fails", "call", "result"),
    [("storage", "session", None), ("storage", "end", False), ("on_error", "session", None)],
)
def test_failures_of_the_app_are_not_thrown(
    language: Language, program: Program, fails: str, call: str, result: Any
) -> None:
    """A storage or a function of the app that fails does not break the caller."""
    with serving(Fixed("")) as server:
        assert isinstance(server, ScriptOfVisit)
        Replay(language, program, server).start({"fails": fails})
        reply = program.call(call)
    assert reply["results"] == [result]
    assert len(reply["reports"]) == 1


@pytest.mark.parametrize("language", LANGUAGES[1:], indirect=True)
def test_the_kotlin_client_rejects_other_urls(program: Program) -> None:
    """The URL has no credentials, query or fragment, and is visible ASCII."""
    for url in ("http://h", "https://[::1]:8443/prefix/", "https://tracking.example.com/a@b"):
        assert program.call("accepts", url=url)["results"] == [True], url
    for url in INVALID_URLS:
        assert program.call("accepts", url=url)["results"] == [False], url
