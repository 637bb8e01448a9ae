"""The period of a weekly report: an ISO week, in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

WEEK = timedelta(days=7)

_NAME = re.compile(r"([0-9]{4})-W([0-9]{2})")


@dataclass(frozen=True)
class Week:
    """One ISO week (ISO 8601): Monday to Sunday, in the year that holds its Thursday."""

    monday: date

    @classmethod
    def before(cls, moment: datetime) -> "Week":
        """Return the last whole week that was over at `moment`, an aware time."""
        day = moment.astimezone(UTC).date()
        return cls(day - timedelta(days=day.weekday()) - WEEK)

    @classmethod
    def parse(cls, name: str) -> "Week":
        """Read a name such as `2026-W48`. Raises ValueError."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is not an ISO week such as 2026-W48")
        return cls(date.fromisocalendar(int(match[1]), int(match[2]), 1))

    @property
    def name(self) -> str:
        """The week's name, such as `2026-W48`."""
        year, number, _ = self.monday.isocalendar()
        return f"{year:04}-W{number:02}"

    @property
    def start(self) -> datetime:
        """Monday, 00:00 UTC."""
        return datetime.combine(self.monday, time(), UTC)

    @property
    def end(self) -> datetime:
        """The Monday after, 00:00 UTC, which is the next week's."""
        return self.start + WEEK

    @property
    def previous(self) -> "Week":
        """The week before."""
        return Week(self.monday - WEEK)
