"""Medians over the rounds, ratios within each round, and their tables."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from bench.peers.requests import TITLES

# When less of its CPU was used, the service waited for Redis and wrk.
FULL_SHARE = 0.9


@dataclass(frozen=True)
class Sample:
    """The figures of one run of wrk on one system.

    `others_share` is the share of the service's CPU that other processes used.
    `unexpected` counts errors, other statuses, and created sessions that Redis lacks.
    """

    system: str
    workload: str
    connections: int
    requests_per_second: float
    service_us: float
    redis_us: float
    p50_ms: float
    p99_ms: float
    service_share: float
    others_share: float
    unexpected: int
    round: int = 0

    @property
    def cpu_share(self) -> float:
        """Return how full the service's CPU was."""
        return self.service_share + self.others_share


@dataclass(frozen=True)
class Memory:
    """Bytes of a system: `connection`, `guest` or `user` session."""

    system: str
    kind: str
    size: float
    round: int = 0


@dataclass(frozen=True)
class Figures:
    """The figures of a table's cells, which are fields of samples."""

    title: str
    names: tuple[str, ...]
    joiner: str = ""


TABLES = (
    Figures("CPU µs, service + Redis (ratio of service)", ("service_us", "redis_us"), " + "),
    Figures("Requests/s (ratio)", ("requests_per_second",)),
    Figures("p50, p99 ms (ratio of p50)", ("p50_ms", "p99_ms"), ", "),
)


class Cell(NamedTuple):
    """All rounds of a workload with a number of connections on one system."""

    workload: str
    connections: int
    system: str


Figure = Callable[[Sample], float]


def cells(samples: Iterable[Sample]) -> dict[Cell, list[Sample]]:
    """Group samples by cell, in the order of their first sample."""
    grouped: dict[Cell, list[Sample]] = {}
    for sample in samples:
        grouped.setdefault(Cell(sample.workload, sample.connections, sample.system), []).append(sample)
    return grouped


def medians(samples: Iterable[Sample], figure: Figure) -> dict[Cell, float]:
    """Return the median of a figure over the rounds."""
    return {cell: statistics.median(map(figure, rounds)) for cell, rounds in cells(samples).items()}


def ratios(samples: Sequence[Sample], figure: Figure, system: str) -> dict[Cell, float]:
    """Return a system's figure divided by that of the others.

    The quotients are taken within each round, because the machine's speed differs
    between rounds. The result is their median.
    """
    own = {(one.workload, one.connections, one.round): figure(one) for one in samples if one.system == system}
    found: dict[Cell, list[float]] = {}
    for cell, rounds in cells(samples).items():
        for one in rounds:
            mine = own.get((cell.workload, cell.connections, one.round))
            if cell.system != system and mine is not None and figure(one):
                found.setdefault(cell, []).append(mine / figure(one))
    return {cell: statistics.median(quotients) for cell, quotients in found.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are also aligned in a terminal."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])


def number(value: float) -> str:
    """Return three significant digits, and no fraction of large numbers."""
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2  # noqa: PLR2004
    return f"{value:,.{digits}f}"


def workload_table(samples: Sequence[Sample], titles: dict[str, str], own: str, figures: Figures) -> str:
    """Return a row for each system and a column for each workload.

    The samples have one number of connections. In brackets is the ratio of the first
    figure, that of the system `own` divided by that of the row.
    """
    columns = [medians(samples, attrgetter(name)) for name in figures.names]
    quotients = ratios(samples, attrgetter(figures.names[0]), own)
    entries = {
        (cell.system, cell.workload): figures.joiner.join(number(column[cell]) for column in columns)
        + (f" ({number(quotients[cell])})" if cell in quotients else "")
        for cell in columns[0]
    }
    workloads = [name for name in TITLES if any(name == workload for _, workload in entries)]
    head = (figures.title, *(TITLES[name] for name in workloads))
    return table(head, [(titles[name], *(entries.get((name, one), "") for one in workloads)) for name in titles])


def memory_table(memory: Iterable[Memory], titles: dict[str, str]) -> str:
    """Return the medians of the memory of sessions in Redis and of idle connections."""
    kinds = {"guest": "Session of a guest", "user": "Session of a user", "connection": "Idle connection"}
    sizes: dict[tuple[str, str], list[float]] = {}
    for one in memory:
        sizes.setdefault((one.system, one.kind), []).append(one.size)
    medians = {key: f"{statistics.median(values):,.0f} B" for key, values in sizes.items()}
    rows = [(titles[name], *(medians.get((name, kind), "") for kind in kinds)) for name in titles]
    return table(("Memory of one", *kinds.values()), rows)


def notes(samples: Sequence[Sample], titles: dict[str, str]) -> Iterator[str]:
    """Yield the doubts about the figures."""
    for cell, rounds in cells(samples).items():
        name = f"{titles[cell.system]}, {TITLES[cell.workload]}, {cell.connections} connections"
        if unexpected := sum(one.unexpected for one in rounds):
            yield f"{name}: {unexpected} unexpected answers."
        if cell.connections > 1 and statistics.median(one.cpu_share for one in rounds) < FULL_SHARE:
            yield f"{name}: Redis and wrk set the pace, so the requests/s are a lower bound."
    times = [[one.service_us for one in rounds] for rounds in cells(samples).values()]
    spread = statistics.median((max(values) - min(values)) / statistics.median(values) for values in times)
    yield f"CPU time differs between rounds by {spread:.0%} in the median cell, largest to smallest."
    yield f"Other processes used at most {max(one.others_share for one in samples):.0%} of the service's CPU."


def report(samples: Sequence[Sample], memory: Sequence[Memory], titles: dict[str, str], own: str) -> str:
    """Return all tables and notes, the tables for each number of connections."""
    blocks = []
    for count in sorted({one.connections for one in samples}):
        chosen = [one for one in samples if one.connections == count]
        blocks.append(f"{count} connections:")
        blocks += [workload_table(chosen, titles, own, figures) for figures in TABLES]
    return "\n\n".join((*blocks, memory_table(memory, titles), "\n".join(notes(samples, titles))))
