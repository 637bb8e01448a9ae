"""A report as Markdown (CommonMark with the tables of GitHub's)."""

import re
from collections.abc import Iterable, Iterator, Sequence

from bionewsbot.reports import words
from bionewsbot.reports.charts import band_name
from bionewsbot.reports.model import SEVERITIES, CompanyStories, Report, Story

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")
_AT_THE_START = re.compile(r"^([#+\-=]|[0-9]+(?=[.)]))")
_ADDRESS = re.compile(r"(?i)(?<=[a-z])(://)|(?<=www)(\.)")


def render_markdown(report: Report) -> str:
    """Return the report as Markdown; what sources wrote is text in it, never markup."""
    parts = (_head, _recommendations, _risk, _alerts, _insights, _activity, _ahead, _sources)
    return "\n".join(line for part in parts for line in part(report)) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no address made a link."""
    line = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    line = _ADDRESS.sub(lambda match: "\\" + match[0], line)
    return _AT_THE_START.sub(lambda m: f"\\{m[0]}" if not m[0].isdigit() else f"{m[0]}\\", line)


def _link(text: str, url: str | None) -> str:
    # The address holds no space and no angle bracket: reports.section.safe_url saw to that.
    return f"[{escape(text)}](<{url}>)" if url else escape(text)


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield f"## {text}"
    yield ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _head(report: Report) -> Iterator[str]:
    yield f"# {words.title(report)}"
    yield ""
    yield words.head(report)
    yield from _heading("Executive summary")
    for change in report.summary.changes:
        yield f"- {escape(change)}"
    yield ""
    yield "### Read first"
    yield ""
    for position, one in enumerate(report.summary.read_first, 1):
        said = (
            f"{escape(one.name)}: {_link(words.headline(one.story.title, one.name), one.story.url)}"
        )
        yield f"{position}. {said} ({escape(one.why)}; {words.day(one.story.occurred_at)})"
    if not report.summary.read_first:
        yield "Nothing: there was no insight in this week."
    if report.portfolio.gaps:
        yield ""
        yield "### Missing from this report"
        yield ""
        gaps = report.portfolio.gaps
        rows = ([escape(gap.name), escape(gap.reason)] for gap in gaps[: words.MOST_GAPS])
        yield from _table(("Company", "Why"), rows)
        if more := words.left_out(gaps, words.MOST_GAPS):
            yield ""
            yield more


def _insights(report: Report) -> Iterator[str]:
    yield from _heading("Insights")
    if not report.insights.total:
        yield "None in this week."
        return
    rows = (
        [
            escape(one.type),
            str(one.total),
            *(str(one.by_severity.get(severity, 0)) for severity in SEVERITIES),
        ]
        for one in report.insights.by_type
    )
    yield from _table(("Type", "All", *SEVERITIES), rows)
    yield ""
    yield from _stories(report.insights.companies)


def _alerts(report: Report) -> Iterator[str]:
    yield from _heading("Alerts")
    if report.alerts.total:
        states = ", ".join(f"{count} {state}" for state, count in report.alerts.by_state.items())
        yield f"{report.alerts.total}: {states}."
        yield ""
        yield from _stories(report.alerts.companies)
    else:
        yield "None in this week."
    if report.alerts.open_before.total:
        yield ""
        yield "### Still open from before this week"
        yield ""
        yield from _stories(report.alerts.open_before.companies)


def _stories(companies: Sequence[CompanyStories]) -> Iterator[str]:
    columns = ("Company", "Severity", "Polarity", "What", "Type", "Source", "Day", "Alert")
    yield from _table(
        columns,
        (
            _row(company.name, story)
            for company in companies[: words.MOST_COMPANIES]
            for story in company.stories
        ),
    )
    for company in companies[: words.MOST_COMPANIES]:
        if company.total > len(company.stories):
            yield ""
            yield f"{escape(company.name)}: {len(company.stories)} of {company.total} are shown."
    if more := words.left_out(companies, words.MOST_COMPANIES):
        yield ""
        yield more


def _row(name: str, story: Story) -> list[str]:
    return [
        escape(name),
        story.severity,
        escape(story.polarity),
        _link(words.headline(story.title, name), story.url),
        escape(story.type),
        escape(story.source),
        words.day(story.occurred_at),
        story.alert or "–",
    ]


def _risk(report: Report) -> Iterator[str]:
    yield from _heading("Risk")
    whole = report.risk.portfolio
    if not whole.scored:
        yield "No company has a score in this week."
        return
    yield words.risk(whole)
    yield ""
    bands = ([band_name(b), str(b.companies), str(b.previous)] for b in whole.distribution)
    yield from _table(("Score", "Companies", "The week before"), bands)
    yield ""
    rows = (
        [
            escape(one.name),
            words.score(one.risk),
            words.number(one.risk.previous),
            words.signed(one.risk.change),
            "; ".join(_link(words.driver(each, one.name), each.url) for each in one.risk.drivers)
            or "–",
        ]
        for one in report.risk.companies[: words.MOST_COMPANIES]
    )
    yield from _table(("Company", "Score", "Before", "Change", "Driven by"), rows)
    if more := words.left_out(report.risk.companies, words.MOST_COMPANIES):
        yield ""
        yield more
    if report.risk.unscored:
        yield ""
        yield f"Without a score in this week: {words.companies(len(report.risk.unscored))}."


def _activity(report: Report) -> Iterator[str]:
    yield from _heading("Activity")
    yield words.activity(report)
    if report.activity.never_analysed:
        yield ""
        yield words.unwatched(report)
    if report.activity.most_active:
        yield ""
        rows = (
            [escape(one.name), str(one.insights), str(one.alerts)]
            for one in report.activity.most_active
        )
        yield from _table(("Most active", "Insights", "Alerts"), rows)


def _ahead(report: Report) -> Iterator[str]:
    yield from _heading("Dates ahead")
    if not report.ahead:
        yield words.nothing_ahead(report)
        return
    rows = (
        [one.day.isoformat(), escape(one.company_id), escape(one.what), _link(one.title, one.url)]
        for one in report.ahead
    )
    yield from _table(("Day", "Company", "What", "From"), rows)
    yield ""
    yield words.BOUNDS_OF_AHEAD


def _sources(report: Report) -> Iterator[str]:
    yield from _heading("Sources that failed")
    if not report.sources_failed:
        yield "None in the analyses of this week."
        return
    rows = (
        [
            escape(one.name),
            f"{one.failed} of {one.asked}",
            str(one.companies),
            escape(one.error or "–"),
        ]
        for one in report.sources_failed
    )
    yield from _table(("Source", "Failed", "Companies", "An error"), rows)


def _recommendations(report: Report) -> Iterator[str]:
    yield from _heading("Recommendations")
    if not report.recommendations:
        yield "None: no rule applies."
    for one in report.recommendations:
        yield f"- {escape(one.text + words.about(one))} *Rule: {one.rule}*"
