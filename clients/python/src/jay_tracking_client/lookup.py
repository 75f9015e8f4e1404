"""Asks the service about sessions: many ids in one request, with a short cache.

Ids that are asked for in one turn of the event loop share a request. While the cache is
on, a live session is not asked for again for `cache_seconds`, and never beyond its
expiry. A session that ends stays valid in the cache for that time. Ids without a live
session are never cached, because a session may be created at any moment.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from jay_tracking_client.sessions import (
    DEFAULT_RETRY_AFTER_SECONDS,
    RequestRejected,
    ServiceUnavailable,
    Session,
    Visit,
)

PATH = "/v1/playouts/tracking/sessions/lookup"
MAX_IDS = 1000  # of one request, a limit of the service


class SessionLookup:
    """Finds live sessions. Use one for the whole process, in one event loop."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout_seconds: float = 1,
        cache_seconds: float = 0,
        cache_size: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`url` is the service, such as `https://tracking.example.com`.

        The key needs the scope `validate`. `timeout_seconds` bounds each request as a
        whole.
        """
        self._url = url.rstrip("/") + PATH
        self._headers = {"X-API-Key": api_key}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._cache_seconds = cache_seconds
        self._cache_size = cache_size
        self._clock = clock
        self._cache: dict[str, tuple[Session, float]] = {}
        self._waiting: dict[str, asyncio.Future[Session | None]] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Return the lookup."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Wait for the requests in flight and close the connections."""
        await asyncio.gather(*self._requests)
        if self._http is not None:
            await self._http.close()

    async def find(self, session_ids: Sequence[str]) -> Session | None:
        """Return the session of the first id that is live, or None.

        Raises ServiceUnavailable and RequestRejected.
        """
        found = await asyncio.gather(*map(self._find_one, session_ids))
        return next((session for session in found if session is not None), None)

    async def visit(self, session_ids: Sequence[str]) -> Visit:
        """Return the visit of a request. It is `unknown` while the service is away.

        Raises RequestRejected.
        """
        try:
            session = await self.find(session_ids)
        except ServiceUnavailable:
            return Visit("unknown")
        return Visit("none") if session is None else Visit("live", session)

    def _find_one(self, session_id: str) -> asyncio.Future[Session | None]:
        loop = asyncio.get_running_loop()
        cached, until = self._cache.get(session_id, (None, 0.0))
        if cached is not None and self._clock() < until:
            known: asyncio.Future[Session | None] = loop.create_future()
            known.set_result(cached)
            return known
        if session_id not in self._waiting:
            if not self._waiting:
                loop.call_soon(self._send)
            self._waiting[session_id] = loop.create_future()
        # A caller that is cancelled must not cancel the result of others.
        return asyncio.shield(self._waiting[session_id])

    def _send(self) -> None:
        waiting, self._waiting = list(self._waiting.items()), {}
        for start in range(0, len(waiting), MAX_IDS):
            request = asyncio.get_running_loop().create_task(self._ask(dict(waiting[start : start + MAX_IDS])))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    async def _ask(self, waiting: Mapping[str, "asyncio.Future[Session | None]"]) -> None:
        try:
            sessions = {session.session_id: session for session in await self._look_up(list(waiting))}
        except Exception as error:  # noqa: BLE001 - each caller gets it
            for result in waiting.values():
                result.set_exception(error)
                result.exception()  # a caller may be cancelled and never see it
            return
        for session_id, result in waiting.items():
            result.set_result(sessions.get(session_id))
        if self._cache_seconds > 0:
            self._remember(sessions)

    def _remember(self, sessions: Mapping[str, Session]) -> None:
        now = self._clock()
        for session_id, session in sessions.items():
            self._cache.pop(session_id, None)
            self._cache[session_id] = session, min(now + self._cache_seconds, session.expires_at.timestamp())
        while len(self._cache) > self._cache_size:
            del self._cache[next(iter(self._cache))]

    async def _look_up(self, session_ids: Sequence[str]) -> list[Session]:
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        try:
            async with self._http.post(self._url, json={"session_ids": list(session_ids)}) as response:
                if response.status == HTTPStatus.OK:
                    return [_session(content) for content in (await response.json())["sessions"]]
                raise _error(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceUnavailable(f"the tracking service does not answer ({type(error).__name__})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise RequestRejected(
                f"{self._url} does not answer like a tracking service ({type(error).__name__})"
            ) from None


def _error(response: aiohttp.ClientResponse) -> ServiceUnavailable | RequestRejected:
    status = response.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        retry_after = response.headers.get("Retry-After", "")
        seconds = int(retry_after) if retry_after.isdecimal() else DEFAULT_RETRY_AFTER_SECONDS
        return ServiceUnavailable(f"the tracking service answered {status}", seconds)
    advice = {
        HTTPStatus.UNAUTHORIZED: "check the API key",
        HTTPStatus.FORBIDDEN: "the API key needs the scope validate",
        HTTPStatus.NOT_FOUND: "check the URL",
    }.get(HTTPStatus(status), "check the URL and the API key")
    return RequestRejected(f"the tracking service answered {status}: {advice}")


def _session(content: Mapping[str, Any]) -> Session:
    return Session(
        session_id=content["session_id"],
        ref=content["ref"],
        source=content["source"],
        start_time=datetime.fromisoformat(content["start_time"]).replace(tzinfo=UTC),
        expires_at=datetime.fromisoformat(content["expires_at"]),
        user_id=content.get("user_id"),
    )
