"""The worker's four lanes to Redis: for sessions, consent, operators and readiness.

Each lane has its own connections, queue and breaker. So a thousand lookups or changes
of consent, or a year of counts, do not delay a visitor. Readiness reports whether Redis
works, not whether a queue is full. The bounds are in `lane.py`.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping

from service.config.settings import RedisSettings
from service.storage.connection import RedisConnection
from service.storage.connection_events import ConnectionEvents
from service.storage.discovery import Discovery
from service.storage.durability import Durability
from service.storage.keyspace import Keyspace
from service.storage.lane import CONSENT, OPERATORS, READINESS, SESSIONS
from service.storage.self_test import MoreSteps, SelfTest
from service.storage.server_map import ServerMap
from service.storage.shared import Shared
from service.telemetry.metrics import Labels, Metrics

# A primary with too few replicas rejects writes and stays the primary. New connections
# do not help its reads, and the self-test of each takes 1 ms of Redis. With this pause,
# self-tests take a few percent of its time. A primary that has moved is found in a
# fraction of the 2 s that visitors may have to wait.
RECONNECT_SECONDS = 0.25


class Lanes(ConnectionEvents):
    """The four connections of a worker. An event of one lane concerns all of them."""

    def __init__(self, url: str, settings: RedisSettings, keyspace: Keyspace, metrics: Metrics) -> None:
        self.servers = ServerMap(Discovery.of(url, settings))
        self._self_test = SelfTest(keyspace, Durability.of(settings))
        shared = Shared(self.servers, settings, metrics, events=self, self_test=self._self_test)
        self.sessions, self.consent, self.operators, self.readiness = self._all = tuple(
            RedisConnection(shared, lane) for lane in (SESSIONS, CONSENT, OPERATORS, READINESS)
        )
        self._reconnected_at: dict[str, float] = {}
        self._on_change: Callable[[], None] = lambda: None
        self._on_reconnect: Callable[[], None] = lambda: None

    def notify(self, on_change: Callable[[], None], on_reconnect: Callable[[], None]) -> None:
        """Set the functions that are called after events.

        `on_change` is called when a breaker opens or closes, `on_reconnect` when the
        lanes have new connections.
        """
        self._on_change = on_change
        self._on_reconnect = on_reconnect

    def add_steps(self, steps: MoreSteps) -> None:
        """Run further steps on each new connection, before its first request."""
        self._self_test.add_steps(steps)

    def open_breakers(self) -> Mapping[Labels, float]:
        """Return 1 for each lane whose breaker is open, and 0 for the others."""
        return {(one.lane.name,): float(one.is_open) for one in self._all}

    def connections(self) -> Mapping[Labels, float]:
        """Return the number of connections by lane and state."""
        return {labels: number for one in self._all for labels, number in one.connections().items()}

    def start(self) -> None:
        """Watch which servers serve the shards, if they change without notice."""
        self.servers.start_polling()

    async def close(self) -> None:
        """Close all connections."""
        await self.servers.close()
        await asyncio.gather(*(connection.close() for connection in self._all))

    def breaker_changed(self) -> None:
        """Report the change, so that an idle worker's gauges are current."""
        self._on_change()

    def recovered(self, url: str) -> None:
        """Close the breakers of the other lanes, because one lane got an answer."""
        for connection in self._all:
            connection.close_breaker(url)
        self._on_reconnect()

    async def demoted(self, url: str, _: Callable[[], Awaitable[None]]) -> None:
        """Close the connections of all lanes to a server.

        Does nothing within RECONNECT_SECONDS of the last time.
        """
        now = time.monotonic()
        if now - self._reconnected_at.get(url, -math.inf) < RECONNECT_SECONDS:
            return
        self._reconnected_at[url] = now
        await asyncio.gather(*(connection.reconnect(url) for connection in self._all))
        self._on_reconnect()
