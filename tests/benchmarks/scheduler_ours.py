"""BioNewsBot's scheduler in the benchmark: `celery -A scheduler_ours beat`, and by single ticks."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import scheduler_data as data
from celery.schedules import schedule as interval

from bionewsbot import logs, settings
from bionewsbot.celery import app
from bionewsbot.celeryconfig import connect_beat_redis
from bionewsbot.scheduling.entries import Definition, Entry
from bionewsbot.scheduling.scheduler import Scheduler
from bionewsbot.scheduling.store import Change, Store
from bionewsbot.tasks.base import RunTask, run_task

PAGE = 1000
"""Entries written at a time."""

NO_DEADLINE = 3e8
"""Seconds; a run that is due since the entry's last one, years ago, is none too late."""


@run_task(data.TASK)
def tick(self: RunTask) -> None:
    """Note when it started, and for when it was scheduled."""
    started = time.time()
    data.note_start(self.address.occurrence.scheduled_for.timestamp(), started)


class Peer:
    """Its entries and its ticks, in this process."""

    def __init__(self) -> None:
        app.loader.import_default_modules()
        app.finalize()
        self._store = Store(app, connect_beat_redis(settings.current()))

    def load(self, first: int, stop: int) -> None:
        """Write the entries from `first` up to `stop`; none of them is due."""
        now = self._store.now()
        for start in range(first, stop, PAGE):
            self._write(
                [
                    Entry(
                        data.name_of(number),
                        Definition(data.TASK, data.sleeping_schedule(number % 60), data.QUEUE),
                        last_run_at=now,
                    )
                    for number in range(start, min(start + PAGE, stop))
                ]
            )

    def make_due(self, numbers: range, schedule: Any, last_run_at: datetime) -> None:
        """Give entries a schedule by which they are due now."""
        for start in range(numbers.start, numbers.stop, PAGE):
            names = [
                data.name_of(number) for number in range(start, min(start + PAGE, numbers.stop))
            ]
            # No worker ends these runs: with `skip`, a second round would find the first one's.
            definition = Definition(
                data.TASK, schedule, data.QUEUE, overlap="allow", starting_deadline=NO_DEADLINE
            )
            self._write(
                [
                    Entry(row.name, definition, last_run_at=last_run_at, row=row)
                    for row in self._store.rows(names)
                ]
            )

    def add_unrelated(self, due: float) -> None:
        """Add an interval entry that is due at `due` (epoch seconds, whole intervals)."""
        every = timedelta(seconds=data.UNRELATED_SECONDS)
        definition = Definition(data.TASK, interval(every), data.UNRELATED_QUEUE, overlap="allow")
        last = datetime.fromtimestamp(due, UTC) - every
        self._write([Entry(data.UNRELATED, definition, last_run_at=last)])

    def remove_unrelated(self) -> None:
        """Remove it again."""
        (row,) = self._store.rows([data.UNRELATED])
        self._store.write([Change(row.name, row, delete=True)], by="benchmark")

    def start(self) -> None:
        """Make the scheduler and have it elected."""
        logs.configure(settings.current())
        self._scheduler = Scheduler(app)
        self._scheduler.tick()

    def tick(self) -> float:
        """Make one tick; returns the seconds to sleep."""
        return float(self._scheduler.tick())

    def settle(self, sent: int) -> None:
        """Return when `sent` messages are out: a tick ends with the last of them."""

    def close(self) -> None:
        """Give back what it holds."""
        self._scheduler.close()

    def _write(self, entries: list[Entry]) -> None:
        now = self._store.now()
        stale = self._store.write([Change.to(entry, now) for entry in entries], by="benchmark")
        if stale:
            raise SystemExit(f"entries changed while the benchmark wrote them: {stale[:3]} ...")
