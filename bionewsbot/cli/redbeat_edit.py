"""The commands of `redbeat` that change the schedule, or start what it left."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bionewsbot.cli.errors import reports_errors
from bionewsbot.cli.options import as_json, moment

if TYPE_CHECKING:
    from celery import Celery

    from bionewsbot.scheduling.changes import Operator, Outcome
    from bionewsbot.scheduling.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def _json_of(kind: type, words: str) -> Callable[..., Any]:
    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            found = json.loads(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not JSON: {error}", ctx, param) from error
        if not isinstance(found, kind):
            raise click.BadParameter(f"{value!r} is not {words}", ctx, param)
        return found

    return read


_FIELD_OPTIONS = (
    click.option("--cron", metavar="CRONTAB", help="When: five fields, such as '0 7 * * mon-fri'."),
    click.option("--every", metavar="DURATION", help="When: each multiple of it, such as 15m."),
    click.option("--tz", metavar="ZONE", help="Zone whose clocks --cron means: Europe/Berlin."),
    click.option("--queue", help="Queue that its job is sent to."),
    click.option(
        "--args",
        callback=_json_of(list, "a list such as '[\"GILD\"]'"),
        metavar="JSON",
        help="Positional arguments, a JSON list.",
    ),
    click.option(
        "--kwargs",
        callback=_json_of(dict, "an object such as '{\"hours\": 24}'"),
        metavar="JSON",
        help="Named arguments, a JSON object.",
    ),
    click.option("--catch-up", metavar="latest|all|none", help="What is done about missed runs."),
    click.option("--overlap", metavar="skip|queue|allow", help="While the one before still runs."),
    click.option(
        "--deadline",
        metavar="DURATION",
        help="How late a run may start; `default`: by the schedule.",
    ),
    click.option("--run-deadline", metavar="DURATION", help="How long a run may take."),
    click.option("--jitter", metavar="DURATION", help="Longest delay of a run; 0: none."),
)


def _field_options(command: F) -> F:
    for option in reversed(_FIELD_OPTIONS):
        command = option(command)
    return command


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a Definition that options name."""
    from bionewsbot.scheduling.words import parse_cron, parse_duration, parse_interval

    if options["cron"] is not None and options["every"] is not None:
        raise click.UsageError("give one of --cron and --every")
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "task": ("task", str),
        "cron": ("schedule", parse_cron),
        "every": ("schedule", parse_interval),
        "tz": ("timezone", str),
        "queue": ("queue", str),
        "args": ("args", tuple),
        "kwargs": ("kwargs", dict),
        "catch_up": ("catch_up", str),
        "overlap": ("overlap", str),
        "deadline": (
            "starting_deadline",
            lambda text: None if text == "default" else parse_duration(text),
        ),
        "run_deadline": ("run_deadline", parse_duration),
        "jitter": ("jitter", parse_duration),
    }
    given = {}
    for option, value in options.items():
        if value is None:
            continue
        field, read = readers[option]
        try:
            given[field] = read(value)
        except ValueError as error:
            hint = f"--{option.replace('_', '-')}"
            raise click.BadParameter(str(error), param_hint=hint) from error
    return given


def _operator(ctx: click.Context) -> "tuple[Operator, Store]":
    from bionewsbot.cli.who import who_i_am
    from bionewsbot.runs.ledger import ledger
    from bionewsbot.scheduling.changes import Operator
    from bionewsbot.scheduling.lookup import open_store

    app: Celery = ctx.obj.app
    app.loader.import_default_modules()
    store = open_store(app)
    return Operator(app, store, ledger(), who_i_am()), store


def _tell(outcome: "Outcome", store: "Store", json_output: bool) -> None:
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json

    if json_output:
        print_json(view.outcome_as_dict(outcome, store.now()))
    else:
        view.print_outcome(outcome, store.now())


