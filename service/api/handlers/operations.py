"""The handlers for those who run the service: is it alive, does it serve, how are its Redis and its figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable
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

    def __init__(self, check_store: Callable[[], Awaitable[None]]) -> None:
        self._check_store = check_store
        self._check: asyncio.Future[None] | None = None
        self.is_draining = False

    async def livez(self, _: web.Request) -> web.Response:
        """Answer 200 while the process runs, whatever becomes of Redis: a restart would not mend Redis."""
        return open_json_response(ALIVE)

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer 200 while Redis takes writes, else 503; 503 as well while draining."""
        if self.is_draining:
            return open_json_response(b'{"status":"draining"}', 503, _LATER)
        # One check for all who ask meanwhile: the route is open, and must not become a way to keep Redis busy.
        if self._check is None or self._check.done():
            self._check = asyncio.ensure_future(self._check_store())
        try:
            await asyncio.shield(self._check)
        except (StoreUnavailable, Overloaded):
            return open_json_response(b'{"status":"store-unavailable"}', 503, _LATER)
        return open_json_response(b'{"status":"ready"}')


class MetricsHandler:
    """GET of `/metrics`."""

    def __init__(self, write_text: Callable[[], bytes], recorder: RequestRecorder, content_type: str) -> None:
        self._write_text = write_text
        self._recorder = recorder
        self._content_type = content_type

    async def get_metrics(self, _: web.Request) -> web.Response:
        """Answer the metrics of all workers; of the others, what they had a tenth of a second ago."""
        asyncio.get_running_loop().call_soon(self._recorder.flush)
        await asyncio.sleep(0)  # the loop runs callbacks in their order: the flush first
        return text_response(await asyncio.to_thread(self._write_text), self._content_type)


class StatusHandler:
    """GET of `/analytics/store`."""

    def __init__(self, read_status: Callable[[], Awaitable[RedisStatus]], environment: str) -> None:
        self._read_status = read_status
        self._environment = environment
        self._answers = AnswerCache()

    async def get_status(self, _: web.Request) -> web.Response:
        """Answer the service's environment, the state of Redis, and how long Redis took; shared for a second."""

        async def answer() -> bytes:
            now, started = time.time(), time.perf_counter()
            state = await self._read_status()
            milliseconds = (time.perf_counter() - started) * 1000
            heading = {"as_of": rfc3339(now), "environment": self._environment}
            warnings = [asdict(risk) for risk in risks_of(state).values() if risk is not None]
            answered = {"answered_in_ms": round(milliseconds, 2)}
            return orjson.dumps({**heading, **answered, **asdict(state), "warnings": warnings})

        return json_response(await self._answers.get("state", answer))
