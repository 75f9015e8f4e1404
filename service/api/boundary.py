"""What stands around every request: its id, errors as problem documents, the fixed headers, its entry in the journal.

It wraps the application from outside, so that nothing escapes it: not the router's 404, not a failed `Expect`.
"""

import logging
import time
from collections.abc import Mapping
from random import getrandbits

from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.authorization import API_KEY, Handler
from service.api.cors import Cors
from service.api.operations import Health
from service.api.problems import problem_response
from service.api.responses import add_api_headers
from service.journal import Journal

_logger = logging.getLogger(__name__)

METHODS = frozenset(hdrs.METH_ALL)


class MisframedRequest(web.Request):
    """A request that the parser accepts although its end is ambiguous, or that is not HTTP/1."""

    DETAIL = "Speak HTTP/1.1, and send a body with Content-Length or with Transfer-Encoding: chunked alone."


class Boundary:
    """Stands between aiohttp's protocol and the application.

    `shortcuts` are handlers by method and path, as the application has them too. A plain request for one of these
    goes there at once; aiohttp's router would come to the same, at a price (docs/decisions.md).
    """

    def __init__(
        self,
        application: Handler,
        shortcuts: Mapping[tuple[str, str], Handler],
        *,
        cors: Cors,
        health: Health,
        journal: Journal,
    ) -> None:
        self._application = application
        self._shortcuts = shortcuts
        self._cors = cors
        self._health = health
        self._note = journal.note

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever happens while it is answered."""
        if type(request) is MisframedRequest:  # isinstance would walk through an abstract base class: 0.3 µs
            return self.refuse(errors.MalformedRequest(MisframedRequest.DETAIL), request.headers.get(hdrs.ORIGIN))
        started = time.perf_counter()
        request_id = _new_request_id()
        method, headers = request.method, request.headers
        route = request.raw_path  # only ever logged when it is one of the shortcuts
        is_plain = not (
            hdrs.ORIGIN in headers
            or hdrs.EXPECT in headers
            or hdrs.TRANSFER_ENCODING in headers
            or hdrs.UPGRADE in headers
        )
        shortcut = self._shortcuts.get((method, route)) if is_plain else None
        try:
            response = await (shortcut or self._application)(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer, and _problem logs it
            response = self._cors.preflight(request, error) or _problem(error, method, request_id)
        response.headers[wire.REQUEST_ID] = request_id
        if shortcut is None:
            route = route_of(request)
            add_api_headers(response)  # aiohttp-cors makes its own for a preflight
            self._cors.mark(response, headers.get(hdrs.ORIGIN))
            if method == hdrs.METH_CONNECT or hdrs.TRANSFER_ENCODING in headers or hdrs.UPGRADE in headers:
                # What follows is not to be trusted: no HTTP after a CONNECT, lost bytes after an Upgrade, and after
                # chunks aiohttp 3.14 takes the last trailer for a header of the next request.
                response.force_close()
        if self._health.is_draining:
            response.force_close()
        key = request.get(API_KEY)
        seconds = time.perf_counter() - started
        method = method if method in METHODS else "OTHER"
        name = key.name if key else "-"
        self._note((time.time(), method, route, response.status, seconds, request_id, name))
        return response

    def refuse(self, error: Exception, origin: str | None) -> web.Response:
        """Answer what is not a request; of it nothing is known but maybe its origin, and nothing is repeated."""
        request_id = _new_request_id()
        response = _problem(error, "", request_id)
        response.headers[wire.REQUEST_ID] = request_id
        response.headers[hdrs.CONNECTION] = "close"  # aiohttp may take it for HTTP/1.0, where that is implied
        response.force_close()
        self._cors.mark(response, origin)
        self._note((time.time(), "-", "-", response.status, 0.0, request_id, "-"))
        return response


def _problem(error: Exception, method: str, request_id: str) -> web.Response:
    """Return the problem document for whatever was raised; our own bugs go to the log."""
    if isinstance(error, web.HTTPException):
        error = _translated(error, method)
    elif isinstance(error, UnicodeEncodeError):  # bytes beyond UTF-8, on their way into a text of aiohttp's
        error = errors.MalformedRequest("Send header fields in ASCII.")
    if not isinstance(error, errors.JayError):
        _logger.error("internal error, request_id %s", request_id, exc_info=error, extra={"is_of_client": True})
    return problem_response(error, request_id)


def route_of(request: web.Request) -> str:
    """Return the path as the route table has it, never what was sent."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "-"


def _new_request_id() -> str:
    """Return 16 hex digits. It tells requests apart in logs and is no secret, so a fast generator will do."""
    return f"{getrandbits(64):016x}"


def _translated(error: web.HTTPException, method: str) -> Exception:
    """Return aiohttp's own refusals as errors of ours."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return errors.MethodNotAllowed("Use one of the methods that Allow lists.", sorted(error.allowed_methods))
    if isinstance(error, web.HTTPNotFound):
        if method not in wire.METHODS:
            return errors.MethodNotAllowed("Use one of the methods that Allow lists.", wire.METHODS)
        return errors.NotFound("Check the path; sessions are at /v1/playouts/tracking/session.")
    if isinstance(error, web.HTTPExpectationFailed):
        return errors.ExpectationFailed("Leave out the Expect header, or send 100-continue.")
    if isinstance(error, web.HTTPForbidden):  # aiohttp-cors: a preflight that must not pass
        return errors.PreflightRefused(
            "The origin must be in cors.origins, the method one of GET, POST and DELETE, "
            "and each header one that the API reads."
        )
    return error
