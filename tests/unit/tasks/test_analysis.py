"""The analysis jobs against a scripted backend that takes exactly what the client takes."""

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from celery import Celery
from support import answers

from bionewsbot import names
from bionewsbot.api.client import BackendClient
from bionewsbot.api.models import Analysis, NewAlert, NewInsight, StartedAnalysis, Stored
from bionewsbot.companies import Company
from bionewsbot.errors import (
    AnalysisFailed,
    BackendRefused,
    BackendUnavailable,
    CollectionMissing,
    CompaniesFileError,
)
from bionewsbot.notifications.notices import Notice, of_alert
from bionewsbot.runs.model import Address
from bionewsbot.tasks import analysis
from bionewsbot.tasks.base import FanOut, RunTask

ADDRESS = Address("daily_company_analysis@2026-01-15T06:00:00Z", "GILD", 1)
KEY = "daily_company_analysis@2026-01-15T06:00:00Z/GILD"


@pytest.fixture
def backend(configured: pytest.MonkeyPatch) -> Iterator[Mock]:
    """A client that refuses what BackendClient would refuse, with its answers scripted."""
    client = create_autospec(BackendClient, instance=True)
    client.start_analysis.return_value = StartedAnalysis(id="42", status="queued", attempt=1)
    client.analysis.return_value = ended()
    client.store_insight.return_value = client.store_alert.return_value = Stored(
        id="7", created=True
    )
    configured.setattr(analysis, "backend", lambda: client)
    yield client
    for stored in client.store_insight.call_args_list:
        assert type(stored.args[0]) is NewInsight
    for stored in client.store_alert.call_args_list:
        assert type(stored.args[0]) is NewAlert


def ended(**changes: Any) -> Analysis:
    """Return an analysis that the real client would have read."""
    return Analysis.model_validate(answers.analysis(**changes))


def companies(*rows: tuple[str, ...]) -> Iterator[Company]:
    """Return active companies by id, priority and frequency, as the client yields them."""
    fields = ("id", "priority", "analysis_frequency")
    return iter([Company(name=row[0], **dict(zip(fields, row, strict=False))) for row in rows])


def run_job(task: RunTask, address: Address = ADDRESS, **kwargs: str) -> Any:
    """Run a job as its message would."""
    task.push_request(headers=address.headers(), called_directly=True)
    try:
        return task.run(**kwargs)
    finally:
        task.pop_request()


def select(task: RunTask, address: Address = ADDRESS, **kwargs: str) -> list[tuple[str, str, str]]:
    """Return what a job selects: target, queue, type of analysis."""
    outcome = run_job(task, address, **kwargs)
    assert isinstance(outcome, FanOut)
    for message in outcome.targets:
        assert message.task == names.ANALYZE_COMPANY
        assert message.kwargs["company_id"] == message.target
        # The message's arguments are the task's: a misspelt one would fail in every worker.
        inspect.signature(analysis.analyze_company.run).bind(**message.kwargs)
    return [(each.target, each.queue, each.kwargs["analysis_type"]) for each in outcome.targets]


def analyse(**changes: str) -> dict[str, int]:
    """Carry out analyze_company as a message of ADDRESS would."""
    task = analysis.analyze_company
    task.push_request(headers=ADDRESS.headers(), **changes)
    try:
        return dict(task.run(company_id="GILD", analysis_type="daily"))
    finally:
        task.pop_request()


@pytest.fixture(autouse=True)
def registered(app_without_broker: Celery) -> None:
    """The tasks belong to an app."""


@pytest.fixture
def app_without_broker(configured: pytest.MonkeyPatch) -> Celery:
    """The process' own app, never connected here."""
    from bionewsbot.celery import app

    app.set_current()
    app.finalize()
    return app


def test_the_daily_analysis_takes_all_active_companies(backend: Mock) -> None:
    """Each goes to the queue of its priority."""
    backend.companies.return_value = companies(("GILD", "high"), ("PFE", "medium"), ("JNJ", "low"))
    assert select(analysis.daily_company_analysis) == [
        ("GILD", "high", "daily"),
        ("PFE", "default", "daily"),
        ("JNJ", "low", "daily"),
    ]
    backend.companies.assert_called_once_with(status="active")


