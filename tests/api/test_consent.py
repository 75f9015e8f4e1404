"""PUT and DELETE of the session's user: consent that changes during a visit."""

import asyncio
import re
import time
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from service.config.settings import RedisSettings
from service.counts import HOUR
from tests.api.conftest import GUEST_BY_GPC, KEYS, ORIGIN, PATH, TOKEN, Service, Start, problem

USER_PATH = f"{PATH}/user"
OPERATOR = {"X-API-Key": "operator-key"}
COUNTS = "/v1/playouts/tracking/analytics/sessions"
USERS = "/v1/playouts/tracking/users"


async def create(service: Service, user_id: str | None = None) -> dict[str, Any]:
    """Create a session and return its body."""
    response = await service.request("POST", json={"user_id": user_id})
    assert response.status == 201
    return dict(await response.json())


async def change(service: Service, session_id: str, user_id: str | None) -> ClientResponse:
    """Give a session a user id, or take it away."""
    headers = {TOKEN: session_id}
    if user_id is None:
        return await service.request("DELETE", USER_PATH, headers=headers)
    return await service.request("PUT", USER_PATH, json={"user_id": user_id}, headers=headers)


async def test_a_session_goes_on_with_and_without_a_user(service: Service) -> None:
    """Both answer like a creation: a new id, and the same start, source and expiry."""
    before = await create(service)
    read = await service.request("GET", headers={TOKEN: before["session_id"]})
    expires = read.headers["X-Jay-Session-Expires"]
    for user_id in ("user-1", "user-2", None):
        response = await change(service, before["session_id"], user_id)
        assert response.status == 200
        after = await response.json()
        expected = {"start_time": before["start_time"], "source": before["source"]}
        expected |= {} if user_id is None else {"user_id": user_id}
        assert after == {"session_id": after["session_id"], **expected}
        assert after["session_id"] != before["session_id"]
        assert response.headers[TOKEN] == after["session_id"]
        assert response.headers["X-Jay-Session-Expires"] == expires
        cookie = SimpleCookie(response.headers["Set-Cookie"])[TOKEN]
        assert cookie.value == after["session_id"]
        assert 86_390 < int(cookie["max-age"]) <= 86_400
        assert (cookie["path"], cookie["secure"], cookie["httponly"], cookie["samesite"]) == ("/", True, True, "Lax")
        assert await (await service.request("GET", headers={TOKEN: after["session_id"]})).json() == after
        await problem(await service.request("GET", headers={TOKEN: before["session_id"]}), 404, "session-not-found")
        before = after


