"""From the sections of all companies to the report: a pure function of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from bionewsbot.api.models import Severity
from bionewsbot.reports import rules
from bionewsbot.reports.model import (
    SEVERITIES,
    STATES,
    ActiveCompany,
    Activity,
    Alerts,
    Analyses,
    Band,
    CompanyRisk,
    CompanyStories,
    DateAhead,
    Gap,
    Insights,
    OpenBefore,
    Period,
    Portfolio,
    PortfolioRisk,
    Report,
    RiskPart,
    Section,
    SourceTotal,
    Story,
    Summary,
    TypeCount,
)
from bionewsbot.reports.period import Week
from bionewsbot.reports.section import count_of
from bionewsbot.reports.words import companies, count, signed

BOUNDS = (20.0, 40.0, 60.0, 80.0)
"""Between the bands of the distribution: fifths of the reference backend's scale, 0 to 100."""

MOST_ACTIVE = 10
NAMED_MOVERS = 3
"""Companies that the summary names in each direction."""

MAX_AHEAD = 200
"""Dates ahead in a report, the nearest ones."""


def assemble(week: Week, sections: Iterable[Section], gaps: Iterable[Gap]) -> Report:
    """Assemble the report of a week; `gaps` are the companies that have no section."""
    known = sorted(sections, key=lambda one: one.company_id)
    missing = tuple(sorted(gaps, key=lambda gap: gap.company_id))
    report = Report(
        period=Period(name=week.name, timezone=week.timezone, start=week.start, end=week.end),
        portfolio=Portfolio(companies=len(known) + len(missing), gathered=len(known), gaps=missing),
        summary=Summary(changes=(), read_first=rules.read_first(_news(known))),
        insights=_insights(known),
        alerts=_alerts(known),
        risk=_risk(known),
        activity=_activity(known),
        ahead=_ahead(known),
        sources_failed=_sources(known),
        recommendations=(),
    )
    summary = report.summary.model_copy(update={"changes": tuple(_changes(report))})
    return report.model_copy(
        update={"summary": summary, "recommendations": rules.recommend(report)}
    )


def _news(sections: Sequence[Section]) -> Iterable[tuple[str, Story]]:
    return ((section.name, story) for section in sections for story in section.stories)


