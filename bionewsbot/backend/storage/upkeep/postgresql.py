"""Upkeep of PostgreSQL: each statement outside a transaction, with a lock time-out."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from bionewsbot.backend.storage.upkeep.plan import Result, Upkeep

_TABLES = text("""
    SELECT c.relname AS name, coalesce(s.n_live_tup, 0) AS rows,
        coalesce(s.n_dead_tup, 0) AS dead_rows, pg_table_size(c.oid) AS bytes,
        pg_indexes_size(c.oid) AS index_bytes,
        greatest(s.last_analyze, s.last_autoanalyze) AS last_analyzed,
        greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuumed
    FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
        AND c.relname = ANY(:tables)
    ORDER BY c.relname
    """)

_INDEXES = text("""
    SELECT t.relname AS table_name, i.relname AS name, pg_relation_size(i.oid) AS bytes,
        coalesce(s.idx_scan, 0) AS scans, x.indisvalid AS valid, i.reltuples AS entries,
        -- Null unless it is a btree whose keys are all plain columns with statistics.
        CASE WHEN a.amname = 'btree' AND widths.columns = x.indnatts THEN widths.key END AS key
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
        JOIN pg_am a ON a.oid = i.relam
        LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.oid
        CROSS JOIN LATERAL (
            SELECT count(w.avg_width) AS columns, sum(w.avg_width * (1 - w.null_frac)) AS key
            FROM pg_attribute c JOIN pg_stats w
                ON w.schemaname = current_schema() AND w.tablename = t.relname
                AND w.attname = c.attname
            WHERE c.attrelid = t.oid AND c.attnum = ANY(x.indkey::int2[])
        ) AS widths
    WHERE t.relnamespace = current_schema()::regnamespace AND t.relname = ANY(:tables)
    ORDER BY i.relname
    """)

PAGE_BYTES, PAGE_ROOM = 8192, 8192 - 24 - 16
"""Of a page of a btree, without its header and its special space (PostgreSQL, "Database Page
Layout")."""

ENTRY_BYTES = 8 + 4
"""Of an entry beside its key: its header and the pointer to it (the same)."""

FILL = 0.9
"""Share of a leaf page that a new index fills: the default `fillfactor` of a btree."""

LEFT_OVER = ("_ccnew", "_ccold")
"""Endings of the invalid indexes that a REINDEX CONCURRENTLY leaves behind when it is broken off;
PostgreSQL numbers further ones."""


def analyze(upkeep: Upkeep) -> Result:
    """Renew the planner's statistics with ANALYZE."""
    _each_table(upkeep, "ANALYZE")
    return {"tables": list(upkeep.tables)}


def reindex(upkeep: Upkeep) -> Result:
    """Build the tables' indexes anew with REINDEX CONCURRENTLY, which lets reads and writes go on.

    Drops what an earlier, broken-off run left behind first.
    """
    with upkeep.database.read() as connection:
        found = _indexes(connection, upkeep)
    left_over = [index["name"] for index in found if _is_left_over(index)]
    if not upkeep.dry_run:
        for name in left_over:
            with _patient(upkeep) as connection:
                connection.execute(text(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"'))
    _each_table(upkeep, "REINDEX TABLE CONCURRENTLY")
    indexes = [index["name"] for index in found if index["name"] not in left_over]
    return {"indexes": indexes, "dropped": left_over}


def statistics(upkeep: Upkeep) -> Result:
    """Report rows (as PostgreSQL counts them itself), dead rows, bytes, indexes' use and bloat.

    `bloat_bytes` is an estimate from the last ANALYZE's numbers, null where there are none. Reads
    only, so `dry_run` makes no difference.
    """
    with upkeep.database.read() as connection:
        tables = _tables(connection, upkeep)
        indexes = _indexes(connection, upkeep)
        size = connection.execute(text("SELECT pg_database_size(current_database())"))
        for table in tables:
            table["indexes"] = [
                {
                    **{name: index[name] for name in ("name", "bytes", "scans", "valid")},
                    "bloat_bytes": _bloat(index),
                }
                for index in indexes
                if index["table_name"] == table["name"]
            ]
        return {"tables": tables, "database_bytes": size.scalar_one()}


def vacuum(upkeep: Upkeep) -> Result:
    """Make dead rows' space usable again with VACUUM, which lets reads and writes go on."""
    with upkeep.database.read() as connection:
        before = _tables(connection, upkeep)
    if upkeep.dry_run:
        return {"before": {"tables": before}, "after": None}
    _each_table(upkeep, "VACUUM")
    with upkeep.database.read() as connection:
        return {"before": {"tables": before}, "after": {"tables": _tables(connection, upkeep)}}


def _each_table(upkeep: Upkeep, statement: str) -> None:
    if upkeep.dry_run:
        return
    for name in upkeep.tables:
        with _patient(upkeep) as connection:
            connection.execute(text(f'{statement} "{name}"'))


@contextmanager
def _patient(upkeep: Upkeep) -> Iterator[Connection]:
    """Give a connection whose statements wait for locks as long as the job allows."""
    with upkeep.database.without_transaction() as connection:
        milliseconds = int(upkeep.lock_timeout * 1000)
        connection.execute(text(f"SET lock_timeout = {milliseconds}"))
        try:
            yield connection
        finally:
            # The connection goes back to the pool, where nobody expects the time-out.
            connection.execute(text("RESET lock_timeout"))


def _tables(connection: Connection, upkeep: Upkeep) -> list[dict[str, Any]]:
    found = connection.execute(_TABLES, {"tables": list(upkeep.tables)}).mappings()
    return [
        {
            name: (
                value.isoformat().replace("+00:00", "Z")
                if name.startswith("last_") and value
                else value
            )
            for name, value in row.items()
        }
        for row in found
    ]


def _indexes(connection: Connection, upkeep: Upkeep) -> list[dict[str, Any]]:
    found = connection.execute(_INDEXES, {"tables": list(upkeep.tables)}).mappings()
    return [dict(row) for row in found]


def _bloat(index: dict[str, Any]) -> int | None:
    """Return the bytes that an index, built anew, is estimated to need less; None if unknown.

    Equal keys are stored once (deduplication), which isn't counted: less is found than is there.
    """
    key, entries, size = index["key"], index["entries"], index["bytes"]
    if key is None or entries < 0:
        return None
    entry = ENTRY_BYTES + math.ceil(float(key) / 8) * 8
    pages = 1 + math.ceil(float(entries) * entry / (FILL * PAGE_ROOM))
    return max(0, int(size) - pages * PAGE_BYTES)


def _is_left_over(index: dict[str, Any]) -> bool:
    return not index["valid"] and index["name"].rstrip("0123456789").endswith(LEFT_OVER)
