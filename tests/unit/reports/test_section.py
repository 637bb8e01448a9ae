"""A company's section: counted whole, cut to what is foremost, the same in whatever order."""

import itertools
import random
import weakref
from collections.abc import Callable, Iterator
from datetime import date

import pytest
from support import answers
from support.weeks import HOSTILE, WEEK, alert, analysis, insight, risk, section

from bionewsbot.api.models import Alert
from bionewsbot.reports import words
from bionewsbot.reports.section import MAX_OPEN_BEFORE, MAX_STORIES, MAX_TYPES, safe_url
from bionewsbot.runs.ledger import MAX_SECTION_BYTES


def test_counts_have_all_and_stories_the_foremost() -> None:
    """By severity, then whether the alert is open, then bad news first, then the newest."""
    made = section(
        insights=[
            insight(1, severity="high", polarity="positive"),
            insight(2, severity="critical"),
            insight(3, severity="high", polarity="negative"),
            insight(4, severity="high", polarity="negative"),
            insight(5, severity="high", polarity="positive", type="trial"),
            *(insight(number, severity="low") for number in range(6, 30)),
        ],
        alerts=[alert(5, "open", type="trial"), alert(2, "closed")],
    )
    assert made.insights == 29
    assert [story.title[6:] for story in made.stories] == ["2", "5", "4", "3", "1"]
    assert [story.alert for story in made.stories] == ["closed", "open", None, None, None]
    assert [(one.type, one.total, one.by_severity) for one in made.by_type] == [
        ("sec_filing", 28, {"critical": 1, "high": 3, "low": 24}),
        ("trial", 1, {"high": 1}),
    ]


def test_alerts_that_are_open_come_first() -> None:
    """With all counted by state."""
    states = ["closed", "closed", "open", "acknowledged", "closed", "closed", "open"]
    rows = [alert(n, state, severity="high") for n, state in enumerate(states, 1)]
    made = section(
        alerts=[*rows, alert(9, severity="low"), alert(10, "closed", severity="critical")]
    )
    assert made.alerts_by_state == {"open": 3, "acknowledged": 1, "closed": 5}
    assert [story.title[6:] for story in made.alerts] == ["7", "3", "9", "10", "6"]


def test_what_is_open_from_before_is_counted_to_a_bound() -> None:
    """The gravest are shown; no more is asked for than is counted."""
    asked = []

    def rows() -> Iterator[Alert]:
        for number in itertools.count():
            asked.append(number)
            yield alert(number, severity="critical" if number in (3, 7) else "medium")

    made = section(open_before=rows())
    assert made.open_before == len(asked) == MAX_OPEN_BEFORE
    assert [story.title[6:] for story in made.alerts_before] == ["7", "3", "499"]
    assert made.alerts == () and made.alerts_by_state == {}


def test_risk_is_the_last_of_the_week_beside_the_last_before() -> None:
    """What drove the change: what is new, what is gone, and what weighs otherwise."""
    told = [answers.finding(story_id="story-8"), answers.finding(story_id="story-9", title="Old")]
    made = section(
        insights=[insight(1), insight(2)],
        analyses=[analysis(findings=told)],
        risk=[
            risk(0, 99),
            risk(6.9, 70, [("story-1", 12), ("story-2", 8), ("story-8", 5)]),
            risk(7, 1),
            risk(-0.5, 55, [("story-2", 2), ("story-9", -4.5), ("story-8", 5)]),
            risk(-3, 98),
            risk(-7.1, 97),
            risk(6.95, 1, analysis_type="quick_scan"),
        ],
    )
    assert made.risk is not None
    assert (made.risk.score, made.risk.previous, made.risk.change) == (70, 55, 15)
    assert [(one.title, one.points, one.gone) for one in made.risk.drivers] == [
        ("Story 1", 12, False),
        ("Story 2", 6, False),
        ("Old", 4.5, True),
    ]
    assert made.risk.drivers[0].url == "https://example.test/GILD/1"


