"""One company's part of a report: bounded, whatever there was about it in the week."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from heapq import nsmallest
from itertools import chain, islice
from typing import Any
from urllib.parse import quote, urlsplit

from bionewsbot.api.models import Alert, Analysis, Finding, Insight, RiskPoint, Severity
from bionewsbot.reports import rules
from bionewsbot.reports.model import (
    SEVERITIES,
    STATES,
    Analyses,
    DateAhead,
    Driver,
    Risk,
    Section,
    SourceFailures,
    Story,
    TypeCount,
)
from bionewsbot.reports.period import Week

MAX_STORIES = 5
"""Stories, alerts and dates ahead of one company in the report; the counts have all."""

MAX_OPEN_BEFORE = 500
"""Alerts of before the week that are open: those stored last, one page of the backend's."""

MAX_BEFORE_SHOWN = 3
MAX_DRIVERS = 3
MAX_SOURCES = 5
MAX_TYPES = 12
"""Types of insights that are told apart in one company; the rest is counted as `other`."""

MAX_TEXT = 200
"""Characters of a title, a name or an error. With this and the other bounds the longest section
has less than 62 KB, which the ledger takes (MAX_SECTION_BYTES)."""

MAX_WORD = 64
"""Characters of a type, a polarity or a source's name."""

MAX_URL = 1000

MAX_DEPTH = 6
"""How deep evidence is searched for dates."""

