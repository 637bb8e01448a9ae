"""Beats of the tests: in this process, tick by tick, on the tests' own Redis."""

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from celery.schedules import schedule as interval
from redbeat import RedBeatSchedulerEntry
from redbeat.schedulers import get_redis
from redis import Redis
from support.polling import keep_off_the_hour, wait_until
from support.redis_server import RedisServer

from bionewsbot import celeryconfig, names
from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_beat_redis
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import Run
from bionewsbot.scheduling.entries import Definition, Entry, read_entry
from bionewsbot.scheduling.scheduler import Scheduler
from bionewsbot.scheduling.store import Change, Store

TIMETABLE = """
from celery.schedules import crontab, schedule

beat_schedule = {
    "daily": {
        "task": "bionewsbot.daily_company_analysis",
        "schedule": crontab(hour=6, minute=0),
        "options": {"queue": "low"},
    },
    "often": {
        "task": "bionewsbot.hourly_quick_scan",
        "schedule": schedule(3600),
        "options": {"queue": "high"},
        "overlap": "allow",
    },
}
"""

EMPTY = "beat_schedule = {}"

MINUTE = timedelta(minutes=1)
TEN = 10 * MINUTE

Write = Callable[[str], None]
"""Writes the timetable that the next beat reads."""


class Schedule:
    """The schedule in Redis, seen and changed from outside; beats that look at it."""

    def __init__(self, app: Celery, server: RedisServer) -> None:
        self.app = app
        self.redis: "Redis" = connect_beat_redis(settings_module.current())
        self.store = Store(app, self.redis)
        self.ledger = Ledger.from_settings(settings_module.current(), server.client(1))
        self._beats: list[Scheduler] = []

    def beat(self) -> Scheduler:
        """Return a beat that has not looked yet."""
        beat = Scheduler(self.app)
        # `depose` ends it where a test wants that; a slow machine doesn't.
        beat.lock_timeout = 60.0
        self._beats.append(beat)
        return beat

    def leader(self) -> Scheduler:
        """Return a beat that leads and has nothing left to do."""
        beat = self.beat()
        beat.tick()
        assert self.store.holder() and self.store.holder()[0] == beat.me  # type: ignore[index]
        self.settle(beat)
        return beat

    def settle(self, beat: Scheduler) -> None:
        """Have a beat look until it would wait."""
        for _ in range(20):
            if beat.tick() > 0:
                return
        raise AssertionError("beat finds something due again and again")

    def depose(self) -> None:
        """Take the lock away, as if its life had ended."""
        self.redis.delete(self.store.lock_key)

    def entry(self, name: str) -> Entry:
        """Read an entry."""
        (row,) = self.store.rows([name])
        return read_entry(row)

    def put(self, entry: Entry) -> None:
        """Store an entry as it is, as an operator's command does."""
        was = next(iter(self.store.rows([entry.name])), None)
        change = Change.to(replace(entry, row=was), self.store.now())
        assert self.store.write([change], by="a test") == []

    def pass_since(self, name: str, ago: timedelta) -> datetime:
        """Let an entry be as if nothing of it had been decided on for `ago`; return that time."""
        last = self.store.now() - ago
        self.put(replace(self.entry(name), last_run_at=last))
        return last

    def runs(self, entry: str) -> list[Run]:
        """Return an entry's runs, the oldest occurrence first."""
        return self.ledger.latest(5000, entry)[::-1]

    def score(self, name: str) -> float | None:
        """Return when an entry is looked at next."""
        return self.redis.zscore("redbeat::schedule", f"redbeat:{name}")

    def is_due(self, name: str) -> bool:
        """Return whether a look would bring an entry now."""
        score = self.score(name)
        return score is not None and 0 <= score <= self.store.now().timestamp()

    def edit(self, name: str, **changes: object) -> None:
        """Change an entry's definition in place, and nothing else, as by hand."""
        found = json.loads(str(self.redis.hget(f"redbeat:{name}", "definition")))
        self.redis.hset(f"redbeat:{name}", "definition", json.dumps({**found, **changes}))

    def close(self) -> None:
        """End the beats."""
        for beat in self._beats:
            beat.close()
            beat._redis.close()
        self.redis.close()
        self.ledger._redis.close()


def definition(**changes: Any) -> Definition:
    """Return a right definition of an hourly entry, but for the changes."""
    given = {
        "task": names.HOURLY_QUICK_SCAN,
        "schedule": interval(3600),
        "queue": "high",
        "overlap": "allow",
    }
    return Definition(**{**given, **changes})


def put_due(
    schedule: Schedule, name: str = "own", *, ago: timedelta = TEN, **changes: Any
) -> datetime:
    """Store an entry one of whose occurrences was due `ago` (whole minutes); return its time."""
    at = (schedule.store.now() - ago).replace(second=0, microsecond=0)
    given = definition(schedule=crontab(hour=at.hour, minute=at.minute), **changes)
    schedule.put(Entry(name, given, last_run_at=at - MINUTE))
    return at


def put_missed(schedule: Schedule, name: str = "own", number: int = 3, **changes: Any) -> datetime:
    """Store an entry of every ten minutes whose latest `number` are due; return the last's time."""

    def last_due() -> datetime:
        seconds = TEN.total_seconds()
        return datetime.fromtimestamp(schedule.store.now().timestamp() // seconds * seconds, UTC)

    # No further one is to come due in the middle of the test.
    wait_until(lambda: schedule.store.now() < last_due() + TEN - MINUTE / 2, "none is due soon")
    last = last_due()
    given = definition(schedule=interval(TEN), **changes)
    schedule.put(Entry(name, given, last_run_at=last - number * TEN))
    return last


def said(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """Count the events in the log so far."""
    return Counter(record.message for record in caplog.records)


@pytest.fixture
def timetable(app: Celery, tmp_path: Path) -> Write:
    """Return what writes the timetable that the next beat reads; one is there."""

    def write(text: str) -> None:
        sys.modules.pop("beat_schedule", None)
        (tmp_path / "beat_schedule.py").write_text(text, encoding="utf-8")

    write(TIMETABLE)
    return write


@pytest.fixture
def schedule(
    app: Celery,
    configured: pytest.MonkeyPatch,
    clean_redis: RedisServer,
    timetable: Write,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Schedule]:
    """An empty schedule, and a timetable for the first beat."""
    keep_off_the_hour()
    caplog.set_level(logging.INFO, logger="bionewsbot")
    # A test that a busy machine holds up is neither cut off from Redis nor loses its lock.
    configured.setattr(celeryconfig, "BEAT_REDIS_TIMEOUT", 30.0)
    app.conf.redbeat_lock_timeout = 300.0
    schedule = Schedule(app, clean_redis)
    yield schedule
    schedule.close()


@pytest.fixture
def plain(app: Celery, schedule: Schedule) -> Iterator[Callable[..., RedBeatSchedulerEntry]]:
    """Return what makes or loads an entry with plain RedBeat."""

    def make(name: str, **fields: Any) -> RedBeatSchedulerEntry:
        if fields:
            return RedBeatSchedulerEntry(name, app=app, **fields)
        return RedBeatSchedulerEntry.from_key(f"redbeat:{name}", app=app)

    yield make
    get_redis(app).close()
