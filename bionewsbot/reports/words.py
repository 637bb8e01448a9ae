"""What Markdown and HTML have in common: how much they show, and how numbers and times are said."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bionewsbot.reports.model import Driver, ReadFirst, Report, Risk
from bionewsbot.reports.period import Week

MOST_COMPANIES = 200
"""Companies of which a table has rows: more can't be read, and the JSON has all of them."""


def left_out(shown: Sequence[object]) -> str | None:
    """Return what to say of the companies that a table leaves out; None where it has all."""
    more = len(shown) - MOST_COMPANIES
    return f"{more} more companies stand in the JSON of this report." if more > 0 else None


def headline(one: ReadFirst) -> str:
    """Return a story's title without the company's name, where it begins with it."""
    return one.story.title.removeprefix(f"{one.name}: ")


def title(report: Report) -> str:
    """Return the report's title."""
    return f"Weekly report {report.period.name}"


def days(report: Report) -> str:
    """Return the first and the last day of the period, and on whose clocks."""
    week = Week.parse(report.period.name)
    sunday = week.next.monday - timedelta(days=1)
    return f"{week.monday} to {sunday} ({report.period.timezone})"


def day(moment: datetime) -> str:
    """Return a time's day."""
    return moment.date().isoformat()


def number(value: float | None) -> str:
    """Return a number; a dash where there is none."""
    return "–" if value is None else f"{value:.10g}"


def signed(value: float | None) -> str:
    """Return a change with its sign; a dash where there is none."""
    return "–" if value is None else f"{value:+g}"


def driver(one: Driver) -> str:
    """Return what moved a risk, and by how many points."""
    return f"{one.title or one.type} ({one.points:+g})"


def score(risk: Risk) -> str:
    """Return a score, marked where a source had failed."""
    return number(risk.score) + (" (a source failed)" if risk.partial else "")


def nothing_ahead(report: Report) -> str:
    """Return what to say where no date ahead is known."""
    return f"None known: no insight of {report.period.name} names a later date."
