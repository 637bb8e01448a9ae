"""How long one task may run: what kills it, renews its leases and counts it as stuck goes by it."""

from typing import Any


def hard_limit(task: Any, sent: float | None = None) -> float:
    """Return a task's hard time limit in seconds.

    It is what was `sent` with the message, else the task's own, else CELERY_TASK_TIME_LIMIT.
    """
    return float(sent or task.time_limit or task.app.conf.task_time_limit)
