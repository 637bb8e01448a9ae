"""Leases: what a live worker holds stays its own; what a dead one held goes back to its queue.

kombu puts a message back that has been out for longer than the visibility time-out. That is short
here (celeryconfig.py), and a thread of every worker renews it for all that the worker holds.
See docs/delivery.md.
"""

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state
from celery.worker.request import Request
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.transport import virtual
from redis import RedisError

from bionewsbot.celeryconfig import RENEWAL_SECONDS
from bionewsbot.runs.time_limit import hard_limit

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Between two attempts while Redis is away: leases should be renewed before the first sweep."""


def held_tags(now: float) -> set[str]:
    """Return the delivery tags of the messages that this worker holds at `now` (epoch seconds).

    They are taken from the worker's own requests: running, waiting for a thread or process, or
    waiting for their countdown. A channel's list would forget them when the connection is lost.
    A task that has run for longer than its hard time limit counts as stuck and is left out.
    """
    requests = {
        *snapshot(state.reserved_requests),
        *snapshot(state.active_requests),
        *snapshot(state.scheduled_requests),
    }
    return {
        str(request.message.delivery_tag)
        for request in requests
        if not request.acknowledged and not _is_stuck(request, now)
    }


def _is_stuck(request: Request, now: float) -> bool:
    limit = hard_limit(request.task, request.time_limits[0])
    return now - (request.time_start or now) >= limit


def snapshot(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Return a worker's set of requests as it stands, from another thread than the event loop's."""
    while True:
        try:
            return tuple(requests)
        except RuntimeError:
            continue  # the event loop changed the set meanwhile


class Leases:
    """Renews the leases of what this worker holds, over a broker connection of its own."""

    def __init__(self, app: Celery) -> None:
        """Renew for the worker of `app`; connects on first use."""
        self._app = app
        self._connection: Connection | None = None
        self._channel: Any = None
        self._failing = False

    def renew(self) -> bool:
        """Renew all leases; return whether it worked. A failure is logged once, until it works."""
        now = time.time()
        tags = held_tags(now)
        try:
            if tags:
                self._write(dict.fromkeys(tags, now))
        except (RedisError, OperationalError, OSError) as error:
            self.close()
            if not self._failing:
                self._failing = True
                logger.warning("lease_renewal_failed", extra={"error": str(error)})
            return False
        if self._failing and tags:
            self._failing = False
            logger.info("lease_renewal_resumed")
        return True

    def close(self) -> None:
        """Close the connection; the next renewal opens another one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except (RedisError, OperationalError, OSError):
                logger.debug("lease_connection_lost", exc_info=True)

    def _write(self, scores: dict[str, float]) -> None:
        if self._channel is None:
            self._connection = self._app.connection_for_write()
            self._channel = self._connection.channel()
        with self._channel.conn_or_acquire() as client:
            # Only what is still out: a message that was acknowledged meanwhile stays gone.
            client.zadd(self._channel.unacked_index_key, scores, xx=True)


class LeaseStep(bootsteps.StartStopStep):
    """Runs the renewal beside a worker, until its shutdown is complete: while it stops, too."""

    def start(self, parent: Any) -> None:
        """Start the thread."""
        leases = Leases(parent.app)
        ended = parent.blueprint.shutdown_complete
        threading.Thread(target=_run, args=(leases, ended), name="leases", daemon=True).start()

    def stop(self, parent: Any) -> None:
        """Leave the thread alone: it ends by itself, once nothing is held any more."""

    terminate = stop


class KeepStep(bootsteps.StartStopStep):
    """Carries what a worker holds over a reconnect; part of the consumer, runs after each connect.

    kombu 5.7 puts all that a channel held back as it closes, so that a running task would start a
    second time; where Redis is still away the attempt raises AttributeError and ends the worker,
    and so does an acknowledgement through the closed channel. Here the new channel takes over:
    leases of what runs are renewed, those of what only waited run out.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._qos: Any = None

    def start(self, parent: Any) -> None:
        """Take over from the channel before, if there was one."""
        channel = parent.task_consumer.channel
        earlier, self._qos = self._qos, channel.qos
        self._qos.restore_at_shutdown = False
        if earlier is None:
            return
        running = {request.message.delivery_tag for request in snapshot(state.active_requests)}
        for tag, message in tuple(earlier._delivered.items()):
            message.channel = channel
            if tag in running:
                # In this process only: a message that runs counts against the prefetch limit.
                virtual.QoS.append(self._qos, message, tag)


def _run(leases: Leases, ended: threading.Event) -> None:
    wait = RENEWAL_SECONDS
    while not ended.wait(wait):
        try:
            wait = RENEWAL_SECONDS if leases.renew() else RETRY_SECONDS
        except Exception:
            # A thread that ended here would silently give away what the worker holds.
            logger.exception("lease_thread_failed")
    leases.close()
