"""A backend's records in memory, handed over as the contract says, and storage that dies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bionewsbot.api.models import Conflict, Deleted, Imported
from bionewsbot.api.paging import PAGE_SIZE
from bionewsbot.archive.storage import Storage
from bionewsbot.errors import BackendRefused

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Record = dict[str, Any]


class Death(BaseException):
    """The process ends here: no handler runs but those that tidy up in memory."""


class Fate:
    """Counts steps and dies at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.left = at

    def step(self) -> None:
        """Take one step, if it isn't the last."""
        if self.left is None:
            return
        if self.left == 0:
            self.left = None
            raise Death
        self.left -= 1


def record(number: int, **fields: Any) -> Record:
    """Return an insight that is `number` hours younger than the first."""
    at = BEGAN + timedelta(hours=number)
    return {
        "id": f"i{number:06}",
        "created_at": at.isoformat().replace("+00:00", "Z"),
        "updated_at": at.isoformat().replace("+00:00", "Z"),
        "title": f"Größe {number}",
        **fields,
    }


class Shelf:
    """One collection at a backend, with the calls that the archive makes."""

    def __init__(self, records: Sequence[Record], death: Fate) -> None:
        self.records = {one["id"]: one for one in records}
        self.refused: set[str] = set()
        self.status = 404
        self._used: set[str] = set()
        self._death = death

    def export(self, collection: str, *, before: datetime) -> Iterator[Record]:
        """Yield what is older, the oldest first; pages are stable."""
        assert collection == "insights"
        assert before.tzinfo is not None
        for one in sorted(self.records.values(), key=lambda one: (one["created_at"], one["id"])):
            self._death.step()
            if datetime.fromisoformat(one["created_at"]) < before:
                yield dict(one)

    def delete_exported(
        self, collection: str, records: Sequence[Mapping[str, Any]], *, idempotency_key: str
    ) -> Deleted:
        """Delete those that haven't changed, as a whole, unless the key was used before."""
        assert collection == "insights"
        assert 0 < len(records) <= PAGE_SIZE
        self._death.step()
        known = records if idempotency_key not in self._used else ()
        self._used.add(idempotency_key)
        gone = [one["id"] for one in known if self._is_as_it_was(one)]
        for one in gone:
            del self.records[one]
        left = self.records.keys() & {one["id"] for one in records}
        absent = {one["id"] for one in records} - left - set(gone)
        self._death.step()
        return Deleted(deleted=tuple(gone), left=tuple(left), absent=tuple(absent))

    def _is_as_it_was(self, one: Mapping[str, Any]) -> bool:
        there = self.records.get(one["id"])
        return there is not None and there["updated_at"] == one["updated_at"]

    def import_records(
        self, collection: str, records: Sequence[Mapping[str, Any]], *, idempotency_key: str
    ) -> Imported:
        """Put these back, unless the key was used before; what is there stays.

        Refuses all of them where one is `refused`.
        """
        assert collection == "insights"
        assert 0 < len(records) <= PAGE_SIZE
        if self.refused & {one["id"] for one in records}:
            raise BackendRefused("no company", status=self.status)
        self._death.step()
        again = idempotency_key in self._used
        self._used.add(idempotency_key)
        imported = unchanged = 0
        conflicts = []
        for one in records:
            there = self.records.get(one["id"])
            if there is None and again:
                conflicts.append(Conflict(id=one["id"], reason="it has gone since"))
            elif there is None:
                self.records[one["id"]] = dict(one)
                imported += 1
            elif there == one:
                unchanged += 1
            else:
                conflicts.append(Conflict(id=one["id"], reason="the stored one differs"))
        self._death.step()
        return Imported(imported=imported, unchanged=unchanged, conflicts=tuple(conflicts))


class MortalStorage(Storage):
    """Storage in a folder, where the process may die before or after each change."""

    def __init__(self, folder: Path, death: Fate) -> None:
        super().__init__(str(folder))
        self._death = death

    def _dying(self, act: Callable[..., Any], *args: Any) -> Any:
        self._death.step()
        answer = act(*args)
        self._death.step()
        return answer

    def rename(self, name: str, new: str) -> None:
        """As the storage does."""
        self._dying(super().rename, name, new)

    def create(self, name: str, content: bytes) -> None:
        """As the storage does."""
        self._dying(super().create, name, content)

    def remove(self, name: str) -> None:
        """As the storage does."""
        self._dying(super().remove, name)
