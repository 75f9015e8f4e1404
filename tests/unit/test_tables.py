"""Tables on the command line: names are not broken and figures not cut at any width."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from service.commands import time_range
from service.commands.doctor_results import Report, good, problem, unknown
from service.commands.tables import Column, Figures, lay_out, shorten

SHORT = ["jay.api.playout.1.0.0", "tv.app.2"]
LONG = [f"jay.web.player.{number}.{'x' * 46}{number}" for number in range(2)]
LARGE = [f"{10**number:,}" for number in (0, 9)]
WIDTHS = (40, 60, 80, 92, 120, 200)


def console(width: int, encoding: str = "utf-8") -> Console:
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding), width=width)


def printed(names: list[str], figures: list[str], width: int, charts: list[str] | None = None) -> list[str]:
    target = console(width)
    columns = [Column(title, figures, figures[-1]) for title in ("Active", "Created", "Ended", "Unique users")]
    table = lay_out(Figures("Source", names, "All sources", columns, charts or []), target)
    with target.capture() as capture:
        target.print(table, crop=False)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("figures", [["1", "2"], LARGE])
@pytest.mark.parametrize("names", [SHORT, LONG])
def test_a_table_fits_its_width(names: list[str], figures: list[str], width: int) -> None:
    """Every line fits the width, and every figure is in the table."""
    lines = printed(names, figures, width, ["▁▂▃▄▅▆▇█▁▂▃▄"] * len(names))
    assert max(map(cell_len, lines)) <= width
    for name in (*names, "All sources"):
        shown = shorten(name, width, console(width))
        assert sum(shown in line for line in lines) == 1, name
        assert (shown == name) is (len(name) <= width)
    for figure in figures:
        assert sum(line.split().count(figure) for line in lines) >= 4, figure


def test_the_widest_layout_is_used() -> None:
    """A narrow table drops charts first, then gives figures a line of their own."""
    charts = ["▁▂▃▄▅▆▇█▁▂▃▄"] * 2
    assert any(SHORT[0] in line and charts[0] in line for line in printed(SHORT, ["1", "2"], 80, charts))
    without = printed(SHORT, ["1", "2"], 66, charts)
    assert any(SHORT[0] in line and line.split()[-1] == "1" for line in without)
    below = printed(LONG, ["1", "2"], 80, charts)
    row = below.index(LONG[0])
    assert below[row + 1].split() == ["1", "1", "1", "1", charts[0]]
    assert "  Active: 1" in printed(LONG, ["1", "2"], 40, charts)


def test_smaller_gaps_keep_the_charts() -> None:
    """A chart stays where only the gaps between the columns are too wide."""
    charts = ["▁▂▃▄▅▆▇█▁▂▃▄"] * 2
    widths = {width: printed(SHORT, ["1", "2"], width, charts) for width in range(66, 92)}
    with_charts = [
        width for width, lines in widths.items() if any(SHORT[0] in line and "▄" in line for line in lines)
    ]
    assert with_charts == list(range(with_charts[0], 92))
    assert any("Active  Created  Ended" in line for line in widths[with_charts[0]])
    assert any("Active   Created   Ended" in line for line in widths[91])


def test_blanks_of_a_chart_need_room() -> None:
    """A chart whose bars are all at its end takes as much room as a full one."""
    for width in range(60, 92):
        lines = printed(SHORT, ["1", "2"], width, [f"{'█':>12}"] * 2)
        assert max(map(cell_len, lines)) <= width, width


@pytest.mark.parametrize("name", ["a" * 128, "日本語" * 40, "e\u0301" * 64, "🔑" * 64])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_name_keeps_both_ends(name: str, width: int) -> None:
    """A long name is shortened in its middle, measured in terminal cells."""
    for encoding, dots in (("utf-8", "…"), ("ascii", "...")):
        shown = shorten(name, width, console(width, encoding))
        assert cell_len(shown) <= width
        head, found, tail = shown.partition(dots)
        assert name.startswith(head)
        assert name.endswith(tail)
        assert bool(found) is (cell_len(name) > width)


@pytest.mark.parametrize("width", WIDTHS)
def test_check_results_are_wrapped_between_words(width: int) -> None:
    """Long results wrap with an indent, and a URL is never broken."""
    target = console(width)
    words = "the service's clock is behind, so set the header __Secure-jay_tracking and look at the log"
    url = f"https://www.example.com/{'x' * 60}"
    with target.capture() as capture:
        Report(target).part("Part", [good(words), problem(f"pages of {url} may not call", words)])
    lines = capture.get().splitlines()
    assert all(cell_len(line) <= width or url in line for line in lines)
    shown = " ".join(capture.get().split())
    assert shown.count(words) == 2
    assert url in shown


@pytest.mark.parametrize(
    ("problems", "unknowns", "summary"),
    [
        (0, 0, "No problems found"),
        (1, 0, "1 problem found"),
        (0, 1, "No problems found. 1 check had no result, see the line with ?"),
        (2, 3, "2 problems found. 3 checks had no result, see the lines with ?"),
    ],
)
def test_a_report_ends_with_its_problems_and_unknown_checks(problems: int, unknowns: int, summary: str) -> None:
    """The last line has the number of problems, and of checks without a result."""
    for encoding in ("utf-8", "ascii"):
        target = console(80, encoding)
        report = Report(target)
        with target.capture() as capture:
            bad, hidden = [problem("bad", "fix it")] * problems, [unknown("hidden")] * unknowns
            report.part("Part", [good("fine"), *bad, *hidden])
            report.conclude()
        expected = summary if encoding == "utf-8" else summary.replace("?", "unknown")
        assert capture.get().splitlines()[-1] == expected
        assert report.problems == problems


def test_ranges_are_shown_in_whole_days() -> None:
    """A range is shown with its last day included."""
    in_words = time_range.range_in_words
    assert in_words("2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z") == "on 2026-11-26 (UTC day)"
    assert in_words("2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z") == "from 2026-11-20 to 2026-11-26 (UTC days)"
    assert in_words("2026-11-26T17:00:00Z", "2026-11-27T00:00:00Z") == "from 2026-11-26 17:00 to 2026-11-27 00:00 UTC"


@pytest.mark.parametrize(
    ("start", "end", "interval"),
    [
        ("2026-11-24", "2026-11-26", "hour"),
        ("2026-11-23", "2026-11-26", "day"),
        ("2026-11-26", "2026-11-26", "hour"),
        ("2026-11-23T12:00:00Z", "2026-11-26T12:00:00Z", "hour"),
        ("2026-11-23T12:00:00Z", "2026-11-26", "day"),
        ("2026-11-23", "9999-12-31", "day"),
        ("yesterday", None, None),
        (None, "2026-11-26", None),
    ],
)
def test_the_interval_suits_whole_days(start: str | None, end: str | None, interval: str | None) -> None:
    """Ranges of up to three days are by hour."""
    assert time_range.suitable_interval(start, end) == interval
