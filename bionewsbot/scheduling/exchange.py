"""The schedule as YAML: written by `redbeat export`, read and checked whole by `redbeat import`."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from celery import Celery
from celery.schedules import crontab
from celery.schedules import schedule as interval

from bionewsbot.errors import EntryError
from bionewsbot.scheduling.checks import problems
from bionewsbot.scheduling.entries import Definition, Entry
from bionewsbot.scheduling.words import (
    DURATIONS,
    cron_text,
    duration_text,
    parse_cron,
    parse_duration,
    parse_interval,
)
from bionewsbot.yamlfile import Place, YamlFile

_SCHEDULES = ("cron", "every", "rrule")
_KEYS = (*(one.name for one in fields(Definition) if one.name != "schedule"), *_SCHEDULES)


def export_text(entries: Iterable[Entry]) -> str:
    """Write entries as YAML that `read_import` reads."""
    table = {entry.name: as_plain(entry.definition) for entry in entries}
    return yaml.safe_dump({"entries": table}, sort_keys=False, allow_unicode=True, width=100)


def as_plain(definition: Definition) -> dict[str, Any]:
    """Return a definition as it stands in an exported file: durations as `15m`."""
    found = definition.as_dict()
    schedule: Any = definition.schedule
    given = found.pop("schedule")
    task = found.pop("task")
    if isinstance(schedule, crontab):
        when = {"cron": cron_text(schedule)}
    elif type(schedule) is interval:
        when = {"every": duration_text(schedule.run_every.total_seconds())}
    else:
        when = {"rrule": given}
    for name in DURATIONS:
        found[name] = None if found[name] is None else duration_text(found[name])
    return {"task": task, **when, **found}


def read_import(app: Celery, path: Path, now: datetime) -> dict[str, Definition]:
    """Read and check entries from a YAML file.

    A key that is left out has its default. Raises EntryError, which lists everything that is
    wrong, each with its line.
    """
    file = YamlFile(path, EntryError)
    found: dict[str, Definition] = {}
    whole = file.data if isinstance(file.data, dict) else {}
    table = whole.get("entries")
    if not isinstance(table, dict) or not table:
        file.refuse((), "must have `entries:` with at least one entry, as `redbeat export` writes")
        table = {}
    elif set(whole) != {"entries"}:
        file.refuse((), "must have `entries:` and no more")
    for name, line in table.items():
        definition = _definition(file, ("entries", name), line)
        if definition is not None:
            found[name] = definition
            for problem in problems(app, name, definition, now):
                file.refuse(("entries", name), f"entry {name!r}: {problem}")
    file.finish()
    return found


def _definition(file: YamlFile, place: Place, line: object) -> Definition | None:
    name = place[-1]
    if not isinstance(line, dict):
        file.refuse(place, f"entry {name!r}: must have task, and cron or every")
        return None
    right = True

    def refuse(key: str, message: str) -> None:
        nonlocal right
        right = False
        file.refuse((*place, key), f"entry {name!r}: {message}")

    for key in line:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            refuse(key, f"unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else ""))
    given = {key: value for key, value in line.items() if key not in _SCHEDULES}
    if not isinstance(given.get("task"), str):
        refuse("task", "task must be the name of a task")
    for key, kind, words in (("args", list, "a list"), ("kwargs", dict, "a mapping")):
        if not isinstance(given.get(key, kind()), kind):
            refuse(key, f"{key} must be {words}, not {given[key]!r}")
    for key in DURATIONS:
        try:
            if isinstance(given.get(key), str):
                given[key] = parse_duration(given[key])
        except ValueError as error:
            refuse(key, f"{key}: {error}")
    when = [key for key in _SCHEDULES if key in line]
    if len(when) != 1:
        refuse(when[0] if when else "", "give one of cron and every")
        return None
    try:
        given["schedule"] = _schedule(when[0], line[when[0]])
    except (ValueError, EntryError) as error:
        refuse(when[0], f"{when[0]}: {error}")
    return Definition(**{**given, "args": tuple(given.get("args", ()))}) if right else None


def _schedule(key: str, value: object) -> Any:
    if key == "cron":
        return parse_cron(str(value))
    if key == "every":
        return parse_interval(str(value))
    return Definition.from_dict({"task": "", "schedule": value}).schedule
