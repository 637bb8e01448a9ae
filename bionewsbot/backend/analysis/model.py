"""What an analysis says: findings, a risk score, and the closed sets of words that they use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

TYPES = (
    "regulatory_decision",
    "clinical_trial",
    "merger",
    "listing",
    "financing",
    "material_event",
    "periodic_report",
    "ownership",
    "governance",
    "other_filing",
)

POSITIVE = "positive"
NEGATIVE = "negative"
NEUTRAL = "neutral"
POLARITIES = (POSITIVE, NEGATIVE, NEUTRAL)

SEVERITIES = ("low", "medium", "high", "critical")
"""From the least to the most; good news and bad news share the scale."""


@dataclass(frozen=True)
class Signal:
    """What one rule makes of one fact."""

    polarity: str
    severity: str


@dataclass(frozen=True)
class Finding:
    """One story about a company; `confidence` is 0 to 1, `evidence` is plain JSON."""

    story_id: str
    type: str
    polarity: str
    title: str
    description: str
    confidence: float
    severity: str
    occurred_at: datetime
    url: str
    source: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Risk:
    """A risk score from 0 (all news good) to 100 (all news bad), and what it is made of."""

    score: float
    previous: float | None
    delta: float | None
    contributions: tuple[Mapping[str, Any], ...]


def strongest(signals: list[Signal]) -> Signal:
    """Return the severest of the signals; neutral where signals as severe point both ways."""
    severity = max((signal.severity for signal in signals), key=SEVERITIES.index)
    directions = {signal.polarity for signal in signals if signal.severity == severity}
    directions.discard(NEUTRAL)
    return Signal(directions.pop() if len(directions) == 1 else NEUTRAL, severity)
