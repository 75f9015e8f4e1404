"""Middleware for aiohttp: the visit of each request is `request[VISIT]`."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from jay_tracking_client.answers import Policy
from jay_tracking_client.candidates import HEADERS, candidates
from jay_tracking_client.logs import ref_of
from jay_tracking_client.lookup import SessionLookup
from jay_tracking_client.sessions import Visit

VISIT = web.RequestKey("jay_visit", Visit)


def session_middleware(
    lookup: SessionLookup, *, requires_session: bool = False, fails_closed: bool = False
) -> Middleware:
    """Return a middleware. `Policy` describes the options."""
    policy = Policy(requires_session=requires_session, fails_closed=fails_closed)

    @web.middleware
    async def validate(request: web.Request, handler: Handler) -> web.StreamResponse:
        lines = [line for name in HEADERS for line in request.headers.getall(name, ())]
        presented = candidates(request.headers.getall("Cookie", ()), lines)
        visit = await lookup.visit(presented) if presented else Visit("none")
        if (rejection := policy.rejection(visit)) is not None:
            return web.Response(status=rejection.status, headers=rejection.headers, body=rejection.body)
        request[VISIT] = visit
        with ref_of(visit):
            return await handler(request)

    return validate
