"""What a source of facts is: the company asked about, the window looked at, the records found."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Protocol


@dataclass(frozen=True)
class Company:
    """A company as the sources know it; `cik` is the SEC's ten-digit number."""

    id: str
    name: str
    ticker: str
    cik: str | None
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """The time that an analysis looks at, in UTC: start < occurred <= end."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Raise ValueError for a window without time zones or one that ends before it starts."""
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"window {self.start} to {self.end}: give both times a time zone")
        if self.start >= self.end:
            raise ValueError(f"window {self.start} to {self.end}: the start must be before the end")


@dataclass(frozen=True)
class Record:
    """One public fact: its kind, its day, what it says, and where the public record of it is."""

    id: str
    kind: str
    occurred_on: date
    facts: Mapping[str, str]
    url: str
    source: str


@dataclass(frozen=True)
class Fetched:
    """What a source found in a window, and the instant up to which the source knows the world."""

    records: tuple[Record, ...]
    as_of: datetime


class SourceError(Exception):
    """A source could not say what happened; the message names the place and the mend."""


class Source(Protocol):
    """Anything that can be asked for the records of a company in a window."""

    name: str

    def fetch(self, company: Company, window: Window) -> Fetched:
        """Return the company's records in the window, oldest first; raise SourceError."""


def end_of_day(day: date) -> datetime:
    """Return the last second of a day, UTC: the instant that stands for a fact with only a date.

    Not its first second, because a window that ends in mid-day must not know what came later.
    """
    return datetime.combine(day, time(23, 59, 59), tzinfo=UTC)
