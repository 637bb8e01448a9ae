"""Sending a run's messages: a fresh task id each, the place in the ledger in its headers."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from celery import Celery
from celery.utils import uuid

from bionewsbot.runs.ledger import Ledger, Verdict
from bionewsbot.runs.model import JOB, Address, Message, Occurrence

logger = logging.getLogger(__name__)

BATCH = 100
"""Messages sent between two marks in the ledger: few round trips, few doubles after a crash."""


def start_run(
    app: Celery,
    ledger: Ledger,
    occurrence: Occurrence,
    job: Message,
    *,
    origin: str,
    deadline: float,
    starting_deadline: float | None = None,
    again: bool = False,
) -> Address | None:
    """Open the occurrence's run and send its job; returns the job's address.

    `deadline` is in seconds from now, `starting_deadline` from the scheduled time; where that has
    passed, the run is on record as missed and None is returned. The run stands in the ledger
    before its message is sent: what dies in between, the reconciler sends. Raises RunExists.
    """
    start_by = None
    if starting_deadline is not None:
        start_by = occurrence.scheduled_for + timedelta(seconds=starting_deadline)
    address, opened = ledger.open(
        occurrence, job, origin=origin, deadline=deadline, start_by=start_by, again=again
    )
    if not opened:
        logger.error("run_missed", extra={"run_id": occurrence.run_id, "start_by": start_by})
        return None
    logger.info("run_opened", extra={"run_id": occurrence.run_id, "origin": origin})
    task_id = send(app, address, job, expires=start_by)
    ledger.sent(address.run_id, address.generation, [(JOB, task_id)])
    return address


def fan_out(app: Celery, ledger: Ledger, job: Address, targets: Sequence[Message]) -> Verdict:
    """Register the job's targets and send those that are not sent yet."""
    verdict, unsent = ledger.fan_out(job, targets)
    for start in range(0, len(unsent), BATCH):
        sends = [
            (
                message.target,
                send(app, Address(job.run_id, message.target, job.generation), message),
            )
            for message in unsent[start : start + BATCH]
        ]
        ledger.sent(job.run_id, job.generation, sends)
    return verdict


def send(
    app: Celery, address: Address, message: Message, *, expires: datetime | None = None
) -> str:
    """Send one message under a fresh task id, which is returned.

    Raises kombu's OperationalError if the broker stays away, QueueNotFound for a misspelt queue.
    """
    task_id: str = uuid()
    options: dict[str, Any] = {"expires": expires} if expires else {}
    app.send_task(
        message.task,
        kwargs=dict(message.kwargs),
        task_id=task_id,
        queue=message.queue,
        headers=address.headers(),
        **options,
    )
    return task_id
