"""Records move between a real backend on both databases and an archive, through deaths.

Beside tests/unit/archive/test_exchange.py, where a model stands for the backend.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.backend_app import RunningBackend
from support.old_records import MAKE, Depot, Record
from support.shelves import Death, Fate, MortalStorage

from bionewsbot.api.client import BackendClient
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.exchange import go_on, hand_over, restore

BEGAN = datetime.fromisoformat("2024-02-28T23:00:00Z")
"""An hour before a leap day."""

HOUR = timedelta(hours=1)


class MortalClient(BackendClient):
    """A client whose process may die before or after each call that changes something."""

    fate = Fate()

    def export(self, collection: str, *, before: datetime) -> Iterator[Record]:
        """As the client does."""
        for record in super().export(collection, before=before):
            self.fate.step()
            yield record

    def delete_exported(self, *args: Any, **options: Any) -> Any:
        """As the client does."""
        self.fate.step()
        answer = super().delete_exported(*args, **options)
        self.fate.step()
        return answer

    def import_records(self, *args: Any, **options: Any) -> Any:
        """As the client does."""
        self.fate.step()
        answer = super().import_records(*args, **options)
        self.fate.step()
        return answer


class Exchange:
    """A backend that holds so many records of a collection, an hour apart, and a new archive."""

    def __init__(self, url: str, folder: Path, collection: str, count: int) -> None:
        self.collection = collection
        # Ids of its own, since the backend knows the keys of the examples before.
        name = uuid4().hex
        self.records = [
            {**MAKE[collection](number, BEGAN + HOUR * number), "id": f"{name}-{number}"}
            for number in range(count)
        ]
        self.depot = Depot(url, folder)
        self.fate = Fate()
        self._client = MortalClient(url, timeout=30)
        self._client.fate = self.fate
        self._archive = Archive(MortalStorage(folder, self.fate))
        self._empty()
        self.depot.put(collection, self.records)

    def hand_over(self, hours: int) -> None:
        """Archive what is older than so many hours after the first, three records a part."""
        hand_over(
            self._client,
            self._archive,
            self.collection,
            before=BEGAN + HOUR * hours,
            written_by="tests",
            still_mine=_mine,
            part_records=3,
        )

    def restore(self) -> None:
        """Restore the first part that is archived."""
        for part in self._archive.parts(self.collection):
            if part.state != "restored":
                restore(self._client, self._archive, part, still_mine=_mine)
                return

    def go_on(self) -> None:
        """Finish what died half way."""
        go_on(self._client, self._archive, self.collection, still_mine=_mine)

    def close(self) -> None:
        """Close the connections."""
        self.depot.close()
        self._client.close()

    def _empty(self) -> None:
        records = self.depot.stored(self.collection)
        if records:
            key = f"empty/{uuid4()}"
            self.depot.client.delete_exported(self.collection, records, idempotency_key=key)


def _mine() -> None:
    """Nobody else moves records."""


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["hand over", "restore"]), st.integers(0, 9), st.integers(0, 60)),
    min_size=1,
    max_size=5,
)
"""What is done, for records up to which age, and after how many steps it dies."""


@pytest.mark.timeout(300)
@given(collection=st.sampled_from(sorted(MAKE)), count=st.integers(1, 8), operations=OPERATIONS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_through_deaths_at_any_step_each_record_is_held_once(
    backend: RunningBackend,
    tmp_path_factory: pytest.TempPathFactory,
    collection: str,
    count: int,
    operations: list[tuple[str, int, int]],
) -> None:
    """Field by field; and at no instant in neither."""
    exchange = Exchange(backend.url, tmp_path_factory.mktemp("archive"), collection, count)
    for what, hours, steps in operations:
        exchange.fate.left = steps
        try:
            exchange.hand_over(hours) if what == "hand over" else exchange.restore()
        except Death:
            pass
        exchange.fate.left = None
        exchange.depot.holds_all(collection, exchange.records)
    exchange.go_on()
    exchange.depot.holds_each_once(collection, exchange.records)
    exchange.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("collection", sorted(MAKE))
def test_restore_gives_back_what_was_archived(
    backend: RunningBackend, tmp_path: Path, collection: str
) -> None:
    """All of it, field by field, whatever the collection."""
    exchange = Exchange(backend.url, tmp_path, collection, 7)
    exchange.hand_over(9)
    assert exchange.depot.stored(collection) == []
    for _ in range(3):
        exchange.restore()
    assert exchange.depot.stored(collection) == exchange.records
    assert list(exchange.depot.archived(collection)) == []
    exchange.close()
