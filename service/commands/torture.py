"""`jay-tracking torture`: finds out whether a service loses sessions under faults.

The command sends load from outside while somebody kills servers, moves slots or
restarts the service. Then it reads every session whose state it knows, and compares the
counts with its ledger. It prints no session id, and ends its sessions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.commands import terminal, torture_check, torture_counts, torture_report
from service.commands.api_client import ApiClient
from service.commands.torture_http import TortureHttp
from service.commands.torture_interrupts import Interrupts
from service.commands.torture_ledger import Findings, Ledger, problems
from service.commands.torture_load import Load
from service.quantities import quantity

_REFRESH_SECONDS = 0.25
_STOPPING = (
    "jay-tracking: the load ends now. The sessions are checked and ended, which takes a while. A second signal or "
    "Ctrl-C stops at once"
)


@dataclass(frozen=True, slots=True)
class TortureOptions:
    """The options. `rate` is the highest number of requests in a second."""

    seconds: float
    connections: int
    rate: int


def run(client: ApiClient, operator: ApiClient, options: TortureOptions) -> bool:
    """Torture a service, print the report, and return whether it kept all promises.

    `client` has a key with the scope `track`, and `operator` one with `analytics`.
    The first SIGINT or SIGTERM ends the load. Raises KeyboardInterrupt at the second,
    and CommandError if the service is unfit, or does not recover.
    """
    console = Console()
    source = torture_counts.probe(client, options.seconds)
    counting = torture_counts.start_counting(operator, source)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        Interrupts(lambda: terminal.print_error(_STOPPING)) as interrupts,
    ):
        phases = _Phases(client, options, progress, interrupts)
        try:
            ledger = interrupts.run(phases.load())
            findings, seconds_to_ready = interrupts.run(phases.check(ledger))
            counted = counting.since_last() if counting else None
            interrupts.run(phases.end_all(ledger))
        except KeyboardInterrupt:
            terminal.print_error(
                f"jay-tracking: did not end {quantity(phases.not_ended, 'session')}. Sessions expire by themselves"
            )
            raise
    broken = problems(ledger, findings, counted)
    torture_report.show(console, ledger, findings, counted, seconds_to_ready=seconds_to_ready, broken=broken)
    return not broken


class _Phases:
    """Load, check and end, each with a progress bar."""

    def __init__(
        self, client: ApiClient, options: TortureOptions, progress: Progress, interrupts: Interrupts
    ) -> None:
        self._client = client
        self._options = options
        self._progress = progress
        self._interrupts = interrupts
        self._ledger: Ledger | None = None
        self._ended = 0

    @property
    def not_ended(self) -> int:
        """The number of created sessions that were not ended so far."""
        return self._ledger.not_ended - self._ended if self._ledger else 0

    def _http(self) -> TortureHttp:
        return TortureHttp(self._client, connections=self._options.connections, rate=self._options.rate)

    async def load(self) -> Ledger:
        """Send the load and return its ledger."""
        bar = self._progress.add_task("Load", total=int(self._options.seconds), note="")
        async with self._http() as http, asyncio.TaskGroup() as tasks:
            load = Load(http)
            ledger = self._ledger = load.ledger
            running = tasks.create_task(load.run(self._options.seconds))
            while not (await asyncio.wait([running], timeout=_REFRESH_SECONDS))[0]:
                if self._interrupts.has_begun:
                    load.stop()
                note = f"{len(ledger.served_at):,} requests served, {len(ledger.failed_at):,} failed"
                self._progress.update(bar, completed=int(ledger.seconds), note=note)
        self._progress.remove_task(bar)
        return ledger

    async def check(self, ledger: Ledger) -> tuple[Findings, float]:
        """Return what was found, and the seconds until the service was ready."""
        async with self._http() as http:
            waiting = self._progress.add_task("Wait until the service is ready", total=None, note="")
            seconds = await torture_check.wait_until_ready(http)
            self._progress.remove_task(waiting)
            async with self._bar("Check", torture_check.sessions_to_check(ledger)) as on_step:
                return await torture_check.check(http, ledger, on_step), seconds

    async def end_all(self, ledger: Ledger) -> None:
        """End the sessions of the load."""
        sessions = torture_check.sessions_to_end(ledger)
        async with self._http() as http, self._bar("End the sessions", len(sessions)) as on_step:

            def on_end() -> None:
                self._ended += 1
                on_step()

            await torture_check.end_all(http, sessions, on_end)

    @asynccontextmanager
    async def _bar(self, name: str, total: int) -> AsyncIterator[Callable[[], object]]:
        bar = self._progress.add_task(name, total=total, note="")
        yield lambda: self._progress.advance(bar)
        self._progress.remove_task(bar)
