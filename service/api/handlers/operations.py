"""The handlers for operators: metrics and the status of Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import orjson
from aiohttp import web

from service.api.answer_cache import AnswerCache
from service.api.responses import json_response, text_response
from service.api.timestamps import rfc3339
from service.store_status import StoreStatus, risks_of
from service.telemetry.request_recorder import RequestRecorder


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


class StoreStatusHandler:
    """GET of `/analytics/store`."""

    def __init__(self, read_status: Callable[[], Awaitable[StoreStatus]], environment: str) -> None:
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
