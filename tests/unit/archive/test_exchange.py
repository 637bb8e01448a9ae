"""Records move between backend and archive, through deaths at every step."""

import gzip
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.archive_stage import COLLECTION, NOW, Stage, mine
from support.shelves import BEGAN, Death, Fate, record

from bionewsbot.archive.archive import Archive
from bionewsbot.archive.exchange import Moved, restore
from bionewsbot.archive.parts import Part
from bionewsbot.archive.storage import Storage
from bionewsbot.errors import (
    ArchiveCorrupt,
    ArchiveExists,
    BackendRefused,
    RetryableError,
)


def test_what_is_old_moves_and_nothing_else(tmp_path: Path) -> None:
    """In parts of bounded size, each with its count, range and sum."""
    stage = Stage(tmp_path, 10)
    moved = stage.hand_over(7)
    assert (moved.records, moved.parts) == (7, 2)
    first, second = stage.archive.parts(COLLECTION)
    assert (first.number, first.records, first.oldest) == (1, 4, BEGAN)
    assert (second.records, second.newest) == (3, BEGAN + timedelta(hours=6))
    assert {first.state, second.state} == {"kept"}
    assert first.size + second.size == moved.bytes
    assert list(stage.shelf.records) == ["i000007", "i000008", "i000009"]
    stage.assert_each_once()


def test_with_nothing_old_nothing_is_written(tmp_path: Path) -> None:
    """No part, no file, no temporary file."""
    stage = Stage(tmp_path, 3)
    assert stage.hand_over(0) == Moved()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_same_records_make_the_same_object(tmp_path: Path) -> None:
    """Byte by byte: there is no clock and no name in it."""
    sums = []
    for name in ("a", "b"):
        stage = Stage(tmp_path / name, 3)
        stage.hand_over(3)
        sums.append(stage.archive.parts(COLLECTION)[0].sha256)
    assert sums[0] == sums[1]


def test_restore_gives_back_what_was_archived(tmp_path: Path) -> None:
    """Field by field; the part stays on record without its object."""
    stage = Stage(tmp_path, 6)
    stage.hand_over(6)
    for part in stage.archive.parts(COLLECTION):
        answer = restore(stage.client, stage.archive, part, still_mine=mine, now=lambda: NOW)
        assert (answer.records, answer.conflicts) == (part.records, ())
    assert stage.shelf.records == stage.all
    assert [part.state for part in stage.archive.parts(COLLECTION)] == ["restored", "restored"]
    assert not list(tmp_path.rglob("*.gz"))


def test_what_finds_its_place_taken_stays_archived(tmp_path: Path) -> None:
    """In a part of its own; the backend's record is left alone, also when it is tried again."""
    stage = Stage(tmp_path, 4)
    stage.hand_over(4)
    newer = record(2, title="newer")
    stage.shelf.records[newer["id"]] = newer
    (part,) = stage.archive.parts(COLLECTION)
    answer = restore(stage.client, stage.archive, part, still_mine=mine, now=lambda: NOW)
    assert [conflict.id for conflict in answer.conflicts] == [newer["id"]]
    assert answer.kept_in is not None and answer.kept_in.replaces == part.number
    assert stage.archived() == [record(2)]
    assert stage.shelf.records[newer["id"]] == newer


def test_what_the_backend_refuses_stays_archived_alone(tmp_path: Path) -> None:
    """A record whose company is gone doesn't keep the others of its batch from coming back."""
    stage = Stage(tmp_path, 4)
    stage.hand_over(4)
    stage.shelf.refused = {record(1)["id"]}
    (part,) = stage.archive.parts(COLLECTION)
    answer = restore(stage.client, stage.archive, part, still_mine=mine, now=lambda: NOW)
    assert [(one.id, one.reason) for one in answer.conflicts] == [(record(1)["id"], "no company")]
    assert stage.archived() == [record(1)]
    stage.assert_each_once()


def test_a_backend_that_refuses_all_calls_changes_nothing(tmp_path: Path) -> None:
    """A wrong key is no conflict of records: the restore ends, and the next one goes on."""
    stage = Stage(tmp_path, 2)
    stage.hand_over(2)
    stage.shelf.refused, stage.shelf.status = {record(0)["id"]}, 401
    (part,) = stage.archive.parts(COLLECTION)
    with pytest.raises(BackendRefused):
        restore(stage.client, stage.archive, part, still_mine=mine, now=lambda: NOW)
    assert len(stage.archived()) == 2
    stage.shelf.refused = set()
    stage.go_on()
    assert stage.shelf.records == stage.all


