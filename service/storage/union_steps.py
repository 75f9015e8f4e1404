"""The steps in which Redis merges sketches, each a bounded amount of work.

A union is the set of users of one source, or of all sources, in a range of days. A
union of many sketches is merged in several steps, and a scratch key keeps its progress.
The union of all sources merges the scratch keys of the sources, so that each sketch is
merged once for a range.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from service.storage.paging import pages

# Measured costs of writing and of counting a merged sketch, in merges of one sketch.
_WRITE_COST, _COUNT_COST = 5, 5


class UserUnion(NamedTuple):
    """The users of a source in a range of days. An empty `source` means all sources."""

    first_day: int
    last_day: int
    source: str

    @property
    def field(self) -> str:
        """The field of the hash in which Redis remembers the number."""
        return f"{self.first_day} {self.source}"


@dataclass(frozen=True)
class MergeStep:
    """A part of the work on one union: it merges the sketches of sources on some days.

    `number` identifies the union and its scratch key. `whole` is the `number` of the
    union that this one is merged into after its last step.
    """

    number: int
    union: UserUnion
    days: tuple[int, int]
    sources: Sequence[str]
    is_first: bool = True
    is_last: bool = True
    whole: int | None = None

    @property
    def cost(self) -> int:
        """The work of Redis, in merges of one sketch."""
        first, last = self.days
        sketches = (last - first + 1) * len(self.sources)
        if self.needs_no_scratch:
            return sketches + 1
        writes = 1 if self.whole is None or not self.is_last else 2
        return sketches + writes * _WRITE_COST + (_COUNT_COST if self.is_last else 0)

    @property
    def needs_no_scratch(self) -> bool:
        """Whether the union has only this step and is not merged into another."""
        return self.is_first and self.is_last and self.whole is None

    def arguments(self) -> Iterator[str | int]:
        """Yield the arguments of union.lua for this step."""
        yield self.number
        yield "" if self.whole is None else self.whole
        yield from self.union
        yield "1" if self.is_first else ""
        yield "1" if self.is_last else ""
        yield from self.days
        yield len(self.sources)
        yield from self.sources


def plan_merges(
    unknown: Sequence[UserUnion], total: UserUnion, sources: Sequence[str], sketches: int
) -> Iterator[MergeStep]:
    """Yield the steps that count the unknown unions, each within the bound."""
    numbers = count()
    in_range = {total, *(total._replace(source=source) for source in sources)}
    yield from _range_steps([union for union in unknown if union in in_range], total, sources, sketches, numbers)
    for union in unknown:
        if union not in in_range:  # the union of an interval
            yield from _split(MergeStep(next(numbers), union, union[:2], sources), sketches)


def _range_steps(
    unknown: Sequence[UserUnion], total: UserUnion, sources: Sequence[str], sketches: int, numbers: Iterator[int]
) -> Iterator[MergeStep]:
    """Yield the steps of the total and of its parts, the unions of each source.

    When the total exceeds the bound, it is merged from the unions of the sources. So
    these are all counted again, also those that Redis remembers.
    """
    days = total.first_day, total.last_day
    parts = [union for union in unknown if union != total]
    whole: MergeStep | None = None
    if total in unknown:
        at_once = MergeStep(next(numbers), total, days, sources)
        if len(sources) == 1 or at_once.cost <= sketches:
            yield from _split(at_once, sketches)
        else:
            whole, parts = at_once, [total._replace(source=source) for source in sources]
            yield _without_sketches(whole, is_first=True)
    for union in parts:
        step = MergeStep(next(numbers), union, days, [union.source], whole=whole.number if whole else None)
        yield from _split(step, sketches)
    if whole is not None:
        yield _without_sketches(whole, is_first=False)


def _without_sketches(step: MergeStep, *, is_first: bool) -> MergeStep:
    """Return the first or last step of a union that merges other unions."""
    first_day = step.days[0]
    return replace(step, days=(first_day, first_day - 1), sources=(), is_first=is_first, is_last=not is_first)


def _split(step: MergeStep, sketches: int) -> Iterator[MergeStep]:
    """Yield a step of one source or interval, in parts if it exceeds the bound."""
    if step.cost <= sketches:
        yield step
        return
    size = max(1, sketches - 2 * _WRITE_COST - _COUNT_COST)
    first, last = step.days
    if len(step.sources) == 1:
        ranges = [(day, min(day + size - 1, last)) for day in range(first, last + 1, size)]
        parts = [replace(step, days=days) for days in ranges]
    else:
        in_part = max(1, size // (last - first + 1))
        parts = [replace(step, sources=page) for page in pages(step.sources, in_part)]
    for number, part in enumerate(parts):
        yield replace(part, is_first=number == 0, is_last=number == len(parts) - 1)


def split_into_calls(steps: Sequence[MergeStep], sketches: int) -> Iterator[list[MergeStep]]:
    """Yield the steps of each call: as many as its bound allows, and at least one."""
    page: list[MergeStep] = []
    cost = 0
    for step in steps:
        if page and cost + step.cost > sketches:
            yield page
            page, cost = [], 0
        page.append(step)
        cost += step.cost
    if page:
        yield page
