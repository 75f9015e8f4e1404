"""The handlers of users' rights: export and erasure."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import orjson
from aiohttp import web

from service.api.count_query import rfc3339
from service.api.responses import json_response
from service.api.session_body import render
from service.api.user_id import user_id_in_path
from service.sessions import Session, UserStore
from service.telemetry.metrics import Metrics

_REMAINING = (
    "The number of unique users keeps what this id added to it: a sketch holds no ids, and nothing can be taken out "
    "of it. Sessions that had ended or expired held the id no longer. {file}"
)
_REWRITTEN = "Redis has begun to write its append-only file anew, without the id."
_NOT_REWRITTEN = (
    "Redis did not begin to write its append-only file anew: it has none, or one is under way, or the "
    "service may not ask. If there is one, the id leaves it at the next rewrite; BGREWRITEAOF makes one."
)


_RENDERED_AT_ONCE = 500  # sessions; 1 ms of the event loop


class UserHandlers:
    """GET of `/users/{user_id}/sessions` and DELETE of `/users/{user_id}`."""

    def __init__(self, users: UserStore, metrics: Metrics, forget_answers: Callable[[], None]) -> None:
        """`forget_answers` is called after each erasure: answers that are kept for a moment hold user ids."""
        self._users = users
        self._metrics = metrics
        self._forget_answers = forget_answers

    async def export_sessions(self, request: web.Request) -> web.Response:
        """Answer the user's live sessions, whole, oldest first."""
        sessions = await self._users.find_sessions(user_id_in_path(request))
        as_of = rfc3339(time.time()).encode()
        parts = [part async for part in _rendered(sessions)]
        return json_response(b'{"as_of":"%b","sessions":[%b]}' % (as_of, b",".join(parts)))

    async def erase_user(self, request: web.Request) -> web.Response:
        """Answer a receipt, once all that is kept of the user and can be removed is removed."""
        user_id = user_id_in_path(request)
        now_us = time.time_ns() // 1000
        try:
            erased = await self._users.erase(user_id, now_us)
        finally:
            self._forget_answers()
        self._metrics.erased.add((), erased)
        file = _REWRITTEN if await self._users.rewrite_append_only_file() else _NOT_REWRITTEN
        moment = f"{rfc3339(now_us / 1_000_000)[:-1]}.{now_us % 1_000_000:06}Z"
        receipt = {"erased_sessions": erased, "erased_at": moment, "remaining": _REMAINING.format(file=file)}
        return json_response(orjson.dumps(receipt))


async def _rendered(sessions: Sequence[Session]) -> AsyncIterator[bytes]:
    """Yield the sessions as members of a JSON array. Other requests have their turn between two parts."""
    for start in range(0, len(sessions), _RENDERED_AT_ONCE):
        part = sessions[start : start + _RENDERED_AT_ONCE]
        yield orjson.dumps([render(session) for session in part])[1:-1]
        await asyncio.sleep(0)
