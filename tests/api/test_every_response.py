"""Rules that hold for every response, and the permissions of API keys."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import redis.asyncio
from aiohttp import ClientResponse

from service.api_keys import Keyring
from service.config.settings import RedisSettings
from service.errors import Overloaded
from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN, Service, Start, problem
from tests.support.servers import RedisServer, binaries


async def one_of_each(service: Service) -> AsyncIterator[ClientResponse]:
    """Yield a response of every kind that a healthy service gives."""
    session_id = await service.create(headers={"Origin": ORIGIN})
    for method, path, headers, data in (
        ("POST", PATH, {}, None),
        ("GET", PATH, {TOKEN: session_id}, None),
        ("HEAD", PATH, {TOKEN: session_id}, None),
        ("GET", PATH, {}, None),
        ("DELETE", PATH, {}, None),
        ("GET", "/nowhere", {}, None),
        ("GET", "/v1/playouts/tracking/session/", {}, None),
        ("OPTIONS", PATH, {}, None),
        ("OPTIONS", "/nowhere", {"Access-Control-Request-Method": "GET"}, None),
        ("PUT", PATH, {}, None),
        ("TRACE", PATH, {}, None),
        ("PROPFIND", PATH, {}, None),
        ("POST", PATH, {"X-API-Key": None}, None),
        ("POST", PATH, {"X-API-Key": "operator-key"}, None),
        ("POST", PATH, {"x-jay-api-version": "1999-01-01"}, None),
        ("POST", PATH, {"Expect": "foo"}, None),
        ("POST", "/nowhere", {"Expect": "foo"}, None),
        ("POST", PATH, {}, b"x"),
        ("POST", PATH, {}, b"x" * 5000),
        ("POST", PATH, {"Content-Type": "application/json"}, b"x"),
        ("POST", PATH, {"Content-Type": "application/json"}, b'{"x":1}'),
    ):
        yield await service.request(method, path, headers={"Origin": ORIGIN, **headers}, data=data)


async def test_fixed_headers_are_on_every_response(service: Service) -> None:
    """Every response has the fixed headers and no server version."""
    ids = set()
    statuses = set()
    async for response in one_of_each(service):
        headers = response.headers
        assert headers["x-jay-api-version"] == "2025-05-19"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Vary"] == "Origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "jay-tracking"
        ids.add(headers["X-Request-Id"])
        statuses.add(response.status)
    assert len(ids) == 21
    assert statuses == {200, 201, 204, 400, 401, 403, 404, 405, 413, 415, 417, 422}


async def test_a_page_of_an_allowed_origin_can_read_every_response(service: Service) -> None:
    """A page of an allowed origin can read every response and its headers."""
    async for response in one_of_each(service):
        headers = response.headers
        assert headers.getall("Access-Control-Allow-Origin") == [ORIGIN], response.status
        assert headers.getall("Access-Control-Allow-Credentials") == ["true"]
        exposed = headers["Access-Control-Expose-Headers"].split(", ")
        assert {TOKEN, "x-jay-api-version", "Retry-After", "X-Request-Id"} <= set(exposed)
        # A page can always read some names in a browser, and the rest never.
        assert {name.lower() for name in headers} - {name.lower() for name in exposed} <= {
            *("cache-control", "content-type", "content-length"),
            *("set-cookie", "date", "connection", "server"),
            *("access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"),
            *("access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"),
        }


async def test_versions(service: Service) -> None:
    """A missing, empty or known version works, and an unknown one is a 400."""
    for version in (None, "", "2025-05-19"):
        response = await service.request("POST", headers={"x-jay-api-version": version})
        assert response.status == 201
    for unknown in ("2026-01-01", "2025-05-19\u00a0"):
        response = await service.request("POST", headers={"x-jay-api-version": unknown})
        await problem(response, 400, "unsupported-version")
    assert "Connection" not in response.headers
    assert (await problem(response, 400, "unsupported-version"))["supported"] == ["2025-05-19"]
    assert response.headers["x-jay-api-version"] == "2025-05-19"


async def test_a_missing_and_an_unknown_key_get_the_same_answer(service: Service) -> None:
    """A missing, an unknown and a query parameter's key get the same 401."""
    bodies = set()
    for key in (None, "", "wrong", KEY.upper(), KEY + "x"):
        response = await service.request("POST", f"{PATH}?X-API-Key={KEY}", headers={"X-API-Key": key})
        document = await problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("ApiKey")
        del document["request_id"]
        bodies.add(str(document))
    assert len(bodies) == 1
    double = await service.raw(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nX-API-Key: {KEY}\r\n\r\n".encode()
    )
    assert double.startswith(b"HTTP/1.1 400 ")


