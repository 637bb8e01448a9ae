"""When a schedule is due: against the clocks of many zones, minute by minute."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from hypothesis import example, given
from hypothesis import strategies as st
from redbeat.schedules import rrule
from support.jobs import at

from bionewsbot.scheduling.calendar import jitter_of, next_after, occurrences

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")

CHANGES = {
    "UTC": ["2026-03-29"],
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    # By half an hour.
    "Australia/Lord_Howe": ["2026-04-04", "2026-10-03"],
    # At midnight, so that a day begins at 01:00 or has 00:30 twice.
    "America/Havana": ["2026-03-08", "2026-11-01"],
    "Africa/Cairo": ["2026-04-24", "2026-10-29"],
    # By two hours.
    "Antarctica/Troll": ["2026-03-29", "2026-10-25"],
    # Twice within a month.
    "Africa/Casablanca": ["2026-02-15", "2026-03-22"],
    "Asia/Kathmandu": ["2026-06-01"],
    # A whole day was left out.
    "Pacific/Apia": ["2011-12-30"],
}
"""Zones, each with days (UTC) on which or near which its clocks change, if they do."""


def days_runs(cron: crontab, zone: ZoneInfo, day: str) -> list[str]:
    """Return what is due on one day of the zone, as its clocks show it."""
    start = datetime.fromisoformat(day).replace(tzinfo=zone)
    end = (datetime.fromisoformat(day) + DAY).replace(tzinfo=zone)
    found = occurrences(cron, zone, start - MINUTE, end - MINUTE, limit=2000)
    return [one.astimezone(zone).strftime("%H:%M") for one in found]


@lru_cache(maxsize=64)
def clock_readings(zone: ZoneInfo, day: datetime) -> list[tuple[datetime, datetime]]:
    """Return each minute of three days before and after `day`, with what the clocks show then."""
    minutes = [day + number * MINUTE for number in range(-3 * 1440, 3 * 1440)]
    return [(minute, minute.astimezone(zone).replace(tzinfo=None)) for minute in minutes]


def by_the_minute(cron: crontab, zone: ZoneInfo, day: datetime) -> list[datetime]:
    """Return all that is due in those days, found by looking at the clock each minute."""
    shown: dict[datetime, list[datetime]] = {}
    for instant, wall in clock_readings(zone, day):
        shown.setdefault(wall, []).append(instant)
    due: set[datetime] = set()
    wall, end = min(shown), max(shown)
    shift = wall - shown[wall][0].replace(tzinfo=None)
    while wall <= end:
        if wall in shown:
            shift = wall - shown[wall][0].replace(tzinfo=None)
        if _fits(cron, wall):
            if len(cron.hour) == 24:
                due.update(shown.get(wall, []))
            else:
                # A time that the clocks skip comes as much later, by the clock before.
                due.add(shown[wall][0] if wall in shown else (wall - shift).replace(tzinfo=UTC))
        wall += MINUTE
    return sorted(due)


def _fits(cron: crontab, wall: datetime) -> bool:
    return (
        wall.minute in cron.minute
        and wall.hour in cron.hour
        and wall.day in cron.day_of_month
        and wall.month in cron.month_of_year
        and wall.isoweekday() % 7 in cron.day_of_week
    )


def some_of(first: int, last: int) -> st.SearchStrategy[str]:
    """Return a few of the numbers, as a crontab's field."""
    numbers = st.sets(st.integers(first, last), min_size=1, max_size=3)
    return numbers.map(lambda chosen: ",".join(map(str, sorted(chosen))))


CRONTABS = st.builds(
    crontab,
    minute=st.one_of(some_of(0, 59), st.sampled_from(["*", "*/15", "0", "30"])),
    hour=st.one_of(some_of(0, 23), some_of(0, 3), st.sampled_from(["*", "*/2", "0-3"])),
    day_of_month=st.one_of(st.just("*"), some_of(1, 31), st.just("*/2")),
    # Each has a 31st; Celery refuses a crontab whose days are in none of its months.
    month_of_year=st.sampled_from(["*", "3,10,12", "*/2", "4-12"]),
    day_of_week=st.one_of(st.just("*"), some_of(0, 6), st.just("mon-fri")),
)

PLACES = st.sampled_from([(zone, day) for zone, days in CHANGES.items() for day in days])


