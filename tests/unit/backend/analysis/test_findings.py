import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.backend.analysis import findings, significant
from bionewsbot.backend.analysis.findings import MAX_EVIDENCE_RECORDS
from bionewsbot.backend.analysis.model import POLARITIES, SEVERITIES, TYPES
from bionewsbot.backend.sources.base import Company, Record, Window
from bionewsbot.backend.sources.replay import SHIPPED_DATA, Replay
from bionewsbot.backend.sources.replay_files import read_records

ACME = Company("ACME", "Acme Bio", "ACME", "0000000001", ())
DAY = date(2026, 1, 27)


def filing(number: int, form: str = "4", day: date = DAY) -> Record:
    """Return a filing of Acme's."""
    return Record(
        id=f"sec:{number:05}",
        kind="sec_filing",
        occurred_on=day,
        facts={"ticker": "ACME", "form": form, "as_of": "2026-01-29"},
        url=f"https://www.sec.gov/{number}",
        source="replay",
    )


def trial(**facts: str) -> Record:
    """Return a change of one of Acme's trials."""
    return Record(
        id="ctgov:NCT00000001:ACME:2026-01-27",
        kind="trial_change",
        occurred_on=DAY,
        facts={
            "ticker": "ACME",
            "nct_id": "NCT00000001",
            "older_snapshot": "2026-01-20",
            "newer_snapshot": "2026-01-27",
            **facts,
        },
        url="https://clinicaltrials.gov/study/NCT00000001",
        source="replay",
    )


def decision(decision: str = "approved", **facts: str) -> Record:
    """Return a decision about Acme's product."""
    return Record(
        id=f"fda:ACME:acmemab:{decision}:2026-01-27",
        kind="fda_decision",
        occurred_on=DAY,
        facts={"ticker": "ACME", "subject": "acmemab", "decision": decision, **facts},
        url="https://www.sec.gov/8k",
        source="replay",
    )


def test_forty_form_4s_of_a_day_are_one_finding():
    """Routine filings are counted and linked in one story."""
    (found,) = findings(ACME, [filing(n) for n in range(40)])
    assert found.story_id == "sec:ACME:insiders:2026-01-27"
    assert found.title == "Acme Bio: reports of insiders' holdings (SEC: 40 of form 4)"
    assert found.evidence["count"] == 40
    assert [entry["url"] for entry in found.evidence["records"]] == [
        f"https://www.sec.gov/{n}" for n in range(40)
    ]
    assert found.url == "https://www.sec.gov/0"


def test_evidence_is_bounded_and_says_the_whole_number():
    """However many filings there are, a finding stays small and the count right."""
    (found,) = findings(ACME, [filing(n) for n in range(500)])
    assert found.evidence["count"] == 500
    assert len(found.evidence["records"]) == MAX_EVIDENCE_RECORDS


def test_days_and_kinds_of_filings_are_stories_of_their_own():
    """Another day or another kind of form is another story; the same kind is the same."""
    records = [
        filing(1, "4"),
        filing(2, "3"),
        filing(3, "4", DAY + timedelta(days=1)),
        filing(4, "8-K"),
        filing(5, "424B5"),
    ]
    assert [found.story_id for found in findings(ACME, records)] == [
        "sec:ACME:event:2026-01-27",
        "sec:ACME:offering:2026-01-27",
        "sec:ACME:insiders:2026-01-28",
        "sec:ACME:insiders:2026-01-27",
    ]


def test_the_severest_filing_of_a_story_counts():
    """An amendment beside a new filing of its kind doesn't lessen the story."""
    (found,) = findings(ACME, [filing(1, "SC TO-T"), filing(2, "SC 14D9/A")])
    assert (found.type, found.severity) == ("merger", "high")


def test_all_changes_of_a_trial_on_a_day_are_one_finding():
    """Status and dates of one trial are told together, under the severest change."""
    record = trial(
        overall_status_old="RECRUITING",
        overall_status_new="ACTIVE_NOT_RECRUITING",
        primary_completion_date_old="2026-01-01",
        primary_completion_date_new="2027-06-01",
    )
    (found,) = findings(ACME, [record])
    assert found.story_id == "ctgov:NCT00000001:2026-01-27"
    assert (found.type, found.polarity, found.severity) == ("clinical_trial", "negative", "high")
    assert "status from RECRUITING to ACTIVE_NOT_RECRUITING" in found.title
    assert "between 2026-01-20 and 2026-01-27" in found.description
    assert "primary completion from 2026-01-01 to 2027-06-01" in found.description


