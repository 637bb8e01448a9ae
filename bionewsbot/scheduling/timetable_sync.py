"""Brings the file's entries to Redis, and leaves to operators what they have changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from celery import Celery

from bionewsbot.errors import EntryError
from bionewsbot.runs.model import NewRun
from bionewsbot.scheduling.checks import problems
from bionewsbot.scheduling.entries import Definition, Entry, Row, read_entry
from bionewsbot.scheduling.policies import Decision, all_missed
from bionewsbot.scheduling.store import Change


@dataclass(frozen=True)
class Sync:
    """What bringing the file to Redis comes to."""

    changes: tuple[Change, ...]
    missed: tuple[NewRun, ...]
    """Occurrences that were due under a schedule that is no more."""
    kept: Mapping[str, tuple[str, ...]]
    """Fields, by entry, in which an operator's value stands against the file's."""


def plan(
    app: Celery,
    timetable: Mapping[str, Definition],
    rows: Mapping[str, Row],
    statics: set[str],
    now: datetime,
) -> Sync:
    """Say what has to change for the stored entries (`rows`, by name) to follow the file.

    `statics` are the names of those that came from the file before. One that has left it is
    removed, unless an operator made it.
    """
    changes: list[Change] = []
    missed: list[NewRun] = []
    kept: dict[str, tuple[str, ...]] = {}
    for name, wanted in timetable.items():
        before = _stored(rows.get(name))
        after = _merge(name, wanted, before, name in statics, now)
        if problems(app, name, after.definition, now):
            # An operator's value is wrong: beat sets the entry aside, which shows it.
            continue
        missed += given_up(app, before, after, now)
        if after.changed_fields:
            kept[name] = after.changed_fields
        changes.append(replace(Change.to(after, now, static=True), was=rows.get(name)))
    for name in statics - set(timetable):
        missed += given_up(app, _stored(rows.get(name)), None, now)
        changes.append(Change(name, rows.get(name), delete=True))
    return Sync(tuple(changes), tuple(missed), kept)


def changed(before: Entry, after: Entry, now: datetime) -> Entry:
    """Return `after`, which starts from `now` where its times are others than those of `before`.

    An occurrence of the new schedule that lies in the past is nobody's. Nor is one where plain
    RedBeat made the change.
    """
    same = before.times == after.times and not before.edited
    return after if same else replace(after, last_run_at=now)


def given_up(app: Celery, before: Entry | None, after: Entry | None, now: datetime) -> list[NewRun]:
    """Return, as missed, what was due under `before` and is not decided on under `after`."""
    if before is None or (after is not None and after.last_run_at == before.last_run_at):
        return []
    before = before.as_seen
    if problems(app, before.name, before.definition, now):
        return []
    due, more = before.due(now)
    decisions = [Decision(one, "its entry was changed before it could start") for one in due]
    if more:
        decisions = [all_missed(due[0], now)]
    return [before.run(app, one.scheduled_for, missed=one.missed) for one in decisions]


def _stored(row: Row | None) -> Entry | None:
    if row is None:
        return None
    try:
        return read_entry(row)
    except EntryError:
        # Nothing of it can be kept; the file mends it.
        return None


def _merge(
    name: str, wanted: Definition, stored: Entry | None, is_static: bool, now: datetime
) -> Entry:
    files = wanted.as_dict()
    if stored is None:
        return Entry(name, wanted, last_run_at=now, from_file=files)
    ours = stored.definition.as_dict()
    if stored.from_file is not None:
        last = stored.from_file
        mine = {field: ours[field] for field in ours if ours[field] != last.get(field)}
    else:
        # What an operator made stays the operator's; what older versions took from the file
        # follows it.
        mine = {} if is_static else ours
    merged = replace(
        stored,
        definition=Definition.from_dict({**files, **mine}),
        from_file=files,
        last_run_at=stored.last_run_at or now,
    )
    return changed(stored, merged, now)
