"""Analyses: start one, wait for one, list them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from bionewsbot.backend.models import (
    Analysis,
    AnalysisIn,
    AnalysisPage,
    AnalysisStatus,
    Started,
)
from bionewsbot.backend.routes.params import (
    Before,
    CompanyFilter,
    Paged,
    RequiredKey,
    Since,
    Wait,
    listed,
)
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import analyses, tables
from bionewsbot.backend.storage.rows import Row, by_id, known

router = APIRouter(prefix="/analyses", tags=["analyses"])


@router.post("", status_code=202, response_model=Started)
def start_analysis(
    services: Given, body: AnalysisIn, key: RequiredKey, response: Response
) -> dict[str, Any]:
    """Start an analysis, or find the one that the key started.

    A failed one that may be tried again starts again: same id, attempt + 1.
    """
    with services.database.write() as connection:
        row = analyses.start(connection, body.model_dump(), key, services.clock())
    if row["status"] in analyses.UNFINISHED:
        services.analyses.submit(row["id"], row["attempt"])
    response.headers["Location"] = f"/api/v1/analyses/{row['id']}"
    return {name: row[name] for name in ("id", "status", "attempt")}


@router.get("/{analysis_id}", response_model=Analysis)
async def get_analysis(services: Given, analysis_id: str, wait: Wait = 0) -> dict[str, Any]:
    """Return an analysis; with `wait`, once it has ended or the time is over."""

    def read() -> Row:
        with services.database.read() as connection:
            found = by_id(connection, tables.analyses, analysis_id)
        return known(found, "analysis", analysis_id)

    def ended(row: Row) -> bool:
        return row["status"] in analyses.ENDED

    return await services.waiters.until(analysis_id, read, ended, wait)


@router.get("", response_model=AnalysisPage)
def list_analyses(
    services: Given,
    paging: Paged,
    company_id: CompanyFilter = None,
    status: Annotated[AnalysisStatus | None, Query()] = None,
    since: Since = None,
    before: Before = None,
) -> dict[str, Any]:
    """List analyses by the time that they were scheduled for, the newest first."""
    with services.database.read() as connection:
        return listed(
            analyses.page(
                connection,
                paging,
                company_id=company_id,
                status=status,
                since=since,
                before=before,
            )
        )
