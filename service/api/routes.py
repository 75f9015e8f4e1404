"""The route table: method, path, handler, scope."""

from dataclasses import dataclass

from aiohttp import hdrs, web

from service.api import wire
from service.api.authorization import Authorizer, Handler
from service.api.operations import Health
from service.api.sessions import SessionHandlers
from service.api_keys import Scope


@dataclass(frozen=True)
class Route:
    """One row. Without a scope a route is open to all, needs no version and is not part of the API."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None


def table(sessions: SessionHandlers, health: Health) -> list[Route]:
    """Return every route that there is. HEAD is answered where GET is."""
    rows = []
    for path in wire.SESSION_PATHS:
        rows += [
            Route(hdrs.METH_POST, path, sessions.create_session, Scope.TRACK),
            Route(hdrs.METH_GET, path, sessions.get_session, Scope.TRACK),
            Route(hdrs.METH_DELETE, path, sessions.end_session, Scope.TRACK),
        ]
    return [
        *rows,
        Route(hdrs.METH_GET, "/livez", health.livez, None),
        Route(hdrs.METH_GET, "/readyz", health.readyz, None),
    ]


def register(routes: list[Route], router: web.UrlDispatcher, authorizer: Authorizer) -> list[web.Resource]:
    """Add the routes to the router, those with a scope behind their checks; return the API's resources."""
    api_resources: dict[web.Resource, None] = {}
    for route in routes:
        resource = router.add_resource(route.path)
        handler = route.handler if route.scope is None else authorizer.require(route.scope, route.handler)
        resource.add_route(route.method, handler)
        if route.method == hdrs.METH_GET:
            resource.add_route(hdrs.METH_HEAD, handler)
        if route.scope is not None:
            api_resources[resource] = None
    return list(api_resources)
