"""The query of a count: from strings to a range of time, a source and a limit. Each error names its parameter.

A date is its whole UTC day at either end of a range: `from=2026-11-26&to=2026-11-26` is one day. A time is an
instant. A range includes the instant at its start and excludes the one at its end. Both kinds can be mixed.
"""

import re
from collections.abc import Callable, Collection
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
    """One end of a range as asked for: seconds since the epoch from `start` to before `end`.

    An instant has both equal. A date has a day between them.
    """

    start: float
    end: float

    @property
    def is_date(self) -> bool:
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class CountQuery:
    """What is asked for, checked; `asked` is the range as understood, widened to whole intervals."""

    asked: CountRange
    source: str | None
    limit: int


class CountQueries:
    """Reads queries. Counts are kept for `retention_days`."""

    def __init__(self, retention_days: int, clock: Callable[[], float]) -> None:
        self._retention_days = retention_days
        self._clock = clock

    def read(self, request: web.Request, known: Collection[str]) -> CountQuery:
        """Return the query of a request that may have the parameters `known`. Raises InvalidRequest."""
        query = request.query
        given = {name: query[name] for name in query}
        check_names(given, known, "The query", "parameter")
        for name in given:
            if len(query.getall(name)) > 1:
                raise errors.InvalidRequest(f"Give {name} once.", member=name)
        interval = _interval(given) if "interval" in known else Interval.DAY
        source = given.get("source")
        if source is not None and (error := check_source(source)):
            raise errors.InvalidRequest(f"source {error}.", member="source")
        return CountQuery(self._range(given, interval), source, _limit(given))

    def _range(self, given: dict[str, str], interval: Interval) -> CountRange:
        now = int(self._clock())
        past = now + 1  # the second that has begun belongs to the past
        last = _moment(given, "to") if "to" in given else _Moment(past, past)
        # Today is asked for as a whole, with the hours that are still to come. A range that ends at a time in the
        # future ends now.
        end = min(last.end, (now // DAY + 1) * DAY if last.is_date else past)
        start = _moment(given, "from").start if "from" in given else end - DAY
        if start >= past:
            raise errors.InvalidRequest("`from` must not be in the future.", member="from")
        if start >= last.end:
            raise errors.InvalidRequest(_not_before(start, last), member="from")
        oldest = (now // DAY - self._retention_days) * DAY
        if start < oldest:
            raise errors.InvalidRequest(
                f"Counts are kept for {self._retention_days} days; ask from {rfc3339(oldest)} on.",
                member="from" if "from" in given else "to",
                oldest=rfc3339(oldest),
            )
        asked = CountRange.around(start, end, interval)
        if interval is Interval.HOUR and len(asked.starts) > MAX_HOURS:
            raise errors.InvalidRequest(
                f"A series by hour has at most {MAX_HOURS} hours; ask for interval=day or a shorter range.",
                member="interval",
            )
        return asked


def rfc3339(moment: float) -> str:
    """Return a time, in seconds since the epoch, as the API writes it: in UTC, to the second, with `Z`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _interval(given: dict[str, str]) -> Interval:
    text = given.get("interval", Interval.HOUR)
    if text not in set(Interval):
        raise errors.InvalidRequest("interval must be `hour` or `day`.", member="interval")
    return Interval(text)


def _moment(given: dict[str, str], name: str) -> _Moment:
    """Return the moments that a parameter means. Raises InvalidRequest."""
    if found := _TIME.fullmatch(given[name]):
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
    return "`from` must not be after `to`; `to` is now when left out."


def _limit(given: dict[str, str]) -> int:
    text = given.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch("[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= MAX_LIMIT:
        raise errors.InvalidRequest(f"limit must be a whole number from 1 to {MAX_LIMIT}.", member="limit")
    return int(text)
