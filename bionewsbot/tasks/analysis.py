"""The analysis jobs: select companies, fan out, and have each analysed by the Backend API."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from zoneinfo import ZoneInfo

from bionewsbot import logs, names
from bionewsbot import settings as settings_module
from bionewsbot.api.client import MAX_WAIT, BackendClient
from bionewsbot.api.models import Analysis, AnalysisType, Finding, NewAlert, NewInsight
from bionewsbot.companies import Company, load_companies
from bionewsbot.errors import AnalysisFailed, BackendUnavailable, CollectionMissing
from bionewsbot.notifications.notices import of_alert
from bionewsbot.notifications.outbox import tell
from bionewsbot.runs.model import Message
from bionewsbot.settings import DAYS
from bionewsbot.tasks.base import FanOut, RunTask, run_task

logger = logging.getLogger(__name__)

DAILY: AnalysisType = "daily"
QUICK_SCAN: AnalysisType = "quick_scan"

QUEUE_OF_PRIORITY = {
    "high": names.QUEUE_HIGH,
    "medium": names.QUEUE_DEFAULT,
    "low": names.QUEUE_LOW,
}

ALERTING_SEVERITIES = ("medium", "high", "critical")
"""Severities that alert, whether the finding is good or bad news; `low` is routine."""

POLL_PAUSE = 1.0
"""Shortest time between two polls, in case a backend answers at once instead of waiting."""


@lru_cache(maxsize=1)
def backend() -> BackendClient:
    """Return this process' client of the Backend API, made from its settings."""
    return BackendClient.from_settings(
        settings_module.current(),
        request_id=lambda: logs.current_context().get("request_id"),
        is_urgent=lambda: logs.current_context().get("queue") == names.QUEUE_HIGH,
    )


@run_task(names.DAILY_COMPANY_ANALYSIS)
def daily_company_analysis(self: RunTask, *, timezone: str = "UTC") -> FanOut:
    """Have each active company analysed; the `weekly` ones on the day of the weekly report.

    Which day it is is read on the clocks of `timezone`, the entry's.
    """
    scheduled_for = self.address.occurrence.scheduled_for
    weekday = DAYS[scheduled_for.astimezone(ZoneInfo(timezone)).weekday()]
    with_weekly = weekday == settings_module.current().weekly_report_day
    companies = [
        company
        for company in active_companies()
        if with_weekly or company.analysis_frequency != "weekly"
    ]
    return _fan_out(companies, DAILY)


@run_task(names.HOURLY_QUICK_SCAN)
def hourly_quick_scan(self: RunTask) -> FanOut:
    """Scan the companies that are to be looked at hourly, and those that matter most.

    That is `analysis_frequency: hourly`, `priority: high` (unless it is to be analysed weekly) and
    PRIORITY_COMPANIES. Every target goes to the queue `high`: a scan that waits behind the daily
    analysis is late.
    """
    chosen = set(settings_module.current().priority_companies)
    active = active_companies()
    unknown = chosen - {company.id for company in active}
    if unknown:
        logger.warning("priority_companies_unknown", extra={"companies": sorted(unknown)})
    companies = [
        company
        for company in active
        if company.analysis_frequency == "hourly"
        or (company.priority == "high" and company.analysis_frequency != "weekly")
        or company.id in chosen
    ]
    return _fan_out(companies, QUICK_SCAN, queue=names.QUEUE_HIGH)


