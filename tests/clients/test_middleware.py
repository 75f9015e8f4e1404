"""The middleware of three frameworks, with the same visitors."""

import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from aiohttp import web
from jay_tracking_client import aio, sync
from jay_tracking_client.errors import Unauthorized, Unready
from jay_tracking_client.logs import SessionRefFilter, add_session_ref, logged_session, session_ref
from jay_tracking_client.middleware import asgi, wsgi
from jay_tracking_client.middleware.aiohttp import JAY_SESSION, session_middleware
from jay_tracking_client.middleware.guard import Guard
from jay_tracking_client.options import Options
from jay_tracking_client.sessions import Session
from jay_tracking_client.testing.fake_service import FakeTrackingService
from pytest_aiohttp import AiohttpClient

Headers = list[tuple[str, str]]


class Site:
    """An application behind the middleware.

    `visit` returns the status, the headers and the body. The application's body is the
    id of the session that it got.
    """

    def __init__(self, fake: FakeTrackingService, guard: Guard, options: Options) -> None:
        self.fake, self.guard, self.options = fake, guard, options
        self.logged: list[str | None] = []

    def see(self, session: Session | None) -> bytes:
        self.logged.append(session_ref())
        return session.id.encode() if session else b"none"


class AiohttpSite(Site):
    async def start(self, aiohttp_client: AiohttpClient) -> None:
        self.client = aio.TrackingClient(self.fake.url, self.fake.api_key, self.options)
        app = web.Application(middlewares=[session_middleware(self.client, self.guard)])

        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=self.see(request[JAY_SESSION]))

        app.router.add_get("/", handler)
        self.http = await aiohttp_client(app)

    async def visit(self, headers: Headers) -> tuple[int, dict[str, str], bytes]:
        async with self.http.get("/", headers=headers) as response:
            return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()

    async def close(self) -> None:
        await self.client.close()


