"""Records that change at the backend between their export and their delete."""

from collections.abc import Callable
from pathlib import Path

from support.archive_stage import COLLECTION, Stage
from support.shelves import Death, record

LATER = "2026-05-31T00:00:00Z"


def changing(stage: Stage, folder: Path) -> Callable[[], None]:
    """Return a check of the lock at which somebody changes a record once it is archived."""

    def change() -> None:
        if "i000001" in stage.shelf.records and (folder / COLLECTION / "00000001.json").exists():
            stage.all["i000001"] = record(1, updated_at=LATER, title="closed")
            stage.shelf.records["i000001"] = stage.all["i000001"]

    return change


def test_a_change_is_archived_with_its_record(tmp_path: Path) -> None:
    """In a later part; the one that held the record as it was is replaced by one without it."""
    stage = Stage(tmp_path, 4)
    moved = stage.hand_over(4, still_mine=changing(stage, tmp_path))
    assert (moved.records, moved.parts) == (4, 2)
    first, second, third = stage.archive.parts(COLLECTION)
    assert (first.state, second.replaces, second.state) == ("restored", first.number, "kept")
    assert (second.records, third.records, third.state) == (3, 1, "kept")
    assert not stage.shelf.records
    stage.assert_each_once()


def test_through_a_death_at_any_step_a_change_is_kept(tmp_path: Path) -> None:
    """The next call goes on, and archives the record as it is then, once."""
    deaths = 0
    for step in range(40):
        folder = tmp_path / str(step)
        stage = Stage(folder, 4)
        stage.fate.left = step
        try:
            stage.hand_over(4, still_mine=changing(stage, folder))
        except Death:
            deaths += 1
        stage.fate.left = None
        stage.hand_over(4)
        assert not stage.shelf.records
        stage.assert_each_once()
    assert 10 < deaths < 40


def test_what_changes_all_the_time_stays_at_the_backend(tmp_path: Path) -> None:
    """The call ends, and the next one tries again."""
    stage = Stage(tmp_path, 4)
    changes = iter(range(1000))

    def change() -> None:
        if "i000001" in stage.shelf.records:
            stage.all["i000001"] = record(1, updated_at=f"{LATER}+{next(changes)}")
            stage.shelf.records["i000001"] = stage.all["i000001"]

    assert stage.hand_over(4, still_mine=change).records == 3
    assert list(stage.shelf.records) == ["i000001"]
    stage.assert_each_once()
    assert stage.hand_over(4).records == 1


def test_restore_of_a_part_half_handed_over_keeps_a_change(tmp_path: Path) -> None:
    """What was never deleted stays as it is; all else comes back."""
    stage = Stage(tmp_path, 4)
    stage.hand_over(4)
    (tmp_path / COLLECTION / "00000001.kept").unlink()
    stage.all["i000001"] = stage.shelf.records["i000001"] = record(1, updated_at=LATER)
    stage.restore_one()
    assert stage.shelf.records == stage.all
    assert stage.archived() == []
