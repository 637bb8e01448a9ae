"""Hands old records over page by page, deletes what was taken, puts records back as they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, select, tuple_

from bionewsbot.backend.storage.analyses import ENDED
from bionewsbot.backend.storage.paging import Page, Paging, fetch_page
from bionewsbot.backend.storage.rows import Row, by_id, insert_if_absent, require_company
from bionewsbot.backend.storage.tables import alerts, analyses, insights, reports


@dataclass(frozen=True)
class Collection:
    """A table that can be archived; the times of how old a row is, and of its last change."""

    table: Table
    time: Column[datetime]
    changed: Column[datetime]


COLLECTIONS = {
    "analyses": Collection(analyses, analyses.c.scheduled_for, analyses.c.finished_at),
    "insights": Collection(insights, insights.c.created_at, insights.c.updated_at),
    "alerts": Collection(alerts, alerts.c.created_at, alerts.c.updated_at),
    "reports": Collection(reports, reports.c.created_at, reports.c.updated_at),
}


def export(connection: Connection, name: str, paging: Paging, before: datetime | None) -> Page:
    """Return records older than `before`, the oldest first; analyses only once they ended."""
    collection = COLLECTIONS[name]
    query = select(collection.table)
    if before is not None:
        query = query.where(collection.time < before)
    if name == "analyses":
        query = query.where(analyses.c.status.in_(ENDED))
    keys = [collection.time, collection.table.c.id]
    return fetch_page(connection, query, keys, paging, newest_first=False)


def remove(
    connection: Connection, name: str, ids: Sequence[str], last_changed: Mapping[str, datetime]
) -> list[str]:
    """Delete the records and return the ids of those that went.

    A record stays that changed at another time than `last_changed` gives for it, and an analysis
    that hasn't ended.
    """
    table, changed = COLLECTIONS[name].table, COLLECTIONS[name].changed
    # One statement: whoever changes a row meanwhile is waited for, and then the row stays.
    same = tuple_(table.c.id, changed).in_(list(last_changed.items()))
    query = delete(table).where(table.c.id.in_(ids), table.c.id.not_in(list(last_changed)) | same)
    if name == "analyses":
        query = query.where(analyses.c.status.in_(ENDED))
    return sorted(connection.execute(query.returning(table.c.id)).scalars())


def there(connection: Connection, name: str, ids: Sequence[str]) -> list[str]:
    """Return which of the ids are there, sorted."""
    table = COLLECTIONS[name].table
    query = select(table.c.id).where(table.c.id.in_(ids))
    return sorted(connection.execute(query).scalars())


def put_back(
    connection: Connection, name: str, records: Sequence[Mapping[str, Any]], *, again: bool
) -> tuple[int, int, list[Row]]:
    """Insert records as they are; count those inserted and those there already unchanged.

    The third value lists what stays out with the reason: something else has its place, or they are
    inserted `again` (then none is), and it has been deleted meanwhile. Raises Problem 404, and
    inserts nothing, where a record's company isn't there.
    """
    table = COLLECTIONS[name].table
    for company_id in sorted({str(row["company_id"]) for row in records if "company_id" in row}):
        require_company(connection, company_id)
    imported = unchanged = 0
    conflicts: list[Row] = []
    trial = connection.begin_nested() if again else None
    for record in records:
        if insert_if_absent(connection, table, record):
            if trial:
                reason = "it was put back by this key before and deleted since"
                conflicts.append({"id": record["id"], "reason": reason})
            else:
                imported += 1
            continue
        stored = by_id(connection, table, record["id"])
        if stored == dict(record):
            unchanged += 1
        elif stored is not None:
            reason = "the stored record of this id differs; it was kept"
            conflicts.append({"id": record["id"], "reason": reason})
        else:
            reason = "another record holds its unique place; it was kept"
            conflicts.append({"id": record["id"], "reason": reason})
    if trial:
        trial.rollback()
    return imported, unchanged, conflicts
