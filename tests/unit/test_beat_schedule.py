"""The timetable's own content: what is due when, and where it goes."""

from datetime import UTC, datetime, timedelta

import pytest

from bionewsbot import names
from bionewsbot.celeryconfig import celery_config
from bionewsbot.scheduling.entries import Definition, Entry
from bionewsbot.scheduling.timetable import load_timetable
from bionewsbot.settings import current


@pytest.fixture
def entries(configured: pytest.MonkeyPatch) -> dict[str, Definition]:
    """The timetable for settings that differ from the defaults."""
    configured.setenv("DAILY_ANALYSIS_HOUR", "5")
    configured.setenv("WEEKLY_REPORT_DAY", "wed")
    configured.setenv("WEEKLY_REPORT_HOUR", "9")
    from bionewsbot.celery import app

    app.loader.import_default_modules()
    return load_timetable(app)


@pytest.mark.parametrize(
    ("name", "after", "expected"),
    [
        ("daily_company_analysis", "2026-01-14 05:00:01", "2026-01-15 05:00:00"),
        ("daily_company_analysis", "2026-01-15 04:59:59", "2026-01-15 05:00:00"),
        ("daily_company_analysis", "2026-01-15 05:00:00", "2026-01-16 05:00:00"),
        ("hourly_quick_scan", "2026-01-15 05:00:00", "2026-01-15 06:00:00"),
        ("hourly_quick_scan", "2026-01-15 23:20:00", "2026-01-16 00:00:00"),
        ("data_cleanup", "2024-02-28 03:00:00", "2024-02-29 03:00:00"),
        ("data_cleanup", "2026-12-31 03:00:00", "2027-01-01 03:00:00"),
        ("report_archival", "2024-02-01 01:00:00", "2024-03-01 01:00:00"),
        ("report_archival", "2026-12-01 01:00:00", "2027-01-01 01:00:00"),
        ("database_optimisation", "2026-01-15 00:00:00", "2026-01-18 02:00:00"),
        ("database_optimisation", "2026-12-27 02:00:00", "2027-01-03 02:00:00"),
        ("weekly_comprehensive_report", "2026-01-14 08:59:59", "2026-01-14 09:00:00"),
        ("weekly_comprehensive_report", "2026-01-14 09:00:00", "2026-01-21 09:00:00"),
    ],
)
def test_when_an_entry_is_due(
    entries: dict[str, Definition], name: str, after: str, expected: str
) -> None:
    """The next scheduled time (UTC) after a moment, over a leap day and the year's end too."""
    moment = datetime.strptime(after, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    following = Entry(name, entries[name]).next_scheduled(moment)
    assert following is not None
    assert following.strftime("%Y-%m-%d %H:%M:%S") == expected


def test_no_entry_comes_before_its_job(entries: dict[str, Definition]) -> None:
    """The entries are those whose jobs exist, and each one's task carries runs."""
    from bionewsbot.celery import app

    assert {name: entry.task for name, entry in entries.items()} == {
        "daily_company_analysis": names.DAILY_COMPANY_ANALYSIS,
        "hourly_quick_scan": names.HOURLY_QUICK_SCAN,
        "data_cleanup": names.DATA_CLEANUP,
        "report_archival": names.REPORT_ARCHIVAL,
        "database_optimisation": names.DATABASE_OPTIMISATION,
        "weekly_comprehensive_report": names.WEEKLY_COMPREHENSIVE_REPORT,
    }
    for entry in entries.values():
        assert app.tasks[entry.task].carries_runs


def test_entries_and_routes_agree(entries: dict[str, Definition]) -> None:
    """A job goes to one queue, whether beat or a person starts it."""
    routes = celery_config(current())["task_routes"]
    for entry in entries.values():
        assert routes[entry.task]["queue"] == entry.queue
        assert entry.queue in names.WORKER_QUEUES


def test_deadlines_fit_the_schedule(entries: dict[str, Definition]) -> None:
    """A run ends before the next one; none may start after its successor was due."""
    periods = {
        "hourly_quick_scan": timedelta(hours=1),
        "daily_company_analysis": timedelta(days=1),
        "data_cleanup": timedelta(days=1),
        "report_archival": timedelta(days=28),
        "database_optimisation": timedelta(weeks=1),
        "weekly_comprehensive_report": timedelta(weeks=1),
    }
    assert periods.keys() == entries.keys()
    for name, period in periods.items():
        entry = entries[name]
        assert entry.starting_deadline is not None
        assert entry.starting_deadline < period.total_seconds()
        assert entry.run_deadline < period.total_seconds()
