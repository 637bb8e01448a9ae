"""Which occurrence of a schedule is due: a function of the schedule and of two instants."""

from datetime import UTC, datetime, timedelta

from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval

_LOOK_BACK = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 366, 4 * 366 + 1))
"""How far back the latest occurrence is looked for, step by step: every crontab that ever comes
due does so within the last span (29 February)."""


def latest_occurrence(
    schedule: BaseSchedule, last_run_at: datetime | None, now: datetime
) -> datetime:
    """Return the latest instant after `last_run_at` and up to `now` at which the entry was due.

    Where several passed unsent, they are one: the latest. An entry that never ran, or whose
    schedule names no instant in that time, is due `now`. All times are aware; the answer is UTC.
    """
    if isinstance(schedule, crontab):
        found = _latest_of_crontab(schedule, last_run_at, now)
    elif isinstance(schedule, interval) and last_run_at is not None:
        passed = max(1, (now - last_run_at) // schedule.run_every)
        found = min(now, last_run_at + passed * schedule.run_every)
    else:
        found = None
    return (found or now).astimezone(UTC)


def _latest_of_crontab(
    schedule: crontab, last_run_at: datetime | None, now: datetime
) -> datetime | None:
    for span in _LOOK_BACK:
        start = now - span
        if last_run_at is not None:
            start = max(start, last_run_at)
        found = None
        following = _following(schedule, start)
        while following <= now:
            found, following = following, _following(schedule, following)
        if found is not None or start == last_run_at:
            return found
    return None


def _following(schedule: crontab, moment: datetime) -> datetime:
    start, delta, _ = schedule.remaining_delta(moment)
    following: datetime = start + delta
    return following
