"""Runs analyses in a bounded pool of threads, and resumes what a restart left unfinished.

A resumed analysis keeps its attempt: it looks at the same window and its end is stored once, so
running it a second time changes nothing.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bionewsbot.backend.analysing import Outcome, analyse, company_of, failed, window
from bionewsbot.backend.clock import Clock
from bionewsbot.backend.sources.base import Source
from bionewsbot.backend.storage import analyses, companies
from bionewsbot.backend.storage.database import Database
from bionewsbot.backend.storage.rows import Row, require_company

logger = logging.getLogger(__name__)


class AnalysisRunner:
    """The pool. `submit` and `resume` return at once; `on_end` is told each id that ended."""

    def __init__(
        self,
        database: Database,
        sources: Sequence[Source],
        *,
        concurrency: int,
        clock: Clock,
        on_end: Callable[[str], None],
    ) -> None:
        self._database = database
        self._sources = tuple(sources)
        self._clock = clock
        self._on_end = on_end
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="analysis")
        self._lock = threading.Lock()
        self._in_hand: set[tuple[str, int]] = set()

    def resume(self) -> int:
        """Submit what is queued or running in the database; return how many."""
        with self._database.read() as connection:
            waiting = analyses.unfinished(connection)
        for analysis_id, attempt in waiting:
            self.submit(analysis_id, attempt)
        return len(waiting)

    def submit(self, analysis_id: str, attempt: int) -> None:
        """Run an attempt when a thread is free; one that is in hand already isn't run twice."""
        with self._lock:
            if (analysis_id, attempt) in self._in_hand:
                return
            self._in_hand.add((analysis_id, attempt))
        # The request's id goes with the work, into its log lines.
        context = contextvars.copy_context()
        self._pool.submit(context.run, self._run, analysis_id, attempt)

    def close(self) -> None:
        """Wait for what runs; what is still queued is resumed at the next start."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, analysis_id: str, attempt: int) -> None:
        began = time.monotonic()
        try:
            taken = self._take(analysis_id, attempt)
            if taken is not None:
                row, company, previous = taken
                outcome = self._outcome(row, company, previous)
                if self._store(row, outcome):
                    _log_end(row, outcome, time.monotonic() - began)
        except Exception:
            # The database failed: the row still says "running", and the next POST under the
            # same key, or the next start, takes it up again.
            logger.exception("analysis_not_stored", extra={"analysis_id": analysis_id})
        finally:
            with self._lock:
                self._in_hand.discard((analysis_id, attempt))
            self._on_end(analysis_id)

    def _take(self, analysis_id: str, attempt: int) -> tuple[Row, Row, float | None] | None:
        with self._database.write() as connection:
            row = analyses.claim(connection, analysis_id, attempt, self._clock())
            if row is None:
                return None
            company = require_company(connection, row["company_id"])
            previous = companies.risk_before(
                connection, row["company_id"], row["type"], row["scheduled_for"]
            )
            return row, company, previous

    def _outcome(self, row: Row, company: Row, previous: float | None) -> Outcome:
        try:
            looked_at = window(row["type"], row["scheduled_for"])
            return analyse(company_of(company), looked_at, self._sources, previous)
        except Exception as error:
            logger.exception("analysis_crashed", extra={"analysis_id": row["id"]})
            return failed("analysis_crashed", f"{type(error).__name__}: {error}")

    def _store(self, row: Row, outcome: Outcome) -> bool:
        with self._database.write() as connection:
            ended = {**outcome, "finished_at": self._clock()}
            if not analyses.finish(connection, row["id"], row["attempt"], ended):
                return False
            if outcome["risk"] is not None:
                companies.add_risk(
                    connection,
                    {
                        **outcome["risk"],
                        "analysis_id": row["id"],
                        "company_id": row["company_id"],
                        "analysis_type": row["type"],
                        "at": row["scheduled_for"],
                        "partial": outcome["status"] == "partial",
                    },
                )
        return True


def _log_end(row: Row, outcome: Outcome, seconds: float) -> None:
    error = outcome["error"]
    logger.log(
        logging.WARNING if outcome["status"] == "failed" else logging.INFO,
        "analysis_complete",
        extra={
            "analysis_id": row["id"],
            "company_id": row["company_id"],
            "type": row["type"],
            "attempt": row["attempt"],
            "status": outcome["status"],
            "findings_count": len(outcome["findings"]),
            "duration": round(seconds, 4),
            **({"error": error["message"]} if error else {}),
        },
    )
