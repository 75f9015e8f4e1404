"""What stands around every request: its id, errors as problem documents, the fixed headers, its log line.

It wraps the application from outside, so that nothing escapes it: not the router's 404, not a failed `Expect`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from random import getrandbits

from aiohttp import hdrs, web

from service import errors, versions
from service.api import wire
from service.api.authorization import API_KEY, Handler
from service.api.operations import Health
from service.api.problems import problem_response
from service.logs import RequestLog

_logger = logging.getLogger(__name__)

_EVERY_RESPONSE = {hdrs.SERVER: wire.SERVER_NAME, "X-Content-Type-Options": "nosniff"}
_API_RESPONSE = {
    **_EVERY_RESPONSE,
    wire.API_VERSION: versions.LATEST,
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.VARY: hdrs.ORIGIN,
}
_METHODS = frozenset(hdrs.METH_ALL)


class Boundary:
    """Stands between aiohttp's protocol and the application."""

    def __init__(self, application: Handler, health: Health, request_log: RequestLog) -> None:
        self._application = application
        self._health = health
        self._request_log = request_log

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever happens while it is answered."""
        started = time.perf_counter()
        request_id = new_request_id()
        assert isinstance(request, web.Request)  # noqa: S101 - what the application's factory makes
        try:
            response = await self._application(request)
        except asyncio.CancelledError:
            raise
        except (errors.JayError, web.HTTPException) as error:
            response = problem_response(_translated(error), request_id)
        except Exception as error:
            _logger.exception("internal error, request_id %s", request_id)
            response = problem_response(error, request_id)
        route = _route_of(request)
        headers = response.headers
        headers[wire.REQUEST_ID] = request_id
        headers.update(_EVERY_RESPONSE if route in _OPEN_ROUTES else _API_RESPONSE)
        if self._health.is_draining:
            response.force_close()
        method = request.method if request.method in _METHODS else "OTHER"
        key = request.get(API_KEY)
        seconds = time.perf_counter() - started
        self._request_log.write(method, route, response.status, seconds, request_id, key.name if key else "-")
        return response

    def refuse(self, error: errors.RequestError) -> web.Response:
        """Answer what the HTTP parser refused; of such a request nothing is known, and nothing is repeated."""
        request_id = new_request_id()
        response = problem_response(error, request_id)
        response.headers.update({wire.REQUEST_ID: request_id, **_API_RESPONSE})
        response.force_close()
        self._request_log.write("-", "-", response.status, 0.0, request_id, "-")
        return response


_OPEN_ROUTES = frozenset(("/livez", "/readyz"))


def new_request_id() -> str:
    """Return 16 hex digits. It tells requests apart in logs and is no secret, so a fast generator will do."""
    return f"{getrandbits(64):016x}"


def _route_of(request: web.Request) -> str:
    """Return the path as the route table has it; never what the client sent."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "-"


def _translated(error: errors.JayError | web.HTTPException) -> Exception:
    """Return aiohttp's own refusals as errors of ours."""
    if isinstance(error, errors.JayError):
        return error
    if isinstance(error, web.HTTPMethodNotAllowed):
        return errors.MethodNotAllowed("Use one of the methods that Allow lists.", sorted(error.allowed_methods))
    if isinstance(error, web.HTTPExpectationFailed):
        return errors.ExpectationFailed("Leave out the Expect header, or send 100-continue.")
    if isinstance(error, web.HTTPForbidden):  # aiohttp-cors: a preflight that must not pass
        return errors.Forbidden(
            "The preflight is refused: the origin must be in cors.origins, the method one of GET, POST and DELETE, "
            "and each header one that the API reads."
        )
    if isinstance(error, web.HTTPNotFound):
        return errors.NotFound("Check the path; sessions are at /v1/playouts/tracking/session.")
    return error
