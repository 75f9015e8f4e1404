"""CORS: aiohttp-cors decides about preflights, and this module adds the headers.

aiohttp-cors adds CORS headers to the responses of routes only, so a page could not read
the router's 404 and 405. It answers a preflight with the requested method only, so a
browser would send a preflight for each method, and an unknown header would fail it.
That is why `Cors.add_headers` runs for every response, and every preflight gets the
same constant lists.
"""

import re
from collections.abc import Iterable

import aiohttp_cors
from aiohttp import hdrs, web
from aiohttp_cors.urldispatcher_router_adapter import ResourcesUrlDispatcherRouterAdapter

from service import errors
from service.api import wire
from service.api.field_lines import combined
from service.api.responses import API_HEADERS, Headers, empty_response
from service.config.settings import CorsSettings

# Headers that libraries add to every request of a page: tracing, jQuery, and code that
# bypasses caches. The browser does not send the request if one is missing here.
LIBRARY_HEADERS = (
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-requested-with",
    "cache-control",
    "pragma",
)

_NO_CONTENT = 204
_EXPOSED = ", ".join(wire.RESPONSE_HEADERS)
# The white space around the value is stripped later. A pattern for it would take time
# that grows with the square of the line.
_ORIGIN_LINE = re.compile(rb"\r\norigin:([^\r\n]*+)(?=\r\n)", re.IGNORECASE)


class Cors:
    """Adds CORS headers for pages of the configured origins.

    Such pages may send cookies and read every response.
    """

    def __init__(self, router: web.UrlDispatcher, resources: Iterable[web.Resource], settings: CorsSettings) -> None:
        # With `*`, aiohttp-cors checks only the origin. `add_headers` replaces its
        # lists.
        options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]  # the library has no types
            allow_credentials=True, allow_methods="*", allow_headers="*", max_age=settings.max_age_seconds
        )
        adapter = ResourcesUrlDispatcherRouterAdapter(router, defaults=dict.fromkeys(settings.origins, options))
        # aiohttp-cors adds a hook to an application, which runs for each response and
        # does less than `add_headers`. It gets an application that serves no requests.
        cors = aiohttp_cors.CorsConfig(web.Application(), router_adapter=adapter)
        for resource in resources:
            cors.add(resource)
        self._origins = frozenset(settings.origins)
        names = (*wire.REQUEST_HEADERS, *LIBRARY_HEADERS, *settings.request_headers)
        self._preflight = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(wire.METHODS),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(dict.fromkeys(name.lower() for name in names)),
            hdrs.ACCESS_CONTROL_MAX_AGE: str(settings.max_age_seconds),
        }
        self._lines = {origin.encode(): _lines(_headers_for(origin)) for origin in settings.origins}
        self._preflights = {origin.encode(): self._preflight_of(origin) for origin in settings.origins}

    def _preflight_of(self, origin: str) -> tuple[str, str]:
        allow_origin, allow_credentials, expose = _lines(_headers_for(origin)).splitlines(keepends=True)
        names = hdrs.ACCESS_CONTROL_MAX_AGE, hdrs.ACCESS_CONTROL_ALLOW_METHODS, hdrs.ACCESS_CONTROL_ALLOW_HEADERS
        *first, allow_headers = (_lines({name: self._preflight[name]}) for name in names)
        first = [allow_origin, allow_credentials, *first]
        return "HTTP/1.1 204 No Content\r\n" + "".join(first), _lines(API_HEADERS) + allow_headers + expose

    def answer_options(self, request: web.Request) -> web.Response | None:
        """Return the response to an OPTIONS request.

        Returns None for a preflight whose origin is not configured.

        A preflight for an unknown path succeeds. Otherwise the page could not read the
        404 of the request after it. A request that is not a preflight gets `Allow`.
        Load balancers send such requests.
        """
        headers = request.headers
        if hdrs.ORIGIN not in headers or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in headers:
            resource = request.match_info.route.resource
            allowed = wire.ALLOW if resource is None else sorted({route.method for route in resource})
            return empty_response({hdrs.ALLOW: ", ".join(allowed)})
        return empty_response(self._preflight) if combined(headers, hdrs.ORIGIN) in self._origins else None

    def check_preflight(self, response: web.StreamResponse, origin: str | None) -> None:
        """Raise PreflightRejected if aiohttp-cors accepted the first of two origins.

        aiohttp-cors reads one `Origin` line. `origin` is the value of all lines.
        """
        if hdrs.ACCESS_CONTROL_ALLOW_METHODS in response.headers and origin not in self._origins:
            raise preflight_rejected()

    def lines(self, origin: bytes) -> str | None:
        """Return the CORS headers for an origin, or None if it is not configured."""
        return self._lines.get(origin)

    def preflight_lines(self, origin: bytes) -> tuple[str, str]:
        """Return the answer to a preflight of a configured origin, in two strings.

        X-Request-Id is sent between them. The header lines have the same order as in an
        answer of aiohttp-cors and `add_headers`.
        """
        return self._preflights[origin]

    def add_headers(self, response: web.StreamResponse, origin: str | None) -> None:
        """Add the headers that let a page of a configured origin read the response."""
        if origin is not None and origin in self._origins:
            headers = response.headers
            if hdrs.ACCESS_CONTROL_ALLOW_METHODS in headers:
                # aiohttp-cors has answered a preflight.
                response.set_status(_NO_CONTENT)
                # aiohttp-cors sets this header only for a preflight that asks for
                # headers. Removing it first keeps the order of the headers constant.
                headers.popall(hdrs.ACCESS_CONTROL_ALLOW_HEADERS, None)
                headers.update(self._preflight)
            headers.update(_headers_for(origin))


def preflight_rejected() -> errors.PreflightRejected:
    """Return the error of a preflight whose origin is not configured."""
    return errors.PreflightRejected("Add the origin of the page to cors.origins, as browsers spell it.")


def _headers_for(origin: str) -> dict[str, str]:
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true",
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED,
    }


def _lines(headers: Headers) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def origin_in(received: bytes) -> str | None:
    """Return the `Origin` header in bytes that the parser rejected, or None."""
    found = [value.strip(b" \t") for value in _ORIGIN_LINE.findall(received)]
    return b", ".join(found).decode("latin-1") if found else None