async def test_scopes_and_origins_bind_a_key(service: Service) -> None:
    """A key can do what its scopes allow, for pages of its origins only."""
    await problem(await service.request("GET", headers={"X-API-Key": "operator-key"}), 403, "forbidden")
    bound = {"X-API-Key": "bound-key"}
    assert (await service.request("POST", headers=bound)).status == 201
    assert (await service.request("POST", headers={**bound, "Origin": ORIGIN})).status == 201
    other = await service.request("POST", headers={**bound, "Origin": "https://other.example"})
    await problem(other, 403, "forbidden")


async def test_keys_can_be_replaced_while_running(service: Service) -> None:
    """Replaced keys apply from the next request."""
    service.runner.use_keys(Keyring([]))
    await problem(await service.request("POST"), 401, "unauthorized")


async def test_method_not_allowed_lists_the_methods(service: Service) -> None:
    """A 405 lists the allowed methods on both paths."""
    for path in (PATH, PATH.removeprefix("/v1")):
        response = await service.request("PATCH", path)
        await problem(response, 405, "method-not-allowed")
        assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST"


async def test_health_is_open_and_not_part_of_the_api(service: Service) -> None:
    """Health needs no key and no version, and readiness is 503 while draining."""
    for path, status in (("/livez", "alive"), ("/readyz", "ready")):
        response = await service.request("GET", path, headers={"X-API-Key": None, "x-jay-api-version": "x"})
        assert (response.status, await response.json()) == (200, {"status": status})
        assert "x-jay-api-version" not in response.headers
        assert response.headers["X-Request-Id"]
    service.runner.health.is_draining = True
    response = await service.request("GET", "/readyz")
    assert (response.status, await response.json()) == (503, {"status": "draining"})
    assert (response.headers["Connection"], response.headers["Retry-After"]) == ("close", "1")
    assert (await service.request("GET", "/livez")).status == 200
    assert (await service.request("POST")).status == 201


async def test_readiness_that_finds_no_room_is_503(service: Service) -> None:
    """A check that is rejected as an overload is an answer of readiness, no problem."""

    async def overloaded() -> Sequence[int]:
        raise Overloaded("too many")

    service.runner.health._check_store = overloaded
    response = await service.request("GET", "/readyz")
    assert (response.status, await response.json()) == (503, {"status": "store-unavailable"})
    assert response.headers["Retry-After"] == "1"


async def test_health_and_metrics_are_not_cached(service: Service) -> None:
    """Health and metrics have `no-store` with every status."""
    bearer = {"X-API-Key": None, "Authorization": "Bearer operator-key"}
    seen = set()
    for is_draining in (False, True):
        service.runner.health.is_draining = is_draining
        for method, path, headers in (
            ("GET", "/livez", {}),
            ("HEAD", "/livez", {}),
            ("POST", "/livez", {}),
            ("OPTIONS", "/livez", {}),
            ("GET", "/livez", {"Expect": "foo"}),
            ("GET", "/readyz", {}),
            ("HEAD", "/readyz", {}),
            ("DELETE", "/readyz", {}),
            ("GET", "/metrics", bearer),
            ("HEAD", "/metrics", bearer),
            ("GET", "/metrics", {"X-API-Key": None}),
            ("GET", "/metrics", {}),
            ("GET", "/metrics", {**bearer, "X-API-Key": "operator-key"}),
            ("POST", "/metrics", bearer),
        ):
            response = await service.request(method, path, headers=headers)
            assert response.headers.getall("Cache-Control") == ["no-store"], (method, path, response.status)
            seen.add(response.status)
    assert seen == {200, 204, 400, 401, 403, 405, 417, 503}


