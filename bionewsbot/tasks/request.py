"""A worker's request of a RunTask: what ends it from outside is on record, too."""

from celery.worker.request import Request

from bionewsbot.dead_letters.hard_limit import record_hard_limit


class RunRequest(Request):
    """Celery's request, which tells the ledger when the hard time limit killed its process."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Give up on the item at its hard time limit."""
        super().on_timeout(soft, timeout)
        if not soft:
            record_hard_limit(self, timeout)
