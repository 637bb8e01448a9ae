"""Maintenance: each kind does what the database offers, as a job, one per kind at a time."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from support.backend_app import RunningBackend, StartBackend, insight
from support.polling import PATIENCE, wait_until

from bionewsbot.backend.storage.database import Database
from bionewsbot.backend.storage.upkeep import carry_out
from bionewsbot.backend.storage.upkeep.plan import TABLES, Result, Upkeep


def run(backend: RunningBackend, kind: str, **body: Any) -> Any:
    """Start a job and return it when it has ended well."""
    answer = backend.post("maintenance", {"kind": kind, **body})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/api/v1/maintenance/{answer.json()['id']}"
    job = backend.get(f"maintenance/{answer.json()['id']}", wait=25)
    assert job["status"] == "succeeded", job["error"]
    return job["result"]


def rows(backend: RunningBackend, sql: str) -> list[Any]:
    """Return the rows of a query that the test makes beside the backend."""
    with backend.database.read() as connection:
        return list(connection.execute(text(sql)))


def test_analyze_renews_statistics(backend: RunningBackend) -> None:
    """After ANALYZE the planner knows the tables; a dry run leaves them unknown."""
    backend.post("insights", insight())
    known = (
        "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'insights'"
        if backend.database.is_sqlite
        else "SELECT count(*) FROM pg_stats WHERE tablename = 'insights'"
    )
    assert run(backend, "analyze", dry_run=True) == {"tables": list(TABLES)}
    if backend.database.is_sqlite:
        assert rows(backend, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'") == []
    else:
        assert rows(backend, known)[0][0] == 0
    assert run(backend, "analyze", params={"tables": ["insights"]}) == {"tables": ["insights"]}
    assert rows(backend, known)[0][0] > 0


def test_reindex_builds_indexes_anew(backend: RunningBackend) -> None:
    """REINDEX names the indexes; on PostgreSQL their files are new ones after it."""
    files = (
        "SELECT relfilenode FROM pg_class WHERE relname = 'ix_insights_created_at_id'"
        if not backend.database.is_sqlite
        else "SELECT 1"
    )
    before = rows(backend, files)
    dry = run(backend, "reindex", params={"tables": ["insights"]}, dry_run=True)
    assert "ix_insights_created_at_id" in dry["indexes"]
    assert rows(backend, files) == before
    assert run(backend, "reindex", params={"tables": ["insights"]}) == dry
    if not backend.database.is_sqlite:
        assert rows(backend, files) != before


def test_reindex_drops_what_a_broken_one_left(backend: RunningBackend) -> None:
    """An invalid copy that a broken-off REINDEX CONCURRENTLY left is dropped (PostgreSQL)."""
    if backend.database.is_sqlite:
        assert "dropped" not in run(backend, "reindex")
        return
    with backend.database.write() as connection:
        connection.execute(text("CREATE INDEX ix_alerts_state_ccnew ON alerts (state)"))
        connection.execute(
            text(
                "UPDATE pg_index SET indisvalid = false "
                "WHERE indexrelid = 'ix_alerts_state_ccnew'::regclass"
            )
        )
    left = "SELECT 1 FROM pg_class WHERE relname = 'ix_alerts_state_ccnew'"
    assert run(backend, "reindex", dry_run=True)["dropped"] == ["ix_alerts_state_ccnew"]
    assert len(rows(backend, left)) == 1
    assert run(backend, "reindex")["dropped"] == ["ix_alerts_state_ccnew"]
    assert rows(backend, left) == []


def test_statistics_count_rows_and_bytes(backend: RunningBackend) -> None:
    """Every table with its rows, bytes and indexes, and the whole database's size."""
    for number in range(5):
        backend.post("insights", insight(number))

    def counted() -> Any:
        run(backend, "analyze")
        return run(backend, "statistics")

    # PostgreSQL adds what a session inserted up to some seconds later, also to what an ANALYZE has
    # counted in between: only the next one mends that.
    found = wait_until(
        lambda: next(
            (
                result
                for result in [counted()]
                if {table["name"]: table["rows"] for table in result["tables"]}["insights"] == 5
            ),
            None,
        ),
        "five insights are counted",
    )
    assert [table["name"] for table in found["tables"]] == list(TABLES)
    insights = next(table for table in found["tables"] if table["name"] == "insights")
    assert insights["bytes"] > 0
    assert insights["index_bytes"] == sum(index["bytes"] for index in insights["indexes"]) > 0
    assert found["database_bytes"] > insights["bytes"]
    if not backend.database.is_sqlite:
        assert insights["last_analyzed"].endswith("Z")


