"""How the schedule is shown: tables for people, JSON for programs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from celery.schedules import BaseSchedule
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bionewsbot.cli.runs_view import console
from bionewsbot.errors import EntryError
from bionewsbot.runs.model import Run, format_time
from bionewsbot.scheduling.changes import UNCHANGED, Outcome
from bionewsbot.scheduling.diagnosis import Finding, Level, healthy
from bionewsbot.scheduling.entries import Definition, Entry
from bionewsbot.scheduling.exchange import as_plain
from bionewsbot.scheduling.overview import Difference, Line, Upcoming, overdue_since, upcoming
from bionewsbot.scheduling.words import duration_text, in_words, schedule_text, value_text

Paused = Mapping[str, str] | None
"""Since when, by whom and why everything is paused, as `Store.paused` gives it."""

_WHOLE = ("ENTRY", "NEXT RUN", "LAST RUN", "SCHEDULED FOR")
_STYLE = {Level.OK: "green", Level.NOTE: "cyan", Level.WRONG: "bold red"}
_RESULT = {"succeeded": "green", "running": "cyan", "waiting": "cyan", "partial": "yellow"}


def say_paused(paused: Paused) -> None:
    """Say loudly that everything is paused, if it is."""
    if paused is not None:
        why = f": {paused['why']}" if paused["why"] else ""
        text = f"EVERYTHING IS PAUSED since {paused['at']} by {paused['by']}{why}"
        console().print(Text(printable(text), style="bold white on red"))
        click.echo("Nothing is sent until: celery -A bionewsbot redbeat resume")


def line_as_dict(line: Line, run: Run | None, now: datetime) -> dict[str, Any]:
    """Return an entry as JSON shows it: the same fields for every entry; times are RFC 3339."""
    entry = line.entry
    shown: dict[str, Any] = {
        "name": line.name,
        "schedule": None,
        "timezone": None,
        "enabled": None,
        "next_run": None,
        "overdue_since": None,
        "last_run": run and _run_as_dict(run),
        "from_file": line.static,
        "stored": line.row is not None,
        "changed_fields": [],
        "changed_by": None,
        "broken": line.broken,
    }
    if entry is None:
        return shown
    shown |= {
        "enabled": entry.definition.enabled,
        "timezone": entry.definition.timezone,
        "schedule": in_words(entry.definition.schedule),
        "changed_fields": list(entry.changed_fields),
        "changed_by": entry.changed_by,
    }
    if not line.broken:
        following = upcoming(entry, now, 1)
        since = overdue_since(entry, now)
        shown["next_run"] = _upcoming_as_dict(following[0]) if following else None
        shown["overdue_since"] = since and format_time(since)
    return shown


def entry_as_dict(line: Line, run: Run | None, now: datetime) -> dict[str, Any]:
    """Return an entry with all that it says, for `show --json`."""
    shown = line_as_dict(line, run, now)
    entry = line.entry
    shown["definition"] = entry and as_plain(entry.definition)
    shown["file"] = _file_values(entry) if entry else {}
    shown["next_runs"] = []
    if entry is not None and not line.broken:
        shown["starting_deadline_seconds"] = entry.starting_deadline.total_seconds()
        shown["next_runs"] = [_upcoming_as_dict(one) for one in upcoming(entry, now, 5)]
    if line.broken and line.row is not None:
        row = line.row
        shown["stored_as"] = {"definition": row.definition, "meta": row.meta, "own": row.own}
    return shown


def print_lines(
    lines: Sequence[Line], runs: Mapping[str, Run], now: datetime, paused: Paused
) -> None:
    """Print the schedule as a table; what is wrong with it stands below."""
    say_paused(paused)
    head = ("ENTRY", "SCHEDULE", "ZONE", "NEXT RUN", "LAST RUN", "RESULT", "ENABLED", "OPERATOR")
    table = _table(*head)
    for line in lines:
        shown = line_as_dict(line, runs.get(line.name), now)
        last = shown["last_run"] or {"scheduled_for": "-", "status": "-"}
        enabled = "SET ASIDE" if line.broken else "yes" if shown["enabled"] else "no"
        table.add_row(
            escape(printable(line.name)),
            escape(printable(shown["schedule"] or "?")),
            escape(printable(shown["timezone"] or "?")),
            _next_text(shown, now),
            last["scheduled_for"],
            Text(last["status"], style=_RESULT.get(last["status"], "red" if runs else "")),
            Text(enabled, style="" if enabled == "yes" else "yellow"),
            escape(_operator_text(line)),
        )
    console().print(table)
    for line in lines:
        if line.broken:
            said = Text(f"{printable(line.name)} is set aside: {printable(line.broken)}", "red")
            console().print(said, soft_wrap=True)
    if any(line.broken for line in lines):
        click.echo("Mend it with `redbeat set`, `redbeat reset` or `redbeat remove`.")


def print_entry(line: Line, run: Run | None, now: datetime, paused: Paused) -> None:
    """Print one entry: what it says, what the file says, what comes next."""
    say_paused(paused)
    shown = entry_as_dict(line, run, now)
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")

    def row(name: str, value: object) -> None:
        table.add_row(name, Text(printable(str(value))))

    row("entry", line.name)
    if line.broken:
        row("SET ASIDE", line.broken)
    if shown["schedule"]:
        row("schedule", shown["schedule"])
    for name, value in (shown["definition"] or {}).items():
        told = _field_told(name, value, shown)
        other = shown["file"].get(name, value) != value
        row(name, f"{told}  (the file says {shown['file'][name]})" if other else told)
    for name in shown["file"].keys() - (shown["definition"] or {}).keys():
        row(name, f"(the file says {shown['file'][name]})")
    for name, text in shown.get("stored_as", {}).items():
        row(f"stored {name}", text)
    row("comes from", "beat_schedule.py" if line.static else "an operator")
    if line.row is None:
        row("", "not in Redis yet; the next beat brings it there")
    if shown["changed_by"]:
        row("changed by", shown["changed_by"])
    if run is not None:
        row("last run", f"{run.run_id}  {run.status}" + (f" ({run.reason})" if run.reason else ""))
    if shown["overdue_since"]:
        row("OVERDUE", f"since {shown['overdue_since']}; see `redbeat doctor`")
    if line.entry is not None and not line.broken:
        coming = upcoming(line.entry, now, 3)
        row("next runs", "\n".join(_coming_told(one, line.entry) for one in coming) or "none")
    console().print(table)


def print_upcoming(rows: Sequence[tuple[Entry, Upcoming]], now: datetime, paused: Paused) -> None:
    """Print occurrences to come, the next one first."""
    say_paused(paused)
    table = _table("SCHEDULED FOR", "IN", "ENTRY", "LOCAL TIME", "JITTER")
    for entry, one in rows:
        delay = (one.due_at - one.scheduled_for).total_seconds()
        table.add_row(
            format_time(one.scheduled_for),
            span_text((one.due_at - now).total_seconds()),
            entry.name,
            _local(one.scheduled_for, entry),
            f"+{delay:.1f} s" if delay else "",
        )
    console().print(table)


def upcoming_as_dict(entry: Entry, one: Upcoming) -> dict[str, Any]:
    """Return an occurrence to come as JSON shows it."""
    return {
        "entry": entry.name,
        **_upcoming_as_dict(one),
        "local": _local(one.scheduled_for, entry),
    }


def print_differences(found: Sequence[Difference]) -> None:
    """Print where entries are not what the file says."""
    table = _table("ENTRY", "FIELD", "IN USE", "FILE", "")
    for one in found:
        note = "the operator's stays" if one.by_operator else "beat takes the file's when it starts"
        texts = [
            value_text(one.field, _plain_value(one.field, value))
            for value in (one.in_use, one.in_file)
        ]
        row = (one.entry, one.field, *texts, note)
        table.add_row(*(escape(printable(text)) for text in row))
    console().print(table)
    if any(one.by_operator for one in found):
        click.echo("`redbeat reset NAME` takes the file's values.")


def difference_as_dict(one: Difference) -> dict[str, Any]:
    """Return a difference as JSON shows it."""
    return {
        "entry": one.entry,
        "field": one.field,
        "in_use": _plain_value(one.field, one.in_use),
        "file": _plain_value(one.field, one.in_file),
        "stays": "in_use" if one.by_operator else "file",
    }


def print_history(runs: Sequence[Run], now: float) -> None:
    """Print an entry's runs, the latest first."""
    table = _table("SCHEDULED FOR", "STATUS", "STARTED", "SECONDS", "TARGETS", "FAILED", "WHY")
    for run in runs:
        late = run.opened_at - run.scheduled_for.timestamp()
        idle = run.status in ("missed", "skipped")
        table.add_row(
            format_time(run.scheduled_for),
            Text(run.status, style=_RESULT.get(run.status, "red")),
            "" if idle else f"{span_text(late)} later" if late >= 1 else "on time",
            "" if idle else f"{run.seconds(now):.1f}",
            str(run.targets),
            str(run.failed),
            Text(run.reason or ""),
        )
    console().print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what doctor found, and how to mend it."""
    table = _table("", "CHECK", "FINDING")
    for one in findings:
        text = Text(printable(one.text), style=_STYLE[one.level] if one.level != "ok" else "")
        if one.mend:
            text.append(f"\nmend: {printable(one.mend)}", style="default")
        table.add_row(Text(one.level.value, style=_STYLE[one.level]), one.check, text)
    console().print(table)
    wrong = sum(one.level is Level.WRONG for one in findings)
    click.echo("Nothing is wrong." if healthy(findings) else f"{wrong} to mend.")


def outcome_as_dict(one: Outcome, now: datetime) -> dict[str, Any]:
    """Return what a command did to an entry as JSON shows it."""
    following = upcoming(one.entry, now, 1) if one.entry else []
    return {
        "entry": one.name,
        "action": one.action,
        "fields": {
            name: {"from": _plain(old), "to": _plain(new)}
            for name, (old, new) in one.fields.items()
        },
        "missed": [run.occurrence.run_id for run in one.missed],
        "next_run": _upcoming_as_dict(following[0]) if following else None,
    }


def print_outcome(one: Outcome, now: datetime) -> None:
    """Say what a command did to an entry."""
    told = outcome_as_dict(one, now)
    name = printable(one.name)
    if one.action == UNCHANGED:
        click.echo(f"{name}: unchanged, it is so already")
        return
    click.echo(f"{name}: {one.action}")
    for field, (old, new) in one.fields.items():
        click.echo(f"  {field}: {value_text(field, old)} -> {value_text(field, new)}")
    if one.entry is not None and one.whole is not None:
        click.echo(f"  {in_words(one.entry.definition.schedule)}")
    if told["missed"]:
        ids = told["missed"]
        last = f" to {ids[-1]}" if len(ids) > 1 else ""
        click.echo(f"  due and not sent yet, on record as missed: {len(ids)}, {ids[0]}{last}")
    if told["next_run"]:
        click.echo(f"  next run: {_next_text(told, now)}")
    elif one.entry is not None:
        click.echo("  next run: none, it is disabled")


def print_import(outcomes: Iterable[Outcome], now: datetime, *, dry_run: bool) -> None:
    """Say what an import did, or would do."""
    counts: dict[str, int] = {}
    for one in outcomes:
        counts[one.action] = counts.get(one.action, 0) + 1
        if one.action != UNCHANGED:
            print_outcome(one, now)
    told = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))
    click.echo(f"{told} (dry run: nothing was written)" if dry_run else told)


def printable(text: str) -> str:
    """Return a text that a terminal can show: bytes that are no text as \\udc.. ."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def span_text(seconds: float) -> str:
    """Write a span of time in its two largest units."""
    return "".join(re.findall(r"\d+[dhms]", duration_text(int(seconds)))[:2])


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold")
    for column in columns:
        # Where a terminal is narrow, names and times stay whole at the cost of words.
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    return table


