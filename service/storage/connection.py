"""From settings to a Redis client, and the one place where Redis's errors become `StoreUnavailable`."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.observability.attributes import DB_CLIENT_CONNECTION_STATE

from service.errors import StoreUnavailable
from service.metrics import Labels, Metrics
from service.settings import RedisSettings
from service.storage.breaker import Breaker

T = TypeVar("T")
Script = Callable[[Sequence[str], Sequence[str | int | bytes]], Awaitable[Any]]

_logger = logging.getLogger(__name__)

# A batch holds one connection; a handful of batches and the readiness probe are under way at a time.
_MAX_CONNECTIONS = 16
READY_TTL_SECONDS = 10
_POOL_WAIT_SECONDS = 0.1
_QUIET_SECONDS = 60.0

# No answer, or none that can be understood.
_OUTAGES = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.InvalidResponse,
    OSError,
    TimeoutError,
)
# Redis answered that it cannot serve now: as classes where redis-py has one, else as the first word of the answer.
# Everything else that it answers with an error is a bug of ours.
_UNAVAILABLE = (
    exceptions.AskError,  # and MovedError: a cluster node, reached as if it were a single server
    exceptions.ClusterDownError,  # and MasterDownError
    exceptions.NoPermissionError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
)
_UNAVAILABLE_CODES = frozenset(("BUSY", "MISCONF", "NOREPLICAS", "DB"))  # DB index is out of range


class RedisConnection:
    """The process's way to Redis: time-outs, one retry, and a breaker in front.

    The retry may repeat a command that has run, when only its reply was lost. So everything that goes through
    here has to be repeatable: run twice, it answers the same and changes the same.
    """

    def __init__(self, url: str, settings: RedisSettings, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._client = _client(url, settings.timeout_seconds)
        self._breaker = Breaker()
        # Waiting for a connection, connecting and two replies could add up; nobody waits longer than two time-outs.
        self._deadline_seconds = 2 * settings.timeout_seconds
        self._is_out = False
        self._quiet_until: dict[str, float] = {}
        self._metrics.breaker_open.read = lambda: {(): self._breaker.is_open}
        self._metrics.connections.read = self._connections

    async def run(self, name: str, operation: Callable[["Redis"], Awaitable[T]]) -> T:
        """Run one repeatable operation on the client; it is measured under its name.

        Raises StoreUnavailable when Redis cannot be asked or cannot serve; it never waits longer than two
        time-outs.
        """
        if not self._breaker.admits():
            self._metrics.redis_errors.add(("breaker",))
            raise StoreUnavailable("Redis did not answer a moment ago")
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                result = await operation(self._client)
        except _OUTAGES as error:
            self._breaker.failed()
            self._is_out = True
            # The text of what cannot be understood may be anything, a session's value too.
            said = "" if isinstance(error, exceptions.InvalidResponse) else str(error)
            raise self._unavailable(type(error).__name__, said) from None
        except exceptions.ResponseError as error:
            self._breaker.succeeded()
            if isinstance(error, _UNAVAILABLE):
                raise self._unavailable(type(error).__name__, str(error)) from None
            code = str(error).partition(" ")[0]
            if code in _UNAVAILABLE_CODES:
                raise self._unavailable(code, str(error)) from None
            raise
        except BaseException:
            self._breaker.failed()
            raise
        finally:
            self._metrics.redis_calls.observe((name,), time.perf_counter() - started)
        self._breaker.succeeded()
        if self._is_out:
            self._is_out = False
            self._quiet_until.clear()
            _logger.warning("Redis serves again")
        return result

    async def check_takes_writes(self, key: str) -> None:
        """Write to `key`, which expires. Raises StoreUnavailable when Redis does not take it."""
        await self.run("check", lambda client: client.set(key, "", ex=READY_TTL_SECONDS))

    def script(self, name: str) -> Script:
        """Return what runs `scripts/<name>.lua`, with `shard.lua` in front; it is loaded when needed.

        It takes keys and arguments, and raises StoreUnavailable as `run` does.
        """
        folder = resources.files("service.storage") / "scripts"
        text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("shard", name))
        script = self._client.register_script(text)
        return lambda keys, arguments: self.run(name, lambda client: script(keys, arguments, client))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _connections(self) -> Mapping[Labels, float]:
        return {
            (attributes[DB_CLIENT_CONNECTION_STATE],): count
            for count, attributes in self._client.connection_pool.get_connection_count()
        }

    def _unavailable(self, problem: str, said: str) -> StoreUnavailable:
        self._metrics.redis_errors.add((problem,))
        now = time.monotonic()
        if now >= self._quiet_until.get(problem, now):  # said once a minute, not once a request
            self._quiet_until[problem] = now + _QUIET_SECONDS
            reason = f"{problem}: {said}" if said else problem
            _logger.error("Redis cannot serve (%s); check redis.url; requests are answered 503 until it does", reason)
        return StoreUnavailable(problem)


def _client(url: str, timeout_seconds: float) -> "Redis":
    """Return a client with bounded waits: with redis-py's own defaults a hung Redis holds a request for a minute."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=_POOL_WAIT_SECONDS,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=0,
        protocol=2,
        driver_info=None,  # no CLIENT SETINFO on connect: it is not among the commands that an ACL has to allow
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)
