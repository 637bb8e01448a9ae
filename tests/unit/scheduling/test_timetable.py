"""The timetable is checked as a whole, and each problem names its entry."""

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab

from bionewsbot.errors import TimetableError
from bionewsbot.scheduling.timetable import DEFAULT_RUN_DEADLINE, check_timetable, load_timetable

APP = Celery("tests", set_as_current=False)


@APP.task(name="bionewsbot.some_job")
def some_job() -> None:
    """Stand in for a job."""


def entry(**changes: Any) -> dict[str, Any]:
    """Return a right entry, but for the changes; a value of None takes the key out."""
    right = {
        "task": "bionewsbot.some_job",
        "schedule": crontab(minute=0),
        "options": {"queue": "high"},
        "starting_deadline": 60,
    }
    return {key: value for key, value in {**right, **changes}.items() if value is not None}


def test_a_right_timetable() -> None:
    """Fields come through; the run's deadline has a default."""
    (only,) = check_timetable(APP, {"job": entry()}, where="here").values()
    assert (only.name, only.task, only.queue) == ("job", "bionewsbot.some_job", "high")
    assert (only.starting_deadline, only.run_deadline) == (60, DEFAULT_RUN_DEADLINE)
    assert (only.message.task, only.message.queue) == ("bionewsbot.some_job", "high")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "bionewsbot.nope"}, "task 'bionewsbot.nope' is not registered; there are bione"),
        ({"task": None}, "task None is not registered"),
        ({"schedule": "0 6 * * *"}, "schedule must be a crontab"),
        ({"options": {"queue": "hihg"}}, "options: queue 'hihg' is not one of high, default, low"),
        ({"options": {"queue": "dead_letter"}}, "options: queue 'dead_letter' is not one of"),
        ({"options": None}, "options: queue None is not one of"),
        ({"starting_deadline": None}, "starting_deadline must be a number of seconds above 0"),
        ({"starting_deadline": 0}, "starting_deadline must be a number of seconds above 0, not 0"),
        ({"run_deadline": "1h"}, "run_deadline must be a number of seconds above 0, not '1h'"),
        ({"expires": 5}, "unknown key 'expires'"),
    ],
)
def test_each_problem_names_the_entry(changes: dict[str, Any], message: str) -> None:
    """Where, which entry, what is wrong, what is allowed."""
    with pytest.raises(TimetableError) as refused:
        check_timetable(APP, {"job": entry(**changes)}, where="beat_schedule.py")
    assert "beat_schedule.py: entry 'job': " + message in str(refused.value)


def test_all_problems_are_told_at_once() -> None:
    """Two wrong entries make two lines."""
    table = {"one": entry(task="x"), "two": entry(schedule=5), "three ": entry()}
    with pytest.raises(TimetableError) as refused:
        check_timetable(APP, table, where="here")
    assert [line.split(":")[1].strip() for line in str(refused.value).splitlines()] == [
        "entry 'one'",
        "entry 'two'",
        "entry 'three '",
    ]


@pytest.mark.parametrize("table", [None, {}, [], "x"])
def test_an_empty_timetable_is_refused(table: object) -> None:
    """An empty one would erase the schedule in Redis."""
    with pytest.raises(TimetableError, match="must be a dict with at least one entry"):
        check_timetable(APP, table, where="here")


@pytest.mark.parametrize(
    ("text", "message"),
    [("def broken(:", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("", "at least one entry")],
)
def test_a_file_that_does_not_load_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """Whatever the file raises on import is told with its kind; the working directory wins."""
    (tmp_path / "beat_schedule.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "beat_schedule", raising=False)
    with pytest.raises(TimetableError, match=message):
        load_timetable(APP)
    monkeypatch.delitem(__import__("sys").modules, "beat_schedule", raising=False)