def test_a_driver_that_nothing_tells_of_has_its_type() -> None:
    """The analyses of the week may look less far back than what is gone."""
    found = section(risk=[risk(1, 50), risk(-1, 55, [("story-9", 5)])]).risk
    assert found is not None
    (driver,) = found.drivers
    assert (driver.title, driver.url, driver.gone) == (None, None, True)
    assert words.driver(driver, "GILD Inc.") == "sec_filing (no longer counted, -5)"


@pytest.mark.parametrize(
    ("points", "expected"),
    [([], None), ([risk(-1, 50)], None), ([risk(1, 50)], (50.0, None, ()))],
)
def test_risk_where_a_week_has_none(points: list[object], expected: object) -> None:
    """No score this week is no risk; none before is no change, and nothing drove it."""
    found = section(risk=points).risk
    assert (found and (found.score, found.change, found.drivers)) == expected


def test_contributions_of_another_form_are_left_out() -> None:
    """The contract leaves their form open."""
    strange = [None, 3, ["x"], {"story_id": 1, "type": "t", "points": 2}, {"points": "many"}]
    points = [risk(1, 60, contributions=()), risk(-1, 50)]
    points[0] = points[0].model_copy(update={"contributions": strange})
    found = section(risk=points).risk
    assert found is not None and (found.change, found.drivers) == (10, ())


def test_sources_that_failed_and_analyses_that_ended() -> None:
    """One that was skipped was not asked; what is still running is left out."""
    skipped = analysis().model_copy(
        update={
            "id": "2",
            "sources": tuple(
                s.model_copy(update={"status": "skipped"}) for s in analysis().sources
            ),
        }
    )
    running = analysis(status="running")
    made = section(analyses=[analysis(("a",)), analysis(("a", "b")), skipped, running])
    assert [(one.name, one.failed, one.asked, one.error) for one in made.sources_failed] == [
        ("a", 2, 2, "a is down"),
        ("b", 1, 2, "b is down"),
    ]
    assert (made.analyses.total, made.analyses.succeeded, made.analyses.partial) == (3, 1, 2)


def test_dates_ahead_come_from_evidence_and_from_what_occurs_later() -> None:
    """Under a name with `date` in it, not an old one, not before the week's end."""
    evidence = {
        "as_of": "2026-03-01",
        "new_goal_date": "2026-05-01",
        "records": [
            {
                "facts": {
                    "primary_completion_date_old": "2026-04-01",
                    "primary_completion_date_new": "2026-06-01",
                    "completion_date_new": "2026-01-25",
                    "date": "2026-02-30",
                    "updated": "2026-07-01",
                }
            }
        ],
    }
    later = insight(2, occurred_at="2026-01-26T00:00:00Z")
    made = section(insights=[insight(1, evidence=evidence), later])
    assert [(one.day, one.what, one.title) for one in made.ahead] == [
        (date(2026, 1, 26), "event", "Story 2"),
        (date(2026, 5, 1), "goal", "Story 1"),
        (date(2026, 6, 1), "primary completion", "Story 1"),
    ]


def test_the_nearest_dates_are_kept_each_once() -> None:
    """Five of a company, in whatever order the insights name them."""
    days = [f"2026-05-{number:02}" for number in range(28, 0, -1)]
    rows = [insight(1, evidence={"goal_date": day}) for day in (*days, *days)]
    assert [one.day.day for one in section(insights=rows).ahead] == [1, 2, 3, 4, 5]


def test_the_same_rows_in_any_order_make_the_same_section() -> None:
    """So that a second run of a week has the same content."""
    rows: dict[str, list[object]] = {
        "insights": [insight(n, severity=["low", "high"][n % 2]) for n in range(40)],
        "alerts": [alert(n, ["open", "closed"][n % 2]) for n in range(20)],
        "risk": [risk(n / 3, 50 + n, [(f"story-{n}", n)]) for n in range(-20, 20)],
        "analyses": [analysis(("a",) if n % 2 else (), id=str(n)) for n in range(9)],
    }
    expected = section(**rows).model_dump_json()
    for seed in range(10):
        for part in rows.values():
            random.Random(seed).shuffle(part)
        assert section(**rows).model_dump_json() == expected