def test_statistics_estimate_what_an_index_wastes(backend: RunningBackend) -> None:
    """Little in a new one, most of it where nine of ten rows went, little once built anew."""
    if backend.database.is_sqlite:
        assert "bloat_bytes" not in str(run(backend, "statistics"))
        return

    def bloat() -> float | None:
        run(backend, "analyze", params={"tables": ["idempotency_keys"]})
        (table,) = run(backend, "statistics", params={"tables": ["idempotency_keys"]})["tables"]
        (index,) = [one for one in table["indexes"] if one["name"].startswith("pk_")]
        assert index["valid"] is True
        wasted = index["bloat_bytes"]
        return None if wasted is None else wasted / index["bytes"]

    assert bloat() is None
    with backend.database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO idempotency_keys (operation, key, body_hash, resource_id, created_at) "
                "SELECT 'tests', lpad(n::text, 40, '0'), '', '', now() "
                "FROM generate_series(1, 30000) n"
            )
        )
    fresh = bloat()
    assert fresh is not None and fresh < 0.15
    with backend.database.write() as connection:
        connection.execute(text("DELETE FROM idempotency_keys WHERE right(key, 1) <> '0'"))
    run(backend, "vacuum", params={"tables": ["idempotency_keys"]})
    emptied = bloat()
    assert emptied is not None and emptied > 0.7
    run(backend, "reindex", params={"tables": ["idempotency_keys"]})
    renewed = bloat()
    assert renewed is not None and renewed < 0.15


def test_vacuum_frees_space(backend: RunningBackend) -> None:
    """What deleted rows held is free or given back afterwards; a dry run only looks."""
    ids = [
        backend.post("insights", insight(number, description="x" * 50_000)).json()["id"]
        for number in range(40)
    ]
    backend.post("export/insights/delete", {"ids": ids})
    dry = run(backend, "vacuum", dry_run=True)
    assert dry["after"] is None
    done = run(backend, "vacuum")
    if backend.database.is_sqlite:
        assert dry["before"]["free_bytes"] > 1_000_000
        assert done["before"] == dry["before"] | done["before"]
        assert done["after"]["free_bytes"] == 0
        assert done["after"]["database_bytes"] < done["before"]["database_bytes"] / 2
    else:
        table = next(each for each in done["after"]["tables"] if each["name"] == "insights")
        assert table["dead_rows"] == 0
        assert rows(backend, "SELECT 1 FROM pg_stat_user_tables WHERE vacuum_count > 0")


def test_orphans_are_removed(backend: RunningBackend) -> None:
    """Rows without their company and what is past its age go; what is needed stays."""
    backend.add_company("MRNA")
    backend.post("insights", insight(1, company_id="MRNA"), "old")
    backend.post("insights", insight(2), "old-too")
    backend.clock.advance(days=90)
    backend.post("insights", insight(3), "young")
    # As a tool would that doesn't enforce foreign keys.
    with backend.database.without_transaction() as connection:
        if backend.database.is_sqlite:
            connection.execute(text("PRAGMA foreign_keys=OFF"))
        else:
            connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text("DELETE FROM companies WHERE id = 'MRNA'"))
        if backend.database.is_sqlite:
            connection.execute(text("PRAGMA foreign_keys=ON"))
        else:
            connection.execute(text("RESET session_replication_role"))
    expected = {
        "alerts": 0,
        "analyses": 0,
        "insights": 1,
        "risk_history": 0,
        "idempotency_keys": 2,
        "maintenance_jobs": 0,
    }
    assert run(backend, "orphans", dry_run=True) == {"orphans": expected, "total": 3}
    assert len(rows(backend, "SELECT 1 FROM insights")) == 3
    assert run(backend, "orphans") == {"orphans": expected, "total": 3}
    assert len(rows(backend, "SELECT 1 FROM insights")) == 2
    assert [row.key for row in rows(backend, "SELECT key FROM idempotency_keys")] == ["young"]


