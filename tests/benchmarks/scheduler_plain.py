"""Plain Celery and RedBeat in the benchmark: `celery -A scheduler_plain beat`, and single ticks.

With TIGHT=1 RedBeat has its tightest workable times: a look every second and a lock that lives for
five looks, the least that RedBeat itself chooses; shorter ones are lost by a slow tick, and beat
with them.
"""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import scheduler_data as data
from celery import Celery
from celery.schedules import schedule as interval
from redbeat import RedBeatScheduler, RedBeatSchedulerEntry
from redbeat.decoder import RedBeatJSONDecoder, RedBeatJSONEncoder
from redbeat.schedulers import acquire_distributed_beat_lock

PAGE = 1000
ENTRY = "tick"

app = Celery("scheduler_plain", broker=data.url(data.BROKER_DB))
app.conf.update(
    redbeat_redis_url=data.url(data.SCHEDULE_DB),
    beat_scheduler="redbeat.RedBeatScheduler",
    broker_connection_retry_on_startup=True,
    task_default_queue=data.QUEUE,
)
if os.environ.get("EVERY_SECOND"):
    app.conf.beat_schedule = {ENTRY: {"task": data.TASK, "schedule": interval(1)}}
if os.environ.get("TIGHT"):
    app.conf.update(beat_max_loop_interval=1, redbeat_lock_timeout=5)


@app.task(name=data.TASK, ignore_result=True)
def tick(due: float | None = None) -> None:
    """Note when it started and, where it isn't told when it was due, when RedBeat reserved it."""
    started = time.time()
    data.note_start(due if due is not None else _reserved_at(), started)


def _reserved_at() -> float:
    # The last run as RedBeat stores it just before it sends: its next run is due an interval later.
    meta = data.client(data.SCHEDULE_DB).hget(f"redbeat:{ENTRY}", "meta")
    last: datetime = json.loads(str(meta), cls=RedBeatJSONDecoder)["last_run_at"]
    return last.timestamp()


class Peer:
    """RedBeat's entries and ticks, in this process."""

    def load(self, first: int, stop: int) -> None:
        """Write the entries from `first` up to `stop`, as `save` would; none of them is due."""
        redis = data.client(data.SCHEDULE_DB)
        meta = json.dumps({"last_run_at": datetime.now(UTC)}, cls=RedBeatJSONEncoder)
        for start in range(first, stop, PAGE):
            with redis.pipeline(transaction=False) as pipe:
                scores = {}
                for number in range(start, min(start + PAGE, stop)):
                    key = "redbeat:" + data.name_of(number)
                    definition = {
                        "name": data.name_of(number),
                        "task": data.TASK,
                        "args": [],
                        "kwargs": {},
                        "options": {"queue": data.QUEUE},
                        "schedule": data.sleeping_schedule(number % 60),
                        "enabled": True,
                    }
                    text = json.dumps(definition, cls=RedBeatJSONEncoder)
                    pipe.hset(key, mapping={"definition": text, "meta": meta})
                    scores[key] = data.sleeping_until(number % 60).timestamp()
                pipe.zadd("redbeat::schedule", scores)
                pipe.execute()

    def make_due(self, numbers: range, schedule: Any, last_run_at: datetime) -> None:
        """Give entries a schedule by which they are due now."""
        for number in numbers:
            self._save(data.name_of(number), schedule, data.QUEUE, last_run_at)

    def add_unrelated(self, due: float) -> None:
        """Add an interval entry that is due at `due` (epoch seconds)."""
        every = timedelta(seconds=data.UNRELATED_SECONDS)
        last = datetime.fromtimestamp(due, UTC) - every
        self._save(data.UNRELATED, interval(every), data.UNRELATED_QUEUE, last)

    def remove_unrelated(self) -> None:
        """Remove it again."""
        RedBeatSchedulerEntry(data.UNRELATED, app=app).delete()

    def start(self) -> None:
        """Make the scheduler and take the lock, as beat does at its start."""
        self._scheduler = RedBeatScheduler(app)
        acquire_distributed_beat_lock(sender=SimpleNamespace(scheduler=self._scheduler))

    def tick(self) -> float:
        """Make one tick; returns the seconds to sleep."""
        return float(self._scheduler.tick())

    def settle(self, sent: int) -> None:
        """Return when `sent` messages are out: a tick ends with the last of them."""

    def close(self) -> None:
        """Give back what it holds."""
        self._scheduler.close()

    def _save(self, name: str, schedule: Any, queue: str, last_run_at: datetime) -> None:
        entry = RedBeatSchedulerEntry(
            name=name, task=data.TASK, schedule=schedule, options={"queue": queue}, app=app
        )
        entry.save().reschedule(last_run_at)
