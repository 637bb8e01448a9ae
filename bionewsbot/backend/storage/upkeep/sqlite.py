"""Upkeep of SQLite. The writer's lock is held for one statement at a time."""

from sqlalchemy import Connection, text

from bionewsbot.backend.storage.upkeep.plan import Result, Upkeep


def analyze(upkeep: Upkeep) -> Result:
    """Renew the query planner's statistics with ANALYZE."""
    _each_table(upkeep, "ANALYZE")
    return {"tables": list(upkeep.tables)}


def reindex(upkeep: Upkeep) -> Result:
    """Build the tables' indexes anew with REINDEX."""
    with upkeep.database.read() as connection:
        indexes = {name: _indexes(connection, name) for name in upkeep.tables}
    _each_table(upkeep, "REINDEX")
    return {"indexes": sorted(index for found in indexes.values() for index in found)}


def statistics(upkeep: Upkeep) -> Result:
    """Count rows and bytes: of tables and indexes where SQLite was built with dbstat (else null).

    Reads only, so `dry_run` makes no difference.
    """
    with upkeep.database.read() as connection:
        sizes = _sizes(connection)
        tables = [_table(connection, name, sizes) for name in upkeep.tables]
        return {"tables": tables, **_file_sizes(connection)}


def vacuum(upkeep: Upkeep) -> Result:
    """Write the database file anew without its free pages; `tables` makes no difference.

    Needs free disk space of about twice the file's size while it runs.
    """
    with upkeep.database.read() as connection:
        before = _file_sizes(connection)
    if upkeep.dry_run:
        return {"before": before, "after": None}
    with upkeep.database.without_transaction() as connection:
        connection.execute(text("VACUUM"))
        # What VACUUM wrote is in the log until a checkpoint puts it into the file.
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).all()
    with upkeep.database.read() as connection:
        return {"before": before, "after": _file_sizes(connection)}


def _each_table(upkeep: Upkeep, statement: str) -> None:
    if upkeep.dry_run:
        return
    for name in upkeep.tables:
        with upkeep.database.without_transaction() as connection:
            connection.execute(text(f'{statement} "{name}"'))


def _table(connection: Connection, name: str, sizes: dict[str, int]) -> Result:
    indexes = _indexes(connection, name)
    return {
        "name": name,
        "rows": connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one(),
        "bytes": sizes.get(name),
        "index_bytes": sum(sizes[index] for index in indexes) if sizes else None,
        "indexes": [{"name": index, "bytes": sizes.get(index)} for index in indexes],
    }


def _indexes(connection: Connection, table: str) -> list[str]:
    query = text("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = :table")
    return sorted(connection.execute(query, {"table": table}).scalars())


def _sizes(connection: Connection) -> dict[str, int]:
    """Return the bytes of each table and index; nothing where SQLite was built without dbstat."""
    options = connection.execute(text("PRAGMA compile_options")).scalars().all()
    if "ENABLE_DBSTAT_VTAB" not in options:
        return {}
    found = connection.execute(text("SELECT name, sum(pgsize) AS bytes FROM dbstat GROUP BY name"))
    return {row.name: row.bytes for row in found}


def _file_sizes(connection: Connection) -> dict[str, int]:
    page, pages, free = (
        connection.execute(text(f"PRAGMA {name}")).scalar_one()
        for name in ("page_size", "page_count", "freelist_count")
    )
    return {"database_bytes": page * pages, "free_bytes": page * free}
