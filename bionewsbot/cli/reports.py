"""`celery -A bionewsbot reports ...`: the weekly reports that the backend keeps."""

from typing import TYPE_CHECKING

import click

from bionewsbot.cli.errors import reports_errors
from bionewsbot.cli.options import as_json

if TYPE_CHECKING:
    from bionewsbot.api.models import Report as StoredReport

LATEST = "latest"


@click.group()
def reports() -> None:
    """Weekly reports: list, show and render them.

    PERIOD is an ISO week such as 2026-W48, or `latest`, the one that was written last.

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
    """List reports, the one written last first."""
    from bionewsbot.cli import reports_view

    rows = [reports_view.row(stored) for stored in _stored(limit)]
    if json_output:
        reports_view.print_json(rows)
    else:
        reports_view.print_list(rows)


@reports.command()
@click.argument("period", default=LATEST)
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
@click.argument("period", default=LATEST)
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
    with click.open_file(output or "-", "w", encoding="utf-8") as file:
        file.write(text)
    if output:
        click.echo(f"Wrote {output}", err=True)


def _stored(limit: int) -> "list[StoredReport]":
    from itertools import islice

    from bionewsbot import settings as settings_module
    from bionewsbot.api.client import BackendClient

    settings = settings_module.current()
    with BackendClient.from_settings(settings, guarded=False) as client:
        return list(islice(client.reports(type="weekly"), limit))


def _find(period: str) -> "StoredReport":
    from bionewsbot import settings as settings_module
    from bionewsbot.api.client import BackendClient
    from bionewsbot.errors import ReportUnknown

    settings = settings_module.current()
    with BackendClient.from_settings(settings, guarded=False) as client:
        for stored in client.reports(type="weekly"):
            if period in (LATEST, stored.period):
                return stored
    raise ReportUnknown(
        f"The backend has no weekly report {period}; `reports list` shows those it has"
    )
