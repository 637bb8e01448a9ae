"""Turns records into findings and findings into a risk score: pure functions over tables of rules.

Every finding states a fact of a public record, so its confidence is 1.0. README.md beside this
file lists the types, the rules' reasons and the weights.
"""

from bionewsbot.backend.analysis.findings import findings, significant
from bionewsbot.backend.analysis.model import Finding, Risk
from bionewsbot.backend.analysis.risk import risk

__all__ = ["Finding", "Risk", "findings", "risk", "significant"]
