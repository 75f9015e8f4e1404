"""Finds the servers of the shards: one server, a primary of Sentinel, or a cluster.

redis-py's own clients for Sentinel and Cluster are not used for commands. Its cluster
client finds all servers again before the next command after any error, so a primary
that hangs delays the commands to all others. Its Sentinel client asks the sentinels one
after the other, so the first one that hangs takes the time of a whole command
(docs/decisions.md).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from service.config.redis_servers import RedisServers, Topology
from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT
from service.storage.client import Client, Word
from service.storage.deadlines import Deadlines
from service.storage.keyspace import SHARD_TAGS
from service.storage.redis_errors import reason_of

_SLOTS = tuple(key_slot(tag.encode()) for tag in SHARD_TAGS)
# Nodes of a cluster that are asked at the same time. All of them know the cluster.
_ASKED_AT_ONCE = 3
# Once more than half have replied, the others have this time. The machine of a node
# may be gone, and `redis.timeout_seconds` may be longer than a failover.
_LATE_SECONDS = 0.1
_NO_CLUSTER = "no node of the cluster answers, or slots have no server"
_Node = tuple[str, int]  # host and port


class Discovery:
    """Finds the URL of the server of each shard.

    `fixed_urls` has these URLs if they never change. `detects_groups` is whether the
    self-test finds out if the server needs `groups_by_shard`.
    """

    needs_polling = False
    fixed_urls: Sequence[str] = ()
    problem = ""  # the reason why the last `find` has found nothing

    def __init__(self, settings: RedisSettings) -> None:
        self.groups_by_shard = settings.group_by_shard == "always"
        self.detects_groups = settings.group_by_shard == "auto"

    @staticmethod
    def of(url: str, settings: RedisSettings) -> "Discovery":
        """Return the discovery for `redis.url`."""
        if url.startswith("unix:"):
            return SingleServer(url, settings)
        servers = RedisServers.of(url)
        match servers.topology:
            case Topology.SENTINEL:
                return SentinelDiscovery(servers, settings)
            case Topology.CLUSTER:
                return ClusterDiscovery(servers, settings)
            case _:
                return SingleServer(url, settings)

    def server_url(self, host: str, port: int) -> str:
        """Return the URL of a server that a redirect names."""
        raise NotImplementedError

    async def find(self) -> Sequence[str] | None:
        """Return the URL of each shard's server, or None when it is unknown."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections."""


class SingleServer(Discovery):
    """One server for all shards, which is known from the start."""

    def __init__(self, url: str, settings: RedisSettings) -> None:
        super().__init__(settings)
        self.fixed_urls = (url,) * SHARD_COUNT

    def server_url(self, host: str, port: int) -> str:
        """Return the URL of another server that a redirect names."""
        return RedisServers.of(self.fixed_urls[0]).server_url(host, port)

    async def find(self) -> Sequence[str]:
        """Return the URL of the server for each shard."""
        return self.fixed_urls


def endpoint_of(name: str, asked: str) -> str:
    """Return the host of a node that another node names.

    Without a name, or with `?`, it is the host that was asked. The setting
    `cluster-preferred-endpoint-type` of a cluster can lead to both.
    """
    return asked if name in {"", "?"} else name


