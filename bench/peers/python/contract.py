"""The part of the contract that the Python servers share."""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp_cors
import redis.asyncio
import uvloop
from aiohttp import web

TOKEN = "__Secure-jay_tracking"
PATH = "/v1/playouts/tracking/session"
SOURCE = "jay.api.playout.1.0.0"
DAY_SECONDS = 86400
API_KEY = os.environ["API_KEY"]
ORIGIN = os.environ["ORIGIN"]
PORT = int(os.environ["PORT"])
REDIS_PORT = int(os.environ["REDIS_PORT"])
ALLOWED = ("content-type", "x-api-key", "x-jay-api-version", TOKEN, "x-jay-tracking")
EXPOSED = (TOKEN, "x-jay-api-version", "Retry-After", "X-Request-Id")
HEADERS = {
    "x-jay-api-version": "2025-05-19",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
REDIS = web.AppKey("redis", redis.asyncio.Redis)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_record(body: Any) -> dict[str, str]:
    """Return the fields of a new session, with the user of the request's JSON."""
    started = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    record = {"start_time": started, "source": SOURCE}
    if body.get("user_id"):
        record["user_id"] = body["user_id"]
    return record


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check the API key and add the headers of every response."""
    response: web.StreamResponse
    if request.method != "OPTIONS" and request.headers.get("X-API-Key") != API_KEY:
        response = web.json_response({"error": "unauthorized"}, status=401)
    else:
        response = await handler(request)
    response.headers.update(HEADERS)
    return response


def new_application(**handlers: Handler) -> web.Application:
    """Return an application with Redis, CORS and a handler for each method."""
    app = web.Application(middlewares=[guard])
    app[REDIS] = redis.asyncio.Redis(host="127.0.0.1", port=REDIS_PORT, max_connections=1000)
    options = aiohttp_cors.ResourceOptions(
        allow_credentials=True, expose_headers=EXPOSED, allow_headers=ALLOWED, max_age=600
    )
    cors = aiohttp_cors.setup(app, defaults={ORIGIN: options})
    resource = cors.add(app.router.add_resource(PATH))
    for method, handler in handlers.items():
        cors.add(resource.add_route(method, handler))
    return app


def serve(app: web.Application) -> None:
    """Serve on PORT until killed, with uvloop and without an access log."""
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None, loop=loop)
