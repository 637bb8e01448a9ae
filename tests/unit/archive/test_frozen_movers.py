"""Movers of records that are frozen, lose their lock, and go on when others are done."""

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from support.archive_stage import Stage
from support.shelves import Fate, MortalStorage, record

from bionewsbot.archive.archive import Archive
from bionewsbot.errors import ArchiveExists, ArchiveUnavailable, NotYet

RECORDS = 3


class Frost(Fate):
    """Freezes whoever takes a step, between the check of the lock and what the step does."""

    def __init__(self) -> None:
        super().__init__()
        self.thawed = False
        self._meanwhile: Callable[[], object] = list

    def strike(self, at: int, meanwhile: Callable[[], object]) -> None:
        """Freeze whoever takes this step from now; `meanwhile` is what others do then."""
        self.left, self._meanwhile = at, meanwhile

    def step(self) -> None:
        """Take one step, if need be once the others are done."""
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            self._meanwhile()
            self.thawed = True

    def still_mine(self) -> None:
        """Say to whoever was frozen that the lock is another one's."""
        if self.thawed:
            raise NotYet("another one is at it")


class ListedStorage(MortalStorage):
    """Storage where a step lies before each listing, too."""

    def names(self, folder: str) -> list[str]:
        """As the storage does."""
        self._death.step()
        return super().names(folder)


class Scene(Stage):
    """Records, an archive, and two who move them."""

    def __init__(self, folder: Path) -> None:
        self.frost = Frost()
        super().__init__(folder, RECORDS, self.frost)
        self.archive = Archive(ListedStorage(folder, self.frost))

    def act(self, what: str, still_mine: Callable[[], None] = lambda: None) -> None:
        """Hand all records over, restore the first part, or change a record at the backend."""
        if what == "change":
            if "i000001" in self.shelf.records:
                self.all["i000001"] = record(1, updated_at="2026-05-31T00:00:00Z")
                self.shelf.records["i000001"] = self.all["i000001"]
        elif what == "hand over":
            self.hand_over(RECORDS, still_mine=still_mine)
        else:
            self.restore_one(still_mine=still_mine)

    def freeze(self, what: str, step: int, others: tuple[str, ...]) -> bool:
        """Have it done, frozen at a step while others work; false where it has fewer steps."""
        self.frost.strike(step, lambda: [self.act(other) for other in others])
        with suppress(NotYet, ArchiveExists, ArchiveUnavailable):
            self.act(what, self.frost.still_mine)
        self.frost.left = None
        return self.frost.thawed


@pytest.fixture(autouse=True)
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here, and hundreds of flushes to the disk take half a minute."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize(
    ("mover", "others"),
    [
        ("hand over", ("hand over",)),
        ("hand over", ("hand over", "restore")),
        ("hand over", ("hand over", "restore", "hand over")),
        ("hand over", ("change",)),
        ("hand over", ("change", "hand over")),
        ("hand over", ("change", "hand over", "restore")),
        ("restore", ("restore",)),
        ("restore", ("restore", "hand over")),
        ("restore", ("hand over",)),
    ],
)
def test_frozen_at_any_step_it_undoes_nothing(
    tmp_path: Path, mover: str, others: tuple[str, ...]
) -> None:
    """Whatever others did meanwhile, each record is held once; at the latest by the next call."""
    for step in count():
        scene = Scene(tmp_path / str(step))
        if mover == "restore":
            scene.act("hand over")
        if not scene.freeze(mover, step, others):
            break
        held = {one["id"] for one in scene.archived()} | scene.shelf.records.keys()
        assert held == scene.all.keys(), step
        scene.go_on()
        scene.assert_each_once()
        for part in scene.archive.parts("insights"):
            if part.state != "restored":
                scene.archive.verify(part)
    assert step > 10


def test_frozen_at_any_step_a_restore_keeps_what_stays_out_once(tmp_path: Path) -> None:
    """What has another record in its place stays in one part, though two restores kept it."""
    newer = record(1, title="newer")
    for step in count():
        scene = Scene(tmp_path / str(step))
        scene.act("hand over")
        scene.shelf.records[newer["id"]] = newer
        if not scene.freeze("restore", step, ("restore",)):
            break
        scene.go_on()
        assert scene.archived() == [record(1)], step
        assert scene.shelf.records == scene.all | {newer["id"]: newer}
    assert step > 10
