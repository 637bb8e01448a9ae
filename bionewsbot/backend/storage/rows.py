"""What several tables need of the database."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from bionewsbot.backend.problems import Problem
from bionewsbot.backend.storage.tables import companies

Row = dict[str, Any]


def new_id() -> str:
    """Return an id that nobody has."""
    return uuid.uuid4().hex


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hex; the order of an object's keys doesn't count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def insert_if_absent(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key or unique columns is there; tell which.

    A concurrent insert of the same row is waited for.
    """
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # RETURNING, because a driver's row count of such an insert isn't reliable everywhere.
    insert = build(table).values(**values).on_conflict_do_nothing()
    return connection.execute(insert.returning(*table.primary_key.columns)).first() is not None


def one(connection: Connection, query: Select[Any]) -> Row | None:
    """Return the query's only row, or None."""
    found = connection.execute(query).mappings().one_or_none()
    return dict(found) if found is not None else None


def by_id(connection: Connection, table: Table, row_id: str, *, lock: bool = False) -> Row | None:
    """Return a row, or None; `lock` keeps others from changing it until the transaction ends."""
    query = select(table).where(table.c.id == row_id)
    return one(connection, query.with_for_update() if lock else query)


def known(row: Row | None, what: str, row_id: str) -> Row:
    """Return the row. Raises Problem 404 where there is none."""
    if row is None:
        raise Problem(404, f"There is no {what} {row_id!r}", kind=f"unknown-{what}")
    return row


def require_company(connection: Connection, company_id: str) -> Row:
    """Return the company's row. Raises Problem 404 with the mend where there is none."""
    company = by_id(connection, companies, company_id)
    if company is None:
        raise Problem(
            404,
            f"company_id: there is no company {company_id!r} here; bring it with "
            "'celery -A bionewsbot companies sync' or PUT /api/v1/companies/{id}",
            kind="unknown-company",
        )
    return company


def between(column: Column[Any], since: Any, before: Any) -> list[ColumnElement[bool]]:
    """Return the conditions since <= column < before; None leaves an end open."""
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(column >= since)
    if before is not None:
        conditions.append(column < before)
    return conditions


def matching(table: Table, **wanted: Any) -> list[ColumnElement[bool]]:
    """Return the conditions column == value for each value that isn't None."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]
