import re
from pathlib import Path

import pytest

import bionewsbot.backend.analysis as analysis
from bionewsbot.backend.analysis import decisions, filings, trials
from bionewsbot.backend.analysis.model import POLARITIES, SEVERITIES, TYPES, Signal, strongest
from bionewsbot.backend.sources.replay import SHIPPED_DATA
from bionewsbot.backend.sources.replay_files import read_records

SHIPPED = read_records(SHIPPED_DATA)


@pytest.mark.parametrize(
    ("form", "type", "story", "polarity", "severity"),
    [
        ("3", "ownership", "insiders", "neutral", "low"),
        ("4", "ownership", "insiders", "neutral", "low"),
        ("4/A", "ownership", "insiders", "neutral", "low"),
        ("144", "ownership", "insider-sales", "negative", "low"),
        ("SCHEDULE 13G", "ownership", "stakes", "neutral", "low"),
        ("SCHEDULE 13D", "ownership", "active-stakes", "neutral", "medium"),
        ("SCHEDULE 13D/A", "ownership", "active-stakes", "neutral", "low"),
        ("424B5", "financing", "offering", "negative", "medium"),
        ("S-1", "financing", "offering", "negative", "medium"),
        ("S-1/A", "financing", "offering", "negative", "low"),
        ("S-3", "financing", "shelf", "negative", "low"),
        ("EFFECT", "financing", "registration", "neutral", "low"),
        ("D", "financing", "private-sale", "neutral", "low"),
        ("S-8 POS", "financing", "employee-plan", "neutral", "low"),
        ("SC TO-T", "merger", "merger", "neutral", "high"),
        ("SC 14D9/A", "merger", "merger", "neutral", "low"),
        ("PREM14A", "merger", "merger", "neutral", "high"),
        ("25-NSE", "listing", "delisting", "neutral", "high"),
        ("8-K", "material_event", "event", "neutral", "medium"),
        ("8-K/A", "material_event", "event", "neutral", "low"),
        ("6-K", "material_event", "foreign-report", "neutral", "low"),
        ("10-K", "periodic_report", "periodic", "neutral", "medium"),
        ("NT 10-K", "periodic_report", "late", "negative", "high"),
        ("ARS", "periodic_report", "annual-to-holders", "neutral", "low"),
        ("DEF 14A", "governance", "proxy", "neutral", "low"),
        ("CORRESP", "other_filing", "other", "neutral", "low"),
    ],
)
def test_what_a_form_is_about(form, type, story, polarity, severity):
    """Each kind of form has its type, story and signal; an unknown one is other and low."""
    rule = filings.rule_of(form)
    assert (rule.type, rule.story) == (type, story)
    assert filings.signal_of(form) == Signal(polarity, severity)


@pytest.mark.parametrize(
    ("old", "new", "polarity", "severity"),
    [
        ("RECRUITING", "TERMINATED", "negative", "high"),
        ("RECRUITING", "SUSPENDED", "negative", "high"),
        ("NOT_YET_RECRUITING", "WITHDRAWN", "negative", "high"),
        ("SUSPENDED", "RECRUITING", "positive", "high"),
        ("SUSPENDED", "TERMINATED", "negative", "high"),
        ("NOT_YET_RECRUITING", "RECRUITING", "positive", "low"),
        ("RECRUITING", "ACTIVE_NOT_RECRUITING", "positive", "low"),
        ("ACTIVE_NOT_RECRUITING", "COMPLETED", "neutral", "medium"),
        ("RECRUITING", "UNKNOWN", "negative", "low"),
        ("AVAILABLE", "APPROVED_FOR_MARKETING", "positive", "high"),
        ("RECRUITING", "ENROLLING_BY_INVITATION", "neutral", "low"),
        ("RECRUITING", "SOMETHING_NEW", "neutral", "low"),
    ],
)
def test_what_a_status_signals(old, new, polarity, severity):
    """A stop weighs as much as a new start; a status that no rule knows has no direction."""
    facts = {"overall_status_old": old, "overall_status_new": new}
    assert trials.signals_of(facts) == [Signal(polarity, severity)]


