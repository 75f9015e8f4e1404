"""Draws docs/images/peers.svg from the file of `--json`, and prints its tables.

`python -m bench.peers.chart peers.json` runs it. The picture has its own background and
follows the reader's dark or light color scheme.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.peers.figures import Cell, Memory, Sample, medians, number, report
from bench.peers.requests import TITLES
from bench.peers.systems import PROJECT
from bench.processes import ROOT

PICTURE = ROOT / "docs" / "images" / "peers.svg"
WORKLOADS = ("get-cookie", "post-guest", "mixed")
CONNECTIONS = 64

WIDTH, MARGIN, LABEL, BAR, ROW, PANEL = 760, 20, 170, 420, 24, 44
STYLE = Path(__file__).with_name("chart.css").read_text("utf-8")


def _text(x: float, y: float, content: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{attribute}>{escape(content)}</text>'


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y - 12:.0f}" width="{width:.1f}" height="15"/>'


def _legend(y: float) -> Iterator[str]:
    entries = (("own", "this service"), ("peer", "other service"), ("redis", "its Redis"))
    for x, (kind, title) in zip((MARGIN, 150, 285), entries, strict=True):
        yield _bar(x, y, 15, kind)
        yield _text(x + 21, y, title)


def _panel(workload: str, y: float, titles: dict[str, str], times: dict[str, tuple[float, float]]) -> Iterator[str]:
    yield _text(MARGIN, y, TITLES[workload], "title")
    scale = BAR / max(map(sum, times.values()))
    for name, (service, redis) in sorted(times.items(), key=lambda item: sum(item[1])):
        y += ROW
        yield _text(MARGIN, y, titles[name])
        yield _bar(LABEL, y, service * scale, "own" if name == PROJECT else "peer")
        yield _bar(LABEL + service * scale, y, redis * scale, "redis")
        value = f"{number(service)} + {number(redis)} µs" if redis else f"{number(service)} µs"
        yield _text(LABEL + (service + redis) * scale + 8, y, value)


def svg(samples: Sequence[Sample], titles: dict[str, str]) -> str:
    """Draw the CPU time per request of each system, a panel for each workload."""
    service, redis = medians(samples, attrgetter("service_us")), medians(samples, attrgetter("redis_us"))
    heading = f"CPU time per request, {CONNECTIONS} connections"
    y = MARGIN + 12
    parts = [_text(MARGIN, y, heading, "title"), *_legend(y + ROW)]
    y += ROW
    for workload in WORKLOADS:
        cells = {name: Cell(workload, CONNECTIONS, name) for name in titles}
        times = {name: (service[cell], redis[cell]) for name, cell in cells.items() if cell in service}
        if times:
            parts += _panel(workload, y + PANEL, titles, times)
            y += PANEL + ROW * len(times)
    height = y + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    page = f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>'
    return "\n".join((head, f"<title>{heading}</title>", f"<style>{STYLE}</style>", page, *parts, "</svg>\n"))


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(description="Draw the picture of the comparison, and print its tables.")
    parser.add_argument("file", type=Path, help="the file of `make bench-peers PEERS_ARGS=--json=FILE`")
    file = parser.parse_args().file
    result: dict[str, Any] = json.loads(file.read_text("utf-8"))
    rows, titles = [Sample(**row) for row in result["samples"]], result["systems"]
    samples = [row for row in rows if row.connections == CONNECTIONS]
    if not samples:
        sys.exit(f"{file} has no figures for {CONNECTIONS} connections: measure them")
    PICTURE.write_text(svg(samples, titles), "utf-8")
    print(report(samples, [Memory(**row) for row in result["memory"]], titles, PROJECT))
    print(f"\n{result['about']}")


if __name__ == "__main__":
    main()
