"""Analyses: started once per key, run, ended once per attempt."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from bionewsbot.backend.storage import keys
from bionewsbot.backend.storage.paging import Page, Paging, fetch_page
from bionewsbot.backend.storage.rows import (
    Row,
    between,
    by_id,
    matching,
    new_id,
    require_company,
)
from bionewsbot.backend.storage.tables import analyses

OPERATION = "analyses"
UNFINISHED = ("queued", "running")
ENDED = ("succeeded", "partial", "failed")

_NOTHING_FOUND: dict[str, Any] = {
    "started_at": None,
    "finished_at": None,
    "sources": [],
    "findings": [],
    "significant": False,
    "risk": None,
    "error": None,
}


def start(connection: Connection, body: Mapping[str, Any], key: str, now: datetime) -> Row:
    """Return the key's analysis: a new one, the one there is, or a failed one queued once more.

    `body` has `company_id`, `type` and `scheduled_for` (a datetime). Raises Problem: 404 for an
    unknown company, 422 for a key used with another body, 410 for a deleted analysis.
    """
    analysis_id = new_id()
    said = {**body, "scheduled_for": body["scheduled_for"].isoformat()}
    stored_id = keys.claim(connection, OPERATION, key, said, analysis_id, now)
    if stored_id is None:
        require_company(connection, body["company_id"])
        row = {
            **_NOTHING_FOUND,
            **body,
            "id": analysis_id,
            "attempt": 1,
            "status": "queued",
            "created_at": now,
        }
        connection.execute(insert(analyses).values(**row))
        return row
    stored = by_id(connection, analyses, stored_id, lock=True)
    if stored is None:
        raise keys.gone(OPERATION, stored_id)
    if stored["status"] == "failed" and stored["error"]["retryable"]:
        again = {**_NOTHING_FOUND, "status": "queued", "attempt": stored["attempt"] + 1}
        connection.execute(update(analyses).where(analyses.c.id == stored_id).values(**again))
        stored |= again
    return stored


def claim(connection: Connection, analysis_id: str, attempt: int, now: datetime) -> Row | None:
    """Mark an attempt as running and return the analysis; None where the attempt is over.

    One that a backend left running when it ended is taken up too.
    """
    taken = connection.execute(
        update(analyses)
        .where(_attempt(analysis_id, attempt))
        .values(status="running", started_at=now)
        .returning(*analyses.c)
    )
    row = taken.mappings().one_or_none()
    return dict(row) if row is not None else None


def finish(
    connection: Connection, analysis_id: str, attempt: int, outcome: Mapping[str, Any]
) -> bool:
    """Store an attempt's outcome, once; False where it has ended already."""
    done = connection.execute(
        update(analyses)
        .where(_attempt(analysis_id, attempt))
        .values(**outcome)
        .returning(analyses.c.id)
    )
    return done.one_or_none() is not None


def unfinished(connection: Connection) -> list[tuple[str, int]]:
    """Return id and attempt of what is queued or running, the oldest first."""
    query = (
        select(analyses.c.id, analyses.c.attempt)
        .where(analyses.c.status.in_(UNFINISHED))
        .order_by(analyses.c.created_at, analyses.c.id)
    )
    return [(row.id, row.attempt) for row in connection.execute(query)]


def page(
    connection: Connection,
    paging: Paging,
    *,
    company_id: str | None,
    status: str | None,
    since: datetime | None,
    before: datetime | None,
) -> Page:
    """Return analyses by the time that they were scheduled for, the newest first."""
    query = select(analyses).where(
        *matching(analyses, company_id=company_id, status=status),
        *between(analyses.c.scheduled_for, since, before),
    )
    return fetch_page(connection, query, [analyses.c.scheduled_for, analyses.c.id], paging)


def _attempt(analysis_id: str, attempt: int) -> Any:
    return (
        (analyses.c.id == analysis_id)
        & (analyses.c.attempt == attempt)
        & analyses.c.status.in_(UNFINISHED)
    )
