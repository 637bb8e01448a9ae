"""Runs for occurrences that passed without one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import Celery

from bionewsbot.errors import EntryError
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import NewRun, Occurrence, Run, format_time
from bionewsbot.scheduling.calendar import occurrences
from bionewsbot.scheduling.entries import Entry

MAX_RUNS = 500
"""Most occurrences of one backfill: its runs start at once, beside each other, and are sent as one
batch."""

_UNDONE = ("missed", "skipped")


@dataclass(frozen=True)
class Backfill:
    """What a backfill starts, and what it leaves."""

    runs: tuple[NewRun, ...]
    undone: tuple[Run, ...]
    """On record as missed or skipped; among `runs` if these were asked for."""
    have_runs: int
    """Occurrences that were started before."""


def plan_backfill(
    app: Celery,
    ledger: Ledger,
    entry: Entry,
    start: datetime,
    end: datetime,
    *,
    undone: bool,
    retention_days: int,
) -> Backfill:
    """Say which occurrences from `start` to `end` (both included) get a run, oldest first.

    With `undone`, those too that are on record as missed or skipped. Raises EntryError where the
    ledger can't know what ran, for times to come, and for more than MAX_RUNS occurrences.
    """
    now = datetime.fromtimestamp(ledger.now(), start.tzinfo)
    _check(start, end, now, retention_days)
    given = entry.definition
    found = occurrences(
        given.schedule, given.zone, start - timedelta(microseconds=1), end, limit=MAX_RUNS + 1
    )
    if len(found) > MAX_RUNS:
        raise EntryError(
            f"{entry.name} has more than {MAX_RUNS} occurrences from {format_time(start)} to "
            f"{format_time(end)}; backfill it in parts (the first ends with --to "
            f"{format_time(found[MAX_RUNS - 1])})"
        )
    names = {Occurrence(entry.name, one).run_id: one for one in found}
    have = ledger.between(entry.name, start, end) & names.keys()
    left = [run for run in map(ledger.get, sorted(have)) if run.status in _UNDONE]
    again = {run.run_id for run in left} if undone else set()
    runs = [
        entry.run_by_operator(app, scheduled_for, again=run_id in again)
        for run_id, scheduled_for in names.items()
        if run_id not in have or run_id in again
    ]
    return Backfill(tuple(runs), tuple(left), len(have) - len(left))


def _check(start: datetime, end: datetime, now: datetime, retention_days: int) -> None:
    if end > now:
        raise EntryError(f"--to {format_time(end)} has not passed; what is to come, beat starts")
    if start > end:
        raise EntryError(f"--from {format_time(start)} is after --to {format_time(end)}")
    known = now - timedelta(days=retention_days)
    if start < known:
        raise EntryError(
            f"--from {format_time(start)} is before {format_time(known)}: the ledger keeps runs "
            f"for RUN_RETENTION_DAYS={retention_days} days and doesn't know what ran earlier; "
            "start such a run with `runs start ENTRY --at TIME`"
        )
