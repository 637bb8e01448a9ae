"""How reports are shown: a table, a summary, and the report's own formats."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from bionewsbot.api.models import Report as StoredReport
from bionewsbot.api.models import format_time
from bionewsbot.cli.runs_view import console
from bionewsbot.errors import ReportUnknown
from bionewsbot.reports import words
from bionewsbot.reports.model import Report
from bionewsbot.reports.render_html import render_html
from bionewsbot.reports.render_markdown import render_markdown


def read(stored: StoredReport) -> Report:
    """Return a stored report's content as this version knows it. Raises ReportUnknown."""
    try:
        return Report.model_validate_json(json.dumps(stored.content))
    except ValidationError as error:
        raise ReportUnknown(
            f"The report {stored.period} is not one that this version reads "
            f"(`reports render {stored.period} --format json` gives it as it is): {error}"
        ) from error


def render(stored: StoredReport, form: str) -> str:
    """Return a report as `html`, `markdown` or `json`. Raises ReportUnknown, not for `json`."""
    if form == "json":
        return json.dumps(stored.content, indent=2, ensure_ascii=False) + "\n"
    report = read(stored)
    return render_html(report) if form == "html" else render_markdown(report)


def row(stored: StoredReport) -> dict[str, Any]:
    """Return what a list says of a report: the same fields for every one.

    Those of its content are None where this version can't read it.
    """
    try:
        report = read(stored)
    except ReportUnknown:
        report = None
    return {
        "period": stored.period,
        "id": stored.id,
        "created_at": format_time(stored.created_at.replace(microsecond=0)),
        "updated_at": format_time(stored.updated_at.replace(microsecond=0)),
        "companies": report and report.portfolio.companies,
        "gaps": report and len(report.portfolio.gaps),
        "insights": report and report.insights.total,
        "alerts": report and report.alerts.total,
        "risk": report and report.risk.portfolio.mean,
        "change": report and report.risk.portfolio.change,
    }


def print_json(value: Any) -> None:
    """Print JSON on standard output."""
    click.echo(json.dumps(value, indent=2))


def print_list(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of reports."""
    table = Table(box=None, header_style="bold")
    numbers = ("companies", "gaps", "insights", "alerts")
    for column in ("PERIOD", "WRITTEN", *(name.upper() for name in numbers), "RISK", "CHANGE"):
        table.add_column(column, justify="left" if column in ("PERIOD", "WRITTEN") else "right")
    for one in rows:
        table.add_row(
            one["period"],
            one["updated_at"],
            *(words.number(one[name]) for name in numbers),
            words.number(one["risk"]),
            words.signed(one["change"]),
        )
    console().print(table)


def print_report(report: Report) -> None:
    """Print a report's summary, what to read first, and what is recommended."""
    out = console()

    def say(text: str) -> None:
        out.print(text, highlight=False, soft_wrap=True)

    say(f"[bold]{words.title(report)}[/bold]  {words.days(report)}")
    for change in report.summary.changes:
        say(f"  {escape(change)}")
    if report.summary.read_first:
        say("[bold]Read first[/bold]")
    for position, one in enumerate(report.summary.read_first, 1):
        headline = escape(words.headline(one.story.title, one.name))
        say(f"  {position}. {escape(one.name)}: {headline} ({escape(one.why)})")
        if one.story.url:
            say(f"     {escape(one.story.url)}")
    if report.portfolio.gaps:
        say("[bold]Missing from this report[/bold]")
    for gap in report.portfolio.gaps[: words.MOST_GAPS]:
        say(f"  {escape(gap.name)}: {escape(gap.reason)}")
    if more := words.left_out(report.portfolio.gaps, words.MOST_GAPS):
        say(f"  {more}")
    if report.recommendations:
        say("[bold]Recommendations[/bold]")
    for each in report.recommendations:
        say(f"  - {escape(each.text + words.about(each))} Rule: {each.rule}")
