"""Decisions of the FDA: what each signals, and how it is said."""

from dataclasses import dataclass

from bionewsbot.backend.analysis.model import NEGATIVE, NEUTRAL, POSITIVE, Signal


@dataclass(frozen=True)
class DecisionRule:
    """What a decision is called and what it signals."""

    words: str
    signal: Signal


# In pairs, so that a fall weighs as much as the rise it answers. A supplement can be anything from
# a new use to a new package, which the decision alone doesn't say: medium.
_RULES = {
    "approved": DecisionRule("approval", Signal(POSITIVE, "critical")),
    "complete_response": DecisionRule("complete response letter", Signal(NEGATIVE, "critical")),
    "hold_lifted": DecisionRule("clinical hold lifted", Signal(POSITIVE, "high")),
    "clinical_hold": DecisionRule("clinical hold", Signal(NEGATIVE, "high")),
    "supplement_approved": DecisionRule("approval of a supplement", Signal(POSITIVE, "medium")),
    "application_accepted": DecisionRule(
        "application accepted for review", Signal(POSITIVE, "medium")
    ),
    "ind_cleared": DecisionRule("clinical trial cleared to begin", Signal(POSITIVE, "medium")),
    "review_extended": DecisionRule("review extended", Signal(NEGATIVE, "medium")),
    "expanded_access": DecisionRule("expanded access authorised", Signal(POSITIVE, "low")),
}


def rule_of(decision: str) -> DecisionRule:
    """Return the rule of a decision; one that no rule knows is named as it is, with no weight."""
    unknown = DecisionRule(decision.replace("_", " "), Signal(NEUTRAL, "low"))
    return _RULES.get(decision, unknown)
