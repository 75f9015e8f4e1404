"""The route table: method, path, handler, scope.

`table` lists the routes. `register` adds them to aiohttp's router. A new route also
needs an entry in `openapi.yaml`, which the tests compare with this table.
"""

from dataclasses import dataclass, field

from aiohttp import hdrs, web

from service.api import wire
from service.api.auth import Authorizer, Handler
from service.api.handlers.analytics import AnalyticsHandlers
from service.api.handlers.consent import ConsentHandlers
from service.api.handlers.forward_auth import ForwardAuthHandlers
from service.api.handlers.health import Health
from service.api.handlers.openapi import OpenapiHandler
from service.api.handlers.operations import MetricsHandler, StoreStatusHandler
from service.api.handlers.pages import Page, static_files
from service.api.handlers.privacy import PrivacyHandlers
from service.api.handlers.sessions import SessionHandlers
from service.api.handlers.users import UserHandlers
from service.api.user_id import PATH_SEGMENT
from service.api_keys import Scope

# aiohttp matches the decoded path, in which `.` alone would not match `%0A`.
_VISITOR_PATH = "/{path:(?s:.*)}"
# The router finds no path in a CONNECT. It gets 405, and the connection closes, because
# the bytes behind it may be anything.
_PROXY_METHODS = hdrs.METH_ALL - {hdrs.METH_CONNECT}


@dataclass(frozen=True)
class RouteDef:
    """One row of the table: a route before aiohttp's router has it.

    A route with `scope=None` needs no API key. A route with `is_api=False` needs no API
    version. A route with `is_for_proxies=True` has every method except CONNECT, and
    no header of the visitor changes its status.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    is_api: bool = True
    is_for_proxies: bool = False


@dataclass(frozen=True)
class Handlers:
    """The handlers that `table` needs."""

    sessions: SessionHandlers
    consent: ConsentHandlers
    forward_auth: ForwardAuthHandlers
    analytics: AnalyticsHandlers
    users: UserHandlers
    status: StoreStatusHandler
    health: Health
    privacy: PrivacyHandlers


def table(handlers: Handlers) -> list[RouteDef]:
    """Return all routes except `/metrics`, which `metrics_route` makes.

    `register` also adds HEAD for each GET.
    """
    get, post, delete = hdrs.METH_GET, hdrs.METH_POST, hdrs.METH_DELETE
    sessions, analytics, users, health = handlers.sessions, handlers.analytics, handlers.users, handlers.health
    rows = []
    for path in wire.SESSION_PATHS:
        rows += [
            RouteDef(post, path, sessions.create_session, Scope.TRACK),
            RouteDef(get, path, sessions.get_session, Scope.TRACK),
            RouteDef(delete, path, sessions.end_session, Scope.TRACK),
            RouteDef(hdrs.METH_PUT, path + wire.USER_SUFFIX, handlers.consent.set_user, Scope.TRACK),
            RouteDef(delete, path + wire.USER_SUFFIX, handlers.consent.remove_user, Scope.TRACK),
        ]
    for path in wire.FORWARD_AUTH_PATHS:
        rows += _for_proxies(path, handlers.forward_auth)
    operator = wire.OPERATOR_PATH
    return [
        *rows,
        RouteDef(post, f"{operator}/sessions/lookup", sessions.look_up_sessions, Scope.VALIDATE),
        RouteDef(get, f"{operator}/analytics/sessions", analytics.count_sessions, Scope.ANALYTICS),
        RouteDef(get, f"{operator}/analytics/users", analytics.top_users, Scope.ANALYTICS),
        RouteDef(get, f"{operator}/analytics/users/{PATH_SEGMENT}", analytics.count_user, Scope.ANALYTICS),
        RouteDef(get, wire.STORE_STATUS_PATH, handlers.status.get_status, Scope.ANALYTICS),
        RouteDef(get, f"{operator}/privacy", handlers.privacy.get_document, None),
        RouteDef(get, f"{operator}/users/{PATH_SEGMENT}/sessions", users.export_sessions, Scope.PRIVACY),
        RouteDef(delete, f"{operator}/users/{PATH_SEGMENT}", users.erase_user, Scope.PRIVACY),
        RouteDef(get, wire.LIVEZ_PATH, health.livez, None),
        RouteDef(get, "/readyz", health.readyz, None),
        RouteDef(get, wire.DASHBOARD_PATH, Page("dashboard.html").get, None),
        RouteDef(get, wire.PRIVACY_PATH, handlers.privacy.get_page, None),
        RouteDef(get, wire.GPC_PATH, handlers.privacy.get_gpc, None),
        RouteDef(get, "/openapi.json", OpenapiHandler().get_document, None),
        RouteDef(get, wire.DOCS_PATH, Page("docs.html").get, None),
        *(RouteDef(get, wire.STATIC_PATH + name, Page(name).get, None) for name in static_files()),
    ]


def _for_proxies(path: str, handlers: ForwardAuthHandlers) -> list[RouteDef]:
    every = hdrs.METH_ANY
    return [
        RouteDef(every, path, handlers.describe_or_require, Scope.VALIDATE, is_for_proxies=True),
        RouteDef(every, path + _VISITOR_PATH, handlers.describe, Scope.VALIDATE, is_for_proxies=True),
    ]


def metrics_route(handler: MetricsHandler) -> RouteDef:
    """Return the route of `/metrics`, which exists only while metrics are enabled."""
    return RouteDef(hdrs.METH_GET, "/metrics", handler.get_metrics, Scope.ANALYTICS, is_api=False)


@dataclass
class RegisteredRoutes:
    """Resources with CORS, and the handlers of fixed paths by method and path."""

    resources: dict[web.Resource, None] = field(default_factory=dict)
    direct_handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)


def register(routes: list[RouteDef], router: web.UrlDispatcher, authorizer: Authorizer) -> RegisteredRoutes:
    """Add the routes to the router.

    A route with a scope gets the checks of `authorizer`.
    """
    registered = RegisteredRoutes()
    for route in routes:
        resource = router.add_resource(route.path)
        handler = route.handler
        if route.is_for_proxies and route.scope is not None:
            handler = authorizer.require_from_proxy(route.scope, handler)
            resource.add_route(route.method, handler, expect_handler=_ignore_expectation)
            if not route.path.endswith(_VISITOR_PATH):
                registered.direct_handlers |= {(method, route.path): handler for method in _PROXY_METHODS}
            continue
        if route.scope is not None:
            guard = authorizer.require if route.is_api else authorizer.require_without_version
            handler = guard(route.scope, handler)
        methods = (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,)
        for method in methods:
            resource.add_route(method, handler)
            if PATH_SEGMENT not in route.path:
                registered.direct_handlers[method, route.path] = handler
        registered.resources[resource] = None
    return registered


async def _ignore_expectation(_: web.Request) -> None:
    """Let a request with any `Expect` pass."""
