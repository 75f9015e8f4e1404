"""The handlers of users' rights: export and erasure."""

import time
from collections.abc import Callable

import orjson
from aiohttp import web

from service.api.responses import json_response
from service.api.session_body import exported_json, joined_json
from service.api.timestamps import rfc3339
from service.api.user_id import user_id_in_path
from service.digests import SessionRefs
from service.telemetry.metrics import Metrics
from service.users import UserStore

_REMAINING = (
    "The number of unique users still includes this user: it is estimated from sketches, which hold no ids and "
    "from which nothing can be removed. Sessions that had ended or expired no longer held the id. {file}"
)
_REWRITTEN = "Redis has started to rewrite its append-only file without the id."
_NOT_REWRITTEN = (
    "If Redis has an append-only file, the id stays in it until the next rewrite. Start one with BGREWRITEAOF."
)


class UserHandlers:
    """GET of `/users/{user_id}/sessions` and DELETE of `/users/{user_id}`."""

    def __init__(
        self, users: UserStore, refs: SessionRefs, metrics: Metrics, forget_answers: Callable[[], None]
    ) -> None:
        """`forget_answers` drops cached answers, which may hold the id of a user.

        Each erasure calls it.
        """
        self._users = users
        self._refs = refs
        self._metrics = metrics
        self._forget_answers = forget_answers

    async def export_sessions(self, request: web.Request) -> web.Response:
        """Answer 200 with the user's live sessions, complete, oldest first."""
        sessions = await self._users.find_sessions(user_id_in_path(request))
        as_of = rfc3339(time.time()).encode()
        exported = await joined_json(sessions, exported_json, self._refs)
        return json_response(b'{"as_of":"%b","sessions":[%b]}' % (as_of, exported))

    async def erase_user(self, request: web.Request) -> web.Response:
        """Erase the user's data.

        Answer 200 with a receipt that names the data that remains.
        """
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
