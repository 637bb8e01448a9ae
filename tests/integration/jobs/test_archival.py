"""Data cleanup and report archival, with a real worker, a real Redis and both databases."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from support.movers import CUTOFF, LEAP_DAY, killed_in_step, release_locks, worker
from support.old_records import MAKE, Depot, around
from support.stack import Stack

pytestmark = pytest.mark.timeout(300)


def states(stack: Stack, run_id: str) -> dict[str, str]:
    """Return each target's state."""
    return {item.target: item.state for item in stack.targets(run_id)}


def test_what_is_old_is_archived_and_can_be_restored(
    stack: Stack, depot: Depot, database_url: str
) -> None:
    """By the occurrence's own time, over a leap day, exactly once; and back, field by field."""
    stack.backend(database_url)
    sizes = {"analyses": 3, "insights": 1200, "alerts": 501}
    records = {name: around(name, CUTOFF, old=count, young=2) for name, count in sizes.items()}
    for name, rows in records.items():
        depot.put(name, rows)
    stack.worker()
    run = stack.wait_for_end(stack.start_run("data_cleanup", LEAP_DAY), seconds=120)
    assert (run.status, run.targets, run.failed) == ("succeeded", 5, 0)
    assert run.totals["archived"] == sum(sizes.values())
    assert run.totals["archive_parts"] == 3
    for name, rows in records.items():
        assert len(depot.stored(name)) == 2
        depot.holds_each_once(name, rows)
    said = stack.celery("runs", "show", run.run_id).stdout
    assert "1,704 archived" in said and "3 archive parts" in said

    again = stack.wait_for_end(stack.start_run("data_cleanup", "2024-05-29T03:00:01Z"), seconds=120)
    assert (again.status, again.totals["archived"]) == ("succeeded", 3)
    parts = stack.celery_json("archive", "list")
    assert [part["records"] for part in parts] == [501, 1, 3, 1, 1200, 1]
    assert "6 of 6 parts are whole" in stack.celery("archive", "verify").stdout

    back = stack.celery_json("archive", "restore", "--collection", "insights")
    assert [part["restored"] for part in back["parts"]] == [1200, 1]
    assert {one["id"]: one for one in depot.stored("insights")} == {
        one["id"]: one for one in records["insights"]
    }
    assert list(depot.archived("insights")) == []


def test_reports_are_archived_by_an_age_of_their_own(
    stack: Stack, depot: Depot, database_url: str
) -> None:
    """REPORT_RETENTION_DAYS before the occurrence, here over the year's end."""
    stack.backend(database_url)
    cutoff = datetime.fromisoformat("2025-12-12T01:00:00Z")
    records = around("reports", cutoff, old=3, young=1)
    depot.put("reports", records)
    stack.worker("all", REPORT_RETENTION_DAYS="20")
    run = stack.wait_for_end(stack.start_run("report_archival", "2026-01-01T01:00:00Z"))
    assert (run.status, run.totals["archived"]) == ("succeeded", 3)
    depot.holds_each_once("reports", records)
    assert [one["id"] for one in depot.stored("reports")] == ["report-00000003"]


def test_an_empty_database_is_cleaned_too(stack: Stack, depot: Depot, database_url: str) -> None:
    """The run succeeds, says 0, and leaves no file."""
    stack.backend(database_url)
    stack.worker()
    for entry in ("data_cleanup", "report_archival"):
        run = stack.wait_for_end(stack.start_run(entry, LEAP_DAY), seconds=120)
        assert (run.status, run.totals["archived"]) == ("succeeded", 0)
    assert not list((stack.folder / "archive").rglob("*.*"))
    assert stack.celery_json("archive", "list") == []


@pytest.mark.parametrize(
    ("database_url", "step"),
    # `make chaos` has all steps on both.
    [("sqlite", "written"), ("postgresql", "half deleted")],
    indirect=["database_url"],
)
def test_killed_in_the_middle_of_a_step_it_goes_on(
    stack: Stack, depot: Depot, database_url: str, step: str
) -> None:
    """Another worker ends the run: backend and archive together hold each record once."""
    killed_in_step(stack, depot, database_url, step)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("bound_by_modes", "Permission denied; let this user or these keys write there"),
        ("full_disk", "No space left on device; free some space there"),
    ],
    ids=["no permission", "full disk"],
)
def test_an_archive_that_cant_be_written_deletes_nothing(
    stack: Stack, depot: Depot, trouble: str, told: str
) -> None:
    """The targets fail and say why and what mends it; the others of the run are done."""
    stack.backend()
    records = around("insights", CUTOFF, old=3, young=1)
    depot.put("insights", records)
    folder = stack.folder / "archive"
    folder.mkdir(mode=0o500 if trouble == "bound_by_modes" else 0o700)
    worker(stack, "all", trouble, RETRY_ATTEMPTS="2", RETRY_BASE_SECONDS="1")
    run_id = stack.start_run("data_cleanup", LEAP_DAY)
    run = stack.wait_for_end(run_id, seconds=120)
    assert (run.status, run.totals.get("archived", 0)) == ("partial", 0)
    assert states(stack, run_id)["insights"] == "failed"
    assert states(stack, run_id)["orphans"] == states(stack, run_id)["redis"] == "done"
    (item,) = [one for one in stack.targets(run_id) if one.target == "insights"]
    assert told in str(item.error)
    assert len(depot.stored("insights")) == len(records)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert "insights" in {letter["target"] for letter in stack.celery_json("dlq", "list")}


def test_a_part_that_was_damaged_deletes_nothing_more(stack: Stack, depot: Depot) -> None:
    """What a killed worker left is read whole before anything of it is deleted."""
    stack.backend()
    records = around("insights", CUTOFF, old=600, young=1)
    depot.put("insights", records)
    mortal = worker(stack, "mortal", DIES_AT="counted")
    run_id = stack.start_run("data_cleanup", LEAP_DAY)
    assert mortal.wait(90) == -9
    (path,) = Path(stack.folder, "archive", "insights").glob("*.gz")
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes(100))
    release_locks(stack)
    stack.worker("heir", RETRY_CAP_SECONDS="1")
    assert stack.wait_for_end(run_id, seconds=110).status == "partial"
    assert len(depot.stored("insights")) == len(records)
    (item,) = [one for one in stack.targets(run_id) if one.target == "insights"]
    assert "bring it back from a backup" in str(item.error)
    told = stack.celery("archive", "verify", "--json", code=3).stdout
    assert path.name in json.loads(told)[0]["error"]
    path.write_bytes(content)
    stack.celery("dlq", "replay", "--run", run_id)
    run = stack.wait_for_end(run_id, seconds=120)
    assert (run.status, len(depot.stored("insights"))) == ("succeeded", 1)
    depot.holds_each_once("insights", records)


def test_every_collection_can_be_made(depot: Depot) -> None:
    """The tests have records of each that can be archived."""
    from bionewsbot.archive.parts import TIME_FIELDS

    assert MAKE.keys() == TIME_FIELDS.keys()
