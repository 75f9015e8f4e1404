"""`jay-tracking counts`: prints sessions by source as a table, JSON or CSV."""

import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from service.api import wire
from service.commands import tables, time_range
from service.commands.api_client import ApiClient
from service.commands.tables import Column, Figures
from service.errors import CommandError
from service.time_zones import UTC_ZONE, TimeZone

PATH = f"{wire.OPERATOR_PATH}/analytics"
_FIGURES = ("active", "created", "ended", "expired", "unique_users")
_CONSENTS = ("consent_given", "consent_withdrawn")
_IN_SERIES = ("created", "ended", "expired", "active", *_CONSENTS)
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_ASCII = "_.:-=+*#"
_SPARK_WIDTH, _SPARK_WIDTH_NARROW, _NARROW = 24, 12, 90


@dataclass(frozen=True)
class CountsOptions:
    """The options. Times are RFC 3339, dates, or ages such as `7d` and `24h`.

    `zone` is the zone of dates and days.
    """

    start: str | None
    end: str | None
    interval: str | None
    source: str | None
    zone: TimeZone = UTC_ZONE


def show(client: ApiClient, options: CountsOptions) -> None:
    """Print a table."""
    console = Console()
    console.print(_view(_fetch(client, options), options.zone, console), crop=False)


def watch(client: ApiClient, options: CountsOptions, seconds: float) -> None:
    """Show the table and refresh it until Ctrl-C.

    Without a terminal, print one table after the other.

    When a request fails, the last table stays, and a line gives the reason.
    """
    console = Console()
    views = _views(client, options, seconds, console)
    if not console.is_terminal:
        for view in views:
            console.print(view, crop=False)
        return
    with Live(next(views), console=console, auto_refresh=False, screen=True) as live:
        live.refresh()
        for view in views:
            live.update(view, refresh=True)


def _views(client: ApiClient, options: CountsOptions, seconds: float, console: Console) -> Iterator[RenderableType]:
    document = _fetch(client, options)
    yield _view(document, options.zone, console)
    while True:
        time.sleep(seconds)
        try:
            document = _fetch(client, options)
            yield _view(document, options.zone, console)
        except CommandError as error:
            # above the table, whose end a low terminal cuts off
            yield Group(Text(f"Not refreshed: {error}", style="red"), _view(document, options.zone, console))


def print_json(client: ApiClient, options: CountsOptions) -> None:
    """Print the answer of the API."""
    print(json.dumps(_fetch(client, options), indent=2, ensure_ascii=False))


def print_csv(client: ApiClient, options: CountsOptions) -> None:
    """Print the series, one line for each interval and source with a count.

    A number that is not known is an empty field.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("start", "source", *_IN_SERIES))
    for point in _fetch(client, options)["series"]:
        for source, figures in point["sources"].items():
            writer.writerow((point["start"], source, *(figures[name] for name in _IN_SERIES)))


def _fetch(client: ApiClient, options: CountsOptions) -> dict[str, Any]:
    start, end = time_range.api_time(options.start), time_range.api_time(options.end)
    return client.fetch(
        f"{PATH}/sessions",
        needs=("as_of", "from", "to", "interval", "totals", "sources", "series"),
        from_=start,
        to=end,
        interval=options.interval or time_range.suitable_interval(start, end),
        source=options.source,
        tz=options.zone.name,
    )


def _view(document: dict[str, Any], zone: TimeZone, console: Console) -> RenderableType:
    """Return the heading, the table and the footnote."""
    span = time_range.range_in_words(document["from"], document["to"], zone)
    heading = f"Sessions {span}, by {document['interval']}"
    peak = document["totals"]["peak_active"]
    most = "" if not peak else f"Most active: {peak:,} at {document['totals']['peak_at']}. "
    footnote = f"As of {document['as_of']}. {most}Unique users are approximate and cover whole UTC days."
    return Group(
        Text(heading, style="bold"),
        tables.lay_out(_figures(document, console), console),
        Text(footnote, style="dim italic"),
    )


def _figures(document: dict[str, Any], console: Console) -> Figures:
    totals, rows = document["totals"], sorted(document["sources"], key=lambda row: -row["created"])
    sparks = _SPARKS if console.encoding.lower().startswith("utf") else _SPARKS_ASCII
    width = _SPARK_WIDTH_NARROW if console.width < _NARROW else _SPARK_WIDTH
    by_source = [
        [point["sources"].get(row["source"], {}).get("created", 0) for point in document["series"]] for row in rows
    ]
    # Most deployments have no changes of consent, and narrow terminals no room.
    has_consents = any(totals[name] for name in _CONSENTS)
    names = (*_FIGURES, *_CONSENTS) if has_consents else _FIGURES
    return Figures(
        "Source",
        [row["source"] for row in rows],
        "All sources",
        [Column(_title(name), [_number(row[name]) for row in rows], _number(totals[name])) for name in names],
        [sparkline(numbers, width, sparks) for numbers in by_source],
    )


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _title(figure: str) -> str:
    return figure.capitalize().replace("_", " ")


def sparkline(numbers: Sequence[int], width: int, sparks: str = _SPARKS) -> str:
    """Return up to `width` bars, each for one number or the sum of neighbors.

    A zero is shown as a blank.
    """
    step = -(-len(numbers) // width) or 1
    sums = [sum(numbers[at : at + step]) for at in range(0, len(numbers), step)]
    highest = max(sums, default=0)
    return "".join(sparks[(number * len(sparks) - 1) // highest] if number else " " for number in sums)
