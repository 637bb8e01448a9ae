"""The timetable `beat_schedule.py`: loaded and checked as a whole before anything uses it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from celery import Celery
from celery.schedules import BaseSchedule
from celery.utils.imports import cwd_in_path

from bionewsbot.errors import TimetableError
from bionewsbot.names import WORKER_QUEUES
from bionewsbot.runs.model import JOB, Message, Occurrence

MODULE = "beat_schedule"

DEFAULT_RUN_DEADLINE = 6 * 3600
"""Seconds that a run may take where its entry says nothing: done before the next working day."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_KEYS = {
    "task",
    "schedule",
    "kwargs",
    "options",
    "starting_deadline",
    "run_deadline",
}


@dataclass(frozen=True)
class TimetableEntry:
    """One line of the timetable. Durations are in seconds."""

    name: str
    task: str
    schedule: BaseSchedule
    queue: str
    kwargs: Mapping[str, Any]
    starting_deadline: float
    """How long after the scheduled time the run may still start; its message expires then."""
    run_deadline: float
    """How long the run may take before what is left of it counts as failed."""

    @property
    def message(self) -> Message:
        """The message that starts the entry's job."""
        return Message(JOB, self.task, self.queue, self.kwargs)


def load_timetable(app: Celery) -> dict[str, TimetableEntry]:
    """Return the timetable's entries by name.

    A `beat_schedule.py` in the working directory wins over the installed one. Raises
    TimetableError, which lists everything that is wrong with it.
    """
    try:
        with cwd_in_path():
            module = import_module(MODULE)
    except Exception as error:
        # Whatever the file raises on import (a SyntaxError, a NameError ...) is its author's.
        raise TimetableError(
            f"{MODULE}.py can't be read: {type(error).__name__}: {error}"
        ) from error
    table = getattr(module, MODULE, None)
    return check_timetable(app, table, where=str(getattr(module, "__file__", MODULE)))


def check_timetable(app: Celery, table: object, *, where: str) -> dict[str, TimetableEntry]:
    """Check a timetable completely and return its entries by name. Raises TimetableError."""
    if not isinstance(table, dict) or not table:
        raise TimetableError(f"{where}: `{MODULE}` must be a dict with at least one entry")
    entries: dict[str, TimetableEntry] = {}
    problems: list[str] = []
    for name, definition in table.items():
        found = _problems(app, name, definition)
        problems += [f"{where}: entry {name!r}: {problem}" for problem in found]
        if not found:
            entries[name] = _entry(name, definition)
    if problems:
        raise TimetableError("\n".join(problems))
    return entries


def _entry(name: str, definition: Mapping[str, Any]) -> TimetableEntry:
    return TimetableEntry(
        name=name,
        task=definition["task"],
        schedule=definition["schedule"],
        queue=definition["options"]["queue"],
        kwargs=definition.get("kwargs") or {},
        starting_deadline=float(definition["starting_deadline"]),
        run_deadline=float(definition.get("run_deadline", DEFAULT_RUN_DEADLINE)),
    )


def _problems(app: Celery, name: object, definition: object) -> list[str]:
    if not isinstance(definition, dict):
        return ["must be a dict with task, schedule, options and starting_deadline"]
    problems = [f"unknown key {key!r}" for key in definition if key not in _KEYS]
    try:
        Occurrence(str(name), _EPOCH)
    except ValueError as error:
        problems.append(str(error))
    task = definition.get("task")
    if task not in app.tasks:
        ours = ", ".join(sorted(known for known in app.tasks if known.startswith("bionewsbot.")))
        problems.append(f"task {task!r} is not registered; there are {ours}")
    if not isinstance(definition.get("schedule"), BaseSchedule):
        problems.append("schedule must be a crontab(...) or a schedule(...)")
    options = definition.get("options")
    queue = options.get("queue") if isinstance(options, dict) else None
    if queue not in WORKER_QUEUES:
        problems.append(f"options: queue {queue!r} is not one of {', '.join(WORKER_QUEUES)}")
    for key in ("starting_deadline", "run_deadline"):
        value = definition.get(key, None if key == "starting_deadline" else DEFAULT_RUN_DEADLINE)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            problems.append(f"{key} must be a number of seconds above 0, not {value!r}")
    return problems
