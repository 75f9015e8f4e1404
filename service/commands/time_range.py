"""Ranges of time on the command line, read and printed. Dates are whole days."""

import re
from datetime import UTC, datetime, timedelta

from service.time_zones import UTC_ZONE, TimeZone

_AGO = re.compile(r"(\d{1,4})([hd])")
_TIME = re.compile(r"\d{4}-")  # the service checks the rest
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DAY = timedelta(days=1)
_HOURLY = timedelta(days=3)  # a longer series by hour has more points than a sparkline


def api_time(argument: str | None) -> str | None:
    """Return the API's parameter for an argument.

    Ages like `7d` and `24h` become times.
    """
    if argument is None or not (ago := _AGO.fullmatch(argument)):
        return argument
    length = timedelta(**{"hours" if ago[2] == "h" else "days": int(ago[1])})
    return (datetime.now(UTC) - length).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_time(argument: str) -> str | None:
    """Return what a time must be instead, or None when it may be one."""
    if _AGO.fullmatch(argument) or _TIME.match(argument):
        return None
    return "must be a time in UTC like 2026-01-31T18:00:00Z, a date like 2026-01-31, or an age like 24h or 7d"


def suitable_interval(start: str | None, end: str | None) -> str | None:
    """Return the interval that suits a range, whose ends are results of `api_time`.

    None leaves the choice to the service. It also rejects strings that are not times.
    """
    if start is None:
        return None
    try:
        first = datetime.fromisoformat(start)
        last = datetime.fromisoformat(end) if end else datetime.now(UTC)
    except ValueError:
        return None
    length = last.replace(tzinfo=UTC) - first.replace(tzinfo=UTC)
    if end and _DATE.fullmatch(end):
        length += _DAY
    return "hour" if length <= _HOURLY else "day"


def range_in_words(start: str, end: str, zone: TimeZone = UTC_ZONE) -> str:
    """Return the range of an answer in words.

    `end` is exclusive, so a range of days ends a day earlier.
    """
    first, last = (datetime.fromisoformat(moment).astimezone(zone.rules) for moment in (start, end))
    if any(moment.timestamp() != zone.start_of(moment.date()) for moment in (first, last)):
        return f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} {zone.name}"
    last_day = last.date() - _DAY
    if last_day <= first.date():
        return f"on {first:%Y-%m-%d} ({zone.name} day)"
    return f"from {first:%Y-%m-%d} to {last_day} ({zone.name} days)"
