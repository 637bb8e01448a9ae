"""Beat's scheduler on a real Redis, without a beat process."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from kombu.exceptions import OperationalError
from redbeat import RedBeatSchedulerEntry
from redis import Redis
from support.apps import Broker, contents
from support.ledgers import LedgerUnderTest

from bionewsbot import names
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Address, Occurrence
from bionewsbot.runs.reconciler import reconcile
from bionewsbot.scheduling.scheduler import (
    DEFAULT_STARTING_DEADLINE,
    POLICY_FIELD,
    ScheduleEntry,
    Scheduler,
)
from bionewsbot.scheduling.timetable import DEFAULT_RUN_DEADLINE, load_timetable

TIMETABLE = """
from datetime import timedelta
from celery.schedules import crontab, schedule
beat_schedule = {
    "daily": {
        "task": "bionewsbot.daily_company_analysis",
        "schedule": crontab(hour=6, minute=0),
        "kwargs": {},
        "options": {"queue": "low"},
        "starting_deadline": 86400,
        "run_deadline": 1800,
    },
    "often": {
        "task": "bionewsbot.hourly_quick_scan",
        "schedule": schedule(timedelta(seconds=30)),
        "options": {"queue": "high"},
        "starting_deadline": 60,
    },
}
"""

Write = Callable[[str], None]


@pytest.fixture
def timetable(app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return what writes the timetable that the next scheduler reads."""

    def write(text: str) -> None:
        sys.modules.pop("beat_schedule", None)
        (tmp_path / "beat_schedule.py").write_text(text, encoding="utf-8")

    write(TIMETABLE)
    return write


@pytest.fixture
def redis(book: LedgerUnderTest) -> "Redis":
    """The scheduler's database."""
    return book.redis


def entry(app: Celery, name: str) -> ScheduleEntry:
    """Load an entry from Redis."""
    return ScheduleEntry.from_key(f"redbeat:{name}", app=app)


def due_since(app: Celery, name: str, ago: timedelta) -> ScheduleEntry:
    """Return an entry whose last run was `ago`."""
    found = entry(app, name)
    found.reschedule(datetime.now(UTC) - ago)
    return entry(app, name)


def test_the_timetable_is_brought_to_redis(app: Celery, timetable: Write, redis: Any) -> None:
    """Every entry with all its fields, as RedBeat's static ones."""
    Scheduler(app)
    daily, often = entry(app, "daily"), entry(app, "often")
    assert (daily.task, daily.options["queue"]) == (names.DAILY_COMPANY_ANALYSIS, "low")
    assert (daily.starting_deadline, daily.run_deadline) == (86400, 1800)
    assert daily.schedule == crontab(hour=6, minute=0)
    assert (often.starting_deadline, often.run_deadline) == (60, DEFAULT_RUN_DEADLINE)
    assert often.schedule == schedule(timedelta(seconds=30))
    assert redis.smembers("redbeat::statics") == {"daily", "often"}
    assert set(redis.zrange("redbeat::schedule", 0, -1)) == {"redbeat:daily", "redbeat:often"}


def test_a_fresh_entry_is_not_due_at_once(app: Celery, timetable: Write) -> None:
    """What was due before the first start is nobody's."""
    Scheduler(app)
    is_due, _ = entry(app, "often").is_due()
    assert not is_due


@pytest.mark.parametrize(
    "text",
    [
        "beat_schedule = {}",
        "",
        "def broken(:",
        TIMETABLE.replace("bionewsbot.daily_company_analysis", "bionewsbot.dayly"),
        TIMETABLE.replace('"queue": "high"', '"queue": "hihg"'),
        TIMETABLE.replace('"starting_deadline": 60,', ""),
    ],
    ids=["empty", "no table", "syntax", "task", "queue", "deadline"],
)
def test_a_wrong_timetable_leaves_redis_as_it_was(
    app: Celery, timetable: Write, redis: Any, text: str
) -> None:
    """Beat ends with the reason; no key is touched, not even the right entries'."""
    Scheduler(app)
    redis.set("redbeat::lock", "the leader's")
    before = contents(redis)
    # As in a process that has just started.
    app.conf.beat_schedule = {}
    timetable(text)
    with pytest.raises(SystemExit, match="beat was not started; the timetable is wrong:\n"):
        Scheduler(app)
    assert contents(redis) == before


