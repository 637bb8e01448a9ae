"""What waits on a real broker, seen from outside."""

import pytest
from celery import Celery
from support.apps import Broker, send
from support.ledgers import OCCURRENCE, message

from bionewsbot.runs import broker as broker_module
from bionewsbot.runs.broker import next_waiting, waiting_task_ids
from bionewsbot.runs.model import Address


def put(app: Celery, count: int) -> set[str]:
    """Send messages to `default`; returns their task ids."""
    return {send(app, Address(OCCURRENCE.run_id, str(n), 1), message()) for n in range(count)}


def test_an_empty_queue(app: Celery) -> None:
    """Nothing waits, and nothing is declared or taken by looking."""
    assert waiting_task_ids(app, "default", {"one"}) == set()
    assert next_waiting(app, "default") is None


def test_all_that_waits_is_found_and_stays(app: Celery, broker: Broker) -> None:
    """In one queue, not in the others."""
    sent = put(app, 3)
    assert waiting_task_ids(app, "default", sent | {"another"}) == sent
    assert waiting_task_ids(app, "high", sent) == set()
    assert len(broker.messages("default")) == 3


def test_a_long_queue_is_read_in_pages(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full pages, a last one that is full, and a last one that isn't."""
    monkeypatch.setattr(broker_module, "PAGE", 2)
    sent: set[str] = set()
    for count in (1, 1, 1):
        sent |= put(app, count)
        assert waiting_task_ids(app, "default", sent | {"another"}) == sent


def test_messages_of_other_priorities_are_found(app: Celery, broker: Broker) -> None:
    """kombu keeps them in lists of their own beside the queue's."""
    app.send_task("x", queue="default", priority=6, task_id="six")
    assert broker.redis.llen("default") == 0
    assert waiting_task_ids(app, "default", {"six"}) == {"six"}


@pytest.mark.parametrize("text", ["garbage", "[]", "{}", '{"headers": null}', "7"])
def test_what_is_no_task_message_is_passed_over(app: Celery, broker: Broker, text: str) -> None:
    """A stranger's message hides none of ours."""
    sent = put(app, 1)
    broker.redis.lpush("default", text)
    assert waiting_task_ids(app, "default", sent) == sent


@pytest.mark.parametrize("text", ["garbage", "[]", "{}", '{"headers": null}', "7"])
def test_a_stranger_that_comes_next_is_not_known(app: Celery, broker: Broker, text: str) -> None:
    """No more than a run of a later version."""
    put(app, 1)
    broker.redis.rpush("default", text)
    assert next_waiting(app, "default") is None


def test_what_has_waited_longest_comes_next(app: Celery, broker: Broker) -> None:
    """With its place in the ledger; it stays where it is."""
    put(app, 2)
    assert next_waiting(app, "default") == Address(OCCURRENCE.run_id, "0", 1)
    assert len(broker.messages("default")) == 2
