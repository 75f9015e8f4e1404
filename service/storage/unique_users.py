"""Counts unique users of one shard by merging HyperLogLogs, a bounded number in each call.

A union is the users of a source, or of all, in a range of days. Its number is remembered in Redis until a sketch in
it changes. A union of many sketches is merged in several steps, with its progress in a scratch key. The union of all
sources merges the scratch keys of the sources, so that no sketch is merged twice for a range.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from service.errors import StoreUnavailable
from service.storage.connection import RedisConnection
from service.storage.keyspace import SCRATCH_SECONDS, UNIONS_SECONDS, Keyspace
from service.storage.page_sizes import PageSizes
from service.storage.pipelines import ask, pages

_ATTEMPTS = 3
# In sketches merged, as measured: to write a merged sketch, and to count it.
_WRITE_COST, _COUNT_COST = 5, 5
_UNFINISHED, _FOREIGN, _LOST = -1, -2, -3  # replies of union.lua


class Union(NamedTuple):
    """The users of one source in a range of days, of all sources when `source` is empty."""

    first_day: int
    last_day: int
    source: str

    @property
    def field(self) -> str:
        """The field under which its number is remembered."""
        return f"{self.first_day} {self.source}"


@dataclass(frozen=True)
class Step:
    """A part of the work on one union: it merges the sketches of the sources on the days.

    `number` names the union's scratch key, and `whole` that of the union that this one is merged into at its end.
    """

    number: int
    union: Union
    days: tuple[int, int]
    sources: Sequence[str]
    is_first: bool = True
    is_last: bool = True
    whole: int | None = None

    @property
    def cost(self) -> int:
        """Return the work in sketches merged."""
        first, last = self.days
        sketches = (last - first + 1) * len(self.sources)
        if self.needs_no_scratch:
            return sketches + 1
        writes = 1 if self.whole is None or not self.is_last else 2
        return sketches + writes * _WRITE_COST + (_COUNT_COST if self.is_last else 0)

    @property
    def needs_no_scratch(self) -> bool:
        """Whether the step is the whole work on its union."""
        return self.is_first and self.is_last and self.whole is None

    def arguments(self) -> Iterator[str | int]:
        """Yield the step as union.lua reads it."""
        yield self.number
        yield "" if self.whole is None else self.whole
        yield from self.union
        yield "1" if self.is_first else ""
        yield "1" if self.is_last else ""
        yield from self.days
        yield len(self.sources)
        yield from self.sources


class UniqueUsers:
    """Counts unions in one shard."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._union = connection.script("union")

    async def count(
        self, shard: int, total: Union, sources: Sequence[str], days: Sequence[int]
    ) -> dict[Union, int | None]:
        """Return the number of users in `total`, in each source's part of it, and in `total` on each of the days.

        `sources` are those in the shard. A number is None when a sketch is foreign data. Raises StoreUnavailable.
        """
        parts = [total._replace(source=source) for source in sources]
        by_day = [Union(day, day, total.source) for day in days]
        if not sources:
            return dict.fromkeys([total, *by_day], 0)
        wanted = dict.fromkeys([total, *(parts if len(parts) > 1 else ()), *by_day])
        counts = await self._remembered(shard, wanted)
        unknown = [union for union in wanted if union not in counts]
        steps = list(plan(unknown, total, sources, self._sizes.sketches))
        for _ in range(_ATTEMPTS):
            if self._finished(steps, found := await self._merge(shard, steps)):
                counts |= found
                return counts if len(parts) > 1 else {**counts, parts[0]: counts[total]}
        raise StoreUnavailable("scratch keys of a count expired while it was under way")

    async def _remembered(self, shard: int, unions: dict[Union, None]) -> dict[Union, int | None]:
        """Return the numbers that Redis remembers."""
        found: dict[Union, int | None] = {}
        for page in pages(unions, self._sizes.commands):
            commands = [("HGET", self._keyspace.unions(shard, union.last_day), union.field) for union in page]
            replies = await ask(self._connection, "unions", commands)
            found |= {
                union: int(reply) for union, reply in zip(page, replies, strict=True) if reply and reply.isdigit()
            }
        return found

    @staticmethod
    def _finished(steps: Sequence[Step], found: dict[Union, int | None]) -> bool:
        return all(step.union in found for step in steps if step.is_last)

    async def _merge(self, shard: int, steps: Sequence[Step]) -> dict[Union, int | None]:
        """Run the steps. Unions are missing from what it returns when a scratch key expired on the way."""
        token = secrets.token_hex(8)
        found: dict[Union, int | None] = {}
        foreign: set[int | None] = set()
        for page in calls(steps, self._sizes.sketches):
            # A union that holds foreign data has no number. Its other steps would miss their scratch key.
            page_left = [step for step in page if step.number not in foreign]
            found |= {step.union: None for step in page if step.number in foreign}
            if not page_left:
                continue
            fields = [field for step in page_left for field in step.arguments()]
            arguments = (token, SCRATCH_SECONDS, UNIONS_SECONDS, *fields)
            replies = await self._union([self._keyspace.base(shard)], arguments)
            for step, reply in zip(page_left, replies, strict=False):  # fewer when a scratch key expired
                if reply == _FOREIGN:
                    foreign |= {step.number, step.whole} - {None}
                    found[step.union] = None
                elif step.is_last and reply != _LOST:
                    found[step.union] = reply
            if _LOST in replies:
                break
        await self._discard(shard, token, steps)
        return found

    async def _discard(self, shard: int, token: str, steps: Sequence[Step]) -> None:
        """Delete the scratch keys. After an error they expire by themselves."""
        used = {step.number for step in steps if not step.needs_no_scratch}
        for page in pages(sorted(used), self._sizes.commands):
            keys = [self._keyspace.scratch(shard, token, number) for number in page]
            await ask(self._connection, "unions", [("DEL", *keys)])


