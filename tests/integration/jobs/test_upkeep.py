"""Database optimisation, with a real worker, a real Redis and both databases."""

import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path

import psycopg
import pytest
from support.ledgers import new_run
from support.old_records import Depot, insight_at
from support.polling import wait_until
from support.stack import Stack

from bionewsbot.archive.parts import TIME_FIELDS
from bionewsbot.names import HOURLY_QUICK_SCAN
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import JOB, Address, Item, Message, Occurrence, parse_time

pytestmark = pytest.mark.timeout(300)

SUNDAY = "2026-01-18T02:00:00Z"
STEPS = {"analyze", "reindex", "vacuum"}


def items(stack: Stack, run_id: str) -> dict[str, Item]:
    """Return the run's steps by name."""
    return {item.target: item for item in stack.targets(run_id)}


def test_an_empty_database_is_kept_as_it_is(stack: Stack, database_url: str) -> None:
    """Its statistics are renewed, nothing else is worth doing, and the totals say so."""
    stack.backend(database_url)
    stack.worker(RETRY_CAP_SECONDS="1")
    run = stack.wait_for_end(stack.start_run("database_optimisation", SUNDAY), seconds=120)
    assert (run.status, run.targets) == ("succeeded", 3)
    ends = {name: item.ended_at or 0 for name, item in items(stack, run.run_id).items()}
    assert sorted(ends, key=ends.__getitem__) == ["analyze", "reindex", "vacuum"]
    assert run.totals["analyze_tables"] > len(TIME_FIELDS)
    assert (run.totals["reindex_tables"], run.totals["vacuum_tables"]) == (0, 0)
    size = run.totals["vacuum_database_bytes_before"]
    assert size > 0
    said = stack.celery("runs", "show", run.run_id).stdout
    assert f"{size:,} -> " in " ".join(said.split())


def test_what_is_full_of_dead_rows_is_vacuumed(stack: Stack, database_url: str) -> None:
    """With the sizes before and after in the run's totals."""
    stack.backend(database_url)
    depot = Depot(stack.api, stack.folder / "archive")
    at = parse_time(SUNDAY)
    rows = [insight_at(number, at, description="x" * 5_000) for number in range(500)]
    depot.put("insights", rows)
    is_sqlite = database_url.startswith("sqlite")
    if not is_sqlite:
        with psycopg.connect(database_url, autocommit=True) as connection:
            # Else PostgreSQL's own vacuum might come first.
            connection.execute("ALTER TABLE insights SET (autovacuum_enabled = false)")
    depot.client.delete_exported("insights", rows[:400], idempotency_key="gone")
    depot.close()
    if not is_sqlite:
        with psycopg.connect(database_url, autocommit=True) as connection:
            dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'insights'"
            wait_until(
                lambda: connection.execute(dead).fetchone() == (400,), "PostgreSQL counts them"
            )
    stack.worker(RETRY_CAP_SECONDS="1")
    totals = stack.wait_for_end(
        stack.start_run("database_optimisation", SUNDAY), seconds=120
    ).totals
    if is_sqlite:
        assert totals["vacuum_free_bytes_before"] > 1_000_000
        assert totals["vacuum_free_bytes_after"] == 0
        assert totals["vacuum_database_bytes_after"] < totals["vacuum_database_bytes_before"] / 2
        assert totals["reindex_unknown"] > 10
    else:
        assert totals["vacuum_tables"] == 1
        assert totals["vacuum_dead_rows_before"] >= 400 > totals["vacuum_dead_rows_after"]


def test_a_step_that_fails_stops_no_other(
    stack: Stack, postgres_server: object, request: pytest.FixtureRequest
) -> None:
    """It leaves its dead letter, the run is partial, and a replay makes it good."""
    database_url = request.getfixturevalue("postgres_server").new_database()
    stack.backend(database_url)
    stack.worker(RETRY_CAP_SECONDS="1", RETRY_ATTEMPTS="1")
    with psycopg.connect(database_url) as connection:
        # Bars ANALYZE, VACUUM and REINDEX CONCURRENTLY, and nobody's reads or writes.
        connection.execute("LOCK TABLE insights IN SHARE UPDATE EXCLUSIVE MODE")
        run_id = stack.start_run("database_optimisation", SUNDAY)
        run = stack.wait_for_end(run_id, seconds=120)
    assert (run.status, run.done, run.failed) == ("partial", 2, 1)
    assert "lock timeout" in str(items(stack, run_id)["analyze"].error)
    (letter,) = stack.celery_json("dlq", "list")
    assert letter["target"] == "analyze"
    stack.celery("dlq", "replay", letter["id"])
    assert stack.wait_for_end(run_id, seconds=120).status == "succeeded"


