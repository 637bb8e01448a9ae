"""The whole of a report: summary, parts, gaps and what the rules recommend."""

import random
from datetime import timedelta

from support.weeks import WEEK, alert, analysis, full_report, insight, report, risk, section

from bionewsbot.reports import rules, words
from bionewsbot.reports.model import Gap, Report


def recommended(made: Report) -> dict[str, tuple[str, ...]]:
    """Return the companies of each recommendation by its rule."""
    return {one.rule: one.companies for one in made.recommendations}


def test_an_empty_portfolio() -> None:
    """Says so, and recommends nothing."""
    made = report()
    assert made.summary.changes == ("There is no active company.",)
    assert (made.portfolio.companies, made.insights.total, made.risk.portfolio.mean) == (0, 0, None)
    assert made.recommendations == () and made.summary.read_first == ()
    assert sum(band.companies for band in made.risk.portfolio.distribution) == 0


def test_a_company_without_data_is_in_the_report() -> None:
    """Told as not analysed and without a score: silence isn't calm."""
    made = report(section("JNJ", analyses=()))
    assert (made.portfolio.companies, made.portfolio.gathered) == (1, 1)
    assert made.summary.changes == ("No insight about any of 1 company.", "No alert.")
    assert made.activity.never_analysed == made.risk.unscored == ("JNJ",)
    assert recommended(made) == {"unwatched": ("JNJ",)}


def test_a_company_whose_analyses_all_failed_is_not_calm() -> None:
    """Also where no source is to blame; one that succeeded in part has looked."""
    failed = analysis(
        status="failed", sources=(), error={"code": "x", "message": "", "retryable": False}
    )
    made = report(
        section("JNJ", analyses=[failed, failed]),
        section("PFE", analyses=[failed, analysis(("a",))]),
    )
    assert made.activity.analyses.failed == 3
    assert made.activity.never_analysed == recommended(made)["unwatched"] == ("JNJ",)


def test_the_summary_says_what_changed() -> None:
    """Insights, alerts, risk and its movers, sources that failed, companies that are missing."""
    assert full_report().summary.changes[0] == (
        "8 insights about 1 of 3 companies: 1 critical, 1 medium, 6 low."
    )
    assert full_report().summary.changes[1] == "2 alerts: 1 open, 1 closed."
    assert full_report().summary.changes[2] == (
        "Mean risk 62.5 over 2 companies; +15 against the week before over the 2 that had a score "
        "then."
    )
    assert full_report().summary.changes[3].startswith("Risk up for 1 company: Gilead <script>")
    assert full_report().summary.changes[4:] == (
        "Risk down for 1 company: PFE Inc. -5.",
        "Sources failed during the week: a. Silence of theirs is no calm.",
        "1 company is missing here, of 4.",
    )


def test_what_to_read_first() -> None:
    """At most five, at most two of one company, those with a source to read before all others."""
    made = report(
        section("A", insights=[insight(n, "A", severity="critical") for n in range(5)]),
        section("B", insights=[insight(1, "B", severity="high", url=None)]),
        section("C", insights=[insight(1, "C", severity="low")]),
        section("D", insights=[insight(1, "D", severity="medium"), insight(2, "D")]),
    )
    read = [(one.story.company_id, one.story.severity) for one in made.summary.read_first]
    assert read == [
        ("A", "critical"),
        ("A", "critical"),
        ("D", "medium"),
        ("D", "medium"),
        ("C", "low"),
    ]
    assert made.summary.read_first[0].name == "A Inc."
    assert made.summary.read_first[0].why == "critical, neutral"


def test_portfolio_risk_and_its_distribution() -> None:
    """A bound belongs to the band above; the largest change, up or down, comes first."""
    made = report(
        section("A", risk=[risk(1, 20), risk(-1, 19.99)]),
        section("B", risk=[risk(1, 80)]),
        section("C", risk=[risk(1, 10.5), risk(-1, 70)]),
        section("D"),
    )
    whole = made.risk.portfolio
    assert (whole.scored, whole.compared) == (3, 2)
    assert (whole.mean, whole.median, whole.change) == (36.83, 20, -29.75)
    assert [(band.companies, band.previous) for band in whole.distribution] == [
        (1, 1),
        (1, 0),
        (0, 0),
        (0, 1),
        (1, 0),
    ]
    assert [one.company_id for one in made.risk.companies] == ["C", "A", "B"]
    assert made.risk.unscored == ("D",)


