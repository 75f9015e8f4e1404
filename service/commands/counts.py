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
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
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
_ANY_WIDTH = 10_000
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
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("start", "source", "created", "ended"))
    for point in _fetch(client, options)["series"]:
        for source, figures in point["sources"].items():
            writer.writerow((point["start"], source, figures["created"], figures["ended"]))


def _fetch(client: ApiClient, options: CountsOptions) -> dict[str, Any]:
    start, end = _moment(options.start), _moment(options.end)
    return client.fetch(
        f"{PATH}/sessions",
        needs=("as_of", "from", "to", "interval", "totals", "sources", "series"),
        from_=start,
        to=end,
        interval=options.interval or _interval(start, end),
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


def _view(document: dict[str, Any], console: Console) -> RenderableType:
    """Return the widest view that fits: a table, a table without sparklines, or a few lines for each source."""
    for with_sparks in (True, False):
        table = _table(document, console, with_sparks=with_sparks)
        if Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).minimum <= console.width:
            return table
    rows = [*document["sources"], {"source": "All sources", **document["totals"]}]
    lines = [
        f"{row['source']}\n" + "".join(f"  {_title(name)}: {row[name]:,}\n" for name in _FIGURES) for row in rows
    ]
    return Group(Text(_heading(document), style="bold"), *map(Text, lines))


def _table(document: dict[str, Any], console: Console, *, with_sparks: bool) -> Table:
    table = Table(
        title=_heading(document),
        caption=f"as of {document['as_of']}; active is now, unique users are approximate and counted by whole days",
        show_footer=True,
        box=box.SIMPLE,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
    )
    totals, series = document["totals"], document["series"]
    rows = sorted(document["sources"], key=lambda row: -row["created"])
    table.add_column("Source", "All sources", overflow="fold", min_width=16)
    for name in _FIGURES:
        widest = max(len(f"{row[name]:,}") for row in (totals, *rows))
        table.add_column(_title(name), f"{totals[name]:,}", justify="right", min_width=widest)
    sparks = _SPARKS if console.encoding.lower().startswith("utf") else _SPARKS_ASCII
    width = _SPARK_WIDTH_NARROW if console.width < _NARROW else _SPARK_WIDTH
    if with_sparks:
        table.add_column("Over time", sparkline([point["created"] for point in series], width, sparks), no_wrap=True)
    for row in rows:
        name = row["source"]
        figures = [f"{row[figure]:,}" for figure in _FIGURES]
        numbers = [point["sources"].get(name, {}).get("created", 0) for point in series]
        table.add_row(Text(name), *figures, *([sparkline(numbers, width, sparks)] if with_sparks else []))
    return table


def _heading(document: dict[str, Any]) -> str:
    spoken = {name: document[name].replace("T", " ").replace(":00Z", "").rstrip("Z") for name in ("from", "to")}
    return f"Sessions from {spoken['from']} to {spoken['to']} UTC, by {document['interval']}"


def _title(figure: str) -> str:
    return figure.capitalize().replace("_", " ")


def sparkline(numbers: Sequence[int], width: int, sparks: str = _SPARKS) -> str:
    """Return up to `width` bars, each for a number or for neighbours together; nothing is a blank."""
    step = -(-len(numbers) // width) or 1
    sums = [sum(numbers[at : at + step]) for at in range(0, len(numbers), step)]
    highest = max(sums, default=0)
    return "".join(sparks[(number * len(sparks) - 1) // highest] if number else " " for number in sums)
