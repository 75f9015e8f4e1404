"""The fake service answers invalid requests like a live service."""

import json
import threading
from http.client import HTTPConnection
from typing import Any

import aiohttp
import pytest
from jay_tracking_client.messages import LOOKUP_PATH, SESSION_PATH, USER_PATH
from jay_tracking_client.testing.fake_server import serving
from jay_tracking_client.testing.fake_service import FakeTrackingService

from tests.clients.conftest import GPC_KEY, LIVE_KEY, Connect
from tests.support.processes import Process

JSON = {"Content-Type": "application/json"}
INVALID: list[tuple[str, str, dict[str, str], str | None]] = [
    ("POST", SESSION_PATH, JSON, "{"),
    ("POST", SESSION_PATH, JSON, "[]"),
    ("POST", SESSION_PATH, {"Content-Type": "text/plain"}, "{}"),
    *(("POST", SESSION_PATH, JSON, json.dumps({"user_id": value})) for value in (7, " ", "x" * 129, "a\nb", "NaN")),
    ("POST", LOOKUP_PATH, JSON, None),
    ("POST", LOOKUP_PATH, JSON, json.dumps({"session_ids": []})),
    ("POST", LOOKUP_PATH, JSON, json.dumps({"session_ids": ["x"] * 1001})),
    ("GET", SESSION_PATH, {}, None),
    ("GET", SESSION_PATH, {"X-API-Key": "unknown-key"}, None),
    ("GET", "/v1/playouts/tracking/movies", {}, None),
    ("PUT", USER_PATH, JSON, json.dumps({"user_id": None})),
    ("PUT", USER_PATH, JSON, json.dumps({"user_id": "u"})),
    ("DELETE", USER_PATH, {}, None),
]


async def problem(url: str, key: str, *request: Any) -> tuple[int, str, str | None]:
    method, path, headers, body = request
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": key}) as http,
        http.request(method, url + path, headers=headers, data=body, skip_auto_headers=("Content-Type",)) as response,
    ):
        document = await response.json(content_type="application/problem+json")
        return response.status, document["type"], document.get("member")


@pytest.mark.parametrize("request_", INVALID)
async def test_invalid_requests_get_the_same_problem(
    fake: FakeTrackingService, live: Process, request_: tuple[Any, ...]
) -> None:
    """Status, type and field of a problem are those of a live service."""
    expected = await problem(live.url, LIVE_KEY, *request_)
    assert await problem(fake.url, fake.api_key, *request_) == expected


def test_no_connection_outlives_the_fake_service() -> None:
    """The end of the block ends the connections that a client keeps open."""
    with serving(FakeTrackingService()) as fake:
        threads = threading.active_count()
        kept = HTTPConnection(fake.url.removeprefix("http://"), timeout=10)
        kept.request("GET", SESSION_PATH)
        assert kept.getresponse().read()
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads - 1
    assert kept.sock.recv(1) == b""
    kept.close()


async def test_global_privacy_control_makes_a_guest(connect: Connect, live: Process) -> None:
    """The signal of a visitor drops the user id, in the fake as in a live service."""
    with serving(FakeTrackingService(gpc_guest=True)) as fake:
        for client in (connect(fake.url, fake.api_key), connect(live.url, GPC_KEY)):
            assert (await client.create("u", gpc=True)).user_id is None
            assert (await client.create("u")).user_id == "u"
