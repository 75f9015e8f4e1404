"""Finds the shard of a command by its first key, and groups keys by shard."""

from collections.abc import Callable, Hashable, Iterable, Sequence

from service.storage.client import Command, Word
from service.storage.keyspace import SHARD_TAGS
from service.storage.script_files import script_digest

# Sent before a command to the server to which its slot is moving.
ASKING: Command = ("ASKING",)

_SHARD_BY_TAG = {tag: shard for shard, tag in enumerate(SHARD_TAGS)}


def key_in(command: Command) -> str:
    """Return the first key of a command that has one."""
    return str(command[3] if command[0] == "EVALSHA" else command[1])


def shard_in(key: str) -> int:
    """Return the shard of a key of the service."""
    return _SHARD_BY_TAG[key[key.index("{") + 1 : key.index("}")]]


def across_shards(name: str, keys: Sequence[str], arguments: Sequence[Word]) -> Command:
    """Return the command that runs a script with session keys of several shards.

    The script finds them with `session_keys` (`shard.lua`).
    """
    return ("EVALSHA", script_digest(name), 1, keys[0], *arguments, *keys[1:])


def grouped(positions: Iterable[int], key: Callable[[int], Hashable]) -> Sequence[Sequence[int]]:
    """Return the positions of each key, in their order."""
    found: dict[Hashable, list[int]] = {}
    for position in positions:
        found.setdefault(key(position), []).append(position)
    return list(found.values())
