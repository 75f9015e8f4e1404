"""Time zones: names, days and offsets."""

import os
import subprocess
import sys
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from service.time_zones import UTC_ZONE, TimeZone


def zone(name: str) -> TimeZone:
    found = TimeZone.find(name)
    assert found
    return found


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"])
def test_a_zone_is_found_by_its_name(name: str) -> None:
    """Names of the tz database are found."""
    assert zone(name).name == name


def test_utc_needs_no_database() -> None:
    """UTC is a constant, so a count without `tz` reads no file."""
    assert zone("UTC") is UTC_ZONE


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "Europe",
            "Europe/",
            "Europe/Berlin/x",
            "Mars/Olympus",
            "leapseconds",
            "tzdata.zi",
            "posix/Europe/Berlin",
        ),
        *("right/Europe/Berlin", "../../etc/passwd", "/etc/localtime", "Europe/../Europe/Berlin", "localtime"),
        *("Europe/Berlin\n", "Europe/Berl\u0131n", "A" * 65, "Europe/Berlin\0"),
    ],
)
def test_other_names_are_unknown(name: str) -> None:
    """A folder, another file or a path is no zone."""
    assert TimeZone.find(name) is None


def test_a_file_that_is_no_zone_is_unknown(tmp_path: Path) -> None:
    """On macOS, a client can name other files of the database by another case."""
    (tmp_path / "Leapseconds").write_text("# This file is in the public domain.")
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        assert TimeZone.find("Leapseconds") is None
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.parametrize(
    ("name", "day", "start"),
    [
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-28T23:00"),
        ("Europe/Berlin", date(2026, 3, 30), "2026-03-29T22:00"),
        ("America/New_York", date(2026, 11, 1), "2026-11-01T04:00"),
        ("America/New_York", date(2026, 11, 2), "2026-11-02T05:00"),
        # The clock skips midnight in Beirut, and passes it twice in Havana.
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-28T22:00"),
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00"),
    ],
)
def test_a_day_begins_at_its_first_moment(name: str, day: date, start: str) -> None:
    """The start of a day is its first moment, also when the clocks change."""
    moment = datetime.fromisoformat(f"{start}+00:00").timestamp()
    assert zone(name).start_of(day) == moment
    assert zone(name).day_of(moment) == day
    assert zone(name).day_of(moment - 1) == day - timedelta(days=1)


def test_days_cover_a_range() -> None:
    """The days of a range include that of its start, and then the end of the last."""
    berlin = zone("Europe/Berlin")
    noon = datetime(2026, 10, 25, 12, tzinfo=UTC).timestamp()
    edges = [datetime.fromtimestamp(start, UTC).isoformat() for start in berlin.starts(noon, noon + 1)]
    assert edges == ["2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00"]


def test_an_offset_matters_only_in_the_range() -> None:
    """Lord Howe has whole hours in summer and half hours in winter."""
    lord_howe = zone("Australia/Lord_Howe")
    summer, winter = (datetime(2026, month, 10, tzinfo=UTC).timestamp() for month in (1, 7))
    assert lord_howe.odd_offset(summer, summer + 86400) is None
    assert lord_howe.odd_offset(summer, winter) == "+10:30"
    assert zone("America/St_Johns").odd_offset(winter, winter) == "-02:30"


def test_a_machine_without_rules_uses_those_of_the_package() -> None:
    """Without a tz database, the rules come from the package `tzdata`."""
    pytest.importorskip("tzdata")
    script = "from service.time_zones import TimeZone; print(TimeZone.find('Europe/Berlin'), TimeZone.find('Europe'))"
    environment = {**os.environ, "PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "Europe/Berlin" in done.stdout
    assert done.stdout.endswith(" None\n")
