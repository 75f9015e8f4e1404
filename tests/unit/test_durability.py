"""`redis.durability` with replicas that come and go, and with errors of the wait."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import MovedError, ResponseError

from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT
from service.storage.client import Client, Command
from service.storage.connection import RedisConnection
from service.storage.discovery import Discovery
from service.storage.durability import Durability, NotDurable
from service.storage.keyspace import SHARD_TAGS
from service.storage.redis_errors import ErrorKind, kind_of
from service.storage.server_map import ServerMap
from service.storage.sharding import ASKING
from service.storage.shared import Shared

REPLICATED = RedisSettings(durability="replicated")
# The reply of Valkey 9.1 as a replica. That of Redis has another ending.
NO_WAIT = "{} cannot be used with replica instances. Please also note that writes to replicas are just local"
WRITE: Command = ("SET", f"{{{SHARD_TAGS[0]}}}key", "value")
OTHER_WRITE: Command = ("SET", f"{{{SHARD_TAGS[1]}}}key", "value")
READ: Command = ("GET", f"{{{SHARD_TAGS[0]}}}key")
UNBLOCKED = ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed")


class Primary(Client):
    """A primary with replicas and a disk that acknowledge every write.

    Each batch has a connection of its own. A wait on a connection without a write has
    nothing to wait for. `hangs_at` is the number of replicas from which a wait fails.
    `errors` has replies to the next commands of a name, and None for the usual one.
    """

    def __init__(self) -> None:
        # Behind a socket of this machine, no replica that has left is asked.
        super().__init__("unix:///nowhere/redis.sock", 1.0, 1)
        self.replicas = 1
        self.is_hung = False
        self.hangs_at = 99
        self.awaited: list[int] = []
        self.errors: dict[str, list[ResponseError | None]] = {}
        self._has_written = False

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        self._has_written = False
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        errors = self.errors.get(str(command[0]))
        if errors and (error := errors.pop(0)):
            return error
        self._has_written |= command[0] in {"SET", "EVALSHA"}
        match command[0]:
            case "ROLE":
                return [b"master", 0, [[b"127.0.0.1", b"%d" % port, b"0"] for port in range(self.replicas)]]
            case "WAIT":
                self.awaited.append(int(command[1]))
                # Redis replies as soon as enough replicas have acknowledged.
                awaited = min(self.replicas, int(command[1]))
                is_late = self._has_written and (self.is_hung or awaited >= self.hangs_at)
                return 0 if is_late else awaited
            case "WAITAOF":
                return [0 if self._has_written and self.is_hung else 1, 0]
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
    """An error of WAIT from a new replica is an outage, not a bug of the service."""
    durability, primary = Durability.of(REPLICATED), Primary()
    for command in ("WAIT", "WAITAOF"):
        assert kind_of(ResponseError(NO_WAIT.format(command))) is ErrorKind.DEMOTED
    primary.errors = {"WAIT": [ResponseError(NO_WAIT.format("WAIT"))]}
    with pytest.raises(ResponseError, match="cannot be used"):
        await durability.write(primary, [WRITE])


class Failover(Discovery):
    """Finds the primary that a test names."""

    def __init__(self, primary: str) -> None:
        super().__init__(REPLICATED)
        self.primary = primary

    async def find(self) -> Sequence[str]:
        return (self.primary,) * SHARD_COUNT


async def test_a_server_that_is_no_longer_used_is_forgotten() -> None:
    """Lanes share what they know about a server, until another one is the primary.

    A former primary may become the primary again, with other replicas.
    """
    before, after = "redis://before:6379", "redis://after:6379"
    discovery = Failover(before)
    servers = ServerMap(discovery)
    shared = Shared(servers, REPLICATED)
    connection, durability = RedisConnection(shared), shared.durability
    await servers._update()
    connection._lane_of(before)
    known = durability.of_server(before)
    assert durability.of_server(before) is known
    discovery.primary = after
    await servers._update()
    assert durability.of_server(before) is not known
    await connection.close()
    await servers.close()


async def test_a_retry_that_writes_nothing_is_awaited() -> None:
    """WAIT answers at once after no write, so each batch ends with one."""
    durability, primary = Durability.of(REPLICATED), Primary()
    assert await durability.write(primary, [READ]) == [b"OK"]
    primary.is_hung = True
    with pytest.raises(NotDurable, match="0 of 1 replicas"):
        await durability.write(primary, [READ])
    primary.is_hung, primary.replicas, primary.hangs_at = False, 3, 3
    with pytest.raises(NotDurable, match="0 of 3 replicas"):
        await durability.write(primary, [READ])


@pytest.mark.parametrize(
    ("command", "earlier"), [("EVALSHA", 0), ("ROLE", 0), ("WAIT", 0), ("EVALSHA", 1), ("WAIT", 1)]
)
async def test_an_error_of_a_wait_is_raised(command: str, earlier: int) -> None:
    """An error reply to a command that belongs to the wait is the error of the call.

    The second wait of a call is for replicas that have connected meanwhile.
    """
    durability, primary = Durability.of(REPLICATED), Primary()
    primary.replicas = 2
    primary.errors = {command: [*[None] * earlier, UNBLOCKED]}
    with pytest.raises(ResponseError, match="UNBLOCKED"):
        await durability.write(primary, [WRITE])


async def test_commands_are_awaited_one_by_one_when_a_shard_has_moved() -> None:
    """Those of shards that have not moved are as durable as always."""
    durability, primary = Durability.of(REPLICATED), Primary()
    moved = MovedError("1 127.0.0.1:2")
    primary.errors = {"EVALSHA": [moved, moved]}
    assert await durability.write(primary, [WRITE, OTHER_WRITE]) == [moved, b"OK"]
    primary.errors, primary.is_hung = {"EVALSHA": [moved, moved]}, True
    with pytest.raises(NotDurable):
        await durability.write(primary, [WRITE, OTHER_WRITE])


async def test_commands_of_a_slot_that_moves_here_are_not_awaited() -> None:
    """No script of theirs succeeds, and the mark would not be in the same slot."""
    for durability in (Durability.of(RedisSettings(durability=one)) for one in ("synced", "replicated")):
        primary = Primary()
        assert await durability.write(primary, [ASKING, WRITE]) == [b"OK", b"OK"]
        assert primary.awaited == []


async def test_a_disk_that_is_late_or_rejects_the_wait() -> None:
    """With `synced`, a write that is not on disk in time is not acknowledged."""
    durability, primary = Durability.of(RedisSettings(durability="synced")), Primary()
    assert await durability.write(primary, [READ]) == [b"OK"]
    primary.is_hung = True
    with pytest.raises(NotDurable, match="not on disk within 2 s"):
        await durability.write(primary, [READ])
    for command in ("EVALSHA", "WAITAOF"):
        primary.errors = {command: [UNBLOCKED]}
        with pytest.raises(ResponseError, match="UNBLOCKED"):
            await durability.write(primary, [READ])
