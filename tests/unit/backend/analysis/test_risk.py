from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.backend.analysis import Finding, risk
from bionewsbot.backend.analysis.model import NEUTRAL, POLARITIES, SEVERITIES

MIRROR = {"positive": "negative", "negative": "positive", "neutral": "neutral"}


def finding(polarity: str, severity: str, *, confidence: float = 1.0, story: str = "s") -> Finding:
    """Return a finding of which only the weight matters."""
    return Finding(
        story_id=story,
        type="regulatory_decision",
        polarity=polarity,
        title="t",
        description="d",
        confidence=confidence,
        severity=severity,
        occurred_at=datetime(2026, 1, 27, tzinfo=UTC),
        url="https://x",
        source="replay",
        evidence={},
    )


def many() -> st.SearchStrategy[list[Finding]]:
    """Return lists of findings of every kind."""
    return st.lists(
        st.builds(
            finding,
            st.sampled_from(POLARITIES),
            st.sampled_from(SEVERITIES),
            confidence=st.floats(min_value=0, max_value=1),
            story=st.text(min_size=1, max_size=3),
        ),
        max_size=30,
    )


@pytest.mark.parametrize(
    ("polarity", "severity", "score"),
    [
        ("negative", "low", 51.0),
        ("negative", "medium", 55.0),
        ("negative", "high", 62.0),
        ("negative", "critical", 75.0),
        ("positive", "low", 49.0),
        ("positive", "medium", 45.0),
        ("positive", "high", 38.0),
        ("positive", "critical", 25.0),
        ("neutral", "critical", 50.0),
    ],
)
def test_what_one_finding_does_to_the_score(polarity, severity, score):
    """Bad news raises the risk as much as good news of the same severity lowers it."""
    assert risk([finding(polarity, severity)], None).score == score


def test_a_company_without_news_is_in_the_middle():
    """Without findings the score is 50, without a score before there is no difference."""
    empty = risk([], None)
    assert (empty.score, empty.previous, empty.delta) == (50.0, None, None)
    assert empty.contributions == ()


def test_the_difference_to_the_score_before():
    """The delta is the new score less the one before, also where the latter was 0."""
    assert risk([finding("negative", "high")], 70.0).delta == -8.0
    assert risk([finding("negative", "high")], 0.0).delta == 62.0


def test_confidence_scales_the_points():
    """A finding of half the confidence has half the points."""
    assert risk([finding("negative", "critical", confidence=0.5)], None).score == 62.5


def test_contributions_name_story_type_and_points_the_greatest_first():
    """The score can be added up from its contributions; neutral findings have none."""
    findings = [
        finding("positive", "low", story="a"),
        finding("negative", "critical", story="b"),
        finding("neutral", "critical", story="c"),
    ]
    assert risk(findings, None).contributions == (
        {"story_id": "b", "type": "regulatory_decision", "points": 25.0},
        {"story_id": "a", "type": "regulatory_decision", "points": -1.0},
    )


@given(findings=many(), previous=st.none() | st.floats(min_value=0, max_value=100))
def test_the_score_stays_between_0_and_100(findings, previous):
    """However much happens, the score keeps its bounds and the delta follows from it."""
    made = risk(findings, previous)
    assert 0 <= made.score <= 100
    assert made.previous == previous
    assert made.delta == (None if previous is None else round(made.score - previous, 2))


@given(findings=many())
def test_a_fall_weighs_as_much_as_a_rise(findings):
    """With every polarity turned round the score is as far on the other side of 50."""
    turned = [
        finding(MIRROR[f.polarity], f.severity, confidence=f.confidence, story=f.story_id)
        for f in findings
    ]
    assert risk(turned, None).score + risk(findings, None).score == pytest.approx(100, abs=0.02)


@given(findings=many(), severity=st.sampled_from(SEVERITIES))
def test_more_bad_news_never_lowers_the_risk(findings, severity):
    """Adding a negative finding keeps or raises the score; a neutral one leaves it."""
    before = risk(findings, None).score
    assert risk([*findings, finding("negative", severity)], None).score >= before
    assert risk([*findings, finding(NEUTRAL, severity)], None).score == before


@pytest.mark.parametrize(("polarity", "score"), [("negative", 100.0), ("positive", 0.0)])
def test_the_score_stops_at_the_ends_of_its_scale(polarity, score):
    """Ten critical findings of one direction reach the end and go no further."""
    assert risk([finding(polarity, "critical")] * 10, None).score == score
