"""Database upkeep as a job."""

from typing import Any

from fastapi import APIRouter, Response

from bionewsbot.backend.models import Maintenance, MaintenanceIn
from bionewsbot.backend.routes.params import Key, Wait
from bionewsbot.backend.services import Given
from bionewsbot.backend.storage import jobs, tables
from bionewsbot.backend.storage.rows import Row, by_id, known

router = APIRouter(prefix="/maintenance", tags=["maintenance"])


@router.post("", status_code=202, response_model=Maintenance)
def start_maintenance(
    services: Given, body: MaintenanceIn, response: Response, key: Key = None
) -> dict[str, Any]:
    """Start a job, or find the one that the key started or that does the same right now.

    409 while a job of the kind with other parameters is under way.
    """
    with services.database.write() as connection:
        job, to_run = jobs.start(connection, body.model_dump(mode="json"), key, services.clock())
    if to_run:
        services.maintenance.submit(job["id"])
    response.headers["Location"] = f"/api/v1/maintenance/{job['id']}"
    return job


@router.get("/{job_id}", response_model=Maintenance)
async def get_maintenance(services: Given, job_id: str, wait: Wait = 0) -> dict[str, Any]:
    """Return a job; with `wait`, once it has ended or the time is over."""

    def read() -> Row:
        with services.database.read() as connection:
            found = by_id(connection, tables.maintenance_jobs, job_id)
        return known(found, "job", job_id)

    def ended(row: Row) -> bool:
        return row["status"] not in jobs.UNFINISHED

    return await services.waiters.until(job_id, read, ended, wait)
