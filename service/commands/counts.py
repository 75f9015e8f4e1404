"""`jay-tracking counts`: sessions by source in the terminal, as JSON or as CSV; once, or again and again."""

import csv
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from service.api import wire
from service.commands.api_client import ApiClient
from service.errors import CommandError

PATH = f"{wire.OPERATOR_PATH}/analytics"
_FIGURES = ("active", "created", "ended", "unique_users")
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_ASCII = "_.:-=+*#"
_SPARK_WIDTH, _SPARK_WIDTH_NARROW, _NARROW = 24, 12, 90
_HOURLY = timedelta(days=3)  # up to here a series is by hour when nothing is said
_AGO = re.compile(r"(\d{1,4})([hd])")


@dataclass(frozen=True)
class CountsOptions:
    """What the command line says; times as RFC 3339, dates, or such as `7d` and `24h` for so long ago."""

    start: str | None
    end: str | None
    interval: str | None
    source: str | None


def show(client: ApiClient, options: CountsOptions) -> None:
    """Print a table."""
    console = Console()
    console.print(_view(_fetch(client, options), console))


def watch(client: ApiClient, options: CountsOptions, seconds: float) -> None:
    """Show the table and renew it until Ctrl-C. When an answer fails the last one stays, and a line says why."""
    console = Console()
    document = _fetch(client, options)
    with Live(_view(document, console), console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.refresh()
            time.sleep(seconds)
            try:
                document = _fetch(client, options)
                live.update(_view(document, console))
            except CommandError as error:
                live.update(Group(_view(document, console), Text(f"Not renewed: {error}", style="red")))


def print_json(client: ApiClient, options: CountsOptions) -> None:
    """Print the answer as the API gives it."""
    print(json.dumps(_fetch(client, options), indent=2, ensure_ascii=False))


def print_csv(client: ApiClient, options: CountsOptions) -> None:
    """Print the series: a line for each interval and source in which something was counted."""
    writer = csv.writer(sys.stdout)
    writer.writerow(("start", "source", "created", "ended"))
    for point in _fetch(client, options)["series"]:
        for source, figures in point["sources"].items():
            writer.writerow((point["start"], source, figures["created"], figures["ended"]))


def _fetch(client: ApiClient, options: CountsOptions) -> dict[str, Any]:
    start = _moment(options.start)
    return client.fetch(
        f"{PATH}/sessions",
        from_=start,
        to=_moment(options.end),
        interval=options.interval or _interval(start, options.end),
        source=options.source,
    )


def _moment(text: str | None) -> str | None:
    if text is None or not (ago := _AGO.fullmatch(text)):
        return text
    length = timedelta(**{"hours" if ago[2] == "h" else "days": int(ago[1])})
    return (datetime.now(UTC) - length).strftime("%Y-%m-%dT%H:%M:%SZ")


def _interval(start: str | None, end: str | None) -> str | None:
    """Return a series' step that suits its length; what cannot be read is left to the service to refuse."""
    try:
        first = datetime.fromisoformat(start) if start else None
        last = datetime.fromisoformat(end) if end else datetime.now(UTC)
    except ValueError:
        return None
    if first is None:
        return None
    length = last.replace(tzinfo=UTC) - first.replace(tzinfo=UTC)
    return "hour" if length <= _HOURLY else "day"


def _view(document: dict[str, Any], console: Console) -> Table:
    spoken = {name: document[name].replace("T", " ").replace(":00Z", "").rstrip("Z") for name in ("from", "to")}
    table = Table(
        title=f"Sessions from {spoken['from']} to {spoken['to']} UTC, by {document['interval']}",
        caption=f"as of {document['as_of']}; active is now, unique users are approximate and counted by whole days",
        show_footer=True,
        box=box.SIMPLE,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
    )
    totals = document["totals"]
    table.add_column("Source", "All sources", overflow="fold")
    for title, name in (
        ("Active", "active"),
        ("Created", "created"),
        ("Ended", "ended"),
        ("Unique users", "unique_users"),
    ):
        table.add_column(title, f"{totals[name]:,}", justify="right", no_wrap=True)
    sparks = _SPARKS if console.encoding.lower().startswith("utf") else _SPARKS_ASCII
    width = _SPARK_WIDTH_NARROW if console.width < _NARROW else _SPARK_WIDTH
    series = document["series"]
    table.add_column("Over time", sparkline([point["created"] for point in series], width, sparks), no_wrap=True)
    for row in sorted(document["sources"], key=lambda row: -row["created"]):
        name = row["source"]
        numbers = [point["sources"].get(name, {}).get("created", 0) for point in series]
        figures = [f"{row[figure]:,}" for figure in _FIGURES]
        table.add_row(Text(name), *figures, sparkline(numbers, width, sparks))
    return table


def sparkline(numbers: Sequence[int], width: int, sparks: str = _SPARKS) -> str:
    """Return up to `width` bars, each for a number or for neighbours together; nothing is a blank."""
    step = -(-len(numbers) // width) or 1
    sums = [sum(numbers[at : at + step]) for at in range(0, len(numbers), step)]
    highest = max(sums, default=0)
    return "".join(sparks[(number * len(sparks) - 1) // highest] if number else " " for number in sums)