def analysing(stack: Stack) -> tuple[Ledger, Address]:
    """Open a run of an analysis job and have it under way for as long as the test wants."""
    ledger = Ledger(stack.server.client(1), retention_days=1, lease_seconds=3600)
    occurrence = Occurrence("hourly_quick_scan", parse_time(SUNDAY))
    job = Message(JOB, HOURLY_QUICK_SCAN, "high", {})
    address = ledger.open(new_run(occurrence, job=job)).to_send
    assert address is not None
    ledger.sent([(address, "by hand")])
    ledger.begin(address, task_id="by hand", worker="nobody")
    return ledger, address


def test_each_step_lets_an_analysis_go_first(stack: Stack) -> None:
    """All three wait without using up attempts, and begin when it has ended."""
    stack.backend()
    ledger, analysis = analysing(stack)
    stack.worker(RETRY_CAP_SECONDS="1", RETRY_ATTEMPTS="1")
    run_id = stack.start_run("database_optimisation", SUNDAY)

    def all_wait() -> bool:
        found = items(stack, run_id)
        return found.keys() == STEPS and all(
            item.starts >= 2 and f"{analysis.run_id} is under way" in str(item.error)
            for item in found.values()
        )

    wait_until(all_wait, "each step has looked twice", seconds=60)
    ledger.finish(analysis, {})
    run = stack.wait_for_end(run_id, seconds=120)
    assert (run.status, run.failed) == ("succeeded", 0)
    ledger._redis.close()


def test_it_does_not_wait_for_ever(stack: Stack) -> None:
    """After DATABASE_WAIT_SECONDS a step goes on beside an analysis."""
    stack.backend()
    ledger, analysis = analysing(stack)
    stack.worker(RETRY_CAP_SECONDS="1", DATABASE_WAIT_SECONDS="1")
    run = stack.wait_for_end(stack.start_run("database_optimisation", SUNDAY), seconds=120)
    assert (run.status, run.failed) == ("succeeded", 0)
    assert ledger.get(analysis.run_id).status == "running"
    ledger._redis.close()


def vacuumed_and_held(path: Path) -> bool:
    """Whether SQLite has written the file anew and hasn't let go of its one writer's lock."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        if connection.execute("PRAGMA freelist_count").fetchone() != (0,):
            return False
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False


def held_up(stack: Stack, run_id: str) -> bool:
    """Whether the run's one company, which takes a tenth of a second, was begun a second ago."""
    return any(stack.ledger.now() - (one.begun_at or inf) > 1 for one in stack.targets(run_id))


def test_an_analysis_waits_for_no_more_than_a_step_of_sqlite(stack: Stack, depot: Depot) -> None:
    """What it reads comes at once, what it writes when the step is over, without a failure."""
    stack.backend()
    path = stack.folder / "backend.db"
    rows = [insight_at(number, parse_time(SUNDAY), description="x" * 5_000) for number in range(99)]
    depot.put("insights", rows)
    depot.client.delete_exported("insights", rows, idempotency_key="gone")
    stack.worker("low", "-Q", "low", DATABASE_WAIT_SECONDS="1")
    analyst = stack.worker("analyst", "-Q", "default,high", API_TIMEOUT="60")
    analyst.freeze()
    # A reader of what was there before: the vacuum's last statement waits for its end, up to 15 s.
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM companies").fetchone() == (1,)
        upkeep = stack.start_run("database_optimisation", SUNDAY)
        analysis = stack.start_run("daily_company_analysis")
        wait_until(lambda: vacuumed_and_held(path), "the vacuum holds the writer's lock")
        analyst.thaw()
        wait_until(lambda: held_up(stack, analysis), "an analysis has been at it for a second")
        assert (stack.get("analyses"), vacuumed_and_held(path)) == ([], True)
    run = stack.wait_for_end(analysis)
    assert (run.status, run.done) == ("succeeded", 1)
    assert [(item.starts, item.attempts) for item in stack.targets(analysis)] == [(1, ())]
    run = stack.wait_for_end(upkeep)
    assert (run.status, run.failed) == ("succeeded", 0)
