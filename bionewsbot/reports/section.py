"""One company's part of a report: bounded, whatever there was about it in the week."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from bionewsbot.api.models import (
    Alert,
    AlertState,
    Analysis,
    Finding,
    Insight,
    RiskPoint,
    Severity,
)
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

Key = tuple[str, str]
"""Of a story: its id and type."""


class _Move(NamedTuple):
    points: float
    gone: bool


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
    last, before = _last_two(risk, week)
    moved = _moved(last, before)
    names = _Names(key for key, _ in moved)
    states: dict[Key, AlertState] = {}
    by_state: Counter[AlertState] = Counter()
    by_type: dict[str, Counter[Severity]] = defaultdict(Counter)
    ahead = _Ahead(company_id, week)
    ended = _Ended()

    # Rows come page by page and are let go of one by one, whatever their number.
    def told_alerts() -> Iterator[Story]:
        for alert in alerts:
            states[alert.story_id, alert.type] = alert.state
            by_state[alert.state] += 1
            yield _story(alert, alert.state)

    def told_insights() -> Iterator[Story]:
        for insight in insights:
            by_type[_word(insight.type)][insight.severity] += 1
            names.see(insight, (1, insight.occurred_at.isoformat(), insight.title))
            ahead.see(insight)
            yield _story(insight, states.get((insight.story_id, insight.type)))

    # An insight has its alert's state, so the alerts come first.
    foremost_alerts = nsmallest(MAX_STORIES, told_alerts(), key=rules.alert_weight)
    stories = nsmallest(MAX_STORIES, told_insights(), key=rules.weight)
    waiting = [_story(one, one.state) for one in islice(open_before, MAX_OPEN_BEFORE)]
    for analysis in analyses:
        if analysis.ended:
            ended.see(analysis)
            for finding in analysis.findings:
                names.see(finding, (0, *_order(analysis)))
    return Section(
        company_id=company_id,
        name=_text(name),
        insights=sum(counts.total() for counts in by_type.values()),
        by_type=_types(by_type),
        stories=tuple(stories),
        alerts_by_state={state: by_state[state] for state in STATES if by_state[state]},
        alerts=tuple(foremost_alerts),
        open_before=len(waiting),
        alerts_before=tuple(nsmallest(MAX_BEFORE_SHOWN, waiting, key=rules.alert_weight)),
        risk=_risk(last, before, names.drivers(moved)),
        analyses=ended.counts(),
        sources_failed=ended.sources_failed(),
        ahead=ahead.nearest(),
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


def _story(one: Insight | Alert, alert: AlertState | None) -> Story:
    return Story(
        company_id=one.company_id,
        type=_word(one.type),
        severity=one.severity,
        polarity=_word(one.polarity),
        title=_text(one.title),
        occurred_at=one.occurred_at,
        url=safe_url(one.url),
        source=_word(one.source),
        alert=alert,
    )


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


def _last_two(points: Iterable[RiskPoint], week: Week) -> tuple[RiskPoint | None, RiskPoint | None]:
    """Return the last score of the week, and the last one of the week before."""
    last: dict[Week, RiskPoint] = {}
    for point in points:
        for of in (week, week.previous):
            if point.analysis_type == COMPARED_TYPE and of.start <= point.at < of.end:
                last[of] = max(last.get(of, point), point, key=lambda one: (one.at, one.score))
    return last.get(week), last.get(week.previous)


def _risk(
    last: RiskPoint | None, before: RiskPoint | None, drivers: tuple[Driver, ...]
) -> Risk | None:
    if last is None:
        return None
    return Risk(
        score=last.score,
        at=last.at,
        partial=last.partial,
        previous=before.score if before else None,
        change=round(last.score - before.score, 2) if before else None,
        drivers=drivers,
    )


def _points(point: RiskPoint) -> dict[Key, float]:
    """Return a score's contributions by story and type, as far as they have that form."""
    found: dict[Key, float] = {}
    for one in point.contributions:
        if not isinstance(one, dict):
            continue
        story, type, points = one.get("story_id"), one.get("type"), one.get("points")
        if isinstance(story, str) and isinstance(type, str) and isinstance(points, int | float):
            found[story, type] = float(points)
    return found


