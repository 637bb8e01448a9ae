"""A worker's request of a RunTask: what ends it from outside is on record, too."""

from typing import Any

from celery.worker.request import Request

from bionewsbot.dead_letters.hard_limit import record_hard_limit
from bionewsbot.dead_letters.messages import record
from bionewsbot.errors import NotARun


class RunRequest(Request):
    """Celery's request, which puts on record what the task itself can't."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Give up on the item at its hard time limit, where its process was killed."""
        super().on_timeout(soft, timeout)
        if not soft:
            record_hard_limit(self, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Record a message that belongs to no run: no item of the ledger can have its failure."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, NotARun):
            record(self.message, f"it belongs to no run: {error}", self.hostname)
        return super().on_failure(exc_info, *args, **kwargs)
