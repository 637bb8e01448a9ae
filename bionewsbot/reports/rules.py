"""The stated rules of a report: what comes first, and what is recommended. docs/report.md has them.

Pure functions: the same week gives the same answers, whenever it is asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from bionewsbot.reports.model import (
    SEVERITIES,
    Alerts,
    CompanyRisk,
    DateAhead,
    Gap,
    ReadFirst,
    Recommendation,
    Report,
    SourceTotal,
    Story,
)
from bionewsbot.reports.period import Week
from bionewsbot.reports.words import companies, count

READ_FIRST = 5

MOST_OF_ONE_COMPANY = 2
"""Of the things to read first, so that one company with much news doesn't hide the others."""

RISE = 10.0
"""Points of risk: nearly what one finding of high severity weighs at the reference backend (12)."""

HIGH_RISK = 80.0
"""Where the highest band of the distribution begins."""

NEAR = timedelta(days=14)

MAX_NAMED = 20
"""Companies that a recommendation names; it says how many more there are."""

_POLARITIES = ("negative", "positive")
"""Bad news before good news of the same severity, and both before what is neither."""


def weight(story: Story) -> tuple[Any, ...]:
    """Return what stories are sorted by, the first to read first; total, so that ties are none."""
    return (
        SEVERITIES.index(story.severity),
        story.alert != "open",
        _POLARITIES.index(story.polarity) if story.polarity in _POLARITIES else len(_POLARITIES),
        -story.occurred_at.timestamp(),
        story.company_id,
        story.type,
        story.title,
        story.url or "",
        story.source,
        story.alert or "",
    )


def alert_weight(story: Story) -> tuple[Any, ...]:
    """Return what alerts are sorted by: those that are open first."""
    return (story.alert != "open", *weight(story))


def read_first(stories: Iterable[tuple[str, Story]]) -> tuple[ReadFirst, ...]:
    """Choose the things to read first of pairs of company name and story.

    By `weight`; those that link no source come after all that do.
    """
    ranked = sorted(stories, key=lambda pair: (pair[1].url is None, weight(pair[1])))
    chosen: list[ReadFirst] = []
    for name, story in ranked:
        of_company = sum(one.story.company_id == story.company_id for one in chosen)
        if of_company < MOST_OF_ONE_COMPANY and len(chosen) < READ_FIRST:
            alert = f", its alert is {story.alert}" if story.alert else ""
            why = f"{story.severity}, {story.polarity}{alert}"
            chosen.append(ReadFirst(story=story, name=name, why=why))
    return tuple(chosen)


def recommend(report: Report) -> tuple[Recommendation, ...]:
    """Return what the rules recommend for a report, in the order of RULES."""
    return tuple(found for rule in RULES for found in rule(report))


def _gaps(report: Report) -> Iterator[Recommendation]:
    gaps: Sequence[Gap] = report.portfolio.gaps
    if gaps:
        yield _recommendation(
            "gap",
            f"{count(len(gaps), 'company is', 'companies are')} missing from this report. Mend the "
            "cause that is given and replay the dead letters (dlq replay).",
            (gap.company_id for gap in gaps),
        )


def _unwatched(report: Report) -> Iterator[Recommendation]:
    never = report.activity.never_analysed
    if never:
        yield _recommendation(
            "unwatched",
            f"No analysis of the week succeeded for {companies(len(never))}: no news of them is no "
            "good news. See why none ran, or why all failed.",
            never,
        )


def _sources(report: Report) -> Iterator[Recommendation]:
    for source in report.sources_failed:
        one: SourceTotal = source
        yield Recommendation(
            rule="source-failed",
            text=f"The source {one.name} failed in {one.failed} of "
            f"{count(one.asked, 'analysis', 'analyses')}, for "
            f"{companies(one.companies)}: what it would have told of them is unknown.",
            companies=(),
            more=0,
        )


def _open_alerts(report: Report) -> Iterator[Recommendation]:
    alerts: Alerts = report.alerts
    waiting = dict.fromkeys(
        one.company_id
        for one in (*alerts.companies, *alerts.open_before.companies)
        if any(s.alert == "open" and s.severity in ("critical", "high") for s in one.stories)
    )
    if waiting:
        yield _recommendation(
            "open-alert",
            f"{count(len(waiting), 'company has', 'companies have')} open alerts of high or "
            "critical severity: acknowledge or close them.",
            waiting,
        )


def _rises(report: Report) -> Iterator[Recommendation]:
    risen = [
        one
        for one in report.risk.companies
        if one.risk.change is not None and one.risk.change >= RISE
    ]
    if risen:
        risen.sort(key=lambda one: (-(one.risk.change or 0.0), one.company_id))
        yield _recommendation(
            "risk-rise",
            f"The risk of {companies(len(risen))} rose by {RISE:g} points or "
            "more: read what drove it.",
            (one.company_id for one in risen),
        )


def _high(report: Report) -> Iterator[Recommendation]:
    high: list[CompanyRisk] = [one for one in report.risk.companies if one.risk.score >= HIGH_RISK]
    if high:
        high.sort(key=lambda one: (-one.risk.score, one.company_id))
        yield _recommendation(
            "risk-high",
            f"The risk of {companies(len(high))} is {HIGH_RISK:g} or higher: "
            "review the position.",
            (one.company_id for one in high),
        )


def _near(report: Report) -> Iterator[Recommendation]:
    end = Week.parse(report.period.name).next.monday
    near: list[DateAhead] = [one for one in report.ahead if one.day < end + NEAR]
    if near:
        yield _recommendation(
            "date-near",
            f"{count(len(near), 'date falls', 'dates fall')} within {NEAR.days} days after the "
            "week: prepare for what may be made public.",
            (one.company_id for one in near),
        )


Rule = Callable[[Report], Iterator[Recommendation]]

RULES: tuple[Rule, ...] = (_gaps, _unwatched, _sources, _open_alerts, _rises, _high, _near)
"""What the report itself lacks comes first: it bears on all that follows."""


def _recommendation(rule: str, text: str, ids: Iterable[str]) -> Recommendation:
    concerned = tuple(dict.fromkeys(ids))
    named = concerned[:MAX_NAMED]
    return Recommendation(rule=rule, text=text, companies=named, more=len(concerned) - len(named))