class AsgiSite(Site):
    async def start(self, _: AiohttpClient) -> None:
        self.client = aio.TrackingClient(self.fake.url, self.fake.api_key, self.options)

        async def app(scope: asgi.Scope, _receive: asgi.Receive, send: asgi.Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self.see(scope["state"]["jay_session"])})

        self.app = asgi.SessionMiddleware(app, self.client, self.guard)

    async def visit(self, headers: Headers) -> tuple[int, dict[str, str], bytes]:
        sent = await self.messages(
            {"type": "http", "headers": [(k.lower().encode(), v.encode()) for k, v in headers]}
        )
        start = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], start, sent[1]["body"]

    async def messages(self, scope: asgi.Scope) -> list[asgi.Message]:
        sent: list[asgi.Message] = []

        async def receive() -> asgi.Message:
            return {"type": "http.request"}

        async def send(message: asgi.Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent

    async def close(self) -> None:
        await self.client.close()


class WsgiSite(Site):
    async def start(self, _: AiohttpClient) -> None:
        self.client = sync.TrackingClient(self.fake.url, self.fake.api_key, self.options)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response("200 OK", [])
            return [self.see(environ["jay_session"])]

        self.app = wsgi.SessionMiddleware(app, self.client, self.guard)

    async def visit(self, headers: Headers) -> tuple[int, dict[str, str], bytes]:
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        for name, value in headers:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        started: list[Any] = []

        def start_response(status: str, answered: Headers, _error: object = None) -> Any:
            started.extend((int(status.split(maxsplit=1)[0]), {k.lower(): v for k, v in answered}))

        body = b"".join(self.app(environ, start_response))
        return started[0], started[1], body

    async def close(self) -> None:
        self.client.close()


Start = Callable[..., Any]


@pytest.fixture(params=[AiohttpSite, AsgiSite, WsgiSite])
async def start(
    request: pytest.FixtureRequest, fake: FakeTrackingService, aiohttp_client: AiohttpClient
) -> AsyncIterator[Start]:
    """Start an application with the middleware's options."""
    sites = []

    async def started(guard: Guard | None = None, **options: Any) -> Any:
        site = request.param(fake, guard or Guard(), Options(attempts=1, **options))
        await site.start(aiohttp_client)
        sites.append(site)
        return site

    yield started
    for site in sites:
        await site.close()


PLACES = [
    ("Cookie", "other=1; __Secure-jay_tracking={}"),
    ("__Secure-jay_tracking", "{}"),
    ("X-Jay-Tracking", "{}"),
    ("X-Jay-Tracking", "null, {}"),
]


@pytest.mark.parametrize(("name", "value"), PLACES)
async def test_the_application_gets_the_live_session(
    start: Start, fake: FakeTrackingService, name: str, value: str
) -> None:
    """The id is read from the cookie, the header and its alias."""
    site, session = await start(), fake.create_session()
    status, _, body = await site.visit([(name, value.format(session.id))])
    assert (status, body) == (200, session.id.encode())
    assert site.logged == [session.ref]
    assert session_ref() is None


async def test_a_dead_cookie_does_not_hide_a_live_header(start: Start, fake: FakeTrackingService) -> None:
    """The first live session of all candidates is the visitor's, with one request."""
    site, session = await start(), fake.create_session()
    headers = [("Cookie", f"__Secure-jay_tracking={uuid.uuid4()}"), ("X-Jay-Tracking", session.id)]
    assert (await site.visit(headers))[2] == session.id.encode()
    assert len(fake.requests) == 1


async def test_a_visitor_without_a_session_passes(start: Start, fake: FakeTrackingService) -> None:
    """The application gets None by default. Without an id, nobody asks the service."""
    site = await start()
    assert (await site.visit([]))[::2] == (200, b"none")
    assert fake.requests == []
    assert (await site.visit([("X-Jay-Tracking", str(uuid.uuid4()))]))[::2] == (200, b"none")
    assert site.logged == [None, None]


async def test_a_required_session_refuses_others(start: Start, fake: FakeTrackingService) -> None:
    """With `require_session`, a visitor without a live session gets 401."""
    site, session = await start(Guard(require_session=True)), fake.create_session()
    assert (await site.visit([("X-Jay-Tracking", session.id)]))[0] == 200
    fake.end_session(session.id)
    status, headers, body = await site.visit([("X-Jay-Tracking", session.id)])
    assert (status, headers["content-type"]) == (401, "application/problem+json")
    assert json.loads(body)["type"] == "urn:jay:problem:session-required"
    assert session.id not in body.decode()
    assert len(site.logged) == 1


async def test_an_outage_passes_or_refuses(start: Start, fake: FakeTrackingService) -> None:
    """While the service is away, the guard is open by default, and closed by option."""
    visitor = [("X-Jay-Tracking", fake.create_session().id)]
    fake.fail_next()
    assert (await (await start(Guard(require_session=True))).visit(visitor))[::2] == (200, b"none")
    closed = await start(Guard(when_away="closed"))
    for retry_after, seconds in ((7, "7"), (None, "1")):
        fake.fail_next(retry_after_seconds=retry_after)
        status, headers, body = await closed.visit(visitor)
        assert (status, headers["retry-after"]) == (503, seconds)
        assert json.loads(body)["type"] == "urn:jay:problem:store-unavailable"
    assert (await closed.visit(visitor))[0] == 200


async def test_a_wrong_key_is_not_an_outage(start: Start, fake: FakeTrackingService) -> None:
    """An error of the configuration fails the request, so that someone sees it."""
    site = await start()
    fake.api_key = "another-key"
    visitor = [("X-Jay-Tracking", str(uuid.uuid4()))]
    if isinstance(site, AiohttpSite):
        assert (await site.visit(visitor))[0] == 500
    else:
        with pytest.raises(Unauthorized):
            await site.visit(visitor)


async def test_a_remembered_session_adds_at_most_a_millisecond(start: Start, fake: FakeTrackingService) -> None:
    """With the cache, a visit with a session takes at most 1 ms more CPU time."""
    site, session = await start(cache_seconds=60.0), fake.create_session()
    visitor = [("Cookie", f"__Secure-jay_tracking={session.id}")]
    await site.visit(visitor)

    async def seconds_of(headers: Headers) -> float:
        begin = time.process_time()
        for _ in range(100):
            await site.visit(headers)
        return (time.process_time() - begin) / 100

    added = [await seconds_of(visitor) - await seconds_of([]) for _ in range(3)]
    assert min(added) < 0.001
    assert len(fake.requests) == 1


async def test_asgi_websockets_are_guarded_and_lifespans_pass(
    fake: FakeTrackingService, aiohttp_client: AiohttpClient
) -> None:
    """A refused WebSocket is closed, and a lifespan reaches the application."""
    site = AsgiSite(fake, Guard(require_session=True), Options())
    await site.start(aiohttp_client)
    assert await site.messages({"type": "websocket", "headers": []}) == [{"type": "websocket.close", "code": 1008}]
    await site.close()

    async def app(scope: asgi.Scope, _receive: asgi.Receive, send: asgi.Send) -> None:
        await send(scope)

    site.app = asgi.SessionMiddleware(app, site.client)
    assert await site.messages({"type": "lifespan"}) == [{"type": "lifespan"}]


async def test_log_records_have_the_ref(fake: FakeTrackingService) -> None:
    """The filter and the structlog processor add the ref during a visit only."""
    records: list[str] = []
    events: list[dict[str, Any]] = []

    class LoggingSite(AsgiSite):
        def see(self, session: Session | None) -> bytes:
            assert session is None or session.ref == session_ref()
            record = logging.makeLogRecord({"msg": "hello"})
            assert SessionRefFilter().filter(record)
            records.append(logging.Formatter("%(session_ref)s %(message)s").format(record))
            events.append(dict(add_session_ref(None, "info", {"event": "hello"})))
            return b""

    site, session = LoggingSite(fake, Guard(), Options()), fake.create_session()
    await site.start(None)  # type: ignore[arg-type] # only the site of aiohttp uses it
    await site.visit([("X-Jay-Tracking", session.id)])
    await site.visit([])
    await site.close()
    assert records == [f"{session.ref} hello", "- hello"]
    assert events == [{"event": "hello", "session_ref": session.ref}, {"event": "hello"}]


def test_no_cache_keeps_a_refusal() -> None:
    """A refusal is for one visitor at one moment."""
    guard = Guard(require_session=True, when_away="closed")
    for refusal in (guard.check_session(None), guard.check_outage(Unready("503"))):
        assert refusal is not None
        assert refusal.headers["Cache-Control"] == "no-store"


def test_an_error_of_the_application_ends_the_ref_too() -> None:
    """After an error, log records of the same thread have no ref of its visitor."""
    start = datetime.now(UTC)
    session = Session("a", start, "s", start, ref="5e" * 16)

    def fail() -> None:
        with logged_session(session):
            assert session_ref() == session.ref
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert session_ref() is None
