"""The Python client passes the cases for clients of back ends."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jay_tracking_client import errors
from jay_tracking_client.sessions import Session
from jay_tracking_client.testing.fake_server import serving

from tests.clients.conformance import BROKEN, CASES, CONTENT, Script, cases_of, check_request
from tests.clients.conftest import GPC_KEY, LIVE_KEY, Connect, Pauses
from tests.clients.live_script import LiveScript
from tests.support.openapi import Reference

BACK_END_CASES = cases_of("back end")
FROM_ELSEWHERE = {"not-found", "session-required"}
KINDS = {
    "invalid-request": errors.InvalidRequest,
    "unauthorized": errors.Unauthorized,
    "forbidden": errors.Forbidden,
    "session-not-found": errors.SessionNotFound,
    "not-found": errors.RouteNotFound,
    "session-already-ended": errors.SessionAlreadyEnded,
    "unexpected-answer": errors.UnexpectedAnswer,
    "too-many-requests": errors.TooManyRequests,
    "unready": errors.Unready,
}


def shown(result: Any) -> Any:
    """Return the result of a call in the form of the cases."""
    if isinstance(result, Session):
        fields = {
            "id": result.id,
            "started_at": result.started_at,
            "expires_at": result.expires_at,
            "source": result.source,
            "user_id": result.user_id,
        }
        return {"session": fields}
    return {"live": list(result)} if isinstance(result, dict) else result


def expected_result(returns: Any) -> Any:
    """Return the expected result, with times as such."""
    if not returns or "session" not in returns:
        return returns
    session = CONTENT["sessions"][returns["session"]]
    times = {name: datetime.fromisoformat(session[name]) for name in ("started_at", "expires_at")}
    return {"session": session | times}


def live_result(returns: Any, script: LiveScript) -> Any:
    """Return the expected result with the session that the service has made."""
    if not returns or "session" not in returns:
        return returns
    body = script.session(returns["session"])
    started_at = datetime.fromisoformat(body["start_time"]).replace(tzinfo=UTC)
    fields = {"id": body["session_id"], "source": body["source"], "user_id": body["user_id"]}
    return {"session": fields | {"started_at": started_at, "expires_at": expiry_of(started_at)}}


def expiry_of(started_at: datetime) -> datetime:
    """Return the end of a session's lifetime, as the service rounds it."""
    return (started_at + timedelta(days=1)).replace(microsecond=0)


def for_the_service(arguments: Mapping[str, Any], script: LiveScript) -> dict[str, Any]:
    """Return arguments with the ids of sessions that the service has."""
    given = dict(arguments)
    if "session_id" in given:
        given["session_id"] = script.stored_id(given["session_id"])
    if "session_ids" in given:
        given["session_ids"] = [script.stored_id(one) for one in given["session_ids"]]
    return given


async def replay(client: Any, step: Mapping[str, Any], script: Script, pauses: Pauses) -> None:
    """Make a call, and compare its requests, pauses and result with the case."""
    arguments = step["arguments"]
    if isinstance(script, LiveScript):
        arguments = for_the_service(arguments, script)
    script.expect(step["exchanges"])
    pauses.clear()
    call = getattr(client, step["call"])
    if "raises" in step:
        fields = dict(step["raises"])
        with pytest.raises(errors.TrackingError) as caught:
            await call(**arguments)
        assert type(caught.value) is KINDS[fields.pop("error")]
        assert {name: getattr(caught.value, name) for name in fields} == fields
    elif isinstance(script, LiveScript):
        result = shown(await call(**arguments))
        if result and "live" in result:
            result = {"live": [script.in_case(one) for one in result["live"]]}
        assert result == live_result(step["returns"], script)
    else:
        assert shown(await call(**arguments)) == expected_result(step["returns"])
    assert len(script.requests) == len(step["exchanges"])
    keys: list[str] = []
    for actual, (name, _) in zip(script.requests, step["exchanges"], strict=True):
        check_request(actual, CONTENT["requests"][name], keys)
    assert len(set(keys)) <= 1
    bounds = step.get("pauses", [])
    assert len(pauses) == len(bounds)
    assert all(least <= pause <= most for pause, (least, most) in zip(pauses, bounds, strict=True)), pauses


def script_of(case: Mapping[str, Any], live_url: str | None) -> Script:
    """Return the server of a case. With a URL, a live service is behind it."""
    if live_url is None:
        return Script()
    sends_gpc = any("gpc" in step.get("arguments", {}) for step in case["steps"])
    return LiveScript(live_url, GPC_KEY if sends_gpc else LIVE_KEY, {})


@pytest.mark.parametrize("behind", ["script", "live"])
@pytest.mark.parametrize("case", BACK_END_CASES, ids=[case["name"] for case in BACK_END_CASES])
async def test_the_client_passes_the_case(
    connect: Connect, case: Mapping[str, Any], behind: str, request: pytest.FixtureRequest
) -> None:
    """The client sends the requests of the case, and returns or raises what it says."""
    now = 0.0
    options = CONTENT["options"]["back end"] | case.get("options", {})
    with serving(script_of(case, request.getfixturevalue("live").url if behind == "live" else None)) as script:
        assert isinstance(script, Script)
        pauses = Pauses()
        client = connect(script.url, script.api_key, pauses, clock=lambda: now, **options)
        for step in case["steps"]:
            if "advance_seconds" in step:
                now += step["advance_seconds"]
            else:
                await replay(client, step, script, pauses)


def test_everything_in_the_file_is_used() -> None:
    """Each request, response and session is part of a case."""
    steps = [step for case in CASES for step in case["steps"] if "call" in step]
    exchanges = [exchange for step in steps for exchange in step["exchanges"]]
    assert {name for name, _ in exchanges} == set(CONTENT["requests"])
    assert {name for _, name in exchanges} - {BROKEN} == set(CONTENT["responses"])
    returned = [step["returns"] for step in steps if isinstance(step.get("returns"), dict)]
    assert {one["session"] for one in returned if "session" in one} == set(CONTENT["sessions"])
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert {case["kind"] for case in CASES} == set(CONTENT["options"]) == {"back end", "visit"}


def test_a_case_is_skipped_for_a_reason() -> None:
    """Only clients of visits skip cases, and each case has the reason."""
    for case in CASES:
        skips = case.get("skips", {})
        assert skips.keys() <= ({"javascript", "kotlin", "swift"} if case["kind"] == "visit" else set())
        assert all(reason.endswith(".") for reason in skips.values())


def test_the_responses_are_those_of_the_service() -> None:
    """Each JSON response has a documented status, body and headers.

    Routes that the API reference does not have yet are left out, and so are the answer
    of a service without a route and that of forward-auth.
    """
    reference = Reference()
    operations = reference.operations()
    exchanges = {tuple(one) for case in CASES for step in case["steps"] for one in step.get("exchanges", [])}
    checked = 0
    for request_name, response_name in sorted(exchanges):
        request, response = CONTENT["requests"][request_name], CONTENT["responses"].get(response_name, {})
        operation = operations.get((request["method"], request["path"]))
        if operation is None or response_name in FROM_ELSEWHERE or not isinstance(response.get("body"), dict):
            continue
        documented = reference.resolved(operation["responses"][str(response["status"])])
        content = documented["content"][response["headers"]["Content-Type"].partition(";")[0]]
        assert not reference.errors(response["body"], content["schema"]), response_name
        assert response["headers"].keys() <= {"Content-Type", "Date", *documented["headers"]}, response_name
        checked += 1
    assert checked > 15
