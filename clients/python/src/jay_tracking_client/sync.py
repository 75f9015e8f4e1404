"""The client for threads, on http.client of the standard library.

The requests are small and go to one host. httpx or urllib3 would add only a pool of
connections, so the client needs no package.
"""

import http.client
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, LifoQueue
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

from jay_tracking_client import operations
from jay_tracking_client.attempts import Attempts, Outcome, result_of
from jay_tracking_client.cache import SessionCache
from jay_tracking_client.errors import ConnectionFailed, TimedOut
from jay_tracking_client.lookups import Lookup
from jay_tracking_client.messages import Answer, Request
from jay_tracking_client.operations import Operation
from jay_tracking_client.options import Options, Target
from jay_tracking_client.sessions import Session, parse_session_id

T = TypeVar("T")


class TrackingClient:
    """Calls the service from any number of threads. Use it with `with`, or close it.

    The methods are those of `jay_tracking_client.aio.TrackingClient`, and raise the
    same errors. The time of a call limits each wait for the socket and not their sum.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        options: Options | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._target = Target(url, api_key)
        self._options = options or Options()
        self._sleep = sleep
        self._cache = SessionCache(self._options)
        self._pool = _Pool(self._target.url, self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all idle connections."""
        self._pool.close()

    def create(self, user_id: str | None = None, *, idempotency_key: str | None = None, gpc: bool = False) -> Session:
        """Create a session."""
        return self._run(operations.create(user_id, idempotency_key, gpc=gpc))

    def get(self, session_id: str) -> Session:
        """Return a live session. Raises SessionNotFound."""
        return self._run(operations.get(session_id))

    def end(self, session_id: str) -> None:
        """End a session. Ending it again, or a string that is no id, is harmless."""
        if parse_session_id(session_id):
            self._change(session_id, operations.end(session_id))

    def set_user(self, session_id: str, user_id: str) -> Session:
        """Return the session with a user id and a new id. Raises SessionNotFound."""
        return self._change(session_id, operations.set_user(session_id, user_id))

    def clear_user(self, session_id: str) -> Session:
        """Return the session without a user id, with a new id.

        Raises SessionNotFound.
        """
        return self._change(session_id, operations.clear_user(session_id))

    def lookup(self, session_ids: Iterable[str]) -> dict[str, Session]:
        """Return the live sessions of any number of ids, by id as it was passed."""
        asked = Lookup(session_ids, self._cache)
        for ids in asked.batches():
            asked_at = self._options.clock()
            found = self._run(operations.lookup(ids))
            self._cache.remember(found.sessions, asked_at, found.answered_at)
            asked.add(found.sessions)
        return asked.result()

    def find(self, session_id: str) -> Session | None:
        """Return a live session, or None."""
        return self.lookup([session_id]).get(session_id)

    def find_first(self, session_ids: Sequence[str]) -> Session | None:
        """Return the first live session of several ids, or None."""
        live = self.lookup(session_ids)
        return next((live[one] for one in session_ids if one in live), None)

    def _change(self, session_id: str, operation: Operation[T]) -> T:
        try:
            return self._run(operation)
        finally:
            self._cache.forget(session_id.lower())

    def _run(self, operation: Operation[T]) -> T:
        attempts = Attempts(operation.request, self._options)
        while True:
            outcome = self._send(operation.request, attempts.remaining_seconds())
            pause = attempts.pause_after(outcome)
            if pause is None:
                return result_of(operation, outcome)
            self._sleep(pause)

    def _send(self, request: Request, seconds: float) -> Outcome:
        headers = {"X-API-Key": self._target.api_key, **request.headers}
        try:
            return self._pool.send(request, headers, seconds)
        except TimeoutError:
            return TimedOut("the service did not answer in time")
        except (http.client.HTTPException, OSError) as error:
            # The representation of some errors has a line of the answer.
            return ConnectionFailed(f"the connection to the service failed: {type(error).__name__}")


class _Pool:
    """Idle connections. The most recently used one is used next."""

    def __init__(self, url: str, options: Options) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path
        self._is_secure = parts.scheme == "https"
        self._options = options
        self._idle: LifoQueue[http.client.HTTPConnection] = LifoQueue()

    def send(self, request: Request, headers: dict[str, str], seconds: float) -> Answer:
        """Send a request over an idle or a new connection."""
        connection = self._idle_connection() or self._new(min(seconds, self._options.connect_seconds))
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(seconds)
            connection.request(request.method, self._prefix + request.path, request.body, headers)
            response = connection.getresponse()
            body = response.read()
        except BaseException:
            connection.close()
            raise
        if connection.sock is None or self._idle.qsize() >= self._options.max_connections:
            connection.close()
        else:
            self._idle.put(connection)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def close(self) -> None:
        while (connection := self._taken()) is not None:
            connection.close()

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        while (connection := self._taken()) is not None:
            if not _is_closed(connection.sock):
                return connection
            connection.close()
        return None

    def _new(self, seconds: float) -> http.client.HTTPConnection:
        if not self._is_secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        context = self._options.ssl_context
        return http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=context)

    def _taken(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None


def _is_closed(sock: socket.socket) -> bool:
    """Return whether an idle socket has data, which can only be its end."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
