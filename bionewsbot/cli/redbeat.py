"""`celery -A bionewsbot redbeat ...`: the schedule as it stands, and what changes it."""

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from bionewsbot.cli.errors import reports_errors
from bionewsbot.cli.files import write_file
from bionewsbot.cli.options import as_json
from bionewsbot.cli.redbeat_edit import COMMANDS

if TYPE_CHECKING:
    from celery import Celery

    from bionewsbot.scheduling.overview import Overview
    from bionewsbot.scheduling.store import Store

EXIT_FOUND = 3
"""`diff` found differences, `doctor` something to mend, `export` entries that it had to leave."""


@click.group()
def redbeat() -> None:
    """Show and change the schedule. No beat has to run.

    A running beat heeds a change with its next look, within a second. Durations are written as
    90s, 15m, 1h30m, 1d or plain seconds; times are UTC where they name no zone.

    \b
    Exit codes: 0 done; 1 it failed (Redis doesn't answer, somebody else keeps changing the same
    entry); 2 refused, nothing was changed (the message says what is allowed); 3 `diff` found
    differences, `doctor` something to mend, `export` entries that can't be read.

    \b
    Examples:
      celery -A bionewsbot redbeat list
      celery -A bionewsbot redbeat set hourly_quick_scan --every 30m
      celery -A bionewsbot redbeat next -n 5 --json
      celery -A bionewsbot redbeat doctor
    """


for command in COMMANDS:
    redbeat.add_command(command)


@dataclass(frozen=True)
class _Schedule:
    app: "Celery"
    store: "Store"
    overview: "Overview"


def _schedule(ctx: click.Context) -> _Schedule:
    from bionewsbot.scheduling.lookup import open_store
    from bionewsbot.scheduling.overview import Overview

    app: Celery = ctx.obj.app
    app.loader.import_default_modules()
    store = open_store(app)
    return _Schedule(app, store, Overview(app, store))


def _warn_of_file(overview: "Overview") -> None:
    problem = overview.timetable_problem()
    if problem is not None:
        click.echo(f"Warning: the file is left out, it is wrong:\n{problem}", err=True)


@redbeat.command("list")
@as_json
@click.pass_context
@reports_errors
def list_(ctx: click.Context, json_output: bool) -> None:
    """List all entries, those too that are broken.

    \b
    Examples:
      celery -A bionewsbot redbeat list
      celery -A bionewsbot redbeat list --json | jq '.entries[] | select(.overdue_since)'
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.runs.ledger import ledger

    schedule = _schedule(ctx)
    now, paused = schedule.store.now(), schedule.store.paused()
    lines = schedule.overview.lines(now)
    _warn_of_file(schedule.overview)
    runs = ledger().latest_of([line.name for line in lines])
    if json_output:
        entries = [view.line_as_dict(line, runs.get(line.name), now) for line in lines]
        print_json({"paused": paused, "entries": entries})
    else:
        view.print_lines(lines, runs, now, paused)


@redbeat.command()
@click.argument("name")
@as_json
@click.pass_context
@reports_errors
def show(ctx: click.Context, name: str, json_output: bool) -> None:
    """Show one entry: what it says, what the file says, what comes next.

    \b
    Example:
      celery -A bionewsbot redbeat show daily_company_analysis
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.runs.ledger import ledger

    schedule = _schedule(ctx)
    now, paused = schedule.store.now(), schedule.store.paused()
    line = schedule.overview.line(name, now)
    run = ledger().latest_of([name]).get(name)
    if json_output:
        print_json({"paused": paused, **view.entry_as_dict(line, run, now)})
    else:
        view.print_entry(line, run, now, paused)