def test_a_part_that_is_corrupt_deletes_nothing(tmp_path: Path) -> None:
    """A hand-over that died half way doesn't go on with an object that has changed."""
    stage = Stage(tmp_path, 3)
    stage.hand_over(3)
    (tmp_path / COLLECTION / "00000001.kept").unlink()
    stage.shelf.records = dict(stage.all)
    (path,) = tmp_path.rglob("*.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveCorrupt, match=path.name):
        stage.hand_over(3)
    assert stage.shelf.records == stage.all


def test_a_part_whose_records_are_others_deletes_nothing(tmp_path: Path) -> None:
    """However well formed and however many: only its sum in the manifest tells."""
    stage = Stage(tmp_path, 3)
    stage.hand_over(3)
    (tmp_path / COLLECTION / "00000001.kept").unlink()
    stage.shelf.records = dict(stage.all)
    (path,) = tmp_path.rglob("*.gz")
    path.write_bytes(
        gzip.compress(gzip.decompress(path.read_bytes()).replace(b"i000001", b"i009999"))
    )
    with pytest.raises(ArchiveCorrupt, match="its content is not what its manifest says"):
        stage.hand_over(3)
    assert stage.shelf.records == stage.all


def test_a_manifest_that_is_corrupt_is_told_by_place(tmp_path: Path) -> None:
    """File and field, and what mends it."""
    stage = Stage(tmp_path, 3)
    stage.hand_over(3)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "records": 0}))
    with pytest.raises(ArchiveCorrupt, match="00000001.json: records: .*backup"):
        stage.archive.parts(COLLECTION)


def test_a_writer_whose_number_was_taken_begins_anew(tmp_path: Path) -> None:
    """One that was frozen while another wrote and deleted the same records adds no part."""
    stage = Stage(tmp_path, 4)

    def frozen() -> Any:
        for number, one in enumerate(stage.shelf.export(COLLECTION, before=NOW)):
            if number == 1:
                stage.hand_over(4)
            yield one

    with pytest.raises(ArchiveExists):
        stage.archive.write(COLLECTION, frozen(), written_by="late", now=NOW)
    stage.assert_each_once()


def test_who_lost_the_lock_stops_before_the_next_step(tmp_path: Path) -> None:
    """Whatever the step is: nothing is lost, and the next call finishes it."""
    for step in range(30):
        stage = Stage(tmp_path / str(step), 6)
        fate = Fate(step)

        def lost(fate: Fate = fate) -> None:
            try:
                fate.step()
            except Death as error:
                raise RetryableError("another one is at it") from error

        try:
            stage.hand_over(6, still_mine=lost)
        except RetryableError:
            stage.hand_over(6)
        stage.assert_each_once()
        assert not stage.shelf.records


def test_a_part_of_the_same_name_in_another_archive_is_another_one(tmp_path: Path) -> None:
    """What was archived, restored and archived at a new place can be restored from there too."""
    stage = Stage(tmp_path / "old", 3)
    stage.hand_over(3)
    stage.restore_one()
    stage.archive = Archive(Storage(str(tmp_path / "new")))
    stage.hand_over(3, now=lambda: NOW + timedelta(days=1))
    assert stage.shelf.records == {}
    stage.assert_each_once()
    stage.restore_one()
    assert stage.shelf.records == stage.all