def test_an_entry_taken_out_of_the_timetable_is_gone(
    app: Celery, timetable: Write, redis: Any
) -> None:
    """And one that an operator added stays."""
    Scheduler(app)
    RedBeatSchedulerEntry("own", "x", schedule(timedelta(hours=1)), app=app).save()
    timetable(TIMETABLE.replace('"often"', '"other"'))
    Scheduler(app)
    keys = set(redis.zrange("redbeat::schedule", 0, -1))
    assert keys == {"redbeat:daily", "redbeat:other", "redbeat:own"}
    assert not redis.exists("redbeat:often")


def test_a_restart_keeps_when_an_entry_last_ran(app: Celery, timetable: Write) -> None:
    """What came due while beat was down is sent after its start."""
    Scheduler(app)
    due_since(app, "often", timedelta(minutes=5))
    Scheduler(app)
    is_due, _ = entry(app, "often").is_due()
    assert is_due


def test_plain_redbeat_loads_our_entries(app: Celery, timetable: Write) -> None:
    """Its tools and its scheduler meet nothing that they don't know."""
    Scheduler(app)
    plain = RedBeatSchedulerEntry.from_key("redbeat:daily", app=app)
    assert (plain.name, plain.task, plain.options) == (
        "daily",
        names.DAILY_COMPANY_ANALYSIS,
        {"queue": "low"},
    )


def test_we_load_plain_redbeats_entries(app: Celery, redis: Any) -> None:
    """One that says nothing of deadlines has the defaults."""
    RedBeatSchedulerEntry("own", "x", schedule(timedelta(hours=1)), app=app).save()
    own = entry(app, "own")
    assert own.starting_deadline == DEFAULT_STARTING_DEADLINE
    assert own.run_deadline == DEFAULT_RUN_DEADLINE
    assert not redis.hexists("redbeat:own", POLICY_FIELD)
    with pytest.raises(KeyError):
        entry(app, "none")


def test_deadlines_survive_a_change(app: Celery, timetable: Write) -> None:
    """Loaded, changed, saved, loaded; and through the advance that follows a send."""
    Scheduler(app)
    daily = entry(app, "daily")
    daily.starting_deadline = 77.0
    daily.enabled = False
    daily.save()
    next(entry(app, "daily"))
    again = entry(app, "daily")
    assert (again.starting_deadline, again.run_deadline, again.enabled) == (77.0, 1800, False)


def test_a_due_entry_opens_a_run_and_sends_its_job(
    app: Celery, timetable: Write, broker: Broker
) -> None:
    """For the scheduled time, on the entry's queue; the message expires at the deadline."""
    scheduler = Scheduler(app)
    daily = due_since(app, "daily", timedelta(days=3))
    before = datetime.now(UTC)
    scheduler.apply_async(daily)
    (run,) = ledger().latest(10)
    assert (run.entry, run.origin, run.status) == ("daily", "beat", "running")
    assert run.scheduled_for.strftime("%H:%M:%S") == "06:00:00"
    assert timedelta() <= before - run.scheduled_for <= timedelta(days=1, seconds=60)
    assert run.deadline == pytest.approx(run.opened_at + 1800)
    (sent,) = broker.messages("low")
    assert Address.from_headers(sent["headers"]) == Address(run.run_id, "*", 1)
    assert datetime.fromisoformat(sent["headers"]["expires"]) == run.scheduled_for + timedelta(
        days=1
    )
    last_run_at = entry(app, "daily").last_run_at
    assert last_run_at is not None and last_run_at >= before


def test_a_tick_sends_what_is_due(app: Celery, timetable: Write, broker: Broker) -> None:
    """RedBeat's own loop comes to our apply_async; a second tick sends nothing."""
    scheduler = Scheduler(app)
    scheduler.lock_key = None
    due_since(app, "often", timedelta(seconds=40))
    scheduler.tick()
    scheduler.tick()
    assert [run.entry for run in ledger().latest(10)] == ["often"]
    assert len(broker.messages("high")) == 1


