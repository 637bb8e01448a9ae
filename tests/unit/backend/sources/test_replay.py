import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bionewsbot.backend.sources.base import Company, SourceError, Window
from bionewsbot.backend.sources.replay import Replay

CIK = "0000000001"
ACME = Company("ACME", "Acme Bio", "ACME", CIK, ())
LAST_SECOND = datetime(2026, 1, 29, 23, 59, 59, tzinfo=UTC)
WEEK = timedelta(days=7)


def filing(day: int, *, ticker: str = "ACME", cik: str = CIK) -> dict:
    """Return a filing's line of one day of January 2026."""
    return {
        "ticker": ticker,
        "cik": cik,
        "form": "8-K",
        "filed_on": f"2026-01-{day:02}",
        "accession": f"{cik}-26-{day:06}",
        "url": "https://www.sec.gov/Archives/edgar/data/1/x.htm",
    }


TRIAL = {
    "ticker": "ACME",
    "nct_id": "NCT00000001",
    "changed_on": "2026-01-14",
    "dated_by": "last_update_posted",
    "older_snapshot": "2026-01-07",
    "newer_snapshot": "2026-01-15",
    "changes": [
        {"field": "overall_status", "old": "RECRUITING", "new": "TERMINATED"},
        {"field": "completion_date", "old": "2026-02-01", "new": "2026-03-01"},
    ],
    "url": "https://clinicaltrials.gov/study/NCT00000001",
}

DECISION = {
    "ticker": "ACME",
    "cik": CIK,
    "subject": "acmemab",
    "decision": "review_extended",
    "made_public_on": "2026-01-13",
    "new_goal_date": "2026-04-13",
    "url": "https://www.sec.gov/Archives/edgar/data/1/y.htm",
    "confirmed_by": [
        {"file": "a.csv", "ticker": "ACME", "publisher": "P", "contains": ["acmemab"]},
        {"file": "b.csv", "accession": "1"},
    ],
}


@pytest.fixture
def make_replay(tmp_path):
    """Return a function that writes lines to the data files and a Replay that reads them."""

    def make(filings=(), trials=(), decisions=()):
        for name, rows in (
            ("sec_filings.jsonl", filings),
            ("trial_changes.jsonl", trials),
            ("fda_decisions.jsonl", decisions),
        ):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return Replay(tmp_path)

    return make


def days(fetched) -> list[int]:
    """Return the days of January of what was fetched."""
    return [record.occurred_on.day for record in fetched.records]


def test_a_window_after_the_data_is_moved_to_end_with_it(make_replay):
    """Seven days asked for at any later time are the data's last seven days."""
    replay = make_replay([filing(day) for day in range(16, 30)])
    end = datetime(2031, 5, 5, 6, tzinfo=UTC)
    fetched = replay.fetch(ACME, Window(end - WEEK, end))
    assert days(fetched) == [23, 24, 25, 26, 27, 28, 29]
    assert fetched.as_of == LAST_SECOND


def test_a_quick_scan_is_moved_with_its_own_length(make_replay):
    """A window of two days stays one of two days."""
    replay = make_replay([filing(day) for day in range(16, 30)])
    end = datetime(2031, 5, 5, 6, tzinfo=UTC)
    assert days(replay.fetch(ACME, Window(end - timedelta(days=2), end))) == [28, 29]


def test_a_window_within_the_data_is_used_as_it_is(make_replay):
    """A window that ends in the morning knows the days that were over by then."""
    replay = make_replay([filing(day) for day in range(1, 30)])
    end = datetime(2026, 1, 20, 6, tzinfo=UTC)
    assert days(replay.fetch(ACME, Window(end - WEEK, end))) == [13, 14, 15, 16, 17, 18, 19]


def test_the_window_excludes_its_start_and_includes_its_end(make_replay):
    """A fact on the start's second is out, one on the end's second is in."""
    replay = make_replay([filing(27), filing(28), filing(29)])
    window = Window(LAST_SECOND - timedelta(days=2), LAST_SECOND - timedelta(days=1))
    assert days(replay.fetch(ACME, window)) == [28]


