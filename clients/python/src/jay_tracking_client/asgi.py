"""Middleware for ASGI: the visit of each request is `scope["state"]["jay_visit"]`.

In Starlette and FastAPI that is `request.state.jay_visit`.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from jay_tracking_client.answers import Policy
from jay_tracking_client.candidates import HEADERS, candidates
from jay_tracking_client.logs import ref_of
from jay_tracking_client.lookup import SessionLookup
from jay_tracking_client.sessions import Visit

VISIT = "jay_visit"
# RFC 6455, section 7.4.1: the message violates a policy.
POLICY_VIOLATION = 1008

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class SessionMiddleware:
    """Validates the sessions of HTTP requests and WebSocket handshakes."""

    def __init__(
        self, app: App, lookup: SessionLookup, *, requires_session: bool = False, fails_closed: bool = False
    ) -> None:
        """`Policy` describes the options."""
        self._app = app
        self._lookup = lookup
        self._policy = Policy(requires_session=requires_session, fails_closed=fails_closed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, or reject the request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        presented = candidates(
            [value for name, value in lines if name == "cookie"],
            [value for wanted in HEADERS for name, value in lines if name == wanted],
        )
        visit = await self._lookup.visit(presented) if presented else Visit("none")
        rejection = self._policy.rejection(visit)
        if rejection is None:
            scope.setdefault("state", {})[VISIT] = visit
            with ref_of(visit):
                await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": rejection.slug})
        else:
            headers = [(name.lower().encode(), value.encode()) for name, value in rejection.headers.items()]
            headers.append((b"content-length", str(len(rejection.body)).encode()))
            await send({"type": "http.response.start", "status": int(rejection.status), "headers": headers})
            await send({"type": "http.response.body", "body": rejection.body})