def test_an_archive_from_a_backup_gives_up_nothing(tmp_path: Path) -> None:
    """A part that the backup has and that was restored since: what isn't back stays archived."""
    stage = Stage(tmp_path / "archive", 3)
    stage.hand_over(3)
    shutil.copytree(tmp_path / "archive", tmp_path / "backup")
    stage.restore_one()
    stage.hand_over(3)  # into a part that is lost with the archive's disk
    stage.archive = Archive(Storage(str(tmp_path / "backup")))
    stage.restore_one()
    assert (stage.shelf.records, len(stage.archived())) == ({}, 3)
    stage.restore_one()
    assert stage.shelf.records == stage.all


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_through_deaths_at_any_step_each_record_is_held_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Hand-overs and restores die anywhere and are run again: each record stands in one place."""
    stage = Stage(tmp_path_factory.mktemp("archive"), data.draw(st.integers(0, 12)))
    steps = st.lists(
        st.tuples(st.sampled_from(["hand over", "restore"]), st.integers(0, 40)), max_size=6
    )
    for what, at in data.draw(steps):
        stage.fate.left = at
        try:
            if what == "hand over":
                stage.hand_over(data.draw(st.integers(0, 13)))
            else:
                stage.restore_one()
        except Death:
            pass
        stage.fate.left = None
        # Through a death it may stand in both places, and never in none.
        held = {one["id"] for one in stage.archived()} | stage.shelf.records.keys()
        assert held == stage.all.keys()
    stage.go_on()
    stage.assert_each_once()
    for part in stage.archive.parts(COLLECTION):
        if part.state != "restored":
            stage.archive.verify(part)


@pytest.mark.parametrize("taken", [False, True])
def test_a_restore_that_dies_at_any_step_is_finished(tmp_path: Path, taken: bool) -> None:
    """By the next call, once; what finds its place taken is in one part in the end."""
    deaths = 0
    for step in range(30):
        stage = Stage(tmp_path / str(step), 3)
        stage.hand_over(3)
        newer = record(1, title="newer")
        if taken:
            stage.shelf.records[newer["id"]] = newer
        stage.fate.left = step
        try:
            stage.restore_one()
        except Death:
            deaths += 1
        stage.fate.left = None
        stage.go_on()
        if any(part.state == "kept" and not part.replaces for part in _counting(stage)):
            continue  # it died before the part was marked: nothing has happened
        assert stage.archived() == ([record(1)] if taken else [])
        assert stage.shelf.records == (stage.all | ({newer["id"]: newer} if taken else {}))
    assert 5 < deaths < 30


def _counting(stage: Stage) -> list[Part]:
    return [part for part in stage.archive.parts(COLLECTION) if part.state != "restored"]


def test_what_writers_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    """Temporary files and objects without a manifest; what counts is left alone."""
    stage = Stage(tmp_path, 3)
    stage.hand_over(3)
    for name in (f".{'a' * 32}.tmp", "00000009-0123456789abcdef.jsonl.gz"):
        (tmp_path / COLLECTION / name).write_bytes(b"left")
    assert stage.archive.sweep(COLLECTION, datetime.now(UTC) - timedelta(days=1)) == 0
    assert stage.archive.sweep(COLLECTION, datetime.now(UTC) + timedelta(days=1)) == 2
    assert len(stage.archived()) == 3


def test_what_is_not_ours_is_never_swept(tmp_path: Path) -> None:
    """Notes, backups, other programs' temporary files."""
    stage = Stage(tmp_path, 3)
    stage.hand_over(3)
    for name in ("README.txt", ".abc.tmp", "00000001.json.bak", "00000009.jsonl.gz"):
        (tmp_path / COLLECTION / name).write_bytes(b"mine")
    files = sorted(tmp_path.rglob("*.*"))
    assert stage.archive.sweep(COLLECTION, datetime.now(UTC) + timedelta(days=1)) == 0
    assert sorted(tmp_path.rglob("*.*")) == files


def test_a_part_whose_manifest_is_lost_keeps_its_object(tmp_path: Path) -> None:
    """It is the only copy; nor does the next part take its number, and with it its mark."""
    stage = Stage(tmp_path, 8)
    stage.hand_over(4)
    manifest = tmp_path / COLLECTION / "00000001.json"
    content = manifest.read_bytes()
    manifest.unlink()
    assert stage.hand_over(8).records == 4
    assert not stage.shelf.records
    assert stage.archive.sweep(COLLECTION, datetime.now(UTC) + timedelta(days=1)) == 0
    lost, kept = stage.archive.survey(COLLECTION).values()
    assert isinstance(lost, ArchiveCorrupt) and "00000001.json: manifest missing; " in str(lost)
    assert isinstance(kept, Part) and kept.number == 2
    manifest.write_bytes(content)
    stage.assert_each_once()


def test_collections_are_those_that_can_be_archived(tmp_path: Path) -> None:
    """Whatever else lies at the location is nobody's business."""
    (tmp_path / "photos").mkdir()
    stage = Stage(tmp_path, 1)
    stage.hand_over(1)
    assert Archive(Storage(str(tmp_path))).collections() == [COLLECTION]
