"""Counts unique users of one shard by merging HyperLogLogs, which are called sketches.

A union is the set of users of one source, or of all sources, in a range of days. Redis
remembers its number until one of its sketches changes. `union_steps.py` plans the
merges.
"""

import secrets
from collections.abc import Iterator, Sequence
from itertools import product

from service.errors import StoreUnavailable
from service.storage.connection import RedisConnection
from service.storage.keyspace import SCRATCH_SECONDS, UNIONS_SECONDS, Keyspace
from service.storage.paging import PageSizes, pages
from service.storage.pipelines import read
from service.storage.script_replies import UnionReply
from service.storage.union_steps import MergeStep, UserUnion, plan_merges, split_into_calls

_ATTEMPTS = 3


class UniqueUsers:
    """Counts unions in one shard."""

    def __init__(self, connection: RedisConnection, keyspace: Keyspace, sizes: PageSizes) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._sizes = sizes
        self._union = connection.script("union")

    async def count(
        self, shard: int, total: UserUnion, sources: Sequence[str], intervals: Sequence[UserUnion]
    ) -> dict[UserUnion, int | None]:
        """Return the number of users in `total`, in its sources and in its intervals.

        `sources` are the sources in the shard. A number is None when the key of a
        sketch has another program's data. Raises StoreUnavailable and Overloaded.
        """
        parts = [total._replace(source=source) for source in sources]
        if not sources:
            return dict.fromkeys([total, *intervals], 0)
        wanted = dict.fromkeys([total, *(parts if len(parts) > 1 else ()), *intervals])
        counts = await self._remembered(shard, wanted)
        unknown = [union for union in wanted if union not in counts]
        steps = list(plan_merges(unknown, total, sources, self._sizes.sketches))
        for _ in range(_ATTEMPTS):
            if _is_complete(steps, found := await self._merge(shard, steps)):
                counts |= found
                return counts if len(parts) > 1 else {**counts, parts[0]: counts[total]}
        raise StoreUnavailable("scratch keys of a count expired while it was in progress")

    async def _remembered(self, shard: int, unions: dict[UserUnion, None]) -> dict[UserUnion, int | None]:
        """Return the numbers that Redis remembers."""
        found: dict[UserUnion, int | None] = {}
        for page in pages(unions, self._sizes.commands):
            commands = [("HGET", self._keyspace.unions(shard, union.last_day), union.field) for union in page]
            replies = await read(self._connection, "unions", commands)
            found |= {
                union: int(reply) for union, reply in zip(page, replies, strict=True) if reply and reply.isdigit()
            }
        return found

    async def _merge(self, shard: int, steps: Sequence[MergeStep]) -> dict[UserUnion, int | None]:
        """Run the steps and return the numbers of the unions.

        Unions are missing when a scratch key has expired in between.
        """
        token = secrets.token_hex(8)
        found: dict[UserUnion, int | None] = {}
        foreign: set[int | None] = set()
        for page in split_into_calls(steps, self._sizes.sketches):
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

    async def _run_page(self, shard: int, token: str, page: Sequence[MergeStep]) -> Sequence[int]:
        """Return the replies of union.lua to steps of one call."""
        if not page:
            return ()
        fields = [field for step in page for field in step.arguments()]
        arguments = (token, SCRATCH_SECONDS, UNIONS_SECONDS, *fields)
        declared = (key for step in page for key in self._keys_of(shard, token, step))
        replies: Sequence[int] = await self._union([self._keyspace.base(shard)], arguments, declared)
        return replies

    def _keys_of(self, shard: int, token: str, step: MergeStep) -> Iterator[str]:
        first, last = step.days
        for day, source in product(range(first, last + 1), step.sources):
            yield self._keyspace.sketch(shard, day, source)
        yield self._keyspace.unions(shard, step.union.last_day)
        for number in (step.number, step.whole):
            if number is not None:
                yield self._keyspace.scratch(shard, token, number)

    async def _discard(self, shard: int, token: str, steps: Sequence[MergeStep]) -> None:
        """Delete the scratch keys. After an error they are left to expire."""
        used = {step.number for step in steps if not step.needs_no_scratch}
        for page in pages(sorted(used), self._sizes.commands):
            keys = [self._keyspace.scratch(shard, token, number) for number in page]
            await read(self._connection, "unions", [("DEL", *keys)])


def _is_complete(steps: Sequence[MergeStep], found: dict[UserUnion, int | None]) -> bool:
    return all(step.union in found for step in steps if step.is_last)
