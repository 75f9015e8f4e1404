"""Reads the memory, persistence and eviction of Redis from INFO, for operators."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from service.storage.connection import RedisConnection
from service.storage.redis_errors import is_denied
from service.store_status import NO_EVICTION, StoreStatus


class RedisStatusReader:
    """Reads the status of Redis."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def read(self) -> StoreStatus:
        """Return the status.

        All of it is unknown when the service's user may not run INFO.

        Raises StoreUnavailable and Overloaded.
        """
        return combined_status([status_of(info) for info in await self._connection.run_on_each("state", _info)])


async def _info(client: Redis) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = await client.info("server", "memory", "persistence")
    except exceptions.ResponseError as error:
        if not is_denied(error):
            raise
        await client.ping()  # an empty status has to mean that Redis serves
        return {}
    return found


def _number_in(info: Mapping[str, Any], name: str) -> int | None:
    """Return a number from INFO.

    Returns None when managed Redis omits the field or has another value in it.
    """
    value = info.get(name)
    return int(value) if isinstance(value, int | float) else None


def status_of(info: Mapping[str, Any]) -> StoreStatus:
    """Return the status in a reply to INFO."""
    name, version = (
        ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info.get("redis_version"))
    )
    limit = _number_in(info, "maxmemory")
    policy, file = info.get("maxmemory_policy"), _number_in(info, "aof_enabled")
    return StoreStatus(
        server=f"{name} {version}" if version else None,
        memory_used_bytes=_number_in(info, "used_memory"),
        memory_limit_bytes=limit,
        machine_memory_bytes=_number_in(info, "total_system_memory"),
        append_only_file=None if file is None else bool(file),
        eviction_policy=None if policy is None else str(policy),
        may_evict=None if policy is None else bool(limit) and policy != NO_EVICTION,
    )


def combined_status(statuses: Sequence[StoreStatus]) -> StoreStatus:
    """Return the status of a cluster: sums, and the riskiest setting of a server.

    A risk of one server counts although the settings of another are unknown.
    """
    first = statuses[0]
    if len(statuses) == 1:
        return first
    limits = [status.memory_limit_bytes for status in statuses]
    policies = [status.eviction_policy for status in statuses]
    return StoreStatus(
        server=f"{first.server or 'Redis'}, {len(statuses)} primaries",
        memory_used_bytes=_sum([status.memory_used_bytes for status in statuses]),
        memory_limit_bytes=0 if 0 in limits else _sum(limits),
        machine_memory_bytes=_sum([status.machine_memory_bytes for status in statuses]),
        append_only_file=_all([status.append_only_file for status in statuses]),
        eviction_policy=next(
            (policy for policy in policies if policy not in {None, NO_EVICTION}),
            None if None in policies else NO_EVICTION,
        ),
        may_evict=_any([status.may_evict for status in statuses]),
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _any(flags: Sequence[bool | None]) -> bool | None:
    return True if True in flags else None if None in flags else False


def _all(flags: Sequence[bool | None]) -> bool | None:
    return False if False in flags else None if None in flags else True