@given(cron=CRONTABS, place=PLACES, seconds=st.integers(-DAY.seconds, DAY.seconds))
@example(crontab(minute="30", hour="2,3"), ("Europe/Berlin", "2026-03-29"), 0)
@example(crontab(minute="30", hour="0"), ("Africa/Cairo", "2026-04-24"), -3600)
@example(crontab(minute="*/15"), ("Australia/Lord_Howe", "2026-04-04"), 5)
@example(crontab(minute="15"), ("Australia/Lord_Howe", "2026-10-03"), 0)
@example(crontab(minute="0", hour="6"), ("Pacific/Apia", "2011-12-30"), -86400)
@example(crontab(minute="0"), ("Pacific/Apia", "2011-12-30"), -86400)
def test_as_the_clock_shows_it(cron: crontab, place: tuple[str, str], seconds: int) -> None:
    """From any moment on, the occurrences are those that one finds at the clock by waiting."""
    zone, day = ZoneInfo(place[0]), at(place[1])
    after = day + timedelta(seconds=seconds)
    until = after + DAY
    expected = [one for one in by_the_minute(cron, zone, day) if after < one <= until]
    assert occurrences(cron, zone, after, until, limit=10_000) == expected


@given(cron=CRONTABS, place=PLACES, seconds=st.integers(0, 10**8))
def test_nothing_lies_before_the_next(cron: crontab, place: tuple[str, str], seconds: int) -> None:
    """Asked from any moment between two occurrences, the answer is the same one, later than it."""
    zone, after = ZoneInfo(place[0]), at("2026-01-01") + timedelta(seconds=seconds)
    following = next_after(cron, zone, after)
    if following is None:
        return
    assert following > after
    assert following.second == following.microsecond == 0
    for moment in (after + (following - after) / 2, following - timedelta(microseconds=1)):
        assert next_after(cron, zone, moment) == following
    later = next_after(cron, zone, following)
    assert later is None or later > following


@pytest.mark.parametrize(
    ("zone", "spring", "skipped_shows", "autumn"),
    [
        ("Europe/Berlin", "2026-03-29", "03:30", "2026-10-25"),
        ("America/New_York", "2026-03-08", "03:30", "2026-11-01"),
    ],
)
def test_a_job_at_half_past_two_runs_once_each_day(
    zone: str, spring: str, skipped_shows: str, autumn: str
) -> None:
    """On the spring day, which skips 02:30, an hour later; on the autumn day the first time."""
    cron, where = crontab(hour=2, minute=30), ZoneInfo(zone)
    assert days_runs(cron, where, spring) == [skipped_shows]
    assert days_runs(cron, where, autumn) == ["02:30"]


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    """01:30 in New York on the autumn day is 05:30 UTC, before the change, and not 06:30 too."""
    cron = crontab(hour=1, minute=30)
    found = occurrences(cron, NEW_YORK, at("2026-11-01 00:00"), at("2026-11-02 00:00"), limit=9)
    assert found == [at("2026-11-01 05:30")]


@pytest.mark.parametrize(
    ("zone", "day", "runs"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Europe/Berlin", "2026-07-01", 24),
        ("UTC", "2026-03-29", 24),
    ],
)
def test_an_hourly_job_runs_at_each_hour_that_passes(zone: str, day: str, runs: int) -> None:
    """23 times in the spring, 25 in autumn, an hour of real time apart each time."""
    cron, where = crontab(minute=0), ZoneInfo(zone)
    assert len(days_runs(cron, where, day)) == runs
    found = occurrences(cron, where, at(day) - DAY, at(day) + DAY, limit=100)
    assert {later - one for one, later in zip(found, found[1:], strict=False)} == {
        timedelta(hours=1)
    }


def test_a_change_by_half_an_hour() -> None:
    """On Lord Howe 02:15 is skipped by half an hour in spring, and 01:45 comes twice in autumn."""
    zone = ZoneInfo("Australia/Lord_Howe")
    assert days_runs(crontab(hour=2, minute=15), zone, "2026-10-04") == ["02:45"]
    assert days_runs(crontab(hour=1, minute=45), zone, "2026-04-05") == ["01:45"]
    assert days_runs(crontab(minute=45), zone, "2026-04-05").count("01:45") == 2
    assert days_runs(crontab(minute=15), zone, "2026-10-04")[:4] == [
        "00:15",
        "01:15",
        "03:15",
        "04:15",
    ]


def test_a_day_that_begins_at_one() -> None:
    """In Cairo midnight is skipped on the spring day: what is due at 00:00 is due at 01:00."""
    zone = ZoneInfo("Africa/Cairo")
    found = occurrences(
        crontab(hour=0, minute=0), zone, at("2026-04-23 00:00"), at("2026-04-25 12:00"), limit=9
    )
    assert [one.astimezone(zone).strftime("%d %H:%M") for one in found] == ["24 01:00", "25 00:00"]


