"""The handlers of tracking sessions: create, read, end, look up."""

import orjson
from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.auth import API_KEY
from service.api.create_body import read_user_id
from service.api.create_limits import CreateLimits
from service.api.lookup_body import read_session_ids
from service.api.responses import empty_response, json_response
from service.api.session_body import render
from service.api.session_token import SessionCookie, candidates
from service.sessions import SessionBatchStore, SessionFactory, SessionStore, parse_session_id
from service.telemetry.metrics import Metrics


class SessionHandlers:
    """POST, GET and DELETE of `/session`, POST of `/sessions/lookup`."""

    def __init__(
        self,
        sessions: SessionStore,
        lookup: SessionBatchStore,
        factory: SessionFactory,
        cookie: SessionCookie,
        *,
        limits: CreateLimits,
        source: str,
        metrics: Metrics,
    ) -> None:
        self._sessions = sessions
        self._lookup = lookup
        self._factory = factory
        self._cookie = cookie
        self._limits = limits
        self._source = source
        self._metrics = metrics

    async def create_session(self, request: web.Request) -> web.Response:
        """Answer 201 with a new session, its cookie and its header; an id that the client sent is never adopted."""
        user_id = await read_user_id(request)
        self._limits.check(request)
        session = self._factory.new(self._source_of(request), user_id)
        if not await self._sessions.create(session):
            raise id_taken()
        self._metrics.created.add((session.source,))
        token = {wire.SESSION_TOKEN: session.id, hdrs.SET_COOKIE: self._cookie.setting(session.id)}
        return json_response(orjson.dumps(render(session)), 201, token)

    async def get_session(self, request: web.Request) -> web.Response:
        """Answer 200 with the first live session that the request presents; its lifetime stays as it is."""
        presented = candidates(request.headers)
        session = await self._sessions.find(presented) if presented else None
        if session is None:
            self._metrics.missed.add((self._source_of(request),))
            raise session_not_found()
        self._metrics.found.add((session.source,))
        return json_response(orjson.dumps(render(session)))

    async def end_session(self, request: web.Request) -> web.Response:
        """Answer 204 and clear the cookie, once every live session that the request presents has ended."""
        if presented := candidates(request.headers):
            for source in await self._sessions.end(presented):
                self._metrics.ended.add((source,))
        return empty_response({hdrs.SET_COOKIE: self._cookie.deletion})

    async def look_up_sessions(self, request: web.Request) -> web.Response:
        """Answer which of many sessions are live; what is no id at all is as missing as an unknown one."""
        asked = await read_session_ids(request)
        ids = {text: session_id for text in asked if (session_id := parse_session_id(text))}
        live = await self._lookup.find_each(list(dict.fromkeys(ids.values()))) if ids else {}
        sessions = {live[session_id].id: live[session_id] for session_id in ids.values() if session_id in live}
        for session in sessions.values():
            self._metrics.found.add((session.source,))
        missing = [text for text in asked if ids.get(text) not in live]
        self._metrics.missed.add((self._source_of(request),), len(missing))
        content = {
            "sessions": [render(session) for session in sessions.values()],
            "missing": missing,
        }
        return json_response(orjson.dumps(content))

    def _source_of(self, request: web.Request) -> str:
        """Return the source of the API key, which is that of the sessions it creates."""
        return request[API_KEY].source or self._source


def session_not_found() -> errors.SessionNotFound:
    """Return the error of a request that presents no live session."""
    return errors.SessionNotFound("The request presents no live session; create one with POST.")


def id_taken() -> RuntimeError:
    """Return the error of a new session whose random id exists already."""
    return RuntimeError("a new session's random id is taken: the random source is broken")
