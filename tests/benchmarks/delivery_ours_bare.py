"""BioNewsBot's app in the delivery benchmark with a task that belongs to no run."""

import delivery_notes

from bionewsbot.celery import app


@app.task(name="benchmark.bare")
def work(label: str, seconds: float, sent_at: float) -> None:
    """Do the work of a message."""
    delivery_notes.work(label, seconds, sent_at)


def send(queue: str, label: str, seconds: float, sent_at: float) -> None:
    """Send one message."""
    work.apply_async((label, seconds, sent_at), queue=queue)
