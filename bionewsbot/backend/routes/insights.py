"""Insights: stored once per company, story and type."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from bionewsbot.backend.models import Insight, InsightIn, InsightPage, Severity
from bionewsbot.backend.routes.params import Before, CompanyFilter, Key, Paged, Since, listed
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import stories, tables

router = APIRouter(prefix="/insights", tags=["insights"])


@router.post("", status_code=201, response_model=Insight, responses={200: {"model": Insight}})
def store_insight(
    services: Given, body: InsightIn, response: Response, key: Key = None
) -> dict[str, Any]:
    """Store an insight (201), or find the stored one and add this one's source to it (200)."""
    with services.database.write() as connection:
        stored, created = stories.store_insight(
            connection, body.model_dump(), key, services.clock()
        )
    response.status_code = 201 if created else 200
    return stored


@router.get("", response_model=InsightPage)
def list_insights(
    services: Given,
    paging: Paged,
    company_id: CompanyFilter = None,
    severity: Annotated[Severity | None, Query()] = None,
    since: Since = None,
    before: Before = None,
) -> dict[str, Any]:
    """List insights by the time that they were stored, the newest first."""
    with services.database.read() as connection:
        return listed(
            stories.page(
                connection,
                tables.insights,
                paging,
                since=since,
                before=before,
                company_id=company_id,
                severity=severity,
            )
        )
