"""Finds an entry by name: as it is stored, or, before the first beat, as the file has it."""

from celery import Celery

from bionewsbot import settings as settings_module
from bionewsbot.celeryconfig import connect_redis
from bionewsbot.errors import TimetableError
from bionewsbot.scheduling.entries import Entry, read_entry
from bionewsbot.scheduling.store import Store
from bionewsbot.scheduling.timetable import load_timetable


def open_store(app: Celery) -> Store:
    """Return the schedule's store, made from this process' settings."""
    return Store(app, connect_redis(settings_module.current()))


def find_entry(app: Celery, name: str) -> Entry:
    """Return an entry. Raises TimetableError if there is none, EntryError if it is broken."""
    store = open_store(app)
    for row in store.rows([name]):
        return read_entry(row)
    timetable = load_timetable(app)
    if name not in timetable:
        known = sorted({*timetable, *store.names()})
        raise TimetableError(f"no entry {name!r} in the timetable; it has {', '.join(known)}")
    return Entry(name, timetable[name], from_file=timetable[name].as_dict())
