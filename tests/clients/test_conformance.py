"""The Python client passes the cases for clients of back ends."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from jay_tracking_client import errors
from jay_tracking_client.sessions import Session
from jay_tracking_client.testing.fake_server import serving

from tests.clients.conformance import BROKEN, CASES, CONTENT, Script, cases_of, check_request
from tests.clients.conftest import Connect, Pauses
from tests.support.openapi import Reference

BACK_END_CASES = cases_of("back end")
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


async def replay(client: Any, step: Mapping[str, Any], script: Script, pauses: Pauses) -> None:
    """Make a call, and compare its requests, pauses and result with the case."""
    script.expect(step["exchanges"])
    pauses.clear()
    call = getattr(client, step["call"])
    if "raises" in step:
        fields = dict(step["raises"])
        with pytest.raises(errors.TrackingError) as caught:
            await call(**step["arguments"])
        assert type(caught.value) is KINDS[fields.pop("error")]
        assert {name: getattr(caught.value, name) for name in fields} == fields
    else:
        assert shown(await call(**step["arguments"])) == expected_result(step["returns"])
    assert len(script.requests) == len(step["exchanges"])
    keys: list[str] = []
    for actual, (name, _) in zip(script.requests, step["exchanges"], strict=True):
        check_request(actual, CONTENT["requests"][name], keys)
    assert len(set(keys)) <= 1
    bounds = step.get("pauses", [])
    assert len(pauses) == len(bounds)
    assert all(least <= pause <= most for pause, (least, most) in zip(pauses, bounds, strict=True)), pauses


@pytest.mark.parametrize("case", BACK_END_CASES, ids=[case["name"] for case in BACK_END_CASES])
async def test_the_client_passes_the_case(connect: Connect, case: Mapping[str, Any]) -> None:
    """The client sends the requests of the case, and returns or raises what it says."""
    now = 0.0
    options = CONTENT["options"]["back end"] | case.get("options", {})
    with serving(Script()) as script:
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

    Routes that the API reference does not have yet are left out, and so is the answer
    of a service without a route.
    """
    reference = Reference()
    operations = reference.operations()
    exchanges = {tuple(one) for case in CASES for step in case["steps"] for one in step.get("exchanges", [])}
    checked = 0
    for request_name, response_name in sorted(exchanges):
        request, response = CONTENT["requests"][request_name], CONTENT["responses"].get(response_name, {})
        operation = operations.get((request["method"], request["path"]))
        if operation is None or response_name == "not-found" or not isinstance(response.get("body"), dict):
            continue
        documented = reference.resolved(operation["responses"][str(response["status"])])
        content = documented["content"][response["headers"]["Content-Type"].partition(";")[0]]
        assert not reference.errors(response["body"], content["schema"]), response_name
        assert response["headers"].keys() <= {"Content-Type", "Date", *documented["headers"]}, response_name
        checked += 1
    assert checked > 15
