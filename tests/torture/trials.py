"""A trial: load, one fault in its middle, then the check of every session and count."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from service.commands import torture_check, torture_counts
from service.commands.torture_http import Reply, TortureHttp
from service.commands.torture_ledger import Counted, Entry, Findings, Ledger, problems
from service.commands.torture_load import Load
from tests.torture.faults import Injected
from tests.torture.sites import Service

CONNECTIONS = 8
RATE = 300.0
CHECK_RATE = 5000.0
MIN_CREATIONS = 30  # acknowledged before the fault
_BEFORE_SECONDS = (0.4, 1.4)
# The changes of the trial before are then on the disk.
_BEFORE_LOSS_SECONDS = (1.6, 2.6)
_SERVED_SECONDS = 0.5  # without a failure, after which the service has recovered
_RECOVERY_DEADLINE_SECONDS = 60.0


@dataclass
class Outcome:
    """The result of a trial.

    `failing_seconds` is the time from the start of the fault to the last failed
    request, and `recovery_seconds` that from its end. `oldest_lost_seconds` is the age
    of the oldest lost change at the start. `broken` has a sentence for each broken
    promise.
    """

    acknowledged: int
    unknown: int
    lost: int
    outage_seconds: float
    failing_seconds: float
    recovery_seconds: float
    oldest_lost_seconds: float
    broken: list[str] = field(default_factory=list)


class ShardLoad(Load):
    """A load that remembers which shards failed: the first digits of session ids."""

    def __init__(self, http: TortureHttp) -> None:
        super().__init__(http)
        self.failed_shards: set[str] = set()

    async def _send(self, method: str, entry: Entry | None = None, user_id: str | None = None) -> Reply:
        reply = await super()._send(method, entry, user_id)
        if entry and not reply.is_served:
            self.failed_shards.add(entry.session_id[0])
        return reply


Inject = Callable[[], Awaitable[Injected]]


class Trials:
    """Trials of one service, one after the other.

    With `may_lose`, the fault may remove acknowledged changes. Then sessions and counts
    must still agree, and the outcome has the age of the oldest lost change.
    """

    def __init__(
        self, service: Service, inject: Inject, counting: torture_counts.SourceCount, *, may_lose: bool
    ) -> None:
        self._service = service
        self._inject = inject
        self._counting = counting
        self._may_lose = may_lose

    @classmethod
    async def of(cls, service: Service, inject: Inject, *, may_lose: bool = False) -> Self:
        """Return the trials of a service whose counts start now."""
        source = await asyncio.to_thread(torture_counts.probe, service.client, _RECOVERY_DEADLINE_SECONDS)
        counting = await asyncio.to_thread(torture_counts.start_counting, service.operator, source)
        assert counting is not None
        return cls(service, inject, counting, may_lose=may_lose)

    async def run(self) -> Outcome:
        """Run a trial."""
        async with TortureHttp(self._service.client, connections=CONNECTIONS, rate=RATE) as http:
            load = ShardLoad(http)
            injected = await self._break(load)
            ledger = load.ledger
            http.pace.rate = CHECK_RATE
            await torture_check.wait_until_ready(http)
            findings = await torture_check.check(http, ledger, lambda: None)
        counted = await asyncio.to_thread(self._counting.since_last)
        if self._may_lose:
            broken = _inconsistencies(ledger, findings, counted, injected)
        else:
            broken = problems(ledger, findings, counted)
        if injected.shards is not None and (others := load.failed_shards - injected.shards):
            broken.append(f"requests of {len(others)} other shards failed.")
        if injected.repair:
            await injected.repair()
        return _outcome(ledger, findings, injected, broken)

    async def _break(self, load: Load) -> Injected:
        """Inject the fault under load, and return when the service has recovered."""
        running = asyncio.create_task(load.run(_RECOVERY_DEADLINE_SECONDS * 2))
        try:
            await _until_acknowledged(load.ledger)
            await asyncio.sleep(random.uniform(*(_BEFORE_LOSS_SECONDS if self._may_lose else _BEFORE_SECONDS)))
            injected = await self._inject()
            await _until_served(load.ledger, injected.over_at)
        finally:
            load.stop()
            await running
        return injected


async def _until_acknowledged(ledger: Ledger) -> None:
    """Return when there is something to lose."""
    async with asyncio.timeout(_RECOVERY_DEADLINE_SECONDS):
        while ledger.created.acknowledged < MIN_CREATIONS:
            await asyncio.sleep(0.01)


async def _until_served(ledger: Ledger, since: float) -> None:
    """Return when the last half second had successes and no failure."""
    async with asyncio.timeout(_RECOVERY_DEADLINE_SECONDS):
        while True:
            quiet_since = max([since, *ledger.failed_at[-1:]])
            if (
                time.monotonic() - quiet_since > _SERVED_SECONDS
                and ledger.served_at
                and ledger.served_at[-1] > quiet_since
            ):
                return
            await asyncio.sleep(0.01)


def _outcome(ledger: Ledger, findings: Findings, injected: Injected, broken: list[str]) -> Outcome:
    lost = findings.undone
    ages = [injected.began_at - _changed_at(entry) for entry in lost if entry.session_id not in injected.excused]
    return Outcome(
        acknowledged=sum(one.acknowledged for one in (ledger.created, ledger.ends, ledger.changes)),
        unknown=sum(one.unknown for one in (ledger.created, ledger.ends, ledger.changes)),
        lost=len(lost),
        outage_seconds=ledger.longest_gap_seconds,
        failing_seconds=ledger.failing_until(injected.began_at),
        recovery_seconds=ledger.failing_until(injected.over_at),
        oldest_lost_seconds=max(ages, default=0.0),
        broken=broken,
    )


def _changed_at(entry: Entry) -> float:
    return entry.acknowledged_at if entry.ended_at is None else entry.ended_at


def _inconsistencies(ledger: Ledger, findings: Findings, counted: Counted, injected: Injected) -> list[str]:
    """Return a sentence for each way in which sessions and counts do not agree."""
    found = findings.found + len(findings.revived) + len(findings.returned)
    most = found + ledger.created.unknown + len(ledger.uncertain.entries)
    live = counted.created - counted.ended
    sentences = []
    if not found <= live <= most:
        sentences.append(f"{found} to {most} sessions live, but the counts say {live}.")
    if findings.other_user:
        sentences.append(f"{len(findings.other_user)} sessions have another user id.")
    late = [entry for entry in findings.undone if _changed_at(entry) > injected.over_at]
    if late:
        sentences.append(f"{len(late)} changes after the fault are lost.")
    return sentences