def test_a_window_before_the_data_is_empty(make_replay):
    """Nothing is invented for a time of which the data says nothing."""
    replay = make_replay([filing(29)])
    end = datetime(2025, 1, 20, tzinfo=UTC)
    assert replay.fetch(ACME, Window(end - WEEK, end)).records == ()


@given(
    end=st.datetimes(min_value=datetime(2026, 1, 30), max_value=datetime(2200, 1, 1)),
    days_long=st.integers(min_value=1, max_value=60),
)
def test_every_later_window_of_one_length_is_the_same_window(end, days_long):
    """Beyond the data only the window's length matters, never when it is asked for."""
    length = timedelta(days=days_long)
    end = end.replace(tzinfo=UTC)
    vertex = Company("VRTX", "Vertex", "VRTX", "0000875320", ())
    asked = SHIPPED.fetch(vertex, Window(end - length, end))
    assert asked == SHIPPED.fetch(vertex, Window(LAST_SECOND - length, LAST_SECOND))


SHIPPED = Replay()


def test_neighbouring_windows_share_no_record_and_lose_none(make_replay):
    """Windows that follow each other see each record exactly once."""
    replay = make_replay([filing(day) for day in range(10, 30)])
    seen = []
    for day in range(9, 29):
        end = datetime(2026, 1, day + 1, 23, 59, 59, tzinfo=UTC)
        seen += days(replay.fetch(ACME, Window(end - timedelta(days=1), end)))
    assert seen == list(range(10, 30))


def test_a_company_without_records_gets_none(make_replay):
    """An unknown company has an empty answer with the as-of date."""
    replay = make_replay([filing(29)])
    nobody = Company("NOBODY", "Nobody", "NBDY", "0000000099", ())
    fetched = replay.fetch(nobody, Window(LAST_SECOND - WEEK, LAST_SECOND))
    assert (fetched.records, fetched.as_of) == ((), LAST_SECOND)


@pytest.mark.parametrize(
    ("ticker", "cik", "found"),
    [
        ("ACME", CIK, 1),
        ("NEWNAME", CIK, 1),
        ("ACME", "0000000002", 0),
        ("ACME", None, 1),
        ("OTHER", None, 0),
    ],
)
def test_the_cik_decides_whose_filing_it_is(make_replay, ticker, cik, found):
    """A ticker counts only where the company has no CIK, because tickers change hands."""
    replay = make_replay([filing(29)])
    company = Company("X", "X", ticker, cik, ())
    fetched = replay.fetch(company, Window(LAST_SECOND - WEEK, LAST_SECOND))
    assert len(fetched.records) == found


def test_records_carry_their_facts_link_and_as_of_date(make_replay):
    """Each kind of line becomes a record with all that a reader needs to check it."""
    replay = make_replay([filing(29)], [TRIAL], [DECISION])
    window = Window(LAST_SECOND - timedelta(days=30), LAST_SECOND)
    decision, trial, report = replay.fetch(ACME, window).records
    assert report.id == "sec:0000000001-26-000029"
    assert (report.kind, report.occurred_on) == ("sec_filing", date(2026, 1, 29))
    assert report.facts["form"] == "8-K"
    assert trial.id == "ctgov:NCT00000001:ACME:2026-01-15"
    assert trial.kind == "trial_change"
    assert trial.facts["overall_status_old"] == "RECRUITING"
    assert trial.facts["overall_status_new"] == "TERMINATED"
    assert trial.facts["completion_date_new"] == "2026-03-01"
    assert (trial.facts["older_snapshot"], trial.facts["newer_snapshot"]) == (
        "2026-01-07",
        "2026-01-15",
    )
    assert decision.id == "fda:ACME:acmemab:review_extended:2026-01-13"
    assert decision.kind == "fda_decision"
    assert decision.facts["new_goal_date"] == "2026-04-13"
    assert decision.facts["confirmed_by"] == "a.csv ACME P; b.csv 1"
    for record in (report, trial, decision):
        assert record.source == "replay"
        assert record.facts["as_of"] == "2026-01-29"
        assert record.url.startswith("https://")


