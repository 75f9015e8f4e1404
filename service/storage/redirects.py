"""Sends commands to the servers of their shards, and follows redirects.

Moved.   A server that no longer serves a shard answers MOVED. The command is
         sent to the server that the answer names, and the map is updated.
Moving.  While a slot moves key by key, neither server has all keys of the shard. A
         command whose key has moved is answered ASK, and is sent to the other server
         once. A command with several keys is answered TRYAGAIN until the move ends, so
         MGET is sent again with one key at a time.
Scripts. A script that found only some of a shard's keys would make counts wrong. So
         scripts name one more key, the guard, which never exists. Both servers then
         answer TRYAGAIN, and the request is answered 503. Sessions can be read.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from service.config.redis_servers import RedisServers
from service.storage.client import Command, Word
from service.storage.discovery import endpoint_of
from service.storage.server_lane import Accept
from service.storage.server_map import ServerMap
from service.storage.sharding import ASKING, key_in, shard_in

T = TypeVar("T")

_MAX_REDIRECTS = 3
# MIGRATE moves a few keys at a time.
_TRY_AGAIN_SECONDS = 0.02


class Send(Protocol):
    """Sends commands to one server, as `ServerLane.call_all` does."""

    async def __call__(
        self, url: str, name: str, commands: Sequence[Command], accept: Accept, *, is_write: bool
    ) -> list[Any]:
        """Return the replies."""


class _Target(NamedTuple):
    """Where a command is sent. `is_asking`: its slot is moving to this server."""

    url: str
    is_asking: bool = False

    def prepared(self, commands: Iterable[Command]) -> Sequence[Command]:
        """Return the commands as they are sent."""
        return [one for command in commands for one in ((ASKING, command) if self.is_asking else (command,))]

    def replies(self, found: Sequence[Any]) -> Sequence[Any]:
        """Return the replies to the commands, without those to ASKING."""
        return found[1::2] if self.is_asking else found


class ShardCalls:
    """Sends each command to the server of its shard. The caller has loaded the map."""

    def __init__(self, servers: ServerMap, send: Send) -> None:
        self._servers = servers
        self._send = send

    async def call_all(self, name: str, commands: Sequence[Command], accept: Accept, *, is_write: bool) -> list[Any]:
        """Return the replies. The commands to one server are sent together.

        When redirects do not end, the last one is treated as an error of the server.
        """
        replies: list[Any] = [None] * len(commands)
        urls = self._servers.urls
        pending = {position: _Target(urls[shard_in(key_in(command))]) for position, command in enumerate(commands)}
        redirects = _MAX_REDIRECTS if self._servers.follows_redirects else 0
        for redirects_left in range(redirects, -1, -1):
            accepts = _accept_redirects(accept) if redirects_left else accept
            sent, pending = pending, {}
            for position, reply in await self._send_all(sent, name, commands, accepts, is_write=is_write):
                if isinstance(reply, TryAgainError) and commands[position][0] == "MGET":
                    replies[position] = await self._get_each(name, commands[position][1:], accept)
                elif redirects_left and isinstance(reply, AskError | TryAgainError):
                    pending[position] = self._redirected(commands[position], reply, sent[position])
                else:
                    replies[position] = reply
            if not pending:
                break
            if pending.items() & sent.items():  # TRYAGAIN
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
        return replies

    async def _get_each(self, name: str, keys: Sequence[Word], accept: Accept) -> list[Any]:
        """Return what MGET of several keys returns, while only some have moved."""
        commands = [("MGET", key) for key in keys]
        return [value for [value] in await self.call_all(name, commands, accept, is_write=False)]

    async def _send_all(
        self, targets: dict[int, _Target], name: str, commands: Sequence[Command], accept: Accept, *, is_write: bool
    ) -> list[tuple[int, Any]]:
        """Send commands by position. Returns each position with its reply."""
        by_target: dict[_Target, list[int]] = {}
        for position, target in targets.items():
            by_target.setdefault(target, []).append(position)

        async def send(target: _Target, positions: Sequence[int]) -> list[tuple[int, Any]]:
            prepared = target.prepared(commands[position] for position in positions)
            found = await self._send(target.url, name, prepared, accept, is_write=is_write)
            return list(zip(positions, target.replies(found), strict=True))

        return list(chain.from_iterable(await all_of([send(*entry) for entry in by_target.items()])))

    def _redirected(self, command: Command, error: ResponseError, target: _Target) -> _Target:
        """Return the next target of a command that was not served."""
        if not isinstance(error, AskError):
            return target
        host = endpoint_of(error.host, RedisServers.of(target.url).hosts[0][0])
        if isinstance(error, MovedError):
            return _Target(self._servers.moved(shard_in(key_in(command)), host, error.port))
        return _Target(self._servers.url_of(host, error.port), is_asking=True)


def _accept_redirects(accept: Accept) -> Accept:
    return lambda error: error if isinstance(error, AskError | TryAgainError) else accept(error)


async def all_of(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of calls. Raises the first error after all have ended."""
    if len(calls) == 1:
        return [await calls[0]]
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]  # errors are raised above