@run_task(names.ANALYZE_COMPANY, takes_slot=True)
def analyze_company(self: RunTask, company_id: str, analysis_type: AnalysisType) -> dict[str, int]:
    """Have one company analysed and store what was found; returns totals for the run."""
    started = time.monotonic()
    occurrence = self.address.occurrence
    key = f"{occurrence.run_id}/{company_id}"
    begun = backend().start_analysis(
        company_id=company_id,
        type=analysis_type,
        scheduled_for=occurrence.scheduled_for,
        idempotency_key=key,
    )
    limit = settings_module.current().celery_task_soft_time_limit
    analysis = await_end(backend(), begun.id, give_up_at=started + limit)
    if analysis.status == "failed":
        raise _failure(analysis)
    insights, alerts = store_findings(backend(), analysis, key)
    records = sum(source.fetched for source in analysis.sources)
    sources_failed = sum(source.status == "failed" for source in analysis.sources)
    logger.info(
        "company_analysis_complete",
        extra={
            "company_id": company_id,
            "duration": round(time.monotonic() - started, 3),
            "records": records,
            "insights_count": insights,
            "alerts_count": alerts,
            "sources_failed": sources_failed,
        },
    )
    return {
        "records": records,
        "insights": insights,
        "alerts": alerts,
        "sources_failed": sources_failed,
    }


def active_companies() -> list[Company]:
    """Return the companies to analyse: the backend's, or the file's where it serves none.

    Raises RetryableError, BackendRefused or CompaniesFileError.
    """
    try:
        return list(backend().companies(status="active"))
    except CollectionMissing:
        path = settings_module.current().config_dir / "companies.yaml"
        logger.info("companies_read_from_file", extra={"path": str(path)})
        return [company for company in load_companies(path) if company.status == "active"]


def await_end(
    client: BackendClient,
    analysis_id: str,
    *,
    give_up_at: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Analysis:
    """Return the analysis once it has ended. Raises BackendUnavailable at `give_up_at` (`clock`).

    The wait is one long poll after the other, which holds no other task back.
    """
    while True:
        asked_at = clock()
        wait = max(0.0, min(MAX_WAIT, give_up_at - asked_at))
        analysis = client.analysis(analysis_id, wait=wait)
        if analysis.ended:
            return analysis
        if clock() >= give_up_at:
            raise BackendUnavailable(f"analysis {analysis_id} is still {analysis.status}")
        sleep(max(0.0, POLL_PAUSE - (clock() - asked_at)))


def store_findings(client: BackendClient, analysis: Analysis, key: str) -> tuple[int, int]:
    """Store an insight for each finding and an alert for each significant one; returns the counts.

    Whoever wants to hear of an alert is told once it is stored.
    The counts are of findings, not of new rows: a second delivery of the message counts the same.
    """
    alerting = [f for f in analysis.findings if f.severity in ALERTING_SEVERITIES]
    for finding in analysis.findings:
        insight = NewInsight.of(analysis, finding)
        client.store_insight(insight, idempotency_key=_key(key, analysis, "insight", finding))
    for finding in alerting:
        alert = NewAlert.of(analysis, finding)
        client.store_alert(alert, idempotency_key=_key(key, analysis, "alert", finding))
        # At once: the next one may be refused for good. The outbox knows what was told; the
        # backend's "created" would be lost with a worker that dies between its answer and this.
        tell([of_alert(alert)])
    return len(analysis.findings), len(alerting)


def _key(key: str, analysis: Analysis, kind: str, finding: Finding) -> str:
    # A digest, since a story's id may hold what a header may not; the attempt, since a second
    # attempt at an analysis may describe the same story in other words.
    story = hashlib.sha256(f"{finding.story_id}\n{finding.type}".encode()).hexdigest()[:32]
    return f"{key}/{analysis.attempt}/{kind}/{story}"


def _failure(analysis: Analysis) -> Exception:
    error = analysis.error
    said = f"{error.code}: {error.message}" if error else "no reason given"
    text = f"analysis {analysis.id} of {analysis.company_id} failed: {said}"
    return BackendUnavailable(text) if error and error.retryable else AnalysisFailed(text)


def _fan_out(
    companies: Iterable[Company], analysis_type: AnalysisType, queue: str | None = None
) -> FanOut:
    return FanOut(
        tuple(
            Message(
                target=company.id,
                task=names.ANALYZE_COMPANY,
                queue=queue or QUEUE_OF_PRIORITY[company.priority],
                kwargs={"company_id": company.id, "analysis_type": analysis_type},
            )
            for company in companies
        )
    )
