"""Reads from INFO what operators look at: memory, persistence, eviction."""

from collections.abc import Mapping
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection
from service.storage.redis_errors import is_denied
from service.store_state import NO_EVICTION, StoreState


class StateReader:
    """Asks Redis for its state."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def read(self) -> StoreState:
        """Return the state; all unknown where the service's user may not ask. Raises StoreUnavailable."""
        return state_of(await self._connection.run("state", _info))


async def _info(client: Redis) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = await client.info("server", "memory", "persistence")
    except exceptions.ResponseError as error:
        if not is_denied(error):
            raise
        await client.ping()  # so that an answer means what it says: Redis serves
        return {}
    return found


def number_in(info: Mapping[str, Any], name: str) -> int | None:
    """Return a number of INFO; None where managed Redis leaves the field out or has something else in it."""
    value = info.get(name)
    return int(value) if isinstance(value, int | float) else None


def state_of(info: Mapping[str, Any]) -> StoreState:
    """Return what INFO tells."""
    name, version = (
        ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info.get("redis_version"))
    )
    limit = number_in(info, "maxmemory")
    policy, file = info.get("maxmemory_policy"), number_in(info, "aof_enabled")
    return StoreState(
        server=f"{name} {version}" if version else None,
        memory_used_bytes=number_in(info, "used_memory"),
        memory_limit_bytes=limit,
        machine_memory_bytes=number_in(info, "total_system_memory"),
        append_only_file=None if file is None else bool(file),
        eviction_policy=None if policy is None else str(policy),
        may_evict=None if policy is None else bool(limit) and policy != NO_EVICTION,
    )
