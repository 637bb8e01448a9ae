"""The week that a report is about: a function of the scheduled time alone."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.reports.period import WEEK, Week


@pytest.mark.parametrize(
    ("moment", "name", "monday"),
    [
        ("2026-11-23T08:00", "2026-W47", "2026-11-16"),
        ("2026-11-25T08:00", "2026-W47", "2026-11-16"),
        ("2026-11-29T23:59:59", "2026-W47", "2026-11-16"),
        ("2026-11-30T00:00", "2026-W48", "2026-11-23"),
        # A year's end: the week belongs to the year of its Thursday.
        ("2027-01-04T08:00", "2026-W53", "2026-12-28"),
        ("2027-01-11T08:00", "2027-W01", "2027-01-04"),
        ("2026-01-05T08:00", "2026-W01", "2025-12-29"),
        ("2023-01-02T08:00", "2022-W52", "2022-12-26"),
        # Leap day.
        ("2024-03-04T08:00", "2024-W09", "2024-02-26"),
        ("2032-03-01T08:00", "2032-W09", "2032-02-23"),
    ],
)
def test_the_week_before(moment: str, name: str, monday: str) -> None:
    """At a week's begin and end, at a year's end, in a year of 53 weeks, over a leap day."""
    week = Week.before(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert (week.name, week.monday) == (name, date.fromisoformat(monday))


def test_years_of_mondays_have_each_week_once() -> None:
    """From 2020 to 2060 no week is left out or comes twice, and each is a whole one just over."""
    monday = datetime(2020, 1, 6, 8, tzinfo=UTC)
    names = []
    before = Week.before(monday - WEEK)
    while monday.year < 2060:
        week = Week.before(monday)
        assert week.previous == before
        assert before.end == week.start and week.end - week.start == WEEK
        assert week.end <= monday < week.end + timedelta(days=1)
        assert (week.start.weekday(), week.start.hour, week.start.tzinfo) == (0, 0, UTC)
        names.append(week.name)
        before, monday = week, monday + WEEK
    assert len(set(names)) == len(names)
    assert sorted(names) == names
    long_years = {name[:4] for name in names if name.endswith("W53")}
    assert long_years == {"2020", "2026", "2032", "2037", "2043", "2048", "2054"}


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)), st.integers(-12, 14))
def test_the_week_before_is_over_by_less_than_a_week(naive: datetime, hours: int) -> None:
    """Whenever it is, and whatever zone says so."""
    moment = naive.replace(tzinfo=UTC)
    week = Week.before(moment)
    assert timedelta(0) <= moment - week.end < WEEK
    assert Week.before(moment.astimezone(timezone(timedelta(hours=hours)))) == week
    assert Week.parse(week.name) == week


@pytest.mark.parametrize("name", ["2026-W54", "2025-W53", "2026-W00", "2026-48", "latest", ""])
def test_what_is_no_week(name: str) -> None:
    """A week that the year doesn't have, or another form."""
    with pytest.raises(ValueError):
        Week.parse(name)
