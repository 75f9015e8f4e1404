from collections.abc import Mapping
from typing import Any

import pytest

from service.commands.doctor_redis import _memory
from service.commands.doctor_results import Status
from service.storage.redis_status import combined_status, status_of

MB = 1024 * 1024
USED = {"used_memory": 10 * MB, "total_system_memory": 1000 * MB, "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("info", "limit", "machine", "may_evict"),
    [
        ({**USED, "maxmemory": 100 * MB}, 100 * MB, 1000 * MB, False),
        ({**USED, "maxmemory": 0}, 0, 1000 * MB, False),
        ({**USED, "maxmemory": 100 * MB, "maxmemory_policy": "allkeys-lru"}, 100 * MB, 1000 * MB, True),
        ({**USED, "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, 0, 1000 * MB, False),
        (USED, None, 1000 * MB, False),
        ({}, None, None, None),
    ],
)
def test_an_unlimited_memory_differs_from_an_unknown_limit(
    info: Mapping[str, Any], limit: int | None, machine: int | None, may_evict: Any
) -> None:
    """A memory limit is 0 when Redis has none, and `None` when it is unknown."""
    state = status_of(info)
    assert (state.memory_limit_bytes, state.machine_memory_bytes, state.may_evict) == (limit, machine, may_evict)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_risk_of_one_primary_is_the_risk_of_the_cluster(position: int) -> None:
    """A primary whose settings are unknown does not hide the risks of another one."""
    safe, unknown = {**USED, "maxmemory": 100 * MB, "aof_enabled": 1}, dict[str, Any]()
    risky = {**safe, "aof_enabled": 0, "maxmemory_policy": "allkeys-lru"}
    others = [unknown, safe]
    state = combined_status([*map(status_of, [*others[:position], risky, *others[position:]])])
    assert (state.append_only_file, state.eviction_policy, state.may_evict) == (False, "allkeys-lru", True)
    state = combined_status([*map(status_of, others)])
    assert (state.append_only_file, state.eviction_policy, state.may_evict) == (None, None, None)
    state = combined_status([status_of(safe)] * 2)
    assert (state.append_only_file, state.eviction_policy, state.may_evict) == (True, "noeviction", False)


@pytest.mark.parametrize(
    ("info", "verdicts", "words"),
    [
        ({**USED, "maxmemory": 100 * MB}, ["GOOD", "GOOD"], "10 of 100 MiB"),
        ({**USED, "maxmemory": 11 * MB}, ["GOOD", "PROBLEM"], "91% of maxmemory"),
        ({**USED, "maxmemory": 0}, ["PROBLEM"], "no memory limit is set (10 MiB in use of the machine's 1,000 MiB)"),
        ({"used_memory": 10 * MB, "maxmemory": 0}, ["PROBLEM"], "no memory limit is set (10 MiB in use)"),
        ({**USED, "maxmemory": 100 * MB, "maxmemory_policy": "allkeys-lru"}, ["PROBLEM", "GOOD"], "allkeys-lru"),
        ({"used_memory": 10 * MB, "maxmemory": 100 * MB}, ["UNKNOWN", "GOOD"], "maxmemory-policy is not in INFO"),
        (USED, ["GOOD", "UNKNOWN"], "its limit are not in INFO"),
    ],
)
def test_the_doctor_says_how_memory_is_limited(info: Mapping[str, Any], verdicts: list[str], words: str) -> None:
    """A Redis without a memory limit is a problem under every policy."""
    results = list(_memory(info))
    assert [result.status for result in results] == [Status[name] for name in verdicts]
    assert words in " ".join(result.finding for result in results)
    assert all(result.advice for result in results if result.status is Status.PROBLEM)
