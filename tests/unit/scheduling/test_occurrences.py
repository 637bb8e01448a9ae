"""Which occurrence is due, at fixed instants."""

from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.scheduling.occurrences import latest_occurrence

APP = Celery("tests", set_as_current=False)
APP.conf.timezone = "UTC"
NOW = datetime(2026, 1, 15, 6, 0, 3, tzinfo=UTC)


def cron(**fields: object) -> crontab:
    """Return a crontab of the tests' app."""
    return crontab(app=APP, **fields)


@pytest.mark.parametrize(
    ("fields", "last", "expected"),
    [
        ({"hour": 6, "minute": 0}, datetime(2026, 1, 14, 6, 0, 2), datetime(2026, 1, 15, 6)),
        ({"hour": 6, "minute": 0}, datetime(2026, 1, 2), datetime(2026, 1, 15, 6)),
        ({"minute": 0}, datetime(2026, 1, 15, 2, 0, 1), datetime(2026, 1, 15, 6)),
        ({"minute": "*/15"}, datetime(2026, 1, 15, 5, 40), datetime(2026, 1, 15, 6)),
        (
            {"hour": 8, "minute": 0, "day_of_week": "mon"},
            datetime(2026, 1, 1),
            datetime(2026, 1, 12, 8),
        ),
        (
            {"hour": 1, "minute": 0, "day_of_month": 1},
            datetime(2025, 11, 20),
            datetime(2026, 1, 1, 1),
        ),
        (
            {"hour": 0, "minute": 0, "day_of_month": 29, "month_of_year": 2},
            datetime(2020, 6, 1),
            datetime(2024, 2, 29),
        ),
    ],
)
def test_the_latest_passed_instant_of_a_crontab(
    fields: dict[str, object], last: datetime, expected: datetime
) -> None:
    """Missed ones coalesce into the latest; its name is the scheduled time, not the send's."""
    found = latest_occurrence(cron(**fields), last.replace(tzinfo=UTC), NOW)
    assert found == expected.replace(tzinfo=UTC)


def test_an_entry_that_never_ran_is_due_at_its_latest_instant() -> None:
    """Without a last run the schedule alone decides."""
    assert latest_occurrence(cron(hour=6, minute=0), None, NOW) == NOW.replace(second=0)


def test_an_interval_is_counted_from_the_last_run() -> None:
    """Two and a half intervals later the second one is due."""
    last = NOW - timedelta(seconds=25)
    every = schedule(timedelta(seconds=10), app=APP)
    assert latest_occurrence(every, last, NOW) == last + timedelta(seconds=20)


def test_an_interval_that_never_ran_is_due_now() -> None:
    """There is nothing to count from."""
    assert latest_occurrence(schedule(timedelta(seconds=10), app=APP), None, NOW) == NOW


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    gone=st.timedeltas(min_value=timedelta(days=1), max_value=timedelta(days=40)),
    now=st.datetimes(
        min_value=datetime(2025, 1, 1), max_value=datetime(2027, 1, 1), timezones=st.just(UTC)
    ),
)
def test_daily_crontabs_agree_with_a_plain_model(
    minute: int, hour: int, gone: timedelta, now: datetime
) -> None:
    """The model: today at that time, or yesterday if that is still to come."""
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    expected = today if today <= now else today - timedelta(days=1)
    found = latest_occurrence(cron(hour=hour, minute=minute), now - gone, now)
    assert found == (expected if expected > now - gone else now)
