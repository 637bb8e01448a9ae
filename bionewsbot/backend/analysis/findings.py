"""From records to findings: one finding per story, worded from its facts."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bionewsbot.backend.analysis import decisions, filings, trials
from bionewsbot.backend.analysis.model import SEVERITIES, Finding, Signal, strongest
from bionewsbot.backend.sources.base import Company, Record, end_of_day

CONFIDENCE = 1.0
"""Every finding repeats what a public record says; nothing is inferred."""

MAX_EVIDENCE_RECORDS = 50
"""Most records listed in a finding's evidence; its `count` is always the whole number."""

SIGNIFICANT = SEVERITIES[SEVERITIES.index("medium") :]


def findings(company: Company, records: Sequence[Record]) -> tuple[Finding, ...]:
    """Return one finding per story in the records, the severest and newest first.

    A story is one kind of filing, trial or decision on one day, and its `story_id` is made of just
    these: whatever the window, the same records give the same stories. Raises ValueError for a
    record of a kind that no rule knows.
    """
    stories: dict[str, list[Record]] = {}
    for record in sorted({record.id: record for record in records}.values(), key=_by_day):
        stories.setdefault(_story_id(company, record), []).append(record)
    found = [
        _TELL[told[0].kind](company, story_id, tuple(told)) for story_id, told in stories.items()
    ]
    found.sort(
        key=lambda finding: (
            -SEVERITIES.index(finding.severity),
            -finding.occurred_at.timestamp(),
            finding.story_id,
        )
    )
    return tuple(found)


def significant(findings: Sequence[Finding]) -> bool:
    """Return whether any finding, good or bad, is of medium severity or above."""
    return any(finding.severity in SIGNIFICANT for finding in findings)


def _by_day(record: Record) -> tuple[str, str]:
    return (record.occurred_on.isoformat(), record.id)


def _story_id(company: Company, record: Record) -> str:
    """Name a story by where it comes from, what it is about and its day."""
    day = record.occurred_on.isoformat()
    if record.kind == "sec_filing":
        return f"sec:{company.id}:{filings.rule_of(record.facts['form']).story}:{day}"
    if record.kind == "trial_change":
        return f"ctgov:{record.facts['nct_id']}:{day}"
    if record.kind == "fda_decision":
        return record.id
    raise ValueError(
        f"record {record.id} is of kind {record.kind!r}, for which analysis has no rule; kinds:"
        f" {', '.join(_TELL)}"
    )


def _of_filings(company: Company, story_id: str, told: tuple[Record, ...]) -> Finding:
    rule = filings.rule_of(told[0].facts["form"])
    counts = Counter(record.facts["form"] for record in told)
    forms = ", ".join(
        f"form {form}" if count == 1 else f"{count} of form {form}"
        for form, count in sorted(counts.items())
    )
    return _finding(
        story_id,
        rule.type,
        strongest([filings.signal_of(form) for form in counts]),
        title=f"{company.name}: {rule.what} (SEC: {forms})",
        description=(
            f"{_capital(rule.what)}, filed with the SEC about {company.name} on"
            f" {told[0].occurred_on}: {forms}."
        ),
        told=told,
    )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _of_trial(company: Company, story_id: str, told: tuple[Record, ...]) -> Finding:
    nct_id = told[0].facts["nct_id"]
    changes = "; ".join(trials.changes_in_words(record.facts) for record in told)
    last = told[-1].facts
    return _finding(
        story_id,
        "clinical_trial",
        strongest([signal for record in told for signal in trials.signals_of(record.facts)]),
        title=f"{company.name}: trial {nct_id}, {changes}",
        description=(
            f"ClinicalTrials.gov changed trial {nct_id} between {told[0].facts['older_snapshot']}"
            f" and {last['newer_snapshot']}: {changes}. It is listed under {last['ticker']},"
            " who may be its sponsor or a collaborator."
        ),
        told=told,
    )


def _of_decision(company: Company, story_id: str, told: tuple[Record, ...]) -> Finding:
    facts = told[0].facts
    rule = decisions.rule_of(facts["decision"])
    goal = f" The new goal date is {facts['new_goal_date']}." if "new_goal_date" in facts else ""
    return _finding(
        story_id,
        "regulatory_decision",
        rule.signal,
        title=f"{company.name}: FDA {rule.words} ({facts['subject']})",
        description=(
            f"FDA decision about {facts['subject']} of {company.name}: {rule.words}, made public"
            f" on {told[0].occurred_on}.{goal}"
        ),
        told=told,
    )


_TELL: dict[str, Callable[[Company, str, tuple[Record, ...]], Finding]] = {
    "sec_filing": _of_filings,
    "trial_change": _of_trial,
    "fda_decision": _of_decision,
}


def _finding(
    story_id: str,
    type: str,
    signal: Signal,
    *,
    title: str,
    description: str,
    told: tuple[Record, ...],
) -> Finding:
    first = told[0]
    evidence: dict[str, Any] = {
        "source": first.source,
        "count": len(told),
        "records": [
            {"id": record.id, "url": record.url, "facts": dict(record.facts)}
            for record in told[:MAX_EVIDENCE_RECORDS]
        ],
    }
    if "as_of" in first.facts:
        evidence["as_of"] = first.facts["as_of"]
    return Finding(
        story_id=story_id,
        type=type,
        polarity=signal.polarity,
        title=title,
        description=description,
        confidence=CONFIDENCE,
        severity=signal.severity,
        occurred_at=end_of_day(first.occurred_on),
        url=first.url,
        source=first.source,
        evidence=evidence,
    )
