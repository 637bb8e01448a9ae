"""Runs maintenance jobs, one after the other, beside the requests.

A start fails what it finds unfinished, so a database has one backend at a time that does upkeep.
"""

import contextvars
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bionewsbot.backend.clock import Clock
from bionewsbot.backend.storage import jobs
from bionewsbot.backend.storage.database import Database
from bionewsbot.backend.storage.rows import Row
from bionewsbot.backend.storage.upkeep import carry_out
from bionewsbot.backend.storage.upkeep.plan import TABLES, Result, Upkeep

logger = logging.getLogger(__name__)


class MaintenanceRunner:
    """One thread, so that two kinds don't slow each other down; `on_end` is told each id."""

    def __init__(self, database: Database, *, clock: Clock, on_end: Callable[[str], None]) -> None:
        self._database = database
        self._clock = clock
        self._on_end = on_end
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="maintenance")

    def recover(self) -> None:
        """Fail, retryably, what an earlier process left unfinished."""
        with self._database.write() as connection:
            count = jobs.interrupt(connection, self._clock())
        if count:
            logger.warning("maintenance_interrupted", extra={"jobs_count": count})

    def submit(self, job_id: str) -> None:
        """Run a job when the jobs before it are done."""
        context = contextvars.copy_context()
        self._pool.submit(context.run, self._run, job_id)

    def close(self) -> None:
        """Wait for what runs; what is still queued fails, retryably, at the next start."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job_id: str) -> None:
        began = time.monotonic()
        try:
            with self._database.write() as connection:
                job = jobs.begin(connection, job_id, self._clock())
            outcome = self._outcome(job)
            with self._database.write() as connection:
                jobs.finish(connection, job_id, {**outcome, "finished_at": self._clock()})
            logger.info(
                "maintenance_complete",
                extra={
                    "job_id": job_id,
                    "kind": job["kind"],
                    "dry_run": job["dry_run"],
                    "status": outcome["status"],
                    "duration": round(time.monotonic() - began, 4),
                },
            )
        except Exception:
            # The database failed twice; the job still says "running" until the next start.
            logger.exception("maintenance_not_stored", extra={"job_id": job_id})
        finally:
            self._on_end(job_id)

    def _outcome(self, job: Row) -> dict[str, Any]:
        try:
            result = self._carry_out(job)
        except (DBAPIError, PoolTimeout) as error:
            logger.exception("maintenance_failed", extra={"job_id": job["id"]})
            said = " ".join(str(getattr(error, "orig", None) or error).split())
            return _failed("database_error", said, retryable=True)
        except Exception as error:
            logger.exception("maintenance_crashed", extra={"job_id": job["id"]})
            return _failed("crashed", f"{type(error).__name__}: {error}", retryable=False)
        return {"status": "succeeded", "result": result, "error": None}

    def _carry_out(self, job: Row) -> Result:
        upkeep = Upkeep(
            database=self._database,
            tables=tuple(job["params"]["tables"] or TABLES),
            dry_run=job["dry_run"],
            lock_timeout=job["params"]["lock_timeout"],
            now=self._clock(),
        )
        return carry_out(job["kind"], upkeep)


def _failed(code: str, message: str, *, retryable: bool) -> dict[str, Any]:
    error = {"code": code, "message": message, "retryable": retryable}
    return {"status": "failed", "result": None, "error": error}
