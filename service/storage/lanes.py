"""The worker's ways to Redis: one for sessions, one for operators, one for readiness.

Each has its own connections, waiting line and breaker, so that a thousand look-ups or a year of counts never make a
visitor wait, and readiness tells the state of Redis and not that of a queue.
"""

import asyncio
from collections.abc import Callable

from service.log_limit import LogLimit
from service.metrics import Metrics
from service.settings import RedisSettings
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace
from service.storage.lane import OPERATORS, READINESS, SESSIONS
from service.storage.self_test import SelfTest


class Lanes:
    """The three connections of a worker."""

    def __init__(self, url: str, settings: RedisSettings, keyspace: Keyspace, metrics: Metrics) -> None:
        self_test = SelfTest(keyspace)
        self.sessions, self.operators, self.readiness = self._all = tuple(
            RedisConnection(url, settings, metrics, lane=lane, prepare=self_test)
            for lane in (SESSIONS, OPERATORS, READINESS)
        )
        self._on_reconnect: Callable[[], None] = lambda: None
        log_limit = LogLimit()
        for connection in self._all:
            connection.log_limit = log_limit
            connection.on_demotion = self._reconnect
            connection.on_recovery = self._hurry
        metrics.breaker_open.read = lambda: {(one.lane.name,): one.is_open for one in self._all}
        metrics.connections.read = lambda: {
            labels: number for one in self._all for labels, number in one.connections().items()
        }

    def notify(self, on_change: Callable[[], None], on_reconnect: Callable[[], None]) -> None:
        """Have `on_change` called when a breaker opens or closes, and `on_reconnect` when connections are new."""
        self._on_reconnect = on_reconnect
        for connection in self._all:
            connection.on_change = on_change

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.close() for connection in self._all))

    def _hurry(self) -> None:
        for connection in self._all:
            connection.hurry()
        self._on_reconnect()

    async def _reconnect(self) -> None:
        """Close the connections of all lanes, because all of them go to the demoted server."""
        await asyncio.gather(*(connection.reconnect() for connection in self._all))
        self._on_reconnect()
