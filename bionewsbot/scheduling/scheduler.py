"""Beat's scheduler: RedBeat, whose due entries open a run in the ledger before they are sent."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from redbeat.schedulers import RedBeatScheduler, RedBeatSchedulerEntry, get_redis

from bionewsbot.errors import RunExists, TimetableError
from bionewsbot.names import QUEUE_DEFAULT
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Message, Occurrence
from bionewsbot.scheduling.occurrences import latest_occurrence
from bionewsbot.scheduling.timetable import DEFAULT_RUN_DEADLINE, load_timetable

logger = logging.getLogger(__name__)

POLICY_FIELD = "bionewsbot"
"""Field of RedBeat's hash that holds what RedBeat doesn't know; plain RedBeat ignores it."""

DEFAULT_STARTING_DEADLINE = 3600.0
"""Seconds for an entry that was added with plain RedBeat and says nothing."""


class ScheduleEntry(RedBeatSchedulerEntry):
    """A schedule entry with the deadlines of its runs, in seconds."""

    def __init__(
        self,
        *args: Any,
        starting_deadline: float = DEFAULT_STARTING_DEADLINE,
        run_deadline: float = DEFAULT_RUN_DEADLINE,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.starting_deadline = starting_deadline
        self.run_deadline = run_deadline

    @classmethod
    def from_key(cls, key: str, app: Any = None) -> "ScheduleEntry":
        """Load an entry. Raises KeyError if there is none."""
        entry: ScheduleEntry = super().from_key(key, app=app)
        policy = json.loads(get_redis(entry.app).hget(key, POLICY_FIELD) or "{}")
        entry.starting_deadline = policy.get("starting_deadline", DEFAULT_STARTING_DEADLINE)
        entry.run_deadline = policy.get("run_deadline", DEFAULT_RUN_DEADLINE)
        return entry

    def save(self) -> "ScheduleEntry":
        """Store the entry; our fields first, so that it is never seen without them."""
        policy = {"starting_deadline": self.starting_deadline, "run_deadline": self.run_deadline}
        get_redis(self.app).hset(self.key, POLICY_FIELD, json.dumps(policy))
        super().save()
        return self


class Scheduler(RedBeatScheduler):
    """RedBeat with `beat_schedule.py` as its source and a run for each occurrence."""

    Entry = ScheduleEntry

    def setup_schedule(self) -> None:
        """Bring the timetable to Redis.

        An empty or broken one ends the process before anything in Redis is changed.
        """
        try:
            timetable = load_timetable(self.app)
        except TimetableError as error:
            logger.critical("timetable_refused", extra={"error": str(error)})
            raise SystemExit(f"beat was not started; the timetable is wrong:\n{error}") from error
        self.app.conf.beat_schedule = {
            name: {
                "task": entry.task,
                "schedule": entry.schedule,
                "kwargs": dict(entry.kwargs),
                "options": {"queue": entry.queue},
                "starting_deadline": entry.starting_deadline,
                "run_deadline": entry.run_deadline,
            }
            for name, entry in timetable.items()
        }
        super().setup_schedule()

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any
    ) -> Any:
        """Open the run of the entry's due occurrence and send its job.

        The entry is advanced only after that: an occurrence whose run can't be opened stays due,
        and one that is sent twice meets the run that it has. An entry whose task isn't a job (such
        as one that an operator added) is sent as plain RedBeat does.
        """
        if not getattr(self.app.tasks.get(entry.task), "carries_runs", False):
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
        now = datetime.now(UTC)
        occurrence = Occurrence(
            entry.name, latest_occurrence(entry.schedule, entry.last_run_at, now)
        )
        job = Message(
            JOB, entry.task, entry.options.get("queue", QUEUE_DEFAULT), dict(entry.kwargs or {})
        )
        try:
            start_run(
                self.app,
                ledger(),
                occurrence,
                job,
                origin="beat",
                deadline=entry.run_deadline,
                starting_deadline=entry.starting_deadline,
            )
        except RunExists as error:
            logger.warning("occurrence_dropped", extra={"why": str(error)})
        if advance:
            self.reserve(entry)
        return None
