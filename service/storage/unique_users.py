"""Counts unique users of one shard by merging HyperLogLogs, which are called sketches.

A union is the set of users of one source, or of all sources, in a range of days. Redis
remembers its number until one of its sketches changes. A union of many sketches is
merged in several steps, and a scratch key keeps its progress. The union of all sources
merges the scratch keys of the sources, so that each sketch is merged once for a range.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from typing import NamedTuple

from service.errors import StoreUnavailable
from service.storage.connection import RedisConnection
from service.storage.keyspace import SCRATCH_SECONDS, UNIONS_SECONDS, Keyspace
from service.storage.page_sizes import PageSizes
from service.storage.pipelines import pages, read
from service.storage.script_replies import UnionReply

_ATTEMPTS = 3
# Measured costs of writing and of counting a merged sketch, in merges of one sketch.
_WRITE_COST, _COUNT_COST = 5, 5


class Union(NamedTuple):
    """The users of a source in a range of days. An empty `source` means all sources."""

    first_day: int
    last_day: int
    source: str

    @property
    def field(self) -> str:
        """The field of the hash in which Redis remembers the number."""
        return f"{self.first_day} {self.source}"


@dataclass(frozen=True)
class Step:
    """A part of the work on one union: it merges the sketches of sources on some days.

    `number` identifies the union and its scratch key. `whole` is the `number` of the
    union that this one is merged into after its last step.
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


class UniqueUsers:
    """Counts unions in one shard."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._union = connection.script("union")

    async def count(
        self, shard: int, total: Union, sources: Sequence[str], intervals: Sequence[Union]
    ) -> dict[Union, int | None]:
        """Return the number of users in `total`, in its sources and in its intervals.

        `sources` are those in the shard. A number is None when the key of a sketch has
        another program's data. Raises StoreUnavailable and Overloaded.
        """
        parts = [total._replace(source=source) for source in sources]
        if not sources:
            return dict.fromkeys([total, *intervals], 0)
        wanted = dict.fromkeys([total, *(parts if len(parts) > 1 else ()), *intervals])
        counts = await self._remembered(shard, wanted)
        unknown = [union for union in wanted if union not in counts]
        steps = list(plan(unknown, total, sources, self._sizes.sketches))
        for _ in range(_ATTEMPTS):
            if _is_complete(steps, found := await self._merge(shard, steps)):
                counts |= found
                return counts if len(parts) > 1 else {**counts, parts[0]: counts[total]}
        raise StoreUnavailable("scratch keys of a count expired while it was in progress")

    async def _remembered(self, shard: int, unions: dict[Union, None]) -> dict[Union, int | None]:
        """Return the numbers that Redis remembers."""
        found: dict[Union, int | None] = {}
        for page in pages(unions, self._sizes.commands):
            commands = [("HGET", self._keyspace.unions(shard, union.last_day), union.field) for union in page]
            replies = await read(self._connection, "unions", commands)
            found |= {
                union: int(reply) for union, reply in zip(page, replies, strict=True) if reply and reply.isdigit()
            }
        return found

    async def _merge(self, shard: int, steps: Sequence[Step]) -> dict[Union, int | None]:
        """Run the steps and return the numbers of the unions.

        Unions are missing when a scratch key has expired in between.
        """
        token = secrets.token_hex(8)
        found: dict[Union, int | None] = {}
        foreign: set[int | None] = set()
        for page in calls(steps, self._sizes.sketches):
            # A union with another program's data has no number. Its other steps would
            # not find their scratch key.
            found |= {step.union: None for step in page if step.number in foreign}
            page_left = [step for step in page if step.number not in foreign]
            replies = await self._run_page(shard, token, page_left)
            if UnionReply.LOST in replies:
                break
            for step, reply in zip(page_left, replies, strict=True):
                if reply == UnionReply.FOREIGN:
                    foreign |= {step.number, step.whole} - {None}
                    found[step.union] = None
                elif step.is_last:
                    found[step.union] = reply
        await self._discard(shard, token, steps)
        return found

    async def _run_page(self, shard: int, token: str, page: Sequence[Step]) -> Sequence[int]:
        """Return the replies of union.lua to steps of one call."""
        if not page:
            return ()
        fields = [field for step in page for field in step.arguments()]
        arguments = (token, SCRATCH_SECONDS, UNIONS_SECONDS, *fields)
        declared = (key for step in page for key in self._keys_of(shard, token, step))
        replies: Sequence[int] = await self._union([self._keyspace.base(shard)], arguments, declared)
        return replies

    def _keys_of(self, shard: int, token: str, step: Step) -> Iterator[str]:
        first, last = step.days
        for day, source in product(range(first, last + 1), step.sources):
            yield self._keyspace.sketch(shard, day, source)
        yield self._keyspace.unions(shard, step.union.last_day)
        for number in (step.number, step.whole):
            if number is not None:
                yield self._keyspace.scratch(shard, token, number)

    async def _discard(self, shard: int, token: str, steps: Sequence[Step]) -> None:
        """Delete the scratch keys. After an error they are left to expire."""
        used = {step.number for step in steps if not step.needs_no_scratch}
        for page in pages(sorted(used), self._sizes.commands):
            keys = [self._keyspace.scratch(shard, token, number) for number in page]
            await read(self._connection, "unions", [("DEL", *keys)])


def _is_complete(steps: Sequence[Step], found: dict[Union, int | None]) -> bool:
    return all(step.union in found for step in steps if step.is_last)


def plan(unknown: Sequence[Union], total: Union, sources: Sequence[str], sketches: int) -> Iterator[Step]:
    """Yield the steps that count the unknown unions, each within the bound."""
    numbers = count()
    in_range = {total, *(total._replace(source=source) for source in sources)}
    yield from _range_steps([union for union in unknown if union in in_range], total, sources, sketches, numbers)
    for union in unknown:
        if union not in in_range:  # the union of an interval
            yield from _split(Step(next(numbers), union, union[:2], sources), sketches)


def _range_steps(
    unknown: Sequence[Union], total: Union, sources: Sequence[str], sketches: int, numbers: Iterator[int]
) -> Iterator[Step]:
    """Yield the steps of the total and of its parts, the unions of each source.

    When the total exceeds the bound, it is merged from the unions of the sources. So
    these are all counted again, also those that Redis remembers.
    """
    days = total.first_day, total.last_day
    parts = [union for union in unknown if union != total]
    whole: Step | None = None
    if total in unknown:
        at_once = Step(next(numbers), total, days, sources)
        if len(sources) == 1 or at_once.cost <= sketches:
            yield from _split(at_once, sketches)
        else:
            whole, parts = at_once, [total._replace(source=source) for source in sources]
            yield _without_sketches(whole, is_first=True)
    for union in parts:
        step = Step(next(numbers), union, days, [union.source], whole=whole.number if whole else None)
        yield from _split(step, sketches)
    if whole is not None:
        yield _without_sketches(whole, is_first=False)


def _without_sketches(step: Step, *, is_first: bool) -> Step:
    """Return the first or last step of a union that merges other unions."""
    first_day = step.days[0]
    return replace(step, days=(first_day, first_day - 1), sources=(), is_first=is_first, is_last=not is_first)


def _split(step: Step, sketches: int) -> Iterator[Step]:
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


def calls(steps: Sequence[Step], sketches: int) -> Iterator[list[Step]]:
    """Yield the steps of each call: as many as its bound allows, and at least one."""
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
