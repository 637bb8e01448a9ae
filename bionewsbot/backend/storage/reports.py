"""Reports: one per type and period, replaced only by who knows what is there."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from bionewsbot.backend.problems import Problem
from bionewsbot.backend.storage.paging import Page, Paging, fetch_page
from bionewsbot.backend.storage.rows import (
    Row,
    between,
    fingerprint,
    insert_if_absent,
    known,
    matching,
    new_id,
    one,
)
from bionewsbot.backend.storage.tables import reports


def put(
    connection: Connection,
    report_type: str,
    period: str,
    content: Any,
    if_match: frozenset[str] | None,
    now: datetime,
) -> tuple[Row, bool]:
    """Write a period's report; return it and whether it is new.

    `if_match` holds the tags of an If-Match header, or None. The same content changes nothing.
    Raises Problem: 428 for other content without the header, 412 where the header doesn't name
    what is stored.
    """
    same = matching(reports, type=report_type, period=period)
    etag = fingerprint(content)
    if if_match is not None:
        stored = one(connection, select(reports).where(*same).with_for_update())
        if stored is None:
            raise _changed(report_type, period, "there is none")
    else:
        row = {
            "id": new_id(),
            "type": report_type,
            "period": period,
            "etag": etag,
            "content": content,
            "created_at": now,
            "updated_at": now,
        }
        if insert_if_absent(connection, reports, row):
            return row, True
        stored = known(
            one(connection, select(reports).where(*same).with_for_update()), "report", period
        )
    if stored["etag"] == etag:
        return stored, False
    if if_match is None:
        raise Problem(
            428,
            f"The report {report_type}/{period} is there with other content; send its ETag as "
            "If-Match to replace it",
            kind="report-exists",
            more={"id": stored["id"]},
            headers={"ETag": f'"{stored["etag"]}"'},
        )
    if not if_match & {"*", stored["etag"]}:
        raise _changed(report_type, period, f'its ETag is "{stored["etag"]}"')
    change = {"etag": etag, "content": content, "updated_at": now}
    connection.execute(update(reports).where(reports.c.id == stored["id"]).values(**change))
    return {**stored, **change}, False


def page(
    connection: Connection, paging: Paging, *, report_type: str | None, before: datetime | None
) -> Page:
    """Return reports by the time that they were first written, the newest first."""
    query = select(reports).where(
        *matching(reports, type=report_type), *between(reports.c.created_at, None, before)
    )
    return fetch_page(connection, query, [reports.c.created_at, reports.c.id], paging)


def remove(connection: Connection, report_id: str) -> None:
    """Delete a report; one that is gone already is fine."""
    connection.execute(delete(reports).where(reports.c.id == report_id))


def _changed(report_type: str, period: str, state: str) -> Problem:
    return Problem(
        412,
        f"If-Match: not the stored report {report_type}/{period} ({state}); read it again first",
        kind="report-changed",
    )
