"""A schedule entry: what the file or an operator says of it, and how it stands in Redis.

RedBeat's own fields (`definition`, `meta`) keep RedBeat's form, so that plain RedBeat reads our
entries and we read its; what RedBeat doesn't know stands in a field of its own beside them.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval
from redbeat.schedules import rrule

from bionewsbot.errors import EntryError
from bionewsbot.names import QUEUE_DEFAULT
from bionewsbot.runs.model import JOB, OVERLAP_ALLOW, OVERLAP_SKIP, Message, NewRun, Occurrence
from bionewsbot.scheduling.calendar import EPOCH, jitter_of, next_after, occurrences
from bionewsbot.scheduling.policies import (
    CATCH_UP_ALL,
    CATCH_UP_LATEST,
    ON_TIME,
    all_missed,
    coalesce,
    decide,
)
from bionewsbot.scheduling.redbeat_json import decode, encode, schedule_as_dict

OWN_FIELD = "bionewsbot"
"""Field of RedBeat's hash that holds what RedBeat doesn't know; plain RedBeat ignores it."""

DEFAULT_RUN_DEADLINE = 6 * 3600.0
"""Seconds that a run may take where its entry says nothing: done before the next working day."""

NEVER = -1.0
"""Score of an entry that isn't due at any time; RedBeat, too, passes over scores below zero."""

BATCH = 500
"""Occurrences that are decided on at a time, so that a beat which was away for long goes through
what passed in steps that end within its lock's life (Redis opens 1,000 runs in about 0.2 s)."""

_SHORTEST_DEADLINE = timedelta(minutes=1)
_LONGEST_DEADLINE = timedelta(hours=6)
_DEADLINE_OF_ALL = timedelta(hours=24)
"""Bounds of the starting deadline where an entry says nothing: see `default_starting_deadline`."""


@dataclass(frozen=True)
class Definition:
    """What an entry says: the fields that the file gives and an operator may change."""

    task: str
    schedule: BaseSchedule
    queue: str = QUEUE_DEFAULT
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    timezone: str = "UTC"
    """IANA name of the zone on whose clocks a crontab is read."""
    catch_up: str = CATCH_UP_LATEST
    overlap: str = OVERLAP_SKIP
    starting_deadline: float | None = None
    """Seconds after the scheduled time in which its run may still start; None: by its schedule."""
    run_deadline: float = DEFAULT_RUN_DEADLINE
    """Seconds that a run may take before what is left of it counts as failed."""
    jitter: float = 0.0
    """Longest delay, in seconds, by which a run is put off."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone; raises zoneinfo.ZoneInfoNotFoundError or ValueError for an unknown one."""
        return ZoneInfo(self.timezone)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as values that can be written as JSON or YAML and compared."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found["schedule"] = schedule_as_dict(self.schedule)
        found["args"], found["kwargs"] = list(self.args), dict(self.kwargs)
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Definition":
        """Read what `as_dict` gives. Raises EntryError for anything else."""
        given = dict(found)
        try:
            given["schedule"] = decode(json.dumps(given["schedule"]))
            given["args"] = tuple(given.get("args") or ())
            definition = cls(**given)
            definition.as_dict()
            return definition
        except Exception as error:
            # RedBeat and Celery raise whatever they like for what is none.
            raise EntryError(f"its values can't be read: {error}") from error


POLICY_FIELDS = (
    "timezone",
    "catch_up",
    "overlap",
    "starting_deadline",
    "run_deadline",
    "jitter",
)
"""Fields of a definition that RedBeat doesn't know."""


@dataclass(frozen=True)
class Row:
    """An entry as it stands in Redis; a field that is missing is None."""

    name: str
    definition: str | None
    meta: str | None
    own: str | None
    readable: bool = True
    """False where the key isn't a hash."""