def test_the_zone_of_an_entry_counts() -> None:
    """07:00 in Berlin is 06:00 UTC in winter and 05:00 in summer."""
    cron = crontab(hour=7, minute=0)
    assert next_after(cron, BERLIN, at("2026-01-15 00:00")) == at("2026-01-15 06:00")
    assert next_after(cron, BERLIN, at("2026-07-15 00:00")) == at("2026-07-15 05:00")


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        (crontab("0", "6", "*", "29", "2"), "2026-01-01 00:00", "2028-02-29 06:00"),
        (crontab("0", "6", "*", "29", "2"), "2028-02-29 06:00", "2032-02-29 06:00"),
        # On a Monday, across the year 2100, which is no leap year.
        (crontab("0", "6", "mon", "29", "2"), "2072-03-01 00:00", "2112-02-29 06:00"),
        (crontab("0", "6", "fri", "13", "*"), "2026-03-14 00:00", "2026-11-13 06:00"),
        (crontab("0", "0", "*", "31", "*"), "2026-01-31 00:00", "2026-03-31 00:00"),
    ],
)
def test_rare_days(cron: crontab, after: str, expected: str) -> None:
    """They are found however far away they are."""
    assert next_after(cron, ZoneInfo("UTC"), at(after)) == at(expected)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_an_impossible_crontab_is_never_due(zone: str) -> None:
    """Celery refuses 30 February; where one comes by all the same, the search has an end."""
    cron = crontab("0", "0", "*", "29,30", "2")
    cron.day_of_month = {30}
    assert next_after(cron, ZoneInfo(zone), at("2026-01-01 00:00")) is None
    assert occurrences(cron, ZoneInfo(zone), at("2026-01-01"), at("2027-01-01"), limit=9) == []


@given(
    seconds=st.integers(1, 10**6),
    start=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    place=PLACES,
)
def test_intervals_are_anchored(seconds: int, start: datetime, place: tuple[str, str]) -> None:
    """Whenever one asks and whatever the zone, they are the multiples since 1970: no drift."""
    found = next_after(interval(seconds), ZoneInfo(place[0]), start)
    assert found is not None
    assert found.timestamp() % seconds == 0
    assert timedelta() < found - start <= timedelta(seconds=seconds)


def test_a_rule_of_rrule() -> None:
    """Its own times, in UTC; and none after its end."""
    rule = rrule("DAILY", dtstart=datetime(2026, 1, 1, 8, tzinfo=BERLIN), count=2)
    assert next_after(rule, ZoneInfo("UTC"), at("2025-12-01")) == at("2026-01-01 07:00")
    assert next_after(rule, ZoneInfo("UTC"), at("2026-01-01 07:00")) == at("2026-01-02 07:00")
    assert next_after(rule, ZoneInfo("UTC"), at("2026-01-02 07:00")) is None


def test_other_kinds_are_refused() -> None:
    """By name, so that nobody waits for an entry that is never due."""
    with pytest.raises(TypeError, match="BaseSchedule is neither a crontab, nor an interval"):
        next_after(BaseSchedule(), ZoneInfo("UTC"), at("2026-01-01"))


def test_no_more_than_the_limit() -> None:
    """The first ones, up to and with the end."""
    start, end = at("2026-01-01 00:00"), at("2026-01-01 00:03")
    every: Any = interval(60)
    assert occurrences(every, BERLIN, start, end, limit=2) == [start + MINUTE, start + 2 * MINUTE]
    assert occurrences(every, BERLIN, start, end, limit=9)[-1] == end


def test_jitter_is_the_same_on_every_host() -> None:
    """It is a function of the run's name alone: this number stands for all times and hosts."""
    assert jitter_of("daily@2026-01-15T06:00:00Z", 600).total_seconds() == 158.011693


@given(run_id=st.text(), seconds=st.floats(0.001, 86_400))
def test_jitter_lies_in_its_bounds(run_id: str, seconds: float) -> None:
    """From 0 up to the seconds given."""
    assert timedelta() <= jitter_of(run_id, seconds) <= timedelta(seconds=seconds)


def test_jitter_spreads() -> None:
    """A hundred runs lie in all ten tenths of the time given."""
    tenths = {int(jitter_of(f"entry@{number}", 10).total_seconds()) for number in range(100)}
    assert tenths == set(range(10))