async def test_the_cookie_of_a_changed_session_gets_the_rest_of_its_lifetime(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour after the creation, a change gives the cookie an hour less."""
    fast_path = service.runner._fast_path
    assert fast_path is not None
    with monkeypatch.context() as an_hour_ago:
        an_hour_ago.setattr(fast_path._creations._factory, "_clock_ns", lambda: time.time_ns() - HOUR * 10**9)
        session_id = (await create(service))["session_id"]
    for user_id in ("user-1", None, None):
        response = await change(service, session_id, user_id)
        session_id = response.headers[TOKEN]
        seconds = int(SimpleCookie(response.headers["Set-Cookie"])[TOKEN]["max-age"])
        assert 86_400 - 2 * HOUR < seconds <= 86_400 - HOUR


async def test_a_burst_of_changes_fails_no_request(service: Service) -> None:
    """Many changes at once fail neither each other nor the requests of others."""
    before = [await create(service) for _ in range(90)]
    burst = [change(service, one["session_id"], f"user-{number}") for number, one in enumerate(before)]
    others = [service.request("POST") for _ in range(10)]
    changed = await asyncio.gather(*burst, *others)
    assert {answer.status for answer in changed} == {200, 201}


async def test_the_same_state_changes_nothing(service: Service) -> None:
    """The answer has the same id when the session already is as asked for."""
    for user_id in ("user-1", None):
        before = await create(service, user_id)
        response = await change(service, before["session_id"], user_id)
        assert (response.status, await response.json()) == (200, before)
        assert f"{TOKEN}={before['session_id']};" in response.headers["Set-Cookie"]


async def test_a_repeated_change_gets_the_same_answer(service: Service) -> None:
    """After a lost reply, the old id gets the same session again."""
    guest = await create(service)
    for user_id in ("user-1", None):
        first = await change(service, guest["session_id"], user_id)
        again = await change(service, guest["session_id"], user_id)
        assert (again.status, await again.read()) == (200, await first.read())


async def test_an_old_id_ends_the_session(service: Service) -> None:
    """DELETE with a replaced id ends the session that goes on. Lookup misses both."""
    guest = await create(service)
    changed = await (await change(service, guest["session_id"], "user-1")).json()
    ended = await service.request("DELETE", headers={TOKEN: guest["session_id"]})
    assert (ended.status, "Max-Age=0" in ended.headers["Set-Cookie"]) == (204, True)
    ids = [guest["session_id"], changed["session_id"]]
    lookup = await service.request(
        "POST", "/v1/playouts/tracking/sessions/lookup", json={"session_ids": ids}, headers=OPERATOR
    )
    assert await lookup.json() == {"sessions": [], "missing": ids}
    export = await service.request("GET", f"{USERS}/user-1/sessions", headers=OPERATOR)
    assert (await export.json())["sessions"] == []


async def test_without_a_live_session_the_answer_is_404(service: Service) -> None:
    """No id, an unknown id and an ended id get 404, without a cookie."""
    ended = (await create(service))["session_id"]
    await service.request("DELETE", headers={TOKEN: ended})
    for token in (ended, "00000000-0000-4000-8000-000000000000", "null"):
        for user_id in ("user-1", None):
            response = await change(service, token, user_id)
            await problem(response, 404, "session-not-found")
            assert "Set-Cookie" not in response.headers
    assert (await service.request("DELETE", USER_PATH)).status == 404


@pytest.mark.parametrize("body", [None, b"{}", b'{"user_id": null}', b'{"userId": ""}', b'{"user_id": "null"}'])
async def test_a_missing_user_id_is_named(service: Service, body: bytes | None) -> None:
    """PUT without a user id is 422 and changes nothing."""
    guest = await create(service)
    headers = {TOKEN: guest["session_id"], "Content-Type": "application/json"}
    found = await problem(await service.request("PUT", USER_PATH, data=body, headers=headers), 422, "invalid-request")
    assert found["member"] == "user_id"
    assert (await service.request("GET", headers={TOKEN: guest["session_id"]})).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b'{"user_id": "a"}', {"Content-Type": "text/plain"}, 415),
        (b'{"user_id": "a", "userId": "b"}', {}, 422),
        (b'{"user": "a"}', {}, 422),
        (b" " * 5000, {}, 413),
    ],
)
async def test_the_rules_for_bodies_are_those_of_a_creation(
    service: Service, body: bytes, headers: dict[str, str], status: int
) -> None:
    """PUT rejects the bodies that POST rejects."""
    guest = await create(service)
    sent = {TOKEN: guest["session_id"], "Content-Type": "application/json", **headers}
    assert (await service.request("PUT", USER_PATH, data=body, headers=sent)).status == status


async def test_both_paths_have_the_routes(service: Service) -> None:
    """The path without a version works too, and other methods are named."""
    guest = await create(service)
    short = "/playouts/tracking/session/user"
    changed = await service.request("PUT", short, json={"userId": "user-1"}, headers={TOKEN: guest["session_id"]})
    assert changed.status == 200
    assert (await service.request("DELETE", short, headers={TOKEN: changed.headers[TOKEN]})).status == 200
    wrong = await service.request("POST", USER_PATH, json={"user_id": "u"})
    await problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["Allow"] == "DELETE, OPTIONS, PUT"


async def test_pages_may_change_the_consent(service: Service) -> None:
    """Answers and errors are readable by a page of a configured origin."""
    guest = await create(service)
    for token, status in ((guest["session_id"], 200), ("null", 404)):
        response = await service.request("DELETE", USER_PATH, headers={TOKEN: token, "Origin": ORIGIN})
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "X-API-Key": ""}
    response = await service.request("OPTIONS", USER_PATH, headers=preflight)
    assert response.status == 204
    assert "PUT" in response.headers["Access-Control-Allow-Methods"]


async def test_a_visit_that_agrees_halfway_counts_once(service: Service) -> None:
    """Consents are counted apart. The user is found, and not in the top list."""
    guest = await create(service)
    token = guest["session_id"]
    for user_id in ("user-1", "user-2", None, "user-1"):
        token = (await change(service, token, user_id)).headers[TOKEN]
    counts = await (await service.request("GET", COUNTS, headers=OPERATOR)).json()
    totals = counts["totals"]
    assert (totals["active"], totals["created"], totals["ended"], totals["expired"]) == (1, 1, 0, 0)
    assert (totals["consent_given"], totals["consent_withdrawn"]) == (3, 2)
    assert totals["unique_users"] == 2
    assert sum(point["consent_given"] for point in counts["series"]) == 3
    assert counts["sources"][0]["consent_withdrawn"] == 2
    assert {"consent_given", "consent_withdrawn"} <= counts["definitions"].keys()
    top = await (await service.request("GET", "/v1/playouts/tracking/analytics/users", headers=OPERATOR)).json()
    assert top["users"] == []
    export = await (await service.request("GET", f"{USERS}/user-1/sessions", headers=OPERATOR)).json()
    assert [one["session_id"] for one in export["sessions"]] == [token]
    receipt = await (await service.request("DELETE", f"{USERS}/user-1", headers=OPERATOR)).json()
    assert receipt["erased_sessions"] == 1
    assert (await service.request("GET", headers={TOKEN: token})).status == 404


async def test_an_idempotent_creation_whose_session_was_replaced_is_a_conflict(service: Service) -> None:
    """The key of a creation does not reveal the successor of its session."""
    key = {"Idempotency-Key": "7f6d2a4e-9f2b-4c37-8f6c-3f1f0a8f2c11"}
    created = await service.request("POST", headers=key)
    await change(service, created.headers[TOKEN], "user-1")
    await problem(await service.request("POST", headers=key), 409, "session-already-ended")


async def test_forward_auth_does_not_know_an_old_id(service: Service) -> None:
    """Forward-auth answers none for a replaced id, and live with a new ref after it."""
    guest = await create(service)
    path, refs = "/v1/playouts/tracking/forward-auth", []
    changed = await change(service, guest["session_id"], "user-1")
    for token, state in ((guest["session_id"], "none"), (changed.headers[TOKEN], "live")):
        response = await service.request("GET", path, headers={TOKEN: token, **OPERATOR})
        assert (response.status, response.headers["X-Jay-Session"]) == (200, state)
        refs.append(response.headers.get("X-Jay-Session-Ref"))
    assert refs[0] is None
    assert re.fullmatch("[0-9a-f]{32}", refs[1] or "")


async def test_a_key_that_respects_gpc_stores_no_user_id(start: Start) -> None:
    """PUT with `Sec-GPC: 1` and such a key lets the session go on without a user id."""
    service = await start(api_keys=(*KEYS, GUEST_BY_GPC))
    for user_id in (None, "user-1"):
        session = await create(service, user_id)
        headers = {TOKEN: session["session_id"], "X-API-Key": "gpc-key", "Sec-GPC": "1"}
        response = await service.request("PUT", USER_PATH, json={"user_id": "user-1"}, headers=headers)
        assert response.status == 200
        assert "user_id" not in await response.json()
        without_signal = {**headers, TOKEN: response.headers[TOKEN], "Sec-GPC": "0"}
        response = await service.request("PUT", USER_PATH, json={"user_id": "user-1"}, headers=without_signal)
        assert (await response.json())["user_id"] == "user-1"


async def test_an_outage_is_no_missing_session(start: Start, tmp_path: Path) -> None:
    """While Redis is away, both answer 503 without a cookie."""
    service = await start(url=f"unix://{tmp_path}/none.sock", redis=RedisSettings())
    for user_id in ("user-1", None):
        response = await change(service, "00000000-0000-4000-8000-000000000000", user_id)
        await problem(response, 503, "store-unavailable")
        assert "Set-Cookie" not in response.headers
