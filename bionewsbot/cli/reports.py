"""`celery -A bionewsbot reports ...`: the weekly reports that the backend keeps."""

from typing import TYPE_CHECKING

import click

from bionewsbot.cli.errors import reports_errors
from bionewsbot.cli.files import write_file
from bionewsbot.cli.options import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bionewsbot.api.models import Report as StoredReport

LATEST = "latest"

HOW_TO_MAKE_ONE = "Make one: celery -A bionewsbot runs start weekly_comprehensive_report --wait"


def _week(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from bionewsbot.reports.period import Week

    try:
        return value if value == LATEST else Week.parse(value).name
    except ValueError as error:
        raise click.BadParameter(f"{error}, nor `{LATEST}`", ctx, param) from error


period_argument = click.argument("period", default=LATEST, callback=_week)


@click.group()
def reports() -> None:
    """Weekly reports: list, show and render them.

    PERIOD is an ISO week such as 2026-W48, or `latest`, the last week that has a report.

    \b
    Examples:
      celery -A bionewsbot reports list
      celery -A bionewsbot reports show latest
      celery -A bionewsbot reports render 2026-W48 --format html -o report.html
    """


@reports.command("list")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=12, show_default=True)
@as_json
@reports_errors
def list_(limit: int, json_output: bool) -> None:
    """List reports, the last week first."""
    from bionewsbot.cli import reports_view

    rows = sorted(map(reports_view.row, _stored()), key=lambda row: row["period"], reverse=True)
    if json_output:
        reports_view.print_json(rows[:limit])
    elif rows:
        reports_view.print_list(rows[:limit])
    else:
        click.echo(f"No reports yet. {HOW_TO_MAKE_ONE}")


@reports.command()
@period_argument
@as_json
@reports_errors
def show(period: str, json_output: bool) -> None:
    """Show a report's summary and recommendations; with --json the whole report."""
    from bionewsbot.cli import reports_view

    stored = _find(period)
    if json_output:
        reports_view.print_json(stored.content)
    else:
        reports_view.print_report(reports_view.read(stored))


@reports.command()
@period_argument
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "json"]),
    default="html",
    show_default=True,
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, writable=True), help="A file, not stdout."
)
@reports_errors
def render(period: str, form: str, output: str | None) -> None:
    """Write a report as HTML, Markdown or JSON, to standard output or a file."""
    from bionewsbot.cli import reports_view

    text = reports_view.render(_find(period), form)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(output, text)
        click.echo(f"Wrote {output}", err=True)


def _find(period: str) -> "StoredReport":
    from bionewsbot.errors import ReportUnknown

    if period == LATEST:
        newest = max(_stored(), key=lambda stored: stored.period, default=None)
        if newest is not None:
            return newest
        raise ReportUnknown(f"The backend has no weekly report yet. {HOW_TO_MAKE_ONE}")
    for stored in _stored():
        if stored.period == period:
            return stored
    raise ReportUnknown(
        f"The backend has no weekly report {period}; `reports list` shows those it has, "
        "`archive list` where older ones went"
    )


def _stored() -> "Iterator[StoredReport]":
    """Yield the reports in no order of weeks: one may have been made long after its week."""
    from bionewsbot import settings as settings_module
    from bionewsbot.api.client import BackendClient

    settings = settings_module.current()
    with BackendClient.from_settings(settings, guarded=False) as client:
        yield from client.reports(type="weekly")
