"""Middleware for ASGI applications, such as those of Starlette and FastAPI.

app.add_middleware(SessionMiddleware, client=client)
session = request.state.jay_session
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from jay_tracking_client.aio import TrackingClient
from jay_tracking_client.candidates import candidates
from jay_tracking_client.errors import ServiceUnavailable
from jay_tracking_client.logs import logged_session
from jay_tracking_client.messages import SESSION_COOKIE, SESSION_HEADER
from jay_tracking_client.middleware.guard import Guard, Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAMES = (b"cookie", SESSION_COOKIE.lower().encode(), SESSION_HEADER.lower().encode())


class SessionMiddleware:
    """Sets `scope["state"]["jay_session"]` of HTTP requests and WebSockets.

    A refused WebSocket is closed before it is accepted, so the server answers 403.
    """

    def __init__(self, app: Application, client: TrackingClient, guard: Guard | None = None) -> None:
        self._app = app
        self._client = client
        self._guard = guard or Guard()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the visitor's session, or refuse the visitor."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            session = await self._client.find_first(_presented(scope))
            refusal = self._guard.check_session(session)
        except ServiceUnavailable as error:
            session, refusal = None, self._guard.check_outage(error)
        if refusal is not None:
            await _refuse(scope, send, refusal)
            return
        scope.setdefault("state", {})["jay_session"] = session
        with logged_session(session):
            await self._app(scope, receive, send)


def _presented(scope: Scope) -> list[str]:
    lines: tuple[list[str], ...] = ([], [], [])
    for name, value in scope["headers"]:
        if (lower := name.lower()) in _NAMES:
            lines[_NAMES.index(lower)].append(value.decode("latin-1"))
    return candidates(*lines)


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    headers.append((b"content-length", str(len(refusal.body)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