def test_a_decision_is_worded_from_its_facts():
    """Company, decision, product and day stand in the finding, and the new goal date if any."""
    (found,) = findings(ACME, [decision("review_extended", new_goal_date="2026-04-13")])
    assert found.title == "Acme Bio: FDA review extended (acmemab)"
    assert found.description == (
        "FDA decision about acmemab of Acme Bio: review extended, made public on 2026-01-27."
        " The new goal date is 2026-04-13."
    )
    assert found.url == "https://www.sec.gov/8k"
    assert found.confidence == 1.0
    assert found.occurred_at == datetime(2026, 1, 27, 23, 59, 59, tzinfo=UTC)


def test_replay_and_its_as_of_date_are_marked():
    """A finding made of replayed facts says so, with the date up to which they go."""
    (found,) = findings(ACME, [filing(1)])
    assert found.source == "replay"
    assert (found.evidence["source"], found.evidence["as_of"]) == ("replay", "2026-01-29")


def test_no_records_are_no_findings():
    """Nothing is said about a company of which nothing is known."""
    assert findings(ACME, []) == ()


def test_a_record_seen_twice_counts_once():
    """The same record from two places is still one filing."""
    (found,) = findings(ACME, [filing(1), filing(1)])
    assert found.evidence["count"] == 1


def test_an_unknown_kind_of_record_is_an_error():
    """A source that speaks of something new is told so, with the record's id."""
    stranger = Record("x:1", "rumour", DAY, {}, "https://x", "gossip")
    with pytest.raises(ValueError, match="record x:1 is of kind 'rumour'.*sec_filing"):
        findings(ACME, [stranger])


@given(order=st.permutations([*[filing(n) for n in range(5)], decision(), filing(9, "8-K")]))
def test_the_order_of_records_changes_nothing(order):
    """The same records in any order are the same findings in the same order."""
    assert findings(ACME, order) == findings(ACME, [*order[::-1]])


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], False),
        ([filing(1, "4"), filing(2, "144")], False),
        ([filing(1, "424B5")], True),
        ([decision("application_accepted")], True),
        ([decision("approved")], True),
        ([decision("complete_response")], True),
    ],
)
def test_significant_from_medium_in_both_directions(records, expected):
    """Good and bad news from medium severity on are significant."""
    assert significant(findings(ACME, records)) is expected


def shipped_companies() -> list[Company]:
    """Return every company that the shipped data speaks of."""
    pairs = {(r.facts["ticker"], r.facts.get("cik")) for r in read_records(SHIPPED_DATA)}
    return [
        Company(ticker, ticker, ticker, cik, ())
        for ticker, cik in sorted(pairs, key=lambda p: p[0])
    ]


def test_overlapping_windows_tell_the_same_stories():
    """A week's findings are, word for word, those of its days taken one by one."""
    replay = Replay()
    end = datetime(2026, 1, 29, 23, 59, 59, tzinfo=UTC)
    told = 0
    for company in shipped_companies():
        week = findings(company, replay.fetch(company, Window(end - timedelta(7), end)).records)
        daily = []
        for back in range(7):
            window = Window(end - timedelta(back + 1), end - timedelta(back))
            daily += findings(company, replay.fetch(company, window).records)
        assert {found.story_id: found for found in daily} == {
            found.story_id: found for found in week
        }
        told += len(week)
    assert told > 100


def test_every_shipped_story_is_sound():
    """All that the shipped data tells uses the closed sets, has a link and is plain JSON."""
    replay = Replay()
    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 29, 23, 59, 59, tzinfo=UTC))
    seen = set()
    for company in shipped_companies():
        for found in findings(company, replay.fetch(company, window).records):
            assert found.type in TYPES
            assert found.polarity in POLARITIES
            assert found.severity in SEVERITIES
            assert found.url.startswith(("https://www.sec.gov/", "https://clinicaltrials.gov/"))
            assert len(found.title) <= 200
            json.dumps(dict(found.evidence))
            seen.add((found.type, found.polarity))
    assert {("regulatory_decision", "positive"), ("regulatory_decision", "negative")} <= seen
    assert {("clinical_trial", "positive"), ("clinical_trial", "negative")} <= seen