def test_no_row_is_kept_that_was_told() -> None:
    """So memory doesn't grow with a week's insights, alerts and analyses, evidence among them."""
    alive: list[int] = []

    def rows(make: Callable[[int], object]) -> Iterator[object]:
        given: list[weakref.ref[object]] = []
        for number in range(300):
            row = make(number)
            given.append(weakref.ref(row))
            yield row
        del row
        alive.append(sum(one() is not None for one in given))

    made = section(
        insights=rows(lambda n: insight(n, evidence={"goal_date": f"2026-05-{n % 28 + 1:02}"})),
        alerts=rows(alert),
        analyses=rows(lambda n: analysis(("a",), id=str(n))),
    )
    assert (made.insights, made.analyses.total, made.alerts_by_state) == (300, 300, {"open": 300})
    # The one in the hand of who asked last.
    assert len(alive) == 3 and max(alive) <= 1


def test_the_longest_section_fits_the_ledger() -> None:
    """Whatever the sources write, and however much."""
    wide = "\U0001f9ec\x00\u202e" + "\U0001f9ec" * 300
    url = "https://example.test/" + "ü" * 1000
    said = {"title": wide, "polarity": wide, "source": wide}
    rows = [
        insight(
            n,
            **said,
            type=f"{n}{wide}",
            severity=("low", "medium", "high", "critical")[n % 4],
            url=url[:180],
            evidence={f"{wide}_date": f"2026-05-{n % 28 + 1:02}"},
        )
        for n in range(100)
    ]
    told = [answers.finding(story_id=f"story-{n}", **said, url=url[:180]) for n in range(100)]
    failed = analysis(("a", "b"), findings=told)
    source = failed.sources[0].model_copy(update={"error": wide})
    many = tuple(source.model_copy(update={"name": f"{n}{wide}"}) for n in range(20))
    made = section(
        name=wide,
        insights=rows,
        alerts=[alert(n, **said, type=wide, url=url[:180]) for n in range(100)],
        open_before=[alert(n, **said, type=wide, url=url[:180]) for n in range(100)],
        risk=[risk(1, 1, [(f"story-{n}", n) for n in range(9)]), risk(-1, 2)],
        analyses=[failed.model_copy(update={"sources": many})],
    )
    assert len(made.stories) == len(made.alerts) == len(made.ahead) == MAX_STORIES
    assert len(made.by_type) == MAX_TYPES + 1
    assert sum(one.total for one in made.by_type) == made.insights == 100
    assert 40_000 < len(made.model_dump_json().encode()) <= MAX_SECTION_BYTES
    assert "\u202e" not in made.stories[0].title and "\x00" not in made.stories[0].title


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://www.sec.gov/a?b=c#d", "https://www.sec.gov/a?b=c#d"),
        ('https://example.test/a b>"<|', "https://example.test/a%20b%3E%22%3C%7C"),
        ("https://example.test/%C3%BC/ü", "https://example.test/%C3%BC/%C3%BC"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//example.test/x", None),
        ("https:///x", None),
        ("http://[x", None),
        ("https://example.test/" + "x" * 1000, None),
        ("https://example.test/\ud800", None),
        ("", None),
        (None, None),
    ],
)
def test_only_addresses_of_the_web_are_linked(url: str | None, safe: str | None) -> None:
    """With nothing in them that ends an attribute or a Markdown link."""
    assert safe_url(url) == safe


def test_text_of_sources_stays_one_line() -> None:
    """Cut where it is too long."""
    made = section(insights=[insight(1, title="a\n\n# b\t" + HOSTILE * 9)])
    title = made.stories[0].title
    assert title.startswith("a # b <script>") and title.endswith("…") and len(title) == 200
    assert WEEK.name == "2026-W04"
