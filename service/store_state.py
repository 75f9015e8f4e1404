"""What Redis says of itself, for those who run the service, and the risks that follow from it.

The log, `doctor` and the dashboard take the sentences about risks from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NO_EVICTION = "noeviction"


@dataclass(frozen=True, slots=True)
class StoreState:
    """The server as it is now. None: it does not tell, or the service's user may not ask."""

    server: str | None  # such as "Valkey 9.1.2"
    memory_used_bytes: int | None
    memory_limit_bytes: int | None  # maxmemory; 0: no limit is set
    machine_memory_bytes: int | None  # what the machine has, which other processes use too
    append_only_file: bool | None  # whether it keeps what it is given over a restart
    eviction_policy: str | None  # maxmemory-policy
    may_evict: bool | None  # whether it may throw sessions away when its memory is full
    memory_full_seconds: float | None = None  # the forecast of the worker that was asked


@dataclass(frozen=True, slots=True)
class Risk:
    """A setting of Redis with which sessions can get lost, and what to do about it."""

    problem: str
    advice: str


RISKS = ("append_only_file", "memory_limit", "eviction")


def risks_of(state: StoreState) -> Mapping[str, Risk | None]:
    """Return by the names in `RISKS` the risk, or None for a safe setting.

    A name is missing where the setting is not known.
    """
    found: dict[str, Risk | None] = {}
    if state.append_only_file is not None:
        found["append_only_file"] = None if state.append_only_file else _NO_FILE
    if state.memory_limit_bytes is not None:
        found["memory_limit"] = None if state.memory_limit_bytes else _without_limit(state)
    if state.memory_limit_bytes == 0:
        found["eviction"] = None  # the missing limit is the risk: without it nothing is evicted
    elif state.eviction_policy is not None:
        found["eviction"] = None if state.eviction_policy == NO_EVICTION else _evicts(state.eviction_policy)
    return found


_NO_FILE = Risk("no append-only file: a restart of Redis loses sessions", "set appendonly yes")


def _without_limit(state: StoreState) -> Risk:
    used, machine = state.memory_used_bytes, state.machine_memory_bytes
    whole = f" of the machine's {machine / 2**20:,.0f} MiB" if machine else ""
    in_use = "" if used is None else f" ({used / 2**20:,.0f} MiB in use{whole})"
    return Risk(
        f"no memory limit is set{in_use}: when memory runs out, the system ends Redis",
        "set maxmemory to half of the memory that Redis can have, and maxmemory-policy noeviction",
    )


def _evicts(policy: str) -> Risk:
    # Every key of the service has a lifetime, so the policies volatile-* evict as well.
    return Risk(f"maxmemory-policy {policy} may evict sessions and counts", "set maxmemory-policy noeviction")
