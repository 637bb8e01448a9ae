"""Totals in words, of any job."""

import pytest

from bionewsbot.cli.runs_view import said


@pytest.mark.parametrize(
    ("totals", "words"),
    [
        ({}, ""),
        ({"insights": 41, "alerts": 0}, "0 alerts, 41 insights"),
        (
            {"vacuum_dead_rows_after": 0, "vacuum_dead_rows_before": 12_000, "vacuum_tables": 1},
            "12,000 -> 0 vacuum dead rows, 1 vacuum tables",
        ),
        ({"rows_before": 1, "looked_after": 2}, "2 looked after, 1 rows before"),
    ],
)
def test_totals_in_words(totals: dict[str, int], words: str) -> None:
    """Sorted by name; what was taken before and after stands together, and only that."""
    assert said(totals) == words