@pytest.mark.parametrize(
    ("field", "new", "polarity", "severity"),
    [
        ("primary_completion_date", "2026-01-02", "negative", "low"),
        ("primary_completion_date", "2026-03-31", "negative", "low"),
        ("primary_completion_date", "2026-04-01", "negative", "medium"),
        ("primary_completion_date", "2026-12-31", "negative", "medium"),
        ("primary_completion_date", "2027-01-01", "negative", "high"),
        ("primary_completion_date", "2025-12-31", "positive", "low"),
        ("primary_completion_date", "2025-10-03", "positive", "medium"),
        ("primary_completion_date", "2025-01-01", "positive", "high"),
        ("completion_date", "2029-01-01", "negative", "low"),
        ("completion_date", "2024-01-01", "positive", "low"),
    ],
)
def test_what_a_moved_date_signals(field, new, polarity, severity):
    """Later is bad, earlier is good, by the same steps; study completion never weighs much."""
    facts = {f"{field}_old": "2026-01-01", f"{field}_new": new}
    assert trials.signals_of(facts) == [Signal(polarity, severity)]


def test_changes_are_told_with_old_and_new_value():
    """A reader sees what each changed field was and is."""
    facts = {
        "overall_status_old": "RECRUITING",
        "overall_status_new": "COMPLETED",
        "completion_date_old": "2026-02-27",
        "completion_date_new": "2025-11-06",
    }
    assert trials.changes_in_words(facts) == (
        "status from RECRUITING to COMPLETED; study completion from 2026-02-27 to 2025-11-06"
    )


@pytest.mark.parametrize(
    ("decision", "polarity", "severity"),
    [
        ("approved", "positive", "critical"),
        ("complete_response", "negative", "critical"),
        ("hold_lifted", "positive", "high"),
        ("clinical_hold", "negative", "high"),
        ("supplement_approved", "positive", "medium"),
        ("application_accepted", "positive", "medium"),
        ("ind_cleared", "positive", "medium"),
        ("review_extended", "negative", "medium"),
        ("expanded_access", "positive", "low"),
        ("fast_track", "neutral", "low"),
    ],
)
def test_what_a_decision_signals(decision, polarity, severity):
    """Good and bad decisions come in pairs; an unknown one has no direction."""
    assert decisions.rule_of(decision).signal == Signal(polarity, severity)


def test_an_unknown_decision_is_named_as_it_is():
    """A word that no rule knows is still readable."""
    assert decisions.rule_of("fast_track").words == "fast track"


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([("positive", "low"), ("negative", "high")], ("negative", "high")),
        ([("positive", "high"), ("negative", "high")], ("neutral", "high")),
        ([("neutral", "medium"), ("positive", "medium")], ("positive", "medium")),
        ([("neutral", "low")], ("neutral", "low")),
    ],
)
def test_the_severest_signal_counts(signals, expected):
    """The severest decides; two that are as severe and point both ways are neutral."""
    given = [Signal(*signal) for signal in signals]
    assert strongest(given) == Signal(*expected)
    assert strongest(given[::-1]) == Signal(*expected)


def test_every_shipped_fact_has_a_rule():
    """No form, status or decision of the shipped data falls to a rule for the unknown."""
    for record in SHIPPED:
        if record.kind == "sec_filing":
            assert filings.rule_of(record.facts["form"]).type != "other_filing"
        if record.kind == "fda_decision":
            assert decisions.rule_of(record.facts["decision"]).signal.polarity != "neutral"


def test_the_types_are_documented():
    """README.md lists the closed set of types, in the code's order."""
    readme = Path(analysis.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == TYPES
    assert all(f"`{word}`" in readme for word in (*POLARITIES, *SEVERITIES))
