"""Handles every request: its id, fixed headers, problem documents, request record, and the way to its handler.

It wraps the application from outside, so that nothing escapes it: not the router's 404, not a failed `Expect`.
"""

import logging
import time
from collections.abc import Mapping
from random import getrandbits

from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.aiohttp_errors import USE_ALLOW, translate
from service.api.aiohttp_internals.expectation import ExpectingRequest, is_waiting
from service.api.auth import API_KEY, Handler
from service.api.cors import Cors
from service.api.field_lines import combined
from service.api.handlers.operations import Health
from service.api.known_paths import KnownPaths
from service.api.problems import problem_response
from service.api.responses import add_api_headers
from service.telemetry.request_recorder import RequestRecorder

_logger = logging.getLogger(__name__)

METHODS = frozenset(hdrs.METH_ALL)

# aiohttp-cors refuses a preflight with 403. The router knows no path, or no OPTIONS at a path.
_UNHANDLED_OPTIONS = (web.HTTPForbidden, web.HTTPNotFound, web.HTTPMethodNotAllowed)


class MisframedRequest(web.Request):
    """A request that the parser accepts although its end is ambiguous, or that is not HTTP/1."""

    DETAIL = "Speak HTTP/1.1, and send a body with Content-Length or with Transfer-Encoding: chunked alone."


class Dispatcher:
    """Stands between aiohttp's protocol and the application.

    `direct_routes` are handlers by method and path, as the application has them too. A plain request for one of these
    goes there at once; aiohttp's router would come to the same, at a price (docs/decisions.md).
    """

    def __init__(
        self,
        application: Handler,
        direct_routes: Mapping[tuple[str, str], Handler],
        *,
        paths: KnownPaths,
        cors: Cors,
        health: Health,
        recorder: RequestRecorder,
    ) -> None:
        self._application = application
        self._direct_routes = direct_routes
        self._paths = paths
        self._cors = cors
        self._health = health
        self._record = recorder.record

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever happens while it is answered."""
        kind = type(request)  # isinstance would walk through an abstract base class: 0.3 µs
        if kind is MisframedRequest:
            origin = combined(request.headers, hdrs.ORIGIN)
            return self.reject(errors.MalformedRequest(MisframedRequest.DETAIL), origin)
        started = time.perf_counter()
        request_id = new_request_id()
        method, headers = request.method, request.headers
        route = request.raw_path  # only ever logged when it is one of the direct_routes
        can_skip_router = kind is not ExpectingRequest and not (
            hdrs.ORIGIN in headers or hdrs.TRANSFER_ENCODING in headers or hdrs.UPGRADE in headers
        )
        direct_route = self._direct_routes.get((method, route)) if can_skip_router else None
        try:
            response = await (direct_route or self._application)(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer, and _problem logs it
            response = self._response_to(error, request, request_id)
        response.headers[wire.REQUEST_ID] = request_id
        if direct_route is None:
            route = route_of(request)
            add_api_headers(response)  # aiohttp-cors makes its own for a preflight
            self._cors.mark(response, combined(headers, hdrs.ORIGIN))
            if _ends_connection(request):
                response.force_close()
        if self._health.is_draining:
            response.force_close()
        key = request.get(API_KEY)
        seconds = time.perf_counter() - started
        method = method if method in METHODS else "OTHER"
        name = key.name if key else "-"
        self._record((time.time(), method, route, response.status, seconds, request_id, name))
        return response

    def reject(self, error: Exception, origin: str | None) -> web.Response:
        """Answer what is not a request; of it nothing is known but maybe its origin, and nothing is repeated."""
        request_id = new_request_id()
        response = problem_of(error, request_id)
        response.headers[wire.REQUEST_ID] = request_id
        response.headers[hdrs.CONNECTION] = "close"  # aiohttp may take it for HTTP/1.0, where that is implied
        response.force_close()
        self._cors.mark(response, origin)
        self._record((time.time(), "-", "-", response.status, 0.0, request_id, "-"))
        return response

    def _response_to(self, error: Exception, request: web.Request, request_id: str) -> web.Response:
        """Return the response to a request whose handler raised an error, or for which there is no handler."""
        if request.method == hdrs.METH_OPTIONS and isinstance(error, _UNHANDLED_OPTIONS):
            answer = self._cors.answer_options(request)
            if answer is not None:
                return answer
            error = errors.PreflightRefused("Add the origin of the page to cors.origins, as browsers spell it.")
        elif isinstance(error, web.HTTPNotFound):
            error = self._not_found(request)
        return problem_of(translate(error), request_id)

    def _not_found(self, request: web.Request) -> errors.RequestError:
        if request.method not in wire.METHODS:
            return errors.MethodNotAllowed(USE_ALLOW, wire.ALLOW)
        if near := self._paths.nearest(request.raw_path):
            return errors.NotFound(f"Check the path. Did you mean {near}?")
        return errors.NotFound(f"Check the path. Sessions are at {wire.SESSION_PATHS[0]}.")


def problem_of(error: Exception, request_id: str) -> web.Response:
    """Return the problem document for an error. Our own bugs go to the log."""
    if not isinstance(error, errors.JayError):
        _logger.error("internal error, request_id %s", request_id, exc_info=error, extra={"is_of_client": True})
    return problem_response(error, request_id)


def route_of(request: web.Request) -> str:
    """Return the path as the route table has it, never what was sent."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "-"


def new_request_id() -> str:
    """Return 16 hex digits. It tells requests apart in logs and is no secret, so a fast generator will do."""
    return f"{getrandbits(64):016x}"


def _ends_connection(request: web.Request) -> bool:
    """Return whether the bytes that follow a request may not be read as the next one.

    There is no HTTP after a CONNECT. After an Upgrade, and after a body that the client holds
    back in vain, nobody knows which bytes come next. After chunks, aiohttp 3.14 reads the last
    trailer as a header of the next request.
    """
    headers = request.headers
    return (
        request.method == hdrs.METH_CONNECT
        or hdrs.TRANSFER_ENCODING in headers
        or hdrs.UPGRADE in headers
        or is_waiting(request)
    )
