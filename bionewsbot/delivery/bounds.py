"""Bounds of a whole worker: a thread that is stuck, or memory that grows, ends it in order.

A child process can be killed at its time or memory limit, a thread can't: the worker stops as on
SIGTERM instead, and its supervisor starts it anew. See docs/delivery.md.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Any

from billiard.compat import mem_rss
from celery import bootsteps
from celery.worker import state
from celery.worker.request import Request

from bionewsbot import settings as settings_module
from bionewsbot.dead_letters.hard_limit import record_hard_limit
from bionewsbot.delivery.leases import snapshot
from bionewsbot.runs.time_limit import hard_limit

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
"""Between two looks: limits are of minutes and of hundreds of megabytes."""

out_of_bounds = threading.Event()
"""Set once this worker stops because of what its tasks do."""


def overdue(requests: Iterable[Request], now: float) -> list[tuple[Request, float]]:
    """Return the requests that run past their hard time limit at `now` (epoch seconds), with it."""
    found = []
    for request in requests:
        limit = hard_limit(request.task, request.time_limits[0])
        if request.time_start and now - request.time_start > limit:
            found.append((request, limit))
    return found


class BoundsStep(bootsteps.StartStopStep):
    """Watches a worker of threads; a pool of processes bounds its children itself."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Start the thread, where the pool is one of threads and the process the worker's own."""
        own = threading.current_thread() is threading.main_thread()
        if own and hasattr(parent.pool, "executor"):
            ended = parent.blueprint.shutdown_complete
            threading.Thread(target=_watch, args=(ended,), name="bounds", daemon=True).start()

    def stop(self, parent: Any) -> None:
        """Leave the thread alone: it ends with the worker."""

    terminate = stop


def _watch(ended: threading.Event) -> None:
    most = settings_module.current().worker_max_memory_mb
    while not ended.wait(CHECK_SECONDS):
        stuck = overdue(snapshot(state.active_requests), time.time())
        for request, limit in stuck:
            logger.error("task_stuck", extra={"task_id": request.id, "seconds": limit})
            record_hard_limit(request, limit)
        memory = mem_rss() // 1024
        if stuck or memory > most:
            why = {"stuck": len(stuck), "memory_mb": memory, "worker_max_memory_mb": most}
            logger.error("worker_out_of_bounds", extra=why)
            out_of_bounds.set()
            os.kill(os.getpid(), signal.SIGTERM)
            return
