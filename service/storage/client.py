"""Makes redis-py's client from the settings."""

from collections.abc import Awaitable, Callable

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from service.storage.lane import Lane

Prepare = Callable[[AbstractConnection], Awaitable[None]]


def make_client(url: str, timeout_seconds: float, lane: Lane, prepare: Prepare | None) -> "Redis":
    """Return a client with bounded waits.

    With redis-py's defaults, the waits of one call add up to a minute.

    `prepare` runs on each new connection before its first command.
    """

    async def connect(connection: AbstractConnection) -> None:
        await connection.on_connect()
        if prepare is not None:
            await prepare(connection)

    repeated = (RedisConnectionError, *((RedisTimeoutError,) if lane.repeats_timeouts else ()))
    pool = ConnectionPool.from_url(
        url,
        max_connections=lane.connections,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1, supported_errors=repeated),
        redis_connect_func=connect,
        health_check_interval=0,
        protocol=2,
        driver_info=None,  # no CLIENT SETINFO, which an ACL would have to allow
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)
