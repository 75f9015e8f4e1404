"""CORS: aiohttp-cors for preflights, and the rest of it here.

aiohttp-cors checks preflights. It marks the responses of routes, but not the router's 404 and 405, and names only
the one method that a preflight asks for: a page could not read those errors, and a browser would ask again for each
method. So every response is marked here, and preflights are completed.
"""

import re
from collections.abc import Iterable

import aiohttp_cors
from aiohttp import hdrs, web

from service.api import wire
from service.settings import CorsSettings

METHODS = (hdrs.METH_GET, hdrs.METH_POST, hdrs.METH_DELETE)
REQUEST_HEADERS = tuple(
    name.lower()
    for name in (hdrs.CONTENT_TYPE, wire.API_KEY, wire.API_VERSION, wire.SESSION_TOKEN, wire.SESSION_TOKEN_ALIAS)
)
EXPOSED_HEADERS = (wire.SESSION_TOKEN, wire.API_VERSION, wire.RETRY_AFTER, wire.REQUEST_ID)

_ORIGIN_LINE = re.compile(rb"\r\n[Oo]rigin:[ \t]*([^\r\n \t]+)[ \t]*\r\n")
_PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(METHODS),
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(REQUEST_HEADERS),
}


class Cors:
    """Marks responses so that pages of the configured origins may call with cookies and read every answer."""

    def __init__(self, app: web.Application, resources: Iterable[web.Resource], settings: CorsSettings) -> None:
        options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]  # the library has no types
            allow_credentials=True,
            expose_headers=EXPOSED_HEADERS,
            allow_headers=REQUEST_HEADERS,
            allow_methods=METHODS,
            max_age=settings.max_age_seconds,
        )
        cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(settings.origins, options))
        for resource in resources:
            cors.add(resource)
        # Its hook for responses would run for each, and do less than `mark`, which is for pages' requests alone.
        app.on_response_prepare.clear()
        self._origins = frozenset(settings.origins)
        self._max_age_seconds = settings.max_age_seconds

    def preflight(self, request: web.Request, error: Exception) -> web.Response | None:
        """Return the answer to a preflight for a path that does not exist, None for anything else.

        The request that follows is answered 404, which the page can only read when the preflight before it passed.
        """
        headers = request.headers
        if not isinstance(error, web.HTTPNotFound) or request.method != hdrs.METH_OPTIONS:
            return None
        if headers.get(hdrs.ORIGIN) not in self._origins or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in headers:
            return None
        return web.Response(headers={hdrs.ACCESS_CONTROL_MAX_AGE: str(self._max_age_seconds), **_PREFLIGHT})

    def mark(self, response: web.StreamResponse, origin: str | None) -> None:
        """Let a page of this origin read the response, if the origin is configured."""
        if origin in self._origins:
            headers = response.headers
            if hdrs.ACCESS_CONTROL_ALLOW_METHODS in headers:  # of a preflight
                headers.update(_PREFLIGHT)
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(EXPOSED_HEADERS)


def origin_in(received: bytes) -> str | None:
    """Return the `Origin` that stands in bytes which could not be parsed; to be compared, never to be written."""
    found = _ORIGIN_LINE.search(received)
    return found[1].decode("latin-1") if found else None
