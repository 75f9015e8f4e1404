"""The handlers for operators: liveness, readiness, metrics, the status of Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

import orjson
from aiohttp import web

from service.api import wire
from service.api.answer_cache import AnswerCache
from service.api.count_query import rfc3339
from service.api.problems import RETRY_AFTER_SECONDS
from service.api.responses import json_response, open_json_response, text_response
from service.errors import Overloaded, StoreUnavailable
from service.store_status import RedisStatus, risks_of
from service.telemetry.request_recorder import RequestRecorder

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


class MetricsHandler:
    """GET of `/metrics`."""

    def __init__(self, text: Callable[[], bytes], recorder: RequestRecorder, content_type: str) -> None:
        """`text` returns the metrics, and blocks while it reads files."""
        self._text = text
        self._recorder = recorder
        self._content_type = content_type

    async def get_metrics(self, _: web.Request) -> web.Response:
        """Answer 200 with the metrics of all workers.

        The metrics of other workers are up to 0.1 s old.
        """
        asyncio.get_running_loop().call_soon(self._recorder.flush)
        # The loop runs callbacks in order, so the flush comes first.
        await asyncio.sleep(0)
        return text_response(await asyncio.to_thread(self._text), self._content_type)


class StatusHandler:
    """GET of `/analytics/store`."""

    def __init__(self, read_status: Callable[[], Awaitable[RedisStatus]], environment: str) -> None:
        self._read_status = read_status
        self._environment = environment
        self._answers = AnswerCache()

    async def get_status(self, _: web.Request) -> web.Response:
        """Answer 200 with the environment and the status of Redis.

        Requests share an answer for one second.
        """

        async def answer() -> bytes:
            now, started = time.time(), time.perf_counter()
            status = await self._read_status()
            milliseconds = (time.perf_counter() - started) * 1000
            heading = {"as_of": rfc3339(now), "environment": self._environment}
            warnings = [asdict(risk) for risk in risks_of(status).values() if risk is not None]
            answered = {"answered_in_ms": round(milliseconds, 2)}
            return orjson.dumps({**heading, **answered, **asdict(status), "warnings": warnings})

        return json_response(await self._answers.get("status", answer))
