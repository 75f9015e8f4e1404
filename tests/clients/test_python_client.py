"""The Python client against a live service: lookups, middleware, logs."""

import asyncio
import http.client
import json
import logging
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from jay_tracking_client.aiohttp_app import VISIT, session_middleware
from jay_tracking_client.asgi import SessionMiddleware
from jay_tracking_client.candidates import HEADERS, candidates
from jay_tracking_client.logs import SessionRefFilter, add_session_ref, current_ref
from jay_tracking_client.lookup import SessionLookup
from jay_tracking_client.sessions import RequestRejected, ServiceUnavailable, Session
from pytest_aiohttp.plugin import AiohttpClient

from service.api.session_token import candidates_in
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.digests import SessionRefs
from tests.support.processes import KEY, TOKEN, Launch, Process

OPERATOR_KEY = "demo-operator-key"
PATH = "/v1/playouts/tracking/session"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
ref_of = SessionRefs(DEVELOPMENT_USER_SECRET)


def create(jay: Process, user_id: str | None = None) -> str:
    """Create a session and return its id."""
    return _send(jay, "POST", {}, None if user_id is None else json.dumps({"user_id": user_id}))


def end(jay: Process, session_id: str) -> None:
    """End a session."""
    _send(jay, "DELETE", {TOKEN: session_id}, None)


def _send(jay: Process, method: str, headers: dict[str, str], body: str | None) -> str:
    connection = http.client.HTTPConnection(urlsplit(jay.url).netloc, timeout=10)
    connection.request(method, PATH, body, {"X-API-Key": KEY, "Content-Type": "application/json", **headers})
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status in {201, 204}
    return response.headers.get(TOKEN, "")


def questions(jay: Process) -> int:
    """Return the number of lookups in the service's log."""
    return sum("/sessions/lookup" in line for line in jay.log)


@pytest.fixture
def jay(launch: Launch) -> Process:
    """Run the service."""
    return launch(JAY_REDIS__TIMEOUT_SECONDS="10")


@pytest.fixture
async def lookup(jay: Process) -> AsyncIterator[SessionLookup]:
    """Return a lookup without a cache."""
    async with SessionLookup(jay.url, OPERATOR_KEY, timeout_seconds=30) as made:
        yield made


@pytest.fixture
async def away(unused_tcp_port: int) -> AsyncIterator[SessionLookup]:
    """Return a lookup whose service does not answer."""
    async with SessionLookup(f"http://127.0.0.1:{unused_tcp_port}", OPERATOR_KEY) as made:
        yield made


async def test_a_live_session_is_found_with_its_fields(jay: Process, lookup: SessionLookup) -> None:
    """The session has all fields. Its repr shows no id."""
    session_id = create(jay, "user-1")
    found = await lookup.find([UNKNOWN_ID, session_id])
    assert found is not None
    assert (found.session_id, found.user_id, found.ref) == (session_id, "user-1", ref_of(session_id))
    assert found.source == "jay.api.playout.1.0.0"
    assert (found.expires_at - found.start_time).total_seconds() == pytest.approx(86400, abs=1)
    assert session_id not in repr(found)
    assert "user-1" not in repr(found)
    end(jay, session_id)
    assert await lookup.find([session_id]) is None


