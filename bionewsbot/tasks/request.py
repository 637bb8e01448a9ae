"""A worker's request of a RunTask: what ends it from outside is on record, too."""

import logging

from celery.worker.request import Request
from redis import RedisError

from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Address

logger = logging.getLogger(__name__)


class RunRequest(Request):
    """Celery's request, which tells the ledger when the hard time limit killed its process."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Give up on the item at its hard time limit: tried again, it would meet the same limit."""
        super().on_timeout(soft, timeout)
        if soft:
            return
        why = f"its hard time limit of {timeout:.0f} s killed it"
        try:
            address = Address.from_headers(self.request_dict)
            _, status = ledger().fail(address, why, why=why)
            log_end(ledger(), address.run_id, status)
        except (NotARun, NewerMessage, RedisError) as error:
            # A run's item is found dead by its lease in the end; another task has no record.
            logger.error("hard_limit_not_recorded", extra={"task_id": self.id, "error": str(error)})
