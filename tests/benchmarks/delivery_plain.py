"""Plain Celery in the delivery benchmark, with its defaults: `celery -A delivery_plain worker`.

With LATE=1 it has late acknowledgement and our visibility time-out, which nobody renews.
"""

import os

import delivery_notes
from celery import Celery

app = Celery("delivery_plain", broker=os.environ["BROKER"])
# Celery warns where this is unset; it is what it does anyway.
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("LATE"):
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_transport_options={"visibility_timeout": 12},
    )


@app.task(name="benchmark.work", ignore_result=True)
def work(label: str, seconds: float, sent_at: float) -> None:
    """Do the work of a message."""
    delivery_notes.work(label, seconds, sent_at)


def send(queue: str, label: str, seconds: float, sent_at: float) -> None:
    """Send one message."""
    work.apply_async((label, seconds, sent_at), queue=queue)
