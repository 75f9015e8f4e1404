"""The query parameters of a count: range, interval, time zone, source and limit.

A date means its whole day at both ends of a range: `from=2026-11-26&to=2026-11-26` is
one day, of `tz` or of UTC. A time means an instant. A range includes the instant at its
start and excludes the instant at its end. A query may mix both kinds.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from aiohttp import web

from service import errors
from service.api.durations import duration_in_words
from service.api.member_names import check_names
from service.api.timestamps import rfc3339
from service.config.value_checks import check_source
from service.counts import DAY, CountRange, Interval
from service.time_zones import UTC_ZONE, TimeZone

MAX_HOURS = 31 * 24
MAX_LIMIT = 100
DEFAULT_LIMIT = 20

_ONE_DAY = timedelta(days=1)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt]((?:[01]\d|2[0-3]):\d\d:\d\d)(\.\d{1,9})?(?:[Zz]|[+-]00:00))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The value of `from` or `to`, in seconds since the epoch.

    A date includes the `start` of its day and excludes the `end`. An instant has `start
    == end`.
    """

    start: float
    end: float

    @property
    def is_date(self) -> bool:
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class CountQuery:
    """A valid query. `requested` is the range, widened to whole intervals."""

    requested: CountRange
    source: str | None
    limit: int


class CountQueryReader:
    """Reads and checks queries. Counts are kept for `retention_days`."""

    def __init__(self, retention_days: int, clock: Callable[[], float]) -> None:
        self._retention_days = retention_days
        self._clock = clock

    def read(self, request: web.Request, known: Collection[str]) -> CountQuery:
        """Return the query of a request.

        `known` are the parameters that it may have. Raises InvalidRequest.
        """
        query = request.query
        check_names(query, known, "The query", "parameter")
        for name in query:
            if len(query.getall(name)) > 1:
                raise errors.InvalidRequest(f"Send {name} once.", member=name)
        interval = _interval(query) if "interval" in known else Interval.DAY
        zone = _zone(query)
        source = query.get("source")
        if source is not None and (error := check_source(source)):
            raise errors.InvalidRequest(f"source {error}.", member="source")
        return CountQuery(self._range(query, interval, zone), source, _limit(query))

    def _range(self, query: Mapping[str, str], interval: Interval, zone: TimeZone) -> CountRange:
        """Return the range that `from` and `to` name. Raises InvalidRequest."""
        now = int(self._clock())
        now_end = now + 1  # includes the current second
        last = _moment(query, "to", zone) if "to" in query else _Moment(now_end, now_end)
        # Today is a whole day, with the hours to come. A range that ends at a time in
        # the future ends now.
        end = min(last.end, zone.start_of(zone.day_of(now) + _ONE_DAY) if last.is_date else now_end)
        oldest = self._oldest(now, interval, zone)
        if "from" in query:
            start = _moment(query, "from", zone).start
        elif last.is_date:
            start = zone.start_of(zone.day_of(end - 1))
        else:
            # With a retention of one day, the zone's day before today is too old.
            start = max(end - DAY, oldest) if end == now_end else end - DAY
        if start >= now_end:
            raise errors.InvalidRequest("`from` must not be in the future.", member="from")
        if start >= last.end:
            raise errors.InvalidRequest(_why_empty(start, last), member="from")
        if start < oldest:
            raise self._too_old(oldest, "from" if "from" in query else "to")
        _check_offsets(zone, start, end)
        requested = CountRange.around(start, end, interval, zone)
        _check_length(requested)
        return requested

    def _too_old(self, oldest: int, member: str) -> errors.InvalidRequest:
        kept, first = duration_in_words(self._retention_days * DAY), rfc3339(oldest)
        return errors.InvalidRequest(
            f"Counts are kept for {kept}. Set `from` to {first} or later.", member=member, oldest=first
        )

    def _oldest(self, now: int, interval: Interval, zone: TimeZone) -> int:
        """Return the start of the first interval whose counts are kept."""
        oldest = (now // DAY - self._retention_days) * DAY
        if interval is Interval.HOUR:
            return oldest
        first, *following = zone.starts(oldest, oldest + 1)
        return first if first == oldest else following[0]


def _interval(query: Mapping[str, str]) -> Interval:
    value = query.get("interval", Interval.HOUR)
    if value not in set(Interval):
        raise errors.InvalidRequest("interval must be `hour` or `day`.", member="interval")
    return Interval(value)


def _zone(query: Mapping[str, str]) -> TimeZone:
    if "tz" not in query:
        return UTC_ZONE
    if zone := TimeZone.find(query["tz"]):
        return zone
    raise errors.InvalidRequest("tz must be the name of a time zone, such as Europe/Berlin or UTC.", member="tz")


def _moment(query: Mapping[str, str], name: str, zone: TimeZone) -> _Moment:
    """Return the value of a parameter as a moment. Raises InvalidRequest."""
    if found := _TIME.fullmatch(query[name]):
        day, time, fraction = found.groups()
        try:
            if not time:
                return _day(date.fromisoformat(day), zone)
            moment = datetime.fromisoformat(f"{day}T{time}+00:00").timestamp() + float(fraction or 0)
        except ValueError:
            pass
        else:
            return _Moment(moment, moment)
    raise errors.InvalidRequest(
        f"{name} must be a time in UTC like 2026-01-31T18:00:00Z, or a date like 2026-01-31 for the whole day.",
        member=name,
    )


def _day(day: date, zone: TimeZone) -> _Moment:
    """Return a whole day."""
    day = min(day, date.max - _ONE_DAY)  # any day in the future means the same
    return _Moment(zone.start_of(day), zone.start_of(day + _ONE_DAY))


def _why_empty(start: float, last: _Moment) -> str:
    """Return the error of a range that ends before it starts, or at its start."""
    if start == last.end and not last.is_date:
        return "`from` and `to` are the same instant, so the range is empty. Give a date for a whole day."
    return "`from` must not be after `to`. Without `to`, the range ends now."


def _check_offsets(zone: TimeZone, start: float, end: float) -> None:
    if offset := zone.odd_offset(start, end):
        raise errors.InvalidRequest(
            f"This time zone is {offset} from UTC in the range. Counts are kept by hours of UTC, so they have no "
            "days of a zone whose offset is not a whole number of hours. Use another zone, or leave out `tz`.",
            member="tz",
        )


def _check_length(requested: CountRange) -> None:
    if requested.interval is Interval.HOUR and len(requested.starts) > MAX_HOURS:
        raise errors.InvalidRequest(
            f"A series by hour has at most {MAX_HOURS} hours. Use the interval `day` or a shorter range.",
            member="interval",
        )


def _limit(query: Mapping[str, str]) -> int:
    value = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch("[0-9]{1,3}", value, re.ASCII) or not 1 <= int(value) <= MAX_LIMIT:
        raise errors.InvalidRequest(f"limit must be a whole number from 1 to {MAX_LIMIT}.", member="limit")
    return int(value)
