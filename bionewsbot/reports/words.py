"""What Markdown and HTML have in common: how much they show, and how numbers and times are said."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bionewsbot.reports.model import Driver, PortfolioRisk, Recommendation, Report, Risk
from bionewsbot.reports.period import Week

MOST_COMPANIES = 100
"""Companies of which a table has rows: more can't be read, and the JSON has all of them."""

MOST_GAPS = 20
"""Missing companies that are named: where there are more, something is wrong with all of them."""

BOUNDS_OF_AHEAD = "The nearest ones: up to 5 of each company, 200 in all."
"""What to say of dates ahead, of which no more are gathered (MAX_STORIES, MAX_AHEAD)."""


def count(number: int, one: str, more: str | None = None) -> str:
    """Return how many there are of something: `1 alert`, `2 alerts`; `more` is its plural."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def companies(number: int) -> str:
    """Return how many companies there are."""
    return count(number, "company", "companies")


def left_out(shown: Sequence[object], most: int) -> str | None:
    """Return what to say of companies where only so many are shown; None where that is all."""
    more = len(shown) - most
    stand = count(more, "more company stands", "more companies stand")
    return f"{stand} in the JSON of this report." if more > 0 else None


def about(one: Recommendation) -> str:
    """Return whom a recommendation is about, in brackets; nothing where it names nobody."""
    more = f" and {one.more} more" if one.more else ""
    return f" ({', '.join(one.companies)}{more})" if one.companies else ""


def headline(title: str, name: str) -> str:
    """Return a story's title without its company's name, where it begins with it."""
    return title.removeprefix(f"{name}: ")


def title(report: Report) -> str:
    """Return the report's title."""
    return f"Weekly report {report.period.name}"


def days(report: Report) -> str:
    """Return the first and the last day of the period, and on whose clocks."""
    week = Week.parse(report.period.name)
    sunday = week.next.monday - timedelta(days=1)
    return f"{week.monday} to {sunday} ({report.period.timezone})"


def head(report: Report) -> str:
    """Return when it was and how many companies there are."""
    active = count(report.portfolio.companies, "active company", "active companies")
    return f"{days(report)}, {active}."


def risk(whole: PortfolioRisk) -> str:
    """Return the portfolio's risk, where there are scores."""
    mean = (
        f"Mean {number(whole.mean)}, median {number(whole.median)} over {companies(whole.scored)}"
    )
    if not whole.compared:
        return f"{mean}; no score the week before."
    change = f"change {signed(whole.change)} over the {whole.compared}"
    return f"{mean}; {change} that had a score the week before."


def activity(report: Report) -> str:
    """Return how many analyses there were, and about how many companies there was news."""
    done = report.activity.analyses
    return (
        f"{count(done.total, 'analysis', 'analyses')}: {done.succeeded} succeeded, "
        f"{done.partial} partial, {done.failed} failed. {report.activity.with_insights} of "
        f"{companies(report.portfolio.gathered)} had an insight."
    )


def unwatched(report: Report) -> str:
    """Return for how many companies no analysis succeeded."""
    return f"No analysis succeeded for {companies(len(report.activity.never_analysed))}."


def day(moment: datetime) -> str:
    """Return a time's day."""
    return moment.date().isoformat()


def number(value: float | None) -> str:
    """Return a number; a dash where there is none."""
    return "–" if value is None else f"{value:.10g}"


def signed(value: float | None) -> str:
    """Return a change with its sign; a dash where there is none."""
    if value is None:
        return number(None)
    return f"{value:+g}" if value else "0"


def driver(one: Driver, name: str) -> str:
    """Return what moved the risk of the company of that name, and by how many points."""
    gone = "no longer counted, " if one.gone else ""
    return f"{headline(one.title or one.type, name)} ({gone}{one.points:+g})"


def score(risk: Risk) -> str:
    """Return a score, marked where a source had failed."""
    return number(risk.score) + (" (a source failed)" if risk.partial else "")


def nothing_ahead(report: Report) -> str:
    """Return what to say where no date ahead is known."""
    return f"None known: no insight of {report.period.name} names a later date."
