"""Middleware for aiohttp servers.

app = web.Application(middlewares=[session_middleware(client)])
session = request[JAY_SESSION]
"""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from jay_tracking_client.aio import TrackingClient
from jay_tracking_client.candidates import candidates
from jay_tracking_client.errors import ServiceUnavailable
from jay_tracking_client.logs import logged_session
from jay_tracking_client.messages import SESSION_COOKIE, SESSION_HEADER
from jay_tracking_client.middleware.guard import Guard, Refusal
from jay_tracking_client.sessions import Session

JAY_SESSION: web.RequestKey[Session | None] = web.RequestKey("jay_session", Session)


def session_middleware(client: TrackingClient, guard: Guard | None = None) -> Middleware:
    """Return a middleware that sets `request[JAY_SESSION]`."""
    policy = guard or Guard()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            session = await client.find_first(_presented(request))
            refusal = policy.check_session(session)
        except ServiceUnavailable as error:
            session, refusal = None, policy.check_outage(error)
        if refusal is not None:
            return _response(refusal)
        request[JAY_SESSION] = session
        with logged_session(session):
            return await handler(request)

    return middleware


def _presented(request: web.Request) -> list[str]:
    names = (hdrs.COOKIE, SESSION_COOKIE, SESSION_HEADER)
    return candidates(*(request.headers.getall(name, ()) for name in names))


def _response(refusal: Refusal) -> web.Response:
    return web.Response(status=refusal.status, body=refusal.body, headers=refusal.headers)