def test_one_per_kind_at_a_time(backend: RunningBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a job runs, the same request gets that job, another of its kind a 409."""
    gate = threading.Event()
    began = threading.Event()

    def held(*_: Any) -> dict[str, Any]:
        began.set()
        assert gate.wait(PATIENCE)
        return {}

    monkeypatch.setattr("bionewsbot.backend.maintenance.carry_out", held)
    first = backend.post("maintenance", {"kind": "analyze"}, "a").json()
    assert began.wait(PATIENCE)
    same = backend.post("maintenance", {"kind": "analyze"}, "b")
    assert (same.status_code, same.json()["id"]) == (202, first["id"])
    other = backend.post("maintenance", {"kind": "analyze", "dry_run": True}, "c")
    assert other.status_code == 409
    assert other.json()["running"] == first["id"]
    assert other.json()["retryable"] is False
    queued = backend.post("maintenance", {"kind": "vacuum"}).json()
    assert queued["status"] == "queued"
    gate.set()
    assert backend.get(f"maintenance/{first['id']}", wait=20)["status"] == "succeeded"
    assert backend.get(f"maintenance/{queued['id']}", wait=20)["status"] == "succeeded"
    # Keys stand for the job that they got; a refused one is free.
    assert backend.post("maintenance", {"kind": "analyze"}, "b").json()["id"] == first["id"]
    free = backend.post("maintenance", {"kind": "analyze", "dry_run": True}, "c")
    assert free.json()["id"] not in (first["id"], queued["id"])


def test_failed_job_says_why_and_runs_again(
    backend: RunningBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that stays locked fails the job, retryably; its key starts it once more."""
    database = backend.database
    body = {"kind": "analyze", "params": {"tables": ["insights"], "lock_timeout": 0.2}}

    def locked(kind: str, upkeep: Upkeep) -> Result:
        with database.write() as connection:
            if database.is_sqlite:
                # A second Database stands for another process: it has a lock of its own.
                url = database._url.render_as_string(hide_password=False)
                other = Database(url)
                try:
                    return carry_out(kind, replace(upkeep, database=other))
                finally:
                    other.close()
            connection.execute(text("LOCK TABLE insights IN ACCESS EXCLUSIVE MODE"))
            return carry_out(kind, upkeep)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("bionewsbot.backend.storage.database.BUSY_TIMEOUT", 0.2)
        meanwhile.setattr("bionewsbot.backend.maintenance.carry_out", locked)
        failed = backend.post("maintenance", body, "k").json()
        ended = backend.get(f"maintenance/{failed['id']}", wait=20)
    assert ended["status"] == "failed"
    assert ended["error"]["retryable"] is True
    assert "lock" in ended["error"]["message"]
    again = backend.post("maintenance", body, "k").json()
    assert (again["id"], again["attempt"]) == (failed["id"], 2)
    assert backend.get(f"maintenance/{failed['id']}", wait=20)["status"] == "succeeded"


def test_interrupted_job_fails_retryably(start_backend: StartBackend) -> None:
    """What a process left unfinished is failed at the next start, and can be started again."""
    backend = start_backend()
    job = run(backend, "statistics")
    assert job["tables"]
    with backend.database.write() as connection:
        connection.execute(text("UPDATE maintenance_jobs SET status = 'running'"))
    (left,) = rows(backend, "SELECT id FROM maintenance_jobs")
    following = start_backend()
    failed = following.get(f"maintenance/{left.id}")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "interrupted")
    assert failed["error"]["retryable"] is True


def test_unknown_kinds_and_tables_are_refused(backend: RunningBackend) -> None:
    """A wrong kind, table or parameter is refused, and the answer lists the tables."""
    for body in (
        {"kind": "defragment"},
        {"kind": "analyze", "params": {"tables": ["pg_class"]}},
        {"kind": "analyze", "params": {"force": True}},
    ):
        answer = backend.post("maintenance", body)
        assert answer.status_code == 422, body
    answer = backend.post("maintenance", {"kind": "analyze", "params": {"tables": ["x"]}})
    assert "insights" in answer.json()["detail"]
