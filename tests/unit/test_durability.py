"""`redis.durability: replicated` with replicas that come and go."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT
from service.storage.client import Client, Command
from service.storage.connection import RedisConnection
from service.storage.discovery import Discovery
from service.storage.durability import Durability, DurabilityMap, NotDurable
from service.storage.keyspace import SHARD_TAGS
from service.storage.redis_errors import ErrorKind, kind_of
from service.storage.server_map import ServerMap

REPLICATED = RedisSettings(durability="replicated")
# The reply of Valkey 9.1 as a replica. That of Redis has another ending.
NO_WAIT = "{} cannot be used with replica instances. Please also note that writes to replicas are just local"
WRITE: Command = ("SET", f"{{{SHARD_TAGS[0]}}}key", "value")


class Primary(Client):
    """A primary with replicas that acknowledge every write."""

    def __init__(self) -> None:
        # Behind a socket of this machine, no replica that has left is asked.
        super().__init__("unix:///nowhere/redis.sock", 1.0, 1)
        self.replicas = 1
        self.is_hung = False
        self.is_demoted = False
        self.awaited: list[int] = []

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        match command[0]:
            case "ROLE" if self.is_demoted:
                return [b"slave", b"127.0.0.1", 6379, b"connecting", -1]
            case "WAIT" if self.is_demoted:
                return ResponseError(NO_WAIT.format("WAIT"))
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
    durability, primary = Durability.of(REPLICATED), Primary()
    for replicas in (1, 3, 3, 2):
        primary.replicas = replicas
        assert await durability.write(primary, [WRITE]) == [b"OK"]
    assert primary.awaited == [1, 1, 3, 3, 3]
    primary.is_hung = True
    with pytest.raises(NotDurable, match="0 of 2 replicas"):
        await durability.write(primary, [WRITE])
    assert primary.awaited[-1] == 2


async def test_a_primary_that_is_demoted_behind_the_write_is_an_outage() -> None:
    """WAIT of a server that has become a replica is no bug of the service."""
    durability, primary = Durability.of(REPLICATED), Primary()
    primary.is_demoted = True
    with pytest.raises(ResponseError) as raised:
        await durability.write(primary, [WRITE])
    assert kind_of(raised.value) is ErrorKind.DEMOTED
    assert kind_of(ResponseError(NO_WAIT.format("WAITAOF"))) is ErrorKind.DEMOTED


class Failover(Discovery):
    """Finds the primary that a test names."""

    def __init__(self, primary: str) -> None:
        super().__init__(primary, REPLICATED)
        self.fixed_urls = ()
        self.primary = primary

    async def find(self) -> Sequence[str]:
        return (self.primary,) * SHARD_COUNT


async def test_a_server_that_is_no_longer_used_is_forgotten() -> None:
    """Lanes share what they know about a server, until another one is the primary.

    A former primary may become the primary again, with other replicas.
    """
    before, after = "redis://before:6379", "redis://after:6379"
    discovery, durability = Failover(before), DurabilityMap(REPLICATED)
    servers = ServerMap(discovery)
    connection = RedisConnection(before, REPLICATED, servers=servers, durability=durability)
    await servers._update()
    connection._lane_of(before)
    known = durability.of_server(before)
    assert durability.of_server(before) is known
    discovery.primary = after
    await servers._update()
    assert durability.of_server(before) is not known
    await connection.close()
    await servers.close()
