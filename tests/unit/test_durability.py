"""`redis.durability: replicated` with replicas that come and go."""

from collections.abc import Sequence
from typing import Any

import pytest

from service.config.settings import RedisSettings
from service.storage.client import Client, Command
from service.storage.durability import Durability, NotDurable
from service.storage.keyspace import SHARD_TAGS

WRITE: Command = ("SET", f"{{{SHARD_TAGS[0]}}}key", "value")


class Primary(Client):
    """A primary with replicas that acknowledge every write."""

    def __init__(self) -> None:
        # Behind a socket of this machine, no replica that has left is asked.
        super().__init__("unix:///nowhere/redis.sock", 1.0, 1)
        self.replicas = 1
        self.is_hung = False
        self.awaited: list[int] = []

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        match command[0]:
            case "ROLE":
                return [b"master", 0, [[b"127.0.0.1", b"%d" % port, b"0"] for port in range(self.replicas)]]
            case "WAIT":
                self.awaited.append(int(command[1]))
                # Redis replies as soon as enough replicas have acknowledged.
                return 0 if self.is_hung else min(self.replicas, int(command[1]))
            case _:
                return b"OK"


async def test_a_replica_that_connected_meanwhile_is_awaited() -> None:
    """The first batch after a replica has connected waits for this replica too."""
    durability, primary = Durability.of(RedisSettings(durability="replicated")), Primary()
    for replicas in (1, 3, 3, 2):
        primary.replicas = replicas
        assert await durability.write(primary, [WRITE]) == [b"OK"]
    assert primary.awaited == [1, 1, 3, 3, 3]
    primary.is_hung = True
    with pytest.raises(NotDurable, match="0 of 2 replicas"):
        await durability.write(primary, [WRITE])
    assert primary.awaited[-1] == 2
