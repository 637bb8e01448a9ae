"""Sends again what should be running and isn't, and closes runs past their deadline.

A Redis broker can lose a message that it has just handed out, and a dead worker takes its messages
with it: the ledger alone knows what should be happening. See docs/ledger.md.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import Celery, bootsteps
from kombu.exceptions import OperationalError
from redis import RedisError, ResponseError

from bionewsbot import settings as settings_module
from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.broker import next_waiting, waiting_task_ids
from bionewsbot.runs.dispatch import can_send, send_all
from bionewsbot.runs.ending import log_end
from bionewsbot.runs.heartbeat import BEATS_PER_LEASE
from bionewsbot.runs.ledger import MAX_DEATHS, POISONOUS, Ledger, ledger
from bionewsbot.runs.model import JOB, Address, Message, Suspect

logger = logging.getLogger(__name__)

MAX_SUSPECTS = 5000
"""Items looked at in one pass, so that a pass over the largest run takes a second or two."""

BATCH = 250
"""Items looked at in one step: 10 to 20 ms of Redis' time, measured, for which others wait."""

Chore = Callable[[Celery, Ledger], object]

_LOCK = f"{KEY_PREFIX}reconciler"
_LOCK_SECONDS = 10
"""Life of a pass' lock: passes take a second or two, and a worker that dies in one must not keep
the others from it for long. Two passes at once would only send twice what the ledger drops."""

_STOP_SECONDS = 5
"""Longest wait at a worker's stop for a pass that is under way."""


def reconcile(app: Celery, ledger: Ledger) -> int:
    """Make one pass; returns how many messages were sent again.

    Raises redis.RedisError or kombu's OperationalError if Redis is away.
    """
    for run_id in ledger.overdue():
        status = ledger.end_overdue(run_id)
        if status:
            logger.error("run_overdue", extra={"run_id": run_id})
            log_end(ledger, run_id, status)
    sent = 0
    for _ in range(MAX_SUSPECTS // BATCH):
        suspects = ledger.suspects(BATCH)
        sent += _reconcile_batch(app, ledger, suspects)
        if len(suspects) < BATCH:
            break
    return sent


def _reconcile_batch(app: Celery, ledger: Ledger, suspects: list[Suspect]) -> int:
    by_queue: dict[str, list[Suspect]] = defaultdict(list)
    now = ledger.now()
    for suspect in suspects:
        if not _missed(ledger, suspect, now):
            by_queue[suspect.message.queue].append(suspect)
    sent = 0
    for queue, missing in by_queue.items():
        try:
            sent += _reconcile_queue(app, ledger, queue, missing)
        except ResponseError as error:
            # Its key is no list, say: what else is missing doesn't wait for that.
            logger.error("queue_refuses", extra={"queue": queue, "error": str(error)})
            ledger.postpone([suspect.address for suspect in missing])
    return sent


def _missed(ledger: Ledger, suspect: Suspect, now: float) -> bool:
    start_by = _start_by(suspect)
    if start_by is None or now <= start_by:
        return False
    run_id = suspect.address.run_id
    if ledger.miss(run_id, "no worker started it before its starting deadline"):
        logger.error("run_missed", extra={"run_id": run_id})
    return True


def _start_by(suspect: Suspect) -> float | None:
    # Only a job that was never begun can be too late: what has begun is carried to its end.
    return None if suspect.address.target != JOB or suspect.begun else suspect.start_by


def _not_missed_yet(
    app: Celery, ledger: Ledger, queue: str, suspects: list[Suspect]
) -> set[Address]:
    following = next_waiting(app, queue)
    since = ledger.sent_at(following) if following else None
    # What was sent after the message that the queue gives next has not had its turn, whether it is
    # there or not. Of an item that was sent once more the later time counts, and more is looked for
    # than need be. Reading 20,000 messages was measured to take 0.3 to 0.6 s of a worker's time.
    doubtful = {
        suspect.address: suspect.task_id
        for suspect in suspects
        if suspect.begun or not (since and suspect.sent_at and suspect.sent_at > since)
    }
    wanted = {task_id for task_id in doubtful.values() if task_id}
    waiting = waiting_task_ids(app, queue, wanted) if wanted else set()
    return {
        suspect.address
        for suspect in suspects
        if suspect.address not in doubtful or suspect.task_id in waiting
    }


def _reconcile_queue(app: Celery, ledger: Ledger, queue: str, suspects: list[Suspect]) -> int:
    later = _not_missed_yet(app, ledger, queue, suspects)
    again: list[tuple[Address, Message, datetime | None]] = []
    sends: dict[Address, dict[str, Any]] = {}
    for suspect in suspects:
        if suspect.address in later:
            continue
        address = suspect.address
        if not can_send(app, address, suspect.message):
            later.add(address)
            continue
        fields = {"run_id": address.run_id, "target": address.target, "sends": suspect.sends}
        # The death that made it a suspect now is counted only when it is sent again.
        if suspect.alive and suspect.deaths + 1 >= MAX_DEATHS:
            _, status = ledger.fail(address, POISONOUS, why=POISONOUS)
            logger.error("target_given_up", extra=fields)
            log_end(ledger, address.run_id, status)
            continue
        start_by = _start_by(suspect)
        expires = None if start_by is None else datetime.fromtimestamp(start_by, UTC)
        again.append((address, suspect.message, expires))
        sends[address] = fields
    ledger.postpone(later)
    if again:
        ledger.sent(send_all(app, again))
    for fields in sends.values():
        logger.warning("target_sent_again", extra=fields)
    return len(again)


class ReconcilerStep(bootsteps.StartStopStep):
    """Runs the reconciler beside a worker; a lock in Redis lets one of all workers do it."""

    chores: Sequence[Chore] = ()
    """What else is brought in line in each pass; set where the app is composed."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, parent: Any) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, args=(parent.app,), name="ledger-reconciler", daemon=True
        )
        self._thread.start()

    def stop(self, parent: Any) -> None:
        """End the thread; a pass that is under way is finished."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=_STOP_SECONDS)

    terminate = stop

    def _run(self, app: Celery) -> None:
        interval = settings_module.current().run_lease_seconds / BEATS_PER_LEASE
        while not self._stopped.wait(interval):
            try:
                run_once(app, ledger(), self.chores)
            except (RedisError, OperationalError) as error:
                logger.warning("reconciler_waits_for_redis", extra={"error": str(error)})
            except Exception:
                # A thread that ended here would end silently what keeps runs whole.
                logger.exception("reconciler_failed")


def run_once(app: Celery, ledger: Ledger, chores: Sequence[Chore] = ()) -> bool:
    """Make one pass unless another process is at it; returns whether it was made."""
    lock = ledger.lock(_LOCK, seconds=_LOCK_SECONDS)
    if not lock.acquire(blocking=False):
        return False
    try:
        reconcile(app, ledger)
        for chore in chores:
            chore(app, ledger)
    finally:
        if lock.owned():
            lock.release()
    return True
