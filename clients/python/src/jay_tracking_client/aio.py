"""The asyncio client, on aiohttp."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import aiohttp

from jay_tracking_client import operations
from jay_tracking_client.attempts import Attempts, Outcome, result_of
from jay_tracking_client.cache import SessionCache
from jay_tracking_client.coalescer import Coalescer
from jay_tracking_client.errors import ConnectionFailed, TimedOut
from jay_tracking_client.lookups import Lookup, check_ids
from jay_tracking_client.messages import Answer, Request
from jay_tracking_client.operations import Operation
from jay_tracking_client.options import Options, Target
from jay_tracking_client.sessions import Session, parse_session_id

T = TypeVar("T")


class TrackingClient:
    """Calls the service from one event loop. Use it with `async with`, or close it.

    Every method raises the errors of `jay_tracking_client.errors`.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        options: Options | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._target = Target(url, api_key)
        self._options = options or Options()
        self._sleep = sleep
        self._cache = SessionCache(self._options)
        self._coalescer = Coalescer(self._look_up, self._options.coalesce_seconds)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish the lookups of waiting callers and close all connections."""
        try:
            await self._coalescer.close()
        finally:
            if self._http is not None:
                await self._http.close()

    async def create(
        self, user_id: str | None = None, *, idempotency_key: str | None = None, gpc: bool = False
    ) -> Session:
        """Create a session.

        Pass a user id only when the user is logged in and has agreed. `gpc` passes on a
        visitor's `Sec-GPC: 1`. The key is random by default. Pass one to repeat the
        creation in another call.
        """
        return await self._run(operations.create(user_id, idempotency_key, gpc=gpc))

    async def get(self, session_id: str) -> Session:
        """Return a live session. Raises SessionNotFound."""
        return await self._run(operations.get(session_id))

    async def end(self, session_id: str) -> None:
        """End a session. Ending it again, or a string that is no id, is harmless."""
        if parse_session_id(session_id):
            await self._change(session_id, operations.end(session_id))

    async def set_user(self, session_id: str, user_id: str) -> Session:
        """Return the session with a user id and a new id. Raises SessionNotFound."""
        return await self._change(session_id, operations.set_user(session_id, user_id))

    async def clear_user(self, session_id: str) -> Session:
        """Return the session without a user id, with a new id.

        Raises SessionNotFound.
        """
        return await self._change(session_id, operations.clear_user(session_id))

    async def lookup(self, session_ids: Iterable[str]) -> dict[str, Session]:
        """Return the live sessions of any number of ids, by id as it was passed."""
        asked = Lookup(session_ids, self._cache)
        for ids in asked.batches():
            asked.add(await self._look_up(ids))
        return asked.result()

    async def find(self, session_id: str) -> Session | None:
        """Return a live session, or None.

        Calls of the same few milliseconds share one lookup.
        """
        parsed = parse_session_id(session_id)
        if parsed is None:
            return None
        return self._cache.find(parsed) or await self._coalescer.find(parsed)

    async def find_first(self, session_ids: Sequence[str]) -> Session | None:
        """Return the first live session of several ids, or None."""
        check_ids(session_ids)
        found = await asyncio.gather(*map(self.find, session_ids))
        return next(filter(None, found), None)

    async def _look_up(self, ids: Sequence[str]) -> list[Session]:
        asked_at = self._options.clock()
        found = await self._run(operations.lookup(ids))
        self._cache.remember(found.sessions, asked_at, found.answered_at)
        return found.sessions

    async def _change(self, session_id: str, operation: Operation[T]) -> T:
        try:
            return await self._run(operation)
        finally:
            self._cache.forget(session_id.lower())

    async def _run(self, operation: Operation[T]) -> T:
        attempts = Attempts(operation.request, self._options)
        while True:
            outcome = await self._send(operation.request, attempts.remaining_seconds())
            pause = attempts.pause_after(outcome)
            if pause is None:
                return result_of(operation, outcome)
            await self._sleep(pause)

    async def _send(self, request: Request, seconds: float) -> Outcome:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=self._options.connect_seconds)
        try:
            async with self._connected().request(
                request.method,
                self._target.url + request.path,
                headers={"X-API-Key": self._target.api_key, **request.headers},
                data=request.body,
                timeout=timeout,
                allow_redirects=False,  # another host must not get the API key
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, headers, await response.read())
        except TimeoutError:
            return TimedOut("the service did not answer in time")
        except ConnectionFailed as error:
            return error
        except (aiohttp.ClientError, OSError) as error:
            return _connection_failed(error)

    def _connected(self) -> aiohttp.ClientSession:
        if self._http is None:
            # Without a cookie jar. Otherwise the session of one visitor would be sent
            # with the requests of the next.
            self._http = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(
                    limit=self._options.max_connections, ssl=self._options.ssl_context or True
                ),
                middlewares=(_send_once,),
            )
        return self._http


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request itself, beside the attempts of the client.

    It does so after these two errors.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _connection_failed(error) from None


def _connection_failed(error: Exception) -> ConnectionFailed:
    # Without the error: the representation of some has the request's headers.
    return ConnectionFailed(f"the connection to the service failed: {type(error).__name__}")
