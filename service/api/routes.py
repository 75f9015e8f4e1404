"""The route table: method, path, handler, scope."""

from dataclasses import dataclass, field

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


@dataclass
class Registered:
    """What the routes became: the API's resources, and every handler by method and path."""

    api_resources: dict[web.Resource, None] = field(default_factory=dict)
    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)


def register(routes: list[Route], router: web.UrlDispatcher, authorizer: Authorizer) -> Registered:
    """Add the routes to the router, those with a scope behind their checks."""
    registered = Registered()
    for route in routes:
        resource = router.add_resource(route.path)
        handler = route.handler if route.scope is None else authorizer.require(route.scope, route.handler)
        methods = (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,)
        for method in methods:
            resource.add_route(method, handler)
            registered.handlers[method, route.path] = handler
        if route.scope is not None:
            registered.api_resources[resource] = None
    return registered
