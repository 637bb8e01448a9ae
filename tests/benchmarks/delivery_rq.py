"""RQ in the delivery benchmark, with its defaults: `rq worker-pool`."""

import os

import delivery_notes
from redis import Redis
from rq import Queue

_redis = Redis.from_url(os.environ["BROKER"])


def work(label: str, seconds: float, sent_at: float) -> None:
    """Do the work of a message."""
    delivery_notes.work(label, seconds, sent_at)


def send(queue: str, label: str, seconds: float, sent_at: float) -> None:
    """Send one message."""
    Queue(queue, connection=_redis).enqueue("delivery_rq.work", label, seconds, sent_at)