def test_a_missing_file_is_named(make_replay, tmp_path):
    """Without one of its files the source fails; it never looks like a company without news."""
    replay = make_replay([filing(29)])
    (tmp_path / "trial_changes.jsonl").unlink()
    with pytest.raises(SourceError, match=r"trial_changes\.jsonl: .*reinstall the package"):
        replay.fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))


def test_data_without_any_record_is_an_error(make_replay):
    """Empty files have no as-of date and are damage, not silence."""
    with pytest.raises(SourceError, match="holds no record; reinstall"):
        make_replay().fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"filed_on": "2026-01-32"}, "filed_on is '2026-01-32', not a day"),
        ({"filed_on": None}, "filed_on is None, not a text"),
        ({"cik": "1"}, "cik is '1', not of the form"),
        ({"accession": "x"}, "accession is 'x', not of the form"),
        ({"form": ""}, "form is '', not a text"),
        ({"url": "ftp://x"}, "url is 'ftp://x', not an https address"),
        ({"ticker": 5}, "ticker is 5, not a text"),
    ],
)
def test_a_wrong_filing_is_named_by_file_and_line(make_replay, change, words):
    """Damage says which file, which line, what is wrong and what to do."""
    replay = make_replay([filing(28), filing(29) | change])
    with pytest.raises(SourceError) as raised:
        replay.fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))
    assert f"sec_filings.jsonl, line 2: {words}" in str(raised.value)
    assert "README.md" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nct_id": "NCT1"}, "nct_id is 'NCT1'"),
        ({"changes": []}, "changes is [], not a list of objects"),
        ({"changes": [{"field": "colour", "old": "a", "new": "b"}]}, "field is 'colour'"),
        (
            {"changes": [{"field": "completion_date", "old": "soon", "new": "2026-01-01"}]},
            "old is 'soon', not a day",
        ),
        ({"newer_snapshot": "later"}, "newer_snapshot is 'later'"),
    ],
)
def test_a_wrong_trial_is_named_by_file_and_line(make_replay, change, words):
    """A trial's line is checked down to each changed field."""
    replay = make_replay([filing(29)], [TRIAL | change])
    with pytest.raises(SourceError) as raised:
        replay.fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))
    assert f"trial_changes.jsonl, line 1: {words}" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subject": ""}, "subject is ''"),
        ({"confirmed_by": "trust me"}, "confirmed_by is 'trust me', not a list"),
        ({"new_goal_date": "spring"}, "new_goal_date is 'spring', not a day"),
    ],
)
def test_a_wrong_decision_is_named_by_file_and_line(make_replay, change, words):
    """A decision without a confirmation is as wrong as one without a subject."""
    replay = make_replay([filing(29)], decisions=[DECISION | change])
    with pytest.raises(SourceError) as raised:
        replay.fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))
    assert f"fda_decisions.jsonl, line 1: {words}" in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[]", "null", ""])
def test_a_line_that_is_no_object_is_named(make_replay, tmp_path, text):
    """Broken JSON has a line number too."""
    replay = make_replay([filing(29)])
    with (tmp_path / "sec_filings.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    with pytest.raises(SourceError, match=r"sec_filings\.jsonl, line 2: "):
        replay.fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))


def test_a_file_that_is_no_text_is_named(make_replay, tmp_path):
    """Bytes that are not UTF-8 are reported like a missing file."""
    replay = make_replay([filing(29)])
    (tmp_path / "fda_decisions.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match=r"fda_decisions\.jsonl: "):
        replay.fetch(ACME, Window(LAST_SECOND - WEEK, LAST_SECOND))


def test_the_shipped_data_is_whole():
    """The package's own files read without error and end on 29 January 2026."""
    end = datetime(2027, 1, 1, tzinfo=UTC)
    intellia = Company("NTLA", "Intellia Therapeutics", "NTLA", "0001652130", ())
    fetched = SHIPPED.fetch(intellia, Window(end - WEEK, end))
    assert fetched.as_of == LAST_SECOND
    assert {record.kind for record in fetched.records} == {"sec_filing", "fda_decision"}
