"""One analysis: its window, its sources' words, its outcome."""

from datetime import UTC, datetime, timedelta

import pytest
from support.backend_app import StubSource, filing

from bionewsbot.backend.analysing import analyse, company_of, window
from bionewsbot.backend.sources.base import Company, SourceError

NOW = datetime(2026, 1, 20, 6, tzinfo=UTC)
GILD = Company("GILD", "Gilead", "GILD", None, ())


@pytest.mark.parametrize(("kind", "days"), [("daily", 7), ("quick_scan", 2)])
def test_window_ends_with_the_scheduled_time(kind: str, days: int) -> None:
    """The window is made of type and scheduled time alone."""
    looked_at = window(kind, NOW)
    assert (looked_at.start, looked_at.end) == (NOW - timedelta(days=days), NOW)


def test_company_without_ticker() -> None:
    """A company that is on no exchange has an empty ticker for the sources."""
    row = {"id": "X", "name": "X", "ticker": None, "cik": None, "aliases": ["Y"]}
    assert company_of(row) == Company("X", "X", "", None, ("Y",))


def test_company_without_news_succeeds() -> None:
    """Silence of a source that answered is a success without findings."""
    outcome = analyse(GILD, window("daily", NOW), [StubSource()], 40.0)
    assert outcome["status"] == "succeeded"
    assert outcome["findings"] == []
    assert outcome["significant"] is False
    assert outcome["risk"]["previous"] == 40.0


def test_failures_are_told_apart_from_silence() -> None:
    """Some sources failed: partial. All failed: failed, without a risk score."""
    good, bad = StubSource("good"), StubSource("bad")
    good.records = (filing(),)
    bad.error = SourceError("away")
    partial = analyse(GILD, window("daily", NOW), [good, bad], None)
    assert partial["status"] == "partial"
    assert len(partial["findings"]) == 1
    failed = analyse(GILD, window("daily", NOW), [bad, bad], None)
    assert failed["status"] == "failed"
    assert failed["risk"] is None
    assert failed["error"] == {
        "code": "sources_failed",
        "message": "no source answered: bad: away; bad: away",
        "retryable": True,
    }
