"""Companies and the history of their risk scores."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from bionewsbot.backend.storage.paging import Page, Paging, fetch_page
from bionewsbot.backend.storage.rows import (
    Row,
    between,
    by_id,
    insert_if_absent,
    known,
    matching,
    require_company,
)
from bionewsbot.backend.storage.tables import companies, risk_history


def put(
    connection: Connection, company_id: str, values: Mapping[str, Any], now: datetime
) -> tuple[Row, bool]:
    """Create or replace a company; return it and whether it is new.

    `updated_at` moves only where something changed.
    """
    new = {"id": company_id, **values, "created_at": now, "updated_at": now}
    created = insert_if_absent(connection, companies, new)
    stored = known(by_id(connection, companies, company_id, lock=True), "company", company_id)
    if not created and any(stored[name] != value for name, value in values.items()):
        connection.execute(
            update(companies).where(companies.c.id == company_id).values(**values, updated_at=now)
        )
        stored = {**stored, **values, "updated_at": now}
    return stored, created


def page(
    connection: Connection,
    paging: Paging,
    *,
    status: str | None,
    priority: str | None,
    updated_since: datetime | None,
) -> Page:
    """Return companies by id."""
    query = select(companies).where(
        *matching(companies, status=status, priority=priority),
        *between(companies.c.updated_at, updated_since, None),
    )
    return fetch_page(connection, query, [companies.c.id], paging, newest_first=False)


def risk_page(
    connection: Connection,
    company_id: str,
    paging: Paging,
    *,
    since: datetime | None,
    before: datetime | None,
) -> Page:
    """Return a company's risk scores, the newest first. Raises Problem 404."""
    require_company(connection, company_id)
    query = select(risk_history).where(
        risk_history.c.company_id == company_id, *between(risk_history.c.at, since, before)
    )
    return fetch_page(connection, query, [risk_history.c.at, risk_history.c.analysis_id], paging)


def risk_before(
    connection: Connection, company_id: str, analysis_type: str, moment: datetime
) -> float | None:
    """Return the score of the last analysis of the type before `moment`; None for the first.

    Types look at windows of different length, so their scores can't be compared.
    """
    query = (
        select(risk_history.c.score)
        .where(
            risk_history.c.company_id == company_id,
            risk_history.c.analysis_type == analysis_type,
            risk_history.c.at < moment,
        )
        .order_by(risk_history.c.at.desc(), risk_history.c.analysis_id.desc())
        .limit(1)
    )
    score = connection.execute(query).scalar_one_or_none()
    return float(score) if score is not None else None


def add_risk(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a score to the history."""
    connection.execute(insert(risk_history).values(**values))
