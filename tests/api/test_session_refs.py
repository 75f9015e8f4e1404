"""Refs of sessions in answers, log lines and spans, and as a wrong session id."""

import json
from urllib.parse import quote

import pytest

from service.config.settings import DEVELOPMENT_USER_SECRET
from service.config.telemetry_settings import LogSettings
from service.digests import SessionRefs
from tests.api.conftest import PATH, TOKEN, OpenDoors, Service
from tests.api.doors import LAST, A, cookie, request
from tests.support.servers import RedisServer, binaries

OPERATOR = {"X-API-Key": "operator-key"}
ref_of = SessionRefs(DEVELOPMENT_USER_SECRET)


async def test_lookup_and_export_have_the_ref(service: Service) -> None:
    """A lookup and the export of a user have the ref of each session."""
    session_id = await service.create(json={"user_id": "u"})
    found = await service.request("POST", f"{PATH}s/lookup", headers=OPERATOR, json={"session_ids": [session_id]})
    exported = await service.request("GET", f"/v1/playouts/tracking/users/{quote('u')}/sessions", headers=OPERATOR)
    for response in (found, exported):
        (session,) = (await response.json())["sessions"]
        assert (session["session_id"], session["ref"]) == (session_id, ref_of(session_id))


async def test_a_ref_is_no_session_id(service: Service) -> None:
    """GET with a ref is a 404, DELETE with one ends nothing, and a lookup misses it."""
    session_id = await service.create()
    ref = ref_of(session_id)
    for headers in ({TOKEN: ref}, {"X-Jay-Tracking": ref}, {"Cookie": f"{TOKEN}={ref}"}):
        assert (await service.request("GET", headers=headers)).status == 404
        assert (await service.request("DELETE", headers=headers)).status == 204
    looked_up = await service.request("POST", f"{PATH}s/lookup", headers=OPERATOR, json={"session_ids": [ref]})
    assert json.loads(await looked_up.read()) == {"sessions": [], "missing": [ref]}
    assert (await service.request("GET", headers={TOKEN: session_id})).status == 200


async def test_a_ref_is_answered_alike_without_redis(
    open_doors: OpenDoors, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A ref is answered without Redis by both doors, so Redis is not asked."""
    with RedisServer(binaries()["valkey"], tmp_path_factory.mktemp("own")) as own:
        doors = await open_doors(own.url)
        own.kill()
        ref = ref_of(A)
        for line in (cookie(ref), f"{TOKEN}: {ref}", f"X-Jay-Tracking: {ref}"):
            assert (await doors.answers(request("GET", line) + LAST)).startswith(b"HTTP/1.1 404 ")
            assert (await doors.answers(request("DELETE", line) + LAST)).startswith(b"HTTP/1.1 204 ")
        assert (await doors.answers(request("GET", cookie(A)) + LAST)).startswith(b"HTTP/1.1 503 ")


async def test_the_log_has_refs_when_it_is_told_to(open_doors: OpenDoors) -> None:
    """With the setting, lines of both doors have the ref of the session, or none."""
    doors = await open_doors(log=LogSettings(session_ref=True))
    for one in (
        request("GET", cookie(A)),
        request("HEAD", cookie(A)),
        request("GET", cookie(ref_of(A))),
        request("DELETE", cookie(A), f"{TOKEN}: {A.replace('a', 'b')}"),
        request("DELETE", cookie("cccccccc-0000-4000-8000-000000000001")),
        request("DELETE", cookie(A)),
    ):
        await doors.answers(one + LAST)
    for service in (doors.front, doors.aiohttp):
        created = await service.create()
        logged = [line.get("session_ref") for line in service.log_lines() if line["route"] == PATH]
        user = ref_of("cccccccc-0000-4000-8000-000000000001")
        assert logged == [ref_of(A), ref_of(A), None, None, user, None, ref_of(created)]


async def test_the_log_has_no_refs_by_default(service: Service) -> None:
    """Without the setting, no line has a ref."""
    session_id = await service.create()
    await service.request("GET", headers={TOKEN: session_id})
    assert all("session_ref" not in line for line in service.log_lines())
