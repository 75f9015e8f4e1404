"""The handlers of `/livez` and `/readyz`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import orjson
from aiohttp import web

from service.api import wire
from service.api.problems import RETRY_AFTER_SECONDS
from service.api.responses import open_json_response
from service.errors import Overloaded, StoreUnavailable

ALIVE = b'{"status":"alive"}'
_LATER = {wire.RETRY_AFTER: RETRY_AFTER_SECONDS}


class Health:
    """`/livez` and `/readyz`. `is_draining` is set once, when shutdown begins."""

    def __init__(self, check_store: Callable[[], Awaitable[Sequence[int]]]) -> None:
        """`check_store` returns the shards that are out of service."""
        self._check_store = check_store
        self._check: asyncio.Future[Sequence[int]] | None = None
        self.is_draining = False

    async def livez(self, _: web.Request) -> web.Response:
        """Answer 200 while the process runs, even without Redis.

        A restart of the service does not fix Redis.
        """
        return open_json_response(ALIVE)

    async def readyz(self, request: web.Request) -> web.Response:
        """Answer 200 while Redis takes writes.

        Answer 503 if it does not, and while draining. `shards_out` lists the shards of
        a cluster that take no writes. With `?shards=any`, the answer is 200 while at
        least one shard does.
        """
        if self.is_draining:
            return open_json_response(b'{"status":"draining"}', 503, _LATER)
        # Requests share the check that is in progress. The route needs no key, so
        # otherwise anyone could keep Redis busy with it.
        if self._check is None or self._check.done():
            self._check = asyncio.ensure_future(self._check_store())
        try:
            shards_out = await asyncio.shield(self._check)
        except (StoreUnavailable, Overloaded):
            return open_json_response(b'{"status":"store-unavailable"}', 503, _LATER)
        if not shards_out:
            return open_json_response(b'{"status":"ready"}')
        if request.query.get("shards") == "any":
            return open_json_response(orjson.dumps({"status": "ready", "shards_out": shards_out}))
        return open_json_response(
            orjson.dumps({"status": "store-unavailable", "shards_out": shards_out}), 503, _LATER
        )
