"""What an operator can change: each change is checked completely, then made as a whole or not."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from celery import Celery

from bionewsbot.errors import EntryError, ScheduleBusy, TimetableError
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import NewRun, format_time
from bionewsbot.scheduling.checks import problems
from bionewsbot.scheduling.entries import Definition, Entry
from bionewsbot.scheduling.exchange import as_plain
from bionewsbot.scheduling.overview import Line, Overview
from bionewsbot.scheduling.store import Change, Store
from bionewsbot.scheduling.timetable_sync import changed, given_up
from bionewsbot.scheduling.words import value_text

ATTEMPTS = 5
"""How often a change is tried that meets another one: beat's own writes come once a second."""

ADDED, CHANGED, RESET, REMOVED, UNCHANGED = "added", "changed", "reset", "removed", "unchanged"


@dataclass(frozen=True)
class Outcome:
    """What a command does to one entry."""

    name: str
    action: str
    entry: Entry | None = None
    """As it is afterwards; None where it is removed."""
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Each field that changes: its old value and its new one, as `Definition` has them."""
    change: Change | None = None
    missed: tuple[NewRun, ...] = ()
    """What was due under the old times and goes on record as missed."""
    whole: Definition | None = None
    """All that it says, where there is no field by field to tell."""

    @property
    def said(self) -> str:
        """The change in one line, for the record."""
        told = [
            f"{name} from {value_text(name, old)} to {value_text(name, new)}"
            for name, (old, new) in self.fields.items()
        ]
        if self.whole is not None:
            told.append(json.dumps(as_plain(self.whole)))
        return f"{self.action} {self.name}" + (f": {', '.join(told)}" if told else "")


class Operator:
    """Makes one operator's changes.

    A change counts from a running beat's next look. Every method raises EntryError or
    TimetableError for a wrong one, ScheduleBusy where others kept changing the same entries,
    redis.RedisError if Redis stays away; then nothing is changed.
    """

    def __init__(self, app: Celery, store: Store, ledger: Ledger, who: str) -> None:
        self._app = app
        self._store = store
        self._ledger = ledger
        self._who = who
        self._overview = Overview(app, store)

    def edit(self, name: str, given: Mapping[str, Any]) -> Outcome:
        """Give an entry's fields (of `Definition`) these values."""

        def plan(now: datetime) -> list[Outcome]:
            line = self._overview.line(name, now)
            return [self._replaced(line, self._edited(line, given), now)]

        return self._make(plan)[0]

    def add(self, name: str, definition: Definition) -> Outcome:
        """Add an entry."""

        def plan(now: datetime) -> list[Outcome]:
            if self._overview.stored([name], now)[name] or name in self._overview.timetable:
                raise EntryError(
                    f"there is an entry {name!r}; change it with `redbeat set {name}`, "
                    "or give another name"
                )
            return [self._added(name, definition, now)]

        return self._make(plan)[0]

    def remove(self, name: str) -> Outcome:
        """Remove an entry that an operator made."""

        def plan(now: datetime) -> list[Outcome]:
            line = self._overview.line(name, now)
            if line.static:
                raise EntryError(
                    f"{name} comes from beat_schedule.py, and beat would bring it back: disable it "
                    f"(`redbeat disable {name}`), or take it out of the file and restart beat"
                )
            missed = tuple(given_up(self._app, line.entry, None, now))
            change = Change(name, line.row, delete=True)
            whole = line.entry.definition if line.entry else None
            return [Outcome(name, REMOVED, change=change, missed=missed, whole=whole)]

        return self._make(plan)[0]

    def reset(self, name: str) -> Outcome:
        """Give an entry of the file all its values from there."""

        def plan(now: datetime) -> list[Outcome]:
            line = self._overview.line(name, now)
            wanted = self._files(line)
            before = line.entry or Entry(name, wanted, last_run_at=now)
            if line.entry is not None and not line.broken and line.entry.from_file is not None:
                if line.entry.definition.as_dict() == wanted.as_dict():
                    return [Outcome(name, UNCHANGED, line.entry)]
            after = replace(before, definition=wanted, from_file=wanted.as_dict(), changed_by=None)
            return [self._outcome(RESET, replace(line, static=True), after, now)]

        return self._make(plan)[0]

    def plan_import(self, wanted: Mapping[str, Definition]) -> list[Outcome]:
        """Return what `import_all` would do."""
        return self._import(wanted, self._store.now())

    def import_all(self, wanted: Mapping[str, Definition]) -> list[Outcome]:
        """Add and change entries until they are as `wanted`; others are left alone."""
        return self._make(lambda now: self._import(wanted, now))

    def _make(self, plan: Callable[[datetime], list[Outcome]]) -> list[Outcome]:
        for _ in range(ATTEMPTS):
            outcomes = plan(self._store.now())
            doing = [one for one in outcomes if one.change is not None]
            changes = [one.change for one in doing if one.change is not None]
            missed = [run for one in doing for run in one.missed]
            if not changes:
                return outcomes
            # First, since nobody would know of them after a death in between.
            if missed:
                self._ledger.open_all(missed)
            stale = self._store.write(changes, by=self._who, said=[one.said for one in doing])
            if not stale:
                return outcomes
        raise ScheduleBusy(
            f"{', '.join(stale)}: somebody else changed it in each of {ATTEMPTS} attempts; "
            "nothing was changed, try again"
        )

    def _import(self, wanted: Mapping[str, Definition], now: datetime) -> list[Outcome]:
        outcomes = []
        for name, line in self._overview.stored(wanted, now).items():
            if line is None and name not in self._overview.timetable:
                outcomes.append(self._added(name, wanted[name], now))
            else:
                found = self._overview.find(name, line)
                outcomes.append(self._replaced(found, wanted[name], now))
        return outcomes

    def _edited(self, line: Line, given: Mapping[str, Any]) -> Definition:
        if line.entry is not None:
            return replace(line.entry.definition, **given)
        if "task" in given and "schedule" in given:
            return Definition(**given)
        try:
            return replace(self._files(line), **given)
        except (EntryError, TimetableError) as error:
            raise EntryError(
                f"{line.name}: {line.broken}. Nothing of it can be kept: say all that it is, with "
                f"--task and --cron or --every, or remove it (`redbeat remove {line.name}`)"
            ) from error

    def _files(self, line: Line) -> Definition:
        """What the file says of an entry: the file here, or as beat last took it from there."""
        problem = self._overview.timetable_problem()
        if problem is None and line.name in self._overview.timetable:
            return self._overview.timetable[line.name]
        if line.entry is not None and line.entry.from_file is not None:
            return Definition.from_dict(line.entry.from_file)
        if problem is not None:
            raise TimetableError(problem)
        raise EntryError(
            f"{line.name} doesn't come from beat_schedule.py, so there is nothing to reset it to; "
            f"change it with `redbeat set {line.name}` or remove it"
        )

    def _added(self, name: str, definition: Definition, now: datetime) -> Outcome:
        entry = Entry(name, definition, last_run_at=now, changed_by=self._signed(now))
        return self._outcome(ADDED, Line(name, None), entry, now)

    def _replaced(self, line: Line, definition: Definition, now: datetime) -> Outcome:
        if line.entry is not None and not line.broken:
            if line.entry.definition.as_dict() == definition.as_dict():
                return Outcome(line.name, UNCHANGED, line.entry)
        before = line.entry or Entry(line.name, definition, last_run_at=now)
        if line.entry is None and line.static:
            before = replace(before, from_file=self._from_file(line.name))
        after = replace(before, definition=definition, changed_by=self._signed(now))
        return self._outcome(CHANGED, line, after, now)

    def _outcome(self, action: str, line: Line, after: Entry, now: datetime) -> Outcome:
        wrong = problems(self._app, after.name, after.definition, now)
        if wrong:
            raise EntryError("\n".join(f"{after.name}: {problem}" for problem in wrong))
        before = line.entry
        if before is not None:
            after = changed(before, after, now)
        change = Change.to(after, now, static=line.static)
        return Outcome(
            after.name,
            action,
            after,
            fields=_differing(before, after),
            change=replace(change, was=line.row),
            missed=tuple(given_up(self._app, before, after, now)),
            whole=after.definition if before is None else None,
        )

    def _from_file(self, name: str) -> Mapping[str, Any] | None:
        if self._overview.timetable_problem() is None and name in self._overview.timetable:
            return self._overview.timetable[name].as_dict()
        return None

    def _signed(self, now: datetime) -> str:
        return f"{self._who}, {format_time(now)}"


def _differing(before: Entry | None, after: Entry) -> dict[str, tuple[Any, Any]]:
    if before is None:
        return {}
    old, new = before.definition, after.definition
    old_plain, new_plain = old.as_dict(), new.as_dict()
    names: Sequence[str] = [name for name in new_plain if old_plain[name] != new_plain[name]]
    return {name: (getattr(old, name), getattr(new, name)) for name in names}