@dataclass(frozen=True)
class Entry:
    """A schedule entry with its progress."""

    name: str
    definition: Definition
    last_run_at: datetime | None = None
    """Up to when its occurrences were decided on (UTC): the scheduled time of the last one, or
    since when it counts."""
    total_run_count: int = 0
    from_file: Mapping[str, Any] | None = None
    """What `beat_schedule.py` last said of it, as `Definition.as_dict` gives it; None for an
    operator's own entry."""
    changed_by: str | None = None
    """Who changed it last, and when."""
    row: Row | None = None
    """What it was read from."""
    seen: Mapping[str, Any] | None = None
    """Its times (see `times`) when beat or a command of ours last stored it."""

    @property
    def times(self) -> dict[str, Any]:
        """What decides when it is due; where that changes, it counts from then on."""
        given = self.definition
        return {
            "schedule": schedule_as_dict(given.schedule),
            "timezone": given.timezone,
            "enabled": given.enabled,
        }

    @property
    def edited(self) -> bool:
        """Whether somebody changed its times with plain RedBeat since it was last stored."""
        return self.seen is not None and self.seen != self.times

    @property
    def as_seen(self) -> "Entry":
        """The entry with its times as they were when it was last stored."""
        if not self.edited:
            return self
        try:
            times = {**self.definition.as_dict(), **(self.seen or {})}
            return replace(self, definition=Definition.from_dict(times))
        except EntryError:
            # Nobody knows when it was due.
            return replace(self, last_run_at=None)

    @property
    def changed_fields(self) -> tuple[str, ...]:
        """Names of the fields in which it differs from what the file says."""
        if self.from_file is None:
            return ()
        ours, files = self.definition.as_dict(), self.from_file
        return tuple(name for name in ours if ours[name] != files.get(name))

    @property
    def starting_deadline(self) -> timedelta:
        """How long after the scheduled time a run may still start."""
        given = self.definition.starting_deadline
        return default_starting_deadline(self.definition) if given is None else timedelta(0, given)

    def next_scheduled(self, after: datetime) -> datetime | None:
        """Return the next scheduled time after `after`, in UTC, before jitter."""
        return next_after(self.definition.schedule, self.definition.zone, after)

    def due_at(self, scheduled_for: datetime) -> datetime:
        """Return when the occurrence is due: its scheduled time and its jitter."""
        if not self.definition.jitter:
            return scheduled_for
        run_id = Occurrence(self.name, scheduled_for).run_id
        return scheduled_for + jitter_of(run_id, self.definition.jitter)

    def score(self, now: datetime) -> float:
        """Return when it has to be looked at next, in epoch seconds; NEVER if it hasn't."""
        following = self.next_scheduled(min(self.last_run_at or now, now))
        if not self.definition.enabled or following is None:
            return NEVER
        return self.due_at(following).timestamp()

    def due(self, now: datetime) -> tuple[list[datetime], bool]:
        """Return the scheduled times that are due and not decided on yet, oldest first.

        The second value says that there are more than the BATCH returned.
        """
        if not self.definition.enabled or self.last_run_at is None or self.last_run_at > now:
            return [], False
        passed = occurrences(
            self.definition.schedule,
            self.definition.zone,
            self.last_run_at,
            now,
            limit=BATCH + 1,
        )
        due = []
        for scheduled_for in passed:
            if self.due_at(scheduled_for) > now:
                break
            due.append(scheduled_for)
        return due[:BATCH], len(due) > BATCH

    def runs_due(self, app: Celery, now: datetime) -> "DueRuns":
        """Return the runs to open for what is due: to start, or to be put on record as missed."""
        due, more = self.due(now)
        too_late = now - self.starting_deadline - timedelta(microseconds=1)
        if more and due[-1] < too_late:
            # Of a beat that was away for very long: it isn't to go through each second of a year.
            missed = self.run(app, due[0], missed=all_missed(due[0], too_late).missed)
            return DueRuns((missed,), too_late)
        decisions = decide(
            due,
            now,
            catch_up=self.definition.catch_up,
            starting_deadline=self.starting_deadline,
            on_time=ON_TIME + timedelta(seconds=self.definition.jitter),
            more=more,
        )
        if more:
            decisions = coalesce(decisions)
        runs = [self.run(app, one.scheduled_for, missed=one.missed) for one in decisions]
        return DueRuns(tuple(runs), due[-1] if due else now)

    def run(self, app: Celery, scheduled_for: datetime, *, missed: str | None = None) -> NewRun:
        """Return the run of one occurrence, as beat opens it."""
        return NewRun(
            occurrence=Occurrence(self.name, scheduled_for),
            job=self.message(app),
            origin="beat",
            deadline=self.definition.run_deadline,
            start_by=scheduled_for + self.starting_deadline,
            overlap=self.definition.overlap,
            missed=missed,
        )

    def run_by_operator(
        self, app: Celery, scheduled_for: datetime, *, again: bool = False
    ) -> NewRun:
        """Return a run that an operator wants, however late it is and whatever else runs."""
        return replace(
            self.run(app, scheduled_for),
            origin="operator",
            start_by=None,
            overlap=OVERLAP_ALLOW,
            again=again,
        )

    def message(self, app: Celery) -> Message:
        """Return its job's first message: all by name, with the zone where the job asks for one."""
        given = self.definition
        signature = signature_of(app.tasks[given.task])
        zone = {"timezone": given.timezone} if "timezone" in signature.parameters else {}
        named = signature.bind_partial(*given.args).arguments
        return Message(JOB, given.task, given.queue, {**zone, **named, **given.kwargs})

    def advanced(self, until: datetime, runs: int) -> "Entry":
        """Return the entry after all up to `until` was decided on and `runs` of it started."""
        return replace(self, last_run_at=until, total_run_count=self.total_run_count + runs)

    def to_row(self) -> Row:
        """Return how it is to stand in Redis."""
        given = self.definition
        definition = {
            "name": self.name,
            "task": given.task,
            "args": list(given.args),
            "kwargs": dict(given.kwargs),
            "options": {"queue": given.queue},
            "schedule": given.schedule,
            "enabled": given.enabled,
        }
        own = {
            "policy": {name: getattr(given, name) for name in POLICY_FIELDS},
            "from_file": self.from_file,
            "changed_by": self.changed_by,
            "seen": self.times,
        }
        return Row(self.name, encode(definition), self.meta(), json.dumps(own))

    def meta(self) -> str:
        """Return its progress as RedBeat stores it."""
        return encode({"last_run_at": self.last_run_at, "total_run_count": self.total_run_count})


