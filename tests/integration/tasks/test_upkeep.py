"""Which step of the database optimisation goes first, on a real ledger."""

import pytest
from celery import Celery
from celery.exceptions import Retry
from support.ledgers import OCCURRENCE, new_run

from bionewsbot import names
from bionewsbot.errors import BackendRefused
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Address, Message
from bionewsbot.tasks import upkeep

REACHED = "the backend was asked"


def refuse() -> None:
    """Stand for a backend that a step has come to."""
    raise BackendRefused(REACHED, status=404)


def steps() -> dict[str, Address]:
    """Open a run whose steps are sent; return each one's address."""
    job = ledger().open(new_run(job=Message(JOB, names.DATABASE_OPTIMISATION, "low", {}))).to_send
    assert job is not None
    messages = [
        Message(step, names.OPTIMISE_DATABASE, "low", {"step": step}) for step in upkeep.STEPS
    ]
    ledger().fan_out(job, messages)
    found = {step: Address(job.run_id, step, job.generation) for step in upkeep.STEPS}
    ledger().sent([(address, step) for step, address in found.items()])
    return found


def said_of(app: Celery, address: Address) -> str:
    """Carry out a step's message once; return what the ledger has of its failure."""
    task = app.tasks[names.OPTIMISE_DATABASE]
    with pytest.MonkeyPatch.context() as patched:
        # Celery would carry out the next attempt at once, and so on.
        patched.setattr(task, "retry", lambda **_: Retry())
        task.apply(
            kwargs={"step": address.target}, headers=address.headers(), task_id=address.target
        )
    items = ledger().items(OCCURRENCE.run_id)
    return str(next(item.error for item in items if item.target == address.target))


def begin(address: Address) -> None:
    """Begin a step as its message does."""
    ledger().begin(address, task_id=address.target, worker="w@here")


@pytest.mark.parametrize("state", ["sent", "under way", "waits for an analysis"])
def test_a_fresh_step_holds_the_later_ones_back(
    app: Celery, configured: pytest.MonkeyPatch, state: str
) -> None:
    """Its turn has not been yet, whatever it waits for."""
    configured.setattr(upkeep, "backend", refuse)
    found = steps()
    if state != "sent":
        begin(found["analyze"])
    if state == "waits for an analysis":
        ledger().pause(found["analyze"], seconds=30, error="it is under way", counts=False)
    for later in ("reindex", "vacuum"):
        assert "analyze comes first" in said_of(app, found[later])


def test_a_step_that_failed_once_keeps_nobody_waiting(
    app: Celery, configured: pytest.MonkeyPatch
) -> None:
    """While it waits for its next attempt the next one in order begins."""
    configured.setattr(upkeep, "backend", refuse)
    found = steps()
    begin(found["analyze"])
    ledger().pause(found["analyze"], seconds=30, error="503")
    assert "reindex comes first" in said_of(app, found["vacuum"])
    assert REACHED in said_of(app, found["reindex"])
