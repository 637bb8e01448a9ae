"""Remote control: no worker is talked into consuming a queue that isn't declared."""

from types import SimpleNamespace
from unittest.mock import Mock, create_autospec

import pytest
from celery.worker.consumer import Consumer
from celery.worker.control import Panel
from kombu import Queue

from bionewsbot import control


@pytest.fixture
def state() -> SimpleNamespace:
    """A worker's state with the queues high and low."""
    consumer = create_autospec(Consumer, instance=True)
    consumer.call_soon = Mock()
    conf = SimpleNamespace(task_queues=[Queue("high"), Queue("low")])
    return SimpleNamespace(app=SimpleNamespace(conf=conf), consumer=consumer)


def test_the_command_stands_in_for_celerys() -> None:
    """Workers answer `celery control add_consumer` with ours."""
    assert Panel.data["add_consumer"] is control.add_consumer


def test_a_declared_queue_is_consumed(state: SimpleNamespace) -> None:
    """As Celery does it."""
    assert control.add_consumer(state, "low") == {"ok": "add consumer low"}
    state.consumer.call_soon.assert_called_once()
    assert state.consumer.call_soon.call_args.args[:2] == (state.consumer.add_task_queue, "low")


@pytest.mark.parametrize("queue", ["dead_letter", "hihg"])
def test_another_one_is_refused(state: SimpleNamespace, queue: str) -> None:
    """Neither the dead letters nor a misspelt queue; the answer says what there is."""
    answer = control.add_consumer(state, queue)
    assert answer == {"error": f"queue '{queue}' is not one of high, low"}
    state.consumer.call_soon.assert_not_called()