@dataclass(frozen=True)
class DueRuns:
    """The runs of an entry that are due, and up to which time they answer for it."""

    runs: tuple[NewRun, ...]
    until: datetime


def default_starting_deadline(definition: Definition) -> timedelta:
    """Return the starting deadline of an entry that says none.

    With `catch_up: all` a day; else as long as its occurrences lie apart, but not less than a
    minute nor more than six hours: a run that late would meet the one after it, or another day.
    """
    if definition.catch_up == CATCH_UP_ALL:
        return _DEADLINE_OF_ALL
    apart = _apart(encode(definition.schedule), definition.timezone)
    return min(max(apart, _SHORTEST_DEADLINE), _LONGEST_DEADLINE)


@lru_cache(maxsize=256)
def signature_of(task: Any) -> inspect.Signature:
    """Return the signature of a task's function, without the task itself."""
    return inspect.signature(task.run)


@lru_cache(maxsize=4096)
def _apart(schedule_text: str, timezone: str) -> timedelta:
    schedule, zone = decode(schedule_text), ZoneInfo(timezone)
    # Any stretch without a change of the clocks would do; this one is the same on every host.
    start = datetime(2026, 1, 5, tzinfo=UTC)
    two = occurrences(schedule, zone, start, start + timedelta(days=800), limit=2)
    return two[1] - two[0] if len(two) > 1 else _LONGEST_DEADLINE


def read_entry(row: Row) -> Entry:
    """Read an entry from Redis. Raises EntryError, which says what is wrong with it."""
    if not row.readable:
        raise EntryError("its key is not a hash; delete it and add the entry anew")
    try:
        # Where two fields are broken, the first is told.
        definition = _field("definition", row.definition or "", decode)
        meta = _field("meta", row.meta or "{}", decode)
        own = _field(OWN_FIELD, row.own or "{}", json.loads)
        _require(definition, task=str, args=list | None, kwargs=dict | None, enabled=bool | None)
        _require(definition, schedule=crontab | interval | rrule, options=dict | None)
        _require(meta, last_run_at=datetime | None, total_run_count=int | None)
        _require(own, policy=dict | None, from_file=dict | None, seen=dict | None)
        policy = own.get("policy") or {}
        options = {**(definition.get("options") or {})}
        given = Definition(
            task=definition["task"],
            schedule=definition["schedule"],
            queue=options.pop("queue", None) or QUEUE_DEFAULT,
            args=tuple(definition.get("args") or ()),
            kwargs=definition.get("kwargs") or {},
            enabled=definition.get("enabled", True),
            **{name: policy[name] for name in POLICY_FIELDS if name in policy},
        )
        entry = Entry(
            name=row.name,
            definition=given,
            last_run_at=meta.get("last_run_at"),
            total_run_count=meta.get("total_run_count") or 0,
            from_file=own.get("from_file"),
            changed_by=own.get("changed_by"),
            row=row,
            seen=own.get("seen"),
        )
    except EntryError:
        raise
    except Exception as error:
        # A hash that anybody may have written can be wrong in any way, and harms only itself.
        raise EntryError(f"it can't be read: {type(error).__name__}: {error}") from error
    if entry.last_run_at is not None and entry.last_run_at < EPOCH:
        raise EntryError(f"its last_run_at can't be {entry.last_run_at}")
    if definition.get("name", row.name) != row.name:
        raise EntryError(f"its definition is that of {definition['name']!r}")
    if options:
        raise EntryError(f"option {', '.join(sorted(options))}: only `queue` is supported")
    return entry


def _field(name: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except json.JSONDecodeError as error:
        raise EntryError(f"it can't be read: field `{name}` is not JSON: {error}") from error


def _require(found: Mapping[str, Any], **kinds: Any) -> None:
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise EntryError(f"its {name} can't be {found.get(name)!r}")