@click.command("set")
@click.argument("name")
@click.option("--task", help="Task that is its job.")
@_field_options
@as_json
@click.pass_context
@reports_errors
def set_(ctx: click.Context, /, name: str, json_output: bool, **options: Any) -> None:
    """Change fields of an entry; the others stay as they are.

    The change stays through restarts and deploys, whatever beat_schedule.py says, until `redbeat
    reset`. Where the times change, the entry counts from now: what was due under the old ones and
    wasn't sent is on record as missed.

    \b
    Examples:
      celery -A bionewsbot redbeat set daily_company_analysis --cron "0 7 * * *" --tz Europe/Berlin
      celery -A bionewsbot redbeat set hourly_quick_scan --every 15m --overlap queue --jitter 30s
    """
    given = _given(options)
    if not given:
        raise click.UsageError("nothing to change: give at least one option, such as --cron")
    operator, store = _operator(ctx)
    _tell(operator.edit(name, given), store, json_output)


@click.command()
@click.argument("name")
@click.option("--task", required=True, help="Task that is its job.")
@_field_options
@as_json
@click.pass_context
@reports_errors
def add(ctx: click.Context, /, name: str, json_output: bool, **options: Any) -> None:
    """Add an entry of your own; beat_schedule.py neither changes nor removes it.

    \b
    Example:
      celery -A bionewsbot redbeat add evening_scan --task bionewsbot.hourly_quick_scan \\
        --cron "30 21 * * mon-fri" --tz America/New_York --queue high
    """
    from bionewsbot.scheduling.entries import Definition

    given = _given(options)
    if "schedule" not in given:
        raise click.UsageError("say when: give --cron or --every")
    operator, store = _operator(ctx)
    _tell(operator.add(name, Definition(**given)), store, json_output)


@click.command()
@click.argument("name")
@as_json
@click.pass_context
@reports_errors
def remove(ctx: click.Context, name: str, json_output: bool) -> None:
    """Remove an entry that an operator added.

    One that comes from beat_schedule.py is refused: disable it, or take it out of the file.
    """
    operator, store = _operator(ctx)
    _tell(operator.remove(name), store, json_output)


@click.command()
@click.argument("name")
@as_json
@click.pass_context
@reports_errors
def enable(ctx: click.Context, name: str, json_output: bool) -> None:
    """Enable an entry; it counts from now, what it missed while disabled is nobody's."""
    operator, store = _operator(ctx)
    _tell(operator.edit(name, {"enabled": True}), store, json_output)


@click.command()
@click.argument("name")
@as_json
@click.pass_context
@reports_errors
def disable(ctx: click.Context, name: str, json_output: bool) -> None:
    """Disable an entry until `redbeat enable`; restarts and deploys don't enable it."""
    operator, store = _operator(ctx)
    _tell(operator.edit(name, {"enabled": False}), store, json_output)


@click.command()
@click.argument("name")
@as_json
@click.pass_context
@reports_errors
def reset(ctx: click.Context, name: str, json_output: bool) -> None:
    """Give an entry all the values that beat_schedule.py has for it.

    This also mends an entry of the file that is set aside.
    """
    operator, store = _operator(ctx)
    _tell(operator.reset(name), store, json_output)


@click.command()
@click.option("-m", "--why", default="", help="Why, for those who read it.")
@as_json
@click.pass_context
@reports_errors
def pause(ctx: click.Context, why: str, json_output: bool) -> None:
    """Pause everything: no entry is sent until `redbeat resume`.

    Runs that are under way go on. What passes meanwhile is dealt with after `resume` by each
    entry's catch-up policy.

    \b
    Example:
      celery -A bionewsbot redbeat pause -m "backend moves, until 14:00"
    """
    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.cli.who import who_i_am
    from bionewsbot.scheduling.lookup import open_store

    store = open_store(ctx.obj.app)
    store.pause(by=who_i_am(), why=why)
    if json_output:
        print_json({"paused": store.paused()})
    else:
        view.say_paused(store.paused())


@click.command()
@as_json
@click.pass_context
@reports_errors
def resume(ctx: click.Context, json_output: bool) -> None:
    """Go on sending after `redbeat pause`."""
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.cli.who import who_i_am
    from bionewsbot.scheduling.lookup import open_store

    was_paused = open_store(ctx.obj.app).resume(by=who_i_am())
    if json_output:
        print_json({"paused": None, "was_paused": was_paused})
    else:
        click.echo("Resumed." if was_paused else "It was not paused.")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@as_json
