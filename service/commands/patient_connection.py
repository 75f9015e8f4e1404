"""The connection of a command to Redis, which waits longer than the service does."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.config.settings import RedisSettings
from service.storage.connection import RedisConnection

# No client waits for a command, so it can wait for a busy Redis. The service may wait
# longer, if `redis.timeout_seconds` says so.
_TIMEOUT_SECONDS = 5.0


@asynccontextmanager
async def patient_connection(url: str, settings: RedisSettings) -> AsyncIterator[RedisConnection]:
    """Yield a connection, and close it. `url` is never `embedded`."""
    timeout_seconds = max(_TIMEOUT_SECONDS, settings.timeout_seconds)
    connection = RedisConnection.alone(url, dataclasses.replace(settings, timeout_seconds=timeout_seconds))
    try:
        yield connection
    finally:
        await connection.close()
