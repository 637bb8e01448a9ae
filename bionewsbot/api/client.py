"""The calls of docs/backend_api.md that the scheduler makes, one method each.

Every method raises BackendUnavailable, MalformedAnswer, CircuitOpen or RateLimited (try again) or
BackendRefused (don't).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from bionewsbot.api.breaker import Breaker
from bionewsbot.api.models import (
    Alert,
    AlertPage,
    AlertState,
    Analysis,
    AnalysisPage,
    AnalysisType,
    CompanyPage,
    Deleted,
    ExportPage,
    Identified,
    Imported,
    Insight,
    InsightPage,
    Maintenance,
    MaintenanceKind,
    NewAlert,
    NewInsight,
    Report,
    ReportPage,
    RiskPage,
    RiskPoint,
    StartedAnalysis,
    Stored,
    format_time,
)
from bionewsbot.api.paging import REPORTS_AT_A_TIME, at_a_time, pages, read_as
from bionewsbot.api.rate import RateLimit
from bionewsbot.api.transport import Answer, Transport
from bionewsbot.companies import Company, Priority, Status
from bionewsbot.errors import BackendRefused, NotYet
from bionewsbot.settings import Settings

MAX_WAIT = 25.0
"""Seconds for which the backend may hold an answer (docs/backend_api.md)."""

API = "/api/v1"

T = TypeVar("T")


def _no_request_id() -> str | None:
    return None


def _never() -> bool:
    return False


class BackendClient:
    """A client for all threads of one process; use it as a context manager, or close it.

    Where `request_id` returns None, a call gets a random X-Request-ID of its own.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 30,
        pool_size: int = 10,
        request_id: Callable[[], str | None] = _no_request_id,
        breaker: Breaker | None = None,
        rate: RateLimit | None = None,
    ) -> None:
        """Prepare a client; connects on first use. See Transport. Raises SettingsError."""
        self._transport = Transport(
            base_url,
            api_key=api_key,
            timeout=timeout,
            pool_size=pool_size,
            request_id=request_id,
            breaker=breaker,
            rate=rate,
        )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        request_id: Callable[[], str | None] = _no_request_id,
        is_urgent: Callable[[], bool] = _never,
        guarded: bool = True,
    ) -> Self:
        """Prepare a client with a connection for each thread of a worker. Raises SettingsError.

        Its calls go through the workers' circuit breaker and limit of calls, whose last part is for
        those that are made where `is_urgent`. Not if `guarded` is False: a person at a prompt is no
        herd, wants to try in spite of them, and may have no Redis.
        """
        return cls(
            settings.api_base_url,
            api_key=settings.api_key,
            timeout=settings.api_timeout,
            pool_size=settings.celery_worker_concurrency,
            request_id=request_id,
            breaker=Breaker.from_settings(settings) if guarded else None,
            rate=RateLimit.from_settings(settings, is_urgent=is_urgent) if guarded else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def longest_call(self) -> float:
        """The most seconds that a call takes, in line too, without a long poll's own wait."""
        return self._transport.longest_line + self._transport.longest_call

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def ready(self) -> None:
        """Return if the backend can serve; raise BackendUnavailable or another error if not."""
        self._transport.call("GET", "/readyz", read=_unread)

    def companies(
        self, *, status: Status | None = "active", priority: Priority | None = None
    ) -> Iterator[Company]:
        """Yield the backend's companies, page by page; None stands for any status or priority.

        Raises CollectionMissing on the first one if the backend doesn't serve companies at all.
        """
        path = f"{API}/companies"
        params = _given(status=status, priority=priority)
        for page in pages(self._transport, path, CompanyPage, params, may_be_missing=True):
            for item in page.items:
                yield Company.model_construct(**dict(item))

    def put_company(self, company: Company) -> None:
        """Create a company or replace the one with its id."""
        self._transport.call(
            "PUT",
            f"{API}/companies/{_step(company.id)}",
            read=_unread,
            body=company.model_dump_json(exclude={"id"}).encode(),
        )

    def start_analysis(
        self,
        *,
        company_id: str,
        type: AnalysisType,
        scheduled_for: datetime,
        idempotency_key: str,
    ) -> StartedAnalysis:
        """Start an analysis, or find the one that this key started; see its state with `analysis`.

        A new attempt begins where that one failed and may be tried again.
        """
        request = _StartRequest(
            company_id=company_id, type=type, scheduled_for=format_time(scheduled_for)
        )
        return self._post(
            f"{API}/analyses", request, idempotency_key, read_as(StartedAnalysis), goes_on=False
        )

    def analysis(self, analysis_id: str, *, wait: float = 0) -> Analysis:
        """Return an analysis; the backend waits up to `wait` seconds (at most 25) for its end."""
        if not 0 <= wait <= MAX_WAIT:
            raise ValueError(f"wait={wait}: must be from 0 to {MAX_WAIT:g} seconds")
        path = f"{API}/analyses/{_step(analysis_id)}"
        return self._transport.call("GET", path, read=read_as(Analysis), wait=wait, goes_on=True)

    def store_insight(self, insight: NewInsight, *, idempotency_key: str) -> Stored:
        """Store an insight; one of the same company, story and type is merged, not doubled."""
        return self._post(f"{API}/insights", insight, idempotency_key, _stored)

    def store_alert(self, alert: NewAlert, *, idempotency_key: str) -> Stored:
        """Store an alert; one of the same company, story and type is merged, not doubled."""
        return self._post(f"{API}/alerts", alert, idempotency_key, _stored)

    def insights(
        self,
        *,
        company_id: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> Iterator[Insight]:
        """Yield stored insights, page by page: of one company, first stored in [since, before)."""
        params = _given(company_id=company_id, **_span(since, before))
        for page in pages(self._transport, f"{API}/insights", InsightPage, params):
            yield from page.items

    def alerts(
        self,
        *,
        company_id: str | None = None,
        state: AlertState | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> Iterator[Alert]:
        """Yield stored alerts, page by page: of one company, first stored in [since, before)."""
        params = _given(company_id=company_id, state=state, **_span(since, before))
        for page in pages(self._transport, f"{API}/alerts", AlertPage, params):
            yield from page.items

    def export(self, collection: str, *, before: datetime) -> Iterator[dict[str, Any]]:
        """Yield a collection's whole records older than `before`, page by page, the oldest first.

        Analyses only once they have ended.
        """
        params = _given(limit=str(at_a_time(collection)), **_span(None, before))
        for page in pages(self._transport, f"{API}/export/{_step(collection)}", ExportPage, params):
            yield from page.items

    def delete_exported(
        self, collection: str, records: Sequence[Mapping[str, Any]], *, idempotency_key: str
    ) -> Deleted:
        """Delete these records, at most PAGE_SIZE; those that are gone are fine.

        What has changed since it was exported is left. A second call of the key deletes nothing;
        all that is there then is left.
        """
        changed = "finished_at" if collection == "analyses" else "updated_at"
        body = {
            "ids": [record["id"] for record in records],
            "last_changed": {one["id"]: one[changed] for one in records if one.get(changed)},
        }
        return self._transport.call(
            "POST",
            f"{API}/export/{_step(collection)}/delete",
            read=read_as(Deleted),
            body=json.dumps(body).encode(),
            idempotency_key=idempotency_key,
            goes_on=True,
        )

    def import_records(
        self, collection: str, records: Sequence[Mapping[str, Any]], *, idempotency_key: str
    ) -> Imported:
        """Put records back as they were, at most `at_a_time`; what is there is left as it is.

        A second call of the key puts nothing back; what has gone since is among the conflicts.
        """
        return self._transport.call(
            "POST",
            f"{API}/import/{_step(collection)}",
            read=read_as(Imported),
            body=json.dumps({"items": list(records)}).encode(),
            idempotency_key=idempotency_key,
            goes_on=True,
        )

    def start_maintenance(
        self, kind: MaintenanceKind, *, tables: Sequence[str] | None, idempotency_key: str
    ) -> Maintenance:
        """Start a job of database upkeep, of some tables or all, or find the one of this key.

        Raises NotYet while a job of the kind with other parameters is under way.
        """
        request = _MaintenanceRequest(
            kind=kind, params={"tables": list(tables)} if tables is not None else {}
        )
        try:
            return self._post(f"{API}/maintenance", request, idempotency_key, read_as(Maintenance))
        except BackendRefused as error:
            if error.status == 409:
                raise NotYet(str(error), retry_after=MAX_WAIT) from error
            raise

    def maintenance(self, job_id: str, *, wait: float = 0) -> Maintenance:
        """Return a maintenance job; the backend waits up to `wait` seconds for its end."""
        path = f"{API}/maintenance/{_step(job_id)}"
        return self._transport.call("GET", path, read=read_as(Maintenance), wait=wait, goes_on=True)

    def analyses(
        self,
        *,
        company_id: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
    ) -> Iterator[Analysis]:
        """Yield analyses, page by page: of one company, scheduled for a time in [since, before)."""
        params = _given(company_id=company_id, **_span(since, before))
        for page in pages(self._transport, f"{API}/analyses", AnalysisPage, params):
            yield from page.items

    def risk(
        self, company_id: str, *, since: datetime | None = None, before: datetime | None = None
    ) -> Iterator[RiskPoint]:
        """Yield a company's risk scores, the newest first, page by page: those of [since, before).

        Raises CollectionMissing on the first one if the backend doesn't know the company, or keeps
        no companies.
        """
        path = f"{API}/companies/{_step(company_id)}/risk"
        params = _given(**_span(since, before))
        for page in pages(self._transport, path, RiskPage, params, may_be_missing=True):
            yield from page.items

    def reports(self, *, type: str) -> Iterator[Report]:
        """Yield the reports of a type, the last written first, page by page."""
        params = {"type": type, "limit": str(REPORTS_AT_A_TIME)}
        for page in pages(self._transport, f"{API}/reports", ReportPage, params):
            yield from page.items

    def put_report(
        self, type: str, period: str, content: bytes, *, if_match: str | None = None
    ) -> Stored:
        """Write the report of a period: JSON. The same content again changes nothing.

        Raises BackendRefused with status 428 and the stored report's ETag where another one is
        there; `if_match` with that ETag replaces it.
        """
        return self._transport.call(
            "PUT",
            f"{API}/reports/{_step(type)}/{_step(period)}",
            read=_stored,
            body=content,
            if_match=if_match,
            goes_on=True,
        )

    def _post(
        self,
        path: str,
        body: BaseModel,
        idempotency_key: str,
        read: Callable[[Answer], T],
        *,
        goes_on: bool = True,
    ) -> T:
        return self._transport.call(
            "POST",
            path,
            read=read,
            body=body.model_dump_json().encode(),
            idempotency_key=idempotency_key,
            goes_on=goes_on,
        )


class _StartRequest(BaseModel):
    company_id: str
    type: AnalysisType
    scheduled_for: str


class _MaintenanceRequest(BaseModel):
    kind: MaintenanceKind
    params: dict[str, list[str]]


def _unread(answer: Answer) -> None:
    """Leave the body alone: that the backend did as it was told is all there is to know."""


def _stored(answer: Answer) -> Stored:
    return Stored(id=answer.read(Identified).id, created=answer.status == 201)


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _span(since: datetime | None, before: datetime | None) -> dict[str, str | None]:
    return {
        "since": format_time(since) if since else None,
        "before": format_time(before) if before else None,
    }


def _step(text: str) -> str:
    """Quote an id for use as one step of a URL's path."""
    return quote(text, safe="")
