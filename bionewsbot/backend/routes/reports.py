"""Reports: written once per type and period."""

import re
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Query, Response

from bionewsbot.backend.models import JsonObject, Report, ReportPage
from bionewsbot.backend.problems import Problem
from bionewsbot.backend.routes.params import Before, Paged, listed
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import reports, tables
from bionewsbot.backend.storage.rows import by_id, known

router = APIRouter(prefix="/reports", tags=["reports"])

ReportType = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Period = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

_IF_MATCH = re.compile(r'\s*(\*|"[^"]*"(\s*,\s*"[^"]*")*)\s*')


@router.put("/{report_type}/{period}", response_model=Report, responses={201: {"model": Report}})
def put_report(
    services: Given,
    report_type: ReportType,
    period: Period,
    content: Annotated[JsonObject, Body()],
    response: Response,
    if_match: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Write a period's report (201). The same content again changes nothing (200).

    Other content needs the stored report's ETag in If-Match.
    """
    _check_period(report_type, period)
    tags = _tags(if_match)
    with services.database.write() as connection:
        stored, created = reports.put(
            connection, report_type, period, content, tags, services.clock()
        )
    response.status_code = 201 if created else 200
    response.headers["ETag"] = f'"{stored["etag"]}"'
    if created:
        response.headers["Location"] = f"/api/v1/reports/{stored['id']}"
    return stored


@router.get("", response_model=ReportPage)
def list_reports(
    services: Given,
    paging: Paged,
    report_type: Annotated[str | None, Query(alias="type", max_length=64)] = None,
    before: Before = None,
) -> dict[str, Any]:
    """List reports by the time that they were first written, the newest first."""
    with services.database.read() as connection:
        return listed(reports.page(connection, paging, report_type=report_type, before=before))


@router.get("/{report_id}", response_model=Report)
def get_report(services: Given, report_id: str, response: Response) -> dict[str, Any]:
    """Return a report."""
    with services.database.read() as connection:
        found = by_id(connection, tables.reports, report_id)
    stored = known(found, "report", report_id)
    response.headers["ETag"] = f'"{stored["etag"]}"'
    return stored


@router.delete("/{report_id}", status_code=204)
def delete_report(services: Given, report_id: str) -> None:
    """Delete a report; one that is gone already is fine."""
    with services.database.write() as connection:
        reports.remove(connection, report_id)


def _check_period(report_type: str, period: str) -> None:
    if report_type != "weekly":
        return
    try:
        week = re.fullmatch(r"([0-9]{4})-W([0-9]{2})", period)
        if week is None:
            raise ValueError("not of the form 2026-W48")
        date.fromisocalendar(int(week[1]), int(week[2]), 1)
    except ValueError as error:
        raise Problem(
            422, f"period: {period!r} must be an ISO week such as 2026-W48 ({error})"
        ) from error


def _tags(if_match: str | None) -> frozenset[str] | None:
    if if_match is None:
        return None
    if not _IF_MATCH.fullmatch(if_match):
        raise Problem(422, 'If-Match: must be * or tags in quotes, such as "0a1b"')
    return frozenset(tag.strip().strip('"') for tag in if_match.split(","))
