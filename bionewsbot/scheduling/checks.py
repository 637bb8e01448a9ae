"""What is wrong with an entry: one list of rules for the file, the command line and Redis."""

import inspect
import json
from collections.abc import Sized
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from redbeat.schedules import rrule

from bionewsbot.names import WORKER_QUEUES
from bionewsbot.runs.model import OVERLAPS, Occurrence
from bionewsbot.scheduling.calendar import EPOCH, next_after, occurrences
from bionewsbot.scheduling.entries import Definition, Entry, signature_of
from bionewsbot.scheduling.policies import CATCH_UPS
from bionewsbot.scheduling.redbeat_json import decode, encode

LONGEST_SECONDS = 10 * 366 * 86_400
"""Ten years: more than any entry wants, and far from what a date can't hold."""

MOST_TIMES = 6
"""Times of the day that a rrule may name: a look at the costliest rule takes half a second."""


def problems(app: Celery, name: str, definition: Definition, now: datetime) -> list[str]:
    """Return all that is wrong with an entry, each as a sentence that says what is allowed."""
    found = _of_name(name)
    found += _of_task(app, definition)
    found += _of_policies(definition)
    zone = _of_zone(definition.timezone)
    schedule = _of_schedule(definition.schedule)
    found += zone + schedule
    if not zone and not schedule:
        found += _of_times(name, definition, now)
    return found


def _of_name(name: str) -> list[str]:
    try:
        Occurrence(name, EPOCH)
    except ValueError as error:
        return [str(error)]
    return []


def _of_task(app: Celery, definition: Definition) -> list[str]:
    found = []
    task = app.tasks.get(definition.task)
    if not getattr(task, "carries_runs", False):
        jobs = sorted(name for name, one in app.tasks.items() if getattr(one, "carries_runs", 0))
        why = "is not registered" if task is None else "keeps no run (see run_task)"
        found.append(f"task {definition.task!r} {why}; there are {', '.join(jobs)}")
    else:
        found += _of_arguments(task, definition)
    if definition.queue not in WORKER_QUEUES:
        found.append(f"queue {definition.queue!r} is not one of {', '.join(WORKER_QUEUES)}")
    return found


def _of_arguments(task: Any, definition: Definition) -> list[str]:
    signature = signature_of(task)
    try:
        signature.bind(*definition.args, **definition.kwargs)
    except TypeError as error:
        return [f"its arguments don't fit {definition.task}{signature}: {error}"]
    kinds = [signature.parameters[name].kind for name in list(signature.parameters)]
    if definition.args and any(
        kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
        for kind in kinds[: len(definition.args)]
    ):
        return [f"args: give the arguments of {definition.task}{signature} by name, as kwargs"]
    try:
        json.dumps([list(definition.args), dict(definition.kwargs)])
    except (TypeError, ValueError) as error:
        return [f"its arguments can't be written as JSON: {error}"]
    return []


def _of_policies(definition: Definition) -> list[str]:
    found = []
    enabled: Any = definition.enabled
    if not isinstance(enabled, bool):
        found.append(f"enabled must be true or false, not {enabled!r}")
    if definition.catch_up not in CATCH_UPS:
        found.append(f"catch_up {definition.catch_up!r} is not one of {', '.join(CATCH_UPS)}")
    if definition.overlap not in OVERLAPS:
        found.append(f"overlap {definition.overlap!r} is not one of {', '.join(OVERLAPS)}")
    given = definition.starting_deadline
    if given is not None and not _is_number(given, above=0):
        found.append(
            f"starting_deadline must be a number of seconds above 0 (ten years at most): {given!r}"
        )
    if not _is_number(definition.run_deadline, above=0):
        found.append(
            f"run_deadline must be a number of seconds above 0, not {definition.run_deadline!r}"
        )
    if definition.jitter != 0 and not _is_number(definition.jitter, above=0):
        found.append(f"jitter must be a number of seconds from 0 up, not {definition.jitter!r}")
    return found


