"""What a worker of threads does about a thread that is stuck and memory that grows."""

import pytest
from celery import Celery
from support.apps import send
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until
from support.stack import ROOT, Process, Stack

from bionewsbot.dead_letters.letters import Letters
from bionewsbot.delivery.shutdown import HAND_BACK_SECONDS
from bionewsbot.runs.model import JOB, Message


def start(app: Celery, stack: Stack, task: str) -> None:
    """Start a run whose job is the task."""
    opening = stack.ledger.open(new_run(job=Message(JOB, task, "high", {})))
    assert opening.to_send is not None
    stack.ledger.sent([(opening.to_send, send(app, opening.to_send, opening.new.job))])


def worker(stack: Stack, **env: str) -> Process:
    """Start a worker of threads that knows the tasks that end badly."""
    return stack.worker(
        "fatal",
        *("-c", "2", "-I", "support.fatal_tasks"),
        PYTHONPATH=f"{ROOT / 'tests'}:{ROOT}",
        WORKER_GRACE_SECONDS=str(HAND_BACK_SECONDS + 1),
        **env,
    )


def test_a_thread_at_its_hard_limit_is_given_up_on_and_the_worker_ends(
    app: Celery, stack: Stack
) -> None:
    """One letter, the run has failed, exit code 0, and the next worker finds nothing to do."""
    process = worker(stack)
    start(app, stack, "tests.never_ends")
    assert stack.wait_for_end(OCCURRENCE.run_id).status == "failed"
    (letter,) = Letters(stack.ledger._redis).find()
    assert (letter.last.why, letter.last.starts) == ("it ran past its hard time limit of 2 s", 1)
    assert process.wait(60) == 0
    assert process.events("worker_out_of_bounds")[0]["stuck"] == 1
    second = worker(stack)
    wait_until(lambda: second.events("task_dropped"), "what was put back is dropped")
    assert len(Letters(stack.ledger._redis).find()) == 1


@pytest.mark.parametrize("most", ["300", "2000"])
def test_a_worker_ends_when_it_holds_too_much(app: Celery, stack: Stack, most: str) -> None:
    """After 400 MB with a bound of 300 it ends in order, the task done; with 2,000 it goes on."""
    process = worker(stack, WORKER_MAX_MEMORY_MB=most)
    start(app, stack, "tests.eats_memory")
    assert stack.wait_for_end(OCCURRENCE.run_id).status == "succeeded"
    if most == "300":
        assert process.wait(60) == 0
        (line,) = process.events("worker_out_of_bounds")
        assert line["memory_mb"] > 300
    else:
        assert process.stop() == 0
        assert not process.events("worker_out_of_bounds")
