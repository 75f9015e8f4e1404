"""Runs many trials of each kind and prints their figures: `make torture`."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.support.servers import binaries
from tests.torture.kinds import KINDS
from tests.torture.trials import Outcome

TITLES = ("Kind", "Trials", "Changes", "Unknown", "Lost", "Oldest", "Outage", "Recovery")
LEGEND = (
    "Changes are acknowledged creations, changes of consent and ends of sessions. The outcome of others is unknown. "
    "The last three columns have the longest time of all trials: the age of a lost change, the time without a served "
    "request, and the time from the end of the fault to the last failure."
)


def main() -> int:
    """Run the trials and return 1 if a promise was broken."""
    options = read_options()
    console = Console()
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for title in TITLES:
        table.add_column(title, min_width=max(map(len, KINDS)) if title == "Kind" else None)
    broken = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for name in options.kinds or KINDS:
            kind = KINDS[name]
            if kind.missing:
                console.print(f"{name}: skipped, because this needs {kind.missing}.")
                continue
            outcomes = asyncio.run(run(name, options.server, options.trials or kind.trials, progress))
            broken += [f"{name}: {sentence}" for outcome in outcomes for sentence in kind.verdict(outcome)]
            table.add_row(name, *figures(outcomes))
    console.print(table)
    console.print(LEGEND)
    for sentence in broken:
        console.print(sentence, style="red")
    return 1 if broken else 0


def read_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"any of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--trials", type=int, help="trials of each kind (default: 20 to 100)")
    parser.add_argument("--server", choices=binaries(), default="valkey", help="server to use (default: valkey)")
    options = parser.parse_args()
    if unknown := set(options.kinds) - KINDS.keys():
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    return options


async def run(name: str, server: str, number: int, progress: Progress) -> list[Outcome]:
    """Run trials of a kind, one after the other on the same servers."""
    bar = progress.add_task(name, total=number)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        async with KINDS[name].site(Path(folder) / "site", server) as trials:
            for _ in range(number):
                outcomes.append(await trials.run())
                progress.advance(bar)
    progress.remove_task(bar)
    return outcomes


def figures(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the figures of a row of the table."""
    sums = [sum(getattr(outcome, name) for outcome in outcomes) for name in ("acknowledged", "unknown", "lost")]
    times = [
        max(getattr(outcome, name) for outcome in outcomes)
        for name in ("oldest_lost_seconds", "outage_seconds", "recovery_seconds")
    ]
    return [*(f"{number:,}" for number in (len(outcomes), *sums)), *(f"{seconds:.2f} s" for seconds in times)]


if __name__ == "__main__":
    sys.exit(main())
