"""What is wrong with an entry: each rule, its message, and that a right one has none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from redbeat.schedules import rrule
from support.jobs import APP, NOW, definition

from bionewsbot.scheduling.checks import problems

EARLY = datetime(1969, 12, 31, tzinfo=UTC)
OVER = rrule("DAILY", dtstart=datetime(2026, 1, 1, tzinfo=UTC), count=2)


def found(name: str = "entry", **changes: Any) -> list[str]:
    """Return what is wrong with a right entry after the changes."""
    return problems(APP, name, definition(**changes), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule": crontab(hour=6, minute=0), "timezone": "Europe/Berlin", "jitter": 600},
        {"schedule": rrule("DAILY", dtstart=datetime(2026, 1, 1, tzinfo=UTC))},
        {"schedule": interval(1)},
        {"kwargs": {"words": ["a"], "loud": True}},
        {"args": (["a"],)},
        {"catch_up": "all", "overlap": "queue", "starting_deadline": 0.5, "run_deadline": 1},
        {"starting_deadline": 90, "jitter": 50},
        {"enabled": False},
    ],
    ids=str,
)
def test_a_right_entry(changes: dict[str, Any]) -> None:
    """Nothing is wrong with it."""
    assert found(**changes) == []


@pytest.mark.parametrize("name", ["a b", "", "a@b", "a:b", "ü", "a\udcff", "a\n"])
def test_names(name: str) -> None:
    """A name stands in keys, run ids and URLs."""
    assert found(name) == [f"entry name {name!r}: letters, digits, '_', '.' and '-' only"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"task": "tests.nope"}, "task 'tests.nope' is not registered; there are "),
        ({"task": None}, "task None is not registered; there are "),
        ({"task": "tests.plain"}, "task 'tests.plain' keeps no run (see run_task); there are "),
        ({"queue": "hihg"}, "queue 'hihg' is not one of high, default, low"),
        ({"queue": "dead_letter"}, "queue 'dead_letter' is not one of high, default, low"),
        ({"queue": None}, "queue None is not one of high, default, low"),
        ({"kwargs": {"word": 1}}, "got an unexpected keyword argument 'word'"),
        ({"args": (1, 2)}, "too many positional arguments"),
        ({"args": (1,), "kwargs": {"words": 1}}, "multiple values for argument 'words'"),
        ({"task": "tests.positional"}, "missing a required argument: 'first'"),
        ({"task": "tests.positional", "args": ("a",)}, "args: give the arguments of tests.pos"),
        ({"kwargs": {"words": {1}}}, "its arguments can't be written as JSON: Object of type set"),
        ({"enabled": "yes"}, "enabled must be true or false, not 'yes'"),
        ({"enabled": None}, "enabled must be true or false, not None"),
        ({"catch_up": "some"}, "catch_up 'some' is not one of latest, all, none"),
        ({"overlap": None}, "overlap None is not one of skip, queue, allow"),
        ({"starting_deadline": 0}, "starting_deadline must be a number of seconds above 0"),
        ({"starting_deadline": "60"}, "starting_deadline must be a number of seconds above 0"),
        ({"starting_deadline": True}, "starting_deadline must be a number of seconds above 0"),
        ({"run_deadline": -1}, "run_deadline must be a number of seconds above 0"),
        ({"run_deadline": None}, "run_deadline must be a number of seconds above 0"),
        ({"jitter": -1}, "jitter must be a number of seconds from 0 up"),
        ({"jitter": "5"}, "jitter must be a number of seconds from 0 up"),
        ({"jitter": 60}, "jitter must be less than the time between two runs, 0:01:00"),
        ({"jitter": 40, "starting_deadline": 40}, "starting_deadline must be longer than jitter"),
        ({"timezone": "Mars/Base"}, "timezone 'Mars/Base' is not an IANA name such as Eur"),
        ({"timezone": ""}, "timezone '' is not an IANA name"),
        ({"timezone": "../etc"}, "timezone '../etc' is not an IANA name"),
        ({"timezone": None}, "timezone None is not an IANA name"),
        ({"schedule": "0 6 * * *"}, "schedule must be a crontab(...) or a schedule(...), not '0"),
        ({"schedule": BaseSchedule()}, "schedule must be a crontab(...) or a schedule(...), not"),
        (
            {"schedule": interval(0)},
            "its interval must be a whole number of seconds from 1 to 316224000",
        ),
        (
            {"schedule": interval(1.5)},
            "its interval must be a whole number of seconds from 1 to 316224000",
        ),
        ({"schedule": interval(timedelta(days=10**8))}, "its interval must be a whole number"),
        ({"schedule": rrule("HOURLY", dtstart=NOW)}, "its rule must count by days or longer"),
        ({"schedule": rrule(9, dtstart=NOW)}, "its rule must count by days or longer"),
        ({"schedule": rrule("DAILY", dtstart=NOW, interval=0)}, "its rule must count"),
        ({"schedule": rrule("DAILY", dtstart=EARLY)}, "start in 1970 or later"),
        ({"schedule": rrule("DAILY", dtstart=NOW, byhour=range(7))}, "at most 6 times of the day"),
        (
            {"schedule": rrule("WEEKLY", dtstart=NOW, bymonth=2, bymonthday=30)},
            "choose among days and weeks by weekdays only",
        ),
        (
            {"schedule": rrule("MONTHLY", dtstart=NOW, bymonthday=30, bymonth=2)},
            "its schedule never comes due",
        ),
        ({"schedule": rrule("YEARLY", dtstart=NOW, interval=1.5)}, "when it is due can't be said"),
        ({"schedule": OVER}, "its schedule never comes due"),
    ],
)
def test_each_rule(changes: dict[str, Any], problem: str) -> None:
    """It is the only problem, and its sentence says what is allowed."""
    (only,) = found(**changes)
    assert problem in only


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300])
@pytest.mark.parametrize("field", ["starting_deadline", "run_deadline", "jitter"])
def test_times_beyond_all_measure(field: str, value: float) -> None:
    """What no clock can add is refused, not met in the middle of a tick."""
    (only,) = found(**{field: value})
    assert only.startswith(f"{field} must be a number of seconds")


@pytest.mark.parametrize("minute", [0, 55])
def test_jitter_is_measured_by_the_shortest_gap(minute: int) -> None:
    """Whenever one asks: an entry isn't right at one moment and wrong at another."""
    given = definition(schedule=crontab(minute="0,5"), jitter=900)
    (only,) = problems(APP, "entry", given, NOW.replace(minute=minute))
    assert only == "jitter must be less than the time between two runs, 0:05:00"


def test_an_unknown_task_is_told_what_there_is() -> None:
    """The jobs by name; a task that keeps no run is none."""
    (only,) = found(task="tests.nope")
    jobs = only.partition("there are ")[2].split(", ")
    assert {"tests.job", "tests.positional"} <= set(jobs)
    assert "tests.plain" not in jobs


def test_all_problems_are_told_at_once() -> None:
    """Name, task, queue, policy, zone and schedule."""
    many = found("a b", task="x", queue="y", catch_up="z", timezone="", schedule=5)
    assert [one.split()[0] for one in many] == [
        "entry",
        "task",
        "queue",
        "catch_up",
        "timezone",
        "schedule",
    ]