def _moved(last: RiskPoint | None, before: RiskPoint | None) -> list[tuple[Key, _Move]]:
    """Return the stories that moved the risk most, the heaviest first."""
    if last is None or before is None:
        return []
    now, then = _points(last), _points(before)
    changes = {key: now.get(key, 0.0) - then.get(key, 0.0) for key in now.keys() | then.keys()}
    whole = sum(changes.values())
    moved = sorted(
        ((key, round(points, 2)) for key, points in changes.items() if round(points, 2)),
        # Of equal weight, those first that moved the risk the way it went.
        key=lambda pair: (-abs(pair[1]), pair[1] * whole < 0, pair[0]),
    )
    return [(key, _Move(points, gone=key not in now)) for key, points in moved[:MAX_DRIVERS]]


class _Names:
    """What is known of the stories that moved the risk: some are told of by analyses alone, which
    look further back than the week goes."""

    def __init__(self, wanted: Iterable[Key]) -> None:
        self._wanted = frozenset(wanted)
        self._found: dict[Key, tuple[tuple[Any, ...], Finding]] = {}

    def see(self, finding: Finding, rank: tuple[Any, ...]) -> None:
        """Take what a finding says of its story, unless one of higher rank has said it."""
        key = finding.story_id, finding.type
        if key in self._wanted and (key not in self._found or self._found[key][0] <= rank):
            self._found[key] = rank, finding

    def drivers(self, moved: Iterable[tuple[Key, _Move]]) -> tuple[Driver, ...]:
        """Return what moved the risk, by name where that is known."""
        return tuple(self._driver(key, move) for key, move in moved)

    def _driver(self, key: Key, move: _Move) -> Driver:
        _, story = self._found.get(key, (None, None))
        return Driver(
            type=_word(key[1]),
            points=move.points,
            gone=move.gone,
            title=_text(story.title) if story else None,
            url=safe_url(story.url) if story else None,
        )


def _order(analysis: Analysis) -> tuple[str, str]:
    return str(analysis.started_at), analysis.id


class _Ended:
    """Counts the analyses that have ended, and what failed in them."""

    def __init__(self) -> None:
        self._statuses: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._errors: dict[str, tuple[tuple[str, str], str | None]] = {}

    def see(self, analysis: Analysis) -> None:
        """Count one."""
        self._statuses[analysis.status] += 1
        for source in analysis.sources:
            name = _word(source.name)
            self._asked[name] += source.status != "skipped"
            if source.status == "failed":
                self._failed[name] += 1
                order = _order(analysis)
                if name not in self._errors or self._errors[name][0] <= order:
                    self._errors[name] = order, _text(source.error) if source.error else None

    def counts(self) -> Analyses:
        """Return how they ended."""
        return Analyses(
            total=self._statuses.total(),
            succeeded=self._statuses["succeeded"],
            partial=self._statuses["partial"],
            failed=self._statuses["failed"],
        )

    def sources_failed(self) -> tuple[SourceFailures, ...]:
        """Return the sources that failed most often."""
        ranked = nsmallest(MAX_SOURCES, self._failed, key=lambda name: (-self._failed[name], name))
        return tuple(
            SourceFailures(
                name=name,
                failed=self._failed[name],
                asked=self._asked[name],
                error=self._errors[name][1],
            )
            for name in ranked
        )


class _Ahead:
    """The nearest dates that a company's insights name after the week, each once."""

    def __init__(self, company_id: str, week: Week) -> None:
        self._company_id = company_id
        self._first = week.next.monday
        self._found: dict[tuple[date, str, str], DateAhead] = {}

    def see(self, insight: Insight) -> None:
        """Take the dates that an insight names."""
        for day, what in {
            *_dates(insight.evidence, "", MAX_DEPTH),
            (insight.occurred_at.date(), "event"),
        }:
            if day >= self._first:
                one = DateAhead(
                    day=day,
                    what=what,
                    company_id=self._company_id,
                    title=_text(insight.title),
                    url=safe_url(insight.url),
                )
                self._found[day, what, f"{one.title} {one.url}"] = one
                if len(self._found) > MAX_STORIES:
                    del self._found[max(self._found)]

    def nearest(self) -> tuple[DateAhead, ...]:
        """Return them in their order."""
        return tuple(self._found[key] for key in sorted(self._found))


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