def test_an_occurrence_that_has_a_run_is_dropped(
    app: Celery, timetable: Write, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Another beat or a person started it: nothing is sent, and the entry is advanced."""
    scheduler = Scheduler(app)
    often = due_since(app, "often", timedelta(seconds=40))
    scheduler.apply_async(often)
    before = entry(app, "often").last_run_at
    scheduler.apply_async(often)
    assert len(ledger().latest(10)) == len(broker.messages("high")) == 1
    (dropped,) = [record for record in caplog.records if record.message == "occurrence_dropped"]
    assert "already has a run" in dropped.why  # type: ignore[attr-defined]
    after = entry(app, "often").last_run_at
    assert before is not None and after is not None and after > before


def test_a_failed_send_leaves_the_run_on_record(
    app: Celery, timetable: Write, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry isn't advanced; the next tick drops the occurrence; the reconciler sends it."""
    scheduler = Scheduler(app)
    often = due_since(app, "often", timedelta(seconds=40))

    def refuse(*args: object, **options: object) -> None:
        raise OperationalError("broker away")

    with monkeypatch.context() as patched:
        patched.setattr(app, "send_task", refuse)
        with pytest.raises(OperationalError):
            scheduler.apply_async(often)
    assert entry(app, "often").last_run_at == often.last_run_at
    (run,) = ledger().latest(10)
    assert run.status == "running"
    scheduler.apply_async(entry(app, "often"))
    assert broker.messages("high") == []
    monkeypatch.setattr(ledger(), "_clock", lambda: run.opened_at + 19)
    assert reconcile(app, ledger()) == 1
    assert len(broker.messages("high")) == 1


def test_an_occurrence_that_is_too_late_is_missed(
    app: Celery, timetable: Write, broker: Broker
) -> None:
    """On record, not sent, and the entry goes on."""
    at = datetime.now(UTC)
    passed = f"hour={(at.hour - 2) % 24}"
    timetable(TIMETABLE.replace("86400", "3600").replace("hour=6", passed))
    scheduler = Scheduler(app)
    daily = due_since(app, "daily", timedelta(days=3))
    scheduler.apply_async(daily)
    (run,) = ledger().latest(10)
    assert run.status == "missed"
    assert broker.messages("low") == []
    last_run_at = entry(app, "daily").last_run_at
    assert last_run_at is not None and last_run_at >= at


def test_an_entry_of_a_task_that_is_no_job_is_sent_plainly(
    app: Celery, broker: Broker, redis: Any
) -> None:
    """What an operator added with plain RedBeat goes as it would there, without a run."""

    @app.task(name="tests.plain", shared=False)
    def plain() -> None: ...

    assert plain.name in app.tasks
    own = ScheduleEntry("own", "tests.plain", schedule(timedelta(hours=1)), app=app)
    own.options = {"queue": "low"}
    own.save()
    scheduler = Scheduler(app, lazy=True)
    scheduler.apply_async(own)
    (sent,) = broker.messages("low")
    assert names.RUN_HEADER not in sent["headers"]
    assert ledger().latest(10) == []
    assert json.loads(redis.hget("redbeat:own", "meta"))["total_run_count"] == 1


def test_runs_by_hand_and_by_beat_share_their_name(
    app: Celery, timetable: Write, broker: Broker
) -> None:
    """An occurrence that a person started first is not sent by beat."""
    scheduler = Scheduler(app)
    daily = due_since(app, "daily", timedelta(days=3))
    now = datetime.now(UTC)
    six = now.replace(hour=6, minute=0, second=0, microsecond=0)
    occurrence = Occurrence("daily", six if six <= now else six - timedelta(days=1))
    job = load_timetable(app)["daily"].message
    ledger().open(occurrence, job, origin="operator", deadline=60)
    scheduler.apply_async(daily)
    assert [run.origin for run in ledger().latest(10)] == ["operator"]
