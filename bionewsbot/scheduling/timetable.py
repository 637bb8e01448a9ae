"""The timetable `beat_schedule.py`: loaded and checked as a whole before anything uses it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from celery import Celery
from celery.utils.imports import cwd_in_path

from bionewsbot.errors import TimetableError
from bionewsbot.scheduling.checks import problems
from bionewsbot.scheduling.entries import POLICY_FIELDS, Definition

MODULE = "beat_schedule"

_REQUIRED = ("task", "schedule", "options")
_KEYS = {*_REQUIRED, *POLICY_FIELDS, "args", "kwargs", "enabled"}


def load_timetable(app: Celery) -> dict[str, Definition]:
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


def check_timetable(app: Celery, table: object, *, where: str) -> dict[str, Definition]:
    """Check a timetable completely and return its entries by name. Raises TimetableError."""
    if not isinstance(table, dict) or not table:
        raise TimetableError(f"{where}: `{MODULE}` must be a dict with at least one entry")
    entries: dict[str, Definition] = {}
    wrong: list[str] = []
    for name, line in table.items():
        found = _form_problems(name, line)
        if not found:
            entries[name] = _definition(line)
            found = problems(app, name, entries[name], datetime.now(UTC))
        wrong += [f"{where}: entry {name!r}: {problem}" for problem in found]
    if wrong:
        raise TimetableError("\n".join(wrong))
    return entries


def _form_problems(name: object, line: object) -> list[str]:
    if not isinstance(name, str):
        return ["its name must be a text"]
    if not isinstance(line, dict):
        return [f"must be a dict with {', '.join(_REQUIRED)}"]
    found = [f"unknown key {key!r}" for key in line if key not in _KEYS]
    found += [f"{key} is missing" for key in _REQUIRED if key not in line]
    options = line.get("options")
    if "options" in line and (not isinstance(options, dict) or set(options) != {"queue"}):
        found.append(f'options must be {{"queue": ...}} and no more, not {options!r}')
    if not isinstance(line.get("args", ()), tuple | list):
        found.append(f"args must be a list, not {line['args']!r}")
    if not isinstance(line.get("kwargs", {}), dict):
        found.append(f"kwargs must be a dict, not {line['kwargs']!r}")
    return found


def _definition(line: Mapping[str, Any]) -> Definition:
    given = dict(line)
    queue = given.pop("options")["queue"]
    return Definition(queue=queue, **{**given, "args": tuple(given.get("args", ()))})
