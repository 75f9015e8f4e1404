"""The handlers of consent that changes during a visit: PUT and DELETE of the user."""

import time

from aiohttp import web

from service import errors
from service.api import wire
from service.api.auth import API_KEY
from service.api.create_body import FIELDS, read_user_id
from service.api.field_lines import combined
from service.api.gpc import allowed_user_id
from service.api.handlers.sessions import session_not_found, session_response
from service.api.session_token import SessionCookie, candidates
from service.users import ConsentStore


class ConsentHandlers:
    """PUT and DELETE of `/session/user`."""

    def __init__(self, store: ConsentStore, cookie: SessionCookie) -> None:
        self._store = store
        self._cookie = cookie

    async def set_user(self, request: web.Request) -> web.Response:
        """Answer 200 with the presented session, which goes on with a user id.

        Raises InvalidRequest without a user id, and SessionNotFound.
        """
        user_id = await read_user_id(request)
        if user_id is None:
            raise errors.InvalidRequest(
                "user_id is missing or empty. To let the session go on without a user id, send DELETE.",
                member=FIELDS[0],
            )
        signal = combined(request.headers, wire.SEC_GPC)
        return await self._change(request, allowed_user_id(user_id, request[API_KEY], signal))

    async def remove_user(self, request: web.Request) -> web.Response:
        """Answer 200 with the presented session, which goes on without a user id.

        Raises SessionNotFound.
        """
        return await self._change(request, None)

    async def _change(self, request: web.Request, user_id: str | None) -> web.Response:
        presented = candidates(request.headers)
        session = await self._store.set_user(presented, user_id) if presented else None
        if session is None:
            raise session_not_found()
        cookie = self._cookie.setting(session.id, session.seconds_left(time.time()))
        return session_response(request, session, cookie, 200)
