"""Rows that nothing needs any more: left without their company, or past their age."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Table, delete, func, select

from bionewsbot.backend.storage import jobs
from bionewsbot.backend.storage.keys import RETENTION
from bionewsbot.backend.storage.tables import (
    alerts,
    analyses,
    companies,
    idempotency_keys,
    insights,
    maintenance_jobs,
    risk_history,
)
from bionewsbot.backend.storage.upkeep.plan import Result, Upkeep


def remove(upkeep: Upkeep) -> Result:
    """Delete what is orphaned, table by table, and count it.

    Orphaned are rows whose company isn't there (tools that edit SQLite files don't enforce
    foreign keys), idempotency keys past their age, and maintenance jobs as old as that.
    Insights and alerts without their analysis aren't: analyses are archived apart from them.
    """
    counts: dict[str, int] = {}
    for table, orphaned in _orphans(upkeep):
        if upkeep.dry_run:
            with upkeep.database.read() as connection:
                query = select(func.count()).select_from(table).where(orphaned)
                counts[table.name] = connection.execute(query).scalar_one()
        else:
            with upkeep.database.write() as connection:
                counts[table.name] = connection.execute(delete(table).where(orphaned)).rowcount
    return {"orphans": counts, "total": sum(counts.values())}


def _orphans(upkeep: Upkeep) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    oldest = upkeep.now - RETENTION
    for table in (alerts, analyses, insights, risk_history):
        if table.name in upkeep.tables:
            yield table, table.c.company_id.not_in(select(companies.c.id))
    if idempotency_keys.name in upkeep.tables:
        yield idempotency_keys, idempotency_keys.c.created_at <= oldest
    if maintenance_jobs.name in upkeep.tables:
        ended = maintenance_jobs.c.status.not_in(jobs.UNFINISHED)
        yield maintenance_jobs, ended & (maintenance_jobs.c.created_at <= oldest)
