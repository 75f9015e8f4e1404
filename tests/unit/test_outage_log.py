"""The log lines about outages: advice by cause, and one end for each start."""

import re
from collections.abc import Sequence

import pytest
from redis import exceptions

from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT
from service.storage.discovery import Discovery
from service.storage.durability import NotDurable
from service.storage.outage_log import OutageLog
from service.storage.redis_errors import Unfit, reason_of
from service.storage.server_map import ServerMap
from service.telemetry.log_limit import QUIET_SECONDS

OLD, NEW, OTHER = (f"redis://{name}:6379" for name in ("old", "new", "other"))
SILENT = exceptions.ConnectionError("Connection refused")
TOO_MANY = exceptions.ConnectionError("max number of clients reached")
FULL = exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")


class Named(Discovery):
    """Finds the servers that a test names: each serves as many shards as the others."""

    def __init__(self, *urls: str) -> None:
        super().__init__(RedisSettings())
        self.urls = urls

    async def find(self) -> Sequence[str]:
        return [self.urls[shard * len(self.urls) // SHARD_COUNT] for shard in range(SHARD_COUNT)]


class Site:
    """The servers of a worker, and the log of their outages."""

    def __init__(self, *urls: str) -> None:
        self._found = Named(*urls)
        self._servers = ServerMap(self._found, clock=self._time)
        self.now = 0.0
        self._log = OutageLog(self._servers, clock=self._time)

    def _time(self) -> float:
        return self.now

    async def serve(self, *urls: str) -> None:
        self._found.urls = urls
        self.now += 1
        await self._servers._update()

    def fails(
        self, url: str, error: Exception, operation: str = "find", lane: str = "sessions", *, is_whole: bool = True
    ) -> None:
        self._log.failed(url, name_of(url), lane, operation, error, is_whole=is_whole)

    def succeeds(self, url: str, operation: str = "find", lane: str = "sessions") -> None:
        self._log.served(url, name_of(url), lane, operation)


def name_of(url: str) -> str:
    return url.removeprefix("redis://").removesuffix(":6379")


@pytest.fixture
async def site() -> Site:
    """Return a site with two servers."""
    one = Site()
    await one.serve(OLD, OTHER)
    return one


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the starts of the lines, without causes."""
    return [re.split(r" \([A-Z]\w+:", record.getMessage())[0] for record in caplog.records]


def test_an_outage_has_one_start_and_one_end(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Several problems of a server are one outage, which the next success ends."""
    for _ in range(3):
        site.fails(OLD, SILENT)
        site.fails(OLD, exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "create")
    site.succeeds(OTHER)
    assert lines(caplog) == ["old cannot serve", "old still cannot serve"]
    for _ in range(3):
        site.succeeds(OLD, "ping")
    assert lines(caplog)[2:] == ["old serves again"]
    site.fails(OLD, SILENT)
    site.now += QUIET_SECONDS
    site.fails(OLD, SILENT)
    site.fails(OTHER, SILENT)
    site.succeeds(OTHER)
    site.succeeds(OLD)
    starts = ["old cannot serve", "old still cannot serve", "other cannot serve"]
    assert lines(caplog)[3:] == [*starts, "other serves again", "old serves again"]


def test_a_lane_that_works_does_not_end_the_outage_of_another(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A lane with open connections does not end an outage of new ones."""
    for _ in range(3):
        site.fails(OLD, TOO_MANY, "check", "readiness")
        site.succeeds(OLD, "find", "sessions")
    assert lines(caplog) == ["old cannot serve"]
    site.fails(OLD, TOO_MANY, "counts", "operators")
    site.succeeds(OLD, "counts", "operators")
    site.succeeds(OLD, "check", "readiness")
    assert lines(caplog) == ["old cannot serve", "old serves again"]


def test_a_rejected_operation_ends_its_own_outage(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Reads that succeed do not end an outage of creations."""
    site.fails(OLD, FULL, "create", is_whole=False)
    site.fails(OLD, FULL, "set_user", is_whole=False)
    site.succeeds(OLD, "find")
    assert lines(caplog) == ["old cannot serve"]
    site.succeeds(OLD, "set_user")
    assert lines(caplog)[1:] == ["old serves again (OutOfMemoryError has ended)"]
    site.succeeds(OLD, "create")
    assert len(caplog.records) == 2


def test_rejections_that_alternate_with_successes(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Rejections that alternate with successes are logged once a minute."""
    for _ in range(100):
        site.fails(OLD, FULL, "create", is_whole=False)
        site.succeeds(OLD, "create")
    assert len(caplog.records) == 2
    site.now += QUIET_SECONDS
    site.fails(OLD, FULL, "create", is_whole=False)
    assert lines(caplog)[2:] == ["old cannot serve"]


def test_a_redis_that_answers_now_and_then(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Short outages are logged three times a minute, and another problem at once."""
    for _ in range(20):
        site.fails(OLD, TOO_MANY)
        site.succeeds(OLD)
    assert lines(caplog) == ["old cannot serve", "old serves again"] * 3
    site.fails(OLD, exceptions.BusyLoadingError("Redis is loading the dataset in memory"))
    site.fails(OTHER, TOO_MANY)
    assert lines(caplog)[6:] == ["old cannot serve", "other cannot serve"]
    site.succeeds(OLD)
    site.now += QUIET_SECONDS
    site.fails(OLD, TOO_MANY)
    assert lines(caplog)[8:] == ["old serves again", "old cannot serve"]


async def test_a_failover_ends_an_outage(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """After a failover, the end is logged when the server in its place has served."""
    site.fails(OLD, SILENT)
    site.fails(OLD, exceptions.ReadOnlyError("You can't write"), "create", is_whole=False)
    site.succeeds(NEW, "create")
    assert len(caplog.records) == 2
    await site.serve(NEW, OTHER)
    site.succeeds(OTHER, "create")
    assert len(caplog.records) == 2
    site.succeeds(NEW)
    site.succeeds(NEW, "create")
    ends = ["new serves again, in place of old", "new serves again, in place of old (ReadOnlyError has ended)"]
    assert lines(caplog)[2:] == ends


async def test_a_shard_that_moves_away_ends_no_outage(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """While a server still has shards, only its own success ends its outage."""
    site.fails(OLD, SILENT)
    await site.serve(OLD, OTHER, OTHER)
    site.succeeds(OTHER)
    assert lines(caplog) == ["old cannot serve"]
    site.succeeds(OLD)
    assert lines(caplog) == ["old cannot serve", "old serves again"]


async def test_an_outage_of_a_server_without_shards_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Any server ends the outage of one that had no shard, and has none later."""
    site = Site()
    site.fails(OLD, SILENT)
    await site.serve(NEW, OTHER)
    site.succeeds(OTHER)
    assert lines(caplog) == ["old cannot serve", "other serves again, in place of old"]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (SILENT, "Check redis.url, and that Redis runs"),
        (TimeoutError(), "Check redis.url, and that Redis runs"),
        (Unfit("the command mget does not work"), "Check redis.url"),
        (exceptions.AuthenticationError("invalid username-password pair"), "Check redis.url"),
        (exceptions.ReadOnlyError("You can't write"), "Check redis.url"),
        (exceptions.MasterDownError("Link with MASTER is down"), "Check redis.url"),
        (exceptions.ResponseError("DB index is out of range"), "Check redis.url"),
        (exceptions.ConnectionError("max number of clients reached"), "Raise maxclients"),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "Wait"),
        (exceptions.ClusterDownError("The cluster is down"), "Check the nodes"),
        (exceptions.MovedError("3999 127.0.0.1:6381"), "Check the nodes"),
        (FULL, "Give Redis more memory"),
        (exceptions.TryAgainError("Multiple keys request"), "A slot of the cluster moves"),
        (exceptions.AskError("12182 127.0.0.1:6381"), "A slot of the cluster moves"),
        (exceptions.ClusterCrossSlotError("Keys in request"), "Check redis.group_by_shard"),
        (NotDurable("a write reached 0 of 1 replicas"), "Check the disk and the replicas"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas"), "Check the replicas"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "Free space"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "SCRIPT KILL"),
        (exceptions.ResponseError("UNBLOCKED force unblock"), "Check the primary"),
        (exceptions.ResponseError("WAIT cannot be used with replica instances"), "Check redis.url"),
        (exceptions.ResponseError("WAITAOF cannot be used when appendonly is disabled"), "Turn on the append-only"),
        (exceptions.NoPermissionError("this user has no permissions"), "Allow the command"),
        (exceptions.ResponseError("unknown command 'WAITAOF'"), "Allow the command"),
    ],
)
def test_the_advice_fits_the_cause(
    site: Site, caplog: pytest.LogCaptureFixture, error: Exception, advice: str
) -> None:
    """The line says what to do. It names `redis.url` only if that can be the cause."""
    site.fails(OLD, error)
    [line] = [record.getMessage() for record in caplog.records]
    assert advice in line
    assert ("redis.url" in line) == (advice.startswith("Check redis.url") or "3999" in line)


def test_a_reason_has_no_dot_at_its_end() -> None:
    """redis-py ends its messages with a dot, and the log puts a reason in brackets."""
    refused = exceptions.ConnectionError("Error 111 connecting to a:1. Connection refused.")
    assert reason_of(refused) == "ConnectionError: Error 111 connecting to a:1. Connection refused"
