"""The Sentinel group and the Cluster that other tests use fail over and move slots."""

from pathlib import Path

import pytest

from tests.support.redis_commands import ask, is_replica_in_sync, wait_until
from tests.support.servers import binaries
from tests.support.topologies import FAILOVER_SECONDS, ClusterGroup, SentinelGroup

KEYS = 250  # more than one page of a slot's keys


@pytest.mark.parametrize("kind", binaries())
def test_a_sentinel_group_fails_over(kind: str, tmp_path: Path) -> None:
    """After a kill a replica is the primary, and the old primary becomes a replica."""
    with SentinelGroup(
        binaries()[kind], tmp_path / "group", "--appendonly", "yes", down_after_seconds=FAILOVER_SECONDS
    ) as group:
        ask(group.primary, "SET", "key", "value")
        group.wait_until_replicated()
        old = group.kill_primary()
        new = group.wait_for_failover(old)
        assert new is group.primary is not old
        assert ask(new, "GET", "key") == "value"
        group.restart(old)
        wait_until(lambda: is_replica_in_sync(old, new), "the old primary is a replica")
        group.wait_until_ready()
        assert group.fail_over() is not new


@pytest.mark.parametrize("kind", binaries())
def test_a_cluster_moves_slots_and_fails_over(kind: str, tmp_path: Path) -> None:
    """Keys are in their slot after a move, a kill of its primary and its return."""
    with ClusterGroup(
        binaries()[kind], tmp_path / "group", "--appendonly", "yes", node_timeout_seconds=FAILOVER_SECONDS
    ) as group:
        slot = group.slot_of("{a}")
        source = group.primary_of(slot)
        target = next(node for node in group.primaries if node is not source)
        for number in range(KEYS):
            ask(source, "SET", f"{{a}}{number}", number)
        assert group.move_slots([slot, slot + 1], target) == KEYS
        assert group.primary_of(slot) is group.primary_of(slot + 1) is target
        group.wait_until_ok()
        assert group.kill_primary(slot) is target
        new = group.wait_for_failover(slot, target)
        assert ask(new, "GET", f"{{a}}{KEYS - 1}") == str(KEYS - 1)
        group.restart(target)
        assert group.replicas_of(slot) == [target]
        assert group.fail_over(slot) is target
