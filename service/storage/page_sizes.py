"""The bounds of one call to Redis when an operator reads a long range.

Redis serves one call at a time, so every visitor waits for the longest. A longer range
takes more calls, never a longer one. Figures: docs/reliability.md, "Isolation".
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PageSizes:
    """How much one call does at most.

    `commands` are short plain commands sent together. Redis serves others between them.
    `slices` are parts of a day's counters, 2 µs of Redis and 5 µs of Python each.
    `sketches` are HyperLogLogs merged, 18.6 µs each on Redis 7.0.
    `entries` are read from top lists together, 1 µs of Python each.
    `users` are ranked at a time, in 10 MB when their ids are as long as a UUID.
    """

    commands: int = 64
    slices: int = 1000
    sketches: int = 100
    entries: int = 2000
    users: int = 50_000


PAGE_SIZES = PageSizes()
