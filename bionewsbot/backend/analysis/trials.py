"""Changes of clinical trials: what a new status or a moved completion date signals."""

from collections.abc import Mapping
from datetime import date

from bionewsbot.backend.analysis.model import NEGATIVE, NEUTRAL, POSITIVE, Signal

STATUS_SIGNALS = {
    "TERMINATED": Signal(NEGATIVE, "high"),
    "SUSPENDED": Signal(NEGATIVE, "high"),
    "WITHDRAWN": Signal(NEGATIVE, "high"),
    "UNKNOWN": Signal(NEGATIVE, "low"),
    "APPROVED_FOR_MARKETING": Signal(POSITIVE, "high"),
    "RECRUITING": Signal(POSITIVE, "low"),
    "ACTIVE_NOT_RECRUITING": Signal(POSITIVE, "low"),
    # That a trial has run its course says nothing of its result, but the result comes next.
    "COMPLETED": Signal(NEUTRAL, "medium"),
}
"""By the status after the change; any other status is neutral and low."""

_STOPPED = ("TERMINATED", "SUSPENDED", "WITHDRAWN")
_RUNNING = ("RECRUITING", "ACTIVE_NOT_RECRUITING", "ENROLLING_BY_INVITATION")

PRIMARY_COMPLETION_STEPS = ((365, "high"), (90, "medium"), (1, "low"))
"""Days by which primary completion moved at least, and the severity: a year, a quarter, any.

Chosen by this project; dates of planned trials are often moved by a few weeks.
"""

_FIELDS = {
    "overall_status": "status",
    "primary_completion_date": "primary completion",
    "completion_date": "study completion",
}


def signals_of(facts: Mapping[str, str]) -> list[Signal]:
    """Return one signal per changed field of a trial."""
    signals = []
    if "overall_status_new" in facts:
        signals.append(_status(facts["overall_status_old"], facts["overall_status_new"]))
    for field in ("primary_completion_date", "completion_date"):
        if f"{field}_new" in facts:
            days = _days_later(facts[f"{field}_old"], facts[f"{field}_new"])
            # Follow-up after the primary endpoint moves for many reasons: it never weighs much.
            severity = "low" if field == "completion_date" else _step(days)
            signals.append(Signal(NEGATIVE if days > 0 else POSITIVE, severity))
    return signals


def changes_in_words(facts: Mapping[str, str]) -> str:
    """Say what changed, each field with its old and new value."""
    return "; ".join(
        f"{words} from {facts[f'{field}_old']} to {facts[f'{field}_new']}"
        for field, words in _FIELDS.items()
        if f"{field}_new" in facts
    )


def _status(old: str, new: str) -> Signal:
    if old in _STOPPED and new in _RUNNING:
        return Signal(POSITIVE, "high")
    return STATUS_SIGNALS.get(new, Signal(NEUTRAL, "low"))


def _days_later(old: str, new: str) -> int:
    return (date.fromisoformat(new) - date.fromisoformat(old)).days


def _step(days: int) -> str:
    return next(severity for least, severity in PRIMARY_COMPLETION_STEPS if abs(days) >= least)
