"""`celery -A bionewsbot runs ...`: what ran, what runs, and starting a run by hand."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bionewsbot.cli.errors import reports_errors
from bionewsbot.cli.options import as_json, moment

if TYPE_CHECKING:
    from celery import Celery

    from bionewsbot.runs.model import Run

EXIT_PARTIAL = 3
"""`watch` and `--wait`: the run ended, and some of its targets failed."""

EXIT_UNDONE = 4
"""`watch` and `--wait`: the run ended and did not do its work (failed, missed, cancelled ...)."""


@click.group()
def runs() -> None:
    """Show, start, watch and cancel runs.

    A run is one occurrence of a timetable entry; its id is the entry and the scheduled time.

    \b
    Examples:
      celery -A bionewsbot runs list
      celery -A bionewsbot runs start daily_company_analysis --wait
      celery -A bionewsbot runs show daily_company_analysis@2026-01-15T06:00:00Z --json
    """


@runs.command("list")
@click.option("--entry", help="Only runs of this timetable entry.")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@as_json
@reports_errors
def list_(entry: str | None, limit: int, json_output: bool) -> None:
    """List runs, the latest occurrence first."""
    from bionewsbot.cli import runs_view
    from bionewsbot.runs.ledger import ledger

    found = ledger().latest(limit, entry)
    now = ledger().now()
    if json_output:
        runs_view.print_json([runs_view.as_dict(run, now) for run in found])
    else:
        runs_view.print_list(found, now)


@runs.command()
@click.argument("run_id")
@as_json
@reports_errors
def show(run_id: str, json_output: bool) -> None:
    """Show one run with its targets."""
    from bionewsbot.cli import runs_view
    from bionewsbot.runs.ledger import ledger

    run, items, now = ledger().get(run_id), ledger().items(run_id), ledger().now()
    if json_output:
        runs_view.print_json(runs_view.as_dict(run, now, items))
    else:
        runs_view.print_run(run, items, now)


@runs.command()
@click.argument("run_id")
@as_json
@reports_errors
def watch(run_id: str, json_output: bool) -> None:
    """Follow a run to its end with a progress bar.

    Exit code: 0 succeeded, 3 partial, 4 failed, missed, skipped or cancelled.
    """
    _follow(run_id, json_output)


@runs.command()
@click.argument("run_id")
@as_json
@reports_errors
def cancel(run_id: str, json_output: bool) -> None:
    """Cancel a running run: what has not begun is dropped, what has begun may end."""
    from bionewsbot.cli import runs_view
    from bionewsbot.cli.errors import CommandFailed
    from bionewsbot.runs.ledger import ledger

    before = ledger().get(run_id).status
    status = ledger().cancel(run_id, "cancelled by an operator")
    if before != "running":
        raise CommandFailed(f"{run_id} is not running: it has ended as {status}")
    if json_output:
        runs_view.print_json({"run_id": run_id, "status": status})
    else:
        click.echo(f"{run_id}: {status}")


@runs.command()
@click.argument("entry")
@click.option(
    "--at",
    callback=moment,
    metavar="TIME",
    help="The occurrence's scheduled time, past, UTC where no zone is given (default: now).",
)
@click.option("--wait", is_flag=True, help="Follow the run to its end, as `watch` does.")
@click.option("--again", is_flag=True, help="Carry out an occurrence once more that has a run.")
@as_json
@click.pass_context
@reports_errors
def start(
    ctx: click.Context,
    entry: str,
    at: datetime | None,
    wait: bool,
    again: bool,
    json_output: bool,
) -> None:
    """Start a run of a timetable entry now.

    \b
    Examples:
      celery -A bionewsbot runs start daily_company_analysis --wait
      celery -A bionewsbot runs start daily_company_analysis --at 2026-01-15T06:00:00Z --again
    """
    from bionewsbot.cli import runs_view
    from bionewsbot.runs.dispatch import start_run
    from bionewsbot.runs.ledger import ledger
    from bionewsbot.runs.model import format_time
    from bionewsbot.scheduling.lookup import find_entry

    app: Celery = ctx.obj.app
    app.loader.import_default_modules()
    now = datetime.fromtimestamp(ledger().now(), UTC)
    scheduled_for = at or now
    if scheduled_for > now:
        said = f"{format_time(scheduled_for)} has not come; what is to come, beat starts"
        raise click.BadParameter(said, ctx, param_hint="'--at'")
    new = find_entry(app, entry).run_by_operator(app, scheduled_for, again=again)
    start_run(app, ledger(), new)
    occurrence = new.occurrence
    if wait:
        _follow(occurrence.run_id, json_output)
    elif json_output:
        runs_view.print_json(runs_view.as_dict(ledger().get(occurrence.run_id), ledger().now()))
    else:
        click.echo(f"Started {occurrence.run_id}")
        click.echo(f"Follow it: celery -A bionewsbot runs watch {occurrence.run_id}")


def _follow(run_id: str, json_output: bool) -> None:
    from bionewsbot.cli import runs_view
    from bionewsbot.runs.ledger import ledger

    run = runs_view.follow(ledger(), run_id, quiet=json_output)
    if json_output:
        items = ledger().items(run_id)
        runs_view.print_json(runs_view.as_dict(run, ledger().now(), items))
    else:
        runs_view.print_run(run, ledger().items(run_id), ledger().now(), only_failed=True)
    code = _exit_code(run)
    if code:
        raise SystemExit(code)


def _exit_code(run: "Run") -> int:
    if run.status == "succeeded":
        return 0
    return EXIT_PARTIAL if run.status == "partial" else EXIT_UNDONE
