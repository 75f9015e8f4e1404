"""One lane to Redis: sends each command to the server of its shard.

A single server and a primary that Sentinel watches serve all shards. With Redis
Cluster, each primary serves some of them. Each server has a `ServerLane` with its own
connections, queue and breaker. So a primary that is down costs only the requests of its
own shards. `redirects.py` follows shards that move.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from redis.exceptions import ResponseError

from service.config.redis_servers import RedisServers
from service.config.settings import RedisSettings
from service.errors import StoreUnavailable
from service.storage.client import Command, Word
from service.storage.connection_events import ConnectionEvents
from service.storage.discovery import Discovery
from service.storage.durability import Durability, DurabilityMap
from service.storage.keyspace import guard_key
from service.storage.lane import SESSIONS, Lane
from service.storage.outage_log import OutageLog
from service.storage.redirects import ShardCalls, all_of
from service.storage.script_files import script_digest
from service.storage.self_test import SelfTest
from service.storage.server_lane import Accept, Operation, ServerLane
from service.storage.server_map import ServerMap
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Labels, Metrics

T = TypeVar("T")


class Script(Protocol):
    """Runs a script with keys of one shard.

    `declared` yields further keys that the script uses, as far as they are known. They
    are sent when commands are grouped by shard, because some stores want to know them.
    """

    async def __call__(self, keys: Sequence[str], arguments: Sequence[Word], declared: Iterable[str] = ()) -> Any:
        """Return the reply."""


class RedisConnection:
    """Runs commands on the servers of their shards in one lane.

    Commands and operations have to be idempotent, because a lost reply is retried.
    """

    def __init__(
        self,
        url: str,
        settings: RedisSettings,
        metrics: Metrics | None = None,
        *,
        lane: Lane = SESSIONS,
        prepare: SelfTest | None = None,
        events: ConnectionEvents | None = None,
        outage_log: OutageLog | None = None,
        servers: ServerMap | None = None,
        durability: DurabilityMap | None = None,
    ) -> None:
        """`prepare` tests each new connection before its first request.

        `outage_log`, `servers` and `durability` are shared by the connections of a
        worker.
        """
        self.lane = lane
        # A call takes two timeouts at most: two attempts of one, or one of two. When
        # this process is late, it takes up to four. When it has to connect, each step
        # of that has one timeout (`deadlines.py`).
        self.deadline_seconds = 2 * (settings.timeout_seconds + Durability.of(settings).wait_seconds)
        self.servers = servers or ServerMap(Discovery.of(url, settings))
        self.servers.on_refresh(self._retire_servers)
        self._owns_servers = servers is None
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._prepare = prepare
        self._events = events or ConnectionEvents()
        self._outage_log = outage_log or OutageLog(self.servers)
        self._log_limit = LogLimit()
        self._durability = durability or DurabilityMap(settings)
        self._lanes: dict[str, ServerLane] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._shard_calls = ShardCalls(self.servers, self._send)

    @property
    def is_open(self) -> bool:
        """Whether the breaker of a server is open."""
        return any(one.is_open for one in self._lanes.values())

    @property
    def groups_by_shard(self) -> bool:
        """Whether a command may only have keys of one shard."""
        return self.servers.groups_by_shard

    def connections(self) -> Mapping[Labels, float]:
        """Return the number of connections by lane and state."""
        numbers = [one.connections() for one in self._lanes.values()]
        idle, used = sum(idle for idle, _ in numbers), sum(used for _, used in numbers)
        return {(self.lane.name, "idle"): idle, (self.lane.name, "used"): used}

    async def call(self, name: str, *words: Word) -> Any:
        """Return the reply to one command with a key. `name` is its label in metrics.

        Raises StoreUnavailable when Redis does not answer or cannot serve, and
        Overloaded when this lane has no free connection in time.
        """
        [reply] = await self.call_all(name, [words])
        return reply

    async def call_all(
        self, name: str, commands: Sequence[Command], accept: Accept | None = None, *, is_write: bool = False
    ) -> list[Any]:
        """Return the replies to commands, each of which has keys of one server.

        The commands to one server are sent together. `accept` returns a value in place
        of an error reply, or raises the error, which is the default. The replies to
        writes are returned after the writes are as durable as `redis.durability`
        demands. Raises as `call` does.
        """
        await self.servers.load()
        accept = accept or _reject
        if self.groups_by_shard:
            return await self._shard_calls.call_all(name, commands, accept, is_write=is_write)
        return await self._send(self.servers.urls[0], name, commands, accept, is_write=is_write)

    def script(self, name: str, *, is_write: bool = False) -> Script:
        """Return a function that runs `scripts/<name>.lua` with keys of one shard.

        It returns and raises as `call_all` does.
        """

        async def run(keys: Sequence[str], arguments: Sequence[Word], declared: Iterable[str] = ()) -> Any:
            command = self.script_command(name, keys, arguments, declared)
            [reply] = await self.call_all(name, [command], is_write=is_write)
            return reply

        return run

    def script_command(
        self, name: str, keys: Sequence[str], arguments: Sequence[Word], declared: Iterable[str] = ()
    ) -> Command:
        """Return the command that runs a script. `Script` describes the parameters."""
        if self.groups_by_shard:
            # Two requests of a batch may name a session, so its key may be there twice.
            keys = [*keys, *dict.fromkeys((guard_key(keys[0]), *declared))]
        return ("EVALSHA", script_digest(name), len(keys), *keys, *arguments)

    async def run(self, name: str, operation: Operation[T]) -> T:
        """Run an operation on the client of the first server. Raises as `call`."""
        await self.servers.load()
        return await self.run_on(self.servers.urls[0], name, operation)

    async def server_urls(self) -> Sequence[str]:
        """Return the URLs of all servers. Raises StoreUnavailable."""
        await self.servers.load()
        return list(dict.fromkeys(self.servers.urls))

    async def run_on_each(self, name: str, operation: Operation[T]) -> list[T]:
        """Run an operation on the client of each server. Raises as `call` does."""
        return await all_of([self.run_on(url, name, operation) for url in await self.server_urls()])

    async def run_on(self, url: str, name: str, operation: Operation[T]) -> T:
        """Run an operation on the client of one server. Raises as `call` does."""
        try:
            return await self._lane_of(url).run(name, operation)
        except StoreUnavailable:
            self.servers.refresh_soon()
            raise

    async def reconnect(self, url: str | None = None) -> None:
        """Close all connections, or those to one server."""
        lanes = [one for one in self._lanes.values() if url in {None, one.url}]
        await asyncio.gather(*(one.reconnect() for one in lanes))

    def close_breaker(self, url: str) -> None:
        """Send calls to a server again, because it answered another lane."""
        if url in self._lanes:
            self._lanes[url].close_breaker()

    async def close(self) -> None:
        """Close all connections."""
        if self._owns_servers:
            await self.servers.close()
        await asyncio.gather(*self._retiring, *(one.close() for one in self._lanes.values()))

    async def _send(
        self, url: str, name: str, commands: Sequence[Command], accept: Accept, *, is_write: bool
    ) -> list[Any]:
        try:
            return await self._lane_of(url).call_all(name, commands, accept, is_write=is_write)
        except StoreUnavailable:
            self.servers.refresh_soon()
            raise

    def _lane_of(self, url: str) -> ServerLane:
        found = self._lanes.get(url)
        if found is None:
            found = self._lanes[url] = ServerLane(
                url,
                self._settings,
                self.lane,
                metrics=self._metrics,
                prepare=self._prepare.of_server(self.servers, url) if self._prepare else None,
                durability=self._durability.of_server(url),
                events=self._events,
                outage_log=self._outage_log,
                log_limit=self._log_limit,
                name=self._name_of(url),
            )
        return found

    def _name_of(self, url: str) -> str:
        """Return the name of a server in the log, without user and password."""
        if not self.servers.follows_redirects:
            return "Redis"
        host, port = RedisServers.of(url).hosts[0]
        return f"Redis at {host}:{port}"

    def _retire_servers(self) -> None:
        """Stop using the servers that no longer serve a shard.

        Calls in progress end in the background. The next call does not wait for them.
        """
        for url in [url for url in self._lanes if url not in self.servers.urls]:
            lane = self._lanes.pop(url)
            self._durability.forget(url)
            if lane.is_open:
                self._events.breaker_changed()
            retiring = asyncio.get_running_loop().create_task(lane.retire())
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)


def _reject(error: ResponseError) -> Any:
    raise error
