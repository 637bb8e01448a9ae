"""The one line that the log has of a run's end, whoever brought the end about."""

import logging

from bionewsbot.runs.ledger import Ledger

logger = logging.getLogger(__name__)


def log_end(ledger: Ledger, run_id: str, status: str | None) -> None:
    """Log a run's end with its totals; with None (the ledger's "not ended by this") nothing."""
    if status is None:
        return
    run = ledger.get(run_id)
    logger.info(
        "run_ended",
        extra={
            "run_id": run_id,
            "entry": run.entry,
            "status": status,
            "targets": run.targets,
            "failed": run.failed,
            "duration": round(run.seconds(run.opened_at), 3),
            **run.totals,
        },
    )
