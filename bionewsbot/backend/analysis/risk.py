"""The risk score: a sum of the findings' weights around a neutral middle."""

from collections.abc import Sequence

from bionewsbot.backend.analysis.model import NEGATIVE, POSITIVE, Finding, Risk

NO_NEWS = 50.0
"""The score of a company without news: no more reason to fear than to hope."""

LOWEST, HIGHEST = 0.0, 100.0

POINTS = {"low": 1.0, "medium": 5.0, "high": 12.0, "critical": 25.0}
"""Points of a finding by severity, chosen by this project: each step is worth at least two of the
step below, and two critical findings of one direction reach the end of the scale."""

DIRECTION = {NEGATIVE: 1.0, POSITIVE: -1.0}


def risk(findings: Sequence[Finding], previous: float | None) -> Risk:
    """Return the risk that the findings make: 50 plus their points, kept within 0 to 100.

    A finding has the points of its severity times its confidence, added where it is negative,
    taken off where it is positive; a neutral one has none and is not among the contributions.
    `previous` is the company's score before, None where there is none; `delta` is the difference
    to it.
    """
    weighed = [
        (DIRECTION[finding.polarity] * POINTS[finding.severity] * finding.confidence, finding)
        for finding in findings
        if finding.polarity in DIRECTION
    ]
    weighed.sort(key=lambda pair: (-abs(pair[0]), pair[1].story_id))
    total = NO_NEWS + sum(points for points, _ in weighed)
    score = round(min(HIGHEST, max(LOWEST, total)), 2)
    return Risk(
        score=score,
        previous=previous,
        delta=None if previous is None else round(score - previous, 2),
        contributions=tuple(
            {"story_id": finding.story_id, "type": finding.type, "points": round(points, 2)}
            for points, finding in weighed
        ),
    )
