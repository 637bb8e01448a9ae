"""From the outbox to runs: each batch of notices is a run, a target for each notice and channel."""

from celery import Celery

from bionewsbot import names
from bionewsbot.notifications.config import notifications
from bionewsbot.notifications.notices import ENTRY
from bionewsbot.notifications.outbox import outbox
from bionewsbot.runs.dispatch import start_runs
from bionewsbot.runs.ledger import Ledger
from bionewsbot.runs.model import JOB, Message, NewRun, Occurrence

DEADLINE = 86_400.0
"""Seconds that a run of notices may take: what is older is no news any more."""

ORIGIN = "notifications"


def post(app: Celery, ledger: Ledger) -> int:
    """Start a run for the notices that wait; returns how many it has.

    Whoever dies in between leaves the batch as it is: the same run is opened again, which it is
    but once. Raises redis.RedisError or kombu's OperationalError if Redis is away.
    """
    if not notifications().rules:
        return 0
    batch = outbox().take()
    if batch is None:
        return 0
    kwargs = {"notices": [notice.as_dict() for notice in batch.notices]}
    job = Message(JOB, names.NOTIFY, names.QUEUE_LOW, kwargs)
    run = NewRun(Occurrence(ENTRY, batch.at), job, origin=ORIGIN, deadline=DEADLINE)
    start_runs(app, ledger, [run])
    outbox().done(batch)
    return len(batch.notices)
