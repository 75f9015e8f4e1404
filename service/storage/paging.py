"""The bounds of one call to Redis when an operator reads a long range.

Redis serves one call at a time, and sessions wait meanwhile. A longer range takes more
calls, but no longer ones. Figures: docs/reliability.md, "Isolation".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class PageSizes:
    """The maximum amount of work in one call.

    `commands` are short commands that are sent together. Redis serves other clients
    between them. `slices` are the counters of a source on one day, 0.7 µs of Redis and
    4 µs of Python each. `sketches` are merges of HyperLogLogs, 18.6 µs each on Redis
    7.0. `entries` are places in top lists, 1 µs of Python each. `users` are ranked at
    the same time, in 10 MB if their ids are as long as a UUID.
    """

    commands: int = 64
    slices: int = 1000
    sketches: int = 100
    entries: int = 2000
    users: int = 50_000


PAGE_SIZES = PageSizes()


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`. The last list may be shorter."""
    remaining = iter(items)
    while page := list(islice(remaining, size)):
        yield page
