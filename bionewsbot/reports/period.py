"""The period of a weekly report: an ISO week on the clocks of a zone."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEK = timedelta(days=7)
"""Of the calendar; where the clocks change in it, its hours are more or fewer than 168."""

_NAME = re.compile(r"([0-9]{4})-W([0-9]{2})")


@dataclass(frozen=True)
class Week:
    """One ISO week (ISO 8601): Monday to Sunday, in the year that holds its Thursday."""

    monday: date
    timezone: str = "UTC"
    """IANA name of the zone on whose clocks it begins and ends."""

    @classmethod
    def before(cls, moment: datetime, timezone: str = "UTC") -> "Week":
        """Return the last whole week that was over at `moment`, an aware time.

        Raises zoneinfo.ZoneInfoNotFoundError or ValueError for an unknown zone.
        """
        day = moment.astimezone(ZoneInfo(timezone)).date()
        return cls(day - timedelta(days=day.weekday()) - WEEK, timezone)

    @classmethod
    def parse(cls, name: str, timezone: str = "UTC") -> "Week":
        """Read a name such as `2026-W48`. Raises ValueError."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is not an ISO week such as 2026-W48")
        return cls(date.fromisocalendar(int(match[1]), int(match[2]), 1), timezone)

    @property
    def name(self) -> str:
        """The week's name, such as `2026-W48`."""
        year, number, _ = self.monday.isocalendar()
        return f"{year:04}-W{number:02}"

    @property
    def start(self) -> datetime:
        """Monday, 00:00 on the zone's clocks, in UTC."""
        midnight = datetime.combine(self.monday, time(), ZoneInfo(self.timezone))
        return midnight.astimezone(UTC)

    @property
    def end(self) -> datetime:
        """The start of the next week, which is that one's."""
        return self.next.start

    @property
    def previous(self) -> "Week":
        """The week before."""
        return Week(self.monday - WEEK, self.timezone)

    @property
    def next(self) -> "Week":
        """The week after."""
        return Week(self.monday + WEEK, self.timezone)