async def test_ten_thousand_validations_need_few_requests(jay: Process, lookup: SessionLookup) -> None:
    """10,000 validations that arrive together cause at most 25 requests."""
    live = [create(jay) for _ in range(50)]
    ids = [live[n // 200] if n % 200 == 0 else f"{n:08x}-0000-4000-8000-000000000000" for n in range(10_000)]
    found = await asyncio.gather(*(lookup.find([session_id]) for session_id in ids))
    assert [session.session_id for session in found if session] == live
    jay.stop()
    assert 10 <= questions(jay) <= 25


async def test_the_cache_is_bounded_by_time_expiry_and_size(jay: Process) -> None:
    """A session is asked for again after a time, after its expiry and when full."""
    first, second = create(jay), create(jay)
    now = [0.0]
    async with SessionLookup(
        jay.url, OPERATOR_KEY, timeout_seconds=30, cache_seconds=5, cache_size=1, clock=lambda: now[0]
    ) as lookup:
        session = await lookup.find([first])
        assert session is not None
        end(jay, first)
        now[0] = 4.9
        assert await lookup.find([first]) == session
        now[0] = 5.1
        assert await lookup.find([first]) is None
        now[0] = 0
        third = create(jay)
        assert await lookup.find([second])
        assert await lookup.find([third])  # takes the place of the second
        end(jay, second)
        assert await lookup.find([second]) is None
        assert await lookup.find([third])
        end(jay, third)
        now[0] = session.expires_at.timestamp() + 10
        assert await lookup.find([third]) is None


async def test_errors_say_what_to_do(jay: Process, away: SessionLookup) -> None:
    """A wrong key, scope or URL is rejected, and an outage is unavailable."""
    for key, url, words in (
        ("wrong", jay.url, "check the API key"),
        (KEY, jay.url, "scope validate"),
        (OPERATOR_KEY, f"{jay.url}/nowhere", "check the URL"),
    ):
        async with SessionLookup(url, key, timeout_seconds=30) as lookup:
            with pytest.raises(RequestRejected, match=words):
                await lookup.find([UNKNOWN_ID])
    with pytest.raises(ServiceUnavailable):
        await away.find([UNKNOWN_ID])
    assert (await away.visit([UNKNOWN_ID])).state == "unknown"


async def test_a_cancelled_caller_does_not_disturb_others(jay: Process, lookup: SessionLookup) -> None:
    """Callers that wait for the same id do not share a cancellation."""
    session_id = create(jay)
    callers = [asyncio.ensure_future(lookup.find([session_id])) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, Session) for one in found[1:])


_PARTS = st.sampled_from(
    [f"{TOKEN}=", UNKNOWN_ID, UNKNOWN_ID.upper().replace("0000-4", "ABCD-4"), "; ", ", ", "=", '"', "x", " ", "null"]
)
_LINES = st.lists(st.lists(_PARTS, max_size=8).map("".join), max_size=3)


@given(cookies=_LINES, values=_LINES)
def test_candidates_are_those_of_the_service(cookies: list[str], values: list[str]) -> None:
    """The client finds the same ids as the service, in the same order."""
    assert tuple(candidates(cookies, values)) == candidates_in(cookies, values)


async def show(request: web.Request) -> web.Response:
    """Answer with the visit, and log a line."""
    logging.getLogger("shop").info("sold")
    return web.json_response({"state": request[VISIT].state, "ref": request[VISIT].ref, "current": current_ref()})


def application(lookup: SessionLookup, **options: bool) -> web.Application:
    """Return an application with the middleware."""
    app = web.Application(middlewares=[session_middleware(lookup, **options)])
    app.router.add_get("/", show)
    return app


async def test_the_aiohttp_middleware_passes_the_visit(
    jay: Process, lookup: SessionLookup, aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Handlers and log records get the session by cookie, header and alias."""
    client = await aiohttp_client(application(lookup))
    caplog.set_level(logging.INFO, "shop")
    caplog.handler.addFilter(session_filter := SessionRefFilter())
    session_id = create(jay)
    ref = ref_of(session_id)
    for headers in ({"Cookie": f"a=b; {TOKEN}={session_id}"}, {TOKEN: session_id}, {"X-Jay-Tracking": session_id}):
        answer = await (await client.get("/", headers=headers)).json()
        assert answer == {"state": "live", "ref": ref, "current": ref}
    for headers in ({}, {TOKEN: UNKNOWN_ID}, {TOKEN: ref}):
        assert await (await client.get("/", headers=headers)).json() == {
            "state": "none",
            "ref": None,
            "current": None,
        }
    caplog.handler.removeFilter(session_filter)
    assert [vars(record)["session_ref"] for record in caplog.records if record.name == "shop"] == [ref] * 3 + [
        "-"
    ] * 3
    assert current_ref() is None


async def test_the_middleware_rejects_by_option(
    jay: Process, lookup: SessionLookup, away: SessionLookup, aiohttp_client: AiohttpClient
) -> None:
    """A session may be required, and an outage fails open or closed."""
    client = await aiohttp_client(application(lookup, requires_session=True))
    assert (await client.get("/", headers={TOKEN: create(jay)})).status == 200
    rejected = await client.get("/")
    assert (rejected.status, rejected.content_type) == (401, "application/problem+json")
    assert (await rejected.json())["type"] == "urn:jay:problem:session-required"
    client = await aiohttp_client(application(away, requires_session=True))
    answer = await (await client.get("/", headers={TOKEN: UNKNOWN_ID})).json()
    assert answer["state"] == "unknown"
    client = await aiohttp_client(application(away, fails_closed=True))
    rejected = await client.get("/", headers={TOKEN: UNKNOWN_ID})
    assert (rejected.status, rejected.headers["Retry-After"]) == (503, "1")
    assert (await client.get("/")).status == 200


async def call_asgi(
    app: SessionMiddleware, kind: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> list[dict[str, Any]]:
    """Send a request to an ASGI application, and return its messages."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app({"type": kind, "headers": list(headers)}, receive, send)
    return sent


async def test_the_asgi_middleware_passes_the_visit(jay: Process, lookup: SessionLookup, away: SessionLookup) -> None:
    """Requests, WebSockets and other scopes reach the application or are rejected."""
    seen: list[tuple[Any, str | None]] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        seen.append((scope.get("state", {}).get("jay_visit"), current_ref()))

    session_id = create(jay)
    headers = [(b"cookie", b"a=b"), (HEADERS[1].encode(), session_id.encode())]
    for kind in ("http", "websocket"):
        assert await call_asgi(SessionMiddleware(app, lookup, requires_session=True), kind, headers) == []
        visit, ref = seen.pop()
        assert (visit.state, visit.session.session_id, ref) == ("live", session_id, ref_of(session_id))
    await call_asgi(SessionMiddleware(app, lookup), "lifespan")
    assert seen.pop() == (None, None)
    start, body = await call_asgi(SessionMiddleware(app, lookup, requires_session=True), "http")
    assert (start["status"], json.loads(body["body"])["status"]) == (401, 401)
    [closed] = await call_asgi(SessionMiddleware(app, away, fails_closed=True), "websocket", headers)
    assert closed == {"type": "websocket.close", "code": 1008, "reason": "store-unavailable"}
    start, _ = await call_asgi(SessionMiddleware(app, away, fails_closed=True), "http", headers)
    assert (start["status"], (b"retry-after", b"1") in start["headers"]) == (503, True)
    assert seen == []


async def test_structlog_events_get_the_ref(
    jay: Process, lookup: SessionLookup, aiohttp_client: AiohttpClient
) -> None:
    """The processor adds the ref within a request, and nothing outside."""
    events = []

    async def handler(_: web.Request) -> web.Response:
        events.append(add_session_ref(None, "info", {"event": "sold"}))
        return web.Response()

    app = web.Application(middlewares=[session_middleware(lookup)])
    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    session_id = create(jay)
    await client.get("/", headers={TOKEN: session_id})
    await client.get("/")
    assert events == [{"event": "sold", "session_ref": ref_of(session_id)}, {"event": "sold"}]


async def test_the_example_of_the_readme_works(jay: Process, project: Path, aiohttp_client: AiohttpClient) -> None:
    """The aiohttp example of the README runs as it is."""
    page = (project / "clients" / "python" / "README.md").read_text("utf-8")
    example: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], example)  # noqa: S102 - the page's own code
    client = await aiohttp_client(await example["make_app"](jay.url, OPERATOR_KEY))
    session_id = create(jay)
    answer = await (await client.get("/movies", headers={TOKEN: session_id})).json()
    assert answer == {"session": "live", "ref": ref_of(session_id)}


def test_the_wheel_has_the_package_only(project: Path, tmp_path: Path) -> None:
    """The wheel installs one package, with its types and without the service."""
    build = "import sys; from flit_core import buildapi; buildapi.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=project / "clients" / "python", check=True)
    [wheel] = tmp_path.glob("jay_tracking_client-*.whl")
    with zipfile.ZipFile(wheel) as content:
        folders = {name.partition("/")[0] for name in content.namelist()}
        assert "jay_tracking_client/py.typed" in content.namelist()
    assert folders == {"jay_tracking_client", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
