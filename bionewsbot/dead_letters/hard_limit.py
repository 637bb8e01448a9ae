"""The hard time limit: who runs past it is given up on; tried again, it would meet it again."""

import logging
from typing import Any

from redis import RedisError

from bionewsbot.errors import NewerMessage, NotARun
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Address

logger = logging.getLogger(__name__)


def record_hard_limit(request: Any, seconds: float) -> None:
    """Give up on the item of a worker's request that ran past its hard limit of `seconds`.

    Where Redis stays away, the log has it: the item is found dead by its lease in the end.
    """
    why = f"it ran past its hard time limit of {seconds:.0f} s"
    try:
        address = Address.from_headers(request.request_dict)
        _, status = ledger().fail(address, why, why=why)
        log_end(ledger(), address.run_id, status)
    except (NotARun, NewerMessage, RedisError) as error:
        logger.error("hard_limit_not_recorded", extra={"task_id": request.id, "error": str(error)})
