import uuid
from typing import Any

import pytest
from aiohttp import ClientResponse

from tests.api.conftest import Service, problem

PATH = "/v1/playouts/tracking/sessions/lookup"
OPERATOR = {"X-API-Key": "operator-key"}


async def look_up(service: Service, body: Any) -> ClientResponse:
    return await service.request("POST", PATH, headers=OPERATOR, json=body)


async def test_live_sessions_come_whole_and_the_rest_is_missing(service: Service) -> None:
    """Live sessions are returned once in order, and other ids are `missing` once."""
    first, second, ended = await service.create(), await service.create(json={"user_id": "u"}), await service.create()
    await service.request("DELETE", headers={"X-Jay-Tracking": ended})
    unknown = str(uuid.uuid4())
    asked = [second, unknown, first.upper(), "null", ended, first, second, unknown, "null"]
    response = await look_up(service, {"session_ids": asked})
    assert response.status == 200
    document = await response.json()
    assert [session["session_id"] for session in document["sessions"]] == [second, first]
    assert set(document["sessions"][0]) == {"session_id", "start_time", "source", "user_id", "expires_at", "ref"}
    assert set(document["sessions"][1]) == {"session_id", "start_time", "source", "expires_at", "ref"}
    assert document["missing"] == [unknown, "null", ended]
    assert set(document) == {"sessions", "missing"}


async def test_a_thousand_ids_fit(service: Service) -> None:
    """The longest valid body, with 1,000 ids, is accepted."""
    ids = [str(uuid.uuid4()) for _ in range(999)] + [await service.create()]
    document = await (await look_up(service, {"session_ids": ids})).json()
    assert (len(document["sessions"]), len(document["missing"])) == (1, 999)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"session_ids": []},
        {"session_ids": None},
        {"session_ids": "x"},
        {"session_ids": [1]},
        {"session_ids": ["x"] * 1001},
        {"session_ids": ["\ud800"]},
    ],
)
async def test_an_invalid_body_is_rejected_and_named(service: Service, body: object) -> None:
    """A lookup takes a list of 1 to 1,000 strings."""
    assert (await problem(await look_up(service, body), 422, "invalid-request"))["member"] == "session_ids"


async def test_a_missing_body_is_named(service: Service) -> None:
    """A lookup without a body names the field that it lacks."""
    for body in (None, b" "):
        response = await service.request("POST", PATH, headers=OPERATOR, data=body)
        assert (await problem(response, 422, "invalid-request"))["member"] == "session_ids"


async def test_unknown_fields_and_media_types_are_rejected(service: Service) -> None:
    """Unknown fields and media types are rejected as in a creation."""
    document = await problem(await look_up(service, {"session_ids": ["x"], "ids": []}), 422, "invalid-request")
    assert document["member"] == "ids"
    response = await service.request("POST", PATH, headers=OPERATOR, data=b"[]")
    await problem(response, 415, "unsupported-media-type")
    response = await service.request("POST", PATH, headers=OPERATOR, json={"session_ids": ["x" * 70_000]})
    await problem(response, 413, "body-too-large")


async def test_ids_that_are_not_uuids_do_not_reach_redis(service: Service) -> None:
    """Ids that are not UUIDs do not reach Redis."""
    document = await (await look_up(service, {"session_ids": ["*", "", "🙂"]})).json()
    assert document == {"sessions": [], "missing": ["*", "", "🙂"]}
