"""Durations in words, for people."""

from service.counts import DAY, HOUR, MINUTE
from service.quantities import quantity


def duration_in_words(seconds: int) -> str:
    """Return a duration in the largest unit that divides it. One day is 24 hours."""
    for unit, length in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if seconds % length == 0 and (unit != "day" or seconds > DAY):
            return quantity(seconds // length, unit)
    return quantity(seconds, "second")
