"""What tests of the schedule share: an app with jobs, and short words for entries."""

from datetime import UTC, datetime
from typing import Any

from celery import Celery
from celery.schedules import schedule as interval

from bionewsbot.scheduling.entries import Definition, Entry, read_entry
from bionewsbot.tasks.base import RunTask

APP = Celery("tests", set_as_current=False)

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)


@APP.task(name="tests.job", base=RunTask, bind=True, shared=False)
def job(self: RunTask, words: list[str] | None = None, *, loud: bool = False) -> None:
    """Stand in for a job."""


@APP.task(name="tests.other", base=RunTask, bind=True, shared=False)
def other(self: RunTask, words: list[str] | None = None, *, loud: bool = False) -> None:
    """Stand in for another job."""


@APP.task(name="tests.zoned", base=RunTask, bind=True, shared=False)
def zoned(self: RunTask, timezone: str = "UTC") -> None:
    """Stand in for a job whose occurrence means something on the clocks of its entry."""


@APP.task(name="tests.positional", base=RunTask, shared=False)
def positional(first: str, /, *rest: str) -> None:
    """Stand in for a job whose arguments have no names."""


@APP.task(name="tests.plain", shared=False)
def plain() -> None:
    """Stand in for a task that keeps no run."""


def at(text: str) -> datetime:
    """Read a time in UTC, such as `2026-01-15 06:00`, seconds if need be."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def definition(**changes: Any) -> Definition:
    """Return a right definition, each minute, but for the changes."""
    return Definition(**{"task": "tests.job", "schedule": interval(60), **changes})


def entry(name: str = "entry", last: datetime | None = None, **changes: Any) -> Entry:
    """Return an operator's own entry, decided on up to `last`, as it stands in Redis."""
    return stored(Entry(name, definition(**changes), last_run_at=last))


def stored(one: Entry) -> Entry:
    """Return an entry as it is after it was written and read."""
    return read_entry(one.to_row())
