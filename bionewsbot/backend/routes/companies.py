"""Companies and the history of their risk."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from bionewsbot.backend.models import (
    Company,
    CompanyIn,
    CompanyPage,
    CompanyStatus,
    Id,
    Priority,
    RiskPage,
)
from bionewsbot.backend.routes.params import Before, Paged, Since, listed
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import companies

router = APIRouter(prefix="/companies", tags=["companies"])

CompanyId = Annotated[Id, Path()]


@router.get("", response_model=CompanyPage)
def list_companies(
    services: Given,
    paging: Paged,
    status: Annotated[CompanyStatus | None, Query()] = None,
    priority: Annotated[Priority | None, Query()] = None,
    updated_since: Since = None,
) -> dict[str, Any]:
    """List companies by id."""
    with services.database.read() as connection:
        return listed(
            companies.page(
                connection,
                paging,
                status=status,
                priority=priority,
                updated_since=updated_since,
            )
        )


@router.put("/{company_id}", response_model=Company, responses={201: {"model": Company}})
def put_company(
    services: Given, company_id: CompanyId, body: CompanyIn, response: Response
) -> dict[str, Any]:
    """Create a company (201) or replace the one of this id (200)."""
    with services.database.write() as connection:
        stored, created = companies.put(connection, company_id, body.model_dump(), services.clock())
    response.status_code = 201 if created else 200
    return stored


@router.get("/{company_id}/risk", response_model=RiskPage)
def list_risk(
    services: Given,
    company_id: CompanyId,
    paging: Paged,
    since: Since = None,
    before: Before = None,
) -> dict[str, Any]:
    """List a company's risk scores by the time of their analysis, the newest first."""
    with services.database.read() as connection:
        return listed(
            companies.risk_page(connection, company_id, paging, since=since, before=before)
        )