def test_the_quick_scan_takes_those_that_matter(
    backend: Mock, configured: pytest.MonkeyPatch
) -> None:
    """Priority high, frequency hourly and PRIORITY_COMPANIES, each once, all on `high`."""
    configured.setenv("PRIORITY_COMPANIES", "JNJ,GILD,GONE")
    backend.companies.return_value = companies(
        ("GILD", "high", "hourly"), ("PFE", "medium"), ("JNJ", "low"), ("VRTX", "low", "hourly")
    )
    assert select(analysis.hourly_quick_scan) == [
        ("GILD", "high", "quick_scan"),
        ("JNJ", "high", "quick_scan"),
        ("VRTX", "high", "quick_scan"),
    ]


def test_a_weekly_company_is_scanned_only_where_it_is_named(
    backend: Mock, configured: pytest.MonkeyPatch
) -> None:
    """It is analysed at its own pace, whatever its priority; PRIORITY_COMPANIES is an order."""
    configured.setenv("PRIORITY_COMPANIES", "JNJ")
    backend.companies.return_value = companies(
        ("GILD", "high", "weekly"), ("PFE", "high", "daily"), ("JNJ", "low", "weekly")
    )
    chosen = [target for target, *_ in select(analysis.hourly_quick_scan)]
    assert chosen == ["PFE", "JNJ"]


@pytest.mark.parametrize(
    ("scheduled", "weekly"),
    [
        ("2026-01-18T06:00:00Z", False),
        ("2026-01-19T06:00:00Z", True),
        ("2026-01-20T06:00:00Z", False),
        ("2024-02-26T23:59:59Z", True),
        ("2024-02-29T06:00:00Z", False),
        ("2024-12-30T00:00:00Z", True),
    ],
)
def test_weekly_companies_come_on_the_day_of_the_report(
    backend: Mock, scheduled: str, weekly: bool
) -> None:
    """Monday by default, as the occurrence's own time has it (UTC); the others come every day."""
    rows = (("A", "low", "hourly"), ("B", "low", "daily"), ("C", "low", "weekly"))
    backend.companies.return_value = companies(*rows)
    address = Address(f"daily_company_analysis@{scheduled}", "*", 1)
    chosen = [target for target, *_ in select(analysis.daily_company_analysis, address)]
    assert chosen == (["A", "B", "C"] if weekly else ["A", "B"])


@pytest.mark.parametrize(
    ("timezone", "chosen"), [("UTC", []), ("Europe/Zurich", ["C"]), ("America/New_York", [])]
)
def test_the_day_is_that_of_the_entrys_clocks(
    backend: Mock, timezone: str, chosen: list[str]
) -> None:
    """Half past midnight on a Monday in Zurich is a Sunday elsewhere."""
    backend.companies.return_value = companies(("C", "low", "weekly"))
    address = Address("daily_company_analysis@2026-01-18T23:30:00Z", "*", 1)
    found = select(analysis.daily_company_analysis, address, timezone=timezone)
    assert [target for target, *_ in found] == chosen


def test_the_day_of_the_weekly_companies_is_a_setting(
    backend: Mock, configured: pytest.MonkeyPatch
) -> None:
    """WEEKLY_REPORT_DAY, so that the report has fresh findings of all companies."""
    configured.setenv("WEEKLY_REPORT_DAY", "thu")
    backend.companies.return_value = companies(("C", "low", "weekly"))
    assert len(select(analysis.daily_company_analysis)) == 1