def test_each_rule_where_it_applies() -> None:
    """In the order of the rules: first what the report itself lacks."""
    assert list(recommended(full_report())) == [
        "gap",
        "unwatched",
        "source-failed",
        "open-alert",
        "risk-rise",
        "risk-high",
        "date-near",
    ]
    assert recommended(full_report()) == {
        "gap": ("MRNA",),
        "unwatched": ("JNJ",),
        "source-failed": (),
        "open-alert": ("GILD",),
        "risk-rise": ("GILD",),
        "risk-high": ("GILD",),
        "date-near": ("GILD",),
    }


def test_no_rule_applies_short_of_its_bound() -> None:
    """An alert that is closed or mild, a rise of 9.99, a risk of 79.99, a date in 14 days."""
    far = (WEEK.end + rules.NEAR).date().isoformat()
    made = report(
        section(
            insights=[insight(1, evidence={"goal_date": far})],
            alerts=[alert(1, "open", severity="medium"), alert(2, "closed", severity="critical")],
            risk=[risk(1, 79.99), risk(-1, 70)],
        )
    )
    assert made.recommendations == ()
    assert made.ahead[0].day == (WEEK.end + timedelta(days=14)).date()


def test_an_open_alert_is_seen_behind_many_that_are_closed() -> None:
    """The report shows five alerts of a company; those that are open are among them."""
    closed = [alert(n, "closed", severity="critical") for n in range(20)]
    made = report(section(alerts=[*closed, alert(30, "open", severity="high")]))
    assert recommended(made) == {"open-alert": ("GILD",)}


def test_alerts_of_before_that_are_open() -> None:
    """Apart from those of the week, the gravest first; a grave one is to be attended to."""
    made = report(
        section("A", open_before=[alert(n, company_id="A") for n in range(9)]),
        section("B", open_before=[alert(1, company_id="B", severity="critical")]),
        section("C"),
    )
    before = made.alerts.open_before
    assert (made.alerts.total, before.total) == (0, 10)
    assert [(one.company_id, one.total, len(one.stories)) for one in before.companies] == [
        ("B", 1, 1),
        ("A", 9, 3),
    ]
    assert made.summary.changes[1:3] == ("No alert.", "10 alerts are still open from before.")
    assert recommended(made) == {"open-alert": ("B",)}


def test_a_recommendation_names_twenty_and_counts_the_rest() -> None:
    """Its text has the whole number."""
    (one,) = report(*(section(f"C{n:02}", risk=[risk(1, 90)]) for n in range(23))).recommendations
    assert (one.companies[0], len(one.companies), one.more) == ("C00", 20, 3)
    assert one.text.startswith("The risk of 23 companies is 80 or higher")
    assert words.about(one).endswith(", C19 and 3 more)")


def test_sources_and_dates_of_all_companies_are_put_together() -> None:
    """Failures are summed; dates come in their order."""

    def ahead(day: str) -> object:
        return insight(1, evidence={"goal_date": day})

    made = report(
        section("A", insights=[ahead("2026-05-02")], analyses=[analysis(("a",))] * 3),
        section("B", insights=[ahead("2026-05-01")], analyses=[analysis(("a", "b"))]),
    )
    assert [(s.name, s.failed, s.asked, s.companies) for s in made.sources_failed] == [
        ("a", 4, 4, 2),
        ("b", 1, 1, 1),
    ]
    assert [one.company_id for one in made.ahead] == ["B", "A"]


def test_the_order_of_sections_changes_nothing() -> None:
    """Workers end in any order."""
    parts = [
        section(name, insights=[insight(n, name) for n in range(4)], risk=[risk(1, 50)])
        for name in "ABCDEFGH"
    ]
    gaps = [Gap(company_id=name, name=name, reason="no") for name in "XYZ"]
    expected = report(*parts, gaps=tuple(gaps)).model_dump_json()
    for seed in range(5):
        random.Random(seed).shuffle(parts)
        random.Random(seed).shuffle(gaps)
        assert report(*parts, gaps=tuple(gaps)).model_dump_json() == expected
