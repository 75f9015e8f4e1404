"""The range of a count: dates are whole days, times are instants."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import make_mocked_request

from service import errors
from service.api.count_query import CountQueryReader
from service.api.timestamps import rfc3339
from service.counts import CountRange

NOW = datetime(2026, 11, 26, 17, 21, 9, 500_000, UTC)
KNOWN = ("from", "to", "interval", "tz")


def asked(*, now: datetime = NOW, retention_days: int = 90, **query: str) -> CountRange:
    given = {name.rstrip("_"): value for name, value in query.items()}
    request = make_mocked_request("GET", f"/?{urlencode(given)}")
    return CountQueryReader(retention_days, now.timestamp).read(request, KNOWN).requested


def ends(found: CountRange) -> tuple[str, str]:
    return rfc3339(found.start), rfc3339(found.end)


@pytest.mark.parametrize("interval", ["hour", "day"])
@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2026-11-20", "2026-11-20", "2026-11-20", "2026-11-21"),
        ("2026-11-26", "2026-11-26", "2026-11-26", "2026-11-27"),
        ("2026-11-24", "2026-11-26", "2026-11-24", "2026-11-27"),
        ("2026-11-25", "2026-11-30", "2026-11-25", "2026-11-27"),
        ("2026-11-25", "9999-12-31", "2026-11-25", "2026-11-27"),
        ("2026-11-20T00:00:00Z", "2026-11-20", "2026-11-20", "2026-11-21"),
        ("2026-11-20", "2026-11-21T00:00:00Z", "2026-11-20", "2026-11-21"),
        ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-20", "2026-11-21"),
    ],
)
def test_a_date_is_its_whole_day(interval: str, start: str, end: str, first: str, last: str) -> None:
    """A date covers its whole day at both ends of a range."""
    found = asked(from_=start, to=end, interval=interval)
    assert ends(found) == (f"{first}T00:00:00Z", f"{last}T00:00:00Z")


@pytest.mark.parametrize("now", ["2026-11-26T00:00:00", "2026-11-26T23:59:59.999999"])
def test_today_is_a_day_at_every_moment_of_it(now: str) -> None:
    """Today as a date works at its first and at its last moment."""
    moment = datetime.fromisoformat(f"{now}+00:00")
    day = ("2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z")
    assert ends(asked(now=moment, from_="2026-11-26", to="2026-11-26")) == day
    assert ends(asked(now=moment, from_="2026-11-26", interval="day")) == day
    assert ends(asked(now=moment, to="2026-11-26")) == day


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({}, "2026-11-25T17", "2026-11-26T18"),
        ({"to": "2026-11-20"}, "2026-11-20T00", "2026-11-21T00"),
        ({"to": "2026-11-20T12:00:00Z"}, "2026-11-19T12", "2026-11-20T12"),
        ({"from_": "2026-11-26"}, "2026-11-26T00", "2026-11-26T18"),
        ({"from_": "2026-11-26T16:59:59Z", "to": "2026-11-26T17:00:00Z"}, "2026-11-26T16", "2026-11-26T17"),
        ({"from_": "2026-11-26T16:00:00Z", "to": "2026-11-26T17:00:00.001Z"}, "2026-11-26T16", "2026-11-26T18"),
        ({"from_": "2026-11-26T16:00:00.5Z", "to": "2026-11-26T16:00:00.6Z"}, "2026-11-26T16", "2026-11-26T17"),
        ({"from_": "2026-11-26t16:00:00z", "to": "2026-11-26T17:00:00+00:00"}, "2026-11-26T16", "2026-11-26T17"),
        ({"from_": "2026-11-26T16:00:00-00:00", "to": "2026-11-26"}, "2026-11-26T16", "2026-11-27T00"),
        ({"from_": "2026-11-26T17:21:09Z"}, "2026-11-26T17", "2026-11-26T18"),
        ({"from_": "2026-11-26T12:00:00Z", "to": "2999-01-01T00:00:00Z"}, "2026-11-26T12", "2026-11-26T18"),
    ],
)
def test_a_time_is_an_instant(query: dict[str, Any], first: str, last: str) -> None:
    """The end is exclusive and at most now, and the range covers whole hours."""
    assert ends(asked(**query)) == (f"{first}:00:00Z", f"{last}:00:00Z")


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-11-26", "2026-11-25", "must not be after `to`"),
        ("2026-11-26T12:00:00Z", "2026-11-25", "must not be after `to`"),
        ("2026-11-26", "2026-11-25T23:59:59Z", "must not be after `to`"),
        ("2026-11-26T12:00:00Z", "2026-11-26T11:59:59Z", "must not be after `to`"),
        ("2026-11-26T12:00:00Z", "2026-11-26T12:00:00Z", "is empty"),
        ("2026-11-26", "2026-11-26T00:00:00Z", "is empty"),
        ("2026-11-27T00:00:00Z", "2026-11-26", "in the future"),
        ("2026-11-27", "2026-11-27", "in the future"),
        ("2026-11-26T17:21:10Z", "2026-11-26", "in the future"),
        ("2026-08-27", "2026-11-26", "Counts are kept for 90 days"),
    ],
)
def test_a_range_without_a_moment_is_rejected(start: str, end: str, words: str) -> None:
    """The error names `from` and says why the range is empty."""
    with pytest.raises(errors.InvalidRequest, match=words) as caught:
        asked(from_=start, to=end, interval="day")
    assert caught.value.members["member"] == "from"


@pytest.mark.parametrize("interval", ["hour", "day"])
@pytest.mark.parametrize(
    ("zone", "date", "first", "hours"),
    [
        ("Europe/Berlin", "2026-11-20", "2026-11-19T23", 24),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22", 25),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04", 25),
        ("America/New_York", "2026-03-08", "2026-03-08T05", 23),
        ("Pacific/Kiritimati", "2026-11-20", "2026-11-19T10", 24),
        ("Australia/Lord_Howe", "2026-11-20", "2026-11-19T13", 24),
    ],
)
def test_a_date_is_a_day_of_the_zone(interval: str, zone: str, date: str, first: str, hours: int) -> None:
    """A date with `tz` is that day in the zone, also when the clocks change."""
    now = datetime.fromisoformat(date).replace(tzinfo=UTC) + timedelta(days=3)
    found = asked(now=now, from_=date, to=date, interval=interval, tz=zone)
    assert ends(found)[0] == f"{first}:00:00Z"
    assert found.end - found.start == hours * 3600
    assert len(found.starts) == (hours if interval == "hour" else 1)
    assert ends(asked(now=now, to=date, interval=interval, tz=zone)) == ends(found)


def test_days_begin_at_midnight_of_the_zone_on_both_sides_of_a_change() -> None:
    """Each day of a series begins at its own midnight."""
    found = asked(from_="2026-10-24", to="2026-10-26", interval="day", tz="Europe/Berlin")
    assert [rfc3339(start) for start in found.starts] == [
        "2026-10-23T22:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    ]
    assert ends(found)[1] == "2026-10-26T23:00:00Z"


def test_today_is_that_of_the_zone() -> None:
    """Today ends at midnight of the zone, and a default range of days covers it."""
    evening = NOW.replace(hour=20)
    assert ends(asked(now=evening, from_="2026-11-27", interval="day", tz="Asia/Tokyo")) == (
        "2026-11-26T15:00:00Z",
        "2026-11-27T15:00:00Z",
    )
    with pytest.raises(errors.InvalidRequest, match="in the future"):
        asked(now=evening, from_="2026-11-27", interval="day")


@pytest.mark.parametrize(
    ("zone", "date", "offset"),
    [
        ("Asia/Kolkata", "2026-11-20", "+05:30"),
        ("Australia/Lord_Howe", "2026-09-10", "+10:30"),
    ],
)
def test_a_zone_without_whole_hours_is_rejected_with_the_reason(zone: str, date: str, offset: str) -> None:
    """The error names the offset in the range."""
    with pytest.raises(errors.InvalidRequest, match="whole number of hours") as caught:
        asked(from_=date, to=date, tz=zone)
    assert caught.value.members["member"] == "tz"
    assert offset in str(caught.value)


def test_an_offset_may_become_odd_within_the_range() -> None:
    """A range is rejected too when only its end has no whole hours."""
    april = datetime(2026, 4, 10, tzinfo=UTC)
    zone: dict[str, Any] = {"interval": "day", "tz": "Australia/Lord_Howe"}
    assert len(asked(now=april, from_="2026-04-01", to="2026-04-04", **zone).starts) == 4
    with pytest.raises(errors.InvalidRequest, match=r"\+10:30 from UTC in the range"):
        asked(now=april, from_="2026-04-01", to="2026-04-06", **zone)


def test_the_oldest_day_of_a_zone_begins_with_the_oldest_counts() -> None:
    """The error names the first midnight of the zone from which all counts are kept."""
    with pytest.raises(errors.InvalidRequest) as caught:
        asked(from_="2026-08-28", interval="day", tz="Europe/Berlin")
    assert caught.value.members["oldest"] == "2026-08-28T22:00:00Z"
    assert ends(asked(from_="2026-08-28T22:00:00Z", interval="day", tz="Europe/Berlin"))[0] == "2026-08-28T22:00:00Z"


@pytest.mark.parametrize(("retention_days", "kept"), [(1, "24 hours"), (2, "2 days")])
def test_the_error_says_how_long_counts_are_kept(retention_days: int, kept: str) -> None:
    """The duration is in words, also for the shortest retention."""
    with pytest.raises(errors.InvalidRequest, match=f"Counts are kept for {kept}\\. "):
        asked(from_="2026-11-01", retention_days=retention_days)


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"]
)
@pytest.mark.parametrize("interval", ["hour", "day"])
@pytest.mark.parametrize("query", [{}, {"to": "2030-01-01T00:00:00Z"}, {"to": "2026-11-26"}])
def test_a_range_without_a_start_is_kept_however_short_the_retention(
    query: dict[str, str], interval: str, zone: str
) -> None:
    """A range up to now, or of today, is answered at every hour of the day."""
    for hour in range(24):
        now = NOW.replace(hour=hour)
        found = asked(now=now, retention_days=1, interval=interval, tz=zone, **query)
        assert found.start <= now.timestamp()
        assert found.start >= datetime(2026, 11, 25, tzinfo=UTC).timestamp()


def test_a_past_day_without_a_start_is_not_shortened() -> None:
    """The day before an old `to` is rejected when a part of it is no longer kept."""
    with pytest.raises(errors.InvalidRequest, match="Counts are kept for 90 days") as caught:
        asked(to="2026-08-28T12:00:00Z")
    assert caught.value.members == {"member": "to", "oldest": "2026-08-28T00:00:00Z"}


@pytest.mark.parametrize("text", ["2026-02-30", "2026-11-26T24:00:00Z", "2026-11-26T23:59:60Z", "0000-01-01", ""])
def test_a_moment_that_does_not_exist_is_rejected(text: str) -> None:
    """An invalid date or time is rejected in every Python version."""
    with pytest.raises(errors.InvalidRequest, match="whole day"):
        asked(from_=text)
    with pytest.raises(errors.InvalidRequest, match="whole day"):
        asked(to=text)


def test_a_month_by_hour_is_the_longest() -> None:
    """31 whole days by hour are answered, and 32 are rejected."""
    assert len(asked(from_="2026-10-27", to="2026-11-26").starts) == 31 * 24
    with pytest.raises(errors.InvalidRequest, match="at most 744 hours"):
        asked(from_="2026-10-26", to="2026-11-26")
