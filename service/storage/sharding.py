"""Finds the shard of a command by its first key, and groups keys by shard."""

from collections.abc import Iterable, Sequence
from typing import Any

from service.storage.client import Command
from service.storage.keyspace import SHARD_TAGS

ASKING: Command = ("ASKING",)
"""Sent before a command to the server to which its slot is moving."""

_SHARD_BY_TAG = {tag: shard for shard, tag in enumerate(SHARD_TAGS)}


def key_in(command: Command) -> str:
    """Return the first key of a command that has one."""
    return str(command[3] if command[0] == "EVALSHA" else command[1])


def shard_in(key: str) -> int:
    """Return the shard of a key of the service."""
    return _SHARD_BY_TAG[key[key.index("{") + 1 : key.index("}")]]


def by_shard(shards: Iterable[int]) -> list[list[int]]:
    """Return the positions of the items of each shard, given the shard of each item."""
    found: dict[int, list[int]] = {}
    for position, shard in enumerate(shards):
        found.setdefault(shard, []).append(position)
    return list(found.values())


def in_order(parts: Sequence[Sequence[int]], replies: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the results of the items, given the positions in each part."""
    if len(parts) == 1:
        return list(replies[0])
    results: dict[int, Any] = {}
    for part, reply in zip(parts, replies, strict=True):
        results.update(zip(part, reply, strict=True))
    return [results[position] for position in range(len(results))]
