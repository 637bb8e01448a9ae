"""Alerts: stored once per company, story and type, then acknowledged and closed."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from bionewsbot.backend.models import Alert, AlertIn, AlertPage, AlertPatch, AlertState, Severity
from bionewsbot.backend.routes.params import Before, CompanyFilter, Key, Paged, Since, listed
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import stories, tables

router = APIRouter(prefix="/alerts", tags=["alerts"])


@router.post("", status_code=201, response_model=Alert, responses={200: {"model": Alert}})
def store_alert(
    services: Given, body: AlertIn, response: Response, key: Key = None
) -> dict[str, Any]:
    """Store an alert, open (201), or find the stored one and add this one's source to it (200)."""
    with services.database.write() as connection:
        stored, created = stories.store_alert(connection, body.model_dump(), key, services.clock())
    response.status_code = 201 if created else 200
    return stored


@router.patch("/{alert_id}", response_model=Alert)
def change_alert(services: Given, alert_id: str, body: AlertPatch) -> dict[str, Any]:
    """Change an alert's state."""
    with services.database.write() as connection:
        return stories.set_alert_state(connection, alert_id, body.state, services.clock())


@router.get("", response_model=AlertPage)
def list_alerts(
    services: Given,
    paging: Paged,
    state: Annotated[AlertState | None, Query()] = None,
    company_id: CompanyFilter = None,
    severity: Annotated[Severity | None, Query()] = None,
    since: Since = None,
    before: Before = None,
) -> dict[str, Any]:
    """List alerts by the time that they were stored, the newest first."""
    with services.database.read() as connection:
        return listed(
            stories.page(
                connection,
                tables.alerts,
                paging,
                since=since,
                before=before,
                state=state,
                company_id=company_id,
                severity=severity,
            )
        )
