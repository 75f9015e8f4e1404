"""The layout of the counters of a day and of an hour (keys: keyspace.py).

A counter is an unsigned 32-bit number, big-endian. The counters of a day, or of an
hour, are one string in Redis. The scripts add to them by position, and readers fetch
bytes.
"""

import sys
from array import array

# Positions of a day's counters. Those by hour are the first of 24 positions, one for
# each hour.
CREATED_IN_DAY, ENDED_IN_DAY = 0, 1
CREATED_IN_HOUR, ENDED_IN_HOUR, LIVE_IN_HOUR = 2, 26, 50
HOURS_IN_DAY = 24
# The counters of an hour are by minute: sessions that began in it and have not ended.
_MINUTES_IN_HOUR = 60

_COUNTER_BYTES = 4


def _byte_range(first: int, count: int) -> tuple[int, int]:
    """Return the first and the last byte of some counters, as GETRANGE takes them."""
    return first * _COUNTER_BYTES, (first + count) * _COUNTER_BYTES - 1


# Created and ended on the day.
DAY_BYTES = _byte_range(CREATED_IN_DAY, 2)
# Created by hour, then ended by hour.
HOURS_BYTES = _byte_range(CREATED_IN_HOUR, 2 * HOURS_IN_DAY)
# Created in the hour and not ended.
LIVE_BYTES = _byte_range(LIVE_IN_HOUR, HOURS_IN_DAY)
MINUTES_BYTES = _byte_range(0, _MINUTES_IN_HOUR)


def numbers(counters: bytes) -> "array[int]":
    """Return the counters in a string.

    Bytes after the last whole counter are ignored.
    """
    found = array("I", counters[: len(counters) // _COUNTER_BYTES * _COUNTER_BYTES])
    if sys.byteorder == "little":
        found.byteswap()
    return found