@redbeat.command("next")
@click.argument("name", required=False)
@click.option("-n", "--count", type=click.IntRange(1, 10_000), default=10, show_default=True)
@as_json
@click.pass_context
@reports_errors
def next_(ctx: click.Context, name: str | None, count: int, json_output: bool) -> None:
    """List the next occurrences, of all entries or of one.

    \b
    Examples:
      celery -A bionewsbot redbeat next
      celery -A bionewsbot redbeat next daily_company_analysis -n 3 --json
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.scheduling.overview import upcoming

    schedule = _schedule(ctx)
    now, paused = schedule.store.now(), schedule.store.paused()
    if name is None:
        lines = schedule.overview.lines(now)
        _warn_of_file(schedule.overview)
    else:
        lines = [schedule.overview.line(name, now)]
    counted = [line.entry for line in lines if line.entry is not None and not line.broken]
    coming = [(entry, one) for entry in counted for one in upcoming(entry, now, count)]
    rows = heapq.nsmallest(count, coming, key=lambda pair: (pair[1].due_at, pair[0].name))
    if json_output:
        shown = [view.upcoming_as_dict(entry, one) for entry, one in rows]
        print_json({"paused": paused, "next": shown})
        return
    view.print_upcoming(rows, now, paused)
    for line in lines:
        if line.broken:
            click.echo(view.printable(f"{line.name}: none, it is set aside: {line.broken}"))
        elif name is not None and not rows:
            click.echo(f"{name}: none, it is disabled")


@redbeat.command()
@as_json
@click.pass_context
@reports_errors
def diff(ctx: click.Context, json_output: bool) -> None:
    """Show where entries are not what beat_schedule.py says.

    A value that an operator changed stays, whatever the file says; `redbeat reset` takes the
    file's. What only the file changed, beat takes over with its next start.

    Exit code: 0 no differences, 3 differences.
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json

    schedule = _schedule(ctx)
    lines = schedule.overview.lines(schedule.store.now())
    timetable = schedule.overview.timetable
    found = schedule.overview.differences(lines)
    fresh = [line.name for line in lines if line.row is None]
    added = [line.name for line in lines if line.entry and line.entry.from_file is None]
    gone = [line.name for line in lines if line.static and line.name not in timetable]
    if json_output:
        differences = [view.difference_as_dict(one) for one in found]
        left = {"only_in_file": fresh, "by_operators": added, "gone_from_file": gone}
        print_json({"differences": differences, **left})
    else:
        if found:
            view.print_differences(found)
        for names, text in (
            (fresh, "only in the file; beat takes it over when it starts"),
            (gone, "gone from the file; beat removes it when it starts"),
            (added, "an operator's own entry"),
        ):
            for each in names:
                click.echo(view.printable(f"{each}: {text}"))
        if not (found or fresh or gone or added):
            click.echo("The schedule is what beat_schedule.py says.")
    if found or fresh or gone:
        raise SystemExit(EXIT_FOUND)


@redbeat.command()
@click.argument("name")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@as_json
@click.pass_context
@reports_errors
def history(ctx: click.Context, name: str, limit: int, json_output: bool) -> None:
    """List an entry's runs from the ledger, the latest occurrence first.

    Missed and skipped ones are among them, each with the reason. An entry that was removed keeps
    its history for RUN_RETENTION_DAYS.

    \b
    Example:
      celery -A bionewsbot redbeat history hourly_quick_scan -n 24
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli import runs_view
    from bionewsbot.runs.ledger import ledger

    found, now = ledger().latest(limit, name), ledger().now()
    if not found:
        schedule = _schedule(ctx)
        schedule.overview.line(name, schedule.store.now())
    if json_output:
        runs_view.print_json([runs_view.as_dict(run, now) for run in found])
    elif found:
        view.print_history(found, now)
    else:
        click.echo(f"{name} has no runs yet")


@redbeat.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, writable=True), help="Write here.")
@as_json
@click.pass_context
@reports_errors
def export(ctx: click.Context, output: str | None, json_output: bool) -> None:
    """Print all entries as YAML for `redbeat import`.

    Exit code 3 if there are entries that can't be read: they are left out and named.

    \b
    Example:
      celery -A bionewsbot redbeat export -o schedule.yaml
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.scheduling.exchange import as_plain, export_text

    schedule = _schedule(ctx)
    lines = schedule.overview.lines(schedule.store.now())
    _warn_of_file(schedule.overview)
    entries = [line.entry for line in lines if line.entry is not None and not line.broken]
    if json_output:
        import json

        table = {entry.name: as_plain(entry.definition) for entry in entries}
        text = json.dumps({"entries": table}, indent=2) + "\n"
    else:
        text = export_text(entries)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(output, text)
    left = [line for line in lines if line.broken]
    for line in left:
        click.echo(view.printable(f"Left out: {line.name}: {line.broken}"), err=True)
    if left:
        raise SystemExit(EXIT_FOUND)


@redbeat.command()
@as_json
@click.pass_context
@reports_errors
def doctor(ctx: click.Context, json_output: bool) -> None:
    """Look at beats, Redis, clocks and entries, and say how to mend what is wrong.

    Exit code: 0 nothing is wrong, 1 Redis doesn't answer, 3 something is to be mended.

    \b
    Example:
      celery -A bionewsbot redbeat doctor --json | jq '.findings[] | select(.level == "wrong")'
    """
    from bionewsbot import settings as settings_module
    from bionewsbot.celeryconfig import connect_redis
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.scheduling.diagnosis import diagnose, healthy
    from bionewsbot.scheduling.store import Store

    app: Celery = ctx.obj.app
    app.loader.import_default_modules()
    redis = connect_redis(settings_module.current())
    findings = diagnose(app, redis, Store(app, redis))
    if json_output:
        print_json({"healthy": healthy(findings), "findings": [vars(one) for one in findings]})
    else:
        view.print_findings(findings)
    if not healthy(findings):
        raise SystemExit(EXIT_FOUND)
