"""The weekly report from its job to the stored report: real worker, real Redis, both databases."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from support.apps import Lines, working
from support.backend_app import RunningBackend, StubSource, filing, insight, story
from support.ledgers import new_run
from support.old_records import insight_at
from support.polling import wait_until

from bionewsbot import names
from bionewsbot.api.client import BackendClient
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.storage import Storage
from bionewsbot.dead_letters.letters import Letter, Letters
from bionewsbot.dead_letters.replay import replay
from bionewsbot.errors import BackendRefused, BackendUnavailable
from bionewsbot.notifications.notices import Notice
from bionewsbot.reports.model import Report
from bionewsbot.reports.period import WEEK
from bionewsbot.runs.dispatch import start_run
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import FINAL, JOB, Message, Occurrence, Run
from bionewsbot.scheduling.entries import Entry
from bionewsbot.scheduling.timetable import load_timetable
from bionewsbot.tasks import report as tasks

ENTRY = "weekly_comprehensive_report"
MONDAY = datetime(2026, 1, 26, 8, tzinfo=UTC)
"""Its report is about 19 to 25 January, 2026-W04."""


class Weeks:
    """Starts reports, and looks at what the backend has."""

    def __init__(self, app: Celery, backend: RunningBackend) -> None:
        self.app = app
        self.backend = backend

    def start(self, at: datetime = MONDAY, *, again: bool = False) -> str:
        """Start the run of a Monday."""
        job = Message(JOB, names.WEEKLY_COMPREHENSIVE_REPORT, names.QUEUE_DEFAULT, {})
        new = new_run(Occurrence(ENTRY, at), job=job, again=again)
        start_run(self.app, ledger(), new)
        return new.occurrence.run_id

    def end(self, run_id: str) -> Run:
        """Return the run once it has ended."""
        wait_until(lambda: ledger().get(run_id).ended, f"{run_id} ends")
        return ledger().get(run_id)

    def run(self, at: datetime = MONDAY, *, again: bool = False) -> Run:
        """Start a run, and return it when it has ended."""
        return self.end(self.start(at, again=again))

    def stored(self) -> list[Any]:
        """Return the stored reports, the last written first."""
        return self.backend.all("reports", type="weekly")

    def report(self) -> Report:
        """Return the only report."""
        (stored,) = self.stored()
        assert stored["period"] == "2026-W04"
        return Report.model_validate(stored["content"])


@pytest.fixture
def portfolio(
    backend: RunningBackend, source: StubSource, configured: pytest.MonkeyPatch
) -> RunningBackend:
    """A backend with two companies, one of which has insights, an alert and risk in two weeks."""
    configured.setenv("API_BASE_URL", backend.url)
    configured.setenv("RETRY_BASE_SECONDS", "1")
    configured.setenv("ARCHIVE_LOCATION", "archive")
    backend.add_company("PFE", name="Pfizer", cik=None)
    source.records = (filing(),)
    backend.analyse("before", scheduled_for="2026-01-18T06:00:00Z")
    source.records = (filing("8-K"), filing("NT 10-K", number=2))
    backend.analyse("within", scheduled_for="2026-01-20T06:00:00Z")
    source.error = OSError("connection refused")
    backend.analyse("failing", company_id="PFE", scheduled_for="2026-01-21T06:00:00Z")
    for number, day in ((1, 18), (2, 19), (3, 25), (4, 26)):
        backend.clock.now = datetime(2026, 1, day, 23, 59, 59, tzinfo=UTC)
        severity = "high" if number == 3 else "medium"
        backend.post("insights", insight(number, severity=severity), f"i{number}")
        backend.post("alerts", story(number, severity=severity), f"a{number}")
    (old,) = [row for row in backend.all("alerts") if row["story_id"].endswith(":2")]
    assert backend.call("PATCH", f"alerts/{old['id']}", json={"state": "closed"}).ok
    backend.clock.now = MONDAY
    return backend


@pytest.fixture
def weeks(portfolio: RunningBackend, app: Celery) -> Iterator[Weeks]:
    """The jobs, with a worker that carries them out."""
    with working(app):
        yield Weeks(app, portfolio)


def test_a_week_becomes_a_report(weeks: Weeks, log_lines: Lines) -> None:
    """What was stored in the week, no more and no less; a company with nothing is in it too."""
    run = weeks.run()
    assert (run.status, run.targets, run.done) == ("succeeded", 2, 2)
    assert run.totals == {
        "insights": 2,
        "alerts": 2,
        "sources_failed": 1,
        "report_created": 1,
        "gaps": 0,
    }
    report = weeks.report()
    assert [one.title for one in report.insights.companies[0].stories] == ["Gilead: event"] * 2
    assert [one.severity for one in report.insights.companies[0].stories] == ["high", "medium"]
    assert report.alerts.by_state == {"open": 1, "acknowledged": 0, "closed": 1}
    (before,) = report.alerts.open_before.companies
    assert (report.alerts.open_before.total, before.company_id) == (1, "GILD")
    read, _ = report.summary.read_first
    assert (read.story.url, read.why) == (
        "https://www.sec.gov/1.htm",
        "high, neutral, its alert is open",
    )
    (risk,) = report.risk.companies
    assert risk.company_id == "GILD" and risk.risk.change is not None and risk.risk.change > 0
    assert risk.risk.drivers
    assert report.activity.analyses.total == 2
    assert [(one.name, one.failed) for one in report.sources_failed] == [("stub", 1)]
    # Pfizer's only analysis failed.
    assert [(one.rule, one.companies) for one in report.recommendations][:3] == [
        ("unwatched", ("PFE",)),
        ("source-failed", ()),
        ("open-alert", ("GILD",)),
    ]
    assert not ledger().sections(run.run_id)
    (ready,) = [line for line in log_lines() if line["event"] == "report_ready"]
    assert (ready["period"], ready["outcome"], ready["gaps"]) == ("2026-W04", "created", 0)


def test_a_second_run_of_a_week_changes_nothing(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same content, whenever it is made; people are told of it under the same id."""
    told: list[Notice] = []
    monkeypatch.setattr(tasks, "tell", told.extend)
    weeks.run()
    before = weeks.stored()
    weeks.backend.clock.now = MONDAY + timedelta(days=3)
    run = weeks.run(again=True)
    assert (run.status, run.totals["report_unchanged"]) == ("succeeded", 1)
    assert weeks.stored() == before
    assert [notice.id for notice in told] == ["report_ready/2026-W04"] * 2
    assert "2 companies, 0 that are missing" in told[0].body