def _insights(sections: Sequence[Section]) -> Insights:
    by_type: dict[str, Counter[Severity]] = defaultdict(Counter)
    for section in sections:
        for one in section.by_type:
            by_type[one.type].update(one.by_severity)
    ranked = sorted(by_type.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    return Insights(
        total=sum(section.insights for section in sections),
        by_type=tuple(count_of(name, counts) for name, counts in ranked),
        companies=_by_weight((one, one.insights, one.stories) for one in sections),
    )


def _alerts(sections: Sequence[Section]) -> Alerts:
    by_state = {
        state: sum(section.alerts_by_state.get(state, 0) for section in sections)
        for state in STATES
    }
    return Alerts(
        total=sum(by_state.values()),
        by_state=by_state,
        companies=_by_weight(
            (one, sum(one.alerts_by_state.values()), one.alerts) for one in sections
        ),
        open_before=OpenBefore(
            total=sum(section.open_before for section in sections),
            companies=_by_weight((one, one.open_before, one.alerts_before) for one in sections),
        ),
    )


def _by_weight(
    told_by: Iterable[tuple[Section, int, tuple[Story, ...]]],
) -> tuple[CompanyStories, ...]:
    """Return the companies that have stories, and how many, the one with the weightiest first."""
    told = [
        CompanyStories(
            company_id=section.company_id, name=section.name, total=total, stories=stories
        )
        for section, total, stories in told_by
        if stories
    ]
    return tuple(sorted(told, key=lambda one: rules.weight(one.stories[0])))


def _risk(sections: Sequence[Section]) -> RiskPart:
    scored = [
        CompanyRisk(company_id=section.company_id, name=section.name, risk=section.risk)
        for section in sections
        if section.risk is not None
    ]
    scored.sort(key=lambda one: (-abs(one.risk.change or 0.0), -one.risk.score, one.company_id))
    scores = [one.risk.score for one in scored]
    before = [one.risk.previous for one in scored if one.risk.previous is not None]
    changes = [one.risk.change for one in scored if one.risk.change is not None]
    edges = (None, *BOUNDS, None)
    return RiskPart(
        portfolio=PortfolioRisk(
            scored=len(scores),
            mean=round(fmean(scores), 2) if scores else None,
            median=round(median(scores), 2) if scores else None,
            compared=len(changes),
            change=round(fmean(changes), 2) if changes else None,
            distribution=tuple(
                Band(
                    low=low,
                    high=high,
                    companies=_within(scores, low, high),
                    previous=_within(before, low, high),
                )
                for low, high in zip(edges, edges[1:], strict=False)
            ),
        ),
        companies=tuple(scored),
        unscored=tuple(one.company_id for one in sections if one.risk is None),
    )


def _within(scores: Iterable[float], low: float | None, high: float | None) -> int:
    return sum((low is None or low <= one) and (high is None or one < high) for one in scores)


def _activity(sections: Sequence[Section]) -> Activity:
    ranked = sorted(
        (section for section in sections if section.insights),
        key=lambda one: (-one.insights, -sum(one.alerts_by_state.values()), one.company_id),
    )
    fields = Analyses.model_fields
    return Activity(
        analyses=Analyses(
            **{name: sum(getattr(one.analyses, name) for one in sections) for name in fields}
        ),
        with_insights=len(ranked),
        most_active=tuple(
            ActiveCompany(
                company_id=one.company_id,
                name=one.name,
                insights=one.insights,
                alerts=sum(one.alerts_by_state.values()),
            )
            for one in ranked[:MOST_ACTIVE]
        ),
        never_analysed=tuple(
            one.company_id for one in sections if not one.analyses.succeeded + one.analyses.partial
        ),
    )


def _ahead(sections: Sequence[Section]) -> tuple[DateAhead, ...]:
    dates = [one for section in sections for one in section.ahead]
    dates.sort(key=lambda one: (one.day, one.company_id, one.what, one.title, one.url or ""))
    return tuple(dates[:MAX_AHEAD])


def _sources(sections: Sequence[Section]) -> tuple[SourceTotal, ...]:
    failed: dict[str, SourceTotal] = {}
    for section in sections:
        for one in section.sources_failed:
            so_far = failed.get(one.name)
            failed[one.name] = SourceTotal(
                name=one.name,
                failed=one.failed + (so_far.failed if so_far else 0),
                asked=one.asked + (so_far.asked if so_far else 0),
                error=one.error or (so_far.error if so_far else None),
                companies=1 + (so_far.companies if so_far else 0),
            )
    return tuple(sorted(failed.values(), key=lambda one: (-one.failed, one.name)))


def _changes(report: Report) -> Iterable[str]:
    portfolio, risk = report.portfolio, report.risk.portfolio
    if not portfolio.companies:
        yield "There is no active company."
        return
    yield _told(report.insights.by_type, report.insights.total, report)
    if report.alerts.total:
        states = ", ".join(f"{n} {state}" for state, n in report.alerts.by_state.items() if n)
        yield f"{count(report.alerts.total, 'alert')}: {states}."
    else:
        yield "No alert."
    if before := report.alerts.open_before.total:
        yield f"{count(before, 'alert is', 'alerts are')} still open from before."
    if risk.change is not None:
        yield (
            f"Mean risk {risk.mean:g} over {companies(risk.scored)}; {signed(risk.change)} against "
            f"the week before over the {risk.compared} that had a score then."
        )
        yield from _movers(report.risk.companies)
    elif risk.mean is not None:
        yield f"Mean risk {risk.mean:g} over {companies(risk.scored)}; no score the week before."
    if report.sources_failed:
        names = ", ".join(one.name for one in report.sources_failed)
        yield f"Sources failed during the week: {names}. Silence of theirs is no calm."
    if portfolio.gaps:
        missing = count(len(portfolio.gaps), "company is", "companies are")
        yield f"{missing} missing here, of {portfolio.companies}."


def _told(by_type: Sequence[TypeCount], total: int, report: Report) -> str:
    if not total:
        return f"No insight about any of {companies(report.portfolio.gathered)}."
    counts = Counter({one: sum(t.by_severity.get(one, 0) for t in by_type) for one in SEVERITIES})
    severities = ", ".join(f"{counts[one]} {one}" for one in SEVERITIES if counts[one])
    return (
        f"{count(total, 'insight')} about {report.activity.with_insights} of "
        f"{companies(report.portfolio.gathered)}: {severities}."
    )


def _movers(changed: Sequence[CompanyRisk]) -> Iterable[str]:
    # They come by the size of their change.
    for word, sign in (("up", 1), ("down", -1)):
        moved = [one for one in changed if (one.risk.change or 0.0) * sign > 0]
        if moved:
            named = ", ".join(f"{one.name} {one.risk.change:+g}" for one in moved[:NAMED_MOVERS])
            yield f"Risk {word} for {companies(len(moved))}: {named}."