def _of_zone(timezone: Any) -> list[str]:
    try:
        Definition(task="", schedule=interval(), timezone=timezone).zone.utcoffset(None)
    # zoneinfo raises one or another of these for a name that isn't one.
    except (KeyError, ValueError, TypeError, OSError):
        return [f"timezone {timezone!r} is not an IANA name such as Europe/Berlin"]
    return []


def _of_schedule(schedule: BaseSchedule) -> list[str]:
    if isinstance(schedule, crontab):
        return []
    if isinstance(schedule, rrule):
        if _is_quick(schedule):
            return []
        return [
            "its rule must count by days or longer, start in 1970 or later, name at most "
            f"{MOST_TIMES} times of the day, and choose among days and weeks by weekdays only; "
            "a crontab or an interval does the rest"
        ]
    if not isinstance(schedule, interval):
        return [f"schedule must be a crontab(...) or a schedule(...), not {schedule!r}"]
    every = schedule.run_every
    longest = timedelta(seconds=LONGEST_SECONDS)
    if not timedelta(seconds=1) <= every <= longest or every % timedelta(seconds=1):
        return [
            f"its interval must be a whole number of seconds from 1 to {LONGEST_SECONDS}: {every}"
        ]
    return []


def _is_quick(rule: Any) -> bool:
    # dateutil counts each one from the rule's start, and searches up to the year 9999 for one that
    # never comes: by the second, or day by day through filters, longer than beat's lock lives.
    times = prod(
        len(given) if isinstance(given, Sized) else 1
        for given in (rule.byhour, rule.byminute, rule.bysecond)
    )
    filters = ("bysetpos", "bymonth", "bymonthday", "byyearday", "byeaster", "byweekno")
    by_days = rule.freq >= rrule.FREQ_MAP["WEEKLY"]
    return (
        rule.freq in rrule.FREQ_MAP.values()
        and rule.freq <= rrule.FREQ_MAP["DAILY"]
        and _is_number(rule.interval, above=0)
        and times <= MOST_TIMES
        and rule.dtstart >= EPOCH
        and not (by_days and any(getattr(rule, name) is not None for name in filters))
    )


def _of_times(name: str, definition: Definition, now: datetime) -> list[str]:
    try:
        first = next_after(definition.schedule, definition.zone, now)
    except Exception as error:
        # What dateutil takes for a rule may turn out to be none when it is counted.
        return [f"when it is due can't be said: {type(error).__name__}: {error}"]
    if first is None:
        return ["its schedule never comes due"]
    if not _is_number(definition.jitter, above=0):
        return []
    found = []
    apart = _shortest_gap(encode(definition.schedule), definition.timezone)
    if apart is not None and timedelta(seconds=definition.jitter) >= apart:
        found.append(f"jitter must be less than the time between two runs, {apart}")
    entry = Entry(name, definition)
    if definition.starting_deadline is not None and not _of_policies(definition):
        if entry.starting_deadline <= timedelta(seconds=definition.jitter):
            found.append("starting_deadline must be longer than jitter")
    return found


@lru_cache(maxsize=4096)
def _shortest_gap(schedule_text: str, timezone: str) -> timedelta | None:
    # From a fixed day on, so that what is right at one moment isn't wrong at another; of a hundred,
    # as one after the other may lie apart by minutes or by days.
    times = occurrences(
        decode(schedule_text),
        ZoneInfo(timezone),
        datetime(2026, 1, 5, tzinfo=UTC),
        datetime(2036, 1, 5, tzinfo=UTC),
        limit=100,
    )
    return min((later - one for one, later in pairwise(times)), default=None)


def _is_number(value: Any, *, above: float) -> bool:
    is_number = not isinstance(value, bool) and isinstance(value, int | float)
    return is_number and above < value <= LONGEST_SECONDS
