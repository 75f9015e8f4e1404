"""Handles every request, from aiohttp's protocol to the handler and back.

The dispatcher gives each request its id, its fixed headers and its record. It turns
every error into a problem document. It wraps the aiohttp application from outside, so
it also covers the router's 404 and a failed `Expect`.
"""

import logging
import time
from random import getrandbits

from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.aiohttp_errors import translate
from service.api.aiohttp_internals.expectation import ExpectingRequest, is_waiting
from service.api.auth import API_KEY, DirectHandlers, Handler
from service.api.cors import Cors, preflight_rejected
from service.api.field_lines import combined
from service.api.handlers.health import Health
from service.api.known_paths import KnownPaths
from service.api.problems import ERROR_HEADERS, problem_response
from service.api.responses import add_api_headers
from service.api.session_token import SESSION_OF_REQUEST
from service.telemetry.request_recorder import RequestRecorder

_logger = logging.getLogger(__name__)

# Methods that logs and metrics name. All others are recorded as OTHER.
KNOWN_METHODS = frozenset(hdrs.METH_ALL)

# The errors of an OPTIONS request that no route answers. aiohttp-cors rejects a
# preflight with 403. The router does not know the path, or has no OPTIONS at the path.
_UNHANDLED_OPTIONS = (web.HTTPForbidden, web.HTTPNotFound, web.HTTPMethodNotAllowed)


class MisframedRequest(web.Request):
    """A request whose end is ambiguous, or that is not HTTP/1.

    aiohttp's parser accepts both.
    """

    DETAIL = "Use HTTP/1.1. Send a body with Content-Length, or with exactly `Transfer-Encoding: chunked`."


class Dispatcher:
    """Passes requests from aiohttp's protocol to the application or to a handler.

    A plain request for a fixed path goes to one of the `direct_handlers`. It skips
    aiohttp's router, which needs about 4 µs to find the same handler
    (docs/decisions.md).
    """

    def __init__(
        self,
        application: Handler,
        direct_handlers: DirectHandlers,
        *,
        paths: KnownPaths,
        cors: Cors,
        health: Health,
        recorder: RequestRecorder,
    ) -> None:
        self._application = application
        self._direct_handlers = direct_handlers
        self._paths = paths
        self._cors = cors
        self._health = health
        self._record = recorder.record

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Return the response to a request. No error leaves this method."""
        if type(request) is MisframedRequest:
            origin = combined(request.headers, hdrs.ORIGIN)
            return self.reject(errors.MalformedRequest(MisframedRequest.DETAIL), origin)
        started = time.perf_counter()
        request_id = new_request_id()
        method = request.method
        route = request.raw_path  # recorded only when it has a direct handler
        direct_handler = self._direct_handlers.get((method, route)) if _can_skip_router(request) else None
        try:
            response = await (direct_handler or self._application)(request)
            if method == hdrs.METH_OPTIONS:
                self._cors.check_preflight(response, combined(request.headers, hdrs.ORIGIN))
        except Exception as error:  # noqa: BLE001 - the client gets an answer to every error, and problem_of logs bugs
            response = self._response_to(error, request, request_id)
        response.headers[wire.REQUEST_ID] = request_id
        if direct_handler is None:
            route = route_of(request)
            self._complete(response, request)
        if self._health.is_draining:
            response.force_close()
        key = request.get(API_KEY)
        seconds = time.perf_counter() - started
        method = method if method in KNOWN_METHODS else "OTHER"
        name = key.name if key else "-"
        record = (time.time(), method, route, response.status, seconds, request_id, name)
        self._record(record, request.get(SESSION_OF_REQUEST))
        return response

    def reject(self, error: Exception, origin: str | None) -> web.Response:
        """Return the response to bytes that are no request, and close the connection.

        `origin` is the value of their `Origin` header, or None without one. The
        response repeats nothing of the bytes.
        """
        request_id = new_request_id()
        response = problem_of(error, request_id)
        response.headers[wire.REQUEST_ID] = request_id
        # aiohttp may take the bytes for HTTP/1.0, where it leaves this header out.
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()
        self._cors.add_headers(response, origin)
        self._record((time.time(), "-", "-", response.status, 0.0, request_id, "-"), None)
        return response

    def _complete(self, response: web.StreamResponse, request: web.Request) -> None:
        """Complete a response that came from the application."""
        add_api_headers(response)  # aiohttp-cors makes its own response to a preflight
        self._cors.add_headers(response, combined(request.headers, hdrs.ORIGIN))
        if _ends_connection(request):
            response.force_close()

    def _response_to(self, error: Exception, request: web.Request, request_id: str) -> web.Response:
        """Return the response to a request whose handler or the router has failed."""
        if request.method == hdrs.METH_OPTIONS and isinstance(error, _UNHANDLED_OPTIONS):
            answer = self._cors.answer_options(request)
            if answer is not None:
                return answer
            error = preflight_rejected()
        elif isinstance(error, web.HTTPNotFound):
            error = self._not_found(request)
        response = problem_of(translate(error), request_id)
        response.headers.update(request.get(ERROR_HEADERS, {}))
        return response

    def _not_found(self, request: web.Request) -> errors.RequestError:
        if request.method not in wire.METHODS:
            return errors.MethodNotAllowed(wire.ALLOW)
        if near := self._paths.nearest(request.raw_path):
            return errors.NotFound(f"Check the path. Did you mean {near}?")
        sessions, reference = wire.SESSION_PATHS[0], wire.DOCS_PATH
        return errors.NotFound(
            f"Check the path. Sessions are at {sessions}, and the API reference is at {reference}."
        )


def route_of(request: web.Request) -> str:
    """Return the path as the route table has it, never as the client sent it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "-"


def _can_skip_router(request: web.Request) -> bool:
    """Return whether a request needs neither the application nor `_complete`."""
    headers = request.headers
    # isinstance would walk through an abstract base class, which takes 0.3 µs.
    return type(request) is not ExpectingRequest and not (
        hdrs.ORIGIN in headers or hdrs.TRANSFER_ENCODING in headers or hdrs.UPGRADE in headers
    )


def _ends_connection(request: web.Request) -> bool:
    """Return whether the bytes after a request must not be read as a new request.

    After a CONNECT there is no HTTP. After an Upgrade, and after a body that the client
    holds back because it got no `100 Continue`, the next bytes may be anything. After a
    chunked body, aiohttp 3.14 reads the last trailer as a header of the next request.
    """
    headers = request.headers
    return (
        request.method == hdrs.METH_CONNECT
        or hdrs.TRANSFER_ENCODING in headers
        or hdrs.UPGRADE in headers
        or is_waiting(request)
    )


def problem_of(error: Exception, request_id: str) -> web.Response:
    """Return the problem document for an error. A bug of the service is logged."""
    if not isinstance(error, errors.JayError):
        _logger.error("internal error, request_id %s", request_id, exc_info=error, extra={"may_quote_client": True})
    return problem_response(error, request_id)


def new_request_id() -> str:
    """Return 16 random hex digits.

    The id is not a secret, so a fast generator is enough.
    """
    return "%016x" % getrandbits(64)  # noqa: UP031 - takes 0.1 µs less than an f-string
