"""Every shipped fact, and every fact that should be shipped, against the data it comes from."""

import csv
import gzip
import json
from datetime import date, timedelta
from operator import itemgetter
from pathlib import Path

import pytest
import yaml

from bionewsbot.backend.sources.replay import SHIPPED_DATA

ROOT = Path(__file__).parents[4]
DATA = ROOT.parent / "shared" / "data"
SNAPSHOTS = ("2026-01-07", "2026-01-08", "2026-01-15")
TRIAL_FIELDS = ("overall_status", "primary_completion_date", "completion_date")
HEADLINES = "headlines_many_publishers.csv"
FILINGS = "sec_new_filings.csv"
EVENTS = "fda_events_2025-09_2026-02.md"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(),
    reason="the data that the replay facts come from (../shared/data) is not on this machine",
)


def shipped(name: str) -> list[dict]:
    """Return the lines of a shipped file."""
    text = (SHIPPED_DATA / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def table(name: str) -> list[dict]:
    """Return the rows of a file of the data."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def trial_rows(day: str) -> dict[tuple[str, str], dict]:
    """Return a snapshot's rows by trial and ticker."""
    with gzip.open(DATA / "ctgov" / f"state_{day}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {(row["nct_id"], row["ticker"]): row for row in rows}


def event_row(number: str) -> str:
    """Return the line of a numbered row of the FDA events."""
    lines = (DATA / EVENTS).read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| {number} |")]
    return line


def test_filings_are_the_data_s_filings():
    """Each shipped filing is a row of the data in every field, and no row is missing."""
    expected = [
        {
            "ticker": row["ticker"],
            "cik": row["cik"],
            "form": row["form"],
            "filed_on": row["filingDate"],
            "accession": row["accessionNumber"],
            "url": row["doc_url"],
        }
        for row in table(FILINGS)
    ]
    by_accession = itemgetter("accession")
    lines = shipped("sec_filings.jsonl")
    assert sorted(lines, key=by_accession) == sorted(expected, key=by_accession)


def test_trial_changes_are_differences_between_snapshots():
    """Old value, new value and day of each shipped change stand in its two snapshots."""
    snapshots = {day: trial_rows(day) for day in SNAPSHOTS}
    for line in shipped("trial_changes.jsonl"):
        key = (line["nct_id"], line["ticker"])
        old = snapshots[line["older_snapshot"]][key]
        new = snapshots[line["newer_snapshot"]][key]
        changed = [field for field in TRIAL_FIELDS if old[field] != new[field]]
        assert line["changes"] == [
            {"field": field, "old": old[field], "new": new[field]} for field in changed
        ]
        if line["dated_by"] == "last_update_posted":
            assert line["changed_on"] == new["last_update_posted"]
            assert line["older_snapshot"] < line["changed_on"] <= line["newer_snapshot"]
        else:
            assert line["dated_by"] == "snapshot"
            assert line["changed_on"] == line["newer_snapshot"]
            assert new["overall_status"] == "UNKNOWN"
        assert line["url"] == f"https://clinicaltrials.gov/study/{line['nct_id']}"


def test_no_trial_change_is_forgotten():
    """Every difference that the README promises is shipped, and none twice."""
    snapshots = {day: trial_rows(day) for day in SNAPSHOTS}
    expected = set()
    for key in set().union(*snapshots.values()):
        present = [day for day in SNAPSHOTS if key in snapshots[day]]
        for older, newer in zip(present, present[1:], strict=False):
            old, new = snapshots[older][key], snapshots[newer][key]
            posted = older < (new["last_update_posted"] or "") <= newer
            if any(old[field] != new[field] for field in TRIAL_FIELDS) and (
                posted or new["overall_status"] == "UNKNOWN"
            ):
                expected.add((*key, older, newer))
    lines = shipped("trial_changes.jsonl")
    keys = [
        (line["nct_id"], line["ticker"], line["older_snapshot"], line["newer_snapshot"])
        for line in lines
    ]
    assert (len(keys), set(keys)) == (len(expected), expected)


def cited(decision: dict) -> list[tuple[str, str, str]]:
    """Return of each row that confirms a decision: its place, its text, and its day or ''."""
    rows = []
    for place in decision["confirmed_by"]:
        if place["file"] == HEADLINES:
            texts = {
                row["title"]
                for row in table(HEADLINES)
                if (row["ticker"], row["published"], row["source"])
                == (place["ticker"], place["published"], place["publisher"])
                and all(words.lower() in row["title"].lower() for words in place["contains"])
            }
            assert texts, f"no such headline: {place}"
            rows.append((place["publisher"], texts.pop(), place["published"][:10]))
        elif place["file"] == EVENTS:
            text = event_row(place["row"])
            assert all(words.lower() in text.lower() for words in place["contains"]), place
            day = date.fromisoformat(decision["made_public_on"])
            named = f"{day:%b} {day.day}, {day.year}"
            rows.append((EVENTS, text, decision["made_public_on"] if named in text else ""))
        else:
            assert place["file"] == FILINGS
            (filing,) = [
                row for row in table(FILINGS) if row["accessionNumber"] == place["accession"]
            ]
            assert (filing["cik"], filing["doc_url"]) == (decision["cik"], decision["url"])
            assert filing["form"] in ("8-K", "6-K")
            rows.append((FILINGS, "", filing["filingDate"]))
    return rows


@pytest.mark.parametrize("decision", shipped("fda_decisions.jsonl"), ids=lambda d: d["ticker"])
def test_a_decision_is_confirmed_by_a_second_row(decision):
    """Two different places at least name the subject, and two at least give the day."""
    rows = cited(decision)
    subject = decision["subject"].lower()
    assert len({place for place, text, _ in rows if subject in text.lower()}) >= 2
    assert len({place for place, _, day in rows if day == decision["made_public_on"]}) >= 2
    if "new_goal_date" in decision:
        goal = date.fromisoformat(decision["new_goal_date"])
        assert sum(f"{goal:%b}" in text and f" {goal.day}" in text for _, text, _ in rows) >= 2


def test_a_decision_belongs_to_its_company_and_links_its_record():
    """Ticker and CIK go together, and the link is a cited filing or EDGAR's list for that CIK."""
    ciks = {row["ticker"]: row["cik"] for row in table("sec_company_tickers.csv")}
    for decision in shipped("fda_decisions.jsonl"):
        assert ciks[decision["ticker"]] == decision["cik"]
        if FILINGS not in [place["file"] for place in decision["confirmed_by"]]:
            until = date.fromisoformat(decision["made_public_on"]) + timedelta(days=7)
            assert decision["url"] == (
                "https://www.sec.gov/cgi-bin/browse-edgar?action=getcompany"
                f"&CIK={decision['cik']}&type=8-K&dateb={until:%Y%m%d}"
            )


def test_no_publisher_s_title_is_shipped():
    """No headline and no press release title stands in the shipped files."""
    text = "".join(path.read_text(encoding="utf-8") for path in SHIPPED_DATA.iterdir())
    titles = {row["title"] for row in table(HEADLINES)}
    with gzip.open(DATA / "press_releases.csv.gz", "rt", encoding="utf-8", newline="") as file:
        titles |= {row["title"] for row in csv.DictReader(file)}
    assert [title for title in titles if len(title) > 20 and title in text] == []


def test_the_configured_companies_have_their_own_cik():
    """Ticker and CIK of each company in config/companies.yaml are the SEC's."""
    ciks = {row["ticker"]: row["cik"] for row in table("sec_company_tickers.csv")}
    with (ROOT / "config" / "companies.yaml").open(encoding="utf-8") as file:
        companies = yaml.safe_load(file)["companies"]
    assert {"GILD", "MRNA", "PFE", "JNJ"} < {company["id"] for company in companies}
    assert len(companies) >= 16
    for company in companies:
        assert (company["ticker"], company["cik"]) == (company["id"], ciks[company["ticker"]])
