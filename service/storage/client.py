"""Sends commands to one Redis server over the connections of redis-py.

redis-py connects, authenticates, reconnects and parses. Its own path for a command
costs 120 µs of CPU for a batch of 32 keys. `Client.call_all` costs 31 µs, because it
packs the command in C, leaves out redis-py's metrics, and keeps the connection.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from service.storage.deadlines import next_step
from service.storage.script_files import script_with
from service.storage.tls import TlsConnection

Prepare = Callable[[AbstractConnection], Awaitable[None]]
Word = str | int | bytes
Command = Sequence[Word]

# Settings of every connection. Callers retry, and limit the time.
_CONNECTION_SETTINGS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "protocol": 2,
    "driver_info": None,  # no CLIENT SETINFO, which an ACL would have to allow
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}

# The errors of uvloop, and of asyncio in Python 3.12 and 3.13, for a write to a
# connection that was reset before.
_WRITE_ERRORS = (RuntimeError, AttributeError)

# The stub of hiredis knows only commands of one word.
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


def _make_pool(
    url: str, timeout_seconds: float, max_connections: int, prepare: Prepare | None = None
) -> ConnectionPool:
    """Return a pool of connections to a server.

    `prepare` runs on each new connection before its first command. Each step of
    connecting has the whole time of a call (`deadlines.py`).
    """

    async def connect(connection: AbstractConnection) -> None:
        next_step()
        with _closed_connections():
            await connection.on_connect()
        next_step()
        if prepare is not None:
            await prepare(connection)

    options: dict[str, Any] = {**parse_url(url)}
    if url.startswith("rediss:"):
        options["connection_class"] = TlsConnection
    return ConnectionPool(
        **options,
        max_connections=max_connections,
        socket_timeout=None,
        # The caller ends an attempt to connect sooner, unless this process is late.
        socket_connect_timeout=4 * timeout_seconds,
        redis_connect_func=connect,
        **_CONNECTION_SETTINGS,
    )


class Client:
    """Runs commands. The caller limits their time and retries them.

    `redis` is redis-py's client, for everything else. `call_all` takes a connection
    from the pool and keeps it for later calls, and `redis` uses the others. So the pool
    has twice the connections.
    """

    def __init__(self, url: str, timeout_seconds: float, connections: int, prepare: Prepare | None = None) -> None:
        """Use at most `connections` for `call_all`, and as many for `redis`.

        `prepare` runs on each new connection before its first command.
        """
        self.url = url
        self._pool = _make_pool(url, timeout_seconds, 2 * connections, prepare)
        self.redis = Redis.from_pool(self._pool)
        self._kept: list[AbstractConnection] = []
        self._new_connection: Callable[[], Awaitable[AbstractConnection]] = self._pool.get_connection

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands that are sent together on one connection.

        An error reply is returned, not raised. Raises redis-py's errors of connections.
        A script that the server does not have is sent to it, and all commands are sent
        again.
        """
        replies = await self._send(commands)
        if missing := [reply for reply in replies if isinstance(reply, NoScriptError)]:
            digests = {command[1] for command, reply in zip(commands, replies, strict=True) if reply in missing}
            for reply in await self._send([("SCRIPT", "LOAD", script_with(digest)) for digest in digests]):
                if isinstance(reply, ResponseError):
                    raise reply
            replies = await self._send(commands)
        return replies

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._kept.pop() if self._kept else await self._new_connection()
        try:
            # Between two commands, data or an end means that the server has closed it.
            if connection.is_connected and (_is_marked(connection) or await connection.can_read()):
                await connection.disconnect(nowait=True)
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]  # the library's
            with _closed_connections():
                await connection.send_packed_command([_pack(command) for command in commands], check_health=False)
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    replies.append(error)
        except BaseException:
            # The reply may still arrive, and would be the next command's.
            await connection.disconnect(nowait=True)
            raise
        finally:
            if _is_marked(connection):
                await connection.disconnect(nowait=True)
            self._kept.append(connection)
        return replies

    def connections(self) -> tuple[int, int]:
        """Return the numbers of idle and of used connections."""
        (idle, _), (used, _) = self._pool.get_connection_count()
        return idle + len(self._kept), used - len(self._kept)

    async def reconnect(self) -> None:
        """Close all connections, so that the server's name is resolved again.

        A connection in use is closed after its command.
        """
        await self._pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]  # the library's
        # The connection may be broken already.
        with suppress(OSError, RedisConnectionError, RedisTimeoutError):
            await self._pool.disconnect(inuse_connections=False)
        for connection in self._kept:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose()


@contextmanager
def _closed_connections() -> Iterator[None]:
    """Raise the errors of a write to a closed connection as redis-py's error."""
    try:
        yield
    except _WRITE_ERRORS as error:
        raise RedisConnectionError("the connection was closed") from error


def _is_marked(connection: AbstractConnection) -> bool:
    """Return whether a connection has to be closed before its next use."""
    return bool(connection.should_reconnect())  # type: ignore[no-untyped-call]  # the library's
