"""From the timetable to stored insights with the real processes, as a user starts them."""

import json

from support.polling import wait_until
from support.stack import Stack

TIMETABLE = """
from datetime import timedelta

from celery.schedules import schedule

from bionewsbot import names

beat_schedule = {
    "soon": {
        "task": names.DAILY_COMPANY_ANALYSIS,
        "schedule": schedule(timedelta(seconds=2)),
        "options": {"queue": names.QUEUE_DEFAULT},
        "starting_deadline": 60,
    },
}
"""


def test_a_due_entry_becomes_insights_and_alerts(stack: Stack) -> None:
    """Beat sends the entry, workers carry it out, the backend serves what was found."""
    (stack.folder / "beat_schedule.py").write_text(TIMETABLE, encoding="utf-8")
    stack.backend()
    stack.celery("companies", "sync")
    stack.worker("high", "-Q", "high")
    worker = stack.worker("all")
    beat = stack.beat()
    (run,) = wait_until(lambda: stack.ledger.latest(1, "soon"), "beat opens a run")
    run_id = run.run_id
    stack.wait_for_end(run_id)
    assert beat.stop() == 0

    shown = stack.celery_json("runs", "show", run_id)
    assert (shown["status"], shown["origin"], shown["entry"]) == ("succeeded", "beat", "soon")
    assert shown["summary"]["targets"] == len(shown["targets"]) == len(stack.get("companies"))
    assert {target["state"] for target in shown["targets"]} == {"done"}

    insights, alerts = stack.get("insights"), stack.get("alerts")
    assert len(insights) == shown["summary"]["insights"] > 0
    assert len(alerts) == shown["summary"]["alerts"] > 0
    assert {alert["polarity"] for alert in alerts} >= {"positive", "negative"}
    assert all(row["url"].startswith("https://") for row in insights)
    assert all(row["source"] == "replay" and row["evidence"]["as_of"] for row in insights)

    ended = [line for line in worker.lines() if line["event"] == "task_succeeded"]
    assert ended
    assert all({"run_id", "task_id", "request_id"} <= line.keys() for line in ended)


def test_beat_refuses_an_empty_timetable_and_leaves_redis_alone(stack: Stack) -> None:
    """One clear message, exit code 1, and the schedule in Redis as it was."""
    with stack.server.client(1) as redis:
        redis.hset("redbeat:kept", mapping={"definition": json.dumps({"name": "kept"})})
        redis.sadd("redbeat::statics", "kept")
        before = {key: redis.dump(key) for key in redis.keys()}
        (stack.folder / "beat_schedule.py").write_text("beat_schedule = {}", encoding="utf-8")
        beat = stack.beat()
        wait_until(lambda: not beat.running, "beat ends")
        assert {key: redis.dump(key) for key in redis.keys()} == before
    said = beat.log.read_text(encoding="utf-8")
    assert "beat was not started; the timetable is wrong" in said
    assert "must be a dict with at least one entry" in said
    assert "Traceback" not in said
    assert beat.stop() == 1
