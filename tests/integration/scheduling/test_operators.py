"""What operators do, with our commands' store or with plain RedBeat, meets a running beat."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from celery.schedules import crontab
from celery.schedules import schedule as interval
from redbeat import RedBeatSchedulerEntry
from redbeat.schedules import rrule
from support.apps import Broker
from support.scheduling import MINUTE, TEN, TIMETABLE, Schedule, Write, definition, put_due

from bionewsbot import names
from bionewsbot.scheduling.entries import Entry


def test_a_disabled_entry_costs_no_ticks(schedule: Schedule, broker: Broker) -> None:
    """However overdue, it isn't looked at, and beat waits as long as it may."""
    beat = schedule.leader()
    put_due(schedule, enabled=False)
    assert schedule.score("own") == -1
    assert beat.tick() == pytest.approx(1.0)
    assert schedule.runs("own") == []


def test_enabled_again_it_doesnt_fire_at_once(
    schedule: Schedule, broker: Broker, plain: Callable[..., RedBeatSchedulerEntry]
) -> None:
    """With plain RedBeat, while a beat leads: what was due meanwhile is nobody's."""
    beat = schedule.leader()
    put_due(schedule)
    schedule.settle(beat)
    one = plain("own")
    one.enabled = False
    one.save()
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    assert schedule.score("own") == -1
    off = schedule.entry("own")
    schedule.put(replace(off, last_run_at=schedule.store.now() - timedelta(days=3)))
    one = plain("own")
    one.enabled = True
    one.save()
    before = schedule.store.now()
    schedule.settle(beat)
    assert len(schedule.runs("own")) == 1
    last = schedule.entry("own").last_run_at
    assert last is not None and last >= before
    assert (schedule.score("own") or 0) > before.timestamp()


def test_enabled_again_while_no_beat_ran(schedule: Schedule, broker: Broker) -> None:
    """The next leader takes it as new, too, whether it is the file's or not."""
    schedule.leader()
    for name in ("often", "own"):
        long_ago = schedule.store.now() - timedelta(days=3)
        schedule.put(Entry(name, definition(enabled=False), last_run_at=long_ago))
        schedule.edit(name, enabled=True)
        schedule.redis.zadd("redbeat::schedule", {f"redbeat:{name}": 1})
    schedule.depose()
    schedule.leader()
    assert schedule.ledger.latest(9) == []


def test_paused_and_resumed(
    schedule: Schedule, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent meanwhile, which the log says, once; what was due is caught up."""
    beat = schedule.leader()
    schedule.store.pause(by="anna", why="a move")
    put_due(schedule)
    assert {beat.tick() for _ in range(3)} == {1.0}
    assert schedule.runs("own") == []
    (reminder,) = [one for one in caplog.records if one.message == "everything_is_paused"]
    assert (vars(reminder)["by"], vars(reminder)["why"]) == ("anna", "a move")
    assert reminder.levelno == logging.WARNING
    schedule.store.resume(by="bert")
    schedule.settle(beat)
    assert len(schedule.runs("own")) == len(broker.messages("high")) == 1
    told = [vars(one)["what"] for one in caplog.records if one.message == "schedule_changed"]
    assert told == ["paused everything: a move", "resumed everything"]


def test_paused_before_a_beat_starts(schedule: Schedule, broker: Broker) -> None:
    """A new leader keeps to it, and brings its file all the same."""
    schedule.store.pause(by="anna", why="")
    beat = schedule.leader()
    put_due(schedule)
    assert beat.tick() == 1.0
    assert schedule.store.statics() == {"daily", "often"}
    assert schedule.runs("own") == []


def test_plain_redbeat_reads_our_entries(
    schedule: Schedule, plain: Callable[..., RedBeatSchedulerEntry]
) -> None:
    """Its tools and its scheduler meet nothing that they don't know."""
    schedule.leader()
    one = plain("daily")
    assert (one.name, one.task, one.options, one.enabled) == (
        "daily",
        names.DAILY_COMPANY_ANALYSIS,
        {"queue": "low"},
        True,
    )
    assert one.schedule == crontab(hour=6, minute=0)
    assert one.last_run_at == schedule.entry("daily").last_run_at
    assert one.due_at.timestamp() == pytest.approx(schedule.score("daily"), abs=1)
    assert not one.is_due()[0]


def test_we_run_plain_redbeats_entries(
    schedule: Schedule, broker: Broker, plain: Callable[..., RedBeatSchedulerEntry]
) -> None:
    """Added, run and edited with its own API; a change of its times counts from then on."""
    beat = schedule.leader()
    at = (schedule.store.now() - TEN).replace(second=0, microsecond=0)
    cron = crontab(hour=at.hour, minute=at.minute)
    own = plain("own", task=names.HOURLY_QUICK_SCAN, schedule=cron)
    own.save().reschedule(at - MINUTE)
    schedule.settle(beat)
    assert [run.scheduled_for for run in schedule.runs("own")] == [at]
    assert len(broker.messages("default")) == 1
    own = plain("own")
    own.schedule = interval(60)
    own.save()
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    assert len(schedule.runs("own")) == 1
    assert schedule.entry("own").definition.schedule == interval(60)


def test_what_plain_redbeat_gave_up_is_missed(
    schedule: Schedule, broker: Broker, plain: Callable[..., RedBeatSchedulerEntry]
) -> None:
    """Edited before it was sent: what was due is on record, once, and counted."""
    beat = schedule.leader()
    at = put_due(schedule)
    own = plain("own")
    own.schedule = interval(86_400)
    own.save()
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    assert [(run.scheduled_for, run.status) for run in schedule.runs("own")] == [(at, "missed")]
    assert schedule.store.counts() == {"missed": 1}
    one = schedule.entry("own")
    assert not one.edited
    assert one.last_run_at is not None and one.last_run_at > at


def test_an_operators_changes_survive_elections(schedule: Schedule, timetable: Write) -> None:
    """The file's own later change is seen beside them."""
    schedule.leader()
    schedule.edit("often", options={"queue": "default"})
    timetable(TIMETABLE.replace('"queue": "high"', '"queue": "low"'))
    for _ in range(2):
        schedule.depose()
        schedule.leader()
        often = schedule.entry("often")
        assert often.definition.queue == "default"
        assert often.from_file and often.from_file["queue"] == "low"


def test_a_rules_last_occurrence_runs(schedule: Schedule, broker: Broker) -> None:
    """An entry that comes due once, and then never again, is no broken one."""
    beat = schedule.leader()
    at = schedule.store.now().replace(microsecond=0) - MINUTE
    given = definition(schedule=rrule("DAILY", dtstart=at, count=1))
    schedule.put(Entry("own", given, last_run_at=at - MINUTE))
    schedule.settle(beat)
    assert [run.scheduled_for for run in schedule.runs("own")] == [at]
    assert (schedule.score("own"), schedule.store.set_aside()) == (-1, {})


def test_an_entry_from_a_clock_that_was_ahead(schedule: Schedule, broker: Broker) -> None:
    """It counts from now instead of waiting for years."""
    beat = schedule.leader()
    now = schedule.store.now()
    schedule.put(Entry("own", definition(), last_run_at=now + timedelta(days=4000)))
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    schedule.settle(beat)
    last = schedule.entry("own").last_run_at
    assert last is not None and now <= last <= schedule.store.now()