def test_the_week_is_that_of_the_entrys_clocks(weeks: Weeks) -> None:
    """Half past midnight on a Monday in Zurich: the week there has just ended, in UTC it hasn't."""
    timetable = load_timetable(weeks.app)
    entry = Entry(ENTRY, replace(timetable[ENTRY], timezone="Europe/Zurich"))
    at = datetime(2026, 1, 25, 23, 30, tzinfo=UTC)
    start_run(weeks.app, ledger(), entry.run_by_operator(weeks.app, at))
    run = weeks.end(f"{ENTRY}@2026-01-25T23:30:00Z")
    # The story of 18 January, 23:59:59 UTC, is in it; that of the 25th, 23:59:59, is not.
    assert (run.status, run.totals["insights"]) == ("succeeded", 2)
    period = weeks.report().period
    assert (period.timezone, period.start.isoformat()) == (
        "Europe/Zurich",
        "2026-01-18T23:00:00+00:00",
    )
    assert period.end.isoformat() == "2026-01-25T23:00:00+00:00"
    again = entry.run_by_operator(weeks.app, at, again=True)
    start_run(weeks.app, ledger(), again)
    assert weeks.end(run.run_id).totals["report_unchanged"] == 1


def test_another_content_is_kept_unless_an_operator_asks(weeks: Weeks) -> None:
    """A report that people have read doesn't change by itself; `--again` replaces it."""
    other = {"schema_version": 1, "by": "hand"}
    assert weeks.backend.call("PUT", "reports/weekly/2026-W04", json=other).status_code == 201
    run = weeks.run()
    assert (run.status, run.totals["report_kept"]) == ("succeeded", 1)
    (stored,) = weeks.stored()
    assert stored["content"] == other
    run = weeks.run(again=True)
    assert (run.status, run.totals["report_replaced"]) == ("succeeded", 1)
    assert weeks.report().portfolio.companies == 2


def test_an_empty_portfolio_has_a_report(weeks: Weeks) -> None:
    """It says that there is nothing to report on."""
    for company_id in ("GILD", "PFE"):
        weeks.backend.add_company(company_id, status="paused")
    run = weeks.run()
    assert (run.status, run.targets) == ("succeeded", 0)
    assert weeks.report().summary.changes == ("There is no active company.",)


def failing_for(
    patched: pytest.MonkeyPatch, company_id: str, error: Callable[[], Exception | None]
) -> None:
    """Have the insights of a company fail with what `error` returns, unless that is None."""
    insights = BackendClient.insights

    def failing(self: BackendClient, **asked: Any) -> Any:
        raised = error() if asked["company_id"] == company_id else None
        if raised is not None:
            raise raised
        return insights(self, **asked)

    patched.setattr(BackendClient, "insights", failing)


