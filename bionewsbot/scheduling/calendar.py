"""When a schedule is due: instants in UTC, as a function of the schedule and its zone alone."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from redbeat.schedules import rrule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Intervals are counted from here, so that they neither drift nor depend on who started when."""

_HORIZON = timedelta(days=41 * 366)
"""The longest gap of a crontab that ever comes due: 29 February on a given weekday, across a
century without its leap day."""

_NEAR = timedelta(hours=25)
"""How far from a change of the clocks its effects can reach: a day and an hour."""

_HOURS = 24


def next_after(schedule: BaseSchedule, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """Return the first instant after `moment` (aware) at which the schedule is due, or None.

    A crontab is read on the clocks of `zone`. Where they change, a job at set hours runs once: a
    time that the spring skips is due as much later, a time that comes twice in autumn is due the
    first time. A job of every hour runs at each hour that really passes, 23 or 25 in the day. An
    interval of n seconds is due at each multiple of n seconds since 1970. Raises TypeError for
    other kinds of schedules.
    """
    if isinstance(schedule, crontab):
        return _next_of_crontab(schedule, zone, moment)
    if isinstance(schedule, rrule):
        return _in_utc(schedule.rrule.after(moment))
    if isinstance(schedule, interval):
        every: timedelta = schedule.run_every
        return EPOCH + ((moment - EPOCH) // every + 1) * every
    raise TypeError(f"{type(schedule).__name__} is neither a crontab, nor an interval, nor a rrule")


def occurrences(
    schedule: BaseSchedule, zone: ZoneInfo, after: datetime, until: datetime, *, limit: int
) -> list[datetime]:
    """Return the first `limit` instants at which it is due after `after` and up to `until`."""
    return list(islice(_occurrences(schedule, zone, after, until), limit))


def jitter_of(run_id: str, seconds: float) -> timedelta:
    """Return a run's delay, from 0 up to `seconds`: the same one on every host, from its name."""
    digest = hashlib.sha256(run_id.encode()).digest()
    return timedelta(seconds=seconds * int.from_bytes(digest[:8]) / 2**64)


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _occurrences(
    schedule: BaseSchedule, zone: ZoneInfo, after: datetime, until: datetime
) -> Iterator[datetime]:
    following = next_after(schedule, zone, after)
    while following is not None and following <= until:
        yield following
        following = next_after(schedule, zone, following)


def _next_of_crontab(cron: crontab, zone: ZoneInfo, moment: datetime) -> datetime | None:
    every_hour = len(cron.hour) == _HOURS
    local = moment.astimezone(zone).replace(tzinfo=None)
    change = _change_near(zone, moment)
    # Rounded up: what is due at this minute was due at its beginning.
    start = (local - change).replace(second=0, microsecond=0)
    best: datetime | None = None
    stop = datetime.max
    for wall in _wall_times(cron, start):
        if wall > stop:
            break
        for instant in _instants(wall, zone, every_hour):
            if instant > moment and (best is None or instant < best):
                best = instant
                # Near a change, what stands later on the clock may come sooner.
                stop = wall + _change_near(zone, instant)
    return best


def _change_near(zone: ZoneInfo, moment: datetime) -> timedelta:
    if zone.key == "UTC":
        return timedelta()
    before = (moment - _NEAR).astimezone(zone).utcoffset() or timedelta()
    after = (moment + _NEAR).astimezone(zone).utcoffset() or timedelta()
    return abs(after - before)


def _instants(wall: datetime, zone: ZoneInfo, every_hour: bool) -> tuple[datetime, ...]:
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if not every_hour or zone.key == "UTC":
        return (first,)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return (first,)
    skipped = first.astimezone(zone).replace(tzinfo=None) != wall
    return () if skipped else (first, second)


def _wall_times(cron: crontab, start: datetime) -> Iterator[datetime]:
    hours, minutes = sorted(cron.hour), sorted(cron.minute)
    for day in _days(cron, start.date()):
        for hour in hours:
            if day == start.date() and hour < start.hour:
                continue
            for minute in minutes:
                wall = datetime(day.year, day.month, day.day, hour, minute)
                if wall >= start:
                    yield wall


def _days(cron: crontab, start: date) -> Iterator[date]:
    day, end = start, start + _HORIZON
    while day < end:
        if day.month not in cron.month_of_year:
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            continue
        # As Celery has it, and unlike cron: day of month and day of week must both fit.
        if day.day in cron.day_of_month and day.isoweekday() % 7 in cron.day_of_week:
            yield day
        day += timedelta(days=1)
