"""What a step of database upkeep is worth doing for, by the backend's statistics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bionewsbot.api.models import MaintenanceKind

Statistics = Mapping[str, Any]
"""The result of a `statistics` job. What a database can't tell is null or missing."""

BLOAT_SHARE = 0.3
"""An index is built anew where so large a share of it is estimated to be of no use. Random keys
alone leave 0.23: their pages are on average 69 % full (ln 2, A. Yao, "On random 2-3 trees", 1978)
instead of the 90 % that a new index has."""

BLOAT_BYTES = 1024 * 1024
"""Less isn't worth building an index anew for."""

DEAD_SHARE, DEAD_ROWS = 0.1, 50
"""A table is vacuumed where it has more dead rows than this number and this share of its rows
together: half of PostgreSQL's own threshold (autovacuum_vacuum_scale_factor = 0.2)."""

FREE_SHARE = 0.1
"""A database of one file is vacuumed where so large a share of the file is free."""


@dataclass(frozen=True)
class Worthwhile:
    """The tables that a step is worth doing for."""

    tables: tuple[str, ...]
    unknown: int = 0
    """Tables (for `reindex` indexes) that it isn't done for since the database can't tell."""


def worthwhile(step: MaintenanceKind, statistics: Statistics) -> Worthwhile:
    """Return what a step is worth doing for."""
    if step == "analyze":
        return Worthwhile(tuple(table["name"] for table in _tables(statistics)))
    return _bloated(statistics) if step == "reindex" else _full_of_dead(statistics)


def sizes(step: MaintenanceKind, statistics: Statistics) -> dict[str, int]:
    """Return the numbers that a step is about, as far as the database tells them."""
    tables = list(_tables(statistics))
    known = {
        "database_bytes": statistics.get("database_bytes"),
        "free_bytes": statistics.get("free_bytes"),
        **{name: _sum(tables, name) for name in ("rows", "dead_rows", "index_bytes")},
    }
    about = {
        "analyze": ("rows",),
        "reindex": ("index_bytes",),
        "vacuum": ("database_bytes", "free_bytes", "dead_rows"),
    }[step]
    return {name: value for name in about if isinstance(value := known[name], int)}


def _bloated(statistics: Statistics) -> Worthwhile:
    chosen: list[str] = []
    unknown = 0
    for table in _tables(statistics):
        indexes = table.get("indexes") or []
        broken = any(index.get("valid") is False for index in indexes)
        sized = [index for index in indexes if isinstance(index.get("bloat_bytes"), int)]
        unknown += len(indexes) - len(sized)
        if broken or any(
            index["bloat_bytes"] >= max(BLOAT_BYTES, BLOAT_SHARE * index["bytes"])
            for index in sized
        ):
            chosen.append(table["name"])
    return Worthwhile(tuple(chosen), unknown)


def _full_of_dead(statistics: Statistics) -> Worthwhile:
    tables = list(_tables(statistics))
    names = tuple(table["name"] for table in tables)
    size, free = statistics.get("database_bytes"), statistics.get("free_bytes")
    if isinstance(size, int) and isinstance(free, int):
        return Worthwhile(names if free > FREE_SHARE * size else ())
    told = [table for table in tables if isinstance(table.get("dead_rows"), int)]
    dead = [
        table["name"]
        for table in told
        if table["dead_rows"] > DEAD_ROWS + DEAD_SHARE * (table.get("rows") or 0)
    ]
    return Worthwhile(tuple(dead), len(tables) - len(told))


def _tables(statistics: Statistics) -> Iterable[Mapping[str, Any]]:
    found: Iterable[Mapping[str, Any]] = statistics.get("tables") or ()
    return found


def _sum(tables: Iterable[Mapping[str, Any]], name: str) -> int | None:
    values = [table.get(name) for table in tables]
    known = [value for value in values if isinstance(value, int)]
    return sum(known) if len(known) == len(values) else None
