"""One job of database upkeep at the Backend API, from its start to its end."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bionewsbot.api.client import MAX_WAIT, BackendClient
from bionewsbot.api.models import MaintenanceKind
from bionewsbot.errors import BackendUnavailable, MaintenanceFailed
from bionewsbot.tasks.analysis import POLL_PAUSE


def maintain(
    client: BackendClient,
    kind: MaintenanceKind,
    *,
    key: str,
    seconds: float,
    tables: Sequence[str] | None = None,
    still_mine: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, Any]:
    """Have a job done, of some tables or all, and return its result.

    The same key finds the same job: one that is under way or done isn't done again. Raises
    BackendUnavailable where it failed and may be tried again, or is not done within `seconds`;
    MaintenanceFailed where it failed for good; NotYet while the backend does another one.
    """
    give_up_at = clock() + seconds
    job = client.start_maintenance(kind, tables=tables, idempotency_key=key)
    while not job.ended:
        asked_at = clock()
        if asked_at >= give_up_at:
            raise BackendUnavailable(f"{kind} job {job.id} is still {job.status}")
        still_mine()
        job = client.maintenance(job.id, wait=min(MAX_WAIT, give_up_at - asked_at))
        if not job.ended:
            sleep(max(0.0, POLL_PAUSE - (clock() - asked_at)))
    if job.status == "failed":
        said = f"{job.error.code}: {job.error.message}" if job.error else "no reason given"
        text = f"{kind} job {job.id} failed: {said}"
        again = job.error is not None and job.error.retryable
        raise BackendUnavailable(text) if again else MaintenanceFailed(text)
    return job.result or {}
