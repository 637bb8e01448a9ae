"""The source `replay`: public facts of January 2026 that are shipped with the package.

It answers from its files alone, never from the clock: the same company and window always give the
same records. `replay_data/README.md` describes the files and where their facts come from.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from bionewsbot.backend.sources.base import (
    Company,
    Fetched,
    Record,
    SourceError,
    Window,
    end_of_day,
)
from bionewsbot.backend.sources.replay_files import SOURCE_NAME, read_records

SHIPPED_DATA = Path(__file__).parent / "replay_data"


class Replay:
    """Replays shipped facts as if the data's last day were today."""

    def __init__(self, folder: Path = SHIPPED_DATA) -> None:
        """Take the folder of the data files; they are read at the first use."""
        self.name = SOURCE_NAME
        self._folder = folder

    @cached_property
    def _records(self) -> tuple[Record, ...]:
        return read_records(self._folder)

    @cached_property
    def _as_of(self) -> datetime:
        if not self._records:
            raise SourceError(
                f"{self._folder}: the replay data holds no record; reinstall the package"
            )
        return end_of_day(max(record.occurred_on for record in self._records))

    def fetch(self, company: Company, window: Window) -> Fetched:
        """Return the company's records in the window, oldest first.

        A window that ends after the data's last day is moved back as a whole to end with it.
        Raises SourceError, with file and line, where the data is missing or damaged.
        """
        as_of = self._as_of
        moved = window if window.end <= as_of else _moved_back(window, window.end - as_of)
        # A record says its as-of date itself, so that findings made of it are marked as replay.
        found = [
            record
            for record in self._records
            if moved.start < end_of_day(record.occurred_on) <= moved.end
            and _is_about(record, company)
        ]
        day = as_of.date().isoformat()
        marked = (replace(record, facts={**record.facts, "as_of": day}) for record in found)
        return Fetched(records=tuple(marked), as_of=as_of)


def _moved_back(window: Window, by: timedelta) -> Window:
    return Window(start=window.start - by, end=window.end - by)


def _is_about(record: Record, company: Company) -> bool:
    """Compare by CIK where both have one: tickers are handed on from company to company."""
    cik = record.facts.get("cik")
    if cik is not None and company.cik is not None:
        return cik == company.cik
    return record.facts["ticker"] == company.ticker
