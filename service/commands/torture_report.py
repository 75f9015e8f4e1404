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
    for title in ("", "Created", "Ended", "Consent changed"):
        table.add_column(title, justify="right" if title else "left")
    outcomes = (ledger.created, ledger.ends, ledger.changes)
    undone = len(findings.returned) + len(findings.other_user)
    rows: list[tuple[str, Sequence[int]]] = [
        ("Acknowledged", [one.acknowledged for one in outcomes]),
        ("Outcome unknown", [one.unknown for one in outcomes]),
        ("Refused", [one.refused for one in outcomes]),
        ("Found as they should be", [findings.found, findings.gone, findings.replaced]),
        ("Lost", [len(findings.lost), len(findings.revived), undone]),
    ]
    for name, numbers in rows:
        table.add_row(name, *(f"{number:,}" for number in numbers))
    counts = [counted.created, counted.ended, counted.given + counted.withdrawn] if counted else []
    table.add_row("Counted", *([f"{number:,}" for number in counts] or [_NOTHING] * len(outcomes)))
    return table


def _answers(ledger: Ledger) -> str:
    return ", ".join(f"{answer} ({number:,})" for answer, number in ledger.answers.most_common())
