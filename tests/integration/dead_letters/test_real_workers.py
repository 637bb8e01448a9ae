"""What real workers give up on: each ends as one dead letter, and the worker goes on."""

import base64
import json
from collections.abc import Iterator

import pytest
from celery import Celery
from support.apps import send
from support.ledgers import OCCURRENCE, new_run
from support.polling import wait_until
from support.stack import ROOT, Process, Stack

from bionewsbot.dead_letters.letters import Letter, Letters
from bionewsbot.runs.ledger import MAX_DEATHS
from bionewsbot.runs.model import JOB, Address, Message, Occurrence


@pytest.fixture
def worker(stack: Stack) -> Iterator[Process]:
    """A prefork worker that knows the tasks that end badly."""
    yield stack.worker(
        "fatal",
        *("-P", "processes", "-c", "1", "-I", "support.fatal_tasks"),
        PYTHONPATH=f"{ROOT / 'tests'}:{ROOT}",
    )


def letter(stack: Stack) -> Letter:
    """Wait for the only letter."""
    letters = Letters(stack.ledger._redis)
    wait_until(lambda: letters.find(), "there is a letter")
    (found,) = letters.find()
    return found


def start(app: Celery, stack: Stack, task: str) -> Address:
    """Start a run whose job is the task."""
    opening = stack.ledger.open(new_run(job=Message(JOB, task, "high", {})))
    assert opening.to_send is not None
    task_id = send(app, opening.to_send, opening.new.job)
    stack.ledger.sent([(opening.to_send, task_id)])
    return opening.to_send


def goes_on(app: Celery, stack: Stack) -> None:
    """Assert that the worker still does its work."""
    other = Occurrence("other", OCCURRENCE.scheduled_for)
    job = Message(JOB, "bionewsbot.daily_company_analysis", "high", {})
    opening = stack.ledger.open(new_run(other, job=job))
    assert opening.to_send is not None
    send(app, opening.to_send, job)
    wait_until(lambda: stack.ledger.items(other.run_id)[0].starts, "it begins")


def test_a_task_that_kills_its_process(app: Celery, stack: Stack, worker: Process) -> None:
    """Begun MAX_DEATHS times, then given up on; the run has failed."""
    address = start(app, stack, "tests.kills_its_process")
    found = letter(stack)
    assert found.last.why == f"its worker died {MAX_DEATHS} times"
    assert stack.ledger.get(address.run_id).status == "failed"
    goes_on(app, stack)


def test_a_task_at_its_hard_time_limit(app: Celery, stack: Stack, worker: Process) -> None:
    """Killed once and not tried again; the letter has the message whole."""
    address = start(app, stack, "tests.never_ends")
    found = letter(stack)
    assert found.last.why == "it ran past its hard time limit of 2 s"
    assert (found.run_id, found.last.starts) == (address.run_id, 1)
    message = found.last.message or {}
    assert message["headers"]["task"] == "tests.never_ends"
    assert json.loads(base64.b64decode(message["body"]))[1] == {}
    goes_on(app, stack)


def test_a_task_that_no_worker_knows(app: Celery, stack: Stack, worker: Process) -> None:
    """Its run fails at once, and the letter has the message whole."""
    address = start(app, stack, "tests.who")
    found = letter(stack)
    assert "its task is unknown" in found.last.why
    assert stack.ledger.get(address.run_id).status == "failed"
    message = found.last.message or {}
    assert message["headers"]["task"] == "tests.who"
    assert json.loads(base64.b64decode(message["body"]))[1] == {}
    goes_on(app, stack)


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [("{broken", "application/json", "decoded"), ('{"a": 1}', "application/json", "no task")],
    ids=["undecodable", "no task message"],
)
def test_a_message_that_is_no_task(
    app: Celery, stack: Stack, worker: Process, body: str, content_type: str, why: str
) -> None:
    """It belongs to no run; the letter has it whole all the same."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        message = channel.prepare_message(
            body, content_type=content_type, content_encoding="utf-8", headers={}, properties={}
        )
        channel.basic_publish(message, exchange="", routing_key="high")
    found = letter(stack)
    assert why in found.last.why
    assert (found.run_id, found.queue) == (None, "high")
    assert base64.b64decode((found.last.message or {})["body"]) == body.encode()
    goes_on(app, stack)
