"""Maintenance jobs: one per kind at a time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from bionewsbot.backend.problems import Problem
from bionewsbot.backend.storage import keys
from bionewsbot.backend.storage.rows import Row, by_id, insert_if_absent, new_id, one
from bionewsbot.backend.storage.tables import maintenance_jobs as jobs

OPERATION = "maintenance"
UNFINISHED = ("queued", "running")


def start(
    connection: Connection, body: Mapping[str, Any], key: str | None, now: datetime
) -> tuple[Row, bool]:
    """Return the job and whether it is to run: a new one, or one that failed and may run again.

    A call for what is under way already gets that job. Raises Problem: 409 where another job of
    the kind is under way, 422 and 410 for keys as elsewhere.
    """
    job_id = new_id()
    stored_id = keys.claim(connection, OPERATION, key, dict(body), job_id, now)
    if stored_id is not None:
        return _again(connection, stored_id)
    row = {
        **body,
        "id": job_id,
        "attempt": 1,
        "status": "queued",
        "created_at": now,
        "started_at": None,
        "finished_at": None,
        "result": None,
        "error": None,
    }
    while not insert_if_absent(connection, jobs, row):
        running = _running(connection, body["kind"])
        if running is not None:
            return _shared(connection, running, body, key), False
    return row, True


def _shared(connection: Connection, running: Row, body: Mapping[str, Any], key: str | None) -> Row:
    if any(running[name] != value for name, value in body.items()):
        raise _busy(running)
    keys.assign(connection, OPERATION, key, running["id"])
    return running


def begin(connection: Connection, job_id: str, now: datetime) -> Row:
    """Mark a job as running and return it."""
    taken = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(status="running", started_at=now)
        .returning(*jobs.c)
    )
    return dict(taken.mappings().one())


def finish(connection: Connection, job_id: str, outcome: Mapping[str, Any]) -> None:
    """Store a job's outcome."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**outcome))


def interrupt(connection: Connection, now: datetime) -> int:
    """Fail, retryably, the jobs that an earlier backend process left unfinished; count them."""
    failed = connection.execute(
        update(jobs)
        .where(jobs.c.status.in_(UNFINISHED))
        .values(
            status="failed",
            finished_at=now,
            error={
                "code": "interrupted",
                "message": "the backend was restarted before the job's end; start it again",
                "retryable": True,
            },
        )
        .returning(jobs.c.id)
    )
    return len(failed.all())


def _again(connection: Connection, job_id: str) -> tuple[Row, bool]:
    stored = by_id(connection, jobs, job_id, lock=True)
    if stored is None:
        raise keys.gone(OPERATION, job_id)
    if stored["status"] != "failed" or not stored["error"]["retryable"]:
        return stored, False
    running = _running(connection, stored["kind"])
    if running is not None:
        raise _busy(running)
    again = {
        "status": "queued",
        "attempt": stored["attempt"] + 1,
        "started_at": None,
        "finished_at": None,
        "error": None,
    }
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**again))
    return {**stored, **again}, True


def _running(connection: Connection, kind: str) -> Row | None:
    return one(connection, select(jobs).where(jobs.c.kind == kind, jobs.c.status.in_(UNFINISHED)))


def _busy(running: Row) -> Problem:
    return Problem(
        409,
        f"A {running['kind']} job is under way ({running['id']}, with other parameters); wait for "
        "its end, then start this one",
        kind="job-under-way",
        more={"running": running["id"]},
    )