def test_the_file_stands_in_for_a_missing_collection(
    backend: Mock, configured: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its active companies, where the backend serves none at all."""
    backend.companies.side_effect = CollectionMissing("404")
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    (tmp_path / "companies.yaml").write_text(
        "companies:\n"
        "  - {id: GILD, name: Gilead, priority: high}\n"
        "  - {id: PFE, name: Pfizer, status: paused}\n",
        encoding="utf-8",
    )
    assert select(analysis.daily_company_analysis) == [("GILD", "high", "daily")]


@pytest.mark.parametrize(
    "error", [BackendUnavailable("503"), BackendRefused("401", status=401)], ids=str
)
def test_no_file_stands_in_for_a_backend_that_fails(backend: Mock, error: Exception) -> None:
    """An old list must not hide that the backend is down or refuses the key."""
    backend.companies.side_effect = error
    with pytest.raises(type(error)):
        run_job(analysis.daily_company_analysis)


def test_a_wrong_file_is_told(
    backend: Mock, configured: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With file and mend, not as an empty selection."""
    backend.companies.side_effect = CollectionMissing("404")
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    with pytest.raises(CompaniesFileError, match="companies.yaml"):
        run_job(analysis.daily_company_analysis)


def test_an_analysis_is_started_for_the_occurrence(backend: Mock) -> None:
    """Scheduled time and key come from the address, never from the clock."""
    totals = analyse()
    backend.start_analysis.assert_called_once_with(
        company_id="GILD",
        type="daily",
        scheduled_for=datetime(2026, 1, 15, 6, tzinfo=UTC),
        idempotency_key=KEY,
    )
    assert totals == {"records": 1, "insights": 1, "alerts": 1, "sources_failed": 0}


def test_a_second_delivery_uses_the_same_keys(backend: Mock) -> None:
    """Another task id, another worker, a later hour: the same keys, so nothing is doubled."""
    analyse(id="first")
    first = [call.kwargs["idempotency_key"] for call in keyed(backend)]
    backend.reset_mock()
    analyse(id="second", retries=3)
    assert [call.kwargs["idempotency_key"] for call in keyed(backend)] == first
    assert len(set(first)) == len(first) == 3


def keyed(backend: Mock) -> list[Any]:
    """Return the calls that carry a key."""
    return [call for call in backend.method_calls if "idempotency_key" in call.kwargs]


def test_keys_differ_by_story_type_kind_and_attempt(backend: Mock) -> None:
    """And hold only what a header may hold, whatever a story is called."""
    stories = [
        answers.finding(story_id="a", type="x"),
        answers.finding(story_id="a", type="y"),
        answers.finding(story_id="ü/\n", type="x"),
    ]
    for attempt in (1, 2):
        backend.analysis.return_value = ended(findings=stories, attempt=attempt)
        analyse()
    keys = [call.kwargs["idempotency_key"] for call in keyed(backend)]
    stored = [key for key in keys if key != KEY]
    assert len(set(stored)) == len(stored) == 2 * 2 * 3
    assert all(key.isascii() and key.isprintable() and key.startswith(KEY) for key in stored)


@pytest.mark.parametrize("polarity", ["positive", "negative"])
@pytest.mark.parametrize(
    ("severity", "alerts"), [("low", 0), ("medium", 1), ("high", 1), ("critical", 1)]
)
def test_what_alerts(backend: Mock, polarity: str, severity: str, alerts: int) -> None:
    """Medium and above, good news as much as bad; every finding is an insight."""
    found = answers.finding(severity=severity, polarity=polarity)
    backend.analysis.return_value = ended(findings=[found])
    totals = analyse()
    assert (totals["insights"], totals["alerts"]) == (1, alerts)
    assert backend.store_insight.call_count == 1
    assert [
        (call.args[0].severity, call.args[0].polarity, call.args[0].company_id)
        for call in backend.store_alert.call_args_list
    ] == [(severity, polarity, "GILD")] * alerts


def test_an_alert_is_told_of_once_it_is_stored(
    backend: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the next one is refused, and the analysis given up on."""
    told: list[Notice] = []
    monkeypatch.setattr(analysis, "tell", told.extend)
    stories = [answers.finding(story_id="a"), answers.finding(story_id="b")]
    refused = BackendRefused("no", status=422)
    backend.analysis.return_value = ended(findings=stories)
    backend.store_alert.side_effect = [Stored(id="7", created=True), refused]
    with pytest.raises(BackendRefused):
        analyse()
    first = backend.store_alert.call_args_list[0].args[0]
    assert told == [of_alert(first)]


def test_a_partial_analysis_counts_with_its_failed_sources(backend: Mock) -> None:
    """It is done; the summary says how many records came and how many sources failed."""
    source = answers.analysis()["sources"][0]
    backend.analysis.return_value = ended(
        status="partial",
        sources=[source, {**source, "name": "b", "status": "failed"}, {**source, "name": "c"}],
    )
    totals = analyse()
    assert (totals["sources_failed"], totals["records"]) == (1, 3)


@pytest.mark.parametrize(
    ("retryable", "error"), [(True, BackendUnavailable), (False, AnalysisFailed)]
)
def test_a_failed_analysis(backend: Mock, retryable: bool, error: type[Exception]) -> None:
    """Tried again where the backend says so, given up on otherwise; its reason is in the error."""
    backend.analysis.return_value = ended(
        status="failed", error={"code": "db", "message": "moved", "retryable": retryable}
    )
    task = analysis.analyze_company
    task.push_request(headers=ADDRESS.headers(), called_directly=True)
    try:
        with pytest.raises(error, match="analysis 42 of GILD failed: db: moved"):
            task.run(company_id="GILD", analysis_type="daily")
    finally:
        task.pop_request()
    backend.store_insight.assert_not_called()
