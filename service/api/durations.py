"""Durations in words, for people."""

from service.counts import DAY, HOUR, MINUTE


def in_words(seconds: int) -> str:
    """Return a duration in the largest unit that divides it. One day is 24 hours."""
    for unit, length in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if seconds % length == 0 and (unit != "day" or seconds > DAY):
            return _counted(seconds // length, unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
