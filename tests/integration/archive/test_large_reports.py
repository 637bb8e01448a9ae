"""Reports as large as those over 2,000 companies."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.backend_app import RunningBackend
from support.old_records import Depot, report_at

from bionewsbot.api import transport
from bionewsbot.archive.exchange import hand_over, restore

BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
SCALE = 20
"""Both the reports and what an answer may hold are so many times smaller, to save time."""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database: what is at stake is the size of calls and answers."""
    return f"sqlite:///{tmp_path / 'backend.db'}"


def _mine() -> None:
    """Nobody else moves records."""


def test_ten_large_reports_are_archived_and_restored(
    backend: RunningBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they are more than one answer may hold."""
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", transport.MAX_ANSWER_BYTES // SCALE)
    depot = Depot(backend.url, tmp_path / "archive")
    reports = [
        {**report_at(number, BEGAN), "content": {"text": "x" * (7_000_000 // SCALE)}}
        for number in range(10, 20)
    ]
    depot.put("reports", reports)
    before = datetime(2026, 2, 1, tzinfo=UTC)
    moved = hand_over(
        depot.client,
        depot.archive,
        "reports",
        before=before,
        written_by="tests",
        still_mine=_mine,
    )
    assert (moved.records, depot.stored("reports")) == (10, [])
    (part,) = depot.archive.parts("reports")
    assert restore(depot.client, depot.archive, part, still_mine=_mine).records == 10
    assert depot.stored("reports") == reports
    depot.close()
