"""BioNewsBot in the delivery benchmark: the targets of a run, on the app as it is shipped.

`delivery_ours_bare` has the same task on the same app without a run.
"""

import time
from datetime import UTC, datetime

import delivery_notes

from bionewsbot.celery import app
from bionewsbot.runs import dispatch
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Address, Message, NewRun, Occurrence
from bionewsbot.tasks.base import RunTask, run_task

TASK = "benchmark.work"

DEADLINE_SECONDS = 3600.0

_run: list[Address] = []


@run_task(TASK)
def work(self: RunTask, label: str, seconds: float, sent_at: float) -> dict[str, int]:
    """Do the work of a target, and count it in the run's totals."""
    delivery_notes.work(label, seconds, sent_at)
    return {"worked": 1}


def prepare(queue: str, labels: list[str], seconds: float) -> None:
    """Open a run and register its targets, as its job does that selected them."""
    job = _open(labels[0])
    ledger().fan_out(job, [_message(queue, label, seconds, 0.0) for label in labels])
    ledger().finish(job, {})
    _run[:] = [job]


def send(queue: str, label: str, seconds: float, sent_at: float) -> None:
    """Send the message of one target that is registered."""
    address = Address(_run[0].run_id, label, _run[0].generation)
    message = _message(queue, label, seconds, sent_at)
    ledger().sent(dispatch.send_all(app, [(address, message, None)]))


def send_all(queue: str, labels: list[str], seconds: float, sent_at: float) -> None:
    """Open a run and fan out, as a job does."""
    job = _open(labels[0])
    targets = [_message(queue, label, seconds, sent_at) for label in labels]
    dispatch.fan_out(app, ledger(), job, targets)
    ledger().finish(job, {})


def _open(name: str) -> Address:
    occurrence = Occurrence(f"benchmark-{name}", datetime.now(UTC))
    new = NewRun(occurrence, Message(JOB, TASK, "default", {}), "manual", DEADLINE_SECONDS)
    job = ledger().open(new).to_send
    assert job is not None
    ledger().begin(job, task_id="benchmark", worker="benchmark")
    return job


def _message(queue: str, label: str, seconds: float, sent_at: float) -> Message:
    kwargs = {"label": label, "seconds": seconds, "sent_at": sent_at or time.time()}
    return Message(label, TASK, queue, kwargs)