def _operator_text(line: Line) -> str:
    if line.entry is None:
        return ""
    if line.entry.from_file is None:
        return "added"
    if line.entry.changed_fields:
        return f"changed: {', '.join(line.entry.changed_fields)}"
    return ""


def _next_text(shown: Mapping[str, Any], now: datetime) -> str:
    if shown.get("overdue_since"):
        return f"OVERDUE since {shown['overdue_since']}"
    following = shown["next_run"]
    if not following:
        return "-"
    left = (datetime.fromisoformat(following["due_at"]) - now).total_seconds()
    return f"{following['scheduled_for']} (in {span_text(left)})"


def _run_as_dict(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "scheduled_for": format_time(run.scheduled_for),
        "status": run.status,
        "reason": run.reason,
    }


def _upcoming_as_dict(one: Upcoming) -> dict[str, str]:
    due_at = one.due_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"scheduled_for": format_time(one.scheduled_for), "due_at": due_at}


def _coming_told(one: Upcoming, entry: Entry) -> str:
    return f"{format_time(one.scheduled_for)}  {_local(one.scheduled_for, entry)}"


def _local(moment: datetime, entry: Entry) -> str:
    return moment.astimezone(entry.definition.zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")


def _file_values(entry: Entry) -> dict[str, Any]:
    """Return what the file says otherwise, in the form of `as_plain`."""
    try:
        files = as_plain(Definition.from_dict(entry.from_file or {}))
    except (EntryError, TypeError, ValueError):
        return {}
    ours = as_plain(entry.definition)
    return {name: value for name, value in files.items() if name not in ours or ours[name] != value}


def _field_told(name: str, value: object, shown: Mapping[str, Any]) -> str:
    if value is None and name == "starting_deadline":
        seconds = shown.get("starting_deadline_seconds")
        return "by its schedule" + (f": {duration_text(seconds)}" if seconds else "")
    return value_text(name, value)


def _plain_value(field: str, value: object) -> Any:
    if field != "schedule":
        return value
    try:
        return schedule_text(Definition.from_dict({"task": "", "schedule": value}).schedule)
    except EntryError:
        return value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseSchedule):
        return schedule_text(value)
    return list(value) if isinstance(value, tuple) else value
