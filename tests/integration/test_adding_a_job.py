"""A job is one task function and one timetable entry: defined here, run to its end for real."""

import json

from support.polling import wait_until
from support.stack import Stack

JOBS = '''
"""A job of a user's own."""

from bionewsbot.runs.model import Message
from bionewsbot.tasks.base import FanOut, run_task


@run_task("tests.count_letters")
def count_letters(self, words):
    """Have each word counted."""
    return FanOut(
        tuple(Message(word, "tests.count", "high", {"word": word}) for word in words)
    )


@run_task("tests.count")
def count(self, word):
    """Count one word's letters."""
    return {"letters": len(word)}


@run_task("tests.tidy")
def tidy(self):
    """Do the work in the job itself."""
    return {"deleted": 3}
'''

TIMETABLE = """
from datetime import timedelta

from celery.schedules import crontab, schedule

import jobs

beat_schedule = {
    "letters": {
        "task": jobs.count_letters.name,
        "schedule": schedule(timedelta(seconds=2)),
        "kwargs": {"words": ["one", "three"]},
        "options": {"queue": "low"},
        "starting_deadline": 60,
    },
    "tidy": {
        "task": jobs.tidy.name,
        "schedule": crontab(hour=3, minute=0),
        "options": {"queue": "default"},
        "starting_deadline": 60,
    },
}
"""


def test_a_job_is_a_function_and_an_entry(stack: Stack) -> None:
    """Sent by a real beat and, by hand, with `runs start --wait`; carried out by a real worker."""
    (stack.folder / "jobs.py").write_text(JOBS, encoding="utf-8")
    (stack.folder / "beat_schedule.py").write_text(TIMETABLE, encoding="utf-8")
    worker = stack.worker("all", "-I", "jobs")

    shown = stack.celery_json("runs", "start", "tidy", "--wait")
    assert (shown["status"], shown["summary"]["deleted"]) == ("succeeded", 3)

    beat = stack.beat()
    (run,) = wait_until(lambda: stack.ledger.latest(1, "letters"), "beat opens a run")
    ended = stack.wait_for_end(run.run_id)
    assert beat.stop() == 0
    assert (ended.status, ended.origin, ended.targets) == ("succeeded", "beat", 2)
    assert ended.totals == {"letters": 8}
    assert {item.target: item.state for item in stack.targets(run.run_id)} == {
        "one": "done",
        "three": "done",
    }

    lines = [line for line in worker.lines() if line.get("run_id") == run.run_id]
    assert {"task_started", "task_succeeded", "run_ended"} <= {line["event"] for line in lines}
    assert all({"task_id", "request_id", "target"} <= line.keys() for line in lines)
    assert json.dumps(lines)


def test_a_misspelt_job_is_refused_at_the_start(stack: Stack) -> None:
    """A task that nobody registered: the entry is named, exit code 2, nothing is in Redis."""
    (stack.folder / "jobs.py").write_text(JOBS, encoding="utf-8")
    (stack.folder / "beat_schedule.py").write_text(
        TIMETABLE.replace("jobs.tidy.name", '"tests.tidi"'), encoding="utf-8"
    )
    done = stack.celery("runs", "start", "letters", code=2)
    assert "entry 'tidy': task 'tests.tidi' is not registered" in done.stderr
    assert "Traceback" not in done.stderr
    with stack.server.client(1) as redis:
        assert redis.keys() == []
