"""The kinds of trials: a fault, the site that it needs, and what it may lose."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.servers import binaries
from tests.support.topologies import FAILOVER_SECONDS, ClusterGroup, SentinelGroup
from tests.torture import faults, topology_faults
from tests.torture.power_loss import COMPILER
from tests.torture.sites import Disk, Service, single_server
from tests.torture.trials import Outcome, Trials

RECOVERY_SECONDS = 2.0
_AOF = ("--appendonly", "yes")
_DURABLE = {"JAY_REDIS__DURABILITY": "replicated"}


@dataclass(frozen=True, kw_only=True)
class Kind(ABC):
    """A kind of trial. `trials` is their number in a long run."""

    trials: int

    @property
    def missing(self) -> str:
        """Return the program that this machine lacks for these trials, or ""."""
        return ""

    @abstractmethod
    def site(self, folder: Path, server: str, **variables: str) -> AbstractAsyncContextManager[Trials]:
        """Start servers of this kind in `binaries()` and a service.

        `variables` are environment variables of the service.
        """

    def verdict(self, outcome: Outcome) -> list[str]:
        """Return a sentence for each promise that a trial broke."""
        late = outcome.recovery_seconds > RECOVERY_SECONDS
        return outcome.broken + [f"recovered after {outcome.recovery_seconds:.1f} s."] * late


@dataclass(frozen=True, kw_only=True)
class SingleServer(Kind):
    """A fault of the service, or of the only server.

    `may_lose_seconds` is the age of the oldest change that the fault may lose, or None
    if it may lose nothing.
    """

    fault: faults.Fault
    fsync: str = "everysec"
    fsync_seconds: float = 0.0
    needs_library: bool = False
    is_lossy: bool = False
    may_lose_seconds: float | None = None

    @property
    def missing(self) -> str:
        """Return "a C compiler" if one is needed and not there."""
        return "a C compiler" if self.needs_library and COMPILER is None else ""

    @asynccontextmanager
    async def site(self, folder: Path, server: str, **variables: str) -> AsyncIterator[Trials]:
        """Start the server and the service."""
        disk = Disk(self.fsync, self.fsync_seconds, is_recorded=self.needs_library)
        async with single_server(folder, binaries()[server], disk, variables, is_lossy=self.is_lossy) as site:
            inject = partial(self.fault, site)
            yield await Trials.of(site.service, inject, may_lose=self.may_lose_seconds is not None)

    def verdict(self, outcome: Outcome) -> list[str]:
        """Add a sentence when a change is lost that is older than allowed."""
        is_too_old = outcome.oldest_lost_seconds > (self.may_lose_seconds or 0.0)
        sentence = f"a change was lost that was {outcome.oldest_lost_seconds:.2f} s old."
        return super().verdict(outcome) + [sentence] * is_too_old


@dataclass(frozen=True, kw_only=True)
class Failover(Kind):
    """Another server becomes the primary of a Sentinel group."""

    fault: topology_faults.SentinelFault
    down_after_seconds: float = 5.0
    outage_after_seconds: float = 3.0  # added to the time in which Sentinel notices

    @asynccontextmanager
    async def site(self, folder: Path, server: str, **variables: str) -> AsyncIterator[Trials]:
        """Start three servers, three sentinels and the service."""
        group = SentinelGroup(binaries()[server], folder / "group", *_AOF, down_after_seconds=self.down_after_seconds)
        with group, Service(folder, group.url, {**variables, **_DURABLE}) as service:
            yield await Trials.of(service, partial(self.fault, group))

    def verdict(self, outcome: Outcome) -> list[str]:
        """Add a sentence when the outage was too long."""
        is_too_long = outcome.outage_seconds > self.down_after_seconds + self.outage_after_seconds
        return super().verdict(outcome) + [f"an outage of {outcome.outage_seconds:.1f} s."] * is_too_long


@dataclass(frozen=True, kw_only=True)
class Cluster(Kind):
    """A fault of one shard of a Cluster.

    `replicas` is their number for each primary.
    """

    fault: topology_faults.ClusterFault
    replicas: int = 1
    failing_seconds: float = 15.0

    @asynccontextmanager
    async def site(self, folder: Path, server: str, **variables: str) -> AsyncIterator[Trials]:
        """Start three primaries, their replicas and the service."""
        group = ClusterGroup(
            *(binaries()[server], folder / "group", *_AOF),
            replicas_per_primary=self.replicas,
            node_timeout_seconds=FAILOVER_SECONDS,
        )
        with group, Service(folder, group.url, {**variables, **_DURABLE}) as service:
            yield await Trials.of(service, partial(self.fault, group))

    def verdict(self, outcome: Outcome) -> list[str]:
        """Add a sentence when the shard failed for too long."""
        is_too_long = outcome.failing_seconds > self.failing_seconds
        return super().verdict(outcome) + [f"requests failed for {outcome.failing_seconds:.1f} s."] * is_too_long


# While Redis synchronizes its file once a second, it delays further writes to the file
# by up to 2 s, but not its replies. So with `everysec`, SIGKILL loses changes too.
_EVERYSEC_SECONDS = 2.0

KINDS: Mapping[str, Kind] = {
    "kill-server": SingleServer(fault=faults.kill_server, trials=100, fsync="always"),
    "kill-server-everysec": SingleServer(fault=faults.kill_server, trials=100, may_lose_seconds=_EVERYSEC_SECONDS),
    "kill-server-slow-disk": SingleServer(
        fault=faults.kill_server,
        trials=20,
        fsync_seconds=0.5,
        needs_library=True,
        may_lose_seconds=_EVERYSEC_SECONDS,
    ),
    "kill-service": SingleServer(fault=faults.kill_service, trials=100),
    "stop-server": SingleServer(fault=faults.stop_server, trials=20),
    "stop-service": SingleServer(fault=faults.stop_service, trials=20),
    "lost-replies": SingleServer(fault=faults.lose_replies, trials=20, is_lossy=True),
    # The torn command excuses its own sessions, and no other may be lost.
    "torn-tail": SingleServer(fault=faults.tear_tail, trials=50, fsync="always", may_lose_seconds=0.0),
    "power-loss": SingleServer(fault=faults.fail_power, trials=50, fsync="always", needs_library=True),
    "power-loss-everysec": SingleServer(
        fault=faults.fail_power, trials=50, needs_library=True, may_lose_seconds=_EVERYSEC_SECONDS
    ),
    "failover": Failover(fault=topology_faults.kill_primary, trials=50),
    "planned-failover": Failover(fault=topology_faults.promote_replica, trials=50),
    # Without a replica, a primary takes no write that has to be on one.
    "cluster-kill": Cluster(fault=topology_faults.kill_shard, replicas=2, trials=20),
    "cluster-move": Cluster(fault=topology_faults.move_shard, trials=20),
}