async def test_concurrent_readiness_checks_share_one_write(start: Start, tmp_path: Path) -> None:
    """Concurrent readiness checks share one write, and sessions are served."""
    with RedisServer(binaries()["valkey"], tmp_path) as own:
        service = await start(url=own.url)
        asked = [service.request("GET", "/readyz") for _ in range(300)]
        answers = await asyncio.gather(*asked, *(service.request("POST") for _ in range(20)))
        assert {response.status for response in answers} == {200, 201}
        async with redis.asyncio.Redis.from_url(own.url) as raw:
            stats = await raw.info("commandstats")
        assert stats["cmdstat_set"]["calls"] < 20 + 100


async def test_an_outage_is_503_and_changes_no_cookie(start: Start, tmp_path: Path) -> None:
    """An outage is a 503 and never a 404, and the session is there afterwards."""
    with RedisServer(binaries()["valkey"], tmp_path) as own:
        service = await start(url=own.url, redis=RedisSettings())
        session_id = await service.create()
        own.signal(signal.SIGSTOP)
        for method in ("POST", "GET", "HEAD", "DELETE"):
            response = await service.request(method, headers={TOKEN: session_id, "Origin": ORIGIN})
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert "Set-Cookie" not in response.headers
            assert TOKEN not in response.headers
            if method != "HEAD":
                await problem(response, 503, "store-unavailable")
        nothing = await service.request("DELETE", headers={TOKEN: "null"})
        assert nothing.status == 204
        assert "Max-Age=0" in nothing.headers["Set-Cookie"]
        await problem(await service.request("GET"), 404, "session-not-found")
        not_ready = await service.request("GET", "/readyz")
        assert (not_ready.status, not_ready.headers["Retry-After"]) == (503, "1")
        assert (await service.request("GET", "/livez")).status == 200
        own.signal(signal.SIGCONT)
        async with asyncio.timeout(5):
            while (await service.request("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.01)
        assert (await service.request("GET", headers={TOKEN: session_id})).status == 200


@pytest.mark.parametrize(
    ("place", "connection"),
    [("handlers.sessions.candidates", "close"), ("front_door.fast_path.presented_in", "keep-alive")],
)
async def test_a_bug_is_a_500_with_a_fixed_message(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str, connection: str
) -> None:
    """A bug is a 500 whose traceback is only in the log, under its request id."""

    def broken(*_: object) -> None:
        raise KeyError("canary")

    monkeypatch.setattr(f"service.api.{place}", broken)
    response = await service.request("GET", headers={"Origin": ORIGIN, "Connection": connection})
    document = await problem(response, 500, "internal-error")
    assert "canary" not in str(document)
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    (record,) = [record for record in caplog.records if record.exc_info]
    assert str(document["request_id"]) in record.getMessage()


async def test_no_secret_is_in_the_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Keys, session ids and user ids are not in the log."""
    session_id = await service.create(json={"user_id": "canary-user"})
    canary = "canary-secret"
    for method, path, headers, data in (
        ("GET", f"{PATH}?id={session_id}&k={canary}", {TOKEN: session_id}, None),
        ("GET", f"/users/{canary}", {"X-Request-Id": canary}, None),
        ("GET", PATH, {"X-API-Key": canary, "Cookie": f"{TOKEN}={canary}"}, None),
        ("POST", PATH, {"Content-Type": "application/json"}, b'{"canary secret": 1}'),
        ("OPTIONS", PATH, {"Origin": f"https://{canary}.example", "Access-Control-Request-Method": "GET"}, None),
    ):
        response = await service.request(method, path, headers=headers, data=data)
        if response.status >= 400:
            assert b"canary" not in await response.read()
        assert canary not in str(response.headers)
    lines = service.log_lines()
    assert len(lines) == 6
    text = str(lines) + caplog.text
    for secret in (session_id, "canary", KEY):
        assert secret not in text
    assert {line["route"] for line in lines} == {PATH, "-"}
    assert {line["key"] for line in lines} == {"demo", "-"}


async def test_the_log_names_a_known_key_that_is_rejected(service: Service) -> None:
    """The line of a 403 names the key, so an operator knows whose scopes to check."""
    for headers in ({"X-API-Key": "operator-key"}, {"X-API-Key": "bound-key", "Origin": "https://evil.example"}):
        await problem(await service.request("GET", headers=headers), 403, "forbidden")
    await problem(await service.request("GET", headers={"X-API-Key": "unknown-key"}), 401, "unauthorized")
    named = [(line["status"], line["key"]) for line in service.log_lines()]
    assert named == [(403, "operator"), (403, "bound"), (401, "-")]
