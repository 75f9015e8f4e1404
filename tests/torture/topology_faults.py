"""The faults of a Sentinel group and of a Cluster."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

from service.sessions import SHARD_COUNT
from service.storage.keyspace import Keyspace
from tests.support.redis_commands import is_replica_in_sync, wait_until
from tests.support.servers import RedisServer
from tests.support.topologies import ClusterGroup, SentinelGroup
from tests.torture.faults import Injected

SentinelFault = Callable[[SentinelGroup], Awaitable[Injected]]
ClusterFault = Callable[[ClusterGroup], Awaitable[Injected]]
_MOVED_SLOTS = 16
_KEYS_AT_ONCE = 5  # few, so that the slot stays half moved for a while


async def kill_primary(group: SentinelGroup) -> Injected:
    """Kill the primary, and return when a replica has taken its place.

    The new primary takes durable writes once the other replica follows it. So the time
    of Sentinel and of the replica is part of the outage, not of the recovery.
    """
    began_at = time.monotonic()
    old = await asyncio.to_thread(group.kill_primary)
    await asyncio.to_thread(group.wait_for_failover, old)
    await asyncio.to_thread(group.wait_until_replicated)
    return Injected(began_at, time.monotonic(), repair=partial(_bring_back, group, old))


async def promote_replica(group: SentinelGroup) -> Injected:
    """Let a sentinel promote a replica, as an operator does. The primary runs on."""
    began_at = time.monotonic()
    await asyncio.to_thread(group.fail_over)
    await asyncio.to_thread(group.wait_until_replicated)
    return Injected(began_at, time.monotonic(), repair=partial(asyncio.to_thread, group.wait_until_ready))


async def _bring_back(group: SentinelGroup, server: RedisServer) -> None:
    await asyncio.to_thread(group.restart, server)
    await asyncio.to_thread(group.wait_until_ready)


async def kill_shard(group: ClusterGroup) -> Injected:
    """Kill a primary, and return when a replica has taken its place.

    The new primary takes durable writes once the other replica follows it.
    """
    slot = slot_of_shard(random.randrange(SHARD_COUNT))
    shards = await asyncio.to_thread(_shards_beside, group, slot)
    began_at = time.monotonic()
    old = await asyncio.to_thread(group.kill_primary, slot)
    new = await asyncio.to_thread(group.wait_for_failover, slot, old)
    await asyncio.to_thread(_wait_until_followed, group, slot, new)
    return Injected(began_at, time.monotonic(), shards=shards, repair=partial(asyncio.to_thread, group.restart, old))


def _wait_until_followed(group: ClusterGroup, slot: int, primary: RedisServer) -> None:
    def followed() -> bool:
        return all(is_replica_in_sync(replica, primary) for replica in group.replicas_of(slot))

    wait_until(followed, f"the replicas follow the new primary of slot {slot}")


async def move_shard(group: ClusterGroup) -> Injected:
    """Move the slot of a shard and the next slots to another primary, key by key."""
    shard = random.randrange(SHARD_COUNT)
    slot = slot_of_shard(shard)
    began_at = time.monotonic()
    await asyncio.to_thread(_move, group, slot)
    moved = range(slot, slot + _MOVED_SLOTS)
    shards = frozenset(f"{number:x}" for number in range(SHARD_COUNT) if slot_of_shard(number) in moved)
    return Injected(began_at, time.monotonic(), shards=shards)


def slot_of_shard(shard: int) -> int:
    """Return the slot of a shard's keys."""
    return ClusterGroup.slot_of(Keyspace("jay").session(f"{shard:x}0000000-0000-4000-8000-000000000000"))


def _shards_beside(group: ClusterGroup, slot: int) -> frozenset[str]:
    """Return the shards of the primary that serves a slot."""
    primary = group.primary_of(slot)
    return frozenset(
        f"{shard:x}" for shard in range(SHARD_COUNT) if group.primary_of(slot_of_shard(shard)) is primary
    )


def _move(group: ClusterGroup, slot: int) -> None:
    owner = group.primary_of(slot)
    target = random.choice([node for node in group.primaries if node is not owner])
    source = group.begin_move(slot, target)
    # The service creates keys meanwhile. Those that do not exist yet go to the target.
    while group.migrate_keys(slot, source, target, _KEYS_AT_ONCE):
        time.sleep(0.005)  # gives requests of the service a chance between the pages
    group.finish_move(slot, source, target)
    group.move_slots(range(slot + 1, slot + _MOVED_SLOTS), target)
    wait_until(lambda: group.primary_of(slot) is target, "all nodes know the move")
