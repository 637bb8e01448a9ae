"""Keyset paging: a cursor names the last row seen, so rows added or removed move nothing."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, RowMapping, Select, literal, tuple_

from bionewsbot.backend.problems import Problem
from bionewsbot.backend.storage.rows import Row
from bionewsbot.backend.storage.tables import UtcDateTime


@dataclass(frozen=True)
class Paging:
    """What the caller asked for: where to go on, and how many rows."""

    cursor: str | None
    limit: int


@dataclass(frozen=True)
class Page:
    """Some rows, and the cursor of the next ones; None on the last page."""

    items: list[Row]
    next_cursor: str | None


def fetch_page(
    connection: Connection,
    query: Select[Any],
    keys: Sequence[Column[Any]],
    paging: Paging,
    *,
    newest_first: bool = True,
) -> Page:
    """Return one page of the query's rows, in the order of `keys`, which together are unique.

    Raises Problem for a cursor that isn't one of this collection's.
    """
    order = [key.desc() if newest_first else key.asc() for key in keys]
    # One row more than asked for tells whether there is another page.
    query = query.order_by(*order).limit(paging.limit + 1)
    if paging.cursor is not None:
        last = _decode(paging.cursor, keys)
        place = tuple_(*(literal(value, key.type) for value, key in zip(last, keys, strict=True)))
        query = query.where(tuple_(*keys) < place if newest_first else tuple_(*keys) > place)
    rows = connection.execute(query).mappings().all()
    shown = rows[: paging.limit]
    more = len(rows) > paging.limit
    return Page([dict(row) for row in shown], _encode(shown[-1], keys) if more else None)


def _encode(row: RowMapping, keys: Sequence[Column[Any]]) -> str:
    values = [row[key.name] for key in keys]
    said = [_name(keys), *(v.isoformat() if isinstance(v, datetime) else v for v in values)]
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def _decode(cursor: str, keys: Sequence[Column[Any]]) -> list[Any]:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        name, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if name != _name(keys) or not all(isinstance(value, str) for value in values):
            raise ValueError("a cursor of another collection")
        return [
            datetime.fromisoformat(value) if isinstance(key.type, UtcDateTime) else value
            for value, key in zip(values, keys, strict=True)
        ]
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise Problem(
            422,
            "cursor: not one that this list gave out; begin again without it",
            kind="cursor",
        ) from error


def _name(keys: Sequence[Column[Any]]) -> str:
    return f"{keys[0].table.name}.{keys[0].name}"
