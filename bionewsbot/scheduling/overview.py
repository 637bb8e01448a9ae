"""The schedule as it stands: every entry, broken ones too, what comes next, what differs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches

from celery import Celery

from bionewsbot.errors import EntryError, TimetableError
from bionewsbot.scheduling.checks import problems
from bionewsbot.scheduling.entries import Definition, Entry, Row, read_entry
from bionewsbot.scheduling.policies import ON_TIME
from bionewsbot.scheduling.store import Store
from bionewsbot.scheduling.timetable import load_timetable

_MOST_NAMED = 20
"""Entries that a message names; there may be thousands."""


@dataclass(frozen=True)
class Line:
    """One entry of the schedule, or of the file if beat hasn't brought it to Redis yet."""

    name: str
    entry: Entry | None
    """None where it can't be read."""
    broken: str | None = None
    """Why beat sets it aside."""
    row: Row | None = None
    """How it stands in Redis; None where it doesn't."""
    static: bool = False
    """Whether it comes from the file."""


@dataclass(frozen=True)
class Upcoming:
    """An occurrence to come: its scheduled time, and when it is due with its jitter."""

    scheduled_for: datetime
    due_at: datetime


@dataclass(frozen=True)
class Difference:
    """A field in which an entry is not what the file says; values as `Definition.as_dict` has."""

    entry: str
    field: str
    in_use: object
    in_file: object
    by_operator: bool
    """Whether an operator's value stands; else beat takes the file's with its next start."""


class Overview:
    """Reads the schedule and the file for one command.

    Every method raises redis.RedisError if Redis stays away beyond the client's retries.
    """

    def __init__(self, app: Celery, store: Store) -> None:
        self._app = app
        self._store = store
        self._timetable: dict[str, Definition] | None = None

    @property
    def timetable(self) -> Mapping[str, Definition]:
        """The file's entries. Raises TimetableError if it is wrong."""
        if self._timetable is None:
            self._timetable = load_timetable(self._app)
        return self._timetable

    def timetable_problem(self) -> str | None:
        """Return what is wrong with the file, if anything is."""
        try:
            return None if self.timetable else "it is empty"
        except TimetableError as error:
            return str(error)

    def lines(self, now: datetime) -> list[Line]:
        """Return all entries by name, those too that stand only in the file."""
        stored = self._read(self._store.names(), now)
        found = {line.name: line for line in stored}
        if self.timetable_problem() is None:
            for name in self.timetable:
                found.setdefault(name, self._from_file(name))
        return [found[name] for name in sorted(found)]

    def line(self, name: str, now: datetime) -> Line:
        """Return one entry. Raises TimetableError if there is none of this name."""
        return self.some([name], now)[name]

    def some(self, names: Iterable[str], now: datetime) -> dict[str, Line]:
        """Return these entries by name. Raises TimetableError if one of them doesn't exist."""
        return {name: self.find(name, line) for name, line in self.stored(names, now).items()}

    def stored(self, names: Iterable[str], now: datetime) -> dict[str, Line | None]:
        """Return these entries as Redis has them, None for one that it hasn't."""
        wanted = list(names)
        # RedBeat's own keys (`redbeat::lock`) have the form of an entry's, and are none.
        entries = [name for name in wanted if not name.startswith(":")]
        lines = {line.name: line for line in self._read(entries, now)}
        return {name: lines.get(name) for name in wanted}

    def find(self, name: str, line: Line | None) -> Line:
        """Return the stored line, else the file's. Raises TimetableError where there is none."""
        if line is not None:
            return line
        if name in self.timetable:
            return self._from_file(name)
        known = sorted({*self.timetable, *self._store.names()})
        shown = get_close_matches(name, known, n=3) or known[:_MOST_NAMED]
        more = f" and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
        raise TimetableError(f"no entry {name!r}; there are {', '.join(shown)}{more}")

    def differences(self, lines: Iterable[Line]) -> list[Difference]:
        """Say where entries of the file are not what it says. Raises TimetableError."""
        found = []
        for line in lines:
            files = self.timetable.get(line.name)
            if files is None or line.entry is None or line.row is None:
                continue
            ours, wanted = line.entry.definition.as_dict(), files.as_dict()
            last = line.entry.from_file
            found += [
                Difference(
                    line.name,
                    field,
                    ours[field],
                    wanted[field],
                    by_operator=last is None or ours[field] != last.get(field),
                )
                for field in ours
                if ours[field] != wanted[field]
            ]
        return found

    def _from_file(self, name: str) -> Line:
        given = self.timetable[name]
        return Line(name, Entry(name, given, from_file=given.as_dict()), static=True)

    def _read(self, names: Iterable[str], now: datetime) -> list[Line]:
        statics, aside = self._store.statics(), self._store.set_aside()
        lines = []
        for row in self._store.rows(names):
            entry, broken = examine(self._app, row, now)
            # Where this host's code finds nothing wrong, beat's may have.
            why = broken or aside.get(row.name)
            lines.append(Line(row.name, entry, why, row, row.name in statics))
        return lines


def examine(app: Celery, row: Row, now: datetime) -> tuple[Entry | None, str | None]:
    """Return the entry, if it can be read, and what is wrong with it, if anything is."""
    try:
        entry = read_entry(row)
    except EntryError as error:
        return None, str(error)
    return entry, "; ".join(problems(app, entry.name, entry.definition, now)) or None


def upcoming(entry: Entry, now: datetime, count: int) -> list[Upcoming]:
    """Return the next `count` occurrences that are due from now on; none of a disabled entry."""
    found: list[Upcoming] = []
    if not entry.definition.enabled:
        return found
    # One whose scheduled time has passed may still wait for its jitter.
    earliest = now - timedelta(seconds=entry.definition.jitter)
    following = entry.next_scheduled(max(min(entry.last_run_at or now, now), earliest))
    while following is not None and len(found) < count:
        due_at = entry.due_at(following)
        if due_at >= now:
            found.append(Upcoming(following, due_at))
        following = entry.next_scheduled(following)
    return found


def overdue_since(entry: Entry, now: datetime) -> datetime | None:
    """Return the scheduled time of the first occurrence that beat should have sent by now."""
    if not entry.definition.enabled or entry.last_run_at is None or entry.edited:
        return None
    first = entry.next_scheduled(min(entry.last_run_at, now))
    return first if first is not None and entry.due_at(first) < now - ON_TIME else None
