"""The handlers of forward-auth, which proxies ask about each of their requests."""

from aiohttp import web

from service import errors
from service.api import wire
from service.api.auth import API_KEY
from service.api.forward_auth import UNKNOWN_ERRORS, ForwardAuth, state_of
from service.api.problems import ERROR_HEADERS
from service.api.responses import headers_response
from service.api.session_token import SESSION_OF_REQUEST, candidates
from service.sessions import Session, SessionStore
from service.telemetry.metrics import Metrics

_REQUIRE, _LIVE = "require", "live"


class ForwardAuthHandlers:
    """Every method of `/forward-auth` and of every path below it."""

    def __init__(self, sessions: SessionStore, forward_auth: ForwardAuth, metrics: Metrics) -> None:
        self._sessions = sessions
        self._forward_auth = forward_auth
        self._metrics = metrics

    async def describe(self, request: web.Request) -> web.Response:
        """Answer 200 with the visitor's session, for any path, query and body.

        Without Redis, the answer is that the session is unknown.
        """
        _, headers = await self._found(request)
        return headers_response(headers)

    async def describe_or_require(self, request: web.Request) -> web.Response:
        """Answer like `describe`, or raise an error if `?require=live` is not met.

        Raises SessionRequired, StoreUnavailable and Overloaded.
        """
        result, headers = await self._found(request)
        if _LIVE in request.query.getall(_REQUIRE, ()) and not isinstance(result, Session):
            request[ERROR_HEADERS] = headers
            raise result or errors.SessionRequired("The request presents no live session, and the proxy needs one.")
        return headers_response(headers)

    async def _found(self, request: web.Request) -> tuple[Session | Exception | None, dict[str, str]]:
        result: Session | Exception | None = None
        if presented := candidates(request.headers):
            try:
                result = await self._sessions.find(presented)
            except UNKNOWN_ERRORS as error:
                result = error
        if isinstance(result, Session):
            request[SESSION_OF_REQUEST] = result.id
        self._metrics.forwarded.add((state_of(result),))
        lines = self._forward_auth.lines(result, request.headers.getall(wire.BAGGAGE, ()), request[API_KEY])
        return result, dict(line.split(": ", 1) for line in lines.split("\r\n") if line)
