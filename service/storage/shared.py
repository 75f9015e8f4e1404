"""The parts that all connections of a worker to Redis share."""

from service.config.settings import RedisSettings
from service.storage.connection_events import ConnectionEvents
from service.storage.durability import DurabilityMap
from service.storage.outage_log import OutageLog
from service.storage.self_test import SelfTest
from service.storage.server_map import ServerMap
from service.telemetry.log_limit import LogLimit
from service.telemetry.metrics import Metrics


class Shared:
    """The servers, the settings, and the state, logs and metrics of the servers."""

    def __init__(
        self,
        servers: ServerMap,
        settings: RedisSettings,
        metrics: Metrics | None = None,
        *,
        events: ConnectionEvents | None = None,
        self_test: SelfTest | None = None,
    ) -> None:
        """`self_test` runs on each new connection before its first request."""
        self.servers = servers
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.events = events or ConnectionEvents()
        self.self_test = self_test
        self.durability = DurabilityMap(settings)
        self.outage_log = OutageLog(servers)
        self.shortage_log_limit = LogLimit()