@click.pass_context
@reports_errors
def import_(ctx: click.Context, file: str, dry_run: bool, json_output: bool) -> None:
    """Add and change entries until they are as a YAML file says; all of them or none.

    The file has the form that `redbeat export` writes; a key that is left out has its default.
    Entries that the file doesn't name are left alone. `-` reads standard input.

    \b
    Example:
      celery -A bionewsbot redbeat import schedule.yaml --dry-run
    """
    from pathlib import Path

    from bionewsbot.cli import redbeat_view as view
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.scheduling.exchange import read_import

    operator, store = _operator(ctx)
    path = Path("/dev/stdin" if file == "-" else file)
    wanted = read_import(ctx.obj.app, path, store.now())
    outcomes = operator.plan_import(wanted) if dry_run else operator.import_all(wanted)
    now = store.now()
    if json_output:
        told = [view.outcome_as_dict(one, now) for one in outcomes]
        print_json({"dry_run": dry_run, "entries": told})
    else:
        view.print_import(outcomes, now, dry_run=dry_run)


@click.command()
@click.argument("name")
@click.option("--from", "start", callback=moment, required=True, metavar="TIME", help="Included.")
@click.option("--to", "end", callback=moment, metavar="TIME", help="Included; default: now.")
@click.option("--missed", is_flag=True, help="Those too that are on record as missed or skipped.")
@click.option("--dry-run", is_flag=True, help="Show what would start, and start nothing.")
@as_json
@click.pass_context
@reports_errors
def backfill(
    ctx: click.Context,
    name: str,
    start: datetime,
    end: datetime | None,
    missed: bool,
    dry_run: bool,
    json_output: bool,
) -> None:
    """Start runs for an entry's past occurrences that have none, oldest first.

    They start at once and beside each other, whatever the entry's policies say; at most 500 in one
    call. An entry that is disabled, or paused with all others, is backfilled all the same.

    \b
    Example:
      celery -A bionewsbot redbeat backfill hourly_quick_scan \\
        --from 2026-01-15T00:00Z --to 2026-01-15T12:00Z --missed --dry-run
    """
    from datetime import UTC

    from bionewsbot import settings as settings_module
    from bionewsbot.cli.runs_view import print_json
    from bionewsbot.errors import EntryError
    from bionewsbot.runs.dispatch import start_runs
    from bionewsbot.runs.ledger import ledger
    from bionewsbot.scheduling.backfill import plan_backfill
    from bionewsbot.scheduling.lookup import open_store
    from bionewsbot.scheduling.overview import Overview

    app: Celery = ctx.obj.app
    app.loader.import_default_modules()
    now = datetime.fromtimestamp(ledger().now(), UTC)
    line = Overview(app, open_store(app)).line(name, now)
    if line.entry is None or line.broken:
        raise EntryError(f"{name} is set aside: {line.broken}")
    plan = plan_backfill(
        app,
        ledger(),
        line.entry,
        start.astimezone(UTC),
        (end or now).astimezone(UTC),
        undone=missed,
        retention_days=settings_module.current().run_retention_days,
    )
    openings = [] if dry_run else start_runs(app, ledger(), plan.runs)
    ids = [run.occurrence.run_id for run in plan.runs]
    started = [one.new.occurrence.run_id for one in openings if one.to_send]
    if json_output:
        left = [] if missed else [run.run_id for run in plan.undone]
        shown = {"dry_run": dry_run, "runs": ids, "started": started}
        print_json({**shown, "have_runs": plan.have_runs, "missed_left": left})
        return
    for run_id in ids if dry_run else started:
        click.echo(f"{'would start' if dry_run else 'started'} {run_id}")
    click.echo(
        f"{len(ids if dry_run else started)} {'to start' if dry_run else 'started'}, "
        f"{plan.have_runs} had a run"
    )
    if plan.undone and not missed:
        click.echo(
            f"{len(plan.undone)} are on record as missed or skipped; --missed starts those too"
        )


COMMANDS = (set_, add, remove, enable, disable, pause, resume, reset, import_, backfill)
