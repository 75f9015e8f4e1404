"""The layout of the counters of a day and of an hour (keys: keyspace.py).

A counter is an unsigned 32-bit number, big-endian. The counters of a day, or of an
hour, are one string in Redis. The scripts add to them by position. The counters of an
hour are by minute: sessions that began in it and have not ended.
"""

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import chain

# Positions of a day's counters. Those by hour are the first of 24 positions, one for
# each hour. The string ends after the last counter that was written.
CREATED_IN_DAY, ENDED_IN_DAY = 0, 1
CREATED_IN_HOUR, ENDED_IN_HOUR, LIVE_IN_HOUR = 2, 26, 50
CONSENT_GIVEN_IN_HOUR, CONSENT_WITHDRAWN_IN_HOUR = 74, 98
# The sessions ended in the day, by the day of their creation. The sum is ENDED_IN_DAY,
# and less on days before 2026-11-28, when the service did not count them.
ENDED_OF_DAY, ENDED_OF_EARLIER_DAYS = 122, 123
COUNTERS_IN_DAY = 124
HOURS_IN_DAY = 24
_COUNTER_BYTES = 4
_DAY_BYTES = COUNTERS_IN_DAY * _COUNTER_BYTES
# The format of half of the counters, each in a word of 64 bits, and the mask of the 32
# bits that a counter uses.
_WORDS = f">{COUNTERS_IN_DAY // 2}Q"
_COUNTER_BITS = int.from_bytes(struct.pack(_WORDS, *[2**32 - 1] * (COUNTERS_IN_DAY // 2)), "big")

# Created in the hour and not ended: the first and the last byte, for GETRANGE.
LIVE_BYTES = LIVE_IN_HOUR * _COUNTER_BYTES, (LIVE_IN_HOUR + HOURS_IN_DAY) * _COUNTER_BYTES - 1


class DaySum:
    """The sum of one day's counters, over many strings.

    Adding 124 numbers one by one takes 17 µs. So a string is read as one large integer,
    and all its counters are added at once, in words of 64 bits that cannot overflow.
    """

    def __init__(self) -> None:
        # Every second counter, from the first and from the second.
        self._first = self._second = 0

    def add(self, day: bytes) -> None:
        """Add the counters of a day. Those that are missing in the string are zeros."""
        counters = int.from_bytes(day[:_DAY_BYTES].ljust(_DAY_BYTES, b"\0"), "big")
        self._first += counters >> 32 & _COUNTER_BITS
        self._second += counters & _COUNTER_BITS

    def numbers(self) -> Sequence[int]:
        """Return the sums, each at the position of its counter."""
        halves = (struct.unpack(_WORDS, one.to_bytes(_DAY_BYTES, "big")) for one in (self._first, self._second))
        return list(chain.from_iterable(zip(*halves, strict=True)))


def numbers(counters: bytes) -> "array[int]":
    """Return the counters in a string.

    Bytes after the last whole counter are ignored.
    """
    found = array("I", counters[: len(counters) // _COUNTER_BYTES * _COUNTER_BYTES])
    if sys.byteorder == "little":
        found.byteswap()
    return found