def plan(unknown: Sequence[Union], total: Union, sources: Sequence[str], sketches: int) -> Iterator[Step]:
    """Yield the steps that count the unknown unions, each within the bound of one call."""
    days = total.first_day, total.last_day
    no_days = total.first_day, total.first_day - 1
    parts = {total._replace(source=source): source for source in sources}
    in_range = [union for union in unknown if union != total and union in parts]
    numbers = count()
    whole = None
    if total in unknown:
        at_once = Step(next(numbers), total, days, sources)
        if len(sources) == 1 or at_once.cost <= sketches:
            yield from _split(at_once, sketches)
        else:
            whole, in_range = at_once.number, list(parts)
            yield Step(whole, total, no_days, (), is_last=False)
    for union in in_range:
        yield from _split(Step(next(numbers), union, days, [parts[union]], whole=whole), sketches)
    if whole is not None:
        yield Step(whole, total, no_days, (), is_first=False)
    for union in unknown:
        if union != total and union not in parts:  # a day
            yield from _split(Step(next(numbers), union, union[:2], sources), sketches)


def _split(step: Step, sketches: int) -> Iterator[Step]:
    """Yield a step of one source or of one day, in parts when it is too much for one call."""
    if step.cost <= sketches:
        yield step
        return
    size = max(1, sketches - 2 * _WRITE_COST - _COUNT_COST)
    first, last = step.days
    if len(step.sources) == 1:
        ranges = [(day, min(day + size - 1, last)) for day in range(first, last + 1, size)]
        parts = [replace(step, days=days) for days in ranges]
    else:
        parts = [replace(step, sources=page) for page in pages(step.sources, size)]
    for number, part in enumerate(parts):
        yield replace(part, is_first=number == 0, is_last=number == len(parts) - 1)


def calls(steps: Sequence[Step], sketches: int) -> Iterator[list[Step]]:
    """Yield the steps in their order, as many in each call as its bound allows, and one at least."""
    page: list[Step] = []
    cost = 0
    for step in steps:
        if page and cost + step.cost > sketches:
            yield page
            page, cost = [], 0
        page.append(step)
        cost += step.cost
    if page:
        yield page
