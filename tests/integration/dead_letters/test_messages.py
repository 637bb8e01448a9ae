"""A message that was given up on leaves a letter, unless its item is accounted for."""

from types import SimpleNamespace

import pytest
from celery import Celery
from support.ledgers import OCCURRENCE, message, new_run

from bionewsbot.dead_letters.letters import Letter, Letters
from bionewsbot.dead_letters.messages import record
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import JOB, Address

WHY = "its task is unknown"


def give_up(address: Address) -> list[Letter]:
    """Record a message of this address; return the letters that there are then."""
    given = SimpleNamespace(
        body=b"[[], {}, {}]",
        content_type="application/json",
        content_encoding="utf-8",
        headers={"id": "t1", "task": "tests.who", **address.headers()},
        properties={},
        delivery_info={"routing_key": "high"},
    )
    record(given, WHY, "w@here")
    return Letters(ledger()._redis).find()


def opened(**options: object) -> Address:
    """Open the run of OCCURRENCE."""
    opening = ledger().open(new_run(**options))
    assert opening.to_send is not None
    return opening.to_send


def test_a_message_of_a_run_that_the_ledger_has_forgotten(app: Celery) -> None:
    """It is kept as one that belongs to no run, once."""
    address = Address(OCCURRENCE.run_id, JOB, 1)
    for _ in range(2):
        (letter,) = give_up(address)
    assert (letter.run_id, letter.task, letter.queue) == (None, "tests.who", "high")
    assert letter.last.why == WHY
    assert OCCURRENCE.run_id in str(letter.last.message)


def test_a_message_of_a_target_that_its_run_has_not_selected(app: Celery) -> None:
    """The run can't have it as failed, and ends without it."""
    job = opened()
    ledger().fan_out(job, [message("GILD")])
    (letter,) = give_up(Address(job.run_id, "PFE", job.generation))
    assert (letter.run_id, letter.target) == (None, None)


def test_a_message_of_an_open_item(app: Celery) -> None:
    """The letter is the item's."""
    address = opened()
    (letter,) = give_up(address)
    assert (letter.run_id, letter.target) == (address.run_id, JOB)


@pytest.mark.parametrize("end", ["done", "superseded", "ended"])
def test_a_message_of_an_item_that_is_accounted_for(app: Celery, end: str) -> None:
    """There is nothing to put right."""
    address = opened()
    if end == "ended":
        ledger().cancel(address.run_id, "by a test")
    else:
        ledger().finish(address, {})
    if end == "superseded":
        opened(again=True)
    assert give_up(address) == []
