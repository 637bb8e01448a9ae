"""The timetable is checked as a whole, and each problem names its entry."""

import sys
from pathlib import Path
from typing import Any

import pytest
from celery.schedules import crontab
from support.jobs import APP, definition

from bionewsbot.errors import TimetableError
from bionewsbot.scheduling.entries import Definition
from bionewsbot.scheduling.timetable import check_timetable, load_timetable


def line(**changes: Any) -> dict[str, Any]:
    """Return a right entry, but for the changes; a value of None takes the key out."""
    right = {
        "task": "tests.job",
        "schedule": crontab(minute=0),
        "options": {"queue": "high"},
    }
    return {key: value for key, value in {**right, **changes}.items() if value is not None}


def test_a_right_timetable() -> None:
    """What it says comes through; the rest has its defaults."""
    found = check_timetable(APP, {"job": line()}, where="here")
    assert found == {"job": definition(schedule=crontab(minute=0), queue="high")}


def test_every_field() -> None:
    """A line may say all that an entry has."""
    fields: dict[str, Any] = {
        "args": [["a"]],
        "kwargs": {"loud": True},
        "enabled": False,
        "timezone": "Europe/Berlin",
        "catch_up": "none",
        "overlap": "allow",
        "starting_deadline": 60,
        "run_deadline": 600,
        "jitter": 5,
    }
    (only,) = check_timetable(APP, {"job": line(**fields)}, where="here").values()
    assert only == Definition(
        task="tests.job",
        schedule=crontab(minute=0),
        queue="high",
        **{**fields, "args": (["a"],)},
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (line(task="tests.nope"), "task 'tests.nope' is not registered; there are"),
        (line(task=None), "task is missing"),
        (line(schedule=None), "schedule is missing"),
        (line(schedule="0 6 * * *"), "schedule must be a crontab"),
        (line(options=None), "options is missing"),
        (line(options={}), 'options must be {"queue": ...} and no more, not {}'),
        (line(options="high"), "options must be {\"queue\": ...} and no more, not 'high'"),
        (line(options={"queue": "high", "expires": 5}), "options must be"),
        (line(options={"queue": "hihg"}), "queue 'hihg' is not one of high, default, low"),
        (line(options={"queue": "dead_letter"}), "queue 'dead_letter' is not one of"),
        (line(args="abc"), "args must be a list, not 'abc'"),
        (line(kwargs=["loud"]), "kwargs must be a dict, not ['loud']"),
        (line(starting_deadline=0), "starting_deadline must be a number of seconds above 0"),
        (line(run_deadline="1h"), "run_deadline must be a number of seconds above 0"),
        (line(expires=5), "unknown key 'expires'"),
        (5, "must be a dict with task, schedule, options"),
    ],
    ids=str,
)
def test_each_problem_names_the_entry(given: object, message: str) -> None:
    """Where, which entry, what is wrong, what is allowed."""
    with pytest.raises(TimetableError) as refused:
        check_timetable(APP, {"job": given}, where="beat_schedule.py")
    assert "beat_schedule.py: entry 'job': " + message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [(5, "its name must be a text"), (None, "its name must be"), ("a b", "entry name 'a b': let")],
)
def test_a_name_that_is_none(name: object, problem: str) -> None:
    """Not every key of a dict is an entry's name."""
    with pytest.raises(TimetableError, match=f"here: entry {name!r}: {problem}"):
        check_timetable(APP, {name: line()}, where="here")


def test_all_problems_are_told_at_once() -> None:
    """Each entry's own lines, in the file's order."""
    table = {"one": line(task="x"), "two": line(schedule=5, expires=1, args=1), "three ": line()}
    with pytest.raises(TimetableError) as refused:
        check_timetable(APP, table, where="here")
    assert [told.split(":")[1].strip() for told in str(refused.value).splitlines()] == [
        "entry 'one'",
        "entry 'two'",
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
    [
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("from celery.schedules import crontab; crontab(hour=25)", "ParseException|ValueError"),
        ("", "at least one entry"),
    ],
)
def test_a_file_that_does_not_load_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """Whatever the file raises on import is told with its kind; the working directory wins."""
    (tmp_path / "beat_schedule.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "beat_schedule", raising=False)
    with pytest.raises(TimetableError, match=message):
        load_timetable(APP)
    sys.modules.pop("beat_schedule", None)
