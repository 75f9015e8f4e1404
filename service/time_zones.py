"""Time zones, and the starts of their days.

Counts are kept by the hour of UTC. So days of a zone can be counted only while its
offset from UTC is a whole number of hours.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY = timedelta(days=1)
_HOUR_SECONDS = 3600
# The names of the tz database. Its folder has other files too, such as `leapseconds`
# and `posix/Europe/Berlin`.
_NAME = re.compile(r"(?=.{1,64}\Z)[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*){0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeZone:
    """A time zone by its name in the tz database."""

    name: str
    rules: tzinfo

    @classmethod
    def find(cls, name: str) -> "TimeZone | None":
        """Return the zone with a name, None when it is unknown.

        Reads the tz database of the machine, or the package `tzdata` where the machine
        has none. zoneinfo caches zones, so a zone is usually read once.
        """
        if name == UTC_ZONE.name:
            return UTC_ZONE
        if not _NAME.fullmatch(name):
            return None
        try:
            return cls(name, ZoneInfo(name))
        except (ZoneInfoNotFoundError, IsADirectoryError):  # `Europe` is a folder
            return None
        except ValueError:  # another file: macOS finds `leapseconds` as `Leapseconds`
            return None

    def day_of(self, moment: float) -> date:
        """Return the day that contains a time in seconds since the epoch."""
        return datetime.fromtimestamp(moment, self.rules).date()

    def start_of(self, day: date) -> int:
        """Return the first moment of a day, in seconds since the epoch.

        Where the clock skips midnight, that is the moment of the change.
        """
        return int(datetime(day.year, day.month, day.day, tzinfo=self.rules).timestamp())

    def starts(self, start: float, end: float) -> list[int]:
        """Return the starts of the days that cover a range, and their end."""
        day = self.day_of(start)
        found = [self.start_of(day)]
        while found[-1] < end:
            day += _DAY
            found.append(self.start_of(day))
        return found

    def odd_offset(self, start: float, end: float) -> str | None:
        """Return an offset within a range that is not a whole number of hours.

        None when all offsets are. The string is like `+05:30`.
        """
        for moment in self.starts(start, end):
            offset = datetime.fromtimestamp(moment, self.rules).utcoffset() or timedelta(0)
            if offset.total_seconds() % _HOUR_SECONDS:
                return str(timezone(offset)).removeprefix("UTC")
        return None


UTC_ZONE = TimeZone("UTC", UTC)
