"""Sends a batch of sessions to Redis in as few commands as the servers allow.

One server.   A batch is one command.
A cluster.    A command has keys of one shard. A script may use keys of all shards of
              its server, if the self-test has found that the servers allow it. So
              writes are one script for each server, which finds the keys of further
              shards in ARGV (`session_keys` in `shard.lua`). Reads are one MGET for
              each shard, which takes half the time of a script.

While a shard moves, a script that uses it beside others fails before its first write.
Then each shard gets a call of its own. So the other shards are served, and
`redirects.py` finds the server of the shard that moves.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import AskError, ResponseError, TryAgainError

from service.errors import Overloaded, StoreUnavailable
from service.sessions import shard_of
from service.storage.client import Command, Word
from service.storage.connection import RedisConnection
from service.storage.server_lane import Accept
from service.storage.sharding import across_shards, grouped, shard_in

# The positions of some sessions in a batch.
Positions = Sequence[int]
# A command, and the sessions in the order of its reply.
Part = tuple[Command, Positions]

# Redis 7.0 to 8 and Valkey 7.2 to 9, when a script uses a key whose slot is not here.
_NOT_HERE = "non local key"


class SessionCalls:
    """Runs commands whose reply has one result for each session.

    The methods return the results in the order of the batch. They raise as
    `RedisConnection.call` does.
    """

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._servers = connection.servers

    async def read(
        self, name: str, session_ids: Sequence[str], make: Callable[[Positions], Command]
    ) -> Sequence[Any]:
        """Return the results of the commands that `make` returns for some sessions."""
        if not self._connection.groups_by_shard:
            results: list[Any] = await self._connection.call(name, *make(range(len(session_ids))))
            return results
        shards = [shard_of(session_id) for session_id in session_ids]
        parts = [(make(some), some) for some in _by_shard(range(len(shards)), shards)]
        return _in_order(len(shards), await self._call(name, parts))

    async def write(self, name: str, session_ids: Sequence[str], make: Callable[[Positions], Part]) -> Sequence[Any]:
        """Return the results of the scripts that `make` returns for some sessions.

        `make` gets the sessions of each shard together. The scripts are commands that
        `script` returns, and idempotent. When some shards of a cluster fail, the result
        of their sessions is the error.
        """
        count = len(session_ids)
        if not self._connection.groups_by_shard:
            return _in_order(count, await self._call(name, [make(range(count))], is_write=True))
        await self._servers.load()
        shards = [shard_of(session_id) for session_id in session_ids]
        parts = [make(some) for some in self._by_script(shards)]
        done = await self._call(name, parts, _keep_if_moving, is_write=True)
        failed = [positions for (_, positions), reply in done if isinstance(reply, ResponseError)]
        if failed:
            parts = [make(some) for positions in failed for some in _by_shard(positions, shards)]
            done += zip(parts, await asyncio.gather(*(self._call_alone(name, part) for part in parts)), strict=True)
        return _in_order(count, done)

    def script(
        self, name: str, keys: Sequence[str], arguments: Sequence[Word], declared: Iterable[str] = ()
    ) -> Command:
        """Return the command that runs a script with session keys.

        `declared` is as in `connection.Script`. It is only used with keys of one shard.
        """
        if self._connection.groups_by_shard and shard_in(keys[0]) != shard_in(keys[-1]):
            return across_shards(name, keys, arguments)
        return self._connection.script_command(name, keys, arguments, declared)

    def _by_script(self, shards: Sequence[int]) -> Sequence[Positions]:
        """Return the sessions that share a script, given the shard of each session."""
        positions = range(len(shards))
        if not self._servers.scripts_span_shards:
            return _by_shard(positions, shards)
        urls, sorted_positions = self._servers.urls, sorted(positions, key=shards.__getitem__)
        return grouped(sorted_positions, lambda position: urls[shards[position]])

    async def _call(
        self, name: str, parts: Sequence[Part], accept: Accept | None = None, *, is_write: bool = False
    ) -> list[tuple[Part, Any]]:
        commands = [command for command, _ in parts]
        replies = await self._connection.call_all(name, commands, accept, is_write=is_write)
        return list(zip(parts, replies, strict=True))

    async def _call_alone(self, name: str, part: Part) -> Any:
        """Return the reply to one command, or the error of its server."""
        try:
            [(_, reply)] = await self._call(name, [part], is_write=True)
        except (StoreUnavailable, Overloaded) as error:
            return error
        return reply


def _by_shard(positions: Iterable[int], shards: Sequence[int]) -> Sequence[Positions]:
    return grouped(positions, shards.__getitem__)


def _in_order(count: int, done: Iterable[tuple[Part, Any]]) -> Sequence[Any]:
    """Return the results by position. A later reply replaces an earlier one."""
    results: list[Any] = [None] * count
    for (_, positions), reply in done:
        replies = [reply] * len(positions) if isinstance(reply, Exception) else reply
        for position, result in zip(positions, replies, strict=True):
            results[position] = result
    return results


def _keep_if_moving(error: ResponseError) -> ResponseError:
    """Return an error that came before the first write, and raise any other."""
    if isinstance(error, AskError | TryAgainError) or _NOT_HERE in str(error):
        return error
    raise error
