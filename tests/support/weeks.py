"""A week's rows as the client yields them, and a report made of them."""

from datetime import timedelta
from typing import Any

from support import answers

from bionewsbot.api.models import Alert, Analysis, Insight, RiskPoint
from bionewsbot.reports.assemble import assemble
from bionewsbot.reports.model import Gap, Report, Section
from bionewsbot.reports.period import Week
from bionewsbot.reports.section import make_section

WEEK = Week.parse("2026-W04")
"""19 to 25 January 2026."""

HOSTILE = "<script>alert(1)</script> [click](javascript:alert(2)) | ![x](y) `c` https://evil.test"


def insight(number: int = 1, company: str = "GILD", **changes: Any) -> Insight:
    """Return a stored insight; each number is another story, and another hour of the week."""
    told = answers.finding(
        story_id=f"story-{number}",
        title=f"Story {number}",
        url=f"https://example.test/{company}/{number}",
        occurred_at=(WEEK.start + timedelta(hours=number)).isoformat(),
    )
    row = {**told, "id": f"{company}-{number}", "company_id": company, "analysis_id": "a"}
    return Insight.model_validate({**row, **changes})


def alert(number: int = 1, state: str = "open", **changes: Any) -> Alert:
    """Return the alert of the insight with this number."""
    return Alert.model_validate({**dict(insight(number)), "state": state, **changes})


def risk(days: float, score: float, contributions: Any = (), **changes: Any) -> RiskPoint:
    """Return a risk score so many days after the week's Monday; `contributions` as pairs."""
    row = {
        "analysis_type": "daily",
        "at": WEEK.start + timedelta(days=days),
        "score": score,
        "contributions": [
            {"story_id": story, "type": "sec_filing", "points": points}
            for story, points in contributions
        ],
        "partial": False,
    }
    return RiskPoint.model_validate({**row, **changes})


def analysis(failed: tuple[str, ...] = (), **changes: Any) -> Analysis:
    """Return an analysis that asked the sources `a` and `b`, of which these failed."""
    sources = [
        {
            **answers.analysis()["sources"][0],
            "name": name,
            "status": "failed" if name in failed else "ok",
            "error": f"{name} is down" if name in failed else None,
        }
        for name in ("a", "b")
    ]
    status = "partial" if failed else "succeeded"
    return Analysis.model_validate(
        answers.analysis(**{"sources": sources, "status": status, **changes})
    )


def section(company: str = "GILD", name: str | None = None, **rows: Any) -> Section:
    """Return a company's section of these rows."""
    given: dict[str, Any] = {
        "insights": (),
        "alerts": (),
        "risk": (),
        "open_before": (),
        "analyses": (analysis(),),
        **rows,
    }
    return make_section(company, name or f"{company} Inc.", WEEK, **given)


def report(*sections: Section, gaps: tuple[Gap, ...] = ()) -> Report:
    """Return the week's report of these sections."""
    return assemble(WEEK, sections, gaps)


def full_report() -> Report:
    """Return a report in which every part has something, hostile texts among it."""
    ahead = {"records": [{"facts": {"primary_completion_date_new": "2026-02-03"}}]}
    return report(
        section(
            name=f"Gilead {HOSTILE}",
            insights=[
                insight(1, severity="critical", polarity="negative", title=HOSTILE),
                insight(2, type=HOSTILE[:60], evidence=ahead),
                *(insight(number, severity="low") for number in range(3, 9)),
            ],
            alerts=[alert(1, severity="critical"), alert(2, "closed")],
            risk=[risk(1, 85, [("story-1", 25)]), risk(-2, 50, [("story-0", 5)])],
            analyses=[analysis(("a",))],
        ),
        section("PFE", risk=[risk(2, 40, partial=True), risk(-1, 45)]),
        section("JNJ", analyses=()),
        gaps=(Gap(company_id="MRNA", name="Moderna", reason=f"BackendRefused: 404 {HOSTILE}"),),
    )
