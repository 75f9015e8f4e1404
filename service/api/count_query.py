"""The query parameters of a count: range, interval, source and limit.

A date means its whole UTC day at both ends of a range: `from=2026-11-26&to=2026-11-26`
is one day. A time means an instant. A range includes the instant at its start and
excludes the instant at its end. A query may mix both kinds.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from service import errors
from service.api.names import check_names
from service.config.value_checks import check_source
from service.counts import DAY, CountRange, Interval

MAX_HOURS = 31 * 24
MAX_LIMIT = 100
DEFAULT_LIMIT = 20

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


class CountQueries:
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
        source = query.get("source")
        if source is not None and (error := check_source(source)):
            raise errors.InvalidRequest(f"source {error}.", member="source")
        return CountQuery(self._range(query, interval), source, _limit(query))

    def _range(self, query: Mapping[str, str], interval: Interval) -> CountRange:
        now = int(self._clock())
        past = now + 1  # includes the current second
        last = _moment(query, "to") if "to" in query else _Moment(past, past)
        # Today is a whole day, with the hours to come. A range that ends at a time in
        # the future ends now.
        end = min(last.end, (now // DAY + 1) * DAY if last.is_date else past)
        start = _moment(query, "from").start if "from" in query else end - DAY
        if start >= past:
            raise errors.InvalidRequest("`from` must not be in the future.", member="from")
        if start >= last.end:
            raise errors.InvalidRequest(_not_before(start, last), member="from")
        oldest = (now // DAY - self._retention_days) * DAY
        if start < oldest:
            raise errors.InvalidRequest(
                f"Counts are kept for {self._retention_days} days. Set `from` to {rfc3339(oldest)} or later.",
                member="from" if "from" in query else "to",
                oldest=rfc3339(oldest),
            )
        requested = CountRange.around(start, end, interval)
        if interval is Interval.HOUR and len(requested.starts) > MAX_HOURS:
            raise errors.InvalidRequest(
                f"A series by hour has at most {MAX_HOURS} hours. Use interval=day or a shorter range.",
                member="interval",
            )
        return requested


def rfc3339(moment: float) -> str:
    """Return a time in seconds since the epoch as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _interval(query: Mapping[str, str]) -> Interval:
    value = query.get("interval", Interval.HOUR)
    if value not in set(Interval):
        raise errors.InvalidRequest("interval must be `hour` or `day`.", member="interval")
    return Interval(value)


def _moment(query: Mapping[str, str], name: str) -> _Moment:
    """Return the value of a parameter as a moment. Raises InvalidRequest."""
    if found := _TIME.fullmatch(query[name]):
        date, time, fraction = found.groups()
        try:
            start = datetime.fromisoformat(f"{date}T{time or '00:00:00'}+00:00").timestamp()
        except ValueError:
            pass
        else:
            start += float(fraction or 0)
            return _Moment(start, start if time else start + DAY)
    raise errors.InvalidRequest(
        f"{name} must be a time in UTC like 2026-01-31T18:00:00Z, or a date like 2026-01-31 for the whole day.",
        member=name,
    )


def _not_before(start: float, last: _Moment) -> str:
    if start == last.end and not last.is_date:
        return "`from` and `to` are the same instant, so the range is empty. Give a date for a whole day."
    return "`from` must not be after `to`. Without `to`, the range ends now."


def _limit(query: Mapping[str, str]) -> int:
    value = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch("[0-9]{1,3}", value, re.ASCII) or not 1 <= int(value) <= MAX_LIMIT:
        raise errors.InvalidRequest(f"limit must be a whole number from 1 to {MAX_LIMIT}.", member="limit")
    return int(value)
