"""The report of `jay-tracking torture`."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.commands.torture_ledger import Counted, Findings, Ledger

_NOTHING = "-"


def show(
    console: Console,
    ledger: Ledger,
    findings: Findings,
    counted: Counted | None,
    *,
    seconds_to_ready: float,
    broken: Sequence[str],
) -> None:
    """Print a table, the times, all answers, and a verdict."""
    console.print(_table(ledger, findings, counted))
    lines = [
        f"{ledger.requests:,} requests. Answers: {_answers(ledger)}.",
        f"Longest outage: {ledger.longest_gap_seconds:.2f} s.",
        f"Ready {seconds_to_ready:.2f} s after the load.",
    ]
    if counted is None:
        lines.append("The counts are not checked: pass a key with the scope `analytics` (--operator-key).")
    for line in lines:
        console.print(Text(line))
    for sentence in broken:
        console.print(Text(sentence, style="bold red"))
    if not broken:
        console.print(Text("Nothing that was acknowledged is lost.", style="bold green"))


def _table(ledger: Ledger, findings: Findings, counted: Counted | None) -> Table:
    table = Table(box=box.SIMPLE)
    for title in ("", "Created", "Ended"):
        table.add_column(title, justify="right" if title else "left")
    rows: list[tuple[str, int | None, int | None]] = [
        ("Acknowledged", ledger.created.acknowledged, ledger.ends.acknowledged),
        ("Outcome unknown", ledger.created.unknown, ledger.ends.unknown),
        ("Refused", ledger.created.refused, ledger.ends.refused),
        ("Found as they should be", findings.found, findings.gone),
        ("Lost", len(findings.lost), len(findings.revived)),
        ("Counted", counted.created if counted else None, counted.ended if counted else None),
    ]
    for name, created, ended in rows:
        table.add_row(name, *(_NOTHING if number is None else f"{number:,}" for number in (created, ended)))
    return table


def _answers(ledger: Ledger) -> str:
    return ", ".join(f"{answer} ({number:,})" for answer, number in ledger.answers.most_common())
