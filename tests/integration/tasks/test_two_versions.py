"""Two versions of the workers side by side, as in a rolling upgrade."""

import pytest
from celery import Celery
from support.apps import send
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until
from support.stack import ROOT, Stack

from bionewsbot.names import DAILY_COMPANY_ANALYSIS
from bionewsbot.runs import model
from bionewsbot.runs.model import JOB, Message

LONG_LEASE = {"RUN_LEASE_SECONDS": "10"}
"""The shipped one: while a worker starts on a busy machine nothing is taken for lost."""


@pytest.mark.parametrize("task", [DAILY_COMPANY_ANALYSIS, "tests.of_the_later_version"])
def test_a_message_of_a_later_version_waits_for_its_worker(
    app: Celery, stack: Stack, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """The earlier worker puts it back, as often as it gets it, whether it knows the task or not."""
    earlier = stack.worker("earlier", **LONG_LEASE)
    job = Message(JOB, task, "high", {})
    opening = stack.ledger.open(new_run(job=job))
    assert opening.to_send is not None
    with monkeypatch.context() as patch:
        patch.setattr(model, "SCHEMA", model.SCHEMA + 1)
        send(app, opening.to_send, job)
    wait_until(
        lambda: len(earlier.events("message_put_back")) > 1, "the earlier worker puts it back twice"
    )
    path = f"{ROOT / 'tests'}:{ROOT}"
    later = stack.worker("later", "-I", "support.later_version", PYTHONPATH=path, **LONG_LEASE)
    # Until it ends, it may be the one that gets it.
    assert earlier.stop() == 0
    wait_until(lambda: later.events("task_started"), "the later one begins it")
    assert not earlier.events("task_started")
    assert not earlier.events("message_given_up")
    assert stack.ledger.get(OCCURRENCE.run_id).failed == 0


def test_a_later_worker_reads_earlier_messages(app: Celery, stack: Stack) -> None:
    """What was sent before the upgrade is done after it."""
    job = Message(JOB, "tests.of_the_later_version", "high", {})
    opening = stack.ledger.open(new_run(job=job))
    assert opening.to_send is not None
    send(app, opening.to_send, job)
    stack.worker("later", "-I", "support.later_version", PYTHONPATH=f"{ROOT / 'tests'}:{ROOT}")
    assert stack.wait_for_end(OCCURRENCE.run_id).status == "succeeded"
