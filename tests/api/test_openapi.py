"""The API reference compared with the service: its routes and real responses."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from service.api import json_body
from service.api.wire import STATIC_PATH
from service.api_keys import ApiKey, Keyring, Reveal, Scope, hash_key
from service.config.settings import RedisSettings
from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN, Service, Start
from tests.support.openapi import Reference
from tests.support.servers import RedisServer, binaries

OPERATOR = "/v1/playouts/tracking"
JSON = {"Content-Type": "application/json"}

# Headers that are not documented for each response: those of HTTP, and the server's
# name.
COMMON_HEADERS = {"content-type", "content-length", "connection", "date", "server"}


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Return the document."""
    return Reference()


@pytest.fixture
async def service(start: Start) -> Service:
    """Return a service whose demo key has every scope."""
    return await start(api_keys=(ApiKey("all", hash_key(KEY), frozenset(Scope), reveal=frozenset(Reveal)),))


async def errors(reference: Reference, response: ClientResponse) -> list[str]:
    """Return the parts of a response that differ from the document."""
    item = reference.document["paths"][reference.path_of(response.url.raw_path)]
    # A 405 is documented at each method that the path has.
    operation = item.get(response.method.lower()) or next(one for one in item.values() if "responses" in one)
    if str(response.status) not in operation["responses"]:
        return [f"the status {response.status}"]
    documented = reference.resolved(operation["responses"][str(response.status)])
    headers = {name.lower(): reference.resolved(header) for name, header in documented.get("headers", {}).items()}
    known = {*headers, *COMMON_HEADERS}
    found = [f"{name} is not documented" for name in response.headers if name.lower() not in known]
    for name, header in headers.items():
        if name in response.headers:
            text = response.headers[name]
            value = int(text) if reference.resolved(header["schema"])["type"] == "integer" else text
            found += [f"{name}: {error}" for error in reference.errors(value, header["schema"])]
        elif header.get("required"):
            found.append(f"{name} is missing")
    content, body = documented.get("content", {}), await response.read()
    media_types = {name.partition(";")[0]: media_type for name, media_type in content.items()}
    if not content or response.method == "HEAD":
        return [*found, "a body"] if body else found
    if response.content_type not in media_types:
        return [*found, f"the type {response.content_type}"]
    schema = media_types[response.content_type]["schema"]
    value = json.loads(body) if response.content_type.endswith("json") else body.decode()
    return found + reference.errors(value, schema)


async def test_the_routes_are_the_documented_ones(service: Service, reference: Reference) -> None:
    """The routes are the documented ones, except preflights and static files.

    GET and HEAD are documented for routes of every method.
    """
    served = {
        (method, route.resource.canonical)
        for route in service.runner.app.router.routes()
        if route.resource is not None and route.method != "OPTIONS"
        for method in (("GET", "HEAD") if route.method == "*" else (route.method,))
    }
    served = {(method, path) for method, path in served if not path.startswith(STATIC_PATH)}
    assert reference.operations().keys() == served


async def test_keys_are_needed_where_the_document_says_so(service: Service, reference: Reference) -> None:
    """Without a key a documented route is a 401, and without the scope a 403."""
    service.runner.use_keys(Keyring([ApiKey("none", hash_key(KEY), frozenset())]))
    for (method, path), operation in reference.operations().items():
        real = path.replace("{user_id}", "u").replace("{path}", "p")
        without = await service.request(method, real, headers={"X-API-Key": None})
        powerless = await service.request(method, real)
        if operation.get("security", True):
            assert (without.status, powerless.status) == (401, 403)
            assert "401" in operation["responses"]
            assert "403" in operation["responses"]
        else:
            assert (without.status, powerless.status) == (200, 200)
        assert await errors(reference, without) + await errors(reference, powerless) == []