COMPARED_TYPE = "daily"
"""Risk scores of other analyses look at windows of other lengths and can't be compared."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def make_section(
    company_id: str,
    name: str,
    week: Week,
    *,
    insights: Iterable[Insight],
    alerts: Iterable[Alert],
    open_before: Iterable[Alert],
    risk: Iterable[RiskPoint],
    analyses: Iterable[Analysis],
) -> Section:
    """Make a company's section of what the backend has of the week; `risk` of the one before too.

    `open_before` are the alerts of any time before the week that are open, the newest first, of
    which only as many are taken as count. The same rows make the same section, in whatever order
    they come.
    """
    told = list(alerts)
    waiting = list(islice(open_before, MAX_OPEN_BEFORE))
    states = {(alert.story_id, alert.type): alert for alert in told}
    known = list(insights)
    stories = [_story(one, states.get((one.story_id, one.type))) for one in known]
    by_type: dict[str, Counter[Severity]] = defaultdict(Counter)
    for one in known:
        by_type[_word(one.type)][one.severity] += 1
    ended = sorted(
        (analysis for analysis in analyses if analysis.ended),
        key=lambda one: (str(one.started_at), one.id),
    )
    state_counts = Counter(alert.state for alert in told)
    return Section(
        company_id=company_id,
        name=_text(name),
        insights=len(known),
        by_type=_types(by_type),
        stories=tuple(nsmallest(MAX_STORIES, stories, key=rules.weight)),
        alerts_by_state={state: state_counts[state] for state in STATES if state_counts[state]},
        alerts=_foremost(told, MAX_STORIES),
        open_before=len(waiting),
        alerts_before=_foremost(waiting, MAX_BEFORE_SHOWN),
        risk=_risk(list(risk), week, _named(ended, known)),
        analyses=_count(ended),
        sources_failed=_sources(ended),
        ahead=_ahead(company_id, known, week),
    )


def safe_url(url: str | None) -> str | None:
    """Return an address that a reader may click: http or https with a host, quoted; else None."""
    try:
        quoted = quote(url or "", safe="%/:?#[]@!$&'()*+,;=~")
        parts = urlsplit(quoted)
    except ValueError:
        return None
    good = parts.scheme in ("http", "https") and parts.netloc and len(quoted) <= MAX_URL
    return quoted if good else None


def _text(text: str, longest: int = MAX_TEXT) -> str:
    """Return text in one line, without what can't be printed, cut where it is too long."""
    line = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(line.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _word(text: str) -> str:
    return _text(text, MAX_WORD)


def _story(one: Insight | Alert, alert: Alert | None) -> Story:
    return Story(
        company_id=one.company_id,
        type=_word(one.type),
        severity=one.severity,
        polarity=_word(one.polarity),
        title=_text(one.title),
        occurred_at=one.occurred_at,
        url=safe_url(one.url),
        source=_word(one.source),
        alert=alert.state if alert else None,
    )


def _foremost(alerts: Iterable[Alert], most: int) -> tuple[Story, ...]:
    stories = (_story(alert, alert) for alert in alerts)
    return tuple(nsmallest(most, stories, key=rules.alert_weight))


def _types(by_type: dict[str, Counter[Severity]]) -> tuple[TypeCount, ...]:
    ranked = sorted(by_type.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    kept, rest = ranked[:MAX_TYPES], ranked[MAX_TYPES:]
    if rest:
        kept.append(("other", sum((counts for _, counts in rest), Counter())))
    return tuple(count_of(name, counts) for name, counts in kept)


def count_of(name: str, counts: Counter[Severity]) -> TypeCount:
    """Return a type's count, with the severities that occur, the most severe first."""
    return TypeCount(
        type=name,
        total=counts.total(),
        by_severity={one: counts[one] for one in SEVERITIES if counts[one]},
    )


def _named(
    analyses: Iterable[Analysis], insights: Iterable[Insight]
) -> dict[tuple[str, str], Finding]:
    """Return what is known of each story: an analysis looks further back than the week goes."""
    findings = (finding for analysis in analyses for finding in analysis.findings)
    return {(one.story_id, one.type): one for one in chain(findings, insights)}


def _risk(
    points: list[RiskPoint], week: Week, named: dict[tuple[str, str], Finding]
) -> Risk | None:
    comparable = sorted(
        (point for point in points if point.analysis_type == COMPARED_TYPE),
        key=lambda point: (point.at, point.score),
    )
    now = [point for point in comparable if week.start <= point.at < week.end]
    before = [point for point in comparable if week.previous.start <= point.at < week.start]
    if not now:
        return None
    last = now[-1]
    if not before:
        return Risk(
            score=last.score,
            at=last.at,
            partial=last.partial,
            previous=None,
            change=None,
            drivers=(),
        )
    return Risk(
        score=last.score,
        at=last.at,
        partial=last.partial,
        previous=before[-1].score,
        change=round(last.score - before[-1].score, 2),
        drivers=_drivers(_points(last), _points(before[-1]), named),
    )


def _points(point: RiskPoint) -> dict[tuple[str, str], float]:
    """Return a score's contributions by story and type, as far as they have that form."""
    found: dict[tuple[str, str], float] = {}
    for one in point.contributions:
        if not isinstance(one, dict):
            continue
        story, type, points = one.get("story_id"), one.get("type"), one.get("points")
        if isinstance(story, str) and isinstance(type, str) and isinstance(points, int | float):
            found[story, type] = float(points)
    return found


def _drivers(
    now: dict[tuple[str, str], float],
    before: dict[tuple[str, str], float],
    named: dict[tuple[str, str], Finding],
) -> tuple[Driver, ...]:
    changes = {key: now.get(key, 0.0) - before.get(key, 0.0) for key in now.keys() | before.keys()}
    whole = sum(changes.values())
    moved = sorted(
        ((key, round(points, 2)) for key, points in changes.items() if round(points, 2)),
        # Of equal weight, those first that moved the risk the way it went.
        key=lambda pair: (-abs(pair[1]), pair[1] * whole < 0, pair[0]),
    )
    drivers = []
    for key, points in moved[:MAX_DRIVERS]:
        story = named.get(key)
        drivers.append(
            Driver(
                type=_word(key[1]),
                points=points,
                gone=key not in now,
                title=_text(story.title) if story else None,
                url=safe_url(story.url) if story else None,
            )
        )
    return tuple(drivers)


def _count(ended: list[Analysis]) -> Analyses:
    counts = Counter(analysis.status for analysis in ended)
    return Analyses(
        total=len(ended),
        succeeded=counts["succeeded"],
        partial=counts["partial"],
        failed=counts["failed"],
    )


def _sources(ended: list[Analysis]) -> tuple[SourceFailures, ...]:
    asked: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    errors: dict[str, str | None] = {}
    for analysis in ended:
        for source in analysis.sources:
            name = _word(source.name)
            asked[name] += source.status != "skipped"
            if source.status == "failed":
                failed[name] += 1
                errors[name] = _text(source.error) if source.error else None
    ranked = sorted(failed, key=lambda name: (-failed[name], name))
    return tuple(
        SourceFailures(name=name, failed=failed[name], asked=asked[name], error=errors[name])
        for name in ranked[:MAX_SOURCES]
    )


def _ahead(company_id: str, insights: list[Insight], week: Week) -> tuple[DateAhead, ...]:
    found: dict[tuple[date, str, str], DateAhead] = {}
    for insight in insights:
        named = {*_dates(insight.evidence, "", MAX_DEPTH), (insight.occurred_at.date(), "event")}
        for day, what in named:
            if day >= week.next.monday:
                ahead = DateAhead(
                    day=day,
                    what=what,
                    company_id=company_id,
                    title=_text(insight.title),
                    url=safe_url(insight.url),
                )
                found.setdefault((day, what, f"{ahead.title} {ahead.url}"), ahead)
    return tuple(found[key] for key in nsmallest(MAX_STORIES, found))


def _dates(value: Any, key: str, depth: int) -> Iterator[tuple[date, str]]:
    """Yield the days in evidence that stand under a name with `date` in it, old ones left out.

    Such as `primary_completion_date_new` and `new_goal_date` of the reference backend.
    """
    if depth == 0:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _dates(inner, name, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _dates(inner, key, depth - 1)
    elif isinstance(value, str) and _DAY.fullmatch(value):
        words = key.lower().split("_")
        if "date" in words and "old" not in words:
            what = " ".join(word for word in words if word not in ("date", "new"))
            try:
                yield date.fromisoformat(value), _word(what) or "date"
            except ValueError:
                return
