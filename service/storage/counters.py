"""The counters of a day or an hour as they stand in their string: see keyspace.py."""

import sys
from array import array

# First and last byte of a day's counters: created and ended that day; the same by hour; live by hour.
DAY_BYTES = (0, 7)
HOURS_BYTES = (8, 199)
LIVE_BYTES = (200, 295)
# The same of an hour's counters: live by minute.
MINUTES_BYTES = (0, 239)


def numbers(counters: bytes) -> "array[int]":
    """Return unsigned 32-bit numbers, stored big-endian; a last one that is not whole is left out."""
    found = array("I", counters[: len(counters) // 4 * 4])
    if sys.byteorder == "little":
        found.byteswap()
    return found