async def usual_responses(service: Service) -> AsyncIterator[ClientResponse]:
    """Yield a response of every kind that a healthy service gives."""
    session_id = await service.create(json={"user_id": "u 1"})
    etag = (await service.request("GET", "/docs")).headers["ETag"]
    for method, path, headers, data in (
        ("POST", PATH, {}, None),
        ("POST", PATH, JSON, b'{"userId": "u 1"}'),
        ("GET", PATH, {TOKEN: session_id}, None),
        ("HEAD", PATH, {"Cookie": f"{TOKEN}={session_id}"}, None),
        ("GET", PATH, {}, None),
        ("HEAD", PATH, {}, None),
        ("PUT", PATH, {}, None),
        ("POST", PATH, JSON, b"x"),
        ("POST", PATH, {"x-jay-api-version": "1999-01-01"}, None),
        ("POST", PATH, {}, b" " * 5000),
        ("POST", f"{PATH}?{'x' * 5000}", {}, None),
        ("POST", PATH, {}, b"x"),
        ("POST", PATH, {"Expect": "foo"}, None),
        ("POST", PATH, JSON, b'{"user_id": 1}'),
        ("POST", PATH, {"a" * 9000: "b"}, None),
        ("POST", f"{OPERATOR}/sessions/lookup", JSON, json.dumps({"session_ids": [session_id, "x"]}).encode()),
        ("POST", f"{OPERATOR}/sessions/lookup", JSON, b"{}"),
        ("GET", f"{OPERATOR}/forward-auth", {TOKEN: session_id, "baggage": "a=1"}, None),
        ("HEAD", f"{OPERATOR}/forward-auth/x", {TOKEN: session_id}, None),
        ("GET", f"{OPERATOR}/forward-auth", {}, None),
        ("GET", f"{OPERATOR}/forward-auth?require=live", {"baggage": "session.id=x"}, None),
        ("GET", f"{OPERATOR}/analytics/sessions", {}, None),
        ("GET", f"{OPERATOR}/analytics/sessions?interval=day", {}, None),
        ("HEAD", f"{OPERATOR}/analytics/sessions", {}, None),
        ("GET", f"{OPERATOR}/analytics/sessions?from=2020-01-01", {}, None),
        ("GET", f"{OPERATOR}/analytics/users?limit=3", {}, None),
        ("GET", f"{OPERATOR}/analytics/users/u%201", {}, None),
        ("GET", f"{OPERATOR}/analytics/store", {}, None),
        ("GET", f"{OPERATOR}/privacy", {"X-API-Key": None}, None),
        ("GET", f"{OPERATOR}/privacy", {"x-jay-api-version": "1999-01-01"}, None),
        ("GET", f"{OPERATOR}/users/u%201/sessions", {}, None),
        ("DELETE", f"{OPERATOR}/users/u%201", {}, None),
        ("POST", f"{OPERATOR}/users/u%201", {}, None),
        ("DELETE", PATH, {TOKEN: session_id}, None),
        ("GET", "/livez", {}, None),
        ("GET", "/readyz", {}, None),
        ("POST", "/livez", {}, None),
        ("GET", "/metrics", {"X-API-Key": None, "Authorization": f"Bearer {KEY}"}, None),
        ("GET", "/metrics", {"Authorization": f"Bearer {KEY}"}, None),
        ("GET", "/openapi.json", {"X-API-Key": None}, None),
        ("GET", "/docs", {}, None),
        ("GET", "/docs", {"If-None-Match": etag}, None),
        ("GET", "/dashboard", {}, None),
        ("GET", "/privacy", {}, None),
        ("GET", "/.well-known/gpc.json", {}, None),
    ):
        yield await service.request(method, path, headers=headers, data=data, skip_auto_headers=["Content-Type"])


async def test_usual_responses_are_as_documented(service: Service, reference: Reference) -> None:
    """Status, headers and body of usual responses match the document."""
    seen = set()
    async for response in usual_responses(service):
        assert await errors(reference, response) == [], (response.method, response.url, await response.text())
        seen.add(response.status)
    assert seen == {200, 201, 204, 304, 400, 401, 404, 405, 413, 414, 415, 417, 422, 431}


async def test_responses_to_pages_are_as_documented(service: Service, reference: Reference) -> None:
    """Responses to pages match the document, with the headers of CORS."""
    for method, path in (("POST", PATH), ("GET", PATH), ("DELETE", PATH), ("GET", f"{OPERATOR}/analytics/users")):
        response = await service.request(method, path, headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert await errors(reference, response) == []


async def test_unusual_responses_are_as_documented(
    start: Start, tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Responses to slow bodies, outages, draining and bugs match the document."""
    answered = asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        yield b"{"
        await answered.wait()

    monkeypatch.setattr(json_body, "DEADLINE_SECONDS", 0.05)
    with RedisServer(binaries()["valkey"], tmp_path) as own:
        service = await start(url=own.url, redis=RedisSettings())
        session_id = await service.create()
        slow = await service.request("POST", data=slow_body())
        answered.set()
        own.signal(signal.SIGSTOP)
        outage = [
            await service.request(one, headers={TOKEN: session_id}) for one in ("POST", "GET", "HEAD", "DELETE")
        ]
        unready = await service.request("GET", "/readyz")
        own.signal(signal.SIGCONT)
    service.runner.health.is_draining = True
    draining = await service.request("GET", "/readyz")
    monkeypatch.setattr("service.api.handlers.sessions.candidates", None)
    bug = await service.request("GET")
    responses = [slow, *outage, unready, draining, bug]
    assert [response.status for response in responses] == [408, 503, 503, 503, 503, 503, 503, 500]
    for response in responses:
        assert await errors(reference, response) == []
