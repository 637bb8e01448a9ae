"""APScheduler 3 with a Redis job store in the benchmark: as a process of its own, and single ticks.

It has no queue and no workers; its jobs send Celery messages, as where it stands before Celery.
"""

import os
import pickle
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import scheduler_data as data
from apscheduler.job import Job
from apscheduler.jobstores.redis import RedisJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger
from scheduler_plain import app

PAGE = 1000
SEND = "scheduler_apscheduler:send"
# By default it drops what is more than a second late: then nothing would be left to compare.
DEFAULTS = {"misfire_grace_time": None}

_sent: list[float] = []


def send(queue: str) -> None:
    """Send the task; it was due at the last whole second, where jobs of one second start."""
    now = time.time()
    app.send_task(data.TASK, kwargs={"due": float(int(now))}, queue=queue)
    _sent.append(now)


def store() -> RedisJobStore:
    """Return the job store."""
    return RedisJobStore(
        db=data.SCHEDULE_DB, host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"])
    )


class _ByTicks(BaseScheduler):
    def wakeup(self) -> None:
        """Do nothing: the benchmark says when."""

    def shutdown(self, wait: bool = True) -> None:
        """End its threads."""
        super().shutdown(wait)


class Peer:
    """Its jobs and its looks at them, in this process."""

    def __init__(self) -> None:
        self._store = store()
        self._scheduler = _ByTicks(
            jobstores={"default": self._store}, job_defaults=DEFAULTS, timezone=UTC
        )

    def load(self, first: int, stop: int) -> None:
        """Write the jobs from `first` up to `stop`, as `add_job` would; none of them is due."""
        state = self._job("", 3600, data.QUEUE).__getstate__()
        for start in range(first, stop, PAGE):
            with self._store.redis.pipeline(transaction=False) as pipe:
                states, times = {}, {}
                for number in range(start, min(start + PAGE, stop)):
                    name, due = data.name_of(number), data.sleeping_until(number % 60)
                    job = {**state, "id": name, "next_run_time": due}
                    states[name] = pickle.dumps(job, self._store.pickle_protocol)
                    times[name] = due.timestamp()
                pipe.hset(self._store.jobs_key, mapping=states)
                pipe.zadd(self._store.run_times_key, times)
                pipe.execute()

    def make_due(self, numbers: range, schedule: Any, last_run_at: datetime) -> None:
        """Make jobs due now; they keep their trigger."""
        now = datetime.now(UTC)
        for number in numbers:
            job = self._job(data.name_of(number), 3600, data.QUEUE)
            job._modify(next_run_time=now)
            self._store.update_job(job)

    def add_unrelated(self, due: float) -> None:
        """Add an interval job that is due at `due` (epoch seconds)."""
        job = self._job(data.UNRELATED, data.UNRELATED_SECONDS, data.UNRELATED_QUEUE)
        job._modify(next_run_time=datetime.fromtimestamp(due, UTC))
        self._store.add_job(job)

    def remove_unrelated(self) -> None:
        """Remove it again."""
        self._store.remove_job(data.UNRELATED)

    def start(self) -> None:
        """Start its thread pool and its store."""
        self._scheduler.start()

    def tick(self) -> float:
        """Make one look; returns the seconds to sleep. Its threads may still be sending."""
        return float(self._scheduler._process_jobs() or 0)

    def settle(self, sent: int) -> None:
        """Return when `sent` messages are out, counted from the process' start."""
        while len(_sent) < sent:
            time.sleep(0.0005)

    def close(self) -> None:
        """End its threads."""
        self._scheduler.shutdown()

    def _job(self, name: str, seconds: int, queue: str) -> Job:
        return Job(
            self._scheduler,
            id=name,
            func=SEND,
            args=(queue,),
            kwargs={},
            name="send",
            trigger=IntervalTrigger(seconds=seconds, timezone=UTC),
            executor="default",
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            next_run_time=None,
        )


def main() -> None:
    """Run until killed; with EVERY_SECOND=1 with a job at each whole second."""
    scheduler = BlockingScheduler(
        jobstores={"default": store()}, job_defaults=DEFAULTS, timezone=UTC
    )
    if os.environ.get("EVERY_SECOND"):
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        scheduler.add_job(
            SEND,
            IntervalTrigger(seconds=1, start_date=first, timezone=UTC),
            args=(data.QUEUE,),
            id="tick",
            replace_existing=True,
        )
    scheduler.start()


if __name__ == "__main__":
    main()
