"""What a step of database upkeep is worth doing for."""

from typing import Any

import pytest

from bionewsbot.tasks.worthwhile import BLOAT_BYTES, Worthwhile, sizes, worthwhile

MB = 1024 * 1024


def table(name: str = "t", **fields: Any) -> dict[str, Any]:
    """Return a table's statistics."""
    return {"name": name, "rows": 1000, "indexes": [], **fields}


def statistics(*tables: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a database's statistics."""
    return {"tables": list(tables), **fields}


def index(size: int, bloat: int | None, **fields: Any) -> dict[str, Any]:
    """Return an index's statistics."""
    return {"name": "i", "bytes": size, "bloat_bytes": bloat, **fields}


def test_all_tables_are_analysed() -> None:
    """Their statistics are cheap, and nobody can tell whether they are out of date."""
    assert worthwhile("analyze", statistics(table("a"), table("b"))) == Worthwhile(("a", "b"))


@pytest.mark.parametrize(
    ("indexes", "chosen", "unknown"),
    [
        ([], (), 0),
        ([index(10 * MB, 3 * MB)], ("t",), 0),
        ([index(10 * MB, 3 * MB - 1)], (), 0),
        ([index(2 * MB, BLOAT_BYTES - 1)], (), 0),
        ([index(2 * MB, BLOAT_BYTES)], ("t",), 0),
        ([index(10 * MB, 0), index(10 * MB, 9 * MB)], ("t",), 0),
        ([index(10 * MB, None), index(10 * MB, 9 * MB)], ("t",), 1),
        ([index(1, 0, valid=False)], ("t",), 0),
        ([{"name": "of SQLite", "bytes": None}], (), 1),
    ],
)
def test_bloated_indexes_are_built_anew(
    indexes: list[Any], chosen: tuple[str, ...], unknown: int
) -> None:
    """From 30 % and 1 MB on, and what a broken-off run left; where nobody can tell, it is said."""
    found = worthwhile("reindex", statistics(table(indexes=indexes)))
    assert found == Worthwhile(chosen, unknown)


@pytest.mark.parametrize(
    ("rows", "dead", "chosen"), [(1000, 150, ()), (1000, 151, ("t",)), (0, 51, ("t",)), (0, 50, ())]
)
def test_tables_of_dead_rows_are_vacuumed(rows: int, dead: int, chosen: tuple[str, ...]) -> None:
    """From half of PostgreSQL's own threshold on."""
    found = worthwhile("vacuum", statistics(table(rows=rows, dead_rows=dead)))
    assert found == Worthwhile(chosen)


@pytest.mark.parametrize(("free", "chosen"), [(10, ()), (11, ("t",))])
def test_a_file_with_free_pages_is_vacuumed(free: int, chosen: tuple[str, ...]) -> None:
    """Where the database is one file, its share of free pages decides."""
    found = worthwhile("vacuum", statistics(table(), database_bytes=100, free_bytes=free))
    assert found == Worthwhile(chosen)


def test_a_database_that_tells_nothing_is_left_alone() -> None:
    """Nothing is vacuumed or built anew on a guess."""
    told = statistics(table("a"), table("b", dead_rows=None))
    assert worthwhile("vacuum", told) == Worthwhile((), 2)
    assert worthwhile("vacuum", {}) == worthwhile("reindex", {}) == Worthwhile(())


def test_sizes_are_those_that_are_known() -> None:
    """Each step has its own; a sum in which one table is missing would be wrong."""
    told = statistics(
        table(index_bytes=5, dead_rows=1), table(index_bytes=None, dead_rows=2), database_bytes=9
    )
    assert sizes("analyze", told) == {"rows": 2000}
    assert sizes("reindex", told) == {}
    assert sizes("vacuum", told) == {"database_bytes": 9, "dead_rows": 3}
