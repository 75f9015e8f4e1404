"""Decides by the head of a request how to answer it."""

from collections.abc import Mapping

from service.api import versions, wire
from service.api.auth import Authorizer
from service.api.cors import Cors
from service.api.front_door.exchange import Headers, Plan, Route
from service.api.front_door.heads import has_body, read_head, text_of
from service.api_keys import ApiKey, Scope

_KEY, _VERSION = wire.API_KEY.lower().encode(), wire.API_VERSION.lower().encode()
_LATEST = versions.LATEST.encode()


class Planner:
    """Makes plans, from routes by method and path."""

    def __init__(self, routes: Mapping[tuple[bytes, bytes], Route], authorizer: Authorizer, cors: Cors) -> None:
        self._routes = routes
        self._authorizer = authorizer
        self._cors = cors

    def plan(self, data: bytes) -> Plan | None:
        """Return the plan for the request in `data`, or None if it is for aiohttp."""
        head = read_head(data)
        if head is None:
            return None
        method, path, headers, size = head
        route = self._routes.get((method, path))
        connection = headers.get(b"connection")
        if route is None or (connection is not None and connection.lower() != b"keep-alive"):
            return None
        if has_body(headers) and not route.takes_body:
            return None
        key = self._admitted_key(headers, route) if route.needs_key else None
        if route.needs_key and key is None:
            return None
        origin = headers.get(b"origin")
        cors = "" if origin is None else self._cors.lines(origin) or ""
        return Plan(route, size, headers, cors, key, self._authorizer.keys_version)

    def is_current(self, plan: Plan) -> bool:
        """Return whether the API keys are those with which the plan was made."""
        return plan.keys_version == self._authorizer.keys_version

    def _admitted_key(self, headers: Headers, route: Route) -> ApiKey | None:
        """Return the API key if a handler would accept it and the version."""
        key = self._authorizer.find(headers.get(_KEY, b""))
        if route.is_for_proxies:
            return key if key is not None and Scope.VALIDATE in key.scopes else None
        version = headers.get(_VERSION)
        if key is None or Scope.TRACK not in key.scopes or (version and version != _LATEST):
            return None
        is_allowed = key.origins is None or key.allows_origin(text_of(headers.get(b"origin")))
        return key if is_allowed else None
