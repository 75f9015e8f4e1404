"""The status of Redis, and the risks of its settings, for operators.

The log, `doctor` and the dashboard show the sentences about risks from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NO_EVICTION = "noeviction"


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The status of Redis.

    A field is None if Redis does not report it or does not let the service read it.
    """

    server: str | None  # such as "Valkey 9.1.2"
    memory_used_bytes: int | None
    memory_limit_bytes: int | None  # maxmemory, 0 without a limit
    machine_memory_bytes: int | None  # shared with other processes
    append_only_file: bool | None  # whether data is kept across a restart
    eviction_policy: str | None  # maxmemory-policy
    may_evict: bool | None  # whether sessions may be evicted when memory is full
    memory_full_seconds: float | None = None  # the forecast of this worker


@dataclass(frozen=True, slots=True)
class Risk:
    """A setting of Redis that can lose sessions, and the setting to use instead."""

    problem: str
    advice: str


RISKS = ("append_only_file", "memory_limit", "eviction")


def risks_of(status: StoreStatus) -> Mapping[str, Risk | None]:
    """Return the risk, or None for a safe setting, by the names in `RISKS`.

    A name is missing if the setting is unknown.
    """
    found: dict[str, Risk | None] = {}
    if status.append_only_file is not None:
        found["append_only_file"] = None if status.append_only_file else _NO_FILE
    if status.memory_limit_bytes is not None:
        found["memory_limit"] = None if status.memory_limit_bytes else _without_limit(status)
    if status.memory_limit_bytes == 0:
        found["eviction"] = None  # without a limit nothing is evicted
    elif status.eviction_policy is not None:
        found["eviction"] = None if status.eviction_policy == NO_EVICTION else _evicts(status.eviction_policy)
    return found


_NO_FILE = Risk("no append-only file: a restart of Redis loses sessions", "set appendonly yes")


def _without_limit(status: StoreStatus) -> Risk:
    used, machine = status.memory_used_bytes, status.machine_memory_bytes
    whole = f" of the machine's {machine / 2**20:,.0f} MiB" if machine else ""
    in_use = "" if used is None else f" ({used / 2**20:,.0f} MiB in use{whole})"
    return Risk(
        f"no memory limit is set{in_use}: when memory runs out, the system kills Redis",
        "set maxmemory to half of the memory that Redis can have, and maxmemory-policy noeviction",
    )


def _evicts(policy: str) -> Risk:
    # Every key of the service has a lifetime, so the policies volatile-* evict as well.
    return Risk(
        f"maxmemory-policy {policy} may evict sessions, counts and the indexes of erasures",
        "set maxmemory-policy noeviction",
    )
