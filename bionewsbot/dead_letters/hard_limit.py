"""The hard time limit: who runs past it is given up on; tried again, it would meet it again."""

from typing import Any

from bionewsbot.dead_letters.messages import record


def record_hard_limit(request: Any, seconds: float) -> None:
    """Give up on the message of a worker's request that ran past its hard limit of `seconds`.

    Where Redis stays away, the log has it: the item is found dead by its lease in the end.
    """
    why = f"it ran past its hard time limit of {seconds:.0f} s"
    record(request.message, why, request.hostname)
