"""Waits until a write is on disk or on replicas, as `redis.durability` demands.

    fast        Redis answers when the write is in memory. The append-only file follows
                within a second by default (`appendfsync everysec`).
    synced      Redis answers when the write is on its disk (WAITAOF). It needs Redis or
                Valkey 7.2 with an append-only file.
    replicated  Redis answers when all connected replicas have the write in memory, and
                at least one does (WAIT). A replica that lacks a write could become the
                primary.

WAIT and WAITAOF wait for the last write of their own connection. They are sent with the
commands, once for a batch. The script of a retry writes nothing, because its first run
has written on another connection. So a batch ends with a write of its own, the mark.
docs/reliability.md has the price of each setting.
"""

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from service.storage.keyspace import MARK_SECONDS, mark_key
from service.storage.self_test_steps import Step
from service.storage.sharding import key_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.config.settings import RedisSettings
    from service.storage.client import Client, Command

# With `appendfsync everysec`, a write is on disk after one second, and after two when
# the disk is busy.
_SYNC_SECONDS = 2.0


class NotDurable(RedisError):
    """A write ran, but it is not as durable as `redis.durability` demands."""


class Durability:
    """`fast`: nothing is waited for."""

    is_waiting = False
    wait_seconds = 0.0

    @staticmethod
    def of(settings: "RedisSettings") -> "Durability":
        """Return the durability of the setting `redis.durability`."""
        match settings.durability:
            case "synced":
                return _Synced()
            case "replicated":
                return _Replicated(settings.timeout_seconds)
            case _:
                return Durability()

    @property
    def steps(self) -> "Sequence[Step]":
        """The commands of the self-test."""
        return ()

    async def write(self, client: "Client", commands: "Sequence[Command]") -> list[Any]:
        """Return the replies to commands after their writes are durable.

        Raises NotDurable when they are not in time.
        """
        return await client.call_all(commands)


class _Synced(Durability):
    is_waiting = True
    wait_seconds = _SYNC_SECONDS
    _WAIT = ("WAITAOF", 1, 0, int(_SYNC_SECONDS * 1000))

    @property
    def steps(self) -> "Sequence[Step]":
        return (Step("the command waitaof (redis.durability: synced)", ("WAITAOF", 1, 0, 1)),)

    async def write(self, client: "Client", commands: "Sequence[Command]") -> list[Any]:
        *replies, mark, synced = await client.call_all([*commands, _mark_beside(commands), self._WAIT])
        _raise_errors(mark, synced)
        if synced[0] < 1:
            raise NotDurable(f"a write was not on disk within {_SYNC_SECONDS:g} s (redis.durability: synced)")
        return replies


class _Replicated(Durability):
    """Waits for as many replicas as ROLE lists."""

    is_waiting = True

    def __init__(self, timeout_seconds: float) -> None:
        self.wait_seconds = timeout_seconds
        self._replicas = 1

    @property
    def steps(self) -> "Sequence[Step]":
        waiting = Step("the command wait (redis.durability: replicated)", ("WAIT", 0, 1))
        return (Step("the command role (redis.durability: replicated)", ("ROLE",)), waiting)

    async def write(self, client: "Client", commands: "Sequence[Command]") -> list[Any]:
        awaited = self._replicas
        replies, connected, reached = await self._send(client, commands, awaited)
        self._replicas = max(1, connected)
        if self._replicas > awaited:  # replicas have connected since the last batch
            _, connected, reached = await self._send(client, [], self._replicas, beside=commands)
        needed = max(1, connected)
        if reached < needed:
            raise NotDurable(f"a write reached {reached} of {needed} replicas (redis.durability: replicated)")
        return replies

    async def _send(
        self, client: "Client", commands: "Sequence[Command]", replicas: int, beside: "Sequence[Command]" = ()
    ) -> tuple[list[Any], int, int]:
        """Return the replies, and the numbers of connected and of reached replicas."""
        mark, wait = _mark_beside(beside or commands), ("WAIT", replicas, max(1, int(self.wait_seconds * 1000)))
        # ROLE comes after the writes. A replica that connects later begins with a copy
        # of the data that includes them.
        *replies, marked, role, reached = await client.call_all([*commands, mark, ("ROLE",), wait])
        _raise_errors(marked, role, reached)
        return replies, len(role[2]), reached


def _mark_beside(commands: "Sequence[Command]") -> "Command":
    """Return a write to a server that the commands may write to."""
    return ("SET", mark_key(key_in(commands[0])), "", "EX", MARK_SECONDS)


def _raise_errors(*replies: Any) -> None:
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
