"""The arguments of the command line: limits, and times relative to now."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from service.commands import argument_types, time_range

NUMBERS = (
    (argument_types.seconds, ["1", "1.5", "9999"], ["0.9", "0", "9999.1", "10000", "-1", "1e3", "nan", ""]),
    (argument_types.whole(1000, 1_000_000), ["1000", "1000000"], ["999", "1000001", "-1000", "1e5", ""]),
    (argument_types.whole(1, 3600), ["1", "0002", "3600"], ["0", "3601", "-1", "1.0", "٣", ""]),
)


@pytest.mark.parametrize(
    ("convert", "argument"), [(convert, argument) for convert, valid, _ in NUMBERS for argument in valid]
)
def test_numbers_within_the_limits_are_taken(convert: Callable[[str], float], argument: str) -> None:
    """The limits themselves are valid."""
    assert convert(argument) == float(argument)


@pytest.mark.parametrize(
    ("convert", "argument"), [(convert, argument) for convert, _, invalid in NUMBERS for argument in invalid]
)
def test_other_numbers_are_rejected(convert: Callable[[str], float], argument: str) -> None:
    """Numbers beyond the limits and other notations are errors with the limits."""
    with pytest.raises(ArgumentTypeError, match="number"):
        convert(argument)


@pytest.mark.parametrize(
    ("age", "length"),
    [("1h", timedelta(hours=1)), ("7d", timedelta(days=7)), ("0d", timedelta()), ("9999h", timedelta(hours=9999))],
)
def test_an_age_is_a_time_before_now(age: str, length: timedelta) -> None:
    """An age in hours or days becomes a time in UTC, rounded down to the second."""
    assert argument_types.time(age) == age
    before = datetime.now(UTC).replace(microsecond=0)
    moment = time_range.api_time(age)
    after = datetime.now(UTC)
    assert moment is not None
    assert moment.endswith("Z")
    assert before - length <= datetime.fromisoformat(moment) <= after - length


@pytest.mark.parametrize("argument", [None, "2026-01-31", "2026-01-31T18:00:00Z"])
def test_dates_and_times_are_sent_as_they_are(argument: str | None) -> None:
    """The service reads dates and times."""
    assert time_range.api_time(argument) == argument


@pytest.mark.parametrize("argument", ["", "7", "d", "7D", "7w", "10000h", "-7d", " 7d", "yesterday", "31.1.2026"])
def test_strings_that_are_no_time_are_rejected(argument: str) -> None:
    """The error has an example of each form."""
    with pytest.raises(ArgumentTypeError, match=r"2026-01-31T18:00:00Z, .* 2026-01-31, .* 24h or 7d"):
        argument_types.time(argument)
