"""The timetable's own content: what is due when, and where it goes."""

from datetime import UTC, datetime, timedelta

import pytest

from bionewsbot import names
from bionewsbot.celeryconfig import celery_config
from bionewsbot.scheduling.occurrences import latest_occurrence
from bionewsbot.scheduling.timetable import TimetableEntry, load_timetable
from bionewsbot.settings import current


@pytest.fixture
def entries(configured: pytest.MonkeyPatch) -> dict[str, TimetableEntry]:
    """The timetable for settings that differ from the defaults."""
    configured.setenv("DAILY_ANALYSIS_HOUR", "5")
    from bionewsbot.celery import app

    app.loader.import_default_modules()
    return load_timetable(app)


def due(entry: TimetableEntry, last: str, now: str) -> tuple[bool, str]:
    """Return whether the entry is due, and for which instant. Times are UTC, `dd HH:MM:SS`."""
    last_run_at, moment = (
        datetime.strptime(f"2026-01-{text}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        for text in (last, now)
    )
    entry.schedule.nowfun = lambda: moment
    is_due, _ = entry.schedule.is_due(last_run_at)
    return is_due, latest_occurrence(entry.schedule, last_run_at, moment).strftime("%d %H:%M:%S")


@pytest.mark.parametrize(
    ("name", "last", "now", "expected"),
    [
        ("daily_company_analysis", "14 05:00:01", "15 04:59:59", (False, "15 04:59:59")),
        ("daily_company_analysis", "14 05:00:01", "15 05:00:02", (True, "15 05:00:00")),
        ("daily_company_analysis", "15 05:00:01", "15 05:00:02", (False, "15 05:00:02")),
        ("daily_company_analysis", "10 05:00:01", "15 09:30:00", (True, "15 05:00:00")),
        ("hourly_quick_scan", "15 05:00:01", "15 05:59:59", (False, "15 05:59:59")),
        ("hourly_quick_scan", "15 05:00:01", "15 06:00:00", (True, "15 06:00:00")),
        ("hourly_quick_scan", "15 01:00:01", "15 06:20:00", (True, "15 06:00:00")),
    ],
)
def test_when_an_entry_is_due(
    entries: dict[str, TimetableEntry],
    name: str,
    last: str,
    now: str,
    expected: tuple[bool, str],
) -> None:
    """At its instant and not before; the run is for the scheduled time, not for the look."""
    assert due(entries[name], last, now) == expected


def test_no_entry_comes_before_its_job(entries: dict[str, TimetableEntry]) -> None:
    """The entries are those whose jobs exist, and each one's task carries runs."""
    from bionewsbot.celery import app

    assert {name: entry.task for name, entry in entries.items()} == {
        "daily_company_analysis": names.DAILY_COMPANY_ANALYSIS,
        "hourly_quick_scan": names.HOURLY_QUICK_SCAN,
    }
    for entry in entries.values():
        assert app.tasks[entry.task].carries_runs


def test_entries_and_routes_agree(entries: dict[str, TimetableEntry]) -> None:
    """A job goes to one queue, whether beat or a person starts it."""
    routes = celery_config(current())["task_routes"]
    for entry in entries.values():
        assert routes[entry.task]["queue"] == entry.queue
        assert entry.queue in names.WORKER_QUEUES


def test_deadlines_fit_the_schedule(entries: dict[str, TimetableEntry]) -> None:
    """An hourly run ends before the next one; none may start after its successor was due."""
    hourly, daily = entries["hourly_quick_scan"], entries["daily_company_analysis"]
    for entry, period in ((hourly, timedelta(hours=1)), (daily, timedelta(days=1))):
        assert entry.starting_deadline < period.total_seconds()
        assert entry.run_deadline < period.total_seconds()
