"""Waits until a write is on disk or on replicas, as `redis.durability` demands.

    fast        Redis answers when the write is in memory. The append-only file follows
                within a second by default (`appendfsync everysec`).
    synced      Redis answers when the write is on its disk (WAITAOF). It needs Redis or
                Valkey 7.2 with an append-only file and `appendfsync always`.
    replicated  Redis answers when all connected replicas have the write in memory, and
                at least one does (WAIT). A replica that lacks a write could become the
                primary.

WAIT and WAITAOF wait for the last write of their own connection. They are sent with the
commands, once for a batch. The script of a retry writes nothing, because its first run
has written on another connection. So a batch ends with a write of its own, the mark. A
full Redis accepts the mark too, so that sessions can be ended.
docs/reliability.md has the cost of each setting.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import AskError, RedisError, ResponseError

from service.config.settings import RedisSettings
from service.storage.client import Client, Command
from service.storage.keyspace import MARK_SECONDS, mark_key
from service.storage.replicas import Replicas
from service.storage.script_files import script_digest
from service.storage.self_test_steps import SelfTestStep
from service.storage.sharding import ASKING, key_in

# A disk may be busy for this long.
_SYNC_SECONDS = 2.0


class NotDurable(RedisError):
    """A write ran, but it is not as durable as `redis.durability` demands."""


class Durability:
    """`fast`: waits for nothing after the reply."""

    is_waiting = False
    wait_seconds = 0.0

    @staticmethod
    def of(settings: RedisSettings) -> "Durability":
        """Return the durability of the setting `redis.durability`."""
        match settings.durability:
            case "synced":
                return _Synced()
            case "replicated":
                return _Replicated(settings.timeout_seconds)
            case _:
                return Durability()

    @property
    def steps(self) -> Sequence[SelfTestStep]:
        """The commands of the self-test."""
        return ()

    async def write(self, client: Client, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands after their writes are durable.

        Raises NotDurable when they are not in time.
        """
        return await client.call_all(commands)


class DurabilityMap:
    """The durability of each server, which all lanes of a worker share.

    So a lane that rarely writes knows the replicas from the writes of the others. With
    its own knowledge, it would not notice that one of them has been promoted.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._by_url: dict[str, Durability] = {}

    def of_server(self, url: str) -> Durability:
        """Return the durability of writes to a server."""
        if url not in self._by_url:
            self._by_url[url] = Durability.of(self._settings)
        return self._by_url[url]

    def forget(self, url: str) -> None:
        """Forget the replicas of a server that is no longer used.

        It may come back as the primary of others.
        """
        self._by_url.pop(url, None)


class _Waiting(Durability):
    """Sends a mark and a wait with the commands."""

    is_waiting = True

    async def write(self, client: Client, commands: Sequence[Command]) -> list[Any]:
        if commands[0] == ASKING:
            # No script succeeds while its slot moves to this server (`redirects.py`).
            return await client.call_all(commands)
        try:
            return await self._run(client, commands)
        except AskError:
            # The shard of the mark has moved. Other commands may have other shards.
            return [await self._run_alone(client, command) for command in commands]

    async def _run_alone(self, client: Client, command: Command) -> Any:
        try:
            [reply] = await self._run(client, [command])
        except AskError as error:
            return error
        return reply

    async def _run(self, client: Client, commands: Sequence[Command]) -> list[Any]:
        """Return the replies after the writes. Raises an error reply to the mark."""
        raise NotImplementedError


class _Synced(_Waiting):
    wait_seconds = _SYNC_SECONDS
    _WAIT = ("WAITAOF", 1, 0, int(_SYNC_SECONDS * 1000))

    @property
    def steps(self) -> Sequence[SelfTestStep]:
        # With `everysec`, WAITAOF of Valkey 9.1 replies before the write is on disk: 27
        # replies in 3 s, and 4 calls of fdatasync. Redis 8.0 fixed it (redis#13793).
        always = SelfTestStep(
            "redis.durability: synced",
            ("CONFIG", "GET", "appendfsync"),
            [b"appendfsync", b"always"],
            "it needs `appendfsync always`, because with `everysec` WAITAOF may reply too early",
        )
        return (SelfTestStep("the command waitaof (redis.durability: synced)", ("WAITAOF", 1, 0, 1)), always)

    async def _run(self, client: Client, commands: Sequence[Command]) -> list[Any]:
        *replies, marked, synced = await client.call_all([*commands, _mark_beside(commands), self._WAIT])
        _raise_errors(marked, synced)
        if synced[0] < 1:
            raise NotDurable(f"a write was not on disk within {_SYNC_SECONDS:g} s (redis.durability: synced)")
        return replies


class _Replicated(_Waiting):
    """Waits for as many replicas as ROLE lists."""

    def __init__(self, timeout_seconds: float) -> None:
        self.wait_seconds = timeout_seconds
        # The setting is at least 10 ms. To WAIT, 0 would mean no limit.
        self._milliseconds = int(timeout_seconds * 1000)
        self._replicas = Replicas(timeout_seconds)

    @property
    def steps(self) -> Sequence[SelfTestStep]:
        waiting = SelfTestStep("the command wait (redis.durability: replicated)", ("WAIT", 0, 1))
        return (SelfTestStep("the command role (redis.durability: replicated)", ("ROLE",)), waiting)

    async def _run(self, client: Client, commands: Sequence[Command]) -> list[Any]:
        awaited, mark = self._replicas.count, _mark_beside(commands)
        # ROLE comes after the writes. A replica that connects later begins with a copy
        # of the data that includes them.
        *replies, marked, role, reached = await client.call_all([*commands, mark, ("ROLE",), self._wait(awaited)])
        _raise_errors(marked, role, reached)
        needed = await self._replicas.update(client.url, role)
        if needed is None:
            raise NotDurable("a replica has been promoted to primary (redis.durability: replicated)")
        if needed > awaited:  # replicas have connected since the last batch
            marked, reached = await client.call_all([mark, self._wait(needed)])
            _raise_errors(marked, reached)
        if reached < needed:
            raise NotDurable(f"a write reached {reached} of {needed} replicas (redis.durability: replicated)")
        return replies

    def _wait(self, replicas: int) -> Command:
        return ("WAIT", replicas, self._milliseconds)


def _mark_beside(commands: Sequence[Command]) -> Command:
    """Return a write to the shard of the first command."""
    return ("EVALSHA", script_digest("mark"), 1, mark_key(key_in(commands[0])), MARK_SECONDS)


def _raise_errors(*replies: Any) -> None:
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