class _RemoteDiscovery(Discovery):
    """Asks other processes for the servers, over connections that it keeps."""

    def __init__(self, servers: RedisServers, settings: RedisSettings) -> None:
        super().__init__(settings)
        self._servers = servers
        self._timeout_seconds = settings.timeout_seconds
        self._deadlines = Deadlines(settings.timeout_seconds)
        self._clients: dict[str, Client] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def server_url(self, host: str, port: int) -> str:
        """Return the URL of a server of Redis."""
        return self._servers.server_url(host, port)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()
        await asyncio.gather(*self._closing)

    def _forget(self, url: str) -> None:
        """Close the connection to a server that is no longer asked."""
        task = asyncio.get_running_loop().create_task(self._clients.pop(url).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _call(self, url: str, *command: Word) -> Any:
        """Return the reply to a command. Raises the error of an error reply."""
        if url not in self._clients:
            self._clients[url] = Client(url, self._timeout_seconds, connections=1)
        [reply] = await self._clients[url].call_all([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def _all_replies(self, questions: Mapping[_Node, Awaitable[Any]], problem: str) -> list[Any]:
        """Return the replies that arrive in time. Record `problem` with the errors.

        Each step of connecting, and the question, has one timeout (`deadlines.py`).
        """
        replies: list[Any] = []
        nodes_by_error: dict[str, list[str]] = {}

        async def ask(node: _Node, question: Awaitable[Any]) -> None:
            try:
                reply = await self._deadlines.limit(question)
            except (RedisError, OSError, TimeoutError) as error:
                nodes_by_error.setdefault(reason_of(error).rstrip("."), []).append("{}:{}".format(*node))
                return
            replies.append(reply)
            if len(replies) == len(questions) // 2 + 1:
                patience.reschedule(asyncio.get_running_loop().time() + _LATE_SECONDS)

        with suppress(TimeoutError):
            async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as group:
                for entry in questions.items():
                    group.create_task(ask(*entry))
        self.problem = ". ".join([problem, *(f"{', '.join(nodes)}: {one}" for one, nodes in nodes_by_error.items())])
        return replies


class _Primary(NamedTuple):
    """The primary that a sentinel names."""

    epoch: int  # grows with each failover
    host: str
    port: int


class SentinelDiscovery(_RemoteDiscovery):
    """The primary with the highest epoch, among the answers of all sentinels.

    A sentinel that is cut off from the others may still name the primary before. With
    the same epoch, the primary that most sentinels name is the right one. A sentinel
    that was set up again may watch another server, and its epoch is 0, as it is for
    the others before the first failover.
    """

    needs_polling = True

    def __init__(self, servers: RedisServers, settings: RedisSettings) -> None:
        super().__init__(servers, settings)
        self._last: _Primary | None = None

    async def find(self) -> Sequence[str] | None:
        """Return the URL of the primary for each shard, or None.

        The primary of the last call is kept, until one with a higher epoch is found or
        more than half of all sentinels name another.
        """
        name, urls = self._servers.name, {node: self._servers.sentinel_url(*node) for node in self._servers.hosts}
        questions = {node: self._call(url, "SENTINEL", "MASTER", name) for node, url in urls.items()}
        replies = await self._all_replies(questions, f"no sentinel names a primary of {name}")
        if not replies:
            return None
        named = Counter(_primary_in(dict(zip(reply[::2], reply[1::2], strict=True))) for reply in replies)
        found = max(named, key=lambda primary: (primary.epoch, named[primary]))
        if self._last is None or found.epoch > self._last.epoch or 2 * named[found] > len(urls):
            self._last = found
        return (self.server_url(self._last.host, self._last.port),) * SHARD_COUNT


def _primary_in(state: Mapping[bytes, bytes]) -> _Primary:
    return _Primary(int(state[b"config-epoch"]), state[b"ip"].decode(), int(state[b"port"]))


class ClusterDiscovery(_RemoteDiscovery):
    """The primaries of the slots, as one of the nodes knows them.

    A node may not know about a change yet. Redirects then lead to the right server.
    """

    def __init__(self, servers: RedisServers, settings: RedisSettings) -> None:
        super().__init__(servers, settings)
        self.groups_by_shard = True
        self._known: set[_Node] = set(servers.hosts)

    async def find(self) -> Sequence[str] | None:
        """Return the URL of each shard's primary, or None."""
        nodes = random.sample(sorted(self._known), len(self._known))
        for start in range(0, len(nodes), _ASKED_AT_ONCE):
            asked = nodes[start : start + _ASKED_AT_ONCE]
            questions = {node: self._ask(*node) for node in asked}
            for found in await self._all_replies(questions, _NO_CLUSTER):
                if len(found) == SHARD_COUNT:
                    self._remember(found)
                    return [self.server_url(*node) for node in found]
        return None

    async def _ask(self, host: str, port: int) -> Sequence[_Node]:
        """Return the primary of each shard. Fewer are returned when slots have none."""
        ranges = await self._call(self.server_url(host, port), "CLUSTER", "SLOTS")
        return [
            (endpoint_of((name or b"").decode(), host), primary_port)
            for slot in _SLOTS
            for first, last, (name, primary_port, *_), *_ in ranges
            if first <= slot <= last
        ]

    def _remember(self, primaries: Sequence[_Node]) -> None:
        """Ask these nodes and those of the URL from now on, and no others."""
        self._known = {*self._servers.hosts, *primaries}
        current = {self.server_url(*node) for node in self._known}
        for url in [url for url in self._clients if url not in current]:
            self._forget(url)
