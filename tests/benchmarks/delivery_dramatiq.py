"""Dramatiq in the delivery benchmark, with its defaults: `dramatiq delivery_dramatiq`."""

import os

import delivery_notes
import dramatiq
from dramatiq.brokers.redis import RedisBroker

QUEUES = ("high", "default", "low")

broker = RedisBroker(url=os.environ["BROKER"])
dramatiq.set_broker(broker)
for name in QUEUES:
    broker.declare_queue(name)


@dramatiq.actor
def work(label: str, seconds: float, sent_at: float) -> None:
    """Do the work of a message."""
    delivery_notes.work(label, seconds, sent_at)


def send(queue: str, label: str, seconds: float, sent_at: float) -> None:
    """Send one message."""
    broker.enqueue(work.message(label, seconds, sent_at).copy(queue_name=queue))
