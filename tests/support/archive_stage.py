"""A shelf of records, an archive, and whoever moves records between the two."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from support.shelves import BEGAN, Fate, MortalStorage, Shelf, record

from bionewsbot.api.client import BackendClient
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.exchange import Moved, go_on, hand_over, restore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COLLECTION = "insights"


def mine() -> None:
    """Nobody else moves records."""


class Stage:
    """A shelf, an archive, and what tests do with them."""

    def __init__(self, folder: Path, count: int, fate: Fate | None = None) -> None:
        self.fate = fate or Fate()
        self.shelf = Shelf([record(number) for number in range(count)], self.fate)
        self.client = cast(BackendClient, self.shelf)
        self.archive = Archive(MortalStorage(folder, self.fate))
        self.all = dict(self.shelf.records)

    def hand_over(self, hours: int, **options: Any) -> Moved:
        """Hand over what is older than so many hours after the first."""
        return hand_over(
            self.client,
            self.archive,
            COLLECTION,
            before=BEGAN + timedelta(hours=hours),
            written_by="data_cleanup@2026-06-01T03:00:00Z",
            **{"still_mine": mine, "now": lambda: NOW, "part_records": 4, **options},
        )

    def restore_one(self, **options: Any) -> None:
        """Restore the first part that isn't restored yet, if there is one."""
        for part in self.archive.parts(COLLECTION):
            if part.state != "restored":
                calls = {"still_mine": mine, "now": lambda: NOW, **options}
                restore(self.client, self.archive, part, **calls)
                return

    def go_on(self) -> Moved:
        """Finish what died or lost its lock."""
        return go_on(self.client, self.archive, COLLECTION, still_mine=mine, now=lambda: NOW)

    def archived(self) -> list[dict[str, Any]]:
        """Return all that the archive alone answers for."""
        parts = self.archive.parts(COLLECTION)
        return [
            one for part in parts if part.state != "restored" for one in self.archive.records(part)
        ]

    def assert_each_once(self) -> None:
        """Archive and backend together hold every record once, and as it was."""
        ids = [one["id"] for one in self.archived()] + list(self.shelf.records)
        assert sorted(ids) == sorted(self.all)
        assert {one["id"]: one for one in self.archived()} | self.shelf.records == self.all
