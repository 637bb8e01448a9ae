"""The week that a report is about: a function of the scheduled time and a zone alone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


@pytest.mark.parametrize(
    ("moment", "zone", "name", "start", "hours"),
    [
        # Half past midnight on a Monday there is still Sunday in UTC.
        ("2026-01-25T23:30", "Europe/Zurich", "2026-W04", "2026-01-18T23:00", 168),
        ("2026-01-25T22:59", "Europe/Zurich", "2026-W03", "2026-01-11T23:00", 168),
        ("2026-01-26T08:00", "America/New_York", "2026-W04", "2026-01-19T05:00", 168),
        ("2026-01-26T04:59", "America/New_York", "2026-W03", "2026-01-12T05:00", 168),
        # The clocks change on the week's Sunday.
        ("2026-03-30T06:00", "Europe/Zurich", "2026-W13", "2026-03-22T23:00", 167),
        ("2026-10-26T07:00", "Europe/Zurich", "2026-W43", "2026-10-18T22:00", 169),
        ("2026-03-09T08:00", "America/New_York", "2026-W10", "2026-03-02T05:00", 167),
        # A year's end that UTC has not come to yet, or has passed.
        ("2027-01-03T23:30", "Europe/Zurich", "2026-W53", "2026-12-27T23:00", 168),
        ("2028-01-03T04:30", "America/New_York", "2027-W51", "2027-12-20T05:00", 168),
        ("2024-12-29T15:00", "Asia/Tokyo", "2024-W52", "2024-12-22T15:00", 168),
        # Leap day.
        ("2024-03-03T23:30", "Europe/Zurich", "2024-W09", "2024-02-25T23:00", 168),
    ],
)
def test_the_week_before_on_a_zones_clocks(
    moment: str, zone: str, name: str, start: str, hours: int
) -> None:
    """It begins and ends at midnight there, however many hours it has."""
    week = Week.before(datetime.fromisoformat(moment).replace(tzinfo=UTC), zone)
    assert (week.name, week.start) == (name, datetime.fromisoformat(start).replace(tzinfo=UTC))
    assert (week.end - week.start, week.start.tzinfo) == (timedelta(hours=hours), UTC)


ZONES = ("UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Asia/Beirut")


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)), st.sampled_from(ZONES))
def test_the_week_before_is_the_last_that_is_over(naive: datetime, zone: str) -> None:
    """Whenever it is and wherever; and the next begins where it ends."""
    moment = naive.replace(tzinfo=UTC)
    week = Week.before(moment, zone)
    assert week.end <= moment < week.next.end
    assert week.end == week.next.start and week.previous.end == week.start
    assert Week.before(moment.astimezone(ZoneInfo("Asia/Tokyo")), zone) == week
    assert Week.parse(week.name, zone) == week


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd"])
def test_a_zone_that_is_none(zone: str) -> None:
    """Such as an operator may write into an entry's arguments."""
    with pytest.raises((ZoneInfoNotFoundError, ValueError)):
        Week.before(datetime(2026, 1, 26, tzinfo=UTC), zone)


@pytest.mark.parametrize("name", ["2026-W54", "2025-W53", "2026-W00", "2026-48", "latest", ""])
def test_what_is_no_week(name: str) -> None:
    """A week that the year doesn't have, or another form."""
    with pytest.raises(ValueError):
        Week.parse(name)
