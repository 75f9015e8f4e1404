"""The handlers of tracking sessions: create, get, end, look up."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import hdrs, web

from service import errors
from service.api import wire
from service.api.auth import API_KEY
from service.api.create_body import read_user_id
from service.api.create_limits import CreateLimits
from service.api.field_lines import combined
from service.api.gpc import allowed_user_id
from service.api.idempotency import idempotency_key
from service.api.lookup_body import read_session_ids
from service.api.responses import empty_response, json_response
from service.api.session_body import found_json, joined_json, session_json
from service.api.session_token import SESSION_OF_REQUEST, SessionCookie, candidates
from service.digests import SessionRefs
from service.sessions import Session, SessionBatchStore, SessionFactory, SessionStore, parse_session_id
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
        refs: SessionRefs,
        limits: CreateLimits,
        source: str,
        metrics: Metrics,
    ) -> None:
        self._sessions = sessions
        self._lookup = lookup
        self._factory = factory
        self._cookie = cookie
        self._refs = refs
        self._limits = limits
        self._source = source
        self._metrics = metrics
        self._lookup_turn = asyncio.Lock()

    async def create_session(self, request: web.Request) -> web.Response:
        """Answer 201 with a new session in body, cookie and header.

        The handler ignores ids that the client sends. A repeated `Idempotency-Key` gets
        the session of the first request. Raises SessionAlreadyEnded when it has ended.
        """
        once = idempotency_key(request.headers.getall(wire.IDEMPOTENCY_KEY, ()))
        user_id = await read_user_id(request)
        self._limits.check(request)
        user_id = allowed_user_id(user_id, request[API_KEY], combined(request.headers, wire.SEC_GPC))
        if once is not None:
            return await self._create_once(request, user_id, once)
        session = self._factory.new(self._source_of(request), user_id)
        if not await self._sessions.create(session):
            raise id_taken()
        self._metrics.created.add((session.source,))
        return session_response(request, session, self._cookie.setting(session.id), 201)

    async def _create_once(self, request: web.Request, user_id: str | None, key: str) -> web.Response:
        new, request_hash = self._factory.new_once(self._source_of(request), user_id, request[API_KEY].name, key)
        session = await self._sessions.create_once(new, request_hash)
        if session is None:
            raise session_already_ended()
        if session == new:
            self._metrics.created.add((session.source,))
        cookie = self._cookie.setting(session.id, session.seconds_left(time.time()))
        return session_response(request, session, cookie, 201)

    async def get_session(self, request: web.Request) -> web.Response:
        """Answer 200 with the first live session that the request presents.

        Reading does not extend the lifetime. Raises SessionNotFound.
        """
        presented = candidates(request.headers)
        session = await self._sessions.find(presented) if presented else None
        if session is None:
            self._metrics.missed.add((self._source_of(request),))
            raise session_not_found()
        request[SESSION_OF_REQUEST] = session.id
        self._metrics.found.add((session.source,))
        return json_response(session_json(session), more={wire.SESSION_EXPIRES: session.expires_at})

    async def end_session(self, request: web.Request) -> web.Response:
        """End every live session that the request presents.

        Answer 204 and delete the cookie.
        """
        if presented := candidates(request.headers):
            sources = await self._sessions.end(presented)
            if sources and len(presented) == 1:
                (request[SESSION_OF_REQUEST],) = presented
            for source in sources:
                self._metrics.ended.add((source,))
        return empty_response({hdrs.SET_COOKIE: self._cookie.deletion})

    async def look_up_sessions(self, request: web.Request) -> web.Response:
        """Answer 200 with the live sessions among many ids, and the other ids.

        A string that is not a session id is missing, like an unknown id.
        """
        requested = await read_session_ids(request)
        async with self._in_turn():
            ids = {string: session_id for string in requested if (session_id := parse_session_id(string))}
            unique = list(dict.fromkeys(ids.values()))
        live = await self._lookup.find_each(unique) if unique else {}
        async with self._in_turn():
            sessions = [live[session_id] for session_id in unique if session_id in live]
            for session in sessions:
                self._metrics.found.add((session.source,))
            missing = [string for string in requested if ids.get(string) not in live]
            self._metrics.missed.add((self._source_of(request),), len(missing))
            found = await joined_json(sessions, found_json, self._refs)
            return json_response(b'{"sessions":[%b],"missing":%b}' % (found, orjson.dumps(missing)))

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Run the block in a turn of the event loop in which no other lookup runs it.

        A thousand ids take 1 ms. So visitors are answered between two lookups.
        """
        async with self._lookup_turn:
            await asyncio.sleep(0)
            yield

    def _source_of(self, request: web.Request) -> str:
        """Return the source of the sessions that the request's API key creates."""
        return request[API_KEY].source or self._source


def session_response(request: web.Request, session: Session, cookie: str, status: int) -> web.Response:
    """Return the response that gives a client a session in body, header and cookie."""
    request[SESSION_OF_REQUEST] = session.id
    more = {
        wire.SESSION_TOKEN: session.id,
        hdrs.SET_COOKIE: cookie,
        wire.SESSION_EXPIRES: session.expires_at,
    }
    return json_response(session_json(session), status, more)


def session_not_found() -> errors.SessionNotFound:
    """Return the error for a request that presents no live session."""
    return errors.SessionNotFound("The request presents no live session. Create one with POST.")


def session_already_ended() -> errors.SessionAlreadyEnded:
    """Return the error for an idempotency key whose session is no longer live."""
    return errors.SessionAlreadyEnded(
        "The session that this Idempotency-Key created has ended. Create another one with a new key."
    )


def id_taken() -> RuntimeError:
    """Return the error for a new session whose random id exists already."""
    return RuntimeError("the id of a new session is taken: the random source is broken")
