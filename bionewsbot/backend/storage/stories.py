"""Insights and alerts: one per company, story and type, however often they are sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select, update

from bionewsbot.backend.storage import keys
from bionewsbot.backend.storage.paging import Page, Paging, fetch_page
from bionewsbot.backend.storage.rows import (
    Row,
    between,
    by_id,
    insert_if_absent,
    known,
    matching,
    new_id,
    one,
    require_company,
)
from bionewsbot.backend.storage.tables import alerts, insights

_SOURCE_FIELDS = ("source", "url", "evidence", "analysis_id")


def store_insight(
    connection: Connection, body: Mapping[str, Any], key: str | None, now: datetime
) -> tuple[Row, bool]:
    """Store an insight; return it and whether it is new. See `_store`."""
    return _store(connection, insights, body, {}, key, now)


def store_alert(
    connection: Connection, body: Mapping[str, Any], key: str | None, now: datetime
) -> tuple[Row, bool]:
    """Store an alert, open; return it and whether it is new. See `_store`."""
    return _store(connection, alerts, body, {"state": "open"}, key, now)


def _store(
    connection: Connection,
    table: Table,
    body: Mapping[str, Any],
    first: Mapping[str, Any],
    key: str | None,
    now: datetime,
) -> tuple[Row, bool]:
    """Store a story, or add the body's source to the stored one of the same company and type.

    Raises Problem: 404 for an unknown company, 422 for a key used with another body, 410 for a
    key whose story was deleted.
    """
    row_id = new_id()
    said = {**body, "occurred_at": body["occurred_at"].isoformat()}
    stored_id = keys.claim(connection, table.name, key, said, row_id, now)
    if stored_id is not None:
        stored = by_id(connection, table, stored_id)
        if stored is None:
            raise keys.gone(table.name, stored_id)
        return stored, False
    require_company(connection, body["company_id"])
    told = {name: body[name] for name in _SOURCE_FIELDS}
    row = {
        **body,
        **first,
        "id": row_id,
        "sources": [told],
        "created_at": now,
        "updated_at": now,
    }
    if insert_if_absent(connection, table, row):
        return row, True
    stored = _same_story(connection, table, body)
    keys.assign(connection, table.name, key, stored["id"])
    if all(_place(source) != _place(told) for source in stored["sources"]):
        merged = {"sources": [*stored["sources"], told], "updated_at": now}
        connection.execute(update(table).where(table.c.id == stored["id"]).values(**merged))
        stored |= merged
    return stored, False


def set_alert_state(connection: Connection, alert_id: str, state: str, now: datetime) -> Row:
    """Change an alert's state and return it. Raises Problem 404."""
    stored = known(by_id(connection, alerts, alert_id, lock=True), "alert", alert_id)
    if stored["state"] != state:
        change = {"state": state, "updated_at": now}
        connection.execute(update(alerts).where(alerts.c.id == alert_id).values(**change))
        stored |= change
    return stored


def page(
    connection: Connection,
    table: Table,
    paging: Paging,
    *,
    since: datetime | None,
    before: datetime | None,
    **wanted: str | None,
) -> Page:
    """Return insights or alerts by the time that they were first stored, the newest first."""
    query = select(table).where(
        *matching(table, **wanted), *between(table.c.created_at, since, before)
    )
    return fetch_page(connection, query, [table.c.created_at, table.c.id], paging)


def _same_story(connection: Connection, table: Table, body: Mapping[str, Any]) -> Row:
    same = matching(table, **{name: body[name] for name in ("company_id", "story_id", "type")})
    stored = one(connection, select(table).where(*same).with_for_update())
    return known(stored, "story", body["story_id"])


def _place(source: Mapping[str, Any]) -> tuple[Any, Any]:
    return source["source"], source["url"]
