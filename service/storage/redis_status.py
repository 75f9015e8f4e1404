"""Reads the memory, persistence and eviction of Redis from INFO, for operators."""

from collections.abc import Mapping
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection
from service.storage.redis_errors import is_denied
from service.store_status import NO_EVICTION, RedisStatus


class RedisStatusReader:
    """Reads the status of Redis."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def read(self) -> RedisStatus:
        """Return the status.

        All of it is unknown when the service's user may not run INFO.

        Raises StoreUnavailable and Overloaded.
        """
        return status_of(await self._connection.run("state", _info))


async def _info(client: Redis) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = await client.info("server", "memory", "persistence")
    except exceptions.ResponseError as error:
        if not is_denied(error):
            raise
        await client.ping()  # an empty status has to mean that Redis serves
        return {}
    return found


def number_in(info: Mapping[str, Any], name: str) -> int | None:
    """Return a number from INFO.

    Returns None when managed Redis omits the field or has another value in it.
    """
    value = info.get(name)
    return int(value) if isinstance(value, int | float) else None


def status_of(info: Mapping[str, Any]) -> RedisStatus:
    """Return the status in a reply to INFO."""
    name, version = (
        ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info.get("redis_version"))
    )
    limit = number_in(info, "maxmemory")
    policy, file = info.get("maxmemory_policy"), number_in(info, "aof_enabled")
    return RedisStatus(
        server=f"{name} {version}" if version else None,
        memory_used_bytes=number_in(info, "used_memory"),
        memory_limit_bytes=limit,
        machine_memory_bytes=number_in(info, "total_system_memory"),
        append_only_file=None if file is None else bool(file),
        eviction_policy=None if policy is None else str(policy),
        may_evict=None if policy is None else bool(limit) and policy != NO_EVICTION,
    )
