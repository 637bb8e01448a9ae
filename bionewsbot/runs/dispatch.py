"""Sending a run's messages: a fresh task id each, the place in the ledger in its headers."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from celery import Celery
from celery.exceptions import QueueNotFound
from celery.utils import uuid
from kombu.exceptions import BatchPublishError, OperationalError
from redis import RedisError

from bionewsbot.errors import RunExists
from bionewsbot.runs.ledger import TOO_LATE, Ledger, Verdict
from bionewsbot.runs.model import (
    RUNNING,
    WAITING,
    Address,
    Message,
    NewRun,
    Opened,
    Opening,
)

logger = logging.getLogger(__name__)

BATCH = 100
"""Messages sent between two marks in the ledger: few round trips, few doubles after a crash."""


def start_run(app: Celery, ledger: Ledger, new: NewRun) -> Opening:
    """Open a run and send its job, as `start_runs` does. Raises RunExists if there is one."""
    opening = start_runs(app, ledger, [new])[0]
    if opening.verdict is Opened.EXISTS:
        mend = (
            "wait for its end or cancel it"
            if opening.status in (RUNNING, WAITING)
            else "carry it out once more with --again"
        )
        run_id = new.occurrence.run_id
        raise RunExists(f"{run_id} already has a run ({opening.status}); {mend}")
    return opening


def start_runs(app: Celery, ledger: Ledger, runs: Sequence[NewRun]) -> list[Opening]:
    """Open runs and send the jobs of those that may start; say of each what came of it.

    A run stands in the ledger before its message is sent: what dies in between is sent when its
    occurrence is started once more, or by the reconciler. Raises redis.RedisError or kombu's
    OperationalError where Redis is away; then any part of it may have been done.
    """
    openings = open_runs(ledger, runs)
    send_jobs(app, ledger, openings)
    return openings


def open_runs(ledger: Ledger, runs: Sequence[NewRun]) -> list[Opening]:
    """Open runs; say of each what came of it. Raises redis.RedisError."""
    openings = ledger.open_all(runs)
    for opening in openings:
        if not opening.to_send:
            _log(opening)
    return openings


def send_jobs(app: Celery, ledger: Ledger, openings: Sequence[Opening]) -> None:
    """Send the jobs of those that may start. Raises as `start_runs` does."""
    sends = [
        (address, opening.new.job, opening.new.start_by)
        for opening in openings
        if (address := opening.to_send)
    ]
    for start in range(0, len(sends), BATCH):
        ledger.sent(send_all(app, sends[start : start + BATCH]))
    for opening in openings:
        if opening.to_send:
            _log(opening)


def fan_out(
    app: Celery,
    ledger: Ledger,
    job: Address,
    targets: Sequence[Message],
    final: Message | None = None,
) -> Verdict:
    """Register the job's targets, and what comes after them; send those that are not sent yet."""
    verdict, unsent = ledger.fan_out(job, targets, final)
    for start in range(0, len(unsent), BATCH):
        batch = unsent[start : start + BATCH]
        sends = [(Address(job.run_id, one.target, job.generation), one, None) for one in batch]
        ledger.sent(send_all(app, sends))
    return verdict


def send_all(
    app: Celery, messages: Sequence[tuple[Address, Message, datetime | None]]
) -> list[tuple[Address, str]]:
    """Send messages under fresh task ids, each until it expires; returns the ids.

    Raises kombu's OperationalError if the broker stays away (some may have been sent all the
    same), QueueNotFound for a misspelt queue.
    """
    sent = []
    try:
        with app.producer_or_acquire() as producer, producer.batch(max_size=BATCH):
            for address, message, expires in messages:
                task_id: str = uuid()
                _publish(app, producer, address, message, task_id, expires)
                sent.append((address, task_id))
    except (BatchPublishError, RedisError) as error:
        raise OperationalError(f"the broker: {error.__cause__ or error}") from error
    return sent


def can_send(app: Celery, address: Address, message: Message) -> bool:
    """Return whether the message's queue is one of this version's; say in the log if it isn't.

    Another version may have it; else the run's deadline ends the item.
    """
    if message.queue in app.amqp.queues:
        return True
    fields = {"run_id": address.run_id, "target": address.target, "queue": message.queue}
    logger.error("queue_unknown", extra=fields)
    return False


def _publish(
    app: Celery,
    producer: Any,
    address: Address,
    message: Message,
    task_id: str,
    expires: datetime | None,
) -> None:
    # What `send_task` does below its routing (the queue is known) and its subscription to a result
    # (nobody waits for one): those cost as much as the sending itself.
    if message.queue not in app.amqp.queues:
        raise QueueNotFound(f"queue {message.queue!r} is not one of {', '.join(app.amqp.queues)}")
    kwargs = dict(message.kwargs)
    task_message = app.amqp.as_task_v2(
        task_id,
        message.task,
        kwargs=kwargs,
        expires=expires,
        root_id=task_id,
        ignore_result=True,
        argsrepr="()",
        kwargsrepr=repr(kwargs),
    )
    app.amqp.send_task_message(
        producer,
        message.task,
        task_message,
        queue=message.queue,
        headers=address.headers(),
        # Workers declare the queues.
        declare=(),
    )


def _log(opening: Opening) -> None:
    new = opening.new
    fields = {"run_id": new.occurrence.run_id, "entry": new.occurrence.entry, "origin": new.origin}
    match opening.verdict:
        case Opened.OPENED:
            logger.info("run_opened", extra=fields)
        case Opened.UNSENT:
            logger.warning("run_sent_again", extra=fields)
        case Opened.EXISTS:
            logger.warning("occurrence_dropped", extra={**fields, "status": opening.status})
        case Opened.MISSED:
            logger.error("run_missed", extra={**fields, "why": new.missed or TOO_LATE})
        case Opened.SKIPPED:
            logger.warning("run_skipped", extra=fields)
        case Opened.WAITING:
            logger.info("run_waits", extra=fields)
