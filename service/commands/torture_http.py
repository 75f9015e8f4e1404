"""Requests of `jay-tracking torture`: concurrent, and bounded in their rate."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp

from service.api import wire
from service.commands.api_client import ApiClient
from service.telemetry.error_text import describe

PATH = wire.SESSION_PATHS[0]
USER_PATH = PATH + wire.USER_SUFFIX
_REQUEST_SECONDS = 5.0


class Pace:
    """Spaces requests so that at most `rate` are sent in a second.

    Unused time does not allow a burst later.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = 0.0

    def delay(self) -> float:
        """Return the seconds after which the caller sends the next request."""
        now = time.monotonic()
        due = max(self._next, now)
        self._next = due + 1 / self.rate
        return due - now

    async def wait(self) -> None:
        """Return when the next request may be sent."""
        await asyncio.sleep(self.delay())


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, and the session of a 200 or 201.

    Without an answer the status is 0, and `reason` says why. `is_sent` is false if the
    service cannot have received the request.
    """

    status: int
    reason: str
    is_sent: bool = True
    session_id: str = field(default="", repr=False)
    user_id: str | None = field(default=None, repr=False)

    @property
    def is_served(self) -> bool:
        """Whether an answer arrived whose status is below 500."""
        return 0 < self.status < HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def is_refusal(self) -> bool:
        """Whether the service has certainly done nothing."""
        return not self.is_sent or HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR


class TortureHttp:
    """Sends requests for sessions over up to `connections` connections.

    An async context manager.
    """

    def __init__(self, client: ApiClient, *, connections: int, rate: float) -> None:
        self._client = client
        self.connections = connections
        self.pace = Pace(rate)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.connections, ssl=self._client.tls or True),
            headers={wire.API_KEY: self._client.key} if self._client.key is not None else {},
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def send(
        self, method: str, session_id: str | None = None, user_id: str | None = None, path: str = PATH
    ) -> Reply:
        """Send a request about a session. A POST has no session id.

        The caller waits for the pace first.
        """
        headers = {wire.SESSION_TOKEN_ALIAS: session_id} if session_id is not None else {}
        body = {"user_id": user_id} if user_id is not None else None
        try:
            async with self._http.request(method, self._client.url + path, headers=headers, json=body) as response:
                return _reply(response.status, await response.read())
        except aiohttp.ClientConnectorError:
            # aiohttp sends a DELETE again when its connection breaks. This may be the
            # second attempt, and the service may have received the first.
            return Reply(0, "no connection", is_sent=method != "POST")
        except TimeoutError:
            return Reply(0, "no answer in time")
        except aiohttp.ClientError as error:
            return Reply(0, describe(error))

    async def change_user(self, session_id: str, user_id: str | None) -> Reply:
        """Give a session a user id, or remove it.

        The caller waits for the pace first.
        """
        return await self.send("DELETE" if user_id is None else "PUT", session_id, user_id, USER_PATH)

    async def is_ready(self) -> bool:
        """Return whether sessions can be served.

        When a proxy does not pass /readyz, a read of an absent session decides.
        """
        try:
            async with self._http.get(f"{self._client.url}/readyz") as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            return False
        if status in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
            return status == HTTPStatus.OK
        await self.pace.wait()
        return (await self.send("GET")).status == HTTPStatus.NOT_FOUND


def _reply(status: int, body: bytes) -> Reply:
    if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        return Reply(status, str(status))
    try:
        session = json.loads(body)
        return Reply(status, str(status), session_id=str(session["session_id"]), user_id=session.get("user_id"))
    except (ValueError, KeyError, TypeError):
        return Reply(0, f"{status} without a session")
