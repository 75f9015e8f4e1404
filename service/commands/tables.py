"""Tables of names and figures that fit any terminal.

Names are never wrapped, figures never cut.

The first layout that fits the width is used:

1. a table with a chart per row, if there are charts,
2. the same table without charts,
3. two lines per name: the name, then its figures,
4. one line per name and per figure.

Layouts 1 and 2 have smaller gaps between columns where only those fit. Layouts 3 and 4
shorten long names in their middle. Below 40 columns the terminal wraps lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest

from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from service.commands.terminal import MIN_WIDTH

_ANY_WIDTH = 10_000
_BETWEEN = "   "


@dataclass(frozen=True)
class Column:
    """A column of figures: its title, a figure for each row, and the total."""

    title: str
    figures: Sequence[str]
    total: str

    @property
    def width(self) -> int:
        """The number of terminal cells that the title and the figures need."""
        return max(len(text) for text in (self.title, self.total, *self.figures))


@dataclass(frozen=True)
class Figures:
    """The content of a table. `charts` has a string for each row, or is empty."""

    name_title: str
    names: Sequence[str]
    total_name: str
    columns: Sequence[Column]
    charts: Sequence[str] = ()


def lay_out(figures: Figures, console: Console) -> RenderableType:
    """Return the widest layout that fits the console."""
    options: list[Sequence[str]] = [figures.charts, ()] if figures.charts else [()]
    for charts, has_small_gaps in product(options, (False, True)):
        table = _table(figures, charts, has_small_gaps=has_small_gaps)
        if Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).minimum <= console.width:
            return table
    width = max(console.width, MIN_WIDTH)
    names = [shorten(name, width, console) for name in (*figures.names, figures.total_name)]
    for charts in options:
        lines = list(_two_lines_each(figures, names, charts))
        if max(map(cell_len, lines)) <= width:
            break
    else:
        lines = list(_one_by_one(figures, names))
    return Group(*(Text(line, no_wrap=True, overflow="ignore") for line in ("", *lines)))


def _table(figures: Figures, charts: Sequence[str], *, has_small_gaps: bool) -> Table:
    table = Table(show_footer=True, box=box.SIMPLE, collapse_padding=has_small_gaps)
    width = _widest((*figures.names, figures.total_name))
    table.add_column(figures.name_title, figures.total_name, no_wrap=True, min_width=width)
    for column in figures.columns:
        table.add_column(column.title, column.total, justify="right", min_width=_widest_word(column))
    if charts:
        table.add_column("Over time", no_wrap=True, min_width=_widest(charts))
    for number, name in enumerate(figures.names):
        row = [column.figures[number] for column in figures.columns]
        table.add_row(Text(name), *row, *charts[number : number + 1])
    return table


def _widest(texts: Sequence[str]) -> int:
    """Return the width of a column that is not wrapped.

    Rich takes the longest word for the least width, and charts have blanks.
    """
    return max(map(cell_len, texts), default=0)


def _widest_word(column: Column) -> int:
    """Return the least width of a column.

    Titles may wrap between words, figures may not.
    """
    return max(len(word) for word in (*column.title.split(), column.total, *column.figures))


def _two_lines_each(figures: Figures, names: Sequence[str], charts: Sequence[str]) -> Iterator[str]:
    def line(texts: Sequence[str], chart: str) -> str:
        aligned = [text.rjust(column.width) for text, column in zip(texts, figures.columns, strict=True)]
        return "  " + _BETWEEN.join([*aligned, chart] if chart else aligned)

    yield figures.name_title
    yield line([column.title for column in figures.columns], "Over time" if charts else "")
    for name, row, chart in zip_longest(names, _rows(figures), charts, fillvalue=""):
        yield from ("", name, line(row, chart))
    yield ""


def _one_by_one(figures: Figures, names: Sequence[str]) -> Iterator[str]:
    for name, row in zip(names, _rows(figures), strict=True):
        yield name
        for column, figure in zip(figures.columns, row, strict=True):
            yield f"  {column.title}: {figure}"
        yield ""


def _rows(figures: Figures) -> list[tuple[str, ...]]:
    return list(zip(*((*column.figures, column.total) for column in figures.columns), strict=True))


def shorten(name: str, width: int, console: Console) -> str:
    """Return a name of at most `width` cells. Dots replace the middle of a longer one.

    Both ends stay, because names of sources and users often differ only in one of them.
    """
    if cell_len(name) <= width:
        return name
    dots = "…" if console.encoding.lower().startswith("utf") else "..."
    room = width - len(dots)
    tail = room // 2
    head = chop_cells(name, room - tail)[0]
    return head + dots + chop_cells(name[::-1], tail)[0][::-1]