def test_a_company_that_fails_is_a_gap_until_it_is_replayed(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report names it with the reason; a replay of its dead letter fills the gap."""
    with monkeypatch.context() as patched:
        failing_for(patched, "GILD", lambda: BackendRefused("403 of GILD", status=403))
        run = weeks.run()
    assert (run.status, run.done, run.failed, run.totals["gaps"]) == ("partial", 1, 1, 1)
    report = weeks.report()
    (gap,) = report.portfolio.gaps
    assert (gap.company_id, gap.name) == ("GILD", "Gilead Sciences")
    assert gap.reason == "BackendRefused: 403 of GILD"
    assert report.recommendations[0].rule == "gap" and report.insights.total == 0
    (letter,) = Letters(ledger()._redis).find()
    replay(weeks.app, ledger(), letter, by="test")
    run = weeks.end(run.run_id)
    assert (run.status, run.totals["report_replaced"], run.totals["gaps"]) == ("succeeded", 1, 0)
    report = weeks.report()
    assert (report.portfolio.gaps, report.insights.total) == ((), 2)
    assert report.risk.unscored == ("PFE",)


def partial_report(weeks: Weeks, monkeypatch: pytest.MonkeyPatch) -> Letter:
    """Have a report made without GILD; return the letter."""
    with monkeypatch.context() as patched:
        failing_for(patched, "GILD", lambda: BackendRefused("403 of GILD", status=403))
        assert weeks.run().status == "partial"
    (letter,) = Letters(ledger()._redis).find()
    return letter


def test_a_company_of_an_archived_week_is_not_gathered_once_more(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is left of its records its section would be false: a dead letter says so."""
    letter = partial_report(weeks, monkeypatch)
    archive = Archive(Storage("archive"))
    rows = [insight_at(1, MONDAY - WEEK)]
    archive.write("insights", rows, written_by="test", now=MONDAY)
    replay(weeks.app, ledger(), letter, by="test")
    assert weeks.end(str(letter.run_id)).status == "partial"
    (letter,) = Letters(ledger()._redis).find()
    assert (letter.target, len(letter.stories)) == ("GILD", 2)
    assert "WeekArchived: records of 2026-W04 are archived" in str(letter.last.error)
    assert "archive restore insights/00000001" in str(letter.last.error)
    assert [gap.company_id for gap in weeks.report().portfolio.gaps] == ["GILD"]


def test_a_report_whose_sections_are_gone_is_not_made_again(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lose all that isn't replayed: the one that is there stays, a letter says why."""
    letter = partial_report(weeks, monkeypatch)
    before = weeks.stored()
    ledger()._redis.delete(f"{names.KEY_PREFIX}sections:{letter.run_id}")
    replay(weeks.app, ledger(), letter, by="test")
    run = weeks.end(str(letter.run_id))
    assert (run.status, run.done, run.failed) == ("failed", 2, 0)
    (letter,) = Letters(ledger()._redis).find()
    assert letter.target == FINAL
    assert "SectionsGone: what was gathered of PFE is no longer kept" in str(letter.last.error)
    assert weeks.stored() == before
    assert weeks.run(again=True).status == "succeeded"
    assert (weeks.report().portfolio.gaps, weeks.report().insights.total) == ((), 2)


def test_a_backend_that_fails_in_the_middle_costs_only_time(
    weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a company is read and while the report is stored: the content is the same."""
    expected = weeks.run()
    (before,) = weeks.stored()
    assert weeks.backend.call("DELETE", f"reports/{before['id']}").status_code == 204
    errors = [BackendUnavailable("503"), BackendUnavailable("503")]
    failing_for(monkeypatch, "GILD", lambda: errors.pop() if errors else None)
    put_report, refusals = BackendClient.put_report, [BackendUnavailable("503")]

    def failing(self: BackendClient, *given: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return put_report(self, *given, **options)

    monkeypatch.setattr(BackendClient, "put_report", failing)
    run = weeks.run(again=True)
    assert (run.status, run.totals["report_created"]) == ("succeeded", 1)
    assert not errors and not refusals
    (after,) = weeks.stored()
    assert after["etag"] == before["etag"] and expected.targets == run.targets


def test_a_report_that_was_stored_before_its_worker_died_is_not_stored_twice(
    weeks: Weeks,
) -> None:
    """What is lost is only that it was done: the second time finds the same content."""
    weeks.run()
    (stored,) = weeks.stored()
    content = Report.model_validate(stored["content"]).model_dump_json().encode()
    week = tasks.Week.before(MONDAY)
    with BackendClient(weeks.backend.url) as client:
        assert tasks.store(client, week, content, replace=False) == "unchanged"
    assert weeks.stored() == [stored]


def test_a_year_of_mondays_has_a_report_for_each_week(weeks: Weeks) -> None:
    """53 weeks over a year's end: each has its own, named by the year that its Thursday is in."""
    first = datetime(2026, 6, 1, 8, tzinfo=UTC)
    started = [weeks.start(first + WEEK * number) for number in range(53)]
    assert {weeks.end(run_id).status for run_id in started} == {"succeeded"}
    periods = sorted(stored["period"] for stored in weeks.stored())
    assert periods == [
        *(f"2026-W{number}" for number in range(22, 54)),
        *(f"2027-W{number:02}" for number in range(1, 22)),
    ]
