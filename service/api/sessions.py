"""The handlers of tracking sessions: create, read, end."""

from collections.abc import Awaitable
from typing import Protocol

import orjson
from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.authorization import API_KEY
from service.api.create_body import read_user_id
from service.api.responses import empty_response, json_response
from service.api.session_token import SessionCookie, candidates
from service.sessions import Session, SessionFactory


class Sessions(Protocol):
    """What the handlers ask of the store, as this side of the house may not import the other."""

    def create(self, session: Session) -> Awaitable[None]:
        """Store a new session."""

    def find(self, candidates: tuple[str, ...]) -> Awaitable[Session | None]:
        """Return the first of at least one candidate that is live."""

    def end(self, candidates: tuple[str, ...]) -> Awaitable[object]:
        """End all of at least one candidate that are live."""


class SessionHandlers:
    """POST, GET and DELETE of `/playouts/tracking/session`."""

    def __init__(self, sessions: Sessions, factory: SessionFactory, cookie: SessionCookie, source: str) -> None:
        self._sessions = sessions
        self._factory = factory
        self._cookie = cookie
        self._source = source

    async def create_session(self, request: web.Request) -> web.Response:
        """Answer 201 with a new session, its cookie and its header; an id that the client sent is never adopted."""
        user_id = await read_user_id(request)
        session = self._factory.new(request[API_KEY].source or self._source, user_id)
        await self._sessions.create(session)
        token = {wire.SESSION_TOKEN: session.id, hdrs.SET_COOKIE: self._cookie.setting(session.id)}
        return json_response(_render(session), 201, token)

    async def get_session(self, request: web.Request) -> web.Response:
        """Answer 200 with the first live session that the request presents; its lifetime stays as it is."""
        presented = candidates(request.headers)
        session = await self._sessions.find(presented) if presented else None
        if session is None:
            raise errors.SessionNotFound("The request presents no live session; create one with POST.")
        return json_response(_render(session))

    async def end_session(self, request: web.Request) -> web.Response:
        """Answer 204 and clear the cookie, once every live session that the request presents has ended."""
        if presented := candidates(request.headers):
            await self._sessions.end(presented)
        return empty_response({hdrs.SET_COOKIE: self._cookie.deletion})


def _render(session: Session) -> bytes:
    """Return the response body: exactly the spec's members, `user_id` only when there is one."""
    content = {"session_id": session.id, "start_time": session.start_time, "source": session.source}
    if session.user_id is not None:
        content["user_id"] = session.user_id
    return orjson.dumps(content)
